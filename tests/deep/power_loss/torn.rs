//! The permitted states of a replica after a power loss.

use crate::harness::verdict::TEMPORARY;
use crate::power_loss::versions::{Version, build};
use crate::support::scratch::Scratch;
use crate::support::tree::{Node, Tree, What};
use std::collections::HashMap;
use std::fs;

/// The replica before a pass, and the source.
pub(crate) struct Versions {
    pub(crate) old: Tree,
    pub(crate) new: Tree,
}

/// The effects of a power loss.
#[derive(Default)]
pub(crate) struct Left {
    /// Paths whose good old version is gone while the new one is missing.
    pub(crate) lost: Vec<String>,
    /// Files that the source had moved, now whole under neither name.
    pub(crate) moves_lost: Vec<String>,
    /// Names without an old version that have a part of the new one, or nothing.
    pub(crate) torn: usize,
    /// Contradictions to promises that hold in any case.
    pub(crate) wrong: Vec<String>,
    /// The numbers of paths with the new version, and with the old one.
    pub(crate) new: usize,
    pub(crate) old: usize,
}

impl Versions {
    pub(crate) fn judge(&self, found: &Tree) -> Left {
        let mut left = Left::default();
        for (path, (new, _)) in &self.new.nodes {
            let name = path.escape_ascii();
            let old = self.old.nodes.get(path).map(|(node, _)| node);
            let now = found.nodes.get(path).map(|(node, _)| node);
            match (old, now) {
                (Some(old), _) if old.what == new.what && now.is_some_and(|now| now.what == new.what) => {}
                (_, Some(now)) if now.what == new.what => {
                    left.new += 1;
                    if matches!(new.what, What::File(_)) && metadata(now) != metadata(new) {
                        left.wrong.push(format!("{name}: {:?}, not {:?}", metadata(now), metadata(new)));
                    }
                }
                (Some(old), Some(now)) if now.what == old.what => left.old += 1,
                (None, None) => left.old += 1,
                (None, Some(now)) if is_part(&now.what, &new.what) => left.torn += 1,
                (None, Some(now)) => {
                    left.wrong.push(format!("{name}: {:?}, to become {:?}", now.what, new.what))
                }
                (Some(old), now) => left.lost.push(format!(
                    "{name}: {:?}; it was {:?}, to become {:?}",
                    now.map(|now| &now.what),
                    old.what,
                    new.what
                )),
            }
        }
        for (path, (node, _)) in found.nodes.iter().filter(|(path, _)| !self.new.nodes.contains_key(*path)) {
            if let Some(wrong) = self.wrong_extra(path, node) {
                left.wrong.push(format!("{}: {wrong}", path.escape_ascii()));
            }
        }
        left.moves_lost = self.moves_lost(found);
        left
    }

    /// The fault of an entry that the source does not have.
    fn wrong_extra(&self, path: &[u8], node: &Node) -> Option<String> {
        if let Some((old, _)) = self.old.nodes.get(path) {
            return (old.what != node.what).then(|| format!("{:?}, which should only go", node.what));
        }
        let mut names = path.rsplit(|byte| *byte == b'/');
        if !names.next().is_some_and(|base| base.starts_with(TEMPORARY)) {
            // Below a folder that is unfinished, or that is set aside.
            let below = names.any(|name| name.starts_with(TEMPORARY));
            return (!below).then(|| format!("{:?}, which nobody made", node.what));
        }
        let is_shown = node.mode & !0o600 != 0 && matches!(node.what, What::File(_));
        let may_be =
            |model: &Node| node.mode & !(model.mode | 0o600) == 0 && is_part(&node.what, &model.what);
        let has_model = self.new.nodes.values().any(|(model, _)| may_be(model));
        (is_shown && !has_model).then(|| format!("mode {:o} of a temporary, {:?}", node.mode, node.what))
    }

