//! Measures the filesystems of the replica, for the guard.

use crate::context::Context;
use crate::fs::dir::Dir;
use crate::fs::room::{Space, space_of};
use crate::guard::{Disk, Fit, fit};
use crate::model::event::Reason;
use crate::model::report::Hold;
use crate::model::room::Room;
use crate::plan::Plan;
use crate::plan::room::Demand;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Holds a plan that does not fit. It is only told, and tried, if it may fit after all: where `is_certain` is false, and
/// where entries are kept back whose deletion frees room in the next pass.
pub(super) fn judge(context: &Context<'_>, plan: &Plan, is_certain: bool) -> Option<Hold> {
    if !context.checks_room {
        return None;
    }
    let may_hold = is_certain && context.absence.kept(Reason::Changed).entries == 0;
    let mut hold = None;
    for demand in plan.demands().values().filter(|demand| demand.needed != Room::default()) {
        let Some(space) = space(context, demand) else { continue };
        let at = place(context, demand.folder.as_ref());
        let disk = Disk {
            at: &at,
            free_bytes: space.bytes,
            free_inodes: space.inodes,
            is_plain: space.is_plain,
            needed: demand.needed,
            freed: demand.freed,
        };
        match fit(&disk) {
            Fit::Fits => {}
            Fit::TooLarge(shortage) if may_hold => {
                hold.get_or_insert(Hold::NoRoom(Box::new(shortage)));
            }
            Fit::TooLarge(shortage) | Fit::Doubtful(shortage) => context.reporter.may_lack_room(&shortage),
        }
    }
    hold
}

/// The free room for a part of the plan; none where it is not known.
fn space(context: &Context<'_>, demand: &Demand) -> Option<Space> {
    // The reserve may be for this user as well (resuid= and resgid= of ext4), which the system does not tell.
    let of = |folder: &Arc<Dir>| space_of(&*folder.open().ok()?, true);
    if let Some(folder) = &demand.folder {
        return of(folder);
    }
    let replica = std::path::absolute(context.roots.replica.0).ok()?;
    of(&replica.ancestors().skip(1).find_map(|above| Dir::root(above, 1).ok())?)
}

/// The top of a folder's filesystem inside the replica, or the replica.
fn place(context: &Context<'_>, folder: Option<&Arc<Dir>>) -> PathBuf {
    let root = context.roots.replica.0;
    let Some(folder) = folder else { return root.to_owned() };
    let is_on_it = |dir: &&Arc<Dir>| dir.id().device == folder.id().device;
    let top = std::iter::successors(Some(folder), |dir| dir.parent()).take_while(is_on_it).last();
    let below = top.map(|dir| dir.path()).unwrap_or_default();
    if below.is_root() { root.to_owned() } else { root.join(OsStr::from_bytes(below.as_bytes())) }
}
