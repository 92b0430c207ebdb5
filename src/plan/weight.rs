//! The room that one entry needs in the replica, and the room that is free once it has gone.

use crate::capabilities::Filesystem;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::feature::Feature;
use crate::model::rights::{Capability, Rights};
use crate::model::room::Room;
use std::sync::atomic::{AtomicU64, Ordering};

/// The room that one change takes and gives back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// The least that the new entry needs.
    pub needed: RoomOfOne,
    /// The most that is free once the old entry is gone.
    pub freed: RoomOfOne,
    /// The bytes of content of a file that is replaced.
    pub old_size: u64,
}

/// The room of one entry, which has one inode or none, in eight bytes: a plan may have a million changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoomOfOne(u64);

impl From<Room> for RoomOfOne {
    fn from(room: Room) -> RoomOfOne {
        RoomOfOne(room.bytes.min(u64::MAX >> 1) << 1 | room.inodes.min(1))
    }
}

impl RoomOfOne {
    /// As a sum.
    pub(crate) fn room(self) -> Room {
        Room { bytes: self.0 >> 1, inodes: self.0 & 1 }
    }
}

/// A file of the source with several names, none of which the replica has: it is copied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linked {
    /// The source's file.
    pub file: FileId,
    /// The device of the replica's folders that get its names.
    pub device: u64,
    /// The room that it needs.
    pub needed: Room,
}

/// Room that several threads add up.
#[derive(Debug, Default)]
pub(crate) struct RoomTotals {
    bytes: AtomicU64,
    inodes: AtomicU64,
}

impl RoomTotals {
    /// Adds some room.
    pub(crate) fn add(&self, room: Room) {
        self.bytes.fetch_add(room.bytes, Ordering::Relaxed);
        self.inodes.fetch_add(room.inodes, Ordering::Relaxed);
    }

    /// Takes some room that was added before.
    pub(crate) fn take(&self, room: Room) {
        for (total, part) in [(&self.bytes, room.bytes), (&self.inodes, room.inodes)] {
            // The filesystem may be known better by now than when it was added. An update that always gives a value
            // cannot fail.
            let _ = total
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| Some(total.saturating_sub(part)));
        }
    }

    /// All of it.
    pub(crate) fn room(&self) -> Room {
        Room { bytes: self.bytes.load(Ordering::Relaxed), inodes: self.inodes.load(Ordering::Relaxed) }
    }
}

/// The least room that a copy of an entry needs. Holes stay holes; a source that compresses shows few blocks for many
/// bytes, one with large blocks many for few. The blocks of folders, of long symbolic links and of extended attributes
/// are left out: many filesystems keep them in the inode.
pub(crate) fn needed(entry: &Entry, filesystem: &Filesystem) -> Room {
    let data = if entry.kind == Kind::File { entry.size.min(entry.blocks.saturating_mul(512)) } else { 0 };
    Room { bytes: filesystem.blocks_of(data), inodes: 1 }
}

/// The least room that a name needs which the replica lacks, by itself and, second, together with all other names of its
/// file: they become links of one copy. A file that cannot be read is a problem of its own and takes no room.
pub(crate) fn needed_anew(entry: &Entry, filesystem: &Filesystem, rights: &Rights) -> (Room, Room) {
    let is_readable = rights.may(Capability::DacOverride)
        || entry.mode & 0o444 == 0o444
        || (rights.is_user(entry.uid) && entry.mode & 0o400 != 0);
    if entry.kind == Kind::File && !is_readable {
        return (Room::default(), Room::default());
    }
    let is_linked = entry.links > 1 && entry.kind != Kind::Folder && filesystem.holds(Feature::HardLinks);
    let all = needed(entry, filesystem);
    if is_linked { (Room::default(), all) } else { (all, Room::default()) }
}

