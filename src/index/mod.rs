//! The index: what is remembered of a pair of roots from one pass to the next, and from one process to the next.
//!
//! It is one SQLite database per pair (store.rs, schema.sql). [`Index`] outlives the passes, a [`Ledger`] is its view in
//! one pass: the survey asks it before it reads a file, and survey and apply tell it what they have confirmed. What they
//! tell is written in one transaction, which is committed after the replica was synced. Nothing depends on it: whatever
//! is wrong with it, passes go on without it.

pub(crate) mod approvals;
mod folder;
pub(crate) mod history;
pub(crate) mod known;
pub(crate) mod location;
pub(crate) mod passes;
pub(crate) mod read;
mod record;
mod rows;
pub(crate) mod store;
mod thin;
pub(crate) mod trust;
mod volumes;

pub(crate) use folder::{FolderRecords, Known};
pub(crate) use record::{Facts, Record};

use crate::fs::stamp::Start;
use crate::fs::stat::entry_of;
use crate::index::approvals::Approval;
use crate::index::rows::{Change, Edit, edit, in_order};
use crate::index::store::{Roots, Unusable};
use crate::index::trust::{Schedule, is_settled};
use crate::index::volumes::{Volume, Volumes};
use crate::model::digest::Digest;
use crate::model::entry::{Entry, Kind, Timestamp};
use crate::model::path::RelPath;
use crate::model::trust::Trust;
use rusqlite::{Connection, Error as SqlError, params};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The number of changes that are written at once.
const BATCH: usize = 4096;

/// What the index is to do, see [`crate::MirrorOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexOptions {
    /// The folder of the databases, an absolute path; outside the roots.
    pub state_dir: PathBuf,
    /// How long an unchanged file is trusted without being read.
    pub rehash_after: Trust,
    /// How long an unchanged file that was read and is equal on both sides is trusted without being hashed.
    pub digest_after: Trust,
    /// The time from the start of a pass to the start of the next; none for a single pass.
    pub interval: Option<Duration>,
    /// The greatest age that the replica may have; none where nobody has said it.
    pub rpo: Option<Duration>,
}

/// The index of a pair.
#[derive(Debug)]
pub(crate) struct Index {
    options: IndexOptions,
    roots: Roots,
    path: PathBuf,
    shared: Arc<Shared>,
    /// The warning that was given last.
    told: Option<String>,
    /// The row of the pass that runs.
    row: Option<i64>,
}

/// What all threads of a pass use.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    connection: Option<Connection>,
    volumes: Volumes,
    /// Changes that are not written yet, in the order in which they were made.
    edits: Vec<Change>,
    /// Folders of which every file was confirmed, and when.
    confirmed: Vec<(Vec<u8>, i64)>,
    /// Folders that are gone; the records of their files were removed one by one.
    removed: Vec<Vec<u8>>,
    is_in_transaction: bool,
    /// True in a pass that only reads.
    is_dry_run: bool,
    /// The circumstances of this pass.
    now: Circumstances,
    /// Contents that a person has accepted, and those of them that this pass has met.
    approved: Vec<Approval>,
    used: Vec<Approval>,
    /// Why it is not usable any more in this pass.
    unusable: Option<Unusable>,
}

/// The conditions of a pass.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    /// Its start.
    pub start: Start,
    /// True: the index is only read.
    pub is_dry_run: bool,
    /// True when the source is mounted with `lazytime`.
    pub is_lazy: bool,
    /// A digest of the rights of this process.
    pub rights: String,
}

/// Facts about the computer and the process that a record does not hold.
#[derive(Clone, Debug, Default)]
struct Circumstances {
    boot: String,
    rights: String,
}

/// Something to tell about the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The pass goes on without it.
    Unusable(String),
    /// It was damaged and is made anew.
    Rebuilt(String),
}

