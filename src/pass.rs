//! One pass from top to bottom: survey, plan, guard, apply, sync.

mod first;
mod room;

use crate::apply::apply;
use crate::apply::durability::Volumes;
use crate::context::Context;
use crate::context::roots::SourceState;
use crate::guard::{Facts, RootsOf, Ruling, doubt, examine};
use crate::model::counters::Counter;
use crate::model::doubt::{EXAMPLES, RootIdentity, WayOut};
use crate::model::error::{Cause, Error, Problem};
use crate::model::mounts::{Difference, Memory, Place};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::model::report::{Hold, Outcome, Turnover};
use crate::model::takes::{Taken, Takes};
use crate::plan::{Pair, Plan};
use crate::survey::survey;
use crate::whereabouts::{Inner, Ways, is_empty, turnover};
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
    /// What the plan takes that was held, until it is noted.
    pub held: Option<Takes>,
    /// Whether the last pass of this process that was done had problems.
    pub had_problems: Option<bool>,
}

/// The places of the roots at the start of a pass.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// The ways to them.
    pub ways: Ways,
    /// The roots that are on another filesystem than in the last pass.
    pub swapped: Vec<Difference>,
    /// The identities of the two roots; none where they are not known.
    pub identities: Option<[RootIdentity; 2]>,
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
    context.reporter.rules(&context.filter);
    let facts = Facts { source_is_same: state.is_whole(), gone: inner.gone(), swapped: &swapped };
    let opinion = Opinion::of(context, &plan, arrival);
    if let Ruling::Hold(hold) = examine(facts)
        && !opinion.is_about_same(&hold)
    {
        inner.note_vacated(&mut carried.memory);
        return Ok(Outcome::Held(hold));
    }
    let lacks_room = match &opinion {
        Opinion::Good | Opinion::Approved(_) => {
            room::judge(context, &plan, is_certain(context, purpose, carried, &plan))
        }
        Opinion::Held(..) => None,
    };
    if purpose == Purpose::Plan {
        context.reporter.planned_in_all(&totals);
        plan.describe(|operation| context.reporter.planned(operation));
        let hold = match opinion {
            Opinion::Held(hold, _) => Some(hold),
            Opinion::Good | Opinion::Approved(_) => lacks_room,
        };
        return Ok(hold.map_or(Outcome::Planned, Outcome::Held));
    }
    // Nobody can approve room; an approval of the plan waits until there is some.
    if let (Some(hold), Opinion::Good | Opinion::Approved(_)) = (lacks_room, &opinion) {
        return Ok(Outcome::Held(hold));
    }
    // An approved plan is known to a person.
    if let (Opinion::Good, Some(outcome)) = (&opinion, first::ask(context, &plan)) {
        return Ok(outcome);
    }
    match opinion {
        // One that was not needed is void.
        Opinion::Good => context.ledger.use_up_plans(),
        Opinion::Approved(hold) => context.reporter.plan_approved(&hold),
        Opinion::Held(hold, takes) => {
            carried.held = Some(takes);
            return Ok(Outcome::Held(hold));
        }
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
    // What is left of an approved plan, the next pass may still do.
    let is_done = |counter: &Counter| context.counts()[*counter] >= totals[*counter];
    if !context.has_kept_back() && [Counter::Deleted, Counter::Updated, Counter::Retyped].iter().all(is_done)
    {
        context.ledger.use_up_plans();
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

/// Whether a plan says truly what the replica lacks. Entries that could not be made in the last pass, for whatever reason,
/// may never take any room, and are planned in each pass all the same. A folder of the replica that cannot be read may give
/// back any amount, and only a pass that is carried out can make it readable.
fn is_certain(context: &Context<'_>, purpose: Purpose, carried: &Carried, plan: &Plan) -> bool {
    if context.counts()[Counter::Problems] > 0 || plan.has_unread() {
        return false;
    }
    match context.ledger.had_problems().or(carried.had_problems) {
        Some(had_problems) => !had_problems,
        // Without an index, nothing is known of earlier passes over a replica that has something. A dry run makes none.
        None => {
            let is_unknown = context.ledger.is_off() && purpose == Purpose::Mirror;
            !is_unknown || plan.stake(context.counts()[Counter::Unchanged]).all == 0
        }
    }
}

/// The opinion about a plan, by its numbers and by what the index knows of the roots.
enum Opinion {
    Good,
    /// It is doubtful, and a person has approved it.
    Approved(Hold),
    /// It is doubtful, and takes this.
    Held(Hold, Takes),
}

impl Opinion {
    fn of(context: &Context<'_>, plan: &Plan, arrival: &Arrival) -> Opinion {
        let stake = plan.stake(context.counts()[Counter::Unchanged]);
        let (then, now) = (context.ledger.roots(), arrival.identities);
        let is_empty = is_empty(context);
        let judged = doubt(context.limits, RootsOf { then, now }, stake, is_empty);
        let Some(mut hold) = judged else { return Opinion::Good };
        let roots = now.map_or_else(String::new, |[source, replica]| format!("{source}; {replica}"));
        let approved = context.ledger.approved_plan().filter(|takes| takes.roots == roots);
        // What it takes besides is judged as that of any plan: a log that has grown voids no approval.
        let is_approved = approved.is_some_and(|takes| {
            let rest = plan.rest(&stake, &takes);
            doubt(context.limits, RootsOf { then: now, now }, rest, false).is_none()
        });
        let way = if matches!(hold, Hold::TooManyChanges(_)) { Taken::Overwritten } else { Taken::Deleted };
        if let Some(doubt) = hold.doubt_mut() {
            (doubt.examples, doubt.others) = plan.largest(way, EXAMPLES);
            doubt.way_out = if is_approved { WayOut::Approved } else { WayOut::DryRun };
        }
        if is_approved {
            return Opinion::Approved(hold);
        }
        Opinion::Held(hold, plan.takes(&stake, roots))
    }

    /// Whether it is about the same root as a hold for another filesystem there: then a person can approve the plan.
    fn is_about_same(&self, other: &Hold) -> bool {
        let Hold::Swapped { difference, .. } = other else { return false };
        let (Opinion::Approved(Hold::OtherRoot { root, .. })
        | Opinion::Held(Hold::OtherRoot { root, .. }, _)) = self
        else {
            return false;
        };
        root.side == difference.side && !matches!(difference.place, Place::Inside(_))
    }
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
