//! Hard links: the first name of a source inode is copied, every other name is linked to that copy.
//!
//! A name whose inode is being copied waits for that copy, and is then linked by any free worker. link.rs links one
//! name.

pub(in crate::apply) mod first;
pub(in crate::apply) mod link;
pub(in crate::apply) mod targets;

use crate::apply::create::Outcome;
use crate::apply::hardlinks::link::Unlinked;
use crate::apply::hardlinks::targets::{Content, Key, Parked, Place, Turn};
use crate::apply::job::Job;
use crate::apply::metadata::folders::make_writable;
use crate::apply::pending_folder::PendingFolder;
use crate::apply::{Apply, CHUNK};
use crate::identity::Identity;
use crate::model::entry::{Entry, Kind};
use crate::plan::{Change, Plan};
use rayon::Scope;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Up to this number of replacements no `syncfs` is worth it: each anchor gets its own fdatasync.
const FEW: usize = 4;

impl Apply<'_> {
    /// Takes over the link targets that the survey found.
    pub(in crate::apply) fn take_anchors(&self, plan: &Plan) {
        for anchor in &plan.anchors {
            let place = Place {
                folder: Arc::clone(&anchor.folder),
                name: anchor.name.clone(),
                id: anchor.replica,
                // The pass that created it may have ended before its `syncfs`.
                content: Content::Written,
            };
            self.anchors.put((anchor.source, anchor.replica.device), &place, anchor.names);
        }
    }

    /// The greatest number of names of an inode in the source.
    pub(in crate::apply) fn names_of(&self, entry: &Entry) -> u32 {
        if self.context.inner_mounts.are_in_source() { u32::MAX } else { entry.links }
    }

    /// Creates one name of a file with several hard links: the first name is copied, the others are linked to it.
    /// `holder` is the new folder that counts this job as pending.
    pub(in crate::apply) fn make_linked<'s>(
        &'s self,
        scope: &Scope<'s>,
        job: Job,
        entry: &Entry,
        holder: Option<Arc<PendingFolder>>,
    ) {
        let (Some(source), Some(replica)) = (&job.pair.source, &job.pair.replica) else {
            return self.release(holder);
        };
        let key = (Identity::of(entry, self.devices.numbers(source)), replica.id().device);
        let mut turn = self.anchors.turn(key, Parked { job, holder });
        while let Some((what, parked)) = turn {
            turn = match what {
                Turn::Copy => {
                    self.copy_first(&parked.job, entry, key);
                    self.finish_parked(parked)
                }
                Turn::PutOff(failed) => {
                    if parked.job.content_is_right && self.again.is_last_try() {
                        self.set_metadata(&parked.job, "");
                    } else {
                        self.failed(&parked.job, failed);
                    }
                    self.finish_parked(parked)
                }
                Turn::Link(anchor) => match self.link(&parked.job, entry, (key, &anchor)) {
                    Ok(()) => {
                        self.anchors.linked(key, anchor.id, self.names_of(entry));
                        self.finish_parked(parked)
                    }
                    Err(Unlinked::Failed(failed)) => {
                        self.failed(&parked.job, failed);
                        self.finish_parked(parked)
                    }
                    // The link is refused. Right content stays as it is.
                    Err(Unlinked::Refused | Unlinked::OtherContent) if parked.job.content_is_right => {
                        self.set_metadata(&parked.job, "");
                        self.finish_parked(parked)
                    }
                    // This name becomes the new link target.
                    Err(Unlinked::Refused) => self.anchors.turn_from(key, anchor.id, parked),
                    Err(Unlinked::OtherContent) => {
                        self.make_alone(&parked.job, entry, self.sync_of_copies(), None);
                        self.finish_parked(parked)
                    }
                },
            };
        }
        self.start_ready(scope);
    }

    /// Releases the holder of a name that needs no further work.
    fn finish_parked(&self, parked: Parked) -> Option<(Turn, Parked)> {
        self.release(parked.holder);
        None
    }

    fn copy_first(&self, job: &Job, entry: &Entry, key: Key) {
        if job.content_is_right {
            // The name that it should be linked to has not been created.
            self.anchors.not_made(key, None);
            return self.set_metadata(job, "");
        }
        match self.make_alone(job, entry, self.sync_of_copies(), Some(key)) {
            Outcome::Published(place) => self.anchors.made(key, &place),
            // The thread that publishes it wakes the names that wait for it.
            Outcome::Waits => {}
            Outcome::Failed(failed) => self.anchors.not_made(key, failed),
        }
    }

    /// Creates the names whose inode has been copied, on any free worker.
    pub(in crate::apply) fn start_ready<'s>(&'s self, scope: &Scope<'s>) {
        let mut ready = self.anchors.take_ready();
        while !ready.is_empty() {
            let chunk = ready.split_off(ready.len().saturating_sub(CHUNK));
            self.context.workers.spawn(scope, move |scope| {
                for Parked { job, holder } in chunk {
                    self.start(scope, job, holder);
                }
            });
        }
    }

    /// Commits pending files, and creates the names that waited for them, until none is left.
    pub(in crate::apply) fn finish_waiting(&self) {
        while self.has_waiting() || self.anchors.has_ready() {
            self.context.workers.scope(|scope| {
                self.publish_waiting();
                self.start_ready(scope);
            });
        }
    }

    /// Links the names that the survey found: a chunk, after handing the rest on.
    pub(in crate::apply) fn link_all<'s>(&'s self, scope: &Scope<'s>, links: &'s [&'s Change]) {
        let link = move |scope: &Scope<'s>, chunk: Range<usize>| {
            links.get(chunk).unwrap_or_default().iter().for_each(|change| self.start_link(scope, change));
        };
        self.context.workers.in_chunks(scope, (links.len(), CHUNK), link, |_| {});
    }

    fn start_link<'s>(&'s self, scope: &Scope<'s>, change: &Change) {
        if self.context.is_halted() {
            return;
        }
        if let Some(folder) = &change.pair.replica {
            make_writable(self.context, folder);
        }
        let job = Job::of(change);
        match self.look(&job) {
            // A file that became a folder meanwhile is for the next pass.
            Some(entry) if entry.kind != Kind::Folder => self.start_seen(scope, job, entry, None),
            Some(_) | None => {}
        }
        self.context.workers.did_name();
    }

    /// Makes link targets durable with one `syncfs` per device, where there are many: each link replaces an old
    /// version. After a failure each target gets its own fdatasync.
    pub(in crate::apply) fn write_before_links(&self, links: &[&Change]) {
        let mut devices: BTreeMap<u64, usize> = BTreeMap::new();
        for change in links.iter().filter(|change| change.kind == Kind::File && change.expected.is_some()) {
            if let Some(folder) = &change.pair.replica
                && change.pair.filesystem.syncs_as_a_whole()
            {
                *devices.entry(folder.id().device).or_default() += 1;
            }
        }
        for (device, _) in devices.into_iter().filter(|(_, links)| *links > FEW) {
            if !self.context.is_halted() && self.disks.sync_one(self.context, device).is_ok() {
                self.anchors.all_on_disk(device);
            }
        }
    }
}
