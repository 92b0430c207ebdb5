//! Carries out the plan. The only part that writes.
//!
//! The order: moves; creates and updates, in parallel; hard links to the files that exist now; retries of transient failures;
//! `syncfs`, if anything is to be removed; deletions, deepest first; retries of copies that found no room before the
//! deletions; renames of entries that the replica lists under other spellings, and the metadata of the folders with
//! changes, deepest first.

mod copy;
mod create;
pub(crate) mod durability;
mod endless;
pub(crate) mod error;
mod group_sync;
mod hardlinks;
mod job;
pub(crate) mod metadata;
mod moves;
mod names;
mod new_folder;
mod pending_folder;
pub(crate) mod precondition;
pub(crate) mod publish;
mod read_only;
mod reflink;
pub(crate) mod refusal;
pub(crate) mod remove;
mod report;
mod retire;
mod retry;
pub(crate) mod stage;
mod stage_folder;
pub(crate) mod staged;
mod taken;
mod unmade;
mod unmoved;
mod unnamed;

use crate::apply::durability::Volumes;
use crate::apply::group_sync::PendingRenames;
use crate::apply::hardlinks::targets::Anchors;
use crate::apply::job::Job;
use crate::apply::metadata::folders::make_writable;
use crate::apply::precondition::Precondition;
use crate::apply::remove::{Removal, Target, remove};
use crate::apply::retry::Again;
use crate::apply::taken::Taken;
use crate::collections::{HashMap, HashSet};
use crate::context::Context;
use crate::fs::dir::Dir;
use crate::identity::Devices;
use crate::index::Record;
use crate::model::change::Verb;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::error::Cause;
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::plan::{Action, Change, Pair, Plan};
use rayon::Scope;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of changes, or names of a new folder, in one task.
const CHUNK: usize = 16;

/// Planned files of at least this size are copied in a task of their own, after smaller ones.
const LARGE: u64 = 1 << 20;

/// Files of at least this size are always copied in a task of their own, for which nothing waits. They do not join a
/// group commit: one fsync more is little beside writing them, and a pending file takes room.
const HUGE: u64 = 16 << 20;

