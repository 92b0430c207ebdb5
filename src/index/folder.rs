//! The records of one folder while a pass is in it.

use crate::index::loaded::Loaded;
use crate::index::pending::Pending;
use crate::index::places::{Place, Placement};
use crate::index::record::Record;
use crate::index::rows::{Change, Edit, Packed, gone};
use crate::index::state::{Shared, lock};
use crate::index::terms::Terms;
use crate::index::volumes::Volume;
use crate::model::entry::{Entry, FileId};
use crate::model::path::RelPath;
use rusqlite::{OptionalExtension, params};
use std::ffi::CStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// The number of changes that are handed over at once.
const HANDFUL: usize = 64;

/// The records of one folder. When the last task of the folder is done, that is when this is dropped, its changes are
/// handed over.
#[derive(Debug)]
pub(crate) struct FolderRecords {
    pub(super) terms: Arc<Terms>,
    pub(super) shared: Arc<Shared>,
    pub(super) path: RelPath,
    /// Of the source and of the replica, with their devices.
    pub(super) volumes: [Arc<Volume>; 2],
    pub(super) devices: [u64; 2],
    pub(super) loaded: Loaded,
    /// When every file of the folder was confirmed.
    pub(super) confirmed: i64,
    /// The source's folder that was here.
    pub(super) placement: Option<Placement>,
    /// Its changes, with the name of the folder left out.
    pub(super) edits: Mutex<Pending>,
}

impl FolderRecords {
    pub(super) fn load(
        terms: &Arc<Terms>,
        shared: &Arc<Shared>,
        path: &RelPath,
        volumes: [Arc<Volume>; 2],
        devices: [u64; 2],
    ) -> Option<FolderRecords> {
        let (loaded, confirmed, placement) = lock(&shared.0).attempt(|state| {
            state.begin_to_read()?;
            let Some(connection) = &state.connection else { return Ok(None) };
            // Within a pass every folder is read before anything is written for it.
            let row = connection
                .prepare_cached(
                    "SELECT confirmed, volume, inode, born_s, born_ns, replica FROM folder WHERE path = ?1",
                )?
                .query_row(params![path.as_bytes()], |row| Ok((row.get(0)?, Placement::read(row, 1)?)))
                .optional()?;
            let loaded = Loaded::read(connection, path.as_bytes())?;
            state.visited += u64::from(row.is_some());
            let (confirmed, placement) = row.unwrap_or_default();
            Ok(Some((loaded, confirmed, placement)))
        })??;
        Some(FolderRecords {
            terms: Arc::clone(terms),
            shared: Arc::clone(shared),
            path: path.clone(),
            volumes,
            devices,
            loaded,
            confirmed,
            placement,
            edits: Mutex::default(),
        })
    }

    /// Whether the source's folder, which has these facts now, is certainly another one than when it was recorded.
    pub(crate) fn is_of_another_folder(&self, source: &Entry) -> bool {
        let volume = &self.volumes[0];
        let now = Placement::of(source, volume.number, source.id);
        self.placement.is_some_and(|then| {
            then.volume == volume.number
                && volume.tells_folders()
                && now.is_none_or(|now| !now.is_same(&then))
        })
    }

    /// Notes which folders are here.
    pub(crate) fn note_folder(&self, source: &Entry, replica: FileId) {
        let volume = &self.volumes[0];
        let placement = Placement::of(source, volume.number, replica).filter(|_| volume.tells_folders());
        if let Some(placement) = placement.filter(|_| self.placement != placement && !self.terms.is_dry_run) {
            let path = self.path.as_bytes().into();
            lock(&self.shared.0).add_place(Place { path, placement });
        }
    }

    /// Notes that a loaded record was confirmed, or replaced by a newer one.
    pub(super) fn note(&self, at: Option<usize>) {
        if let (Loaded::Whole { confirmed, .. }, Some(at)) = (&self.loaded, at)
            && let Some(bits) = confirmed.get(at / 64)
        {
            bits.fetch_or(1 << (at % 64), Ordering::Relaxed);
        }
    }

    /// Forgets a name.
    pub(crate) fn forget(&self, name: &CStr) {
        self.edit(name.to_bytes(), Edit::Drop);
    }

    /// Forgets a name, if it is known.
    pub(crate) fn forget_known(&self, name: &CStr) {
        let (at, record) = self.loaded.find((&self.shared, self.path.as_bytes()), name.to_bytes());
        if record.is_some() {
            self.note(at);
            self.forget(name);
        }
    }

    /// Forgets the names of loaded records that neither side has any more. It is asked for each name once, in their order.
    pub(crate) fn keep(&self, mut exists: impl FnMut(&[u8]) -> bool) {
        match &self.loaded {
            Loaded::Whole { rows, .. } => {
                for (at, (name, _)) in Packed::of(rows).enumerate() {
                    if !exists(name) {
                        self.note(Some(at));
                        self.edit(name, Edit::Drop);
                    }
                }
            }
            Loaded::Large { confirmed, .. } => {
                let gone = lock(&self.shared.0).attempt(|state| {
                    let gone = |connection| gone(connection, self.path.as_bytes(), &mut exists);
                    state.connection.as_ref().map_or_else(|| Ok(Vec::new()), gone)
                });
                for name in gone.unwrap_or_default() {
                    confirmed.fetch_add(1, Ordering::Relaxed);
                    self.edit(&name, Edit::Drop);
                }
            }
        }
    }

    /// Notes a change of a name.
    pub(super) fn edit(&self, name: &[u8], edit: Edit<'_>) {
        self.add(|edits| edits.add(&Change { folder: &[], name, edit }));
    }

    /// Notes a new record of a name.
    pub(super) fn put(&self, name: &[u8], record: &Record) {
        self.add(|edits| edits.put(&[], name, record));
    }

    fn add(&self, add: impl FnOnce(&mut Pending)) {
        if self.terms.is_dry_run {
            return;
        }
        let mut edits = lock(&self.edits);
        add(&mut edits);
        if edits.len() >= HANDFUL {
            self.hand_over(&mut edits);
        }
    }

    fn hand_over(&self, edits: &mut Pending) {
        let mut state = lock(&self.shared.0);
        let folder = self.path.as_bytes();
        edits.iter().for_each(|change| state.add(&Change { folder, ..change }));
        edits.clear();
    }
}

impl Drop for FolderRecords {
    fn drop(&mut self) {
        if self.terms.is_dry_run {
            return;
        }
        let now = self.terms.schedule.now;
        let mut edits = std::mem::take(&mut *lock(&self.edits));
        let is_all = match &self.loaded {
            Loaded::Whole { rows, confirmed, starts, .. } => {
                let is_confirmed = |at: usize| {
                    confirmed
                        .get(at / 64)
                        .is_some_and(|bits| bits.load(Ordering::Relaxed) >> (at % 64) & 1 == 1)
                };
                let is_all = (0..starts.len()).all(is_confirmed);
                if !is_all {
                    let names = Packed::of(rows).enumerate().filter(|(at, _)| is_confirmed(*at));
                    names.for_each(|(_, (name, _))| {
                        edits.add(&Change { folder: &[], name, edit: Edit::Confirm(now) });
                    });
                }
                is_all && !starts.is_empty()
            }
            Loaded::Large { count, confirmed, .. } => confirmed.load(Ordering::Relaxed) == *count,
        };
        self.hand_over(&mut edits);
        if is_all {
            lock(&self.shared.0).confirm_folder(self.path.as_bytes(), now);
        }
    }
}
