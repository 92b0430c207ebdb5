//! Reading and changing the packed rows of a folder.

use crate::index::record::{Record, Unpack, put};
use rusqlite::{Connection, Error as SqlError, OptionalExtension, params};
use std::borrow::Cow;

/// A row is split above this size. Four rows fit into a page, and none needs a page of its own.
const MOST_BYTES: usize = 3500;

/// A change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit<'a> {
    /// Write this packed record.
    Put(Cow<'a, [u8]>),
    /// The file was read and found right then, in seconds since 1970.
    Confirm(i64),
    /// Remove it.
    Drop,
}

impl<'a> Edit<'a> {
    /// The change that does what this one and then another one would do.
    pub(super) fn then(self, next: Edit<'a>) -> Edit<'a> {
        match (self, next) {
            (Edit::Put(packed), Edit::Confirm(time)) => {
                confirmed(&packed, time).map_or(Edit::Drop, Edit::Put)
            }
            (Edit::Drop, Edit::Confirm(_)) => Edit::Drop,
            (Edit::Put(_) | Edit::Confirm(_) | Edit::Drop, next) => next,
        }
    }
}

/// A packed record with another time of its confirmation; none when it is damaged.
fn confirmed(packed: &[u8], confirmed: i64) -> Option<Cow<'static, [u8]>> {
    let record = Record { confirmed, ..Record::unpack(packed)? };
    let mut packed = Vec::with_capacity(packed.len() + 8);
    record.pack(&mut packed);
    Some(Cow::Owned(packed))
}

/// A change of the record of one file.
#[derive(Clone, Debug)]
pub(super) struct Change<'a> {
    /// The path of its folder below the roots.
    pub(super) folder: &'a [u8],
    /// Its name.
    pub(super) name: &'a [u8],
    /// What changes.
    pub(super) edit: Edit<'a>,
}

/// Appends one record to a row.
fn append(row: &mut Vec<u8>, name: &[u8], packed: &[u8]) {
    put(row, name.len() as u64);
    row.extend_from_slice(name);
    put(row, packed.len() as u64);
    row.extend_from_slice(packed);
}

/// The names and packed records of a row, or of several in their order.
pub(super) struct Packed<'a>(Unpack<'a>);

impl<'a> Packed<'a> {
    pub(super) fn of(row: &'a [u8]) -> Packed<'a> {
        Packed(Unpack(row))
    }

    /// Where each record begins.
    pub(super) fn starts(row: &[u8]) -> Vec<u32> {
        let mut packed = Packed::of(row);
        let mut starts = Vec::new();
        loop {
            let start = row.len() - packed.0.0.len();
            match (packed.next(), u32::try_from(start)) {
                (Some(_), Ok(start)) => starts.push(start),
                (None, _) | (_, Err(_)) => return starts,
            }
        }
    }
}

impl<'a> Iterator for Packed<'a> {
    type Item = (&'a [u8], &'a [u8]);

