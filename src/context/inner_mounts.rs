//! The mounts inside the trees that the survey of one pass meets.

use crate::fs::dir::Dir;
use crate::fs::way;
use crate::model::entry::Entry;
use crate::model::error::Side;
use crate::model::mounts::{Identity, InnerMount};
use crate::model::path::RelPath;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The mounts inside the trees at the time of the survey.
#[derive(Debug, Default)]
pub(crate) struct InnerMounts {
    met: Mutex<Vec<(Side, RelPath, InnerMount)>>,
    in_source: AtomicBool,
}

impl InnerMounts {
    /// Notes a mount under `name` in a folder.
    pub(crate) fn meet(&self, side: Side, (folder, name): (&Arc<Dir>, &CStr), entry: &Entry) {
        let identity = Identity::of(entry);
        let backing = way::backing(folder, name, &identity);
        let mount = InnerMount { identity, backing, is_vacated: false };
        if side == Side::Source {
            self.in_source.store(true, Ordering::Relaxed);
        }
        let mut all = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((side, folder.path().join(name), mount));
    }

    /// Takes all mounts.
    pub(crate) fn take(&self) -> Vec<(Side, RelPath, InnerMount)> {
        std::mem::take(&mut *self.met.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is a mount inside the source: then a bind mount may show a file under more names than its link
    /// count.
    pub(crate) fn are_in_source(&self) -> bool {
        self.in_source.load(Ordering::Relaxed)
    }
}
