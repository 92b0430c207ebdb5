//! Creates one replica entry of any kind from the source entry as it is now, and reports the operation.

use crate::apply::error::Failed;
use crate::apply::hardlinks::targets::{Content, Key, Place};
use crate::apply::job::Job;
use crate::apply::pending_folder::PendingFolder;
use crate::apply::publish::discard;
use crate::apply::refusal::MetadataError;
use crate::apply::stage::{NotStaged, make_temporary};
use crate::apply::staged::Destination;
use crate::apply::staged::{Fsync, Published, Staged};
use crate::apply::unnamed::may_be_unnamed;
use crate::apply::{Apply, HUGE};
use crate::fs::dir::Dir;
use crate::fs::{dirent, is_full, stat};
use crate::model::change::{Operation, Verb};
use crate::model::entry::{Entry, Kind};
use crate::model::error::{Cause, Side};
use crate::model::feature::Feature;
use crate::model::problem_kind::ProblemKind;
use crate::walk::{FolderRules, Standing, left_out, standing, tell_left_out};
use rayon::Scope;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// The open folders of a pair.
type Opened = (Arc<OwnedFd>, Arc<OwnedFd>);

/// An entry that was copied.
enum Copied {
    /// It has its name.
    Published(Published),
    /// Its data is not durable yet: it joins a group commit.
    Staged(Staged),
}

/// The outcome of a copy.
pub(super) enum Outcome {
    /// The entry is in place under its name.
    Published(Place),
    /// It is staged and waits for a group commit to get its name.
    Waits,
    /// It was not created: that has been reported, or a retry follows.
    Failed(Option<Failed>),
}

