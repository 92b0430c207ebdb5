//! The records of one folder while a pass is in it.

use crate::index::loaded::Loaded;
use crate::index::pending::Pending;
use crate::index::places::{Place, Placement};
use crate::index::record::{Facts, Record};
use crate::index::rows::{Change, Edit, Packed, find_record, gone};
use crate::index::state::{Shared, lock};
use crate::index::terms::Terms;
use crate::index::trust::{Likeness, MARGIN, Standing, is_settled, is_settled_source, likeness};
use crate::index::volumes::Volume;
use crate::model::digest::Digest;
use crate::model::entry::{Entry, FileId};
use crate::model::path::RelPath;
use rusqlite::{OptionalExtension, params};
use std::ffi::CStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

const DAY: i64 = 24 * 60 * 60;

/// The number of changes that are handed over at once.
const HANDFUL: usize = 64;

/// The records of one folder. When the last task of the folder is done, that is when this is dropped, its changes are
/// handed over.
#[derive(Debug)]
pub(crate) struct FolderRecords {
    terms: Arc<Terms>,
    shared: Arc<Shared>,
    path: RelPath,
    /// Of the source and of the replica, with their devices.
    volumes: [Arc<Volume>; 2],
    devices: [u64; 2],
    loaded: Loaded,
    /// When every file of the folder was confirmed.
    confirmed: i64,
    /// The source's folder that was here.
    placement: Option<Placement>,
    /// Its changes, with the name of the folder left out.
    edits: Mutex<Pending>,
}

