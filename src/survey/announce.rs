//! Announces the next reads to the kernel while the disk is the bottleneck.
//!
//! A disk with one head is faster with many requests at once, because it reorders them by position. The files of a
//! whole chunk of names are announced before the first of them is compared. Where each open(2) asks a server or a FUSE
//! process, that would double the waiting, so only files on a local disk are announced.

use crate::fs::dir::Dir;
use crate::fs::file::{announce, open_to_read};
use crate::fs::stat::entry_at;
use crate::model::entry::Kind;
use crate::model::error::Side;
use crate::survey::merge::Merge;
use crate::survey::{LARGE, PairBorrowed, Survey};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

impl Survey<'_> {
    /// Announces the contents of the files of a chunk that are going to be compared. A file that cannot be looked at or
    /// opened is reported when its turn comes.
    pub(super) fn announce(&self, merge: &Merge, fds: PairBorrowed<'_>, names: Range<usize>) {
        let (Some(source), Some(replica)) = (fds.source, fds.replica) else { return };
        if !self.context.may_announce() {
            return;
        }
        let is_on_disk =
            |dir: &Option<Arc<Dir>>| dir.as_ref().is_some_and(|dir| self.context.on_disk.has(dir));
        let (source_on_disk, replica_on_disk) =
            (is_on_disk(&merge.pair.source), is_on_disk(&merge.pair.replica));
        if !source_on_disk && !replica_on_disk {
            return;
        }
        for (name, in_source, in_replica) in names.filter_map(|at| merge.get(at)) {
            if self.context.is_halted() {
                return;
            }
            if !(in_source && in_replica) || merge.rules.below(self.context, name).is_none() {
                continue;
            }
            if merge.rules.excludes_name(self.context, Side::Source, name).is_some() {
                continue;
            }
            let (Ok(ours), Ok(theirs)) = (entry_at(source, name), entry_at(replica, name)) else { continue };
            let is_compared =
                ours.kind == Kind::File && theirs.kind == Kind::File && ours.size == theirs.size;
            // Large files have tasks of their own, and an inode with several names is compared once.
            if !is_compared || ours.size == 0 || ours.size >= LARGE || ours.links > 1 {
                continue;
            }
            for (folder, entry, is_on_disk) in
                [(source, ours, source_on_disk), (replica, theirs, replica_on_disk)]
            {
                if is_on_disk && let Ok(file) = open_to_read(folder, name, self.context.owns(entry.uid)) {
                    announce(file.as_fd(), 0, entry.size);
                }
            }
            self.context.interrupt.beat();
        }
    }
}
