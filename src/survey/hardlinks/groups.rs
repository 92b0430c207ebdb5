//! The groups of hard links that are not settled yet.
//!
//! A group is open while one of its names is being compared, or when not all of its names agree. All other groups are
//! packed: a source may have a million files whose other names are elsewhere, or come late.

use crate::collections::HashMap;
use crate::collections::inodes::{Inodes, Wide};
use crate::collections::interned::Interned;
use crate::identity::{Identity, Numbers, hash_of};
use crate::plan::Pair;
use crate::survey::hardlinks::{Key, Verdict};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// One name of a group, by the numbers of its folder and of its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) folder: u32,
    pub(super) name: u32,
    /// The inode number in the replica, and its link count.
    pub(super) replica: u64,
    pub(super) links: u32,
}

/// The names of one source inode.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) members: Vec<Member>,
    pub(super) numbers: Numbers,
    source_links: u32,
    /// The verdicts by subject; none while a comparison is running.
    verdicts: HashMap<u64, Option<Verdict>>,
    /// The number of verdicts that need no change.
    clean: usize,
    /// True when some names differ.
    is_odd: bool,
}

/// The subject of a verdict: a pair of inodes, or, where inode numbers are no proof, a name.
fn subject(numbers: Numbers, member: &Member) -> u64 {
    match numbers {
        Numbers::Proof => member.replica,
        Numbers::Claim => hash_of(&(member.replica, member.folder, member.name)),
    }
}

impl Group {
    fn new(numbers: Numbers) -> Group {
        Group {
            members: Vec::new(),
            numbers,
            source_links: 0,
            verdicts: HashMap::default(),
            clean: 0,
            is_odd: false,
        }
    }

    pub(super) fn verdict(&self, member: &Member) -> Option<Verdict> {
        self.verdicts.get(&subject(self.numbers, member)).copied().flatten()
    }

    /// Whether all names are one right file in the replica as well.
    fn agrees(&self) -> bool {
        let all = match self.numbers {
            Numbers::Proof => 1,
            Numbers::Claim => self.members.len(),
        };
        !self.is_odd && self.clean == all
    }

    fn is_complete(&self) -> bool {
        let links = |count: u32| count as usize == self.members.len();
        links(self.source_links) && self.members.last().is_some_and(|member| links(member.links))
    }
}

/// A group of names that agree so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    replica: Wide,
    source_links: u32,
    replica_links: u32,
    pub(super) count: u32,
    /// The first name. The others form a chain.
    folder: u32,
    name: u32,
    more: u32,
}

impl Packed {
    pub(super) fn replica(&self) -> u64 {
        self.replica.into()
    }

    pub(super) fn links(&self) -> u32 {
        self.replica_links
    }

    pub(super) fn first(&self) -> Member {
        Member { folder: self.folder, name: self.name, replica: self.replica(), links: self.replica_links }
    }
}

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// The second and further names of packed groups: folder, name, and the index of the next one.
#[derive(Debug, Default)]
struct Chains {
    links: Vec<[u32; 3]>,
    /// The index of the first unused slot, and the number of unused slots.
    free: u32,
    unused: usize,
}

impl Chains {
    /// Puts a name in front of a chain.
    fn put(&mut self, folder: u32, name: u32, next: u32) -> u32 {
        let link = [folder, name, next];
        let at = self.free;
        match self.links.get_mut(at as usize).filter(|_| self.unused > 0) {
            Some(unused) => {
                self.free = unused[2];
                *unused = link;
                self.unused -= 1;
                at
            }
            None => {
                self.links.push(link);
                (self.links.len() - 1) as u32
            }
        }
    }

    /// Removes a chain, and passes on its folders and names.
    fn take(&mut self, first: u32, mut each: impl FnMut(u32, u32)) {
        let mut at = first;
        while let Some(link) = self.links.get_mut(at as usize) {
            let [folder, name, next] = *link;
            link[2] = self.free;
            self.free = at;
            self.unused += 1;
            each(folder, name);
            at = next;
        }
    }
}

/// The packed groups of two devices.
#[derive(Debug)]
pub(super) struct PackedGroups {
    pub(super) numbers: Numbers,
    pub(super) groups: Inodes<Packed>,
}

/// A name to enter.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) key: Key,
    pub(super) source_links: u32,
    pub(super) replica: u64,
    pub(super) replica_links: u32,
    pub(super) name: u32,
    /// The reliability of the inode numbers of both sides.
    pub(super) numbers: Numbers,
}

/// The subject of a running comparison.
#[derive(Debug)]
pub(crate) struct Ticket {
    key: Key,
    subject: u64,
}

/// All groups that are not settled.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) open: HashMap<Key, Group>,
    /// Keyed by the devices of source and replica.
    pub(super) packed: BTreeMap<(u64, u64), PackedGroups>,
    pub(super) folders: Interned<Pair>,
    chains: Chains,
    /// The number of names in groups that were settled and forgotten.
    pub(super) settled: u64,
}

fn devices(key: Key) -> (u64, u64) {
    (key.0.id.device, key.1)
}

fn inode(identity: Identity) -> (u64, u32) {
    (identity.id.inode, identity.check)
}

