//! The groups that are not settled when all names have been seen. Most of them are right, since their other names are
//! outside the tree. The names of the others are read again.

use crate::collections::{HashMap, HashSet};
use crate::identity::{Identity, Numbers};
use crate::model::entry::FileId;
use crate::plan::weight::Linked;
use crate::plan::{Anchor, Pair};
use crate::survey::hardlinks::groups::{Group, Groups, Member};
use crate::survey::hardlinks::resolve::{Found, Name, resolve_group};
use crate::survey::hardlinks::{Key, Resolution, Wanted};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A name to read again.
#[derive(Clone, Copy, Debug)]
pub(in crate::survey) struct Asked {
    /// The number of the name.
    pub(in crate::survey) name: u32,
    /// Its position among all names to read again.
    pub(in crate::survey) at: usize,
    /// The key that it was entered with.
    pub(super) key: Key,
    pub(super) replica: u64,
}

/// An inode of the replica, by device and number.
type Number = (u64, u64);

/// The use of a replica inode.
struct Use {
    links: u32,
    /// The number of names seen in the tree.
    seen: u64,
    /// True when several source inodes have names of it.
    is_shared: bool,
    owner: Key,
    numbers: Numbers,
}

/// The groups that are not settled.
#[derive(Debug, Default)]
pub(in crate::survey) struct Rest {
    folders: crate::collections::interned::Interned<Pair>,
    /// The groups that need changes, and whether further names will be created.
    groups: Vec<(Key, Group, bool)>,
    /// One name each of the right groups that get further names, and their number of names.
    anchors: Vec<(Key, Member, u32)>,
    /// Inodes with names outside the tree, or possibly with names of other files.
    bound: HashSet<Number>,
    linked: Vec<Linked>,
    unchanged: u64,
}

impl Rest {
    /// `others` has the sorted inode numbers of the replica's names without counterpart.
    pub(super) fn of(mut groups: Groups, others: &BTreeMap<u64, Vec<u64>>, wanted: &Wanted) -> Rest {
        let mut rest = Rest { unchanged: groups.settled, linked: wanted.linked(), ..Rest::default() };
        let uses = uses(&groups);
        let is_bound = |number: &Number, used: &Use| {
            let others = others.get(&number.0).map_or(0, |others| count(others, number.1));
            let is_shared = used.numbers == Numbers::Claim && used.is_shared;
            is_shared || used.seen + others < u64::from(used.links)
        };
        rest.bound =
            uses.iter().filter(|(number, used)| is_bound(number, used)).map(|(number, _)| *number).collect();

        let mut to_open = Vec::new();
        for ((source_device, device), table) in &groups.packed {
            for ((inode, check), packed) in table.groups.iter() {
                let id = FileId { device: *source_device, inode };
                let key = (Identity { id, check }, *device);
                let number = (*device, packed.replica());
                let is_bound = rest.bound.contains(&number);
                let is_shared = uses.get(&number).is_some_and(|used| used.is_shared);
                // Numbers that are no proof may stand for many files: that alone is no reason to rewrite a right file.
                if is_bound != is_shared || (is_shared && table.numbers == Numbers::Proof) {
                    to_open.push(key);
                    continue;
                }
                rest.unchanged += u64::from(packed.count);
                if !is_bound && wanted.has(id) {
                    rest.anchors.push((key, packed.first(), packed.count));
                }
            }
        }
        to_open.into_iter().for_each(|key| groups.unpack(key));
        let open = std::mem::take(&mut groups.open);
        rest.groups = open.into_iter().map(|(key, group)| (key, group, wanted.has(key.0.id))).collect();
        // Sorted, so that chance does not decide which of two groups gets an inode.
        rest.groups.sort_unstable_by_key(|(key, ..)| *key);
        rest.anchors.sort_unstable_by_key(|(key, ..)| *key);
        rest.folders = std::mem::take(&mut groups.folders);
        rest
    }

    /// The number of names to read again.
    pub(in crate::survey) fn asked(&self) -> usize {
        self.members().count()
    }

