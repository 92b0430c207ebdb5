//! Interference: the trees change between the survey and the apply of one pass, and during apply. Nothing good is
//! destroyed, nothing outside is touched, and the next quiet pass converges.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail as the test itself may")]

mod support;

use crate::support::fsops::{chmod, link, make_node, plant};
use crate::support::monitor::{self, Seen, pass, pass_with};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same, differences};
use file_sync::{
    Digests, Error, Event, FilterOptions, Hold, Interrupt, Limits, Mirror, MirrorOptions, Outcome, Signal,
    Verb,
};
use rustix::fs::FileType;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Completes the plan of one pass, calls `edits`, then applies the plan. The pass has to be done.
fn between(scratch: &Scratch, edits: impl FnOnce() + Send) -> Seen {
    let (report, seen) = monitor::between(&mut scratch.mirror(2), edits);
    assert_eq!(report.unwrap().outcome, Outcome::Done);
    seen
}

/// A scratch with equal roots that contain these names.
fn mirrored(names: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    plant(&scratch.source, names);
    scratch.converge();
    scratch
}

/// Calls `work` at the first event that `wanted` accepts, and never again.
fn once<'a>(
    wanted: impl Fn(&Event<'_>) -> bool + Sync + 'a,
    work: impl Fn() + Sync + 'a,
) -> impl Fn(&Event<'_>) + Sync + 'a {
    let called = AtomicBool::new(false);
    move |event| {
        if wanted(event) && !called.swap(true, Ordering::SeqCst) {
            work();
        }
    }
}

fn is_done(verb: Verb) -> impl Fn(&Event<'_>) -> bool {
    move |event| matches!(event, Event::Done(operation) if operation.verb == verb)
}

fn deletions(seen: &Seen) -> usize {
    seen.done.iter().filter(|line| line.0 == Verb::Delete).count()
}

/// A tree without the times of folders, which every change in a folder moves.
fn without_folder_times(mut tree: Tree) -> Tree {
    for (node, _) in tree.nodes.values_mut() {
        if node.what == crate::support::tree::What::Folder {
            node.mtime = (0, 0);
        }
    }
    tree
}

fn temporaries(root: &Path) -> Vec<String> {
    let tree = Tree::of(root);
    let names = tree.nodes.keys().map(|path| path.escape_ascii().to_string());
    names.filter(|path| path.contains(".file-sync-")).collect()
}

// Deletions: absence is proven again right before.

#[test]
fn a_file_is_not_deleted_when_the_source_has_its_name_again() {
    let scratch = mirrored(&["kept", "elsewhere/kept"]);
    plant(&scratch.replica, &["back", "gone", "elsewhere/gone"]);
    let seen = between(&scratch, || plant(&scratch.source, &["back"]));
    assert_eq!(seen.problems, []);
    assert!(scratch.replica.join("back").exists() && !scratch.replica.join("elsewhere/gone").exists());
    // A name missing from a folder that changed during the pass is deleted one pass later.
    assert!(scratch.replica.join("gone").exists());
    let passed = scratch.converge();
    assert_eq!(deletions(&passed.seen), 1);
}

#[test]
fn a_folder_is_not_deleted_when_the_source_has_its_name_again() {
    let scratch = mirrored(&["kept"]);
    plant(&scratch.replica, &["back/a", "back/b/c"]);
    let before = Tree::of(&scratch.replica.join("back"));
    let seen = between(&scratch, || plant(&scratch.source, &["back/new"]));
    assert_eq!((seen.problems.len(), deletions(&seen)), (0, 0));
    assert_same("a folder that is back", &before, &Tree::of(&scratch.replica.join("back")));
    scratch.converge();
}

#[test]
fn a_name_that_came_back_as_something_else_is_not_absent_either() {
    for comes_back in ["symlink", "fifo", "file"] {
        let scratch = mirrored(&["kept"]);
        plant(&scratch.replica, &["back/a"]);
        let back = scratch.source.join("back");
        let seen = between(&scratch, || match comes_back {
            "symlink" => symlink("nowhere", &back).unwrap(),
            "fifo" => make_node(&back, FileType::Fifo, 0).unwrap(),
            _ => fs::write(&back, b"").unwrap(),
        });
        assert_eq!((seen.problems.len(), deletions(&seen)), (0, 0), "{comes_back}");
        assert!(scratch.replica.join("back/a").exists(), "{comes_back}");
        scratch.converge();
    }
}

#[test]
fn nothing_more_of_a_folder_is_deleted_once_the_source_has_its_name_again() {
    let scratch = mirrored(&["kept"]);
    let names: Vec<String> = (0..20).map(|at| format!("back/folder {at}/file")).collect();
    plant(&scratch.replica, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let comes_back = once(is_done(Verb::Delete), || plant(&scratch.source, &["back/new"]));
    let (report, seen) = pass_with(&mut scratch.mirror(1), comes_back);
    assert_eq!(report.unwrap().outcome, Outcome::Done);
    // At most the file that was deleted first, and its folder, which was empty then.
    assert!(deletions(&seen) <= 2, "{:?}", seen.done);
    scratch.converge();
}

#[test]
fn nothing_is_deleted_where_the_source_folder_was_renamed() {
    let scratch = mirrored(&["folder/below/kept"]);
    plant(&scratch.replica, &["folder/extra", "folder/below/extra"]);
    let seen = between(&scratch, || {
        fs::rename(scratch.source.join("folder"), scratch.source.join("renamed")).unwrap();
    });
    assert_eq!((seen.problems.len(), deletions(&seen)), (0, 0));
    assert!(scratch.replica.join("folder/below/extra").exists());
    scratch.converge();
}

#[test]
fn nothing_is_deleted_where_the_source_folder_is_another_one_now() {
    let scratch = mirrored(&["folder/kept"]);
    plant(&scratch.replica, &["folder/extra"]);
    let seen = between(&scratch, || {
        fs::rename(scratch.source.join("folder"), scratch.outside.join("folder")).unwrap();
        fs::create_dir(scratch.source.join("folder")).unwrap();
    });
    assert_eq!(deletions(&seen), 0);
    assert!(scratch.replica.join("folder/extra").exists() && scratch.replica.join("folder/kept").exists());
    scratch.converge();
}

#[test]
fn nothing_is_deleted_where_the_source_folder_is_a_symbolic_link_now() {
    let scratch = mirrored(&["folder/kept"]);
    plant(&scratch.replica, &["folder/extra"]);
    let seen = between(&scratch, || {
        fs::rename(scratch.source.join("folder"), scratch.outside.join("folder")).unwrap();
        symlink(scratch.outside.join("folder"), scratch.source.join("folder")).unwrap();
    });
    assert_eq!(deletions(&seen), 0);
    assert!(scratch.replica.join("folder/extra").exists() && scratch.replica.join("folder/kept").exists());
    scratch.converge();
}

#[test]
fn nothing_is_deleted_when_the_source_root_is_gone() {
    let scratch = mirrored(&["a", "folder/b"]);
    plant(&scratch.replica, &["extra", "folder/extra"]);
    let before = Tree::of(&scratch.replica);
    let goes = || fs::remove_dir_all(&scratch.source).unwrap();
    let (report, seen) = monitor::between(&mut scratch.mirror(2), goes);
    assert!(matches!(report, Err(Error::SourceLost { .. })), "{report:?}");
    assert_eq!((seen.problems.len(), deletions(&seen)), (0, 0));
    assert_same(
        "the source is gone",
        &without_folder_times(before),
        &without_folder_times(Tree::of(&scratch.replica)),
    );
}

#[test]
fn nothing_is_deleted_when_the_source_root_is_another_folder_now() {
    let scratch = mirrored(&["a", "folder/b"]);
    plant(&scratch.replica, &["extra", "folder/extra"]);
    let before = Tree::of(&scratch.replica);
    let seen = between(&scratch, || {
        fs::rename(&scratch.source, scratch.outside.join("source")).unwrap();
        fs::create_dir(&scratch.source).unwrap();
    });
    // The problem says that the pass cannot confirm its source.
    assert_eq!((seen.problems.len(), deletions(&seen)), (1, 0), "{:?}", seen.problems);
    assert_same(
        "the source is another",
        &without_folder_times(before),
        &without_folder_times(Tree::of(&scratch.replica)),
    );
}

#[test]
fn a_source_that_is_gone_in_the_middle_is_an_error_and_deletes_nothing() {
    let scratch = mirrored(&["a", "folder/b"]);
    plant(&scratch.source, &["new"]);
    plant(&scratch.replica, &["extra", "folder/extra"]);
    let goes = once(is_done(Verb::Create), || {
        fs::rename(&scratch.source, scratch.outside.join("source")).unwrap();
    });
    let (report, seen) = pass_with(&mut scratch.mirror(1), goes);
    assert!(matches!(report, Err(Error::SourceLost { .. })), "{report:?}");
    assert_eq!(deletions(&seen), 0);
    assert!(scratch.replica.join("folder/extra").exists());
}

#[test]
fn a_source_that_is_replaced_in_the_middle_is_a_problem_and_deletes_nothing() {
    let scratch = mirrored(&["a", "folder/b"]);
    plant(&scratch.source, &["new"]);
    plant(&scratch.replica, &["extra", "folder/extra"]);
    let replaced = once(is_done(Verb::Create), || {
        fs::rename(&scratch.source, scratch.outside.join("source")).unwrap();
        fs::create_dir(&scratch.source).unwrap();
    });
    let (report, seen) = pass_with(&mut scratch.mirror(1), replaced);
    assert_eq!(report.unwrap().outcome, Outcome::Done);
    assert_eq!((seen.problems.len(), deletions(&seen)), (1, 0), "{:?}", seen.problems);
    assert!(scratch.replica.join("folder/extra").exists());
}

#[test]
fn a_source_that_is_replaced_during_the_survey_holds_the_pass() {
    let scratch = mirrored(&["a", "folder/b"]);
    plant(&scratch.replica, &["extra"]);
    let before = Tree::of(&scratch.replica);
    let replaced = once(
        |event| matches!(event, Event::Verified { .. }),
        || {
            fs::rename(&scratch.source, scratch.outside.join("source")).unwrap();
            fs::create_dir(&scratch.source).unwrap();
        },
    );
    let (report, seen) = pass_with(&mut scratch.mirror(1), replaced);
    assert_eq!(report.unwrap().outcome, Outcome::Held(Hold::SourceReplaced));
    assert_eq!(seen.done, []);
    assert_same("a held pass wrote", &before.stamped(), &Tree::of(&scratch.replica).stamped());
}

// A symbolic link in the source path is retargeted: the pass keeps the source folder that it began with.

/// A mirror that reaches its source through the symbolic link `current`; `moves_on` points the link at `next`.
fn by_link(scratch: &Scratch, threads: usize) -> Mirror {
    symlink(&scratch.source, scratch.outside.join("current")).unwrap();
    let options = MirrorOptions {
        source: scratch.outside.join("current"),
        replica: scratch.replica.clone(),
        log: None,
        threads: Some(threads),
        processors: 2,
        digests: Digests::OfAll,
        dry_run: false,
        verify_writes: false,
        bytes_per_second: None,
        index: None,
        limits: Limits::default(),
        filter: FilterOptions::default(),
        checks_room: true,
    };
    Mirror::new(options, Arc::new(Interrupt::new())).unwrap()
}

fn moves_on(scratch: &Scratch) {
    symlink("next", scratch.outside.join("current.new")).unwrap();
    fs::rename(scratch.outside.join("current.new"), scratch.outside.join("current")).unwrap();
}

fn is_verified(event: &Event<'_>) -> bool {
    matches!(event, Event::Verified { .. })
}

#[test]
fn a_pass_goes_on_with_its_folder_when_the_link_to_it_moves_on() {
    let moments: [fn(&Event<'_>) -> bool; 3] =
        [is_verified, |event| is_done(Verb::Create)(event), |event| is_done(Verb::Delete)(event)];
    for (number, moment) in moments.into_iter().enumerate() {
        let scratch = mirrored(&["a", "folder/b"]);
        plant(&scratch.source, &["new", "folder/new"]);
        plant(&scratch.replica, &["extra", "extras/c", "folder/extra"]);
        plant(&scratch.outside, &["next/a", "next/folder/b", "next/later"]);
        let mut mirror = by_link(&scratch, 1);
        let (report, seen) = pass_with(&mut mirror, once(moment, || moves_on(&scratch)));
        assert_eq!(report.unwrap().outcome, Outcome::Done, "{number}");
        assert_eq!(seen.problems, [], "{number}");
        assert_eq!(deletions(&seen), 4, "{number}: {:?}", seen.done);
        scratch.assert_equal();
        pass(&mut mirror).assert_clean();
        let next = Tree::of(&scratch.outside.join("next"));
        assert_same("the next pass takes the next folder", &next, &Tree::of(&scratch.replica));
    }
}

#[test]
fn what_is_removed_from_an_old_version_stays_where_the_new_one_has_it() {
    let scratch = mirrored(&["a", "folder/b", "folder/c", "tree/d/e"]);
    plant(&scratch.replica, &["extra", "folder/extra"]);
    plant(&scratch.outside, &["next/a", "next/folder/b", "next/tree/d/e"]);
    let mut mirror = by_link(&scratch, 1);
    // The survey has not reached the two folders yet.
    let removed = once(is_verified, || {
        moves_on(&scratch);
        fs::remove_dir_all(scratch.source.join("folder")).unwrap();
        fs::create_dir(scratch.source.join("folder")).unwrap();
        fs::remove_dir_all(scratch.source.join("tree")).unwrap();
    });
    let (report, seen) = pass_with(&mut mirror, removed);
    assert_eq!(report.unwrap().outcome, Outcome::Done);
    let replica = Tree::of(&scratch.replica);
    let left: Vec<String> = replica.nodes.keys().map(|path| path.escape_ascii().to_string()).collect();
    for kept in ["a", "folder/b", "tree/d/e"] {
        assert!(left.iter().any(|path| path == kept), "{kept} is in the new version: {left:?}");
    }
    // A name missing from a folder that changed during the pass is deleted one pass later.
    assert!(left.iter().any(|path| path == "extra"), "{left:?}");
    assert_eq!(seen.problems, []);
    pass(&mut mirror).assert_clean();
    let next = Tree::of(&scratch.outside.join("next"));
    assert_same("the next pass takes the next folder", &next, &Tree::of(&scratch.replica));
}

#[test]
fn an_old_version_that_is_gone_before_the_plan_is_made_holds_the_pass() {
    let scratch = mirrored(&["a", "folder/b"]);
    plant(&scratch.replica, &["extra"]);
    plant(&scratch.outside, &["next/a", "next/folder/b"]);
    let before = Tree::of(&scratch.replica).stamped();
    let mut mirror = by_link(&scratch, 1);
    let removed = once(is_verified, || {
        moves_on(&scratch);
        fs::remove_dir_all(&scratch.source).unwrap();
    });
    let (report, seen) = pass_with(&mut mirror, removed);
    assert_eq!(report.unwrap().outcome, Outcome::Held(Hold::SourceReplaced));
    assert_eq!(seen.done, []);
    assert_same("a held pass wrote", &before, &Tree::of(&scratch.replica).stamped());
    pass(&mut mirror).assert_clean();
}

#[test]
fn a_link_that_leads_nowhere_for_a_moment_costs_no_pass_and_no_deletion_that_cannot_be_proven() {
    let scratch = mirrored(&["a", "folder/b"]);
    plant(&scratch.source, &["new"]);
    plant(&scratch.replica, &["extra"]);
    let mut mirror = by_link(&scratch, 1);
    let removed = once(is_verified, || fs::remove_file(scratch.outside.join("current")).unwrap());
    let (report, seen) = pass_with(&mut mirror, removed);
    assert_eq!(report.unwrap().outcome, Outcome::Done);
    assert_eq!((seen.problems.len(), deletions(&seen)), (1, 0), "{:?}", seen.problems);
    assert!(scratch.replica.join("new").exists() && scratch.replica.join("extra").exists());
    let (report, _) = pass_with(&mut mirror, |_| {});
    assert!(matches!(report, Err(Error::SourceMissing { .. })), "{report:?}");
}

#[test]
fn a_folder_that_is_replaced_under_its_own_name_is_no_link_that_moves_on() {
    let scratch = mirrored(&["a", "folder/b"]);
    plant(&scratch.replica, &["extra"]);
    let mut mirror = by_link(&scratch, 1);
    let replaced = once(is_verified, || {
        fs::rename(&scratch.source, scratch.outside.join("moved")).unwrap();
        fs::create_dir(&scratch.source).unwrap();
    });
    let (report, seen) = pass_with(&mut mirror, replaced);
    assert_eq!(report.unwrap().outcome, Outcome::Held(Hold::SourceReplaced));
    assert_eq!(seen.done, []);
}

// The replica: entries that the survey did not see are not destroyed, and no symbolic link leads outside.

#[test]
fn a_replica_folder_that_became_a_link_to_the_outside_leads_nowhere() {
    let scratch = mirrored(&["folder/changed", "folder/mode", "folder/below/changed"]);
    plant(&scratch.outside, &["changed", "mode", "extra", "below/changed", "below/extra"]);
    plant(&scratch.replica, &["folder/extra", "folder/below/extra"]);
    fs::write(scratch.source.join("folder/changed"), b"new").unwrap();
    fs::write(scratch.source.join("folder/below/changed"), b"new").unwrap();
    plant(&scratch.source, &["folder/created", "folder/below/created/file"]);
    chmod(&scratch.source.join("folder/mode"), 0o600).unwrap();
    chmod(&scratch.source.join("folder/below"), 0o700).unwrap();
    let outside = Tree::of(&scratch.outside).stamped();
    between(&scratch, || {
        fs::rename(scratch.replica.join("folder"), scratch.replica.join("moved")).unwrap();
        symlink(&scratch.outside, scratch.replica.join("folder")).unwrap();
    });
    assert_same("the outside changed", &outside, &Tree::of(&scratch.outside).stamped());
    scratch.converge();
    assert_same("the outside changed later", &outside, &Tree::of(&scratch.outside).stamped());
}

#[test]
fn a_replica_folder_that_becomes_a_link_while_it_is_filled_leads_nowhere() {
    for which in [1, 2, 5, 9] {
        let scratch = Scratch::new();
        let names: Vec<String> = (0..10).map(|at| format!("folder/{at}/file")).collect();
        plant(&scratch.source, &names.iter().map(String::as_str).collect::<Vec<_>>());
        plant(&scratch.outside, &["0/file", "1/other"]);
        let outside = Tree::of(&scratch.outside).stamped();
        let heard = AtomicUsize::new(0);
        let (report, _) = pass_with(&mut scratch.mirror(2), |event| {
            if matches!(event, Event::Done(_)) && heard.fetch_add(1, Ordering::SeqCst) == which {
                fs::rename(scratch.replica.join("folder"), scratch.replica.join("moved")).unwrap();
                symlink(&scratch.outside, scratch.replica.join("folder")).unwrap();
            }
        });
        assert_eq!(report.unwrap().outcome, Outcome::Done);
        assert_same("the outside changed", &outside, &Tree::of(&scratch.outside).stamped());
        scratch.converge();
    }
}

#[test]
fn a_replica_folder_that_becomes_a_link_while_it_is_deleted_leads_nowhere() {
    let scratch = mirrored(&["kept"]);
    let names: Vec<String> = (0..10).map(|at| format!("extra/{at}/file")).collect();
    plant(&scratch.replica, &names.iter().map(String::as_str).collect::<Vec<_>>());
    for at in 0..10 {
        plant(&scratch.outside, &[&format!("{at}/file")]);
    }
    let outside = Tree::of(&scratch.outside).stamped();
    let swapped = once(is_done(Verb::Delete), || {
        fs::rename(scratch.replica.join("extra"), scratch.replica.join("moved")).unwrap();
        symlink(&scratch.outside, scratch.replica.join("extra")).unwrap();
    });
    let (report, _) = pass_with(&mut scratch.mirror(1), swapped);
    assert_eq!(report.unwrap().outcome, Outcome::Done);
    assert_same("the outside changed", &outside, &Tree::of(&scratch.outside).stamped());
    scratch.converge();
}

#[test]
fn a_replica_file_that_became_a_link_to_the_outside_is_not_followed() {
    let scratch = mirrored(&["mode", "content"]);
    plant(&scratch.outside, &["mode", "content"]);
    chmod(&scratch.source.join("mode"), 0o600).unwrap();
    fs::write(scratch.source.join("content"), b"new").unwrap();
    let outside = Tree::of(&scratch.outside).stamped();
    between(&scratch, || {
        for name in ["mode", "content"] {
            fs::remove_file(scratch.replica.join(name)).unwrap();
            symlink(scratch.outside.join(name), scratch.replica.join(name)).unwrap();
        }
    });
    assert_same("the outside changed", &outside, &Tree::of(&scratch.outside).stamped());
    scratch.converge();
}

#[test]
fn a_replica_file_that_was_replaced_meanwhile_is_not_overwritten_in_this_pass() {
    let scratch = mirrored(&["file", "gone", "mode"]);
    fs::write(scratch.source.join("file"), b"new in the source").unwrap();
    fs::remove_file(scratch.source.join("gone")).unwrap();
    chmod(&scratch.source.join("mode"), 0o600).unwrap();
    let seen = between(&scratch, || {
        for name in ["file", "gone", "mode"] {
            fs::write(scratch.replica.join("aside"), b"new in the replica").unwrap();
            fs::rename(scratch.replica.join("aside"), scratch.replica.join(name)).unwrap();
        }
    });
    // Each path that was to be written is reported once.
    let mut told: Vec<&str> = seen.problems.iter().map(|(path, _)| path.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["file", "mode"], "{:?}", seen.problems);
    for name in ["file", "gone", "mode"] {
        assert_eq!(fs::read(scratch.replica.join(name)).unwrap(), b"new in the replica", "{name}");
    }
    assert_eq!(temporaries(&scratch.replica), [""; 0]);
    scratch.converge();
}

#[test]
fn a_replica_entry_that_was_replaced_meanwhile_is_not_retyped_in_this_pass() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["to file", "to folder/inside"]);
    plant(&scratch.replica, &["to file/inside", "to folder"]);
    let seen = between(&scratch, || {
        fs::rename(scratch.replica.join("to file"), scratch.outside.join("folder")).unwrap();
        plant(&scratch.replica, &["to file/other"]);
        fs::rename(scratch.replica.join("to folder"), scratch.outside.join("file")).unwrap();
        fs::write(scratch.replica.join("to folder"), b"other").unwrap();
    });
    assert_eq!(seen.problems.len(), 2, "{:?}", seen.problems);
    assert!(scratch.replica.join("to file/other").exists());
    assert_eq!(fs::read(scratch.replica.join("to folder")).unwrap(), b"other");
    assert_eq!(temporaries(&scratch.replica), [""; 0]);
    scratch.converge();
}

#[test]
fn a_name_that_was_taken_meanwhile_is_not_overwritten_in_this_pass() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["file", "folder/inside", "other/inside"]);
    symlink("nowhere", scratch.source.join("link")).unwrap();
    let seen = between(&scratch, || {
        for name in ["file", "folder", "link"] {
            fs::write(scratch.replica.join(name), b"taken").unwrap();
        }
        plant(&scratch.replica, &["other/mine"]);
    });
    assert_eq!(seen.problems.len(), 4, "{:?}", seen.problems);
    for name in ["file", "folder", "link"] {
        assert_eq!(fs::read(scratch.replica.join(name)).unwrap(), b"taken", "{name}");
    }
    assert!(scratch.replica.join("other/mine").exists());
    assert_eq!(temporaries(&scratch.replica), [""; 0]);
    scratch.converge();
}

