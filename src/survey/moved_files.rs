//! Files that were moved in the source.
//!
//! The files of the source that are new under their names are noted by inode, birth time, size and mtime. When all of
//! both trees has been seen, the records of the names that the plan deletes or replaces are compared with them. A file is
//! taken for a moved one only if both files are read, are equal, and have the recorded content: an inode number that is
//! used again must never give a file the content of another one.

use crate::collections::{HashMap, HashSet};
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::metadata::Subject;
use crate::fs::stat;
use crate::index::{Departed, Record};
use crate::model::change::{Differences, Verb};
use crate::model::digest::Digests;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::error::Side;
use crate::model::path::RelPath;
use crate::model::rights::Rights;
use crate::model::room::Room;
use crate::plan::weight::{RoomOfOne, Weight, freed, needed_anew};
use crate::plan::{Action, Displaced, Move, Moved, Pair, Plan, Protected, SubtreeTotals};
use crate::survey::Survey;
use crate::survey::arrivals::{Arrival, key_of, key_of_record};
use crate::survey::compare_bytes::{Comparison, compare_contents, compare_to_end};
use crate::survey::hardlinks::{NamesThatGo, name_number};
use crate::survey::metadata::Subjects;
use crate::survey::moves::Spot;
use crate::walk::exclusion_of;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// The most files that are moved one by one. A pass with more of them copies the others.
const MOST_MOVED: usize = 1 << 16;

/// The files that are looked for, and read, at once.
const HANDFUL: usize = 1024;

/// The names of the folder of the source that was listed last, by their numbers.
#[derive(Default)]
struct Listed {
    folder: Option<Arc<Dir>>,
    names: HashMap<u32, Vec<CString>>,
}

/// A new file and the file of the replica that it may be.
struct Candidate {
    source: Spot,
    replica: Spot,
    /// The path of that.
    was: RelPath,
    record: Record,
}

/// A candidate that was proven, with the metadata that differ.
type Proven = (Candidate, Differences);

