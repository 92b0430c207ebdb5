//! Reflinks for large files with few changes: the temporary begins as a clone of the old replica (`FICLONE`), and only
//! the blocks that differ are written. A whole file is published as always, and the old version stays whole until then;
//! but both share their common blocks, so that little is written and snapshots stay small.
//!
//! Blocks are compared with the old replica, not with its clone: the old one is read once and then in the page cache. A
//! concurrent write to it may leave the clone with other content. So its times are compared before and after, and only
//! an old file is used whose times lie far enough back that any change would show.

use crate::apply::staged::Destination;
use crate::context::Context;
use crate::fs::file::{clone_content, open_to_read, read_at, set_length, write_at};
use crate::fs::{Errno, is_unsupported, stat};
use crate::model::entry::{Entry, Kind};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The least size: smaller files are not worth it.
const LEAST: u64 = 1 << 20;

/// The least age of the base: coarser than the clock of any filesystem that can clone.
const OLD_ENOUGH: Duration = Duration::from_secs(2);

/// The unit of a write: a page, the unit in which filesystems share.
const BLOCK: usize = 4096;

/// The old replica that a temporary was cloned from.
pub(super) struct Base {
    old: OwnedFd,
    seen: Entry,
}

impl Base {
    /// Makes an empty temporary a clone of the old replica; none where that is impossible, or not worth it. A failed
    /// clone may have left a part of the old content (on a nearly full disk), which is truncated.
    ///
    /// # Errors
    /// As `ftruncate(2)`.
    pub(super) fn clone_into(
        context: &Context<'_>,
        at: Destination<'_>,
        copy: BorrowedFd<'_>,
        source: &Entry,
    ) -> Result<Option<Base>, Errno> {
        if source.size < LEAST || source.may_have_holes() || !at.filesystem.clones() {
            return Ok(None);
        }
        let Some((file, seen)) = old_replica(context, at) else { return Ok(None) };
        let cloned = clone_content(file.as_fd(), copy);
        if cloned.is_err_and(is_unsupported) {
            at.filesystem.learn_no_clones();
        }
        let is_whole = cloned.is_ok() && stat::entry_of(copy).is_ok_and(|copy| copy.size == seen.size);
        if is_whole {
            return Ok(Some(Base { old: file, seen }));
        }
        set_length(copy, 0)?;
        Ok(None)
    }

    /// Whether the old replica is unchanged since it was cloned.
    pub(super) fn still_holds(&self) -> bool {
        stat::entry_of(self.old.as_fd()).is_ok_and(|now| now.is_unchanged_since(&self.seen))
    }

    /// The length of the fresh clone.
    pub(super) fn length(&self) -> u64 {
        self.seen.size
    }

    /// Writes the blocks of a source piece at `offset` that differ; `buffer` is as long as the piece. Returns the
    /// number of bytes written.
    ///
    /// # Errors
    /// As `pwrite(2)`.
    pub(super) fn write_differences(
        &self,
        copy: BorrowedFd<'_>,
        (piece, offset): (&[u8], u64),
        buffer: &mut [u8],
    ) -> Result<u64, Errno> {
        // An unreadable block counts as different.
        let read = read_at(self.old.as_fd(), buffer, offset).unwrap_or(0);
        let old = buffer.get(..read).unwrap_or_default();
        let mut written = 0;
        for range in differing(piece, old) {
            let bytes = piece.get(range.clone()).unwrap_or_default();
            write_at(copy, bytes, offset + range.start as u64)?;
            written += bytes.len() as u64;
        }
        Ok(written)
    }
}

/// The old replica, open, if it can be a base.
fn old_replica(context: &Context<'_>, at: Destination<'_>) -> Option<(OwnedFd, Entry)> {
    let expected = at.expected?;
    let old = stat::entry_at(at.replica, at.name).ok()?;
    if old.id != expected || old.kind != Kind::File || old.size < LEAST {
        return None;
    }
    let file = open_to_read(at.replica, at.name, context.owns(old.uid)).ok()?;
    let seen = stat::entry_of(file.as_fd()).ok()?;
    (seen.id == expected && is_at_rest(&seen)).then_some((file, seen))
}

/// Whether the file's last change is so old that a change from now on would show.
fn is_at_rest(file: &Entry) -> bool {
    let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else { return false };
    let Ok(seconds) = u64::try_from(file.ctime.seconds) else { return false };
    Duration::new(seconds, file.ctime.nanoseconds) + OLD_ENOUGH < now
}

/// The ranges of whole blocks in which `new` differs from `old`; bytes beyond the end of `old` differ.
fn differing(new: &[u8], old: &[u8]) -> Vec<Range<usize>> {
    if new == old {
        return Vec::new();
    }
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (number, block) in new.chunks(BLOCK).enumerate() {
        let start = number * BLOCK;
        let end = start + block.len();
        if old.get(start..end) == Some(block) {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            Some(_) | None => ranges.push(start..end),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_that_differ_are_joined_and_nothing_else_is_written() {
        let old = vec![0; 5 * BLOCK + 100];
        let with = |places: &[usize]| {
            let mut new = old.clone();
            places.iter().for_each(|place| new[*place] = 1);
            new
        };
        let end = old.len();
        type Places<'a> = &'a [(usize, usize)];
        let cases: [(Vec<u8>, Places<'_>); 9] = [
            (with(&[]), &[]),
            (with(&[0]), &[(0, BLOCK)]),
            (with(&[BLOCK - 1, BLOCK]), &[(0, 2 * BLOCK)]),
            (with(&[1, 3 * BLOCK]), &[(0, BLOCK), (3 * BLOCK, 4 * BLOCK)]),
            (with(&[end - 1]), &[(5 * BLOCK, end)]),
            (old[..end - 1].to_vec(), &[]),
            (old[..2 * BLOCK].to_vec(), &[]),
            ([&old[..], &[0; 10]].concat(), &[(5 * BLOCK, end + 10)]),
            ([&old[..], &[0; BLOCK]].concat(), &[(5 * BLOCK, end + BLOCK)]),
        ];
        let found = |new: &[u8], old: &[u8]| -> Vec<(usize, usize)> {
            differing(new, old).into_iter().map(|range| (range.start, range.end)).collect()
        };
        for (new, expected) in cases {
            assert_eq!(found(&new, &old), expected, "{} bytes", new.len());
        }
        assert_eq!(found(&[1, 2], &[]), [(0, 2)]);
        assert_eq!(found(&[], &[1]), []);
    }
}
