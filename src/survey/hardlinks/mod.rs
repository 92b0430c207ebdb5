//! Hard links: decides which names of the replica must be one inode, and which must not.
//!
//! During the survey every name whose source or replica has more than one link is entered here. Each pair of inodes is
//! compared once where the inode numbers are proof; where they are claims, each name is compared. At the end, each
//! source inode gets one replica inode (its anchor) and every other name is linked to it. A replica inode with names
//! outside the tree is never an anchor: setting its metadata would write through to the outside.
//!
//! Groups whose names were all seen and all agree are forgotten at once; the others take 48 bytes each (groups.rs),
//! without the names. The names of the few groups that need a change are read again at the end (rest.rs).

mod groups;
mod resolve;
mod rest;

pub(crate) use groups::Ticket;
pub(super) use resolve::Found;
pub(super) use rest::{Asked, Rest};

use crate::fs::dir::Dir;
use crate::identity::{Devices, Identity, Numbers, fold, hash_of, replica_number};
use crate::model::change::Differences;
use crate::model::change::Verb;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::room::Room;
use crate::plan::weight::Linked;
use crate::plan::{Anchor, Change, Pair};
use crate::survey::hardlinks::groups::{Groups, Seen};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The result of comparing two entries of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The content agrees; these parts of the metadata differ.
    Same(Differences),
    /// The content has to be replaced.
    Replace {
        /// Update or repair.
        verb: Verb,
        /// The reason, in words.
        reason: &'static str,
        /// True when the replica's content could not be read.
        replica_unreadable: bool,
    },
    /// Unknown in this pass (unreadable, vanished, interrupted); any problem has been reported.
    Unknown,
}

impl Verdict {
    fn is_clean(self) -> bool {
        self == Verdict::Same(Differences::default())
    }
}

/// A source inode and the device of the replica that holds its names: links do not cross filesystems.
type Key = (Identity, u64);

/// All groups of one survey.
#[derive(Debug, Default)]
pub(crate) struct LinkTable {
    groups: Mutex<Groups>,
    /// Replica names without counterpart: their inode numbers, by device.
    others: Mutex<BTreeMap<u64, Vec<u64>>>,
    /// Source inodes with several names, under names that the replica lacks.
    wanted: Mutex<Wanted>,
    devices: Devices,
}

/// The numbers of files with several names, once for each name that goes, sorted, by device.
#[derive(Debug)]
pub(super) struct NamesThatGo(BTreeMap<u64, Vec<u64>>);

/// Inodes that further names are going to be created for.
#[derive(Debug, Default)]
struct Wanted {
    files: Vec<FileId>,
    /// The first of their names, for the room that the copies need.
    names: Vec<WantedName>,
    /// Set when there are too many to remember: then any inode counts as wanted.
    any: bool,
}

/// One name that the replica lacks, of a source inode with several names.
#[derive(Clone, Copy, Debug)]
struct WantedName {
    file: FileId,
    /// The device of the replica's folder that it comes into.
    device: u64,
    /// The number of names.
    links: u32,
    /// The room that a copy needs.
    needed: Room,
}

/// The greatest number of wanted inodes that are remembered.
const MOST_WANTED: usize = 1 << 16;

/// The greatest number of their names that are weighed. Files whose names are not all among them count for nothing.
const MOST_WEIGHED: usize = 1 << 14;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of the table at the end.
#[derive(Debug, Default)]
pub(crate) struct Resolution {
    /// The changes that are due.
    pub changes: Vec<Change>,
    /// The link targets for further names.
    pub anchors: Vec<Anchor>,
    /// Files that are going to be copied, with several names each.
    pub linked: Vec<Linked>,
    /// Names that are right already.
    pub unchanged: u64,
    /// Bytes of the files that they name.
    pub bytes_unchanged: u64,
    /// True when names should be one inode and the replica holds no hard links.
    pub not_held: bool,
}

