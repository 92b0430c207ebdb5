//! Reading an index beside the passes, folder by folder in the order of the keys, with memory for one row at a time.
//!
//! Each question is a statement of its own and sees the last commit: a pass that ends meanwhile is not kept waiting, and
//! neither is the reader. Who needs to be sure asks again ([`Reader::record`]).

use crate::index::known::{self, KnownPair};
use crate::index::record::Record;
use crate::index::rows::Packed;
use crate::index::state::lock;
use crate::index::store::{Unusable, open_to_read_long};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::Mutex;

/// An index that is open for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Mutex<Connection>,
}

/// A folder below another one: one with records of its own, or one on the way to such a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Below {
    /// Its name.
    pub name: Box<CStr>,
    /// True where its own records come next, false where those of a folder in it do.
    pub is_itself: bool,
}

impl Reader {
    /// Opens the index of a file, perhaps a copy on a disk that cannot be written. Unlike [`known::open`] it may be read
    /// for hours while passes write it.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn open(path: &Path) -> Result<Reader, Unusable> {
        Ok(Reader::of(known::of(path, open_to_read_long(path)?)?))
    }

    fn of(pair: KnownPair) -> Reader {
        Reader { connection: Mutex::new(pair.connection) }
    }

    /// The record of a file.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn record(&self, folder: &[u8], name: &CStr) -> Result<Option<Record>, Unusable> {
        let sql = "SELECT first, count, records FROM file WHERE folder = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
        let row = lock(&self.connection)
            .prepare_cached(sql)?
            .query_row(params![folder, name.to_bytes()], row_of)
            .optional()?;
        let Some((_, count, row)) = row else { return Ok(None) };
        Ok(unpack(count, &row)?.into_iter().find(|(at, _)| **at == *name).map(|(_, record)| record))
    }

    /// When every file of a folder was confirmed, in seconds since 1970; 0 for never.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn confirmed(&self, folder: &[u8]) -> Result<i64, Unusable> {
        let sql = "SELECT confirmed FROM folder WHERE path = ?1";
        let found = lock(&self.connection)
            .prepare_cached(sql)?
            .query_row(params![folder], |row| row.get(0))
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    /// The records of a folder, sorted by name.
    pub(crate) fn records(&self, folder: &[u8]) -> Records {
        Records { folder: folder.to_vec(), key: None, last: None, row: VecDeque::new() }
    }

    /// The next folder below a folder that has records or leads to some. In the order of the paths, so that a folder
    /// may come twice: as itself, and, after its neighbours whose names begin like its own, as the way to others.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn below(&self, folder: &[u8], after: Option<&Below>) -> Result<Option<Below>, Unusable> {
        let mut from = folder.to_vec();
        if !folder.is_empty() {
            from.push(b'/');
        }
        let start = from.len();
        match after {
            None => from.push(0),
            Some(Below { name, is_itself }) => {
                from.extend_from_slice(name.to_bytes());
                // The byte after the slash skips all that is below.
                from.push(if *is_itself { 0 } else { b'/' + 1 });
            }
        }
        let sql = "SELECT folder FROM file WHERE folder >= ?1 ORDER BY folder LIMIT 1";
        let found: Option<Vec<u8>> = lock(&self.connection)
            .prepare_cached(sql)?
            .query_row(params![from], |row| row.get(0))
            .optional()?;
        let inside = |found: &Vec<u8>| found.get(..start).is_some_and(|top| from.starts_with(top));
        let Some(found) = found.filter(inside) else { return Ok(None) };
        let mut rest = found.get(start..).unwrap_or_default().splitn(2, |byte| *byte == b'/');
        let name = CString::new(rest.next().unwrap_or_default()).map_err(|_| damaged())?;
        if name.is_empty() {
            return Err(damaged());
        }
        Ok(Some(Below { name: name.into(), is_itself: rest.next().is_none() }))
    }

    /// The number of recorded files. Reads all of the index.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn files(&self) -> Result<u64, Unusable> {
        let sql = "SELECT coalesce(sum(count), 0) FROM file";
        let count: i64 = lock(&self.connection).query_row(sql, [], |row| row.get(0))?;
        Ok(count.try_into().unwrap_or_default())
    }

    /// The start of the last pass that was done, in milliseconds since 1970.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn last_done(&self) -> Result<Option<i64>, Unusable> {
        let sql = "SELECT max(started) FROM pass WHERE outcome = 'done'";
        Ok(lock(&self.connection).query_row(sql, [], |row| row.get(0))?)
    }

    /// The process of the last pass and its mark, if that pass has not ended.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn unended(&self) -> Result<Option<(u32, String)>, Unusable> {
        let sql = "SELECT process, mark, ended FROM pass ORDER BY started DESC, id DESC LIMIT 1";
        let last = lock(&self.connection)
            .query_row(sql, [], |row| {
                Ok(((row.get(0)?, row.get(1)?), row.get::<_, Option<i64>>(2)?.is_some()))
            })
            .optional()?;
        Ok(last.filter(|(_, has_ended)| !has_ended).map(|(process, _)| process))
    }

    /// A number that is another one after another process has written to the index.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn version(&self) -> Result<i64, Unusable> {
        Ok(lock(&self.connection).pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// The boot of the computer in which the last records were written.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn boot(&self) -> Result<String, Unusable> {
        Ok(lock(&self.connection).query_row("SELECT boot FROM pair", [], |row| row.get(0))?)
    }
}

