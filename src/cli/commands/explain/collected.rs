//! The events of a plan, as far as they are about one path.

use crate::cli::commands::tally::Tallies;
use crate::log::humanize;
use crate::model::change::{Operation, Subtree, Verb};
use crate::model::entry::Kind;
use crate::model::error::Problem;
use crate::model::event::{Event, Monitor, Notice};
use crate::model::path::RelPath;
use std::sync::{Mutex, PoisonError};

/// Collects the events about a path.
pub(super) struct Collected {
    path: RelPath,
    events: Mutex<Events>,
}

/// What is known of the path.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The changes at the path.
    pub own: Vec<Planned>,
    /// The changes of folders above it that take it along.
    pub above: Vec<Planned>,
    /// The changes below it.
    pub below: Tallies,
    /// The entries below it that are left out.
    pub left_out_below: u64,
    /// The problems at the path and above it.
    pub problems: Vec<Problem>,
    /// The number of problems below it.
    pub problems_below: u64,
    /// Other facts, in words.
    pub notices: Vec<String>,
}

/// A planned operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub verb: Verb,
    pub path: RelPath,
    pub kind: Kind,
    pub size: Option<u64>,
    /// The path before a move or a rename.
    pub from: Option<RelPath>,
    pub subtree: Option<Subtree>,
    pub reason: String,
}

impl Planned {
    fn of(operation: &Operation<'_>) -> Planned {
        Planned {
            verb: operation.verb,
            path: operation.path.clone(),
            kind: operation.kind,
            size: operation.size,
            from: operation.moved_from.or(operation.renamed_from).cloned(),
            subtree: operation.subtree,
            reason: operation.reason.to_owned(),
        }
    }
}

impl Collected {
    /// Nothing yet, about this path.
    pub(super) fn about(path: &RelPath) -> Collected {
        Collected { path: path.clone(), events: Mutex::default() }
    }

    /// The events so far.
    pub(super) fn take(self) -> Events {
        self.events.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, events: &mut Events, operation: &Operation<'_>) {
        if *operation.path == self.path {
            events.own.push(Planned::of(operation));
        } else if operation.path.is_at_or_below(&self.path) {
            events.below.add(operation);
        } else if self.path.is_at_or_below(operation.path) && operation.verb != Verb::Metadata {
            events.above.push(Planned::of(operation));
        }
    }
}

impl Monitor for Collected {
    fn event(&self, event: &Event<'_>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Planned(operation) => self.plan(&mut events, operation),
            // Why the path itself is left out, the survey notes.
            Event::Skipped { path, .. } if path.is_at_or_below(&self.path) && **path != self.path => {
                events.left_out_below += 1;
            }
            Event::Problem(problem) if self.path.is_at_or_below(&problem.path) => {
                events.problems.push((*problem).clone());
            }
            Event::Problem(problem) if problem.path.is_at_or_below(&self.path) => events.problems_below += 1,
            Event::Notice(notice) => match notice {
                // Told of the pass as a whole, which this is not, or of its log.
                Notice::FirstDeletion { .. }
                | Notice::MayLackRoom { .. }
                | Notice::RuleUnused { .. }
                | Notice::RuleUsed { .. }
                | Notice::KeptBack { .. }
                | Notice::LogInside { .. }
                | Notice::FewerThreads { .. } => {}
                Notice::Unsupported { .. }
                | Notice::FoldersStay { .. }
                | Notice::NoLock
                | Notice::PriorityRefused { .. }
                | Notice::ReplicaCreated { .. }
                | Notice::SymlinkUnread { .. }
                | Notice::XattrUnread { .. }
                | Notice::NoStateFolder
                | Notice::IndexUnusable { .. }
                | Notice::IndexUnwritable { .. }
                | Notice::IndexRebuilt { .. }
                | Notice::PlanApproved { .. }
                | Notice::UnstableInodes { .. }
                | Notice::TimesStoodStill { .. } => events.notices.push(humanize::notice(notice)),
            },
            // The rule, and the numbers, are in what was seen and in the counters.
            Event::Excluded { .. }
            | Event::Skipped { .. }
            | Event::Problem(_)
            | Event::Started { .. }
            | Event::PassStarted { .. }
            | Event::Phase { .. }
            | Event::Verified { .. }
            | Event::Done(_)
            | Event::PassEnded(_)
            | Event::Overran { .. }
            | Event::RpoAtRisk { .. }
            | Event::RpoMissed { .. }
            | Event::RpoMet { .. }
            | Event::Stopping { .. }
            | Event::Stopped
            | Event::Failed { .. } => {}
        }
    }
}