impl Survey<'_> {
    /// Finds moved files, and has the plan rename them instead of copying them.
    pub(super) fn settle_moved_files(&self) {
        let mut arrivals = self.arrivals.take();
        if arrivals.is_empty() || self.context.is_halted() {
            return;
        }
        // In full, so that a plan does not depend on who was faster.
        arrivals.sort_unstable_by(|one, other| {
            let paths = || one.folder.compare_paths(&other.folder);
            one.key.cmp(&other.key).then_with(paths).then(one.name.cmp(&other.name))
        });
        let mut departed = self.departed(&arrivals);
        departed.truncate(MOST_MOVED);
        // Folder by folder, so that each is listed once.
        let place = |departed: &Departed| {
            let first = alike(&arrivals, &departed.record).first();
            first.map(|arrival| Arc::as_ptr(&arrival.folder).addr())
        };
        departed.sort_by_cached_key(place);
        let names_that_go = self.links.names_that_go();
        let mut taken: HashSet<FileId> = HashSet::default();
        let mut listed = Listed::default();
        let mut proven: Vec<Proven> = Vec::new();
        let mut departed = departed.into_iter().peekable();
        while departed.peek().is_some() && !self.context.is_halted() {
            let some = departed.by_ref().take(HANDFUL);
            let found = some.filter_map(|departed| {
                self.context.interrupt.beat();
                self.candidate(&arrivals, departed, (&mut taken, &mut listed), &names_that_go)
            });
            let found: Vec<Candidate> = found.collect();
            let good: Mutex<&mut Vec<Proven>> = Mutex::new(&mut proven);
            self.context.workers.scope(|scope| {
                let (good, workers) = (&good, self.context.workers);
                for candidate in found {
                    workers.spawn(scope, move |_| {
                        if let Some(differences) = self.prove(&candidate) {
                            let mut good = good.lock().unwrap_or_else(PoisonError::into_inner);
                            good.push((candidate, differences));
                        }
                        workers.did_name();
                    });
                }
            });
        }
        if !proven.is_empty() && !self.context.is_halted() {
            self.plan_moves(proven);
        }
    }

    /// The recorded files that the plan deletes or replaces and that may be among the new ones.
    fn departed(&self, arrivals: &[Arrival]) -> Vec<Departed> {
        let arrives = |record: &Record| {
            key_of_record(record)
                .is_some_and(|key| arrivals.binary_search_by_key(&key, |arrival| arrival.key).is_ok())
        };
        let mut names: BTreeMap<RelPath, HashSet<Box<[u8]>>> = BTreeMap::new();
        let mut folders: Vec<RelPath> = Vec::new();
        for change in &self.plan().changes {
            let Some(folder) = &change.pair.replica else { continue };
            let goes = matches!(change.action, Action::Delete | Action::Replace(_));
            if !goes {
                continue;
            }
            let was_folder = change.action == Action::Replace(Verb::Retype) || change.kind == Kind::Folder;
            if was_folder {
                folders.push(folder.path().join(&change.name));
            }
            names.entry(folder.path()).or_default().insert(change.name.to_bytes().into());
        }
        let ledger = &self.context.ledger;
        let mut departed = Vec::new();
        for (folder, names) in &names {
            let goes = |name: &[u8], record: &Record| names.contains(name) && arrives(record);
            departed.append(&mut ledger.departed(folder, false, goes));
        }
        for folder in &folders {
            let mut below = ledger.departed(folder, true, |_, record| arrives(record));
            // What has moved out with its folder is not gone.
            below.retain(|departed| !self.has_moved_out(folder, &departed.folder));
            departed.append(&mut below);
        }
        departed
    }

    /// Finds the two files of a record.
    fn candidate(
        &self,
        arrivals: &[Arrival],
        Departed { folder, name, record }: Departed,
        (taken, listed): (&mut HashSet<FileId>, &mut Listed),
        names_that_go: &NamesThatGo,
    ) -> Option<Candidate> {
        let is_it = |(_, _, entry): &Spot| {
            self.context.ledger.is_recorded_file(&record, entry)
                && !self.context.log.was(entry)
                && !taken.contains(&entry.id)
        };
        let alike = alike(arrivals, &record);
        let source = alike.iter().filter_map(|arrival| listed.find(arrival)).find(is_it)?;
        // A name that both sides have is what the new ones are linked to.
        if source.2.links > 1 && usize::try_from(source.2.links).ok() != Some(alike.len()) {
            return None;
        }
        let name = CString::new(name).ok()?;
        let was = folder.join(&name);
        let replica = self.find_in_replica(&was)?;
        let (there, _, held) = &replica;
        let goes = held.links == 1 || self.links.all_go(names_that_go, there, held);
        let is_free = goes && !self.context.log.was(held) && !taken.contains(&held.id);
        if held.kind != Kind::File || held.size != source.2.size || !is_free {
            return None;
        }
        if self.context.filter.protects() && exclusion_of(self.context, Side::Replica, &was).is_some() {
            return None;
        }
        taken.extend([held.id, source.2.id]);
        Some(Candidate { source, replica, was, record })
    }

    /// Reads both files. None unless they are equal and have the recorded content.
    fn prove(&self, candidate: &Candidate) -> Option<Differences> {
        let Candidate { source: (folder, name, entry), replica: (there, old, held), record, .. } = candidate;
        if self.context.is_halted() {
            return None;
        }
        let (from, to) = (folder.open().ok()?, there.open().ok()?);
        // A file that cannot be read is a problem of its copy.
        let ours = self.context.open_to_read(from.as_fd(), name, entry.uid).ok()?;
        let theirs = self.context.open_to_read(to.as_fd(), old, held.uid).ok()?;
        let files = (ours.as_fd(), theirs.as_fd());
        let compared = if entry.size == 0 {
            compare_to_end(self.context, files, held.size, Digests::OfAll)
        } else {
            let sizes = (entry.size, entry.blocks.saturating_mul(512));
            compare_contents(self.context, files, sizes, entry.may_have_holes(), Digests::OfAll)
        };
        let facts = |entry: &Entry| (entry.id, entry.size, entry.mtime, entry.ctime);
        let is_as_seen = stat::entry_of(files.0).is_ok_and(|now| facts(&now) == facts(entry))
            && stat::entry_of(files.1).is_ok_and(|now| facts(&now) == facts(held));
        if compared != Comparison::Equal(Some(record.digest)) || !is_as_seen {
            return None;
        }
        let pair = Arc::new(Pair {
            source: Some(Arc::clone(folder)),
            replica: Some(Arc::clone(there)),
            filesystem: self.context.filesystems.of(there).ok()?,
            protected: Protected::No,
        });
        let open = Subjects::Both(Subject::Open(files.0), Subject::Open(files.1));
        Some(self.compare_metadata(&pair, Some(name), (entry, held), open)?.differences)
    }

    /// Plans the moves, and takes from the plan what they make superfluous.
    fn plan_moves(&self, proven: Vec<Proven>) {
        let address = |dir: &Arc<Dir>| Arc::as_ptr(dir).addr();
        // The moved files by their new place, and by their old one.
        let mut arriving: HashMap<(usize, Box<CStr>), usize> = HashMap::default();
        let mut leaving: HashMap<FileId, usize> = HashMap::default();
        let mut moves = Vec::with_capacity(proven.len());
        for (at, (Candidate { source, replica, was, record }, differences)) in proven.into_iter().enumerate()
        {
            let ((source, name, seen), (from, old, held)) = (source, replica);
            let Ok(filesystem) = self.context.filesystems.of(&from) else { return };
            arriving.insert((address(&source), name.as_c_str().into()), at);
            leaving.insert(held.id, at);
            let what = Moved::File { record: Box::new(record), differences, filesystem };
            let (name, old) = (name.into(), old.into());
            let (displaced, touched) = (None, Vec::new());
            moves.push(Move { source, name, seen, from, old, was, held, what, displaced, touched });
        }
        let mut plan = self.plan();
        // A rename does not lead to another filesystem.
        let mut is_refused = vec![false; moves.len()];
        for change in &plan.changes {
            let (Some(source), Some(replica)) = (&change.pair.source, &change.pair.replica) else { continue };
            if let Some(at) = arriving.get(&(address(source), change.name.clone())) {
                is_refused[*at] =
                    moves[*at].held.id.device != replica.id().device || self.may_have_excluded(change);
            }
        }
        arriving.retain(|_, at| !is_refused[*at]);
        leaving.retain(|_, at| !is_refused[*at]);
        let mut settled = vec![(false, false); moves.len()];
        plan.changes.retain_mut(|change| {
            let source = change.pair.source.as_ref().map(address);
            let arrives = source.and_then(|source| arriving.get(&(source, change.name.clone()))).copied();
            // A hard link of a moved file goes like any other name.
            let is_it = |at: &usize| {
                let moved = moves.get(*at);
                moved.is_some_and(|moved| moved.old == change.name && is_in(&moved.from, &change.pair))
            };
            let leaves = change.expected.and_then(|old| leaving.get(&old)).copied().filter(is_it);
            if let Some(at) = arrives
                && change.action != Action::Delete
            {
                settled[at].0 = true;
                moves[at].touched.push(Arc::clone(&change.pair));
                if let (Some(id), None) = (change.expected, leaves) {
                    let subtree = change.subtree.take();
                    let kind = if subtree.is_some() { Kind::Folder } else { Kind::File };
                    let Weight { freed, old_size: size, .. } = change.weight;
                    let freed = freed.room();
                    moves[at].displaced = Some(Displaced { id, kind, size, freed, subtree });
                }
                if let Some(at) = leaves {
                    settled[at].1 = true;
                    moves[at].touched.push(Arc::clone(&change.pair));
                }
                return false;
            }
            let Some(at) = leaves else { return true };
            settled[at].1 = true;
            moves[at].touched.push(Arc::clone(&change.pair));
            if change.action == Action::Delete {
                return false;
            }
            // Its name is free when the source's file is copied.
            (change.action, change.expected, change.reason) = (Action::Create, None, "");
            (change.weight.freed, change.weight.old_size) = (RoomOfOne::default(), 0);
            true
        });
        let mut kept = is_refused.iter();
        moves.retain(|_| kept.next() == Some(&false));
        let mut kept = is_refused.iter();
        settled.retain(|_| kept.next() == Some(&false));
        if settled.iter().any(|(arrives, leaves)| !arrives || !leaves) {
            take_from_subtrees(&plan, &moves, &settled, &self.context.rights);
        }
        plan.moves.append(&mut moves);
    }
}

