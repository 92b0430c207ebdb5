//! Counts a subtree that is on one side only, for the plan; it is never expanded in memory. Entries that are left out
//! of its creation, or survive its deletion, are not counted.

use crate::capabilities::Filesystem;
use crate::collections::HashSet;
use crate::context::Context;
use crate::filter::Exclusion;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::stat;
use crate::model::counters::{Counter, Tally};
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::error::Side;
use crate::model::room::Room;
use crate::plan::weight::freed;
use crate::plan::{Pair, Protected, SubtreeTotals};
use crate::survey::moves::Arrived;
use crate::survey::{CHUNK, Survey};
use crate::walk::{
    FolderRules, ListedFolder, Standing, is_kept_mount, left_out, protected_of_folder, standing,
};
use rayon::Scope;
use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of source entries below a folder that a replica on this filesystem can have: an entry that a plan leaves
/// out must not look like one that both sides have.
pub(crate) fn total(context: &Context<'_>, dir: Arc<Dir>, filesystem: Arc<Filesystem>) -> u64 {
    let survey = Survey::new(context);
    let tree = Tree { is_told: false, ..Tree::new(Side::Source, filesystem, 0, &dir) };
    let counted = Arc::clone(&tree.counted);
    context.workers.scope(|scope| survey.count(scope, Arc::new(tree), dir, Protected::No));
    let below = counted.subtree();
    below.files + below.folders
}

/// A subtree that one side has.
struct Tree {
    side: Side,
    /// The filesystem of the replica's folder that it is in, or is going to be in.
    filesystem: Arc<Filesystem>,
    /// The device of that folder.
    device: u64,
    counted: Arc<SubtreeTotals>,
    /// Whether what is left out is told, and counted.
    is_told: bool,
    /// The number of folders above its top, and those below the top that stay.
    depth: usize,
    kept: Mutex<HashSet<FileId>>,
}

impl Tree {
    fn new(side: Side, filesystem: Arc<Filesystem>, device: u64, top: &Dir) -> Tree {
        let counted = Arc::new(SubtreeTotals::default());
        Tree { side, filesystem, device, counted, is_told: true, depth: top.depth(), kept: Mutex::default() }
    }

    /// Counts a folder, and those above it up to the top, as staying.
    fn keep_above(&self, folder: &Arc<Dir>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Some(folder);
        while let Some(dir) = next.filter(|dir| dir.depth() > self.depth) {
            if !kept.insert(dir.id()) {
                break;
            }
            self.counted.folders_that_stay.fetch_add(1, Ordering::Relaxed);
            next = dir.parent();
        }
    }
}

/// One folder of it.
struct Folder {
    dir: Arc<Dir>,
    listing: Listing,
    rules: FolderRules,
}

