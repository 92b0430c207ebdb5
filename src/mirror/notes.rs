//! The index of the pair around a pass: what is read from it before, and what is noted in it after.

use super::{Mirror, Moment};
use crate::fs::rights::rights;
use crate::index::held::HeldPlan;
use crate::index::passes::PassEnd;
use crate::index::{Conditions, Index, Ledger, Warning};
use crate::model::doubt::WayOut;
use crate::model::event::{Event, Monitor, Notice};
use crate::model::report::Hold;
use std::path::Path;
use std::time::Duration;

impl Mirror {
    /// Opens the index for a pass.
    pub(super) fn begin_index(&mut self, moment: Moment, source: &Path) -> (Ledger, Option<Warning>) {
        let Some(index) = &mut self.index else { return (Ledger::off(), None) };
        let begun = index.begin(&Conditions {
            start: moment.start,
            is_dry_run: self.options.dry_run,
            source: source.to_path_buf(),
            rights: rights().fingerprint(),
        });
        if !self.options.dry_run {
            index.note_start(moment.number, moment.start);
        }
        begun
    }

    /// Keeps a held plan in the index, and adds the command that lets it through.
    pub(super) fn note_held(&mut self, hold: &mut Hold, moment: Moment) {
        let message = hold.to_string();
        let is_of_root = matches!(hold, Hold::OtherRoot { .. });
        let Some(doubt) = hold.doubt_mut() else { return };
        let held = moment.start.stamp().millis();
        let Some(takes) = self.carried.held.take() else { return };
        let plan = HeldPlan { held, takes, message };
        let approve = self.index.as_ref().and_then(|index| {
            let kept = index.note_held(plan)?;
            Some(index.approve_command(&kept))
        });
        doubt.way_out = match approve {
            Some(command) => WayOut::Approve(command),
            None if is_of_root => WayOut::Index,
            None => WayOut::NoLimits,
        };
    }

    /// Writes the end of a pass into the index; nothing after a dry run.
    pub(super) fn note_end(&mut self, end: &PassEnd<'_>) -> Option<Warning> {
        let index = self.index.as_mut().filter(|_| !self.options.dry_run)?;
        index.note_disk(self.disk_failed);
        index.note_end(end)
    }

    /// The age of the replica by the last pass that was done, of this process or an earlier one; none where the index
    /// knows of none.
    pub fn replica_age(&self) -> Option<Duration> {
        self.index.as_ref().and_then(Index::replica_age)
    }

    /// Reports what is wrong with the index.
    pub(super) fn warn(&self, monitor: &dyn Monitor, warning: Option<Warning>) {
        if let (Some(warning), Some(index)) = (warning, &self.index) {
            let index = index.path();
            monitor.event(&Event::Notice(match &warning {
                Warning::Unusable(reason) => Notice::IndexUnusable { index, reason },
                Warning::Unwritable(reason) => Notice::IndexUnwritable { index, reason },
                Warning::Rebuilt(reason) => Notice::IndexRebuilt { index, reason },
            }));
        }
    }
}
