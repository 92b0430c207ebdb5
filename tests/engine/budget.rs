//! The budget of a pass that finds nothing to do: no write to any inode of the replica, not even an attempt.

use crate::support::fsops::{chmod, keeps, link, make_node, plant, set_attribute, set_mtime};
use crate::support::monitor::pass;
use crate::support::scratch::{Scratch, as_ordinary_user, is_root};
use crate::support::tree::{Tree, assert_same};
use file_sync::Counter;
use rustix::fs::FileType;
use std::fs;
use std::os::unix::fs::symlink;

/// A mirrored tree with every kind of entry.
fn mirrored() -> Scratch {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.source.join(name);
    plant(&scratch.source, &["a", "folder/b", "folder/below/c", "empty/", "closed/d", "setuid"]);
    fs::write(path("large"), vec![3; 3 << 20]).unwrap();
    fs::File::create(path("sparse")).unwrap().set_len(5 << 20).unwrap();
    link(&path("a"), &path("folder/further a")).unwrap();
    link(&path("large"), &path("folder/further large")).unwrap();
    symlink("nowhere", path("link")).unwrap();
    set_mtime(&path("link"), -5, 3).unwrap();
    make_node(&path("fifo"), FileType::Fifo, 0).unwrap();
    make_node(&path("socket"), FileType::Socket, 0).unwrap();
    if is_root() {
        make_node(&path("device"), FileType::CharacterDevice, rustix::fs::makedev(1, 3)).unwrap();
    }
    if keeps(&scratch.source, "user.a", b"1") {
        set_attribute(&path("a"), "user.a", b"1").unwrap();
        set_attribute(&path("folder"), "user.a", b"1").unwrap();
    }
    chmod(&path("setuid"), 0o6755).unwrap();
    chmod(&path("closed"), 0o555).unwrap();
    set_mtime(&path("folder"), 1_000_000_000, 1).unwrap();
    set_mtime(&scratch.source, 1_000_000_000, 2).unwrap();
    scratch.converge();
    scratch
}

#[test]
fn an_unchanged_pass_leaves_every_ctime_as_it_is() {
    let scratch = mirrored();
    let before = (Tree::of(&scratch.source).stamped(), Tree::of(&scratch.replica).stamped());
    let mut mirror = scratch.mirror(2);
    for _ in 0..3 {
        let passed = pass(&mut mirror);
        passed.assert_clean();
        assert_eq!(passed.seen.done, []);
        assert_eq!(passed.report.counts[Counter::Unchanged], before.0.entries());
        assert_eq!(passed.report.counts[Counter::BytesWritten], 0);
    }
    assert_same("the source changed", &before.0, &Tree::of(&scratch.source).stamped());
    assert_same("the replica changed", &before.1, &Tree::of(&scratch.replica).stamped());
}

#[test]
fn an_unchanged_pass_needs_no_right_to_write() {
    // Root may write regardless of modes, and a test may not require a read-only mount.
    as_ordinary_user(|| {
        let scratch = mirrored();
        for root in [&scratch.source, &scratch.replica] {
            for name in ["a", "folder/b", "folder/below/c", "large", "sparse"] {
                chmod(&root.join(name), 0o444).unwrap();
            }
            for name in ["folder/below", "folder", "empty", ""] {
                chmod(&root.join(name), 0o555).unwrap();
            }
        }
        scratch.assert_equal();
        scratch.assert_quiet();
    });
}

#[test]
fn an_unchanged_pass_leaves_access_times_as_they_are() {
    use std::os::unix::fs::MetadataExt;
    let scratch = mirrored();
    let times = || {
        let mut times = Vec::new();
        for root in [&scratch.source, &scratch.replica] {
            for name in ["", "a", "folder", "folder/b", "large", "closed"] {
                let facts = fs::symlink_metadata(root.join(name)).unwrap();
                times.push((facts.atime(), facts.atime_nsec()));
            }
        }
        times
    };
    for root in [&scratch.source, &scratch.replica] {
        for name in ["", "a", "folder", "folder/b", "large", "closed"] {
            // The access time is older than the mtime: even a filesystem mounted with relatime would update it.
            let facts = fs::symlink_metadata(root.join(name)).unwrap();
            let time = |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let times = rustix::fs::Timestamps {
                last_access: time(500_000_000, 1),
                last_modification: time(facts.mtime(), facts.mtime_nsec()),
            };
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, root.join(name), &times, flags).unwrap();
        }
    }
    let before = times();
    pass(&mut scratch.mirror(2)).assert_clean();
    assert_eq!(before, times());
}
