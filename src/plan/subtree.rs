//! The totals of a subtree that exists on one side only: it is counted, and never expanded in memory.

use crate::model::change::Subtree;
use crate::plan::weight::RoomTotals;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of a subtree, counted by several threads.
#[derive(Debug, Default)]
pub(crate) struct SubtreeTotals {
    /// Entries that are not folders.
    pub files: AtomicU64,
    /// Folders below the top.
    pub folders: AtomicU64,
    /// Bytes of regular files.
    pub bytes: AtomicU64,
    /// Entries of the replica that the filter leaves out. They stay, and are not counted above; nor is what is below
    /// them.
    pub excluded: AtomicU64,
    /// The folders below the top that stay for their sake, among the folders.
    pub folders_that_stay: AtomicU64,
    /// Folders and entries that could not be looked at.
    pub unread: AtomicU64,
    /// The room that they need, if they are to be created, or free, if they are to be deleted.
    pub room: RoomTotals,
}

impl SubtreeTotals {
    /// The count as plain numbers.
    pub(crate) fn subtree(&self) -> Subtree {
        Subtree {
            files: self.files.load(Ordering::Relaxed),
            folders: self
                .folders
                .load(Ordering::Relaxed)
                .saturating_sub(self.folders_that_stay.load(Ordering::Relaxed)),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
