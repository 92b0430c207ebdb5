//! The metadata of every folder after its contents.

use crate::apply::finish::{Extent, finish_folder, make_writable};
use crate::apply::{Apply, lock};
use crate::entry::Kind;
use crate::metadata::Differences;
use crate::monitor::{Operation, Verb};
use crate::plan::{Pair, Plan};
use std::collections::HashMap;
use std::sync::Arc;

impl Apply<'_> {
    /// True when the folder shows other metadata now.
    pub(super) fn finish(&self, pair: &Pair, extent: Extent) -> bool {
        if self.context.is_halted() {
            return false;
        }
        match finish_folder(self.context, pair, extent) {
            Ok(Some(set)) => {
                self.not_set(pair, None, set.not_set);
                if extent == Extent::Everything {
                    let path = pair.path();
                    set.unread.iter().for_each(|unread| self.context.attribute_unread(&path, unread));
                }
                set.changed
            }
            Ok(None) => false,
            Err(not_set) => {
                self.not_set(pair, None, Some(not_set));
                false
            }
        }
    }

    /// Opens a folder for work that comes late; it may be a new one that is finished already.
    pub(super) fn touch(&self, pair: &Arc<Pair>) {
        if let Some(dir) = &pair.replica {
            make_writable(self.context, dir);
        }
        lock(&self.touched).push(Arc::clone(pair));
    }

    /// Folders that were worked in, or whose own metadata differs; deepest first, since a mode may close a folder.
    pub(super) fn finish_folders(&self, plan: &Plan) {
        struct Finish<'p> {
            pair: Arc<Pair>,
            planned: Option<&'p Differences>,
        }
        let mut all: HashMap<*const Pair, Finish<'_>> = HashMap::new();
        for pair in plan.changes.iter().map(|change| &change.pair).chain(lock(&self.touched).iter()) {
            all.entry(Arc::as_ptr(pair)).or_insert_with(|| Finish { pair: Arc::clone(pair), planned: None });
        }
        for folder in &plan.folders {
            let planned = Some(&folder.differences);
            all.insert(Arc::as_ptr(&folder.pair), Finish { pair: Arc::clone(&folder.pair), planned });
        }
        let mut all: Vec<Finish<'_>> = all.into_values().collect();
        all.sort_by_cached_key(|finish| std::cmp::Reverse(finish.pair.depth()));
        for Finish { pair, planned } in all {
            let with_attributes = planned.is_some_and(|differences| differences.attributes);
            let extent = if with_attributes { Extent::Everything } else { Extent::NoAttributes };
            if self.finish(&pair, extent)
                && let Some(differences) = planned
            {
                let path = pair.path();
                let reason = differences.words();
                self.context
                    .done(Operation { reason, ..Operation::new(Verb::Metadata, &path, Kind::Folder) });
            }
        }
    }
}
