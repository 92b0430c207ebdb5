//! Bounds for files whose size says nothing of their content: procfs files show no size, nor do those of some FUSE
//! servers, which generate documents when they are read. Such a file is read to its end, which may never come: the copy
//! would fill the disk and the pass would never end. Beyond the bounds the file is a problem.

use crate::apply::error::Failed;
use crate::context::Context;
use crate::fs::file::{read_some, with_buffers, write_at};
use crate::fs::magic::has_false_sizes;
use crate::fs::room::room_left;
use crate::model::counters::Counter;
use crate::model::digest::{Digest, Hasher};
use crate::model::entry::Entry;
use crate::model::error::Cause;
use crate::model::problem_kind::ProblemKind;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// The limit for files of procfs and sysfs, which the kernel generates when they are read. The largest useful one, the
/// symbols of a kernel, has some 10 MiB; larger ones are views of memory and devices, whose copy is useless.
const MADE_UP: u64 = 64 << 20;

/// The limit elsewhere, for a server that does not know the sizes of its photos, films and documents.
const ANY: u64 = 1 << 30;

/// The time limit: a stream that trickles would take for ever to reach the size limits.
const TIME: Duration = Duration::from_secs(3600);

/// The step, in bytes, after which the room left on the disk is compared with the bytes copied.
const STEP: u64 = 16 << 20;

/// The outcome of copying a file that shows no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// The whole file: its digest and its length.
    Whole(Digest, u64),
    /// The file exceeds the bounds, for this reason.
    TooMuch(&'static str),
}

/// The bound that a file without a size exceeds after so many bytes and so long, in words; none while it may go on.
fn too_much(read: u64, time: Duration, is_made_up: impl FnOnce() -> bool) -> Option<&'static str> {
    if read > ANY {
        Some("it shows no size, and did not end after 1 GiB")
    } else if read > MADE_UP && is_made_up() {
        Some(MADE_UP_WORDS)
    } else if time > TIME {
        Some("it shows no size, and did not end within an hour")
    } else {
        None
    }
}

const MADE_UP_WORDS: &str = "the kernel makes it up, and gives more than 64 MiB";

/// Whether a file shows an impossible size: a file that the kernel generates may show that of its address space.
pub(super) fn shows_too_much(source: BorrowedFd<'_>, entry: &Entry) -> Option<&'static str> {
    (entry.size > MADE_UP && has_false_sizes(source)).then_some(MADE_UP_WORDS)
}

/// Copies a file that shows no size to its end, or up to the bounds.
pub(super) fn copy_to_end(
    context: &Context<'_>,
    source: BorrowedFd<'_>,
    copy: BorrowedFd<'_>,
) -> Result<Copied, Failed> {
    let mut begin = Instant::now();
    let (mut made_up, mut next_step) = (None, STEP);
    let mut hasher = Hasher::new();
    let mut at = 0;
    with_buffers(|buffer, _| {
        loop {
            if context.is_halted() {
                return Err(Failed::Halted);
            }
            // Not until the buffer is full: during a slow stream no signal would be noticed.
            let read = read_some(source, buffer, at).map_err(Failed::source(ProblemKind::ReadSourceFile))?;
            let piece = buffer.get(..read).unwrap_or_default();
            if piece.is_empty() {
                return Ok(Copied::Whole(hasher.finish(), at));
            }
            context.read(read);
            let paced = Instant::now();
            context.pace(read);
            // The limit of the rate is no slowness of the file.
            begin += paced.elapsed();
            let is_made_up = || *made_up.get_or_insert_with(|| has_false_sizes(source));
            if let Some(why) = too_much(at + read as u64, begin.elapsed(), is_made_up) {
                return Ok(Copied::TooMuch(why));
            }
            write_at(copy, piece, at).map_err(Failed::replica(ProblemKind::WriteFile))?;
            hasher.update(piece);
            context.reporter.count(Counter::BytesWritten, read as u64);
            at += read as u64;
            if at >= next_step {
                next_step += STEP;
                if room_left(copy).is_some_and(|room| room < at) {
                    return Ok(Copied::TooMuch("it shows no size, and takes more than half of the room"));
                }
            }
        }
    })
}

/// The failure of a file that exceeds the bounds.
pub(super) fn failed(why: &'static str) -> Failed {
    Failed::Because(ProblemKind::CopyWholeFile, Cause::Refused(why), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_size_is_read_up_to_a_bound() {
        const MADE: bool = true;
        const SERVED: bool = false;
        let day = 24 * TIME;
        for (read, time, is_made_up, expected) in [
            (0, Duration::ZERO, SERVED, None),
            (MADE_UP, TIME, MADE, None),
            (MADE_UP + 1, TIME, MADE, Some("64 MiB")),
            (MADE_UP + 1, TIME, SERVED, None),
            (ANY, TIME, SERVED, None),
            (ANY + 1, Duration::ZERO, SERVED, Some("1 GiB")),
            (1, day, SERVED, Some("an hour")),
            (1, day, MADE, Some("an hour")),
        ] {
            let why = too_much(read, time, || is_made_up);
            let is_right = match (why, expected) {
                (Some(why), Some(bound)) => why.contains(bound),
                (why, bound) => why.is_none() && bound.is_none(),
            };
            assert!(is_right, "{read} bytes, {time:?}: {why:?}");
        }
    }
}
