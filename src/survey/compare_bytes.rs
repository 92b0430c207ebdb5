//! Whether two files have the same content.
//!
//! Both are read in step: the source's bytes go into SHA-256 and are compared with the replica's bytes in the same
//! loop. Equal bytes have equal digests, so one hash serves both sides, and the first difference ends the reading.
//! With `--compare bytes`, where only copies are digested, the hash is left out, with the same certainty.

use crate::context::Context;
use crate::fs::Errno;
use crate::fs::file::{BUFFER, Segment, announce, next_data, read_some, segment, with_buffers};
use crate::hasher::Hashing;
use crate::model::digest::{Digest, Digests, Hasher};
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// Every byte agrees. The digest is missing where only copies are digested, and for files whose holes would take
    /// minutes to hash.
    Equal(Option<Digest>),
    /// They differ.
    Different,
    /// The source could not be read.
    SourceUnreadable(Errno),
    /// The replica could not be read.
    ReplicaUnreadable(Errno),
    /// A stop signal ended the comparison.
    Interrupted,
}

/// Compares two open files of `size` bytes each; `stored` is the source's allocated size. With `sparse`, holes are
/// looked up and not read.
pub(crate) fn compare_contents(
    context: &Context<'_>,
    (source, replica): (BorrowedFd<'_>, BorrowedFd<'_>),
    (size, stored): (u64, u64),
    sparse: bool,
    digests: Digests,
) -> Comparison {
    let mut hasher = match digests {
        Digests::OfAll => Hashing::begin(&context.large_files, size, if sparse { stored } else { size }),
        Digests::OfCopies => None,
    };
    with_buffers(|source_buffer, replica_buffer| {
        let mut at = 0;
        while at < size {
            let piece = match segment(source, at, size, sparse) {
                Ok(piece) => piece,
                Err(errno) => return Comparison::SourceUnreadable(errno),
            };
            let (range, outcome) = match piece {
                Segment::Data(range) => {
                    let outcome = compare_data(
                        context,
                        (source, source_buffer),
                        (replica, replica_buffer),
                        range.clone(),
                        &mut hasher,
                    );
                    (range, outcome)
                }
                Segment::Hole(range) => {
                    let outcome = compare_hole(context, (replica, replica_buffer), range.clone());
                    if let (None, Some(hasher)) = (outcome, &mut hasher)
                        && !hasher.update_zeros(context.interrupt, range.end - range.start)
                    {
                        return Comparison::Interrupted;
                    }
                    (range, outcome)
                }
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
            at = range.end;
        }
        Comparison::Equal(hasher.map(Hashing::finish))
    })
}

/// The bytes of a large file that are announced at once: reading two files in turns in small pieces would keep the
/// disk's head moving between them.
const STEP: u64 = 8 << 20;

/// Announces the next step of files that are read in turns, while the disk is the bottleneck.
fn announce_step(context: &Context<'_>, files: &[BorrowedFd<'_>], at: u64, end: u64) {
    if at.is_multiple_of(STEP) && end - at > BUFFER as u64 && context.may_announce() {
        files.iter().for_each(|file| announce(*file, at, STEP.min(end - at)));
    }
}

/// Compares a source file that shows no size, which may be false (procfs, FUSE servers), with a replica of `size`
/// bytes. The readable content of the source counts, up to the end of the replica: the source may have no end.
pub(crate) fn compare_to_end(
    context: &Context<'_>,
    (source, replica): (BorrowedFd<'_>, BorrowedFd<'_>),
    size: u64,
    digests: Digests,
) -> Comparison {
    let mut hasher = match digests {
        Digests::OfAll => Some(Hasher::new()),
        Digests::OfCopies => None,
    };
    with_buffers(|source_buffer, replica_buffer| {
        let mut at = 0;
        loop {
            if context.interrupt.is_set() {
                return Comparison::Interrupted;
            }
            let read = match read_some(source, source_buffer, at) {
                Ok(0) if at == size => return Comparison::Equal(hasher.map(Hasher::finish)),
                Ok(0) => return Comparison::Different,
                Ok(read) if at + read as u64 > size => return Comparison::Different,
                Ok(read) => read,
                Err(errno) => return Comparison::SourceUnreadable(errno),
            };
            let ours = source_buffer.get(..read).unwrap_or_default();
            let theirs = replica_buffer.get_mut(..read).unwrap_or_default();
            match context.cache.read_at(replica, theirs, at) {
                Ok(their_read) if their_read == read => {}
                Ok(_) => return Comparison::Different,
                Err(errno) => return Comparison::ReplicaUnreadable(errno),
            }
            context.read(2 * read);
            context.pace(read);
            if ours != theirs {
                return Comparison::Different;
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(ours);
            }
            at += read as u64;
        }
    })
}

/// Compares stored bytes; none when they agree.
fn compare_data(
    context: &Context<'_>,
    (source, source_buffer): (BorrowedFd<'_>, &mut [u8]),
    (replica, replica_buffer): (BorrowedFd<'_>, &mut [u8]),
    range: Range<u64>,
    hasher: &mut Option<Hashing<'_>>,
) -> Option<Comparison> {
    let mut at = range.start;
    while at < range.end {
        let want = (range.end - at).min(BUFFER as u64) as usize;
        context.pace(want);
        if context.interrupt.is_set() {
            return Some(Comparison::Interrupted);
        }
        announce_step(context, &[source, replica], at, range.end);
        let (ours, theirs) = (source_buffer.get_mut(..want)?, replica_buffer.get_mut(..want)?);
        match context.cache.read_at(source, ours, at) {
            Ok(read) if read == want => {}
            // Shorter than its size: the file changed, or its size is false. The copy finds out.
            Ok(_) => return Some(Comparison::Different),
            Err(errno) => return Some(Comparison::SourceUnreadable(errno)),
        }
        match context.cache.read_at(replica, theirs, at) {
            Ok(read) if read == want => {}
            Ok(_) => return Some(Comparison::Different),
            Err(errno) => return Some(Comparison::ReplicaUnreadable(errno)),
        }
        context.read(2 * want);
        if ours != theirs {
            return Some(Comparison::Different);
        }
        if let Some(hasher) = hasher {
            hasher.update(ours);
        }
        at += want as u64;
    }
    None
}

/// Checks that the replica has zeros where the source has a hole; none when it has. The replica's own holes are not
/// read.
fn compare_hole(
    context: &Context<'_>,
    (replica, buffer): (BorrowedFd<'_>, &mut [u8]),
    range: Range<u64>,
) -> Option<Comparison> {
    let mut at = range.start;
    loop {
        let data = match next_data(replica, at, range.end) {
            Ok(Some(data)) => data,
            Ok(None) => return None,
            Err(errno) => return Some(Comparison::ReplicaUnreadable(errno)),
        };
        at = data.start;
        while at < data.end {
            let want = (data.end - at).min(BUFFER as u64) as usize;
            context.pace(want);
            if context.interrupt.is_set() {
                return Some(Comparison::Interrupted);
            }
            let piece = buffer.get_mut(..want)?;
            match context.cache.read_at(replica, piece, at) {
                Ok(read) if read == want => {}
                Ok(_) => return Some(Comparison::Different),
                Err(errno) => return Some(Comparison::ReplicaUnreadable(errno)),
            }
            context.read(want);
            if piece.iter().any(|byte| *byte != 0) {
                return Some(Comparison::Different);
            }
            at += want as u64;
        }
    }
}
