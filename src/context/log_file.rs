//! The log file, where it lies in a root: what is known of its path and its inode. Whatever the path says, a file with the
//! inode of the log is the log (a bind mount, a hard link).

use crate::fs::stat;
use crate::model::entry::{Entry, FileId, Kind};
use crate::plan::Watch;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer about the inode of the log is good for while things are being removed.
const FRESH: Duration = Duration::from_millis(10);

/// The file that the log is being written to.
#[derive(Debug, Default)]
pub struct LogFile<'a> {
    path: Option<&'a Path>,
    /// Its path below the roots, where it lies in one of them.
    below: Option<&'a PathBuf>,
    /// Its identity when the pass began.
    first: Option<FileId>,
    /// Its identity, and when it was asked for: a rotation puts another file under the path.
    last: Mutex<Option<(Instant, Option<FileId>)>>,
}

impl<'a> LogFile<'a> {
    /// The log at a path, if there is one, and its path below the roots, where it lies in one of them; it need not exist
    /// yet.
    pub fn new(path: Option<&'a Path>, below: Option<&'a PathBuf>) -> LogFile<'a> {
        LogFile { path, below, first: path.and_then(id_at), last: Mutex::default() }
    }

    /// How the roots lie to it.
    pub fn watch_of_roots(&self) -> Watch {
        if self.below.is_some() { Watch::On(0) } else { Watch::Off }
    }

    /// How `name` in a folder that lies like `watch` lies to it: off it, above it, or the file itself (none).
    pub fn watch_below(&self, watch: Watch, name: &CStr) -> Option<Watch> {
        match self.next_name(watch) {
            Some(next) if next == name.to_bytes() => self.watch_of_next(watch),
            Some(_) | None => Some(Watch::Off),
        }
    }

    /// The next name on the way to it in a folder that lies like `watch`; none off the way.
    pub fn next_name(&self, watch: Watch) -> Option<&[u8]> {
        let (Watch::On(matched), Some(below)) = (watch, self.below) else { return None };
        below.components().nth(matched).map(|next| next.as_os_str().as_encoded_bytes())
    }

    /// How what has that name lies to it; none for the file itself.
    pub fn watch_of_next(&self, watch: Watch) -> Option<Watch> {
        let (Watch::On(matched), Some(below)) = (watch, self.below) else { return Some(Watch::Off) };
        below.components().nth(matched + 1).map(|_| Watch::On(matched + 1))
    }

    /// Whether an entry was the log when the pass began.
    pub fn was(&self, entry: &Entry) -> bool {
        entry.kind == Kind::File && self.first == Some(entry.id)
    }

    /// Whether an entry that is about to be removed is the log, or was it when the pass began.
    pub fn is(&self, entry: &Entry) -> bool {
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
