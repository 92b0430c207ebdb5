//! The guard: judges the places of the two trees, and the whole plan, before the first write, and refuses a pass that
//! looks like a disaster. Pure.
//!
//! A mount point that was the root of a mount in the last pass and is not any more is another folder, whatever is in
//! it: an empty one would empty the replica, or take a whole copy on the disk below, and so would one with a file that
//! says "not mounted". Where another filesystem is mounted than in the last pass, a person has done that, as with
//! several backup disks in rotation: then the plan tells whether it is the wrong one.

mod limits;
mod room;

pub use self::limits::Limits;
pub(crate) use self::limits::{RootsOf, doubt};
pub(crate) use self::room::{Disk, Fit, fit};

use crate::model::error::Side;
use crate::model::mounts::{
    Backing, Difference, Identity, InnerMount, Memory, Place, Sight, Step, gone_mount, is_same_end,
    mount_at_end, step_at,
};
use crate::model::path::RelPath;
use crate::model::report::{Hold, Turnover};
use std::path::Path;

/// The facts besides the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts<'a> {
    /// Whether the source path still leads to the folder that the survey began with.
    pub source_is_same: bool,
    /// The first mount inside the trees that is gone.
    pub gone: Option<&'a Difference>,
    /// Places on another filesystem than in the last pass, and the plan's turnover there.
    pub swapped: &'a [(Difference, Turnover)],
}

/// The decision of the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// Carry it out.
    Go,
    /// Change nothing.
    Hold(Hold),
}

/// Rules on a plan. If the source was mounted over, unmounted or replaced, during the survey or before it, every
/// absence in the plan is doubtful.
pub(crate) fn examine(facts: Facts<'_>) -> Ruling {
    if !facts.source_is_same {
        return Ruling::Hold(Hold::SourceReplaced);
    }
    if let Some(difference) = facts.gone {
        return Ruling::Hold(Hold::MountGone(Box::new(difference.clone())));
    }
    let doubtful = facts.swapped.iter().find(|(difference, turnover)| is_doubtful(difference.side, turnover));
    match doubtful {
        Some((difference, turnover)) => {
            Ruling::Hold(Hold::Swapped { difference: Box::new(difference.clone()), turnover: *turnover })
        }
        None => Ruling::Go,
    }
}

/// Whether a filesystem that differs from the last pass is probably the wrong one: most of the replica's entries there
/// would be deleted, or most of the source would be created again in a replica that has it already on the other disk.
fn is_doubtful(side: Side, turnover: &Turnover) -> bool {
    let is_filled_anew = turnover.created > turnover.kept;
    turnover.deleted > turnover.kept || (side == Side::Replica && is_filled_anew)
}

/// The comparison of a place with the last pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The same folder, or another one that raises no doubt: on the same filesystem people replace and remove folders
    /// as they like.
    Same,
    /// A mount has gone.
    Gone(Difference),
    /// It is on another filesystem.
    Swapped(Difference),
}

/// Compares the way to a root with that of the last pass.
pub(crate) fn compare_ways(side: Side, then: &[Step], now: &[Step]) -> Finding {
    let (Some(root), Some(root_now)) = (then.last(), now.last()) else { return Finding::Same };
    let Some(was) = root.identity.filter(|_| !is_same_end(then, now)) else { return Finding::Same };
    let difference = |path: &Path, was: Identity, now: Option<Identity>| {
        let is_root = path == root.path || path == root_now.path;
        let place = if is_root { Place::Root(path.into()) } else { Place::Above(path.into()) };
        Difference { side, place, was, now }
    };
    if let Some((step, was, now)) = gone_mount(then, now) {
        return Finding::Gone(difference(&step.path, was, now));
    }
    let is_left = |step: &Step, was: &Identity| {
        step_at(now, &step.path).and_then(|step| step.identity).is_some_and(|now| now.is_same_folder(was))
    };
    match (mount_at_end(then), mount_at_end(now)) {
        (None, None) => Finding::Same,
        (Some((step, was)), Some((step_now, _)))
            if step.path.starts_with(&step_now.path) && is_left(step, &was) =>
        {
            Finding::Same
        }
        (Some((step, was)), Some((step_now, now))) if step.path == step_now.path => {
            Finding::Swapped(difference(&step.path, was, Some(now)))
        }
        (_, mount_now) => {
            // A folder on the way was mounted over; or a link leads to another filesystem.
            let over = mount_now.and_then(|(step, now)| {
                let was = step_at(then, &step.path)?.identity.filter(|was| !was.is_mount)?;
                Some(difference(&step.path, was, Some(now)))
            });
            let nearest = || now.iter().rev().find_map(|step| step.identity);
            Finding::Swapped(over.unwrap_or_else(|| difference(&root_now.path, was, nearest())))
        }
    }
}

