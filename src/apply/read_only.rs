//! Read-only parts of the replica are left alone, after one report.

use crate::apply::Apply;
use crate::apply::error::Failed;
use crate::apply::job::Job;
use crate::context::Context;
use crate::fs::Errno;
use crate::fs::dir::Dir;
use crate::fs::read_only::Found;
use crate::model::error::{Cause, Problem};
use crate::model::problem_kind::ProblemKind;
use std::sync::Arc;

/// Whether an action failed because the folder lies in a read-only part of the replica: that is reported once for
/// everything at and below the topmost such folder.
pub(super) fn is_told(context: &Context<'_>, folder: &Arc<Dir>, errno: Errno) -> bool {
    if errno != Errno::ROFS {
        return false;
    }
    match context.read_only.find(folder) {
        Found::Writable => false,
        Found::Known => true,
        Found::New(top) => {
            context.problem(&Problem::new(
                top.path(),
                ProblemKind::ChangeFolder,
                Cause::System(errno),
                "nothing at or below it is changed",
            ));
            true
        }
    }
}

impl Apply<'_> {
    /// Whether a job lies in a known read-only part, which has been reported.
    pub(super) fn is_hopeless(&self, job: &Job) -> bool {
        let is_hopeless = job.pair.replica.as_ref().is_some_and(|folder| self.context.read_only.hold(folder));
        if is_hopeless {
            // An entry that is to be deleted elsewhere may be its old name.
            let refused = Cause::System(Errno::ROFS);
            self.note_unmade(job, Failed::Because(ProblemKind::ChangeFolder, refused, false), false);
        }
        is_hopeless
    }
}
