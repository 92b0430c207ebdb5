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
            let (deleted, changed) = (moved.deleted(), moved.overwritten());
            stake.deleted += deleted;
            stake.changed += changed;
            // A moved folder is compared like any other, and counts there.
            stake.all += deleted.entries + changed.entries + u64::from(moved.kind() != Kind::Folder);
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
        let below_root = self.folders.iter().filter(|folder| !folder.pair.path().is_root());
        stake.all += below_root.count() as u64;
        stake
    }

    /// The largest of what it takes in one way, by the number of entries, and the number of the other ones.
    pub(crate) fn largest(&self, way: Taken, most: usize) -> (Vec<(RelPath, u64)>, u64) {
        let mut largest: Vec<(RelPath, u64)> = Vec::new();
        let mut all = 0;
        self.each_taken(|taken, path, Amount { entries, .. }| {
            if taken == way {
                all += 1;
                let at = largest.partition_point(|(_, others)| *others >= entries);
                if at < most {
                    largest.insert(at, (path.clone(), entries));
                    largest.truncate(most);
                }
            }
        });
        let others = all - largest.len() as u64;
        (largest, others)
    }

    /// What it takes, to be kept.
    pub(crate) fn takes(&self, stake: &Stake, roots: String) -> Takes {
        let mut takes = Takes::of(stake.deleted, stake.changed, roots);
        self.each_taken(|taken, path, _| takes.add(taken, path));
        takes.sorted()
    }

    /// What it takes besides what another plan would take as well.
    pub(crate) fn rest(&self, stake: &Stake, other: &Takes) -> Stake {
        if !other.is_listed {
            let (deleted, changed) = (stake.deleted.less(&other.deleted), stake.changed.less(&other.changed));
            return Stake { deleted, changed, ..*stake };
        }
        let mut rest = Stake { deleted: Amount::default(), changed: Amount::default(), ..*stake };
        self.each_taken(|taken, path, amount| match taken {
            _ if other.has(taken, path) => {}
            Taken::Deleted => rest.deleted += amount,
            Taken::Overwritten => rest.changed += amount,
        });
        rest
    }

    /// Tells of each entry that it deletes, with all below, or overwrites.
    fn each_taken(&self, mut tell: impl FnMut(Taken, &RelPath, Amount)) {
        let mut both = |path: RelPath, deleted: Amount, changed: Amount| {
            for (taken, amount) in [(Taken::Deleted, deleted), (Taken::Overwritten, changed)] {
                if amount.entries > 0 {
                    tell(taken, &path, amount);
                }
            }
        };
        for moved in &self.moves {
            both(moved.path(), moved.deleted(), moved.overwritten());
        }
        for change in &self.changes {
            let (deleted, changed) = (change.deletes(), change.overwrites());
            if deleted.entries + changed.entries > 0 {
                both(change.pair.path().join(&change.name), deleted, changed);
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
                Amount { entries: u64::from(!self.stays_itself()) + entries, bytes: below.bytes }
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

    /// The entry whose content it overwrites with another one, with the bytes of the larger one of the two: a file that was
    /// cut short loses as much as one that was written anew.
    fn overwrites(&self) -> Amount {
        let new = if self.kind == Kind::File { self.size } else { 0 };
        let bytes = new.max(self.weight.old_size);
        match self.action {
            Action::Replace(Verb::Update | Verb::Retype) => Amount { entries: 1, bytes },
            // By the times alone it may as well be an older source; only the index knows the content.
            Action::Replace(Verb::Repair) if self.recorded.is_none() => Amount { entries: 1, bytes },
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
    /// The entries that are deleted because it takes their place.
    fn deleted(&self) -> Amount {
        let below = self.displaced.as_ref().and_then(|displaced| displaced.subtree.as_ref());
        Amount { entries: self.deletes(), bytes: below.map_or(0, |counted| counted.subtree().bytes) }
    }

    /// The entry that a moved file replaces, as an update would.
    fn overwritten(&self) -> Amount {
        match &self.displaced {
            Some(displaced) if self.deletes() == 0 => {
                Amount { entries: 1, bytes: self.seen.size.max(displaced.size) }
            }
            Some(_) | None => Amount::default(),
        }
    }
}
