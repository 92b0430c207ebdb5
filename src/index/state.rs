//! The open database during a pass, and the changes that wait to be written to it.

use crate::fs::stamp::now;
use crate::fs::stat::entry_of;
use crate::index::approvals::Approval;
use crate::index::held;
use crate::index::history;
use crate::index::operations::Operations;
use crate::index::pending::Pending;
use crate::index::places::{Place, write_place};
use crate::index::record::Record;
use crate::index::roots;
use crate::index::rows::{Change, Edit, edit};
use crate::index::store::{Roots, Unusable};
use crate::index::volumes::{Volume, Volumes};
use crate::model::change::Operation;
use crate::model::digest::Digest;
use crate::model::doubt::RootIdentity;
use rusqlite::{Connection, Error as SqlError, params};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many changes are written at once, or records and names of so many bytes.
const BATCH: usize = 2048;
const BATCH_BYTES: usize = 256 << 10;

/// An open folder of one side, and its device.
pub(crate) type OpenFolder<'a> = (BorrowedFd<'a>, u64);

/// What all threads of a pass use.
#[derive(Debug, Default)]
pub(crate) struct Shared(pub(super) Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) connection: Option<Connection>,
    pub(super) volumes: Volumes,
    /// Changes that are not written yet, in the order in which they were made.
    pub(super) edits: Pending,
    /// Folders of which every file was confirmed, and when.
    pub(super) confirmed: Vec<(Vec<u8>, i64)>,
    /// Folders of the source that are recognized from now on.
    pub(super) places: Vec<Place>,
    /// Folders that are gone; the records of their files were removed one by one.
    pub(super) removed: Vec<Vec<u8>>,
    /// The operations of this pass; they are written when it is done.
    pub(super) operations: Operations,
    transaction: Open,
    /// True in a pass that only reads.
    pub(super) is_dry_run: bool,
    /// The circumstances of this pass.
    pub(super) now: Circumstances,
    /// The identities of the two roots in the last pass that was done, and in this one.
    pub(super) roots: Option<[RootIdentity; 2]>,
    pub(super) roots_now: Option<[RootIdentity; 2]>,
    /// Contents and plans that a person has accepted, and those of them that this pass has met.
    pub(super) approved: Vec<Approval>,
    pub(super) used: Vec<Approval>,
    /// True when nothing more is written in this pass. What is known is used as before.
    pub(super) cannot_write: bool,
    /// The folders with records that this pass has been in, and those that got their first one.
    pub(super) visited: u64,
    /// Why it is not usable, or cannot be written, any more in this pass.
    pub(super) unusable: Option<Unusable>,
}

/// The transaction that is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    None,
    /// One that only reads: without it every query of a folder would lock the database and unlock it.
    Reading,
    /// One that is committed when the pass is done.
    Writing,
}

/// Facts about the computer and the process that a record does not hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Circumstances {
    pub(super) boot: String,
    pub(super) rights: String,
    /// True when a write to the replica did not become durable, until a whole pass has synced it.
    pub(super) disk_failed: bool,
}

