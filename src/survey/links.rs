//! Files with several names: which names of the replica must be one file, and which must not.
//!
//! During the survey every name whose source or replica has more than one link is entered here. Each pair of inodes is
//! compared once. At the end, each source inode gets one replica inode (its anchor) and every other name is linked to
//! it. An inode of the replica that also has names outside the tree is never an anchor: setting its metadata would
//! write through to the outside. Groups whose names were all seen and all agree are forgotten at once.

use crate::entry::{Entry, FileId, Kind};
use crate::metadata::Differences;
use crate::monitor::{Feature, Verb};
use crate::plan::{Action, Anchor, Change, Pair};
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the comparison of two entries of one kind found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The content agrees; of the metadata, this differs.
    Same(Differences),
    /// The content has to be replaced.
    Replace {
        /// Update or repair.
        verb: Verb,
        /// Why.
        reason: &'static str,
        /// True when the replica's content could not be read.
        replica_unreadable: bool,
    },
    /// It cannot be told now (unreadable, vanished, interrupted); what had to be said has been said.
    Unknown,
}

/// One name of a group.
#[derive(Debug)]
struct Member {
    pair: Arc<Pair>,
    name: Box<CStr>,
    replica: FileId,
}

#[derive(Debug)]
struct Group {
    kind: Kind,
    size: u64,
    source_links: u32,
    members: Vec<Member>,
    verdicts: Vec<(FileId, Option<Verdict>)>,
}

/// A source inode, as far as one filesystem of the replica holds its names: links do not cross filesystems.
type Key = (FileId, u64);

/// All groups of one survey.
#[derive(Debug, Default)]
pub struct LinkTable {
    groups: Mutex<HashMap<Key, Group>>,
    /// The inodes of the replica that have several names: links that `statx` shows, and names seen in the tree.
    names: Mutex<HashMap<FileId, (u32, u32)>>,
    /// Names of groups that were settled and forgotten.
    settled: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the table says at the end.
#[derive(Debug, Default)]
pub struct Resolution {
    /// What has to change.
    pub changes: Vec<Change>,
    /// Where further names can be linked to.
    pub anchors: Vec<Anchor>,
    /// Names that are right already.
    pub unchanged: u64,
    /// True when names should be one file and the replica knows no hard links.
    pub not_held: bool,
}

impl LinkTable {
    /// Enters a name that both sides have. True when the caller has to compare the two and tell with
    /// [`LinkTable::judge`]; false when that has been done under another name.
    pub fn enter(&self, pair: &Arc<Pair>, name: &CStr, source: &Entry, replica: &Entry) -> bool {
        self.count_name(replica);
        let mut groups = lock(&self.groups);
        let group = groups.entry((source.id, replica.id.device)).or_insert_with(|| Group {
            kind: source.kind,
            size: source.size,
            source_links: source.links,
            members: Vec::new(),
            verdicts: Vec::new(),
        });
        group.members.push(Member { pair: Arc::clone(pair), name: name.into(), replica: replica.id });
        let first = !group.verdicts.iter().any(|(id, _)| *id == replica.id);
        if first {
            group.verdicts.push((replica.id, None));
        }
        drop(groups);
        if !first {
            self.forget_if_settled(source.id, replica);
        }
        first
    }

    /// Tells what the comparison of two inodes found.
    pub fn judge(&self, source: &Entry, replica: &Entry, verdict: Verdict) {
        if let Some(group) = lock(&self.groups).get_mut(&(source.id, replica.id.device)) {
            if verdict == Verdict::Unknown {
                // Perhaps this one name vanished: the next name of the two inodes is compared again.
                group.verdicts.retain(|(id, _)| *id != replica.id);
            }
            for (id, known) in &mut group.verdicts {
                if *id == replica.id {
                    *known = Some(verdict);
                }
            }
        }
        self.forget_if_settled(source.id, replica);
    }

