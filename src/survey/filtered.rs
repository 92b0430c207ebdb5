//! Entries that the filter leaves out.

use crate::filter::Exclusion;
use crate::model::counters::Counter;
use crate::model::entry::Entry;
use crate::model::error::{Cause, Problem, Side};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::plan::{Action, Pair, Plan};
use crate::survey::Survey;
use crate::survey::reconcile::Sighting;
use std::ffi::CStr;

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
            Sighting::Present(_) => self.blocks(path),
            Sighting::Absent | Sighting::Excluded | Sighting::Unreadable => {
                self.excluded(&path, exclusion, false);
            }
        }
        self.context.reporter.count(Counter::ExcludedInReplica, 1);
        0
    }

    /// Reports an entry that is left out and stays, in the place of one that is mirrored.
    fn blocks(&self, path: RelPath) {
        self.context.problem(&Problem::new(
            path,
            ProblemKind::ReplaceExcluded,
            Cause::Refused("the rules of --exclude leave it out, or something in it"),
            "it is kept, and the source's entry is not mirrored; --delete-excluded would remove it",
        ));
    }

    /// Whether a mount is another filesystem whose content is left out.
    pub(super) fn leaves_out_mount(&self, side: Side, entry: &Entry) -> bool {
        let root = self.context.roots.source.1.id();
        side == Side::Source
            && self.context.filter.options().one_file_system
            && entry.id.device != root.device
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
                Action::Replace(_) if change.has_excluded() => {
                    self.blocks(path());
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
