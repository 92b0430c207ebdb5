//! The operations of a pass on the replica, kept so that `history` can tell what was done to one path.
//!
//! They are packed in memory and written at the end, in the transaction of the pass: one that is not done leaves none.
//! Of a pass with many, those stay that explain the most: everything else before creations, of which a first copy has as
//! many as the tree has entries, and then those nearest to the top, because what happens to a folder happens to all that
//! is in it. Of equal ones the first stay.
//!
//! Packed, and without an index by path: rows of their own made a first copy of 20,000 small files some 5 % slower.

use crate::index::record::{Unpack, put, put_signed};
use crate::model::change::{Operation, Verb};
use crate::model::digest::Digest;
use crate::model::entry::Kind;
use rusqlite::{Connection, Error as SqlError, OptionalExtension, params};
use std::collections::BTreeMap;

/// So many operations of one pass are kept.
const MOST_OF_PASS: usize = 10_000;

/// Operations of one pass take so much memory: 400 bytes each, while 60 are usual.
const MOST_BYTES: usize = 4 << 20;

/// So many are kept in all.
const MOST: i64 = 100_000;

/// So many are in one row.
const ROW: usize = 256;

/// An operation as it was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// The path below the roots.
    pub path: Vec<u8>,
    /// The path before a move or a rename, or another path of the inode of a hard link.
    pub other: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub time: i64,
    /// The kind of the operation.
    pub verb: Verb,
    /// The kind of the entry.
    pub kind: Kind,
    /// Size in bytes, for regular files.
    pub size: Option<u64>,
    /// Digest of the content that was written.
    pub digest: Option<Digest>,
}

const HAS_OTHER: u8 = 1 << 4;
const HAS_SIZE: u8 = 1 << 5;
const HAS_DIGEST: u8 = 1 << 6;

/// The number of a verb in the index, which stays when verbs are added.
fn verb_code(verb: Verb) -> u8 {
    match verb {
        Verb::Create => 1,
        Verb::Update => 2,
        Verb::Repair => 3,
        Verb::Move => 4,
        Verb::Delete => 5,
        Verb::Rename => 6,
        Verb::Link => 7,
        Verb::Metadata => 8,
        Verb::Retype => 9,
    }
}

/// The number of a kind in the index.
fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::File => 1,
        Kind::Folder => 2,
        Kind::Symlink => 3,
        Kind::Fifo => 4,
        Kind::Socket => 5,
        Kind::CharDevice => 6,
        Kind::BlockDevice => 7,
    }
}

/// Appends an operation that was done so many milliseconds after the start of its pass.
fn pack(operation: &Operation<'_>, after: i64, out: &mut Vec<u8>) {
    let Operation { verb, path, kind, size, digest, linked_to, renamed_from, moved_from, .. } = *operation;
    let other = moved_from.or(renamed_from).or(linked_to);
    let mut flags = kind_code(kind);
    let mut set = |flag, is_set| flags |= if is_set { flag } else { 0 };
    set(HAS_OTHER, other.is_some());
    set(HAS_SIZE, size.is_some());
    set(HAS_DIGEST, digest.is_some());
    out.extend([verb_code(verb), flags]);
    put_signed(out, after);
    for path in [Some(path), other].into_iter().flatten() {
        put(out, path.as_bytes().len() as u64);
        out.extend_from_slice(path.as_bytes());
    }
    if let Some(size) = size {
        put(out, size);
    }
    if let Some(digest) = digest {
        out.extend_from_slice(digest.as_bytes());
    }
}

/// Reads the next operation of a pass that started then; none at the end, and where the row is damaged.
fn unpack(from: &mut Unpack<'_>, started: i64) -> Option<Done> {
    let [verb, flags] = from.take()?;
    let verb = Verb::ALL.into_iter().find(|it| verb_code(*it) == verb)?;
    let kind = Kind::ALL.into_iter().find(|it| kind_code(*it) == flags & 0xf)?;
    let time = started.wrapping_add(from.signed()?);
    let mut name = || {
        let length = from.number()?;
        from.bytes(length).map(<[u8]>::to_vec)
    };
    let path = name()?;
    let other = if flags & HAS_OTHER != 0 { Some(name()?) } else { None };
    let size = if flags & HAS_SIZE != 0 { Some(from.number()?) } else { None };
    let digest = if flags & HAS_DIGEST != 0 { Some(Digest::from_bytes(from.take()?)) } else { None };
    Some(Done { path, other, time, verb, kind, size, digest })
}