    /// Damage ends the row: what follows is as if it were not recorded.
    fn next(&mut self) -> Option<Self::Item> {
        let length = self.0.number()?;
        let name = self.0.bytes(length)?;
        let length = self.0.number()?;
        Some((name, self.0.bytes(length)?))
    }
}

/// The key of a row in its folder, and its content.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// The row of a folder in which a name is or would be: its key, and its content if it exists.
pub(super) fn row_for(connection: &Connection, folder: &[u8], name: &[u8]) -> Result<Option<Row>, SqlError> {
    let sql = "SELECT first, records FROM file WHERE folder = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
    connection
        .prepare_cached(sql)?
        .query_row(params![folder, name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The recorded names of a folder that do not exist any more.
pub(super) fn gone(
    connection: &Connection,
    folder: &[u8],
    exists: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<Vec<Box<[u8]>>, SqlError> {
    let sql = "SELECT records FROM file WHERE folder = ?1 ORDER BY first";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![folder])?;
    let mut gone = Vec::new();
    while let Some(row) = rows.next()? {
        let records = row.get_ref(0)?.as_blob().unwrap_or_default();
        gone.extend(Packed::of(records).map(|(name, _)| name).filter(|name| !exists(name)).map(Box::from));
    }
    Ok(gone)
}

/// The first record of any name that fits.
pub(super) fn find_record(
    connection: &Connection,
    is_it: impl Fn(&Record) -> bool,
) -> Result<Option<Record>, SqlError> {
    let mut statement = connection.prepare_cached("SELECT records FROM file")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let records = row.get_ref(0)?.as_blob().unwrap_or_default();
        let found = Packed::of(records).filter_map(|(_, packed)| Record::unpack(packed)).find(&is_it);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Carries out the changes in one folder, which are in the order of their names.
pub(super) fn edit(connection: &Connection, changes: &[Change<'_>]) -> Result<(), SqlError> {
    let mut ahead = changes;
    while let Some(Change { folder, name, .. }) = ahead.first() {
        let row = row_for(connection, folder, name)?;
        let (first, old) = row.unwrap_or_default();
        let sql = "SELECT first FROM file WHERE folder = ?1 AND first > ?2 ORDER BY first LIMIT 1";
        let mut statement = connection.prepare_cached(sql)?;
        let next: Option<Vec<u8>> =
            statement.query_row(params![folder, first], |row| row.get(0)).optional()?;
        let is_here = |change: &Change<'_>| next.as_ref().is_none_or(|next| change.name < &**next);
        let here = ahead.partition_point(is_here);
        let (here, rest) = ahead.split_at(here);
        write(connection, folder, &first, &merge(&old, here))?;
        ahead = rest;
    }
    Ok(())
}

/// A name and its packed record.
type Entry<'a> = (&'a [u8], Cow<'a, [u8]>);

/// The records of a row after its changes, in their order.
fn merge<'a>(old: &'a [u8], changes: &'a [Change<'a>]) -> Vec<Entry<'a>> {
    let mut merged = Vec::with_capacity(changes.len());
    let mut old = Packed::of(old).peekable();
    for Change { name, edit, .. } in changes {
        while let Some((name, packed)) = old.next_if(|(at, _)| at < name) {
            merged.push((name, Cow::Borrowed(packed)));
        }
        let before = old.next_if(|(at, _)| at == name).map(|(_, packed)| packed);
        let packed = match edit {
            Edit::Put(packed) => Some(Cow::Borrowed(&**packed)),
            Edit::Confirm(time) => before.and_then(|packed| confirmed(packed, *time)),
            Edit::Drop => None,
        };
        merged.extend(packed.map(|packed| (*name, packed)));
    }
    merged.extend(old.map(|(name, packed)| (name, Cow::Borrowed(packed))));
    merged
}

/// Writes the records of what was one row, in as many as they need.
fn write(
    connection: &Connection,
    folder: &[u8],
    first: &[u8],
    records: &[Entry<'_>],
) -> Result<(), SqlError> {
    if records.is_empty() {
        let sql = "DELETE FROM file WHERE folder = ?1 AND first = ?2";
        connection.prepare_cached(sql)?.execute(params![folder, first])?;
        return Ok(());
    }
    let total: usize = records.iter().map(|(name, packed)| name.len() + packed.len() + 3).sum();
    // Evenly, so that a full row becomes two halves with room for more.
    let most = total.div_ceil(total.div_ceil(MOST_BYTES)).max(MOST_BYTES / 2);
    let sql = "INSERT OR REPLACE INTO file (folder, first, count, records) VALUES (?1, ?2, ?3, ?4)";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut key, mut row, mut count) = (first, Vec::with_capacity(most), 0);
    for (name, packed) in records {
        if count > 0 && row.len() + name.len() + packed.len() + 3 > most {
            statement.execute(params![folder, key, count, row])?;
            (key, count) = (name, 0);
            row.clear();
        }
        append(&mut row, name, packed);
        count += 1;
    }
    statement.execute(params![folder, key, count, row])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::pending::Pending;
    use crate::index::record::tests::{packed, record};
    use crate::test_strategies::pure;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn connection() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        connection
    }

    fn edits() -> impl Strategy<Value = BTreeMap<Box<[u8]>, Edit<'static>>> {
        let edit = prop_oneof![
            4 => record().prop_map(|record| Edit::Put(packed(&record).into())),
            1 => any::<i64>().prop_map(Edit::Confirm),
            1 => Just(Edit::Drop),
        ];
        // Few names, so that edits meet; long ones, so that rows are split.
        let name = (0..60u8, 1..40usize).prop_map(|(letter, length)| vec![letter + 40; length].into());
        btree_map(name, edit, 0..60)
    }

    /// The lowest names go, as old logs do.
    fn first_names_go() -> impl Strategy<Value = BTreeMap<Box<[u8]>, Edit<'static>>> {
        (1..60u8).prop_map(|to| {
            let names = (0..to).flat_map(|letter| (1..40usize).map(move |length| vec![letter + 40; length]));
            names.map(|name| (name.into(), Edit::Drop)).collect()
        })
    }

