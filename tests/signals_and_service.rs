//! Signals, the schedule on the real clock, and the service manager, together in a process of their own.
//!
//! The process is a second run of this test binary, which runs only [`child`] with a substitute engine: signals concern
//! a whole process, and the duration of a pass of the real engine cannot be set to suit a test.

#![allow(clippy::expect_used, reason = "a helper of a test may fail as the test itself may")]

use file_sync::schedule::{Deps, Engine, run};
use file_sync::signals::{Listener, Reactions};
use file_sync::systemd::Service;
use file_sync::{
    Counts, Error, Event, Exit, Fanout, Interrupt, Interval, Monitor, Outcome, PassReport, Requests, Timer,
};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

const ENGINE: &str = "FILE_SYNC_TEST_ENGINE";
const A_MOMENT: Duration = Duration::from_millis(10);

/// The behaviour of the engine in the child.
#[derive(Clone, Copy)]
enum Manner {
    /// Ends at once.
    Quick,
    /// Works, with a heartbeat, until it is interrupted.
    Busy,
    /// Has no heartbeat and ignores interruption.
    Stuck,
    /// Waits for an fsync until it is interrupted.
    Syncing,
}

impl Manner {
    fn word(self) -> &'static str {
        match self {
            Manner::Quick => "quick",
            Manner::Busy => "busy",
            Manner::Stuck => "stuck",
            Manner::Syncing => "syncing",
        }
    }
}

struct TestEngine {
    manner: Manner,
    interrupt: Arc<Interrupt>,
}

impl Engine for TestEngine {
    fn pass(&mut self, number: u64, _: &dyn Monitor) -> Result<PassReport, Error> {
        let interrupt = &self.interrupt;
        match self.manner {
            Manner::Quick => {}
            Manner::Busy => {
                while !interrupt.is_set() {
                    interrupt.beat();
                    sleep(A_MOMENT);
                }
            }
            Manner::Stuck => loop {
                sleep(A_MOMENT);
            },
            Manner::Syncing => {
                interrupt.begin_disk_wait();
                while !interrupt.is_set() {
                    sleep(A_MOMENT);
                }
                interrupt.end_disk_wait();
            }
        }
        let outcome = interrupt.stopped_by().map_or(Outcome::Done, Outcome::Interrupted);
        let counts = Counts::default();
        Ok(PassReport {
            number,
            outcome,
            counts,
            duration: Duration::ZERO,
            replica_age: None,
            oldest_confirmation: None,
        })
    }
}

struct Printer;

impl Monitor for Printer {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::PassStarted { number } => say(&format!("start {number}")),
            Event::PassEnded(report) => say(&format!("end {}", report.number)),
            Event::Stopping { signal } => say(&format!("stopping {signal}")),
            Event::Stopped => say("stopped"),
            Event::Overran { .. } => say("overran"),
            Event::Failed { error, .. } => say(&error.to_string()),
            Event::Started { .. }
            | Event::Phase { .. }
            | Event::Verified { .. }
            | Event::Done(_)
            | Event::Planned(_)
            | Event::Skipped { .. }
            | Event::Problem(_)
            | Event::Notice(_)
            | _ => {}
        }
    }
}

fn say(line: &str) {
    println!("\nchild: {line}");
}

#[test]
#[ignore = "runs in a process that the other tests start"]
fn child() {
    let word = std::env::var(ENGINE).unwrap_or_default();
    let manners = [Manner::Quick, Manner::Busy, Manner::Stuck, Manner::Syncing];
    let Some(manner) = manners.into_iter().find(|manner| manner.word() == word) else {
        return;
    };
    let interrupt = Arc::new(Interrupt::new());
    let requests = Arc::new(Requests::new());
    let timer = Timer::new().expect("a timer");
    let reactions = Reactions {
        interrupt: Arc::clone(&interrupt),
        requests: Arc::clone(&requests),
        waker: timer.waker(),
        reopen: Box::new(|| say("reopen")),
    };
    let listener = Listener::start(reactions).expect("signals");
    let service = Service::from_environment(Arc::clone(&interrupt)).expect("a thread");
    service.ready();
    let parts = Deps {
        engine: &mut TestEngine { manner, interrupt: Arc::clone(&interrupt) },
        clock: &timer,
        requests: &requests,
        interrupt: &interrupt,
        monitor: &Fanout::new([&Printer as &dyn Monitor, &service]),
        rpo: None,
    };
    let hour = Interval::new(Duration::from_secs(3600)).expect("valid");
    assert_eq!(run(Some(hour), parts), Exit::Done);
    service.finish();
    listener.finish();
    say("end of the program");
}

struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(manner: Manner) -> Program {
        Program::start_with(manner, |command| command)
    }

    fn start_with(manner: Manner, prepare: impl FnOnce(&mut Command) -> &mut Command) -> Program {
        let mut command = Command::new(std::env::current_exe().expect("known"));
        command.args(["--exact", "child", "--ignored", "--nocapture"]);
        command.env(ENGINE, manner.word()).env_remove("NOTIFY_SOCKET").stdout(Stdio::piped());
        let mut child = prepare(&mut command).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Program { child, lines }
    }

    /// Reads the child's next line, which has to be this one. Other output is skipped.
    fn expect(&mut self, expected: &str) {
        let next = self.lines.by_ref().find_map(|line| line.ok()?.strip_prefix("child: ").map(str::to_owned));
        assert_eq!(next.as_deref(), Some(expected));
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The child is still alive only after a failed test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_while_waiting_ends_the_program_in_order() {
    for (signal, word) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let mut program = Program::start(Manner::Quick);
        program.expect("start 1");
        program.expect("end 1");
        program.send(signal);
        program.expect(&format!("stopping {word}"));
        program.expect("stopped");
        program.expect("end of the program");
        assert_eq!(program.exit_code(), Some(0));
    }
}

#[test]
fn a_signal_during_a_pass_ends_it_and_the_program() {
    let mut program = Program::start(Manner::Busy);
    program.expect("start 1");
    program.send(Signal::TERM);
    program.expect("stopping SIGTERM");
    program.expect("end 1");
    program.expect("stopped");
    program.expect("end of the program");
    assert_eq!(program.exit_code(), Some(0));
}

#[test]
fn sigusr1_starts_a_pass_now() {
    let mut program = Program::start(Manner::Quick);
    program.expect("start 1");
    program.expect("end 1");
    for number in 2..5 {
        program.send(Signal::USR1);
        program.expect(&format!("start {number}"));
        program.expect(&format!("end {number}"));
    }
    program.send(Signal::TERM);
    program.expect("stopping SIGTERM");
}

#[test]
fn sighup_reopens_the_log_in_the_middle_of_a_pass() {
    let mut program = Program::start(Manner::Busy);
    program.expect("start 1");
    for _ in 0..2 {
        program.send(Signal::HUP);
        program.expect("reopen");
    }
    program.send(Signal::TERM);
    program.expect("stopping SIGTERM");
}

#[test]
fn a_second_signal_exits_at_once_even_from_a_stuck_pass() {
    for second in [Signal::TERM, Signal::INT] {
        let mut program = Program::start(Manner::Stuck);
        program.expect("start 1");
        program.send(Signal::TERM);
        // The program ignores a second signal within a tenth of a second of the first, so it is sent repeatedly.
        while program.child.try_wait().expect("it can be asked").is_none() {
            program.send(second);
            sleep(A_MOMENT);
        }
        assert_eq!(program.exit_code(), Some(1));
    }
}

/// A service manager of the test.
struct Manager {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
        Manager { folder, socket }
    }

    fn start(&self, manner: Manner, watchdog: Option<Duration>) -> Program {
        let path = self.folder.path().join("notify");
        Program::start_with(manner, |command| {
            command.env_remove("WATCHDOG_PID").env_remove("WATCHDOG_USEC").env("NOTIFY_SOCKET", path);
            if let Some(time) = watchdog {
                command.env("WATCHDOG_USEC", time.as_micros().to_string());
            }
            command
        })
    }

    /// The next message; `None` if none arrives within this time.
    fn hear(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).expect("set");
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())
    }

    fn expect(&self, expected: &str) {
        assert_eq!(self.hear(Duration::from_secs(30)).as_deref(), Some(expected));
    }
}

