//! The size of what is on one side only: counted for the plan, never expanded in memory.

use crate::context::Context;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::stat;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::plan::{Counted, Pair};
use crate::survey::{CHUNK, Survey};
use rayon::Scope;
use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many entries lie below a folder of the source.
pub fn total(context: &Context<'_>, dir: Arc<Dir>) -> u64 {
    let survey = Survey::new(context);
    let counted = Arc::new(Counted::default());
    let task = Arc::clone(&counted);
    context.workers.scope(|scope| survey.count(scope, Side::Source, dir, task));
    let below = counted.subtree();
    below.files + below.folders
}

impl Survey<'_> {
    /// Starts counting what lies below a folder that is on one side only; none for everything else.
    pub(super) fn count_below<'s>(
        &'s self,
        scope: &Scope<'s>,
        side: Side,
        pair: &Pair,
        name: &CStr,
        entry: &Entry,
    ) -> Option<Arc<Counted>> {
        let parent = match side {
            Side::Source => &pair.source,
            Side::Replica => &pair.replica,
        };
        // What is mounted in the replica is never deleted, so its names stay.
        let stays = side == Side::Replica && entry.is_mount;
        let dir = parent.as_ref().filter(|_| entry.kind == Kind::Folder && !stays)?.child(name, entry.id);
        let counted = Arc::new(Counted::default());
        let task = Arc::clone(&counted);
        self.context.workers.spawn(scope, move |scope| self.count(scope, side, dir, task));
        Some(counted)
    }

    /// Counts one folder of a subtree. What cannot be read is not counted; apply tells it when it gets there.
    fn count<'s>(&'s self, scope: &Scope<'s>, side: Side, dir: Arc<Dir>, counted: Arc<Counted>) {
        if self.context.is_halted() {
            return;
        }
        self.context.interrupt.beat();
        let Ok(fd) = dir.open() else { return };
        let Ok(listing) = Listing::read(fd.as_fd()) else { return };
        let len = listing.len();
        let work = move |scope: &Scope<'s>, chunk: Range<usize>| {
            self.count_names(scope, (side, &dir), chunk.filter_map(|at| listing.get(at)), &counted);
        };
        self.context.workers.in_chunks(scope, (len, CHUNK), work, |_| {});
    }

    fn count_names<'s, 'n>(
        &'s self,
        scope: &Scope<'s>,
        (side, dir): (Side, &Arc<Dir>),
        names: impl Iterator<Item = &'n CStr>,
        counted: &Arc<Counted>,
    ) {
        if self.context.is_halted() {
            return;
        }
        self.context.interrupt.beat();
        let Ok(fd) = dir.open() else { return };
        let (mut files, mut folders, mut bytes) = (0, 0, 0);
        for name in names {
            let Ok(entry) = stat::entry_at(fd.as_fd(), name) else { continue };
            self.context.workers.did_name();
            if entry.is_mount {
                self.context.inner_mounts.meet(side, (dir, name), &entry);
            }
            match entry.kind {
                Kind::Folder => {
                    folders += 1;
                    if self.context.roots.is_other_root(side, &entry)
                        || (side == Side::Replica && entry.is_mount)
                    {
                        continue;
                    }
                    let (child, counted) = (dir.child(name, entry.id), Arc::clone(counted));
                    self.context.workers.spawn(scope, move |scope| self.count(scope, side, child, counted));
                }
                Kind::File
                | Kind::Symlink
                | Kind::Fifo
                | Kind::Socket
                | Kind::CharDevice
                | Kind::BlockDevice => {
                    files += 1;
                    if entry.kind == Kind::File {
                        bytes += entry.size;
                    }
                    // A name of the source is a name outside, even where the replica has the same inode (as after
                    // `cp -al`): counted as one of the replica it would be written through.
                    match side {
                        Side::Source => self.links.want(&entry),
                        Side::Replica => self.links.count_name(Some(dir), &entry),
                    }
                }
            }
        }
        counted.files.fetch_add(files, Ordering::Relaxed);
        counted.folders.fetch_add(folders, Ordering::Relaxed);
        counted.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