impl State {
    /// Runs a step on the database. After a failure the index is not used any more in this pass.
    pub(super) fn attempt<T>(&mut self, step: impl FnOnce(&mut State) -> Result<T, SqlError>) -> Option<T> {
        self.connection.as_ref()?;
        match step(self) {
            Ok(done) => Some(done),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// As [`State::attempt`], for a step that writes. After a failure that says nothing of what is stored, as on a full
    /// disk, the index is still asked.
    pub(super) fn attempt_write<T>(
        &mut self,
        step: impl FnOnce(&mut State) -> Result<T, SqlError>,
    ) -> Option<T> {
        if self.connection.is_none() || self.cannot_write {
            return None;
        }
        match step(self) {
            Ok(done) => Some(done),
            Err(error) => {
                let unusable = Unusable::from(error);
                let is_damaged = matches!(unusable, Unusable::Damaged(_));
                self.unusable = Some(unusable);
                self.roll_back();
                if is_damaged {
                    self.connection = None;
                } else {
                    self.cannot_write = true;
                }
                None
            }
        }
    }

    pub(super) fn fail(&mut self, error: SqlError) {
        self.unusable = Some(error.into());
        self.roll_back();
        // Closing also rolls back what SQLite has not.
        self.connection = None;
    }

    pub(super) fn roll_back(&mut self) {
        self.edits.clear();
        self.confirmed.clear();
        self.places.clear();
        self.removed.clear();
        self.operations = Operations::default();
        if std::mem::take(&mut self.transaction) != Open::None
            && let Some(connection) = &self.connection
            // SQLite may have rolled back on its own.
            && !connection.is_autocommit()
            && connection.execute_batch("ROLLBACK").is_err()
        {
            self.connection = None;
        }
    }

    pub(super) fn begin(&mut self) -> Result<(), SqlError> {
        let Some(connection) = &self.connection else { return Ok(()) };
        if self.transaction != Open::Writing {
            if std::mem::take(&mut self.transaction) == Open::Reading {
                connection.execute_batch("COMMIT")?;
            }
            connection.execute_batch("BEGIN IMMEDIATE")?;
            self.transaction = Open::Writing;
        }
        Ok(())
    }

    /// Begins to read, until the pass ends or something is written. Not in a dry run, which may run beside a pass: where the
    /// database has no WAL, no pass could write meanwhile.
    pub(super) fn begin_to_read(&mut self) -> Result<(), SqlError> {
        let may_begin = self.transaction == Open::None && !self.is_dry_run;
        if let Some(connection) = self.connection.as_ref().filter(|_| may_begin) {
            connection.execute_batch("BEGIN")?;
            self.transaction = Open::Reading;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), SqlError> {
        self.begin()?;
        let Some(connection) = &self.connection else { return Ok(()) };
        let pending = std::mem::take(&mut self.edits);
        let edits = pending.in_order();
        let folders = || edits.chunk_by(|one, other| one.folder == other.folder);
        for here in folders() {
            edit(connection, here)?;
        }
        let mut statement =
            connection.prepare_cached("INSERT OR IGNORE INTO folder (path, confirmed) VALUES (?1, 0)")?;
        for here in folders() {
            if let Some(put) = here.iter().find(|change| matches!(change.edit, Edit::Put(_))) {
                self.visited += statement.execute(params![put.folder])? as u64;
            }
        }
        let sql = "INSERT INTO folder (path, confirmed) VALUES (?1, ?2) \
                   ON CONFLICT (path) DO UPDATE SET confirmed = max(confirmed, excluded.confirmed)";
        let mut statement = connection.prepare_cached(sql)?;
        for (folder, time) in std::mem::take(&mut self.confirmed) {
            statement.execute(params![folder, time])?;
        }
        for place in std::mem::take(&mut self.places) {
            self.visited += u64::from(write_place(connection, &place)?);
        }
        let mut statement = connection.prepare_cached("DELETE FROM folder WHERE path = ?1")?;
        for folder in std::mem::take(&mut self.removed) {
            statement.execute(params![folder])?;
        }
        let sql = "DELETE FROM folder WHERE path = ?1 AND inode IS NULL \
                   AND NOT EXISTS (SELECT 1 FROM file WHERE folder = ?1)";
        let mut statement = connection.prepare_cached(sql)?;
        for here in folders() {
            if let Some(drop) = here.iter().find(|change| change.edit == Edit::Drop) {
                statement.execute(params![drop.folder])?;
            }
        }
        drop(statement);
        drop(edits);
        self.edits = pending;
        self.edits.clear();
        Ok(())
    }

    /// The seconds since the start of the last pass that was done, if there is one.
    pub(super) fn time_since_last_pass(&self, now: i64) -> Result<Option<i64>, SqlError> {
        let Some(connection) = &self.connection else { return Ok(None) };
        let started = history::last_done(connection, i64::MAX)?;
        Ok(started.map(|started| now.saturating_sub(started / 1000).max(0)))
    }

    /// The circumstances in which the last records were written.
    pub(super) fn circumstances(&self) -> Result<Circumstances, SqlError> {
        let Some(connection) = &self.connection else { return Ok(Circumstances::default()) };
        connection.query_row("SELECT boot, rights, disk_failed FROM pair", [], |row| {
            Ok(Circumstances { boot: row.get(0)?, rights: row.get(1)?, disk_failed: row.get(2)? })
        })
    }

    /// Forgets folders that the source has no more: no pass is in them again.
    fn sweep(&mut self, roots: &Roots) -> Result<(), SqlError> {
        let Some(connection) = &self.connection else { return Ok(()) };
        let known: i64 = connection.query_row("SELECT count(*) FROM folder", [], |row| row.get(0))?;
        if u64::try_from(known).unwrap_or_default() <= self.visited {
            return Ok(());
        }
        let gone: Vec<Vec<u8>> = connection
            .prepare("SELECT path FROM folder")?
            .query_map([], |row| row.get(0))?
            .filter(|path| path.as_ref().map_or(true, |path: &Vec<u8>| !roots.has_folder(path)))
            .collect::<Result<_, _>>()?;
        if gone.is_empty() {
            return Ok(());
        }
        self.begin()?;
        let Some(connection) = &self.connection else { return Ok(()) };
        for path in gone {
            connection.prepare_cached("DELETE FROM file WHERE folder = ?1")?.execute(params![path])?;
            connection.prepare_cached("DELETE FROM folder WHERE path = ?1")?.execute(params![path])?;
        }
        Ok(())
    }

    /// Writes the identities of the roots where they have changed, and forgets a held plan.
    fn note_roots(&mut self) -> Result<(), SqlError> {
        // One that was approved and is not done yet stays.
        let is_open =
            self.approved.iter().any(|approval| approval.is_of_plan() && !self.used.contains(approval));
        let has_held = !is_open && self.connection.as_ref().map_or(Ok(false), held::is_known)?;
        let roots = self.roots_now.filter(|roots| self.roots.as_ref() != Some(roots));
        if roots.is_none() && !has_held {
            return Ok(());
        }
        self.begin()?;
        let Some(connection) = &self.connection else { return Ok(()) };
        if let Some(roots) = &roots {
            roots::write(connection, roots)?;
        }
        if has_held {
            held::forget(connection)?;
        }
        Ok(())
    }

    /// Commits everything, after a pass that was done.
    pub(super) fn commit(&mut self, roots: &Roots) -> Result<(), SqlError> {
        if self.waiting() > 0 || !self.operations.is_empty() {
            self.flush()?;
        }
        self.sweep(roots)?;
        self.note_roots()?;
        let Some(connection) = &self.connection else { return Ok(()) };
        if self.transaction == Open::Writing {
            let Circumstances { boot, rights, .. } = &self.now;
            connection.execute("UPDATE pair SET boot = ?1, rights = ?2", params![boot, rights])?;
            self.operations.write(connection)?;
        }
        if self.transaction != Open::None {
            connection.execute_batch("COMMIT")?;
        }
        self.transaction = Open::None;
        Ok(())
    }

    /// Adds a change of a record.
    pub(super) fn add(&mut self, change: &Change<'_>) {
        if self.connection.is_some() && !self.cannot_write {
            if let Edit::Put(packed) = &change.edit
                && !self.approved.is_empty()
                && let Some(record) = Record::unpack(packed)
            {
                self.use_up((change.folder, change.name), record.digest);
            }
            self.edits.add(change);
            self.flush_if_due();
        }
    }

    /// Adds a new record.
    pub(super) fn put(&mut self, folder: &[u8], name: &[u8], record: &Record) {
        if self.connection.is_some() && !self.cannot_write {
            self.use_up((folder, name), record.digest);
            self.edits.put(folder, name, record);
            self.flush_if_due();
        }
    }

    /// Notes an approval whose content has become the recorded one.
    fn use_up(&mut self, (folder, name): (&[u8], &[u8]), digest: Digest) {
        let of_digest = self.approved.iter().filter(|approval| approval.digest == digest);
        let is_it = |approval: &&Approval| match folder {
            [] => approval.path == name,
            _ => approval.path == [folder, b"/", name].concat(),
        };
        self.used.extend(of_digest.filter(is_it).cloned());
    }

    pub(super) fn confirm_folder(&mut self, folder: &[u8], time: i64) {
        if self.connection.is_some() && !self.cannot_write {
            self.confirmed.push((folder.to_vec(), time));
            self.flush_if_due();
        }
    }

    pub(super) fn remove_folder(&mut self, folder: &[u8]) {
        if self.connection.is_some() && !self.cannot_write {
            self.removed.push(folder.to_vec());
            self.flush_if_due();
        }
    }

    /// The number of changes that are not written yet.
    fn waiting(&self) -> usize {
        self.edits.len() + self.confirmed.len() + self.places.len() + self.removed.len()
    }

    pub(super) fn add_place(&mut self, place: Place) {
        if self.connection.is_some() && !self.cannot_write {
            self.places.push(place);
            self.flush_if_due();
        }
    }

    /// Notes an operation that was done now.
    pub(super) fn add_operation(&mut self, operation: &Operation<'_>) {
        if self.connection.is_some() && !self.cannot_write {
            self.operations.add(operation, || now().millis());
        }
    }

    pub(super) fn flush_if_due(&mut self) {
        if self.waiting() >= BATCH || self.edits.bytes() >= BATCH_BYTES {
            self.attempt_write(State::flush);
        }
    }
}

impl State {
    pub(super) fn meet(&mut self, (folder, device): OpenFolder<'_>, is_dry_run: bool) -> Option<Arc<Volume>> {
        self.connection.as_ref()?;
        if let Some(volume) = self.volumes.met(device) {
            return Some(volume);
        }
        let facts = entry_of(folder).ok().filter(|facts| facts.id.device == device)?;
        let (volume, is_new) = self.volumes.meet(folder, &facts);
        if is_new && !is_dry_run {
            self.note(&volume);
        }
        Some(volume)
    }

    /// Writes what is known of a volume.
    pub(super) fn note(&mut self, volume: &Volume) {
        self.attempt_write(|state| {
            state.begin()?;
            state.connection.as_ref().map_or(Ok(()), |connection| state.volumes.write(connection, volume))
        });
    }
}

/// A poisoned lock does not matter: after a panic the program ends.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
