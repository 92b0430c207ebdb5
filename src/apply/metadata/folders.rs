//! Sets the metadata of every folder after its contents.

use crate::apply::metadata::{Extent, Set, finish_folder, make_writable};
use crate::apply::{Apply, lock};
use crate::collections::HashMap;
use crate::model::change::{Operation, Verb};
use crate::model::entry::Kind;
use crate::plan::{Action, FolderChange, Pair, Plan, Rename};
use std::ffi::CStr;
use std::sync::Arc;

impl Apply<'_> {
    /// Gives a folder its metadata; none where that failed, or the pass ends.
    pub(in crate::apply) fn finish(&self, pair: &Pair, extent: Extent) -> Option<Set> {
        let is_hopeless = || pair.replica.as_ref().is_some_and(|folder| self.context.read_only.hold(folder));
        if self.context.is_halted() || is_hopeless() {
            return None;
        }
        match finish_folder(self.context, pair, extent) {
            Ok(set) => {
                let set = set?;
                self.not_set(pair, None, set.not_set);
                if extent == Extent::Everything {
                    let path = pair.path();
                    set.unread.iter().for_each(|unread| self.context.attribute_unread(&path, unread));
                }
                Some(set)
            }
            Err(not_set) => {
                self.not_set(pair, None, Some(not_set));
                None
            }
        }
    }

    /// Opens a folder for work that comes late; it may be a new one that is finished already.
    pub(in crate::apply) fn touch(&self, pair: &Arc<Pair>) {
        if let Some(dir) = &pair.replica {
            make_writable(self.context, dir);
        }
        lock(&self.touched).push(Arc::clone(pair));
    }

    /// Folders that were worked in, or whose own metadata differs; deepest first, since a mode may close a folder. Their
    /// entries get their right names before that: what lies below is finished then, and on some FUSE filesystems a
    /// folder is another one under another name.
    pub(in crate::apply) fn finish_folders(&self, plan: &Plan) {
        struct Finish<'p> {
            pair: Arc<Pair>,
            planned: Option<&'p FolderChange>,
            renames: Vec<&'p Rename>,
            made: Vec<&'p CStr>,
        }
        let finish = |pair: &Arc<Pair>| Finish {
            pair: Arc::clone(pair),
            planned: None,
            renames: Vec::new(),
            made: Vec::new(),
        };
        let mut all: HashMap<*const Pair, Finish<'_>> = HashMap::default();
        for pair in lock(&self.touched).iter() {
            all.entry(Arc::as_ptr(pair)).or_insert_with(|| finish(pair));
        }
        for change in &plan.changes {
            let folder = all.entry(Arc::as_ptr(&change.pair)).or_insert_with(|| finish(&change.pair));
            if change.action == Action::Create && !change.pair.filesystem.names.are_kept() {
                folder.made.push(&change.name);
            }
        }
        for rename in &plan.renames {
            let folder = all.entry(Arc::as_ptr(&rename.pair)).or_insert_with(|| finish(&rename.pair));
            folder.renames.push(rename);
        }
        for folder in &plan.folders {
            let planned = all.entry(Arc::as_ptr(&folder.pair)).or_insert_with(|| finish(&folder.pair));
            planned.planned = Some(folder);
        }
        let mut all: Vec<Finish<'_>> = all.into_values().collect();
        all.sort_by_cached_key(|finish| std::cmp::Reverse(finish.pair.depth()));
        for Finish { pair, planned, renames, made } in all {
            if !made.is_empty() {
                self.tell_altered(&pair, made);
            }
            if !renames.is_empty() {
                if let Some(dir) = &pair.replica {
                    make_writable(self.context, dir);
                }
                self.rename_all(&pair, &renames);
            }
            let with_attributes = planned.is_some_and(|folder| folder.differences.attributes);
            let extent = if with_attributes { Extent::Everything } else { Extent::NoAttributes };
            // Compared with what the survey saw: what was tried in the folder since, and came to nothing, is no change.
            if let (Some(set), Some(folder)) = (self.finish(&pair, extent), planned)
                && set.differs_from(&folder.seen)
            {
                let path = pair.path();
                let reason = folder.differences.words();
                self.context
                    .done(Operation { reason, ..Operation::new(Verb::Metadata, &path, Kind::Folder) });
            }
        }
    }
}
