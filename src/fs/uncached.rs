//! Reading without filling the page cache: a whole tree that is read once must not evict the pages that other programs
//! use.
//!
//! `RWF_DONTCACHE` (Linux 6.14, preadv2(2); ext4, xfs, btrfs and more) drops the pages that a read has brought in, and
//! leaves those that were cached before. Elsewhere large files are dropped after they were read
//! (`POSIX_FADV_DONTNEED`), with the pages that others had cached; to tell those apart would take mincore(2) on a
//! mapping. Rejected: `O_DIRECT`, which needs aligned buffers, has no read-ahead, and is refused by some filesystems.

use crate::fs::file::{forget_cached, read_some};
use rustix::io::{Errno, ReadWriteFlags, preadv2, retry_on_intr};
use std::io::IoSliceMut;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// `RWF_DONTCACHE` of linux/fs.h.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// The size from which on a file is dropped where the kernel cannot read without caching. One call per smaller file would
/// cost as much as reading it.
const LARGE: u64 = 1 << 20;

/// Whether the kernel and the filesystems can read without caching, as far as that was tried.
#[derive(Debug, Default)]
pub(crate) struct Uncached {
    refused: AtomicBool,
}

impl Uncached {
    /// Reads the bytes available at `offset`, at most a buffer; none at the end of the file.
    ///
    /// # Errors
    /// As `preadv2(2)`.
    pub(crate) fn read(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        if !self.refused.load(Ordering::Relaxed) {
            match retry_on_intr(|| preadv2(file, &mut [IoSliceMut::new(&mut *buffer)], offset, DONTCACHE)) {
                // FUSE and some servers say EINVAL to what they do not know.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.refused.store(true, Ordering::Relaxed);
                }
                read => return read,
            }
        }
        read_some(file, buffer, offset)
    }

    /// Ends the reading of a file of this size.
    pub(crate) fn end(&self, file: BorrowedFd<'_>, size: u64) {
        if size >= LARGE && self.refused.load(Ordering::Relaxed) {
            forget_cached(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn every_byte_is_read_with_and_without_the_kernels_help() {
        let scratch = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(scratch.path().join("file"), &content).unwrap();
        let file = std::fs::File::open(scratch.path().join("file")).unwrap();
        for refused in [false, true] {
            let uncached = Uncached { refused: AtomicBool::new(refused) };
            let (mut read, mut buffer) = (Vec::new(), vec![0; 100_000]);
            loop {
                match uncached.read(file.as_fd(), &mut buffer, read.len() as u64).unwrap() {
                    0 => break,
                    some => read.extend_from_slice(&buffer[..some]),
                }
            }
            uncached.end(file.as_fd(), content.len() as u64);
            assert!(read == content, "{refused}");
        }
    }
}
