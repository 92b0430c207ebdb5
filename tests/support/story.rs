//! Stories: a random tree, then rounds of random edits on both sides, each followed by a pass. After every pass the
//! replica equals the source, the source and everything outside are unchanged, and a second pass finds and writes
//! nothing.

use super::edits::{Edit, Limits, Pick, Side, Thing, World, content};
use super::fsops::set_mtime;
use super::monitor::pass;
use super::tree::{Tree, What, assert_same, differences};
use file_sync::{Counter, Counts};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        1 => Just(Thing::Empty),
        5 => any::<u8>().prop_map(Thing::Small),
        1 => any::<u8>().prop_map(Thing::Large),
        1 => any::<(u8, u32)>().prop_map(|(seed, at)| Thing::Sparse(seed, at)),
        3 => Just(Thing::Folder),
        2 => any::<u8>().prop_map(Thing::Nest),
        2 => any::<u8>().prop_map(Thing::Symlink),
        1 => Just(Thing::Fifo),
        1 => Just(Thing::Socket),
        1 => any::<u8>().prop_map(Thing::Char),
        1 => any::<u8>().prop_map(Thing::Block),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let pick = any::<Pick>;
    let byte = any::<u8>;
    prop_oneof![
        6 => (pick(), byte(), thing()).prop_map(|(at, name, thing)| Edit::Put(at, name, thing)),
        2 => (pick(), byte()).prop_map(|(at, seed)| Edit::Rewrite(at, seed)),
        2 => (pick(), any::<u32>()).prop_map(|(at, position)| Edit::Flip(at, position)),
        1 => (pick(), byte()).prop_map(|(at, part)| Edit::Truncate(at, part)),
        1 => (pick(), byte()).prop_map(|(at, length)| Edit::Append(at, length)),
        2 => pick().prop_map(Edit::Delete),
        2 => (pick(), pick(), byte()).prop_map(|(from, to, name)| Edit::Rename(from, to, name)),
        2 => (pick(), pick()).prop_map(|(one, other)| Edit::Swap(one, other)),
        2 => (pick(), byte()).prop_map(|(at, mode)| Edit::Chmod(at, mode)),
        2 => (pick(), byte(), byte()).prop_map(|(at, uid, gid)| Edit::Chown(at, uid, gid)),
        2 => (pick(), byte()).prop_map(|(at, time)| Edit::Mtime(at, time)),
        3 => (pick(), byte(), any::<Option<u8>>()).prop_map(|(at, name, value)| Edit::Attribute(at, name, value)),
        2 => (pick(), any::<bool>(), any::<Option<u8>>()).prop_map(|(at, of_new, permissions)| {
            Edit::AccessList(at, of_new, permissions)
        }),
        3 => (pick(), pick(), byte()).prop_map(|(from, to, name)| Edit::Link(from, to, name)),
        1 => pick().prop_map(Edit::Unlink),
        1 => (pick(), byte()).prop_map(|(at, name)| Edit::LinkToOutside(at, name)),
        1 => (pick(), byte(), byte()).prop_map(|(to, name, which)| Edit::LinkFromOutside(to, name, which)),
        1 => (pick(), any::<Option<(Pick, u8)>>()).prop_map(|(from, to)| Edit::LinkFromSource(from, to)),
    ]
}

