//! What signals mean: SIGTERM and SIGINT stop, SIGHUP opens the log anew, SIGUSR1 starts a pass.
//!
//! One thread takes signals in and passes them on. So the log is reopened at once even in the middle of a long pass,
//! and nothing but setting flags happens in signal handlers, where hardly any call is safe (`signal-safety(7)`).
//! SIGPIPE stays ignored, as Rust's runtime has set it: a closed console is an error code, not an end.

use crate::fs::clock::Waker;
use crate::interrupt::Interrupt;
use crate::monitor::Signal;
use crate::schedule::Requests;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag::register_conditional_shutdown;
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The exit code after a second signal: unlike an orderly stop it may leave temporaries behind.
const SECOND_SIGNAL_EXIT: i32 = 1;

/// A second signal within this time is the first one again: `timeout(1)` signals its child and then the whole process
/// group, which the child belongs to, and a terminal and a wrapping script may both pass on one Ctrl-C. No person is
/// that quick.
const ECHO: Duration = Duration::from_millis(100);

/// What the signals act upon.
pub struct Reactions {
    /// Told to stop by SIGTERM and SIGINT.
    pub interrupt: Arc<Interrupt>,
    /// Asked for a pass by SIGUSR1.
    pub requests: Arc<Requests>,
    /// Ends the wait between passes after either.
    pub waker: Arc<Waker>,
    /// Asks the log to open its file anew, after SIGHUP. It must not block: no signal is heard meanwhile.
    pub reopen: Box<dyn Fn() + Send>,
}

/// The thread that hears signals.
pub struct Listener {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Listener {
    /// Begins to hear signals.
    ///
    /// # Errors
    /// No thread, no file descriptors, no memory.
    pub fn start(reactions: Reactions) -> io::Result<Listener> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        let handle = signals.handle();
        // The exit happens in the handler itself, so that a second signal works whatever the threads are stuck in. It
        // is armed by the thread and not by another handler: then neither the order in which handlers are registered
        // nor two signals at the same moment can take a first signal for a second.
        let is_armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            register_conditional_shutdown(signal, SECOND_SIGNAL_EXIT, Arc::clone(&is_armed))?;
        }
        let thread = Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                // The panic hook has told of a panic by now. A program that hears no signals any more could only be
                // killed, so listening goes on.
                let _ = catch_unwind(AssertUnwindSafe(|| hear(signal, &reactions, &is_armed)));
            }
        })?;
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

fn hear(signal: i32, reactions: &Reactions, is_armed: &AtomicBool) {
    // Flags first, then the wake-up: whoever wakes finds the flag set.
    match signal {
        SIGHUP => (reactions.reopen)(),
        SIGUSR1 => {
            reactions.requests.run_now();
            reactions.waker.wake();
        }
        SIGINT => stop(Signal::Interrupt, reactions, is_armed),
        _ => stop(Signal::Terminate, reactions, is_armed),
    }
}

fn stop(signal: Signal, reactions: &Reactions, is_armed: &AtomicBool) {
    if reactions.interrupt.is_set() {
        return;
    }
    reactions.interrupt.stop(signal);
    reactions.waker.wake();
    std::thread::sleep(ECHO);
    is_armed.store(true, Ordering::SeqCst);
}
