//! Absent and denied names: whether a deletion follows from them in this pass.

use crate::collections::HashMap;
use crate::context::vanished::{Doubt, sort_out, tell_ghost};
use crate::fs::is_gone;
use crate::fs::listing::Listing;
use crate::fs::locked::{LOCKED, WORDS};
use crate::model::counters::Counter;
use crate::model::entry::{Entry, Kind};
use crate::model::error::{Cause, Problem, Side};
use crate::model::problem_kind::ProblemKind;
use crate::plan::Pair;
use crate::survey::Survey;
use crate::survey::merge::Merge;
use crate::walk::FolderRules;
use rayon::Scope;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::{Arc, MutexGuard, PoisonError};

/// A name that the replica lists although a lookup fails with ENOENT.
pub(super) struct Denied {
    pair: Arc<Pair>,
    name: Box<CStr>,
    in_source: bool,
    has_changed: bool,
    rules: Arc<FolderRules>,
}

impl Survey<'_> {
    /// Whether an entry that the source lacks stays for now: the source's folder has changed since the pass began, so
    /// the entry may have moved to a folder that the survey had already read.
    pub(super) fn stays(&self, has_changed: bool, pair: &Pair, name: &CStr) -> bool {
        has_changed && self.context.absence.keep_changed(&pair.path().join(name))
    }

    /// Whether an entry that only the source has is a locked folder, which is reported: its names are hidden, and
    /// another folder of the replica may be its old version.
    pub(super) fn is_locked_source(&self, pair: &Pair, name: &CStr, entry: &Entry) -> bool {
        let is_locked = is_locked(pair, Side::Source, name, entry);
        if is_locked {
            self.context.problem(&Problem::new(
                pair.path().join(name),
                ProblemKind::ReadSourceFolder,
                Cause::Refused(WORDS),
                "what the replica has under its name is kept",
            ));
            self.context.absence.not_made(&pair.path(), (entry.kind, 0), Some(entry.mtime));
        }
        is_locked
    }

    /// Whether an entry that is to be deleted from the replica is a locked folder, which is reported.
    pub(super) fn is_locked_replica(&self, pair: &Pair, name: &CStr, entry: &Entry) -> bool {
        let is_locked = is_locked(pair, Side::Replica, name, entry);
        if is_locked {
            self.context.problem(&Problem::new(
                pair.path().join(name),
                ProblemKind::Delete,
                Cause::Refused(WORDS),
                "it stays",
            ));
        }
        is_locked
    }

    /// Notes a name that the replica lists and denies.
    pub(super) fn deny(&self, merge: &Merge, name: &CStr, in_source: bool) {
        let (pair, has_changed) = (Arc::clone(&merge.pair), merge.has_changed);
        let rules = Arc::clone(&merge.rules);
        self.denied().push(Denied { pair, name: name.into(), in_source, has_changed, rules });
    }

    fn denied(&self) -> MutexGuard<'_, Vec<Denied>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles the denied names of the replica after each of their folders has been listed again: names that are there
    /// now, or have gone, are looked at again; a name that is listed and denied again and again is a problem.
    pub(super) fn settle_denied(&self) {
        let mut folders: HashMap<usize, Vec<Denied>> = HashMap::default();
        for denied in std::mem::take(&mut *self.denied()) {
            folders.entry(Arc::as_ptr(&denied.pair).addr()).or_default().push(denied);
        }
        let with_folder = |denied: Vec<Denied>| {
            let dir = denied.first()?.pair.replica.clone()?;
            Some(Doubt::new(dir, denied))
        };
        let mut doubts: Vec<Doubt<Denied>> = folders.into_values().filter_map(with_folder).collect();
        if doubts.is_empty() || self.context.is_halted() {
            return;
        }
        sort_out(self.context.workers, &mut doubts, |denied| &denied.name);
        self.context.workers.scope(|scope| {
            for doubt in doubts {
                self.context.workers.spawn(scope, move |scope| self.look_again(scope, doubt));
            }
        });
        // Another process that keeps removing entries of the replica is reported once.
        let again = std::mem::take(&mut *self.denied());
        if let Some(denied) = again.first() {
            self.context.replica_disturbed(&denied.pair.path().join(&denied.name));
        }
    }

    /// Looks again at the names of one folder that have been settled.
    fn look_again<'s>(&'s self, scope: &Scope<'s>, doubt: Doubt<Denied>) {
        let Doubt { dir, suspects, gone, there, unreadable, failed } = doubt;
        let any =
            suspects.iter().chain(&gone).chain(&there).chain(unreadable.iter().map(|(denied, _)| denied));
        let Some(Denied { pair, has_changed, rules, .. }) = any.into_iter().next() else { return };
        let (pair, has_changed, rules) = (Arc::clone(pair), *has_changed, Arc::clone(rules));
        match failed {
            Some(errno) if is_gone(errno) => return self.gone(&pair, Side::Replica, errno),
            Some(errno) => return self.unreadable_folder(&pair, Side::Replica, errno),
            None => {}
        }
        for denied in suspects {
            tell_ghost(self.context, Side::Replica, &dir, &denied.name);
        }
        let Some(open) = self.open_both(&pair) else { return };
        let merge = Merge::new(Arc::clone(&pair), Listing::default(), Listing::default(), rules);
        let merge = Arc::new(merge.of_folder_that_changed(has_changed));
        let listed = there.into_iter().chain(unreadable.into_iter().map(|(denied, _)| denied));
        let listed = listed.map(|denied| (denied, true));
        for (denied, in_replica) in listed.chain(gone.into_iter().map(|denied| (denied, false))) {
            let name = (&*denied.name, denied.in_source, in_replica);
            let unchanged = self.name(scope, &merge, open.borrow(), name);
            self.context.reporter.count(Counter::Unchanged, unchanged);
        }
    }
}

/// Whether a folder below one side of a pair is encrypted and locked. Other errors surface when it is read.
fn is_locked(pair: &Pair, side: Side, name: &CStr, entry: &Entry) -> bool {
    let dir = match side {
        Side::Source => &pair.source,
        Side::Replica => &pair.replica,
    };
    let Some(dir) = dir.as_ref().filter(|_| entry.kind == Kind::Folder && entry.is_encrypted) else {
        return false;
    };
    let listed = dir.child(name, entry.id).open().and_then(|fd| Listing::read(fd.as_fd()));
    listed.is_err_and(|errno| errno == LOCKED)
}
