//! The memory from one pass to the next: the places of the two trees. Plain data, to be stored and loaded.
//!
//! A disk that has gone leaves its mount point behind, an ordinary folder. Only a memory of the mount shows the
//! difference. So the folders on the way to the two roots are remembered, and all mounts inside the trees: no more than
//! there are mount points.

use crate::model::entry::{Entry, FileId, Timestamp, device_numbers};
use crate::model::error::Side;
use crate::model::path::{RelPath, shown};
use crate::model::serial::{Name, place};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The facts that distinguish a folder (or mounted file) from another one of the same name.
///
/// Device numbers alone do not: the kernel reuses them for the next disk, and the root of a filesystem has the same
/// inode number on all filesystems of a type. The birth time does, where the filesystem records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Device and inode.
    pub id: FileId,
    /// The birth time of the inode, where the filesystem records it.
    pub btime: Option<Timestamp>,
    /// Whether it is the root of a mount (`STATX_ATTR_MOUNT_ROOT`, statx(2)).
    pub is_mount: bool,
}

impl Identity {
    /// The identity of an entry.
    pub(crate) fn of(entry: &Entry) -> Identity {
        Identity { id: entry.id, btime: entry.btime, is_mount: entry.is_mount }
    }

    /// Whether both are the same folder, mounted or not.
    pub fn is_same_folder(&self, other: &Identity) -> bool {
        self.id == other.id && self.btime == other.btime
    }

    /// Its kind, for people.
    fn words(&self) -> &'static str {
        if self.is_mount { "the top of a mount" } else { "no mount" }
    }

    /// The device number as `lsblk` and `/proc/self/mountinfo` show it.
    pub fn device(&self) -> String {
        let (major, minor) = device_numbers(self.id.device);
        format!("{major}:{minor}")
    }
}

/// One folder on the way from `/` to a root, as the kernel passes it when it resolves the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The folder, without symbolic links.
    pub path: PathBuf,
    /// The identity of the entry there; none where it is missing.
    pub identity: Option<Identity>,
}

/// The way to a root: every folder on it, in the order of its resolution, the root itself last.
pub(crate) type Way = Vec<Step>;

/// The step of a given path, if it is on the way.
pub(crate) fn step_at<'a>(way: &'a [Step], path: &Path) -> Option<&'a Step> {
    way.iter().find(|step| step.path == path)
}

/// The roots of mounts on a way.
pub(crate) fn mounts_on(way: &[Step]) -> impl Iterator<Item = (&Step, Identity)> {
    way.iter().filter_map(|step| Some((step, step.identity.filter(|identity| identity.is_mount)?)))
}

/// The mount that the end of a way is on, if it is on the way.
pub(crate) fn mount_at_end(way: &[Step]) -> Option<(&Step, Identity)> {
    let end = way.last()?;
    let above = mounts_on(way).filter(|(step, _)| end.path.starts_with(&step.path));
    above.max_by_key(|(step, _)| step.path.components().count())
}

/// Whether two ways end at the same folder, whatever the mounts.
pub(crate) fn is_same_end(then: &[Step], now: &[Step]) -> bool {
    let end = |way: &[Step]| way.last().and_then(|step| step.identity);
    end(then).zip(end(now)).is_some_and(|(then, now)| then.is_same_folder(&now))
}

/// The first root of a mount that is none any more, with its old and its present identity.
///
/// A folder that is no longer on the way does not matter: a symbolic link leads elsewhere, and the folder with the link
/// is on the way as before. Nothing matters as long as the end is the same folder.
pub(crate) fn gone_mount<'a>(
    then: &'a [Step],
    now: &[Step],
) -> Option<(&'a Step, Identity, Option<Identity>)> {
    if is_same_end(then, now) {
        return None;
    }
    mounts_on(then).find_map(|(step, was)| {
        let now = step_at(now, &step.path)?.identity;
        let is_left = now.is_some_and(|now| now.is_mount || now.is_same_folder(&was));
        (!is_left).then_some((step, was, now))
    })
}

/// The backing of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A disk, a server, a program: the files exist elsewhere while they are not mounted.
    Lasting,
    /// Memory, or other filesystems that stay (tmpfs, overlayfs, program images): such mounts come and go with the
    /// program that uses them, and nothing is lost with them.
    Passing,
}

