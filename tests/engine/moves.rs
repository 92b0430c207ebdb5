//! Moves: what was renamed in the source is renamed in the replica, and no data is copied.

use crate::support::fsops::{chmod, link, plant, set_mtime};
use crate::support::index;
use crate::support::monitor::{Passed, between, pass, pass_with};
use crate::support::scratch::{Scratch, as_ordinary_user};
use crate::support::tree::Tree;
use file_sync::{Counter, Event, Interrupt, Mirror, Outcome, Verb};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Changes the source, whose path is given.
type Edits = fn(&dyn Fn(&str) -> PathBuf);

/// One story: what the source has, what happens there, and what a pass makes of it.
struct Story {
    name: &'static str,
    before: &'static [&'static str],
    edits: Edits,
    /// The moves, as `old -> new`.
    moves: &'static [&'static str],
    /// Entries created, updated, linked and deleted.
    others: [u64; 4],
}

fn rename(old: PathBuf, new: PathBuf) {
    fs::rename(old, new).unwrap();
}

/// Two names change places, or more go around.
fn rotate(names: &[&str], at: &dyn Fn(&str) -> PathBuf) {
    let aside = at("aside");
    rename(at(names[0]), aside.clone());
    for pair in names.windows(2) {
        rename(at(pair[1]), at(pair[0]));
    }
    rename(aside, at(names[names.len() - 1]));
}

/// A pass, and the moves that it made or, as a dry run, would make.
fn moves(scratch: &Scratch, dry_run: bool) -> (Vec<String>, Passed) {
    let moved = Mutex::new(Vec::new());
    let mut mirror = scratch.mirror_with(2, dry_run);
    let (report, seen) = pass_with(&mut mirror, |event| {
        if let Event::Done(operation) | Event::Planned(operation) = event
            && let Some(from) = operation.moved_from
        {
            assert_eq!(operation.verb, Verb::Move);
            moved.lock().unwrap().push(format!("{from} -> {}", operation.path));
        }
    });
    let passed = Passed { report: report.unwrap(), seen };
    (moved.into_inner().unwrap(), passed)
}

const TREE: &[&str] = &["a/1", "a/2", "a/deep/er/3", "b/1", "b/4", "c/5", "f", "g", "h"];

