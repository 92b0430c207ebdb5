//! The metadata of folders that both sides have.

use crate::context::focus::Sight;
use crate::fs::dir::Dir;
use crate::fs::metadata::Subject;
use crate::fs::{Errno, is_gone, stat};
use crate::model::counters::{Counter, Tally};
use crate::model::entry::Entry;
use crate::model::error::Side;
use crate::plan::{FolderChange, Pair};
use crate::survey::Survey;
use crate::survey::metadata::{ComparedMetadata, Subjects};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

impl Survey<'_> {
    /// Compares the metadata of the folder itself. Without an open replica folder its xattrs are unknown, but the rest
    /// is compared: restoring a lost mode makes it readable for the next pass.
    pub(super) fn compare_folders(
        &self,
        pair: &Arc<Pair>,
        source: Option<(&Arc<OwnedFd>, Entry)>,
        replica_fd: Option<&Arc<OwnedFd>>,
    ) {
        let (Some(source_dir), Some(replica_dir)) = (&pair.source, &pair.replica) else { return };
        // An unreadable source folder blocks its own metadata, too: apply could not set it either.
        let Some((source_fd, source)) = source else { return };
        let replica = match facts_of(replica_dir, replica_fd) {
            Ok(replica) => replica,
            Err(errno) if is_gone(errno) => return self.gone(pair, Side::Replica, errno),
            Err(errno) => return self.unreadable_folder(pair, Side::Replica, errno),
        };
        self.context.note(
            || pair.path(),
            |seen| (seen.source, seen.replica) = (Some(Sight::Here(source)), Some(Sight::Here(replica))),
        );
        let ours = Subject::Open(source_fd.as_fd());
        let subjects = match replica_fd {
            Some(replica_fd) => Subjects::Both(ours, Subject::Open(replica_fd.as_fd())),
            None => Subjects::Source(ours),
        };
        let compared = self.compare_metadata(pair, None, (&source, &replica), subjects);
        let Some(ComparedMetadata { differences, .. }) = compared else { return };
        if differences.any() {
            self.context.reporter.tally(Tally::Changes, 1);
            self.plan().folders.push(FolderChange { pair: Arc::clone(pair), differences, seen: replica });
        } else if source_dir.parent().is_some() {
            self.context.reporter.count(Counter::Unchanged, 1);
        }
    }
}

/// The facts of a folder: of the open descriptor, else by its name in its parent.
fn facts_of(dir: &Arc<Dir>, open: Option<&Arc<OwnedFd>>) -> Result<Entry, Errno> {
    match (open, dir.parent()) {
        (Some(fd), _) => stat::entry_of(fd.as_fd()),
        (None, Some(parent)) => stat::entry_at(parent.open()?.as_fd(), dir.name()),
        (None, None) => dir.entry(),
    }
}
