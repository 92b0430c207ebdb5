//! A plan for one path: what a pass would do to it, and what that follows from.

use super::Mirror;
use crate::context::focus::{Focus, Seen};
use crate::model::error::Error;
use crate::model::event::Monitor;
use crate::model::path::RelPath;
use crate::model::report::PassReport;
use std::sync::Arc;

impl Mirror {
    /// Makes the plan of a pass as far as it is about one path, the folders above it and everything below it, and reports
    /// it to the monitor. Nothing else of the trees is looked at, so an entry that has moved from or to another place may
    /// look deleted or new. Only for a dry run.
    ///
    /// # Errors
    /// As [`Mirror::pass`].
    pub(crate) fn explain(
        &mut self,
        path: &RelPath,
        monitor: &dyn Monitor,
    ) -> Result<(PassReport, Seen), Error> {
        debug_assert!(self.options.dry_run, "a part of a plan is never carried out");
        let focus = Arc::new(Focus::on(path.clone()));
        self.focus = Some(Arc::clone(&focus));
        let report = self.pass(1, monitor);
        self.focus = None;
        Ok((report?, focus.seen()))
    }
}