const STORIES: &[Story] = &[
    Story {
        name: "a folder",
        before: TREE,
        edits: |at| rename(at("a"), at("z")),
        moves: &["a -> z"],
        others: [0; 4],
    },
    Story {
        name: "a file, and one to another folder",
        before: TREE,
        edits: |at| {
            rename(at("f"), at("z"));
            rename(at("a/1"), at("b/one"));
        },
        moves: &["a/1 -> b/one", "f -> z"],
        others: [0; 4],
    },
    Story {
        name: "folders that change places",
        before: TREE,
        edits: |at| rotate(&["a", "b"], at),
        moves: &["b -> a", "a -> b"],
        others: [0; 4],
    },
    Story {
        name: "folders that go around",
        before: TREE,
        edits: |at| rotate(&["a", "b", "c"], at),
        moves: &["b -> a", "c -> b", "a -> c"],
        others: [0; 4],
    },
    Story {
        name: "files that go around",
        before: TREE,
        edits: |at| rotate(&["f", "g", "a/1"], at),
        moves: &["f -> a/1", "g -> f", "a/1 -> g"],
        others: [0; 4],
    },
    Story {
        name: "a chain of folders, and a new one at its end",
        before: TREE,
        edits: |at| {
            rename(at("b"), at("z"));
            rename(at("a"), at("b"));
            fs::create_dir(at("a")).unwrap();
            fs::write(at("a/new"), "new").unwrap();
        },
        moves: &["a -> b", "b -> z"],
        others: [2, 0, 0, 0],
    },
    Story {
        name: "a chain of files, and a new one at its end",
        before: TREE,
        edits: |at| {
            rename(at("g"), at("z"));
            rename(at("f"), at("g"));
            fs::write(at("f"), "new").unwrap();
        },
        moves: &["f -> g", "g -> z"],
        others: [1, 0, 0, 0],
    },
    Story {
        name: "into new folders",
        before: TREE,
        edits: |at| {
            fs::create_dir_all(at("new/er")).unwrap();
            fs::write(at("new/x"), "x").unwrap();
            rename(at("a"), at("new/er/a"));
            rename(at("f"), at("new/f"));
        },
        moves: &["a -> new/er/a", "f -> new/f"],
        others: [3, 0, 0, 0],
    },
    Story {
        name: "out of a deleted folder",
        before: TREE,
        edits: |at| {
            rename(at("a/deep/er"), at("z"));
            rename(at("a/1"), at("one"));
            fs::remove_dir_all(at("a")).unwrap();
        },
        moves: &["a/1 -> one", "a/deep/er -> z"],
        others: [0, 0, 0, 3],
    },
    Story {
        name: "inside out",
        before: TREE,
        edits: |at| {
            rename(at("a/deep"), at("deep"));
            rename(at("a"), at("deep/a"));
        },
        moves: &["a/deep -> deep", "a -> deep/a"],
        others: [0; 4],
    },
    Story {
        name: "out of a moved folder, and into one",
        before: TREE,
        edits: |at| {
            rename(at("a"), at("z"));
            rename(at("z/deep"), at("deep"));
            rename(at("b"), at("z/b"));
            rename(at("z/b/4"), at("deep/4"));
        },
        moves: &["a/deep -> deep", "b/4 -> deep/4", "a -> z", "b -> z/b"],
        others: [0; 4],
    },
    Story {
        name: "over what is gone",
        before: TREE,
        edits: |at| {
            fs::remove_dir_all(at("b")).unwrap();
            rename(at("a"), at("b"));
            rename(at("f"), at("g"));
        },
        moves: &["a -> b", "f -> g"],
        others: [0, 0, 0, 3],
    },
    Story {
        name: "over another kind",
        before: TREE,
        edits: |at| {
            fs::remove_file(at("f")).unwrap();
            rename(at("c"), at("f"));
            fs::remove_dir_all(at("b")).unwrap();
            rename(at("g"), at("b"));
        },
        moves: &["g -> b", "c -> f"],
        others: [0, 0, 0, 4],
    },
    Story {
        name: "a folder that is edited as well",
        before: TREE,
        edits: |at| {
            rename(at("a"), at("z"));
            fs::write(at("z/1"), "another content").unwrap();
            fs::remove_file(at("z/2")).unwrap();
            fs::write(at("z/new"), "new").unwrap();
            chmod(&at("z/deep"), 0o700).unwrap();
        },
        moves: &["a -> z"],
        others: [1, 1, 0, 1],
    },
    Story {
        name: "a file that is edited as well is a new one",
        before: TREE,
        edits: |at| {
            rename(at("f"), at("z"));
            fs::write(at("z"), "longer than before").unwrap();
        },
        moves: &[],
        others: [1, 0, 0, 1],
    },
    Story {
        name: "metadata that change as well",
        before: TREE,
        edits: |at| {
            rename(at("f"), at("z"));
            chmod(&at("z"), 0o600).unwrap();
            rename(at("a"), at("y"));
            chmod(&at("y"), 0o700).unwrap();
            set_mtime(&at("y"), 1_000_000_000, 5).unwrap();
        },
        moves: &["a -> y", "f -> z"],
        others: [0; 4],
    },
    Story {
        name: "case alone",
        before: TREE,
        edits: |at| {
            rename(at("a"), at("A"));
            rename(at("f"), at("F"));
        },
        moves: &["a -> A", "f -> F"],
        others: [0; 4],
    },
    Story {
        name: "a folder over a file with one of its own files",
        before: TREE,
        edits: |at| {
            rename(at("a/1"), at("one"));
            fs::remove_dir_all(at("a")).unwrap();
            rename(at("one"), at("a"));
        },
        moves: &["a/1 -> a"],
        others: [0, 0, 0, 5],
    },
    Story {
        name: "a folder that takes the place of a file and gets others",
        before: TREE,
        edits: |at| {
            fs::remove_file(at("f")).unwrap();
            fs::create_dir(at("f")).unwrap();
            rename(at("g"), at("f/g"));
            rename(at("c"), at("f/c"));
        },
        moves: &["c -> f/c", "g -> f/g"],
        others: [0; 4],
    },
];

