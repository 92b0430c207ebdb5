//! Folders that were moved in the source.
//!
//! A folder that the replica lacks under its name, or that is another one than the index has there, is looked for in the
//! index by inode and birth time. Where it was before, the replica still has it: the two are compared like any pair of
//! folders, and the plan begins with a rename. Nothing below is taken on trust.
//!
//! A folder of the replica that may turn out to be the old place of a moved one waits until all of the source has been
//! seen: those that the source lacks, and those whose name another folder of the source has now.

use crate::capabilities::Filesystem;
use crate::collections::HashMap;
use crate::context::Context;
use crate::fs::dir::Dir;
use crate::fs::{Errno, points_below, stat};
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::error::Side;
use crate::model::path::RelPath;
use crate::plan::{Displaced, Move, Moved, Pair, Protected};
use crate::survey::Survey;
use crate::walk::{exclusion_of, is_kept_mount};
use rayon::Scope;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The moves of one survey.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// False where the index knows no folders: nothing is looked for, and nothing waits.
    pub(super) is_on: bool,
    /// The mount points inside the replica, which stay where they are.
    mounts: Vec<PathBuf>,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) moves: Vec<Move>,
    /// The folders of the replica that there was a choice for, and who has them.
    pub(super) taken: HashMap<FileId, By>,
    /// The folders of the replica on the ways to moved entries. There is one value for each, so that a moved folder takes
    /// along what is below it.
    dirs: HashMap<FileId, Arc<Dir>>,
    pub(super) waiting: Waiting,
}

/// The folder of the source that one of the replica is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The source's folder of its name.
    Name,
    /// The folder of the move with this number.
    Move(usize),
}

impl Found {
    /// Takes a folder of the replica, unless another one has it.
    pub(super) fn take(&mut self, folder: FileId, by: By) -> bool {
        *self.taken.entry(folder).or_insert(by) == by
    }
}

/// Folders that are decided about when all of the source has been seen.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Folders of one name that were not one when the index was written.
    pub(super) pairs: Vec<Arc<Pair>>,
    /// Folders that the source lacks, or has something else in place of.
    pub(super) extras: Vec<Extra>,
}

/// A folder of the replica that goes unless it is moved.
#[derive(Debug)]
pub(super) struct Extra {
    pub(super) pair: Arc<Pair>,
    pub(super) name: Box<CStr>,
    pub(super) theirs: Entry,
    /// Whether the source's folder changed after the start of the pass.
    pub(super) has_changed: bool,
    pub(super) reason: &'static str,
    pub(super) instead: Instead,
}

/// The source's entry in the place of a folder of the replica.
#[derive(Debug)]
pub(super) enum Instead {
    Nothing,
    /// An entry of another kind.
    Other(Entry),
    /// The folder of the move with this number.
    Moved(usize),
}

/// A folder of the source that the replica may have elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    /// The source's folder that has it, its name there, and its facts.
    pub(super) source: &'a Arc<Dir>,
    pub(super) name: &'a CStr,
    pub(super) entry: &'a Entry,
    /// The pair of that folder; none in a new folder.
    pub(super) pair: Option<&'a Arc<Pair>>,
    /// The filesystem that it is to be on, and its device.
    pub(super) filesystem: &'a Arc<Filesystem>,
    pub(super) device: u64,
}

/// An entry of the replica, with the folder that has it and its name there.
pub(super) type Spot = (Arc<Dir>, CString, Entry);

impl Moves {
    /// The moves of a survey, if they can be recognized.
    pub(super) fn of(context: &Context<'_>) -> Moves {
        let replica = context.roots.replica.1.as_ref().filter(|_| context.ledger.knows_places());
        let mounts = replica.map(|dir| dir.open().and_then(|fd| points_below(fd.as_fd())));
        match mounts {
            Some(Ok(mounts)) => Moves { is_on: true, mounts, found: Mutex::default() },
            Some(Err(_)) | None => Moves::default(),
        }
    }

