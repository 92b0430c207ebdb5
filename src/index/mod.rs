//! The index: what is remembered of a pair of roots from one pass to the next, and from one process to the next.
//!
//! It is one SQLite database per pair (store.rs, schema.sql). [`Index`] outlives the passes, a [`Ledger`] is its view in
//! one pass: the survey asks it before it reads a file, and survey and apply tell it what they have confirmed. What they
//! tell is written in one transaction, which is committed after the replica was synced. Nothing depends on it: whatever
//! is wrong with it, passes go on without it.

pub(crate) mod approvals;
mod approved_plans;
mod folder;
pub(crate) mod held;
pub(crate) mod history;
pub(crate) mod known;
mod known_file;
mod ledger;
mod loaded;
pub(crate) mod location;
mod moves;
mod operations;
pub(crate) mod passes;
pub(crate) mod path_history;
mod pending;
mod places;
pub(crate) mod read;
mod record;
mod roots;
mod rows;
mod state;
pub(crate) mod store;
mod terms;
mod thin;
pub(crate) mod trust;
mod volumes;

pub(crate) use folder::FolderRecords;
pub(crate) use known_file::Known;
pub(crate) use ledger::Ledger;
pub(crate) use moves::Departed;
#[cfg(test)]
pub(crate) use record::Facts;
pub(crate) use record::Record;

use crate::fs::is_lazy;
use crate::fs::mappings::{Mapped, mapped_files};
use crate::fs::stamp::Start;
use crate::index::approvals::Approval;
use crate::index::operations::Operations;
use crate::index::state::{Circumstances, Shared, State, lock};
use crate::index::store::{Roots, Unusable};
use crate::index::terms::{MOST_SEARCHES, Terms};
use crate::index::trust::Schedule;
use crate::index::volumes::Volumes;
use crate::model::doubt::RootIdentity;
use crate::model::trust::Trust;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32};
use std::time::Duration;

/// The settings of the index, see [`crate::MirrorOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexOptions {
    /// The folder of the databases, an absolute path; outside the roots.
    pub state_dir: PathBuf,
    /// How long an unchanged file is trusted without being read.
    pub rehash_after: Trust,
    /// How long an unchanged file that was read and is equal on both sides is trusted without being hashed.
    pub digest_after: Trust,
    /// True: no process writes files of the source through memory (`mmap(2)`), so that their times are believed after
    /// seconds also where that cannot be seen.
    pub no_mapped_writes: bool,
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
    /// True when a write to the replica may be lost, as it is noted.
    disk_failed: bool,
    /// The row of the pass that runs.
    row: Option<i64>,
}

/// The conditions of a pass.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    /// Its start.
    pub start: Start,
    /// True: the index is only read.
    pub is_dry_run: bool,
    /// The source, without symbolic links.
    pub source: PathBuf,
    /// A digest of the rights of this process.
    pub rights: String,
}

