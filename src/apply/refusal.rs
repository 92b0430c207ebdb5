//! Errors of setting metadata, and whether they concern the entry or its filesystem.

use crate::fs::Errno;
use crate::fs::metadata::Subject;
use crate::model::entry::Kind;
use crate::model::error::Side;
use crate::model::problem_kind::ProblemKind;

/// A failure to set a piece of metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetadataError {
    /// The side that refused.
    pub side: Side,
    /// The action that failed, to be read after "Cannot".
    pub action: ProblemKind,
    /// The error.
    pub errno: Errno,
}

pub(super) fn in_replica(action: ProblemKind) -> impl Fn(Errno) -> MetadataError {
    move |errno| MetadataError { side: Side::Replica, action, errno }
}

pub(super) fn in_source(action: ProblemKind) -> impl Fn(Errno) -> MetadataError {
    move |errno| MetadataError { side: Side::Source, action, errno }
}

/// Whether EPERM is due to the entry itself (immutable, append-only, or another user's) and not to the filesystem: then
/// even its present mode cannot be set again.
pub(super) fn is_immutable(target: Subject<'_>) -> bool {
    target.entry().is_ok_and(|entry| {
        entry.kind != Kind::Symlink && target.set_mode(entry.mode).is_err_and(|errno| errno == Errno::PERM)
    })
}
