//! The places of the two trees, compared with the last pass: lookups for the guard, and the memory for the next pass.

use crate::context::Context;
use crate::fs::Errno;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::magic::filesystem_identity;
use crate::fs::stat::entry_of;
use crate::fs::way::{folder_at, look, look_inside};
use crate::guard::{Inside, compare_inside};
use crate::model::doubt::RootIdentity;
use crate::model::error::Side;
use crate::model::mounts::{Backing, Difference, InnerMount, Memory, Place, Sight, Step, Tree, Way, step_at};
use crate::model::path::RelPath;
use crate::model::report::Turnover;
use crate::plan::{Plan, Protected};
use crate::survey::count::total;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

/// The ways to the two roots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ways {
    /// The way to the source.
    pub source: Way,
    /// The way to the replica.
    pub replica: Way,
}

/// The end of a way, without symbolic links; none where that is unknown.
pub(crate) fn end(way: &[Step]) -> Option<&Path> {
    way.last().map(|step| step.path.as_path())
}

/// Opens a root as the kernel resolves it, none where it is missing, and looks at the way to it.
///
/// # Errors
/// As `open(2)` and [`look`]; `EAGAIN` where the mount changes each time.
pub(crate) fn find(path: &Path, capacity: usize) -> Result<(Way, Option<Arc<Dir>>), Errno> {
    const TRIES: usize = 3;
    let open = || match Dir::root(path, capacity) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    };
    let mut is_magic = false;
    for _ in 0..TRIES {
        let (way, dir) = (look(path)?, open()?);
        let seen = way.last().and_then(|step| step.identity).map(|identity| identity.id);
        // A mount may have come or gone between the two.
        if way.is_empty() || seen == dir.as_ref().map(|dir| dir.id()) {
            return Ok((way, dir));
        }
        is_magic = step_at(&way, Path::new("/proc")).is_some();
    }
    // `/proc/1234/root` does not lead to the path that it shows (proc(5)): the way is unknown then.
    if is_magic { Ok((Way::new(), open()?)) } else { Err(Errno::AGAIN) }
}

impl Ways {
    /// The memory of a pass that has only reached its roots.
    pub(crate) fn remembered(&self) -> Memory {
        let tree = |way: &Way| Tree { way: way.clone(), mounts: BTreeMap::new() };
        Memory { source: tree(&self.source), replica: tree(&self.replica) }
    }
}

/// The identity of a root for the next process; none where it cannot be looked at.
pub(crate) fn identity(root: &Arc<Dir>) -> Option<RootIdentity> {
    let folder = root.open().ok()?;
    let (filesystem, fsid) = filesystem_identity(&folder).ok()?;
    let facts = entry_of(folder.as_fd()).ok()?;
    Some(RootIdentity { filesystem, fsid, inode: Some(facts.id.inode), btime: facts.btime })
}

/// Whether the source has no entry but the log, the folder that some filesystems are made with, and what a pattern leaves
/// out; false where that is not known.
pub(crate) fn is_empty(context: &Context<'_>) -> bool {
    let protected = context.log.protected_of_roots();
    let counts = |name: &CStr| {
        name != c"lost+found"
            && context.log.protected_below(protected, name) == Some(Protected::No)
            && context.filter.excludes_any_kind(name.to_bytes()).is_none()
    };
    let names = context.roots.source.1.open().and_then(|folder| Listing::read(folder.as_fd()));
    names.is_ok_and(|names| !(0..names.len()).filter_map(|at| names.get(at)).any(counts))
}

/// The identity of the filesystem on which a missing folder would be made; none where it cannot be looked at.
pub(crate) fn identity_of_missing(path: &Path) -> Option<RootIdentity> {
    let path = std::path::absolute(path).ok()?;
    let above = path.ancestors().skip(1).find_map(|above| Dir::root(above, 1).ok())?;
    identity(&above).map(|above| RootIdentity { inode: None, btime: None, ..above })
}

/// The state of all mounts inside the trees that the last pass remembered.
#[derive(Debug, Default)]
pub(crate) struct Inner(Vec<(Side, RelPath, InnerMount, Inside)>);

impl Inner {
    /// Looks at each of them below the two roots.
    pub(crate) fn look(source: &Arc<Dir>, replica: Option<&Arc<Dir>>, memory: Option<&Memory>) -> Inner {
        let Some(memory) = memory else { return Inner::default() };
        let mut found = Vec::new();
        for (side, root) in [(Side::Source, Some(source)), (Side::Replica, replica)] {
            for (path, then) in &memory.of(side).mounts {
                let sight = match root {
                    Some(root) => look_inside(root, path),
                    // As it will be when the missing root is created again.
                    None if path.names().nth(1).is_none() => Sight::Gone,
                    None => Sight::Cleared,
                };
                found.push((side, path.clone(), *then, compare_inside(side, path, then, sight)));
            }
        }
        Inner(found)
    }

    /// The first mount that has gone.
    pub(crate) fn gone(&self) -> Option<&Difference> {
        self.0.iter().find_map(|(_, _, _, inside)| match inside {
            Inside::Gone(difference) => Some(difference),
            Inside::Same(_) | Inside::Swapped(_) | Inside::Removed | Inside::Unknown => None,
        })
    }

    /// The mounts that are another filesystem now.
    pub(crate) fn swapped(&self) -> impl Iterator<Item = &Difference> {
        self.0.iter().filter_map(|(_, _, _, inside)| match inside {
            Inside::Swapped(difference) => Some(difference),
            Inside::Same(_) | Inside::Gone(_) | Inside::Removed | Inside::Unknown => None,
        })
    }

