//! What the index knows of one file in a pass, and what is noted when it was read.

use crate::index::folder::FolderRecords;
use crate::index::loaded::Loaded;
use crate::index::record::{Facts, Record};
use crate::index::rows::{Edit, find_record};
use crate::index::state::lock;
use crate::index::terms::Terms;
use crate::index::trust::{Distrust, Likeness, MARGIN, Standing, is_settled, is_settled_source, likeness};
use crate::model::digest::Digest;
use crate::model::entry::Entry;
use std::ffi::CStr;
use std::sync::atomic::Ordering;

const DAY: i64 = 24 * 60 * 60;

/// The record of a file, compared with the entries of its two sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(super) folder: &'a FolderRecords,
    /// The record, if there is one.
    pub record: Option<Record>,
    /// Its meaning for these entries.
    pub standing: Standing,
    /// When the file was last confirmed, in seconds since 1970.
    pub confirmed: i64,
    /// Its place among the loaded records.
    pub(super) at: Option<usize>,
    /// True where the record is that of another name of the file.
    pub(super) is_of_other_name: bool,
    /// True where the source's facts are those of the record, settled or not; and the replica's.
    pub(super) alike: [bool; 2],
    /// True when it has just been found out that a side's inode numbers are unstable.
    pub unstable: [bool; 2],
}

impl FolderRecords {
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
}

impl Known<'_> {
    /// Whether the file may be taken for intact without being read.
    pub(crate) fn is_trusted(&self) -> bool {
        let is_trusted = self.distrust().is_none();
        if is_trusted {
            self.folder.terms.trusted(self.confirmed);
        }
        is_trusted
    }

    /// The first reason why the file has to be read; none if it may be taken for intact.
    pub(crate) fn distrust(&self) -> Option<Distrust> {
        let Some(record) = &self.record else { return Some(Distrust::NoRecord) };
        let terms = &self.folder.terms;
        match (self.standing, self.alike) {
            (Standing::Both, _) => {}
            (Standing::Unknown | Standing::Source, [false, _]) => return Some(Distrust::SourceChanged),
            (Standing::Unknown | Standing::Source, [true, false]) if record.replica.is_none() => {
                return Some(Distrust::NotCompared);
            }
            (Standing::Unknown | Standing::Source, [true, false]) => return Some(Distrust::ReplicaChanged),
            (Standing::Unknown | Standing::Source, [true, true]) => return Some(Distrust::Unsettled),
        }
        // Some filesystems show no sizes; reading nothing costs little.
        let shows_no_size = record.size == 0 && !self.folder.volumes[0].has_true_ctime();
        let reasons = [
            (!terms.has_same_rights, Distrust::OtherRights),
            (terms.is_after_lazy_boot, Distrust::LazyTimes),
            (record.is_suspect, Distrust::Suspect),
            (terms.schedule.is_read_due(record, self.confirmed), Distrust::Due),
            (shows_no_size, Distrust::NoSize),
        ];
        reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
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