    /// Counts a name of the replica that the plan removes or replaces, so that it is not taken for one outside.
    pub fn count_name(&self, replica: &Entry) {
        if replica.links > 1 && replica.kind != Kind::Folder {
            let mut names = lock(&self.names);
            let (links, seen) = names.entry(replica.id).or_default();
            *links = replica.links;
            *seen += 1;
        }
    }

    /// Drops a group whose names are all there and all right: memory is for differences. Its names count as unchanged
    /// when the caller asks [`LinkTable::resolve`].
    fn forget_if_settled(&self, source: FileId, replica: &Entry) {
        let mut groups = lock(&self.groups);
        let key = (source, replica.id.device);
        let settled = groups.get(&key).is_some_and(|group| {
            group.members.len() == group.source_links as usize
                && group.source_links == replica.links
                && group.verdicts == [(replica.id, Some(Verdict::Same(Differences::default())))]
                // A name of which nothing is known has no verdict, but perhaps an inode of its own: then one of the
                // replica inode's names is somewhere else, and is still to be told from these.
                && group.members.iter().all(|member| member.replica == replica.id)
        });
        if settled && let Some(group) = groups.remove(&key) {
            lock(&self.names).remove(&replica.id);
            self.settled.fetch_add(group.source_links.into(), Ordering::Relaxed);
        }
    }

