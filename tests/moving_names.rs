//! Source names that move during a pass: an entry that was in both trees is never missing from the whole replica, and a
//! deletion in the source reaches the replica one pass later at most.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail as the test itself may")]

mod support;

use crate::support::fsops::{link, plant};
use crate::support::monitor::{self, Passed, Seen, pass, pass_with};
use crate::support::scratch::Scratch;
use file_sync::{Counter, Event, Outcome, Verb};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Two folders with the same names in each. A pass with one worker reads one before the other.
const FOLDERS: [&str; 2] = ["one", "two"];

fn mirrored(names: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    for folder in FOLDERS {
        let names: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
        plant(&scratch.source, &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    scratch.converge();
    scratch
}

/// A pass with one worker. Calls `act` as soon as one of the two folders is read, with that folder and the other.
fn during(mirror: &mut file_sync::Mirror, act: impl Fn(&str, &str) + Sync) -> Passed {
    let done = AtomicBool::new(false);
    let (report, seen) = pass_with(mirror, |event| {
        let Event::Verified { path, .. } = event else { return };
        if !done.swap(true, Ordering::SeqCst) {
            let at = FOLDERS.iter().position(|folder| path.as_bytes().starts_with(folder.as_bytes()));
            let read = at.unwrap_or_else(|| panic!("{path} is in neither folder"));
            act(FOLDERS[read], FOLDERS[1 - read]);
        }
    });
    assert!(done.into_inner(), "nothing was read");
    Passed { report: report.unwrap(), seen }
}

fn deleted(seen: &Seen) -> Vec<&str> {
    let deletions = seen.done.iter().filter(|line| line.0 == Verb::Delete);
    deletions.map(|line| line.1.as_str()).collect()
}

/// Whether a file with this content is anywhere in a tree.
fn has(root: &Path, content: &str) -> bool {
    fs::read_dir(root).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { has(&path, content) } else { fs::read(&path).unwrap() == content.as_bytes() }
    })
}

fn kept_back(passed: &Passed) -> u64 {
    assert_eq!((passed.report.outcome.clone(), passed.report.counts[Counter::Problems]), (Outcome::Done, 0));
    let count = passed.report.counts[Counter::KeptBack];
    let told = passed.seen.notices.iter().filter(|notice| notice.contains("reason: Changed")).count();
    assert_eq!(told, usize::from(count > 0), "{:?}", passed.seen.notices);
    count
}

#[test]
fn a_file_that_moves_to_a_folder_that_has_been_read_stays_where_it_was_for_one_pass() {
    let scratch = mirrored(&["file", "item"]);
    let mut mirror = scratch.mirror(1);
    let at = |folder: &str, name: &str| scratch.source.join(folder).join(name);
    let first = during(&mut mirror, |read, unread| {
        fs::rename(at(unread, "item"), at(read, "moved")).unwrap();
    });
    assert_eq!((kept_back(&first), deleted(&first.seen)), (1, vec![]));
    for folder in FOLDERS {
        assert!(has(&scratch.replica, &format!("{folder}/item")), "{folder}/item is nowhere");
    }
    // The folder changes in every later pass, too: this must not keep everything back for ever.
    let second = during(&mut mirror, |_, _| {
        for folder in FOLDERS {
            fs::write(at(folder, "more"), b"").unwrap();
        }
    });
    let moved = second.report.counts[Counter::Moved];
    assert_eq!((kept_back(&second), moved, deleted(&second.seen)), (0, 1, vec![]));
    drop(mirror);
    scratch.converge();
}

#[test]
fn what_has_gone_from_a_folder_before_a_pass_goes_at_once_whatever_changes_elsewhere() {
    let scratch = mirrored(&["file", "item", "third/item"]);
    let at = |folder: &str, name: &str| scratch.source.join(folder).join(name);
    fs::remove_file(at("one", "third/item")).unwrap();
    fs::remove_file(at("two", "third/item")).unwrap();
    let passed = during(&mut scratch.mirror(1), |_, unread| fs::remove_file(at(unread, "item")).unwrap());
    assert_eq!(kept_back(&passed), 1);
    let mut gone = deleted(&passed.seen);
    gone.sort_unstable();
    assert_eq!(gone, ["one/third/item", "two/third/item"]);
    let passed = scratch.converge();
    assert_eq!(deleted(&passed.seen).len(), 1, "the next pass, of another process");
}

