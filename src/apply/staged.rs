//! A replica entry before it has its name (staged) and after (published).

use crate::apply::error::Failed;
use crate::apply::refusal::MetadataError;
use crate::capabilities::Filesystem;
use crate::context::unread::Unread;
use crate::fs::metadata::Subject;
use crate::model::digest::Digest;
use crate::model::entry::{Entry, FileId};
use crate::model::problem_kind::ProblemKind;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

/// The destination of one entry.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// The source's folder.
    pub source: BorrowedFd<'a>,
    /// The replica's folder.
    pub replica: BorrowedFd<'a>,
    /// The filesystem of the replica's folder.
    pub filesystem: &'a Filesystem,
    /// The name in both.
    pub name: &'a CStr,
    /// The entry of the replica that may be replaced; none when the name has to be free.
    pub expected: Option<FileId>,
    /// True when the replica's content is right already and the file is copied only to get its right owner.
    pub content_is_right: bool,
    /// The digest that the source's content has to have, as far as the index knows.
    pub recorded: Option<Digest>,
}

/// The outcome of setting an entry's metadata.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    /// The facts that the entry shows now.
    pub entry: Entry,
    /// The facts that it showed before.
    pub before: Entry,
    /// True when its xattrs changed.
    pub attributes_changed: bool,
    /// The first failure on a feature that the filesystem should hold; the rest has been set.
    pub not_set: Option<MetadataError>,
    /// Xattrs of the source that exist and could not be read.
    pub unread: Vec<Unread>,
    /// True when the source's xattrs could not be listed.
    pub are_attributes_unknown: bool,
}

impl Set {
    /// Whether the entry shows other metadata than before. If not, the filesystem cannot hold the difference, or there
    /// was none any more.
    pub(crate) fn differs_from(&self, seen: &Entry) -> bool {
        // The ctime does not count: it changes also when the filesystem drops the new value.
        let facts = |entry: &Entry| (entry.mode, entry.uid, entry.gid, entry.mtime);
        self.attributes_changed || facts(&self.entry) != facts(seen)
    }
}

/// An entry that was created.
#[derive(Debug)]
pub(crate) struct Published {
    /// Its facts in the replica.
    pub entry: Entry,
    /// The digest of its content.
    pub digest: Option<Digest>,
    /// The facts of the source's file while it was read; none when it changed meanwhile, or for other kinds.
    pub source: Option<Entry>,
    /// The target of a symbolic link.
    pub target: Option<CString>,
    /// True when the source changed during every read.
    pub unstable: bool,
    /// The metadata that could not be set; the content is right.
    pub not_set: Option<MetadataError>,
    /// Xattrs of the source that exist and could not be read.
    pub unread: Vec<Unread>,
    /// The temporary name of a replaced entry that could not be replaced in place (a folder).
    pub leftover: Option<CString>,
}

/// When a replacement is fsynced. Its data must be durable before the rename drops the old version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// Before it is staged.
    Now,
    /// Later, in a group commit, where that is worth it: see [`Staged::waits`].
    Grouped,
}

/// A finished temporary.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The entry to be published.
    pub made: Published,
    /// Its temporary name.
    pub temporary: CString,
    /// True when it must be fsynced before it is published.
    pub waits: bool,
}

impl Published {
    /// The result for `new` after its metadata was set. A file with right content and wrong metadata is published, and
    /// the metadata is a problem.
    pub(super) fn of(
        set: Result<Set, MetadataError>,
        new: Subject<'_>,
        digest: Option<Digest>,
        target: Option<CString>,
        unstable: bool,
    ) -> Result<Published, Failed> {
        let (entry, not_set, unread) = match set {
            Ok(set) => (set.entry, set.not_set, set.unread),
            Err(not_set) => {
                let entry = new.entry().map_err(Failed::replica(ProblemKind::StatReplicaEntry))?;
                (entry, Some(not_set), Vec::new())
            }
        };
        Ok(Published { entry, digest, source: None, target, unstable, not_set, unread, leftover: None })
    }
}
