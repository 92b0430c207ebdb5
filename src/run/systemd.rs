//! Messages to the service manager: readiness, a status line, the watchdog's pings (`sd_notify(3)`).
//!
//! `READY=1` is sent when the roots have been checked and the log and the signals work, before the first pass: a first
//! copy may take hours, and no start-up timeout should have to allow for that. A later failure ends the program with an
//! exit code, which the service manager sees as well.
//!
//! `WATCHDOG=1` is sent between passes always, and during a pass only while the engine's pulse changes or it waits in
//! `syncfs(2)`, which may take minutes without progress. A pass whose pulse stands still for the whole watchdog time
//! gets no more pings, and the service manager restarts the program.
//!
//! A thread of its own sends all messages, because a send blocks while the receiver does not read: a hung service
//! manager must not hold up a backup. Nothing happens when `NOTIFY_SOCKET` is unset.

use crate::control::Interrupt;
use crate::model::counters::Counter;
use crate::model::event::{Event, Monitor, Phase};
use crate::model::report::{Outcome, PassReport};
use sd_notify::NotifyState;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The number of queued messages while the receiver does not read; further ones are dropped.
const BACKLOG: usize = 16;

/// The longest wait for the last message at the end of the program.
const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

/// The pings per watchdog time; two would be enough if the process were never delayed.
const PINGS: u32 = 4;

enum Message {
    Ready,
    Status(String),
    Stopping,
    /// Answered when everything before it has been sent.
    Finish(SyncSender<()>),
}

/// The connection to the service manager, if there is one.
pub struct Service {
    sender: Option<SyncSender<Message>>,
    is_in_pass: Arc<AtomicBool>,
    is_stopping: AtomicBool,
}

impl Service {
    /// Connects to the service manager that started this process, if one did. This is the library's only use of the
    /// environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    ///
    /// # Errors
    /// No thread could be started.
    pub fn from_environment(interrupt: Arc<Interrupt>) -> io::Result<Service> {
        let is_in_pass = Arc::new(AtomicBool::new(false));
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Service { sender: None, is_in_pass, is_stopping: AtomicBool::new(false) });
        }
        let watchdog = sd_notify::watchdog_enabled().filter(|time| !time.is_zero());
        let (sender, receiver) = sync_channel(BACKLOG);
        let is_busy = Arc::clone(&is_in_pass);
        // Not joined at the end: it may be stuck in a send for as long as the receiver likes.
        Builder::new().name("service".into()).spawn(move || match watchdog {
            Some(time) => send_and_ping(&receiver, time, &interrupt, &is_busy),
            None => receiver.iter().for_each(send),
        })?;
        Ok(Service { sender: Some(sender), is_in_pass, is_stopping: AtomicBool::new(false) })
    }

    /// Reports that the checks have succeeded.
    pub fn ready(&self) {
        self.tell(Message::Ready);
    }

    /// Reports that the program ends, and waits a moment for the message to be sent.
    pub fn finish(self) {
        self.stopping();
        let (done, wait) = sync_channel(1);
        self.tell(Message::Finish(done));
        // A timeout, or a thread that has gone, makes no difference here.
        let _ = wait.recv_timeout(FINISH_TIMEOUT);
    }

    fn tell(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // The queue is full while the receiver does not read; a status line may be lost then.
            let _ = sender.try_send(message);
        }
    }

    fn stopping(&self) {
        if !self.is_stopping.swap(true, Ordering::SeqCst) {
            self.tell(Message::Stopping);
        }
    }

    fn status(&self, text: String) {
        self.tell(Message::Status(text));
    }
}

impl Monitor for Service {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::PassStarted { number } => {
                self.is_in_pass.store(true, Ordering::SeqCst);
                self.status(format!("Pass {number} is running"));
            }
            Event::Phase { number, phase } => self.status(progress(*number, phase)),
            Event::PassEnded(report) => {
                self.is_in_pass.store(false, Ordering::SeqCst);
                self.status(summary(report));
            }
            Event::Failed { error, .. } => {
                self.is_in_pass.store(false, Ordering::SeqCst);
                self.status(error.to_string());
            }
            Event::Stopping { signal } => {
                self.status(format!("Stopping after {signal}"));
                self.stopping();
            }
            Event::Started { .. }
            | Event::Verified { .. }
            | Event::Done(_)
            | Event::Planned(_)
            | Event::Skipped { .. }
            | Event::Excluded { .. }
            | Event::Problem(_)
            | Event::Notice(_)
            | Event::Overran { .. }
            | Event::RpoAtRisk { .. }
            | Event::RpoMissed { .. }
            | Event::RpoMet { .. }
            | Event::Stopped => {}
        }
    }
}

/// The status line during a pass.
fn progress(number: u64, phase: &Phase<'_>) -> String {
    match phase {
        Phase::Surveying { .. } => format!("Pass {number} is reading both trees"),
        Phase::Surveyed(counts) => format!("Pass {number} has a plan of {} operations", counts.operations()),
        Phase::Applying => format!("Pass {number} is changing the replica"),
        Phase::Syncing => format!("Pass {number} is making the replica durable"),
    }
}

