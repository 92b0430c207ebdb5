//! The names in one folder, sorted by raw bytes, packed so that a folder of a million entries stays small.

use crate::fs::dir::open_again;
use rustix::fs::RawDir;
use rustix::io::Errno;
use std::cmp::Ordering;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// Sorted names of a folder. About the length of each name plus 9 bytes.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Every name with its terminating NUL.
    bytes: Vec<u8>,
    /// The start of each name, its length without the NUL, and the relative position of its inode in the folder.
    names: Vec<(u32, u16, u16)>,
}

impl Listing {
    /// As [`Listing::read`], but without a retry, and the names may be generated ones of a locked folder.
    pub(super) fn read_once(folder: BorrowedFd<'_>) -> Result<Listing, Errno> {
        let folder = open_again(folder)?;
        let mut buffer: Vec<u8> = Vec::with_capacity(64 << 10);
        let mut listing = Listing::default();
        let mut inodes = Vec::new();
        let mut folder = RawDir::new(&folder, buffer.spare_capacity_mut());
        while let Some(found) = folder.next() {
            let found = found?;
            let name = found.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            listing.push(name)?;
            inodes.push(found.ino());
        }
        listing.place_inodes(&inodes);
        listing.sort();
        Ok(listing)
    }

    fn push(&mut self, name: &CStr) -> Result<(), Errno> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        let length = u16::try_from(name.count_bytes()).map_err(|_| Errno::NAMETOOLONG)?;
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.names.push((start, length, 0));
        Ok(())
    }

    /// Notes the relative positions of the inodes in 16 bits, which is precise enough for an order.
    fn place_inodes(&mut self, inodes: &[u64]) {
        let least = inodes.iter().min().copied().unwrap_or_default();
        let range = inodes.iter().max().copied().unwrap_or_default() - least;
        let unused = (u64::BITS - range.leading_zeros()).saturating_sub(u16::BITS);
        for ((.., place), inode) in self.names.iter_mut().zip(inodes) {
            *place = u16::try_from((inode - least) >> unused).unwrap_or(u16::MAX);
        }
    }

    /// Sorts the names, and drops duplicates, which the kernel may return when names change during the reading.
    fn sort(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let name = |at: &(u32, u16, u16)| -> &[u8] {
            let start = at.0 as usize;
            &bytes[start..start + usize::from(at.1)]
        };
        self.names.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        self.names.dedup_by(|a, b| name(a) == name(b));
        self.bytes = bytes;
        self.bytes.shrink_to_fit();
        self.names.shrink_to_fit();
    }

    /// The number of names.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// True for an empty folder.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The relative position of a name's inode among those of the folder, from 0 to 65,535.
    pub(crate) fn place(&self, position: usize) -> Option<u16> {
        self.names.get(position).map(|(.., place)| *place)
    }

    /// The names in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &CStr> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// The name at a position; none beyond the end.
    pub(crate) fn get(&self, position: usize) -> Option<&CStr> {
        let (start, length, _) = *self.names.get(position)?;
        let start = start as usize;
        CStr::from_bytes_with_nul(self.bytes.get(start..=start + usize::from(length))?).ok()
    }
}

impl Listing {
    /// The position of a name, if it is there.
    pub(crate) fn position(&self, name: &CStr) -> Option<usize> {
        self.names.binary_search_by(|at| self.bytes_at(*at).cmp(name.to_bytes())).ok()
    }

    /// For questions about names in ascending order.
    pub(crate) fn ascending(&self) -> Ascending<'_> {
        Ascending { listing: self, at: 0 }
    }

    fn bytes_at(&self, (start, length, _): (u32, u16, u16)) -> &[u8] {
        let start = start as usize;
        self.bytes.get(start..start + usize::from(length)).unwrap_or_default()
    }
}

/// A place in a listing that moves on with the names that are asked for.
#[derive(Debug)]
pub(crate) struct Ascending<'a> {
    listing: &'a Listing,
    at: usize,
}

impl Ascending<'_> {
    /// Whether a name is there. Names before the last one that was asked for may be missed.
    pub(crate) fn has(&mut self, name: &[u8]) -> bool {
        while let Some(here) = self.listing.names.get(self.at) {
            match self.listing.bytes_at(*here).cmp(name) {
                Ordering::Less => self.at += 1,
                Ordering::Equal => return true,
                Ordering::Greater => return false,
            }
        }
        false
    }
}

#[cfg(test)]
impl Listing {
    /// The listing of names that the kernel returns in this order, some perhaps twice.
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a CStr>) -> Listing {
        let mut listing = Listing::default();
        for name in names {
            listing.push(name).unwrap();
        }
        listing.sort();
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn names_come_sorted_by_bytes_whatever_they_are() {
        let scratch = tempfile::tempdir().unwrap();
        let longest = [b'x'; 255];
        let names: [&[u8]; 6] = [b"\xff\xfe", b"b", b"a\n", b"-n", b"\xc3\xa4", &longest];
        for name in names {
            std::fs::write(scratch.path().join(OsStr::from_bytes(name)), b"").unwrap();
        }
        let folder = std::fs::File::open(scratch.path()).unwrap();
        for _ in 0..2 {
            let listing = Listing::read(folder.as_fd()).unwrap();
            let found: Vec<&[u8]> = (0..listing.len()).map(|i| listing.get(i).unwrap().to_bytes()).collect();
            assert_eq!(found, [&b"-n"[..], b"a\n", b"b", &longest, b"\xc3\xa4", b"\xff\xfe"]);
            assert!(listing.get(6).is_none());
            assert_eq!(
                [c"-n", c"b", c"\xff\xfe", c"", c"c"].map(|name| listing.position(name)),
                [Some(0), Some(2), Some(5), None, None]
            );
            let mut ascending = listing.ascending();
            let asked: [&[u8]; 7] = [b"", b"-n", b"-n", b"a", b"b", b"\xc3", b"\xff\xfe"];
            let expected = [false, true, true, false, true, false, true];
            assert_eq!(asked.map(|name| ascending.has(name)), expected);
            assert!(!ascending.has(b"\xff\xff"));
        }
    }

    #[test]
    fn threads_that_list_one_descriptor_at_once_see_all_names_each() {
        const NAMES: usize = 5000;
        let scratch = tempfile::tempdir().unwrap();
        for name in 0..NAMES {
            std::fs::write(scratch.path().join(format!("a name of some length {name}")), b"").unwrap();
        }
        let folder = std::fs::File::open(scratch.path()).unwrap();
        std::thread::scope(|scope| {
            let read = || (0..20).map(|_| Listing::read(folder.as_fd()).unwrap().len());
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(move || read().collect::<Vec<_>>())).collect();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), [NAMES; 20]);
            }
        });
    }
}
