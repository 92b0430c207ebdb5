//! Files with several names (hard links). A pass compares each of them once, under one name, so the others may have no
//! record: they are checked by the record of that one. Some 200 bytes are kept for each such file, and for each of its
//! names that comes before a recorded one.

use crate::collections::HashMap;
use crate::model::digest::Digest;
use crate::model::entry::{Entry, FileId, Timestamp};
use crate::verify::status::{Status, Why};
use crate::verify::walk::Item;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The result of the check of one file under a recorded name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    /// The digest of its content; none if it was not read.
    pub found: Option<Digest>,
    /// The recorded one.
    pub recorded: Digest,
    /// When it was confirmed, in seconds since 1970.
    pub confirmed: Option<i64>,
    /// The result.
    pub status: Status,
    /// More about it.
    pub why: Option<Why>,
}

/// The files with several names.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    checked: HashMap<FileId, (Stamp, Checked)>,
    waiting: Vec<Item>,
}

/// The facts of a file that every write moves.
type Stamp = (u64, Timestamp, Timestamp);

fn stamp(entry: &Entry) -> Stamp {
    (entry.size, entry.mtime, entry.ctime)
}

impl Links {
    /// Notes the result for a file, under a recorded name.
    pub(super) fn note(&self, entry: &Entry, checked: Checked) {
        self.lock().checked.insert(entry.id, (stamp(entry), checked));
    }

    /// The result for a file, if it was checked under another name and has not changed since.
    pub(super) fn checked(&self, entry: &Entry) -> Option<Checked> {
        let found = self.lock().checked.get(&entry.id).copied();
        found.filter(|(then, _)| *then == stamp(entry)).map(|(_, checked)| checked)
    }

    /// Keeps a name without a record until all others have been seen.
    pub(super) fn wait(&self, item: Item) {
        self.lock().waiting.push(item);
    }

    /// The names that were kept.
    pub(super) fn waiting(&self) -> Vec<Item> {
        std::mem::take(&mut self.lock().waiting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
