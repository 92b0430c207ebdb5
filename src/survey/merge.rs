//! Merges two sorted listings into one list of names, in the order of the work.
//!
//! The names of a large folder come in the order of the source's inode numbers: inodes and mostly their data lie on the
//! disk in that order, while the tasks of many folders follow no order on the disk. A small folder is a single task and
//! stays in the order of its names.

use crate::fs::listing::Listing;
use crate::index::FolderRecords;
use crate::model::error::Side;
use crate::plan::Pair;
use crate::survey::CHUNK;
use crate::survey::aliases::{Alias, Aliases};
use crate::walk::FolderRules;
use std::cmp::Ordering;
use std::ffi::CStr;
use std::sync::{Arc, OnceLock};

/// The listings of a folder pair.
pub(super) struct Merge {
    pub(super) pair: Arc<Pair>,
    pub(super) source: Listing,
    pub(super) replica: Listing,
    /// Whether the source's folder changed after the start of the pass.
    pub(super) has_changed: bool,
    /// The rules for the names.
    pub(super) rules: Arc<FolderRules>,
    /// What the index knows of the files.
    pub(super) records: Option<FolderRecords>,
    /// The source names that the replica lists otherwise, once they have been looked up.
    pub(super) aliases: OnceLock<Aliases>,
    /// Each name of either side once: its positions in the two listings, or [`NOWHERE`].
    order: Box<[(u32, u32)]>,
}

/// No listing is that long: its names may take 4 GiB at most.
const NOWHERE: u32 = u32::MAX;

