//! What the survey of one pass meets that is mounted inside the trees.

use crate::entry::Entry;
use crate::fs::dir::Dir;
use crate::fs::way;
use crate::memory::{Identity, InnerMount};
use crate::path::RelPath;
use crate::problem::Side;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

/// What was mounted inside the trees when the survey came by.
#[derive(Debug, Default)]
pub struct InnerMounts(Mutex<Vec<(Side, RelPath, InnerMount)>>);

impl InnerMounts {
    /// Remembers a mount that was met under `name` in a folder.
    pub fn meet(&self, side: Side, (folder, name): (&Arc<Dir>, &CStr), entry: &Entry) {
        let identity = Identity::of(entry);
        let backing = way::backing(folder, name, &identity);
        let mount = InnerMount { identity, backing, is_vacated: false };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((side, folder.path().join(name), mount));
    }

    /// Takes everything that was met.
    pub fn take(&self) -> Vec<(Side, RelPath, InnerMount)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