    /// The end of the survey: what has to be linked, replaced or set.
    pub fn resolve(self) -> Resolution {
        let names = self.names.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut out = Resolution { unchanged: self.settled.into_inner(), ..Resolution::default() };
        let mut taken = HashSet::new();
        let groups = self.groups.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut groups: Vec<(Key, Group)> = groups.into_iter().collect();
        // Which group gets an inode that two of them want must not depend on chance.
        groups.sort_unstable_by_key(|(key, _)| *key);
        for (key, group) in groups {
            resolve_group(key.0, group, &names, &mut taken, &mut out);
        }
        out
    }
}

fn resolve_group(
    source: FileId,
    mut group: Group,
    names: &HashMap<FileId, (u32, u32)>,
    taken: &mut HashSet<FileId>,
    out: &mut Resolution,
) {
    group.members.sort_by_cached_key(|member| member.pair.path().join(&member.name));
    let verdict_of =
        |id: FileId| group.verdicts.iter().find(|(other, _)| *other == id).and_then(|(_, verdict)| *verdict);
    let is_free = |id: FileId| names.get(&id).is_none_or(|(links, seen)| seen >= links);
    let Some(first) = group.members.first() else { return };
    let can_link = first.pair.filesystem.holds(Feature::HardLinks);
    out.not_held |= !can_link && group.members.len() > 1;

    let mut candidates: Vec<(usize, FileId)> = group
        .verdicts
        .iter()
        .filter(|(id, verdict)| {
            matches!(verdict, Some(Verdict::Same(_))) && is_free(*id) && !taken.contains(id)
        })
        .map(|(id, _)| (group.members.iter().filter(|member| member.replica == *id).count(), *id))
        .collect();
    candidates.sort_unstable_by_key(|(members, id)| (std::cmp::Reverse(*members), *id));
    let anchor = candidates.first().map(|(_, id)| *id);
    taken.extend(anchor);

    let mut leader_needed = anchor.is_none();
    let mut anchored = false;
    for member in &group.members {
        let change = |action: Action, replica_unreadable: bool, reason: &'static str| Change {
            pair: Arc::clone(&member.pair),
            name: member.name.clone(),
            kind: group.kind,
            action,
            size: group.size,
            expected: Some(member.replica),
            replica_unreadable,
            subtree: None,
            reason,
        };
        let verdict = verdict_of(member.replica);
        let (is_same, replace) = match verdict {
            // Nothing is known of the content, so nothing is done to this name.
            None | Some(Verdict::Unknown) => continue,
            Some(Verdict::Same(_)) => {
                (true, change(Action::Replace(Verb::Update), false, "was hard linked elsewhere"))
            }
            Some(Verdict::Replace { verb, reason, replica_unreadable }) => {
                (false, change(Action::Replace(verb), replica_unreadable, reason))
            }
        };
        if Some(member.replica) == anchor {
            let differences = match verdict {
                Some(Verdict::Same(differences)) => differences,
                Some(Verdict::Replace { .. } | Verdict::Unknown) | None => Differences::default(),
            };
            if !anchored && differences.any() {
                out.changes.push(change(Action::SetMetadata(differences), false, ""));
            } else {
                out.unchanged += 1;
            }
            if !anchored && let Some(folder) = &member.pair.replica {
                out.anchors.push(Anchor {
                    source,
                    folder: Arc::clone(folder),
                    name: member.name.clone(),
                    replica: member.replica,
                });
            }
            anchored = true;
        } else if !can_link {
            match verdict {
                // What can make no links may still have them, of before or made by others: never write through one.
                Some(Verdict::Same(_)) if !is_free(member.replica) => out.changes.push(replace),
                Some(Verdict::Same(differences)) if differences.any() => {
                    out.changes.push(change(Action::SetMetadata(differences), false, ""));
                }
                Some(Verdict::Same(_)) => out.unchanged += 1,
                Some(Verdict::Replace { .. } | Verdict::Unknown) | None => out.changes.push(replace),
            }
        } else if leader_needed {
            leader_needed = false;
            out.changes.push(replace);
        } else {
            out.changes.push(change(Action::Link { same: is_same }, false, ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Filesystem;
    use crate::proof::pair;
    use crate::survey::reconcile::tests::file;

    const SAME: Verdict =
        Verdict::Same(Differences { mode: false, owner: false, mtime: false, attributes: false });
    const OTHER: Verdict =
        Verdict::Replace { verb: Verb::Update, reason: "content differs", replica_unreadable: false };

    fn entry(inode: u64, links: u32) -> Entry {
        Entry { links, ..file(inode) }
    }

    /// A name, the source's inode and links, the replica's inode and links, what comparing them found.
    type Name<'a> = (&'a CStr, (u64, u32), (u64, u32), Verdict);

    /// Enters names and tells what comes out.
    fn resolve(names: &[Name<'_>], deleted: &[(u64, u32)]) -> Vec<String> {
        let pair = pair(Filesystem::default());
        let table = LinkTable::default();
        for (name, source, replica, verdict) in names {
            let (source, replica) = (entry(source.0, source.1), entry(replica.0, replica.1));
            if table.enter(&pair, name, &source, &replica) {
                table.judge(&source, &replica, *verdict);
            }
        }
        for (inode, links) in deleted {
            table.count_name(&entry(*inode, *links));
        }
        let resolution = table.resolve();
        let mut out: Vec<String> = resolution
            .changes
            .iter()
            .map(|change| {
                let action = match change.action {
                    Action::Link { .. } => "link",
                    Action::Replace(_) => "replace",
                    Action::SetMetadata(_) => "metadata",
                    Action::Create | Action::Adopt | Action::Delete => "?",
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
        // One name may vanish while it is compared; the other one tells of the same two inodes.
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
        let pair = pair(Filesystem::default());
        let table = LinkTable::default();
        let (source, replica) = (entry(1, 3), entry(11, 3));
        for name in [c"a", c"b", c"c"] {
            if table.enter(&pair, name, &source, &replica) {
                table.judge(&source, &replica, SAME);
            }
        }
        table.count_name(&entry(12, 1));
        // The links of a folder are not names.
        table.count_name(&Entry { kind: Kind::Folder, ..entry(13, 5) });
        assert!(lock(&table.groups).is_empty() && lock(&table.names).is_empty(), "{table:?}");
        assert_eq!(table.resolve().unchanged, 3);
    }
}