/// The operations of a row, in their order.
pub(super) fn operations(row: &[u8], started: i64) -> Vec<Done> {
    let mut from = Unpack(row);
    std::iter::from_fn(|| unpack(&mut from, started)).collect()
}

/// Which operations stay, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_creation: bool,
    depth: usize,
}

impl Rank {
    fn of(operation: &Operation<'_>) -> Rank {
        let depth = operation.path.as_bytes().iter().filter(|byte| **byte == b'/').count();
        Rank { is_creation: operation.verb == Verb::Create, depth }
    }
}

/// Packed operations of one rank.
#[derive(Debug, Default)]
struct Alike {
    packed: Vec<u8>,
    /// Of each its number in the pass, and where it begins.
    starts: Vec<(u32, usize)>,
}

impl Alike {
    fn all(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let ends = self.starts.iter().skip(1).map(|(_, start)| *start).chain([self.packed.len()]);
        let with_ends = self.starts.iter().zip(ends);
        with_ends.map(|((number, start), end)| (*number, self.packed.get(*start..end).unwrap_or_default()))
    }
}

/// The operations of the pass that runs.
#[derive(Debug, Default)]
pub(super) struct Operations {
    /// The row of the pass; while there is none, nothing is noted.
    pass: Option<i64>,
    /// The start of the pass, in milliseconds since 1970.
    started: i64,
    kept: BTreeMap<Rank, Alike>,
    number_kept: usize,
    bytes: usize,
    /// The operations so far that were kept, if only for a while.
    numbered: u32,
    left_out: u64,
}

impl Operations {
    /// Of the pass with this row, which started then.
    pub(super) fn of(pass: Option<i64>, started: i64) -> Operations {
        Operations { pass, started, ..Operations::default() }
    }

    /// Whether none is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.number_kept == 0
    }

    /// Notes an operation that was done now. `now` tells the milliseconds since 1970; it is not asked when the operation
    /// is left out.
    pub(super) fn add(&mut self, operation: &Operation<'_>, now: impl FnOnce() -> i64) {
        if self.pass.is_none() {
            return;
        }
        let rank = Rank::of(operation);
        while self.number_kept >= MOST_OF_PASS || self.bytes >= MOST_BYTES {
            self.left_out += 1;
            if !self.drop_one_above(rank) {
                return;
            }
        }
        let alike = self.kept.entry(rank).or_default();
        let start = alike.packed.len();
        alike.starts.push((self.numbered, start));
        pack(operation, now().saturating_sub(self.started), &mut alike.packed);
        self.bytes += alike.packed.len() - start;
        self.number_kept += 1;
        self.numbered = self.numbered.saturating_add(1);
    }

    /// Drops one of the last rank. False if no rank is after this one.
    fn drop_one_above(&mut self, rank: Rank) -> bool {
        let Some(mut last) = self.kept.last_entry().filter(|last| *last.key() > rank) else { return false };
        let alike = last.get_mut();
        if let Some((_, start)) = alike.starts.pop() {
            self.bytes -= alike.packed.len() - start;
            self.number_kept -= 1;
            alike.packed.truncate(start);
        }
        if last.get().starts.is_empty() {
            last.remove();
        }
        true
    }

    /// Writes the operations of a pass that was done, and removes the oldest ones.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), SqlError> {
        let Operations { pass, started, kept, left_out, .. } = std::mem::take(self);
        let Some(pass) = pass else { return Ok(()) };
        let sql = "UPDATE pair SET operations_since = ?1 WHERE operations_since IS NULL";
        connection.execute(sql, [started])?;
        if left_out > 0 {
            let sql = "INSERT OR REPLACE INTO left_out (pass, started, operations) VALUES (?1, ?2, ?3)";
            connection.execute(sql, params![pass, started, i64::try_from(left_out).unwrap_or(i64::MAX)])?;
        }
        let mut in_order: Vec<(u32, &[u8])> = kept.values().flat_map(Alike::all).collect();
        if in_order.is_empty() {
            return Ok(());
        }
        in_order.sort_unstable_by_key(|(number, _)| *number);
        let mut id: i64 =
            connection.query_row("SELECT coalesce(max(id), 0) FROM operation", [], |row| row.get(0))?;
        let sql = "INSERT INTO operation (id, pass, started, count, operations) VALUES (?1, ?2, ?3, ?4, ?5)";
        let mut statement = connection.prepare_cached(sql)?;
        for row in in_order.chunks(ROW) {
            let packed = row.iter().map(|(_, packed)| *packed).collect::<Vec<_>>().concat();
            let count = row.len() as i64;
            id += count;
            statement.execute(params![id, pass, started, count, packed])?;
        }
        thin(connection, MOST)
    }
}

