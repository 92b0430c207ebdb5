//! Makes one name a hard link of another one.
//!
//! A new name is linked at once; a temporary is linked only to replace an entry, which link(2) does not. A name that
//! cannot be linked, for whatever reason, becomes a file of its own: a copy is better than nothing.

use crate::apply::error::Failed;
use crate::apply::hardlinks::targets::{Content, Key, Place};
use crate::apply::job::Job;
use crate::apply::publish::{discard, publish};
use crate::apply::{Apply, lock};
use crate::fs::file::{create_private, open_to_read};
use crate::fs::{Errno, dirent, is_full, is_passing, stat};
use crate::identity::Numbers;
use crate::model::change::{Operation, Verb};
use crate::model::counters::Counter;
use crate::model::digest::Digests;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Cause;
use crate::model::feature::Feature;
use crate::model::problem_kind::ProblemKind;
use crate::survey::compare_bytes::{Comparison, compare_contents};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Why a name was not linked.
pub(in crate::apply) enum Unlinked {
    /// It cannot be linked to that inode.
    Refused,
    /// The contents differ, although the source says that it is the same file.
    OtherContent,
    /// A copy would fail as well, or a retry may succeed.
    Failed(Failed),
}

impl From<Failed> for Unlinked {
    fn from(failed: Failed) -> Unlinked {
        Unlinked::Failed(failed)
    }
}

/// A filesystem's answer about hard links, from a test with two fresh files.
enum Answer {
    Works,
    Refuses,
    /// The test could not be run.
    Unknown,
}

const ACTION: ProblemKind = ProblemKind::Link;

