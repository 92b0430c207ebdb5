//! Property tests of the survey's deciding code.

use super::hardlinks::tests::Named;
use super::hardlinks::{Resolution, Verdict};
use super::merge::Merge;
use super::reconcile::{Decision, Sighting, reconcile};
use crate::capabilities::Filesystem;
use crate::fs::listing::Listing;
use crate::model::change::Differences;
use crate::model::change::Verb;
use crate::model::entry::{Entry, FileId};
use crate::model::error::Side;
use crate::model::feature::Feature;
use crate::plan::{Action, Change};
use crate::survey::reconcile::tests::file;
use crate::test_strategies::{entries, filesystem, name, pair, pure};
use crate::walk::{FolderRules, LeftOut, left_out};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};

/// Two sightings of one name, which share some of their facts.
fn sightings() -> impl Strategy<Value = (Sighting, Sighting)> {
    (entries(), 0..8u8, 0..8u8).prop_map(|((source, replica), how, other_how)| {
        let seen = |entry, how| match how {
            0 => Sighting::Unreadable,
            1 => Sighting::Absent,
            _ => Sighting::Present(entry),
        };
        (seen(source, how), seen(replica, other_how))
    })
}

/// The replica's entry after a decision has been carried out.
fn carried_out(decision: Decision, source: &Sighting, replica: &Sighting) -> Sighting {
    match (decision, source) {
        (Decision::Create | Decision::Replace(..), Sighting::Present(source)) => {
            Sighting::Present(Entry { id: FileId { device: 1, inode: 77 }, ..*source })
        }
        (Decision::Delete(_) | Decision::Skip { delete: true, .. }, _) => Sighting::Absent,
        _ => *replica,
    }
}

/// Whether a decision removes or creates something in the replica.
fn is_change(decision: Decision) -> bool {
    matches!(
        decision,
        Decision::Create | Decision::Replace(..) | Decision::Delete(_) | Decision::Skip { delete: true, .. }
    )
}

proptest! {
    #![proptest_config(pure())]

    #[test]
    fn what_could_not_be_read_never_leads_to_a_change((source, replica) in sightings(), filesystem in filesystem()) {
        let decision = reconcile(&source, &replica, &filesystem);
        let expected = match (source, replica) {
            (Sighting::Unreadable, _) => Some(Side::Source),
            (_, Sighting::Unreadable) => Some(Side::Replica),
            _ => None,
        };
        match expected {
            Some(side) => prop_assert_eq!(decision, Decision::Blocked(side)),
            None => prop_assert!(!matches!(decision, Decision::Blocked(_))),
        }
    }

    #[test]
    fn nothing_is_deleted_that_the_source_has_and_the_replica_can_hold(
        (source, replica) in sightings(),
        filesystem in filesystem(),
    ) {
        let decision = reconcile(&source, &replica, &filesystem);
        match (source, replica) {
            (Sighting::Absent, Sighting::Present(_)) => prop_assert_eq!(decision, Decision::Delete("")),
            (Sighting::Absent, Sighting::Absent) => prop_assert_eq!(decision, Decision::Nothing),
            _ => prop_assert!(!matches!(decision, Decision::Delete(_) | Decision::Nothing)),
        }
        if let Decision::Skip { why, delete } = decision {
            let is_held = matches!(why, LeftOut::NotHeld(feature) if filesystem.holds(feature));
            prop_assert!(!is_held, "left out without need");
            prop_assert!(!delete || matches!(replica, Sighting::Present(_)), "nothing is there to delete");
            if let (Sighting::Present(source), Sighting::Present(replica)) = (source, replica) {
                prop_assert!(!delete || source.kind != replica.kind, "of the same kind, so perhaps a good copy");
            }
        }
        if matches!(decision, Decision::Replace(..)) {
            prop_assert!(matches!((source, replica), (Sighting::Present(_), Sighting::Present(_))));
        }
    }

    #[test]
    fn what_was_decided_and_done_is_not_decided_again((source, replica) in sightings(), filesystem in filesystem()) {
        let decision = reconcile(&source, &replica, &filesystem);
        let now = carried_out(decision, &source, &replica);
        let again = reconcile(&source, &now, &filesystem);
        prop_assert!(!is_change(again), "{decision:?}, then {again:?}");
        prop_assert!(is_change(decision) || again == decision, "{decision:?}, then {again:?}");
    }

    #[test]
    fn what_is_left_out_of_a_new_replica_is_an_extra_in_an_old_one((source, _) in entries(), filesystem in filesystem()) {
        let decision = reconcile(&Sighting::Present(source), &Sighting::Absent, &filesystem);
        let expected = matches!(decision, Decision::Skip { delete: false, .. });
        prop_assert_eq!(left_out(&source, &filesystem).is_some(), expected);
        prop_assert!(expected || decision == Decision::Create);
    }

    #[test]
    fn metadata_alone_never_replaces_nor_deletes(
        (source, replica) in entries(),
        filesystem in filesystem(),
    ) {
        let as_the_source = Entry {
            mode: source.mode,
            uid: source.uid,
            gid: source.gid,
            mtime: source.mtime,
            links: source.links,
            ..replica
        };
        let one = reconcile(&Sighting::Present(source), &Sighting::Present(replica), &filesystem);
        let other = reconcile(&Sighting::Present(source), &Sighting::Present(as_the_source), &filesystem);
        match (one, other) {
            // The words may differ, the action may not.
            (Decision::Replace(_, reason), Decision::Replace(_, other)) => prop_assert_eq!(reason, other),
            (one, other) => prop_assert_eq!(one, other),
        }
    }

    #[test]
    fn merging_two_listings_gives_every_name_once_in_order(
        source in vec(name(), 0..12),
        replica in vec(name(), 0..12),
    ) {
        let mut expected: BTreeMap<&CStr, (bool, bool)> = BTreeMap::new();
        for name in &source {
            expected.entry(name).or_default().0 = true;
        }
        for name in &replica {
            expected.entry(name).or_default().1 = true;
        }
        let expected: Vec<_> = expected.into_iter().map(|(name, (ours, theirs))| (name, ours, theirs)).collect();

        let listing = |names: &[CString]| Listing::of(names.iter().map(CString::as_c_str));
        let merge = Merge::new(pair(Filesystem::default()), listing(&source), listing(&replica), FolderRules::off());
        let found: Vec<_> = (0..merge.len()).filter_map(|at| merge.get(at)).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(merge.get(merge.len()), None);
    }
}

