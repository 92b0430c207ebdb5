//! Reads and hashes one file of the replica.

use crate::control::Interrupt;
use crate::fs::file::{BUFFER, Segment, forget_cached, open_to_read, segment, with_buffers};
use crate::fs::lease::Leases;
use crate::fs::stat::{entry_at, entry_of};
use crate::fs::uncached::Uncached;
use crate::fs::{Errno, is_denial};
use crate::hasher::{Hashing, LargeFiles};
use crate::model::entry::{Entry, Kind};
use crate::verify::decide::Content;
use crate::verify::tally::Tally;
use crate::workers::Workers;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What the reading of all files needs.
#[derive(Debug)]
pub(super) struct Tools<'a> {
    /// Ends the reading.
    pub interrupt: &'a Interrupt,
    /// Are told of the work done.
    pub workers: &'a Workers,
    /// Are told of the bytes read.
    pub tally: &'a Tally,
    /// Drop each file from the page cache before it is read.
    pub drops_cache: bool,
    /// Counts the large files that are being hashed.
    pub large: LargeFiles,
    /// Reads without caching.
    pub uncached: Uncached,
    /// Waits for other programs that hold a file.
    pub leases: Leases,
}

/// An open file of the replica.
#[derive(Debug)]
pub(super) enum Opened {
    /// It is open, with these facts.
    File(OwnedFd, Entry),
    /// There is no such file any more.
    Gone,
    /// It cannot be opened.
    Failed(Errno),
}

impl Tools<'_> {
    /// Opens a file. Its access time is left alone where the kernel allows that.
    pub(super) fn open(&self, folder: BorrowedFd<'_>, name: &CStr) -> Opened {
        let goes_on = || {
            // Lets the limit start other workers while this one waits.
            self.workers.did_bytes(0);
            let is_file = || entry_at(folder, name).is_ok_and(|entry| entry.kind == Kind::File);
            !self.interrupt.is_set() && is_file()
        };
        let opened = self
            .leases
            .wait(Duration::MAX, || open_to_read(folder, name, true), goes_on)
            .and_then(|file| Ok((entry_of(file.as_fd())?, file)));
        match opened {
            Ok((entry, file)) if entry.kind == Kind::File => Opened::File(file, entry),
            Ok(_) => Opened::Gone,
            Err(errno) if is_denial(errno) => Opened::Gone,
            Err(errno) => Opened::Failed(errno),
        }
    }

    /// Reads a file to its end; none when a stop was requested meanwhile.
    pub(super) fn content(&self, file: BorrowedFd<'_>, entry: &Entry) -> Option<Content> {
        let stored = entry.blocks.saturating_mul(512);
        let Some(mut hashing) = Hashing::begin(&self.large, entry.size, stored) else {
            return Some(Content::Holes);
        };
        if self.drops_cache {
            forget_cached(file);
        }
        let read = with_buffers(|buffer, _| self.read(file, entry, &mut hashing, buffer));
        self.uncached.end(file, entry.size);
        match read {
            Ok(true) => Some(Content::Digest(hashing.finish())),
            Ok(false) => None,
            Err(errno) => Some(Content::Failed(errno)),
        }
    }

    /// False when a stop was requested.
    fn read(
        &self,
        file: BorrowedFd<'_>,
        entry: &Entry,
        hashing: &mut Hashing<'_>,
        buffer: &mut [u8],
    ) -> Result<bool, Errno> {
        let mut at = 0;
        if entry.may_have_holes() {
            while at < entry.size {
                let (end, is_over) = match segment(file, at, entry.size, true)? {
                    Segment::Hole(hole) => {
                        if !hashing.update_zeros(self.interrupt, hole.end - hole.start) {
                            return Ok(false);
                        }
                        (hole.end, false)
                    }
                    Segment::Data(data) => match self.read_to(file, at, data.end, (hashing, buffer))? {
                        None => return Ok(false),
                        Some(end) => (end, end < data.end),
                    },
                };
                at = end;
                if is_over {
                    break;
                }
            }
        }
        // To its end, wherever that is by now.
        Ok(self.read_to(file, at, u64::MAX, (hashing, buffer))?.is_some())
    }

    /// Reads up to a position or the end of the file, and returns where that was; none when a stop was requested.
    fn read_to(
        &self,
        file: BorrowedFd<'_>,
        from: u64,
        to: u64,
        (hashing, buffer): (&mut Hashing<'_>, &mut [u8]),
    ) -> Result<Option<u64>, Errno> {
        let mut at = from;
        while at < to {
            if self.interrupt.is_set() {
                return Ok(None);
            }
            let length = (BUFFER as u64).min(to - at) as usize;
            let piece = buffer.get_mut(..length).unwrap_or_default();
            let read = self.uncached.read(file, piece, at)?;
            if read == 0 {
                break;
            }
            hashing.update(piece.get(..read).unwrap_or_default());
            at += read as u64;
            self.tally.read(read as u64);
            self.workers.did_bytes(read as u64);
        }
        Ok(Some(at))
    }
}
