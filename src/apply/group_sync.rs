//! Group commit: finished replacements are held under their temporary names until many of them can be made durable with
//! one `syncfs`; then each is renamed into place. One `fdatasync` per file was the largest cost of a pass with many
//! small edits.
//!
//! Pending files take room beside the old versions, so their number is limited. A pass that ends early discards them:
//! the old versions are all there, and the next pass copies again.

use crate::apply::error::Failed;
use crate::apply::hardlinks::targets::{Content, Key, Place};
use crate::apply::job::Job;
use crate::apply::publish::discard;
use crate::apply::staged::Staged;
use crate::apply::{Apply, lock};
use crate::fs::Errno;
use crate::fs::dir::Dir;
use crate::fs::file::sync_named;
use crate::model::problem_kind::ProblemKind;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of files, or bytes, that fills a group.
const ENOUGH_FILES: usize = 1024;
const ENOUGH_BYTES: u64 = 64 << 20;

/// Up to this number of files each gets its own fdatasync: a `syncfs` also writes data of other programs.
const FEW: usize = 4;

/// The longest time that a file waits while others are copied: a pass may take hours.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// A staged file, and the key of the inode that further hard links are linked to.
struct Finished {
    job: Job,
    ready: Staged,
    key: Option<Key>,
}

/// Finished replacements whose data is not durable yet.
#[derive(Default)]
pub(super) struct PendingRenames {
    files: Vec<Finished>,
    bytes: u64,
    /// When the first file was added.
    since: Option<Instant>,
}

impl PendingRenames {
    fn is_enough(&self) -> bool {
        self.files.len() >= ENOUGH_FILES
            || self.bytes >= ENOUGH_BYTES
            || self.since.is_some_and(|since| since.elapsed() >= LONG_ENOUGH)
    }
}

impl Apply<'_> {
    /// Adds a staged file to the group. If that fills the group, this thread commits it.
    pub(super) fn wait(&self, job: &Job, ready: Staged, key: Option<Key>) {
        let enough = {
            let mut waiting = lock(&self.waiting);
            waiting.bytes += ready.made.entry.size;
            waiting.files.push(Finished { job: job.clone(), ready, key });
            waiting.since.get_or_insert_with(Instant::now);
            waiting.is_enough().then(|| std::mem::take(&mut *waiting))
        };
        if let Some(enough) = enough {
            self.publish(enough);
        }
    }

    /// Commits the group if its first file has waited long enough.
    pub(super) fn publish_overdue(&self) {
        let overdue = {
            let mut waiting = lock(&self.waiting);
            waiting.is_enough().then(|| std::mem::take(&mut *waiting))
        };
        if let Some(overdue) = overdue {
            self.publish(overdue);
        }
    }

    /// Whether a file is pending.
    pub(super) fn has_waiting(&self) -> bool {
        !lock(&self.waiting).files.is_empty()
    }

    /// Commits all pending files.
    pub(super) fn publish_waiting(&self) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        self.publish(waiting);
    }

    fn publish(&self, waiting: PendingRenames) {
        let mut disks: BTreeMap<u64, Vec<Finished>> = BTreeMap::new();
        for file in waiting.files {
            let Some(folder) = &file.job.pair.replica else { continue };
            disks.entry(folder.id().device).or_default().push(file);
        }
        for (device, files) in disks {
            // After a failed `syncfs` each file gets an fdatasync of its own, which tells the durable ones from the
            // others. The failure itself is reported at the end, and nothing is deleted then.
            let is_written = !self.context.is_halted()
                && files.len() > FEW
                && self.disks.sync_one(self.context, device).is_ok();
            for file in files {
                self.publish_one(file, is_written);
            }
        }
    }

    fn publish_one(&self, Finished { job, ready, key }: Finished, is_written: bool) {
        let Some(replica) = &job.pair.replica else { return };
        let opened = replica.open().map_err(Failed::replica(ProblemKind::OpenReplicaFolder));
        let made = opened.and_then(|folder| {
            let folder = folder.as_fd();
            let failed = if self.context.is_halted() {
                Some(Failed::Halted)
            } else if is_written {
                None
            } else {
                let synced = self.sync_temporary(replica, &ready.temporary);
                synced.err().map(Failed::replica(ProblemKind::SyncFile))
            };
            if let Some(failed) = failed {
                discard(folder, &ready.temporary);
                return Err(failed);
            }
            self.context.interrupt.beat();
            // The source folder is not needed any more.
            ready.publish(job.destination(folder, folder))
        });
        match made {
            Ok(made) => {
                if let Some(key) = key {
                    let (folder, name) = (Arc::clone(replica), job.name.clone());
                    self.anchors
                        .made(key, &Place { folder, name, id: made.entry.id, content: Content::OnDisk });
                }
                self.made(&job, made);
            }
            Err(failed) => {
                if let Some(key) = key {
                    self.anchors.not_made(key, Some(failed));
                }
                self.failed(&job, failed);
            }
        }
    }

    /// fsyncs a finished temporary. One that cannot be opened, or not at once, is written with a `syncfs` of its
    /// filesystem.
    ///
    /// # Errors
    /// As `open(2)`, `fdatasync(2)` and [`Volumes::sync_one`](crate::apply::durability::Volumes::sync_one).
    pub(super) fn sync_temporary(&self, folder: &Arc<Dir>, temporary: &CStr) -> Result<(), Errno> {
        match sync_named(folder.open()?.as_fd(), temporary) {
            Err(Errno::ACCESS | Errno::PERM | Errno::AGAIN) => {
                self.disks.sync_one(self.context, folder.id().device)
            }
            synced => synced,
        }
    }
}
