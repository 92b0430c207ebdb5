//! Trees of extreme shapes: deeper than `PATH_MAX`, very wide, and under a low limit of open files.

use crate::support::monitor::{clean_pass, pass};
use crate::support::scratch::Scratch;
use file_sync::{Counter, Verb};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, mkdirat, openat, statat};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open(root: &Path) -> OwnedFd {
    rustix::fs::open(root, FOLDER, Mode::empty()).unwrap()
}

/// The folder `depth` levels below a root; `None` if the chain ends earlier.
fn deep(root: &Path, name: &str, depth: usize) -> Option<OwnedFd> {
    let mut at = open(root);
    for _ in 0..depth {
        at = openat(&at, name, FOLDER, Mode::empty()).ok()?;
    }
    Some(at)
}

fn write(folder: &OwnedFd, name: &str, content: &[u8]) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::from_raw_mode(0o640)).unwrap();
    fs::File::from(file).write_all(content).unwrap();
}

fn read(folder: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    let file = openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut content = Vec::new();
    fs::File::from(file).read_to_end(&mut content).unwrap();
    Some(content)
}

/// Compares mode and mtime of every folder of a chain.
fn assert_chains_agree(scratch: &Scratch, name: &str, depth: usize) {
    let (mut ours, mut theirs) = (open(&scratch.source), open(&scratch.replica));
    for level in 0..=depth {
        let facts = |fd: &OwnedFd| {
            let stat = fstat(fd).unwrap();
            (stat.st_mode, stat.st_mtime as i64, stat.st_mtime_nsec as u64)
        };
        assert_eq!(facts(&ours), facts(&theirs), "level {level}");
        if level < depth {
            ours = openat(&ours, name, FOLDER, Mode::empty()).unwrap();
            theirs = openat(&theirs, name, FOLDER, Mode::empty()).unwrap();
        }
    }
}

#[test]
fn three_thousand_folders_in_each_other_are_mirrored_changed_and_deleted() {
    const DEPTH: usize = 3000;
    let name = "a long name ".repeat(8);
    let scratch = Scratch::new();
    let mut at = open(&scratch.source);
    for _ in 0..DEPTH {
        mkdirat(&at, &*name, Mode::from_raw_mode(0o750)).unwrap();
        at = openat(&at, &*name, FOLDER, Mode::empty()).unwrap();
    }
    write(&at, "deepest", b"1");
    let mut mirror = scratch.mirror(2);

    clean_pass(&mut mirror);
    assert_chains_agree(&scratch, &name, DEPTH);
    let replica = deep(&scratch.replica, &name, DEPTH).unwrap();
    assert_eq!(read(&replica, "deepest").unwrap(), b"1");
    assert_eq!(clean_pass(&mut mirror).counts.operations(), 0);

    write(&at, "deepest", b"2");
    write(&at, "new", b"3");
    rustix::fs::linkat(&at, "new", open(&scratch.source), "its other name", AtFlags::empty()).unwrap();
    clean_pass(&mut mirror);
    assert_chains_agree(&scratch, &name, DEPTH);
    assert_eq!(read(&replica, "deepest").unwrap(), b"2");
    let other = statat(open(&scratch.replica), "its other name", AtFlags::SYMLINK_NOFOLLOW).unwrap();
    assert_eq!(statat(&replica, "new", AtFlags::SYMLINK_NOFOLLOW).unwrap().st_ino, other.st_ino);
    assert_eq!(clean_pass(&mut mirror).counts.operations(), 0);

    let half = deep(&scratch.source, &name, DEPTH / 2).unwrap();
    crate::support::scratch::empty(half.as_fd());
    assert_eq!(clean_pass(&mut mirror).counts[Counter::Deleted], DEPTH as u64 / 2 + 2);
    assert!(deep(&scratch.replica, &name, DEPTH / 2 + 1).is_none());
    assert_chains_agree(&scratch, &name, DEPTH / 2);
    assert_eq!(clean_pass(&mut mirror).counts.operations(), 0);
}

#[test]
fn a_folder_with_fifty_thousand_entries_is_mirrored_and_kept() {
    const ENTRIES: usize = 50_000;
    let scratch = Scratch::new();
    let folder = open(&scratch.source);
    for at in 0..ENTRIES {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        drop(openat(&folder, format!("entry {at}"), flags, Mode::from_raw_mode(0o644)).unwrap());
    }
    let mut mirror = scratch.mirror(2);
    let passed = pass(&mut mirror);
    passed.assert_clean();
    assert_eq!(passed.report.counts[Counter::Created], ENTRIES as u64);
    for at in (0..ENTRIES).step_by(10_000) {
        fs::write(scratch.source.join(format!("entry {at}")), b"new").unwrap();
        fs::remove_file(scratch.source.join(format!("entry {}", at + 1))).unwrap();
    }
    let passed = pass(&mut mirror);
    passed.assert_clean();
    assert_eq!((passed.report.counts[Counter::Updated], passed.report.counts[Counter::Deleted]), (5, 5));
    assert_eq!(passed.report.counts[Counter::Unchanged], ENTRIES as u64 - 10);
    assert!(passed.seen.did(Verb::Update, "entry 10000") && passed.seen.did(Verb::Delete, "entry 10001"));
    assert_eq!(pass(&mut mirror).seen.done, []);
}