impl Groups {
    /// See [`LinkTable::enter`](super::LinkTable::enter).
    pub(super) fn enter(&mut self, pair: &Arc<Pair>, seen: Seen) -> Option<Ticket> {
        let Seen { key, replica, replica_links: links, name, .. } = seen;
        if !self.open.contains_key(&key)
            && let Some(packed) = self.packed_mut(key)
        {
            if packed.replica() == replica && seen.numbers == Numbers::Proof {
                self.enter_packed(pair, seen);
                return None;
            }
            self.unpack(key);
        }
        let member = Member { folder: self.folders.hold(pair), name, replica, links };
        let group = self.open.entry(key).or_insert_with(|| Group::new(seen.numbers));
        group.source_links = seen.source_links;
        group.is_odd |= group.members.last().is_some_and(|other| other.replica != replica);
        group.members.push(member);
        let subject = subject(group.numbers, &member);
        match group.verdicts.entry(subject) {
            Entry::Vacant(place) => {
                place.insert(None);
                Some(Ticket { key, subject })
            }
            Entry::Occupied(_) => {
                self.close(key);
                None
            }
        }
    }

    /// See [`LinkTable::judge`](super::LinkTable::judge).
    pub(super) fn judge(&mut self, ticket: Ticket, verdict: Verdict) {
        let Ticket { key, subject } = ticket;
        let Some(group) = self.open.get_mut(&key) else { return };
        if verdict == Verdict::Unknown {
            // This one name may have vanished: the next name of the two inodes is compared again.
            group.verdicts.remove(&subject);
            return;
        }
        group.verdicts.insert(subject, Some(verdict));
        if verdict.is_clean() {
            group.clean += 1;
        } else {
            group.is_odd = true;
        }
        self.close(key);
    }

    fn packed_mut(&mut self, key: Key) -> Option<&mut Packed> {
        self.packed.get_mut(&devices(key))?.groups.get_mut(inode(key.0))
    }

    /// Adds a name to a packed group, which is settled if that is its last name.
    fn enter_packed(&mut self, pair: &Arc<Pair>, seen: Seen) {
        let folder = self.folders.hold(pair);
        let Some(table) = self.packed.get_mut(&devices(seen.key)) else { return };
        let Some(packed) = table.groups.get_mut(inode(seen.key.0)) else { return };
        packed.more = self.chains.put(folder, seen.name, packed.more);
        packed.count += 1;
        packed.source_links = seen.source_links;
        packed.replica_links = seen.replica_links;
        let count = packed.count;
        if count == seen.source_links && count == seen.replica_links {
            self.settled += u64::from(count);
            self.take_packed(seen.key, |folders, member| folders.release(member.folder));
        }
    }

    /// Removes a packed group, and passes on its names.
    fn take_packed(&mut self, key: Key, mut each: impl FnMut(&mut Interned<Pair>, Member)) -> Option<Packed> {
        let packed = self.packed.get_mut(&devices(key))?.groups.remove(inode(key.0))?;
        each(&mut self.folders, packed.first());
        let folders = &mut self.folders;
        self.chains
            .take(packed.more, |folder, name| each(folders, Member { folder, name, ..packed.first() }));
        Some(packed)
    }

    /// Opens a packed group.
    pub(super) fn unpack(&mut self, key: Key) {
        let Some(numbers) = self.packed.get(&devices(key)).map(|table| table.numbers) else { return };
        let mut group = Group::new(numbers);
        let packed = self.take_packed(key, |_, member| group.members.push(member));
        let Some(packed) = packed else { return };
        group.source_links = packed.source_links;
        let clean = Verdict::Same(crate::model::change::Differences::default());
        for member in &group.members {
            group.verdicts.insert(subject(numbers, member), Some(clean));
        }
        group.clean = group.verdicts.len();
        self.open.insert(key, group);
    }

    /// Forgets a group whose names are all present and right, and packs one whose names are right so far: memory is for
    /// differences.
    fn close(&mut self, key: Key) {
        // Only small ones where each name is compared: a large group would be unpacked for each name.
        const FEW: usize = 2;
        let Some(group) = self.open.get(&key).filter(|group| group.agrees()) else { return };
        if group.is_complete() {
            let Some(group) = self.open.remove(&key) else { return };
            self.settled += group.members.len() as u64;
            group.members.iter().for_each(|member| self.folders.release(member.folder));
        } else if group.numbers == Numbers::Proof || group.members.len() <= FEW {
            let Some(group) = self.open.remove(&key) else { return };
            self.pack(key, &group);
        }
    }

    fn pack(&mut self, key: Key, group: &Group) {
        let Some((first, rest)) = group.members.split_first() else { return };
        let mut more = NONE;
        for member in rest {
            more = self.chains.put(member.folder, member.name, more);
        }
        let packed = Packed {
            replica: first.replica.into(),
            source_links: group.source_links,
            replica_links: group.members.last().map_or(first.links, |last| last.links),
            count: group.members.len() as u32,
            folder: first.folder,
            name: first.name,
            more,
        };
        let fresh = || PackedGroups { numbers: group.numbers, groups: Inodes::default() };
        self.packed.entry(devices(key)).or_insert_with(fresh).groups.insert(inode(key.0), packed);
    }

    /// True when no group is remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let packed = self.packed.values().all(|table| table.groups.is_empty());
        self.open.is_empty()
            && packed
            && self.folders.is_empty()
            && self.chains.links.len() == self.chains.unused
    }
}
