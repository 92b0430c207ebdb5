//! Making one entry in the replica, as a private temporary: copied, checked, with all its metadata.

use crate::apply::HUGE;
use crate::apply::delta::Base;
use crate::apply::failed::Failed;
use crate::apply::finish::{Extent, Model, Set, extent_of, set_metadata};
use crate::apply::publish::{Destination, discard};
use crate::apply::refusal::NotSet;
use crate::context::Context;
use crate::digest::{Digest, Hasher};
use crate::entry::{Entry, Kind};
use crate::fs::content::{
    BUFFER, Segment, create_private, open_to_read, read_at, segment, set_length, sync_content, with_buffers,
    write_at,
};
use crate::fs::subject::Subject;
use crate::fs::{Errno, is_unsupported, place, stat};
use crate::hashing::Hashing;
use crate::monitor::Feature;
use crate::problem::Cause;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How often a file that changes while it is read is read.
const ATTEMPTS: usize = 3;

/// An entry that was made.
#[derive(Debug)]
pub struct Made {
    /// Its facts in the replica.
    pub entry: Entry,
    /// The digest of its content.
    pub digest: Option<Digest>,
    /// The target of a symbolic link.
    pub target: Option<CString>,
    /// True when the source changed during every reading.
    pub unstable: bool,
    /// What could not be set; the content is right.
    pub not_set: Option<NotSet>,
    /// What was replaced, under a temporary name, when it could not be replaced in place (a folder).
    pub leftover: Option<CString>,
}

/// When the content of a file that replaces another one is written to the disk. It has to be there before the old version
/// goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it is called ready.
    Now,
    /// Later, by whoever publishes it, where that is worth it: see [`Ready::waits`].
    Later,
}

/// A finished temporary.
#[derive(Debug)]
pub struct Ready {
    /// What it will be.
    pub made: Made,
    /// Its name.
    pub temporary: CString,
    /// True when it has to be written to the disk before it is published.
    pub waits: bool,
}

/// An entry that was not made.
#[derive(Debug)]
pub struct Unmade {
    /// Why.
    pub failed: Failed,
    /// True when a part of it has stayed, which could be neither removed nor renamed.
    pub remains: bool,
}

/// Makes the entry that the source has under the name, whatever its kind, under the name `temporary`; folders are made
/// elsewhere. Only where nobody sees it yet, in a folder that is private, may that be the name that it keeps.
///
/// # Errors
/// See [`Unmade`]. Whatever had the name before has it still.
pub fn make_temporary(
    context: &Context<'_>,
    at: Destination<'_>,
    source: &Entry,
    temporary: CString,
    sync: Sync,
) -> Result<Ready, Unmade> {
    let mut is_there = false;
    let made = match source.kind {
        Kind::File => copy_file(context, at, source, (&temporary, &mut is_there), sync),
        Kind::Symlink | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => {
            make_special(context, at, source, (&temporary, &mut is_there)).map(|made| (made, false))
        }
        Kind::Folder | Kind::Socket => Err(Failed::Vanished),
    };
    match made {
        Ok((made, waits)) => Ok(Ready { made, temporary, waits }),
        // Only what was made here goes: where upper and lower case count as the same, the name may be another file's. A
        // name that nobody can guess is ours in any case.
        Err(failed) => {
            let is_ours = is_there || *temporary != *at.name;
            Err(Unmade { failed, remains: is_ours && !discard(at.replica, &temporary) })
        }
    }
}