/// Whether a folder of the replica is that of a pair.
fn is_in(folder: &Arc<Dir>, pair: &Pair) -> bool {
    pair.replica.as_ref().is_some_and(|replica| replica.id() == folder.id())
}

/// The new files that may be the one of a record.
fn alike<'a>(arrivals: &'a [Arrival], record: &Record) -> &'a [Arrival] {
    let Some(key) = key_of_record(record) else { return &[] };
    let first = arrivals.partition_point(|arrival| arrival.key < key);
    let rest = arrivals.get(first..).unwrap_or_default();
    rest.get(..rest.partition_point(|arrival| arrival.key == key)).unwrap_or_default()
}

impl Listed {
    /// Finds a new file again.
    fn find(&mut self, arrival: &Arrival) -> Option<Spot> {
        let fd = arrival.folder.open().ok()?;
        if !self.folder.as_ref().is_some_and(|folder| Arc::ptr_eq(folder, &arrival.folder)) {
            self.folder = Some(Arc::clone(&arrival.folder));
            self.names.clear();
            for name in Listing::read(fd.as_fd()).ok()?.iter() {
                self.names.entry(name_number(name)).or_default().push(name.to_owned());
            }
        }
        let mut spots = self.names.get(&arrival.name)?.iter().filter_map(|name| {
            let entry = stat::entry_at(fd.as_fd(), name).ok()?;
            let is_it = entry.kind == Kind::File && key_of(&entry) == Some(arrival.key);
            is_it.then(|| (Arc::clone(&arrival.folder), name.clone(), entry))
        });
        spots.next()
    }
}

