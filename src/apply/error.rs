//! Why an entry was not created, and whether a retry can help.

use crate::fs::{Errno, is_full, is_gone, is_passing};
use crate::model::error::Cause;
use crate::model::problem_kind::ProblemKind;

/// The chance that a failed action succeeds later in the same pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hope {
    /// A retry at once: the error is transient.
    Soon,
    /// A retry after the deletions: there was no room, or the name was taken.
    AfterDeletions,
    /// No retry.
    None,
}

/// Why an entry was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The source has an entry of another kind there by now, which the next pass handles.
    Vanished,
    /// An action failed with an error (ENOENT, ENOTDIR, ELOOP) that says that the source no longer has the entry, which
    /// is still to be confirmed.
    Gone(ProblemKind, Errno),
    /// A stop signal arrived.
    Halted,
    /// The replica's filesystem cannot hold entries of this kind, which has been reported.
    NotHeld,
    /// The replica has another entry of that name by now, or one whose name counts as the same there.
    Taken,
    /// An action failed, for this cause. The flag says that it was reading the source's content.
    Because(ProblemKind, Cause, bool),
}

impl Failed {
    pub(crate) fn replica(action: ProblemKind) -> impl Fn(Errno) -> Failed {
        move |errno| Failed::Because(action, Cause::System(errno), false)
    }

    pub(crate) fn source(action: ProblemKind) -> impl Fn(Errno) -> Failed {
        move |errno| {
            if is_gone(errno) {
                Failed::Gone(action, errno)
            } else {
                Failed::Because(action, Cause::System(errno), true)
            }
        }
    }

    /// The replica's filesystem does not accept the name, although its error is ENOENT.
    pub(crate) fn name_refused(action: ProblemKind) -> Failed {
        Failed::Because(action, Cause::Refused("its filesystem takes no such name"), false)
    }

    /// True when there was no room.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Failed::Because(_, Cause::System(errno), _) if is_full(*errno))
    }

    /// The chance that a retry in the same pass succeeds.
    pub(crate) fn hope(&self) -> Hope {
        match self {
            // Deletions may make room on the disk, or free the name: on a case-insensitive filesystem the old spelling
            // is in the way of the new one.
            Failed::Taken => Hope::AfterDeletions,
            Failed::Because(_, Cause::System(errno), _) if is_full(*errno) => Hope::AfterDeletions,
            Failed::Gone(..) => Hope::Soon,
            Failed::Because(_, Cause::System(errno), _) if is_passing(*errno) => Hope::Soon,
            Failed::Vanished | Failed::Halted | Failed::NotHeld | Failed::Because(..) => Hope::None,
        }
    }
}
