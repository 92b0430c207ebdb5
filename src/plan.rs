//! The plan: the changes that make the replica match. A dry run prints it, apply carries it out.

mod moves;
pub(crate) mod room;
mod stake;
mod subtree;
pub(crate) mod weight;

pub(crate) use moves::{Displaced, Move, Moved};
pub(crate) use subtree::SubtreeTotals;

use crate::capabilities::Filesystem;
use crate::fs::dir::Dir;
use crate::identity::Identity;
use crate::model::change::Differences;
use crate::model::change::{Operation, Verb};
use crate::model::counters::{Counter, Counts};
use crate::model::digest::Digest;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::path::RelPath;
use crate::plan::weight::{Linked, Weight, freed};
use rayon::slice::ParallelSliceMut;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A folder that both trees have.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The folder in the source; none in the one case where a folder of the replica alone is emptied entry by entry,
    /// because the log file lies in it.
    pub source: Option<Arc<Dir>>,
    /// The folder in the replica; none in a dry run without a replica.
    pub replica: Option<Arc<Dir>>,
    /// The filesystem of the replica's folder.
    pub filesystem: Arc<Filesystem>,
    /// The relation of this folder to the protected log file.
    pub protected: Protected,
}

impl Pair {
    /// The path below the roots.
    pub(crate) fn path(&self) -> RelPath {
        self.source.as_ref().or(self.replica.as_ref()).map(|dir| dir.path()).unwrap_or_default()
    }

    /// The order of two pairs by their paths, without building the paths.
    fn compare_paths(&self, other: &Pair) -> std::cmp::Ordering {
        let dir = |pair: &'_ Pair| pair.source.clone().or_else(|| pair.replica.clone());
        match (dir(self), dir(other)) {
            (Some(one), Some(other)) => one.compare_paths(&other),
            (one, other) => one.is_some().cmp(&other.is_some()),
        }
    }

    /// The number of folders above this one.
    pub(crate) fn depth(&self) -> usize {
        self.source.as_ref().or(self.replica.as_ref()).map(|dir| dir.depth()).unwrap_or_default()
    }
}

/// The relation of a folder to the protected path, which is neither copied nor deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protected {
    /// The protected path is not at or below it.
    No,
    /// The folder is on the protected path, below so many of its names.
    Ancestor(usize),
}

/// The action at one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Create the source's entry.
    Create,
    /// Replace the replica's entry; the verb is update, repair or retype.
    Replace(Verb),
    /// Replace it by a copy of this user's own: its content is right, but only another user may set its metadata.
    Reown,
    /// Make it a hard link of the path with the same content. `same` says that its own content is right already, so
    /// that it may stay where linking is impossible.
    Link {
        /// See above.
        same: bool,
    },
    /// Set metadata only.
    SetMetadata(Differences),
    /// Remove it, with everything below.
    Delete,
}

impl Change {
    /// The same change, of an entry that the replica has.
    pub(crate) fn instead_of(self, old: &Entry) -> Change {
        let old_size = if old.kind == Kind::File { old.size } else { 0 };
        let weight = Weight { freed: freed(old).into(), old_size, ..self.weight };
        Change { expected: Some(old.id), weight, ..self }
    }
}

impl Action {
    /// Its verb.
    pub(crate) fn verb(self) -> Verb {
        match self {
            Action::Create => Verb::Create,
            Action::Replace(verb) => verb,
            Action::Reown => Verb::Update,
            Action::Link { .. } => Verb::Link,
            Action::SetMetadata(_) => Verb::Metadata,
            Action::Delete => Verb::Delete,
        }
    }
}

/// One planned change.
#[derive(Debug)]
pub(crate) struct Change {
    /// The folder it is in.
    pub pair: Arc<Pair>,
    /// The name in that folder.
    pub name: Box<CStr>,
    /// The source's kind (for deletions, the replica's).
    pub kind: Kind,
    /// The action.
    pub action: Action,
    /// Bytes of content, for regular files.
    pub size: u64,
    /// The replica's entry that the survey saw, if any; no other one is replaced.
    pub expected: Option<FileId>,
    /// True when the replica's content could not be read.
    pub replica_unreadable: bool,
    /// The size of the subtree, for folders that are created or deleted.
    pub subtree: Option<Arc<SubtreeTotals>>,
    /// The room that it takes and gives back by itself, without anything below it.
    pub weight: Weight,
    /// The reason, in a few words.
    pub reason: &'static str,
    /// The digest that the source's content has to have, as far as the index knows. Few changes have one, and a plan may have
    /// a million.
    pub recorded: Option<Box<Digest>>,
}

