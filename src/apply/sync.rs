//! Writing the replica to its disk: at the end of a pass, and before the first deletion.

use crate::context::Context;
use crate::fs::{Errno, place};
use crate::plan::Plan;
use crate::problem::{Cause, Problem};
use std::collections::HashSet;
use std::os::fd::AsFd;

/// Writes every filesystem that this pass wrote to to its disk.
///
/// # Errors
/// The first reason why one could not be written. Each has been told as a problem.
pub fn sync(context: &Context<'_>, plan: &Plan) -> Result<(), Errno> {
    let mut synced = HashSet::new();
    let folders =
        plan.changes.iter().map(|change| &change.pair).chain(plan.folders.iter().map(|folder| &folder.pair));
    let folders = context.replica.1.iter().chain(folders.filter_map(|pair| pair.replica.as_ref()));
    let mut all = Ok(());
    context.interrupt.begin_disk_wait();
    for folder in folders {
        let device = folder.id().device;
        if synced.contains(&device) {
            continue;
        }
        let done = folder.open().and_then(|fd| place::sync_filesystem(fd.as_fd()));
        // A folder that is gone says nothing of its filesystem: another one on it is tried.
        if done != Err(Errno::NOENT) {
            synced.insert(device);
        }
        if let Err(errno) = done
            && errno != Errno::NOENT
        {
            all = all.and(Err(errno));
            context.problem(&Problem {
                path: folder.path(),
                action: "write the replica to its disk",
                cause: Cause::System(errno),
                consequence: "what this pass copied may not survive a loss of power",
                content_unreadable: false,
            });
        }
    }
    context.interrupt.end_disk_wait();
    all
}
