//! The devices of this pass that are local disks, so that opening a file there asks neither a server nor a process.

use crate::fs::dir::Dir;
use crate::fs::magic::is_on_disk;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The known devices, by number.
#[derive(Debug, Default)]
pub(crate) struct OnDisk(Mutex<BTreeMap<u64, bool>>);

impl OnDisk {
    /// Whether a folder lies on a local disk. Each device is looked up once: on a network filesystem that is a call to
    /// its server.
    pub(crate) fn has(&self, dir: &Arc<Dir>) -> bool {
        let device = dir.id().device;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(device).or_insert_with(|| dir.open().is_ok_and(|folder| is_on_disk(&*folder)))
    }
}
