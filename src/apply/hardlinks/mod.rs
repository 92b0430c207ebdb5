//! Hard links: the first name of a source inode is copied, every other name is linked to that copy.
//!
//! A name whose inode is just being copied waits for that, and is then linked by whoever is free. How one name is linked is
//! in link.rs.

pub(in crate::apply) mod first;
pub(in crate::apply) mod link;
pub(in crate::apply) mod targets;

use crate::apply::create::Outcome;
use crate::apply::hardlinks::link::Unlinked;
use crate::apply::hardlinks::targets::{Content, Key, Parked, Place, Turn};
use crate::apply::metadata::folders::make_writable;
use crate::apply::new_folder::NewFolder;
use crate::apply::{Apply, CHUNK, Job};
use crate::identity::Identity;
use crate::model::entry::{Entry, Kind};
use crate::plan::{Change, Plan};
use rayon::Scope;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// So few names that replace others are not worth a `syncfs`: their files are written to the disk one by one.
const FEW: usize = 4;

impl Apply<'_> {
    /// Takes what the survey found for what further names are linked to.
    pub(in crate::apply) fn take_anchors(&self, plan: &Plan) {
        for anchor in &plan.anchors {
            let place = Place {
                folder: Arc::clone(&anchor.folder),
                name: anchor.name.clone(),
                id: anchor.replica,
                // The pass that made it may have ended before it was on the disk.
                content: Content::Written,
            };
            self.anchors.put((anchor.source, anchor.replica.device), &place, anchor.names);
        }
    }

    /// How many names of an inode there may be in the source.
    pub(in crate::apply) fn names_of(&self, entry: &Entry) -> u32 {
        if self.context.inner_mounts.are_in_source() { u32::MAX } else { entry.links }
    }

    /// Makes one name of a file that has several: the first is copied, the others are linked to it. `holder` is the new
    /// folder that waits for it.
    pub(in crate::apply) fn make_linked<'s>(
        &'s self,
        scope: &Scope<'s>,
        job: Job,
        entry: &Entry,
        holder: Option<Arc<NewFolder>>,
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
                    // It cannot be linked there. If its own content is right it stays.
                    Err(Unlinked::Refused | Unlinked::OtherContent) if parked.job.content_is_right => {
                        self.set_metadata(&parked.job, "");
                        self.finish_parked(parked)
                    }
                    // It becomes what the others are linked to.
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

    /// Nothing more is to be done about a name.
    fn finish_parked(&self, parked: Parked) -> Option<(Turn, Parked)> {
        self.release(parked.holder);
        None
    }

    fn copy_first(&self, job: &Job, entry: &Entry, key: Key) {
        if job.content_is_right {
            // What it was to be linked to has not been made.
            self.anchors.not_made(key, None);
            return self.set_metadata(job, "");
        }
        match self.make_alone(job, entry, self.sync_of_copies(), Some(key)) {
            Outcome::Published(place) => self.anchors.made(key, &place),
            // Whoever gives it its name goes on with the others.
            Outcome::Waits => {}
            Outcome::Failed(failed) => self.anchors.not_made(key, failed),
        }
    }

    /// Makes the names that have waited long enough, with whoever is free.
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

    /// Publishes what waits, and makes what waited for that, until nothing does.
    pub(in crate::apply) fn finish_waiting(&self) {
        while self.has_waiting() || self.anchors.has_ready() {
            self.context.workers.scope(|scope| {
                self.publish_waiting();
                self.start_ready(scope);
            });
        }
    }

    /// The names that the survey found to be linked: a chunk, after handing the rest on.
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
            // It became a folder meanwhile: the next pass sees it.
            Some(entry) if entry.kind != Kind::Folder => self.start_seen(scope, job, entry, None),
            Some(_) | None => {}
        }
        self.context.workers.did_name();
    }

    /// Writes what names are going to be linked to to the disk, since each of them replaces an old version: all of it
    /// together, where there is much. What does not get there is asked for once more, each for itself.
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