#[test]
fn a_name_is_not_linked_to_a_file_that_was_replaced_meanwhile() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["a"]);
    link(&scratch.source.join("a"), &scratch.source.join("b")).unwrap();
    link(&scratch.source.join("a"), &scratch.source.join("c")).unwrap();
    for name in ["a", "b"] {
        fs::write(scratch.replica.join(name), b"a").unwrap();
    }
    let seen = between(&scratch, || {
        for name in ["a", "b"] {
            fs::write(scratch.replica.join("aside"), b"other").unwrap();
            fs::rename(scratch.replica.join("aside"), scratch.replica.join(name)).unwrap();
        }
    });
    for name in ["a", "b"] {
        assert_eq!(fs::read(scratch.replica.join(name)).unwrap(), b"other", "{name}");
    }
    assert!(
        scratch.replica.join("c").symlink_metadata().is_err_and(|_| true) || {
            fs::read(scratch.replica.join("c")).unwrap() == b"a"
        }
    );
    assert!(seen.done.iter().all(|line| line.0 != Verb::Link), "{:?}", seen.done);
    assert_eq!(temporaries(&scratch.replica), [""; 0]);
    scratch.converge();
}

#[test]
fn a_replica_that_is_moved_away_in_the_middle_is_one_problem_and_is_filled_again() {
    for threads in [1, 4] {
        let scratch = Scratch::new();
        let names: Vec<String> = (0..300).map(|at| format!("folder {}/file {at}", at % 10)).collect();
        plant(&scratch.source, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut mirror = scratch.mirror(threads);
        let moved = once(is_done(Verb::Create), || {
            fs::rename(&scratch.replica, scratch.outside.join("replica")).unwrap();
        });
        let (report, seen) = pass_with(&mut mirror, moved);
        assert_eq!(report.unwrap().outcome, Outcome::ReplicaLost);
        assert_eq!(seen.problems.len(), 1, "{:?}", seen.problems);
        assert!(!scratch.replica.exists());
        pass(&mut mirror).assert_clean();
        scratch.assert_equal();
    }
}

#[test]
fn a_replica_that_is_removed_in_the_middle_is_one_problem_and_is_filled_again() {
    let scratch = Scratch::new();
    let names: Vec<String> = (0..300).map(|at| format!("folder {}/file {at}", at % 10)).collect();
    plant(&scratch.source, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut mirror = scratch.mirror(1);
    let removed = once(is_done(Verb::Create), || fs::remove_dir_all(&scratch.replica).unwrap());
    let (report, seen) = pass_with(&mut mirror, removed);
    assert_eq!(report.unwrap().outcome, Outcome::ReplicaLost);
    assert_eq!(seen.problems.len(), 1, "{:?}", seen.problems);
    pass(&mut mirror).assert_clean();
    scratch.assert_equal();
}

#[test]
fn a_folder_that_took_the_place_of_the_replica_is_not_touched_by_the_pass_that_began_before() {
    let scratch = mirrored(&["a", "b"]);
    plant(&scratch.source, &["new"]);
    plant(&scratch.replica, &["extra"]);
    let replaced = once(is_done(Verb::Create), || {
        fs::rename(&scratch.replica, scratch.outside.join("replica")).unwrap();
        plant(&scratch.replica, &["extra", "mine"]);
    });
    let (report, seen) = pass_with(&mut scratch.mirror(1), replaced);
    assert_eq!(report.unwrap().outcome, Outcome::ReplicaLost);
    assert_eq!(seen.problems.len(), 1);
    assert!(scratch.replica.join("mine").exists() && scratch.replica.join("extra").exists());
}

// The source changes during the pass.

#[test]
fn what_vanishes_from_the_source_is_neither_a_problem_nor_a_deletion() {
    let scratch = mirrored(&["old/kept", "changed", "folder/changed"]);
    fs::write(scratch.source.join("changed"), b"new").unwrap();
    fs::write(scratch.source.join("folder/changed"), b"new").unwrap();
    plant(&scratch.source, &["new file", "new folder/below/file"]);
    symlink("nowhere", scratch.source.join("new link")).unwrap();
    let before = Tree::of(&scratch.replica);
    let seen = between(&scratch, || {
        for entry in fs::read_dir(&scratch.source).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    });
    assert_eq!(seen.problems, []);
    assert_eq!(deletions(&seen), 0);
    let lost: Vec<String> = differences(&before, &Tree::of(&scratch.replica));
    assert!(lost.iter().all(|line| !line.starts_with("missing")), "{lost:?}");
    scratch.converge();
}

#[test]
fn a_source_file_that_became_something_else_is_not_followed_and_does_not_block() {
    let scratch = mirrored(&["link", "fifo", "folder", "new parent/x"]);
    for name in ["link", "fifo", "folder"] {
        fs::write(scratch.source.join(name), b"new content").unwrap();
    }
    plant(&scratch.source, &["new link", "new fifo", "new folder", "tree/file"]);
    plant(&scratch.outside, &["secret", "tree/secret"]);
    between(&scratch, || {
        for name in ["link", "fifo", "folder", "new link", "new fifo", "new folder"] {
            let path = scratch.source.join(name);
            fs::remove_file(&path).unwrap();
            match name.rsplit(' ').next().unwrap() {
                "link" => symlink(scratch.outside.join("secret"), &path).unwrap(),
                "fifo" => make_node(&path, FileType::Fifo, 0).unwrap(),
                _ => plant(&path, &["inside"]),
            }
        }
        fs::remove_dir_all(scratch.source.join("tree")).unwrap();
        symlink(scratch.outside.join("tree"), scratch.source.join("tree")).unwrap();
    });
    let found = Tree::of(&scratch.replica);
    assert!(found.get("tree/secret").is_none());
    let secret = crate::support::tree::What::File(b"secret".to_vec());
    assert!(found.nodes.values().all(|(node, _)| node.what != secret), "{found:?}");
    assert_eq!(temporaries(&scratch.replica), [""; 0]);
    scratch.converge();
}

#[test]
fn a_planned_retype_whose_reason_is_gone_leaves_the_old_replica() {
    let scratch = mirrored(&["was folder/inside", "was file"]);
    fs::remove_dir_all(scratch.source.join("was folder")).unwrap();
    fs::remove_file(scratch.source.join("was file")).unwrap();
    plant(&scratch.source, &["was folder", "was file/inside"]);
    between(&scratch, || {
        fs::remove_file(scratch.source.join("was folder")).unwrap();
        fs::remove_dir_all(scratch.source.join("was file")).unwrap();
    });
    assert_eq!(fs::read(scratch.replica.join("was folder/inside")).unwrap(), b"was folder/inside");
    assert_eq!(fs::read(scratch.replica.join("was file")).unwrap(), b"was file");
    assert_eq!(temporaries(&scratch.replica), [""; 0]);
    scratch.converge();
}

#[test]
fn a_planned_retype_after_which_the_source_turned_back_leaves_the_old_replica() {
    let scratch = mirrored(&["folder/inside"]);
    fs::rename(scratch.source.join("folder"), scratch.outside.join("folder")).unwrap();
    fs::write(scratch.source.join("folder"), b"a file for a moment").unwrap();
    between(&scratch, || {
        fs::remove_file(scratch.source.join("folder")).unwrap();
        fs::rename(scratch.outside.join("folder"), scratch.source.join("folder")).unwrap();
    });
    assert_eq!(fs::read(scratch.replica.join("folder/inside")).unwrap(), b"folder/inside");
    assert_eq!(temporaries(&scratch.replica), [""; 0]);
    scratch.converge();
}

/// Runs a pass while another thread keeps calling `work`.
fn pass_beside(mirror: &mut Mirror, work: impl Fn(usize) + Send + Sync) -> Seen {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (stop, work) = (&stop, &work);
        let (started, is_started) = std::sync::mpsc::channel();
        scope.spawn(move || {
            for turn in 0.. {
                work(turn);
                let _ = started.send(());
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        is_started.recv().unwrap();
        let (report, seen) = pass_with(mirror, |_| {});
        stop.store(true, Ordering::SeqCst);
        assert_eq!(report.unwrap().outcome, Outcome::Done);
        seen
    })
}

const BUSY: usize = 6 << 20;

fn scribble(file: &fs::File, turn: usize) {
    file.write_all_at(&vec![b'a' + (turn % 20) as u8; BUSY / 4], (turn % 4 * BUSY / 4) as u64).unwrap();
}

/// Repeats a pass until its file never held still. On a busy machine the writing thread may be delayed for longer than
/// a pass takes. The file was then stable, and the copy has to be its content at one moment.
fn restless<T>(scratch: impl Fn(&T) -> &Scratch, mut pass: impl FnMut() -> (T, Seen)) -> (T, Seen) {
    for _ in 0..100 {
        let (state, seen) = pass();
        if !seen.problems.is_empty() {
            return (state, seen);
        }
        let copied = fs::read(scratch(&state).replica.join("database")).unwrap();
        assert!(was_scribbled(&copied), "of no moment, and no problem");
    }
    panic!("it held still during each of a hundred passes");
}

/// Whether the four quarters are those of four consecutive turns. The quarter that was being written may mix two turns.
fn was_scribbled(content: &[u8]) -> bool {
    let quarters: Vec<BTreeSet<u8>> =
        content.chunks(BUSY / 4).map(|quarter| quarter.iter().copied().collect()).collect();
    // The turn that a quarter shows after `turn`: the last one that wrote to it. Before the first turn it contains
    // dots.
    let shown = |turn: usize, quarter: usize| {
        let back = (turn + 4 - quarter) % 4;
        if back > turn { b'.' } else { b'a' + ((turn - back) % 20) as u8 }
    };
    content.len() == BUSY
        && (0..60).any(|turn| {
            let next = turn + 1;
            (0..4).all(|quarter| {
                let old = shown(turn, quarter);
                let new = if next % 4 == quarter { b'a' + (next % 20) as u8 } else { old };
                !quarters[quarter].is_empty()
                    && quarters[quarter].iter().all(|byte| [old, new].contains(byte))
            })
        })
}

#[test]
fn a_file_that_only_grows_while_it_is_read_is_published_as_it_was_at_one_moment() {
    let scratch = Scratch::new();
    let path = scratch.source.join("log");
    let line = |at: usize| format!("line {at:>10}\n");
    fs::write(&path, (0..BUSY / 16).map(line).collect::<String>()).unwrap();
    let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let next = AtomicUsize::new(BUSY / 16);
    let seen = pass_beside(&mut scratch.mirror(2), |_| {
        use std::io::Write;
        (&file).write_all(line(next.fetch_add(1, Ordering::SeqCst)).as_bytes()).unwrap();
    });
    assert_eq!(seen.problems, []);
    let copied = fs::read(scratch.replica.join("log")).unwrap();
    assert!(copied.len() >= BUSY / 16 * 16 && fs::read(&path).unwrap().starts_with(&copied));
    scratch.converge();
}

#[test]
fn a_file_that_never_holds_still_keeps_its_old_replica_and_is_a_problem() {
    let scratch = Scratch::new();
    let path = scratch.source.join("database");
    fs::write(&path, vec![b'.'; BUSY]).unwrap();
    scratch.converge();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut turns = 0;
    let ((_, old), seen) = restless(
        |(scratch, _): &(&Scratch, _)| scratch,
        || {
            let old = Tree::of(&scratch.replica).stamped();
            // Turns continue from the last one of the previous try.
            let (start, last) = (turns, AtomicUsize::new(turns));
            let seen = pass_beside(&mut scratch.mirror(2), |turn| {
                scribble(&file, start + turn);
                last.store(start + turn, Ordering::SeqCst);
            });
            turns = last.into_inner() + 1;
            ((&scratch, old), seen)
        },
    );
    assert_eq!(seen.problems.len(), 1, "{:?}", seen.problems);
    assert_eq!(seen.problems[0].0, "database");
    assert_eq!(old.get("database"), Tree::of(&scratch.replica).stamped().get("database"));
    assert_eq!(temporaries(&scratch.replica), [""; 0]);
    scratch.converge();
}

#[test]
fn a_file_that_never_holds_still_and_has_no_replica_yet_is_published_and_is_a_problem() {
    let (scratch, seen) = restless(
        |scratch| scratch,
        || {
            let scratch = Scratch::new();
            let path = scratch.source.join("database");
            fs::write(&path, vec![b'.'; BUSY]).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            let seen = pass_beside(&mut scratch.mirror(2), |turn| scribble(&file, turn));
            (scratch, seen)
        },
    );
    assert_eq!(seen.problems.len(), 1, "{:?}", seen.problems);
    assert!(
        seen.done.iter().any(|line| line.1 == "database" && line.2.contains("unstable")),
        "{:?}",
        seen.done
    );
    assert_eq!(fs::metadata(scratch.replica.join("database")).unwrap().len(), BUSY as u64);
    scratch.converge();
}

#[test]
fn a_file_that_is_truncated_and_written_again_while_it_is_read_is_never_published_cut() {
    let scratch = Scratch::new();
    let path = scratch.source.join("state");
    let whole = |turn: usize| vec![b'a' + (turn % 20) as u8; BUSY];
    fs::write(&path, whole(0)).unwrap();
    scratch.converge();
    pass_beside(&mut scratch.mirror(2), |turn| fs::write(&path, whole(turn)).unwrap());
    // Each version is one letter throughout; a mixture is no version. A truncated version was in the source for a
    // moment.
    let copied = fs::read(scratch.replica.join("state")).unwrap();
    assert!(copied.windows(2).all(|pair| pair[0] == pair[1]), "two versions in one");
    scratch.converge();
}

#[test]
fn passes_over_a_source_that_is_turned_over_all_the_time_converge_when_it_rests() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["a/1", "a/2", "b/1", "b/2", "c"]);
    let mut mirror = scratch.mirror(4);
    let outside = Tree::of(&scratch.outside).stamped();
    for _ in 0..3 {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let path = |name: &str| scratch.source.join(name);
                for turn in 0.. {
                    let _ = fs::rename(path("a"), path("moved"));
                    let _ = fs::rename(path("b"), path("a"));
                    let _ = fs::rename(path("moved"), path("b"));
                    let _ = fs::write(path("a/1"), format!("turn {turn}"));
                    let _ = fs::remove_file(path("c"));
                    let _ = symlink(&scratch.outside, path("c"));
                    let _ = fs::remove_file(path("c"));
                    let _ = fs::write(path("c"), b"c");
                    let _ = link(&path("c"), &path("b/link"));
                    let _ = fs::remove_file(path("b/link"));
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
            for _ in 0..12 {
                pass(&mut mirror);
            }
            stop.store(true, Ordering::SeqCst);
        });
        let passed = pass(&mut mirror);
        passed.assert_clean();
        scratch.assert_equal();
        scratch_quiet(&mut mirror, &scratch);
    }
    assert_same("the outside changed", &outside, &Tree::of(&scratch.outside).stamped());
}