/// Takes files that move out of or into a folder that is deleted or created as a whole from its totals. The flags say
/// whether their new and their old name were changes of their own.
fn take_from_subtrees(plan: &Plan, moves: &[Move], settled: &[(bool, bool)], rights: &Rights) {
    let mut created: BTreeMap<RelPath, &Arc<SubtreeTotals>> = BTreeMap::new();
    let mut deleted: BTreeMap<RelPath, &Arc<SubtreeTotals>> = BTreeMap::new();
    for change in &plan.changes {
        let (Some(totals), Some(replica)) = (&change.subtree, &change.pair.replica) else { continue };
        let is_made = change.kind == Kind::Folder && change.action != Action::Delete;
        if is_made {
            created.insert(change.pair.path().join(&change.name), totals);
        } else {
            deleted.insert(replica.path().join(&change.name), totals);
        }
    }
    for moved in moves {
        let folder = moved.touched.iter().find_map(|pair| {
            let is_it = pair.source.as_ref().is_some_and(|source| Arc::ptr_eq(source, &moved.source));
            pair.replica.as_ref().filter(|_| is_it)
        });
        if let (Some(Displaced { subtree: Some(totals), .. }), Some(folder)) = (&moved.displaced, folder) {
            deleted.insert(folder.path().join(&moved.name), totals);
        }
    }
    let take = |folders: &BTreeMap<RelPath, &Arc<SubtreeTotals>>, path: &RelPath, bytes: u64, room: Room| {
        let above = folders.range(..=path.clone()).rev().find(|(folder, _)| path.is_at_or_below(folder));
        if let Some((_, totals)) = above {
            totals.files.fetch_sub(1, Ordering::Relaxed);
            totals.bytes.fetch_sub(bytes, Ordering::Relaxed);
            totals.room.take(room);
        }
    };
    for (moved, (arrives, leaves)) in moves.iter().zip(settled) {
        let Moved::File { filesystem, .. } = &moved.what else { continue };
        if !arrives {
            take(&created, &moved.path(), moved.seen.size, needed_anew(&moved.seen, filesystem, rights).0);
        }
        if !leaves {
            take(&deleted, &moved.was, moved.held.size, freed(&moved.held));
        }
    }
}
