//! Copies the data and metadata of one regular source file into an empty replica file, and hashes it on the way.

use crate::apply::HUGE;
use crate::apply::endless::{self, Copied};
use crate::apply::error::Failed;
use crate::apply::metadata::xattr::{Missed, keep_old_attributes};
use crate::apply::metadata::{Extent, Model, Target, set_metadata};
use crate::apply::reflink::Base;
use crate::apply::refusal::{MetadataError, in_replica};
use crate::apply::staged::Destination;
use crate::apply::staged::Set;
use crate::apply::staged::{Fsync, Published};
use crate::context::Context;
use crate::fs::file::{
    BUFFER, Segment, forget_cached, read_at, segment, set_length, sync_content, with_buffers, write_at,
};
use crate::fs::magic::has_false_sizes;
use crate::fs::metadata::Subject;
use crate::fs::stat;
use crate::hasher::Hashing;
use crate::model::counters::Counter;
use crate::model::digest::{Digest, Digests, Hasher};
use crate::model::entry::{Entry, Kind};
use crate::model::error::Cause;
use crate::model::feature::Feature;
use crate::model::problem_kind::ProblemKind;
use crate::survey::compare_bytes::{Comparison, compare_contents};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The number of attempts to read a file that changes while it is read.
const ATTEMPTS: usize = 3;

const LOOK: ProblemKind = ProblemKind::StatSourceFile;

/// How the source's file behaved while it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Still,
    /// The copy is its content of a moment ago.
    Grew,
    Never,
}

/// An open regular file of the source.
pub(super) struct Original {
    file: OwnedFd,
    entry: Entry,
}

impl Original {
    pub(super) fn open(context: &Context<'_>, at: Destination<'_>, seen: &Entry) -> Result<Original, Failed> {
        let file = match context.open_to_read(at.source, at.name, seen.uid) {
            Err(_) if context.is_halted() => return Err(Failed::Halted),
            opened => opened.map_err(Failed::source(ProblemKind::ReadSourceFile))?,
        };
        let entry = stat::entry_of(file.as_fd()).map_err(Failed::source(LOOK))?;
        if entry.kind == Kind::File { Ok(Original { file, entry }) } else { Err(Failed::Vanished) }
    }