/// Judges the places of the roots before anything is opened or created: a held pass touches nothing. Returns the roots
/// that are on another filesystem.
///
/// # Errors
/// The reason for holding the pass.
pub(crate) fn examine_ways(
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

/// The comparison of a mount inside a tree with the last pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// It is the same.
    Same(Identity),
    /// Another filesystem is mounted there.
    Swapped(Difference),
    /// The mount has gone.
    Gone(Difference),
    /// The mount point was removed, with its mount or after it: an ordinary removal.
    Removed,
    /// The comparison failed.
    Unknown,
}

/// Compares a mount inside a tree with the present entry there.
///
/// A mount point that has gone together with its mount is doubtful as well: desktops remove that of a disk that was
/// pulled out. It is not doubtful if it was seen empty in between, for then a person removed it, nor if only a memory
/// filesystem was mounted there.
///
/// RACE: a pass that looks between the unmount and that removal sees it empty.
pub(crate) fn compare_inside(side: Side, path: &RelPath, then: &InnerMount, sight: Sight) -> Inside {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::{FileId, Timestamp};
    use crate::model::mounts::{Tree, Way};
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    /// `8.2m`: device 8, inode 2, the root of a mount; `8.2m@5`: created at the time 5.
    fn identity(words: &str) -> Identity {
        let (id, made) = words.split_once('@').map_or((words, None), |(id, made)| (id, Some(made)));
        let (id, is_mount) = id.strip_suffix('m').map_or((id, false), |id| (id, true));
        let (device, inode) = id.split_once('.').expect(words);
        Identity {
            id: FileId { device: device.parse().expect(words), inode: inode.parse().expect(words) },
            btime: made.map(|made| Timestamp { seconds: made.parse().expect(words), nanoseconds: 0 }),
            is_mount,
        }
    }

    /// `/=1.2m /disk=-`: the folders on the way and their identities; a dash for a missing one.
    fn way(words: &str) -> Way {
        let step = |word: &str| {
            let (path, what) = word.split_once('=').expect(word);
            Step { path: path.into(), identity: (what != "-").then(|| identity(what)) }
        };
        words.split_whitespace().map(step).collect()
    }

    fn told(finding: &Finding) -> String {
        let place = |difference: &Difference| match &difference.place {
            Place::Root(path) => format!("root {}", path.display()),
            Place::Above(path) => format!("above {}", path.display()),
            Place::Inside(path) => format!("inside {path}"),
        };
        match finding {
            Finding::Same => "same".to_owned(),
            Finding::Gone(difference) => format!("gone {}", place(difference)),
            Finding::Swapped(difference) => format!("swapped {}", place(difference)),
        }
    }

    #[test]
    fn a_root_whose_mount_is_gone_is_told_from_one_that_is_merely_another_folder() {
        let cases = [
            ("nothing has happened", "/=1.2m /disk=8.2m", "/=1.2m /disk=8.2m", "same"),
            ("the root was the top of a mount", "/=1.2m /disk=8.2m", "/=1.2m /disk=1.50", "gone root /disk"),
            ("a bind mount of the same disk", "/=1.2m /data=1.70m", "/=1.2m /data=1.50", "gone root /data"),
            ("its mount point is gone as well", "/=1.2m /disk=8.2m", "/=1.2m /disk=-", "gone root /disk"),
            (
                "the mount is above it",
                "/=1.2m /disk=8.2m /disk/home=8.9",
                "/=1.2m /disk=1.50 /disk/home=-",
                "gone above /disk",
            ),
            (
                "the mount is above it, and the mount point has such a folder as well",
                "/=1.2m /disk=8.2m /disk/home=8.9",
                "/=1.2m /disk=1.50 /disk/home=1.51",
                "gone above /disk",
            ),
            (
                "the folders above the mount point are gone",
                "/=1.2m /media=1.7 /media/disk=8.2m /media/disk/home=8.9",
                "/=1.2m /media=- /media/disk=- /media/disk/home=-",
                "gone above /media/disk",
            ),
            (
                "of two mounts the upper one is told",
                "/=1.2m /a=8.2m /a/b=9.2m /a/b/c=9.7",
                "/=1.2m /a=1.3 /a/b=- /a/b/c=-",
                "gone above /a",
            ),
            (
                "a folder mounted on itself is the same folder without that",
                "/=1.2m /data=1.50m /data/x=1.51",
                "/=1.2m /data=1.50 /data/x=1.99",
                "same",
            ),
            (
                "what is left of it is the same folder",
                "/=1.2m /a=8.2m /a/b=9.2m /a/b/c=9.7",
                "/=1.2m /a=1.3 /a/b=9.2m /a/b/c=9.7",
                "same",
            ),
            (
                "deleted on the same disk",
                "/=1.2m /disk=8.2m /disk/home=8.9",
                "/=1.2m /disk=8.2m /disk/home=-",
                "same",
            ),
            ("deleted, no disk of its own", "/=1.2m /r=1.9", "/=1.2m /r=-", "same"),
            (
                "replaced on the same disk",
                "/=1.2m /disk=8.2m /disk/home=8.9",
                "/=1.2m /disk=8.2m /disk/home=8.10",
                "same",
            ),
            (
                "a subvolume of the same disk was made again",
                "/=1.2m /pool=30.256m /pool/r=31.256",
                "/=1.2m /pool=30.256m /pool/r=35.256",
                "same",
            ),
            ("back under another number", "/=1.2m /disk=8.2m", "/=1.2m /disk=9.2m", "swapped root /disk"),
            (
                "another disk under the same number",
                "/=1.2m /disk=8.2m@10",
                "/=1.2m /disk=8.2m@20",
                "swapped root /disk",
            ),
            (
                "another disk on the mount point above",
                "/=1.2m /disk=8.2m /disk/home=8.9",
                "/=1.2m /disk=9.2m /disk/home=9.9",
                "swapped above /disk",
            ),
            (
                "another disk without the folder",
                "/=1.2m /disk=8.2m /disk/home=8.9",
                "/=1.2m /disk=9.2m /disk/home=-",
                "swapped above /disk",
            ),
            ("mounted late", "/=1.2m /disk=1.50", "/=1.2m /disk=8.2m", "swapped root /disk"),
            (
                "mounted late, above it",
                "/=1.2m /disk=1.50 /disk/home=1.51",
                "/=1.2m /disk=8.2m /disk/home=8.9",
                "swapped above /disk",
            ),
            (
                "a link leads to another disk",
                "/=1.2m /one=8.2m /one/r=8.9",
                "/=1.2m /two=9.2m /two/r=9.9",
                "swapped root /two/r",
            ),
            (
                "a link leads to another folder of the disk",
                "/=1.2m /one=8.2m /one/a=8.9",
                "/=1.2m /one=8.2m /one/b=8.10",
                "same",
            ),
            (
                "a link leads away from a mount that is gone",
                "/=1.2m /snaps=1.3 /snaps/1=8.2m",
                "/=1.2m /snaps=1.3 /snaps/2=9.2m",
                "swapped root /snaps/2",
            ),
            (
                "a link on one disk leads to another one, and then to no disk of its own",
                "/=1.2m /one=8.2m /two=9.2m /two/r=9.7",
                "/=1.2m /one=8.2m /r=1.30",
                "swapped root /r",
            ),
            (
                "a link on a disk leads to a folder that was replaced",
                "/=1.2m /one=8.2m /r=1.30",
                "/=1.2m /one=8.2m /r=1.31",
                "same",
            ),
            (
                "the disk with the link is gone",
                "/=1.2m /a=8.2m /b=9.2m /b/r=9.7",
                "/=1.2m /a=1.3 /a/link=-",
                "gone above /a",
            ),
            ("without any mount, as in a chroot", "/=1.2 /r=1.9", "/=1.2 /r=1.10", "same"),
            ("nothing was there", "/=1.2m /disk=-", "/=1.2m /disk=8.2m", "same"),
            ("not known", "", "/=1.2m /disk=8.2m", "same"),
            ("not known any more", "/=1.2m /disk=8.2m", "", "same"),
        ];
        for (name, then, now, expected) in cases {
            for side in [Side::Source, Side::Replica] {
                assert_eq!(told(&compare_ways(side, &way(then), &way(now))), expected, "{name}");
            }
        }
    }

    #[test]
    fn what_was_and_what_is_are_told() {
        let cases = [
            (
                ("/=1.2m /disk=2065.2m", "/=1.2m /disk=1.50"),
                "the replica /disk was the top of a mount (device 8:17) in the last pass and is no mount (device 0:1) now",
            ),
            (
                ("/=1.2m /disk=2065.2m /disk/r=2065.7", "/=1.2m /disk=- /disk/r=-"),
                "/disk, on the way to the replica, was the top of a mount (device 8:17) in the last pass and is missing now",
            ),
            (
                ("/=1.2m /data=1.70m", "/=1.2m /data=1.50"),
                "the replica /data was the top of a mount (device 0:1 inode 70) in the last pass and is no mount \
                 (device 0:1 inode 50) now",
            ),
            (
                ("/=1.2m /disk=2065.2m@10", "/=1.2m /disk=2065.2m@20"),
                "the replica /disk was the top of a mount (device 8:17 made at 10.000000000) in the last pass and is the \
                 top of a mount (device 8:17 made at 20.000000000) now",
            ),
        ];
        for ((then, now), expected) in cases {
            let told = match compare_ways(Side::Replica, &way(then), &way(now)) {
                Finding::Gone(difference) | Finding::Swapped(difference) => difference.told(),
                Finding::Same => "same".to_owned(),
            };
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_pass_is_held_before_anything_is_made_where_a_mount_is_gone() {
        let memory = Memory {
            source: Tree { way: way("/=1.2m /data=7.2m"), mounts: BTreeMap::new() },
            replica: Tree { way: way("/=1.2m /disk=8.2m /disk/r=8.9"), mounts: BTreeMap::new() },
        };
        let (data, disk) = ("/=1.2m /data=7.2m", "/=1.2m /disk=8.2m /disk/r=8.9");
        let cases = [
            (data, disk, "go"),
            (data, "/=1.2m /disk=8.2m /disk/r=-", "go"),
            ("/=1.2m /data=1.3", disk, "MountGone source"),
            (data, "/=1.2m /disk=1.4 /disk/r=-", "MountGone replica"),
            ("/=1.2m /data=1.3", "/=1.2m /disk=1.4 /disk/r=-", "MountGone source"),
            (data, "/=1.2m /disk=9.2m /disk/r=-", "MissingElsewhere replica"),
            (data, "/=1.2m /disk=9.2m /disk/r=9.9", "swapped replica"),
            ("/=1.2m /data=6.2m", "/=1.2m /disk=9.2m /disk/r=9.9", "swapped source replica"),
        ];
        for (source, replica, expected) in cases {
            let told = match examine_ways(Some(&memory), &way(source), &way(replica)) {
                Ok(swapped) if swapped.is_empty() => "go".to_owned(),
                Ok(swapped) => swapped
                    .iter()
                    .fold("swapped".to_owned(), |told, difference| format!("{told} {}", difference.side)),
                Err(hold) => {
                    let name = format!("{hold:?}");
                    let name = name.split('(').next().expect("a name");
                    format!("{name} {}", hold.difference().expect("a place").side)
                }
            };
            assert_eq!(told, expected, "{source}, {replica}");
        }
        assert_eq!(examine_ways(None, &way("/=1.2m /data=1.3"), &way(disk)), Ok(vec![]), "a new process");
    }

    #[test]
    fn what_was_mounted_inside_a_tree_is_missed_until_somebody_has_removed_its_mount_point() {
        use Backing::{Lasting, Passing};
        let here = |words: &str| Sight::Here(identity(words));
        let cases = [
            ("as it was", Lasting, false, here("8.2m"), "same"),
            ("not mounted any more", Lasting, false, here("1.7"), "gone"),
            ("not mounted any more, memory", Passing, false, here("1.7"), "gone"),
            ("not mounted for some passes", Lasting, true, here("1.7"), "gone"),
            ("the folder was mounted on itself", Lasting, false, here("8.2"), "same"),
            ("another disk", Lasting, false, here("9.2m"), "swapped"),
            ("mounted again", Lasting, true, here("8.2m"), "same"),
            ("mounted again under another number", Lasting, true, here("9.2m"), "swapped"),
            ("pulled out, and its mount point removed", Lasting, false, Sight::Gone, "gone"),
            ("ended, and its mount point removed", Passing, false, Sight::Gone, "removed"),
            ("unmounted, and later removed", Lasting, true, Sight::Gone, "removed"),
            ("removed with the folder around it", Lasting, false, Sight::Cleared, "removed"),
            ("cannot be looked at", Lasting, false, Sight::Unknown, "unknown"),
        ];
        let path = RelPath::from_bytes(b"a/m".to_vec());
        for (name, backing, is_vacated, sight, expected) in cases {
            let then = InnerMount { identity: identity("8.2m"), backing, is_vacated };
            let told = match compare_inside(Side::Source, &path, &then, sight) {
                Inside::Same(_) => "same",
                Inside::Swapped(_) => "swapped",
                Inside::Gone(_) => "gone",
                Inside::Removed => "removed",
                Inside::Unknown => "unknown",
            };
            assert_eq!(told, expected, "{name}");
        }
    }

    #[test]
    fn another_disk_is_taken_unless_the_plan_looks_like_the_wrong_one() {
        let cases = [
            // Created, deleted, kept; whether a source, and whether a replica, is held.
            ((0, 0, 0), false, false),
            ((0, 0, 9), false, false),
            ((5, 5, 9), false, false),
            ((9, 9, 9), false, false),
            ((0, 10, 9), true, true),
            ((0, 1, 0), true, true),
            ((10, 0, 9), false, true),
            ((1, 0, 0), false, true),
        ];
        for ((created, deleted, kept), source, replica) in cases {
            for (side, is_held) in [(Side::Source, source), (Side::Replica, replica)] {
                let difference = Difference {
                    side,
                    place: Place::Root(PathBuf::from("/disk")),
                    was: identity("8.2m"),
                    now: Some(identity("9.2m")),
                };
                let turnover = Turnover { created, deleted, kept };
                let facts =
                    Facts { source_is_same: true, gone: None, swapped: &[(difference.clone(), turnover)] };
                let hold = Ruling::Hold(Hold::Swapped { difference: Box::new(difference.clone()), turnover });
                assert_eq!(examine(facts) == hold, is_held, "{side} {turnover:?}");
                assert_eq!(examine(facts) == Ruling::Go, !is_held, "{side} {turnover:?}");
            }
        }
    }

    #[test]
    fn a_source_that_is_another_one_is_told_before_everything_else() {
        let difference = Difference {
            side: Side::Source,
            place: Place::Inside(RelPath::from_bytes(b"m".to_vec())),
            was: identity("8.2m"),
            now: None,
        };
        let swapped = [(difference.clone(), Turnover { created: 0, deleted: 1, kept: 0 })];
        let gone = Ruling::Hold(Hold::MountGone(Box::new(difference.clone())));
        let wrong =
            Ruling::Hold(Hold::Swapped { difference: Box::new(difference.clone()), turnover: swapped[0].1 });
        let cases = [
            (true, None, &[][..], Ruling::Go),
            (true, None, &swapped[..], wrong),
            (true, Some(&difference), &swapped[..], gone),
            (false, Some(&difference), &swapped[..], Ruling::Hold(Hold::SourceReplaced)),
            (false, None, &[][..], Ruling::Hold(Hold::SourceReplaced)),
        ];
        for (source_is_same, gone, swapped, expected) in cases {
            assert_eq!(examine(Facts { source_is_same, gone, swapped }), expected);
        }
    }
}
