//! Entries that an ordinary user may not read: never taken for absent, always a problem, and everything else goes on.
//!
//! Root may read everything, so each test runs as an ordinary user, also when root runs the tests.

use crate::support::fsops::{chmod, plant, set_mtime};
use crate::support::monitor::Passed;
use crate::support::scratch::{Scratch, as_ordinary_user};
use crate::support::tree::{Tree, assert_same};
use file_sync::{Counter, Outcome, Verb};
use std::fs;
use std::path::Path;

/// A scratch with equal roots that contain these names.
fn mirrored(names: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    plant(&scratch.source, names);
    scratch.converge();
    scratch
}

fn problems(passed: &Passed) -> Vec<&str> {
    assert_eq!(passed.report.outcome, Outcome::Done);
    assert_eq!(passed.report.counts[Counter::Problems], passed.seen.problems.len() as u64);
    let mut paths: Vec<&str> = passed.seen.problems.iter().map(|(path, _)| path.as_str()).collect();
    paths.sort_unstable();
    paths
}

fn with_mode<R>(path: &Path, mode: u32, work: impl FnOnce() -> R) -> R {
    use std::os::unix::fs::PermissionsExt;
    let before = fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    chmod(path, mode).unwrap();
    let result = work();
    chmod(path, before).unwrap();
    result
}

#[test]
fn a_source_file_that_cannot_be_read_is_a_problem_at_every_pass_and_keeps_its_replica() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["closed", "open"]);
        fs::write(scratch.source.join("closed"), b"CLOSED").unwrap();
        fs::write(scratch.source.join("open"), b"new").unwrap();
        plant(&scratch.replica, &["extra"]);
        with_mode(&scratch.source.join("closed"), 0o000, || {
            for _ in 0..2 {
                assert_eq!(problems(&scratch.pass()), ["closed"]);
                assert_eq!(fs::read(scratch.replica.join("closed")).unwrap(), b"closed");
                assert_eq!(fs::read(scratch.replica.join("open")).unwrap(), b"new");
                assert!(!scratch.replica.join("extra").exists());
            }
        });
        scratch.converge();
    });
}

#[test]
fn a_source_file_of_another_size_that_cannot_be_read_keeps_its_replica_too() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["closed"]);
        fs::write(scratch.source.join("closed"), b"longer than before").unwrap();
        with_mode(&scratch.source.join("closed"), 0o000, || {
            assert_eq!(problems(&scratch.pass()), ["closed"]);
            assert_eq!(fs::read(scratch.replica.join("closed")).unwrap(), b"closed");
        });
        scratch.converge();
    });
}

#[test]
fn a_source_folder_that_cannot_be_read_keeps_its_whole_replica_and_deletions_elsewhere_go_on() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["closed/a", "closed/below/b", "open/c"]);
        let kept = Tree::of(&scratch.replica.join("closed"));
        plant(&scratch.source, &["closed/new"]);
        fs::remove_file(scratch.source.join("closed/a")).unwrap();
        fs::remove_file(scratch.source.join("open/c")).unwrap();
        with_mode(&scratch.source.join("closed"), 0o000, || {
            let passed = scratch.pass();
            assert_eq!(problems(&passed), ["closed"]);
            assert!(passed.seen.did(Verb::Delete, "open/c"));
        });
        assert_same("a folder that cannot be read", &kept, &Tree::of(&scratch.replica.join("closed")));
        scratch.converge();
    });
}

#[test]
fn a_source_folder_that_shows_its_names_and_nothing_else_keeps_its_whole_replica() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["closed/a", "closed/below/b"]);
        plant(&scratch.replica, &["closed/extra"]);
        with_mode(&scratch.source.join("closed"), 0o600, || {
            let passed = scratch.pass();
            assert_eq!(problems(&passed)[..2], ["closed/a", "closed/below"], "{:?}", passed.seen.problems);
        });
        chmod(&scratch.replica.join("closed"), 0o755).unwrap();
        assert_eq!(fs::read(scratch.replica.join("closed/a")).unwrap(), b"closed/a");
        assert_eq!(fs::read(scratch.replica.join("closed/below/b")).unwrap(), b"closed/below/b");
        scratch.converge();
    });
}

#[test]
fn a_new_source_folder_that_cannot_be_read_is_a_problem_and_the_next_pass_fills_it() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["a"]);
        plant(&scratch.source, &["closed/b"]);
        with_mode(&scratch.source.join("closed"), 0o000, || {
            for _ in 0..2 {
                assert_eq!(problems(&scratch.pass()), ["closed"]);
            }
        });
        scratch.converge_in(2);
    });
}

