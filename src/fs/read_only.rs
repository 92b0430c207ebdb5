//! Read-only folders of the replica: snapshots, read-only mounts, a disk that was remounted read-only.
//!
//! Entries below such a folder would fail one by one, thousands in every pass. So the first `EROFS` is investigated: if
//! the folder itself is read-only, the topmost read-only folder is remembered, reported once, and left alone. The error
//! alone is no proof: a union of several disks (mergerfs) returns it for one file and not for the next.

use crate::fs::Errno;
use crate::fs::dir::Dir;
use crate::fs::dirent;
use crate::fs::file::create_private;
use rustix::fs::{Access, AtFlags, StatVfsMountFlags, accessat, fstatvfs};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The read-only folders that were found during one pass.
#[derive(Debug, Default)]
pub(crate) struct ReadOnlyFolders {
    /// Set when there is one; read before every change.
    any: AtomicBool,
    /// Their paths. Not their inode numbers, which some filesystems share between folders.
    paths: Mutex<Vec<Vec<u8>>>,
}

/// The result for a folder.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is writable.
    Writable,
    /// It lies at or below a known read-only folder.
    Known,
    /// It lies at or below this newly found folder.
    New(Arc<Dir>),
}

impl ReadOnlyFolders {
    /// Whether a folder lies at or below a read-only one.
    pub(crate) fn hold(&self, dir: &Arc<Dir>) -> bool {
        self.any.load(Ordering::Relaxed) && is_among(&self.lock(), dir)
    }

    /// Investigates a folder in which a call failed with `EROFS`.
    pub(crate) fn find(&self, dir: &Arc<Dir>) -> Found {
        // Held during the test: many workers come at once, and one test is enough.
        let mut paths = self.lock();
        if is_among(&paths, dir) {
            return Found::Known;
        }
        let Some(top) = topmost(dir) else { return Found::Writable };
        paths.push(top.path().as_bytes().to_vec());
        self.any.store(true, Ordering::Relaxed);
        Found::New(top)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_among(tops: &[Vec<u8>], dir: &Arc<Dir>) -> bool {
    if tops.is_empty() {
        return false;
    }
    let path = dir.path();
    tops.iter().any(|top| is_at_or_below(path.as_bytes(), top))
}

/// Whether a path below a root equals another one, or lies below it; the root's own path is empty.
fn is_at_or_below(path: &[u8], top: &[u8]) -> bool {
    path.strip_prefix(top).is_some_and(|rest| top.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
}

/// The topmost folder, from `dir` upwards, that is read-only; none where `dir` itself is not.
fn topmost(dir: &Arc<Dir>) -> Option<Arc<Dir>> {
    if says_so(dir) {
        return Some(climb(dir, |_, parent| says_so(parent)));
    }
    // Only within one filesystem: a successful test changes the mtime of a folder.
    let also = |at: &Arc<Dir>, parent: &Arc<Dir>| {
        at.id().device == parent.id().device && (says_so(parent) || takes_nothing(parent))
    };
    takes_nothing(dir).then(|| climb(dir, also))
}

fn climb(dir: &Arc<Dir>, goes_on: impl Fn(&Arc<Dir>, &Arc<Dir>) -> bool) -> Arc<Dir> {
    let mut at = dir;
    while let Some(parent) = at.parent().filter(|parent| goes_on(at, parent)) {
        at = parent;
    }
    Arc::clone(at)
}

/// Whether a folder lies in a read-only mount or filesystem, or in a read-only part of one (a snapshot of btrfs).
fn says_so(dir: &Arc<Dir>) -> bool {
    let says = |folder: BorrowedFd<'_>| {
        fstatvfs(folder).is_ok_and(|facts| facts.f_flag.contains(StatVfsMountFlags::RDONLY))
            || accessat(folder, c".", Access::WRITE_OK, AtFlags::empty()) == Err(Errno::ROFS)
    };
    dir.open().is_ok_and(|folder| says(folder.as_fd()))
}

/// Whether not even a temporary can be created in a folder: a server may export it read-only without the client
/// knowing.
fn takes_nothing(dir: &Arc<Dir>) -> bool {
    let Ok(folder) = dir.open_for_temporaries() else { return false };
    let Ok(name) = dirent::temporary_name() else { return false };
    match create_private(folder.as_fd(), &name) {
        Ok(_) => {
            // A leftover is an extra that the next pass removes.
            match dirent::remove_file(folder.as_fd(), &name) {
                Ok(()) | Err(_) => false,
            }
        }
        Err(errno) => errno == Errno::ROFS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_below_another_only_name_by_name() {
        for (path, top, expected) in [
            ("", "", true),
            ("a", "", true),
            ("a", "a", true),
            ("a/b", "a", true),
            ("ab", "a", false),
            ("a", "a/b", false),
            ("", "a", false),
            ("b/a", "a", false),
        ] {
            assert_eq!(is_at_or_below(path.as_bytes(), top.as_bytes()), expected, "{path} {top}");
        }
    }

    #[test]
    fn a_folder_that_takes_files_is_not_read_only_whatever_an_error_said() {
        let scratch = tempfile::tempdir().unwrap();
        let root = Dir::root(scratch.path(), 4).unwrap();
        let folders = ReadOnlyFolders::default();
        assert!(matches!(folders.find(&root), Found::Writable));
        assert!(!folders.hold(&root));
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left");
    }
}