impl LinkTable {
    /// Enters a name that both sides have. With a ticket the caller has to compare the two entries and pass the result
    /// to [`LinkTable::judge`]; without one they have been compared under another name.
    pub(crate) fn enter(
        &self,
        pair: &Arc<Pair>,
        name: &CStr,
        source: &Entry,
        replica: &Entry,
    ) -> Option<Ticket> {
        let (key, replica_number) = self.key(pair, source, replica);
        let seen = Seen {
            key,
            source_links: source.links,
            replica: replica_number,
            replica_links: replica.links,
            name: name_number(name),
            numbers: match (self.numbers(pair.source.as_ref()), self.numbers(pair.replica.as_ref())) {
                (Numbers::Proof, Numbers::Proof) => Numbers::Proof,
                (Numbers::Claim, _) | (_, Numbers::Claim) => Numbers::Claim,
            },
        };
        lock(&self.groups).enter(pair, seen)
    }

    /// Passes the result of a comparison.
    pub(crate) fn judge(&self, ticket: Ticket, verdict: Verdict) {
        lock(&self.groups).judge(ticket, verdict);
    }

    /// Counts a replica name that the plan removes or replaces, so that it does not count as one outside.
    pub(crate) fn count_name(&self, folder: Option<&Arc<Dir>>, replica: &Entry) {
        if replica.links > 1 && replica.kind != Kind::Folder {
            let number = replica_number(replica, self.numbers(folder));
            lock(&self.others).entry(replica.id.device).or_default().push(number);
        }
    }

    /// The names of the replica's files that the plan removes or replaces.
    pub(super) fn names_that_go(&self) -> NamesThatGo {
        let mut others = lock(&self.others).clone();
        others.values_mut().for_each(|numbers| numbers.sort_unstable());
        NamesThatGo(others)
    }

    /// Whether all names of a file of the replica are among them.
    pub(super) fn all_go(&self, names: &NamesThatGo, folder: &Arc<Dir>, replica: &Entry) -> bool {
        let number = replica_number(replica, self.numbers(Some(folder)));
        let numbers = names.0.get(&replica.id.device).map(Vec::as_slice).unwrap_or_default();
        let [first, end] =
            [number, number.saturating_add(1)].map(|number| numbers.partition_point(|other| *other < number));
        u32::try_from(end.saturating_sub(first)).is_ok_and(|count| count == replica.links)
    }

    /// Notes a source inode under a name that is going to be created, in a folder on a device; its copy needs so much room.
    pub(crate) fn want(&self, source: &Entry, needed: Room, device: u64) {
        if source.links > 1 && source.kind != Kind::Folder {
            let mut wanted = lock(&self.wanted);
            if wanted.files.len() < MOST_WANTED {
                wanted.files.push(source.id);
            } else {
                wanted.any = true;
            }
            if wanted.names.len() < MOST_WEIGHED {
                wanted.names.push(WantedName { file: source.id, device, links: source.links, needed });
            }
        }
    }

    /// Ends the survey: returns the groups that are not settled.
    pub(super) fn end(&self) -> Rest {
        let mut others = std::mem::take(&mut *lock(&self.others));
        others.values_mut().for_each(|numbers| numbers.sort_unstable());
        let mut wanted = std::mem::take(&mut *lock(&self.wanted));
        wanted.files.sort_unstable();
        wanted.names.sort_unstable_by_key(|name| (name.file, name.device));
        Rest::of(std::mem::take(&mut *lock(&self.groups)), &others, &wanted)
    }

    /// Whether two entries are still the ones that a name was entered with.
    pub(super) fn is_still(&self, asked: &Asked, pair: &Pair, source: &Entry, replica: &Entry) -> bool {
        self.key(pair, source, replica) == (asked.key, asked.replica)
    }

    fn key(&self, pair: &Pair, source: &Entry, replica: &Entry) -> (Key, u64) {
        let identity = Identity::of(source, self.numbers(pair.source.as_ref()));
        let number = replica_number(replica, self.numbers(pair.replica.as_ref()));
        ((identity, replica.id.device), number)
    }

    fn numbers(&self, folder: Option<&Arc<Dir>>) -> Numbers {
        folder.map_or(Numbers::Proof, |dir| self.devices.numbers(dir))
    }
}

impl Wanted {
    fn has(&self, source: FileId) -> bool {
        self.any || self.files.binary_search(&source).is_ok()
    }

    /// The files of which every name is wanted: the replica has none of them to link the others to.
    fn linked(&self) -> Vec<Linked> {
        let names = self.names.chunk_by(|one, other| (one.file, one.device) == (other.file, other.device));
        let whole =
            names.filter(|names| names.first().is_some_and(|first| first.links as usize <= names.len()));
        let linked = |name: &WantedName| Linked { file: name.file, device: name.device, needed: name.needed };
        whole.filter_map(|names| names.first().map(linked)).collect()
    }
}

