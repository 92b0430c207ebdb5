//! One entry to create: a change of the plan, or a name in a new folder.

use crate::apply::staged::Destination;
use crate::model::change::Verb;
use crate::model::digest::Digest;
use crate::model::entry::{FileId, Kind};
use crate::model::path::RelPath;
use crate::plan::{Action, Change, Pair};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// One entry to create.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) pair: Arc<Pair>,
    pub(super) name: Box<CStr>,
    pub(super) verb: Verb,
    pub(super) expected: Option<FileId>,
    pub(super) replica_unreadable: bool,
    pub(super) reason: &'static str,
    /// The digest that the source's content has to have, as far as the index knows.
    pub(super) recorded: Option<Digest>,
    /// True when the content under the name is right and only the link, or the owner, is not.
    pub(super) content_is_right: bool,
    /// The kind and size that the survey saw in the source; none for an entry of a new folder.
    pub(super) planned: Option<(Kind, u64)>,
}

impl Job {
    pub(super) fn of(change: &Change) -> Job {
        Job {
            pair: Arc::clone(&change.pair),
            name: change.name.clone(),
            verb: change.action.verb(),
            expected: change.expected,
            replica_unreadable: change.replica_unreadable,
            reason: change.reason,
            recorded: change.recorded.as_deref().copied(),
            content_is_right: matches!(change.action, Action::Link { same: true } | Action::Reown),
            planned: Some((change.kind, change.size)),
        }
    }

    /// The creation of the source's entry of this name in a new folder.
    pub(super) fn in_new_folder(pair: &Arc<Pair>, name: &CStr) -> Job {
        Job {
            pair: Arc::clone(pair),
            name: name.into(),
            verb: Verb::Create,
            expected: None,
            replica_unreadable: false,
            reason: "",
            recorded: None,
            content_is_right: false,
            planned: None,
        }
    }

    pub(super) fn path(&self) -> RelPath {
        self.pair.path().join(&self.name)
    }

    /// The destination of the entry, given the open folders.
    pub(super) fn destination<'a>(
        &'a self,
        source: BorrowedFd<'a>,
        replica: BorrowedFd<'a>,
    ) -> Destination<'a> {
        Destination {
            source,
            replica,
            filesystem: &self.pair.filesystem,
            name: &self.name,
            expected: self.expected,
            content_is_right: self.content_is_right,
            recorded: self.recorded,
        }
    }
}