/// The records of a folder, one row in memory.
#[derive(Debug)]
pub(crate) struct Records {
    folder: Vec<u8>,
    /// The key of the row, and the last name that was returned.
    key: Option<Vec<u8>>,
    last: Option<Box<CStr>>,
    row: VecDeque<(Box<CStr>, Record)>,
}

impl Records {
    /// The next one.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(crate) fn next(&mut self, reader: &Reader) -> Result<Option<(Box<CStr>, Record)>, Unusable> {
        loop {
            while let Some((name, record)) = self.row.pop_front() {
                // Where a row was split since it was read, its second half comes again.
                if self.last.as_ref().is_none_or(|last| *last < name) {
                    self.last = Some(name.clone());
                    return Ok(Some((name, record)));
                }
            }
            // Greater than any key for the first row: that one has the empty key.
            let (sql, key) = match &self.key {
                None => ("folder = ?1 AND first >= ?2", &[][..]),
                Some(key) => ("folder = ?1 AND first > ?2", key.as_slice()),
            };
            let sql = format!("SELECT first, count, records FROM file WHERE {sql} ORDER BY first LIMIT 1");
            let found = lock(&reader.connection)
                .prepare_cached(&sql)?
                .query_row(params![self.folder, key], row_of)
                .optional()?;
            let Some((key, count, row)) = found else { return Ok(None) };
            self.row = unpack(count, &row)?;
            self.key = Some(key);
        }
    }
}