impl Merge {
    pub(super) fn new(
        pair: Arc<Pair>,
        source: Listing,
        replica: Listing,
        rules: impl Into<Arc<FolderRules>>,
    ) -> Merge {
        let mut order = Vec::with_capacity(source.len().max(replica.len()));
        let (mut ours, mut theirs) = (0, 0);
        loop {
            let side = match (source.get(ours as usize), replica.get(theirs as usize)) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(our), Some(their)) => our.to_bytes().cmp(their.to_bytes()),
            };
            let (in_source, in_replica) = (side.is_le(), side.is_ge());
            order.push((if in_source { ours } else { NOWHERE }, if in_replica { theirs } else { NOWHERE }));
            ours += u32::from(in_source);
            theirs += u32::from(in_replica);
        }
        if order.len() > CHUNK {
            order.sort_by_key(|(ours, theirs)| {
                (*ours == NOWHERE, source.place(*ours as usize).or_else(|| replica.place(*theirs as usize)))
            });
        }
        let order = order.into_boxed_slice();
        Merge {
            pair,
            source,
            replica,
            has_changed: false,
            rules: rules.into(),
            records: None,
            aliases: OnceLock::new(),
            order,
        }
    }

    /// Adds what the index knows of the files, and has it forget those that both sides lack.
    pub(super) fn with_records(self, records: Option<FolderRecords>) -> Merge {
        if let Some(records) = &records {
            let (mut source, mut replica) = (self.source.ascending(), self.replica.ascending());
            records.keep(|name| source.has(name) || replica.has(name));
        }
        Merge { records, ..self }
    }

    /// Sets whether the source's folder has changed since the pass began.
    pub(super) fn of_folder_that_changed(self, has_changed: bool) -> Merge {
        Merge { has_changed, ..self }
    }

    /// The number of names.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// A name, and the sides that have it; none for a replica name that is the alias of a source name.
    pub(super) fn get(&self, at: usize) -> Option<(&CStr, bool, bool)> {
        let (ours, theirs) = *self.order.get(at)?;
        let (our, their) = (self.source.get(ours as usize), self.replica.get(theirs as usize));
        match (our, their, self.aliases.get()) {
            (Some(name), None, Some(aliases)) => Some((name, true, aliases.of(ours as usize).is_some())),
            (None, Some(_), Some(aliases)) if aliases.keep(theirs as usize) => None,
            (_, _, _) => Some((our.or(their)?, our.is_some(), their.is_some())),
        }
    }

    /// Whether each side has names that the other one does not list.
    pub(super) fn differs_on_both_sides(&self) -> bool {
        self.order.len() > self.source.len() && self.order.len() > self.replica.len()
    }

    /// The positions, in its listing, of the names that only the source lists, or else only the replica.
    pub(super) fn only(&self, side: Side) -> impl Iterator<Item = usize> {
        self.order.iter().filter_map(move |(ours, theirs)| match side {
            Side::Source => (*theirs == NOWHERE).then_some(*ours as usize),
            Side::Replica => (*ours == NOWHERE).then_some(*theirs as usize),
        })
    }

    /// The replica's entry for a source name that it does not list.
    pub(super) fn alias(&self, name: &CStr) -> Option<Alias<'_>> {
        self.aliases.get()?.of(self.source.position(name)?).map(|listed| match listed {
            Some(at) => self.replica.get(at).map_or(Alias::Unsure, Alias::Listed),
            None => Alias::Unsure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::Filesystem;
    use crate::survey::aliases::{Answer, Likeness, settle};
    use crate::test_strategies::pair;

    #[test]
    fn each_name_comes_once_with_the_sides_that_have_it() {
        let listing = |names: &[&'static CStr]| Listing::of(names.iter().copied());
        let merge = Merge::new(
            pair(Filesystem::default()),
            listing(&[c"a", c"b", c"d"]),
            listing(&[c"b", c"c", c"e"]),
            FolderRules::off(),
        );
        let names: Vec<_> = (0..merge.len()).filter_map(|at| merge.get(at)).collect();
        let expected = [
            (c"a", true, false),
            (c"b", true, true),
            (c"c", false, true),
            (c"d", true, false),
            (c"e", false, true),
        ];
        assert_eq!(names, expected);
        assert_eq!(merge.get(5), None);
    }

    #[test]
    fn a_large_folder_comes_in_the_order_of_its_inodes() {
        let scratch = tempfile::tempdir().unwrap();
        for folder in ["source", "replica"] {
            std::fs::create_dir(scratch.path().join(folder)).unwrap();
            // Created backwards, so that inode numbers fall while names rise.
            for name in (0..2 * CHUNK).rev() {
                std::fs::write(scratch.path().join(format!("{folder}/{name:04}")), "").unwrap();
            }
        }
        std::fs::remove_file(scratch.path().join("source/0001")).unwrap();
        let read = |folder: &str| {
            let folder = std::fs::File::open(scratch.path().join(folder)).unwrap();
            Listing::read(std::os::fd::AsFd::as_fd(&folder)).unwrap()
        };
        let merge =
            Merge::new(pair(Filesystem::default()), read("source"), read("replica"), FolderRules::off());
        assert_eq!(merge.len(), 2 * CHUNK);
        let inode = |name: &CStr| {
            let path = scratch.path().join("source").join(name.to_str().unwrap());
            std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
        };
        let both = (0..2 * CHUNK - 1).map(|at| merge.get(at).unwrap());
        let inodes: Vec<u64> = both.map(|(name, in_source, _)| (in_source, inode(name)).1).collect();
        assert!(inodes.is_sorted(), "{inodes:?}");
        // Names that the source lacks come last.
        assert_eq!(merge.get(2 * CHUNK - 1), Some((c"0001", false, true)));
    }

    #[test]
    fn a_name_that_the_replica_lists_otherwise_comes_once_and_on_both_sides() {
        let merge = Merge::new(
            pair(Filesystem::default()),
            Listing::of([c"A", c"b", c"c", c"d."]),
            Listing::of([c"a", c"b", c"d", c"e", c"z"]),
            FolderRules::off(),
        );
        let (source, replica, both) = ((true, false), (false, true), (true, true));
        let expect = |expected: &[(&'static str, (bool, bool))]| {
            let names = (0..merge.len()).filter_map(|at| merge.get(at));
            let names: Vec<_> =
                names.map(|(name, ours, theirs)| (name.to_str().unwrap(), (ours, theirs))).collect();
            assert_eq!(names, expected);
        };
        let listed = [("A", source), ("a", replica), ("b", both), ("c", source), ("d", replica)];
        let rest = [("d.", source), ("e", replica), ("z", replica)];
        expect(&[&listed[..], &rest].concat());
        assert_eq!(merge.alias(c"A"), None);
        assert!(merge.differs_on_both_sides());
        assert_eq!(merge.only(Side::Source).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(merge.only(Side::Replica).collect::<Vec<_>>(), [0, 2, 3, 4]);

        // A is the alias of a; d. is that of d or e.
        let answers = [(0, Answer::Is(0, Likeness::Time)), (3, Answer::Perhaps(vec![2, 3]))];
        assert!(merge.aliases.set(settle(&answers)).is_ok());
        expect(&[("A", both), ("b", both), ("c", source), ("d.", both), ("z", replica)]);
        assert_eq!(merge.alias(c"A"), Some(Alias::Listed(c"a")));
        assert_eq!(merge.alias(c"d."), Some(Alias::Unsure));
        for name in [c"b", c"c", c"a", c"none"] {
            assert_eq!(merge.alias(name), None, "{name:?}");
        }
    }

    #[test]
    fn nothing_is_asked_where_one_side_has_all_names_of_the_other() {
        let differs = |source: &[&'static CStr], replica: &[&'static CStr]| {
            let [source, replica] = [source, replica].map(|names| Listing::of(names.iter().copied()));
            Merge::new(pair(Filesystem::default()), source, replica, FolderRules::off())
                .differs_on_both_sides()
        };
        assert!(!differs(&[c"a", c"b"], &[c"a", c"b"]));
        assert!(!differs(&[c"a", c"b"], &[c"a"]));
        assert!(!differs(&[c"a"], &[c"a", c"b"]));
        assert!(!differs(&[], &[c"b"]));
        assert!(differs(&[c"a", c"b"], &[c"a", c"c"]));
    }
}