#[test]
fn a_pass_right_after_an_edit_deletes_at_once() {
    let scratch = mirrored(&["file"]);
    let mut mirror = scratch.mirror(2);
    for round in 0..100 {
        plant(&scratch.source, &["one/comes and goes"]);
        assert_eq!(kept_back(&pass(&mut mirror)), 0, "{round}");
        fs::remove_file(scratch.source.join("one/comes and goes")).unwrap();
        let passed = pass(&mut mirror);
        assert_eq!((kept_back(&passed), deleted(&passed.seen)), (0, vec!["one/comes and goes"]), "{round}");
    }
}

#[test]
fn a_folder_that_moves_stays_where_it_was_with_everything_in_it_for_one_pass() {
    let scratch = mirrored(&["file", "item/a", "item/below/b"]);
    let mut mirror = scratch.mirror(1);
    let first = during(&mut mirror, |read, unread| {
        let at = |folder: &str, name: &str| scratch.source.join(folder).join(name);
        fs::rename(at(unread, "item"), at(read, "moved")).unwrap();
    });
    assert_eq!((kept_back(&first), deleted(&first.seen)), (1, vec![]));
    for name in ["item/a", "item/below/b"] {
        for folder in FOLDERS {
            assert!(has(&scratch.replica, &format!("{folder}/{name}")), "{folder}/{name} is nowhere");
        }
    }
    assert_eq!(kept_back(&pass(&mut mirror)), 0);
    drop(mirror);
    scratch.converge();
}

#[test]
fn what_is_replaced_by_another_kind_of_entry_stays_for_one_pass_when_it_may_have_moved() {
    let scratch = mirrored(&["file", "was a file", "was a folder/inside"]);
    let mut mirror = scratch.mirror(1);
    let first = during(&mut mirror, |read, unread| {
        let at = |folder: &str, name: &str| scratch.source.join(folder).join(name);
        for name in ["was a file", "was a folder"] {
            fs::rename(at(unread, name), at(read, &format!("moved {name}"))).unwrap();
        }
        plant(&scratch.source.join(unread), &["was a file/inside", "was a folder"]);
    });
    assert_eq!(kept_back(&first), 2);
    for folder in FOLDERS {
        for name in ["was a file", "was a folder/inside"] {
            assert!(has(&scratch.replica, &format!("{folder}/{name}")), "{folder}/{name} is nowhere");
        }
    }
    let second = pass(&mut mirror);
    assert_eq!((kept_back(&second), second.report.counts[Counter::Retyped]), (0, 2));
    drop(mirror);
    scratch.converge();
}

/// Deleted names of an inode still count as its names, so its other names are not copied again.
#[test]
fn what_is_kept_does_not_make_its_other_names_be_copied() {
    let scratch = mirrored(&["file"]);
    for folder in FOLDERS {
        let file = scratch.source.join(folder).join("file");
        link(&file, &scratch.source.join(folder).join("name")).unwrap();
        fs::create_dir(scratch.source.join(folder).join("below")).unwrap();
        link(&file, &scratch.source.join(folder).join("below/name")).unwrap();
    }
    scratch.converge();
    let mut mirror = scratch.mirror(1);
    let first = during(&mut mirror, |_, unread| {
        fs::remove_file(scratch.source.join(unread).join("name")).unwrap();
        fs::remove_dir_all(scratch.source.join(unread).join("below")).unwrap();
    });
    assert_eq!((kept_back(&first), first.report.counts[Counter::BytesWritten]), (2, 0));
    assert_eq!(kept_back(&pass(&mut mirror)), 0);
    drop(mirror);
    scratch.converge();
}

