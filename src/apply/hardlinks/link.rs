//! Makes one name a hard link of another one.
//!
//! A new name is linked at once; a temporary is linked only where it replaces something, which link(2) does not. Whatever
//! the reason why a name cannot be linked, it becomes a file of its own: a copy is better than nothing.

use crate::apply::error::Failed;
use crate::apply::hardlinks::targets::{Content, Key, Place};
use crate::apply::publish::{discard, publish};
use crate::apply::{Apply, Job, lock};
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
    /// It is not the same file, although the source says so.
    OtherContent,
    /// A copy would fare no better, or it is worth another try.
    Failed(Failed),
}

impl From<Failed> for Unlinked {
    fn from(failed: Failed) -> Unlinked {
        Unlinked::Failed(failed)
    }
}

/// What a filesystem says about hard links when it is asked by two files that were just made.
enum Answer {
    Works,
    Refuses,
    /// It could not be asked.
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
            // The old version goes with the rename. Its successor may have been copied a moment ago, under a name that
            // was free, and not be on the disk yet.
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
                }
                self.told_link(job, entry, anchor);
                if let Some(leftover) = leftover {
                    lock(&self.leftovers).push((replica.clone(), leftover, job.path()));
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

    /// Gives an inode one more name, if that is free.
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
                // Another file has the anchor's name by now; or links show other inodes here, so that no pass would know
                // them again.
                let is_in_place = stat::entry_at(from, &anchor.name).is_ok_and(|entry| entry.id == anchor.id);
                Err(if is_in_place { self.refused(job, Errno::XDEV, folder) } else { Unlinked::Refused })
            }
        }
    }

    /// An inode got no further name: whether that is the way of the filesystem is found out once.
    fn refused(&self, job: &Job, errno: Errno, folder: BorrowedFd<'_>) -> Unlinked {
        let filesystem = &job.pair.filesystem;
        let device = job.pair.replica.as_ref().map_or(0, |dir| dir.id().device);
        let is_known = lock(&self.links_work).contains(&device);
        let answer = if is_known { Answer::Works } else { ask_for_links(folder) };
        match answer {
            Answer::Works => {
                lock(&self.links_work).insert(device);
                // Too many links, another mount or project: that is in the documents. The rest (immutable, somebody else's,
                // an error of the disk) is told, since the next pass may do better.
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

    /// Whether an entry of the source has the content of one in the replica. Asked where an inode number is no proof.
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
            // Their kind and number have been compared.
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice => return Ok(true),
            Kind::Folder | Kind::Socket => return Err(Failed::Vanished),
        }
        let read = Failed::source(ProblemKind::ReadSourceFile);
        let ours = open_to_read(source, name, self.context.owns(entry.uid)).map_err(&read)?;
        let now = stat::entry_of(ours.as_fd()).map_err(&read)?;
        // What cannot be read of the replica is not known to be the same.
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

/// Links two files that are made for it: what one file refuses (it is immutable, or somebody else's) is not the way of the
/// filesystem.
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
