//! Read-only parts of a replica: snapshots, mounts, a disk, read-only exports of a server. Each is one problem,
//! whatever its content; nothing in it is changed, and everything else is done.

use crate::fuse::sealed;
use crate::harness::cases::Cases;
use crate::harness::images::BTRFS;
use crate::harness::images::mounted;
use crate::harness::kit::{Mount, Pass, has, sh};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

pub(crate) fn run(cases: &Cases, memory: &Path) {
    cases.run("read-only snapshots in the replica", || snapshots(memory));
    for threads in ["1", "8"] {
        cases.run(&format!("a read-only mount in the replica, {threads} threads"), || mount(memory, threads));
        cases.run(&format!("a read-only replica, {threads} threads"), || whole(memory, threads));
    }
    cases.run("a mount whose server refuses every change", || served(memory));
    cases.run("EROFS for one file of a folder", || one_file(memory));
}

/// The path and the message of each problem, sorted.
fn problems(pass: &Pass) -> Vec<String> {
    let word =
        |problem: &serde_json::Value, field: &str| problem[field].as_str().unwrap_or_default().to_owned();
    let line = |problem| format!("{}: {}", word(problem, "path"), word(problem, "action"));
    let mut lines: Vec<String> = pass.of("problem").map(line).collect();
    lines.sort();
    lines
}

fn sealed(path: &str) -> String {
    format!("{path}: change this folder of the replica")
}

fn fill(folder: &Path, names: std::ops::Range<u32>, content: &str) {
    fs::create_dir_all(folder).expect("created");
    for name in names {
        fs::write(folder.join(name.to_string()), content).expect("written");
    }
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).expect("readable").count()
}

/// The layout of snapper: a writable folder for each snapshot, with the snapshot and an info file.
fn snapshots(memory: &Path) {
    if !has("btrfs") {
        leave_out("btrfs is not installed");
    }
    let mut place = Scratch::below(memory);
    let _disk = mounted(&place, &BTRFS).unwrap_or_else(|why| leave_out(&why));
    place.replica = place.at("mnt").join("replica");
    let btrfs = |words: &[&str], paths: &[&Path]| {
        let words = words.iter().map(OsStr::new).chain(paths.iter().map(|path| path.as_os_str()));
        sh("btrfs", &words.collect::<Vec<_>>());
    };
    btrfs(&["subvolume", "create"], &[&place.replica]);
    fill(&place.source.join("folder/deep"), 0..300, "content");
    assert_eq!(place.once(&[]).code, Some(0));
    for number in ["1", "2"] {
        let folder = place.replica.join(".snapshots").join(number);
        fs::create_dir_all(&folder).expect("created");
        fs::write(folder.join("info.xml"), "told").expect("written");
        btrfs(&["subvolume", "snapshot", "-r"], &[&place.replica, &folder.join("snapshot")]);
    }
    fill(&place.replica.join("extra"), 0..20, "extra");
    fill(&place.source.join("folder/deep"), 0..10, "new content");
    for _ in 0..2 {
        let pass = place.once(&[]);
        assert_eq!(pass.code, Some(23), "{:?}", pass.told());
        let told = [".snapshots/1/snapshot", ".snapshots/2/snapshot"].map(sealed);
        assert_eq!(problems(&pass), told, "{:?}", pass.told());
        for number in ["1", "2"] {
            let folder = place.replica.join(".snapshots").join(number);
            assert_eq!(count(&folder.join("snapshot/folder/deep")), 300);
            assert!(!folder.join("info.xml").exists(), "it is no part of the snapshot");
        }
        assert!(!place.replica.join("extra").exists());
        assert_eq!(fs::read(place.replica.join("folder/deep/3")).expect("there"), b"new content");
    }
}

/// Files to update, to create, to delete and to change in mode, in a mount and beside it.
fn differ(source: &Path, replica: &Path) {
    for folder in ["", "deep/er"] {
        fill(&source.join(folder), 0..40, "new content");
        fill(&replica.join(folder), 0..20, "old content");
        fill(&replica.join(folder), 100..120, "extra");
        for name in 200..220 {
            for root in [source, replica] {
                fill(&root.join(folder), name..name + 1, "the same");
            }
            let path = source.join(folder).join(name.to_string());
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
        }
    }
    fill(&source.join("new"), 0..20, "new folder");
}

fn mount(memory: &Path, threads: &str) {
    let place = Scratch::below(memory);
    let disk = place.at("disk");
    differ(&place.source.join("outside"), &place.replica.join("outside"));
    differ(&place.source.join("above/inside"), &disk);
    let at = place.replica.join("above/inside");
    let bind = [OsStr::new("-o"), OsStr::new("bind,ro"), disk.as_os_str()];
    let _bind = Mount::new(&at, "mount", &bind).unwrap_or_else(|why| leave_out(&why));
    let before = crate::support::tree::Tree::of(&disk);
    let pass = place.once(&["-j", threads]);
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    assert_eq!(problems(&pass), [sealed("above/inside")], "{:?}", pass.told());
    assert!(crate::support::tree::differences(&before, &crate::support::tree::Tree::of(&disk)).is_empty());
    let outside = |root: &Path| crate::support::tree::Tree::of(&root.join("outside"));
    let left = crate::support::tree::differences(&outside(&place.source), &outside(&place.replica));
    assert!(left.is_empty(), "{left:?}");
}

fn whole(memory: &Path, threads: &str) {
    let place = Scratch::below(memory);
    let disk = place.at("disk");
    differ(&place.source, &disk);
    let bind = [OsStr::new("-o"), OsStr::new("bind,ro"), disk.as_os_str()];
    let _bind = Mount::new(&place.replica, "mount", &bind).unwrap_or_else(|why| leave_out(&why));
    let pass = place.once(&["-j", threads]);
    assert_eq!((pass.code, pass.operations()), (Some(23), 0), "{:?}", pass.told());
    assert_eq!(problems(&pass), [sealed(".")], "{:?}", pass.told());
}

fn served(memory: &Path) {
    let place = Scratch::below(memory);
    fs::create_dir_all(place.replica.join("served")).expect("created");
    let mount = sealed::mounted(&place.replica.join("served"), 100);
    let _mount = mount.unwrap_or_else(|error| leave_out(&format!("FUSE: {error}")));
    fill(&place.source.join("served"), 50..150, "new content");
    fill(&place.source.join("other"), 0..10, "content");
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    assert_eq!(problems(&pass), [sealed("served")], "{:?}", pass.told());
    assert_eq!(count(&place.replica.join("other")), 10);
}

/// EROFS for a single file, as from a union of several disks of which one is read-only: it says nothing about the
/// folder.
fn one_file(memory: &Path) {
    if !has("strace") {
        leave_out("strace is not installed");
    }
    let place = Scratch::below(memory);
    fill(&place.replica.join("extra"), 0..20, "extra");
    fill(&place.replica, 0..5, "extra");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=unlinkat", "-e", "inject=unlinkat:error=EROFS:when=3", "-o"]);
    strace.arg(place.at("trace"));
    let pass = place.run_command(place.file_sync_under(strace, &["--once", "-j", "1"]));
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    let told = problems(&pass);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(": delete it from the replica"), "{told:?}");
    let in_extra = fs::read_dir(place.replica.join("extra")).map_or(0, Iterator::count);
    let left = count(&place.replica) + in_extra;
    assert!(left <= 2, "everything else went: {left}");
}