impl Change {
    /// Whether the filter leaves out an entry below the folder of the replica that it removes.
    pub(crate) fn has_excluded(&self) -> bool {
        self.subtree.as_ref().is_some_and(|below| below.excluded.load(Ordering::Relaxed) > 0)
    }

    /// Whether the filter may leave out an entry below the folder of the replica that it removes.
    pub(crate) fn may_have_excluded(&self) -> bool {
        let is_unread = self.subtree.as_ref().is_some_and(|below| below.unread.load(Ordering::Relaxed) > 0);
        self.has_excluded() || is_unread && self.kind != Kind::Folder
    }

    /// Whether it removes what is in a folder and not the folder, because of such an entry.
    pub(crate) fn stays_itself(&self) -> bool {
        self.action == Action::Delete && self.has_excluded()
    }

    /// Whether there is nothing that it removes.
    pub(crate) fn is_void(&self) -> bool {
        let below = self.subtree.as_ref().map(|below| below.subtree()).unwrap_or_default();
        self.stays_itself() && below.files + below.folders == 0
    }
}

/// Metadata of a folder that both sides have.
#[derive(Debug)]
pub(crate) struct FolderChange {
    /// The folder.
    pub pair: Arc<Pair>,
    /// The differences.
    pub differences: Differences,
    /// The facts of the replica's folder.
    pub seen: Entry,
}

/// An entry that the replica lists under another spelling of its name.
#[derive(Debug)]
pub(crate) struct Rename {
    /// The folder it is in.
    pub pair: Arc<Pair>,
    /// Its name in the source, which the replica answers to as well.
    pub name: Box<CStr>,
    /// Its name in the replica's listing.
    pub listed: Box<CStr>,
    /// The source's kind.
    pub kind: Kind,
}

/// A file with several hard links whose content in the replica is right.
#[derive(Debug)]
pub(crate) struct Anchor {
    /// The source's inode.
    pub source: Identity,
    /// The folder of one of its names in the replica.
    pub folder: Arc<Dir>,
    /// That name.
    pub name: Box<CStr>,
    /// The replica's inode.
    pub replica: FileId,
    /// The number of its names that are right already.
    pub names: u32,
}

/// The whole plan of one pass.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Entries that are moved before anything else, sorted by their new path.
    pub moves: Vec<Move>,
    /// Changes, sorted by path once the survey is over.
    pub changes: Vec<Change>,
    /// Entries that are renamed to the name that the source has.
    pub renames: Vec<Rename>,
    /// Folders whose own metadata differs.
    pub folders: Vec<FolderChange>,
    /// The link targets for further hard links.
    pub anchors: Vec<Anchor>,
    /// Files of the source with several names that the replica has under none.
    pub linked: Vec<Linked>,
}

impl Plan {
    /// Sorts the changes by folder and name, without building paths: a folder may have a million changes, and the paths
    /// of a deep chain of folders together are far longer than the chain. In a thread pool all threads sort.
    pub(crate) fn sort(&mut self) {
        let address = |pair: &Arc<Pair>| Arc::as_ptr(pair).addr();
        let mut ranks: BTreeMap<usize, usize> = BTreeMap::new();
        let mut pairs: Vec<&Arc<Pair>> = Vec::new();
        for change in &self.changes {
            ranks.entry(address(&change.pair)).or_insert_with(|| {
                pairs.push(&change.pair);
                0
            });
        }
        pairs.sort_unstable_by(|a, b| a.compare_paths(b));
        for (rank, pair) in pairs.into_iter().enumerate() {
            ranks.insert(address(pair), rank);
        }
        let rank = |change: &Change| ranks.get(&address(&change.pair));
        self.changes.par_sort_unstable_by(|a, b| {
            if Arc::ptr_eq(&a.pair, &b.pair) { a.name.cmp(&b.name) } else { rank(a).cmp(&rank(b)) }
        });
        self.moves.sort_by_cached_key(Move::path);
        self.renames.sort_unstable_by(|a, b| a.pair.compare_paths(&b.pair).then_with(|| a.name.cmp(&b.name)));
        self.folders.sort_unstable_by(|a, b| a.pair.compare_paths(&b.pair));
    }