/// Removes the oldest operations, so that not more than so many stay. The id of a row counts them, so that only the
/// oldest rows are looked at.
fn thin(connection: &Connection, most: i64) -> Result<(), SqlError> {
    let sql = "WITH newest (id) AS (SELECT max(id) FROM operation) DELETE FROM operation \
               WHERE id <= (SELECT id FROM newest) - ?1 + ?2 AND id - count < (SELECT id FROM newest) - ?1";
    if connection.prepare_cached(sql)?.execute(params![most, ROW as i64])? == 0 {
        return Ok(());
    }
    let oldest = connection
        .query_row("SELECT pass, started, operations FROM operation ORDER BY id LIMIT 1", [], |row| {
            let started = row.get(1)?;
            let first = unpack(&mut Unpack(row.get_ref(2)?.as_blob()?), started);
            Ok((row.get::<_, i64>(0)?, first.map_or(started, |first| first.time)))
        })
        .optional()?;
    let Some((pass, since)) = oldest else { return Ok(()) };
    connection.execute("DELETE FROM left_out WHERE pass < ?1", [pass])?;
    connection.execute("UPDATE pair SET operations_since = ?1", [since])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::store::{Roots, open};
    use crate::model::path::RelPath;
    use tempfile::TempDir;

    const STARTED: i64 = 1_795_863_599_000;

    fn index() -> (TempDir, Connection) {
        let scratch = tempfile::tempdir().unwrap();
        let roots = Roots { source: "/s".into(), replica: "/r".into() };
        let connection = open(&scratch.path().join("i.db"), &roots).unwrap();
        (scratch, connection)
    }

    /// Writes a pass with operations on these paths.
    fn pass(connection: &Connection, id: i64, done: impl IntoIterator<Item = (Verb, String)>) {
        let mut operations = Operations::of(Some(id), STARTED + id);
        for (verb, path) in done {
            let path = RelPath::from_bytes(path.into_bytes());
            operations.add(&Operation::new(verb, &path, Kind::File), || STARTED + id + 5);
        }
        operations.write(connection).unwrap();
    }

    fn kept(connection: &Connection) -> Vec<Done> {
        let mut statement =
            connection.prepare("SELECT operations, started, count FROM operation ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| {
            let of_row = operations(row.get_ref(0)?.as_blob()?, row.get(1)?);
            assert_eq!(of_row.len(), row.get::<_, u32>(2)? as usize);
            Ok(of_row)
        });
        rows.unwrap().flat_map(Result::unwrap).collect()
    }

    fn left_out(connection: &Connection) -> Vec<(i64, i64)> {
        let mut statement =
            connection.prepare("SELECT pass, operations FROM left_out ORDER BY pass").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn since(connection: &Connection) -> Option<i64> {
        connection.query_row("SELECT operations_since FROM pair", [], |row| row.get(0)).unwrap()
    }

    fn creations(numbers: std::ops::Range<usize>) -> impl Iterator<Item = (Verb, String)> {
        numbers.map(|number| (Verb::Create, format!("folder/{number:06}")))
    }

    #[test]
    fn an_operation_is_read_as_it_was_done() {
        let (_scratch, connection) = index();
        let [path, other] = [&b"a/\xff\n"[..], b"old"].map(|path| RelPath::from_bytes(path.to_vec()));
        let mut all = Operations::of(Some(7), STARTED);
        let mut expected = Vec::new();
        // The clock may be set back.
        let mut time = STARTED - 3;
        for verb in Verb::ALL {
            for kind in Kind::ALL {
                let size = (kind == Kind::File).then_some(u64::MAX);
                let digest = (verb == Verb::Update).then(|| Digest::from_bytes([0xab; 32]));
                let old = [Verb::Move, Verb::Rename, Verb::Link].contains(&verb).then_some(&other);
                let of = |its: Verb| old.filter(|_| verb == its);
                let operation = Operation {
                    size,
                    digest,
                    moved_from: of(Verb::Move),
                    renamed_from: of(Verb::Rename),
                    linked_to: of(Verb::Link),
                    ..Operation::new(verb, &path, kind)
                };
                all.add(&operation, || time);
                let (path, other) = (path.as_bytes().to_vec(), old.map(|old| old.as_bytes().to_vec()));
                expected.push(Done { path, other, time, verb, kind, size, digest });
                time += 40_000_000;
            }
        }
        all.write(&connection).unwrap();
        assert_eq!(kept(&connection), expected);
        assert!(operations(&[1, 1, 0, 9, b'x'], STARTED).is_empty(), "a damaged row ends at the damage");
    }

    #[test]
    fn of_a_pass_creations_give_way_and_then_what_is_deepest() {
        let (_scratch, connection) = index();
        let top = (Verb::Create, "top".to_owned());
        let deleted = (0..4_000).map(|number| (Verb::Delete, format!("a/b/{number}")));
        pass(&connection, 1, creations(0..12_000).chain([top.clone()]).chain(deleted));
        let all = kept(&connection);
        let of = |verb: Verb| all.iter().filter(|done| done.verb == verb).count();
        assert_eq!((all.len(), of(Verb::Delete), of(Verb::Create)), (10_000, 4_000, 6_000));
        assert!(all.iter().any(|done| done.path == top.1.as_bytes()), "the nearest to the top stay");
        assert_eq!(all[5_998].path, b"folder/005998", "of equal ones the first stay, in their order");
        assert_eq!(left_out(&connection), [(1, 6_001)]);
        // Without creations, the deepest ones give way.
        let deep = (0..12_000).map(|number| (Verb::Delete, format!("a/b/c/d/{number}")));
        pass(&connection, 2, deep.chain([(Verb::Delete, "a/b".to_owned())]));
        let all = kept(&connection);
        assert_eq!((all.len(), all.last().unwrap().path.as_slice()), (20_000, &b"a/b"[..]));
        assert_eq!(left_out(&connection), [(1, 6_001), (2, 2_001)]);
    }

    #[test]
    fn long_paths_do_not_take_more_memory() {
        let mut operations = Operations::of(Some(1), STARTED);
        let long = format!("{}/{}", "x".repeat(200), "y".repeat(3_000));
        for verb in [Verb::Create, Verb::Update] {
            for number in 0..3_000 {
                let path = RelPath::from_bytes(format!("{long}{number}").into_bytes());
                operations.add(&Operation::new(verb, &path, Kind::File), || STARTED);
            }
        }
        let held: usize = operations.kept.values().map(|alike| alike.packed.len()).sum();
        assert_eq!(held, operations.bytes);
        assert!(held < MOST_BYTES + 4_096 && held > MOST_BYTES - 4_096, "{held}");
        assert_eq!(operations.number_kept as u64 + operations.left_out, 6_000);
        assert!(operations.kept.keys().all(|rank| !rank.is_creation));
    }

    #[test]
    fn in_all_the_oldest_go_first() {
        let (_scratch, connection) = index();
        assert_eq!(since(&connection), None);
        pass(&connection, 1, creations(0..10_500));
        assert_eq!(since(&connection), Some(STARTED + 1));
        for id in 2..11 {
            pass(&connection, id, creations(0..9_000));
            pass(&connection, id + 100, [(Verb::Update, "file".to_owned())]);
        }
        assert_eq!((kept(&connection).len(), left_out(&connection)), (91_009, vec![(1, 500)]));
        pass(&connection, 200, creations(0..10_000));
        let all = kept(&connection);
        assert!(all.len() <= 100_000 && all.len() > 100_000 - ROW, "{}", all.len());
        assert_eq!(since(&connection), all.first().map(|first| first.time));
        assert_eq!(left_out(&connection), [(1, 500)]);
        for id in 201..203 {
            pass(&connection, id, creations(0..10_000));
        }
        assert!(kept(&connection).len() <= 100_000);
        assert_eq!(left_out(&connection), [], "nothing of it is kept any more");
        // A pass without operations has no row.
        let before: i64 =
            connection.query_row("SELECT max(id) FROM operation", [], |row| row.get(0)).unwrap();
        pass(&connection, 300, []);
        let after: i64 = connection.query_row("SELECT max(id) FROM operation", [], |row| row.get(0)).unwrap();
        assert_eq!(before, after);
    }

    #[test]
    fn without_the_row_of_its_pass_nothing_is_noted() {
        let (_scratch, connection) = index();
        let path = RelPath::from_bytes(b"file".to_vec());
        let mut operations = Operations::of(None, STARTED);
        operations.add(&Operation::new(Verb::Update, &path, Kind::File), || STARTED);
        operations.write(&connection).unwrap();
        assert_eq!((kept(&connection).len(), since(&connection)), (0, None));
    }
}
