//! `statx(2)` as [`Entry`].

use crate::fs::retry_absence;
use crate::model::entry::{Entry, FileId, Kind, Timestamp};
use rustix::fs::{
    AtFlags, CWD, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp, makedev, statx,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The facts of `name` in an open folder; a symbolic link is not followed.
///
/// # Errors
/// As `statx(2)`.
pub(crate) fn entry_at(folder: BorrowedFd<'_>, name: &CStr) -> Result<Entry, Errno> {
    entry(retry_absence(|| statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, wanted()))?)
}

/// The facts of an open file or folder.
///
/// # Errors
/// As `statx(2)`.
pub(crate) fn entry_of(file: BorrowedFd<'_>) -> Result<Entry, Errno> {
    entry(statx(file, c"", AtFlags::EMPTY_PATH, wanted())?)
}

/// The facts of the target of a path outside the trees; symbolic links are followed.
///
/// # Errors
/// As `statx(2)`.
pub(crate) fn entry_at_path(path: &Path) -> Result<Entry, Errno> {
    entry(retry_absence(|| statx(CWD, path, AtFlags::empty(), wanted()))?)
}

/// Whether an open folder is append-only (`chattr +a`): entries can be added, and neither renamed nor removed. False
/// where the filesystem does not tell.
pub(crate) fn is_append_only(folder: BorrowedFd<'_>) -> bool {
    statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())
        .is_ok_and(|facts| facts.stx_attributes.contains(StatxAttributes::APPEND))
}

/// The mount of an open folder: by a number that is never reused (Linux 6.8), else by one that may be; 0 before Linux
/// 5.8, which has none.
///
/// # Errors
/// As `statx(2)`.
pub(crate) fn mount_of(folder: BorrowedFd<'_>) -> Result<u64, Errno> {
    // linux/stat.h
    let unique = StatxFlags::from_bits_retain(0x4000);
    let facts = statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID | unique)?;
    let has_one = StatxFlags::from_bits_retain(facts.stx_mask).intersects(StatxFlags::MNT_ID | unique);
    Ok(if has_one { facts.stx_mnt_id } else { 0 })
}

/// The access time of an entry.
///
/// # Errors
/// As `statx(2)`.
pub(crate) fn access_time(folder: BorrowedFd<'_>, name: &CStr) -> Result<Timestamp, Errno> {
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    Ok(timestamp(statx(folder, name, flags, StatxFlags::ATIME)?.stx_atime))
}

/// The facts of `name` from its filesystem, past the kernel's cache.
///
/// # Errors
/// As `statx(2)`.
pub(crate) fn entry_asked_again(folder: BorrowedFd<'_>, name: &CStr) -> Result<Entry, Errno> {
    entry(statx(folder, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC, wanted())?)
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

fn entry(facts: Statx) -> Result<Entry, Errno> {
    let kind = match FileType::from_raw_mode(facts.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        // POSIX has no other kind; an unknown one is not guessed.
        FileType::Unknown => return Err(Errno::IO),
    };
    let has_btime = facts.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(Entry {
        kind,
        mode: facts.stx_mode & 0o7777,
        links: facts.stx_nlink,
        uid: facts.stx_uid,
        gid: facts.stx_gid,
        id: FileId { device: makedev(facts.stx_dev_major, facts.stx_dev_minor), inode: facts.stx_ino },
        size: facts.stx_size,
        blocks: facts.stx_blocks,
        rdev: makedev(facts.stx_rdev_major, facts.stx_rdev_minor),
        mtime: timestamp(facts.stx_mtime),
        ctime: timestamp(facts.stx_ctime),
        btime: has_btime.then(|| timestamp(facts.stx_btime)),
        is_mount: facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        is_encrypted: facts.stx_attributes.contains(StatxAttributes::ENCRYPTED),
    })
}

fn timestamp(raw: StatxTimestamp) -> Timestamp {
    Timestamp { seconds: raw.tv_sec, nanoseconds: raw.tv_nsec }
}
