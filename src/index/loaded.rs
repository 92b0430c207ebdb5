//! The records of one folder in memory: all of them, or the rows of a large folder that were used last.

use crate::index::record::Record;
use crate::index::rows::{Packed, row_for};
use crate::index::state::{Shared, lock};
use rusqlite::{Connection, Error as SqlError, params};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Folders with more packed bytes are not loaded: each name is looked up when its turn comes.
const MOST_LOADED: usize = 256 << 10;

/// The rows of such a folder that are kept: each worker is at another place, and mostly goes on in the order of names.
const MOST_ROWS: usize = 32;

#[derive(Debug)]
pub(super) enum Loaded {
    /// All records: their rows one after the other, where each begins, which ones were confirmed, as bits, and the one
    /// after that which was found last.
    Whole { rows: Vec<u8>, starts: Vec<u32>, confirmed: Vec<AtomicU64>, next: AtomicUsize },
    /// So many records, the number of those that were confirmed, and the rows that were used last.
    Large { count: u64, confirmed: AtomicU64, rows: Mutex<VecDeque<UsedRow>> },
}

/// A row of a large folder, with its last name: all names between its key and that one are in it, or nowhere.
#[derive(Debug)]
pub(super) struct UsedRow {
    first: Vec<u8>,
    last: Vec<u8>,
    records: Vec<u8>,
}

impl Loaded {
    /// Reads a folder.
    ///
    /// # Errors
    /// As `sqlite3_step`.
    pub(super) fn read(connection: &Connection, folder: &[u8]) -> Result<Loaded, SqlError> {
        let sql = "SELECT records FROM file WHERE folder = ?1 ORDER BY first";
        let mut statement = connection.prepare_cached(sql)?;
        let mut found = statement.query(params![folder])?;
        let mut rows = Vec::new();
        let mut flow = ControlFlow::Continue(());
        while let Some(row) = found.next()? {
            let row = row.get_ref(0)?.as_blob().unwrap_or_default();
            if rows.len() + row.len() > MOST_LOADED {
                flow = ControlFlow::Break(());
                break;
            }
            rows.extend_from_slice(row);
        }
        drop(found);
        if flow.is_break() {
            let sql = "SELECT sum(count) FROM file WHERE folder = ?1";
            let count: i64 = connection.prepare_cached(sql)?.query_row(params![folder], |row| row.get(0))?;
            let count = count.try_into().unwrap_or_default();
            return Ok(Loaded::Large { count, confirmed: AtomicU64::new(0), rows: Mutex::default() });
        }
        let starts = Packed::starts(&rows);
        let mut confirmed = Vec::new();
        confirmed.resize_with(starts.len().div_ceil(64), AtomicU64::default);
        Ok(Loaded::Whole { rows, starts, confirmed, next: AtomicUsize::new(0) })
    }

    /// The record of a name, and its place among the loaded ones.
    pub(super) fn find(
        &self,
        (shared, folder): (&Shared, &[u8]),
        name: &[u8],
    ) -> (Option<usize>, Option<Record>) {
        match self {
            Loaded::Whole { rows, starts, next, .. } => {
                let entry = |start: &u32| Packed::of(rows.get(*start as usize..).unwrap_or_default()).next();
                let is_it = |start: &u32| entry(start).is_some_and(|(at, _)| at == name);
                let next_to = |start: &u32| entry(start).map_or(&[][..], |(at, _)| at).cmp(name);
                // Names mostly come in their order.
                let likely = next.load(Ordering::Relaxed);
                let at = match starts.get(likely).is_some_and(is_it) {
                    true => Some(likely),
                    false => starts.binary_search_by(next_to).ok(),
                };
                next.store(at.map_or(likely, |at| at + 1), Ordering::Relaxed);
                let packed = at.and_then(|at| starts.get(at)).and_then(entry);
                (at, packed.and_then(|(_, packed)| Record::unpack(packed)))
            }
            Loaded::Large { rows, .. } => (None, find_in_large(&mut lock(rows), (shared, folder), name)),
        }
    }
}

/// The record of a name of a large folder.
fn find_in_large(
    rows: &mut VecDeque<UsedRow>,
    (shared, folder): (&Shared, &[u8]),
    name: &[u8],
) -> Option<Record> {
    let find = |row: &UsedRow| {
        let found = Packed::of(&row.records).find(|(at, _)| *at == name);
        found.and_then(|(_, packed)| Record::unpack(packed))
    };
    if let Some(row) = rows.iter().find(|row| *row.first <= *name && *name <= *row.last) {
        return find(row);
    }
    let read = lock(&shared.0).attempt(|state| {
        let row_of = |connection| row_for(connection, folder, name);
        state.connection.as_ref().map_or(Ok(None), row_of)
    });
    let (first, records) = read.flatten()?;
    let last = Packed::of(&records).last().map(|(name, _)| name.to_vec()).unwrap_or_default();
    if rows.len() == MOST_ROWS {
        rows.pop_front();
    }
    let row = UsedRow { first, last, records };
    let found = find(&row);
    rows.push_back(row);
    found
}