/// Symbolic links, FIFOs, device nodes.
fn make_special(
    context: &Context<'_>,
    at: Destination<'_>,
    source: &Entry,
    (temporary, is_there): (&CStr, &mut bool),
) -> Result<Made, Failed> {
    let mut target = None;
    let made = match source.kind {
        Kind::Symlink => {
            let text = match place::read_symlink(at.source, at.name) {
                Err(Errno::INVAL) => return Err(Failed::Vanished),
                read => read.map_err(Failed::source("read the symbolic link"))?,
            };
            let made = place::make_symlink(&text, at.replica, temporary);
            target = Some(text);
            made
        }
        Kind::Fifo => place::make_fifo(at.replica, temporary),
        Kind::CharDevice | Kind::BlockDevice => {
            place::make_device(at.replica, temporary, source.kind == Kind::BlockDevice, source.rdev)
        }
        Kind::File | Kind::Folder | Kind::Socket => return Err(Failed::Vanished),
    };
    *is_there = made.is_ok();
    if let Err(errno) = made {
        if errno == Errno::EXIST {
            return Err(Failed::Taken);
        }
        let feature = match source.kind {
            Kind::Symlink => Feature::Symlinks,
            Kind::Fifo => Feature::Fifos,
            Kind::File | Kind::Folder | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
                Feature::Devices
            }
        };
        // EPERM: the filesystem has no such entries (symlink(2), mknod(2)), or the folder is immutable; then not even
        // a file can be made in it.
        // EIO: exfat-fuse makes a regular file instead, and the kernel does not believe its eyes.
        *is_there = errno == Errno::IO
            && stat::entry_at(at.replica, temporary).is_ok_and(|entry| entry.kind != source.kind);
        let refused =
            is_unsupported(errno) || (errno == Errno::PERM && can_make_files(at.replica)) || *is_there;
        if refused {
            at.filesystem.learn_missing(feature);
            context.not_held(feature);
            return Err(Failed::NotHeld);
        }
        return Err(Failed::replica("make it")(errno));
    }
    // Opening a FIFO or a device could block or do things; its metadata is reached by name.
    let new = Subject::Named(at.replica, temporary);
    let subject = Subject::Named(at.source, at.name);
    let model = Model { entry: source, subject, extent: extent_of(source.kind, context) };
    let set = set_metadata(context, at.filesystem, model, new);
    finished(set, new, None, target, false)
}

fn can_make_files(folder: BorrowedFd<'_>) -> bool {
    let Ok(name) = place::temporary_name() else { return false };
    create_private(folder, &name).is_ok_and(|_| place::remove_file(folder, &name).is_ok())
}

fn finished(
    set: Result<Set, NotSet>,
    new: Subject<'_>,
    digest: Option<Digest>,
    target: Option<CString>,
    unstable: bool,
) -> Result<Made, Failed> {
    // The content is worth more than its metadata: it is published, and the rest is a problem.
    let (entry, not_set) = match set {
        Ok(set) => (set.entry, set.not_set),
        Err(not_set) => (new.entry().map_err(Failed::replica("look at it in the replica"))?, Some(not_set)),
    };
    Ok(Made { entry, digest, target, unstable, not_set, leftover: None })
}

/// Copies a regular file under a temporary name. True when it has to be written to the disk yet.
fn copy_file(
    context: &Context<'_>,
    at: Destination<'_>,
    seen: &Entry,
    (temporary, is_there): (&CStr, &mut bool),
    sync: Sync,
) -> Result<(Made, bool), Failed> {
    let original = Original::open(context, at, seen)?;
    let copy = match create_private(at.replica, temporary) {
        Err(Errno::EXIST) => return Err(Failed::Taken),
        copy => copy.map_err(Failed::replica("make a temporary file in the replica"))?,
    };
    *is_there = true;
    original.copy_into(context, at, copy.as_fd(), sync)
}

const LOOK: &str = "look at the source file";

/// A regular file of the source, open.
pub(super) struct Original {
    file: OwnedFd,
    entry: Entry,
}

impl Original {
    pub(super) fn open(context: &Context<'_>, at: Destination<'_>, seen: &Entry) -> Result<Original, Failed> {
        let file = open_to_read(at.source, at.name, context.owns(seen.uid))
            .map_err(Failed::source("read the source file"))?;
        let entry = stat::entry_of(file.as_fd()).map_err(Failed::source(LOOK))?;
        if entry.kind == Kind::File { Ok(Original { file, entry }) } else { Err(Failed::Vanished) }
    }