/// The most that is free when a name of the replica has gone: of a file with several names its share, so that the whole
/// file counts when all of them go.
pub(crate) fn freed(entry: &Entry) -> Room {
    let names = if entry.kind == Kind::Folder { 1 } else { u64::from(entry.links.max(1)) };
    Room { bytes: entry.blocks.saturating_mul(512).div_ceil(names), inodes: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::magic::{EXT, MSDOS, XFS};
    use crate::model::rights::tests::{root, user_in};
    use crate::survey::reconcile::tests::file as entry;

    const PAGE: u64 = 4096;

    fn known(magic: u64) -> Filesystem {
        let filesystem = Filesystem::of_type(magic);
        filesystem.know_block(PAGE);
        filesystem
    }

    fn file(size: u64, blocks: u64) -> Entry {
        Entry { size, blocks, links: 1, mode: 0o644, ..entry(1) }
    }

    #[test]
    fn a_file_needs_no_more_than_the_blocks_of_its_data() {
        for (magic, size, blocks, expected) in [
            (XFS, 0, 0, 0),
            (XFS, 1, 8, PAGE),
            (XFS, PAGE, 8, PAGE),
            (XFS, PAGE + 1, 16, 2 * PAGE),
            // Blocks behind its end were allocated in advance.
            (XFS, PAGE, 800, PAGE),
            // A hole, or a source that compresses.
            (XFS, 1 << 40, 8, PAGE),
            (XFS, 1 << 40, 0, 0),
            (XFS, u64::MAX, u64::MAX, u64::MAX),
            // An inode may have some data.
            (EXT, 100, 8, 100),
            (EXT, PAGE + 1, 16, 2 * PAGE),
        ] {
            let found = needed(&file(size, blocks), &known(magic));
            assert_eq!(found, Room { bytes: expected, inodes: 1 }, "{magic:x} {size} {blocks}");
        }
        assert_eq!(
            needed(&file(PAGE + 1, 16), &Filesystem::default()).bytes,
            PAGE + 1,
            "blocks are not known"
        );
        let folder = Entry { kind: Kind::Folder, ..file(PAGE, 8) };
        assert_eq!(needed(&folder, &known(XFS)), Room { bytes: 0, inodes: 1 });
    }

    #[test]
    fn a_name_needs_its_file_alone_or_together_with_the_other_names() {
        let all = Room { bytes: PAGE, inodes: 1 };
        let none = Room::default();
        let linked = Entry { links: 3, ..file(PAGE, 8) };
        assert_eq!(needed_anew(&file(PAGE, 8), &known(XFS), &root()), (all, none));
        assert_eq!(needed_anew(&linked, &known(XFS), &root()), (none, all));
        assert_eq!(needed_anew(&linked, &known(MSDOS), &root()), (all, none), "each name is a copy there");
        let secret = Entry { mode: 0o600, uid: 7, ..file(PAGE, 8) };
        assert_eq!(needed_anew(&secret, &known(XFS), &user_in(1)), (none, none), "it cannot be read");
        assert_eq!(needed_anew(&secret, &known(XFS), &root()), (all, none));
    }

    #[test]
    fn the_room_of_one_entry_is_the_same_in_eight_bytes() {
        for (bytes, inodes) in [(0, 0), (0, 1), (1, 0), (PAGE, 1), (u64::MAX >> 1, 1)] {
            let room = Room { bytes, inodes };
            assert_eq!(RoomOfOne::from(room).room(), room);
        }
        let most = RoomOfOne::from(Room { bytes: u64::MAX, inodes: 2 }).room();
        assert_eq!(most, Room { bytes: u64::MAX >> 1, inodes: 1 });
    }

    #[test]
    fn a_file_that_goes_is_counted_once_when_all_its_names_go() {
        assert_eq!(freed(&file(1, 8)), Room { bytes: PAGE, inodes: 1 });
        assert_eq!(freed(&Entry { links: 4, ..file(1, 8) }).bytes, PAGE / 4);
        assert_eq!(freed(&Entry { links: 9, kind: Kind::Folder, ..file(1, 8) }).bytes, PAGE);
    }

    #[test]
    fn room_is_taken_away_again_without_going_below_nothing() {
        let totals = RoomTotals::default();
        totals.add(Room { bytes: 5, inodes: 1 });
        totals.add(Room { bytes: 5, inodes: 1 });
        totals.take(Room { bytes: 7, inodes: 1 });
        assert_eq!(totals.room(), Room { bytes: 3, inodes: 1 });
        totals.take(Room { bytes: 7, inodes: 0 });
        assert_eq!(totals.room(), Room { bytes: 0, inodes: 1 });
    }
}
