//! The program under `strace`: which calls it makes, and what becomes of it when one of them fails, or kills it.
//!
//! strace counts the calls of each thread for itself, so "the Nth call" means the Nth of a thread. What one thread
//! does early hides what another would do at the same count: the loader's `openat` calls hide those of the workers. A
//! call that is hidden like that is aimed at by the path that it works on instead, where the count begins anew.

use crate::kit::{Pass, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Every call that touches the disk, needs memory, or starts a thread.
pub(crate) const CALLS: [&str; 51] = [
    "openat",
    "openat2",
    "statx",
    "newfstatat",
    "fstat",
    "getdents64",
    "read",
    "pread64",
    "write",
    "pwrite64",
    "writev",
    "copy_file_range",
    "sendfile",
    "lseek",
    "readlink",
    "readlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "linkat",
    "symlinkat",
    "mknodat",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "utimensat",
    "flistxattr",
    "llistxattr",
    "fgetxattr",
    "lgetxattr",
    "fsetxattr",
    "lsetxattr",
    "fremovexattr",
    "lremovexattr",
    "ftruncate",
    "fallocate",
    "fadvise64",
    "flock",
    "syncfs",
    "fsync",
    "fdatasync",
    "statfs",
    "fstatfs",
    "getrandom",
    "mmap",
    "clone3",
];

/// How long one run may take. They take a tenth of a second; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of the runs: one worker, so that a run makes the same calls in the same order every time.
const ARGUMENTS: [&str; 3] = ["--once", "--threads", "1"];

/// One occurrence of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) call: String,
    /// The count, from 1, in whichever thread gets so far.
    pub(crate) when: usize,
    /// Only calls with this path, or with a descriptor of it, are counted; relative to the place.
    pub(crate) path: Option<PathBuf>,
    /// All later calls are meant as well.
    pub(crate) lasts: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}{}", self.call, self.when, if self.lasts { "+" } else { "" })?;
        self.path.as_ref().map_or(Ok(()), |path| write!(f, " on {}", path.display()))
    }
}

/// What became of the program.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The calls that were tampered with, as strace writes them.
    pub(crate) hits: Vec<String>,
    /// What the program said on its error stream.
    pub(crate) said: String,
    pub(crate) pass: Pass,
}

/// Runs a pass of the program with one tampering, for example `error=EIO`.
pub(crate) fn tamper(place: &Place, target: &Target, tampering: &str) -> Ended {
    let mut strace = strace(place, &target.call);
    // Quicker, but strace 6.1 loses signals by it.
    if !tampering.starts_with("signal") {
        strace.arg("--seccomp-bpf");
    }
    let last = if target.lasts { "+" } else { "" };
    strace.args(["-e", &format!("inject={}:{tampering}:when={}{last}", target.call, target.when)]);
    if let Some(path) = &target.path {
        strace.arg("-P").arg(place.path("").join(path));
    }
    let (status, said) = ends(place, strace);
    let trace = fs::read(place.path("trace")).unwrap_or_default();
    let hits = String::from_utf8_lossy(&trace)
        .lines()
        .filter(|line| line.contains("INJECTED"))
        .map(str::to_owned)
        .collect();
    Ended { status, hits, said, pass: Pass { code: status.code(), events: place.events() } }
}

fn strace(place: &Place, calls: &str) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-e", "signal=none", "-e", &format!("trace={calls}")]);
    strace.arg("-o").arg(place.path("trace"));
    strace
}

/// Runs a pass under a prepared strace; the program and everything that it started is killed when it hangs.
fn ends(place: &Place, strace: Command) -> (ExitStatus, String) {
    let said = place.path("said");
    let mut command = place.file_sync_under(strace, &ARGUMENTS);
    command.stderr(File::create(&said).expect("created")).process_group(0);
    let mut running = command.spawn().expect("strace starts");
    let group = rustix::process::Pid::from_raw(running.id() as i32).expect("a process id");
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = running.try_wait().expect("a child") {
            break status;
        }
        if begin.elapsed() > PATIENCE {
            // Gone in the meantime is as good.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _ = running.wait();
            panic!("it hangs: no end after {} s", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(2));
    };
    (status, String::from_utf8_lossy(&fs::read(&said).unwrap_or_default()).into_owned())
}

/// One line of a recording.
struct Recorded {
    thread: u32,
    call: String,
    count: usize,
    /// The path of its first descriptor or argument, where that lies in the place; relative to it.
    path: Option<PathBuf>,
}

/// Every occurrence of every call that a pass makes on this place, aimed so that it can be hit.
pub(crate) fn targets(place: &Place) -> Vec<Target> {
    // Not all that are known exist on every machine.
    let known = CALLS.map(|call| format!("?{call}")).join(",");
    let (status, said) = ends(place, strace(place, &known));
    assert!(status.success(), "a pass without any trouble: {status}, {said}");
    let trace = fs::read(place.path("trace")).expect("a trace");
    let recorded = recorded(&String::from_utf8_lossy(&trace), &place.path(""));
    let mut reach: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    for line in &recorded {
        reach.insert((&line.call, line.thread), line.count);
    }
    let main = recorded.first().expect("calls").thread;
    let mut on_path: BTreeMap<(u32, &str, &Path), usize> = BTreeMap::new();
    let mut targets = BTreeSet::new();
    for line in &recorded {
        let Recorded { thread, call, count, path } = line;
        let count_there = path.as_ref().map(|path| {
            let count = on_path.entry((*thread, call, path)).or_default();
            *count += 1;
            *count
        });
        let is_hidden =
            *thread != main && reach.get(&(call.as_str(), main)).is_some_and(|most| most >= count);
        let (when, path) = match (is_hidden, path, count_there) {
            (true, Some(path), Some(there)) => (there, Some(path.clone())),
            (true | false, _, _) => (*count, None),
        };
        targets.insert(Target { call: call.clone(), when, path, lasts: false });
    }
    targets.into_iter().collect()
}

fn recorded(trace: &str, folder: &Path) -> Vec<Recorded> {
    let folder = folder.to_str().expect("a plain path").trim_end_matches('/');
    let mut counts: BTreeMap<(u32, &str), usize> = BTreeMap::new();
    let mut recorded = Vec::new();
    for line in trace.lines() {
        // "123 statx(5</a/b>, ..." and, for the end of an interrupted line, "123 <... statx resumed>".
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let (Ok(thread), Some((call, arguments))) = (thread.parse(), rest.trim_start().split_once('('))
        else {
            continue;
        };
        if !CALLS.contains(&call) {
            continue;
        }
        let count = counts.entry((thread, call)).or_default();
        *count += 1;
        recorded.push(Recorded {
            thread,
            call: call.to_owned(),
            count: *count,
            path: path_in(arguments, folder),
        });
    }
    recorded
}

/// The path of the first argument: of a descriptor `5</a/b>` or of a string `"/a/b"`. Temporaries have another name in
/// every run and cannot be aimed at.
fn path_in(arguments: &str, folder: &str) -> Option<PathBuf> {
    let first = arguments.split(", ").next()?;
    let shown = match first.split_once('<') {
        Some((_, rest)) => rest.split('>').next()?,
        None => first.strip_prefix('"')?.split('"').next()?,
    };
    let inside = shown.strip_prefix(folder)?.trim_start_matches('/');
    (!inside.contains(".file-sync-") && !inside.contains('\\')).then(|| PathBuf::from(inside))
}

/// The signal that ended it, if one did: strace ends as what it watches did.
pub(crate) fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}
