//! The promises that hold after any fault, as code, for the suites that inject faults.

use crate::harness::rights::{ACCESS_LIST, beyond};
use crate::harness::stage::{self, Scene};
use crate::support::fsops::access_list;
use crate::support::index;
use crate::support::scratch::Scratch;
use crate::support::tree::{Node, Tree, What, differences};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The prefix of the names of the program's temporaries.
pub(crate) const TEMPORARY: &[u8] = b".file-sync-";

/// Both trees, and everything outside of them, before a pass.
pub(crate) struct Before {
    source: Tree,
    replica: Tree,
    outside: Option<Tree>,
}

impl Before {
    pub(crate) fn of(place: &Scratch) -> Before {
        let outside = place.at("outside");
        Before {
            source: Tree::of(&place.source),
            replica: tree_if_any(&place.replica),
            outside: outside.exists().then(|| Tree::of(&outside)),
        }
    }

    /// Checks the trees after a pass that may have been disturbed, while nobody else worked in them. `done` says
    /// whether the program claimed that the replica matches.
    ///
    /// The source and everything outside are unchanged. Every file that both versions have exists, whole, old or new. A
    /// file of the new version only is whole or absent. A file of the old version only is unchanged or gone. All other
    /// entries are temporaries. No entry, not even a temporary, grants anybody more than a version with its content
    /// does, and none is setuid or setgid without a reason.
    pub(crate) fn check(&self, place: &Scratch, done: bool) {
        self.check_others(place);
        index::check(place);
        let replica = tree_if_any(&place.replica);
        let wrong = self.wrong(&replica);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        if done {
            let differences = differences(&self.source, &replica);
            assert!(differences.is_empty(), "exit 0, but {}", differences.join("\n"));
        }
    }

    /// The source and everything outside are unchanged.
    pub(crate) fn check_others(&self, place: &Scratch) {
        let changed = differences(&self.source, &Tree::of(&place.source));
        assert!(changed.is_empty(), "the source changed: {}", changed.join("\n"));
        if let Some(outside) = &self.outside {
            let changed = differences(outside, &Tree::of(&place.at("outside")));
            assert!(changed.is_empty(), "something outside changed: {}", changed.join("\n"));
        }
    }

    /// Deleted extras of the replica in a folder, and below. After a pass that could not list that folder in the source
    /// this has to be empty: no absence in it was proven.
    pub(crate) fn extras_gone(&self, place: &Scratch, folder: &[u8]) -> Vec<String> {
        let replica = tree_if_any(&place.replica);
        let is_below = |path: &[u8]| {
            folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
        };
        let extras = self.replica.nodes.keys().filter(|path| {
            let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            is_below(path) && !self.source.nodes.contains_key(*path) && !base.starts_with(TEMPORARY)
        });
        extras
            .filter(|path| !replica.nodes.contains_key(*path))
            .map(|path| path.escape_ascii().to_string())
            .collect()
    }

    /// The broken promises in a replica.
    pub(crate) fn wrong(&self, replica: &Tree) -> Vec<String> {
        let mut wrong = Vec::new();
        let moves = Moves::between(&self.replica, replica);
        for (path, (node, _)) in &self.source.nodes {
            let (name, new) = (path.escape_ascii(), &node.what);
            let old = self.replica.nodes.get(path).map(|(node, _)| node);
            let now = replica.nodes.get(path).map(|(node, _)| node);
            match (old, now) {
                // A socket is never mirrored; an entry of its name in the replica may be deleted.
                (_, None) if *new == What::Socket => {}
                // It has moved, as in the source, and what is to have its name is not there yet.
                (Some(_), None) if moves.have_taken(path) => {}
                (Some(old), None) => {
                    wrong.push(format!("lost {name}: it was {:?}, to become {new:?}", old.what));
                }
                (None, None) => {}
                (old, Some(now)) => {
                    let versions = old.into_iter().chain(moves.version_of(path)).chain([node]);
                    let models: Vec<&Node> = versions.filter(|model| model.what == now.what).collect();
                    if models.is_empty() {
                        let (was, now) = (old.map(|old| &old.what), &now.what);
                        wrong.push(format!("torn {name}: {now:?}; it was {was:?}, to become {new:?}"));
                    } else if let Some(beyond) = beyond(now, &models) {
                        wrong.push(format!("{name} {beyond}"));
                    }
                }
            }
        }
        for (path, (node, _)) in &replica.nodes {
            if self.source.nodes.contains_key(path) {
                continue;
            }
            let name = path.escape_ascii();
            let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let moved = moves.version_of(path).filter(|old| old.what == node.what);
            match self.replica.nodes.get(path) {
                _ if moved.is_some() => {
                    wrong.extend(beyond(node, moved.as_slice()).map(|beyond| format!("{name} {beyond}")));
                }
                Some((old, _)) if old.what != node.what => {
                    wrong.push(format!("changed {name}, which should only go: {:?}", node.what));
                }
                Some((old, _)) => {
                    wrong.extend(beyond(node, &[old]).map(|beyond| format!("{name} {beyond}")));
                }
                None if !base.starts_with(TEMPORARY) => {
                    // A folder set aside under a temporary name contains old entries.
                    let below = path.split(|byte| *byte == b'/').any(|part| part.starts_with(TEMPORARY));
                    if !below {
                        wrong.push(format!("invented {name}: {:?}", node.what));
                    }
                }
                None => {
                    let beyond = self.temporary_beyond(node);
                    wrong.extend(
                        beyond.map(|beyond| format!("the temporary {name} {beyond}: {:?}", node.what)),
                    );
                }
            }
        }
        wrong
    }

