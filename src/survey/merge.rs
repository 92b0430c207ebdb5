//! Two sorted listings as one list of names, in the order in which they are looked at.
//!
//! The names of a large folder come in the order of the source's inodes: their facts and mostly their contents lie on the
//! disk in that order, while names of many folders follow no order that a disk knows. A small folder is a single task
//! and stays in the order of its names.

use crate::fs::listing::Listing;
use crate::plan::Pair;
use crate::survey::CHUNK;
use std::cmp::Ordering;
use std::ffi::CStr;
use std::sync::Arc;

/// The listings of a folder pair.
pub(super) struct Merge {
    pub(super) pair: Arc<Pair>,
    source: Listing,
    replica: Listing,
    /// Each name of either side once: where it stands in the two listings, or [`NOWHERE`].
    order: Box<[(u32, u32)]>,
}

/// No listing is that long: its names would take more than the 4 GiB that one may have.
const NOWHERE: u32 = u32::MAX;

impl Merge {
    pub(super) fn new(pair: Arc<Pair>, source: Listing, replica: Listing) -> Merge {
        let mut order = Vec::with_capacity(source.len().max(replica.len()));
        let (mut ours, mut theirs) = (0, 0);
        loop {
            let side = match (source.get(ours as usize), replica.get(theirs as usize)) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(our), Some(their)) => our.to_bytes().cmp(their.to_bytes()),
            };
            let (in_source, in_replica) = (side.is_le(), side.is_ge());
            order.push((if in_source { ours } else { NOWHERE }, if in_replica { theirs } else { NOWHERE }));
            ours += u32::from(in_source);
            theirs += u32::from(in_replica);
        }
        if order.len() > CHUNK {
            order.sort_by_key(|(ours, theirs)| {
                (*ours == NOWHERE, source.place(*ours as usize).or_else(|| replica.place(*theirs as usize)))
            });
        }
        Merge { pair, source, replica, order: order.into_boxed_slice() }
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// A name, and which sides have it.
    pub(super) fn get(&self, at: usize) -> Option<(&CStr, bool, bool)> {
        let (ours, theirs) = *self.order.get(at)?;
        let (our, their) = (self.source.get(ours as usize), self.replica.get(theirs as usize));
        Some((our.or(their)?, our.is_some(), their.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Filesystem;
    use crate::proof::pair;

    #[test]
    fn each_name_comes_once_with_the_sides_that_have_it() {
        let listing = |names: &[&'static CStr]| Listing::of(names.iter().copied());
        let merge = Merge::new(
            pair(Filesystem::default()),
            listing(&[c"a", c"b", c"d"]),
            listing(&[c"b", c"c", c"e"]),
        );
        let names: Vec<_> = (0..merge.len()).filter_map(|at| merge.get(at)).collect();
        let expected = [
            (c"a", true, false),
            (c"b", true, true),
            (c"c", false, true),
            (c"d", true, false),
            (c"e", false, true),
        ];
        assert_eq!(names, expected);
        assert_eq!(merge.get(5), None);
    }

    #[test]
    fn a_large_folder_comes_in_the_order_of_its_inodes() {
        let scratch = tempfile::tempdir().unwrap();
        for folder in ["source", "replica"] {
            std::fs::create_dir(scratch.path().join(folder)).unwrap();
            // Made backwards, so that inode numbers fall where names rise.
            for name in (0..2 * CHUNK).rev() {
                std::fs::write(scratch.path().join(format!("{folder}/{name:04}")), "").unwrap();
            }
        }
        std::fs::remove_file(scratch.path().join("source/0001")).unwrap();
        let read = |folder: &str| {
            let folder = std::fs::File::open(scratch.path().join(folder)).unwrap();
            Listing::read(std::os::fd::AsFd::as_fd(&folder)).unwrap()
        };
        let merge = Merge::new(pair(Filesystem::default()), read("source"), read("replica"));
        assert_eq!(merge.len(), 2 * CHUNK);
        let inode = |name: &CStr| {
            let path = scratch.path().join("source").join(name.to_str().unwrap());
            std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
        };
        let both = (0..2 * CHUNK - 1).map(|at| merge.get(at).unwrap());
        let inodes: Vec<u64> = both.map(|(name, in_source, _)| (in_source, inode(name)).1).collect();
        assert!(inodes.is_sorted(), "{inodes:?}");
        // What the source does not have comes last.
        assert_eq!(merge.get(2 * CHUNK - 1), Some((c"0001", false, true)));
    }
}
