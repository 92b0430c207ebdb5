//! Reads the journal features of an ext4 from its superblock; no system call and no file in `/proc` tells them for
//! certain.
//!
//! With fast commits (`mke2fs -O fast_commit`, since Linux 5.10, off by default) the journal mishandles a file that
//! gets its first name by `linkat(2)`, as with `O_TMPFILE`: after a power loss such names were missing, data that had
//! been fsynced after them was lost or full of zeros, and e2fsck found errors (Linux 6.18).

use crate::fs::file::read_at;
use crate::fs::magic::EXT;
use crate::fs::stat::entry_of;
use crate::model::entry::Kind;
use rustix::fs::{CWD, Mode, OFlags, major, minor, openat};
use std::os::fd::AsFd;
use std::path::Path;

/// The offset and the length of the superblock (linux/fs/ext4/ext4.h).
const START: u64 = 1024;
const LENGTH: usize = 1024;

/// Whether the ext2, ext3 or ext4 on a block device may write fast commits. True also when its superblock cannot be
/// read, as by an ordinary user, or without the device nodes in `/dev`.
pub(crate) fn may_commit_fast(device: u64) -> bool {
    // RACE: tune2fs may remove the feature from the superblock of a mounted filesystem, whose journal keeps it until it
    // is unmounted.
    read(device).is_none_or(|superblock| has_fast_commits(&superblock).unwrap_or(true))
}

fn read(device: u64) -> Option<[u8; LENGTH]> {
    let facts = format!("/sys/dev/block/{}:{}/uevent", major(device), minor(device));
    let facts = std::fs::read_to_string(facts).ok()?;
    let name = facts.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    let path = Path::new("/dev").join(name);
    let open = |flags| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = openat(CWD, &path, flags, Mode::empty()).ok()?;
        let entry = entry_of(node.as_fd()).ok()?;
        (entry.kind == Kind::BlockDevice && entry.rdev == device).then_some(node)
    };
    // Checked first: opening another device may have side effects.
    open(OFlags::PATH)?;
    let disk = open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let mut superblock = [0; LENGTH];
    (read_at(disk.as_fd(), &mut superblock, START) == Ok(LENGTH)).then_some(superblock)
}

/// None for data that is no such superblock.
fn has_fast_commits(superblock: &[u8; LENGTH]) -> Option<bool> {
    const MAGIC: usize = 0x38;
    const COMPATIBLE_FEATURES: usize = 0x5c;
    const FAST_COMMIT: u32 = 0x400;
    let magic = u16::from_le_bytes(*superblock.get(MAGIC..)?.first_chunk()?);
    let features = u32::from_le_bytes(*superblock.get(COMPATIBLE_FEATURES..)?.first_chunk()?);
    (u64::from(magic) == EXT).then_some(features & FAST_COMMIT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ext4_that_says_so_has_no_fast_commits() {
        let mut superblock = [0; LENGTH];
        assert_eq!(has_fast_commits(&superblock), None);
        superblock[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        // has_journal, dir_index and others, as mke2fs sets them.
        for (features, expected) in [(0, false), (0x3c, false), (0x43c, true), (0x400, true)] {
            superblock[0x5c..0x60].copy_from_slice(&u32::to_le_bytes(features));
            assert_eq!(has_fast_commits(&superblock), Some(expected), "{features:#x}");
        }
        assert!(may_commit_fast(0), "no such device");
    }
}
