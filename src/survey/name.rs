//! One name of a folder pair: a look at both sides, the decision, and the change that follows from it.

use crate::filter::Exclusion;
use crate::fs::{is_denial, is_gone, stat};
use crate::model::change::Verb;
use crate::model::counters::Counter;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::plan::{Pair, Protected};
use crate::survey::aliases::Alias;
use crate::survey::merge::Merge;
use crate::survey::reconcile::{Decision, Sighting, reconcile};
use crate::survey::{LARGE, LOG, PairBorrowed, Survey};
use crate::walk::{Standing, standing, tell_left_out};
use rayon::Scope;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// A look at one name on one side.
enum Look {
    Seen(Sighting),
    /// The name is the log file, of this kind.
    Log(Kind),
    /// The filter leaves it out; with its facts, if it was looked at.
    Excluded(Exclusion, Option<Entry>),
}

impl Survey<'_> {
    /// Looks at one name on the sides that have it, and decides. Returns 1 when it is unchanged.
    pub(super) fn name<'s>(
        &'s self,
        scope: &Scope<'s>,
        merge: &Arc<Merge>,
        fds: PairBorrowed<'_>,
        (name, in_source, in_replica): (&CStr, bool, bool),
    ) -> u64 {
        let pair = &merge.pair;
        let Some(mut protected) = merge.rules.below(self.context, name) else {
            self.note_left_out(pair, name, LOG);
            return 0;
        };
        let sides = (in_source, in_replica);
        let look = |side, fd: Option<BorrowedFd<'_>>| match fd {
            Some(fd) => self.look(merge, side, fd, name),
            None => Look::Seen(Sighting::Absent),
        };
        let side = if in_source { Side::Source } else { Side::Replica };
        let source = match merge.rules.excludes_name(self.context, side, name) {
            Some(exclusion) => Look::Excluded(exclusion, None),
            None => look(Side::Source, fds.source.filter(|_| in_source)),
        };
        let source = match source {
            Look::Seen(source) => source,
            Look::Log(kind) => return self.is_log(pair, name, kind),
            Look::Excluded(exclusion, _) if self.is_excluded(pair, name, exclusion, sides) => return 0,
            Look::Excluded(..) => Sighting::Excluded,
        };
        let replica = match look(Side::Replica, fds.replica.filter(|_| in_replica)) {
            Look::Seen(replica) => replica,
            Look::Log(kind) => return self.is_log(pair, name, kind),
            // The size that counts is that of the source.
            Look::Excluded(Exclusion::Small | Exclusion::Large, Some(entry))
                if source.entry().is_some_and(|ours| ours.kind == Kind::File) =>
            {
                Sighting::Present(entry)
            }
            Look::Excluded(exclusion, _) => {
                return self.is_excluded_in_replica(pair, name, exclusion, &source);
            }
        };
        self.note_sights(merge, name, (&source, &replica));
        if in_source && source == Sighting::Absent {
            // It seems to have vanished since the listing: neither a problem nor a deletion in this pass.
            if let Some(dir) = &pair.source {
                self.context.vanished.note(Side::Source, dir, name);
            }
            return 0;
        }
        if in_replica && replica == Sighting::Absent {
            self.deny(merge, name, in_source);
            return 0;
        }
        let alias = if in_source && in_replica { merge.alias(name) } else { None };
        if let (Some(Alias::Listed(listed)), Some(theirs)) = (alias, replica.entry())
            && let Some(exclusion) = merge.rules.keeps(self.context, listed, theirs)
        {
            return self.is_excluded_in_replica(pair, name, exclusion, &source);
        }
        if let (Protected::No, Some(Alias::Listed(listed))) = (protected, alias) {
            protected = merge.rules.below(self.context, listed).unwrap_or(Protected::No);
        }
        if let (Sighting::Present(ours), Sighting::Present(theirs), Protected::Ancestor(_)) =
            (&source, &replica, protected)
            && ours.kind != Kind::Folder
            && theirs.kind == Kind::Folder
        {
            self.holds_log(pair, name);
            return 0;
        }
        if let Some(alias) = alias {
            self.settle_alias(pair, name, alias, (&source, &replica));
        }
        self.act(scope, merge, fds, (name, protected), (&source, &replica))
    }

    /// Decides about one name, and plans the change. Returns 1 when it is unchanged.
    fn act<'s>(
        &'s self,
        scope: &Scope<'s>,
        merge: &Arc<Merge>,
        fds: PairBorrowed<'_>,
        (name, protected): (&CStr, Protected),
        (source, replica): (&Sighting, &Sighting),
    ) -> u64 {
        let pair = &merge.pair;
        let decision = reconcile(source, replica, &pair.filesystem);
        // A pass that replaced a file by something else may have been stopped before its end.
        if let (Some(ours), Some(_), Some(records)) = (source.entry(), replica.entry(), &merge.records)
            && ours.kind != Kind::File
        {
            records.forget_known(name);
        }
        match (decision, source.entry(), replica.entry()) {
            (Decision::Delete(reason), _, Some(theirs)) if protected == Protected::No => {
                self.delete(scope, merge, name, theirs, reason);
            }
            (Decision::Delete(_), _, Some(theirs)) => {
                if !self.stays(merge.has_changed, pair, name) {
                    self.delete_around_log(scope, pair, (name, protected), theirs);
                }
            }
            (Decision::Descend, Some(ours), Some(theirs)) => {
                self.descend(scope, pair, name, (ours, theirs), protected);
            }
            (Decision::Skip { why, delete }, _, theirs) => {
                self.note_left_out(pair, name, &why.words());
                tell_left_out(self.context, &pair.path().join(name), why);
                if let Some(theirs) = theirs.filter(|_| delete) {
                    let reason = "the source has something there that is left out";
                    self.delete(scope, merge, name, theirs, reason);
                }
            }
            (Decision::Create, Some(ours), _) => self.create(scope, pair, (name, protected), ours),
            (Decision::Replace(Verb::Retype, reason), Some(ours), Some(theirs)) => {
                if let Some(records) = &merge.records {
                    records.forget(name);
                }
                self.retype(scope, merge, name, (ours, theirs), reason);
            }
            (Decision::CompareContents, Some(ours), Some(theirs)) if ours.size >= LARGE => {
                let (merge, name) = (Arc::clone(merge), Box::<CStr>::from(name));
                let (ours, theirs) = (*ours, *theirs);
                self.context.workers.spawn(scope, move |_| {
                    let entries = (&ours, &theirs);
                    let unchanged = self.compare_large(&merge, &name, decision, entries);
                    self.context.reporter.count(Counter::Unchanged, unchanged);
                });
            }
            (
                decision @ (Decision::Replace(..)
                | Decision::CompareContents
                | Decision::CompareTargets
                | Decision::CompareMetadata),
                Some(ours),
                Some(theirs),
            ) => return self.compare(merge, fds, name, decision, (ours, theirs)),
            // Nothing to do, or nothing that may be done; the others need entries, which their decisions prove.
            (
                Decision::Nothing
                | Decision::Blocked(_)
                | Decision::Delete(_)
                | Decision::Descend
                | Decision::Create
                | Decision::Replace(..)
                | Decision::CompareContents
                | Decision::CompareTargets
                | Decision::CompareMetadata,
                ..,
            ) => {}
        }
        0
    }

    /// The facts of one name on one side.
    fn look(&self, merge: &Merge, side: Side, fd: BorrowedFd<'_>, name: &CStr) -> Look {
        let pair = &merge.pair;
        let seen = match stat::entry_at(fd, name) {
            Ok(entry) => match standing(self.context, &merge.rules, side, (name, &entry)) {
                Standing::Log => return Look::Log(entry.kind),
                Standing::Excluded(exclusion) => return Look::Excluded(exclusion, Some(entry)),
                Standing::OtherRoot => {
                    self.is_of_other_tree(pair, name);
                    Sighting::Unreadable
                }
                Standing::Mirrored(_) => {
                    if entry.is_mount && !(side == Side::Source && self.leaves_out_mount(&entry)) {
                        self.meet_mount(pair, side, name, &entry);
                    }
                    Sighting::Present(entry)
                }
            },
            Err(errno) if is_denial(errno) => Sighting::Absent,
            Err(errno) => {
                self.unseen(pair, side, name, errno);
                Sighting::Unreadable
            }
        };
        Look::Seen(seen)
    }

    fn meet_mount(&self, pair: &Pair, side: Side, name: &CStr, entry: &Entry) {
        let folder = match side {
            Side::Source => &pair.source,
            Side::Replica => &pair.replica,
        };
        if let Some(folder) = folder {
            self.context.inner_mounts.meet(side, (folder, name), entry);
        }
    }

    /// Descends into two folders of one name.
    fn descend<'s>(
        &'s self,
        scope: &Scope<'s>,
        pair: &Arc<Pair>,
        name: &CStr,
        (source, replica): (&Entry, &Entry),
        protected: Protected,
    ) {
        let (Some(source_dir), Some(replica_dir)) = (&pair.source, &pair.replica) else { return };
        // RACE: a mount that appears after this check is not seen before the next pass.
        if source.id == replica.id {
            return self.is_of_other_tree(pair, name);
        }
        if replica.is_mount {
            match self.context.roots.are_apart() {
                Ok(true) => {}
                Ok(false) => return self.is_of_other_tree(pair, name),
                Err(errno) => return self.unknown_mount(pair, name, errno),
            }
        }
        let (source_child, replica_child) =
            (source_dir.child(name, source.id), replica_dir.child(name, replica.id));
        let filesystem = if replica.id.device == replica_dir.id().device {
            Arc::clone(&pair.filesystem)
        } else {
            match self.context.filesystems.of(&replica_child) {
                Ok(filesystem) => filesystem,
                Err(errno) if is_gone(errno) => return self.gone(pair, Side::Replica, errno),
                Err(errno) => return self.unreadable_folder(pair, Side::Replica, errno),
            }
        };
        let below = Pair { source: Some(source_child), replica: Some(replica_child), filesystem, protected };
        self.context.workers.spawn(scope, move |scope| self.visit(scope, Arc::new(below)));
    }
}