/// The status line after a pass.
fn summary(report: &PassReport) -> String {
    let PassReport { number, outcome, counts, .. } = report;
    match outcome {
        Outcome::Done => {
            format!(
                "Pass {number} done: {} operations, {} problems",
                counts.operations(),
                counts[Counter::Problems]
            )
        }
        Outcome::Planned => format!("Pass {number} planned {} operations", counts.operations()),
        Outcome::Held(hold) => format!("Pass {number} held: {hold}"),
        Outcome::Interrupted(signal) => format!("Pass {number} interrupted by {signal}"),
        Outcome::ReplicaLost => format!("Pass {number} lost the replica folder"),
    }
}

fn send(message: Message) {
    let sent = match message {
        Message::Ready => sd_notify::notify(&[NotifyState::Ready]),
        Message::Status(text) => sd_notify::notify(&[NotifyState::Status(&text)]),
        Message::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Message::Finish(done) => {
            // The receiver has gone after a timeout.
            let _ = done.send(());
            Ok(())
        }
    };
    // A service manager that does not listen is no reason to stop a backup; it will notice by itself.
    let _ = sent;
}

fn send_and_ping(
    receiver: &Receiver<Message>,
    time: Duration,
    interrupt: &Interrupt,
    is_in_pass: &AtomicBool,
) {
    // The watchdog's time begins with readiness; an earlier ping would be the first message of the program.
    loop {
        match receiver.recv() {
            Ok(message @ Message::Ready) => break send(message),
            Ok(message) => send(message),
            Err(_) => return,
        }
    }
    let mut watchdog = Watchdog::new(time, Instant::now());
    let mut next_ping = Instant::now();
    loop {
        match receiver.recv_timeout(next_ping.saturating_duration_since(Instant::now())) {
            Ok(message) => send(message),
            Err(RecvTimeoutError::Timeout) => {
                let is_excused = !is_in_pass.load(Ordering::SeqCst) || interrupt.waits_for_disk();
                if watchdog.is_alive(Instant::now(), interrupt.pulse(), is_excused) {
                    // As in `send`: a service manager that does not listen will notice by itself.
                    let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                }
                next_ping = Instant::now() + time / PINGS;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Decides whether the program is alive; pure.
struct Watchdog {
    time: Duration,
    pulse: Option<u64>,
    last_sign: Instant,
}

impl Watchdog {
    fn new(time: Duration, now: Instant) -> Watchdog {
        Watchdog { time, pulse: None, last_sign: now }
    }

    /// True when there was a sign of life within the watchdog time: the pulse changed, or no change was required.
    fn is_alive(&mut self, now: Instant, pulse: u64, is_excused: bool) -> bool {
        if is_excused || self.pulse != Some(pulse) {
            self.pulse = Some(pulse);
            self.last_sign = now;
        }
        now.saturating_duration_since(self.last_sign) < self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::counters::Counts;
    use crate::model::report::Hold;
    use crate::model::signal::Signal;

    #[test]
    fn a_vigil_ends_when_the_pulse_stands_still_for_the_whole_time() {
        const EXCUSED: bool = true;
        const BUSY: bool = false;
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_secs(10), start);
        let cases = [
            (0, 0, BUSY, true),
            (9, 0, BUSY, true),
            (10, 0, BUSY, false),
            (11, 1, BUSY, true),
            (20, 1, BUSY, true),
            (21, 1, BUSY, false),
            (22, 1, EXCUSED, true),
            (90, 1, EXCUSED, true),
            (99, 1, BUSY, true),
            (100, 1, BUSY, false),
            (101, 0, BUSY, true),
        ];
        for (seconds, pulse, is_excused, expected) in cases {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(watchdog.is_alive(now, pulse, is_excused), expected, "after {seconds} s");
        }
    }

    #[test]
    fn every_outcome_has_a_short_status() {
        let counts =
            Counts::from_iter([(Counter::Created, 2), (Counter::Deleted, 1), (Counter::Problems, 4)]);
        let outcomes = [
            (Outcome::Done, "Pass 7 done: 3 operations, 4 problems"),
            (Outcome::Planned, "Pass 7 planned 3 operations"),
            (Outcome::Held(Hold::SourceReplaced), "Pass 7 held: the source path leads to another folder"),
            (Outcome::Interrupted(Signal::Interrupt), "Pass 7 interrupted by SIGINT"),
            (Outcome::ReplicaLost, "Pass 7 lost the replica folder"),
        ];
        for (outcome, expected) in outcomes {
            let report = PassReport {
                number: 7,
                outcome,
                counts,
                duration: Duration::ZERO,
                replica_age: None,
                oldest_confirmation: None,
            };
            assert!(summary(&report).starts_with(expected), "{}", summary(&report));
        }
    }
}
