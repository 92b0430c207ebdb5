//! The wish to stop, seen by every loop that can take long.

use crate::monitor::Signal;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Shared between the signal handler, the schedule and the engine.
#[derive(Debug, Default)]
pub struct Interrupt {
    signal: AtomicU8,
    pulse: AtomicU64,
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
        };
        self.signal.store(value, Ordering::Relaxed);
    }

    /// The signal that asked to stop, if one did.
    pub fn stopped_by(&self) -> Option<Signal> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Signal::Terminate),
            _ => Some(Signal::Interrupt),
        }
    }

    /// True once somebody asked to stop. The engine asks between buffers and entries, so each call is also a sign
    /// of life (see [`Interrupt::pulse`]).
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
}