/// Edits that create and break hard links, among few names and few contents, so that the hard link groups of the two
/// sides overlap in every way.
fn link_edit() -> impl Strategy<Value = Edit> {
    let pick = any::<Pick>;
    let name = || 9..15u8;
    let thing = prop_oneof![
        3 => (0..2u8).prop_map(Thing::Small),
        1 => Just(Thing::Folder),
        1 => Just(Thing::Fifo),
        1 => Just(Thing::Symlink(0)),
        1 => Just(Thing::Nest(0)),
    ];
    prop_oneof![
        4 => (pick(), name(), thing).prop_map(|(at, name, thing)| Edit::Put(at, name, thing)),
        8 => (pick(), pick(), name()).prop_map(|(from, to, name)| Edit::Link(from, to, name)),
        2 => pick().prop_map(Edit::Unlink),
        2 => pick().prop_map(Edit::Delete),
        2 => (pick(), pick(), name()).prop_map(|(from, to, name)| Edit::Rename(from, to, name)),
        2 => (pick(), pick()).prop_map(|(one, other)| Edit::Swap(one, other)),
        1 => (pick(), 0..2u32).prop_map(|(at, position)| Edit::Flip(at, position)),
        2 => (pick(), 0..3u8).prop_map(|(at, mode)| Edit::Chmod(at, mode)),
        1 => (pick(), 0..3u8).prop_map(|(at, time)| Edit::Mtime(at, time)),
        1 => (pick(), any::<u8>()).prop_map(|(at, name)| Edit::LinkToOutside(at, name)),
        1 => (pick(), name(), any::<u8>()).prop_map(|(to, name, which)| Edit::LinkFromOutside(to, name, which)),
        2 => (pick(), proptest::option::of((pick(), name()))).prop_map(|(from, to)| Edit::LinkFromSource(from, to)),
    ]
}

/// The edits between two passes.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    edits: Vec<(Side, Edit)>,
    threads: usize,
    dry_run_first: bool,
}

fn round(edit: impl Strategy<Value = Edit>, most: usize) -> impl Strategy<Value = Round> {
    let side = prop_oneof![3 => Just(Side::Source), 2 => Just(Side::Replica)];
    (vec((side, edit), 1..most), 1..5usize, any::<bool>()).prop_map(|(edits, threads, dry_run_first)| Round {
        edits,
        threads,
        dry_run_first,
    })
}

/// A tree, and rounds of edits.
pub(crate) fn story() -> impl Strategy<Value = (Vec<Edit>, Vec<Round>)> {
    (vec(edit(), 5..40), vec(round(edit(), 14), 1..5))
}

/// The same with edits of hard links.
pub(crate) fn link_story() -> impl Strategy<Value = (Vec<Edit>, Vec<Round>)> {
    (vec(link_edit(), 5..20), vec(round(link_edit(), 12), 1..5))
}

/// Edits, then passes, then all assertions.
fn check(world: &World, round: &Round) {
    for (side, edit) in &round.edits {
        // Many an edit is impossible at its place and has no effect.
        let _ = world.edit(*side, edit);
    }
    let scratch = &world.scratch;
    let (source, replica, outside) =
        (Tree::of(&scratch.source), Tree::of(&scratch.replica), Tree::of(&scratch.outside));
    let mut planned = None;
    if round.dry_run_first {
        let passed = pass(&mut scratch.mirror_with(round.threads, true));
        assert_eq!(passed.seen.problems, []);
        assert_same("a dry run wrote", &replica.clone().stamped(), &Tree::of(&scratch.replica).stamped());
        let is_same = differences(&source, &replica).is_empty() && replica.shared_outside().is_empty();
        assert!(
            passed.report.counts.operations() > 0 || is_same,
            "a dry run plans nothing for two trees that differ"
        );
        planned = Some(passed.report.counts);
    }

    let mut mirror = scratch.mirror(round.threads);
    let passed = pass(&mut mirror);
    passed.assert_clean();
    if let Some(planned) = planned {
        assert_eq!(totals(&planned), totals(&passed.report.counts), "what was planned, and what was done");
    }
    let mirrored = Tree::of(&scratch.replica);
    assert_same("the replica is not the source", &source, &mirrored);
    assert_eq!(mirrored.shared_outside(), [""; 0], "the replica shares files with something outside");
    assert_same("something outside changed", &outside, &Tree::of(&scratch.outside));
    assert_untouched(&source, &replica, &Tree::of(&scratch.source));

    let passed = pass(&mut mirror);
    passed.assert_clean();
    assert_eq!(passed.seen.done, [], "a second pass still finds something to do");
    assert_eq!(
        passed.report.counts[Counter::Unchanged],
        source.entries(),
        "entries that a second pass finds unchanged"
    );
    assert_same("a second pass wrote", &mirrored.stamped(), &Tree::of(&scratch.replica).stamped());
}

