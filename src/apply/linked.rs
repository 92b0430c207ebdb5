//! Files with several names: the first name is copied, every other one is linked to it.

use crate::apply::failed::Failed;
use crate::apply::made::Sync;
use crate::apply::publish::{discard, publish};
use crate::apply::{Apply, Job, Place, lock};
use crate::entry::{Entry, Kind};
use crate::fs::content::create_private;
use crate::fs::{Errno, is_unsupported, place, stat};
use crate::monitor::{Feature, Operation, Verb};
use crate::problem::Cause;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

impl Apply<'_> {
    /// Makes one name of a file that has several: the first is copied, the others are linked to it.
    pub(super) fn make_linked(&self, job: &Job, entry: &Entry) {
        let Some(replica) = &job.pair.replica else { return };
        let key = (entry.id, replica.id().device);
        let anchor = {
            let mut anchors = lock(&self.anchors);
            match anchors.get(&key) {
                Some(None) => {
                    lock(&self.deferred).push(job.clone());
                    return;
                }
                Some(Some(place)) => Some(place.clone()),
                None => {
                    anchors.insert(key, None);
                    None
                }
            }
        };
        if let Some(anchor) = anchor {
            match self.link(job, entry, &anchor) {
                Ok(()) => return,
                Err(Some(failed)) => return self.failed(job, failed),
                // It cannot be linked there. If its own content is right it stays; else it becomes the new anchor.
                Err(None) if job.content_is_right => return self.set_metadata(job, ""),
                Err(None) => {}
            }
        } else if job.content_is_right {
            lock(&self.anchors).remove(&key);
            return self.set_metadata(job, "");
        }
        let made = self.make_alone(job, entry, Sync::Now);
        let mut anchors = lock(&self.anchors);
        match made {
            Some(place) => anchors.insert(key, Some(place)),
            None => anchors.remove(&key),
        };
    }

    /// Links one name to its anchor.
    ///
    /// # Errors
    /// None when linking is impossible here and copying is not; else what went wrong.
    fn link(&self, job: &Job, entry: &Entry, anchor: &Place) -> Result<(), Option<Failed>> {
        const ACTION: &str = "link it to its other name";
        let failed = |errno| Some(Failed::replica(ACTION)(errno));
        let Some(replica) = &job.pair.replica else { return Ok(()) };
        let folder = replica.open_for_temporaries().map_err(failed)?;
        let from = anchor.folder.open().map_err(failed)?;
        let temporary = place::temporary_name().map_err(failed)?;
        match place::make_link(from.as_fd(), &anchor.name, folder.as_fd(), &temporary) {
            Ok(()) => {}
            // Too many links, or another mount.
            Err(Errno::MLINK | Errno::XDEV) => return Err(None),
            Err(errno) if is_unsupported(errno) || (errno == Errno::PERM && !can_link(folder.as_fd())) => {
                job.pair.filesystem.learn_missing(Feature::HardLinks);
                self.context.not_held(Feature::HardLinks);
                return Err(None);
            }
            // Its other name is immutable, or somebody else's: a copy is better than nothing.
            Err(Errno::PERM) => {
                self.problem(&job.path(), ACTION, Cause::System(Errno::PERM), "it is a file of its own");
                return Err(None);
            }
            Err(errno) => return Err(failed(errno)),
        }
        let at = job.destination(folder.as_fd(), folder.as_fd());
        match stat::entry_at(folder.as_fd(), &temporary) {
            Ok(linked) if linked.id == anchor.id => {}
            looked => {
                discard(folder.as_fd(), &temporary);
                // Another file has the anchor's name by now.
                return Err(looked.err().and_then(failed));
            }
        }
        if job.expected == Some(anchor.id) {
            // rename(2) does nothing when both names are the same file already.
            discard(folder.as_fd(), &temporary);
            self.context.unchanged(1);
            return Ok(());
        }
        if job.expected.is_some() && entry.kind == Kind::File {
            // The old version goes with the rename. Its successor may have been copied a moment ago, under a name that
            // was free, and not be on the disk yet.
            if let Err(errno) = self.sync_temporary(replica, &temporary) {
                discard(folder.as_fd(), &temporary);
                return Err(Some(Failed::replica("write the replica file to its disk")(errno)));
            }
        }
        match publish(at, &temporary, false) {
            Ok(leftover) => {
                let path = job.path();
                let other = anchor.folder.path().join(&anchor.name);
                self.context.done(Operation {
                    linked_to: Some(&other),
                    ..Operation::new(Verb::Link, &path, entry.kind)
                });
                if let Some(leftover) = leftover {
                    lock(&self.leftovers).push((Arc::clone(replica), leftover, path));
                }
                Ok(())
            }
            Err(failed) => {
                discard(folder.as_fd(), &temporary);
                Err(Some(failed))
            }
        }
    }

    /// The names that waited for their inode, one after the other.
    pub(super) fn link_deferred(&self) {
        let jobs = std::mem::take(&mut *lock(&self.deferred));
        for job in jobs {
            if self.context.is_halted() {
                break;
            }
            if let Some(entry) = self.look(&job) {
                self.touch(&job.pair);
                self.make(&job, &entry);
            }
        }
        // A name that has no other one any more is a file like any other, and waits like one.
        self.publish_waiting();
    }
}

/// Whether EPERM says something of one file (immutable, somebody else's) and not of the filesystem: a file that was just
/// made here can be linked.
fn can_link(folder: BorrowedFd<'_>) -> bool {
    let (Ok(one), Ok(other)) = (place::temporary_name(), place::temporary_name()) else {
        return false;
    };
    let Ok(_) = create_private(folder, &one) else { return true };
    let linked = place::make_link(folder, &one, folder, &other);
    discard(folder, &one);
    if linked.is_ok() {
        discard(folder, &other);
    }
    linked.is_ok()
}
