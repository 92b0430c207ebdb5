//! Folders: making and filling new ones, and setting the metadata of every folder after its contents.

use crate::apply::failed::Failed;
use crate::apply::finish::{Extent, finish_folder, make_writable};
use crate::apply::publish::publish;
use crate::apply::{Apply, CHUNK, Job, lock};
use crate::entry::Kind;
use crate::filesystem::Differences;
use crate::fs::listing::Listing;
use crate::fs::{Errno, is_gone, place, stat};
use crate::monitor::{Operation, Verb};
use crate::plan::{Pair, Plan, Watch};
use crate::problem::Cause;
use rayon::Scope;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder that this pass has made. It is finished when everything in it is.
pub(super) struct NewFolder {
    pair: Arc<Pair>,
    parent: Option<Arc<NewFolder>>,
    /// Tasks and folders below that are not done yet.
    pending: AtomicUsize,
}

impl NewFolder {
    pub(super) fn hold(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }
}

impl Apply<'_> {
    /// Makes a folder and starts filling it.
    pub(super) fn make_folder<'s>(&'s self, scope: &Scope<'s>, job: &Job, parent: Option<Arc<NewFolder>>) {
        if self.context.is_halted() {
            return;
        }
        match self.new_folder(job) {
            Ok(Some(pair)) => {
                let path = job.path();
                self.context
                    .done(Operation { reason: job.reason, ..Operation::new(job.verb, &path, Kind::Folder) });
                if let Some(parent) = &parent {
                    parent.hold();
                }
                let folder =
                    Arc::new(NewFolder { pair: Arc::new(pair), parent, pending: AtomicUsize::new(1) });
                scope.spawn(move |scope| self.fill(scope, folder));
            }
            Ok(None) => {}
            Err(failed) => self.failed(job, failed),
        }
    }

    /// Makes an empty folder under its name, private until it is finished.
    fn new_folder(&self, job: &Job) -> Result<Option<Pair>, Failed> {
        const ACTION: &str = "make the folder in the replica";
        let (Some(source), Some(replica)) = (&job.pair.source, &job.pair.replica) else { return Ok(None) };
        let (source_fd, replica_fd) = self.open(source, replica)?;
        let seen = match stat::entry_at(source_fd.as_fd(), &job.name) {
            Ok(entry) if entry.kind == Kind::Folder => entry,
            Ok(_) => return Err(Failed::Vanished),
            Err(errno) => return Err(Failed::source("look at it in the source")(errno)),
        };
        if job.expected.is_none() {
            match place::make_folder(replica_fd.as_fd(), &job.name) {
                Err(Errno::EXIST) => return Err(Failed::Taken),
                made => made.map_err(Failed::replica(ACTION))?,
            }
        } else {
            replica.open_for_temporaries().map_err(Failed::replica(ACTION))?;
            let temporary = place::temporary_name().map_err(Failed::replica(ACTION))?;
            place::make_folder(replica_fd.as_fd(), &temporary).map_err(Failed::replica(ACTION))?;
            let at = job.destination(source_fd.as_fd(), replica_fd.as_fd());
            match publish(at, &temporary, true) {
                Ok(None) => {}
                Ok(Some(leftover)) => {
                    lock(&self.leftovers).push((Arc::clone(replica), leftover, job.path()));
                }
                Err(failed) => {
                    // Empty and private; where even this fails it is an extra that the next pass removes.
                    return match place::remove_folder(replica_fd.as_fd(), &temporary) {
                        Ok(()) | Err(_) => Err(failed),
                    };
                }
            }
        }
        let made = stat::entry_at(replica_fd.as_fd(), &job.name).map_err(Failed::replica(ACTION))?;
        Ok(Some(Pair {
            source: Some(source.child(&job.name, seen.id)),
            replica: Some(replica.child(&job.name, made.id)),
            filesystem: Arc::clone(&job.pair.filesystem),
            watch: self.context.watch_below(job.pair.watch, &job.name).unwrap_or(Watch::Off),
        }))
    }

    /// Lists the source's folder and makes everything in it.
    fn fill<'s>(&'s self, scope: &Scope<'s>, folder: Arc<NewFolder>) {
        let Some(source) = &folder.pair.source else { return };
        match source.open().and_then(|fd| Listing::read(fd.as_fd())) {
            Ok(listing) => self.fill_from(scope, folder, Arc::new(listing), 0),
            Err(errno) => {
                if !(is_gone(errno) && source.has_lost(None, errno)) {
                    let path = folder.pair.path();
                    self.problem(
                        &path,
                        "read the source folder",
                        Cause::System(errno),
                        "its replica stays empty",
                    );
                }
                // Nothing else holds it, and there is nothing to finish it by.
                self.release(folder.parent.clone());
            }
        }
    }

    /// Makes up to [`CHUNK`] entries of a new folder, after handing the rest on. Holds the folder once.
    fn fill_from<'s>(
        &'s self,
        scope: &Scope<'s>,
        folder: Arc<NewFolder>,
        listing: Arc<Listing>,
        from: usize,
    ) {
        let end = (from + CHUNK).min(listing.len());
        if end < listing.len() {
            folder.hold();
            let (rest, listing) = (Arc::clone(&folder), Arc::clone(&listing));
            scope.spawn(move |scope| self.fill_from(scope, rest, listing, end));
        }
        for at in from..end {
            let Some(name) = listing.get(at) else { break };
            if self.context.is_halted() {
                break;
            }
            if self.context.watch_below(folder.pair.watch, name).is_none() {
                continue;
            }
            folder.hold();
            let job = Job {
                pair: Arc::clone(&folder.pair),
                name: name.into(),
                verb: Verb::Create,
                expected: None,
                replica_unreadable: false,
                reason: "",
                content_is_right: false,
            };
            self.start(scope, job, Some(Arc::clone(&folder)));
        }
        self.release(Some(folder));
    }

    /// Lets go of a new folder; whoever is last finishes it, and then the folder above in the same way.
    pub(super) fn release(&self, folder: Option<Arc<NewFolder>>) {
        let mut next = folder;
        while let Some(folder) = next {
            if folder.pending.fetch_sub(1, Ordering::AcqRel) != 1 {
                return;
            }
            self.finish(&folder.pair, Extent::Everything);
            next = folder.parent.clone();
        }
    }

    /// True when the folder shows other metadata now.
    fn finish(&self, pair: &Pair, extent: Extent) -> bool {
        if self.context.is_halted() {
            return false;
        }
        match finish_folder(self.context, pair, extent) {
            Ok(Some(set)) => {
                self.not_set(pair, None, set.not_set);
                set.changed
            }
            Ok(None) => false,
            Err(not_set) => {
                self.not_set(pair, None, Some(not_set));
                false
            }
        }
    }

    /// Opens a folder for work that comes late; it may be a new one that is finished already.
    pub(super) fn touch(&self, pair: &Arc<Pair>) {
        if let Some(dir) = &pair.replica {
            make_writable(self.context, dir);
        }
        lock(&self.touched).push(Arc::clone(pair));
    }

    /// Folders that were worked in, or whose own metadata differs; deepest first, since a mode may close a folder.
    pub(super) fn finish_folders(&self, plan: &Plan) {
        struct Finish<'p> {
            pair: Arc<Pair>,
            planned: Option<&'p Differences>,
        }
        let mut all: HashMap<*const Pair, Finish<'_>> = HashMap::new();
        for pair in plan.changes.iter().map(|change| &change.pair).chain(lock(&self.touched).iter()) {
            all.entry(Arc::as_ptr(pair)).or_insert_with(|| Finish { pair: Arc::clone(pair), planned: None });
        }
        for folder in &plan.folders {
            let planned = Some(&folder.differences);
            all.insert(Arc::as_ptr(&folder.pair), Finish { pair: Arc::clone(&folder.pair), planned });
        }
        let mut all: Vec<Finish<'_>> = all.into_values().collect();
        all.sort_by_cached_key(|finish| std::cmp::Reverse(finish.pair.depth()));
        for Finish { pair, planned } in all {
            let with_attributes = planned.is_some_and(|differences| differences.attributes);
            let extent = if with_attributes { Extent::Everything } else { Extent::NoAttributes };
            if self.finish(&pair, extent)
                && let Some(differences) = planned
            {
                let path = pair.path();
                let reason = differences.words();
                self.context
                    .done(Operation { reason, ..Operation::new(Verb::Metadata, &path, Kind::Folder) });
            }
        }
    }
}
