//! The program under `strace`: its system calls, and its behaviour when one of them fails, or kills it.

use crate::harness::aim::{self, Target};
use crate::harness::kit::{Pass, has};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Every system call that touches the disk, needs memory, or starts a thread.
pub(crate) const CALLS: [&str; 52] = [
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
    "ioctl",
    "mmap",
    "clone3",
];

/// The time limit of one run. A run takes a tenth of a second; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of the runs: one worker, so that every run makes the same calls in the same order.
const ARGUMENTS: [&str; 3] = ["--once", "--threads", "1"];

/// The result of a run.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The calls that were tampered with, as strace writes them.
    pub(crate) hits: Vec<String>,
    /// The error stream of the program.
    pub(crate) said: String,
    pub(crate) pass: Pass,
}

/// Runs a pass with one tampering, for example `error=EIO`.
pub(crate) fn tamper(place: &Scratch, target: &Target, tampering: &str) -> Ended {
    let mut strace = strace(place, &target.call);
    // `--seccomp-bpf` is quicker, but strace 6.1 loses signals with it.
    if !tampering.starts_with("signal") {
        strace.arg("--seccomp-bpf");
    }
    let last = if target.lasts { "+" } else { "" };
    strace.args(["-e", &format!("inject={}:{tampering}:when={}{last}", target.call, target.when)]);
    if let Some(aim) = &target.aim {
        strace.arg("-P").arg(aim.path(place.path()));
    }
    let (status, said) = ends(place, strace);
    let trace = fs::read(place.at("trace")).unwrap_or_default();
    let hits = String::from_utf8_lossy(&trace)
        .lines()
        .filter(|line| line.contains("INJECTED"))
        .map(str::to_owned)
        .collect();
    Ended { status, hits, said, pass: Pass { code: status.code(), events: place.events() } }
}

/// A pass with one worker, during which calls fail; only calls on `path`, if one is given.
pub(crate) fn with_faults(place: &Scratch, faults: &[&str], path: Option<&str>) -> Pass {
    if !has("strace") {
        leave_out("strace is not installed");
    }
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-e", "signal=none"]);
    for fault in faults {
        strace.args(["-e", &format!("inject={fault}")]);
    }
    if let Some(path) = path {
        strace.arg("-P").arg(place.source.join(path));
    }
    strace.arg("-o").arg(place.at("trace"));
    // A plan that does not fit is carried out as well.
    let arguments = ["--once", "--threads", "1", "--no-space-check"];
    place.run_command(place.file_sync_under(strace, &arguments))
}

fn strace(place: &Scratch, calls: &str) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qqq", "-e", "signal=none", "-e", &format!("trace={calls}")]);
    strace.arg("-o").arg(place.at("trace"));
    strace
}

/// Runs a pass under a prepared strace. If it hangs, its whole process group is killed.
fn ends(place: &Scratch, strace: Command) -> (ExitStatus, String) {
    let said = place.at("said");
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
            // It may have ended in the meantime.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _ = running.wait();
            panic!("it hangs: no end after {} s", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(2));
    };
    (status, String::from_utf8_lossy(&fs::read(&said).unwrap_or_default()).into_owned())
}

/// Every occurrence of every call in a pass on this place, aimed so that it can be hit.
pub(crate) fn targets(place: &Scratch) -> Vec<Target> {
    // Some of these calls do not exist on every machine.
    let known = CALLS.map(|call| format!("?{call}")).join(",");
    let (status, said) = ends(place, strace(place, &known));
    assert!(status.success(), "a pass without any trouble: {status}, {said}");
    let trace = fs::read(place.at("trace")).expect("a trace");
    aim::targets(&String::from_utf8_lossy(&trace), place.path(), &CALLS)
}

/// The signal that ended it, if any: strace ends by the same signal as its child.
pub(crate) fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}
