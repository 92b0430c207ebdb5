//! What a plan takes from the replica: the numbers that the guard judges.

use crate::model::change::Verb;
use crate::model::entry::Kind;
use crate::model::limit::{Amount, Stake};
use crate::model::path::RelPath;
use crate::model::takes::{Taken, Takes};
use crate::plan::{Action, Change, Move, Plan};

impl Plan {
    /// What it takes from a replica in which so many entries are as they have to be.
    pub(crate) fn stake(&self, unchanged: u64) -> Stake {
        let mut stake = Stake { all: unchanged, ..Stake::default() };
        for moved in &self.moves {
            stake.deleted += Amount { entries: moved.deletes(), bytes: moved.deleted_bytes() };
            stake.all += 1;
        }
        for change in &self.changes {
            let (deleted, changed) = (change.deletes(), change.overwrites());
            stake.deleted += deleted;
            stake.changed += changed;
            stake.created += change.creates();
            let is_there = change.action != Action::Create && change.expected.is_some();
            // A deletion counts itself.
            stake.all += u64::from(is_there && change.action != Action::Delete) + deleted.entries;
        }
        stake.all += self.folders.len() as u64;
        stake
    }

    /// The largest of what it takes, by the number of entries, and the number of the other ones.
    pub(crate) fn largest(&self, most: usize) -> (Vec<(RelPath, u64)>, u64) {
        let mut largest: Vec<(RelPath, u64)> = Vec::new();
        let mut all = 0;
        self.each_taken(|_, path, entries| {
            all += 1;
            let at = largest.partition_point(|(_, others)| *others >= entries);
            if at < most {
                largest.insert(at, (path.clone(), entries));
                largest.truncate(most);
            }
        });
        let others = all - largest.len() as u64;
        (largest, others)
    }

    /// What it takes, to be kept.
    pub(crate) fn takes(&self, stake: &Stake) -> Takes {
        let mut takes = Takes::of(stake.deleted, stake.changed);
        self.each_taken(|taken, path, _| takes.add(taken, path));
        takes.sorted()
    }

    /// Whether it takes nothing that another plan would not.
    pub(crate) fn is_within(&self, stake: &Stake, other: &Takes) -> bool {
        let mut is_within =
            stake.deleted.is_within(&other.deleted) && stake.changed.is_within(&other.changed);
        if is_within {
            self.each_taken(|taken, path, _| is_within &= other.has(taken, path));
        }
        is_within
    }

    /// Tells of each entry that it deletes, with all below, or overwrites: the path, and the number of entries.
    fn each_taken(&self, mut tell: impl FnMut(Taken, &RelPath, u64)) {
        for moved in self.moves.iter().filter(|moved| moved.deletes() > 0) {
            tell(Taken::Deleted, &moved.path(), moved.deletes());
        }
        for change in &self.changes {
            let (deleted, changed) = (change.deletes().entries, change.overwrites().entries);
            if deleted + changed > 0 {
                let path = change.pair.path().join(&change.name);
                if deleted > 0 {
                    tell(Taken::Deleted, &path, deleted);
                }
                if changed > 0 {
                    tell(Taken::Overwritten, &path, changed);
                }
            }
        }
    }
}

impl Change {
    /// The entries that it creates.
    fn creates(&self) -> u64 {
        let below = self.subtree.as_ref().map_or(0, |counted| {
            let below = counted.subtree();
            below.files + below.folders
        });
        match self.action {
            Action::Create => 1 + below,
            Action::Replace(Verb::Retype) if self.kind == Kind::Folder => below,
            Action::Link { .. } if self.expected.is_none() => 1,
            Action::Replace(_)
            | Action::Reown
            | Action::Link { .. }
            | Action::SetMetadata(_)
            | Action::Delete => 0,
        }
    }

    /// The entries that it deletes.
    fn deletes(&self) -> Amount {
        let below = self.subtree.as_ref().map(|counted| counted.subtree()).unwrap_or_default();
        let entries = below.files + below.folders;
        match self.action {
            Action::Delete if self.kind == Kind::Folder => {
                Amount { entries: 1 + entries, bytes: below.bytes }
            }
            Action::Delete => Amount { entries: 1, bytes: self.size },
            // The new entry or else the old one: one of the two may be a folder.
            Action::Replace(Verb::Retype) if self.kind != Kind::Folder => {
                Amount { entries, bytes: below.bytes }
            }
            Action::Create
            | Action::Replace(_)
            | Action::Reown
            | Action::Link { .. }
            | Action::SetMetadata(_) => Amount::default(),
        }
    }

    /// The entry whose content it overwrites with another one, with the bytes of the new content.
    fn overwrites(&self) -> Amount {
        let bytes = if self.kind == Kind::File { self.size } else { 0 };
        match self.action {
            Action::Replace(Verb::Update | Verb::Retype) => Amount { entries: 1, bytes },
            Action::Link { same: false } if self.expected.is_some() => Amount { entries: 1, bytes },
            Action::Create
            | Action::Replace(_)
            | Action::Reown
            | Action::Link { .. }
            | Action::SetMetadata(_)
            | Action::Delete => Amount::default(),
        }
    }
}

impl Move {
    /// The bytes of the files that are deleted because it takes their place.
    fn deleted_bytes(&self) -> u64 {
        let below = self.displaced.as_ref().and_then(|displaced| displaced.subtree.as_ref());
        below.map_or(0, |counted| counted.subtree().bytes)
    }
}
