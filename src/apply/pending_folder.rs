//! A new folder with entries that are not created yet. The last task to release it sets its metadata.

use crate::apply::Apply;
use crate::apply::metadata::Extent;
use crate::plan::Pair;
use crate::walk::FolderRules;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder that this pass has created. It is finished when all its entries are.
pub(super) struct PendingFolder {
    pub(super) pair: Arc<Pair>,
    pub(super) parent: Option<Arc<PendingFolder>>,
    /// The rules for its names.
    pub(super) rules: FolderRules,
    /// Tasks and folders below that are not done yet.
    pending: AtomicUsize,
}

impl PendingFolder {
    /// A folder with one retainer, its creator.
    pub(super) fn new(
        pair: Arc<Pair>,
        parent: Option<Arc<PendingFolder>>,
        rules: FolderRules,
    ) -> PendingFolder {
        PendingFolder { pair, parent, rules, pending: AtomicUsize::new(1) }
    }

    /// Counts one more task that [`Apply::release`] is called for.
    pub(super) fn retain(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }
}

impl Apply<'_> {
    /// Releases a new folder. The last release finishes it, and then releases its parent in the same way.
    pub(super) fn release(&self, folder: Option<Arc<PendingFolder>>) {
        let mut next = folder;
        while let Some(folder) = next {
            if folder.pending.fetch_sub(1, Ordering::AcqRel) != 1 {
                return;
            }
            self.tell_all_altered(&folder.pair);
            // A failure has been reported.
            let _set = self.finish(&folder.pair, Extent::Everything);
            next = folder.parent.clone();
        }
    }
}