    /// Notes the mount points that were seen without their mounts.
    pub(crate) fn note_vacated(&self, memory: &mut Option<Memory>) {
        let Some(memory) = memory else { return };
        for (side, path, _, inside) in &self.0 {
            let is_vacated = matches!(inside, Inside::Gone(difference) if difference.now.is_some());
            if let (true, Some(mount)) = (is_vacated, memory.of_mut(*side).mounts.get_mut(path)) {
                mount.is_vacated = true;
            }
        }
    }

    /// The memory for the next pass: the places of the roots, the mounts that the survey has met, and the mounts where
    /// it could not look.
    pub(crate) fn remember(&self, ways: &Ways, met: Vec<(Side, RelPath, InnerMount)>) -> Memory {
        let mut memory = ways.remembered();
        for (side, path, then, inside) in &self.0 {
            let mount = match inside {
                Inside::Same(now) if now.is_mount => {
                    InnerMount { identity: *now, is_vacated: false, ..*then }
                }
                Inside::Swapped(difference) => InnerMount {
                    identity: difference.now.unwrap_or(then.identity),
                    backing: Backing::Lasting,
                    is_vacated: false,
                },
                Inside::Unknown => *then,
                Inside::Same(_) | Inside::Gone(_) | Inside::Removed => continue,
            };
            memory.of_mut(*side).mounts.insert(path.clone(), mount);
        }
        for (side, path, mount) in met {
            memory.of_mut(side).mounts.insert(path, mount);
        }
        memory
    }
}

/// The plan's turnover at and below a place that is on another filesystem. Only such a pass has to count the source for
/// it.
pub(crate) fn turnover(context: &Context<'_>, plan: &Plan, place: &Place) -> Turnover {
    let root = RelPath::root();
    let path = match place {
        Place::Root(_) | Place::Above(_) => &root,
        Place::Inside(path) => path,
    };
    let (created, deleted) = plan.turnover_below(path);
    let replica = context.roots.replica.1.as_ref().and_then(|root| folder_at(root, path));
    let filesystem = replica.and_then(|dir| context.filesystems.of(&dir).ok()).unwrap_or_default();
    let there = folder_at(&context.roots.source.1, path).map_or(0, |dir| total(context, dir, filesystem));
    Turnover { created, deleted, kept: there.saturating_sub(created) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::FileId;
    use crate::model::mounts::Identity;

    fn identity(device: u64, is_mount: bool) -> Identity {
        Identity { id: FileId { device, inode: 2 }, btime: None, is_mount }
    }

    fn mount(device: u64) -> InnerMount {
        InnerMount { identity: identity(device, true), backing: Backing::Passing, is_vacated: false }
    }

    fn path(text: &str) -> RelPath {
        RelPath::from_bytes(text.into())
    }

    fn inner(found: Vec<(&str, InnerMount, Inside)>) -> Inner {
        let found = found.into_iter();
        Inner(found.map(|(name, then, inside)| (Side::Source, path(name), then, inside)).collect())
    }

    fn difference(name: &str, was: u64, now: Option<Identity>) -> Difference {
        Difference { side: Side::Source, place: Place::Inside(path(name)), was: identity(was, true), now }
    }

    #[test]
    fn what_is_mounted_is_remembered_as_it_is_now_and_what_could_not_be_seen_as_it_was() {
        let vacated = InnerMount { is_vacated: true, ..mount(1) };
        let swapped = difference("swapped", 1, Some(identity(9, true)));
        let found = inner(vec![
            ("same", vacated, Inside::Same(identity(1, true))),
            ("itself", mount(2), Inside::Same(identity(2, false))),
            ("swapped", mount(1), Inside::Swapped(swapped)),
            ("unknown", vacated, Inside::Unknown),
            ("removed", mount(3), Inside::Removed),
        ]);
        let step = Step { path: "/s".into(), identity: Some(identity(1, true)) };
        let ways = Ways { source: vec![step.clone()], replica: vec![step.clone(), step] };
        let met = vec![(Side::Source, path("new"), mount(7)), (Side::Replica, path("same"), mount(8))];
        let memory = found.remember(&ways, met);
        assert_eq!((&memory.source.way, &memory.replica.way), (&ways.source, &ways.replica));
        let lasting = InnerMount { backing: Backing::Lasting, ..mount(9) };
        let expected = [("new", mount(7)), ("same", mount(1)), ("swapped", lasting), ("unknown", vacated)];
        assert_eq!(memory.source.mounts, expected.map(|(name, mount)| (path(name), mount)).into());
        assert_eq!(memory.replica.mounts, [(path("same"), mount(8))].into());
    }

    #[test]
    fn a_mount_point_that_is_seen_without_its_mount_is_noted_and_one_that_is_not_seen_is_not() {
        let left = difference("left", 1, Some(identity(5, false)));
        let found = inner(vec![
            ("left", mount(1), Inside::Gone(left.clone())),
            ("gone", mount(1), Inside::Gone(difference("gone", 1, None))),
            ("same", mount(1), Inside::Same(identity(1, true))),
        ]);
        assert_eq!(found.gone(), Some(&left));
        assert_eq!(found.swapped().count(), 0);
        let mut memory = Memory::default();
        for name in ["left", "gone", "same"] {
            memory.source.mounts.insert(path(name), mount(1));
            memory.replica.mounts.insert(path(name), mount(1));
        }
        let mut memory = Some(memory);
        found.note_vacated(&mut memory);
        let memory = memory.expect("there");
        let is_vacated = |side, name: &str| memory.of(side).mounts[&path(name)].is_vacated;
        assert_eq!(["left", "gone", "same"].map(|name| is_vacated(Side::Source, name)), [true, false, false]);
        assert_eq!(["left", "gone", "same"].map(|name| is_vacated(Side::Replica, name)), [false; 3]);
        found.note_vacated(&mut None);
    }
}
