//! Counts what a check has done, for its progress and its last line.

use crate::verify::status::Status;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of a check, which all threads share.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    statuses: [AtomicU64; 6],
    looked: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// The number of files with a status.
    pub(crate) fn of(&self, status: Status) -> u64 {
        self.statuses.get(status as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The number of files with any status.
    pub(crate) fn files(&self) -> u64 {
        Status::ALL.iter().map(|status| self.of(*status)).sum()
    }

    /// The number of files that were looked at so far; some of them are looked at again at the end.
    pub(crate) fn looked(&self) -> u64 {
        self.looked.load(Ordering::Relaxed)
    }

    /// The number of bytes that were read, holes not counted.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, status: Status) {
        if let Some(count) = self.statuses.get(status as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn look(&self) {
        self.looked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
