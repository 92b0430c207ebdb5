//! One pass from top to bottom: survey, plan, guard, apply, sync.

use crate::apply::apply;
use crate::apply::durability::Volumes;
use crate::context::Context;
use crate::context::roots::SourceState;
use crate::guard::{Facts, Ruling, examine};
use crate::model::counters::Counter;
use crate::model::error::{Cause, Error, Problem};
use crate::model::mounts::{Difference, Memory};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::model::report::{Outcome, Turnover};
use crate::plan::Pair;
use crate::survey::survey;
use crate::whereabouts::{Inner, Ways, turnover};
use std::sync::Arc;

/// Whether the plan is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Carry the plan out.
    Mirror,
    /// Report the plan, write nothing.
    Plan,
}

/// The state that outlives a pass.
#[derive(Debug)]
pub(crate) struct Carried {
    /// True while writes to the replica may not be durable.
    pub unsynced: bool,
    /// The places of the trees in the last pass that the guard let through.
    pub memory: Option<Memory>,
}

/// The places of the roots at the start of a pass.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// The ways to them.
    pub ways: Ways,
    /// The roots that are on another filesystem than in the last pass.
    pub swapped: Vec<Difference>,
}

const TAKEN: &str = "nothing was deleted after that; the next pass takes the folder that is there then";

/// Runs one pass over roots that are open already.
///
/// # Errors
/// The source is missing after the survey, or lost at the end.
pub(crate) fn run(
    context: &Context<'_>,
    purpose: Purpose,
    arrival: &Arrival,
    carried: &mut Carried,
) -> Result<Outcome, Error> {
    context.reporter.surveying();
    let mut plan = survey(context, Arc::new(root_pair(context)));
    let state = context.roots.source_state();
    let (source, replica) = (&context.roots.source.1, context.roots.replica.1.as_ref());
    let inner = Inner::look(source, replica, carried.memory.as_ref());
    let swapped: Vec<(Difference, Turnover)> = arrival
        .swapped
        .iter()
        .chain(inner.swapped())
        .map(|difference| (difference.clone(), turnover(context, &plan, &difference.place)))
        .collect();
    if let Some(signal) = context.interrupt.stopped_by() {
        return Ok(Outcome::Interrupted(signal));
    }
    if state == SourceState::Missing {
        return Err(Error::SourceMissing { path: context.roots.source.0.to_path_buf() });
    }
    let totals = plan.totals();
    context.reporter.surveyed(&totals);
    let facts = Facts { source_is_same: state.is_whole(), gone: inner.gone(), swapped: &swapped };
    if let Ruling::Hold(hold) = examine(facts) {
        inner.note_vacated(&mut carried.memory);
        return Ok(Outcome::Held(hold));
    }
    if purpose == Purpose::Plan {
        context.reporter.planned_in_all(&totals);
        plan.describe(|operation| context.reporter.planned(operation));
        return Ok(Outcome::Planned);
    }
    if !context.check_replica() {
        return Ok(Outcome::ReplicaLost);
    }
    carried.memory = Some(inner.remember(&arrival.ways, context.inner_mounts.take()));
    let unsynced = &mut carried.unsynced;
    let disks = Volumes::new(context, &plan);
    context.reporter.count(Counter::BytesToWrite, totals[Counter::BytesToWrite]);
    if !plan.is_empty() {
        *unsynced = true;
        context.reporter.applying();
        apply(context, &mut plan, &disks);
        disks.tell_failures(context);
    }
    if let Some(signal) = context.interrupt.stopped_by() {
        return Ok(Outcome::Interrupted(signal));
    }
    if !context.check_replica() {
        return Ok(Outcome::ReplicaLost);
    }
    if *unsynced {
        context.reporter.syncing();
        *unsynced = disks.sync(context).is_err();
    }
    let (elsewhere, consequence) = match context.roots.source_state() {
        SourceState::Same | SourceState::LeftBehind if context.roots.was_source_away() => {
            ("the source path led elsewhere for a while", TAKEN)
        }
        SourceState::Same | SourceState::LeftBehind if context.has_kept_back() => (
            "a symbolic link in the source path leads elsewhere by now, and what has gone from the folder that the pass \
                 began with is not known to be gone there",
            "it stays; the next pass takes the folder that is there then",
        ),
        SourceState::Same | SourceState::LeftBehind => return Ok(Outcome::Done),
        SourceState::Replaced => {
            ("the source path leads to another folder than when the pass started", TAKEN)
        }
        SourceState::Missing => {
            return Err(Error::SourceLost { path: context.roots.source.0.to_path_buf() });
        }
    };
    context.problem(&Problem::new(
        RelPath::root(),
        ProblemKind::ConfirmPass,
        Cause::Refused(elsewhere),
        consequence,
    ));
    Ok(Outcome::Done)
}

fn root_pair(context: &Context<'_>) -> Pair {
    let replica = context.roots.replica.1.clone();
    let filesystem = replica.as_ref().and_then(|dir| context.filesystems.of(dir).ok()).unwrap_or_default();
    Pair {
        source: Some(Arc::clone(&context.roots.source.1)),
        replica,
        filesystem,
        protected: context.log.protected_of_roots(),
    }
}
