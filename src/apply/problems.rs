//! The words for what apply cannot do, and what becomes of it: told, tried again later, or left to the next pass.

use crate::apply::copy::Failed;
use crate::apply::finish::NotSet;
use crate::apply::{Apply, Job, lock};
use crate::fs::{is_gone, stat};
use crate::path::RelPath;
use crate::problem::{Cause, Problem, Side};
use std::os::fd::AsFd;

impl Apply<'_> {
    pub(super) fn failed(&self, job: &Job, failed: Failed) {
        match failed {
            Failed::Vanished | Failed::Halted => {
                self.context.check_replica();
            }
            Failed::NotHeld => self.context.left_out(),
            Failed::Taken => {
                // Where upper and lower case count as the same, the name that is in the way may be an old spelling that
                // the plan is about to delete: then that is the only copy, and it has to stay for now.
                let folder = job.pair.replica.as_ref().and_then(|dir| dir.open().ok());
                let taken_by = folder.and_then(|fd| stat::entry_at(fd.as_fd(), &job.name).ok());
                lock(&self.spared).extend(taken_by.map(|entry| entry.id));
                let reason = "the replica has another entry of that name (do upper and lower case count as the same there?)";
                self.problem(
                    &job.path(),
                    "put it in its place",
                    Cause::Refused(reason),
                    "the next pass tries again",
                );
            }
            Failed::Because(_, Cause::System(errno), false) if is_gone(errno) => {
                self.context.replica_disturbed(&job.pair.path());
            }
            full if full.is_full() => lock(&self.no_room).push(job.clone()),
            Failed::Because(action, cause, content_unreadable) => self.context.problem(&Problem {
                path: job.path(),
                action,
                cause,
                consequence: match job.expected {
                    Some(_) => "the old replica is kept",
                    None => "it is missing in the replica",
                },
                content_unreadable,
            }),
        }
    }

    /// Tells what metadata could not be set, if any. A source entry that vanished meanwhile is for the next pass.
    pub(super) fn not_set(&self, path: &RelPath, not_set: Option<NotSet>, consequence: &'static str) {
        let Some(NotSet { side, action, errno }) = not_set else { return };
        match side {
            Side::Source if is_gone(errno) => {}
            Side::Replica if is_gone(errno) => self.context.replica_disturbed(path),
            Side::Source | Side::Replica => self.problem(path, action, Cause::System(errno), consequence),
        }
    }

    pub(super) fn problem(
        &self,
        path: &RelPath,
        action: &'static str,
        cause: Cause,
        consequence: &'static str,
    ) {
        self.context.problem(&Problem {
            path: path.clone(),
            action,
            cause,
            consequence,
            content_unreadable: false,
        });
    }
}
