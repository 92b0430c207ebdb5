//! Hard link targets: which replica inode the further names of a source inode are linked to.
//!
//! An inode is forgotten when all its names are made. Until then it takes 32 bytes and its name: of 300,000 files the first
//! names may all be made before the first of their second ones. Where something is mounted inside the source, whose names may
//! be more than its links, it is not forgotten before the end of the pass.

use crate::apply::error::Failed;
use crate::apply::new_folder::NewFolder;
use crate::apply::{Job, lock};
use crate::collections::HashMap;
use crate::collections::inodes::{Inodes, Wide};
use crate::collections::interned::Interned;
use crate::collections::names::Names;
use crate::fs::dir::Dir;
use crate::identity::Identity;
use crate::model::entry::FileId;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{Arc, Mutex};

/// A source inode, as far as one filesystem of the replica holds its names.
pub(in crate::apply) type Key = (Identity, u64);

/// A name in the replica and the inode it leads to.
#[derive(Clone, Debug)]
pub(in crate::apply) struct Place {
    pub(in crate::apply) folder: Arc<Dir>,
    pub(in crate::apply) name: Box<CStr>,
    pub(in crate::apply) id: FileId,
    pub(in crate::apply) content: Content,
}

/// Whether a file may take the place of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::apply) enum Content {
    /// It is known to be on the disk.
    OnDisk,
    /// It may not be.
    Written,
}

/// A name that waits, and the new folder that waits for it.
pub(in crate::apply) struct Parked {
    pub(in crate::apply) job: Job,
    pub(in crate::apply) holder: Option<Arc<NewFolder>>,
}

/// What is to be done about a name.
pub(in crate::apply) enum Turn {
    /// It is copied, and its inode is what the others are linked to; [`Anchors::made`] or [`Anchors::not_made`] follows.
    Copy,
    /// It is linked.
    Link(Place),
    /// There was no room for its inode: it fares like that.
    PutOff(Failed),
}

/// See [`Place`].
#[derive(Clone, Copy)]
struct Known {
    replica: Wide,
    name: u32,
    /// The number of the folder: of more than sixteen million of them at once the names become files of their own.
    folder: [u8; 3],
    /// How many names there are, up to [`MANY`]; [`ON_DISK`] is set where the content is.
    names: u8,
}

const ON_DISK: u8 = 1 << 7;

/// An inode of so many names or more is not forgotten before the end.
const MANY: u8 = ON_DISK - 1;

impl Known {
    fn folder(&self) -> u32 {
        let [high, middle, low] = self.folder;
        u32::from_be_bytes([0, high, middle, low])
    }

    /// One name more. True when there are as many as `links`.
    fn has_all(&mut self, links: u32) -> bool {
        let names = (self.names & MANY).saturating_add(1).min(MANY);
        self.names = self.names & ON_DISK | names;
        names < MANY && u32::from(names) >= links
    }
}

/// What further names are linked to.
#[derive(Default)]
pub(in crate::apply) struct Anchors(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// By the devices of source and replica.
    known: BTreeMap<(u64, u64), Inodes<Known>>,
    folders: Interned<Dir>,
    names: Names,
    /// What is being copied, and the names that wait for it.
    busy: HashMap<Key, Vec<Parked>>,
    /// Of what there was no room.
    put_off: HashMap<Key, Failed>,
    /// Names that have waited long enough.
    ready: Vec<Parked>,
}

impl Table {
    fn known(&self, (identity, device): Key) -> Option<Known> {
        self.known.get(&(identity.id.device, device))?.get((identity.id.inode, identity.check))
    }

    fn known_mut(&mut self, (identity, device): Key) -> Option<&mut Known> {
        self.known.get_mut(&(identity.id.device, device))?.get_mut((identity.id.inode, identity.check))
    }

    fn forget(&mut self, (identity, device): Key) {
        let Some(known) = self.known.get_mut(&(identity.id.device, device)) else { return };
        if let Some(known) = known.remove((identity.id.inode, identity.check)) {
            self.folders.release(known.folder());
            self.names.release(known.name);
        }
    }

    fn turn(&mut self, key: Key, parked: Parked) -> Option<(Turn, Parked)> {
        if let Some(waiting) = self.busy.get_mut(&key) {
            waiting.push(parked);
            return None;
        }
        Some((self.turn_of_free(key), parked))
    }

    fn turn_of_free(&mut self, key: Key) -> Turn {
        if let Some(failed) = self.put_off.get(&key) {
            return Turn::PutOff(*failed);
        }
        let known = self.known(key).and_then(|known| {
            let content = if known.names & ON_DISK == 0 { Content::Written } else { Content::OnDisk };
            Some(Place {
                folder: Arc::clone(self.folders.get(known.folder())?),
                name: self.names.get(known.name)?.into(),
                id: FileId { device: key.1, inode: known.replica.into() },
                content,
            })
        });
        if let Some(place) = known {
            return Turn::Link(place);
        }
        self.busy.insert(key, Vec::new());
        Turn::Copy
    }

