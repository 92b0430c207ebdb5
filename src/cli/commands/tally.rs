//! The entries and bytes of the changes of a plan, by verb.

use crate::model::change::{Operation, Subtree, Verb};
use crate::model::entry::Kind;
use serde::Serialize;
use std::collections::BTreeMap;

/// The size of some changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// The number of changes: of lines.
    pub changes: u64,
    /// Entries, with everything below folders that are created or deleted.
    pub entries: u64,
    /// Bytes of contents that are written, deleted or moved; none where no content is touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Tally {
    /// Adds one change.
    pub(super) fn add(&mut self, entries: u64, bytes: Option<u64>) {
        self.changes += 1;
        self.entries += entries;
        if let Some(bytes) = bytes {
            // Sparse files may be larger than all disks.
            self.bytes = Some(self.bytes.unwrap_or(0).saturating_add(bytes));
        }
    }
}

/// The sizes of all changes, by verb.
#[derive(Debug, Default)]
pub(super) struct Tallies(BTreeMap<Verb, Tally>);

impl Tallies {
    /// Adds one change.
    pub(super) fn add(&mut self, operation: &Operation<'_>) {
        let tally = self.0.entry(operation.verb).or_default();
        tally.add(entries(operation), bytes(operation));
    }

    /// The verbs that the plan has, in the order of [`Verb::ALL`].
    pub(super) fn all(&self) -> impl Iterator<Item = (Verb, Tally)> {
        Verb::ALL.into_iter().filter_map(|verb| Some((verb, *self.0.get(&verb)?)))
    }
}

/// The number of entries of a change, with those below its folder.
pub(super) fn entries(operation: &Operation<'_>) -> u64 {
    let Subtree { folders, files, .. } = operation.subtree.unwrap_or_default();
    1 + folders + files
}

/// The bytes of contents that a change writes, deletes or moves; none where no content is touched.
pub(super) fn bytes(operation: &Operation<'_>) -> Option<u64> {
    let below = || operation.subtree.map_or(0, |below| below.bytes);
    match operation.verb {
        Verb::Create | Verb::Update | Verb::Repair | Verb::Delete => {
            operation.size.or_else(|| Some(below()).filter(|_| operation.kind == Kind::Folder))
        }
        // What is below it goes, unless the new entry is a folder.
        Verb::Retype if operation.kind == Kind::Folder => Some(below()),
        Verb::Retype | Verb::Move => operation.size,
        Verb::Rename | Verb::Link | Verb::Metadata => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::path::RelPath;

    #[test]
    fn a_folder_counts_with_everything_below_it_and_metadata_have_no_bytes() {
        let path = RelPath::from_bytes(b"a".to_vec());
        let below = Some(Subtree { folders: 1, files: 2, bytes: 30 });
        let mut tallies = Tallies::default();
        let file = |verb| Operation { size: Some(5), ..Operation::new(verb, &path, Kind::File) };
        let folder = |verb| Operation { subtree: below, ..Operation::new(verb, &path, Kind::Folder) };
        for operation in [
            file(Verb::Create),
            folder(Verb::Create),
            Operation::new(Verb::Create, &path, Kind::Symlink),
            file(Verb::Metadata),
            folder(Verb::Delete),
            folder(Verb::Retype),
            // A file takes the place of a folder.
            Operation { subtree: below, ..file(Verb::Retype) },
            Operation::new(Verb::Move, &path, Kind::Folder),
        ] {
            tallies.add(&operation);
        }
        let tally = |changes, entries, bytes| Tally { changes, entries, bytes };
        let expected = [
            (Verb::Create, tally(3, 6, Some(35))),
            (Verb::Move, tally(1, 1, None)),
            (Verb::Retype, tally(2, 8, Some(35))),
            (Verb::Metadata, tally(1, 1, None)),
            (Verb::Delete, tally(1, 4, Some(30))),
        ];
        assert_eq!(tallies.all().collect::<Vec<_>>(), expected);
    }
}
