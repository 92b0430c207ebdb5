//! The lock that keeps a second file-sync away from the replica: flock(2) on the open folder, so that nothing is left
//! behind after a crash.
//!
//! It is held between passes, too. Rejected: a lock for each pass, which would allow unmounting the disk in between. A
//! second file-sync with another source on the same replica is refused at its start; otherwise the two would undo each
//! other's work in turns. Rejected: a lock elsewhere between passes, so that the folder need not be open. Its reach is
//! smaller: an abstract socket ends at a network namespace, a file somewhere else at a container or at a user's rights.

use crate::fs::dir::Dir;
use crate::fs::{Errno, dirent, is_unsupported};
use crate::model::entry::FileId;
use crate::model::error::Error;
use crate::model::event::{Event, Monitor, Notice};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// The lock of this process on a replica.
#[derive(Debug, Default)]
pub(crate) struct ReplicaLock(Option<(FileId, Arc<OwnedFd>)>);

impl ReplicaLock {
    /// Locks an open replica. The lock on an earlier replica folder is released. Where the filesystem has no locks,
    /// that is reported once.
    ///
    /// # Errors
    /// Another process has the lock, or the folder cannot be locked.
    pub(crate) fn take(&mut self, dir: &Arc<Dir>, path: &Path, monitor: &dyn Monitor) -> Result<(), Error> {
        let is_mine = self.0.as_ref().is_some_and(|(id, _)| *id == dir.id());
        if !is_mine {
            self.let_go();
        }
        let failed = |action: &'static str, errno: Errno| Error::ReplicaUnusable {
            path: path.to_path_buf(),
            action,
            cause: errno.into(),
        };
        let fd = dir.open().map_err(|errno| failed("opened", errno))?;
        match dirent::lock_folder(fd.as_fd()) {
            // Also where another disk shows the numbers of the locked folder.
            Ok(()) => {}
            Err(_) if is_mine => return Ok(()),
            Err(Errno::WOULDBLOCK) => return Err(Error::ReplicaLocked { path: path.to_path_buf() }),
            Err(errno)
                if is_unsupported(errno) || matches!(errno, Errno::NOLCK | Errno::BADF | Errno::INVAL) =>
            {
                monitor.event(&Event::Notice(Notice::NoLock));
            }
            Err(errno) => return Err(failed("locked", errno)),
        }
        self.0 = Some((dir.id(), fd));
        Ok(())
    }

    /// Releases the lock.
    pub(crate) fn let_go(&mut self) {
        self.0 = None;
    }
}
