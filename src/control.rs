//! The stop flag, the heartbeat and the request for a pass now, shared by signals, schedule and engine.

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
    /// No stop has been requested.
    pub fn new() -> Interrupt {
        Interrupt::default()
    }

    /// Requests a stop soon.
    pub fn stop(&self, signal: Signal) {
        let value = match signal {
            Signal::Terminate => 1,
            Signal::Interrupt => 2,
            Signal::Hangup => 3,
        };
        self.signal.store(value, Ordering::Relaxed);
    }

    /// The signal that requested a stop, if any.
    pub fn stopped_by(&self) -> Option<Signal> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Signal::Terminate),
            2 => Some(Signal::Interrupt),
            _ => Some(Signal::Hangup),
        }
    }

    /// True once a stop was requested. The engine checks it between buffers and entries.
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

    /// Marks the start of one system call that may take minutes without progress: `syncfs(2)`. The watchdog is patient
    /// until [`Interrupt::end_disk_wait`].
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

/// The requests of signals to the schedule, except for a stop, which is in [`Interrupt`].
#[derive(Debug, Default)]
pub struct Requests {
    run_now: AtomicBool,
}

impl Requests {
    /// No request.
    pub fn new() -> Requests {
        Requests::default()
    }

    /// Requests a pass now. Repeated requests before its start are one.
    pub fn run_now(&self) {
        self.run_now.store(true, Ordering::SeqCst);
    }

    /// Whether a pass has been requested.
    pub fn wants_pass(&self) -> bool {
        self.run_now.load(Ordering::SeqCst)
    }

    /// Marks the start of the requested pass, if any: a later request is for the next pass.
    pub fn starts_pass(&self) {
        self.run_now.store(false, Ordering::SeqCst);
    }
}