/// Something to tell about the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The pass goes on without it.
    Unusable(String),
    /// It is only read.
    Unwritable(String),
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
        Index { options, roots, path, shared: Arc::default(), told: None, disk_failed: false, row: None }
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a pass. Without a usable index the ledger knows nothing, and what it is told goes nowhere.
    pub(crate) fn begin(&mut self, conditions: &Conditions) -> (Ledger, Option<Warning>) {
        let Conditions { start, is_dry_run, .. } = *conditions;
        let warning = self.open(is_dry_run);
        let stamp = start.stamp();
        let mut state = lock(&self.shared.0);
        let seconds = |interval: Duration| interval.as_secs().try_into().unwrap_or(i64::MAX);
        let since_last = state.attempt(|state| state.time_since_last_pass(stamp.seconds)).flatten();
        let lead = match self.options.interval {
            Some(interval) => seconds(interval),
            // Single passes come from a schedule elsewhere: the next as long after this one as this after the last.
            None => since_last.unwrap_or_default(),
        };
        let schedule = Schedule {
            now: stamp.seconds,
            lead,
            rehash_after: self.options.rehash_after,
            digest_after: self.options.digest_after,
        };
        let then = state.attempt(|state| state.circumstances()).unwrap_or_default();
        self.disk_failed = then.disk_failed;
        let now = Circumstances {
            boot: crate::fs::boot(),
            rights: conditions.rights.clone(),
            disk_failed: then.disk_failed,
        };
        let terms = Terms {
            schedule,
            start: stamp,
            is_dry_run,
            // Times that were not written before a crash are lost.
            is_after_lazy_boot: !then.boot.is_empty() && then.boot != now.boot && is_lazy(&conditions.source),
            has_same_rights: then.rights == now.rights,
            last_pass: since_last.map_or(0, |since| stamp.seconds.saturating_sub(since)),
            searches: AtomicU32::new(MOST_SEARCHES),
            // Before the first read: a mapping that ends later may have been stored to after it.
            mapped: match self.options.no_mapped_writes {
                true => Some(Mapped::default()),
                false => state.connection.as_ref().and_then(|_| mapped_files()),
            },
            oldest: AtomicI64::new(schedule.now),
        };
        let shared = state.connection.is_some().then(|| Arc::clone(&self.shared));
        let ledger = Ledger { shared, terms: Arc::new(terms) };
        state.now = now;
        state.is_dry_run = is_dry_run;
        state.roots =
            state.attempt(|state| state.connection.as_ref().map_or(Ok(None), roots::read)).flatten();
        // One that cannot be read approves nothing, and the problem is reported again.
        state.approved = approvals::read(&approvals::file_of(&self.path)).unwrap_or_default();
        state.used.clear();
        state.operations = Operations::default();
        drop(state);
        (ledger, self.once(warning))
    }

    fn open(&mut self, is_dry_run: bool) -> Option<Warning> {
        let mut state = lock(&self.shared.0);
        state.unusable = None;
        state.visited = 0;
        if std::mem::take(&mut state.cannot_write) {
            state.roll_back();
            state.connection = None;
        }
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
                Err(unusable @ (Unusable::Locked | Unusable::Failed(_))) => {
                    let Ok(connection) = store::open_to_read(&self.path) else {
                        return Some(Warning::Unusable(unusable.to_string()));
                    };
                    (state.connection, state.cannot_write) = (Some(connection), true);
                    warning = Some(Warning::Unwritable(unusable.to_string()));
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
    /// `roots` are the identities of the two roots in this pass, where they are known.
    pub(crate) fn end(&mut self, is_done: bool, roots: Option<[RootIdentity; 2]>) -> Option<Warning> {
        let mut state = lock(&self.shared.0);
        state.roots_now = roots;
        if !is_done {
            state.roll_back();
        } else {
            if state.attempt_write(|state| state.commit(&self.roots)).is_none() {
                // Of an index that is only read a transaction is open: the next write could not begin its own.
                state.roll_back();
                // One of a content that stays holds for that content only. One of a plan may not be used twice.
                state.used.retain(Approval::is_of_plan);
            }
            if !state.used.is_empty() {
                // One that stays is of this content alone, or of a plan that is forgotten.
                let _ = approvals::remove(&approvals::file_of(&self.path), &state.used);
            }
        }
        let warning = match state.unusable.take() {
            // A page may have been misread. Otherwise the next pass, perhaps of another process, begins a new one.
            Some(Unusable::Damaged(why)) if !state.is_dry_run && store::is_damaged(&self.path) => {
                self.rebuild(&mut state, why)
            }
            Some(unusable) if state.cannot_write => Some(Warning::Unwritable(unusable.to_string())),
            unusable => unusable.map(|unusable| Warning::Unusable(unusable.to_string())),
        };
        drop(state);
        self.once(warning)
    }

    /// Notes for the next process whether a write to the replica may be lost, when that has changed.
    pub(crate) fn note_disk(&mut self, has_failed: bool) {
        if has_failed != self.disk_failed {
            let sql = "UPDATE pair SET disk_failed = ?1";
            let noted = lock(&self.shared.0).attempt_write(|state| {
                state.connection.as_ref().map_or(Ok(0), |connection| connection.execute(sql, [has_failed]))
            });
            if noted.is_some() {
                self.disk_failed = has_failed;
            }
        }
    }

    /// Whether a write to the replica may have been lost in an earlier process.
    pub(crate) fn disk_failed(&self) -> bool {
        self.disk_failed
    }

    /// Leaves out a warning that was given before: an index that cannot be written would be reported in each pass.
    fn once(&mut self, warning: Option<Warning>) -> Option<Warning> {
        let Some(Warning::Unusable(text) | Warning::Unwritable(text)) = &warning else { return warning };
        if self.told.as_ref() == Some(text) {
            return None;
        }
        self.told = Some(text.clone());
        warning
    }
}