    /// Makes an empty file a copy with all metadata, and hashes on the way. Repeats that until the source did not
    /// change during the read. True when the copy has not been fsynced yet.
    pub(super) fn copy_into(
        self,
        context: &Context<'_>,
        at: Destination<'_>,
        copy: BorrowedFd<'_>,
        sync: Fsync,
    ) -> Result<(Published, bool), Failed> {
        const LOOK_REPLICA: ProblemKind = ProblemKind::StatReplicaEntry;
        let (source, mut before) = (self.file.as_fd(), self.entry);
        let rights = &context.rights;
        if !rights.gives_owners()
            && !rights.is_user(stat::entry_of(copy).map_err(Failed::replica(LOOK_REPLICA))?.uid)
        {
            // On a mount that gives every file to one user, a copy would belong to this user no more than the original
            // does.
            at.filesystem.learn_missing_for(Kind::File, Feature::Owner);
            if at.content_is_right {
                context.reporter.not_held(Feature::Owner);
                return Err(Failed::NotHeld);
            }
        }
        let base = Base::clone_into(context, at, copy, &before);
        let mut base = base.map_err(Failed::replica(ProblemKind::WriteFile))?;
        let mut attempt = 1;
        let (digest, length, held_still, is_clone) = loop {
            let (digest, length) = if before.size > 0 {
                if let Some(why) = endless::shows_too_much(source, &before) {
                    return Err(endless::failed(why));
                }
                copy_content(context, source, copy, &before, base.as_ref())?
            } else {
                match endless::copy_to_end(context, source, copy)? {
                    Copied::Whole(digest, length) => (Some(digest), length),
                    Copied::TooMuch(why) => {
                        // A file that was empty when it was opened and is being written shows its size by now.
                        before = stat::entry_of(source).map_err(Failed::source(LOOK))?;
                        if before.size == 0 || attempt == ATTEMPTS {
                            return Err(endless::failed(why));
                        }
                        attempt += 1;
                        set_length(copy, 0).map_err(Failed::replica(ProblemKind::WriteFile))?;
                        continue;
                    }
                }
            };
            let is_clone = base.is_some();
            if base.take().is_some_and(|base| !base.still_holds()) {
                set_length(copy, 0).map_err(Failed::replica(ProblemKind::WriteFile))?;
                continue;
            }
            let after = stat::entry_of(source).map_err(Failed::source(LOOK))?;
            // A read that ends before the size is no copy, whatever the reason. Some filesystems show false sizes,
            // though.
            let is_whole = length >= before.size || has_false_sizes(source);
            if is_whole && after.is_unchanged_since(&before) {
                break (digest, length, Held::Still, is_clone);
            }
            let grew = is_whole && after.size > before.size;
            if grew && digest.is_some() && hash_prefix(context, source, length)? == digest {
                // The file only grew: the copied prefix is its content of a moment ago.
                break (digest, length, Held::Grew, is_clone);
            }
            before = after;
            if attempt == ATTEMPTS && !is_whole {
                let reason = Cause::Refused("it ends before the size that it shows");
                return Err(Failed::Because(ProblemKind::ReadWholeFile, reason, true));
            }
            if attempt == ATTEMPTS {
                break (digest, length, Held::Never, is_clone);
            }
            attempt += 1;
            set_length(copy, 0).map_err(Failed::replica(ProblemKind::WriteFile))?;
        };
        if let (Some(recorded), Some(digest), Held::Still) = (at.recorded, digest, held_still)
            && digest != recorded
        {
            // The survey has just read the recorded content.
            let reason = "it was read twice, with two contents, although its times stand still";
            return Err(Failed::Because(ProblemKind::ReadSourceFile, Cause::Refused(reason), false));
        }
        let unstable = held_still == Held::Never;
        if unstable && at.expected.is_some() {
            let reason = Cause::Refused("it changes all the time while it is read");
            return Err(Failed::Because(ProblemKind::CopyFile, reason, false));
        }
        const SYNC: ProblemKind = ProblemKind::SyncFile;
        if is_clone {
            // fsync before the mode is set: after a power loss the clone may still have the old content, which may be a
            // secret.
            sync_content(copy).map_err(Failed::replica(SYNC))?;
        }
        let model = Model { entry: &before, subject: Subject::Open(source), extent: Extent::Everything };
        let target = Target { subject: Subject::Open(copy), folder: at.replica, filesystem: at.filesystem };
        let set = set_metadata(context, model, target);
        let set = set.and_then(|set| keep_what_was_missed(context, at, set, Subject::Open(copy)));
        // fsync before the rename, which drops the old version: after a power loss the name must not lead to a file
        // with the new size and without its data. No filesystem guarantees that in every case: XFS, ext4 and btrfs all
        // lost versions here.
        if context.verifies_writes {
            read_back(context, (source, copy), length, digest)?;
        }
        let is_due = at.expected.is_some() && !is_clone && !context.verifies_writes;
        let waits = is_due && sync == Fsync::Grouped && before.size < HUGE;
        if is_due && !waits {
            sync_content(copy).map_err(Failed::replica(SYNC))?;
        }
        let mut made = Published::of(set, Subject::Open(copy), digest, None, unstable)?;
        made.source = Some(before).filter(|_| held_still == Held::Still);
        if made.entry.size != length {
            let reason = Cause::Refused("it has another length than what was written to it");
            return Err(Failed::Because(ProblemKind::WriteWholeFile, reason, false));
        }
        Ok((made, waits))
    }
}

/// Reads a copy back from the disk. A copy with holes too large for a digest is compared with the source.
pub(super) fn read_back(
    context: &Context<'_>,
    (source, copy): (BorrowedFd<'_>, BorrowedFd<'_>),
    length: u64,
    digest: Option<Digest>,
) -> Result<(), Failed> {
    const KIND: ProblemKind = ProblemKind::VerifyWrite;
    // Only clean pages can be dropped.
    sync_content(copy).map_err(Failed::replica(ProblemKind::SyncFile))?;
    forget_cached(copy);
    let is_right = match digest {
        Some(digest) => {
            let mut hasher = Hasher::new();
            with_buffers(|buffer, _| {
                let mut at = 0;
                loop {
                    if context.is_halted() {
                        return Err(Failed::Halted);
                    }
                    let read = read_at(copy, buffer, at).map_err(Failed::replica(KIND))?;
                    if read == 0 {
                        return Ok(());
                    }
                    hasher.update(buffer.get(..read).unwrap_or_default());
                    context.read(read);
                    context.pace(read);
                    at += read as u64;
                }
            })?;
            hasher.finish() == digest
        }
        None => match compare_contents(context, (source, copy), (length, 0), true, Digests::OfCopies) {
            Comparison::Interrupted => return Err(Failed::Halted),
            Comparison::Equal(_) => true,
            Comparison::Different | Comparison::SourceUnreadable(_) | Comparison::ReplicaUnreadable(_) => {
                false
            }
        },
    };
    let reason =
        Cause::Refused("it reads back with another content; the disk, or what is before it, loses data");
    if is_right { Ok(()) } else { Err(Failed::Because(KIND, reason, false)) }
}

