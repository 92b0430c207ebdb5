//! Folders inside a tree, open or ready to be opened again.
//!
//! A [`Dir`] remembers its parent, its name and the identity (device and inode) it was seen with. Its descriptor is
//! opened when needed and may be closed behind its back: the number of descriptors stays bounded however deep or wide
//! the tree is. Opening again goes down from the nearest ancestor that is still open, one name at a time with
//! `O_NOFOLLOW`, and checks the identity of every folder on the way, so it can only reach the same folder.

use crate::fs::stat::{entry_at, entry_of, is_append_only};
use crate::fs::{is_denial, retry_absence};
use crate::model::entry::{Entry, FileId};
use crate::model::path::RelPath;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// One folder of a tree.
#[derive(Debug)]
pub(crate) struct Dir {
    place: Place,
    id: FileId,
    handle: Mutex<Option<Arc<OwnedFd>>>,
    handles: Arc<Handles>,
    append_only: OnceLock<bool>,
}

/// The place of a folder in its tree, and the next one once it was moved: references to the earlier ones stay valid.
#[derive(Debug)]
struct Place {
    parent: Option<Arc<Dir>>,
    name: Box<CStr>,
    next: OnceLock<Box<Place>>,
}

impl Place {
    /// The parents of this place and of the later ones.
    fn take_parents(&mut self) -> Vec<Arc<Dir>> {
        let mut parents = Vec::new();
        parents.extend(self.parent.take());
        let mut next = self.next.take();
        while let Some(mut place) = next {
            parents.extend(place.parent.take());
            next = place.next.take();
        }
        parents
    }

    fn new(parent: Option<Arc<Dir>>, name: Box<CStr>) -> Place {
        Place { parent, name, next: OnceLock::new() }
    }
}

/// The result of a lookup from the root down.
#[derive(Debug)]
pub(crate) enum Found {
    /// The entry is there, with these facts.
    There(Entry),
    /// The folder itself, or one above it, is another one by now.
    Replaced,
    /// A folder that is still in its place says that it lacks this name on the way.
    Denied(Arc<Dir>, Box<CStr>),
}

/// The descriptors of one tree that are kept open, oldest first.
#[derive(Debug)]
struct Handles {
    open: Mutex<VecDeque<Weak<Dir>>>,
    capacity: usize,
}

/// A poisoned lock does not matter: its data is never left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY)
    .union(OFlags::NONBLOCK);

impl Dir {
    /// Opens a root; symbolic links in `path` are followed since the user gave it. At most `capacity` further
    /// descriptors of its tree are kept open.
    ///
    /// # Errors
    /// As `open(2)`; `ENOTDIR` when the path leads to something else than a folder.
    pub(crate) fn root(path: &Path, capacity: usize) -> Result<Arc<Dir>, Errno> {
        let fd = open_folder(CWD, path, FOLDER)?;
        let id = entry_of(fd.as_fd())?.id;
        Ok(Arc::new(Dir {
            place: Place::new(None, CString::default().into_boxed_c_str()),
            id,
            handle: Mutex::new(Some(Arc::new(fd))),
            handles: Arc::new(Handles { open: Mutex::default(), capacity: capacity.max(1) }),
            append_only: OnceLock::new(),
        }))
    }

    /// The folder `name` below this one, which was seen with the identity `id`. It is opened when first used.
    pub(crate) fn child(self: &Arc<Dir>, name: &CStr, id: FileId) -> Arc<Dir> {
        Arc::new(Dir {
            place: Place::new(Some(Arc::clone(self)), name.into()),
            id,
            handle: Mutex::new(None),
            handles: Arc::clone(&self.handles),
            append_only: OnceLock::new(),
        })
    }

    /// The open folder that is called `now` and is going to be called `name`, both below this one. Until it has that
    /// name only the descriptor leads to it, and the cache may close its own copy: hold the returned one.
    ///
    /// # Errors
    /// As `open(2)` and `statx(2)`.
    pub(crate) fn child_to_be(
        self: &Arc<Dir>,
        now: &CStr,
        name: &CStr,
    ) -> Result<(Arc<Dir>, Arc<OwnedFd>), Errno> {
        let fd = open_folder(self.open()?.as_fd(), now, FOLDER.union(OFlags::NOFOLLOW))?;
        let child = self.child(name, entry_of(fd.as_fd())?.id);
        let fd = Arc::new(fd);
        *lock(&child.handle) = Some(Arc::clone(&fd));
        self.handles.remember(&child);
        Ok((child, fd))
    }

    /// Notes that this folder was moved: it is `name` below `parent` now, and what is below it moved with it.
    pub(crate) fn relocate(&self, parent: &Arc<Dir>, name: &CStr) {
        let mut at = &self.place;
        let mut to = Box::new(Place::new(Some(Arc::clone(parent)), name.into()));
        // Only one thread moves folders; if there were two, the later one would come after the other.
        while let Err(refused) = at.next.set(to) {
            to = refused;
            let Some(next) = at.next.get() else { return };
            at = next;
        }
    }