/// The record of a file, compared with the entries of its two sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    folder: &'a FolderRecords,
    /// The record, if there is one.
    pub record: Option<Record>,
    /// Its meaning for these entries.
    pub standing: Standing,
    /// When the file was last confirmed, in seconds since 1970.
    pub confirmed: i64,
    /// Its place among the loaded records.
    at: Option<usize>,
    /// True where the record is that of another name of the file.
    is_of_other_name: bool,
    /// True where the source's facts are those of the record, settled or not; and the replica's.
    alike: [bool; 2],
    /// True when it has just been found out that a side's inode numbers are unstable.
    pub unstable: [bool; 2],
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

    /// The record of a name, compared with the entries of both sides.
    pub(crate) fn known(&self, name: &CStr, source: &Entry, replica: &Entry) -> Known<'_> {
        let (at, record) = self.loaded.find((&self.shared, self.path.as_bytes()), name.to_bytes());
        let mut known = Known {
            folder: self,
            record,
            standing: Standing::Unknown,
            confirmed: 0,
            at,
            is_of_other_name: false,
            alike: [false; 2],
            unstable: [false; 2],
        };
        let Some(record) = &known.record else { return known };
        known.confirmed = record.confirmed.max(self.confirmed);
        let facts = [Some(&record.source), record.replica.as_ref()];
        let entries = [source, replica];
        for (side, (facts, entry)) in facts.into_iter().zip(entries).enumerate() {
            let volume = &self.volumes[side];
            let is_of_folder = entry.id.device == self.devices[side] && volume.has_facts();
            let Some(facts) = facts.filter(|_| is_of_folder) else { continue };
            let likeness = likeness(facts, record.size, entry, volume.number);
            let (is_accepted, found_out) = volume.accepts(likeness);
            known.alike[side] = is_accepted;
            known.unstable[side] = found_out;
            if found_out && !self.terms.is_dry_run {
                lock(&self.shared.0).note(volume);
            }
        }
        let is_settled = |facts: Option<&Facts>| facts.is_some_and(|facts| facts.settled);
        known.standing = match known.alike {
            [true, _] if !record.source.settled => Standing::Unknown,
            [true, true] if is_settled(record.replica.as_ref()) => Standing::Both,
            [true, _] => Standing::Source,
            [false, _] => Standing::Unknown,
        };
        known
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
    fn note(&self, at: Option<usize>) {
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
    fn edit(&self, name: &[u8], edit: Edit<'_>) {
        self.add(|edits| edits.add(&Change { folder: &[], name, edit }));
    }

    /// Notes a new record of a name.
    fn put(&self, name: &[u8], record: &Record) {
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

impl Known<'_> {
    /// Whether the file may be taken for intact without being read.
    pub(crate) fn is_trusted(&self) -> bool {
        let Some(record) = &self.record else { return false };
        let terms = &self.folder.terms;
        let is_trusted = self.standing == Standing::Both
            && terms.has_same_rights
            && !terms.is_after_lazy_boot
            && !record.is_suspect
            && !terms.schedule.is_read_due(record, self.confirmed)
            // Some filesystems show no sizes; reading nothing costs little.
            && (record.size > 0 || self.folder.volumes[0].has_true_ctime());
        if is_trusted {
            terms.trusted(self.confirmed);
        }
        is_trusted
    }

    /// Whether neither side has an extended attribute: none had one, and setting one would have moved the ctime.
    pub(crate) fn is_bare(&self) -> bool {
        self.standing == Standing::Both
            && self.record.is_some_and(|record| record.is_bare)
            && self.folder.volumes.iter().all(|volume| volume.has_true_ctime())
            && self.folder.terms.has_same_rights
    }

    /// Whether the file has to be hashed even if it is equal on both sides.
    pub(crate) fn is_hash_due(&self) -> bool {
        match &self.record {
            Some(record) if self.standing == Standing::Both => self.folder.terms.schedule.is_hash_due(record),
            Some(_) | None => true,
        }
    }

    /// Whether the source's file has rotted if it differs from its record in the content alone: any change moves the
    /// ctime there, no crash may have lost one, and no process can write it through memory.
    pub(crate) fn proves_rot(&self) -> bool {
        let terms = &self.folder.terms;
        let inode = self.record.map_or(0, |record| record.source.inode);
        self.folder.volumes[0].proves_rot()
            && !terms.is_after_lazy_boot
            && !terms.mapped.as_ref().is_some_and(|mapped| mapped.contains(&inode))
    }

    /// Notes that the source was found with another content, so that it is read again in the next pass.
    pub(crate) fn suspect(&self, name: &CStr) {
        if let Some(record) = self.record.filter(|record| !record.is_suspect) {
            self.folder.put(name.to_bytes(), &Record { is_suspect: true, ..record });
        }
    }

    /// The record of another name of the same file, if this name has none: of the names of a file only one is
    /// compared in a pass, and not always the same. All of the index is read for it.
    pub(crate) fn or_of_another_name(self, source: &Entry) -> Self {
        let is_known = self.record.is_some() || source.id.device != self.folder.devices[0];
        if is_known || source.links < 2 || !self.folder.terms.may_search(source.ctime) {
            return self;
        }
        let folder = self.folder;
        let volume = &folder.volumes[0];
        let is_it = |record: &Record| {
            record.source.settled
                && likeness(&record.source, record.size, source, volume.number) == Likeness::Same
        };
        let found = lock(&folder.shared.0).attempt(|state| {
            state.connection.as_ref().map_or(Ok(None), |connection| find_record(connection, is_it))
        });
        match found.flatten() {
            Some(record) => Known {
                record: Some(record),
                standing: Standing::Source,
                confirmed: record.confirmed,
                alike: [true, false],
                is_of_other_name: true,
                ..self
            },
            None => self,
        }
    }

    /// Notes that both files were read and are equal. `digest` is that of their content, if it was computed; without
    /// it the record's stands. `is_bare` says that neither has an extended attribute.
    pub(crate) fn confirm(
        &self,
        name: &CStr,
        (source, replica): (&Entry, &Entry),
        digest: Option<Digest>,
        is_bare: bool,
    ) {
        let Known { folder, record: old, at, alike, standing, .. } = self;
        let now = folder.terms.schedule.now;
        let entries = [source, replica];
        let confirmed_digest = match (digest, old) {
            (Some(digest), _) => digest,
            (None, Some(old)) if *standing == Standing::Both => old.digest,
            // The content is another one than the record's, and its digest is not known.
            (None, Some(_)) => return folder.forget(name),
            (None, None) => return,
        };
        let has_facts =
            |side: usize| entries[side].id.device == folder.devices[side] && folder.volumes[side].has_facts();
        if !has_facts(0) || !has_facts(1) || source.size != replica.size {
            return;
        }
        let facts = |side: usize| {
            // On a shared filesystem another clock counts: facts are settled once they have stood for a while.
            let has_stood = || alike[side] && old.is_some_and(|record| record.confirmed <= now - MARGIN);
            let volume = &folder.volumes[side];
            let Terms { start, mapped, .. } = &*folder.terms;
            let is_old = match side {
                0 => is_settled_source(source, *start, mapped.as_ref()),
                _ => is_settled(entries[side], *start),
            };
            let is_settled = is_old && (volume.is_local() || has_stood());
            Facts::of(entries[side], volume.number, is_settled)
        };
        // To the day: otherwise `--digest-after 0` would write every record in every pass.
        let hashed = match (digest, old) {
            (None, Some(old)) => old.hashed,
            (Some(_), Some(old)) if (0..DAY).contains(&now.saturating_sub(old.hashed)) => old.hashed,
            (Some(_), _) | (None, None) => now,
        };
        let new = Record {
            digest: confirmed_digest,
            size: source.size,
            source: facts(0),
            replica: Some(facts(1)),
            is_bare,
            is_suspect: false,
            confirmed: now,
            hashed,
        };
        let is_as_before = old.is_some_and(|old| Record { confirmed: now, ..old } == new);
        match &folder.loaded {
            Loaded::Whole { .. } => folder.note(*at),
            Loaded::Large { confirmed, .. } if old.is_some() && !self.is_of_other_name => {
                confirmed.fetch_add(1, Ordering::Relaxed);
            }
            Loaded::Large { .. } => {}
        }
        if !is_as_before {
            folder.put(name.to_bytes(), &new);
        } else if let Loaded::Large { .. } = &folder.loaded
            && !folder.terms.reads_all()
        {
            // A pass that reads every file keeps the confirmation of the whole folder, or none.
            folder.edit(name.to_bytes(), Edit::Confirm(now));
        }
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
