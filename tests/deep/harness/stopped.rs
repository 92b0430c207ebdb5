//! file-sync stopped during a pass: strace stops it right after a chosen system call, and it waits there, with every
//! thread, until it gets SIGCONT. A change to the trees meanwhile happens at exactly that moment.

use crate::harness::cases::is_thorough;
use crate::harness::kit::{Pass, Running, has};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than any pass over a small tree takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The line that strace writes for each stopped thread.
const STOPPED: &str = "--- stopped by SIGSTOP ---";

/// A pass that stops after chosen calls. One thread does the work, so that nothing else is in progress.
pub(crate) struct Stopped<'a> {
    place: &'a Scratch,
    program: Running,
    trace: PathBuf,
    errors: PathBuf,
    seen: usize,
}

impl<'a> Stopped<'a> {
    /// Starts a pass that stops after the calls of `inject`, in strace's form (`renameat2:signal=STOP:when=3`). `calls`
    /// are written to the trace.
    pub(crate) fn start(place: &'a Scratch, calls: &str, inject: &str) -> Stopped<'a> {
        Stopped::start_under(place, calls, inject, &[])
    }

    fn start_under(place: &'a Scratch, calls: &str, inject: &str, under: &[&str]) -> Stopped<'a> {
        if !has("strace") {
            leave_out("strace, which stops a pass, is not installed");
        }
        let (trace, errors) = (place.at("trace"), place.at("errors"));
        let mut strace = Command::new("strace");
        // strace as a grandchild (-D): the child is the program itself.
        strace.args(["-D", "-f", "-qq", "-o"]).arg(&trace);
        strace.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")]).args(under);
        let mut command = place.file_sync_under(strace, &["--once", "--threads", "1"]);
        command.stderr(File::create(&errors).expect("created"));
        let program = Running(command.spawn().expect("strace"));
        Stopped { place, program, trace, errors, seen: 0 }
    }

    /// A pass that is stopped right after a thread has made its `nth` call of this name. In the long form the check is
    /// left out if the pass ends without that many calls.
    pub(crate) fn after(place: &'a Scratch, call: &str, nth: usize) -> Stopped<'a> {
        Stopped::after_under(place, (call, nth), &[])
    }

    /// The same, with a limit of 64 open files.
    pub(crate) fn after_with_few_files(place: &'a Scratch, call: &str, nth: usize) -> Stopped<'a> {
        Stopped::after_under(place, (call, nth), &["prlimit", "--nofile=64"])
    }

    fn after_under(place: &'a Scratch, (call, nth): (&str, usize), under: &[&str]) -> Stopped<'a> {
        let mut stopped = Stopped::start_under(place, call, &format!("{call}:signal=STOP:when={nth}"), under);
        if !stopped.wait() {
            assert!(is_thorough(), "the pass ended before {call} {nth}");
            leave_out(&format!("a pass over the small tree makes fewer calls of {call}"));
        }
        stopped
    }

    /// Waits until the program is stopped (true) or has ended (false).
    pub(crate) fn wait(&mut self) -> bool {
        let begin = Instant::now();
        loop {
            if self.program.0.try_wait().expect("a child").is_some() {
                return false;
            }
            if self.is_still() {
                return true;
            }
            assert!(begin.elapsed() < PATIENCE, "it neither stops nor ends");
            sleep(Duration::from_millis(1));
        }
    }

    /// Continues the program.
    pub(crate) fn go_on(&self) {
        // The program may have ended meanwhile.
        let _ = kill_process(self.pid(), Signal::CONT);
    }

    /// Continues the program until its end, past all further stops. Returns its exit code.
    pub(crate) fn finish(mut self) -> Option<i32> {
        self.run_out().code()
    }

    /// The same, with its log.
    pub(crate) fn resume(mut self) -> Pass {
        let status = self.run_out();
        Pass { code: status.code(), events: self.place.events() }
    }

    fn run_out(&mut self) -> ExitStatus {
        let begin = Instant::now();
        let status = loop {
            // Repeated: a thread may stop at a call of its own.
            self.go_on();
            if let Some(status) = self.program.0.try_wait().expect("a child") {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "the pass hangs");
            sleep(Duration::from_millis(5));
        };
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        assert!(!errors.contains("panicked"), "{errors}");
        status
    }

    /// The trace so far.
    pub(crate) fn trace(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.trace).unwrap_or_default()).into_owned()
    }

    /// Whether every thread of the program has stopped once more, by strace's notes: in `/proc` each call that strace
    /// examines looks like a stop as well.
    fn is_still(&mut self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.program.0.id())) else { return false };
        let states = threads.flatten().map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:\tt") || line.starts_with("State:\tT"))
        });
        let states: Vec<bool> = states.collect();
        let stops = self.trace().matches(STOPPED).count();
        let is_still = states.iter().all(|is_stopped| *is_stopped) && stops >= self.seen + states.len();
        if is_still {
            self.seen = stops;
        }
        is_still
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.program.0)
    }
}