/// The number that finds a name again in its folder.
pub(super) fn name_number(name: &CStr) -> u32 {
    fold(hash_of(&name))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::capabilities::Filesystem;
    use crate::plan::Action;
    use crate::survey::reconcile::tests::file;
    use crate::test_strategies::pair;
    use std::ffi::CString;

    const SAME: Verdict =
        Verdict::Same(Differences { mode: false, owner: false, mtime: false, attributes: false });
    const OTHER: Verdict =
        Verdict::Replace { verb: Verb::Update, reason: "content differs", replica_unreadable: false };

    fn entry(inode: u64, links: u32) -> Entry {
        Entry { links, ..file(inode) }
    }

    /// A table whose names are all in one folder, and the facts that find them again.
    pub(crate) struct Named {
        pub(crate) table: LinkTable,
        pair: Arc<Pair>,
        names: Vec<(CString, Entry, Entry)>,
        /// The number of comparisons.
        pub(crate) compared: usize,
    }

    impl Named {
        pub(crate) fn new(filesystem: Filesystem) -> Named {
            Named { table: LinkTable::default(), pair: pair(filesystem), names: Vec::new(), compared: 0 }
        }

        pub(crate) fn enter(&mut self, name: &CStr, source: Entry, replica: Entry, verdict: Verdict) {
            self.names.push((name.to_owned(), source, replica));
            if let Some(ticket) = self.table.enter(&self.pair, name, &source, &replica) {
                self.compared += 1;
                self.table.judge(ticket, verdict);
            }
        }

        pub(crate) fn resolve(&self) -> Resolution {
            let rest = self.table.end();
            let mut found: Vec<Option<Found>> = Vec::new();
            found.resize_with(rest.asked(), || None);
            for (pair, asked) in rest.folders() {
                for asked in asked {
                    let name = self.names.iter().find(|(name, source, replica)| {
                        name_number(name) == asked.name && self.table.is_still(&asked, &pair, source, replica)
                    });
                    found[asked.at] = name.map(|(name, source, replica)| Found {
                        name: name.as_c_str().into(),
                        source: *source,
                        replica: *replica,
                    });
                }
            }
            rest.resolve(found)
        }
    }

    /// A name; the source's inode and links; the replica's inode and links; the result of comparing them.
    type Name<'a> = (&'a CStr, (u64, u32), (u64, u32), Verdict);

    /// Enters names and returns the result in words.
    fn resolve(names: &[Name<'_>], deleted: &[(u64, u32)]) -> Vec<String> {
        let mut named = Named::new(Filesystem::default());
        for (name, source, replica, verdict) in names {
            named.enter(name, entry(source.0, source.1), entry(replica.0, replica.1), *verdict);
        }
        for (inode, links) in deleted {
            named.table.count_name(None, &entry(*inode, *links));
        }
        told(&named.resolve())
    }

    fn told(resolution: &Resolution) -> Vec<String> {
        let mut out: Vec<String> = resolution
            .changes
            .iter()
            .map(|change| {
                let action = match change.action {
                    Action::Link { .. } => "link",
                    Action::Replace(_) => "replace",
                    Action::SetMetadata(_) => "metadata",
                    Action::Create | Action::Reown | Action::Delete => "?",
                };
                format!("{action} {}", change.name.to_str().unwrap())
            })
            .collect();
        out.push(format!("{} unchanged", resolution.unchanged));
        out
    }

    #[test]
    fn names_that_agree_stay() {
        let out = resolve(&[(c"a", (1, 2), (11, 2), SAME), (c"b", (1, 2), (11, 2), SAME)], &[]);
        assert_eq!(out, ["2 unchanged"]);
    }

    #[test]
    fn copies_become_links_of_the_first() {
        let out = resolve(&[(c"a", (1, 2), (11, 1), SAME), (c"b", (1, 2), (12, 1), SAME)], &[]);
        assert_eq!(out, ["link b", "1 unchanged"]);
    }

    #[test]
    fn the_file_that_most_names_are_already_is_the_one_that_stays() {
        let out = resolve(
            &[(c"a", (1, 3), (11, 1), SAME), (c"b", (1, 3), (12, 2), SAME), (c"c", (1, 3), (12, 2), SAME)],
            &[],
        );
        assert_eq!(out, ["link a", "2 unchanged"]);
    }

    #[test]
    fn links_that_the_source_no_longer_has_are_broken_up() {
        let out = resolve(&[(c"a", (1, 1), (11, 2), SAME), (c"b", (2, 1), (11, 2), SAME)], &[]);
        assert_eq!(out, ["replace b", "1 unchanged"]);
    }

    #[test]
    fn a_replica_file_with_a_name_outside_is_replaced() {
        let out = resolve(&[(c"a", (1, 1), (11, 2), SAME)], &[]);
        assert_eq!(out, ["replace a", "0 unchanged"]);
        let out = resolve(&[(c"a", (1, 2), (11, 3), SAME), (c"b", (1, 2), (11, 3), SAME)], &[]);
        assert_eq!(out, ["replace a", "link b", "0 unchanged"]);
    }

    #[test]
    fn a_name_that_is_deleted_anyway_is_no_name_outside() {
        let out = resolve(&[(c"a", (1, 1), (11, 2), SAME)], &[(11, 2)]);
        assert_eq!(out, ["1 unchanged"]);
        let out = resolve(&[(c"a", (1, 2), (11, 3), SAME), (c"b", (1, 2), (11, 3), SAME)], &[(12, 2)]);
        assert_eq!(out, ["replace a", "link b", "0 unchanged"]);
    }

    #[test]
    fn changed_content_is_copied_once_and_linked() {
        let out = resolve(&[(c"b", (1, 2), (11, 2), OTHER), (c"a", (1, 2), (11, 2), OTHER)], &[]);
        assert_eq!(out, ["replace a", "link b", "0 unchanged"]);
    }

    #[test]
    fn metadata_of_one_inode_is_set_once() {
        let mode = Verdict::Same(Differences { mode: true, ..Differences::default() });
        let out = resolve(&[(c"a", (1, 2), (11, 2), mode), (c"b", (1, 2), (11, 2), mode)], &[]);
        assert_eq!(out, ["metadata a", "1 unchanged"]);
    }

    #[test]
    fn what_is_not_known_is_not_touched() {
        let unknown = Verdict::Unknown;
        let out = resolve(&[(c"a", (1, 2), (11, 2), unknown), (c"b", (1, 2), (11, 2), unknown)], &[]);
        assert_eq!(out, ["0 unchanged"]);
        // One name may vanish while it is compared; the other name leads to the same two inodes.
        let out = resolve(&[(c"a", (1, 2), (11, 2), unknown), (c"b", (1, 2), (11, 2), SAME)], &[]);
        assert_eq!(out, ["2 unchanged"]);
    }

    #[test]
    fn a_group_with_a_name_of_which_nothing_is_known_does_not_hide_that_another_one_is_linked_to_it() {
        let out = resolve(
            &[
                (c"x", (2, 1), (12, 2), SAME),
                (c"a", (1, 2), (10, 1), Verdict::Unknown),
                (c"b", (1, 2), (12, 2), SAME),
            ],
            &[],
        );
        assert_eq!(out, ["replace x", "1 unchanged"]);
    }

    #[test]
    fn what_agrees_and_what_has_one_name_takes_no_memory() {
        let mut named = Named::new(Filesystem::default());
        for name in [c"a", c"b", c"c"] {
            named.enter(name, entry(1, 3), entry(11, 3), SAME);
        }
        named.table.count_name(None, &entry(12, 1));
        // The link count of a folder does not count names.
        named.table.count_name(None, &Entry { kind: Kind::Folder, ..entry(13, 5) });
        named.table.want(&entry(14, 1), Room::default(), 0);
        assert!(lock(&named.table.groups).is_empty() && lock(&named.table.others).is_empty());
        assert!(lock(&named.table.wanted).files.is_empty());
        assert_eq!((named.compared, named.resolve().unchanged), (1, 3));
    }

    #[test]
    fn names_outside_the_source_are_no_reason_to_do_anything() {
        let mut named = Named::new(Filesystem::default());
        named.enter(c"a", entry(1, 9999), entry(11, 1), SAME);
        named.enter(c"b", entry(2, 3), entry(12, 2), SAME);
        named.enter(c"c", entry(2, 3), entry(12, 2), SAME);
        let resolution = named.resolve();
        assert_eq!((told(&resolution), resolution.anchors.len()), (vec!["3 unchanged".to_owned()], 0));
    }

    #[test]
    fn a_file_is_copied_once_if_all_of_its_names_are_wanted_in_one_place() {
        let named = Named::new(Filesystem::default());
        let room = |inode| Room { bytes: inode * 1000, inodes: 1 };
        let names = [
            (1, 2, 8),
            (1, 2, 8),
            (2, 2, 8),
            (3, 3, 8),
            (3, 3, 8),
            (3, 3, 9),
            (4, 2, 9),
            (4, 2, 9),
            (5, 1, 8),
        ];
        for (inode, links, device) in names {
            named.table.want(&entry(inode, links), room(inode), device);
        }
        let mut found: Vec<(u64, u64, Room)> = named
            .resolve()
            .linked
            .iter()
            .map(|linked| (linked.file.inode, linked.device, linked.needed))
            .collect();
        found.sort_unstable_by_key(|(inode, ..)| *inode);
        assert_eq!(found, [(1, 8, room(1)), (4, 9, room(4))]);
    }

    #[test]
    fn a_name_that_is_to_be_made_has_something_to_be_linked_to() {
        for wanted in [&[2][..], &[1, 2, 3], &[3]] {
            let mut named = Named::new(Filesystem::default());
            named.enter(c"a", entry(1, 2), entry(11, 1), SAME);
            named.enter(c"b", entry(2, 3), entry(12, 2), SAME);
            named.enter(c"c", entry(2, 3), entry(12, 2), SAME);
            wanted.iter().for_each(|inode| named.table.want(&entry(*inode, 2), Room::default(), 0));
            let resolution = named.resolve();
            assert_eq!(told(&resolution), ["3 unchanged"]);
            let mut anchors: Vec<(u64, u64, u32)> = resolution
                .anchors
                .iter()
                .map(|anchor| (anchor.source.id.inode, anchor.replica.inode, anchor.names))
                .collect();
            anchors.sort_unstable();
            let expected = [(1, 11, 1), (2, 12, 2)].into_iter().filter(|(inode, ..)| wanted.contains(inode));
            assert_eq!(anchors, expected.collect::<Vec<_>>());
        }
        let mut named = Named::new(Filesystem::default());
        named.enter(c"a", entry(1, 2), entry(11, 1), SAME);
        (100..200_000).for_each(|inode| named.table.want(&entry(inode, 2), Room::default(), 0));
        assert_eq!(lock(&named.table.wanted).files.len(), MOST_WANTED);
        assert_eq!(named.resolve().anchors.len(), 1, "it may be any");
    }

    #[test]
    fn very_many_names_of_one_file_and_of_very_many_are_found_without_searching() {
        const NAMES: u64 = 60_000;
        let name = |number: u64| CString::new(number.to_string()).unwrap();
        let begin = std::time::Instant::now();
        // For one replica inode, for one per name, and for two.
        for split in [1, NAMES, 2] {
            let table = LinkTable::default();
            let pair = pair(Filesystem::default());
            for number in 0..NAMES {
                let links = (NAMES / split) as u32;
                let (source, replica) = (entry(1, NAMES as u32), entry(10 + number % split, links));
                if let Some(ticket) = table.enter(&pair, &name(number), &source, &replica) {
                    table.judge(ticket, SAME);
                }
            }
            let rest = table.end();
            let mut found: Vec<Option<Found>> = Vec::new();
            found.resize_with(rest.asked(), || None);
            let all = rest.folders().into_iter().flat_map(|(_, asked)| asked);
            for (number, asked) in all.enumerate() {
                let replica = entry(asked.replica, (NAMES / split) as u32);
                let source = entry(1, NAMES as u32);
                found[asked.at] =
                    Some(Found { name: name(number as u64).as_c_str().into(), source, replica });
            }
            let resolution = rest.resolve(found);
            let linked = NAMES - NAMES / split;
            assert_eq!((resolution.changes.len() as u64, resolution.unchanged), (linked, NAMES - linked));
        }
        // A linear search for each name would take minutes.
        assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
    }
}
