//! What holds for metadata and times whatever they are, and whatever the filesystem.

use super::tests::at;
use super::*;
use crate::proof::{self, entries, pure, rights};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A filesystem as the kernel has them (`timestamp_truncate` in fs/inode.c): times have a step and two bounds.
#[derive(Clone, Copy, Debug)]
struct Kernel {
    step: u32,
    earliest: i64,
    latest: i64,
}

impl Kernel {
    const ALL: [Kernel; 8] = {
        const fn of(step: u32, earliest: i64, latest: i64) -> Kernel {
            Kernel { step, earliest, latest }
        }
        [
            // btrfs and tmpfs; ext4, and with 128-byte inodes; XFS, and with bigtime; NFS 3; exFAT; vfat.
            of(1, i64::MIN, i64::MAX),
            of(1, -2_147_483_648, 15_032_385_535),
            of(1_000_000_000, -2_147_483_648, 2_147_483_647),
            of(1, -2_147_483_648, 2_147_483_647),
            of(1, -2_147_483_648, 16_299_260_424),
            of(1, 0, 4_294_967_295),
            of(10_000_000, 315_532_800, 4_354_819_199),
            of(2_000_000_000, 315_532_800, 4_354_819_198),
        ]
    };

    fn shows(self, set: Timestamp) -> Timestamp {
        match set.seconds.clamp(self.earliest, self.latest) {
            within if within == set.seconds => truncate(set, self.step),
            bound => at(bound, 0),
        }
    }
}

proptest! {
    #![proptest_config(pure())]

    #[test]
    fn what_was_set_as_the_filesystem_holds_it_does_not_differ_any_more(
        (source, replica) in entries(),
        filesystem in proof::filesystem(),
        rights in rights(),
    ) {
        let first = compare_metadata(&source, &replica, &filesystem, &rights);
        // What agrees is neither set nor told as something that cannot be held.
        if (source.uid, source.gid) == (replica.uid, replica.gid) {
            prop_assert!(!first.differences.owner && !first.owner_not_held);
        }
        if source.mtime == replica.mtime {
            prop_assert!(!first.differences.mtime && !first.mtime_not_held);
        }
        let mut set = replica;
        if first.differences.owner {
            (set.uid, set.gid) = (source.uid, source.gid);
        }
        if first.differences.mode {
            set.mode = mode_for(&source, set.uid, set.gid, &rights);
        }
        if first.differences.mtime {
            set.mtime = filesystem.holdable(source.mtime);
        }
        let again = compare_metadata(&Entry { kind: source.kind, ..source }, &set, &filesystem, &rights);
        prop_assert_eq!(again.differences, Differences::default());
        // What cannot be held is told whether or not the rest has been set.
        prop_assert_eq!(again.owner_not_held, first.owner_not_held);
        prop_assert_eq!(again.mode_not_held, first.mode_not_held);
    }

    #[test]
    fn a_copy_never_has_more_rights_than_its_source(
        source in proof::entry(),
        uid in 0..3u32,
        gid in 0..3u32,
        rights in rights(),
    ) {
        let mode = mode_for(&source, uid, gid, &rights);
        prop_assert_eq!(mode & !source.mode, 0);
        prop_assert_eq!(mode & 0o1777, source.mode & 0o1777, "only setuid and setgid depend on the owner");
        if source.kind == Kind::File {
            prop_assert!(mode & 0o4000 == 0 || uid == source.uid, "setuid for somebody else");
            prop_assert!(mode & 0o2000 == 0 || gid == source.gid, "setgid for another group");
        }
    }

    #[test]
    fn what_a_filesystem_makes_of_a_time_is_understood_once_it_was_seen(
        kernel in select(&Kernel::ALL[..]),
        times in vec(proof::timestamp(), 1..6),
    ) {
        let filesystem = Filesystem::default();
        for time in times {
            // Exactly at a bound the kernel leaves out what is below a second, as it does everywhere on a filesystem
            // of whole seconds: that cannot be told apart.
            if [kernel.earliest, kernel.latest].contains(&time.seconds) {
                continue;
            }
            let shown = kernel.shows(time);
            if filesystem.holdable(time) != shown {
                prop_assert!(filesystem.learn_mtime(time, shown), "{time:?} as {shown:?} is not understood");
                prop_assert_eq!(filesystem.holdable(time), shown);
            }
            // A time that this filesystem holds is never taken for one that it does not.
            let held = kernel.shows(shown);
            prop_assert_eq!(filesystem.holdable(held), held);
        }
    }
}
