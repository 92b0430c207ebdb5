//! The room on a filesystem, from `statfs(2)`.
//!
//! User quotas do not show there; project quotas do, on XFS and ext4, for a folder that has one.

use crate::fs::magic::{EXT, filesystem_type, gives_plain_blocks, has_fixed_inodes};
use rustix::fs::fstatvfs;
use std::os::fd::AsFd;

/// The free room of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// The free bytes.
    pub bytes: u64,
    /// The free inodes; none where their number is not fixed.
    pub inodes: Option<u64>,
    /// Whether a file takes as many bytes as its data have: false where it may be compressed or share its blocks, and
    /// where that is not known.
    pub is_plain: bool,
}

/// The free room on the filesystem of an open file; none where it does not tell. `has_reserve` says that the blocks may be
/// used that an ext4 reserves for root. Elsewhere the two numbers differ for other reasons: btrfs counts raw blocks.
pub(crate) fn space_of(file: impl AsFd, has_reserve: bool) -> Option<Space> {
    let facts = fstatvfs(&file).ok()?;
    let magic = filesystem_type(&file).ok()?;
    let blocks = if has_reserve && magic == EXT { facts.f_bfree.max(facts.f_bavail) } else { facts.f_bavail };
    let has_fixed = facts.f_files > 0 && has_fixed_inodes(magic);
    (facts.f_blocks > 0).then(|| Space {
        bytes: blocks.saturating_mul(facts.f_frsize),
        inodes: has_fixed.then_some(facts.f_ffree),
        is_plain: gives_plain_blocks(magic),
    })
}

/// The size of the blocks on the filesystem of an open file; 1 where it does not tell.
pub(crate) fn block_of(file: impl AsFd) -> u64 {
    fstatvfs(file).map_or(1, |facts| facts.f_frsize)
}

/// The free bytes for an ordinary user on the filesystem of an open file; none where it does not tell.
pub(crate) fn room_left(file: impl AsFd) -> Option<u64> {
    space_of(file, false).map(|space| space.bytes)
}