impl Survey<'_> {
    /// Starts counting the entries below a folder that is on one side only; none for any other entry.
    pub(super) fn count_below<'s>(
        &'s self,
        scope: &Scope<'s>,
        side: Side,
        pair: &Pair,
        name: &CStr,
        entry: &Entry,
    ) -> Option<Arc<SubtreeTotals>> {
        let parent = match side {
            Side::Source => &pair.source,
            Side::Replica => &pair.replica,
        };
        // A mount in the replica is never deleted, so its names stay.
        let stays = side == Side::Replica && is_kept_mount(entry);
        let parent = parent.as_ref().filter(|_| entry.kind == Kind::Folder && !stays)?;
        let protected = protected_of_folder(self.context, pair.protected, parent, name);
        let dir = parent.child(name, entry.id);
        let device = pair.replica.as_ref().map_or(0, |dir| dir.id().device);
        let filesystem = Arc::clone(&pair.filesystem);
        let tree = Arc::new(Tree::new(side, filesystem, device, &dir));
        let counted = Arc::clone(&tree.counted);
        self.context.workers.spawn(scope, move |scope| self.count(scope, tree, dir, protected));
        Some(counted)
    }

    /// Counts one folder of a subtree. An unreadable folder is not counted; apply reports it. Whether something in it is
    /// left out is not known then.
    fn count<'s>(&'s self, scope: &Scope<'s>, tree: Arc<Tree>, dir: Arc<Dir>, protected: Protected) {
        if self.context.is_halted() {
            return;
        }
        self.context.interrupt.beat();
        let opened = dir.open().and_then(|fd| Ok((Listing::read(fd.as_fd())?, fd)));
        let Ok((listing, fd)) = opened else {
            tree.counted.unread.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let listed = ListedFolder { dir: &dir, fd: fd.as_fd(), listing: &listing };
        let rules = FolderRules::in_folder(self.context, protected, [listed]);
        let (len, folder) = (listing.len(), Folder { dir, listing, rules });
        let work = move |scope: &Scope<'s>, chunk: Range<usize>| {
            if let Ok(fd) = folder.dir.open() {
                self.count_names(scope, &tree, (&folder, fd.as_fd()), chunk);
            }
        };
        self.context.workers.in_chunks(scope, (len, CHUNK), work, |_| {});
    }

    /// Whether an entry of a new folder is one that the replica has elsewhere. A file is noted, to be looked for later.
    fn arrives<'s>(
        &'s self,
        scope: &Scope<'s>,
        tree: &Tree,
        (folder, name): (&Folder, &CStr),
        entry: &Entry,
        protected: Protected,
    ) -> bool {
        if entry.kind == Kind::File {
            self.arrivals.add(&self.moves, (&folder.dir, name), entry);
        }
        let arrived = Arrived {
            source: &folder.dir,
            name,
            entry,
            pair: None,
            filesystem: &tree.filesystem,
            device: tree.device,
        };
        protected == Protected::No && self.is_moved(scope, arrived, None).is_some()
    }

    /// Notes an entry that the filter leaves out. In the replica the folders above it stay as well.
    fn leave_out(&self, tree: &Tree, folder: &Folder, name: &CStr, exclusion: Exclusion) {
        if !tree.is_told {
            return;
        }
        self.excluded(&folder.dir.path().join(name), exclusion, tree.side == Side::Source);
        if tree.side == Side::Replica {
            self.context.reporter.count(Counter::ExcludedInReplica, 1);
            tree.counted.excluded.fetch_add(1, Ordering::Relaxed);
            tree.keep_above(&folder.dir);
        }
    }

    fn count_names<'s>(
        &'s self,
        scope: &Scope<'s>,
        tree: &Arc<Tree>,
        (folder, fd): (&Folder, BorrowedFd<'_>),
        names: Range<usize>,
    ) {
        let (mut files, mut folders, mut bytes, mut room) = (0, 0, 0, Room::default());
        let len = names.len() as u64;
        let names = names.filter_map(|at| folder.listing.get(at));
        for name in names.filter(|name| self.context.looks_at(|| folder.dir.path(), name)) {
            if self.context.is_halted() {
                return;
            }
            self.context.interrupt.beat();
            self.context.workers.did_name();
            if let Some(exclusion) = folder.rules.excludes_name(self.context, tree.side, name)
                && (tree.side == Side::Source || self.context.filter.protects())
            {
                self.leave_out(tree, folder, name, exclusion);
                continue;
            }
            let Ok(entry) = stat::entry_at(fd, name) else {
                tree.counted.unread.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let stands = standing(self.context, &folder.rules, tree.side, (name, &entry));
            self.note_one_sided((tree.side, &tree.filesystem), &folder.dir, name, (&entry, stands));
            let protected = match stands {
                Standing::Mirrored(protected) => protected,
                Standing::Excluded(exclusion) => {
                    self.leave_out(tree, folder, name, exclusion);
                    continue;
                }
                Standing::Log | Standing::OtherRoot => continue,
            };
            // The replica has no content of such a mount.
            if entry.is_mount && !(tree.side == Side::Source && self.leaves_out_mount(&entry)) {
                self.context.inner_mounts.meet(tree.side, (&folder.dir, name), &entry);
            }
            // A source name is a name outside the replica, even where both have the same inode (as after `cp -al`):
            // counted as a replica name it would let that inode be written through.
            match tree.side {
                Side::Source if left_out(&entry, &tree.filesystem).is_some() => continue,
                Side::Replica if is_kept_mount(&entry) || self.moves.has(&entry) => continue,
                Side::Source if self.arrives(scope, tree, (folder, name), &entry, protected) => continue,
                Side::Source => {
                    let data = self.with_data_only(fd, name, &entry);
                    room += self.want(&data, &tree.filesystem, tree.device);
                }
                Side::Replica if entry.kind != Kind::Folder => {
                    self.links.count_name(Some(&folder.dir), &entry);
                    room += freed(&entry);
                }
                Side::Replica => room += freed(&entry),
            }
            match entry.kind {
                Kind::Folder => {
                    folders += 1;
                    let (tree, child) = (Arc::clone(tree), folder.dir.child(name, entry.id));
                    self.context.workers.spawn(scope, move |scope| self.count(scope, tree, child, protected));
                }
                Kind::File => {
                    files += 1;
                    bytes += entry.size;
                }
                Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
                    files += 1
                }
            }
        }
        self.context.reporter.tally(Tally::Names, len);
        self.context.reporter.tally(Tally::Changes, files + folders);
        tree.counted.files.fetch_add(files, Ordering::Relaxed);
        tree.counted.folders.fetch_add(folders, Ordering::Relaxed);
        tree.counted.bytes.fetch_add(bytes, Ordering::Relaxed);
        tree.counted.room.add(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::registry::Filesystems;
    use crate::context::reporter::Reporter;
    use crate::control::Interrupt;
    use crate::fs::magic::MSDOS;
    use crate::index::Ledger;
    use crate::test_strategies::Deaf;
    use crate::workers::Workers;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_a_replica_never_has_is_not_counted() {
        let scratch = tempfile::tempdir().unwrap();
        let [source, replica] = ["source", "replica"].map(|name| scratch.path().join(name));
        std::fs::create_dir_all(source.join("folder")).unwrap();
        std::fs::create_dir(&replica).unwrap();
        for at in ["1", "2", "folder/3"] {
            std::fs::write(source.join(at), at).unwrap();
        }
        for at in ["4", "5", "6", "folder/7"] {
            symlink("nowhere", source.join(at)).unwrap();
        }
        let _socket = UnixListener::bind(source.join("socket")).unwrap();
        let (interrupt, filesystems) = (Interrupt::new(), Filesystems::default());
        let workers = Workers::new(2, 2).unwrap();
        let [from, to] = [&source, &replica].map(|path| Dir::root(path, 4).unwrap());
        let roots = ((source.as_path(), from.clone()), (replica.as_path(), Some(to)));
        let context = Context::new(
            Reporter::new(&Deaf, 1, Ledger::off()),
            (&interrupt, &workers),
            roots.0,
            roots.1,
            (&filesystems, None),
        );
        assert_eq!(total(&context, Arc::clone(&from), Arc::default()), 8);
        // The guard compares the sizes of source and replica: links must not count as kept.
        assert_eq!(total(&context, from, Arc::new(Filesystem::of_type(MSDOS))), 4);
    }
}
