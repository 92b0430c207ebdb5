//! One pass, told top to bottom: survey, plan, guard, apply, sync.

use crate::apply::apply;
use crate::apply::sync::Disks;
use crate::context::{Context, SourceState};
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::guard::{Facts, Ruling, examine};
use crate::path::RelPath;
use crate::plan::{Pair, Watch};
use crate::problem::{Cause, Error, Problem};
use crate::report::Outcome;
use crate::survey::survey;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Whether the plan is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Make the replica match.
    Mirror,
    /// Tell what would be done, and do nothing.
    Plan,
}

/// Runs one pass over roots that are open already. `unsynced` says whether something may wait for its way to the disk;
/// it is false afterwards if everything got there.
///
/// # Errors
/// The source disappeared.
pub fn run(context: &Context<'_>, purpose: Purpose, unsynced: &mut bool) -> Result<Outcome, Error> {
    let root = Arc::new(root_pair(context));
    let plan = survey(context, root);
    if let Some(signal) = context.interrupt.stopped_by() {
        return Ok(Outcome::Interrupted(signal));
    }
    let state = context.source_state();
    if state == SourceState::Missing {
        return Err(Error::SourceMissing { path: context.source.0.to_path_buf() });
    }
    let facts = Facts {
        source_is_same: state == SourceState::Same,
        source_looks_unmounted: context
            .last_device
            .is_some_and(|device| device != context.source.1.id().device)
            && is_empty(&context.source.1),
    };
    if let Ruling::Hold(hold) = examine(&plan, facts) {
        return Ok(Outcome::Held(hold));
    }
    if purpose == Purpose::Plan {
        context.written(plan.bytes_to_copy());
        plan.describe(|operation| context.planned(operation));
        return Ok(Outcome::Planned);
    }
    if !context.check_replica() {
        return Ok(Outcome::ReplicaLost);
    }
    let disks = Disks::new(context, &plan);
    if !plan.is_empty() {
        *unsynced = true;
        apply(context, &plan, &disks);
        disks.tell_failures(context);
    }
    if let Some(signal) = context.interrupt.stopped_by() {
        return Ok(Outcome::Interrupted(signal));
    }
    if !context.check_replica() {
        return Ok(Outcome::ReplicaLost);
    }
    if *unsynced {
        *unsynced = disks.sync(context).is_err();
    }
    let elsewhere = match context.source_state() {
        SourceState::Same if !context.was_source_away() => return Ok(Outcome::Done),
        SourceState::Same => "the source path led elsewhere for a while",
        SourceState::Replaced => "the source path leads to another folder than when the pass started",
        SourceState::Missing => {
            return Err(Error::SourceLost { path: context.source.0.to_path_buf() });
        }
    };
    context.problem(&Problem {
        path: RelPath::root(),
        action: "vouch for this pass",
        cause: Cause::Refused(elsewhere),
        consequence: "nothing was deleted after that; the next pass takes the folder that is there then",
        content_unreadable: false,
    });
    Ok(Outcome::Done)
}

/// Whether a folder has nothing in it. What cannot be read is not known to have something.
fn is_empty(dir: &Arc<Dir>) -> bool {
    !dir.open().and_then(|fd| Listing::read(fd.as_fd())).is_ok_and(|listing| !listing.is_empty())
}

fn root_pair(context: &Context<'_>) -> Pair {
    let replica = context.replica.1.clone();
    let filesystem = replica
        .as_ref()
        .and_then(|dir| context.filesystems.of(dir, &context.rights).ok())
        .unwrap_or_default();
    Pair {
        source: Some(Arc::clone(&context.source.1)),
        replica,
        filesystem,
        watch: if context.protected.is_some() { Watch::On(0) } else { Watch::Off },
    }
}