/// Gives a copy those attributes of the old version that could not be read in the source.
fn keep_what_was_missed(
    context: &Context<'_>,
    at: Destination<'_>,
    set: Set,
    copy: Subject<'_>,
) -> Result<Set, MetadataError> {
    let missed = if set.are_attributes_unknown { Missed::All } else { Missed::Some(&set.unread) };
    if matches!(missed, Missed::Some([])) {
        return Ok(set);
    }
    let not_set = keep_old_attributes(context, at, missed, copy);
    let entry = copy.entry().map_err(in_replica(ProblemKind::StatReplicaEntry))?;
    Ok(Set { entry, not_set: set.not_set.or(not_set), ..set })
}

/// Copies the content up to the size that `entry` shows. With a base the copy is a clone of it, and only the blocks
/// that differ are written. Returns the digest and the number of bytes.
fn copy_content(
    context: &Context<'_>,
    source: BorrowedFd<'_>,
    copy: BorrowedFd<'_>,
    entry: &Entry,
    base: Option<&Base>,
) -> Result<(Option<Digest>, u64), Failed> {
    let sparse = entry.may_have_holes();
    let stored = if sparse { entry.blocks.saturating_mul(512) } else { entry.size };
    let mut hasher = Hashing::begin(&context.large_files, entry.size, stored);
    let end = entry.size;
    let mut at = 0;
    let mut ends_in_hole = false;
    with_buffers(|buffer, old_buffer| {
        'pieces: while at < end {
            match segment(source, at, end, sparse).map_err(Failed::source(ProblemKind::ReadSourceFile))? {
                Segment::Hole(range) => {
                    if let Some(hasher) = &mut hasher
                        && !hasher.update_zeros(context.interrupt, range.end - range.start)
                    {
                        return Err(Failed::Halted);
                    }
                    at = range.end;
                    ends_in_hole = true;
                }
                Segment::Data(range) => {
                    ends_in_hole = false;
                    while at < range.end {
                        let want = (range.end - at).min(BUFFER as u64) as usize;
                        context.pace(want);
                        if context.is_halted() {
                            return Err(Failed::Halted);
                        }
                        let piece = buffer.get_mut(..want).unwrap_or_default();
                        let read = context
                            .cache
                            .read_at(source, piece, at)
                            .map_err(Failed::source(ProblemKind::ReadSourceFile))?;
                        let piece = piece.get(..read).unwrap_or_default();
                        let written = match base {
                            None => write_at(copy, piece, at).map(|()| read as u64),
                            Some(base) => {
                                let old = old_buffer.get_mut(..read).unwrap_or_default();
                                base.write_differences(copy, (piece, at), old)
                            }
                        };
                        let written = written.map_err(Failed::replica(ProblemKind::WriteFile))?;
                        if let Some(hasher) = &mut hasher {
                            hasher.update(piece);
                        }
                        context.read(read);
                        context.reporter.count(Counter::BytesWritten, written);
                        if base.is_some() {
                            // The old version was read as well, on the same disk.
                            context.pace(usize::try_from(written).unwrap_or(read));
                        }
                        at += read as u64;
                        if read < want {
                            break 'pieces;
                        }
                    }
                }
            }
        }
        if ends_in_hole || base.is_some_and(|base| base.length() > at) {
            set_length(copy, at).map_err(Failed::replica(ProblemKind::WriteFile))?;
        }
        context.cache.end(source, at);
        Ok((hasher.map(Hashing::finish), at))
    })
}

/// The digest of the first `length` bytes of a file; none when the file became shorter.
fn hash_prefix(context: &Context<'_>, file: BorrowedFd<'_>, length: u64) -> Result<Option<Digest>, Failed> {
    let mut hasher = Hasher::new();
    with_buffers(|buffer, _| {
        let mut at = 0;
        while at < length {
            let want = (length - at).min(BUFFER as u64) as usize;
            context.pace(want);
            if context.is_halted() {
                return Err(Failed::Halted);
            }
            let piece = buffer.get_mut(..want).unwrap_or_default();
            let read = context
                .cache
                .read_at(file, piece, at)
                .map_err(Failed::source(ProblemKind::ReadSourceFile))?;
            context.read(read);
            if read < want {
                return Ok(None);
            }
            hasher.update(piece);
            at += read as u64;
        }
        Ok(Some(hasher.finish()))
    })
}