fn scratch_quiet(mirror: &mut Mirror, scratch: &Scratch) {
    let before = Tree::of(&scratch.replica).stamped();
    assert_eq!(pass(mirror).seen.done, []);
    assert_same("a second pass wrote", &before, &Tree::of(&scratch.replica).stamped());
}

#[test]
fn a_signal_in_the_middle_leaves_whole_files_and_no_temporaries() {
    for which in [0, 3, 40] {
        let scratch = Scratch::new();
        let names: Vec<String> = (0..100).map(|at| format!("folder {}/file {at}", at % 7)).collect();
        plant(&scratch.source, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let interrupt = Arc::new(Interrupt::new());
        let options = MirrorOptions {
            source: scratch.source.clone(),
            replica: scratch.replica.clone(),
            log: None,
            threads: Some(2),
            processors: 2,
            digests: Digests::OfAll,
            dry_run: false,
            verify_writes: false,
            bytes_per_second: None,
            index: None,
            limits: Limits::default(),
            filter: FilterOptions::default(),
            checks_room: true,
        };
        let mut mirror = Mirror::new(options, Arc::clone(&interrupt)).unwrap();
        let heard = AtomicUsize::new(0);
        let (report, seen) = pass_with(&mut mirror, |event| {
            if matches!(event, Event::Done(_)) && heard.fetch_add(1, Ordering::SeqCst) == which {
                interrupt.stop(Signal::Terminate);
            }
        });
        assert_eq!(report.unwrap().outcome, Outcome::Interrupted(Signal::Terminate));
        assert_eq!(seen.problems, []);
        assert_eq!(temporaries(&scratch.replica), [""; 0]);
        for name in &names {
            let path = scratch.replica.join(name);
            if path.exists() {
                assert_eq!(fs::read(&path).unwrap(), name.as_bytes());
                assert_eq!(
                    fs::metadata(&path).unwrap().mtime_nsec(),
                    fs::metadata(scratch.source.join(name)).unwrap().mtime_nsec()
                );
            }
        }
        drop(mirror);
        scratch.converge();
    }
}

#[test]
fn a_name_that_is_taken_is_tried_again_after_the_deletions_and_is_a_problem_then() {
    // Simulates a replica that takes two spellings for one name: the new spelling finds the old entry in its way.
    let scratch = mirrored(&["old spelling"]);
    fs::rename(scratch.source.join("old spelling"), scratch.source.join("New Spelling")).unwrap();
    let seen = between(&scratch, || {
        fs::rename(scratch.replica.join("old spelling"), scratch.replica.join("New Spelling")).unwrap();
    });
    let told: Vec<&str> = seen.problems.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(told, ["New Spelling"], "{:?}", seen.problems);
    assert!(scratch.replica.join("New Spelling").exists());
    scratch.converge();
}

#[test]
fn a_name_whose_other_name_vanished_during_the_pass_is_replaced_all_the_same() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["a"]);
    link(&scratch.source.join("a"), &scratch.source.join("b")).unwrap();
    for name in ["a", "b"] {
        fs::write(scratch.replica.join(name), format!("old {name}")).unwrap();
    }
    let seen = between(&scratch, || fs::remove_file(scratch.source.join("a")).unwrap());
    assert_eq!(seen.problems, []);
    assert_eq!(fs::read(scratch.replica.join("b")).unwrap(), fs::read(scratch.source.join("b")).unwrap());
    assert_eq!(temporaries(&scratch.replica), [""; 0]);
    scratch.converge();
}

