//! Room on a filesystem: bytes of blocks, and inodes; and the shortage that holds a plan.

use crate::model::path::shown;
use crate::model::serial;
use crate::model::words::{number, size};
use serde::Serialize;
use std::fmt;
use std::ops::AddAssign;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Bytes of allocated blocks, and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes of blocks.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl AddAssign for Room {
    fn add_assign(&mut self, other: Room) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.inodes = self.inodes.saturating_add(other.inodes);
    }
}

/// The resource that runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of blocks.
    Bytes,
    /// Inodes: a filesystem may have only so many files, whatever their sizes.
    Inodes,
}

/// A plan needs more of a resource than a filesystem of the replica has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shortage {
    /// The resource.
    pub resource: Resource,
    /// The replica, or the mount inside it whose filesystem it is.
    #[serde(flatten, serialize_with = "serial::path")]
    pub at: PathBuf,
    /// The least that the new entries and contents need.
    pub needed: u64,
    /// The free part of it.
    pub free: u64,
    /// The most that the planned deletions and replacements free.
    pub freed: u64,
}

impl Shortage {
    /// The missing part.
    pub fn short(&self) -> u64 {
        self.needed.saturating_sub(self.free).saturating_sub(self.freed)
    }
}

impl fmt::Display for Shortage {
    /// Writes the numbers for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown_as = |amount: u64| match self.resource {
            Resource::Bytes => size(amount),
            Resource::Inodes => number(amount),
        };
        let of = match self.resource {
            Resource::Bytes => "",
            Resource::Inodes => " inodes (one for each file and folder)",
        };
        write!(
            f,
            "the plan needs {}{of} on the filesystem of {}, which has {} free and gets back {} from what is deleted or \
             replaced: {} too few",
            shown_as(self.needed),
            shown(self.at.as_os_str().as_bytes()),
            shown_as(self.free),
            shown_as(self.freed),
            shown_as(self.short())
        )
    }
}
