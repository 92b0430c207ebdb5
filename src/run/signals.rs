//! Signal handling: SIGTERM and SIGINT stop, SIGHUP reopens the log, SIGUSR1 starts a pass.
//!
//! SIGHUP has two meanings. Log rotation sends it to have the file reopened; the kernel and shells send it when a
//! terminal is closed, and then a program that was started from it ends, or it would go on unseen for months. The
//! sender of a signal tells nothing: a shell sends the same as `kill(1)`. The state of the terminal decides, see
//! `TerminalWatch`.
//!
//! One thread receives signals and passes them on. So the log is reopened at once even in the middle of a long pass,
//! and signal handlers only set flags, as hardly any call is safe there (`signal-safety(7)`). SIGPIPE stays ignored, as
//! Rust's runtime has set it: a closed console is an error code, and does not end the program. So does SIGXFSZ, see
//! [`survive_size_limits`].

use crate::control::Interrupt;
use crate::control::Requests;
use crate::fs::clock::Waker;
use crate::fs::terminal::{Terminal, ignores_hangups};
use crate::model::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag::{register, register_conditional_shutdown};
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// The exit code after a second signal: unlike an orderly stop it may leave temporaries behind.
const SECOND_SIGNAL_EXIT: i32 = 1;

/// A second signal within this time is an echo of the first: `timeout(1)` signals its child and then the whole process
/// group, which the child belongs to, and a terminal and a wrapping script may both pass on one Ctrl-C. No person is
/// that fast.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// A SIGHUP is unrelated to a terminal that was found closed longer ago than this.
const RECENT: Duration = Duration::from_secs(5);

/// The time after a SIGHUP in which the terminal may still close: a shell, or a window, passes the signal on before it
/// ends.
const ABOUT_TO_GO: Duration = Duration::from_secs(2);

/// The interval of checks of the terminal during [`ABOUT_TO_GO`].
const FAST_POLL: Duration = Duration::from_millis(50);

/// The interval of checks otherwise. A pseudo-terminal wakes its waiter when it is closed, others may not.
const SLOW_POLL: Duration = Duration::from_secs(2);

/// The targets of the signals.
pub struct Reactions {
    /// Stopped by SIGTERM, SIGINT, and SIGHUP from a terminal that was closed.
    pub interrupt: Arc<Interrupt>,
    /// Asked for a pass by SIGUSR1.
    pub requests: Arc<Requests>,
    /// Ends the wait between passes after each of them.
    pub waker: Arc<Waker>,
    /// Requests that the log reopen its file, after SIGHUP. It must not block: no signal is received meanwhile.
    pub reopen: Box<dyn Fn() + Send>,
}

/// The thread that receives signals.
pub struct Listener {
    handle: Handle,
    thread: JoinHandle<()>,
}

/// Lets the program survive a limit of file sizes (`ulimit -f`, systemd's `LimitFSIZE=`), whose signal, SIGXFSZ, would
/// end it: the call beyond the limit still returns `EFBIG` (setrlimit(2)), which is reported for that one file.
///
/// # Errors
/// The system refuses a handler.
pub fn survive_size_limits() -> io::Result<()> {
    register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(|_| ())
}

impl Listener {
    /// Starts receiving signals.
    ///
    /// # Errors
    /// No thread, no file descriptors, no memory.
    pub fn start(reactions: Reactions) -> io::Result<Listener> {
        // Before SIGHUP is caught: a program that ignores it (nohup) is not to end with the terminal.
        let watch = if ignores_hangups() { None } else { TerminalWatch::start() };
        let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        let handle = signals.handle();
        // The exit happens in the handler itself, so that a second signal works even if all threads are stuck. The
        // thread arms it, not another handler: then neither the order of registered handlers nor two simultaneous
        // signals can make a first signal count as a second.
        let is_armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            register_conditional_shutdown(signal, SECOND_SIGNAL_EXIT, Arc::clone(&is_armed))?;
        }
        let hearing = Hearing { reactions, is_armed, watch, until: None };
        let thread = Builder::new().name("signals".into()).spawn(move || listen(signals, hearing))?;
        Ok(Listener { handle, thread })
    }

    /// Stops receiving and drops the targets. The signals stay caught: later ones are ignored, except for a second
    /// SIGTERM or SIGINT.
    pub fn finish(self) {
        self.handle.close();
        // A panic of the thread has been reported; the program ends here anyway.
        let _ = self.thread.join();
    }
}