/// The totals that a plan knows in advance: entries created, in any way, and entries deleted. A file of several names
/// is planned as the change of each name, and some of these become links. The folders whose metadata has to be set are
/// known only after their content is done.
fn totals(counts: &Counts) -> (u64, u64) {
    let ways = [Counter::Created, Counter::Linked, Counter::Updated, Counter::Repaired, Counter::Retyped];
    (ways.iter().map(|counter| counts[*counter]).sum(), counts[Counter::Deleted])
}

/// The source is unchanged, down to the ctimes. One exception: removing a name in the replica changes the ctime of an
/// inode that the two trees share.
fn assert_untouched(source: &Tree, replica: &Tree, now: &Tree) {
    let shared: BTreeSet<(u64, u64)> = source.inodes().intersection(&replica.inodes()).copied().collect();
    let without = |tree: &Tree| {
        let mut tree = tree.clone().stamped();
        for (node, stamp) in tree.nodes.values_mut() {
            if shared.contains(&(stamp.device, stamp.inode)) {
                node.stamp = None;
            }
        }
        tree
    };
    assert_same("the source changed", &without(source), &without(now));
}

/// Plays a story in an empty world.
pub(crate) fn play(world: &World, tree: &[Edit], rounds: &[Round]) {
    for which in 0..3 {
        let path = world.scratch.outside.join(format!("given {which}"));
        fs::write(&path, content(which, 1000)).unwrap();
        set_mtime(&path, 1_000_000_000 + i64::from(which), 1).unwrap();
    }
    let first = Round {
        edits: tree.iter().map(|edit| (Side::Source, edit.clone())).collect(),
        threads: 2,
        dry_run_first: false,
    };
    for round in [&first].into_iter().chain(rounds) {
        match world.limits {
            Limits::None | Limits::Until2400 => check(world, round),
            Limits::PlainNames => check_contents(world, round),
        }
    }
}

/// As [`check`], for a replica that cannot hold everything. A first pass may have to learn that, and a second to clean
/// up. In the end the entries that exist have the right contents, and a further pass writes nothing.
fn check_contents(world: &World, round: &Round) {
    for (side, edit) in &round.edits {
        // Many an edit is impossible at its place and has no effect.
        let _ = world.edit(*side, edit);
    }
    let scratch = &world.scratch;
    let (source, replica, outside) =
        (Tree::of(&scratch.source), Tree::of(&scratch.replica), Tree::of(&scratch.outside));
    let mut mirror = scratch.mirror(round.threads);
    let mut last = pass(&mut mirror);
    for _ in 0..2 {
        assert_eq!(last.seen.problems, [], "problems");
        last = pass(&mut mirror);
    }
    assert_eq!((last.seen.done, last.seen.problems), (vec![], vec![]), "a third pass still finds something");
    let mirrored = Tree::of(&scratch.replica);
    assert_eq!(contents(&source), contents(&mirrored), "contents");
    assert_same("something outside changed", &outside, &Tree::of(&scratch.outside));
    assert_untouched(&source, &replica, &Tree::of(&scratch.source));
    let quiet = pass(&mut mirror);
    assert_eq!((quiet.seen.done, quiet.seen.problems), (vec![], vec![]), "a fourth pass");
    assert_same("a fourth pass wrote", &mirrored.stamped(), &Tree::of(&scratch.replica).stamped());
}

/// The files and folders of a tree.
fn contents(tree: &Tree) -> BTreeMap<&[u8], &What> {
    let all = tree.nodes.iter().map(|(path, (node, _))| (path.as_slice(), &node.what));
    all.filter(|(_, what)| matches!(what, What::File(_) | What::Folder)).collect()
}
