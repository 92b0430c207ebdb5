//! Reads hard-linked names again that were not kept in memory while they agreed.

use crate::collections::HashMap;
use crate::fs::listing::Listing;
use crate::fs::{is_gone, stat};
use crate::model::error::Side;
use crate::plan::Pair;
use crate::survey::Survey;
use crate::survey::hardlinks::{Asked, Found, Resolution, name_number};
use rayon::Scope;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

/// The position of a name among those that were asked for, and the name.
type FoundAt = (usize, Found);

impl Survey<'_> {
    /// Decides the changes to hard-linked files.
    pub(super) fn resolve_links(&self) -> Resolution {
        let rest = self.links.end();
        let found: Mutex<Vec<Option<Found>>> = Mutex::default();
        let asked = rest.asked();
        if asked > 0 {
            found.lock().unwrap_or_else(PoisonError::into_inner).resize_with(asked, || None);
            let folders = rest.folders();
            self.context.workers.scope(|scope| self.recall_all(scope, folders, &found));
        }
        rest.resolve(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds the names of some folders, after spawning half of them.
    fn recall_all<'s>(
        &'s self,
        scope: &Scope<'s>,
        mut folders: Vec<(Arc<Pair>, Vec<Asked>)>,
        found: &'s Mutex<Vec<Option<Found>>>,
    ) {
        while folders.len() > 1 {
            let rest = folders.split_off(folders.len() / 2);
            self.context.workers.spawn(scope, move |scope| self.recall_all(scope, rest, found));
        }
        for (pair, asked) in folders {
            if self.context.is_halted() {
                return;
            }
            self.context.interrupt.beat();
            let names = self.recall(&pair, &asked);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, name) in names {
                if let Some(place) = found.get_mut(at) {
                    *place = Some(name);
                }
            }
        }
    }

    /// Finds names in one folder whose entries are still the same.
    fn recall(&self, pair: &Pair, asked: &[Asked]) -> Vec<FoundAt> {
        let mut by_number: HashMap<u32, Vec<&Asked>> = HashMap::default();
        for asked in asked {
            by_number.entry(asked.name).or_default().push(asked);
        }
        let Some(open) = self.open_both(pair) else { return Vec::new() };
        let (Some(source), Some(replica)) = (&open.source, &open.replica) else { return Vec::new() };
        let (source, replica) = (source.as_fd(), replica.as_fd());
        let listing = match Listing::read(source) {
            Ok(listing) => listing,
            Err(errno) if is_gone(errno) => {
                self.gone(pair, Side::Source, errno);
                return Vec::new();
            }
            Err(errno) => {
                self.unreadable_folder(pair, Side::Source, errno);
                return Vec::new();
            }
        };
        let mut found = Vec::with_capacity(asked.len());
        for name in (0..listing.len()).filter_map(|at| listing.get(at)) {
            let Some(asked) = by_number.get_mut(&name_number(name)) else { continue };
            let look = |side, folder| {
                stat::entry_at(folder, name).map_err(|errno| self.unseen(pair, side, name, errno)).ok()
            };
            let Some(ours) = look(Side::Source, source) else { continue };
            let Some(theirs) = look(Side::Replica, replica) else { continue };
            let is_it = |asked: &&Asked| self.links.is_still(asked, pair, &ours, &theirs);
            if let Some(asked) = asked.iter().position(is_it).map(|at| asked.swap_remove(at)) {
                found.push((asked.at, Found { name: name.into(), source: ours, replica: theirs }));
            }
        }
        found
    }
}