#[test]
fn more_files_than_wait_for_the_disk_together_are_all_replaced() {
    let scratch = Scratch::new();
    for number in 0..1500 {
        let name = format!("folder {}/file {number}", number % 7);
        for (root, version) in [(&scratch.source, "new"), (&scratch.replica, "old")] {
            fs::create_dir_all(root.join(&name).parent().unwrap()).unwrap();
            // Some larger files, so that the group commit meets both its limits.
            let size = if number % 20 == 0 { 1 << 20 } else { 100 };
            fs::write(root.join(&name), format!("{version} {number} ").repeat(size / 10)).unwrap();
        }
    }
    let passed = scratch.converge();
    assert_eq!(passed.seen.done.iter().filter(|line| line.0 != Verb::Metadata).count(), 1500);
}

#[test]
fn small_files_do_not_wait_for_large_ones() {
    let scratch = Scratch::new();
    fs::write(scratch.source.join("a large one"), vec![7; 8 << 20]).unwrap();
    for number in 0..20 {
        let name = format!("small {number}");
        fs::write(scratch.source.join(&name), "new").unwrap();
        fs::write(scratch.replica.join(&name), "old, and longer").unwrap();
    }
    // One worker, so that the order does not depend on timing.
    let passed = pass(&mut scratch.mirror(1));
    let place = |name: &str| passed.seen.done.iter().position(|line| line.1 == name).unwrap();
    assert!((0..20).all(|number| place(&format!("small {number}")) < place("a large one")));
    scratch.assert_equal();
}
