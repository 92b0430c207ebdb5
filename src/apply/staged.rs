//! A replica entry before it has its name (staged) and after (published).

use crate::apply::error::Failed;
use crate::apply::metadata::Set;
use crate::apply::refusal::MetadataError;
use crate::context::unread::Unread;
use crate::fs::metadata::Subject;
use crate::model::digest::Digest;
use crate::model::entry::Entry;
use crate::model::problem_kind::ProblemKind;
use std::ffi::CString;

/// An entry that was created.
#[derive(Debug)]
pub(crate) struct Published {
    /// Its facts in the replica.
    pub entry: Entry,
    /// The digest of its content.
    pub digest: Option<Digest>,
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
        Ok(Published { entry, digest, target, unstable, not_set, unread, leftover: None })
    }
}
