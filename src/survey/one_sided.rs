//! Plans what one side alone has, or has as another kind: creations, deletions and replacements of a kind.

use crate::fs::dir::Dir;
use crate::model::change::Verb;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::room::Room;
use crate::plan::weight::Weight;
use crate::plan::{Action, Change, Displaced, Pair, Protected};
use crate::survey::merge::Merge;
use crate::survey::moves::{Arrived, Extra, Instead};
use crate::survey::{Survey, change};
use rayon::Scope;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;

impl Survey<'_> {
    /// Plans the deletion of a folder that the log lies below: all other entries there are deleted one by one.
    pub(super) fn delete_around_log<'s>(
        &'s self,
        scope: &Scope<'s>,
        pair: &Pair,
        (name, protected): (&CStr, Protected),
        theirs: &Entry,
    ) {
        let Some(dir) = &pair.replica else { return };
        if theirs.is_mount {
            return self.is_mounted(pair, name);
        }
        let below = Pair {
            source: None,
            replica: Some(dir.child(name, theirs.id)),
            filesystem: Arc::clone(&pair.filesystem),
            protected,
        };
        self.context.workers.spawn(scope, move |scope| self.visit(scope, Arc::new(below)));
    }

    /// Plans the creation of an entry, with everything below it.
    pub(super) fn create<'s>(
        &'s self,
        scope: &Scope<'s>,
        pair: &Arc<Pair>,
        (name, protected): (&CStr, Protected),
        ours: &Entry,
    ) {
        if self.is_locked_source(pair, name, ours) || self.comes(scope, pair, (name, protected), ours, None) {
            return;
        }
        let needed = self.want_in(pair, name, ours);
        let subtree = self.count_below(scope, Side::Source, pair, name, ours);
        let change = change(pair, name, ours, Action::Create);
        let weight = Weight { needed: needed.into(), ..change.weight };
        self.push(Change { subtree, weight, ..change });
    }

    /// As [`Survey::want`], for a name in a folder that both sides have.
    fn want_in(&self, pair: &Pair, name: &CStr, ours: &Entry) -> Room {
        let folder = pair.source.as_ref().and_then(|source| source.open().ok());
        let data = folder.map_or(*ours, |folder| self.with_data_only(folder.as_fd(), name, ours));
        let device = pair.replica.as_ref().map_or(0, |dir| dir.id().device);
        self.want(&data, &pair.filesystem, device)
    }

    /// Whether a folder that the source has is one that the replica has elsewhere. A file is noted, to be looked for
    /// later.
    fn comes<'s>(
        &'s self,
        scope: &Scope<'s>,
        pair: &Arc<Pair>,
        (name, protected): (&CStr, Protected),
        ours: &Entry,
        displaced: Option<Displaced>,
    ) -> bool {
        let (Some(source), Some(replica)) = (&pair.source, &pair.replica) else { return false };
        if ours.kind == Kind::File {
            self.arrivals.add(&self.moves, (source, name), ours);
        }
        let (filesystem, device) = (&pair.filesystem, replica.id().device);
        let arrived = Arrived { source, name, entry: ours, pair: Some(pair), filesystem, device };
        protected == Protected::No && self.is_moved(scope, arrived, displaced).is_some()
    }

    /// Plans the replacement of an entry by one of another kind.
    pub(super) fn retype<'s>(
        &'s self,
        scope: &Scope<'s>,
        merge: &Arc<Merge>,
        name: &CStr,
        (ours, theirs): (&Entry, &Entry),
        reason: &'static str,
    ) {
        let (pair, has_changed) = (&merge.pair, merge.has_changed);
        if self.is_locked_source(pair, name, ours) || self.is_locked_replica(pair, name, theirs) {
            return;
        }
        if !self.moves.waits(theirs) {
            return self.retype_now(scope, (pair, has_changed), name, (ours, theirs), reason);
        }
        self.moves.add_extra(Extra {
            pair: Arc::clone(pair),
            name: name.into(),
            theirs: *theirs,
            has_changed,
            reason,
            instead: Instead::Other(*ours),
        });
    }

    /// As [`Survey::retype`], for one that need not wait.
    pub(super) fn retype_now<'s>(
        &'s self,
        scope: &Scope<'s>,
        (pair, has_changed): (&Arc<Pair>, bool),
        name: &CStr,
        (ours, theirs): (&Entry, &Entry),
        reason: &'static str,
    ) {
        self.links.count_name(pair.replica.as_ref(), theirs);
        let displaced = Displaced::of(theirs, None);
        let has_mount = |dir: &Arc<Dir>| self.moves.has_mount(&dir.path().join(name));
        if !has_changed
            && !pair.replica.as_ref().is_some_and(has_mount)
            && self.comes(scope, pair, (name, Protected::No), ours, Some(displaced))
        {
            return;
        }
        let needed = self.want_in(pair, name, ours);
        // The new entry or else the old one: one of the two may be a folder.
        let subtree = self
            .count_below(scope, Side::Source, pair, name, ours)
            .or_else(|| self.count_below(scope, Side::Replica, pair, name, theirs));
        let change = change(pair, name, ours, Action::Replace(Verb::Retype)).instead_of(theirs);
        let weight = Weight { needed: needed.into(), ..change.weight };
        // The source entry of the old kind may have moved.
        if !self.stays(has_changed, pair, name) {
            self.push(Change { subtree, weight, reason, ..change });
        }
    }

    /// Plans the deletion of an entry that the source lacks.
    pub(super) fn delete<'s>(
        &'s self,
        scope: &Scope<'s>,
        merge: &Merge,
        name: &CStr,
        replica: &Entry,
        reason: &'static str,
    ) {
        let (pair, has_changed) = (&merge.pair, merge.has_changed);
        if self.is_locked_replica(pair, name, replica) {
            return;
        }
        if !self.moves.waits(replica) {
            return self.delete_now(scope, (pair, has_changed), name, replica, reason);
        }
        self.moves.add_extra(Extra {
            pair: Arc::clone(pair),
            name: name.into(),
            theirs: *replica,
            has_changed,
            reason,
            instead: Instead::Nothing,
        });
    }

    /// As [`Survey::delete`], for one that need not wait.
    pub(super) fn delete_now<'s>(
        &'s self,
        scope: &Scope<'s>,
        (pair, has_changed): (&Arc<Pair>, bool),
        name: &CStr,
        replica: &Entry,
        reason: &'static str,
    ) {
        // Its names count also where it stays: it is deleted in the next pass, and they are no names outside.
        self.links.count_name(pair.replica.as_ref(), replica);
        let subtree = self.count_below(scope, Side::Replica, pair, name, replica);
        if !self.stays(has_changed, pair, name) {
            let change = change(pair, name, replica, Action::Delete).instead_of(replica);
            self.push(Change { subtree, reason, ..change });
        }
    }
}
