//! Cancellation flag, heartbeat and the request for a pass now, shared by signals, schedule and engine.

use crate::model::signal::Signal;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// Shared between the signal handler, the schedule and the engine.
#[derive(Debug, Default)]
pub struct Interrupt {
    signal: AtomicU8,
    pulse: AtomicU64,
    waits_for_disk: AtomicBool,
}

impl Interrupt {
    /// Nobody wants to stop.
    pub fn new() -> Interrupt {
        Interrupt::default()
    }

    /// Asks everything to stop soon.
    pub fn stop(&self, signal: Signal) {
        let value = match signal {
            Signal::Terminate => 1,
            Signal::Interrupt => 2,
            Signal::Hangup => 3,
        };
        self.signal.store(value, Ordering::Relaxed);
    }

    /// The signal that asked to stop, if one did.
    pub fn stopped_by(&self) -> Option<Signal> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Signal::Terminate),
            2 => Some(Signal::Interrupt),
            _ => Some(Signal::Hangup),
        }
    }

    /// True once somebody asked to stop. The engine asks between buffers and entries.
    pub fn is_set(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Marks that the engine has done a piece of work: a folder, a chunk of names, a buffer of a large file.
    pub fn beat(&self) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that grows while the engine makes progress; the watchdog compares two readings.
    pub fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }

    /// Marks that one system call begins that may take minutes by right and shows no progress meanwhile: `syncfs(2)`. The watchdog is patient until [`Interrupt::end_disk_wait`].
    pub fn begin_disk_wait(&self) {
        self.waits_for_disk.store(true, Ordering::Relaxed);
    }

    /// Marks that the call of [`Interrupt::begin_disk_wait`] has returned; this is also a beat.
    pub fn end_disk_wait(&self) {
        self.beat();
        self.waits_for_disk.store(false, Ordering::Relaxed);
    }

    /// True while the engine waits for the disk.
    pub fn waits_for_disk(&self) -> bool {
        self.waits_for_disk.load(Ordering::Relaxed)
    }
}

/// What signals ask of the schedule, but for stopping, which is [`Interrupt`]'s.
#[derive(Debug, Default)]
pub struct Requests {
    run_now: AtomicBool,
}

impl Requests {
    /// Nobody wants anything.
    pub fn new() -> Requests {
        Requests::default()
    }

    /// Asks for a pass now. Asking again before it starts asks for the same pass.
    pub fn run_now(&self) {
        self.run_now.store(true, Ordering::SeqCst);
    }

    /// Whether a pass is asked for.
    pub fn wants_pass(&self) -> bool {
        self.run_now.load(Ordering::SeqCst)
    }

    /// The pass that was asked for, if one was, starts: whoever asks from here on asks for the next.
    pub fn starts_pass(&self) {
        self.run_now.store(false, Ordering::SeqCst);
    }
}
