//! Folders of the replica that wait until all of the source has been seen: each may be the old place of a moved one.

use crate::model::entry::Entry;
use crate::model::error::Side;
use crate::plan::{Displaced, Pair, Protected};
use crate::survey::Survey;
use crate::survey::moves::{Arrived, By, Extra, Instead};
use rayon::Scope;
use std::sync::Arc;

impl Survey<'_> {
    /// Handles a pair of folders of which the source's is another one than when the index was written. False when they
    /// are compared now.
    pub(super) fn has_other_folder<'s>(&'s self, scope: &Scope<'s>, pair: &Arc<Pair>, ours: &Entry) -> bool {
        let (Some(source), Some(replica)) = (&pair.source, &pair.replica) else { return false };
        let (Some(above), Some(replica_above)) = (source.parent(), replica.parent()) else { return false };
        if !self.moves.is_on || pair.protected != Protected::No {
            return false;
        }
        let taken = self.moves.found().taken.get(&replica.id()).copied();
        if taken == Some(By::Name) {
            return false;
        }
        // The old folder may have moved to where the survey had been before: then the next pass decides.
        let is_quiet = above.entry().is_ok_and(|facts| !self.context.absence.has_changed(&facts));
        // A folder whose place another one takes is removed, so that no excluded entry may be in it.
        let may_go = !self.context.filter.protects() && !self.moves.has_mount(&replica.path());
        let is_free = is_quiet && may_go;
        let theirs = replica.entry().ok().filter(|theirs| !theirs.is_mount && is_free);
        let Some(theirs) = theirs else {
            // Whoever takes it first has it.
            let mut found = self.moves.found();
            let is_free = found.take(replica.id(), By::Name);
            if !is_free {
                found.waiting.pairs.push(Arc::clone(pair));
            }
            return !is_free;
        };
        let pair_above = Arc::new(Pair {
            source: Some(Arc::clone(above)),
            replica: Some(Arc::clone(replica_above)),
            filesystem: Arc::clone(&pair.filesystem),
            protected: Protected::No,
        });
        let arrived = Arrived {
            source: above,
            name: source.name(),
            entry: ours,
            pair: Some(&pair_above),
            filesystem: &pair.filesystem,
            device: theirs.id.device,
        };
        match self.is_moved(scope, arrived, None) {
            Some(number) => self.moves.add_extra(Extra {
                pair: pair_above,
                name: source.name().into(),
                theirs,
                has_changed: false,
                reason: "",
                instead: Instead::Moved(number),
            }),
            None => self.moves.found().waiting.pairs.push(Arc::clone(pair)),
        }
        true
    }

    /// Decides about the folders that have waited.
    pub(super) fn settle_moves(&self) {
        while !self.context.is_halted() {
            let mut found = self.moves.found();
            let pairs = std::mem::take(&mut found.waiting.pairs);
            let is_moved = |pair: &Arc<Pair>| {
                let id = pair.replica.as_ref().map(|replica| replica.id());
                id.and_then(|id| found.taken.get(&id)).is_some_and(|by| matches!(by, By::Move(_)))
            };
            let (moved, same): (Vec<_>, Vec<_>) = pairs.into_iter().partition(is_moved);
            // First those that lose their replica: theirs may be one of the others.
            let now = if moved.is_empty() {
                for replica in same.iter().filter_map(|pair| pair.replica.as_ref()) {
                    found.take(replica.id(), By::Name);
                }
                same
            } else {
                found.waiting.pairs = same;
                moved
            };
            drop(found);
            if now.is_empty() {
                break;
            }
            self.context.workers.scope(|scope| now.into_iter().for_each(|pair| self.settle(scope, pair)));
        }
        let extras = std::mem::take(&mut self.moves.found().waiting.extras);
        self.context.workers.scope(|scope| {
            for extra in extras {
                if self.context.is_halted() {
                    break;
                }
                self.settle_extra(scope, extra);
            }
        });
    }

    /// Compares two folders of one name, unless the replica's has turned out to belong elsewhere.
    fn settle<'s>(&'s self, scope: &Scope<'s>, pair: Arc<Pair>) {
        let (Some(source), Some(replica)) = (&pair.source, &pair.replica) else { return };
        if self.moves.found().take(replica.id(), By::Name) {
            return self.context.workers.spawn(scope, move |scope| self.visit(scope, pair));
        }
        let (Some(above), Some(replica_above)) = (source.parent(), replica.parent()) else { return };
        let pair_above = Arc::new(Pair {
            source: Some(Arc::clone(above)),
            replica: Some(Arc::clone(replica_above)),
            filesystem: Arc::clone(&pair.filesystem),
            protected: Protected::No,
        });
        // One that is gone by now is for the next pass.
        if let Ok(ours) = source.entry() {
            self.create(scope, &pair_above, (source.name(), Protected::No), &ours);
        }
    }

    fn settle_extra<'s>(&'s self, scope: &Scope<'s>, extra: Extra) {
        let Extra { pair, name, theirs, has_changed, reason, instead } = extra;
        if self.moves.has(&theirs) {
            let mut found = self.moves.found();
            if let Some(By::Move(number)) = found.taken.get(&theirs.id).copied()
                && let Some(moved) = found.moves.get_mut(number)
            {
                moved.touched.push(Arc::clone(&pair));
            }
            drop(found);
            if let Instead::Other(ours) = instead {
                self.create(scope, &pair, (&name, Protected::No), &ours);
            }
            return;
        }
        match instead {
            Instead::Nothing => self.delete_now(scope, (&pair, has_changed), &name, &theirs, reason),
            Instead::Other(ours) => {
                self.retype_now(scope, (&pair, has_changed), &name, (&ours, &theirs), reason);
            }
            Instead::Moved(number) => {
                let subtree = self.count_below(scope, Side::Replica, &pair, &name, &theirs);
                let displaced = Displaced::of(&theirs, subtree);
                if let Some(moved) = self.moves.found().moves.get_mut(number) {
                    moved.displaced = Some(displaced);
                }
            }
        }
    }
}
