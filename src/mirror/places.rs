//! The two roots at the start of a pass: how they are found and judged, and the errors of those that cannot be used.

use super::{Mirror, PER_THREAD, RESERVED};
use crate::fs::Errno;
use crate::fs::dir::Dir;
use crate::guard::examine_ways;
use crate::model::error::{Error, Side};
use crate::model::event::Monitor;
use crate::model::mounts::{Difference, Way};
use crate::model::report::Hold;
use crate::whereabouts::{Ways, find};
use std::sync::Arc;

impl Mirror {
    /// Locks the replica, if it is there. A dry run takes no lock: it may run beside the process that holds it.
    pub(super) fn lock(&mut self, replica: Option<&Arc<Dir>>, monitor: &dyn Monitor) -> Result<(), Error> {
        match replica {
            Some(replica) if !self.options.dry_run => self.lock.take(replica, &self.options.replica, monitor),
            Some(_) | None => Ok(()),
        }
    }

    /// Has the guard compare the places of the roots with the last pass.
    pub(super) fn judge(&mut self, ways: &Ways) -> Result<Vec<Difference>, Hold> {
        let judged = examine_ways(self.carried.memory.as_ref(), &ways.source, &ways.replica);
        if let Err(hold) = &judged {
            self.let_go(hold);
        }
        judged
    }

    /// Closes the lock if the hold concerns the replica: a disk unmounted in use (`umount -l`) becomes free, and the
    /// wrong one can be unmounted.
    pub(super) fn let_go(&mut self, hold: &Hold) {
        let is_of_root = matches!(hold, Hold::OtherRoot { root, .. } if root.side == Side::Replica);
        if is_of_root || hold.difference().is_some_and(|difference| difference.side == Side::Replica) {
            self.lock.let_go();
        }
    }

    /// The number of folders of each tree that stay open.
    pub(super) fn handle_capacity(&self) -> usize {
        let threads = self.workers.most() as u64;
        let free = crate::fs::open_file_limit().saturating_sub(RESERVED + threads * PER_THREAD);
        usize::try_from(free / 2).unwrap_or(usize::MAX).clamp(4, 512)
    }

    pub(super) fn find_replica(&self, capacity: usize) -> Result<(Way, Option<Arc<Dir>>), Error> {
        find(&self.options.replica, capacity).map_err(|errno| self.replica_error("opened", errno))
    }

    pub(super) fn source_error(&self, errno: Errno) -> Error {
        let path = self.options.source.clone();
        match errno {
            Errno::NOENT => Error::SourceMissing { path },
            Errno::NOTDIR => Error::SourceNotAFolder { path },
            errno => Error::SourceUnreadable { path, cause: errno.into() },
        }
    }

    pub(super) fn replica_error(&self, action: &'static str, errno: Errno) -> Error {
        let path = self.options.replica.clone();
        match errno {
            Errno::NOTDIR => Error::ReplicaNotAFolder { path },
            errno => Error::ReplicaUnusable { path, action, cause: errno.into() },
        }
    }
}