    /// Contents with one name in the old version and another one in the new, and none now.
    fn moves_lost(&self, found: &Tree) -> Vec<String> {
        let gone = |(path, _): &(&Vec<u8>, &Vec<u8>)| !self.new.nodes.contains_key(*path);
        let mut moved: HashMap<&Vec<u8>, Vec<&Vec<u8>>> =
            contents(&self.old).filter(gone).map(|(path, content)| (content, vec![path])).collect();
        for (path, content) in contents(&self.new) {
            if let Some(names) = moved.get_mut(content) {
                names.push(path);
            }
        }
        let is_whole = |path: &Vec<u8>, content: &Vec<u8>| {
            found.nodes.get(path).is_some_and(|(node, _)| node.what == What::File(content.clone()))
        };
        moved
            .iter()
            .filter(|(content, names)| names.len() > 1 && !names.iter().any(|name| is_whole(name, content)))
            .map(|(content, names)| {
                let names: Vec<_> = names.iter().map(|name| name.escape_ascii().to_string()).collect();
                format!("{}: {} bytes", names.join(" moved to "), content.len())
            })
            .collect()
    }
}

/// All files that are not empty.
fn contents(tree: &Tree) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
    tree.nodes.iter().filter_map(|(path, (node, _))| {
        let What::File(content) = &node.what else { return None };
        (!content.is_empty()).then_some((path, content))
    })
}

/// Whether this may be left of a file that was being written: some of its bytes, and zeros instead of the others. Any
/// other byte would be data of another file.
fn is_part(now: &What, whole: &What) -> bool {
    let (What::File(now), What::File(whole)) = (now, whole) else { return now == whole };
    now.len() <= whole.len() && now.iter().zip(whole).all(|(now, whole)| now == whole || *now == 0)
}

/// The metadata that is set before a file gets its name.
fn metadata(node: &Node) -> impl PartialEq + std::fmt::Debug {
    (node.mode, node.owner, node.mtime, node.attributes.clone())
}

/// Tests the judge itself, on damage done by hand.
pub(crate) fn the_verdict_sees() {
    let shelf = tempfile::tempdir().expect("a scratch folder");
    let place = Scratch::below(shelf.path());
    fs::create_dir(&place.replica).expect("created");
    build(&place.source, Version::New);
    build(&place.replica, Version::Old);
    let versions = Versions { old: Tree::of(&place.replica), new: Tree::of(&place.source) };
    let judge = |damage: &dyn Fn(&mut Tree)| {
        let mut tree = versions.old.clone();
        damage(&mut tree);
        let left = versions.judge(&tree);
        (left.lost.len(), left.moves_lost.len(), left.torn, left.wrong.len())
    };
    let set = |tree: &mut Tree, path: &str, content: &[u8]| {
        let (model, stamp) = versions
            .new
            .nodes
            .get(path.as_bytes())
            .or(versions.old.nodes.get(path.as_bytes()))
            .expect("known");
        let mut node = model.clone();
        node.what = What::File(content.to_vec());
        tree.nodes.insert(path.as_bytes().to_vec(), (node, *stamp));
    };
    let (changed, new, moved) = ("folder 1/file 1", "folder 10/another 10", "folder 8/file 8");
    let What::File(whole) = &versions.new.get(new).expect("there").what else { panic!("no file") };
    assert_eq!(judge(&|_| {}), (0, 0, 0, 0));
    assert_eq!(judge(&|tree| tree.nodes = versions.new.nodes.clone()), (0, 0, 0, 0));
    assert_eq!(judge(&|tree| set(tree, changed, b"")), (1, 0, 0, 0));
    assert_eq!(judge(&|tree| drop(tree.nodes.remove(changed.as_bytes()))), (1, 0, 0, 0));
    assert_eq!(judge(&|tree| set(tree, new, whole)), (0, 0, 0, 0));
    assert_eq!(judge(&|tree| set(tree, new, &whole[..whole.len() / 2])), (0, 0, 1, 0));
    assert_eq!(judge(&|tree| set(tree, new, &[0, 0])), (0, 0, 1, 0));
    assert_eq!(judge(&|tree| set(tree, new, &[!whole[0]])), (0, 0, 0, 1));
    assert_eq!(judge(&|tree| drop(tree.nodes.remove(moved.as_bytes()))), (0, 1, 0, 0));
    assert_eq!(judge(&|tree| set(tree, moved, b"")), (0, 1, 0, 1));
}
