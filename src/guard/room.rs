//! The room that a plan needs, and the room that there is. Pure.

use crate::model::room::{Resource, Room, Shortage};
use std::path::Path;

/// A filesystem of the replica, with the plan's part on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk<'a> {
    /// The folder of the replica that lies on it.
    pub at: &'a Path,
    /// The free bytes.
    pub free_bytes: u64,
    /// The free inodes; none where their number is not fixed.
    pub free_inodes: Option<u64>,
    /// Whether a file takes as many bytes there as its data have.
    pub is_plain: bool,
    /// The least that the plan needs.
    pub needed: Room,
    /// The most that it frees.
    pub freed: Room,
}

/// The judgement about one filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The plan fits, or nothing is known that says otherwise.
    Fits,
    /// It may not fit: the filesystem may compress files or let them share their blocks.
    Doubtful(Shortage),
    /// It does not fit.
    TooLarge(Shortage),
}

/// The shortage that is let through: other programs free room as well, and a filesystem may give some back that it had
/// set aside.
const FEW_BYTES: u64 = 1 << 20;

/// Judges whether a plan fits. Bytes that cannot fit are told before inodes.
pub(crate) fn fit(disk: &Disk<'_>) -> Fit {
    let shortage =
        |resource, needed, free, freed| Shortage { resource, at: disk.at.into(), needed, free, freed };
    let bytes = shortage(Resource::Bytes, disk.needed.bytes, disk.free_bytes, disk.freed.bytes);
    let inodes = disk.free_inodes.map(|free| {
        let few = shortage(Resource::Inodes, disk.needed.inodes, free, disk.freed.inodes);
        (few.short() > few.needed / 64).then_some(few)
    });
    let are_bytes_short = bytes.short() > FEW_BYTES.max(bytes.needed / 64);
    match inodes.flatten() {
        _ if are_bytes_short && disk.is_plain => Fit::TooLarge(bytes),
        Some(inodes) => Fit::TooLarge(inodes),
        None if are_bytes_short => Fit::Doubtful(bytes),
        None => Fit::Fits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn disk(free_bytes: u64, needed: u64, freed: u64) -> Disk<'static> {
        let room = |bytes| Room { bytes, inodes: 1 };
        let (needed, freed) = (room(needed), room(freed));
        Disk { at: Path::new("/mnt"), free_bytes, free_inodes: None, is_plain: true, needed, freed }
    }

    fn word(fit: &Fit) -> &'static str {
        match fit {
            Fit::Fits => "fits",
            Fit::Doubtful(shortage) if shortage.resource == Resource::Bytes => "doubtful bytes",
            Fit::Doubtful(_) => "doubtful inodes",
            Fit::TooLarge(shortage) if shortage.resource == Resource::Bytes => "bytes",
            Fit::TooLarge(_) => "inodes",
        }
    }

    #[test]
    fn a_plan_is_too_large_only_when_the_free_and_the_freed_bytes_together_are_too_few() {
        for (free, needed, freed, expected) in [
            (0, 0, 0, "fits"),
            (0, MIB, 0, "fits"),
            (0, MIB + 1, 0, "bytes"),
            (10 * MIB, 11 * MIB, 0, "fits"),
            (10 * MIB, 12 * MIB, 0, "bytes"),
            (10 * MIB, 12 * MIB, MIB, "fits"),
            (0, 30 * MIB, 29 * MIB, "fits"),
            // One part in 64 of a large plan.
            (630 * MIB, 640 * MIB, 0, "fits"),
            (629 * MIB, 640 * MIB, 0, "bytes"),
            (0, u64::MAX, u64::MAX, "fits"),
            (u64::MAX, u64::MAX, u64::MAX, "fits"),
        ] {
            assert_eq!(word(&fit(&disk(free, needed, freed))), expected, "{free} {needed} {freed}");
        }
    }

    #[test]
    fn where_files_may_be_compressed_or_share_their_blocks_a_shortage_is_only_a_doubt() {
        let plain = disk(MIB, 9 * MIB, 0);
        assert_eq!(word(&fit(&plain)), "bytes");
        assert_eq!(word(&fit(&Disk { is_plain: false, ..plain })), "doubtful bytes");
    }

    #[test]
    fn inodes_count_where_their_number_is_fixed() {
        let files = |needed, free_inodes, freed| {
            let [needed, freed] = [needed, freed].map(|inodes| Room { bytes: 0, inodes });
            word(&fit(&Disk { free_inodes, needed, freed, ..disk(0, 0, 0) }))
        };
        assert_eq!(files(1_000_000, None, 0), "fits");
        assert_eq!(files(40, Some(40), 0), "fits");
        assert_eq!(files(41, Some(40), 0), "inodes");
        assert_eq!(files(41, Some(40), 1), "fits");
        assert_eq!(files(64_000, Some(63_000), 0), "fits");
        assert_eq!(files(64_000, Some(62_999), 0), "inodes");
        let both = Disk { free_inodes: Some(0), needed: Room { bytes: 9 * MIB, inodes: 5 }, ..disk(0, 0, 0) };
        assert_eq!(word(&fit(&both)), "bytes");
        assert_eq!(word(&fit(&Disk { is_plain: false, ..both })), "inodes");
    }

    #[test]
    fn a_shortage_is_told_with_its_numbers() {
        let told = |fit| match fit {
            Fit::TooLarge(shortage) | Fit::Doubtful(shortage) => shortage.to_string(),
            Fit::Fits => String::new(),
        };
        assert_eq!(
            told(fit(&disk(3 << 30, 12 << 30, 1 << 30))),
            "the plan needs 12 GiB on the filesystem of /mnt, which has 3 GiB free and gets back 1 GiB from what is deleted \
             or replaced: 8 GiB too few"
        );
        let few =
            Disk { free_inodes: Some(1_000), needed: Room { bytes: 0, inodes: 5_000 }, ..disk(0, 0, 0) };
        assert_eq!(
            told(fit(&few)),
            "the plan needs 5,000 inodes (one for each file and folder) on the filesystem of /mnt, which has 1,000 free and \
             gets back 1 from what is deleted or replaced: 3,999 too few"
        );
    }
}
