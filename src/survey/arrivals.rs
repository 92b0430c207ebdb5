//! The files of the source that are new under their names, as a survey notes them: they may have been moved.

use crate::fs::dir::Dir;
use crate::identity::hash_of;
use crate::index::Record;
use crate::model::entry::{Entry, Timestamp};
use crate::survey::hardlinks::name_number;
use crate::survey::moves::Moves;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

/// The most new files that are noted. A pass with more of them copies the others.
const MOST_NEW: usize = 1 << 19;

/// The new files of one survey.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<Vec<Arrival>>);

/// A new file of the source.
#[derive(Debug)]
pub(super) struct Arrival {
    /// The hash of the facts that a move leaves alone.
    pub(super) key: u64,
    pub(super) folder: Arc<Dir>,
    /// The number of its name.
    pub(super) name: u32,
}

impl Arrivals {
    /// Notes a file, if moves are looked for.
    pub(super) fn add(&self, moves: &Moves, (folder, name): (&Arc<Dir>, &CStr), entry: &Entry) {
        if !moves.is_on() {
            return;
        }
        let Some(key) = key_of(entry) else { return };
        let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.len() < MOST_NEW {
            arrivals.push(Arrival { key, folder: Arc::clone(folder), name: name_number(name) });
        }
    }

    /// All of them; none are left.
    pub(super) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The hash of the facts of a file that a move leaves alone; none without a birth time.
pub(super) fn key_of(entry: &Entry) -> Option<u64> {
    entry.btime.map(|born| key(entry.id.inode, born, entry.size, entry.mtime))
}

/// The same of a record.
pub(super) fn key_of_record(record: &Record) -> Option<u64> {
    record.source.btime.map(|born| key(record.source.inode, born, record.size, record.source.mtime))
}

fn key(inode: u64, born: Timestamp, size: u64, mtime: Timestamp) -> u64 {
    hash_of(&(inode, born.seconds, born.nanoseconds, size, mtime.seconds, mtime.nanoseconds))
}
