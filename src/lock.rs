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
pub(crate) struct ReplicaLock(Option<Locked>);

#[derive(Debug)]
struct Locked {
    id: FileId,
    fd: Arc<OwnedFd>,
}

impl Drop for Locked {
    /// Unlocks explicitly. Closing would not do while a process that another thread has just forked still has the
    /// descriptor, until its exec(2). `LOCK_UN` on an open descriptor has no error that matters here.
    fn drop(&mut self) {
        let _ = dirent::unlock_folder(self.fd.as_fd());
    }
}

impl ReplicaLock {
    /// Locks an open replica. The lock on an earlier replica folder is released. Where the filesystem has no locks,
    /// that is reported once.
    ///
    /// # Errors
    /// Another process has the lock, or the folder cannot be locked.
    pub(crate) fn take(&mut self, dir: &Arc<Dir>, path: &Path, monitor: &dyn Monitor) -> Result<(), Error> {
        let is_mine = self.0.as_ref().is_some_and(|locked| locked.id == dir.id());
        if !is_mine {
            self.let_go();
        }
        let failed = |action: &'static str, errno: Errno| Error::ReplicaUnusable {
            path: path.to_path_buf(),
            action,
            cause: errno.into(),
        };
        let fd = dir.open().map_err(|errno| failed("opened", errno))?;
        let mut locked = dirent::lock_folder(fd.as_fd());
        if is_mine && locked.is_ok() {
            // Another disk shows the numbers of the locked folder, or the filesystem keeps one lock for each process:
            // there the release of the old one ends the new one, too.
            self.let_go();
            locked = dirent::lock_folder(fd.as_fd());
        } else if is_mine {
            return Ok(());
        }
        match locked {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::ReplicaLocked { path: path.to_path_buf() }),
            Err(errno)
                if is_unsupported(errno) || matches!(errno, Errno::NOLCK | Errno::BADF | Errno::INVAL) =>
            {
                monitor.event(&Event::Notice(Notice::NoLock));
            }
            Err(errno) => return Err(failed("locked", errno)),
        }
        self.0 = Some(Locked { id: dir.id(), fd });
        Ok(())
    }

    /// Releases the lock.
    pub(crate) fn let_go(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_strategies::Deaf;

    #[test]
    fn a_lock_that_was_released_is_free_although_a_child_still_has_the_descriptor() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = || Dir::root(scratch.path(), 4).unwrap();
        let path = scratch.path();
        let mut first = ReplicaLock::default();
        first.take(&dir(), path, &Deaf).unwrap();
        let inherited = first.0.as_ref().unwrap().fd.try_clone().unwrap();
        let mut second = ReplicaLock::default();
        assert!(matches!(second.take(&dir(), path, &Deaf), Err(Error::ReplicaLocked { .. })));
        first.let_go();
        second.take(&dir(), path, &Deaf).unwrap();
        drop(inherited);
    }

    #[test]
    fn a_replica_stays_locked_from_pass_to_pass() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = || Dir::root(scratch.path(), 4).unwrap();
        let path = scratch.path();
        let mut first = ReplicaLock::default();
        for _pass in 0..3 {
            first.take(&dir(), path, &Deaf).unwrap();
            let mut second = ReplicaLock::default();
            assert!(matches!(second.take(&dir(), path, &Deaf), Err(Error::ReplicaLocked { .. })));
        }
        let same = first.0.as_ref().map(|locked| Arc::clone(&locked.fd));
        drop(first);
        drop(same);
        ReplicaLock::default().take(&dir(), path, &Deaf).unwrap();
    }
}