impl Index {
    /// The index of a pair. Nothing is opened yet.
    pub(crate) fn new(options: IndexOptions, source: &Path, replica: &Path) -> Index {
        // Without a current folder a relative root cannot be opened either.
        // Of its components, because a slash at the end makes no other pair.
        let absolute = |path: &Path| -> PathBuf {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.components().collect()
        };
        let roots = Roots { source: absolute(source), replica: absolute(replica) };
        let path = location::database(&options.state_dir, &roots);
        Index { options, roots, path, shared: Arc::default(), told: None, row: None }
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a pass. Without a usable index the ledger knows nothing, and what it is told goes nowhere.
    pub(crate) fn begin(&mut self, conditions: &Conditions) -> (Ledger, Option<Warning>) {
        let Conditions { start, is_dry_run, is_lazy, .. } = *conditions;
        let warning = self.open(is_dry_run);
        let stamp = start.stamp();
        let seconds = |interval: Duration| interval.as_secs().try_into().unwrap_or(i64::MAX);
        let schedule = Schedule {
            now: stamp.seconds,
            lead: self.options.interval.map_or(0, seconds),
            rehash_after: self.options.rehash_after,
            digest_after: self.options.digest_after,
        };
        let mut state = lock(&self.shared.0);
        let then = state.attempt(|state| state.circumstances()).unwrap_or_default();
        let now = Circumstances { boot: crate::fs::boot(), rights: conditions.rights.clone() };
        let ledger = Ledger {
            shared: state.connection.is_some().then(|| Arc::clone(&self.shared)),
            schedule,
            start: stamp,
            is_dry_run,
            // Times that were not written before a crash are lost.
            is_after_lazy_boot: is_lazy && then.boot != now.boot,
            has_same_rights: then.rights == now.rights,
            oldest: Arc::new(AtomicI64::new(schedule.now)),
        };
        state.now = now;
        state.is_dry_run = is_dry_run;
        // One that cannot be read approves nothing, and the problem is reported again.
        state.approved = approvals::read(&approvals::file_of(&self.path)).unwrap_or_default();
        state.used.clear();
        drop(state);
        (ledger, self.once(warning))
    }

    fn open(&mut self, is_dry_run: bool) -> Option<Warning> {
        let mut state = lock(&self.shared.0);
        state.unusable = None;
        let mut warning = None;
        if state.connection.is_none() {
            let open = || match is_dry_run {
                false => store::open(&self.path, &self.roots),
                true => store::open_to_read(&self.path),
            };
            match open() {
                Ok(connection) => state.connection = Some(connection),
                Err(Unusable::Missing) if is_dry_run => return None,
                Err(Unusable::Damaged(why)) if !is_dry_run => {
                    warning = self.rebuild(&mut state, why);
                    if state.connection.is_none() {
                        state.connection = open().ok();
                    }
                }
                Err(unusable) => return Some(Warning::Unusable(unusable.to_string())),
            }
        }
        // Read for each pass: devices may have changed since the last one.
        let volumes = state.connection.as_ref().map(Volumes::read);
        match volumes {
            Some(Ok(volumes)) => state.volumes = volumes,
            Some(Err(error)) => {
                state.fail(error);
                return Some(Warning::Unusable(
                    state.unusable.as_ref().map(Unusable::to_string).unwrap_or_default(),
                ));
            }
            None => {}
        }
        warning
    }

    fn rebuild(&self, state: &mut State, why: String) -> Option<Warning> {
        state.connection = None;
        Some(match store::set_aside(&self.path) {
            Ok(()) => Warning::Rebuilt(why),
            Err(error) => Warning::Unusable(format!("it is damaged ({why}) and cannot be removed: {error}")),
        })
    }

    /// Ends a pass. With `is_done` everything that was confirmed is kept: the caller has synced the replica.
    pub(crate) fn end(&mut self, is_done: bool) -> Option<Warning> {
        let mut state = lock(&self.shared.0);
        if is_done {
            state.attempt(State::commit);
            if !state.used.is_empty() {
                // One that stays holds for the same content only.
                let _ = approvals::remove(&approvals::file_of(&self.path), &state.used);
            }
        } else {
            state.roll_back();
        }
        let warning = match state.unusable.take() {
            // The next pass, perhaps of another process, begins a new one.
            Some(Unusable::Damaged(why)) if !state.is_dry_run => self.rebuild(&mut state, why),
            unusable => unusable.map(|unusable| Warning::Unusable(unusable.to_string())),
        };
        drop(state);
        self.once(warning)
    }

    /// Leaves out a warning that was given before: an index that cannot be written would be reported in each pass.
    fn once(&mut self, warning: Option<Warning>) -> Option<Warning> {
        let Some(Warning::Unusable(text)) = &warning else { return warning };
        if self.told.as_ref() == Some(text) {
            return None;
        }
        self.told = Some(text.clone());
        warning
    }
}

impl State {
    /// Runs a step on the database. After a failure the index is not used any more in this pass.
    fn attempt<T>(&mut self, step: impl FnOnce(&mut State) -> Result<T, SqlError>) -> Option<T> {
        self.connection.as_ref()?;
        match step(self) {
            Ok(done) => Some(done),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    fn fail(&mut self, error: SqlError) {
        self.unusable = Some(error.into());
        self.roll_back();
        // Closing also rolls back what SQLite has not.
        self.connection = None;
    }

    fn roll_back(&mut self) {
        self.edits.clear();
        self.confirmed.clear();
        self.removed.clear();
        if std::mem::take(&mut self.is_in_transaction)
            && let Some(connection) = &self.connection
            // SQLite may have rolled back on its own.
            && !connection.is_autocommit()
            && connection.execute_batch("ROLLBACK").is_err()
        {
            self.connection = None;
        }
    }

    fn begin(&mut self) -> Result<(), SqlError> {
        if let Some(connection) = self.connection.as_ref().filter(|_| !self.is_in_transaction) {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            self.is_in_transaction = true;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SqlError> {
        self.begin()?;
        let Some(connection) = &self.connection else { return Ok(()) };
        let edits = in_order(std::mem::take(&mut self.edits));
        let folders = || edits.chunk_by(|one, other| one.folder == other.folder);
        for here in folders() {
            edit(connection, here)?;
        }
        let sql = "INSERT INTO folder (path, confirmed) VALUES (?1, ?2) \
                   ON CONFLICT (path) DO UPDATE SET confirmed = max(confirmed, excluded.confirmed)";
        let mut statement = connection.prepare_cached(sql)?;
        for (folder, time) in std::mem::take(&mut self.confirmed) {
            statement.execute(params![folder, time])?;
        }
        let mut statement = connection.prepare_cached("DELETE FROM folder WHERE path = ?1")?;
        for folder in std::mem::take(&mut self.removed) {
            statement.execute(params![folder])?;
        }
        let sql = "DELETE FROM folder WHERE path = ?1 AND NOT EXISTS (SELECT 1 FROM file WHERE folder = ?1)";
        let mut statement = connection.prepare_cached(sql)?;
        for here in folders() {
            if let Some(drop) = here.iter().find(|change| change.edit == Edit::Drop) {
                statement.execute(params![drop.folder])?;
            }
        }
        Ok(())
    }

    /// The circumstances in which the last records were written.
    fn circumstances(&self) -> Result<Circumstances, SqlError> {
        let Some(connection) = &self.connection else { return Ok(Circumstances::default()) };
        connection.query_row("SELECT boot, rights FROM pair", [], |row| {
            Ok(Circumstances { boot: row.get(0)?, rights: row.get(1)? })
        })
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        if self.edits.len() + self.confirmed.len() + self.removed.len() > 0 {
            self.flush()?;
        }
        if let Some(connection) = self.connection.as_ref().filter(|_| self.is_in_transaction) {
            let Circumstances { boot, rights } = &self.now;
            connection.execute("UPDATE pair SET boot = ?1, rights = ?2", params![boot, rights])?;
            connection.execute_batch("COMMIT")?;
        }
        self.is_in_transaction = false;
        Ok(())
    }

    /// Adds a change.
    fn add(&mut self, change: Change) {
        if self.connection.is_some() {
            self.edits.push(change);
            self.flush_if_due();
        }
    }

    fn confirm_folder(&mut self, folder: &[u8], time: i64) {
        if self.connection.is_some() {
            self.confirmed.push((folder.to_vec(), time));
            self.flush_if_due();
        }
    }

    fn remove_folder(&mut self, folder: &[u8]) {
        if self.connection.is_some() {
            self.removed.push(folder.to_vec());
            self.flush_if_due();
        }
    }

    fn flush_if_due(&mut self) {
        if self.edits.len() + self.confirmed.len() + self.removed.len() >= BATCH {
            self.attempt(State::flush);
        }
    }
}

/// The index in one pass.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// None: there is no usable index.
    shared: Option<Arc<Shared>>,
    schedule: Schedule,
    start: Timestamp,
    is_dry_run: bool,
    /// True in the first pass after a boot where the source is mounted with `lazytime`.
    is_after_lazy_boot: bool,
    /// True when the records were written with the same rights: others may see more extended attributes.
    has_same_rights: bool,
    /// The oldest confirmation of a file that this pass did not read.
    oldest: Arc<AtomicI64>,
}

/// An open folder of one side, and its device.
pub(crate) type OpenFolder<'a> = (BorrowedFd<'a>, u64);

impl Ledger {
    /// A ledger that knows nothing.
    pub(crate) fn off() -> Ledger {
        let schedule = Schedule { now: 0, lead: 0, rehash_after: Trust::Never, digest_after: Trust::Never };
        let start = Timestamp { seconds: 0, nanoseconds: 0 };
        Ledger {
            shared: None,
            schedule,
            start,
            is_dry_run: true,
            is_after_lazy_boot: false,
            has_same_rights: false,
            oldest: Arc::default(),
        }
    }

    /// Whether nothing is known and nothing is kept.
    pub(crate) fn is_off(&self) -> bool {
        self.shared.is_none()
    }

    /// The records of a folder; none without a usable index.
    pub(crate) fn folder(
        &self,
        path: &RelPath,
        source: OpenFolder<'_>,
        replica: OpenFolder<'_>,
    ) -> Option<FolderRecords> {
        let shared = self.shared.as_ref()?;
        let volumes = {
            let mut state = lock(&shared.0);
            [state.meet(source, self.is_dry_run)?, state.meet(replica, self.is_dry_run)?]
        };
        let devices = [source.1, replica.1];
        FolderRecords::load(self, shared, path, volumes, devices)
    }

    /// Notes a copy: this content was read from the source's file with these facts and written to the replica.
    pub(crate) fn copied(&self, folder: &RelPath, name: &CStr, digest: Digest, source: &Entry) {
        let Some(shared) = &self.shared else { return };
        let Some(volume) = lock(&shared.0).volumes.met(source.id.device) else { return };
        // On a shared filesystem the clock of the stamps is another one: a later pass settles the facts.
        let settled = volume.is_local() && is_settled(source, self.start);
        let now = self.schedule.now;
        let facts = Facts::of(source, volume.number, settled);
        let record = Record {
            digest,
            size: source.size,
            source: facts,
            replica: None,
            is_bare: false,
            confirmed: now,
            hashed: now,
        };
        let (folder, name) = (folder.as_bytes().into(), name.to_bytes().into());
        lock(&shared.0).add(Change { folder, name, edit: Edit::Put(record) });
    }

    /// Forgets an entry that is gone from the replica.
    pub(crate) fn removed(&self, path: &RelPath, kind: Kind) {
        let Some(shared) = &self.shared else { return };
        let path = path.as_bytes();
        let mut state = lock(&shared.0);
        match kind {
            Kind::Folder => state.remove_folder(path),
            Kind::File => {
                let slash = path.iter().rposition(|byte| *byte == b'/');
                let folder = slash.and_then(|at| path.get(..at)).unwrap_or_default();
                let name = slash.and_then(|at| path.get(at + 1..)).unwrap_or(path);
                state.add(Change { folder: folder.into(), name: name.into(), edit: Edit::Drop });
            }
            Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {}
        }
    }

    /// Whether a person has accepted this content of a file.
    pub(crate) fn is_approved(&self, path: &RelPath, digest: Digest) -> bool {
        let Some(shared) = &self.shared else { return false };
        let mut state = lock(&shared.0);
        let is_it = |approval: &&Approval| approval.digest == digest && approval.path == path.as_bytes();
        let found = state.approved.iter().find(is_it).cloned();
        let is_approved = found.is_some();
        state.used.extend(found);
        is_approved
    }

    /// Whether every file is read in every pass.
    fn reads_all(&self) -> bool {
        self.schedule.rehash_after == Trust::Never
    }

    /// The schedule of this pass.
    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The age of the oldest confirmation among the files of this pass, in seconds; none without an index.
    pub(crate) fn oldest_confirmation(&self) -> Option<Duration> {
        self.shared.as_ref()?;
        let age = self.schedule.now.saturating_sub(self.oldest.load(Ordering::Relaxed));
        Some(Duration::from_secs(age.try_into().unwrap_or_default()))
    }

    /// Notes a file that is trusted, with the time of its confirmation.
    fn trusted(&self, confirmed: i64) {
        self.oldest.fetch_min(confirmed, Ordering::Relaxed);
    }
}

impl State {
    fn meet(&mut self, (folder, device): OpenFolder<'_>, is_dry_run: bool) -> Option<Arc<Volume>> {
        self.connection.as_ref()?;
        if let Some(volume) = self.volumes.met(device) {
            return Some(volume);
        }
        let facts = entry_of(folder).ok().filter(|facts| facts.id.device == device)?;
        let (volume, is_new) = self.volumes.meet(folder, &facts);
        if is_new && !is_dry_run {
            self.note(&volume)?;
        }
        Some(volume)
    }

    /// Writes what is known of a volume.
    fn note(&mut self, volume: &Volume) -> Option<()> {
        self.attempt(|state| {
            state.begin()?;
            state.connection.as_ref().map_or(Ok(()), |connection| state.volumes.write(connection, volume))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
