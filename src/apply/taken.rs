//! Names that could not be given because they were taken, and what may not go for that reason: where several spellings are
//! one name, what the replica lists under another one may be what has it.

use crate::apply::{Apply, lock};
use crate::collections::HashMap;
use crate::fs::{Errno, stat};
use crate::model::spelling::folded;
use crate::plan::{Change, Pair};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

/// The names in one folder, which is held for as long as its address stands for it.
type Names = (Arc<Pair>, Vec<Box<CStr>>);

/// The names that were taken, by the address of their folder pair.
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
    /// Whether an entry that is to be removed may be what the replica has for a name of the source that could not be
    /// made. The survey has asked for that, but what it was told may have changed, or come from a cache.
    pub(super) fn has_a_taken_name(&self, change: &Change) -> bool {
        let names = self.taken.of(&change.pair);
        if names.is_empty() {
            return false;
        }
        let folder = change.pair.replica.as_ref().and_then(|dir| dir.open().ok());
        let is_gone = |folder: &Arc<OwnedFd>| {
            stat::entry_at(folder.as_fd(), &change.name).is_err_and(|errno| errno == Errno::NOENT)
        };
        // It may have become what has the name, and then there is nothing to remove.
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
