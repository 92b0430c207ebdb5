//! What holds for every record during one pass: its clock, and how far the records may be believed.

use crate::fs::mappings::Mapped;
use crate::index::trust::Schedule;
use crate::model::entry::Timestamp;
use crate::model::trust::Trust;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// The number of times that all of the index is read in one pass.
pub(super) const MOST_SEARCHES: u32 = 100;

/// The terms of one pass.
#[derive(Debug)]
pub(super) struct Terms {
    /// The clock and the periods.
    pub(super) schedule: Schedule,
    /// The start of the pass by the clock of the filesystems.
    pub(super) start: Timestamp,
    /// True: the index is only read.
    pub(super) is_dry_run: bool,
    /// True in the first pass after a boot where the source is mounted with `lazytime`.
    pub(super) is_after_lazy_boot: bool,
    /// True when the records were written with the same rights: others may see more extended attributes.
    pub(super) has_same_rights: bool,
    /// The start of the last pass that was done, in seconds since 1970; 0 where there is none.
    pub(super) last_pass: i64,
    /// How many times all of the index may still be read for the record of another name.
    pub(super) searches: AtomicU32,
    /// The files that processes could write through memory at the start; none where that is not known.
    pub(super) mapped: Option<Mapped>,
    /// The oldest confirmation of a file that this pass did not read, in seconds since 1970.
    pub(super) oldest: AtomicI64,
}

impl Terms {
    /// The terms without an index.
    pub(super) fn off() -> Terms {
        Terms {
            schedule: Schedule { now: 0, lead: 0, rehash_after: Trust::Never, digest_after: Trust::Never },
            start: Timestamp { seconds: 0, nanoseconds: 0 },
            is_dry_run: true,
            is_after_lazy_boot: false,
            has_same_rights: false,
            last_pass: 0,
            searches: AtomicU32::new(0),
            mapped: None,
            oldest: AtomicI64::new(0),
        }
    }

    /// Notes a file that is trusted, with the time of its confirmation.
    pub(super) fn trusted(&self, confirmed: i64) {
        // Read first: most files are younger, and the threads would take turns at writing.
        if confirmed < self.oldest.load(Ordering::Relaxed) {
            self.oldest.fetch_min(confirmed, Ordering::Relaxed);
        }
    }

    /// Whether all of the index may be read once more, for a file that last changed then: one that has changed since the
    /// last pass has no record that counts.
    pub(super) fn may_search(&self, ctime: Timestamp) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        ctime.seconds < self.last_pass
            && self.searches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    /// Whether every file is read in every pass.
    pub(super) fn reads_all(&self) -> bool {
        self.schedule.rehash_after == Trust::Never
    }
}
