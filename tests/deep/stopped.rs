//! file-sync stopped in the middle: strace stops it right after a chosen system call, and it waits there, with every
//! thread, until it is told to go on. What others do to the trees meanwhile is then done at exactly that moment.

use crate::kit::{Place, Running};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than any pass over a small tree takes on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// How strace tells that the stop was delivered.
const STOP: &str = "--- SIGSTOP {";

/// A run of file-sync that stops after chosen calls.
pub(crate) struct Stopped {
    strace: Running,
    trace: PathBuf,
    errors: PathBuf,
    program: Option<Pid>,
    seen: usize,
}

impl Stopped {
    /// Starts one pass of a single thread, which will stop after the calls that `inject` says, in the form of strace
    /// (`renameat2:signal=STOP:when=3`); `calls` are written to the trace.
    pub(crate) fn start(place: &Place, calls: &str, inject: &str) -> Stopped {
        let (trace, errors) = (place.path("trace"), place.path("errors"));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(&trace);
        strace.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")]);
        let mut command = place.file_sync_under(strace, &["--once", "--threads", "1"]);
        command.stderr(File::create(&errors).expect("created"));
        let strace = Running(command.spawn().expect("strace"));
        Stopped { strace, trace, errors, program: None, seen: 0 }
    }

    /// Waits until the program is stopped (true) or has ended (false).
    pub(crate) fn wait(&mut self) -> bool {
        let begin = Instant::now();
        loop {
            if self.strace.0.try_wait().expect("a child").is_some() {
                return false;
            }
            let stops = self.trace().matches(STOP).count();
            if stops > self.seen && self.is_still() {
                self.seen = stops;
                return true;
            }
            assert!(begin.elapsed() < PATIENCE, "it neither stops nor ends");
            sleep(Duration::from_millis(1));
        }
    }

    /// Lets it run on.
    pub(crate) fn go_on(&self) {
        if let Some(program) = self.program {
            // It may have been killed by then.
            let _ = kill_process(program, Signal::CONT);
        }
    }

    /// Lets it run to its end, however often it stops on the way. Returns its exit code.
    pub(crate) fn finish(mut self) -> Option<i32> {
        self.go_on();
        while self.wait() {
            self.go_on();
        }
        let code = self.strace.0.wait().expect("it ends").code();
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        assert!(!errors.contains("panicked"), "{errors}");
        code
    }

    /// What strace has written so far.
    pub(crate) fn trace(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.trace).unwrap_or_default()).into_owned()
    }

    /// Whether every thread of the program is stopped.
    fn is_still(&mut self) -> bool {
        if self.program.is_none() {
            self.program = child_of(self.strace.0.id());
        }
        let Some(program) = self.program else { return false };
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", program.as_raw_nonzero())) else {
            return false;
        };
        tasks.flatten().all(|task| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:\tt") || line.starts_with("State:\tT"))
        })
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // A check that failed leaves it stopped, and a stopped program outlives its strace.
        if let (Some(program), Ok(None)) = (self.program, self.strace.0.try_wait()) {
            let _ = kill_process(program, Signal::KILL);
        }
    }
}

/// The traced program: strace has no other child that is called like it.
fn child_of(strace: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).ok()?;
    let mut pids = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
    let is_program = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "file-sync")
    };
    pids.find(is_program).and_then(Pid::from_raw)
}
