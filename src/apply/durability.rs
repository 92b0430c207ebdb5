//! Durability: `syncfs` and `fdatasync` of the replica while replacements wait, before the first deletion, and at the
//! end of a pass.
//!
//! The kernel reports a failed write once per open descriptor, and a descriptor that is opened after the report hears
//! nothing of it (`errseq_t`, Documentation/core-api/errseq.rst). So one descriptor of each filesystem is held open
//! from before the first write, every `syncfs` goes through it, and its first error is remembered: a later success does
//! not bring the lost data back.
//!
//! During a large copy `syncfs` runs in the background, so that the disk does not idle until the copy ends.

use crate::context::Context;
use crate::fs::dir::Dir;
use crate::fs::{Errno, dirent};
use crate::model::counters::Counter;
use crate::model::error::{Cause, Problem};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::plan::Plan;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, ScopedJoinHandle, Thread, park_timeout, scope};
use std::time::Duration;

/// The least bytes between two `syncfs` calls in the background: each call costs the filesystem a commit of its
/// journal.
const STEP: u64 = 96 << 20;

/// The bytes of journal and inode table that the filesystem writes for one entry, about.
const ENTRY: u64 = 4096;

/// The interval at which the bytes copied so far are checked.
const LOOK: Duration = Duration::from_millis(20);

/// The filesystems that one pass writes to, by device number.
#[derive(Debug, Default)]
pub(crate) struct Volumes(Mutex<BTreeMap<u64, Disk>>);

#[derive(Debug)]
struct Disk {
    path: RelPath,
    /// Held open from the start of the pass, or the error of opening it.
    folder: Result<Arc<OwnedFd>, Errno>,
    /// The first write error, and whether it has been reported.
    failed: Option<(Errno, bool)>,
}

/// Ends the writer thread with the work, also when that panics: the scope would wait for the thread for ever.
struct End<'a> {
    is_over: &'a AtomicBool,
    thread: Option<&'a Thread>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread {
            thread.unpark();
        }
    }
}

impl Volumes {
    /// Holds a descriptor on every filesystem of the plan, before the first write.
    pub(crate) fn new(context: &Context<'_>, plan: &Plan) -> Volumes {
        let disks = Volumes::default();
        let moved = plan.moves.iter().flat_map(|moved| moved.touched.iter().chain(moved.pair()));
        let pairs = moved.chain(plan.changes.iter().map(|change| &change.pair));
        let pairs = pairs.chain(plan.renames.iter().map(|rename| &rename.pair));
        let pairs = pairs.chain(plan.folders.iter().map(|folder| &folder.pair));
        for folder in context.roots.replica.1.iter().chain(pairs.filter_map(|pair| pair.replica.as_ref())) {
            disks.hold(folder);
        }
        disks
    }

    fn hold(&self, dir: &Arc<Dir>) {
        let mut disks = self.lock();
        let held = disks.get(&dir.id().device);
        // A missing folder says nothing of its filesystem: another folder on it is tried.
        if held.is_none_or(|disk| disk.folder.is_err()) {
            let disk = Disk { path: dir.path(), folder: dir.open(), failed: None };
            disks.insert(dir.id().device, disk);
        }
    }

    /// Does the work of a plan, with `syncfs` in the background.
    pub(crate) fn write_during(&self, context: &Context<'_>, plan: &Plan, work: impl FnOnce()) {
        if plan.bytes_to_copy().saturating_add(ENTRY * plan.entries()) < STEP {
            return work();
        }
        let is_over = AtomicBool::new(false);
        scope(|scope| {
            let writer = Builder::new().name("disk writer".to_owned());
            // Without the thread, all data is written by the `syncfs` at the end.
            let writer = writer.spawn_scoped(scope, || self.write_until(context, &is_over));
            let thread = writer.as_ref().ok().map(ScopedJoinHandle::thread);
            let _end = End { is_over: &is_over, thread };
            work();
        });
    }

    fn write_until(&self, context: &Context<'_>, is_over: &AtomicBool) {
        let made =
            || context.reporter.counters().get(Counter::BytesWritten) + ENTRY * context.counts().operations();
        let mut written = made();
        while !is_over.load(Ordering::Relaxed) {
            park_timeout(LOOK);
            let now = made();
            if now - written < STEP {
                continue;
            }
            written = now;
            let devices: Vec<u64> = self.lock().keys().copied().collect();
            for device in devices {
                // A failure is remembered, and reported at the end.
                if self.sync_one(context, device).is_err() {
                    return;
                }
            }
        }
    }

    /// Runs `syncfs` on one filesystem, and reports nothing yet.
    ///
    /// # Errors
    /// The first write error of this filesystem, from this call or an earlier one in this pass.
    pub(crate) fn sync_one(&self, context: &Context<'_>, device: u64) -> Result<(), Errno> {
        // One call at a time: of two concurrent calls only one gets the error.
        let mut disks = self.lock();
        let Some(disk) = disks.get_mut(&device) else { return Err(Errno::NOENT) };
        let folder = disk.folder.clone()?;
        context.interrupt.begin_disk_wait();
        let synced = dirent::sync_filesystem(folder.as_fd());
        context.interrupt.end_disk_wait();
        if let Err(errno) = synced {
            disk.failed.get_or_insert((errno, false));
            context.disk_failed();
        }
        disk.failed.map_or(Ok(()), |(errno, _)| Err(errno))
    }

    /// Runs `syncfs` on every filesystem of this pass. Each failure is reported as a problem, once per filesystem.
    ///
    /// # Errors
    /// The first write error, from this call or an earlier one in this pass.
    pub(crate) fn sync(&self, context: &Context<'_>) -> Result<(), Errno> {
        let devices: Vec<u64> = self.lock().keys().copied().collect();
        let mut all = Ok(());
        for device in devices {
            // Every folder of this pass on it has gone: nothing can have been written.
            if self.lock().get(&device).is_some_and(|disk| matches!(disk.folder, Err(Errno::NOENT))) {
                continue;
            }
            if let Err(errno) = self.sync_one(context, device) {
                all = all.and(Err(errno));
                self.tell(context, device, errno);
            }
        }
        all
    }

    /// Reports the failures that have not been reported, for a pass that ends early: the kernel does not report them
    /// again.
    pub(crate) fn tell_failures(&self, context: &Context<'_>) {
        let failed = |(device, disk): (&u64, &Disk)| disk.failed.map(|(errno, _)| (*device, errno));
        let failures: Vec<(u64, Errno)> = self.lock().iter().filter_map(failed).collect();
        for (device, errno) in failures {
            self.tell(context, device, errno);
        }
    }

    fn tell(&self, context: &Context<'_>, device: u64, errno: Errno) {
        let path = {
            let mut disks = self.lock();
            let Some(disk) = disks.get_mut(&device) else { return };
            if disk.failed.is_some_and(|(_, is_told)| is_told) {
                return;
            }
            disk.failed = Some((errno, true));
            disk.path.clone()
        };
        context.problem(&Problem::new(
            path,
            ProblemKind::SyncReplica,
            Cause::System(errno),
            "what this pass copied may not survive a loss of power",
        ));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Disk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