impl Apply<'_> {
    /// Makes one entry now, or, for a folder or a huge file, in a task of its own. `holder` is the new folder that
    /// counts this job as pending: it is held once for it.
    pub(super) fn start<'s>(&'s self, scope: &Scope<'s>, job: Job, holder: Option<Arc<PendingFolder>>) {
        match self.look(&job) {
            Some(entry) => self.start_seen(scope, job, entry, holder),
            None => self.release(holder),
        }
    }

    /// As [`Apply::start`], for a source entry that has just been looked at.
    pub(super) fn start_seen<'s>(
        &'s self,
        scope: &Scope<'s>,
        job: Job,
        entry: Entry,
        holder: Option<Arc<PendingFolder>>,
    ) {
        // The survey has judged an entry that is not in a new folder.
        let off = FolderRules::off();
        let rules = holder.as_ref().map_or(&off, |holder| &holder.rules);
        match standing(self.context, rules, Side::Source, (&job.name, &entry)) {
            Standing::Mirrored(_) => {}
            Standing::Excluded(_) => return self.release(holder),
            Standing::Log => {
                self.context.reporter.skipped(&job.path(), entry.kind, "it is the log file");
                return self.release(holder);
            }
            Standing::OtherRoot => {
                let reason = Cause::Refused("it is the replica itself, through a mount");
                self.problem(&job.path(), ProblemKind::MirrorFolder, reason, "it is left out; unmount it");
                return self.release(holder);
            }
        }
        match entry.kind {
            Kind::Folder => {
                self.context.workers.spawn(scope, move |scope| self.make_folder(scope, &job, &entry, holder))
            }
            Kind::File if entry.size >= HUGE => {
                self.context.workers.spawn(scope, move |scope| self.make(scope, job, &entry, holder));
            }
            Kind::File | Kind::Symlink | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice | Kind::Socket => {
                self.make(scope, job, &entry, holder);
            }
        }
    }

    /// The source's entry as it is now; none when there is nothing to do.
    pub(super) fn look(&self, job: &Job) -> Option<Entry> {
        let dir = job.pair.source.as_ref()?;
        match dir.open().and_then(|fd| stat::entry_at(fd.as_fd(), &job.name)) {
            Ok(entry) => Some(entry),
            Err(errno) => {
                self.failed(job, Failed::source(ProblemKind::StatSourceEntry)(errno));
                None
            }
        }
    }

    /// Makes one entry that is not a folder. `holder` is the new folder that counts this job as pending.
    fn make<'s>(&'s self, scope: &Scope<'s>, job: Job, entry: &Entry, holder: Option<Arc<PendingFolder>>) {
        if !self.is_due(&job, entry) {
            return self.release(holder);
        }
        if entry.links > 1 && job.pair.filesystem.holds(Feature::HardLinks) {
            return self.make_linked(scope, job, entry, holder);
        }
        if entry.links > 1 && job.content_is_right {
            // Learned since the plan was made: the filesystem holds no hard links. The content is right already.
            self.set_metadata(&job, "");
        } else {
            self.make_alone(&job, entry, self.sync_of_copies(), None);
        }
        self.release(holder);
    }

    /// Whether an entry is created at all.
    fn is_due(&self, job: &Job, entry: &Entry) -> bool {
        if self.context.is_halted() || self.is_hopeless(job) {
            return false;
        }
        self.context.interrupt.beat();
        self.publish_overdue();
        // A file that became a folder meanwhile is for the next pass.
        if entry.kind == Kind::Folder {
            return false;
        }
        if let Some(left_out) = left_out(entry, &job.pair.filesystem) {
            tell_left_out(self.context, &job.path(), left_out);
            return false;
        }
        true
    }

    /// When replacements are fsynced.
    pub(super) fn sync_of_copies(&self) -> Fsync {
        if self.again.is_last_try() { Fsync::Now } else { Fsync::Grouped }
    }

    /// Creates an entry by copying it. Further hard links find it by `key`.
    pub(super) fn make_alone(&self, job: &Job, entry: &Entry, sync: Fsync, key: Option<Key>) -> Outcome {
        let (Some(source), Some(replica)) = (&job.pair.source, &job.pair.replica) else {
            return Outcome::Failed(None);
        };
        // Without a `syncfs` that covers the whole filesystem, each file needs an fdatasync of its own.
        let sync = if job.pair.filesystem.syncs_as_a_whole() { sync } else { Fsync::Now };
        let made = self.open_for_temporaries(source, replica).and_then(|(source, replica)| {
            let at = job.destination(source.as_fd(), replica.as_fd());
            let may_be_unnamed = may_be_unnamed(at, entry);
            if may_be_unnamed && let Some(made) = self.make_unnamed(at, entry)? {
                return Ok(Copied::Published(made));
            }
            let name = dirent::temporary_name().map_err(Failed::replica(ProblemKind::CreateTemporary))?;
            let ready = self.make_ready(at, entry, name, sync).map_err(|unmade| unmade.failed)?;
            if ready.waits {
                return Ok(Copied::Staged(ready));
            }
            let made = ready.publish(at)?;
            if may_be_unnamed {
                // O_TMPFILE failed and a named temporary works: another attempt with it would copy every file twice.
                at.filesystem.learn_no_unnamed_files();
            }
            Ok(Copied::Published(made))
        });
        match made {
            Ok(Copied::Published(made)) => {
                // A replacement is durable before its rename.
                let content = if job.expected.is_some() { Content::OnDisk } else { Content::Written };
                let (folder, name) = (Arc::clone(replica), job.name.clone());
                let place = Place { folder, name, id: made.entry.id, content };
                self.made(job, made);
                Outcome::Published(place)
            }
            Ok(Copied::Staged(ready)) => {
                self.wait(job, ready, key);
                Outcome::Waits
            }
            Err(failed) => {
                self.failed(job, failed);
                Outcome::Failed(Some(failed))
            }
        }
    }

    /// Stages an entry under another name, or under its own name in a folder that is still private.
    pub(super) fn make_ready(
        &self,
        at: Destination<'_>,
        entry: &Entry,
        name: CString,
        sync: Fsync,
    ) -> Result<Staged, NotStaged> {
        let ready = make_temporary(self.context, at, entry, name, sync)?;
        match self.has_room_for(&ready.made) {
            Ok(()) => Ok(ready),
            Err(failed) => Err(NotStaged { failed, remains: !discard(at.replica, &ready.temporary) }),
        }
    }

    /// # Errors
    /// There was no room for the metadata. A retry may find room after a group commit or after the deletions.
    pub(super) fn has_room_for(&self, made: &Published) -> Result<(), Failed> {
        match made.not_set {
            Some(MetadataError { action, errno, .. }) if is_full(errno) && !self.again.is_last_try() => {
                Err(Failed::replica(action)(errno))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn open(&self, source: &Arc<Dir>, replica: &Arc<Dir>) -> Result<Opened, Failed> {
        let source = source.open().map_err(Failed::source(ProblemKind::OpenSourceFolder))?;
        let replica = replica.open().map_err(Failed::replica(ProblemKind::OpenReplicaFolder))?;
        Ok((source, replica))
    }

    fn open_for_temporaries(&self, source: &Arc<Dir>, replica: &Arc<Dir>) -> Result<Opened, Failed> {
        let opened = self.open(source, replica)?;
        replica.open_for_temporaries().map_err(Failed::replica(ProblemKind::CreateTemporary))?;
        Ok(opened)
    }

    /// Reports a created entry.
    pub(super) fn made(&self, job: &Job, made: Published) {
        let path = job.path();
        let linked_verb = if job.verb == Verb::Link { Verb::Update } else { job.verb };
        let reason = if made.unstable { "unstable: it changed while it was read" } else { job.reason };
        self.context.reporter.done(Operation {
            size: (made.entry.kind == Kind::File).then_some(made.entry.size),
            digest: made.digest,
            replica_unreadable: job.replica_unreadable,
            target: made.target.as_deref().map(CStr::to_bytes),
            reason,
            ..Operation::new(linked_verb, &path, made.entry.kind)
        });
        match (made.digest, &made.source) {
            (Some(digest), Some(source)) if source.size == made.entry.size => {
                self.context.ledger.copied(&path, digest, source);
            }
            (Some(_) | None, Some(_) | None) if job.expected.is_some() => {
                self.context.ledger.removed(&path, Kind::File);
            }
            (Some(_) | None, Some(_) | None) => {}
        }
        if made.unstable {
            self.problem(
                &path,
                ProblemKind::CopyUnstableFile,
                Cause::Refused("it changes all the time while it is read"),
                "its last copy is kept, which may mix two moments",
            );
        }
        self.not_set(&job.pair, Some(&job.name), made.not_set);
        made.unread.iter().for_each(|unread| self.context.xattr_unread(&path, unread));
        if let (Some(leftover), Some(folder)) = (made.leftover, &job.pair.replica) {
            self.leave_over(Arc::clone(folder), leftover, path);
        }
    }
}
