//! Hard links among the first entries of a new folder, which are created before the folder is visible.

use crate::apply::Apply;
use crate::apply::error::Failed;
use crate::apply::hardlinks::targets::{Content, Key, Place, Turn};
use crate::apply::job::Job;
use crate::apply::publish::discard;
use crate::apply::stage::NotStaged;
use crate::apply::staged::{Fsync, Published};
use crate::collections::HashMap;
use crate::fs::{dirent, stat};
use crate::identity::{Identity, Numbers};
use crate::model::entry::{Entry, FileId};
use crate::model::feature::Feature;
use crate::plan::Pair;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// The outcome of creating a first name.
pub(in crate::apply) enum FirstMade {
    /// It was copied. The key, if any, is that of its inode, which further names are linked to.
    Copied(Published, Option<Key>),
    /// It was linked to another name.
    Linked(Key, Entry, Other),
}

/// The name that another one was linked to.
pub(in crate::apply) enum Other {
    /// In the new folder itself, and the inode.
    Here(Box<CStr>, FileId),
    There(Place),
}

/// The inodes with several names that have been copied into a new folder.
pub(in crate::apply) type Here = HashMap<Key, (Box<CStr>, FileId)>;

impl Apply<'_> {
    /// The key of a first name that can be created together with its hard links; none where it is created later:
    /// without inode numbers that prove it, the contents have to be compared first.
    pub(in crate::apply) fn key_of_first(&self, pair: &Pair, entry: &Entry) -> Option<Key> {
        let numbers = self.devices.numbers(pair.source.as_ref()?);
        let device = pair.replica.as_ref()?.id().device;
        let is_linked = numbers == Numbers::Proof && pair.filesystem.holds(Feature::HardLinks);
        is_linked.then(|| (Identity::of(entry, numbers), device))
    }

    /// Creates a first name of a file with several hard links, given the two open folders. None when it has to be
    /// created later: its inode is being copied, or cannot be linked to.
    pub(in crate::apply) fn make_first_linked(
        &self,
        job: &Job,
        entry: &Entry,
        (from, to): (BorrowedFd<'_>, BorrowedFd<'_>),
        key: Key,
        here: &mut Here,
    ) -> Option<Result<FirstMade, NotStaged>> {
        let linked = |other: Other| Some(Ok(FirstMade::Linked(key, *entry, other)));
        if let Some((name, id)) = here.get(&key) {
            let is_linked = link_quietly((to, name), (to, &job.name), *id);
            return if is_linked { linked(Other::Here(name.clone(), *id)) } else { None };
        }
        match self.anchors.turn_at_once(key)? {
            Turn::PutOff(_) => None,
            Turn::Link(anchor) => {
                let folder = anchor.folder.open().ok()?;
                let is_linked = link_quietly((folder.as_fd(), &anchor.name), (to, &job.name), anchor.id);
                if is_linked { linked(Other::There(anchor)) } else { None }
            }
            Turn::Copy => {
                let at = job.destination(from, to);
                let made = self.make_ready(at, entry, CString::from(job.name.clone()), Fsync::Grouped);
                match &made {
                    Ok(ready) => {
                        here.insert(key, (job.name.clone(), ready.made.entry.id));
                    }
                    Err(unmade) => self.anchors.not_made(key, Some(unmade.failed)),
                }
                Some(made.map(|ready| FirstMade::Copied(ready.made, Some(key))))
            }
        }
    }

    /// Reports the outcome of a first name, once its folder is visible.
    pub(in crate::apply) fn first_made(&self, job: &Job, made: Result<FirstMade, Failed>) {
        let Some(folder) = &job.pair.replica else { return };
        let place = |name: &CStr, id: FileId| Place {
            folder: Arc::clone(folder),
            name: name.into(),
            id,
            content: Content::Written,
        };
        match made {
            Ok(FirstMade::Copied(made, key)) => {
                if let Some(key) = key {
                    self.anchors.made(key, &place(&job.name, made.entry.id));
                }
                self.made(job, made);
            }
            Ok(FirstMade::Linked(key, entry, other)) => {
                let anchor = match other {
                    Other::Here(name, id) => place(&name, id),
                    Other::There(place) => place,
                };
                self.told_link(job, &entry, &anchor);
                self.anchors.linked(key, anchor.id, self.names_of(&entry));
            }
            Err(failed) => self.failed(job, failed),
        }
    }

    /// Discards a first name whose folder could not be published.
    pub(in crate::apply) fn first_unmade(
        &self,
        folder: BorrowedFd<'_>,
        job: &Job,
        made: &Result<FirstMade, Failed>,
    ) {
        match made {
            Ok(FirstMade::Copied(_, key)) => {
                discard(folder, &job.name);
                if let Some(key) = key {
                    self.anchors.not_made(*key, None);
                }
            }
            Ok(FirstMade::Linked(..)) => {
                discard(folder, &job.name);
            }
            Err(_) => {}
        }
    }
}

/// Links a name, and checks that it leads to the expected inode. On failure the name is created in the usual way, which
/// reports the reason.
fn link_quietly(from: (BorrowedFd<'_>, &CStr), to: (BorrowedFd<'_>, &CStr), id: FileId) -> bool {
    if dirent::make_link(from.0, from.1, to.0, to.1).is_err() {
        return false;
    }
    let is_it = stat::entry_at(to.0, to.1).is_ok_and(|linked| linked.id == id);
    if !is_it {
        discard(to.0, to.1);
    }
    is_it
}