    /// Whether something is mounted in the replica at or below a path.
    pub(super) fn has_mount(&self, path: &RelPath) -> bool {
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        self.mounts.iter().any(|mount| mount.starts_with(path))
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    pub(super) fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an entry of the replica waits, because it may be the old place of a moved one.
    pub(super) fn waits(&self, theirs: &Entry) -> bool {
        self.is_on && theirs.kind == Kind::Folder && !is_kept_mount(theirs)
    }

    pub(super) fn add_extra(&self, extra: Extra) {
        self.found().waiting.extras.push(extra);
    }

    /// Whether a folder of the replica is compared with one of the source.
    pub(super) fn has(&self, theirs: &Entry) -> bool {
        self.is_on && theirs.kind == Kind::Folder && self.found().taken.contains_key(&theirs.id)
    }

    /// The moves that were found.
    pub(super) fn take(&self) -> Vec<Move> {
        std::mem::take(&mut self.found().moves)
    }
}

impl Survey<'_> {
    /// Looks for the old place of a folder of the source. If the replica has it, a move is planned and the two are
    /// compared; false otherwise. `displaced` is what the replica has in the new place.
    pub(super) fn is_moved<'s>(
        &'s self,
        scope: &Scope<'s>,
        arrived: Arrived<'_>,
        displaced: Option<Displaced>,
    ) -> Option<usize> {
        let Arrived { source, name, entry, pair, filesystem, device } = arrived;
        if !self.moves.is_on || entry.kind != Kind::Folder || entry.is_mount || entry.is_encrypted {
            return None;
        }
        let now = source.path().join(name);
        for place in self.context.ledger.places_of(entry, &now) {
            let was = place.path.clone();
            if self.context.log.is_at_or_below(&was) {
                continue;
            }
            if !self.has_left(&was, entry) || self.moves.has_mount(&was) || self.is_kept_in_place(&was, &now)
            {
                continue;
            }
            let Some((from, old, held)) = self.find_in_replica(&was) else { continue };
            let is_recorded = place.is_replica(&held);
            if held.kind != Kind::Folder || held.is_mount || held.id.device != device || !is_recorded {
                continue;
            }
            let mut found = self.moves.found();
            if found.taken.contains_key(&held.id) {
                continue;
            }
            let number = found.moves.len();
            found.taken.insert(held.id, By::Move(number));
            let dir = found.dirs.entry(held.id).or_insert_with(|| from.child(&old, held.id));
            let below = Arc::new(Pair {
                source: Some(source.child(name, entry.id)),
                replica: Some(Arc::clone(dir)),
                filesystem: Arc::clone(filesystem),
                protected: Protected::No,
            });
            found.moves.push(Move {
                source: Arc::clone(source),
                name: name.into(),
                seen: *entry,
                from,
                old: old.into(),
                was,
                held,
                what: Moved::Folder(Arc::clone(&below)),
                displaced,
                touched: pair.map(Arc::clone).into_iter().collect(),
            });
            drop(found);
            self.context.workers.spawn(scope, move |scope| self.visit(scope, below));
            return Some(number);
        }
        None
    }

    /// Whether a folder of the replica, or one on the way to it from a folder above, is the old place of a moved one.
    pub(super) fn has_moved_out(&self, top: &RelPath, folder: &RelPath) -> bool {
        let Some((above, name, entry)) = self.find_in_replica(folder) else { return false };
        let depth = top.names().count();
        let found = self.moves.found();
        let way = std::iter::successors(Some(&above), |dir| dir.parent());
        let mut way = way.take_while(|dir| dir.depth() >= depth).map(|dir| dir.id());
        let is_below = above.depth() + usize::from(!name.is_empty()) >= depth;
        is_below && found.taken.contains_key(&entry.id) || way.any(|id| found.taken.contains_key(&id))
    }

    /// Whether the filter leaves out a folder of the replica, or something in it that it might not leave out elsewhere.
    fn is_kept_in_place(&self, was: &RelPath, now: &RelPath) -> bool {
        let filter = &self.context.filter;
        filter.is_on()
            && ([was, now].iter().any(|path| filter.depends_on_place(path.as_bytes()))
                || filter.protects() && exclusion_of(self.context, Side::Replica, was).is_some())
    }

    /// Whether a folder of the source has certainly left a place, and what is there now is not compared with the replica's
    /// folder before the end.
    fn has_left(&self, was: &RelPath, entry: &Entry) -> bool {
        let mut dir = Arc::clone(&self.context.roots.source.1);
        let mut names = was.names().peekable();
        while let Some(name) = names.next() {
            let Ok(name) = CString::new(name) else { return false };
            let there = match dir.open().and_then(|fd| stat::entry_at(fd.as_fd(), &name)) {
                Ok(there) if there.kind == Kind::Folder => there,
                // What is no folder is in its place.
                Ok(_) => return true,
                Err(errno) => return errno == Errno::NOENT,
            };
            if there.is_mount || there.id.device != entry.id.device {
                return false;
            }
            if names.peek().is_none() {
                return there.id != entry.id;
            }
            dir = dir.child(&name, there.id);
        }
        false
    }

    /// Looks a path of the replica up; none if it is not there, or a mount is on the way to it.
    pub(super) fn find_in_replica(&self, path: &RelPath) -> Option<Spot> {
        let mut dir = Arc::clone(self.context.roots.replica.1.as_ref()?);
        let mut names = path.names().peekable();
        while let Some(name) = names.next() {
            let name = CString::new(name).ok()?;
            let entry = stat::entry_at(dir.open().ok()?.as_fd(), &name).ok()?;
            if names.peek().is_none() {
                return Some((dir, name, entry));
            }
            if entry.kind != Kind::Folder || entry.is_mount {
                return None;
            }
            let mut found = self.moves.found();
            let child = found.dirs.entry(entry.id).or_insert_with(|| dir.child(&name, entry.id));
            let child = Arc::clone(child);
            drop(found);
            dir = child;
        }
        None
    }
}