    fn put(&mut self, key: Key, place: &Place, names: u32) {
        self.forget(key);
        let Some(name) = self.names.keep(&place.name) else { return };
        let folder = self.folders.hold(&place.folder);
        let [0, high, middle, low] = folder.to_be_bytes() else {
            self.folders.release(folder);
            return self.names.release(name);
        };
        let on_disk = if place.content == Content::OnDisk { ON_DISK } else { 0 };
        let names = u8::try_from(names).map_or(MANY, |names| names.min(MANY)) | on_disk;
        let known = Known { replica: place.id.inode.into(), folder: [high, middle, low], name, names };
        let (identity, device) = key;
        let table = self.known.entry((identity.id.device, device)).or_default();
        table.insert((identity.id.inode, identity.check), known);
    }

    /// Lets go of those that waited for an inode.
    fn let_go(&mut self, key: Key) {
        self.ready.append(&mut self.busy.remove(&key).unwrap_or_default());
    }
}

impl Anchors {
    /// What is to be done about a name. None when it waits: somebody is copying its inode.
    pub(in crate::apply) fn turn(&self, key: Key, parked: Parked) -> Option<(Turn, Parked)> {
        lock(&self.0).turn(key, parked)
    }

    /// As [`Anchors::turn`], for a name that does not wait.
    pub(in crate::apply) fn turn_at_once(&self, key: Key) -> Option<Turn> {
        let mut table = lock(&self.0);
        if table.busy.contains_key(&key) { None } else { Some(table.turn_of_free(key)) }
    }

    /// As [`Anchors::turn`] for a name that could not be linked to an inode: if that is still the one that names are linked
    /// to, there will be another one.
    pub(in crate::apply) fn turn_from(
        &self,
        key: Key,
        inode: FileId,
        parked: Parked,
    ) -> Option<(Turn, Parked)> {
        let mut table = lock(&self.0);
        if table.known(key).is_some_and(|known| u64::from(known.replica) == inode.inode) {
            table.forget(key);
        }
        table.turn(key, parked)
    }

    /// Notes where an inode is, and of how many names.
    pub(in crate::apply) fn put(&self, key: Key, place: &Place, names: u32) {
        lock(&self.0).put(key, place, names);
    }

    /// Notes where an inode is that was just copied.
    pub(in crate::apply) fn made(&self, key: Key, place: &Place) {
        let mut table = lock(&self.0);
        table.put(key, place, 1);
        table.let_go(key);
    }

    /// Notes that an inode could not be copied. Where there was no room none of its names needs to be tried for now.
    pub(in crate::apply) fn not_made(&self, key: Key, failed: Option<Failed>) {
        let mut table = lock(&self.0);
        if let Some(failed) = failed.filter(Failed::is_full) {
            table.put_off.insert(key, failed);
        }
        table.let_go(key);
    }

    /// Notes that one more name of the `links` that the source has was linked to an inode.
    pub(in crate::apply) fn linked(&self, key: Key, inode: FileId, links: u32) {
        let mut table = lock(&self.0);
        let Some(known) = table.known_mut(key).filter(|known| u64::from(known.replica) == inode.inode) else {
            return;
        };
        if known.has_all(links) {
            table.forget(key);
        }
    }

    /// Notes that the content of an inode is on the disk.
    pub(in crate::apply) fn on_disk(&self, key: Key, inode: FileId) {
        if let Some(known) = lock(&self.0).known_mut(key)
            && u64::from(known.replica) == inode.inode
        {
            known.names |= ON_DISK;
        }
    }

    /// Notes that everything on a device of the replica is on the disk.
    pub(in crate::apply) fn all_on_disk(&self, device: u64) {
        for ((_, replica), known) in &mut lock(&self.0).known {
            if *replica == device {
                known.for_each(|known| known.names |= ON_DISK);
            }
        }
    }

    /// The names that have waited long enough.
    pub(in crate::apply) fn take_ready(&self) -> Vec<Parked> {
        std::mem::take(&mut lock(&self.0).ready)
    }

    /// Whether there are such names.
    pub(in crate::apply) fn has_ready(&self) -> bool {
        !lock(&self.0).ready.is_empty()
    }

    /// Everything may be tried again.
    pub(in crate::apply) fn try_again(&self) {
        lock(&self.0).put_off.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_forgotten_with_its_last_name_unless_there_are_very_many() {
        assert_eq!(size_of::<Known>(), 16);
        let known = |names| Known { replica: 1.into(), name: 0, folder: [1, 2, 3], names };
        assert_eq!(known(0).folder(), 0x01_02_03);
        assert!(known(1).has_all(2) && known(1 | ON_DISK).has_all(2));
        assert!(!known(1).has_all(3));
        let mut many = known((MANY - 1) | ON_DISK);
        assert!(!many.has_all(1) && !many.has_all(1));
        assert_eq!(many.names, MANY | ON_DISK);
    }
}