#[test]
fn every_story_of_moves_takes_one_pass_and_copies_nothing_that_is_there() {
    for Story { name, before, edits, moves: expected, others } in STORIES {
        let scratch = Scratch::new();
        plant(&scratch.source, before);
        scratch.converge();
        edits(&|path| scratch.source.join(path));
        let old = Tree::of(&scratch.replica);

        let (planned, dry) = moves(&scratch, true);
        assert_eq!(planned, *expected, "{name}, planned");
        assert_eq!(Tree::of(&scratch.replica).stamped(), old.stamped(), "{name}: the dry run wrote");
        let (made, passed) = moves(&scratch, false);
        passed.assert_clean();
        assert_eq!(made, *expected, "{name}");
        let counts = [Counter::Created, Counter::Updated, Counter::Linked, Counter::Deleted];
        assert_eq!(counts.map(|counter| passed.report.counts[counter]), *others, "{name}: {:?}", passed.seen);
        let [dry, real] = [&dry, &passed].map(|passed| passed.report.counts);
        assert_eq!(dry[Counter::Deleted], real[Counter::Deleted], "{name}");
        assert_eq!(dry[Counter::BytesToWrite], real[Counter::BytesWritten], "{name}");
        scratch.assert_equal();
        scratch.assert_quiet();
        assert!(index::check(&scratch).records > 0, "{name}");
    }
}

#[test]
fn moved_hard_links_stay_one_file_and_nothing_is_copied() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["a/1", "b/2", "c/3"]);
    let at = |path: &str| scratch.source.join(path);
    link(&at("a/1"), &at("a/one")).unwrap();
    link(&at("a/1"), &at("b/one")).unwrap();
    link(&at("c/3"), &at("c/three")).unwrap();
    scratch.converge();
    // One name moves with its folder, two go elsewhere; both names of another file move one by one.
    rename(at("a"), at("z"));
    rename(at("b/one"), at("b/eins"));
    rename(at("c/3"), at("drei"));
    rename(at("c/three"), at("b/three"));
    let (_, passed) = moves(&scratch, false);
    passed.assert_clean();
    assert_eq!(passed.report.counts[Counter::BytesWritten], 0, "{:?}", passed.seen);
    scratch.assert_equal();
    scratch.converge();
}

#[test]
fn a_folder_of_ten_thousand_files_moves_by_one_rename() {
    let scratch = Scratch::new();
    let names: Vec<String> = (0..10_000).map(|number| format!("big/{}/{number}", number % 7)).collect();
    plant(&scratch.source, &names.iter().map(String::as_str).collect::<Vec<_>>());
    scratch.pass().assert_clean();
    let inodes = |root: &Path| {
        names.iter().map(|name| fs::metadata(root.join(&name[4..])).unwrap().ino()).collect::<Vec<_>>()
    };
    let before = inodes(&scratch.replica.join("big"));
    fs::create_dir(scratch.source.join("new")).unwrap();
    rename(scratch.source.join("big"), scratch.source.join("new/place"));
    let (made, passed) = moves(&scratch, false);
    passed.assert_clean();
    assert_eq!(made, ["big -> new/place"]);
    let counts = passed.report.counts;
    assert_eq!(
        (counts[Counter::BytesWritten], counts[Counter::Created], counts[Counter::Deleted]),
        (0, 1, 0)
    );
    assert_eq!(inodes(&scratch.replica.join("new/place")), before);
    scratch.converge();
    // What is known has moved along: nothing is hashed, and with trust nothing is read, in the new place.
    let connection = Connection::open(scratch.database_of_pair()).unwrap();
    let sql = "SELECT sum(count), min(CAST(folder AS TEXT)), max(CAST(folder AS TEXT)) FROM file";
    let found: (i64, String, String) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!(found, (10_000, "new/place/0".to_owned(), "new/place/6".to_owned()));
}

#[test]
fn an_inode_number_that_is_used_again_moves_nothing() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["old", "folder/file"]);
    scratch.converge();
    // As if the file and the folder had been removed, and others had got their inode numbers: the birth times differ.
    let connection = Connection::open(scratch.database_of_pair()).unwrap();
    connection.execute("UPDATE folder SET born_ns = (born_ns + 1) % 1000000000", []).unwrap();
    drop(connection);
    rename(scratch.source.join("folder"), scratch.source.join("other"));
    let (made, passed) = moves(&scratch, false);
    passed.assert_clean();
    // The file in it was read and has the content of its record.
    assert_eq!(made, ["folder/file -> other/file"]);
    scratch.assert_equal();
    scratch.converge();
}

