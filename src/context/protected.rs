//! The log file, where it lies in a root: it is neither copied nor deleted, under whatever name a folder lists it.
//!
//! Its path is known, so each name of it is compared with what a folder lists. A filesystem that takes upper and lower case
//! for the same, or alters names, lists another spelling: then the folder is asked for the name of the path, once for each
//! folder on the way. And whatever the path says, a file with the inode of the log is the log (a bind mount, a hard
//! link).

use crate::context::Context;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::spelled::{Listed, Spellings};
use crate::fs::{Errno, stat};
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::spelling::folded;
use crate::plan::Watch;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
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
    fn watch_below(&self, watch: Watch, name: &CStr) -> Option<Watch> {
        match self.next_name(watch) {
            Some(next) if next == name.to_bytes() => self.watch_of_next(watch),
            Some(_) | None => Some(Watch::Off),
        }
    }

    /// The next name on the way to it in a folder that lies like `watch`; none off the way.
    fn next_name(&self, watch: Watch) -> Option<&[u8]> {
        let (Watch::On(matched), Some(below)) = (watch, self.below) else { return None };
        below.components().nth(matched).map(|next| next.as_os_str().as_encoded_bytes())
    }

    /// How what has that name lies to it; none for the file itself.
    fn watch_of_next(&self, watch: Watch) -> Option<Watch> {
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

/// How the names of one folder lie to the log file.
#[derive(Debug)]
pub struct Watched {
    watch: Watch,
    /// The listed names that are other spellings of the next name on the way to the log.
    spellings: Vec<Box<CStr>>,
}

impl Watched {
    /// Of a folder that is not on the way.
    pub fn off() -> Watched {
        Watched { watch: Watch::Off, spellings: Vec::new() }
    }

    /// Asks the two sides of a folder, as far as they are there, under which names they list the next name on the way.
    pub fn in_folder<'f>(
        context: &Context<'_>,
        watch: Watch,
        sides: impl IntoIterator<Item = (BorrowedFd<'f>, &'f Listing)>,
    ) -> Watched {
        let mut spellings = Vec::new();
        if let Some(next) = context.log.next_name(watch).and_then(|next| CString::new(next).ok()) {
            for (folder, listing) in sides {
                spellings.extend(spellings_of(&next, folder, listing));
            }
        }
        Watched { watch, spellings }
    }

    /// How what has this name lies to the log: off it, above it, or the file itself (none).
    pub fn below(&self, context: &Context<'_>, name: &CStr) -> Option<Watch> {
        match context.log.watch_below(self.watch, name) {
            Some(Watch::Off) if self.spellings.iter().any(|spelling| **spelling == *name) => {
                context.log.watch_of_next(self.watch)
            }
            watch => watch,
        }
    }
}

/// How a folder that was found under `name` in `parent` lies to the log file.
pub fn watch_of_folder(context: &Context<'_>, watch: Watch, parent: &Arc<Dir>, name: &CStr) -> Watch {
    let next = context.log.next_name(watch).and_then(|next| CString::new(next).ok());
    let Some(next) = next.filter(|next| folded(next) == folded(name)) else { return Watch::Off };
    if *next == *name {
        return context.log.watch_of_next(watch).unwrap_or(Watch::Off);
    }
    let listed = parent.open().and_then(|fd| Ok((Listing::read(fd.as_fd())?, fd)));
    match listed {
        Ok((listing, fd)) => {
            let watched = Watched::in_folder(context, watch, [(fd.as_fd(), &listing)]);
            watched.below(context, name).unwrap_or(Watch::Off)
        }
        // It may be on the way.
        Err(_) => context.log.watch_of_next(watch).unwrap_or(Watch::Off),
    }
}

/// The listed names of a folder under which it has the entry that it shows under `next`, unless it lists that name.
fn spellings_of(next: &CStr, folder: BorrowedFd<'_>, listing: &Listing) -> Vec<Box<CStr>> {
    if listing.is_empty() || listing.position(next).is_some() {
        return Vec::new();
    }
    let mut spellings = Spellings::of(folder, listing);
    let found = match stat::entry_at(folder, next) {
        Ok(found) => Some(found),
        Err(Errno::NOENT) => return Vec::new(),
        Err(_) => None,
    };
    // The size of a log that is being written is another one at each look, so the kind alone has to do.
    let mut positions = spellings.alike(next);
    positions.retain(|at| match (found, spellings.entry(*at)) {
        (Some(found), Ok(Some(entry))) => entry.kind == found.kind,
        (_, Ok(None)) => false,
        (None, Ok(Some(_))) | (_, Err(_)) => true,
    });
    if let Some(Ok(Listed::As(at) | Listed::Alike(at))) = found.map(|found| spellings.find(next, &found)) {
        positions.push(at);
    }
    positions.into_iter().filter_map(|at| listing.get(at).map(Box::from)).collect()
}