/// A mount inside a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InnerMount {
    /// The identity at the mount point.
    pub identity: Identity,
    /// Its backing.
    pub backing: Backing,
    /// Whether the mount point has since been seen without its mount. If it is missing afterwards, a person has removed
    /// it.
    pub is_vacated: bool,
}

/// The present entry at the place of a mount inside a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// This entry is there.
    Here(Identity),
    /// It is missing, but its parent is there.
    Gone,
    /// Its parent is missing as well, or is no folder any more.
    Cleared,
    /// It could not be looked up.
    Unknown,
}

/// The place of one tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// The way to its root.
    pub way: Way,
    /// The mounts inside.
    pub mounts: BTreeMap<RelPath, InnerMount>,
}

/// The places of both trees in the last pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The tree that is read.
    pub source: Tree,
    /// The tree that is written.
    pub replica: Tree,
}

impl Memory {
    /// The tree of a side.
    pub(crate) fn of(&self, side: Side) -> &Tree {
        match side {
            Side::Source => &self.source,
            Side::Replica => &self.replica,
        }
    }

    /// As [`Memory::of`].
    pub(crate) fn of_mut(&mut self, side: Side) -> &mut Tree {
        match side {
            Side::Source => &mut self.source,
            Side::Replica => &mut self.replica,
        }
    }
}

/// A place that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A root.
    Root(PathBuf),
    /// A folder on the way to a root.
    Above(PathBuf),
    /// A mount inside a tree.
    Inside(RelPath),
}

/// A place with its identity in the last pass and its present one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The tree.
    pub side: Side,
    /// The place.
    #[serde(flatten, serialize_with = "place")]
    pub place: Place,
    /// The identity in the last pass.
    #[serde(flatten, serialize_with = "was")]
    pub was: Identity,
    /// The present identity; none where the place is missing.
    #[serde(flatten, serialize_with = "now")]
    pub now: Option<Identity>,
}

fn was<S: Serializer>(identity: &Identity, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("was_device", &identity.device())?;
    map.serialize_entry("was_mount", &identity.is_mount)?;
    map.end()
}

fn now<S: Serializer>(identity: &Option<Identity>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    if let Some(identity) = identity {
        map.serialize_entry("now_device", &identity.device())?;
        map.serialize_entry("now_mount", &identity.is_mount)?;
    }
    map.end()
}

impl Name for Place {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Place::Root(path) | Place::Above(path) => path.bytes(),
            Place::Inside(path) => path.bytes(),
        }
    }
}

impl Difference {
    /// The path alone, as bytes.
    pub fn path(&self) -> &[u8] {
        match &self.place {
            Place::Root(path) | Place::Above(path) => path.as_os_str().as_bytes(),
            Place::Inside(path) => path.as_bytes(),
        }
    }

    /// Both identities, as a sentence for people.
    pub fn told(&self) -> String {
        let (side, path, was) = (self.side, shown(self.path()), &self.was);
        let place = match self.place {
            Place::Root(_) => format!("the {side} {path}"),
            Place::Above(_) => format!("{path}, on the way to the {side},"),
            Place::Inside(_) => format!("{path} in the {side}"),
        };
        let Some(now) = &self.now else {
            return format!(
                "{place} was {} (device {}) in the last pass and is missing now",
                was.words(),
                was.device()
            );
        };
        // The next disk may get the device number of the last one, and all their roots have the same inode number.
        let is_same = (was.id.device == now.id.device, was.id.inode == now.id.inode);
        let tell = |identity: &Identity| match (is_same, identity.btime) {
            ((false, _), _) => format!("device {}", identity.device()),
            ((true, true), Some(made)) => {
                format!("device {} made at {}.{:09}", identity.device(), made.seconds, made.nanoseconds)
            }
            ((true, _), _) => format!("device {} inode {}", identity.device(), identity.id.inode),
        };
        format!(
            "{place} was {} ({}) in the last pass and is {} ({}) now",
            was.words(),
            tell(was),
            now.words(),
            tell(now)
        )
    }
}
