//! `statx(2)` as [`Entry`].

use crate::entry::{Entry, FileId, Kind, Timestamp};
use crate::fs::confirmed;
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
pub fn entry_at(folder: BorrowedFd<'_>, name: &CStr) -> Result<Entry, Errno> {
    entry(confirmed(|| statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, wanted()))?)
}

/// The facts of an open file or folder.
///
/// # Errors
/// As `statx(2)`.
pub fn entry_of(file: BorrowedFd<'_>) -> Result<Entry, Errno> {
    entry(statx(file, c"", AtFlags::EMPTY_PATH, wanted())?)
}

/// The facts of whatever a path outside the trees leads to; symbolic links are followed.
///
/// # Errors
/// As `statx(2)`.
pub fn entry_at_path(path: &Path) -> Result<Entry, Errno> {
    entry(confirmed(|| statx(CWD, path, AtFlags::empty(), wanted()))?)
}

/// Whether things can be added to an open folder and neither renamed nor removed (`chattr +a`). False where the
/// filesystem does not say.
pub fn is_append_only(folder: BorrowedFd<'_>) -> bool {
    statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())
        .is_ok_and(|facts| facts.stx_attributes.contains(StatxAttributes::APPEND))
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
        // POSIX knows no other kind; what the kernel cannot name is not taken for anything.
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

/// The type of the filesystem that holds an open file, as `statfs(2)` gives it.
///
/// # Errors
/// As `fstatfs(2)`.
pub fn filesystem_type(file: impl std::os::fd::AsFd) -> Result<u64, Errno> {
    // The field is a signed long on some machines; the magic numbers are 32 bits wide.
    Ok(u64::from(rustix::fs::fstatfs(file)?.f_type as u32))
}

/// Whether an open file lies on a filesystem whose files show sizes that are not those of their contents: what the
/// kernel makes up when it is read (proc(5), sysfs(5) and their like).
pub fn has_false_sizes(file: impl std::os::fd::AsFd) -> bool {
    // linux/magic.h: proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, configfs, pstore, efivarfs, bpf.
    const MADE_UP: [u64; 11] = [
        0x9fa0,
        0x6265_6572,
        0x0027_e0eb,
        0x6367_7270,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0x6265_6570,
        0x6165_676c,
        0xde5e_81e4,
        0xcafe_4a11,
    ];
    filesystem_type(file).is_ok_and(|magic| MADE_UP.contains(&magic))
}
