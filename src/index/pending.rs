//! Changes of records that wait to be written, packed into one buffer: of a first copy there are as many as files.

use crate::index::record::Record;
use crate::index::rows::{Change, Edit};
use std::ops::Range;

/// The changes, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Paths of folders, names, and packed records.
    bytes: Vec<u8>,
    changes: Vec<Made>,
}

/// A change, as places in the buffer.
#[derive(Clone, Debug)]
struct Made {
    folder: Range<u32>,
    name: Range<u32>,
    edit: MadeEdit,
}

#[derive(Clone, Debug)]
enum MadeEdit {
    Put(Range<u32>),
    Confirm(i64),
    Drop,
}

/// The number of changes back that are looked at for the same folder: each worker is in another one.
const LOOK_BACK: usize = 4;

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// The bytes of paths, names and records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Drops all changes, and keeps the memory for the next ones.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.changes.clear();
    }

    /// Adds: write this record.
    pub(super) fn put(&mut self, folder: &[u8], name: &[u8], record: &Record) {
        let (folder, name) = (self.folder(folder), self.append(name));
        let start = self.end();
        record.pack(&mut self.bytes);
        self.changes.push(Made { folder, name, edit: MadeEdit::Put(start..self.end()) });
    }

    /// Adds a change.
    pub(super) fn add(&mut self, Change { folder, name, edit }: &Change<'_>) {
        let (folder, name) = (self.folder(folder), self.append(name));
        let edit = match edit {
            Edit::Put(packed) => MadeEdit::Put(self.append(packed)),
            Edit::Confirm(time) => MadeEdit::Confirm(*time),
            Edit::Drop => MadeEdit::Drop,
        };
        self.changes.push(Made { folder, name, edit });
    }

    /// The place of the path of a folder, which is written once for changes that follow each other.
    fn folder(&mut self, folder: &[u8]) -> Range<u32> {
        let mut last = self.changes.iter().rev().take(LOOK_BACK).map(|change| &change.folder);
        match last.find(|place| self.at(place) == folder) {
            Some(place) => place.clone(),
            None => self.append(folder),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.end();
        self.bytes.extend_from_slice(bytes);
        start..self.end()
    }

    /// Whoever adds changes has them written long before 4 GiB.
    fn end(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn at(&self, Range { start, end }: &Range<u32>) -> &[u8] {
        self.bytes.get(*start as usize..*end as usize).unwrap_or_default()
    }

    /// The changes in the order in which they were made.
    pub(super) fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.changes.iter().map(|Made { folder, name, edit }| Change {
            folder: self.at(folder),
            name: self.at(name),
            edit: match edit {
                MadeEdit::Put(packed) => Edit::Put(self.at(packed).into()),
                MadeEdit::Confirm(time) => Edit::Confirm(*time),
                MadeEdit::Drop => Edit::Drop,
            },
        })
    }

    /// The changes in the order of folders and names; several of one name have become one.
    pub(super) fn in_order(&self) -> Vec<Change<'_>> {
        let mut changes: Vec<Change<'_>> = self.iter().collect();
        changes.sort_by(|one, other| {
            // Mostly the same bytes.
            let is_same = std::ptr::eq(one.folder, other.folder);
            let folders = if is_same { std::cmp::Ordering::Equal } else { one.folder.cmp(other.folder) };
            folders.then_with(|| one.name.cmp(other.name))
        });
        changes.dedup_by(|next, before| {
            let is_same = (next.folder, next.name) == (before.folder, before.name);
            if is_same {
                before.edit = std::mem::replace(&mut before.edit, Edit::Drop)
                    .then(std::mem::replace(&mut next.edit, Edit::Drop));
            }
            is_same
        });
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::record::tests::record;
    use crate::test_strategies::pure;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What a folder and a name end as.
    #[derive(Clone, Debug, PartialEq)]
    enum End {
        Put(Record),
        Confirm(i64),
        Drop,
    }

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![
            3 => record().prop_map(End::Put),
            2 => any::<i64>().prop_map(End::Confirm),
            1 => Just(End::Drop),
        ]
    }

    proptest! {
        #![proptest_config(pure())]

        #[test]
        fn changes_come_out_as_a_map_would_have_them(
            made in vec(("[ab/]{0,3}", "[a-d]{1,2}", end()), 0..80),
        ) {
            let mut pending = Pending::default();
            let mut expected: BTreeMap<(String, String), End> = BTreeMap::new();
            for (folder, name, end) in made {
                let (at, called) = (folder.as_bytes(), name.as_bytes());
                match &end {
                    End::Put(record) => pending.put(at, called, record),
                    End::Confirm(time) => pending.add(&Change { folder: at, name: called, edit: Edit::Confirm(*time) }),
                    End::Drop => pending.add(&Change { folder: at, name: called, edit: Edit::Drop }),
                }
                let before = expected.remove(&(folder.clone(), name.clone()));
                let after = match (before, end) {
                    (Some(End::Put(record)), End::Confirm(confirmed)) => End::Put(Record { confirmed, ..record }),
                    (Some(End::Drop), End::Confirm(_)) => End::Drop,
                    (_, end) => end,
                };
                expected.insert((folder, name), after);
            }
            // Through another one, as the changes of a folder are handed over.
            let mut all = Pending::default();
            pending.iter().for_each(|change| all.add(&change));
            let found = all.in_order();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let found = found.iter().map(|Change { folder, name, edit }| {
                let end = match edit {
                    Edit::Put(packed) => End::Put(Record::unpack(packed).unwrap()),
                    Edit::Confirm(time) => End::Confirm(*time),
                    Edit::Drop => End::Drop,
                };
                ((text(folder), text(name)), end)
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
