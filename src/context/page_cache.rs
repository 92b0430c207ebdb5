//! The page cache: a pass that reads more than fits into it must not evict what other programs use.
//!
//! A small tree is best cached, since the next pass reads it again. Of a large one the pages are gone before that, and so
//! are those of everybody else. So the first part of what a pass reads goes through the cache, the same part in each pass,
//! and the rest is read without filling it.

use crate::fs::Errno;
use crate::fs::file::read_at;
use crate::fs::memory::available;
use crate::fs::uncached::Uncached;
use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicI64, Ordering};

/// The share of the available memory that a pass may fill.
const SHARE: u64 = 4;

/// The bytes that a thread reads before it says so. With every read the threads would take turns at one number.
const STEP: u64 = 1 << 20;

thread_local! {
    /// The bytes that this thread has read and not said yet, in this pass or at the end of the last one.
    static UNTOLD: Cell<u64> = const { Cell::new(0) };
}

/// The page cache in one pass.
#[derive(Debug)]
pub(crate) struct PageCache {
    /// The bytes that may still go through it; none or fewer when the share is used up.
    left: AtomicI64,
    uncached: Uncached,
}

impl PageCache {
    /// For a pass that begins now.
    pub(crate) fn now() -> PageCache {
        PageCache::with_room(
            available().map_or(i64::MAX, |bytes| (bytes / SHARE).try_into().unwrap_or(i64::MAX)),
        )
    }

    /// With room for so many bytes.
    pub(crate) fn with_room(bytes: i64) -> PageCache {
        PageCache { left: AtomicI64::new(bytes), uncached: Uncached::default() }
    }

    /// Whether the pass has used its share.
    pub(crate) fn is_used_up(&self) -> bool {
        self.left.load(Ordering::Relaxed) <= 0
    }

    /// As [`read_at`].
    ///
    /// # Errors
    /// As `preadv2(2)`.
    pub(crate) fn read_at(
        &self,
        file: BorrowedFd<'_>,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, Errno> {
        if !self.is_used_up() {
            let read = read_at(file, buffer, offset)?;
            let untold = UNTOLD.get() + read as u64;
            if untold >= STEP {
                self.left.fetch_sub(untold.try_into().unwrap_or(i64::MAX), Ordering::Relaxed);
            }
            UNTOLD.set(if untold >= STEP { 0 } else { untold });
            return Ok(read);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = buffer.get_mut(filled..).unwrap_or_default();
            match self.uncached.read(file, rest, offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Ends the reading of a file of this size.
    pub(crate) fn end(&self, file: BorrowedFd<'_>, size: u64) {
        if self.is_used_up() {
            self.uncached.end(file, size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn every_byte_is_read_before_and_after_the_share_is_used_up() {
        let scratch = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(scratch.path().join("file"), &content).unwrap();
        let file = File::open(scratch.path().join("file")).unwrap();
        let cache = PageCache::with_room(1_500_000);
        let mut read = Vec::new();
        let mut buffer = vec![0; 500_000];
        // Told after each MiB: at 1,500,000.
        for expected in [false, false, false, true, true, true, true, true] {
            assert_eq!(cache.is_used_up(), expected);
            assert_eq!(cache.read_at(file.as_fd(), &mut buffer, read.len() as u64), Ok(buffer.len()));
            read.extend_from_slice(&buffer);
        }
        assert_eq!(cache.read_at(file.as_fd(), &mut buffer, read.len() as u64), Ok(0));
        assert!(read == content);
    }
}
