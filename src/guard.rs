//! The guard: judges where the two trees are, and the whole plan, before anything is written, and refuses what looks like a
//! disaster. Pure.
//!
//! A mount point that was the top of a mount in the last pass and is not any more is not the same folder, whatever is in it:
//! an empty one would empty the replica, or take a whole copy on the disk below, and so would one with a file in it that says
//! "not mounted". Where another filesystem is mounted than in the last pass, somebody has done that, as people do who have
//! several backup disks and take turns: then the plan tells whether it is the wrong one.

use crate::memory::{Backing, Difference, Identity, InnerMount, Memory, Place, Sight, Step};
use crate::path::RelPath;
use crate::problem::Side;
use crate::report::{Hold, Turnover};
use std::path::Path;

/// What is known besides the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Whether the folder that the survey began with is still where it was.
    pub source_is_same: bool,
    /// The first mount inside the trees that is gone.
    pub gone: Option<&'a Difference>,
    /// Places on another filesystem than in the last pass, and how much the plan does there.
    pub swapped: &'a [(Difference, Turnover)],
}

/// What the guard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Carry it out.
    Go,
    /// Change nothing.
    Hold(Hold),
}

/// Rules on a plan. A source that was mounted over, unmounted or replaced, during the survey or before it, makes every
/// absence in the plan doubtful.
pub fn examine(facts: Facts<'_>) -> Ruling {
    if !facts.source_is_same {
        return Ruling::Hold(Hold::SourceReplaced);
    }
    if let Some(difference) = facts.gone {
        return Ruling::Hold(Hold::MountGone(Box::new(difference.clone())));
    }
    let doubtful = facts.swapped.iter().find(|(difference, turnover)| is_doubtful(difference.side, turnover));
    match doubtful {
        Some((difference, turnover)) => Ruling::Hold(Hold::Swapped(Box::new(difference.clone()), *turnover)),
        None => Ruling::Go,
    }
}

/// Whether a filesystem that is another one than in the last pass is most likely the wrong one: most of what the replica has
/// there would go, or most of the source would be made anew in a replica that has it already, on the other disk.
fn is_doubtful(side: Side, turnover: &Turnover) -> bool {
    let is_filled_anew = turnover.created > turnover.kept;
    turnover.deleted > turnover.kept || (side == Side::Replica && is_filled_anew)
}

/// How a place compares with what it was in the last pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is the same, or another folder where that is no reason for doubt: on the same filesystem people replace and remove
    /// what they like.
    Same,
    /// A mount is gone.
    Gone(Difference),
    /// It is on another filesystem.
    Swapped(Difference),
}

/// Compares the way to a root with that of the last pass.
pub fn compare_ways(side: Side, then: &[Step], now: &[Step]) -> Finding {
    let (Some(root), Some(root_now)) = (then.last(), now.last()) else { return Finding::Same };
    let Some(was) = root.identity else { return Finding::Same };
    if root_now.identity.is_some_and(|now| now.is_same_folder(&was)) {
        return Finding::Same;
    }
    let difference = |path: &Path, was: Identity, now: Option<Identity>| {
        let is_root = path == root.path || path == root_now.path;
        let place = if is_root { Place::Root(path.into()) } else { Place::Above(path.into()) };
        Difference { side, place, was, now }
    };
    // A folder that is not passed any more is of no interest: a symbolic link leads elsewhere, and what has the link in it
    // is passed as before.
    let mounts = || then.iter().filter_map(|step| Some((step, mounted(step)?)));
    let gone = mounts().find_map(|(step, was)| {
        let now = at(now, &step.path)?.identity;
        let is_left = now.is_some_and(|now| now.is_mount || now.is_same_folder(&was));
        (!is_left).then(|| difference(&step.path, was, now))
    });
    if let Some(gone) = gone {
        return Finding::Gone(gone);
    }
    // The deepest mount on the way is the filesystem that the root is on.
    let holder = mounts().last();
    let holder_now = now.iter().rev().find_map(|step| Some((step, mounted(step)?)));
    match (holder, holder_now) {
        (Some((step, was)), Some((step_now, now))) if step.path == step_now.path => {
            if was.is_same_folder(&now) {
                Finding::Same
            } else {
                Finding::Swapped(difference(&step.path, was, Some(now)))
            }
        }
        (None, None) => Finding::Same,
        (_, holder_now) => {
            // Something was mounted over a folder that is passed as before; or a link leads to another filesystem.
            let over = holder_now.and_then(|(step, now)| {
                let was = at(then, &step.path)?.identity.filter(|was| !was.is_mount)?;
                Some(difference(&step.path, was, Some(now)))
            });
            let nearest = || now.iter().rev().find_map(|step| step.identity);
            Finding::Swapped(over.unwrap_or_else(|| difference(&root_now.path, was, nearest())))
        }
    }
}

/// Judges where the roots are before anything is opened or made: a pass that is held touches nothing. Else tells which of them
/// are on another filesystem.
///
/// # Errors
/// Why the pass is held.
pub fn examine_ways(
    memory: Option<&Memory>,
    source: &[Step],
    replica: &[Step],
) -> Result<Vec<Difference>, Hold> {
    let Some(memory) = memory else { return Ok(Vec::new()) };
    let mut swapped = Vec::new();
    for (side, now) in [(Side::Source, source), (Side::Replica, replica)] {
        match compare_ways(side, &memory.of(side).way, now) {
            Finding::Same => {}
            Finding::Gone(difference) => return Err(Hold::MountGone(Box::new(difference))),
            Finding::Swapped(difference) if now.last().is_some_and(|root| root.identity.is_none()) => {
                return Err(Hold::MissingElsewhere(Box::new(difference)));
            }
            Finding::Swapped(difference) => swapped.push(difference),
        }
    }
    Ok(swapped)
}

fn mounted(step: &Step) -> Option<Identity> {
    step.identity.filter(|identity| identity.is_mount)
}

fn at<'a>(way: &'a [Step], path: &Path) -> Option<&'a Step> {
    way.iter().find(|step| step.path == path)
}

/// How something that was mounted inside a tree compares with what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    /// It is the same.
    Same(Identity),
    /// Another filesystem is mounted there.
    Swapped(Difference),
    /// The mount is gone.
    Gone(Difference),
    /// The mount point was removed, with its mount or after it: an ordinary removal.
    Removed,
    /// Nothing can be said.
    Unknown,
}

/// Compares something that was mounted inside a tree with what is seen there now.
///
/// A mount point that is gone together with its mount is doubtful as well: desktops remove that of a disk that was pulled
/// out. Not so if it was seen empty in between, for then somebody removed it, nor if only memory was mounted there.
pub fn compare_inside(side: Side, path: &RelPath, then: &InnerMount, sight: Sight) -> Inside {
    let was = then.identity;
    let difference = |now| Difference { side, place: Place::Inside(path.clone()), was, now };
    match sight {
        Sight::Here(now) if now.is_same_folder(&was) => Inside::Same(now),
        Sight::Here(now) if now.is_mount => Inside::Swapped(difference(Some(now))),
        Sight::Here(now) => Inside::Gone(difference(Some(now))),
        Sight::Gone => match then.backing {
            Backing::Lasting if !then.is_vacated => Inside::Gone(difference(None)),
            Backing::Lasting | Backing::Passing => Inside::Removed,
        },
        Sight::Cleared => Inside::Removed,
        Sight::Unknown => Inside::Unknown,
    }
}
