//! FolderToStage folders: all their entries, and their metadata once those are done.

use crate::apply::job::Job;
use crate::apply::pending_folder::PendingFolder;
use crate::apply::stage_folder::StagedFolder;
use crate::apply::{Apply, CHUNK};
use crate::fs::listing::Listing;
use crate::model::change::Operation;
use crate::model::entry::{Entry, Kind};
use crate::model::error::{Cause, Side};
use crate::model::problem_kind::ProblemKind;
use rayon::Scope;
use std::ops::Range;
use std::sync::Arc;

impl Apply<'_> {
    /// Creates a folder and its entries. `parent` is the new folder that counts this job as pending: it is held once
    /// for it.
    pub(super) fn make_folder<'s>(
        &'s self,
        scope: &Scope<'s>,
        job: &Job,
        seen: &Entry,
        parent: Option<Arc<PendingFolder>>,
    ) {
        if self.context.is_halted() || self.is_hopeless(job) {
            return self.release(parent);
        }
        self.context.interrupt.beat();
        self.publish_overdue();
        let StagedFolder { pair, listing, rules, first } = match self.stage_folder(job, seen) {
            Ok(Some(shown)) => shown,
            Ok(None) => return self.release(parent),
            Err(failed) => {
                self.failed(job, failed);
                return self.release(parent);
            }
        };
        let path = job.path();
        if let Some(replica) = &pair.replica {
            self.context.ledger.created_folder(&path, seen, replica.id());
        }
        self.context
            .reporter
            .done(Operation { reason: job.reason, ..Operation::new(job.verb, &path, Kind::Folder) });
        let listing = match listing {
            Ok(listing) => Arc::new(listing),
            Err(errno) => {
                let consequence = "its replica stays empty";
                self.problem(&path, ProblemKind::ReadSourceFolder, Cause::System(errno), consequence);
                // Without its source it cannot be finished.
                return self.release(parent);
            }
        };
        self.context.workers.did_name();
        let folder = Arc::new(PendingFolder::new(pair, parent, rules));
        if first.names < listing.len() {
            folder.retain();
            let rest = Arc::clone(&folder);
            self.context.workers.spawn(scope, move |scope| self.fill_from(scope, rest, listing, first.names));
        }
        for (job, made) in first.done {
            self.first_made(&job, made);
        }
        self.start_ready(scope);
        let (left, holder) = (first.left, Arc::clone(&folder));
        let len = left.len();
        let make = move |scope: &Scope<'s>, chunk: Range<usize>| {
            for (job, entry) in left.get(chunk).unwrap_or_default() {
                if self.context.is_halted() {
                    break;
                }
                holder.retain();
                self.start_seen(scope, job.clone(), *entry, Some(Arc::clone(&holder)));
                self.context.workers.did_name();
            }
        };
        self.context.workers.in_chunks(scope, (len, CHUNK), make, |_| self.release(Some(folder)));
    }

    /// Creates the entries of a new folder, from one of its names on. Holds the folder once.
    fn fill_from<'s>(
        &'s self,
        scope: &Scope<'s>,
        folder: Arc<PendingFolder>,
        listing: Arc<Listing>,
        from: usize,
    ) {
        let (holder, len) = (Arc::clone(&folder), listing.len() - from);
        let make = move |scope: &Scope<'s>, chunk: Range<usize>| {
            for name in chunk.filter_map(|at| listing.get(from + at)) {
                if self.context.is_halted() {
                    break;
                }
                let has_moved = holder.pair.replica.as_ref().is_some_and(|dir| self.has_moved_to(dir, name));
                let is_mirrored = holder.rules.below(self.context, name).is_some()
                    && holder.rules.excludes_name(self.context, Side::Source, name).is_none();
                if !has_moved && is_mirrored {
                    holder.retain();
                    self.start(scope, Job::in_new_folder(&holder.pair, name), Some(Arc::clone(&holder)));
                    self.context.workers.did_name();
                }
            }
        };
        self.context.workers.in_chunks(scope, (len, CHUNK), make, |_| self.release(Some(folder)));
    }
}
