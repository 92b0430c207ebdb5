//! The plan of a dry run on standard output: a summary on a terminal, lines in a pipe, JSON on request.
//!
//! A [`Monitor`] beside the log, with the same events: the log file keeps its lines, and warnings go to standard error
//! as in any pass. The text goes through the console of the log, so that it stays in order with them.

mod fit;
mod json;
mod lines;
mod summary;
mod words;

use self::summary::Summary;
use crate::cli::commands::tally::Tallies;
use crate::cli::config::{PlanForm, PlanOptions};
use crate::log::Log;
use crate::model::event::{Event, Monitor, Notice};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Shows the plan of one pass.
pub(super) struct DryRun<'a> {
    options: PlanOptions,
    source: &'a Path,
    replica: &'a Path,
    log: Arc<Log>,
    state: Mutex<State>,
}

/// The plan so far.
struct State {
    tallies: Tallies,
    summary: Summary,
    /// True after the first JSON object.
    has_begun: bool,
}

impl<'a> DryRun<'a> {
    /// A plan of these roots that is printed on the console of this log.
    pub(super) fn new(
        options: PlanOptions,
        (source, replica): (&'a Path, &'a Path),
        log: Arc<Log>,
    ) -> DryRun<'a> {
        let (tallies, summary) = (Tallies::default(), Summary::new(options.verbose));
        let state = Mutex::new(State { tallies, summary, has_begun: false });
        DryRun { options, source, replica, log, state }
    }

    fn summarize(&self, state: &mut State, event: &Event<'_>) {
        match event {
            Event::Planned(operation) => state.summary.take(operation),
            Event::Skipped { path, kind, reason } => state.summary.take_left_out(path, *kind, reason),
            Event::Excluded { path, rule } => state.summary.take_excluded(path, rule),
            Event::Notice(Notice::RuleUsed { rule, entries }) => state.summary.take_rule(rule, *entries),
            Event::PassEnded(report) if !self.options.quiet => {
                let page = summary::Page { width: self.log.columns(), color: self.options.color };
                let print = &mut |line: &str| self.log.print(line);
                state.summary.print(&page, (self.source, self.replica), report, print);
            }
            Event::PassEnded(_)
            | Event::Started { .. }
            | Event::PassStarted { .. }
            | Event::Phase { .. }
            | Event::Verified { .. }
            | Event::Done(_)
            | Event::Problem(_)
            | Event::Notice(_)
            | Event::Overran { .. }
            | Event::RpoAtRisk { .. }
            | Event::RpoMissed { .. }
            | Event::RpoMet { .. }
            | Event::Stopping { .. }
            | Event::Stopped
            | Event::Failed { .. } => {}
        }
    }

    fn print_object(&self, state: &mut State, event: &Event<'_>) {
        let is_first = !state.has_begun;
        if let Some(object) = json::object(event, is_first, &state.tallies, self.options) {
            state.has_begun = true;
            self.log.print(&object);
        }
    }
}

impl Monitor for DryRun<'_> {
    fn event(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Planned(operation) = event {
            state.tallies.add(operation);
        }
        match self.options.form {
            PlanForm::Summary => self.summarize(&mut state, event),
            PlanForm::Lines => {
                if let Some(line) = lines::line(event, self.options) {
                    self.log.print(&line);
                }
            }
            PlanForm::Json => self.print_object(&mut state, event),
        }
    }

    fn wants_verified(&self) -> bool {
        self.options.verbose && self.options.form != PlanForm::Summary
    }
}
