//! Entries whose content is right and whose metadata is not.

use crate::apply::Apply;
use crate::apply::finish::{Model, NotSet, set_metadata};
use crate::entry::{Entry, Kind};
use crate::fs::content::open_to_read;
use crate::fs::subject::Subject;
use crate::fs::{Errno, is_gone, stat};
use crate::monitor::{Operation, Verb};
use crate::plan::Change;
use crate::problem::Cause;
use std::os::fd::AsFd;

impl Apply<'_> {
    /// Sets the metadata of an entry whose content is right.
    pub(super) fn set_metadata(&self, change: &Change, reason: &'static str) {
        let path = change.pair.path().join(&change.name);
        match self.try_metadata(change) {
            Ok(Some(entry)) => {
                let size = (entry.kind == Kind::File).then_some(entry.size);
                self.context.done(Operation {
                    size,
                    reason,
                    ..Operation::new(Verb::Metadata, &path, entry.kind)
                });
            }
            Ok(None) => {}
            Err((_, errno)) if is_gone(errno) => {
                self.context.check_replica();
            }
            Err((action, errno)) => self.problem(&path, action, Cause::System(errno), "its content is right"),
        }
    }

    /// None when there turned out to be nothing to set, because the filesystem cannot hold it.
    fn try_metadata(&self, change: &Change) -> Result<Option<Entry>, NotSet> {
        let (Some(source), Some(replica)) = (&change.pair.source, &change.pair.replica) else {
            return Ok(None);
        };
        let source = source.open().map_err(|errno| ("open the source folder", errno))?;
        let replica = replica.open().map_err(|errno| ("open the replica folder", errno))?;
        let (source, replica, name) = (source.as_fd(), replica.as_fd(), &*change.name);
        let entry = stat::entry_at(source, name).map_err(|errno| ("look at it in the source", errno))?;
        let old = stat::entry_at(replica, name).map_err(|errno| ("look at it in the replica", errno))?;
        if entry.kind != change.kind || Some(old.id) != change.expected {
            return Err(("look at it in the replica", Errno::NOENT));
        }
        // A file is opened, so that what is set is set on the inode that was looked at; the rest is reached by name.
        let open = |folder, owner: u32| match change.kind {
            Kind::File => open_to_read(folder, name, self.context.owns(owner)).ok(),
            Kind::Folder
            | Kind::Symlink
            | Kind::Fifo
            | Kind::Socket
            | Kind::CharDevice
            | Kind::BlockDevice => None,
        };
        let (source_file, replica_file) = (open(source, entry.uid), open(replica, old.uid));
        let ours = source_file.as_ref().map_or(Subject::Named(source, name), |fd| Subject::Open(fd.as_fd()));
        let theirs =
            replica_file.as_ref().map_or(Subject::Named(replica, name), |fd| Subject::Open(fd.as_fd()));
        if theirs.entry().map_err(|errno| ("look at it in the replica", errno))?.id != old.id {
            return Err(("look at it in the replica", Errno::NOENT));
        }
        let has_attributes = change.kind != Kind::Symlink || self.context.privileged;
        let attributes = has_attributes.then_some(ours);
        let set =
            set_metadata(self.context, &change.pair.filesystem, Model { entry: &entry, attributes }, theirs)?;
        Ok(set.changed.then_some(set.entry))
    }
}
