//! The two roots of a pass, and whether they are still the folders that it began with. Reports nothing.

use crate::fs::dir::Dir;
use crate::fs::{Errno, is_gone, roots, stat};
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The roots of one pass.
pub(crate) struct Roots<'a> {
    /// The source as the user gave it, and the folder it led to when the pass began.
    pub source: (&'a Path, Arc<Dir>),
    /// The real path of that folder, without the symbolic links of the user's path.
    pub real_source: PathBuf,
    /// The replica's path and folder; no folder in a dry run without a replica.
    pub replica: (&'a Path, Option<Arc<Dir>>),
    is_replica_lost: AtomicBool,
    was_source_away: AtomicBool,
}

/// The state of the source root, compared with the start of the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceState {
    /// The source path leads to it.
    Same,
    /// A symbolic link on the way leads elsewhere by now, and the folder is still in its place: it is as good a source
    /// as before. But its content may be removed after such a switch.
    LeftBehind,
    /// The path is dangling, or leads to something that is not a folder.
    Missing,
    /// It leads to another folder, and so does the real path: something was mounted, unmounted, renamed or replaced.
    Replaced,
}

impl SourceState {
    /// Whether the pass may go on with the folder that it began with.
    pub(crate) fn is_whole(self) -> bool {
        match self {
            SourceState::Same | SourceState::LeftBehind => true,
            SourceState::Missing | SourceState::Replaced => false,
        }
    }
}

/// The state of the replica root, compared with the start of the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplicaState {
    /// It is the same folder.
    Here,
    /// It is missing or replaced, found for the first time in this pass.
    JustLost,
    /// It was found missing or replaced before.
    Lost,
}

impl<'a> Roots<'a> {
    /// Roots whose folders are the ones that their paths lead to.
    pub(crate) fn new(source: (&'a Path, Arc<Dir>), replica: (&'a Path, Option<Arc<Dir>>)) -> Roots<'a> {
        Roots {
            real_source: source.0.to_path_buf(),
            source,
            replica,
            is_replica_lost: AtomicBool::new(false),
            was_source_away: AtomicBool::new(false),
        }
    }

    /// True once the replica folder was found missing or replaced.
    pub(crate) fn is_replica_lost(&self) -> bool {
        self.is_replica_lost.load(Ordering::Relaxed)
    }

    /// Checks whether the replica path still leads to the folder of this pass.
    pub(crate) fn replica_state(&self) -> ReplicaState {
        let Some(dir) = &self.replica.1 else { return ReplicaState::Here };
        if stat::entry_at_path(self.replica.0).is_ok_and(|entry| entry.id == dir.id()) {
            ReplicaState::Here
        } else if self.is_replica_lost.swap(true, Ordering::Relaxed) {
            ReplicaState::Lost
        } else {
            ReplicaState::JustLost
        }
    }

    /// Checks whether the folder of this pass is still the source.
    pub(crate) fn source_state(&self) -> SourceState {
        let state = self.look_at_source();
        if !state.is_whole() {
            self.was_source_away.store(true, Ordering::Relaxed);
        }
        state
    }

    /// True once the source path was found to lead elsewhere, even if it leads back now: work was left undone then.
    pub(crate) fn was_source_away(&self) -> bool {
        self.was_source_away.load(Ordering::Relaxed)
    }

    fn look_at_source(&self) -> SourceState {
        let leads = |path: &Path| match stat::entry_at_path(path) {
            Ok(entry) if entry.id == self.source.1.id() => SourceState::Same,
            Ok(entry) if entry.kind == Kind::Folder => SourceState::Replaced,
            Ok(_) => SourceState::Missing,
            Err(errno) if is_gone(errno) => SourceState::Missing,
            // It cannot be looked at: then it is not shown to be the same either.
            Err(_) => SourceState::Replaced,
        };
        let state = leads(self.source.0);
        let is_left_behind = state != SourceState::Same
            && self.real_source != self.source.0
            && leads(&self.real_source) == SourceState::Same;
        if is_left_behind { SourceState::LeftBehind } else { state }
    }

    /// Whether an entry of one tree is the root of the other.
    pub(crate) fn is_other_root(&self, side: Side, entry: &Entry) -> bool {
        match side {
            Side::Source => self.replica.1.as_ref().is_some_and(|root| root.id() == entry.id),
            Side::Replica => self.source.1.id() == entry.id,
        }
    }

    /// Whether the two roots, with all mounts inside them now, are apart.
    ///
    /// # Errors
    /// As [`roots::relation`].
    pub(crate) fn are_apart(&self) -> Result<bool, Errno> {
        Ok(roots::relation(&self.real_source, self.replica.0)?.is_none())
    }
}