    /// The present place.
    fn place(&self) -> &Place {
        let mut at = &self.place;
        while let Some(next) = at.next.get() {
            at = next;
        }
        at
    }

    /// Whether this is a folder or lies below it.
    pub(crate) fn is_at_or_below(&self, top: &Dir) -> bool {
        std::ptr::eq(self, top)
            || std::iter::successors(self.parent(), |dir| dir.parent()).any(|dir| std::ptr::eq(&**dir, top))
    }

    /// Whether both are of one tree.
    pub(crate) fn is_in_tree_of(&self, other: &Dir) -> bool {
        Arc::ptr_eq(&self.handles, &other.handles)
    }

    /// The identity of this folder when it was seen.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// The parent of this folder; none for the root.
    pub(crate) fn parent(&self) -> Option<&Arc<Dir>> {
        self.place().parent.as_ref()
    }

    /// The name in the parent; empty for the root.
    pub(crate) fn name(&self) -> &CStr {
        &self.place().name
    }

    /// The number of folders above this one.
    pub(crate) fn depth(&self) -> usize {
        std::iter::successors(self.parent(), |dir| dir.parent()).count()
    }

    /// The path below the root.
    pub(crate) fn path(&self) -> RelPath {
        let names: Vec<&[u8]> = self.names().map(CStr::to_bytes).collect();
        RelPath::from_bytes(names.join(&b'/'))
    }

    /// The order of the paths of two folders, name by name from their roots down.
    pub(crate) fn compare_paths(&self, other: &Dir) -> Ordering {
        match (self.parent(), other.parent()) {
            (Some(one), Some(two)) if Arc::ptr_eq(one, two) => self.name().cmp(other.name()),
            (Some(_) | None, Some(_) | None) => self.names().cmp(other.names()),
        }
    }

    /// The names from the root down.
    fn names(&self) -> impl Iterator<Item = &CStr> {
        let mut names = Vec::new();
        let mut at = self;
        loop {
            let Place { parent, name, .. } = at.place();
            let Some(parent) = parent else { break };
            names.push(&**name);
            at = parent;
        }
        names.into_iter().rev()
    }

    /// An open descriptor of this folder.
    ///
    /// # Errors
    /// `ENOENT` when the folder is no longer where it was seen, else as `open(2)`.
    pub(crate) fn open(self: &Arc<Dir>) -> Result<Arc<OwnedFd>, Errno> {
        let mut closed: Vec<&Arc<Dir>> = Vec::new();
        let mut at = self;
        let mut fd = loop {
            if let Some(fd) = lock(&at.handle).as_ref() {
                break Arc::clone(fd);
            }
            closed.push(at);
            at = at.parent().ok_or(Errno::BADF)?;
        };
        for dir in closed.into_iter().rev() {
            fd = dir.open_in(fd.as_fd())?;
        }
        Ok(fd)
    }

    /// As [`Dir::open`], for making temporaries in it.
    ///
    /// # Errors
    /// `EPERM` for an append-only folder (chattr(1)): a temporary could be created there, but neither renamed nor
    /// removed, so that each pass would leave one more.
    pub(crate) fn open_for_temporaries(self: &Arc<Dir>) -> Result<Arc<OwnedFd>, Errno> {
        let fd = self.open()?;
        // Read once in the life of this value, which is one pass.
        if *self.append_only.get_or_init(|| is_append_only(fd.as_fd())) { Err(Errno::PERM) } else { Ok(fd) }
    }

    /// The facts of this folder as they are now.
    ///
    /// # Errors
    /// As [`Dir::open`] and `statx(2)`.
    pub(crate) fn entry(self: &Arc<Dir>) -> Result<Entry, Errno> {
        entry_of(self.open()?.as_fd())
    }

    /// Whether this folder, and every folder above it, can still be reached from the root under its own name.
    ///
    /// # Errors
    /// As [`Dir::open`] and `statx(2)`.
    pub(crate) fn is_in_place(self: &Arc<Dir>) -> Result<bool, Errno> {
        self.find(None).map(|found| match found {
            Found::There(_) => true,
            Found::Replaced | Found::Denied(..) => false,
        })
    }

    /// Looks for this folder, or for a name in it, from the root down.
    ///
    /// # Errors
    /// As [`Dir::open`] and `statx(2)`, but not for absence.
    pub(crate) fn find(self: &Arc<Dir>, name: Option<&CStr>) -> Result<Found, Errno> {
        let mut chain: Vec<&Arc<Dir>> = std::iter::successors(Some(self), |dir| dir.parent()).collect();
        chain.reverse();
        let mut above: Option<&Arc<Dir>> = None;
        let mut last = None;
        for dir in chain {
            let Some(parent) = above.replace(dir) else { continue };
            match parent.open().and_then(|fd| entry_at(fd.as_fd(), dir.name())) {
                Ok(entry) if entry.id == dir.id() => last = Some(entry),
                Ok(_) => return Ok(Found::Replaced),
                Err(errno) if is_denial(errno) => {
                    return Ok(Found::Denied(Arc::clone(parent), dir.name().into()));
                }
                Err(errno) => return Err(errno),
            }
        }
        let Some(name) = name else {
            return last.map_or_else(|| self.entry(), Ok).map(Found::There);
        };
        match self.open().and_then(|fd| entry_at(fd.as_fd(), name)) {
            Ok(entry) => Ok(Found::There(entry)),
            Err(errno) if is_denial(errno) => Ok(Found::Denied(Arc::clone(self), name.into())),
            Err(errno) => Err(errno),
        }
    }