/// One name that both sides have: its inodes, and the result of their comparison.
#[derive(Clone, Copy, Debug)]
struct Linked {
    source: u64,
    replica: u64,
    verdict: Verdict,
}

/// Names of few inodes on both sides, with one verdict for each pair of inodes. Some replica inodes have one more name
/// outside the tree.
fn linked() -> impl Strategy<Value = (Vec<Linked>, BTreeSet<u64>)> {
    let verdict = prop_oneof![
        4 => any::<bool>().prop_map(|mode| Verdict::Same(Differences { mode, ..Differences::default() })),
        2 => Just(Verdict::Replace { verb: Verb::Update, reason: "content differs", replica_unreadable: false }),
        1 => Just(Verdict::Unknown),
    ];
    let names = vec((0..3u64, 10..13u64), 1..7);
    let outside = proptest::collection::btree_set(10..13u64, 0..2);
    (names, vec(verdict, 9), outside).prop_map(|(names, verdicts, outside)| {
        let verdict = |source: u64, replica: u64| verdicts[(source * 3 + replica - 10) as usize];
        let linked = |(source, replica)| Linked { source, replica, verdict: verdict(source, replica) };
        (names.into_iter().map(linked).collect(), outside)
    })
}

fn resolve(names: &[Linked], outside: &BTreeSet<u64>, filesystem: Filesystem) -> Resolution {
    let count = |is: &dyn Fn(&Linked) -> bool| names.iter().filter(|name| is(name)).count() as u32;
    let mut named = Named::new(filesystem);
    for (which, name) in names.iter().enumerate() {
        let source = Entry { links: count(&|other| other.source == name.source), ..file(name.source) };
        let links =
            count(&|other| other.replica == name.replica) + u32::from(outside.contains(&name.replica));
        let replica = Entry { links, ..file(name.replica) };
        named.enter(&called(which), source, replica, name.verdict);
    }
    named.resolve()
}

fn called(which: usize) -> CString {
    CString::new(which.to_string()).unwrap()
}

fn number(name: &CStr) -> usize {
    name.to_str().unwrap().parse().unwrap()
}

/// The replica's names after the plan has been carried out: the inode of each, a new one for each copy.
fn carried_out_links(names: &[Linked], resolution: &Resolution) -> Vec<u64> {
    let mut inodes: Vec<u64> = names.iter().map(|name| name.replica).collect();
    let mut copies: BTreeMap<u64, u64> = BTreeMap::new();
    let changes: BTreeMap<&CStr, Action> =
        resolution.changes.iter().map(|change| (&*change.name, change.action)).collect();
    assert_eq!(changes.len(), resolution.changes.len(), "two changes of one name");
    let action = |which: usize| changes.get(called(which).as_c_str()).copied();
    for (which, name) in names.iter().enumerate() {
        if let Some(Action::Replace(_)) = action(which) {
            inodes[which] = 100 + which as u64;
            copies.insert(name.source, inodes[which]);
        }
    }
    for (which, name) in names.iter().enumerate() {
        if let Some(Action::Link { .. }) = action(which) {
            // A name that stays, or only gets other metadata, is the link target of the others.
            let stays = |other: &usize| {
                names[*other].source == name.source
                    && matches!(names[*other].verdict, Verdict::Same(_))
                    && matches!(action(*other), None | Some(Action::SetMetadata(_)))
            };
            let anchor = (0..names.len()).find(stays).map(|other| names[other].replica);
            inodes[which] = anchor.or(copies.get(&name.source).copied()).expect("something to link to");
        }
    }
    inodes
}

