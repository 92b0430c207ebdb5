//! Why a plan is doubtful, as far as numbers and the identities of the roots tell, and what lets it through.

use crate::model::entry::Timestamp;
use crate::model::error::Side;
use crate::model::limit::{Limit, Stake};
use crate::model::path::RelPath;
use crate::model::serial;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::fmt;

/// What a doubtful plan would take, and how a person lets it through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// What the plan takes.
    #[serde(flatten, serialize_with = "stake")]
    pub stake: Stake,
    /// The limit that it exceeds; none where the identities of the roots raise the doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The largest of what it takes, by the number of entries.
    #[serde(serialize_with = "examples")]
    pub examples: Vec<(RelPath, u64)>,
    /// The number of the other ones.
    #[serde(skip)]
    pub others: u64,
    /// What lets the plan through.
    #[serde(rename = "approve", skip_serializing_if = "WayOut::is_no_command")]
    pub way_out: WayOut,
}

/// What lets a held plan through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum WayOut {
    /// This command lets exactly this plan through.
    Approve(String),
    /// Nothing was held: it was a dry run.
    DryRun,
    /// Nothing was held: a person has approved it.
    Approved,
    /// A pass without the limits: there is no index that could keep the plan.
    NoLimits,
    /// Nothing, until the index can be written: it knows the roots, and cannot keep the plan.
    Index,
}

impl WayOut {
    fn is_no_command(&self) -> bool {
        !matches!(self, WayOut::Approve(_))
    }
}

/// Types of filesystems whose identity stays the same, from statfs(2).
const EXT: u64 = 0xef53;
const BTRFS: u64 = 0x9123_683e;
const F2FS: u64 = 0xf2f5_2010;
const BCACHEFS: u64 = 0xca45_1a4e;
const ZFS: u64 = 0x2fc1_2fc1;
const TMPFS: u64 = 0x0102_1994;

/// The number of examples.
pub(crate) const EXAMPLES: usize = 3;

impl Doubt {
    /// Of a plan that takes this; the examples and the command are added later.
    pub(crate) fn of(stake: Stake, limit: Option<Limit>) -> Box<Doubt> {
        Box::new(Doubt { stake, limit, examples: Vec::new(), others: 0, way_out: WayOut::NoLimits })
    }
}

fn stake<S: Serializer>(stake: &Stake, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (what, amount) in [("delete", stake.deleted), ("change", stake.changed)] {
        map.serialize_entry(&format!("would_{what}"), &amount.entries)?;
        map.serialize_entry(&format!("would_{what}_bytes"), &amount.bytes)?;
    }
    map.serialize_entry("would_create", &stake.created)?;
    map.serialize_entry("of", &stake.all)?;
    map.end()
}

pub(crate) fn examples<S: Serializer>(examples: &[(RelPath, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Example<'a> {
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        entries: u64,
    }
    serializer.collect_seq(examples.iter().map(|(path, entries)| Example { path, entries: *entries }))
}

/// The identity of a root as it is kept from one process to the next. Device numbers change with each boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootIdentity {
    /// The type of its filesystem, from statfs(2).
    pub filesystem: u64,
    /// The identity of that filesystem, `f_fsid` of statfs(2); 0 where it says nothing.
    pub fsid: u64,
    /// The inode number; none where the folder is missing, and the filesystem is that of the nearest folder above.
    pub inode: Option<u64>,
    /// The birth time, where the filesystem records it.
    pub btime: Option<Timestamp>,
}

impl RootIdentity {
    /// Whether both are the same folder. The birth time tells, and the filesystem, too: disks that were formatted in one
    /// go have roots that were born in the same second.
    pub(crate) fn is_same(&self, other: &RootIdentity) -> bool {
        let is_born = self.btime.is_some() && other.btime.is_some();
        let is_there = self.inode.is_some();
        // A tmpfs has another identity with each mount, and other folders.
        let is_on_same = match is_born {
            true => self.filesystem == TMPFS || self.is_on_same_filesystem(other),
            false => self.fsid == other.fsid,
        };
        self.filesystem == other.filesystem
            && is_there
            && (self.inode, self.btime) == (other.inode, other.btime)
            && is_on_same
    }

    /// Whether both are on the same filesystem, as far as it tells: the identity of many is their device number.
    pub(crate) fn is_on_same_filesystem(&self, other: &RootIdentity) -> bool {
        let fsid = |of: &RootIdentity| match of.filesystem {
            // The other half tells subvolumes apart.
            BTRFS => of.fsid & u64::from(u32::MAX),
            EXT | F2FS | BCACHEFS | ZFS | TMPFS => of.fsid,
            _ => 0,
        };
        (self.filesystem, fsid(self)) == (other.filesystem, fsid(other))
    }
}

impl fmt::Display for RootIdentity {
    /// Writes it for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inode {
            Some(inode) => write!(f, "inode {inode} of ")?,
            None => f.write_str("missing on ")?,
        }
        match kind_of(self.filesystem) {
            Some(kind) => write!(f, "{kind} filesystem {:x}", self.fsid)?,
            None => write!(f, "filesystem {:x} of type {:x}", self.fsid, self.filesystem)?,
        }
        match self.btime.filter(|_| self.inode.is_some()) {
            Some(born) => write!(f, ", made at {}", moment(born)),
            None => Ok(()),
        }
    }
}

impl Serialize for RootIdentity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name of the most usual types of filesystems (statfs(2)); ext2 and ext3 have the number of ext4.
fn kind_of(filesystem: u64) -> Option<&'static str> {
    Some(match filesystem {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0xca45_1a4e => "bcachefs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x4d44 => "vfat",
        0x2011_bab0 => "exfat",
        0x7366_746e => "ntfs",
        0x6969 => "nfs",
        0xff53_4d42 | 0xfe53_4d42 => "cifs",
        0x6573_5546 => "fuse",
        _ => return None,
    })
}

/// A moment for people, to the second.
fn moment(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds)
        .map_or_else(|_| time.seconds.to_string(), |time| time.to_string())
}

/// A root that is another folder than in the last pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RootChange {
    /// Which root.
    pub side: Side,
    /// Its identity in the last pass.
    pub was: RootIdentity,
    /// Its identity now.
    pub now: RootIdentity,
}
