//! Filesystem types, as `statfs(2)` reports them, and their properties: whether sizes are true, whether opening a file
//! asks another machine or program, whether files survive an unmount.

use crate::fs::Errno;
use rustix::fs::fstatfs;
use std::os::fd::AsFd;

// linux/magic.h; ZFS, bcachefs, OCFS2, exFAT and NTFS have theirs in their own sources.
pub(crate) const EXT: u64 = 0xef53;
pub(crate) const XFS: u64 = 0x5846_5342;
pub(crate) const BTRFS: u64 = 0x9123_683e;
pub(crate) const F2FS: u64 = 0xf2f5_2010;
pub(crate) const ZFS: u64 = 0x2fc1_2fc1;
pub(crate) const BCACHEFS: u64 = 0xca45_1a4e;
pub(crate) const TMPFS: u64 = 0x0102_1994;
pub(crate) const RAMFS: u64 = 0x8584_58f6;
pub(crate) const OVERLAY: u64 = 0x794c_7630;
pub(crate) const MSDOS: u64 = 0x4d44;
pub(crate) const EXFAT: u64 = 0x2011_bab0;
pub(crate) const NTFS: u64 = 0x7366_746e;
pub(crate) const JFS: u64 = 0x3153_464a;
pub(crate) const REISERFS: u64 = 0x5265_4973;
pub(crate) const NILFS: u64 = 0x0000_3434;
pub(crate) const UBIFS: u64 = 0x2405_1905;
pub(crate) const SQUASHFS: u64 = 0x7371_7368;
pub(crate) const EROFS: u64 = 0xe0f5_e1e2;
pub(crate) const ISO9660: u64 = 0x0000_9660;
pub(crate) const ECRYPTFS: u64 = 0x0000_f15f;
pub(crate) const GFS2: u64 = 0x0116_1970;
pub(crate) const OCFS2: u64 = 0x7461_636f;
pub(crate) const NFS: u64 = 0x0000_6969;
pub(crate) const CEPH: u64 = 0x00c3_6400;

/// Local filesystems whose files lie on a disk. Overlayfs and other stacked filesystems do not count: their lower
/// layers are unknown.
const ON_DISK: [u64; 16] = [
    EXT, XFS, BTRFS, F2FS, ZFS, BCACHEFS, MSDOS, EXFAT, NTFS, JFS, REISERFS, NILFS, UBIFS, SQUASHFS, EROFS,
    ISO9660,
];

/// proc, sysfs, cgroup, cgroup2, debugfs, tracefs, securityfs, configfs, pstore, efivarfs, bpf, selinuxfs, smackfs,
/// fusectl, binfmt_misc, resctrl, nfsd, xenfs.
const MADE_UP: [u64; 18] = [
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
    0xf97c_ff8c,
    0x4341_5d53,
    0x6573_5543,
    0x4249_4e4d,
    0x0765_5821,
    0x6e66_7364,
    0xabba_1974,
];

/// The type of the filesystem that holds an open file.
///
/// # Errors
/// As `fstatfs(2)`.
pub(crate) fn filesystem_type(file: impl AsFd) -> Result<u64, Errno> {
    // The field is a signed long on some machines; the magic numbers are 32 bits wide.
    Ok(u64::from(fstatfs(file)?.f_type as u32))
}

/// The type of the filesystem that holds an open file, and its `f_fsid`, 0 where that says nothing.
///
/// # Errors
/// As `fstatfs(2)` and `fstatvfs(3)`.
pub(crate) fn filesystem_identity(file: impl AsFd) -> Result<(u64, u64), Errno> {
    Ok((filesystem_type(&file)?, rustix::fs::fstatvfs(file)?.f_fsid))
}

/// Whether an open file lies on a filesystem with false sizes: the kernel generates its files when they are read
/// (proc(5), sysfs(5) and their like).
pub(crate) fn has_false_sizes(file: impl AsFd) -> bool {
    filesystem_type(file).is_ok_and(is_made_up_type)
}

/// Whether an open file lies on a local disk, so that opening another file beside it asks neither a server nor a
/// process.
pub(crate) fn is_on_disk(file: impl AsFd) -> bool {
    filesystem_type(file).is_ok_and(|magic| ON_DISK.contains(&magic))
}

/// Whether a filesystem of this type may be used by other machines at the same time, or lies behind a program of which
/// that is not known: everything but local disks and memory.
pub(crate) fn is_shared_type(magic: u64) -> bool {
    !ON_DISK.contains(&magic) && ![TMPFS, RAMFS, OVERLAY, ECRYPTFS].contains(&magic)
}

/// Whether every change of a file on a filesystem of this type moves its ctime, which no program can set. vfat, exfat,
/// ntfs, servers and FUSE give no such promise.
pub(crate) fn has_true_ctime(magic: u64) -> bool {
    [EXT, XFS, BTRFS, ZFS, F2FS, BCACHEFS, TMPFS].contains(&magic)
}

/// Whether a filesystem of this type can rot: not memory. tmpfs never stamps a store through a mapping, either, once its
/// page is mapped.
pub(crate) fn has_medium(magic: u64) -> bool {
    magic != TMPFS
}

/// Whether a filesystem of this type gives each file the blocks that its data need, neither compressed nor shared, and
/// tells truly how many blocks are free. XFS shares blocks only where a program asks for it.
pub(crate) fn gives_plain_blocks(magic: u64) -> bool {
    [EXT, XFS, TMPFS, MSDOS, EXFAT].contains(&magic)
}

/// Whether a filesystem of this type has so many inodes and no more. XFS and others make them of free blocks.
pub(crate) fn has_fixed_inodes(magic: u64) -> bool {
    [EXT, TMPFS].contains(&magic)
}

/// Whether the kernel generates the files of a filesystem of this type when they are read.
pub(crate) fn is_made_up_type(magic: u64) -> bool {
    MADE_UP.contains(&magic)
}

/// Whether the files of this filesystem type vanish, or exist elsewhere as well, when it is unmounted: memory, unions
/// of other filesystems, program images, generated files.
pub(crate) fn is_passing_type(magic: u64) -> bool {
    const DEVPTS: u64 = 0x1cd1;
    const MQUEUE: u64 = 0x1980_0202;
    const HUGETLBFS: u64 = 0x9584_58f6;
    const NSFS: u64 = 0x6e73_6673;
    // An automount point, before the mount.
    const AUTOFS: u64 = 0x0187;
    const PASSING: [u64; 9] = [TMPFS, RAMFS, OVERLAY, SQUASHFS, DEVPTS, MQUEUE, HUGETLBFS, NSFS, AUTOFS];
    PASSING.contains(&magic) || MADE_UP.contains(&magic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn what_the_kernel_makes_up_has_false_sizes_and_lies_on_no_disk() {
        let proc = File::open("/proc").unwrap();
        assert_eq!(filesystem_type(&proc), Ok(0x9fa0));
        assert!(has_false_sizes(&proc) && !is_on_disk(&proc));
        for magic in ON_DISK {
            assert!(!MADE_UP.contains(&magic), "{magic:x}");
        }
    }
}