#[test]
fn a_dry_run_does_not_announce_a_deletion_that_would_not_be_made() {
    let scratch = mirrored(&["file", "item"]);
    let passed = during(&mut scratch.mirror_with(1, true), |_, unread| {
        fs::remove_file(scratch.source.join(unread).join("item")).unwrap();
    });
    assert_eq!(passed.report.outcome, Outcome::Planned);
    assert_eq!(passed.report.counts[Counter::KeptBack], 1);
    assert!(passed.seen.planned.iter().all(|line| line.0 != Verb::Delete), "{:?}", passed.seen.planned);
    scratch.converge();
}

/// Completes the plan of one pass, calls `edits`, then applies the plan. Also returns the number of entries kept back.
fn between(scratch: &Scratch, edits: impl FnOnce() + Send) -> (Seen, u64) {
    let (report, seen) = monitor::between(&mut scratch.mirror(2), edits);
    let report = report.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    (seen, report.counts[Counter::KeptBack])
}

#[test]
fn what_moves_back_between_survey_and_deletion_is_not_nowhere() {
    for (back, kept_back) in [
        // To its original folder, under another name.
        ("one/back", 1),
        // To a third folder: the plan knows it only in the second.
        ("three/back", 1),
        ("back", 1),
        // To its old name: it is not absent, so nothing is kept back.
        ("one/item", 0),
    ] {
        let scratch = mirrored(&["file"]);
        plant(&scratch.source, &["one/item", "three/file"]);
        scratch.converge();
        let at = |name: &str| scratch.source.join(name);
        fs::rename(at("one/item"), at("two/item")).unwrap();
        let (seen, kept) = between(&scratch, || fs::rename(at("two/item"), at(back)).unwrap());
        assert_eq!((seen.problems, kept), (vec![], kept_back), "{back}");
        assert!(has(&scratch.replica, "one/item"), "{back}: it is nowhere");
        scratch.converge();
    }
}

#[test]
fn a_folder_that_moves_back_between_survey_and_deletion_is_not_nowhere() {
    for back in ["one/back", "three/back"] {
        let scratch = mirrored(&["file"]);
        plant(&scratch.source, &["one/item/a", "one/item/below/b", "three/file"]);
        scratch.converge();
        let at = |name: &str| scratch.source.join(name);
        fs::rename(at("one/item"), at("two/item")).unwrap();
        let (seen, kept) = between(&scratch, || fs::rename(at("two/item"), at(back)).unwrap());
        assert_eq!((seen.problems, kept), (vec![], 1), "{back}");
        for content in ["one/item/a", "one/item/below/b"] {
            assert!(has(&scratch.replica, content), "{back}: {content} is nowhere");
        }
        scratch.converge();
    }
}

#[test]
fn a_kind_that_changed_before_a_pass_is_not_replaced_when_its_folder_changes_before_that() {
    let scratch = mirrored(&["file", "item"]);
    let at = |name: &str| scratch.source.join(name);
    fs::rename(at("one/item"), at("two/moved")).unwrap();
    plant(&scratch.source, &["one/item/inside"]);
    let (_, kept) = between(&scratch, || fs::rename(at("two/moved"), at("one/back")).unwrap());
    assert_eq!(kept, 1);
    assert_eq!(fs::read(scratch.replica.join("one/item")).unwrap(), b"one/item", "it is not where it was");
    scratch.converge();
}

#[test]
fn a_subtree_that_is_being_deleted_stays_from_the_moment_on_at_which_its_folder_changes() {
    let scratch = mirrored(&["file"]);
    plant(&scratch.source, &["one/file"]);
    scratch.converge();
    let names: Vec<String> = (0..50).map(|number| format!("one/item/{number}/file")).collect();
    plant(&scratch.replica, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let begun = AtomicBool::new(false);
    let (report, seen) = pass_with(&mut scratch.mirror(1), |event| {
        let is_deletion = matches!(event, Event::Done(operation) if operation.verb == Verb::Delete);
        if is_deletion && !begun.swap(true, Ordering::SeqCst) {
            plant(&scratch.source, &["one/new"]);
        }
    });
    let passed = Passed { report: report.unwrap(), seen };
    assert_eq!(kept_back(&passed), 1);
    assert!(deleted(&passed.seen).len() <= 2, "{:?}", deleted(&passed.seen));
    scratch.converge();
}
