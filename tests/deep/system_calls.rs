//! System calls: an unchanged pass writes nothing to the replica, and needs few calls for each file.

use crate::harness::cases::Cases;
use crate::harness::every_kind::{Abilities, every_kind};
use crate::harness::kit::{Mount, Pass, has, may_mount, tell};
use crate::support::dice::Dice;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const FILES: usize = 5000;

/// The accepted numbers of calls per file: of a first copy, of a comparison, and the additional calls of a replacement.
/// docs/performance.md has the measured figures.
const FIRST_COPY: f64 = 18.0;
const NO_CHANGE: f64 = 12.0;
const CHANGED: f64 = 20.0;

/// Calls that threads make to wait for each other: their number depends on timing.
const OF_TIMING: [&str; 3] = ["futex", "sched_yield", "restart_syscall"];

/// Calls that change something, on any object.
const WRITES: [&str; 42] = [
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "sendfile",
    "splice",
    "copy_file_range",
    "ftruncate",
    "truncate",
    "fallocate",
    "creat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "mknod",
    "mknodat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
];
const MORE_WRITES: [&str; 6] =
    ["lremovexattr", "fremovexattr", "setxattrat", "removexattrat", "sync", "syncfs"];

pub(crate) fn run() {
    let cases = Cases::new("system_calls");
    cases.run("an unchanged pass over every kind of entry writes nothing", nothing_is_written);
    cases.run("a content that ends before its size", short_reads);
    cases.run("calls for each unchanged file", calls_per_file);
    cases.run("the disk writes while a pass copies", the_disk_is_not_idle);
    cases.run("a disk that fails while a pass copies, which is then interrupted", interrupted_after_failure);
    cases.run("what is read next is announced where the disk is waited for", announced);
    cases.finish();
}

fn need(programs: &[&str]) {
    if let Some(missing) = programs.iter().find(|program| !has(program)) {
        leave_out(&format!("{missing} is not installed"));
    }
}

fn nothing_is_written() {
    need(&["strace", "setfacl"]);
    let place = Scratch::with_source();
    every_kind(&place.source, Abilities { attributes: true, any_name: true });
    let first = place.once(&[]);
    assert_eq!(first.code, Some(0), "{:?}", first.told());
    // The one exception: the first pass of a process syncs data that an earlier process may have left.
    let (calls, _) = traced(&place, &[], 0);
    let writes: Vec<&String> = calls.iter().filter(|call| is_write(call, &place.replica)).collect();
    let (syncs, writes): (Vec<&String>, Vec<&String>) =
        writes.into_iter().partition(|call| call.starts_with("syncfs("));
    assert!(writes.is_empty(), "an unchanged pass wrote to the replica: {writes:#?}");
    assert!(syncs.len() <= 1, "{syncs:?}");
    tell(&format!("every kind of entry: {} calls, none of them a write to the replica", calls.len()));
}

/// One worker: under strace every worker seems to wait, and readahead would be requested.
const ALONE: &[&str] = &["--threads", "1"];

