//! Decides whether two names are hard links of one inode. Inode numbers are not always reliable: some FUSE filesystems,
//! and some servers, give one number to different files, or show too many links.

use crate::fs::dir::Dir;
use crate::fs::magic::{
    BCACHEFS, BTRFS, CEPH, ECRYPTFS, EROFS, EXT, F2FS, GFS2, ISO9660, JFS, NFS, NILFS, OCFS2, OVERLAY, RAMFS,
    REISERFS, SQUASHFS, TMPFS, UBIFS, XFS, ZFS, filesystem_type,
};
use crate::model::entry::{Entry, FileId, Kind, Timestamp};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// The reliability of a filesystem's inode numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Two names with one inode number are one file.
    Proof,
    /// They may be: facts and contents have to agree as well.
    Claim,
}

impl Numbers {
    /// The numbers of a filesystem of the type that `statfs(2)` reports as `magic`. Filesystems with an inode table are
    /// trusted, and so is NFS, whose protocol demands it. FUSE, SMB, 9p and unknown types are not.
    pub(crate) fn of_type(magic: u64) -> Numbers {
        const PROOF: [u64; 21] = [
            EXT, XFS, BTRFS, F2FS, TMPFS, RAMFS, ZFS, BCACHEFS, OVERLAY, NFS, CEPH, JFS, REISERFS, NILFS,
            UBIFS, SQUASHFS, EROFS, ISO9660, GFS2, OCFS2, ECRYPTFS,
        ];
        if PROOF.contains(&magic) { Numbers::Proof } else { Numbers::Claim }
    }
}

/// The reliability of the numbers on the devices of one pass.
#[derive(Debug, Default)]
pub(crate) struct Devices(Mutex<BTreeMap<u64, Numbers>>);

impl Devices {
    /// The reliability of the numbers in a folder. The filesystem type is read once in a pass; a filesystem without a
    /// readable type is not trusted.
    pub(crate) fn numbers(&self, dir: &Arc<Dir>) -> Numbers {
        let device = dir.id().device;
        let known = |devices: &BTreeMap<u64, Numbers>| devices.get(&device).copied();
        if let Some(numbers) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return numbers;
        }
        let ask = || dir.open().and_then(|fd| filesystem_type(&*fd));
        // Retried once: a single error is no proof.
        let magic = ask().or_else(|_| ask());
        let numbers = magic.map_or(Numbers::Claim, Numbers::of_type);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(device, numbers);
        numbers
    }
}

/// The facts that two names of one file share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// Device and inode number.
    pub id: FileId,
    /// A hash of the other facts that have to agree.
    pub check: u32,
}

impl Identity {
    /// The identity of an entry of the source.
    ///
    /// If the number is proof, the birth time distinguishes the inode from a later one that reuses its number during a
    /// pass; writing to the file does not change it. Without one, or where the number is a claim, size and modification
    /// time have to agree, and for a claim also owner and mode: names of a file that changes meanwhile become files of
    /// their own until the next pass.
    pub(crate) fn of(entry: &Entry, numbers: Numbers) -> Identity {
        let Entry { id, kind, size, rdev, mtime, btime, mode, uid, gid, .. } = *entry;
        let check = match (numbers, btime) {
            (Numbers::Proof, Some(btime)) => hash_of(&(kind, btime)),
            (Numbers::Proof, None) => hash_of(&(kind, size, rdev, mtime)),
            (Numbers::Claim, btime) => hash_of(&(kind, size, rdev, mtime, btime, mode, (uid, gid))),
        };
        Identity { id, check: fold(check) }
    }
}

/// The number that identifies an inode of the replica: its own, or, where that is a claim, a hash of its facts as well.
pub(crate) fn replica_number(entry: &Entry, numbers: Numbers) -> u64 {
    let facts: (u64, Kind, u64, Timestamp) = (entry.id.inode, entry.kind, entry.size, entry.mtime);
    match numbers {
        Numbers::Proof => entry.id.inode,
        Numbers::Claim => hash_of(&facts),
    }
}

/// A hash that is the same in every thread and at any time.
pub(crate) fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Folds a hash to half its bits.
pub(crate) fn fold(hash: u64) -> u32 {
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::reconcile::tests::file;
    use std::path::Path;

    fn later(entry: Entry) -> Entry {
        Entry { size: entry.size + 1, mtime: Timestamp { seconds: 5, nanoseconds: 0 }, ..entry }
    }

    #[test]
    fn only_filesystems_with_a_table_of_inodes_are_believed() {
        for (magic, numbers) in [
            (EXT, Numbers::Proof),
            (0x5846_5342, Numbers::Proof),
            (0x0102_1994, Numbers::Proof),
            // FUSE, SMB, 9p, vfat, none.
            (0x6573_5546, Numbers::Claim),
            (0xff53_4d42, Numbers::Claim),
            (0x0102_1997, Numbers::Claim),
            (0x4d44, Numbers::Claim),
            (0, Numbers::Claim),
        ] {
            assert_eq!(Numbers::of_type(magic), numbers, "{magic:x}");
        }
        let proc = Dir::root(Path::new("/proc"), 1).unwrap();
        let devices = Devices::default();
        assert_eq!((devices.numbers(&proc), devices.numbers(&proc)), (Numbers::Claim, Numbers::Claim));
    }

    #[test]
    fn a_file_that_is_written_to_stays_itself_where_its_birth_is_known() {
        let born = Entry { btime: Some(Timestamp { seconds: 1, nanoseconds: 2 }), ..file(1) };
        let again = Entry { btime: Some(Timestamp { seconds: 1, nanoseconds: 3 }), ..file(1) };
        let identity = |entry: &Entry| Identity::of(entry, Numbers::Proof);
        assert_eq!(identity(&born), identity(&later(born)));
        assert_ne!(identity(&born), identity(&again), "another file under the same number");
        assert_ne!(identity(&file(1)), identity(&later(file(1))), "of which no birth is known");
        assert_ne!(identity(&born), identity(&Entry { id: file(2).id, ..born }));
    }

    #[test]
    fn a_number_that_is_a_claim_is_not_enough() {
        let claimed =
            |entry: &Entry| (Identity::of(entry, Numbers::Claim), replica_number(entry, Numbers::Claim));
        let entry = file(1);
        assert_eq!(claimed(&entry), claimed(&Entry { links: 9999, ..entry }));
        let private = claimed(&Entry { mode: 0, uid: 5, ..entry });
        assert_ne!(claimed(&entry).0, private.0);
        assert_eq!(claimed(&entry).1, private.1, "the replica may not hold them");
        for other in [
            Entry { size: 11, ..entry },
            Entry { mtime: Timestamp { seconds: 0, nanoseconds: 1 }, ..entry },
            Entry { kind: Kind::Fifo, ..entry },
        ] {
            assert_ne!(claimed(&entry).0, claimed(&other).0, "{other:?}");
            assert_ne!(claimed(&entry).1, claimed(&other).1, "{other:?}");
            assert_eq!(replica_number(&other, Numbers::Proof), 1);
        }
    }
}