#[test]
fn what_may_be_the_old_name_of_something_that_cannot_be_copied_stays_until_it_can() {
    as_ordinary_user(|| {
        // Moved within a folder, to another one, and out of a deleted folder.
        for (old, new) in [("a", "b"), ("a", "kept/b"), ("goes/a", "b"), ("goes/below/a", "kept/b")] {
            let scratch = mirrored(&["file", "kept/file"]);
            plant(&scratch.source, &[old]);
            scratch.converge();
            let at = |name: &str| scratch.source.join(name);
            fs::rename(at(old), at(new)).unwrap();
            let _ = fs::remove_dir_all(at("goes"));
            // An extra of another size cannot be the same file.
            plant(&scratch.replica, &["an extra of another size"]);
            with_mode(&at(new), 0o000, || {
                for pass in 0..2 {
                    let passed = scratch.pass();
                    assert_eq!(problems(&passed), [new], "{old} to {new}");
                    assert_eq!(
                        fs::read(scratch.replica.join(old)).unwrap(),
                        old.as_bytes(),
                        "{old} to {new}"
                    );
                    let kept =
                        passed.seen.notices.iter().filter(|notice| notice.contains("reason: NotCreated"));
                    assert_eq!(kept.count(), 1, "{:?}", passed.seen.notices);
                    let did = passed.seen.did(Verb::Delete, "an extra of another size");
                    assert_eq!(did, pass == 0, "{old} to {new}");
                }
            });
            scratch.converge_in(2);
            assert!(!scratch.replica.join(old).exists(), "{old} to {new}");
        }
    });
}

#[test]
fn what_differs_in_size_or_time_from_what_cannot_be_copied_goes() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["file", "folder/file"]);
        plant(&scratch.source, &["closed"]);
        plant(&scratch.replica, &["x", "folder/closed"]);
        fs::write(scratch.replica.join("folder/closed"), b"CLOSED").unwrap();
        set_mtime(&scratch.replica.join("folder/closed"), 1_000_000_000, 1).unwrap();
        with_mode(&scratch.source.join("closed"), 0o000, || {
            let passed = scratch.pass();
            assert_eq!(problems(&passed), ["closed"]);
            // An extra of another size in the same folder, and one of the same size elsewhere with another mtime.
            assert!(passed.seen.did(Verb::Delete, "x") && passed.seen.did(Verb::Delete, "folder/closed"));
        });
        scratch.converge();
    });
}

#[test]
fn a_replica_file_that_cannot_be_read_is_replaced() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["a", "b"]);
        chmod(&scratch.replica.join("a"), 0o000).unwrap();
        let passed = scratch.converge();
        assert!(passed.seen.did(Verb::Repair, "a"), "{:?}", passed.seen.done);
    });
}

#[test]
fn a_file_that_cannot_be_read_on_either_side_is_not_assumed_equal() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["a"]);
        let before = Tree::of(&scratch.replica);
        chmod(&scratch.source.join("a"), 0o000).unwrap();
        chmod(&scratch.replica.join("a"), 0o000).unwrap();
        assert_eq!(problems(&scratch.pass()), ["a"]);
        chmod(&scratch.replica.join("a"), 0o644).unwrap();
        assert_same("what cannot be read on both sides", &before, &Tree::of(&scratch.replica));
    });
}

#[test]
fn a_replica_folder_that_its_mode_closes_is_opened_and_the_next_pass_mends_it() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["folder/a", "folder/below/b"]);
        fs::write(scratch.replica.join("folder/a"), b"FOLDER/A").unwrap();
        chmod(&scratch.replica.join("folder"), 0o000).unwrap();
        assert_eq!(problems(&scratch.pass()), ["folder"]);
        scratch.converge();
    });
}

#[test]
fn an_extra_folder_that_its_mode_closes_is_deleted() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["a"]);
        plant(&scratch.replica, &["extra/below/b", "read only/below/b"]);
        for name in ["extra/below", "extra"] {
            chmod(&scratch.replica.join(name), 0o000).unwrap();
        }
        for name in ["read only/below", "read only"] {
            chmod(&scratch.replica.join(name), 0o555).unwrap();
        }
        scratch.converge();
    });
}

#[test]
fn a_closed_folder_in_the_place_of_a_file_is_replaced() {
    as_ordinary_user(|| {
        let scratch = mirrored(&["a"]);
        fs::remove_file(scratch.replica.join("a")).unwrap();
        plant(&scratch.replica, &["a/below/b"]);
        chmod(&scratch.replica.join("a"), 0o000).unwrap();
        scratch.converge();
    });
}
