//! What has to hold after anything that went wrong: the promises as code, for the suites that make things go wrong.

use crate::kit::Place;
use crate::support::{Node, Tree, What, differences};
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
    pub(crate) fn of(place: &Place) -> Before {
        let outside = place.path("outside");
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
    /// gone. Nothing else is there but temporaries, which only their owner can read.
    pub(crate) fn check(&self, place: &Place, done: bool) {
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
    pub(crate) fn check_others(&self, place: &Place) {
        let changed = differences(&self.source, &Tree::of(&place.source));
        assert!(changed.is_empty(), "the source changed: {}", changed.join("\n"));
        if let Some(outside) = &self.outside {
            let changed = differences(outside, &Tree::of(&place.path("outside")));
            assert!(changed.is_empty(), "something outside changed: {}", changed.join("\n"));
        }
    }

    /// What contradicts the promises in a replica.
    pub(crate) fn wrong(&self, replica: &Tree) -> Vec<String> {
        let mut wrong = Vec::new();
        for (path, (node, _)) in &self.source.nodes {
            let (name, new) = (path.escape_ascii(), &node.what);
            let old = self.replica.nodes.get(path).map(|(node, _)| &node.what);
            let now = replica.nodes.get(path).map(|(node, _)| &node.what);
            match (old, now) {
                // A socket is never mirrored; what the replica has under its name may go.
                (_, None) if *new == What::Socket => {}
                (Some(old), None) => wrong.push(format!("lost {name}: it was {old:?}, to become {new:?}")),
                (old, Some(now)) if now != new && old.is_none_or(|old| old != now) => {
                    wrong.push(format!("torn {name}: {now:?}; it was {old:?}, to become {new:?}"));
                }
                (Some(_), Some(_)) | (None, None | Some(_)) => {}
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
                Some(_) => {}
                None if !base.starts_with(TEMPORARY) => {
                    // Below a folder that lies aside under a temporary name are old entries.
                    let below = path.split(|byte| *byte == b'/').any(|part| part.starts_with(TEMPORARY));
                    if !below {
                        wrong.push(format!("invented {name}: {:?}", node.what));
                    }
                }
                None if !self.may_be_shown(node) => {
                    wrong.push(format!("the temporary {name} has mode {:o}: {:?}", node.mode, node.what));
                }
                None => {}
            }
        }
        wrong
    }

    /// A temporary file is its owner's alone until it is whole; then it may have what its model has.
    fn may_be_shown(&self, temporary: &Node) -> bool {
        let is_model =
            |model: &Node| model.what == temporary.what && temporary.mode & !(model.mode | 0o600) == 0;
        !matches!(temporary.what, What::File(_))
            || temporary.mode & !0o600 == 0
            // An old entry of another kind lies aside under such a name as it was.
            || self.source.nodes.values().chain(self.replica.nodes.values()).any(|(model, _)| is_model(model))
    }

    /// One pass without any trouble makes everything right, and a second one finds nothing to do.
    pub(crate) fn heals(&self, place: &Place) {
        let healed = place.pass(&[]);
        assert_eq!(healed.code, Some(0), "the pass that should heal: {:?}", healed.told());
        let differences = differences(&self.source, &Tree::of(&place.replica));
        assert!(differences.is_empty(), "not healed: {}", differences.join("\n"));
        self.check_others(place);
        let quiet = place.pass(&[]);
        assert_eq!((quiet.code, quiet.operations()), (Some(0), 0), "after healing: {:?}", quiet.told());
    }
}

/// A replica that does not exist (any more) is an empty one.
pub(crate) fn tree_if_any(root: &Path) -> Tree {
    if fs::symlink_metadata(root).is_ok() { Tree::of(root) } else { Tree::default() }
}
