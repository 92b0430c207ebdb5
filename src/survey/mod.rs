//! The survey: walks both trees in lockstep, compares, and makes the plan. It writes nothing.
//!
//! A folder pair is a task on the thread pool; a large folder is passed on in chunks, and large files are tasks of
//! their own, so that two processors are busy whatever the shape of the tree. Tasks never wait for each other, so the
//! stack stays flat however deep the tree is. Memory holds the changes, the folders in flight, and the hard links that
//! are not yet settled.

mod absent;
mod aliases;
mod announce;
mod arrivals;
mod ask;
pub(crate) mod compare_bytes;
mod contents;
pub(crate) mod count;
mod entry_pair;
mod filtered;
mod focused;
mod folders;
pub(crate) mod hardlinks;
mod holes;
mod merge;
mod metadata;
mod moved_files;
mod moves;
mod name;
mod one_sided;
mod problems;
#[cfg(test)]
mod properties;
mod recall;
pub(crate) mod reconcile;
mod rot;
mod waiting;

use crate::capabilities::Filesystem;
use crate::context::Context;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::{is_gone, stat};
use crate::index::FolderRecords;
use crate::model::counters::{Counter, Tally};
use crate::model::entry::Entry;
use crate::model::error::Side;
use crate::model::feature::Feature;
use crate::model::room::Room;
use crate::plan::weight::{Weight, needed, needed_anew};
use crate::plan::{Action, Change, Pair, Plan};
use crate::survey::absent::Denied;
use crate::survey::arrivals::Arrivals;
use crate::survey::hardlinks::LinkTable;
use crate::survey::merge::Merge;
use crate::survey::moves::Moves;
use crate::walk::{FolderRules, ListedFolder};
use rayon::Scope;
use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of names in one task.
const CHUNK: usize = 32;

/// Files of at least this size are compared in a task of their own.
const LARGE: u64 = 1 << 20;

/// Makes the plan for a pair of roots.
pub(crate) fn survey(context: &Context<'_>, root: Arc<Pair>) -> Plan {
    let moves = Moves::of(context);
    let survey = Survey { moves, ..Survey::new(context) };
    context.workers.scope(|scope| survey.visit(scope, root));
    survey.settle_denied();
    survey.settle_moves();
    survey.settle_moved_files();
    let resolution = survey.resolve_links();
    context.vanished.settle(context);
    let mut moves = survey.moves.take();
    let mut plan = std::mem::take(&mut *survey.plan());
    if resolution.not_held {
        context.reporter.not_held(Feature::HardLinks);
    }
    context.reporter.count(Counter::Unchanged, resolution.unchanged);
    context.reporter.tally(Tally::BytesUnchanged, resolution.bytes_unchanged);
    plan.moves.append(&mut moves);
    plan.changes.extend(resolution.changes);
    plan.anchors.extend(resolution.anchors);
    survey.spare_excluded(&mut plan);
    plan.linked = resolution.linked;
    context.workers.install(|| plan.sort());
    plan
}

struct Survey<'a> {
    context: &'a Context<'a>,
    plan: Mutex<Plan>,
    links: LinkTable,
    /// Names that the replica lists and denies.
    denied: Mutex<Vec<Denied>>,
    /// Folders that were moved.
    moves: Moves,
    /// Files that may have been moved.
    arrivals: Arrivals,
}

/// Why the log file is left out.
const LOG: &str = "it is the log file";

/// The open folders of a pair.
#[derive(Clone, Copy)]
struct PairBorrowed<'a> {
    source: Option<BorrowedFd<'a>>,
    replica: Option<BorrowedFd<'a>>,
}

/// The descriptors behind [`PairBorrowed`].
struct PairFds {
    source: Option<Arc<OwnedFd>>,
    replica: Option<Arc<OwnedFd>>,
}