    /// The counters of a pass that carries it out, with everything below the folders that it creates or deletes.
    /// A new name that becomes a hard link counts as created, with the bytes of its file.
    pub(crate) fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        for change in &self.changes {
            totals[Counter::of(change.action.verb())] += u64::from(!change.stays_itself());
            if let Some(below) = &change.subtree {
                let below = below.subtree();
                // The new entry or else the old one: of the two sides of a retype one may be a folder.
                let is_made = change.kind == Kind::Folder && change.action != Action::Delete;
                let counter = if is_made { Counter::Created } else { Counter::Deleted };
                totals[counter] += below.files + below.folders;
            }
        }
        totals[Counter::Moved] = self.moves.len() as u64;
        totals[Counter::Deleted] += self.moves.iter().map(Move::deletes).sum::<u64>();
        totals[Counter::Renamed] = self.renames.len() as u64;
        totals[Counter::Metadata] += self.folders.len() as u64;
        totals[Counter::BytesToWrite] = self.bytes_to_copy();
        totals
    }

    /// Forgets what is planned in and below these folders of the replica.
    pub(crate) fn forget_below(&mut self, tops: &[Arc<Dir>]) {
        if tops.is_empty() {
            return;
        }
        let is_below = |dir: &Arc<Dir>| tops.iter().any(|top| dir.is_at_or_below(top));
        let stays = |pair: &Pair| !pair.replica.as_ref().is_some_and(is_below);
        self.changes.retain(|change| stays(&change.pair));
        self.renames.retain(|rename| stays(&rename.pair));
        self.folders.retain(|folder| stays(&folder.pair));
        self.anchors.retain(|anchor| !is_below(&anchor.folder));
    }

    /// Whether something below a folder that it creates, deletes or replaces could not be looked at.
    pub(crate) fn has_unread(&self) -> bool {
        let subtrees = self.changes.iter().filter_map(|change| change.subtree.as_ref());
        subtrees.into_iter().any(|below| below.unread.load(Ordering::Relaxed) > 0)
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.moves.is_empty() && self.renames.is_empty() && self.folders.is_empty()
    }

    /// The number of entries that it changes, with those below the folders that it creates or deletes.
    pub(crate) fn entries(&self) -> u64 {
        let below = self.changes.iter().filter_map(|change| change.subtree.as_ref());
        let below = below.map(|counted| counted.subtree()).map(|below| below.files + below.folders);
        let displaced = self.moves.iter().map(Move::deletes).sum::<u64>();
        let changes = self.changes.iter().filter(|change| !change.stays_itself()).count();
        let own = changes + self.moves.len() + self.renames.len() + self.folders.len();
        own as u64 + displaced + below.sum::<u64>()
    }

    /// The numbers of entries that it creates and deletes at and below a path; a mount point itself is not deleted.
    pub(crate) fn turnover_below(&self, top: &RelPath) -> (u64, u64) {
        let (mut created, mut deleted) = (0, 0);
        for displacing in self.moves.iter().filter(|moved| moved.path().is_at_or_below(top)) {
            deleted += displacing.deletes();
        }
        for change in &self.changes {
            let path = change.pair.path().join(&change.name);
            if !path.is_at_or_below(top) {
                continue;
            }
            let below = change.subtree.as_ref().map_or(0, |counted| {
                let below = counted.subtree();
                below.files + below.folders
            });
            match change.action {
                Action::Create => created += 1 + below,
                Action::Delete if path == *top => {}
                Action::Delete => deleted += u64::from(!change.stays_itself()) + below,
                // The new entry or else the old one: one of the two may be a folder.
                Action::Replace(Verb::Retype) if change.kind == Kind::Folder => created += below,
                Action::Replace(Verb::Retype) => deleted += below,
                Action::Replace(_) | Action::Reown | Action::Link { .. } | Action::SetMetadata(_) => {}
            }
        }
        (created, deleted)
    }

    /// The bytes of content that it copies, as far as the survey could see.
    pub(crate) fn bytes_to_copy(&self) -> u64 {
        let copies = self.changes.iter().filter(|change| match change.action {
            Action::Create | Action::Replace(_) | Action::Reown => true,
            Action::Link { .. } | Action::SetMetadata(_) | Action::Delete => false,
        });
        let bytes = copies.map(|change| match (change.kind, &change.subtree) {
            (Kind::File, _) => change.size,
            (Kind::Folder, Some(below)) => below.subtree().bytes,
            (_, _) => 0,
        });
        // Holes count, and several sparse files may be larger than all disks.
        bytes.fold(0, u64::saturating_add)
    }

    /// Reports moves, then every other change in the order of the paths; then renames, and metadata of folders last.
    pub(crate) fn describe(&self, mut tell: impl FnMut(Operation<'_>)) {
        for moved in &self.moves {
            let path = moved.path();
            tell(moved.operation(&path));
            if let Some(displaced) = moved.displaced.as_ref().filter(|_| moved.deletes() > 0) {
                let subtree = displaced.subtree.as_ref().map(|counted| counted.subtree());
                let reason = "the moved one takes its place";
                tell(Operation { subtree, reason, ..Operation::new(Verb::Delete, &path, displaced.kind) });
            }
        }
        for change in &self.changes {
            let path = change.pair.path().join(&change.name);
            let reason = match change.action {
                Action::SetMetadata(differences) => differences.words(),
                Action::Create
                | Action::Replace(_)
                | Action::Reown
                | Action::Link { .. }
                | Action::Delete => change.reason,
            };
            let reason = if change.stays_itself() { "what is excluded in it stays" } else { reason };
            tell(Operation {
                size: (change.kind == Kind::File).then_some(change.size),
                replica_unreadable: change.replica_unreadable,
                subtree: change.subtree.as_ref().map(|counted| counted.subtree()),
                reason,
                ..Operation::new(change.action.verb(), &path, change.kind)
            });
        }
        for rename in &self.renames {
            let (path, from) =
                (rename.pair.path().join(&rename.name), rename.pair.path().join(&rename.listed));
            tell(Operation { renamed_from: Some(&from), ..Operation::new(Verb::Rename, &path, rename.kind) });
        }
        for folder in &self.folders {
            let path = folder.pair.path();
            tell(Operation {
                reason: folder.differences.words(),
                ..Operation::new(Verb::Metadata, &path, Kind::Folder)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::reconcile::tests::file;
    use crate::test_strategies::pair;

    #[test]
    fn a_plan_is_told_in_the_order_of_the_paths_with_all_that_is_known() {
        let root = pair(Filesystem::default());
        let id = FileId { device: 1, inode: 1 };
        let below = |above: &Arc<Pair>, name: &CStr| {
            let replica = above.replica.as_ref().map(|dir| dir.child(name, id));
            Arc::new(Pair {
                source: None,
                replica,
                filesystem: Arc::clone(&above.filesystem),
                protected: Protected::No,
            })
        };
        // A name that sorts before the slash: sorted by their bytes the paths would come in another order.
        let (odd, deep) = (below(&root, c"a-"), below(&below(&root, c"a"), c"b"));
        assert_eq!((root.depth(), odd.depth(), deep.depth()), (0, 1, 2));
        assert_eq!(deep.path().as_bytes(), b"a/b");

        let change = |pair: &Arc<Pair>, name: &CStr, kind, action| Change {
            pair: Arc::clone(pair),
            name: name.into(),
            kind,
            action,
            size: 5,
            expected: None,
            replica_unreadable: false,
            subtree: None,
            weight: Weight::default(),
            reason: "",
            recorded: None,
        };
        let mode = Differences { mode: true, ..Differences::default() };
        let counted =
            SubtreeTotals { files: 1.into(), folders: 2.into(), bytes: 3.into(), ..SubtreeTotals::default() };
        let replaced = change(&deep, c"y", Kind::File, Action::Replace(Verb::Repair));
        let mut plan = Plan {
            changes: vec![
                change(&odd, c"z", Kind::Symlink, Action::Create),
                Change { reason: "content differs", replica_unreadable: true, ..replaced },
                change(&deep, c"x", Kind::File, Action::Link { same: true }),
                change(&root, c"c", Kind::File, Action::Reown),
                Change {
                    subtree: Some(Arc::new(counted)),
                    ..change(&root, c"b", Kind::Folder, Action::Delete)
                },
                change(&root, c"d", Kind::Fifo, Action::SetMetadata(mode)),
            ],
            folders: [&deep, &odd, &root]
                .map(|pair| FolderChange { pair: Arc::clone(pair), differences: mode, seen: file(1) })
                .into(),
            renames: [(&deep, c"z", c"Z"), (&root, c"e", c"E")]
                .map(|(pair, name, listed)| Rename {
                    pair: Arc::clone(pair),
                    name: name.into(),
                    listed: listed.into(),
                    kind: Kind::File,
                })
                .into(),
            anchors: Vec::new(),
            moves: Vec::new(),
            linked: Vec::new(),
        };
        plan.sort();
        // Six changes, two renames, metadata of three folders, and the entries below the one folder; two files are
        // copied.
        assert_eq!((plan.entries(), plan.bytes_to_copy()), (6 + 2 + 3 + 1 + 2, 5 + 5));
        let mut told = Vec::new();
        plan.describe(|operation| {
            let Operation { verb, path, size, replica_unreadable, renamed_from, subtree, reason, .. } =
                operation;
            let reason = renamed_from.map_or_else(|| reason.to_owned(), |from| format!("from {from}"));
            let subtree = subtree.map(|below| (below.files, below.folders, below.bytes));
            told.push(format!("{} {path} {size:?} {replica_unreadable} {subtree:?} {reason}", verb.word()));
        });
        assert_eq!(
            told,
            [
                "delete b None false Some((1, 2, 3)) ",
                "update c Some(5) false None ",
                "metadata d None false None mode",
                "link a/b/x Some(5) false None ",
                "repair a/b/y Some(5) true None content differs",
                "create a-/z None false None ",
                "rename e None false None from E",
                "rename a/b/z None false None from a/b/Z",
                "metadata . None false None mode",
                "metadata a/b None false None mode",
                "metadata a- None false None mode",
            ]
        );
    }

    #[test]
    fn what_comes_and_goes_below_a_path_is_counted() {
        let root = pair(Filesystem::default());
        let id = FileId { device: 1, inode: 1 };
        let below = |above: &Arc<Pair>, name: &CStr| {
            let replica = above.replica.as_ref().map(|dir| dir.child(name, id));
            Arc::new(Pair {
                source: None,
                replica,
                filesystem: Arc::clone(&above.filesystem),
                protected: Protected::No,
            })
        };
        let inner = below(&root, c"m");
        let change = |pair: &Arc<Pair>, name: &CStr, kind, action, subtree: Option<[u64; 2]>| Change {
            pair: Arc::clone(pair),
            name: name.into(),
            kind,
            action,
            size: 5,
            expected: None,
            replica_unreadable: false,
            subtree: subtree.map(|[files, folders]| {
                Arc::new(SubtreeTotals {
                    files: files.into(),
                    folders: folders.into(),
                    bytes: 9.into(),
                    ..SubtreeTotals::default()
                })
            }),
            weight: Weight::default(),
            reason: "",
            recorded: None,
        };
        let mode = Differences { mode: true, ..Differences::default() };
        let (file, folder) = (Kind::File, Kind::Folder);
        let plan = Plan {
            changes: vec![
                change(&root, c"m", folder, Action::Delete, None),
                change(&inner, c"a", file, Action::Create, None),
                change(&inner, c"b", folder, Action::Create, Some([10, 20])),
                change(&inner, c"c", file, Action::Delete, None),
                change(&inner, c"d", folder, Action::Delete, Some([100, 200])),
                change(&inner, c"e", folder, Action::Replace(Verb::Retype), Some([1000, 2000])),
                change(&inner, c"f", file, Action::Replace(Verb::Retype), Some([10_000, 20_000])),
                change(&inner, c"g", file, Action::Replace(Verb::Update), None),
                change(&inner, c"h", file, Action::Reown, None),
                change(&inner, c"i", file, Action::Link { same: false }, None),
                change(&inner, c"j", file, Action::SetMetadata(mode), None),
                change(&root, c"mm", folder, Action::Create, Some([100_000, 0])),
                change(&root, c"n", folder, Action::Delete, Some([200_000, 0])),
            ],
            ..Plan::default()
        };
        let at = |path: &[u8]| plan.turnover_below(&RelPath::from_bytes(path.to_vec()));
        let created = 1 + (1 + 10 + 20) + (1000 + 2000);
        let deleted = 1 + (1 + 100 + 200) + (10_000 + 20_000);
        assert_eq!(at(b"m"), (created, deleted), "the mount point itself is not deleted");
        assert_eq!(at(b""), (created + 100_001, deleted + 1 + 200_001));
        assert_eq!(at(b"m/d"), (0, 0), "itself");
        assert_eq!(at(b"elsewhere"), (0, 0));
    }
}