    /// The names to read again, by folder.
    pub(in crate::survey) fn folders(&self) -> Vec<(Arc<Pair>, Vec<Asked>)> {
        let mut folders: BTreeMap<u32, Vec<Asked>> = BTreeMap::new();
        for (at, (key, member)) in self.members().enumerate() {
            let asked = Asked { name: member.name, at, key, replica: member.replica };
            folders.entry(member.folder).or_default().push(asked);
        }
        let pair = |folder| self.folders.get(folder).map(Arc::clone);
        folders.into_iter().filter_map(|(folder, asked)| Some((pair(folder)?, asked))).collect()
    }

    fn members(&self) -> impl Iterator<Item = (Key, &Member)> {
        let of_groups = self.groups.iter().flat_map(|(key, group, _)| {
            let key = *key;
            group.members.iter().map(move |member| (key, member))
        });
        of_groups.chain(self.anchors.iter().map(|(key, member, _)| (*key, member)))
    }

    /// Decides the links, replacements and metadata. A name that was not found again has gone, and is for the next
    /// pass.
    pub(in crate::survey) fn resolve(self, found: Vec<Option<Found>>) -> Resolution {
        let mut out = Resolution { unchanged: self.unchanged, linked: self.linked, ..Resolution::default() };
        let mut taken: HashSet<Number> = HashSet::default();
        let mut found = found.into_iter();
        for (key, group, is_wanted) in self.groups {
            let names = group.members.iter().filter_map(|member| {
                let found = found.next().flatten()?;
                let pair = Arc::clone(self.folders.get(member.folder)?);
                let (number, verdict) = (member.replica, group.verdict(member));
                Some(Name { pair, found, number, verdict, numbers: group.numbers })
            });
            let names: Vec<Name> = names.collect();
            let is_bound = |number| self.bound.contains(&(key.1, number));
            let is_free = |number: u64, taken: &HashSet<Number>| !taken.contains(&(key.1, number));
            let anchor = resolve_group(
                (key.0, is_wanted),
                names,
                is_bound,
                |number| is_free(number, &taken),
                &mut out,
            );
            taken.extend(anchor.map(|number| (key.1, number)));
        }
        for (key, member, names) in self.anchors {
            let Some(Found { name, replica, .. }) = found.next().flatten() else { continue };
            let pair = self.folders.get(member.folder);
            if let Some(folder) = pair.and_then(|pair| pair.replica.as_ref()) {
                let folder = Arc::clone(folder);
                out.anchors.push(Anchor { source: key.0, folder, name, replica: replica.id, names });
            }
        }
        out
    }
}

/// The use of the inodes that may have names elsewhere. All other inodes have their names in one group.
fn uses(groups: &Groups) -> HashMap<Number, Use> {
    let mut uses: HashMap<Number, Use> = HashMap::default();
    let mut note = |(key, numbers): (Key, Numbers), replica: u64, links: u32, names: u32| {
        let fresh = Use { links, seen: 0, is_shared: false, owner: key, numbers };
        let used = uses.entry((key.1, replica)).or_insert(fresh);
        used.links = links;
        used.seen += u64::from(names);
        used.is_shared |= used.owner != key;
    };
    for (key, group) in &groups.open {
        let of = (*key, group.numbers);
        group.members.iter().for_each(|member| note(of, member.replica, member.links, 1));
    }
    for ((source_device, device), table) in &groups.packed {
        for ((inode, check), packed) in table.groups.iter() {
            if packed.count != packed.links() {
                let id = FileId { device: *source_device, inode };
                let of = ((Identity { id, check }, *device), table.numbers);
                note(of, packed.replica(), packed.links(), packed.count);
            }
        }
    }
    uses
}

/// The number of occurrences in a sorted slice.
fn count(sorted: &[u64], number: u64) -> u64 {
    let first = sorted.partition_point(|other| *other < number);
    let behind = sorted.partition_point(|other| *other <= number);
    (behind - first) as u64
}
