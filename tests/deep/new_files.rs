//! New files created with O_TMPFILE: the behaviour when linkat(2) fails, and no leftovers after a crash.

use crate::harness::cases::Cases;
use crate::harness::images::{Image, mounted};
use crate::harness::kit::{Mount, may_mount};
use crate::harness::trace::with_faults;
use crate::support::dice::Dice;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const FILES: usize = 3;
const LENGTH: usize = 5000;

/// A filesystem, its mkfs command, and the expected number of files created with O_TMPFILE. A journal with fast commits
/// does not support it (Linux 6.18).
const EXT4: [(&str, &[&str], usize); 3] = [
    ("ext4", &["mkfs.ext4", "-q", "-F", "-O", "^fast_commit"], FILES),
    ("ext4 with fast commits", &["mkfs.ext4", "-q", "-F", "-O", "fast_commit"], 0),
    ("ext2", &["mkfs.ext2", "-q", "-F"], FILES),
];

pub(crate) fn run() {
    let cases = Cases::new("new_files");
    for error in ["EXDEV", "EPERM", "EACCES", "EINVAL", "EOPNOTSUPP", "ENOENT"] {
        cases.run(&format!("files that get no name ({error})"), || no_name(error));
    }
    cases.run("a file that is reached through /proc", through_proc);
    cases.run("a file whose name is taken at first", taken);
    cases.run("a file that fails to get its name", fails);
    for (name, mkfs, expected) in EXT4 {
        cases.run(&format!("files without names on {name}: {expected}"), || on_ext4(name, mkfs, expected));
    }
    cases.run("a pass that dies while it copies leaves nothing", dies);
    cases.finish();
}

/// A place on tmpfs, where O_TMPFILE works, with files in a folder that exists on both sides.
fn place(mount: &Path) -> (Mount, Scratch) {
    if !may_mount() {
        leave_out("it may not mount");
    }
    let memory = Mount::tmpfs(mount, "size=1g");
    let place = Scratch::below(mount);
    for side in [&place.source, &place.replica] {
        fs::create_dir_all(side.join("folder")).expect("created");
    }
    for number in 0..FILES {
        fs::write(path(&place, number), Dice(number as u64).bytes(LENGTH)).expect("written");
    }
    (memory, place)
}

fn path(place: &Scratch, number: usize) -> PathBuf {
    place.source.join(format!("folder/{number}"))
}

/// The files are created under temporary names instead; only the first one is copied twice.
fn no_name(error: &str) {
    let around = Scratch::with_source();
    let (_memory, place) = place(&around.at("memory"));
    let pass = with_faults(&place, &[&format!("linkat:error={error}")], None);
    assert_eq!((pass.code, pass.count("created")), (Some(0), FILES as u64), "{:?}", pass.told());
    let written = pass.of("done").last().map(|done| done["bytes_written"].clone());
    assert_eq!(written, Some(((FILES + 1) * LENGTH).into()), "{:?}", pass.told());
    place.assert_in_step("files that get no name");
}

/// As for an ordinary user before Linux 6.10: linkat with AT_EMPTY_PATH fails.
fn through_proc() {
    let around = Scratch::with_source();
    let (_memory, place) = place(&around.at("memory"));
    let pass = with_faults(&place, &["linkat:error=ENOENT:when=1"], None);
    assert_eq!((pass.code, pass.count("created")), (Some(0), FILES as u64), "{:?}", pass.told());
    let trace = fs::read_to_string(place.at("trace")).expect("a trace");
    let is_way = |line: &&str| line.contains(" linkat(") && line.contains("/proc/self/fd/");
    assert_eq!(trace.lines().filter(is_way).count(), 1, "{trace}");
    assert!(!trace.contains("renameat2("), "without a temporary name: {trace}");
    place.assert_in_step("a file that is reached through /proc");
}

fn taken() {
    let around = Scratch::with_source();
    let (_memory, place) = place(&around.at("memory"));
    let pass = with_faults(&place, &["linkat:error=EEXIST:when=2"], None);
    assert_eq!((pass.code, pass.count("created")), (Some(0), FILES as u64), "{:?}", pass.told());
    place.assert_in_step("a file whose name is taken at first");
}

fn fails() {
    let around = Scratch::with_source();
    let (_memory, place) = place(&around.at("memory"));
    let pass = with_faults(&place, &["linkat:error=EIO:when=2"], None);
    assert_eq!((pass.code, pass.count("created")), (Some(23), FILES as u64 - 1), "{:?}", pass.told());
    assert_eq!(fs::read_dir(place.replica.join("folder")).expect("there").count(), FILES - 1);
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("one quiet pass later");
}

fn on_ext4(name: &'static str, mkfs: &'static [&'static str], expected: usize) {
    if !may_mount() {
        leave_out("it may not mount");
    }
    let image = Image { name, size: 64 << 20, mkfs, mount: &["mount", "-o", "loop"] };
    let mut place = Scratch::with_source();
    let _mount = mounted(&place, &image).unwrap_or_else(|why| leave_out(&format!("{name}: {why}")));
    place.replica = place.at("mnt").join("replica");
    for side in [&place.source, &place.replica] {
        fs::create_dir_all(side.join("folder")).expect("created");
    }
    for number in 0..FILES {
        fs::write(path(&place, number), number.to_string()).expect("written");
    }
    let pass = with_faults(&place, &["linkat:delay_enter=1"], None);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    let trace = fs::read_to_string(place.at("trace")).expect("a trace");
    assert_eq!(trace.lines().filter(|line| line.contains(" linkat(")).count(), expected, "{trace}");
    place.assert_in_step(name);
}

/// A kill leaves nothing, not even the space of the copy.
fn dies() {
    let around = Scratch::with_source();
    let (_memory, place) = place(&around.at("memory"));
    let large = place.source.join("folder/large");
    fs::write(&large, vec![0; 400 << 20]).expect("written");
    let free = || {
        let facts = rustix::fs::statvfs(&place.source).expect("asked");
        facts.f_bfree * facts.f_frsize
    };
    let before = free();
    let mut child = place.file_sync(&["--once"]).stdout(Stdio::null()).spawn().expect("started");
    let begin = Instant::now();
    while !has_unnamed(&child) {
        assert!(begin.elapsed() < Duration::from_secs(60), "no file without a name was seen");
        sleep(Duration::from_millis(1));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    let left = fs::read_dir(place.replica.join("folder")).expect("there").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name.len() > 1).collect();
    assert!(left.is_empty(), "{left:?}");
    // The small files and the log are there.
    let taken = before.saturating_sub(free());
    assert!(taken < 10 << 20, "{taken} bytes are gone");
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("after a death");
}

/// Whether a process has an O_TMPFILE file open, and has written a part of it.
fn has_unnamed(child: &Child) -> bool {
    let open = fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
    open.map(|descriptor| descriptor.path()).any(|path| {
        let is_unnamed = fs::read_link(&path).is_ok_and(|to| to.to_string_lossy().ends_with(" (deleted)"));
        is_unnamed && fs::metadata(&path).is_ok_and(|facts| facts.len() > 20 << 20)
    })
}