fn row_of(row: &Row<'_>) -> Result<(Vec<u8>, i64, Vec<u8>), rusqlite::Error> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// The records of a row. Unlike a pass, which can read and hash what a damaged row has lost, a proof must not take those
/// files for unknown ones.
fn unpack(count: i64, row: &[u8]) -> Result<VecDeque<(Box<CStr>, Record)>, Unusable> {
    let record = |(name, packed): (&[u8], &[u8])| {
        Some((CString::new(name).ok()?.into_boxed_c_str(), Record::unpack(packed)?))
    };
    let records: Option<VecDeque<_>> = Packed::of(row).map(record).collect();
    records.filter(|records| i64::try_from(records.len()) == Ok(count)).ok_or_else(damaged)
}

fn damaged() -> Unusable {
    Unusable::Damaged("a row of records makes no sense".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::index::record::Facts;
    use crate::index::record::tests::packed;
    use crate::index::rows::{Change, Edit, edit};
    use crate::index::store::{Roots, open};
    use crate::model::digest::Digest;
    use crate::model::entry::Timestamp;
    use tempfile::TempDir;

    fn record(size: u64) -> Record {
        let at = Timestamp { seconds: 1_764_000_000, nanoseconds: 1 };
        let source = Facts { volume: 1, inode: size, mtime: at, ctime: at, btime: None, settled: true };
        let digest = Digest::from_bytes([size as u8; 32]);
        Record {
            digest,
            size,
            source,
            replica: Some(source),
            is_bare: true,
            is_suspect: false,
            confirmed: 5,
            hashed: 5,
        }
    }

    /// A new index, open for writing and for reading.
    pub(crate) fn empty(scratch: &Path) -> (Connection, Reader) {
        let path = scratch.join("index.db");
        let roots = Roots { source: "/source".into(), replica: "/replica".into() };
        let connection = open(&path, &roots).unwrap();
        (connection, Reader::open(&path).unwrap())
    }

    /// Writes a record.
    pub(crate) fn put_record(connection: &Connection, folder: &[u8], name: &[u8], record: Record) {
        let edited = Edit::Put(packed(&record).into());
        edit(connection, &[Change { folder, name, edit: edited }]).unwrap();
    }

    fn index(files: &[(&str, &str)]) -> (TempDir, Connection, Reader) {
        let scratch = tempfile::tempdir().unwrap();
        let (connection, reader) = empty(scratch.path());
        for (at, (folder, name)) in files.iter().enumerate() {
            put(&connection, folder, name, at as u64);
        }
        (scratch, connection, reader)
    }

    fn put(connection: &Connection, folder: &str, name: &str, size: u64) {
        put_record(connection, folder.as_bytes(), name.as_bytes(), record(size));
    }

    fn names(records: &mut Records, reader: &Reader) -> Vec<String> {
        std::iter::from_fn(|| records.next(reader).unwrap())
            .map(|(name, _)| name.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn folders_below_come_in_the_order_of_paths_and_each_is_skipped_as_a_whole() {
        let files =
            [("", "f"), ("a", "f"), ("a/x/y", "f"), ("a-b", "f"), ("a/z", "f"), ("b/c/d", "f"), ("b0", "f")];
        let (_scratch, _, reader) = index(&files);
        let all = |folder: &str| {
            let mut last = None;
            let mut found = Vec::new();
            while let Some(below) = reader.below(folder.as_bytes(), last.as_ref()).unwrap() {
                let slash = if below.is_itself { "" } else { "/" };
                found.push(format!("{}{slash}", below.name.to_str().unwrap()));
                last = Some(below);
            }
            found
        };
        assert_eq!(all(""), ["a", "a-b", "a/", "b/", "b0"]);
        assert_eq!(all("a"), ["x/", "z"]);
        assert_eq!(all("b"), ["c/"]);
        assert_eq!(all("b/c"), ["d"]);
        assert!(all("b0").is_empty() && all("zz").is_empty());
    }

    #[test]
    fn records_come_sorted_also_when_their_row_is_split_meanwhile() {
        let names_of =
            |step: usize| (0..200).step_by(step).map(|at| format!("name {at:04}")).collect::<Vec<_>>();
        let (_scratch, connection, reader) = index(&[]);
        names_of(2).iter().for_each(|name| put(&connection, "d", name, 1));
        put(&connection, "d2", "other", 1);
        assert_eq!(names(&mut reader.records(b"d"), &reader), names_of(2));
        let version = reader.version().unwrap();
        let mut records = reader.records(b"d");
        let first = records.next(&reader).unwrap().unwrap();
        names_of(1).iter().for_each(|name| put(&connection, "d", name, 2));
        assert_ne!(reader.version().unwrap(), version);
        let rest = names(&mut records, &reader);
        assert!(rest.is_sorted() && rest.windows(2).all(|two| two[0] != two[1]));
        assert!(names_of(2).iter().skip(1).all(|name| rest.contains(name)), "{first:?} {rest:?}");
        assert_eq!(reader.files().unwrap(), 201);
        assert_eq!(reader.record(b"d", c"name 0007").unwrap(), Some(record(2)));
        assert_eq!(reader.record(b"d", c"nobody").unwrap(), None);
        assert_eq!(reader.record(b"e", c"nobody").unwrap(), None);
    }

    #[test]
    fn a_pass_of_a_process_that_comes_later_is_seen() {
        let (scratch, connection, reader) = index(&[("a", "f")]);
        drop((connection, reader));
        let path = scratch.path().join("index.db");
        let reader = Reader::open(&path).unwrap();
        assert!(reader.record(b"a", c"f").unwrap().is_some());
        let roots = Roots { source: "/source".into(), replica: "/replica".into() };
        put(&open(&path, &roots).unwrap(), "a", "g", 7);
        assert_eq!(reader.record(b"a", c"g").unwrap(), Some(record(7)));
    }

    #[test]
    fn a_damaged_row_is_an_error_and_not_a_folder_without_records() {
        let (_scratch, connection, reader) = index(&[("a", "f")]);
        connection.execute("UPDATE file SET records = substr(records, 1, 9)", []).unwrap();
        assert!(matches!(reader.records(b"a").next(&reader), Err(Unusable::Damaged(_))));
        assert!(matches!(reader.record(b"a", c"f"), Err(Unusable::Damaged(_))));
    }

    #[test]
    fn passes_are_asked_for() {
        let (_scratch, connection, reader) = index(&[]);
        assert_eq!((reader.last_done().unwrap(), reader.unended().unwrap()), (None, None));
        let sql = "INSERT INTO pass (number, started, ended, outcome, process, mark) VALUES (1, ?1, ?2, ?3, 77, 'm')";
        connection.execute(sql, params![1000, 2000, "done"]).unwrap();
        assert_eq!((reader.last_done().unwrap(), reader.unended().unwrap()), (Some(1000), None));
        connection.execute(sql, params![3000, None::<i64>, None::<&str>]).unwrap();
        assert_eq!(
            (reader.last_done().unwrap(), reader.unended().unwrap()),
            (Some(1000), Some((77, "m".to_owned())))
        );
        connection.execute(sql, params![4000, 5000, "held"]).unwrap();
        assert_eq!((reader.last_done().unwrap(), reader.unended().unwrap()), (Some(1000), None));
        assert_eq!(reader.confirmed(b"").unwrap(), 0);
    }
}
