//! Entries that could not be created: an entry that is to be deleted from the replica may be the old name of one.

use crate::apply::Apply;
use crate::apply::error::Failed;
use crate::apply::job::Job;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::stat;
use crate::model::entry::{Entry, Kind};
use std::os::fd::AsFd;
use std::sync::Arc;

impl Apply<'_> {
    /// Notes an entry that is not created before the deletions. `has_gone` says that the source no longer has it there.
    pub(super) fn note_unmade(&self, job: &Job, failed: Failed, has_gone: bool) {
        let absence = &self.context.absence;
        match failed {
            Failed::Halted | Failed::NotHeld => {}
            Failed::Vanished | Failed::Gone(..) if has_gone => {
                if let Some((kind, size)) = job.planned {
                    absence.moved_on(kind, size);
                }
            }
            Failed::Vanished | Failed::Gone(..) | Failed::Taken | Failed::Because(..) => {
                let seen = seen(job);
                let like = seen.map(|entry| (entry.kind, entry.size)).or(job.planned);
                if let Some(like) = like {
                    absence.not_made(&job.pair.path(), like, seen.map(|entry| entry.mtime));
                }
                if let (Some(entry), Some(dir)) = (seen, &job.pair.source)
                    && entry.kind == Kind::Folder
                    && job.expected.is_none()
                {
                    self.note_below(dir.child(&job.name, entry.id));
                }
            }
        }
    }

    /// Notes everything in a folder that was not created, as far as it can be read: it may have been moved there.
    fn note_below(&self, top: Arc<Dir>) {
        let absence = &self.context.absence;
        let mut folders = vec![top];
        while let Some(dir) = folders.pop() {
            let Ok(fd) = dir.open() else { continue };
            let Ok(listing) = Listing::read(fd.as_fd()) else { continue };
            let path = dir.path();
            for name in listing.iter() {
                // More entries make no difference: nothing is deleted any more.
                if self.context.is_halted() || absence.has_too_many_unmade() {
                    return;
                }
                self.context.interrupt.beat();
                let Ok(entry) = stat::entry_at(fd.as_fd(), name) else { continue };
                absence.not_made(&path, (entry.kind, entry.size), Some(entry.mtime));
                if entry.kind == Kind::Folder {
                    folders.push(dir.child(name, entry.id));
                }
            }
        }
    }
}

/// The source's entry as it is now.
fn seen(job: &Job) -> Option<Entry> {
    let dir = job.pair.source.as_ref()?;
    dir.open().and_then(|fd| stat::entry_at(fd.as_fd(), &job.name)).ok()
}
