//! Files that the previous pass, which this one follows at once, has compared already: they are not read again.

use crate::collections::HashSet;
use crate::fs::dir::Dir;
use crate::model::entry::{Entry, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The files that the previous pass has compared; none unless this pass follows it at once.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// The start of that pass.
    since: Option<Timestamp>,
    /// The addresses of folders that have changed since, and of all below them.
    moved: Mutex<HashSet<usize>>,
}

impl Compared {
    /// The files compared by a pass that began then.
    pub(crate) fn since(start: Option<Timestamp>) -> Compared {
        Compared { since: start, moved: Mutex::default() }
    }

    /// Whether two files of one size have been compared: a difference was repaired, or reported with its reason.
    pub(crate) fn has(&self, folder: Option<&Arc<Dir>>, source: &Entry, replica: &Entry) -> bool {
        let has_moved = |dir: &Arc<Dir>| self.moved().contains(&Arc::as_ptr(dir).addr());
        self.since.is_some_and(|start| source.ctime < start)
            && source.mtime == replica.mtime
            && !folder.is_some_and(has_moved)
    }

    /// Notes that a folder, or one above it, has changed since that pass began: another folder, with older files, may
    /// have its name by now.
    pub(crate) fn note_moved(&self, dir: &Arc<Dir>, facts: &Entry) {
        let Some(start) = self.since else { return };
        let mut moved = self.moved();
        let is_below = dir.parent().is_some_and(|above| moved.contains(&Arc::as_ptr(above).addr()));
        if facts.ctime >= start || is_below {
            // By address: a later folder at the same address is only read again in vain.
            moved.insert(Arc::as_ptr(dir).addr());
        }
    }

    fn moved(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
