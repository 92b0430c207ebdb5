//! Counts a subtree that is on one side only, for the plan; it is never expanded in memory. Entries that are left out
//! of its creation, or survive its deletion, are not counted.

use crate::capabilities::Filesystem;
use crate::context::Context;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::stat;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::plan::{Pair, Protected, SubtreeTotals};
use crate::survey::moves::Arrived;
use crate::survey::{CHUNK, Survey};
use crate::walk::{ProtectedNames, Standing, is_kept_mount, left_out, protected_of_folder, standing};
use rayon::Scope;
use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The number of source entries below a folder that a replica on this filesystem can have: an entry that a plan leaves
/// out must not look like one that both sides have.
pub(crate) fn total(context: &Context<'_>, dir: Arc<Dir>, filesystem: Arc<Filesystem>) -> u64 {
    let survey = Survey::new(context);
    let counted = Arc::new(SubtreeTotals::default());
    let tree = Tree { side: Side::Source, filesystem, device: 0, counted: Arc::clone(&counted) };
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
}

/// One folder of it.
struct Folder {
    dir: Arc<Dir>,
    listing: Listing,
    protected_names: ProtectedNames,
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
        let counted = Arc::new(SubtreeTotals::default());
        let device = pair.replica.as_ref().map_or(0, |dir| dir.id().device);
        let filesystem = Arc::clone(&pair.filesystem);
        let tree = Arc::new(Tree { side, filesystem, device, counted: Arc::clone(&counted) });
        self.context.workers.spawn(scope, move |scope| self.count(scope, tree, dir, protected));
        Some(counted)
    }

    /// Counts one folder of a subtree. An unreadable folder is not counted; apply reports it.
    fn count<'s>(&'s self, scope: &Scope<'s>, tree: Arc<Tree>, dir: Arc<Dir>, protected: Protected) {
        if self.context.is_halted() {
            return;
        }
        self.context.interrupt.beat();
        let Ok(fd) = dir.open() else { return };
        let Ok(listing) = Listing::read(fd.as_fd()) else { return };
        let protected_names = ProtectedNames::in_folder(self.context, protected, [(fd.as_fd(), &listing)]);
        let (len, folder) = (listing.len(), Folder { dir, listing, protected_names });
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

    fn count_names<'s>(
        &'s self,
        scope: &Scope<'s>,
        tree: &Arc<Tree>,
        (folder, fd): (&Folder, BorrowedFd<'_>),
        names: Range<usize>,
    ) {
        let (mut files, mut folders, mut bytes) = (0, 0, 0);
        for name in names.filter_map(|at| folder.listing.get(at)) {
            if self.context.is_halted() {
                return;
            }
            self.context.interrupt.beat();
            self.context.workers.did_name();
            let Ok(entry) = stat::entry_at(fd, name) else { continue };
            if entry.is_mount {
                self.context.inner_mounts.meet(tree.side, (&folder.dir, name), &entry);
            }
            let Standing::Mirrored(protected) =
                standing(self.context, &folder.protected_names, tree.side, (name, &entry))
            else {
                continue;
            };
            // A source name is a name outside the replica, even where both have the same inode (as after `cp -al`):
            // counted as a replica name it would let that inode be written through.
            match tree.side {
                Side::Source if left_out(&entry, &tree.filesystem).is_some() => continue,
                Side::Replica if is_kept_mount(&entry) || self.moves.has(&entry) => continue,
                Side::Source if self.arrives(scope, tree, (folder, name), &entry, protected) => continue,
                Side::Source if entry.kind != Kind::Folder => self.links.want(&entry),
                Side::Replica if entry.kind != Kind::Folder => {
                    self.links.count_name(Some(&folder.dir), &entry);
                }
                Side::Source | Side::Replica => {}
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
        tree.counted.files.fetch_add(files, Ordering::Relaxed);
        tree.counted.folders.fetch_add(folders, Ordering::Relaxed);
        tree.counted.bytes.fetch_add(bytes, Ordering::Relaxed);
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
