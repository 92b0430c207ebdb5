//! The room that a plan needs on each filesystem of the replica: never more than it really takes, with the most that its
//! deletions can free. A plan is held only for what certainly does not fit.
//!
//! The balance is that of the end of the pass: a copy that finds no room before the deletions is tried once more after
//! them. While a file is replaced, its old version and its new one exist both; where only that does not fit, the file
//! alone is a problem, and everything else is mirrored.

use crate::collections::HashSet;
use crate::fs::dir::Dir;
use crate::model::change::Verb;
use crate::model::entry::{FileId, Kind};
use crate::model::room::Room;
use crate::plan::{Action, Change, Plan};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The room that a plan needs and frees on one filesystem of the replica.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// A folder on it; none where the replica is missing.
    pub folder: Option<Arc<Dir>>,
    /// The least that the new entries and contents need.
    pub needed: Room,
    /// The most that the deletions and replacements free.
    pub freed: Room,
}

impl Plan {
    /// The room that it needs, by the devices of the replica's folders.
    pub(crate) fn demands(&self) -> BTreeMap<u64, Demand> {
        let mut demands: BTreeMap<u64, Demand> = BTreeMap::new();
        let mut at = |folder: Option<&Arc<Dir>>, needed: Room, freed: Room| {
            let demand = demands.entry(folder.map_or(0, |dir| dir.id().device)).or_default();
            demand.needed += needed;
            demand.freed += freed;
            if demand.folder.is_none() {
                demand.folder = folder.map(Arc::clone);
            }
        };
        for change in &self.changes {
            let (needed, freed) = change.room();
            at(change.pair.replica.as_ref(), needed, freed);
        }
        for moved in &self.moves {
            if let Some(displaced) = &moved.displaced {
                let mut freed = displaced.freed;
                freed += displaced.subtree.as_ref().map(|below| below.room.room()).unwrap_or_default();
                at(Some(&moved.from), Room::default(), freed);
            }
        }
        let moved: HashSet<FileId> = self.moves.iter().map(|moved| moved.seen.id).collect();
        for linked in self.linked.iter().filter(|linked| !moved.contains(&linked.file)) {
            if let Some(demand) = demands.get_mut(&linked.device) {
                demand.needed += linked.needed;
            }
        }
        demands
    }
}

impl Change {
    /// The room that it needs and frees, with everything below it.
    fn room(&self) -> (Room, Room) {
        let (mut needed, mut freed) = (self.weight.needed.room(), self.weight.freed.room());
        let below = self.subtree.as_ref().map(|below| below.room.room()).unwrap_or_default();
        match self.action {
            Action::Create => {
                needed += below;
                (needed, Room::default())
            }
            // The new entry or else the old one: one of the two may be a folder.
            Action::Replace(Verb::Retype) if self.kind == Kind::Folder => {
                needed += below;
                (needed, freed)
            }
            Action::Replace(_) | Action::Reown => {
                freed += below;
                (needed, freed)
            }
            // A new name of a file that is there, or is copied by another change.
            Action::Link { .. } => (Room::default(), freed),
            Action::SetMetadata(_) => (Room::default(), Room::default()),
            Action::Delete => {
                freed += below;
                (Room::default(), freed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::Filesystem;
    use crate::plan::weight::{Linked, Weight};
    use crate::plan::{Pair, SubtreeTotals};
    use crate::test_strategies::pair;

    #[test]
    fn each_kind_of_change_needs_and_frees_its_own() {
        let root = pair(Filesystem::default());
        let room = |bytes| Room { bytes, inodes: bytes / 2 };
        let one = |bytes| Room { bytes, inodes: 1 }.into();
        let change = |pair: &Arc<Pair>, kind, action, below: u64| Change {
            pair: Arc::clone(pair),
            name: c"a".into(),
            kind,
            action,
            size: 0,
            expected: None,
            replica_unreadable: false,
            subtree: (below > 0).then(|| {
                let totals = SubtreeTotals::default();
                totals.room.add(room(below));
                Arc::new(totals)
            }),
            weight: Weight { needed: one(1), freed: one(10), old_size: 0 },
            reason: "",
            recorded: None,
        };
        let (retype, update) = (Action::Replace(Verb::Retype), Action::Replace(Verb::Update));
        for (kind, action, below, expected) in [
            (Kind::File, Action::Create, 0, (1, 0)),
            (Kind::Folder, Action::Create, 100, (101, 0)),
            (Kind::Folder, retype, 100, (101, 10)),
            (Kind::File, retype, 100, (1, 110)),
            (Kind::File, update, 0, (1, 10)),
            (Kind::File, Action::Reown, 0, (1, 10)),
            (Kind::File, Action::Link { same: false }, 0, (0, 10)),
            (Kind::File, Action::SetMetadata(Default::default()), 0, (0, 0)),
            (Kind::Folder, Action::Delete, 100, (0, 110)),
        ] {
            let plan = Plan { changes: vec![change(&root, kind, action, below)], ..Plan::default() };
            let demands = plan.demands();
            let demand = demands.values().next().unwrap();
            let found = (demand.needed.bytes, demand.freed.bytes);
            assert_eq!((demands.len(), found), (1, expected), "{kind:?} {action:?}");
            let inodes = |bytes: u64| bytes / 100 * 50 + u64::from(!bytes.is_multiple_of(100));
            let expected = (inodes(expected.0), inodes(expected.1));
            assert_eq!((demand.needed.inodes, demand.freed.inodes), expected, "{kind:?} {action:?}");
        }
        let device = root.replica.as_ref().unwrap().id().device;
        let file = FileId { device: 1, inode: 1 };
        let linked = [device, device + 1].map(|device| Linked { file, device, needed: room(1000) });
        let changes = vec![change(&root, Kind::File, Action::Create, 0)];
        let plan = Plan { changes, linked: linked.into(), ..Plan::default() };
        assert_eq!(plan.demands()[&device].needed, Room { bytes: 1001, inodes: 501 });
    }
}