    /// The excess rights of a temporary. It is private until it is complete; then it may have the rights of an entry
    /// with this content. An old entry of another kind is set aside under such a name unchanged.
    fn temporary_beyond(&self, temporary: &Node) -> Option<String> {
        let owner = self.source.nodes.get(b"".as_slice()).map_or((0, 0), |(root, _)| root.owner);
        let private = Node { mode: 0o600, owner, attributes: BTreeMap::new(), ..temporary.clone() };
        let trees = self.source.nodes.values().chain(self.replica.nodes.values());
        let whole = trees.map(|(model, _)| model).filter(|model| model.what == temporary.what);
        beyond(temporary, &whole.chain([&private]).collect::<Vec<_>>())
    }

    /// One pass without faults makes everything right, and a second one finds nothing to do.
    pub(crate) fn heals(&self, place: &Scratch) {
        let healed = place.once(&[]);
        assert_eq!(healed.code, Some(0), "the pass that should heal: {:?}", healed.told());
        let differences = differences(&self.source, &Tree::of(&place.replica));
        assert!(differences.is_empty(), "not healed: {}", differences.join("\n"));
        self.check_others(place);
        let quiet = place.once(&[]);
        assert_eq!((quiet.code, quiet.operations()), (Some(0), 0), "after healing: {:?}", quiet.told());
    }
}

/// What has moved in a replica: the places of the entries before and after, by their inodes.
struct Moves<'a> {
    before: &'a Tree,
    after: &'a Tree,
    /// The paths of folders before, and of all entries after.
    folders: BTreeMap<(u64, u64), &'a [u8]>,
    now: BTreeMap<(u64, u64), Vec<&'a [u8]>>,
}

impl<'a> Moves<'a> {
    fn between(before: &'a Tree, after: &'a Tree) -> Moves<'a> {
        fn places(tree: &Tree) -> impl Iterator<Item = (&What, (u64, u64), &[u8])> {
            tree.nodes.iter().map(|(path, (node, stamp))| (&node.what, (stamp.device, stamp.inode), &**path))
        }
        let folders = places(before).filter(|(what, ..)| **what == What::Folder);
        let folders = folders.map(|(_, inode, path)| (inode, path)).collect();
        let mut now: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (_, inode, path) in places(after) {
            now.entry(inode).or_default().push(path);
        }
        Moves { before, after, folders, now }
    }

    /// Whether the entry that a path had before is elsewhere now.
    fn have_taken(&self, path: &[u8]) -> bool {
        let inode =
            |tree: &Tree, path: &[u8]| tree.nodes.get(path).map(|(_, stamp)| (stamp.device, stamp.inode));
        let Some(moved) = inode(self.before, path) else { return false };
        // A name that it had before as well proves nothing.
        self.now.get(&moved).into_iter().flatten().any(|now| inode(self.before, now) != Some(moved))
    }

    /// The version that a path has got with a folder above it that has moved.
    fn version_of(&self, path: &[u8]) -> Option<&'a Node> {
        let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in [path.len()].into_iter().chain(slashes) {
            let (above, rest) = path.split_at(end);
            let Some((_, stamp)) = self.after.nodes.get(above) else { continue };
            let Some(was) = self.folders.get(&(stamp.device, stamp.inode)) else { continue };
            return self.before.nodes.get(&[was, rest].concat()).map(|(node, _)| node);
        }
        None
    }
}