#[test]
fn a_file_with_the_facts_of_another_and_another_content_is_copied() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["one", "folder/file"]);
    scratch.converge();
    let at = |path: &str| scratch.source.join(path);
    // Same inode, birth time, size and mtime: only the content tells.
    let modified = fs::metadata(at("one")).unwrap();
    rename(at("one"), at("two"));
    fs::write(at("two"), "eno").unwrap();
    let time = rustix::fs::Timespec { tv_sec: modified.mtime(), tv_nsec: modified.mtime_nsec() };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, at("two"), &times, rustix::fs::AtFlags::empty()).unwrap();
    let (made, passed) = moves(&scratch, false);
    passed.assert_clean();
    assert_eq!(made, [""; 0]);
    assert_eq!(fs::read(scratch.replica.join("two")).unwrap(), b"eno");
    scratch.converge();
}

#[test]
fn without_an_index_moves_are_copies() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["a/1", "f"]);
    scratch.converge();
    rename(scratch.source.join("a"), scratch.source.join("z"));
    let mut options = scratch.options(2, false);
    options.index = None;
    let mut mirror = Mirror::new(options, Arc::new(Interrupt::new())).unwrap();
    let passed = pass(&mut mirror);
    passed.assert_clean();
    assert_eq!((passed.report.counts[Counter::Moved], passed.report.counts[Counter::Created]), (0, 2));
    drop(mirror);
    scratch.assert_equal();
    // The index still has the old place, and the move is over.
    scratch.converge();
}

#[test]
fn what_the_replica_had_elsewhere_meanwhile_is_not_lost() {
    // Somebody edits the replica before the pass: moves are looked for, and the result is the source.
    let edits: [fn(&Path); 5] = [
        |replica| fs::remove_dir_all(replica.join("a")).unwrap(),
        |replica| fs::rename(replica.join("a"), replica.join("z")).unwrap(),
        |replica| plant(replica, &["z"]),
        |replica| plant(replica, &["z/1", "z/extra", "a/extra"]),
        |replica| fs::write(replica.join("a/1"), "rotten").unwrap(),
    ];
    for edit in edits {
        let scratch = Scratch::new();
        plant(&scratch.source, TREE);
        scratch.converge();
        rename(scratch.source.join("a"), scratch.source.join("z"));
        edit(&scratch.replica);
        scratch.converge();
    }
}

#[test]
fn what_changes_between_plan_and_move_is_for_the_next_pass() {
    let edits: [fn(&Scratch); 6] = [
        |scratch| rename(scratch.source.join("z"), scratch.source.join("y")),
        |scratch| rename(scratch.source.join("z"), scratch.source.join("a")),
        |scratch| fs::remove_dir_all(scratch.source.join("z")).unwrap(),
        |scratch| fs::remove_dir_all(scratch.replica.join("a")).unwrap(),
        |scratch| rename(scratch.replica.join("a"), scratch.replica.join("z")),
        |scratch| plant(&scratch.replica, &["z/other"]),
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        let scratch = Scratch::new();
        plant(&scratch.source, TREE);
        scratch.converge();
        rename(scratch.source.join("a"), scratch.source.join("z"));
        rename(scratch.source.join("f"), scratch.source.join("i"));
        let (report, _) = between(&mut scratch.mirror(2), || edit(&scratch));
        assert_eq!(report.unwrap().outcome, Outcome::Done, "{at}");
        assert!(scratch.replica.join("i").exists(), "{at}: the other move was made");
        scratch.converge_in(2);
    }
}

#[test]
fn folders_that_are_closed_to_their_owner_move() {
    as_ordinary_user(|| {
        let scratch = Scratch::new();
        plant(&scratch.source, TREE);
        let at = |path: &str| scratch.source.join(path);
        let closed = ["a/deep", "b"];
        closed.iter().for_each(|path| chmod(&at(path), 0o500).unwrap());
        scratch.converge();
        closed.iter().for_each(|path| chmod(&at(path), 0o700).unwrap());
        rename(at("a/deep"), at("b/deep"));
        rename(at("b/1"), at("one"));
        ["b/deep", "b"].iter().for_each(|path| chmod(&at(path), 0o500).unwrap());
        let (made, passed) = moves(&scratch, false);
        passed.assert_clean();
        assert_eq!(made, ["a/deep -> b/deep", "b/1 -> one"]);
        scratch.assert_equal();
        scratch.converge();
        // So that the scratch can be removed.
        for root in [&scratch.source, &scratch.replica] {
            ["b", "b/deep"].iter().for_each(|path| chmod(&root.join(path), 0o700).unwrap());
        }
    });
}