/// The budget of a pass in calls per file. Calls are counted, because time varies on a busy machine.
fn calls_per_file() {
    need(&["strace"]);
    let folder = Scratch::with_source();
    // tmpfs makes the filesystem known: some filesystems need one sync for all files, others one for each file.
    let memory = may_mount().then(|| Mount::tmpfs(&folder.at("memory"), "size=1g"));
    let place = if memory.is_some() { Scratch::below(&folder.at("memory")) } else { Scratch::with_source() };
    let content = |number: usize, version: u64| Dice(number as u64 + version).bytes(1 + number * 7 % 20_000);
    let path = |number: usize| place.source.join(format!("folder {}/file {number}", number / 50));
    for number in 0..FILES {
        fs::create_dir_all(path(number).parent().expect("a folder")).expect("created");
        fs::write(path(number), content(number, 0)).expect("written");
    }
    let (first, _) = traced(&place, ALONE, FILES);
    let per_file = |calls: &BTreeMap<String, usize>, files: usize| {
        let all: usize = calls.values().sum();
        let most = calls.iter().filter(|(_, count)| **count * 20 > files);
        let most: Vec<String> =
            most.map(|(kind, count)| format!("{kind} {:.2}", *count as f64 / files as f64)).collect();
        (all as f64 / files as f64, most.join(", "))
    };
    let check = |what: &str, calls: &BTreeMap<String, usize>, files: usize, budget: f64| {
        let (found, kinds) = per_file(calls, files);
        tell(&format!("{what}: {found:.2} calls for each of {files} files ({kinds})"));
        assert!(found <= budget, "{what}: more than {budget} calls per file");
    };
    check("first copy", &counts(&first), FILES, FIRST_COPY);
    let (unchanged, _) = traced(&place, ALONE, 0);
    assert!(!unchanged.iter().any(|call| is_write(call, &place.replica) && !call.starts_with("syncfs(")));
    check("no change", &counts(&unchanged), FILES, NO_CHANGE);
    let (bytes, _) = traced(&place, &[ALONE, &["--compare", "bytes"]].concat(), 0);
    check("no change, bytes", &counts(&bytes), FILES, NO_CHANGE);
    let changed = FILES / 20;
    for number in 0..changed {
        fs::write(path(number * 20), content(number * 20, 1_000_000)).expect("written");
    }
    let (some, _) = traced(&place, ALONE, changed);
    let mut more = counts(&some);
    for (kind, count) in counts(&unchanged) {
        more.entry(kind).and_modify(|all| *all = all.saturating_sub(count));
    }
    let syncs = more.get("fdatasync").copied().unwrap_or(0);
    // A small rest at the end is fsynced file by file.
    assert!(memory.is_none() || syncs < 10, "{syncs} fdatasync for {changed} files");
    check("changed", &more, changed, CHANGED);
}

/// Writeback of large copies starts while more is copied; small ones wait for the end.
fn the_disk_is_not_idle() {
    const MIB: usize = 1 << 20;
    need(&["strace"]);
    for (files, at_least, at_most) in [(3, 1, 1), (40, 2, 6)] {
        let place = Scratch::with_source();
        for number in 0..files {
            fs::write(place.source.join(format!("{number}")), vec![7; 10 * MIB]).expect("written");
        }
        let (calls, _) = traced(&place, &[], files);
        let is_sync = |call: &&String| call.starts_with("syncfs(");
        let syncs = calls.iter().filter(is_sync).count();
        assert!((at_least..=at_most).contains(&syncs), "{files} files: {syncs} syncfs");
        let last = calls.iter().rposition(|call| call.starts_with("pwrite64(")).expect("it copies");
        let during = calls.iter().take(last).filter(is_sync).count();
        assert!(during + 1 >= at_least, "{files} files: {during} syncfs before the last of the content");
        tell(&format!("{files} files of 10 MiB: {syncs} syncfs, {during} while more was copied"));
    }
}

/// The kernel reports a failed write once. Here the report arrives in the middle of a pass that is interrupted.
fn interrupted_after_failure() {
    need(&["strace"]);
    let place = Scratch::with_source();
    for number in 0..30 {
        fs::write(place.source.join(format!("{number}")), vec![7; 10 << 20]).expect("written");
    }
    let mut strace = Command::new("strace");
    // The signal arrives with the failure.
    strace.args(["-f", "-qq", "-e", "signal=none", "-e", "inject=syncfs:error=EIO:signal=TERM:when=1"]);
    strace.args(["-e", "inject=pwrite64:delay_exit=5000", "-o"]).arg(place.at("trace"));
    let pass = place.run_command(place.file_sync_under(strace, &["--once", "--threads", "8"]));
    assert_eq!(pass.of("done").count(), 0, "it was to be interrupted: {:?}", pass.told());
    let problems: Vec<String> = pass.of("problem").map(ToString::to_string).collect();
    assert!(problems.len() == 1 && problems[0].contains("sync_replica"), "{problems:?}: {:?}", pass.told());
}

