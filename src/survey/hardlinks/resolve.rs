//! Decides the changes to the names of one source inode. Pure.

use crate::collections::HashMap;
use crate::identity::{Identity, Numbers};
use crate::model::change::Verb;
use crate::model::entry::{Entry, Kind};
use crate::model::feature::Feature;
use crate::plan::weight::{Weight, needed};
use crate::plan::{Action, Anchor, Change, Pair};
use crate::survey::hardlinks::{Resolution, Verdict};
use std::cmp::Reverse;
use std::ffi::CStr;
use std::sync::Arc;

/// A name that was found again, with the entries of both sides.
#[derive(Debug)]
pub(in crate::survey) struct Found {
    pub(in crate::survey) name: Box<CStr>,
    pub(in crate::survey) source: Entry,
    pub(in crate::survey) replica: Entry,
}

/// A name of a group.
pub(super) struct Name {
    pub(super) pair: Arc<Pair>,
    pub(super) found: Found,
    /// The inode number in the replica.
    pub(super) number: u64,
    pub(super) verdict: Option<Verdict>,
    pub(super) numbers: Numbers,
}

impl Name {
    fn change(&self, action: Action) -> Change {
        let Found { name, source, replica } = &self.found;
        // Of a file with holes it is not known how many of its blocks are data.
        let blocks = if source.may_have_holes() { 0 } else { source.blocks };
        let data = Entry { blocks, ..*source };
        Change {
            pair: Arc::clone(&self.pair),
            name: name.clone(),
            kind: source.kind,
            action,
            size: source.size,
            expected: None,
            replica_unreadable: false,
            subtree: None,
            weight: Weight { needed: needed(&data, &self.pair.filesystem).into(), ..Weight::default() },
            reason: "",
            recorded: None,
        }
        .instead_of(replica)
    }
}

/// Decides about one group. Returns the replica inode that its names become, if that exists already. `is_bound` says
/// that an inode has names outside the tree, `is_free` that no other group has taken it.
pub(super) fn resolve_group(
    (source, is_wanted): (Identity, bool),
    mut names: Vec<Name>,
    is_bound: impl Fn(u64) -> bool,
    is_free: impl Fn(u64) -> bool,
    out: &mut Resolution,
) -> Option<u64> {
    names.sort_by_cached_key(|name| name.pair.path().join(&name.found.name));
    let first = names.first()?;
    let can_link = first.pair.filesystem.holds(Feature::HardLinks);
    out.not_held |= !can_link && names.len() > 1;
    let is_refuted = first.numbers == Numbers::Claim && names.len() > first.found.source.links as usize;

    let is_same = |name: &Name| matches!(name.verdict, Some(Verdict::Same(_)));
    let mut candidates: HashMap<u64, u32> = HashMap::default();
    for name in names.iter().filter(|name| is_same(name) && !is_bound(name.number) && is_free(name.number)) {
        *candidates.entry(name.number).or_default() += 1;
    }
    let anchor = candidates.iter().min_by_key(|(number, names)| (Reverse(**names), **number));
    let (anchor, anchored_names) = anchor.map_or((None, 0), |(number, names)| (Some(*number), *names));

    let mut leader_needed = anchor.is_none();
    let mut anchored = None;
    let mut is_linked_to = is_wanted;
    // One file, whatever the number of its names.
    let mut bytes = (first.found.source.kind == Kind::File).then_some(first.found.source.size);
    for name in &names {
        let change = match name.verdict {
            // The content is unknown, so this name is not changed.
            None | Some(Verdict::Unknown) => continue,
            Some(Verdict::Same(differences)) if Some(name.number) == anchor => {
                // The metadata of one inode is set once. Where the inode number is no proof, each name was compared,
                // and each is set.
                let is_due = anchored.is_none() || name.numbers == Numbers::Claim;
                anchored = anchored.or(Some(name));
                (is_due && differences.any()).then(|| name.change(Action::SetMetadata(differences)))
            }
            // More names than the link count allows: they are not one inode, and right content stays.
            Some(Verdict::Same(differences)) if is_refuted && !is_bound(name.number) => {
                differences.any().then(|| name.change(Action::SetMetadata(differences)))
            }
            // Hard links may exist where none can be created: never write through one.
            Some(Verdict::Same(differences)) if !can_link && !is_bound(name.number) => {
                differences.any().then(|| name.change(Action::SetMetadata(differences)))
            }
            // The anchor's number with other content is another file, whatever the filesystem says.
            Some(_) if can_link && !leader_needed && Some(name.number) != anchor => {
                is_linked_to = true;
                // If it cannot be linked, an inode with names outside is replaced and never written through.
                Some(name.change(Action::Link { same: is_same(name) && !is_bound(name.number) }))
            }
            Some(Verdict::Same(_)) => {
                leader_needed = false;
                let replaced = name.change(Action::Replace(Verb::Update));
                Some(Change { reason: "was hard linked elsewhere", ..replaced })
            }
            Some(Verdict::Replace { verb, reason, replica_unreadable }) => {
                leader_needed = false;
                Some(Change { reason, replica_unreadable, ..name.change(Action::Replace(verb)) })
            }
        };
        match change {
            Some(change) => out.changes.push(change),
            None => {
                out.unchanged += 1;
                out.bytes_unchanged += bytes.take().unwrap_or(0);
            }
        }
    }
    if let Some(Name { pair, found, .. }) = anchored.filter(|_| is_linked_to)
        && let Some(folder) = &pair.replica
    {
        out.anchors.push(Anchor {
            source,
            folder: Arc::clone(folder),
            name: found.name.clone(),
            replica: found.replica.id,
            names: anchored_names,
        });
    }
    anchor
}
