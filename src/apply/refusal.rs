//! Which metadata could not be set, and whether that says something of the entry or of its filesystem.

use crate::fs::Errno;
use crate::fs::metadata::Subject;
use crate::model::entry::Kind;
use crate::model::error::Side;
use crate::model::problem_kind::ProblemKind;

/// What could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataError {
    /// Where the kernel refused.
    pub side: Side,
    /// What was tried, to be read after "Cannot".
    pub action: ProblemKind,
    /// Why.
    pub errno: Errno,
}

pub(super) fn in_replica(action: ProblemKind) -> impl Fn(Errno) -> MetadataError {
    move |errno| MetadataError { side: Side::Replica, action, errno }
}

pub(super) fn in_source(action: ProblemKind) -> impl Fn(Errno) -> MetadataError {
    move |errno| MetadataError { side: Side::Source, action, errno }
}

/// Whether EPERM comes from the entry itself (immutable, append-only, or somebody else's) and not from the filesystem:
/// then even the mode that it has already cannot be set.
pub(super) fn is_immutable(target: Subject<'_>) -> bool {
    target.entry().is_ok_and(|entry| {
        entry.kind != Kind::Symlink && target.set_mode(entry.mode).is_err_and(|errno| errno == Errno::PERM)
    })
}