/// The state of the thread.
struct Hearing {
    reactions: Reactions,
    is_armed: Arc<AtomicBool>,
    /// None without a terminal, or where its closing is ignored.
    watch: Option<Arc<TerminalWatch>>,
    /// The time until which a SIGHUP may come from a terminal that is being closed.
    until: Option<Instant>,
}

fn listen(mut signals: Signals, mut hearing: Hearing) {
    while !signals.is_closed() {
        let heard = if hearing.until.is_some() {
            sleep(FAST_POLL);
            signals.pending()
        } else {
            signals.wait()
        };
        for signal in heard {
            // The panic hook has reported a panic by now. A program that receives no signals could only be killed, so
            // receiving goes on.
            let _ = catch_unwind(AssertUnwindSafe(|| hearing.hear(signal)));
        }
        hearing.look_at_terminal();
    }
}

impl Hearing {
    fn hear(&mut self, signal: i32) {
        // Flags first, then the wake-up: the woken thread finds the flag set.
        match signal {
            SIGHUP => {
                (self.reactions.reopen)();
                self.until = Some(Instant::now() + ABOUT_TO_GO);
            }
            SIGUSR1 => {
                self.reactions.requests.run_now();
                self.reactions.waker.wake();
            }
            SIGINT => self.stop(Signal::Interrupt),
            _ => self.stop(Signal::Terminate),
        }
    }

    /// Stops when a SIGHUP turns out to come from the terminal.
    fn look_at_terminal(&mut self) {
        let (Some(until), Some(watch)) = (self.until, &self.watch) else {
            self.until = None;
            return;
        };
        match watch.meaning() {
            Meaning::Closed => {
                self.until = None;
                self.stop(Signal::Hangup);
            }
            Meaning::Open if Instant::now() < until => {}
            Meaning::Open | Meaning::Detached => self.until = None,
        }
    }

    fn stop(&self, signal: Signal) {
        if self.reactions.interrupt.is_set() {
            return;
        }
        self.reactions.interrupt.stop(signal);
        self.reactions.waker.wake();
        sleep(DEBOUNCE);
        self.is_armed.store(true, Ordering::SeqCst);
    }
}

/// The meaning of a SIGHUP, from the state of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The terminal was closed just now, and the signal is due to that.
    Closed,
    /// The terminal is open.
    Open,
    /// The terminal was closed a while ago without a signal, because a shell has released the program (`disown`): the
    /// signal is unrelated.
    Detached,
}

fn meaning(gone_for: Option<Duration>) -> Meaning {
    match gone_for {
        None => Meaning::Open,
        Some(time) if time < RECENT => Meaning::Closed,
        Some(_) => Meaning::Detached,
    }
}

/// The terminal that the program was started from, and the time when it was found closed.
struct TerminalWatch {
    terminal: Terminal,
    gone_since: OnceLock<Instant>,
}

impl TerminalWatch {
    /// Watches the terminal, if there is one. The thread is never joined: it ends with the terminal or with the
    /// process.
    fn start() -> Option<Arc<TerminalWatch>> {
        let watch =
            Arc::new(TerminalWatch { terminal: Terminal::controlling()?, gone_since: OnceLock::new() });
        let watched = Arc::clone(&watch);
        let thread = Builder::new().name("terminal".into());
        thread
            .spawn(move || {
                while watched.gone_since().is_none() {
                    watched.terminal.wait(SLOW_POLL)
                }
            })
            .ok()?;
        Some(watch)
    }

    fn gone_since(&self) -> Option<Instant> {
        if self.gone_since.get().is_none() && self.terminal.is_gone() {
            // Another thread may have found it first.
            let _ = self.gone_since.set(Instant::now());
        }
        self.gone_since.get().copied()
    }

    fn meaning(&self) -> Meaning {
        meaning(self.gone_since().map(|since| since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_went_just_now_gives_a_hangup_its_meaning() {
        for (gone_for, expected) in [
            (None, Meaning::Open),
            (Some(0), Meaning::Closed),
            (Some(4_999), Meaning::Closed),
            (Some(5_000), Meaning::Detached),
            (Some(86_400_000), Meaning::Detached),
        ] {
            assert_eq!(meaning(gone_for.map(Duration::from_millis)), expected, "{gone_for:?} ms");
        }
    }
}
