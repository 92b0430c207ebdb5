//! The log file, if it lies in a root: its path and its inode, and the names and inodes of its rotated files. A file with
//! the inode of the log is the log, whatever its path (a bind mount, a hard link).
//!
//! The rotated files are known by their names, whatever the options say: a pass of another process, with other options,
//! must not delete them.

use crate::collections::HashSet;
use crate::fs::rotated::{chain, is_rotated};
use crate::fs::stat;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::path::RelPath;
use crate::plan::Protected;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lifetime of a cached inode of the log during removals.
const FRESH: Duration = Duration::from_millis(10);

/// The file that the log is written to.
#[derive(Debug, Default)]
pub(crate) struct LogFile<'a> {
    path: Option<&'a Path>,
    /// Its path below the roots, where it lies in one of them.
    below: Option<&'a PathBuf>,
    /// Its identity, and those of its rotated files, when the pass began.
    first: HashSet<FileId>,
    /// Its identity at the last lookup: a rotation puts another file under the path.
    last: Mutex<Option<(Instant, Option<FileId>)>>,
}

impl<'a> LogFile<'a> {
    /// The log at a path, if there is one, and its path below the roots, if it lies in one of them; it need not exist
    /// yet.
    pub(crate) fn new(path: Option<&'a Path>, below: Option<&'a PathBuf>) -> LogFile<'a> {
        let rotated = path.map(chain).unwrap_or_default();
        let first = path.into_iter().chain(rotated.iter().map(PathBuf::as_path)).filter_map(id_at).collect();
        LogFile { path, below, first, last: Mutex::default() }
    }

    /// Whether it lies at or below this path in a root.
    pub(crate) fn is_at_or_below(&self, path: &RelPath) -> bool {
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        self.below.is_some_and(|below| below.starts_with(path))
    }

    /// The relation of the roots to it.
    pub(crate) fn protected_of_roots(&self) -> Protected {
        if self.below.is_some() { Protected::Ancestor(0) } else { Protected::No }
    }

    /// The relation of `name`, in a folder with the relation `protected`, to the log: off its path, above it, or the file
    /// itself or a rotated one (none).
    pub(crate) fn protected_below(&self, protected: Protected, name: &CStr) -> Option<Protected> {
        match self.next_name(protected) {
            Some(next) if next == name.to_bytes() => self.protected_of_next(protected),
            Some(next) if self.is_rotated(protected, next, name) => None,
            Some(_) | None => Some(Protected::No),
        }
    }

    /// Whether `name`, in a folder with the relation `protected`, is that of a rotated file, where the next name on the
    /// path to the log is listed as `listed`.
    pub(crate) fn is_rotated(&self, protected: Protected, listed: &[u8], name: &CStr) -> bool {
        is_rotated(listed, name.to_bytes()) && self.protected_of_next(protected).is_none()
    }

    /// The next name on the path to it in a folder with the relation `protected`; none off the path.
    pub(crate) fn next_name(&self, protected: Protected) -> Option<&[u8]> {
        let (Protected::Ancestor(matched), Some(below)) = (protected, self.below) else { return None };
        below.components().nth(matched).map(|next| next.as_os_str().as_encoded_bytes())
    }

    /// The relation of the entry of that name to the log; none for the file itself.
    pub(crate) fn protected_of_next(&self, protected: Protected) -> Option<Protected> {
        let (Protected::Ancestor(matched), Some(below)) = (protected, self.below) else {
            return Some(Protected::No);
        };
        below.components().nth(matched + 1).map(|_| Protected::Ancestor(matched + 1))
    }

    /// Whether an entry was the log, or a rotated file, when the pass began.
    pub(crate) fn was(&self, entry: &Entry) -> bool {
        entry.kind == Kind::File && self.first.contains(&entry.id)
    }

    /// Whether an entry that is about to be removed is the log, or was it, or a rotated file, when the pass began.
    pub(crate) fn is(&self, entry: &Entry) -> bool {
        let Some(path) = self.path.filter(|_| entry.kind == Kind::File) else { return false };
        if self.was(entry) {
            return true;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let id = match *last {
            Some((asked, id)) if asked.elapsed() < FRESH => id,
            Some(_) | None => {
                let id = id_at(path);
                *last = Some((Instant::now(), id));
                id
            }
        };
        id == Some(entry.id)
    }
}

fn id_at(path: &Path) -> Option<FileId> {
    stat::entry_at_path(path).ok().filter(|entry| entry.kind == Kind::File).map(|entry| entry.id)
}
