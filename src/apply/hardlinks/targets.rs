//! Hard link targets: the replica inode that further names of a source inode are linked to.
//!
//! An inode is forgotten when all its names have been created. Until then it takes 32 bytes and its name: of 300,000
//! files all first names may be created before any second one. With mounts inside the source a file may have more names
//! than its link count, so its inode is kept until the end of the pass.

use crate::apply::error::Failed;
use crate::apply::job::Job;
use crate::apply::lock;
use crate::apply::pending_folder::PendingFolder;
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

/// A source inode and the device of the replica that holds its names.
pub(in crate::apply) type Key = (Identity, u64);

/// A name in the replica and the inode it leads to.
#[derive(Clone, Debug)]
pub(in crate::apply) struct Place {
    pub(in crate::apply) folder: Arc<Dir>,
    pub(in crate::apply) name: Box<CStr>,
    pub(in crate::apply) id: FileId,
    pub(in crate::apply) content: Content,
}

/// Whether the data of a file is known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::apply) enum Content {
    /// The data is durable.
    OnDisk,
    /// The data may not be durable.
    Written,
}

/// A name that waits for its inode, and the new folder that counts it as pending.
pub(in crate::apply) struct Parked {
    pub(in crate::apply) job: Job,
    pub(in crate::apply) holder: Option<Arc<PendingFolder>>,
}

/// The next step for a name.
pub(in crate::apply) enum Turn {
    /// Copy it. Its inode becomes the link target; [`Anchors::made`] or [`Anchors::not_made`] follows.
    Copy,
    /// Link it to this place.
    Link(Place),
    /// Fail it likewise: its inode found no room.
    PutOff(Failed),
}

/// See [`Place`].
#[derive(Clone, Copy)]
struct Known {
    replica: Wide,
    name: u32,
    /// The number of the folder. Beyond sixteen million folders at once, further names become files of their own.
    folder: [u8; 3],
    /// The number of names, up to [`MANY`]; [`ON_DISK`] is set where the content is durable.
    names: u8,
}

const ON_DISK: u8 = 1 << 7;

/// An inode with so many names or more is kept until the end.
const MANY: u8 = ON_DISK - 1;

impl Known {
    fn folder(&self) -> u32 {
        let [high, middle, low] = self.folder;
        u32::from_be_bytes([0, high, middle, low])
    }

    /// Counts one more name. True when there are as many as `links`.
    fn has_all(&mut self, links: u32) -> bool {
        let names = (self.names & MANY).saturating_add(1).min(MANY);
        self.names = self.names & ON_DISK | names;
        names < MANY && u32::from(names) >= links
    }
}

/// The link targets of a pass.
#[derive(Default)]
pub(in crate::apply) struct Anchors(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// Keyed by the devices of source and replica.
    known: BTreeMap<(u64, u64), Inodes<Known>>,
    folders: Interned<Dir>,
    names: Names,
    /// The inodes that are being copied, and the names that wait for each.
    busy: HashMap<Key, Vec<Parked>>,
    /// The inodes that found no room, with their failures.
    put_off: HashMap<Key, Failed>,
    /// Names whose wait is over.
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

    /// Wakes the names that waited for an inode.
    fn let_go(&mut self, key: Key) {
        self.ready.append(&mut self.busy.remove(&key).unwrap_or_default());
    }
}

impl Anchors {
    /// The next step for a name. None when the name waits: its inode is being copied.
    pub(in crate::apply) fn turn(&self, key: Key, parked: Parked) -> Option<(Turn, Parked)> {
        lock(&self.0).turn(key, parked)
    }

    /// As [`Anchors::turn`], for a name that does not wait.
    pub(in crate::apply) fn turn_at_once(&self, key: Key) -> Option<Turn> {
        let mut table = lock(&self.0);
        if table.busy.contains_key(&key) { None } else { Some(table.turn_of_free(key)) }
    }

    /// As [`Anchors::turn`] for a name that could not be linked to an inode: if that is still the link target, another
    /// one replaces it.
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

    /// Notes the place of an inode, and its number of names.
    pub(in crate::apply) fn put(&self, key: Key, place: &Place, names: u32) {
        lock(&self.0).put(key, place, names);
    }

    /// Notes the place of an inode that has just been copied, and wakes the names that wait for it.
    pub(in crate::apply) fn made(&self, key: Key, place: &Place) {
        let mut table = lock(&self.0);
        table.put(key, place, 1);
        table.let_go(key);
    }

    /// Notes that an inode could not be copied. If there was no room, none of its names is tried for now.
    pub(in crate::apply) fn not_made(&self, key: Key, failed: Option<Failed>) {
        let mut table = lock(&self.0);
        if let Some(failed) = failed.filter(Failed::is_full) {
            table.put_off.insert(key, failed);
        }
        table.let_go(key);
    }

    /// Notes one more link to an inode; `links` is the number of names in the source.
    pub(in crate::apply) fn linked(&self, key: Key, inode: FileId, links: u32) {
        let mut table = lock(&self.0);
        let Some(known) = table.known_mut(key).filter(|known| u64::from(known.replica) == inode.inode) else {
            return;
        };
        if known.has_all(links) {
            table.forget(key);
        }
    }

    /// Notes that the content of an inode is durable.
    pub(in crate::apply) fn on_disk(&self, key: Key, inode: FileId) {
        if let Some(known) = lock(&self.0).known_mut(key)
            && u64::from(known.replica) == inode.inode
        {
            known.names |= ON_DISK;
        }
    }

    /// Notes that all content on a device of the replica is durable.
    pub(in crate::apply) fn all_on_disk(&self, device: u64) {
        for ((_, replica), known) in &mut lock(&self.0).known {
            if *replica == device {
                known.for_each(|known| known.names |= ON_DISK);
            }
        }
    }

    /// Takes the names whose wait is over.
    pub(in crate::apply) fn take_ready(&self) -> Vec<Parked> {
        std::mem::take(&mut lock(&self.0).ready)
    }

    /// Whether there are such names.
    pub(in crate::apply) fn has_ready(&self) -> bool {
        !lock(&self.0).ready.is_empty()
    }

    /// Allows retries of the inodes that found no room.
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
