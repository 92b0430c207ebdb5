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

/// An entry that was made.
#[derive(Debug)]
pub struct Published {
    /// Its facts in the replica.
    pub entry: Entry,
    /// The digest of its content.
    pub digest: Option<Digest>,
    /// The target of a symbolic link.
    pub target: Option<CString>,
    /// True when the source changed during every reading.
    pub unstable: bool,
    /// What could not be set; the content is right.
    pub not_set: Option<MetadataError>,
    /// Attributes of the source that are there and could not be read.
    pub unread: Vec<Unread>,
    /// What was replaced, under a temporary name, when it could not be replaced in place (a folder).
    pub leftover: Option<CString>,
}

/// When a replacement is fsynced. Its data must be durable before the rename drops the old version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is called ready.
    Now,
    /// Later, by whoever publishes it, as part of a group commit, where that is worth it: see [`Staged::waits`].
    Grouped,
}

/// A finished temporary.
#[derive(Debug)]
pub struct Staged {
    /// What it will be.
    pub made: Published,
    /// Its name.
    pub temporary: CString,
    /// True when it has to be written to the disk before it is published.
    pub waits: bool,
}

impl Published {
    /// What has become of `new` after its metadata was set. The content is worth more than its metadata: it is published, and
    /// the rest is a problem.
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
                let entry = new.entry().map_err(Failed::replica(ProblemKind::LookInReplica))?;
                (entry, Some(not_set), Vec::new())
            }
        };
        Ok(Published { entry, digest, target, unstable, not_set, unread, leftover: None })
    }
}