impl PairFds {
    fn borrow(&self) -> PairBorrowed<'_> {
        PairBorrowed {
            source: self.source.as_ref().map(|fd| fd.as_fd()),
            replica: self.replica.as_ref().map(|fd| fd.as_fd()),
        }
    }
}

impl<'a> Survey<'a> {
    /// A survey without results.
    fn new(context: &'a Context<'a>) -> Survey<'a> {
        Survey {
            context,
            plan: Mutex::default(),
            links: LinkTable::default(),
            denied: Mutex::default(),
            moves: Moves::default(),
            arrivals: Arrivals::default(),
        }
    }
}

impl Survey<'_> {
    /// One folder pair: its own metadata, its two listings, then its names.
    fn visit<'s>(&'s self, scope: &Scope<'s>, pair: Arc<Pair>) {
        if self.context.is_halted() {
            return;
        }
        self.context.interrupt.beat();
        let listing = |side: Side, dir: &Option<Arc<Dir>>| -> Option<(Listing, Option<Arc<OwnedFd>>)> {
            let Some(dir) = dir else { return Some((Listing::default(), None)) };
            let opened = dir.open().and_then(|fd| Ok((Listing::read(fd.as_fd())?, Some(fd))));
            match opened {
                Ok(opened) => Some(opened),
                // Gone or swapped since it was listed: the next pass decides.
                Err(errno) if is_gone(errno) => {
                    self.gone(&pair, side, errno);
                    None
                }
                Err(errno) => {
                    self.unreadable_folder(&pair, side, errno);
                    None
                }
            }
        };
        // Both sides are tried, so that both are reported; either one blocks everything below.
        let (source, replica) = (listing(Side::Source, &pair.source), listing(Side::Replica, &pair.replica));
        // The facts are read after the listing: any removal before the listing then shows in the times.
        let source_fd = source.as_ref().and_then(|(_, fd)| fd.as_ref());
        let facts = match source_fd.map(|fd| stat::entry_of(fd.as_fd()).map(|facts| (fd, facts))).transpose()
        {
            Ok(facts) => facts,
            Err(errno) => return self.unreadable_folder(&pair, Side::Source, errno),
        };
        if let (Some(dir), Some((_, facts))) = (&pair.source, &facts) {
            self.context.compared.note_moved(dir, facts);
        }
        // Without a source folder apply detects the change when it looks up the name.
        let has_changed = facts.is_some_and(|(_, facts)| self.context.absence.has_changed(&facts));
        let opened =
            |listed: &Option<(Listing, Option<Arc<OwnedFd>>)>| listed.as_ref().and_then(|(_, fd)| fd.clone());
        let records = self.records(&pair, opened(&source), opened(&replica));
        if let (Some(records), Some((_, facts))) = (&records, &facts) {
            if records.is_of_another_folder(facts) && self.has_other_folder(scope, &pair, facts) {
                return;
            }
            if let Some(replica) = &pair.replica {
                records.note_folder(facts, replica.id());
            }
        }
        let locked =
            replica.is_none() && self.context.absence.is_known_as_locked(Side::Replica, &pair.path());
        let is_on_way = self.context.focus.is_some_and(|focus| focus.passes(&pair.path()));
        if !locked && !is_on_way {
            self.compare_folders(&pair, facts, replica.as_ref().and_then(|(_, fd)| fd.as_ref()));
        }
        let seen = facts.map(|(_, facts)| facts);
        if let (Some((source, ours)), Some((replica, theirs))) = (source, replica) {
            let side = |dir: &'_ Option<Arc<Dir>>, fd: &'_ Option<Arc<OwnedFd>>| dir.clone().zip(fd.clone());
            let sides = [(side(&pair.source, &ours), &source), (side(&pair.replica, &theirs), &replica)];
            let listed = sides.iter().filter_map(|(side, listing)| {
                side.as_ref().map(|(dir, fd)| ListedFolder { dir, fd: fd.as_fd(), listing })
            });
            let rules = FolderRules::in_folder(self.context, pair.protected, listed);
            if rules.leave_out_filesystem() && !replica.is_empty() {
                self.meet_left_out(&pair, seen);
            }
            self.merge(
                scope,
                Merge::new(pair, source, replica, rules)
                    .of_folder_that_changed(has_changed)
                    .with_records(records),
            );
        }
    }

    /// What the index knows of the files of a folder pair.
    fn records(
        &self,
        pair: &Pair,
        source_fd: Option<Arc<OwnedFd>>,
        replica_fd: Option<Arc<OwnedFd>>,
    ) -> Option<FolderRecords> {
        if self.context.ledger.is_off() {
            return None;
        }
        let (source, replica) = (pair.source.as_ref()?, pair.replica.as_ref()?);
        let (source_fd, replica_fd) = (source_fd?, replica_fd?);
        // A folder that is to be moved is known under its old path until then.
        let path = replica.path();
        let source = (source_fd.as_fd(), source.id().device);
        let replica = (replica_fd.as_fd(), replica.id().device);
        self.context.ledger.folder(&path, source, replica)
    }

    /// Works through the names of a folder pair.
    fn names<'s>(&'s self, scope: &Scope<'s>, merge: Arc<Merge>) {
        let len = merge.len();
        let work = move |scope: &Scope<'s>, chunk: Range<usize>| self.chunk(scope, &merge, chunk);
        self.context.workers.in_chunks(scope, (len, CHUNK), work, |_| {});
    }

    fn chunk<'s>(&'s self, scope: &Scope<'s>, merge: &Arc<Merge>, chunk: Range<usize>) {
        let Some(open) = self.open_both(&merge.pair) else { return };
        let fds = open.borrow();
        if self.context.focus.is_none() {
            self.announce(merge, fds, chunk.clone());
        }
        let (mut unchanged, len) = (0, chunk.len() as u64);
        let names = chunk.filter_map(|at| merge.get(at));
        for name in names.filter(|(name, ..)| self.context.looks_at(|| merge.pair.path(), name)) {
            if self.context.is_halted() {
                break;
            }
            unchanged += self.name(scope, merge, fds, name);
            self.context.workers.did_name();
        }
        self.context.reporter.count(Counter::Unchanged, unchanged);
        self.context.reporter.tally(Tally::Names, len);
        self.context.interrupt.beat();
    }

    /// Opens the folders of a pair; none when that failed, which has been reported.
    fn open_both(&self, pair: &Pair) -> Option<PairFds> {
        let open = |side: Side, dir: &Option<Arc<Dir>>| match dir.as_ref().map(Dir::open).transpose() {
            Ok(fd) => Some(fd),
            Err(errno) if is_gone(errno) => {
                self.gone(pair, side, errno);
                None
            }
            Err(errno) => {
                self.unreadable_folder(pair, side, errno);
                None
            }
        };
        Some(PairFds {
            source: open(Side::Source, &pair.source)?,
            replica: open(Side::Replica, &pair.replica)?,
        })
    }

    /// Notes a source entry under a name that the replica lacks. Returns the least room that this name needs.
    fn want(&self, entry: &Entry, filesystem: &Filesystem, device: u64) -> Room {
        let (needed, by_all_names) = needed_anew(entry, filesystem, &self.context.rights);
        self.links.want(entry, by_all_names, device);
        needed
    }

    fn push(&self, change: Change) {
        self.context.reporter.tally(Tally::Changes, 1);
        self.plan().changes.push(change);
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(pair: &Arc<Pair>, name: &CStr, entry: &Entry, action: Action) -> Change {
    Change {
        pair: Arc::clone(pair),
        name: name.into(),
        kind: entry.kind,
        action,
        size: entry.size,
        expected: None,
        replica_unreadable: false,
        subtree: None,
        weight: Weight { needed: needed(entry, &pair.filesystem).into(), ..Weight::default() },
        reason: "",
        recorded: None,
    }
}