    /// Makes an empty file a copy with all metadata, hashing on the way, until the source was read without changing
    /// meanwhile. True when the copy has to be written to the disk yet.
    pub(super) fn copy_into(
        self,
        context: &Context<'_>,
        at: Destination<'_>,
        copy: BorrowedFd<'_>,
        sync: Sync,
    ) -> Result<(Made, bool), Failed> {
        const LOOK_REPLICA: &str = "look at it in the replica";
        let (source, mut before) = (self.file.as_fd(), self.entry);
        let rights = &context.rights;
        if !rights.privileged
            && stat::entry_of(copy).map_err(Failed::replica(LOOK_REPLICA))?.uid != rights.user
        {
            // A mount that gives every file to one user: a copy would be no more this user's than the original.
            at.filesystem.learn_missing(Feature::Owner);
            if at.content_is_right {
                context.not_held(Feature::Owner);
                return Err(Failed::NotHeld);
            }
        }
        let base = Base::clone_into(context, at, copy, &before);
        let mut base = base.map_err(Failed::replica("write the replica file"))?;
        let mut attempt = 1;
        let (digest, length, unstable, is_clone) = loop {
            let (digest, length) = copy_content(context, source, copy, &before, base.as_ref())?;
            let is_clone = base.is_some();
            if base.take().is_some_and(|base| !base.still_holds()) {
                set_length(copy, 0).map_err(Failed::replica("write the replica file"))?;
                continue;
            }
            let after = stat::entry_of(source).map_err(Failed::source(LOOK))?;
            // Less than the size says is no copy, whatever the reason; but some filesystems do not know their sizes.
            let is_whole = length >= before.size || stat::has_false_sizes(source);
            if is_whole && after.is_unchanged_since(&before) {
                break (digest, length, false, is_clone);
            }
            let grew = is_whole && after.size > before.size;
            if grew && digest.is_some() && hash_prefix(context, source, length)? == digest {
                // It only grew: what was copied is what the file was a moment ago.
                break (digest, length, false, is_clone);
            }
            before = after;
            if attempt == ATTEMPTS && !is_whole {
                let reason = Cause::Refused("it ends before the size that it shows");
                return Err(Failed::Because("read the whole source file", reason, true));
            }
            if attempt == ATTEMPTS {
                break (digest, length, true, is_clone);
            }
            attempt += 1;
            set_length(copy, 0).map_err(Failed::replica("write the replica file"))?;
        };
        if unstable && at.expected.is_some() {
            let reason = Cause::Refused("it changes all the time while it is read");
            return Err(Failed::Because("copy the source file", reason, false));
        }
        const SYNC: &str = "write the replica file to its disk";
        if is_clone {
            // Before it gets its mode: after a loss of power it may still have the old content, which may be a secret.
            sync_content(copy).map_err(Failed::replica(SYNC))?;
        }
        let model = Model { entry: &before, subject: Subject::Open(source), extent: Extent::Everything };
        let set = set_metadata(context, at.filesystem, model, Subject::Open(copy));
        // The old version goes with the rename, and a loss of power must not find the name with the new one's size and
        // without its bytes. No filesystem sees to that in every case: XFS, ext4 and btrfs all lost versions here.
        let is_due = at.expected.is_some() && !is_clone;
        let waits = is_due && sync == Sync::Later && before.size < HUGE;
        if is_due && !waits {
            sync_content(copy).map_err(Failed::replica(SYNC))?;
        }
        let made = finished(set, Subject::Open(copy), digest, None, unstable)?;
        if made.entry.size != length {
            let reason = Cause::Refused("it has another length than what was written to it");
            return Err(Failed::Because("write the whole replica file", reason, false));
        }
        Ok((made, waits))
    }
}

/// Copies the content up to the size that `entry` shows; a file that shows no size is read to its end, since the files
/// of some filesystems (procfs) do not know their size. With a base the copy is its clone, and what differs is written.
/// Returns the digest and the number of bytes.
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
    let end = if entry.size == 0 { u64::MAX >> 1 } else { entry.size };
    let mut at = 0;
    let mut ends_in_hole = false;
    with_buffers(|buffer, old_buffer| {
        'pieces: while at < end {
            match segment(source, at, end, sparse).map_err(Failed::source("read the source file"))? {
                Segment::Hole(range) => {
                    if let Some(hasher) = &mut hasher
                        && !hasher.update_zeros(context, range.end - range.start)
                    {
                        return Err(Failed::Halted);
                    }
                    at = range.end;
                    ends_in_hole = true;
                }
                Segment::Data(range) => {
                    ends_in_hole = false;
                    while at < range.end {
                        if context.is_halted() {
                            return Err(Failed::Halted);
                        }
                        let want = (range.end - at).min(BUFFER as u64) as usize;
                        let piece = buffer.get_mut(..want).unwrap_or_default();
                        let read =
                            read_at(source, piece, at).map_err(Failed::source("read the source file"))?;
                        let piece = piece.get(..read).unwrap_or_default();
                        let written = match base {
                            None => write_at(copy, piece, at).map(|()| read as u64),
                            Some(base) => {
                                let old = old_buffer.get_mut(..read).unwrap_or_default();
                                base.write_differences(copy, (piece, at), old)
                            }
                        };
                        let written = written.map_err(Failed::replica("write the replica file"))?;
                        if let Some(hasher) = &mut hasher {
                            hasher.update(piece);
                        }
                        context.read(read);
                        context.written(written);
                        at += read as u64;
                        if read < want {
                            break 'pieces;
                        }
                    }
                }
            }
        }
        if ends_in_hole || base.is_some_and(|base| base.length() > at) {
            set_length(copy, at).map_err(Failed::replica("write the replica file"))?;
        }
        Ok((hasher.map(Hashing::finish), at))
    })
}