impl Apply<'_> {
    /// Links one name to its anchor.
    pub(in crate::apply) fn link(
        &self,
        job: &Job,
        entry: &Entry,
        (key, anchor): (Key, &Place),
    ) -> Result<(), Unlinked> {
        let (Some(source), Some(replica)) = (&job.pair.source, &job.pair.replica) else { return Ok(()) };
        let folder = replica.open_for_temporaries().map_err(Failed::replica(ACTION))?;
        let folder = folder.as_fd();
        let Ok(from) = anchor.folder.open() else { return Err(Unlinked::Refused) };
        let from = from.as_fd();
        if self.devices.numbers(source) == Numbers::Claim {
            let source = source.open().map_err(Failed::source(ProblemKind::OpenSourceFolder))?;
            if !self.is_same((source.as_fd(), &job.name), entry, (from, &anchor.name))? {
                return Err(Unlinked::OtherContent);
            }
        }
        let looks_linked = job.expected == Some(anchor.id);
        if looks_linked && self.devices.numbers(replica) == Numbers::Proof {
            self.context.reporter.count(Counter::Unchanged, 1);
            return Ok(());
        }
        if job.expected.is_none() {
            self.try_link(job, (from, anchor), (folder, &job.name))?;
            self.told_link(job, entry, anchor);
            return Ok(());
        }
        if entry.kind == Kind::File && anchor.content == Content::Written {
            // fsync before the rename, which drops the old version: the anchor may have been copied a moment ago, under
            // a free name, and not be durable yet.
            let synced = self.sync_temporary(&anchor.folder, &anchor.name);
            synced.map_err(Failed::replica(ProblemKind::SyncFile))?;
            self.anchors.on_disk(key, anchor.id);
        }
        let temporary = dirent::temporary_name().map_err(Failed::replica(ACTION))?;
        self.try_link(job, (from, anchor), (folder, &temporary))?;
        match publish(job.destination(folder, folder), &temporary, false) {
            Ok(leftover) => {
                if looks_linked {
                    // rename(2) does nothing when both names are the same file already.
                    discard(folder, &temporary);
                } else {
                    self.context.ledger.removed(&job.path(), Kind::File);
                }
                self.told_link(job, entry, anchor);
                if let Some(leftover) = leftover {
                    self.leave_over(replica.clone(), leftover, job.path());
                }
                Ok(())
            }
            Err(failed) => {
                discard(folder, &temporary);
                Err(failed.into())
            }
        }
    }

    pub(in crate::apply) fn told_link(&self, job: &Job, entry: &Entry, anchor: &Place) {
        let (path, other) = (job.path(), anchor.folder.path().join(&anchor.name));
        let link = Operation { linked_to: Some(&other), ..Operation::new(Verb::Link, &path, entry.kind) };
        self.context.reporter.done(link);
    }

    /// Gives an inode one more name, if that name is free.
    fn try_link(
        &self,
        job: &Job,
        (from, anchor): (BorrowedFd<'_>, &Place),
        (folder, name): (BorrowedFd<'_>, &CStr),
    ) -> Result<(), Unlinked> {
        match dirent::make_link(from, &anchor.name, folder, name) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Failed::Taken.into()),
            Err(errno) if is_full(errno) || is_passing(errno) => {
                return Err(Failed::replica(ACTION)(errno).into());
            }
            Err(errno) => return Err(self.refused(job, errno, folder)),
        }
        match stat::entry_at(folder, name) {
            Ok(linked) if linked.id == anchor.id => Ok(()),
            looked => {
                discard(folder, name);
                looked.map_err(Failed::replica(ACTION))?;
                // Another file has the anchor's name by now; or links show other inode numbers here, so that no pass
                // would recognise them.
                let is_in_place = stat::entry_at(from, &anchor.name).is_ok_and(|entry| entry.id == anchor.id);
                Err(if is_in_place { self.refused(job, Errno::XDEV, folder) } else { Unlinked::Refused })
            }
        }
    }

    /// Handles a refused link. Whether the filesystem refuses all links is tested once per device.
    fn refused(&self, job: &Job, errno: Errno, folder: BorrowedFd<'_>) -> Unlinked {
        let filesystem = &job.pair.filesystem;
        let device = job.pair.replica.as_ref().map_or(0, |dir| dir.id().device);
        let is_known = lock(&self.links_work).contains(&device);
        let answer = if is_known { Answer::Works } else { ask_for_links(folder) };
        match answer {
            Answer::Works => {
                lock(&self.links_work).insert(device);
                // EMLINK and EXDEV (too many links, another mount or project) are documented limits. Other errors
                // (immutable, another user's file, a disk error) are reported, since the next pass may succeed.
                if !matches!(errno, Errno::MLINK | Errno::XDEV) {
                    self.problem(&job.path(), ACTION, Cause::System(errno), "it is a file of its own");
                }
            }
            Answer::Refuses => {
                filesystem.learn_missing(Feature::HardLinks);
                self.context.reporter.not_held(Feature::HardLinks);
            }
            Answer::Unknown => {}
        }
        Unlinked::Refused
    }

    /// Whether a source entry has the content of a replica entry. Needed where an inode number is no proof.
    fn is_same(
        &self,
        (source, name): (BorrowedFd<'_>, &CStr),
        entry: &Entry,
        (replica, anchor): (BorrowedFd<'_>, &CStr),
    ) -> Result<bool, Failed> {
        match entry.kind {
            Kind::File => {}
            Kind::Symlink => {
                let ours = dirent::read_symlink(source, name);
                let ours = ours.map_err(Failed::source(ProblemKind::ReadSymlink))?;
                return Ok(dirent::read_symlink(replica, anchor).is_ok_and(|theirs| ours == theirs));
            }
            // Their kind and device number have been compared.
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => return Ok(true),
            Kind::Folder | Kind::Socket => return Err(Failed::Vanished),
        }
        let read = Failed::source(ProblemKind::ReadSourceFile);
        let ours = open_to_read(source, name, self.context.owns(entry.uid)).map_err(&read)?;
        let now = stat::entry_of(ours.as_fd()).map_err(&read)?;
        // A replica entry that cannot be read is not known to be the same.
        let open = |fd: OwnedFd| stat::entry_of(fd.as_fd()).map(|entry| (fd, entry));
        let Ok((theirs, held)) = open_to_read(replica, anchor, false).and_then(open) else {
            return Ok(false);
        };
        if (now.kind, now.size) != (Kind::File, held.size) {
            return Ok(false);
        }
        let sizes = (now.size, now.blocks.saturating_mul(512));
        let (files, sparse) = ((ours.as_fd(), theirs.as_fd()), now.may_have_holes());
        match compare_contents(self.context, files, sizes, sparse, Digests::OfCopies) {
            Comparison::Equal(_) => Ok(true),
            Comparison::Different | Comparison::ReplicaUnreadable(_) => Ok(false),
            Comparison::SourceUnreadable(errno) => Err(read(errno)),
            Comparison::Interrupted => Err(Failed::Halted),
        }
    }
}

/// Tests hard links with two fresh files: an existing file may refuse them for a reason of its own (immutable, another
/// user's), which says nothing of the filesystem.
fn ask_for_links(folder: BorrowedFd<'_>) -> Answer {
    let (Ok(one), Ok(other)) = (dirent::temporary_name(), dirent::temporary_name()) else {
        return Answer::Unknown;
    };
    if create_private(folder, &one).is_err() {
        return Answer::Unknown;
    }
    let id = |name: &CStr| stat::entry_at(folder, name).map(|entry| entry.id);
    let answer = match dirent::make_link(folder, &one, folder, &other) {
        Ok(()) if id(&one) == id(&other) => Answer::Works,
        Err(errno) if is_full(errno) || is_passing(errno) => Answer::Unknown,
        Ok(()) | Err(_) => Answer::Refuses,
    };
    for name in [&one, &other] {
        discard(folder, name);
    }
    answer
}
