//! What was to be made and was not: what is to go from the replica may be its old name.

use crate::apply::error::Failed;
use crate::apply::{Apply, Job};
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::stat;
use crate::model::entry::{Entry, Kind};
use std::os::fd::AsFd;
use std::sync::Arc;

impl Apply<'_> {
    /// Notes what was not made, and will not be before the deletions. `has_gone` says that the source does not have it any
    /// more where it was seen.
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

    /// Notes everything that lies in a folder that was not made, as far as it can be read: it may have been moved there.
    fn note_below(&self, top: Arc<Dir>) {
        let absence = &self.context.absence;
        let mut folders = vec![top];
        while let Some(dir) = folders.pop() {
            let Ok(fd) = dir.open() else { continue };
            let Ok(listing) = Listing::read(fd.as_fd()) else { continue };
            let path = dir.path();
            for name in listing.iter() {
                // More makes no difference then: nothing goes any more.
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

/// What the source has there now.
fn seen(job: &Job) -> Option<Entry> {
    let dir = job.pair.source.as_ref()?;
    dir.open().and_then(|fd| stat::entry_at(fd.as_fd(), &job.name)).ok()
}