/// The digest of the first `length` bytes of a file; none when it became shorter.
fn hash_prefix(context: &Context<'_>, file: BorrowedFd<'_>, length: u64) -> Result<Option<Digest>, Failed> {
    let mut hasher = Hasher::new();
    with_buffers(|buffer, _| {
        let mut at = 0;
        while at < length {
            if context.is_halted() {
                return Err(Failed::Halted);
            }
            let want = (length - at).min(BUFFER as u64) as usize;
            let piece = buffer.get_mut(..want).unwrap_or_default();
            let read = read_at(file, piece, at).map_err(Failed::source("read the source file"))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Filesystems;
    use crate::filesystem::Filesystem;
    use crate::fs::dir::Dir;
    use crate::interrupt::Interrupt;
    use crate::monitor::{Event, Monitor};
    use std::fs;
    use std::path::Path;

    struct Deaf;

    impl Monitor for Deaf {
        fn event(&self, _: &Event<'_>) {}
    }

    fn making(work: impl FnOnce(&Context<'_>, Destination<'_>, &Path)) {
        let scratch = tempfile::tempdir().unwrap();
        let [source, replica] = ["source", "replica"].map(|name| scratch.path().join(name));
        for path in [&source, &replica] {
            fs::create_dir(path).unwrap();
        }
        let [from, to] = [&source, &replica].map(|path| Dir::root(path, 4).unwrap());
        let (interrupt, filesystems, filesystem) =
            (Interrupt::new(), Filesystems::default(), Filesystem::default());
        let (from_fd, to_fd) = (from.open().unwrap(), to.open().unwrap());
        let context =
            Context::new(&Deaf, &interrupt, (&source, from), (&replica, Some(to)), (&filesystems, None));
        let at = Destination {
            source: from_fd.as_fd(),
            replica: to_fd.as_fd(),
            filesystem: &filesystem,
            name: c"a",
            expected: None,
            content_is_right: false,
        };
        work(&context, at, scratch.path());
    }

    /// As where upper and lower case count as the same, and another name of the source has been made already.
    #[test]
    fn what_has_the_name_stays_whatever_fails() {
        type Case = (&'static str, fn(&Path));
        let cases: [Case; 4] = [
            ("it can be made", |_| {}),
            ("it is gone", |path| fs::remove_file(path).unwrap()),
            ("it is a folder now", |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }),
            ("it is a link now", |path| {
                fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("elsewhere", path).unwrap();
            }),
        ];
        for (what, happens) in cases {
            for is_link in [false, true] {
                making(|context, at, scratch| {
                    let path = scratch.join("source/a");
                    if is_link {
                        std::os::unix::fs::symlink("target", &path).unwrap();
                    } else {
                        fs::write(&path, "content").unwrap();
                    }
                    let seen = stat::entry_at(at.source, at.name).unwrap();
                    happens(&path);
                    fs::write(scratch.join("replica/a"), "another").unwrap();
                    let made = make_temporary(context, at, &seen, c"a".to_owned(), Sync::Later);
                    let unmade = made.expect_err(what);
                    assert!(!unmade.remains, "{what}");
                    assert_eq!(fs::read(scratch.join("replica/a")).unwrap(), b"another", "{what}");
                });
            }
        }
    }

    #[test]
    fn what_was_begun_goes_when_it_fails() {
        making(|context, at, scratch| {
            fs::write(scratch.join("source/a"), "content").unwrap();
            let seen = stat::entry_at(at.source, at.name).unwrap();
            context.interrupt.stop(crate::monitor::Signal::Terminate);
            let unmade = make_temporary(context, at, &seen, c"a".to_owned(), Sync::Later).unwrap_err();
            assert_eq!((unmade.failed, unmade.remains), (Failed::Halted, false));
            assert_eq!(fs::read_dir(scratch.join("replica")).unwrap().count(), 0);
        });
    }
}