/// The tree of a root; empty if the root does not exist.
pub(crate) fn tree_if_any(root: &Path) -> Tree {
    if fs::symlink_metadata(root).is_ok() { Tree::of(root) } else { Tree::default() }
}

/// Tests the verdict itself, on damage done by hand.
pub(crate) fn sees(scratch: &Path) {
    let place = stage::place(scratch, Scene::Old);
    let before = Before::of(&place);
    let judge = |start: &Tree, damage: &dyn Fn(&mut Tree)| {
        let mut tree = start.clone();
        damage(&mut tree);
        before.wrong(&tree)
    };
    let (old, new) = (&before.replica, &before.source);
    assert_eq!(judge(old, &|_| {}), [""; 0], "nothing has happened yet");
    assert_eq!(judge(new, &|_| {}), [""; 0], "everything has happened");
    type Damage = fn(&mut Node);
    let damages: [(&str, Damage, &str); 9] = [
        ("changed/content", |node| node.what = What::File(b"half".to_vec()), "torn"),
        ("same/one", |node| node.what = What::File(Vec::new()), "torn"),
        ("special/fifo", |node| node.what = What::Folder, "torn"),
        ("closed/changed", |node| node.mode = 0o446, "allows"),
        ("meta/mode", |node| node.mode = 0o644, "allows"),
        ("same/deep/er/file", |node| node.mode = 0o4600, "setuid"),
        ("same", |node| node.mode = 0o777, "allows"),
        ("same/deep/er/file", |node| node.owner = (65534, 65534), "allows"),
        (
            "meta/list",
            |node| drop(node.attributes.insert(ACCESS_LIST.to_vec(), access_list(5678, 6))),
            "allows",
        ),
    ];
    for (path, damage, word) in damages {
        let found = judge(old, &|tree| damage(&mut tree.nodes.get_mut(path.as_bytes()).expect(path).0));
        assert!(found.len() == 1 && found[0].contains(word), "{path}, {word}: {found:?}");
    }
    let lost = judge(old, &|tree| drop(tree.nodes.remove(b"changed/size".as_slice())));
    assert!(lost.len() == 1 && lost[0].contains("lost"), "{lost:?}");
    assert_eq!(judge(old, &|tree| drop(tree.nodes.remove(b"extra".as_slice()))), [""; 0], "it may go");
    let add = |name: &'static str, path: &'static str, change: Damage| {
        judge(old, &|tree| {
            let (mut node, stamp) = new.nodes[path.as_bytes()].clone();
            change(&mut node);
            tree.nodes.insert(name.as_bytes().to_vec(), (node, stamp));
        })
    };
    let invented = add("invented", "new/secret", |_| {});
    assert!(invented.len() == 1 && invented[0].contains("invented"), "{invented:?}");
    assert_eq!(add("same/.file-sync-1.tmp", "new/secret", |_| {}), [""; 0], "a temporary");
    for change in [|node: &mut Node| node.mode = 0o604, |node: &mut Node| node.mode = 0o4600] {
        let shown = add("same/.file-sync-1.tmp", "new/secret", change);
        assert!(shown.len() == 1 && shown[0].contains("temporary"), "{shown:?}");
    }
    let half = add("same/.file-sync-1.tmp", "new/folder/below/file", |node| {
        node.what = What::File(b"half".to_vec());
    });
    assert!(half.len() == 1 && half[0].contains("temporary"), "half of a file, shown: {half:?}");
    // Nothing is deleted yet; then an entry is deleted whose absence was not proven.
    assert_eq!(before.extras_gone(&place, b""), [""; 0]);
    fs::remove_file(place.replica.join("closed/goes")).expect("removed");
    assert_eq!(before.extras_gone(&place, b"same"), [""; 0]);
    assert_eq!(before.extras_gone(&place, b"closed"), ["closed/goes"]);
    assert_eq!(before.extras_gone(&place, b""), ["closed/goes"]);
}