    fn open_in(self: &Arc<Dir>, parent: BorrowedFd<'_>) -> Result<Arc<OwnedFd>, Errno> {
        let fd = open_folder(parent, self.name(), FOLDER.union(OFlags::NOFOLLOW))?;
        if entry_of(fd.as_fd())?.id != self.id {
            return Err(Errno::NOENT);
        }
        let fd = Arc::new(fd);
        *lock(&self.handle) = Some(Arc::clone(&fd));
        self.handles.remember(self);
        Ok(fd)
    }
}

impl Handles {
    /// Counts one more open folder and closes the oldest beyond the capacity. Descriptors in use elsewhere stay open
    /// until they are dropped.
    fn remember(&self, dir: &Arc<Dir>) {
        let mut open = lock(&self.open);
        open.push_back(Arc::downgrade(dir));
        while open.len() > self.capacity {
            if let Some(oldest) = open.pop_front().and_then(|weak| weak.upgrade()) {
                let closed = lock(&oldest.handle).take();
                drop(open);
                // Outside the lock: dropping the last reference may drop a chain of parents.
                drop((closed, oldest));
                open = lock(&self.open);
            }
        }
    }
}

impl Drop for Dir {
    /// Drops the chain of parents in a loop: a tree of many thousand levels must not overflow the stack.
    fn drop(&mut self) {
        let mut parents: Vec<Arc<Dir>> = self.place.take_parents();
        while let Some(parent) = parents.pop() {
            if let Some(mut parent) = Arc::into_inner(parent) {
                parents.append(&mut parent.place.take_parents());
            }
        }
    }
}

/// Opens a folder again, with a position of its own: other threads may be listing it by the same descriptor.
///
/// # Errors
/// As `open(2)`.
pub(crate) fn open_again(folder: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    match open_folder(folder, c".", FOLDER) {
        // Resolving even this name takes search permission, which a folder may lack that may be listed.
        Err(Errno::ACCESS) => open_folder(CWD, &*format!("/proc/self/fd/{}", folder.as_raw_fd()), FOLDER),
        opened => opened,
    }
}

/// Opens a folder without touching its access time where the kernel allows that (owner or root).
fn open_folder<P: rustix::path::Arg + Copy>(
    at: BorrowedFd<'_>,
    path: P,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    match retry_absence(|| openat(at, path, flags | OFlags::NOATIME, Mode::empty())) {
        Err(Errno::PERM) => retry_absence(|| openat(at, path, flags, Mode::empty())),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn open_descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }

    fn child(parent: &Arc<Dir>, name: &CStr) -> Arc<Dir> {
        let id = entry_at(parent.open().unwrap().as_fd(), name).unwrap().id;
        parent.child(name, id)
    }

    #[test]
    fn a_chain_of_many_thousand_folders_needs_few_descriptors_and_no_stack() {
        let scratch = tempfile::tempdir().unwrap();
        let root = Dir::root(scratch.path(), 8).unwrap();
        let before = open_descriptors();
        let mut dir = Arc::clone(&root);
        for _ in 0..3000 {
            rustix::fs::mkdirat(&*dir.open().unwrap(), c"d", Mode::RWXU).unwrap();
            dir = child(&dir, c"d");
        }
        assert_eq!(dir.depth(), 3000);
        assert_eq!(dir.path().as_bytes().len(), 2 * 3000 - 1);
        let mut up = Arc::clone(&dir);
        while let Some(parent) = up.parent().cloned() {
            parent.open().unwrap();
            up = parent;
        }
        assert!(open_descriptors() <= before + 40, "{} more", open_descriptors() - before);
        let mut dir = dir;
        while let Some(parent) = dir.parent().cloned() {
            rustix::fs::unlinkat(&*parent.open().unwrap(), dir.name(), rustix::fs::AtFlags::REMOVEDIR)
                .unwrap();
            dir = parent;
        }
    }

    #[test]
    fn a_folder_that_was_swapped_is_not_opened_again() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["a", "a/b", "other"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        let root = Dir::root(scratch.path(), 1).unwrap();
        let a = child(&root, c"a");
        let b = child(&a, c"b");
        b.open().unwrap();
        child(&root, c"other").open().unwrap();
        fs::rename(scratch.path().join("a"), scratch.path().join("moved")).unwrap();
        std::os::unix::fs::symlink("moved", scratch.path().join("a")).unwrap();
        assert!(b.open().is_err(), "through a symbolic link");
        fs::remove_file(scratch.path().join("a")).unwrap();
        fs::create_dir_all(scratch.path().join("a/b")).unwrap();
        assert_eq!(b.open().unwrap_err(), Errno::NOENT, "another folder of the same name");
    }
}