/// Carries out a plan that the guard let through.
pub(crate) fn apply(context: &Context<'_>, plan: &mut Plan, disks: &Volumes) {
    let apply = Apply {
        context,
        disks,
        anchors: Anchors::default(),
        devices: Devices::default(),
        links_work: Mutex::default(),
        again: Again::default(),
        taken: Taken::default(),
        leftovers: Mutex::default(),
        touched: Mutex::default(),
        waiting: Mutex::default(),
        skeletons: Mutex::default(),
        moved: Mutex::default(),
        moved_records: Mutex::default(),
    };
    apply.move_all(plan);
    let plan = &*plan;
    apply.take_anchors(plan);
    let of = |is_it: fn(Action) -> bool| plan.changes.iter().filter(move |change| is_it(change.action));
    let (large, small): (Vec<&Change>, Vec<&Change>) =
        of(|action| !is_link(action) && action != Action::Delete).partition(|change| is_large(change));
    let links: Vec<&Change> = of(is_link).collect();
    let removals: Vec<&Change> = of(|action| action == Action::Delete).collect();

    let workers = context.workers;
    let copy = || workers.scope(|scope| apply.change_all(scope, &small, &large));
    disks.write_during(context, plan, copy);
    apply.finish_waiting();
    apply.write_before_links(&links);
    workers.scope(|scope| apply.link_all(scope, &links));
    apply.finish_waiting();
    // Before any deletion: the entry to be deleted may be the old name of one that was not created.
    apply.try_again_now();
    if apply.may_remove(!removals.is_empty()) {
        workers.scope(|scope| apply.remove_all(scope, &removals));
        apply.remove_leftovers();
    }
    apply.try_for_the_last_time();
    // A source root that has gone by now is no model for metadata.
    if context.roots.source_state().is_whole() {
        apply.finish_folders(plan);
        context.vanished.settle(context);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a change copies a large file.
fn is_large(change: &Change) -> bool {
    let copies = match change.action {
        Action::Create | Action::Replace(_) | Action::Reown => true,
        Action::Link { .. } | Action::SetMetadata(_) | Action::Delete => false,
    };
    copies && change.kind == Kind::File && change.size >= LARGE
}

fn is_link(action: Action) -> bool {
    matches!(action, Action::Link { .. })
}

struct Apply<'a> {
    context: &'a Context<'a>,
    /// The filesystems of the replica.
    disks: &'a Volumes,
    /// The replica inode of each source inode with several names.
    anchors: Anchors,
    /// The reliability of the source's inode numbers.
    devices: Devices,
    /// The devices of the replica on which hard links were found to work.
    links_work: Mutex<BTreeSet<u64>>,
    /// The jobs that are retried.
    again: Again,
    /// Names that were taken.
    taken: Taken,
    /// Entries that were replaced and now lie under a temporary name.
    leftovers: Mutex<Vec<Leftover>>,
    /// New folders that were made for what moved into them, by their parent and name.
    skeletons: Mutex<HashMap<NameIn, Arc<Dir>>>,
    /// The new names of moved entries, with their folders.
    moved: Mutex<HashSet<NameIn>>,
    /// The records of moved files, by their new paths.
    moved_records: Mutex<Vec<(RelPath, Record, Entry)>>,
    /// Folders that are finished at the end although no planned change names them.
    touched: Mutex<Vec<Arc<Pair>>>,
    /// Finished replacements that wait for a group commit.
    waiting: Mutex<PendingRenames>,
}

/// A name in a folder of the replica.
type NameIn = (FileId, Box<CStr>);

/// An entry that has lost its place to another one.
struct Leftover {
    /// Its folder.
    folder: Arc<Dir>,
    /// Its temporary name there.
    name: CString,
    /// The path that it had.
    path: RelPath,
    /// Why it goes.
    removal: Removal,
}

impl Apply<'_> {
    /// Creates, updates and metadata; large files apart. Pending files of a size class are published when the last
    /// change of that class is done: small files do not wait for large ones, and neither wait for huge ones.
    fn change_all<'s>(&'s self, scope: &Scope<'s>, small: &'s [&'s Change], large: &'s [&'s Change]) {
        // Large files are spawned first: rayon's thieves steal the oldest task, this worker pops the newest.
        if !large.is_empty() {
            self.context.workers.spawn(scope, move |scope| self.change_chunks(scope, large, 1));
        }
        self.change_chunks(scope, small, CHUNK);
    }

    fn change_chunks<'s>(&'s self, scope: &Scope<'s>, changes: &'s [&'s Change], size: usize) {
        let work = move |scope: &Scope<'s>, chunk: Range<usize>| {
            let mut prepared: Option<&Arc<Pair>> = None;
            for change in changes.get(chunk).unwrap_or_default() {
                if self.context.is_halted() {
                    return;
                }
                if !prepared.is_some_and(|pair| Arc::ptr_eq(pair, &change.pair)) {
                    if let Some(dir) = &change.pair.replica {
                        make_writable(self.context, dir);
                    }
                    prepared = Some(&change.pair);
                }
                self.change(scope, change);
                self.context.workers.did_name();
            }
        };
        self.context.workers.in_chunks(scope, (changes.len(), size), work, |_| self.publish_waiting());
    }

    fn change<'s>(&'s self, scope: &Scope<'s>, change: &Change) {
        if self.context.is_halted() {
            return;
        }
        let is_hopeless = match change.action {
            Action::Create | Action::Replace(_) | Action::Reown | Action::Link { .. } => {
                self.is_hopeless(&Job::of(change))
            }
            Action::SetMetadata(_) | Action::Delete => {
                change.pair.replica.as_ref().is_some_and(|folder| self.context.read_only.hold(folder))
            }
        };
        if is_hopeless {
            return;
        }
        match change.action {
            Action::Replace(Verb::Retype) if self.is_too_early(&change.pair, &change.name) => {}
            Action::Create | Action::Replace(_) | Action::Reown => self.start(scope, Job::of(change), None),
            Action::SetMetadata(differences) => {
                self.set_metadata(&Job::of(change), differences.words());
            }
            // Later steps handle these.
            Action::Link { .. } | Action::Delete => {}
        }
    }

    /// Runs `syncfs` before any deletion. A deleted entry may be the old name of a moved file: after a power loss that
    /// name must not be gone while the new one lacks its data, which any filesystem allows that writes data later than
    /// names. False when there is nothing to remove, or when `syncfs` failed: a disk error, or a full disk at
    /// writeback. A copy that found no room is another matter: it was reported then, and deletions make room for it.
    fn may_remove(&self, has_removals: bool) -> bool {
        if self.context.is_halted() || (!has_removals && lock(&self.leftovers).is_empty()) {
            return false;
        }
        self.disks.sync(self.context).is_ok()
    }

    /// Removes entries that the source no longer has.
    fn remove_all<'s>(&'s self, scope: &Scope<'s>, removals: &'s [&'s Change]) {
        let work = move |_: &Scope<'s>, chunk: Range<usize>| {
            removals.get(chunk).unwrap_or_default().iter().for_each(|change| self.remove(change));
        };
        self.context.workers.in_chunks(scope, (removals.len(), CHUNK), work, |_| {});
    }

    fn remove(&self, change: &Change) {
        let Some(folder) = change.pair.replica.as_ref().filter(|_| !self.context.is_halted()) else { return };
        make_writable(self.context, folder);
        let path = change.pair.path().join(&change.name);
        if self.has_a_taken_name(change) {
            let reason = "a name of the source that could not be made may lead to it";
            return self.problem(&path, ProblemKind::Delete, Cause::Refused(reason), "it stays");
        }
        let removal = Removal::Extra;
        let target = Target { folder, name: &change.name, expected: change.expected, path: &path, removal };
        remove(self.context, target, Precondition::Absent(&change.pair, &change.name));
        self.context.workers.did_name();
    }

    /// Notes an entry that one of another kind has taken the place of.
    fn leave_over(&self, folder: Arc<Dir>, name: CString, path: RelPath) {
        lock(&self.leftovers).push(Leftover { folder, name, path, removal: Removal::Retyped });
    }

    fn remove_leftovers(&self) {
        let leftovers = std::mem::take(&mut *lock(&self.leftovers));
        for Leftover { folder, name, path, removal } in leftovers {
            if self.context.is_halted() {
                return;
            }
            let target = Target { folder: &folder, name: &name, expected: None, path: &path, removal };
            remove(self.context, target, Precondition::Replaced);
        }
    }

    /// Whether the source's folder has changed since the pass began: then the entry that one of another kind is to
    /// replace may have moved to a folder that the survey had already read.
    fn is_too_early(&self, pair: &Pair, name: &CStr) -> bool {
        let Some(dir) = &pair.source else { return false };
        // A folder that cannot be looked at fails in the usual way later.
        dir.entry().is_ok_and(|facts| self.context.absence.has_changed(&facts))
            && self.context.absence.keep_changed(&pair.path().join(name))
    }
}