/// Slow reads are announced with fadvise, and reads from the page cache are not.
fn announced() {
    const FILES: usize = 2000;
    need(&["strace"]);
    let place = Scratch::with_source();
    for number in 0..FILES {
        fs::write(place.source.join(format!("{number:04}")), format!("{number:08000}")).expect("written");
    }
    assert_eq!(place.once(&[]).code, Some(0));
    let announced = |delay: &[&str]| {
        let trace = place.at("trace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "--seccomp-bpf", "-e", "signal=none"]).args(delay);
        strace.args(["-e", "trace=pread64,fadvise64", "-o"]).arg(&trace);
        let pass = place.run_command(place.file_sync_under(strace, &["--once", "--threads", "4"]));
        assert_eq!((pass.code, pass.count("unchanged")), (Some(0), FILES as u64), "{:?}", pass.told());
        fs::read_to_string(trace).expect("a trace").matches("fadvise64(").count()
    };
    let slow = announced(&["-e", "inject=pread64:delay_exit=1000"]);
    // Most reads of both sides. The first are made before their speed is known.
    assert!((FILES..=2 * FILES).contains(&slow), "{slow} of {}", 2 * FILES);
    tell(&format!("{slow} of {} contents are announced where reading takes a millisecond", 2 * FILES));
}

/// A disk that returns end of file too early: the old version is kept.
fn short_reads() {
    need(&["strace"]);
    let place = Scratch::with_source();
    fs::write(place.source.join("file"), "old").expect("written");
    assert_eq!(place.once(&[]).code, Some(0));
    fs::write(place.source.join("file"), "new and longer").expect("written");
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-e",
        "signal=none",
        "-e",
        "trace=pread64",
        "-e",
        "inject=pread64:retval=0",
        "-o",
    ]);
    // Only for this file: the loader of the program uses pread64 as well.
    strace.arg(place.at("trace")).arg("-P").arg(place.source.join("file"));
    let pass = place.run_command(place.file_sync_under(strace, &["--once"]));
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    assert_eq!(fs::read(place.replica.join("file")).expect("it is there"), b"old");
    assert_eq!(place.once(&[]).code, Some(0));
    assert_eq!(fs::read(place.replica.join("file")).expect("it is there"), b"new and longer");
    tell("content that ends before its size: a problem, and the old version is kept");
}

/// The number of calls of each kind, without those of timing.
fn counts(calls: &[String]) -> BTreeMap<String, usize> {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for kind in calls.iter().filter_map(|call| call.split('(').next()) {
        if !OF_TIMING.contains(&kind) {
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
    }
    kinds
}

/// The calls of a pass that operates on the given number of files, as strace writes them.
fn traced(place: &Scratch, arguments: &[&str], files: usize) -> (Vec<String>, Pass) {
    let trace = place.at("trace");
    let mut strace = Command::new("strace");
    // -y: with the path of each descriptor.
    strace.args(["-f", "-y", "-qq", "-e", "signal=none", "-o"]).arg(&trace);
    let arguments: Vec<&str> = ["--once"].into_iter().chain(arguments.iter().copied()).collect();
    let pass = place.run_command(place.file_sync_under(strace, &arguments));
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    let about = pass.operations() as usize;
    assert!(about >= files && (files > 0 || about == 0), "{about} operations: {:?}", pass.told());
    let text = fs::read(&trace).expect("a trace");
    let mut calls = Vec::new();
    for line in String::from_utf8_lossy(&text).lines() {
        // "123 statx(5</a/b>, ...", or "123 <... statx resumed>" for the end of an interrupted line.
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let Some((kind, _)) = call.split_once('(') else { continue };
        if kind.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            calls.push(call.to_owned());
        }
    }
    assert!(calls.len() > 100, "strace saw the program");
    (calls, pass)
}

/// Whether a call changes something in the replica.
fn is_write(call: &str, replica: &Path) -> bool {
    let kind = call.split('(').next().unwrap_or_default();
    let writes = match kind {
        "open" | "openat" | "openat2" => {
            ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| call.contains(flag))
        }
        kind => WRITES.contains(&kind) || MORE_WRITES.contains(&kind),
    };
    writes && call.contains(replica.to_str().expect("a plain path"))
}
