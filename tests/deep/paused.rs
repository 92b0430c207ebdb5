//! file-sync, stopped in the middle of a pass: at the so-manyth system call of a kind.

use crate::cases::{is_thorough, leave_out};
use crate::kit::{Pass, Place, Running, has};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// So long a pass over a small tree may take, whatever happens to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pass that is stopped. It goes on when it is told to.
pub(crate) struct Paused<'a> {
    place: &'a Place,
    process: Running,
}

impl<'a> Paused<'a> {
    /// A pass that is stopped right after a thread has made its `nth` call of this name. One thread does the work, so
    /// that nothing else is under way. In the long form the check is left out when the pass ends without that many calls.
    pub(crate) fn after(place: &'a Place, call: &str, nth: usize) -> Paused<'a> {
        Paused::started(place, (call, nth), &[])
    }

    /// The same, by a program that may have no more than 64 files open.
    pub(crate) fn after_with_few_files(place: &'a Place, call: &str, nth: usize) -> Paused<'a> {
        Paused::started(place, (call, nth), &["prlimit", "--nofile=64"])
    }

    fn started(place: &'a Place, (call, nth): (&str, usize), under: &[&str]) -> Paused<'a> {
        if !has("strace") {
            leave_out("strace, which stops a pass, is not installed");
        }
        let mut strace = Command::new("strace");
        // As a grandchild (-D): the child is the program itself.
        let noted = place.path("strace");
        strace.args(["-D", "-f", "-o"]).arg(&noted).args(["-e", &format!("trace={call}")]);
        strace.arg("-e").arg(format!("inject={call}:signal=STOP:when={nth}"));
        strace.args(under);
        let child = place.file_sync_under(strace, &["--once", "--threads", "1"]).spawn().expect("it starts");
        let mut process = Running(child);
        let begin = Instant::now();
        while !is_still(process.0.id(), &noted) {
            if process.0.try_wait().expect("a child").is_some() {
                assert!(is_thorough(), "the pass ended before {call} {nth}");
                leave_out(&format!("a pass over the small tree makes fewer calls of {call}"));
            }
            assert!(begin.elapsed() < PATIENCE, "{call} {nth} did not come");
            sleep(Duration::from_millis(5));
        }
        Paused { place, process }
    }

    /// Lets it go on to its end.
    pub(crate) fn resume(mut self) -> Pass {
        let pid = pid(&self.process);
        let begin = Instant::now();
        let status = loop {
            // Again and again: another thread may stop at a call of its own.
            // Where it has ended meanwhile there is nobody to go on.
            let _ = kill_process(pid, Signal::CONT);
            if let Some(status) = self.process.0.try_wait().expect("a child") {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "the pass hangs");
            sleep(Duration::from_millis(10));
        };
        Pass { code: status.code(), events: self.place.events() }
    }
}

fn pid(process: &Running) -> Pid {
    i32::try_from(process.0.id()).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Whether every thread of a process is stopped, as strace has noted it: `/proc` shows each call that strace looks at as a
/// stop as well.
fn is_still(process: u32, noted: &Path) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    let noted = fs::read_to_string(noted).unwrap_or_default();
    noted.matches("--- stopped by SIGSTOP ---").count() >= threads.count()
}
