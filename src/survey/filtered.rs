//! Entries that the filter leaves out.

use crate::filter::Exclusion;
use crate::fs::listing::Listing;
use crate::fs::stat;
use crate::model::counters::Counter;
use crate::model::entry::{Entry, Kind};
use crate::model::error::{Cause, Problem, Side};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::plan::{Action, Change, Pair, Plan};
use crate::survey::Survey;
use crate::survey::reconcile::Sighting;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::sync::Arc;

impl Survey<'_> {
    /// Notes a name that is left out, on the sides that have it. False where the replica's entry has to go.
    pub(super) fn is_excluded(
        &self,
        pair: &Pair,
        name: &CStr,
        exclusion: Exclusion,
        (in_source, in_replica): (bool, bool),
    ) -> bool {
        self.excluded(&pair.path().join(name), exclusion, in_source);
        let stays = in_replica && self.context.filter.protects();
        if stays {
            self.context.reporter.count(Counter::ExcludedInReplica, 1);
        }
        stays || !in_replica
    }

    /// Notes an entry that is left out, and its rule. An entry of the source is counted.
    pub(super) fn excluded(&self, path: &RelPath, exclusion: Exclusion, in_source: bool) {
        let filter = &self.context.filter;
        filter.count(exclusion);
        if let Some(focus) = self.context.focus {
            focus.note_excluded(path, || filter.words(exclusion));
        }
        if in_source {
            self.context.reporter.count(Counter::Excluded, 1);
        }
        if self.context.reporter.wants_verified() {
            self.context.reporter.excluded(path, &filter.words(exclusion));
        }
    }

    /// Handles an entry of the replica that is left out, while that of the source, if there is one, is not: a rule may be
    /// for folders alone.
    pub(super) fn is_excluded_in_replica(
        &self,
        pair: &Pair,
        name: &CStr,
        exclusion: Exclusion,
        source: &Sighting,
    ) -> u64 {
        let path = pair.path().join(name);
        match source {
            Sighting::Present(ours) => {
                self.context.filter.count(exclusion);
                self.blocks(pair, name, ours);
            }
            Sighting::Absent | Sighting::Excluded | Sighting::Unreadable => {
                self.excluded(&path, exclusion, false);
            }
        }
        self.context.reporter.count(Counter::ExcludedInReplica, 1);
        0
    }

    /// Reports an entry that is left out and stays, in the place of one that is mirrored. That one, and all that is in it,
    /// may have been elsewhere before: what the replica has of it there stays.
    fn blocks(&self, pair: &Pair, name: &CStr, ours: &Entry) {
        self.context.problem(&Problem::new(
            pair.path().join(name),
            ProblemKind::ReplaceExcluded,
            Cause::Refused("it is excluded, or something in it is"),
            "it is kept, and the source's entry is not mirrored; --delete-excluded would remove it",
        ));
        let Some(folder) = &pair.source else { return };
        let mut left = vec![(Arc::clone(folder), CString::from(name), *ours)];
        while let Some((folder, name, entry)) = left.pop() {
            if self.context.is_halted() {
                return;
            }
            self.context.interrupt.beat();
            self.context.absence.not_made(&folder.path(), (entry.kind, entry.size), Some(entry.mtime));
            if entry.kind != Kind::Folder {
                continue;
            }
            let dir = folder.child(&name, entry.id);
            let opened = dir.open().and_then(|fd| Ok((Listing::read(fd.as_fd())?, fd)));
            // What cannot be read cannot be recognized elsewhere either.
            let Ok((names, fd)) = opened else { continue };
            left.extend(names.iter().filter_map(|name| {
                let entry = stat::entry_at(fd.as_fd(), name).ok()?;
                Some((Arc::clone(&dir), CString::from(name), entry))
            }));
        }
    }

    /// Whether a mount in the source is another filesystem whose content is left out.
    pub(super) fn leaves_out_mount(&self, entry: &Entry) -> bool {
        self.context.filter.options().one_file_system
            && entry.id.device != self.context.roots.source.1.id().device
    }

    /// Notes a mount of the source whose content is left out where the replica has something in its place: with the mount
    /// gone, that would be an extra.
    pub(super) fn meet_left_out(&self, pair: &Pair, facts: Option<Entry>) {
        let Some((source, facts)) = pair.source.as_ref().zip(facts) else { return };
        if let Some(above) = source.parent().filter(|_| facts.is_mount && self.context.filter.protects()) {
            self.context.inner_mounts.meet(Side::Source, (above, source.name()), &facts);
        }
    }

    /// Whether a change may remove an entry that is left out and stays.
    pub(super) fn may_have_excluded(&self, change: &Change) -> bool {
        self.context.filter.protects() && change.may_have_excluded()
    }

    /// Takes out of a plan what would remove an entry that is left out, and tells which folders stay for the sake of
    /// such entries.
    pub(super) fn spare_excluded(&self, plan: &mut Plan) {
        if !self.context.filter.protects() {
            return;
        }
        let mut stays: Option<RelPath> = None;
        let mut folders = 0;
        plan.changes.retain(|change| {
            let path = || change.pair.path().join(&change.name);
            match change.action {
                Action::Delete if change.has_excluded() => {
                    folders += 1;
                    stays.get_or_insert_with(path);
                    !change.is_void()
                }
                Action::Replace(_) if change.may_have_excluded() => {
                    let folder = change.pair.source.as_ref().and_then(|dir| dir.open().ok());
                    let ours = folder.map(|folder| stat::entry_at(folder.as_fd(), &change.name));
                    // One that has gone by now is for the next pass.
                    if let Some(Ok(ours)) = ours {
                        self.blocks(&change.pair, &change.name, &ours);
                    }
                    false
                }
                Action::Delete
                | Action::Create
                | Action::Replace(_)
                | Action::Reown
                | Action::Link { .. }
                | Action::SetMetadata(_) => true,
            }
        });
        if let Some(path) = stays {
            self.context.reporter.folders_stay(&self.context.filter, folders, &path);
        }
    }
}
