//! What signals mean: SIGTERM and SIGINT stop, SIGHUP opens the log anew, SIGUSR1 starts a pass.
//!
//! SIGHUP has two meanings. Log rotation sends it to have the file opened anew; the kernel and shells send it when a terminal
//! is closed, and then a program that was started from it ends, or it would go on unseen for months. Who has sent a signal
//! is not asked: a shell sends the same as `kill(1)`. The terminal says it, see `Watch`.
//!
//! One thread takes signals in and passes them on. So the log is reopened at once even in the middle of a long pass,
//! and nothing but setting flags happens in signal handlers, where hardly any call is safe (`signal-safety(7)`).
//! SIGPIPE stays ignored, as Rust's runtime has set it: a closed console is an error code, not an end. So does
//! SIGXFSZ, see [`survive_size_limits`].

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

/// A second signal within this time is the first one again: `timeout(1)` signals its child and then the whole process
/// group, which the child belongs to, and a terminal and a wrapping script may both pass on one Ctrl-C. No person is
/// that quick.
const ECHO: Duration = Duration::from_millis(100);

/// A terminal that was found to be gone longer ago than this has nothing to do with a SIGHUP that comes now.
const RECENT: Duration = Duration::from_secs(5);

/// So long after a SIGHUP the terminal may still be about to go: a shell, or a window, passes the signal on before it ends.
const ABOUT_TO_GO: Duration = Duration::from_secs(2);

/// How often the terminal is looked at during [`ABOUT_TO_GO`].
const GLANCE: Duration = Duration::from_millis(50);

/// How often it is looked at otherwise. A pseudo-terminal wakes who waits for its end, others may not.
const LOOK: Duration = Duration::from_secs(2);

/// What the signals act upon.
pub struct Reactions {
    /// Told to stop by SIGTERM, SIGINT, and SIGHUP from a terminal that was closed.
    pub interrupt: Arc<Interrupt>,
    /// Asked for a pass by SIGUSR1.
    pub requests: Arc<Requests>,
    /// Ends the wait between passes after any of them.
    pub waker: Arc<Waker>,
    /// Asks the log to open its file anew, after SIGHUP. It must not block: no signal is heard meanwhile.
    pub reopen: Box<dyn Fn() + Send>,
}

/// The thread that hears signals.
pub struct Listener {
    handle: Handle,
    thread: JoinHandle<()>,
}

/// Lets the program live through a limit of file sizes (`ulimit -f`, systemd's `LimitFSIZE=`), whose signal, SIGXFSZ, would
/// end it: the call that goes beyond the limit returns `EFBIG` all the same (setrlimit(2)), and that is told of the one
/// file.
///
/// # Errors
/// The system refuses a handler.
pub fn survive_size_limits() -> io::Result<()> {
    register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(|_| ())
}

impl Listener {
    /// Begins to hear signals.
    ///
    /// # Errors
    /// No thread, no file descriptors, no memory.
    pub fn start(reactions: Reactions) -> io::Result<Listener> {
        // Before SIGHUP is caught: who ignores it (nohup) does not want to end with the terminal.
        let watch = if ignores_hangups() { None } else { Watch::start() };
        let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        let handle = signals.handle();
        // The exit happens in the handler itself, so that a second signal works whatever the threads are stuck in. It
        // is armed by the thread and not by another handler: then neither the order in which handlers are registered
        // nor two signals at the same moment can take a first signal for a second.
        let is_armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            register_conditional_shutdown(signal, SECOND_SIGNAL_EXIT, Arc::clone(&is_armed))?;
        }
        let hearing = Hearing { reactions, is_armed, watch, until: None };
        let thread = Builder::new().name("signals".into()).spawn(move || listen(signals, hearing))?;
        Ok(Listener { handle, thread })
    }

    /// Stops listening and lets go of the reactions. The signals stay caught: what comes from now on is ignored, but
    /// for a second SIGTERM or SIGINT.
    pub fn finish(self) {
        self.handle.close();
        // A thread that panicked has said so; the program ends here anyway.
        let _ = self.thread.join();
    }
}

/// What the thread knows.
struct Hearing {
    reactions: Reactions,
    is_armed: Arc<AtomicBool>,
    /// None without a terminal, or where its end is ignored.
    watch: Option<Arc<Watch>>,
    /// So long it is open whether a SIGHUP came from a terminal that is being closed.
    until: Option<Instant>,
}

fn listen(mut signals: Signals, mut hearing: Hearing) {
    while !signals.is_closed() {
        let heard = if hearing.until.is_some() {
            sleep(GLANCE);
            signals.pending()
        } else {
            signals.wait()
        };
        for signal in heard {
            // The panic hook has told of a panic by now. A program that hears no signals any more could only be
            // killed, so listening goes on.
            let _ = catch_unwind(AssertUnwindSafe(|| hearing.hear(signal)));
        }
        hearing.look_at_terminal();
    }
}

impl Hearing {
    fn hear(&mut self, signal: i32) {
        // Flags first, then the wake-up: whoever wakes finds the flag set.
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

    /// Stops when a SIGHUP turns out to be that of the terminal.
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
        sleep(ECHO);
        self.is_armed.store(true, Ordering::SeqCst);
    }
}

/// What the state of the terminal makes of a SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The terminal was closed just now: the signal says so.
    Closed,
    /// It is there.
    Open,
    /// It went a while ago, and no signal came with that, because a shell has let the program go (`disown`): the signal has
    /// nothing to do with it.
    Detached,
}

fn meaning(gone_for: Option<Duration>) -> Meaning {
    match gone_for {
        None => Meaning::Open,
        Some(time) if time < RECENT => Meaning::Closed,
        Some(_) => Meaning::Detached,
    }
}

/// The terminal that the program was started from, and since when it is gone.
struct Watch {
    terminal: Terminal,
    gone_since: OnceLock<Instant>,
}

impl Watch {
    /// Watches the terminal, if there is one. The thread is left alone: it ends with the terminal or with the process.
    fn start() -> Option<Arc<Watch>> {
        let watch = Arc::new(Watch { terminal: Terminal::controlling()?, gone_since: OnceLock::new() });
        let watched = Arc::clone(&watch);
        let thread = Builder::new().name("terminal".into());
        thread
            .spawn(move || {
                while watched.gone_since().is_none() {
                    watched.terminal.wait(LOOK)
                }
            })
            .ok()?;
        Some(watch)
    }

    fn gone_since(&self) -> Option<Instant> {
        if self.gone_since.get().is_none() && self.terminal.is_gone() {
            // Another thread may have been the first to see it.
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