proptest! {
    #![proptest_config(pure())]

    #[test]
    fn names_are_one_file_exactly_where_they_are_in_the_source((names, outside) in linked()) {
        let resolution = resolve(&names, &outside, Filesystem::default());
        let inodes = carried_out_links(&names, &resolution);
        let known = |which: &usize| names[*which].verdict != Verdict::Unknown;
        for one in (0..names.len()).filter(known) {
            for other in (0..names.len()).filter(known) {
                prop_assert_eq!(
                    names[one].source == names[other].source,
                    inodes[one] == inodes[other],
                    "{} and {}: {:?}", one, other, inodes
                );
            }
            prop_assert!(!outside.contains(&inodes[one]), "{} still has a name outside", one);
        }
        let mut anchored = BTreeSet::new();
        for anchor in &resolution.anchors {
            let which = number(&anchor.name);
            prop_assert_eq!(names[which].source, anchor.source.id.inode);
            prop_assert_eq!(inodes[which], anchor.replica.inode, "{} does not stay", which);
            prop_assert!(anchored.insert(anchor.source.id.inode), "two anchors of one file");
        }
        let linked = |action: Action| matches!(action, Action::Link { .. });
        for change in resolution.changes.iter().filter(|change| linked(change.action)) {
            let source = names[number(&change.name)].source;
            let copied = |change: &&Change| matches!(change.action, Action::Replace(_));
            let of_it = |change: &&Change| names[number(&change.name)].source == source;
            let copies = resolution.changes.iter().filter(of_it).filter(copied).count();
            prop_assert_eq!(copies + usize::from(anchored.contains(&source)), 1, "what {:?} is linked to", change.name);
        }
        for which in (0..names.len()).filter(|which| !known(which)) {
            prop_assert_eq!(inodes[which], names[which].replica, "nothing is known of {}", which);
        }
    }

    #[test]
    fn metadata_is_never_set_through_a_name_outside(
        (names, outside) in linked(),
        holds_links in any::<bool>(),
    ) {
        let filesystem = Filesystem::default();
        if !holds_links {
            filesystem.learn_missing(Feature::HardLinks);
        }
        let resolution = resolve(&names, &outside, filesystem);
        for change in &resolution.changes {
            if let (Action::SetMetadata(_), Some(inode)) = (change.action, change.expected) {
                prop_assert!(!outside.contains(&inode.inode), "{:?} is written through", change.name);
            }
        }
        prop_assert!(!holds_links || !resolution.not_held, "hard links are held");
        let known = names.iter().filter(|name| name.verdict != Verdict::Unknown).count();
        prop_assert_eq!(resolution.changes.len() as u64 + resolution.unchanged, known as u64);
    }

    #[test]
    fn without_hard_links_every_name_becomes_right_by_itself((names, outside) in linked()) {
        let filesystem = Filesystem::default();
        filesystem.learn_missing(Feature::HardLinks);
        let resolution = resolve(&names, &outside, filesystem);
        let actions: BTreeMap<usize, Action> =
            resolution.changes.iter().map(|change| (number(&change.name), change.action)).collect();
        for (which, name) in names.iter().enumerate() {
            // Metadata belongs to the inode: setting it through one name is enough.
            let is_set = names.iter().enumerate().any(|(other, twin)| {
                (twin.source, twin.replica) == (name.source, name.replica)
                    && matches!(actions.get(&other), Some(Action::SetMetadata(_)))
            });
            let is_replaced = matches!(actions.get(&which), Some(Action::Replace(_)));
            let (must_set, must_replace) = match name.verdict {
                Verdict::Same(_) if outside.contains(&name.replica) => (false, true),
                Verdict::Same(differences) => (differences.any(), false),
                Verdict::Replace { .. } => (false, true),
                Verdict::Unknown => (false, false),
            };
            prop_assert!(is_replaced == must_replace, "{which} is replaced: {is_replaced}");
            prop_assert!(is_replaced || is_set == must_set, "{which} has its metadata set: {is_set}");
        }
        let should_be_one = |one: &Linked| {
            names.iter().any(|other| one.source == other.source && one.replica != other.replica)
        };
        prop_assert!(resolution.not_held || !names.iter().any(should_be_one), "several names stay several files");
        let is_pair = |one: &Linked| names.iter().filter(|other| other.source == one.source).count() > 1;
        prop_assert!(!resolution.not_held || names.iter().any(is_pair), "a single name needs no hard link");
    }

    #[test]
    fn names_that_are_one_file_already_need_nothing_of_the_filesystem(groups in vec(1..4usize, 1..4)) {
        let name = |source| Linked { source, replica: source + 10, verdict: Verdict::Same(Differences::default()) };
        let groups = groups.into_iter().zip(0..);
        let names: Vec<Linked> = groups.flat_map(|(count, source)| vec![name(source); count]).collect();
        let filesystem = Filesystem::default();
        filesystem.learn_missing(Feature::HardLinks);
        let resolution = resolve(&names, &BTreeSet::new(), filesystem);
        prop_assert!(resolution.changes.is_empty() && !resolution.not_held);
    }
}