#[test]
fn the_service_manager_hears_of_readiness_passes_and_the_end() {
    let manager = Manager::new();
    let mut program = manager.start(Manner::Quick, None);
    manager.expect("READY=1");
    manager.expect("STATUS=Pass 1 is running");
    manager.expect("STATUS=Pass 1 done: 0 operations, 0 problems");
    program.send(Signal::TERM);
    manager.expect("STATUS=Stopping after SIGTERM");
    manager.expect("STOPPING=1");
    assert_eq!(program.exit_code(), Some(0));
    assert_eq!(manager.hear(Duration::from_millis(1)), None);
}

#[test]
fn a_service_manager_that_does_not_read_holds_nothing_up() {
    let manager = Manager::new();
    let mut program = manager.start(Manner::Quick, None);
    for number in 1..50 {
        program.expect(&format!("start {number}"));
        program.expect(&format!("end {number}"));
        program.send(Signal::USR1);
    }
    program.expect("start 50");
    program.expect("end 50");
    program.send(Signal::TERM);
    program.expect("stopping SIGTERM");
    program.expect("stopped");
    program.expect("end of the program");
    assert_eq!(program.exit_code(), Some(0));
}

#[test]
fn the_watchdog_is_fed_while_there_is_progress_or_nothing_to_do() {
    const TIME: Duration = Duration::from_millis(200);
    for manner in [Manner::Quick, Manner::Busy, Manner::Syncing] {
        let manager = Manager::new();
        let _program = manager.start(manner, Some(TIME));
        // Four pings per watchdog interval: a silent pass would never get as many as twenty.
        let mut pings = 0;
        while pings < 20 {
            let message = manager.hear(Duration::from_secs(30)).expect("a ping");
            pings += u32::from(message == "WATCHDOG=1");
        }
    }
}

#[test]
fn a_pass_without_a_pulse_starves_the_watchdog() {
    const TIME: Duration = Duration::from_millis(200);
    let manager = Manager::new();
    let _program = manager.start(Manner::Stuck, Some(TIME));
    manager.expect("READY=1");
    let mut pings = 0;
    while let Some(message) = manager.hear(3 * TIME) {
        pings += u32::from(message == "WATCHDOG=1");
        assert!(pings <= 100, "a stuck pass is still fed");
    }
}

#[test]
fn the_real_program_tells_the_service_manager_of_its_start_and_end() {
    let manager = Manager::new();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("source")).expect("created");
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("file-sync"));
    command.current_dir(folder.path()).env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
    command.env_remove("WATCHDOG_USEC").stdout(Stdio::null()).stderr(Stdio::null());
    command.args(["--source", "source", "--replica", "replica", "--log_file", "log", "--once"]);
    command.status().expect("it runs");
    manager.expect("READY=1");
    manager.expect("STATUS=Pass 1 is running");
    let rest: Vec<_> = std::iter::from_fn(|| manager.hear(Duration::from_millis(1))).collect();
    assert_eq!(rest.last().map(String::as_str), Some("STOPPING=1"), "{rest:?}");
}

#[test]
fn a_pass_that_waits_for_the_rate_limit_is_alive_to_the_watchdog() {
    let manager = Manager::new();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("source")).expect("created");
    std::fs::write(folder.path().join("source/file"), vec![1; 1 << 20]).expect("written");
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("file-sync"));
    command.current_dir(folder.path()).env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
    command.env("WATCHDOG_USEC", "400000").env_remove("WATCHDOG_PID");
    command.env("XDG_STATE_HOME", folder.path().join("state")).stdout(Stdio::null()).stderr(Stdio::null());
    command.args(["--source", "source", "--replica", "replica", "--once", "--bwlimit", "1K"]);
    let mut child = command.spawn().expect("it starts");
    // Two minutes from one piece to the next: a pass without a pulse would get some four pings.
    let heard = std::iter::from_fn(|| manager.hear(Duration::from_secs(30)));
    let pings = heard.filter(|message| message == "WATCHDOG=1").take(20).count();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(pings, 20);
}
