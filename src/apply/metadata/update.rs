//! Updates the metadata of entries whose content is right.

use crate::apply::Apply;
use crate::apply::job::Job;
use crate::apply::metadata::{Model, Target, extent_of, set_metadata};
use crate::apply::refusal::{MetadataError, in_replica, in_source};
use crate::apply::staged::Set;
use crate::fs::metadata::Subject;
use crate::fs::{Errno, stat};
use crate::model::change::{Operation, Verb};
use crate::model::counters::Counter;
use crate::model::entry::Kind;
use crate::model::problem_kind::ProblemKind;
use std::os::fd::AsFd;

impl Apply<'_> {
    /// Sets the metadata of an entry whose content is right.
    pub(in crate::apply) fn set_metadata(&self, job: &Job, reason: &'static str) {
        let path = job.path();
        let not_set = match self.try_metadata(job) {
            Ok(Some(set)) => {
                if set.differs_from(&set.before) {
                    let kind = set.entry.kind;
                    let size = (kind == Kind::File).then_some(set.entry.size);
                    self.context.reporter.done(Operation {
                        size,
                        reason,
                        ..Operation::new(Verb::Metadata, &path, kind)
                    });
                } else if set.not_set.is_none() {
                    self.context.reporter.count(Counter::Unchanged, 1);
                }
                set.unread.iter().for_each(|unread| self.context.xattr_unread(&path, unread));
                set.not_set
            }
            Ok(None) => None,
            Err(not_set) => Some(not_set),
        };
        self.not_set(&job.pair, Some(&job.name), not_set);
    }

    /// None when the source has an entry of another kind there by now, which the next pass handles.
    fn try_metadata(&self, job: &Job) -> Result<Option<Set>, MetadataError> {
        const LOOK: ProblemKind = ProblemKind::StatReplicaEntry;
        let (Some(source), Some(replica)) = (&job.pair.source, &job.pair.replica) else {
            return Ok(None);
        };
        let source = source.open().map_err(in_source(ProblemKind::OpenSourceFolder))?;
        let replica = replica.open().map_err(in_replica(ProblemKind::OpenReplicaFolder))?;
        let (source, replica, name) = (source.as_fd(), replica.as_fd(), &*job.name);
        let entry = stat::entry_at(source, name).map_err(in_source(ProblemKind::StatSourceEntry))?;
        let old = stat::entry_at(replica, name).map_err(in_replica(LOOK))?;
        if Some(old.id) != job.expected {
            return Err(in_replica(LOOK)(Errno::NOENT));
        }
        if entry.kind != old.kind {
            return Ok(None);
        }
        // A file is opened, so that its metadata is set on the inode that was looked at; the rest is reached by name.
        let open = |folder, owner: u32| match entry.kind {
            Kind::File => self.context.open_to_read(folder, name, owner).ok(),
            Kind::Folder
            | Kind::Symlink
            | Kind::Fifo
            | Kind::Socket
            | Kind::CharDevice
            | Kind::BlockDevice => None,
        };
        let (source_file, replica_file) = (open(source, entry.uid), open(replica, old.uid));
        let subject =
            source_file.as_ref().map_or(Subject::Named(source, name), |fd| Subject::Open(fd.as_fd()));
        let old_subject =
            replica_file.as_ref().map_or(Subject::Named(replica, name), |fd| Subject::Open(fd.as_fd()));
        if old_subject.entry().map_err(in_replica(LOOK))?.id != old.id {
            return Err(in_replica(LOOK)(Errno::NOENT));
        }
        let model = Model { entry: &entry, subject, extent: extent_of(entry.kind, self.context) };
        let filesystem = &job.pair.filesystem;
        set_metadata(self.context, model, Target { subject: old_subject, folder: replica, filesystem })
            .map(Some)
    }
}