    fn rows(connection: &Connection) -> Vec<(Vec<u8>, i64, Vec<u8>)> {
        let sql = "SELECT first, count, records FROM file WHERE folder = x'66' ORDER BY first";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    proptest! {
        #![proptest_config(pure())]

        #[test]
        fn rows_hold_what_a_map_would(rounds in vec(prop_oneof![4 => edits(), 1 => first_names_go()], 1..8)) {
            let connection = connection();
            let mut expected: BTreeMap<Vec<u8>, Record> = BTreeMap::new();
            for edits in rounds {
                let mut pending = Pending::default();
                edits.iter().rev().for_each(|(name, edit)| {
                    pending.add(&Change { folder: b"f", name, edit: edit.clone() });
                });
                edit(&connection, &pending.in_order()).unwrap();
                for (name, edit) in edits {
                    match edit {
                        Edit::Put(packed) => { expected.insert(name.into(), Record::unpack(&packed).unwrap()); }
                        Edit::Confirm(time) => {
                            if let Some(record) = expected.get_mut(name.as_ref()) { record.confirmed = time; }
                        }
                        Edit::Drop => { expected.remove(name.as_ref()); }
                    }
                }
                let mut found = BTreeMap::new();
                let mut last: Option<Vec<u8>> = None;
                for (first, count, row) in rows(&connection) {
                    let names: Vec<&[u8]> = Packed::of(&row).map(|(name, _)| name).collect();
                    prop_assert_eq!(names.len() as i64, count);
                    prop_assert!(row.len() < 2 * MOST_BYTES, "{}", row.len());
                    prop_assert!(names.iter().all(|name| *name >= first.as_slice()));
                    prop_assert!(names.is_sorted());
                    prop_assert!(last.as_ref().is_none_or(|last| last.as_slice() < names[0]), "rows overlap");
                    last = names.last().map(|name| name.to_vec());
                    found.extend(Packed::of(&row).map(|(name, packed)| (name.to_vec(), Record::unpack(packed).unwrap())));
                }
                prop_assert_eq!(&found, &expected);
                for name in expected.keys() {
                    let (_, row) = row_for(&connection, b"f", name).unwrap().unwrap();
                    prop_assert!(Packed::of(&row).any(|(at, _)| at == name.as_slice()));
                }
            }
        }
    }

    #[test]
    fn a_damaged_row_ends_where_the_damage_is() {
        let mut row = Vec::new();
        append(&mut row, b"a", b"packed");
        append(&mut row, b"b", b"packed");
        row.truncate(row.len() - 3);
        assert_eq!(Packed::of(&row).collect::<Vec<_>>(), [(&b"a"[..], &b"packed"[..])]);
        assert_eq!(Packed::of(&[0xff; 20]).count(), 0);
    }
}
