//! System calls: an unchanged pass writes nothing to the replica, and looks at each file with few calls.

use crate::cases::{Cases, leave_out};
use crate::kit::{Place, has, tell};
use crate::tree::{Abilities, Dice, every_kind};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const FILES: usize = 5000;

/// The most calls per unchanged file that are accepted; docs/testing.md has the measured figure.
const BUDGET: f64 = 12.0;

/// Calls that change something wherever they are aimed.
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
    cases.finish();
}

fn need(programs: &[&str]) {
    if let Some(missing) = programs.iter().find(|program| !has(program)) {
        leave_out(&format!("{missing} is not installed"));
    }
}

fn nothing_is_written() {
    need(&["strace", "setfacl"]);
    let place = Place::new();
    every_kind(&place.source, Abilities { attributes: true, any_name: true });
    let first = place.pass(&[]);
    assert_eq!(first.code, Some(0), "{:?}", first.told());
    // The first pass of a process writes out what an earlier process may have left: that is the one exception.
    let (calls, _) = traced(&place);
    let writes: Vec<&String> = calls.iter().filter(|call| is_write(call, &place.replica)).collect();
    let (syncs, writes): (Vec<&String>, Vec<&String>) =
        writes.into_iter().partition(|call| call.starts_with("syncfs("));
    assert!(writes.is_empty(), "an unchanged pass wrote to the replica: {writes:#?}");
    assert!(syncs.len() <= 1, "{syncs:?}");
    tell(&format!("every kind of entry: {} calls, none of them a write to the replica", calls.len()));
}

fn calls_per_file() {
    need(&["strace"]);
    let place = Place::new();
    let mut dice = Dice(3);
    for number in 0..FILES {
        let folder = place.source.join(format!("folder {}", number / 50));
        if number % 50 == 0 {
            fs::create_dir(&folder).expect("created");
        }
        let size = dice.below(20_000);
        fs::write(folder.join(format!("file {number}")), dice.bytes(size)).expect("written");
    }
    assert_eq!(place.pass(&[]).code, Some(0));
    let (calls, kinds) = traced(&place);
    assert!(!calls.iter().any(|call| is_write(call, &place.replica) && !call.starts_with("syncfs(")));
    let per_file = calls.len() as f64 / FILES as f64;
    let mut kinds: Vec<(String, usize)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most: Vec<String> = kinds
        .iter()
        .filter(|(_, count)| *count * 20 > FILES)
        .map(|(kind, count)| format!("{kind} {:.2}", *count as f64 / FILES as f64))
        .collect();
    tell(&format!("{FILES} unchanged files: {per_file:.2} calls per file ({})", most.join(", ")));
    assert!(per_file <= BUDGET, "more than {BUDGET} calls per file");
}

/// A disk that says "end of file" too early: the old version is worth more than what was read.
fn short_reads() {
    need(&["strace"]);
    let place = Place::new();
    fs::write(place.source.join("file"), "old").expect("written");
    assert_eq!(place.pass(&[]).code, Some(0));
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
    // Only of this file: the loader of the program reads in the same way.
    strace.arg(place.path("trace")).arg("-P").arg(place.source.join("file"));
    let pass = place.run(place.file_sync_under(strace, &["--once"]));
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    assert_eq!(fs::read(place.replica.join("file")).expect("it is there"), b"old");
    assert_eq!(place.pass(&[]).code, Some(0));
    assert_eq!(fs::read(place.replica.join("file")).expect("it is there"), b"new and longer");
    tell("content that ends before its size: a problem, and the old version is kept");
}

/// The calls of a pass that finds nothing to do, as strace writes them, and how many there are of each.
fn traced(place: &Place) -> (Vec<String>, BTreeMap<String, usize>) {
    let trace = place.path("trace");
    let mut strace = Command::new("strace");
    // -y: with the path of each descriptor.
    strace.args(["-f", "-y", "-qq", "-e", "signal=none", "-o"]).arg(&trace);
    let pass = place.run(place.file_sync_under(strace, &["--once"]));
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    assert_eq!(pass.operations(), 0, "{:?}", pass.told());
    let text = fs::read(&trace).expect("a trace");
    let mut calls = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        // "123 statx(5</a/b>, ..." and, for the end of an interrupted line, "123 <... statx resumed>".
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let Some((kind, _)) = call.split_once('(') else { continue };
        if kind.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            *kinds.entry(kind.to_owned()).or_default() += 1;
            calls.push(call.to_owned());
        }
    }
    assert!(calls.len() > 100, "strace saw the program");
    (calls, kinds)
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
