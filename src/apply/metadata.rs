//! Entries whose content is right and whose metadata is not.

use crate::apply::Apply;
use crate::apply::finish::{Model, NotSet, in_replica, in_source, set_metadata};
use crate::entry::{Entry, Kind};
use crate::fs::content::open_to_read;
use crate::fs::subject::Subject;
use crate::fs::{Errno, stat};
use crate::monitor::{Operation, Verb};
use crate::plan::Change;
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
            Err(not_set) => self.not_set(&path, not_set, "its content is right"),
        }
    }

    /// None when there turned out to be nothing to set, because the filesystem cannot hold it.
    fn try_metadata(&self, change: &Change) -> Result<Option<Entry>, NotSet> {
        const LOOK: &str = "look at it in the replica";
        let (Some(source), Some(replica)) = (&change.pair.source, &change.pair.replica) else {
            return Ok(None);
        };
        let source = source.open().map_err(in_source("open the source folder"))?;
        let replica = replica.open().map_err(in_replica("open the replica folder"))?;
        let (source, replica, name) = (source.as_fd(), replica.as_fd(), &*change.name);
        let entry = stat::entry_at(source, name).map_err(in_source("look at it in the source"))?;
        let old = stat::entry_at(replica, name).map_err(in_replica(LOOK))?;
        if entry.kind != change.kind {
            // The source changed: the next pass sees it.
            return Ok(None);
        }
        if Some(old.id) != change.expected {
            return Err(in_replica(LOOK)(Errno::NOENT));
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
        if theirs.entry().map_err(in_replica(LOOK))?.id != old.id {
            return Err(in_replica(LOOK)(Errno::NOENT));
        }
        let has_attributes = change.kind != Kind::Symlink || self.context.privileged;
        let attributes = has_attributes.then_some(ours);
        let set =
            set_metadata(self.context, &change.pair.filesystem, Model { entry: &entry, attributes }, theirs)?;
        Ok(set.changed.then_some(set.entry))
    }
}
