//! Property tests of times, for any time and any filesystem.

use super::tests::at;
use super::*;
use crate::test_strategies::{self, pure};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A filesystem in the kernel (`timestamp_truncate` in fs/inode.c): times have a step and two bounds.
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
    fn what_a_filesystem_makes_of_a_time_is_understood_once_it_was_seen(
        kernel in select(&Kernel::ALL[..]),
        times in vec(test_strategies::timestamp(), 1..6),
    ) {
        let filesystem = Filesystem::default();
        for time in times {
            // Exactly at a bound the kernel also drops the nanoseconds, as it does everywhere on a filesystem with
            // whole seconds: the two cannot be told apart.
            if [kernel.earliest, kernel.latest].contains(&time.seconds) {
                continue;
            }
            let shown = kernel.shows(time);
            if filesystem.holdable(time) != shown {
                prop_assert!(filesystem.learn_mtime(time, shown), "{time:?} as {shown:?} is not understood");
                prop_assert_eq!(filesystem.holdable(time), shown);
            }
            // A time that this filesystem holds never counts as one that it does not.
            let held = kernel.shows(shown);
            prop_assert_eq!(filesystem.holdable(held), held);
        }
    }
}
