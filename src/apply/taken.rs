//! Names that were taken, and the entries that must stay for that reason: where several spellings are one name, an
//! entry that the replica lists under another spelling may be the one that has the name.

use crate::apply::{Apply, lock};
use crate::collections::HashMap;
use crate::fs::{Errno, stat};
use crate::model::spelling::folded;
use crate::plan::{Change, Pair};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

/// The taken names of one folder pair, which is held so that its address stays unique.
type Names = (Arc<Pair>, Vec<Box<CStr>>);

/// The taken names, keyed by the address of their folder pair.
#[derive(Default)]
pub(super) struct Taken(Mutex<HashMap<usize, Names>>);

impl Taken {
    pub(super) fn add(&self, pair: &Arc<Pair>, name: &CStr) {
        let mut all = lock(&self.0);
        let (_, names) = all.entry(address(pair)).or_insert_with(|| (Arc::clone(pair), Vec::new()));
        names.push(name.into());
    }

    pub(super) fn has(&self, pair: &Arc<Pair>, name: &CStr) -> bool {
        lock(&self.0).get(&address(pair)).is_some_and(|(_, names)| names.iter().any(|other| **other == *name))
    }

    fn of(&self, pair: &Arc<Pair>) -> Vec<Box<CStr>> {
        lock(&self.0).get(&address(pair)).map(|(_, names)| names.clone()).unwrap_or_default()
    }
}

fn address(pair: &Arc<Pair>) -> usize {
    Arc::as_ptr(pair).addr()
}

impl Apply<'_> {
    /// Whether an entry that is to be removed may be the one that has the name of a failed creation. The survey has
    /// checked that, but the answer may have changed, or come from a cache.
    pub(super) fn has_a_taken_name(&self, change: &Change) -> bool {
        let names = self.taken.of(&change.pair);
        if names.is_empty() {
            return false;
        }
        let folder = change.pair.replica.as_ref().and_then(|dir| dir.open().ok());
        let is_gone = |folder: &Arc<OwnedFd>| {
            stat::entry_at(folder.as_fd(), &change.name).is_err_and(|errno| errno == Errno::NOENT)
        };
        // The entry may have got the new name, and then there is nothing to remove.
        if folder.as_ref().is_some_and(is_gone) {
            return false;
        }
        let spelling = folded(&change.name);
        names.iter().any(|name| {
            let found = folder.as_ref().and_then(|folder| stat::entry_at(folder.as_fd(), name).ok());
            folded(name) == spelling || found.is_some_and(|found| Some(found.id) == change.expected)
        })
    }
}
