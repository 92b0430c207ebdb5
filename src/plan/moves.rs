//! Moves: entries that the replica has already, elsewhere.

use crate::capabilities::Filesystem;
use crate::fs::dir::Dir;
use crate::index::Record;
use crate::model::change::{Differences, Operation, Verb};
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::path::RelPath;
use crate::model::room::Room;
use crate::plan::weight::freed;
use crate::plan::{Pair, SubtreeTotals};
use std::ffi::CStr;
use std::sync::Arc;

/// An entry that gets the place in the replica that it has in the source now.
#[derive(Debug)]
pub(crate) struct Move {
    /// The source's folder that has it.
    pub source: Arc<Dir>,
    /// Its name there.
    pub name: Box<CStr>,
    /// The source's entry.
    pub seen: Entry,
    /// The replica's folder that has it before the pass.
    pub from: Arc<Dir>,
    /// Its name there.
    pub old: Box<CStr>,
    /// The path of that, before any move.
    pub was: RelPath,
    /// The replica's entry.
    pub held: Entry,
    /// What moves.
    pub what: Moved,
    /// What the replica has in the new place, unless that is moved as well; it goes.
    pub displaced: Option<Displaced>,
    /// The folders that lose and get it, as far as both trees have them.
    pub touched: Vec<Arc<Pair>>,
}

/// What moves.
#[derive(Debug)]
pub(crate) enum Moved {
    /// A folder with all that is in it. The changes below are planned for the replica's folder of this pair.
    Folder(Arc<Pair>),
    /// A file whose content was read.
    File {
        /// What was known of it in its old place.
        record: Box<Record>,
        /// The metadata that differ.
        differences: Differences,
        /// The filesystem of the replica's folder.
        filesystem: Arc<Filesystem>,
    },
}

/// An entry of the replica whose place a moved one takes.
#[derive(Debug)]
pub(crate) struct Displaced {
    /// Its identity.
    pub id: FileId,
    /// Its kind.
    pub kind: Kind,
    /// The bytes of its content, if it is a file.
    pub size: u64,
    /// The room that is free once it has gone, without anything below it.
    pub freed: Room,
    /// What is below it.
    pub subtree: Option<Arc<SubtreeTotals>>,
}

impl Displaced {
    /// An entry of the replica; what is below it is counted elsewhere.
    pub(crate) fn of(entry: &Entry, subtree: Option<Arc<SubtreeTotals>>) -> Displaced {
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        Displaced { id: entry.id, kind: entry.kind, size, freed: freed(entry), subtree }
    }
}

impl Move {
    /// The kind of the entry.
    pub(crate) fn kind(&self) -> Kind {
        match self.what {
            Moved::Folder(_) => Kind::Folder,
            Moved::File { .. } => Kind::File,
        }
    }

    /// The pair of a folder that moves.
    pub(crate) fn pair(&self) -> Option<&Arc<Pair>> {
        match &self.what {
            Moved::Folder(pair) => Some(pair),
            Moved::File { .. } => None,
        }
    }

    /// The new path.
    pub(crate) fn path(&self) -> RelPath {
        self.source.path().join(&self.name)
    }

    /// The number of entries that are deleted because it takes their place. A file that is replaced by a moved one is not
    /// deleted, as in an update.
    pub(crate) fn deletes(&self) -> u64 {
        let Some(displaced) = &self.displaced else { return 0 };
        let below = displaced.subtree.as_ref().map(|counted| counted.subtree()).unwrap_or_default();
        let is_replaced = self.kind() != Kind::Folder && displaced.kind != Kind::Folder;
        if is_replaced { 0 } else { 1 + below.files + below.folders }
    }

    /// The operation; `path` is the new path.
    pub(crate) fn operation<'a>(&'a self, path: &'a RelPath) -> Operation<'a> {
        let kind = self.kind();
        let size = (kind == Kind::File).then_some(self.seen.size);
        Operation { size, moved_from: Some(&self.was), ..Operation::new(Verb::Move, path, kind) }
    }
}
