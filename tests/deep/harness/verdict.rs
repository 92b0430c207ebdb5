//! What has to hold after anything that went wrong: the promises as code, for the suites that make things go wrong.

use crate::harness::rights::{ACCESS_LIST, beyond};
use crate::harness::stage::{self, Scene};
use crate::support::fsops::access_list;
use crate::support::scratch::Scratch;
use crate::support::tree::{Node, Tree, What, differences};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How a temporary of the program is called: its prefix.
pub(crate) const TEMPORARY: &[u8] = b".file-sync-";

/// Both trees, and whatever lies outside of them, as they are before a pass.
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

    /// After a pass that something may have happened to, but nobody else worked in the trees meanwhile. `done` says
    /// whether the program claimed that the replica matches.
    ///
    /// The source and what lies outside are as they were. Every file that both versions have is there, whole, old or
    /// new. What only the new version has is whole or not there at all. What only the old version has is as it was or
    /// gone. Nothing else is there but temporaries. No entry, not even a temporary, allows anybody more than a version
    /// with its content does, and none is setuid or setgid that should not be.
    pub(crate) fn check(&self, place: &Scratch, done: bool) {
        self.check_others(place);
        let replica = tree_if_any(&place.replica);
        let wrong = self.wrong(&replica);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        if done {
            let differences = differences(&self.source, &replica);
            assert!(differences.is_empty(), "exit 0, but {}", differences.join("\n"));
        }
    }

    /// The source and what lies outside are as they were.
    pub(crate) fn check_others(&self, place: &Scratch) {
        let changed = differences(&self.source, &Tree::of(&place.source));
        assert!(changed.is_empty(), "the source changed: {}", changed.join("\n"));
        if let Some(outside) = &self.outside {
            let changed = differences(outside, &Tree::of(&place.at("outside")));
            assert!(changed.is_empty(), "something outside changed: {}", changed.join("\n"));
        }
    }

    /// What only the replica had in a folder, and below, and has no more. Nothing, after a pass that could not read that
    /// folder in the source, and so has not seen that anything is missing from it.
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

    /// What contradicts the promises in a replica.
    pub(crate) fn wrong(&self, replica: &Tree) -> Vec<String> {
        let mut wrong = Vec::new();
        for (path, (node, _)) in &self.source.nodes {
            let (name, new) = (path.escape_ascii(), &node.what);
            let old = self.replica.nodes.get(path).map(|(node, _)| node);
            let now = replica.nodes.get(path).map(|(node, _)| node);
            match (old, now) {
                // A socket is never mirrored; what the replica has under its name may go.
                (_, None) if *new == What::Socket => {}
                (Some(old), None) => {
                    wrong.push(format!("lost {name}: it was {:?}, to become {new:?}", old.what));
                }
                (None, None) => {}
                (old, Some(now)) => {
                    let versions = old.into_iter().chain([node]);
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
            match self.replica.nodes.get(path) {
                Some((old, _)) if old.what != node.what => {
                    wrong.push(format!("changed {name}, which should only go: {:?}", node.what));
                }
                Some((old, _)) => {
                    wrong.extend(beyond(node, &[old]).map(|beyond| format!("{name} {beyond}")));
                }
                None if !base.starts_with(TEMPORARY) => {
                    // Below a folder that lies aside under a temporary name are old entries.
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

    /// What a temporary allows too much. It is its owner's alone until it is whole; then it may have what an entry with
    /// this content has. An old entry of another kind lies aside under such a name as it was.
    fn temporary_beyond(&self, temporary: &Node) -> Option<String> {
        let owner = self.source.nodes.get(b"".as_slice()).map_or((0, 0), |(root, _)| root.owner);
        let private = Node { mode: 0o600, owner, attributes: BTreeMap::new(), ..temporary.clone() };
        let trees = self.source.nodes.values().chain(self.replica.nodes.values());
        let whole = trees.map(|(model, _)| model).filter(|model| model.what == temporary.what);
        beyond(temporary, &whole.chain([&private]).collect::<Vec<_>>())
    }

    /// One pass without any trouble makes everything right, and a second one finds nothing to do.
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

/// A replica that does not exist (any more) is an empty one.
pub(crate) fn tree_if_any(root: &Path) -> Tree {
    if fs::symlink_metadata(root).is_ok() { Tree::of(root) } else { Tree::default() }
}

/// The verdict itself, on damage done by hand.
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
    // Nothing has gone yet; then something goes that nobody may have missed.
    assert_eq!(before.extras_gone(&place, b""), [""; 0]);
    fs::remove_file(place.replica.join("closed/goes")).expect("removed");
    assert_eq!(before.extras_gone(&place, b"same"), [""; 0]);
    assert_eq!(before.extras_gone(&place, b"closed"), ["closed/goes"]);
    assert_eq!(before.extras_gone(&place, b""), ["closed/goes"]);
}
