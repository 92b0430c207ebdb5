//! The stored data of files with holes, for the room that their copies need.
//!
//! Their blocks say too much: those that were reserved and never written (fallocate(2), images of virtual machines) read as
//! zeros and become holes in the copy.

use crate::fs::file::{Segment, open_to_read, segment};
use crate::model::entry::Entry;
use crate::survey::{LARGE, Survey};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

/// The most pieces of a file that are looked at. Of one with more of them only these count.
const MOST: u32 = 4096;

impl Survey<'_> {
    /// The facts of a source entry that is going to be copied, with no more blocks than its data need. A file that cannot be
    /// opened shows none: it is a problem of its copy. So does a small one with holes.
    pub(super) fn with_data_only(&self, folder: BorrowedFd<'_>, name: &CStr, entry: &Entry) -> Entry {
        if !entry.may_have_holes() {
            return *entry;
        }
        if entry.size < LARGE {
            // Not opened: on a filesystem that compresses, each file looks like this.
            return Entry { blocks: 0, ..*entry };
        }
        let own = self.context.rights.owns(entry.uid);
        let data = open_to_read(folder, name, own).map_or(0, |file| data_of(file.as_fd(), entry.size));
        Entry { blocks: entry.blocks.min(data.div_ceil(512)), ..*entry }
    }
}

fn data_of(file: BorrowedFd<'_>, size: u64) -> u64 {
    let (mut at, mut data) = (0, 0);
    for _ in 0..MOST {
        if at >= size {
            break;
        }
        match segment(file, at, size, true) {
            Ok(Segment::Hole(range)) => at = range.end,
            Ok(Segment::Data(range)) => {
                at = range.end;
                data += range.end - range.start;
            }
            Err(_) => break,
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FallocateFlags, fallocate};
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn neither_holes_nor_what_was_only_reserved_are_data() {
        let scratch = tempfile::tempdir().unwrap();
        let file = std::fs::File::create_new(scratch.path().join("image")).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(&[7; 1 << 20], 8 << 20).unwrap();
        let reserved = fallocate(&file, FallocateFlags::KEEP_SIZE, 16 << 20, 8 << 20);
        file.sync_all().unwrap();
        let file = std::fs::File::open(scratch.path().join("image")).unwrap();
        let blocks = file.metadata().unwrap().blocks();
        let data = data_of(file.as_fd(), 64 << 20);
        // Some filesystems know no holes, and some show what was reserved as data.
        assert!((1 << 20..=64 << 20).contains(&data), "{data}");
        if reserved.is_ok() && blocks >= (9 << 20) / 512 {
            assert!(data <= 9 << 20, "{data} of {blocks} blocks");
        }
        assert_eq!(data_of(file.as_fd(), 1 << 20), 0);
    }
}
