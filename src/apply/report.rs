//! Reports failures of apply, and decides whether each is a problem, is retried, or is left to the next pass.

use crate::apply::Apply;
use crate::apply::error::Failed;
use crate::apply::job::Job;
use crate::apply::read_only::is_told;
use crate::apply::refusal::MetadataError;
use crate::fs::{Errno, is_gone};
use crate::model::counters::Counter;
use crate::model::error::{Cause, Problem, Side};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::plan::Pair;
use std::ffi::CStr;

impl Apply<'_> {
    pub(super) fn failed(&self, job: &Job, failed: Failed) {
        if failed == Failed::Taken {
            self.taken.add(&job.pair, &job.name);
        }
        let has_gone = match failed {
            Failed::Vanished => true,
            Failed::Gone(_, errno) => self.confirms_gone(&job.pair, Some(&job.name), errno),
            Failed::Halted | Failed::NotHeld | Failed::Taken | Failed::Because(..) => false,
        };
        match failed {
            Failed::Vanished | Failed::Halted => {
                self.context.check_replica();
            }
            Failed::NotHeld => self.context.reporter.count(Counter::Skipped, 1),
            Failed::Gone(..) if has_gone => {
                self.context.check_replica();
            }
            failed if self.again.keep(job, &failed) => return,
            Failed::Gone(action, errno) => self.context.problem(&Problem {
                path: job.path(),
                kind: action,
                cause: Cause::System(errno),
                consequence: consequence(job),
                content_unreadable: true,
            }),
            Failed::Taken => {
                let reason = "the replica has another entry of that name (are several spellings one name there, as upper and lower case?)";
                self.problem(&job.path(), ProblemKind::Publish, Cause::Refused(reason), consequence(job));
            }
            Failed::Because(_, Cause::System(errno), false)
                if job.pair.replica.as_ref().is_some_and(|folder| is_told(self.context, folder, errno)) => {}
            Failed::Because(_, Cause::System(errno), false) if is_gone(errno) => {
                self.context.replica_disturbed(&job.pair.path());
            }
            Failed::Because(_, Cause::System(errno), in_source) if self.is_locked(job, errno, in_source) => {}
            Failed::Because(action, cause, content_unreadable) => self.context.problem(&Problem {
                path: job.path(),
                kind: action,
                cause,
                consequence: consequence(job),
                content_unreadable,
            }),
        }
        self.note_unmade(job, failed, has_gone);
    }

    fn confirms_gone(&self, pair: &Pair, name: Option<&CStr>, errno: Errno) -> bool {
        let lost = |dir| self.context.confirms_gone(Side::Source, dir, name, errno);
        pair.source.as_ref().is_none_or(lost)
    }

    /// Whether a job failed because a folder of the source or the replica is locked, which is reported once.
    fn is_locked(&self, job: &Job, errno: Errno, in_source: bool) -> bool {
        let (side, dir) =
            if in_source { (Side::Source, &job.pair.source) } else { (Side::Replica, &job.pair.replica) };
        dir.as_ref().is_some_and(|dir| self.context.is_locked_file(side, dir, errno))
    }

    /// Reports a failure to set metadata of a name, or of the folder itself, if any. An entry that vanished from the
    /// source meanwhile is left to the next pass.
    pub(super) fn not_set(&self, pair: &Pair, name: Option<&CStr>, not_set: Option<MetadataError>) {
        let Some(MetadataError { side, action, errno }) = not_set else { return };
        let path = name.map_or_else(|| pair.path(), |name| pair.path().join(name));
        match side {
            Side::Source if is_gone(errno) && self.confirms_gone(pair, name, errno) => {}
            Side::Replica if is_gone(errno) => self.context.replica_disturbed(&path),
            Side::Replica
                if pair.replica.as_ref().is_some_and(|folder| is_told(self.context, folder, errno)) => {}
            Side::Source | Side::Replica => {
                let consequence = match name {
                    Some(_) => "its content is right",
                    None => "the folder's contents are right",
                };
                self.problem(&path, action, Cause::System(errno), consequence);
            }
        }
    }

    pub(super) fn problem(
        &self,
        path: &RelPath,
        action: ProblemKind,
        cause: Cause,
        consequence: &'static str,
    ) {
        self.context.problem(&Problem::new(path.clone(), action, cause, consequence));
    }
}

/// The consequence of an entry that could not be created.
fn consequence(job: &Job) -> &'static str {
    match job.expected {
        Some(_) => "the old replica is kept",
        None => "it is missing in the replica",
    }
}
