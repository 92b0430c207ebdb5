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
use crate::filter::Exclusion;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::{is_denial, is_gone, stat};
use crate::index::FolderRecords;
use crate::model::change::Verb;
use crate::model::counters::{Counter, Tally};
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::feature::Feature;
use crate::model::room::Room;
use crate::plan::weight::{Weight, needed, needed_anew};
use crate::plan::{Action, Change, Pair, Plan, Protected};
use crate::survey::absent::Denied;
use crate::survey::aliases::Alias;
use crate::survey::arrivals::Arrivals;
use crate::survey::hardlinks::LinkTable;
use crate::survey::merge::Merge;
use crate::survey::moves::Moves;
use crate::survey::reconcile::{Decision, Sighting, reconcile};
use crate::walk::{FolderRules, ListedFolder, Standing, standing, tell_left_out};
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

/// A look at one name on one side.
enum Look {
    Seen(Sighting),
    /// The name is the log file, of this kind.
    Log(Kind),
    /// The filter leaves it out; with its facts, if it was looked at.
    Excluded(Exclusion, Option<Entry>),
}

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

    /// Looks at one name on the sides that have it, and decides. Returns 1 when it is unchanged.
    fn name<'s>(
        &'s self,
        scope: &Scope<'s>,
        merge: &Arc<Merge>,
        fds: PairBorrowed<'_>,
        (name, in_source, in_replica): (&CStr, bool, bool),
    ) -> u64 {
        let pair = &merge.pair;
        let Some(mut protected) = merge.rules.below(self.context, name) else {
            self.note_left_out(pair, name, LOG);
            return 0;
        };
        let sides = (in_source, in_replica);
        let look = |side, fd: Option<BorrowedFd<'_>>| match fd {
            Some(fd) => self.look(merge, side, fd, name),
            None => Look::Seen(Sighting::Absent),
        };
        let side = if in_source { Side::Source } else { Side::Replica };
        let source = match merge.rules.excludes_name(self.context, side, name) {
            Some(exclusion) => Look::Excluded(exclusion, None),
            None => look(Side::Source, fds.source.filter(|_| in_source)),
        };
        let source = match source {
            Look::Seen(source) => source,
            Look::Log(kind) => return self.is_log(pair, name, kind),
            Look::Excluded(exclusion, _) if self.is_excluded(pair, name, exclusion, sides) => return 0,
            Look::Excluded(..) => Sighting::Excluded,
        };
        let replica = match look(Side::Replica, fds.replica.filter(|_| in_replica)) {
            Look::Seen(replica) => replica,
            Look::Log(kind) => return self.is_log(pair, name, kind),
            // The size that counts is that of the source.
            Look::Excluded(Exclusion::Small | Exclusion::Large, Some(entry))
                if source.entry().is_some_and(|ours| ours.kind == Kind::File) =>
            {
                Sighting::Present(entry)
            }
            Look::Excluded(exclusion, _) => {
                return self.is_excluded_in_replica(pair, name, exclusion, &source);
            }
        };
        self.note_sights(merge, name, (&source, &replica));
        if in_source && source == Sighting::Absent {
            // It seems to have vanished since the listing: neither a problem nor a deletion in this pass.
            if let Some(dir) = &pair.source {
                self.context.vanished.note(Side::Source, dir, name);
            }
            return 0;
        }
        if in_replica && replica == Sighting::Absent {
            self.deny(merge, name, in_source);
            return 0;
        }
        let alias = if in_source && in_replica { merge.alias(name) } else { None };
        if let (Some(Alias::Listed(listed)), Some(theirs)) = (alias, replica.entry())
            && let Some(exclusion) = merge.rules.keeps(self.context, listed, theirs)
        {
            return self.is_excluded_in_replica(pair, name, exclusion, &source);
        }
        if let (Protected::No, Some(Alias::Listed(listed))) = (protected, alias) {
            protected = merge.rules.below(self.context, listed).unwrap_or(Protected::No);
        }
        if let (Sighting::Present(ours), Sighting::Present(theirs), Protected::Ancestor(_)) =
            (&source, &replica, protected)
            && ours.kind != Kind::Folder
            && theirs.kind == Kind::Folder
        {
            self.holds_log(pair, name);
            return 0;
        }
        if let Some(alias) = alias {
            self.settle_alias(pair, name, alias, (&source, &replica));
        }
        self.act(scope, merge, fds, (name, protected), (&source, &replica))
    }

    /// Decides about one name, and plans the change. Returns 1 when it is unchanged.
    fn act<'s>(
        &'s self,
        scope: &Scope<'s>,
        merge: &Arc<Merge>,
        fds: PairBorrowed<'_>,
        (name, protected): (&CStr, Protected),
        (source, replica): (&Sighting, &Sighting),
    ) -> u64 {
        let pair = &merge.pair;
        let decision = reconcile(source, replica, &pair.filesystem);
        // A pass that replaced a file by something else may have been stopped before its end.
        if let (Some(ours), Some(_), Some(records)) = (source.entry(), replica.entry(), &merge.records)
            && ours.kind != Kind::File
        {
            records.forget_known(name);
        }
        match (decision, source.entry(), replica.entry()) {
            (Decision::Delete(reason), _, Some(theirs)) if protected == Protected::No => {
                self.delete(scope, merge, name, theirs, reason);
            }
            (Decision::Delete(_), _, Some(theirs)) => {
                if !self.stays(merge.has_changed, pair, name) {
                    self.delete_around_log(scope, pair, (name, protected), theirs);
                }
            }
            (Decision::Descend, Some(ours), Some(theirs)) => {
                self.descend(scope, pair, name, (ours, theirs), protected);
            }
            (Decision::Skip { why, delete }, _, theirs) => {
                self.note_left_out(pair, name, &why.words());
                tell_left_out(self.context, &pair.path().join(name), why);
                if let Some(theirs) = theirs.filter(|_| delete) {
                    let reason = "the source has something there that is left out";
                    self.delete(scope, merge, name, theirs, reason);
                }
            }
            (Decision::Create, Some(ours), _) => self.create(scope, pair, (name, protected), ours),
            (Decision::Replace(Verb::Retype, reason), Some(ours), Some(theirs)) => {
                if let Some(records) = &merge.records {
                    records.forget(name);
                }
                self.retype(scope, merge, name, (ours, theirs), reason);
            }
            (Decision::CompareContents, Some(ours), Some(theirs)) if ours.size >= LARGE => {
                let (merge, name) = (Arc::clone(merge), Box::<CStr>::from(name));
                let (ours, theirs) = (*ours, *theirs);
                self.context.workers.spawn(scope, move |_| {
                    let entries = (&ours, &theirs);
                    let unchanged = self.compare_large(&merge, &name, decision, entries);
                    self.context.reporter.count(Counter::Unchanged, unchanged);
                });
            }
            (
                decision @ (Decision::Replace(..)
                | Decision::CompareContents
                | Decision::CompareTargets
                | Decision::CompareMetadata),
                Some(ours),
                Some(theirs),
            ) => return self.compare(merge, fds, name, decision, (ours, theirs)),
            // Nothing to do, or nothing that may be done; the others need entries, which their decisions prove.
            (
                Decision::Nothing
                | Decision::Blocked(_)
                | Decision::Delete(_)
                | Decision::Descend
                | Decision::Create
                | Decision::Replace(..)
                | Decision::CompareContents
                | Decision::CompareTargets
                | Decision::CompareMetadata,
                ..,
            ) => {}
        }
        0
    }

    /// The facts of one name on one side.
    fn look(&self, merge: &Merge, side: Side, fd: BorrowedFd<'_>, name: &CStr) -> Look {
        let pair = &merge.pair;
        let seen = match stat::entry_at(fd, name) {
            Ok(entry) => match standing(self.context, &merge.rules, side, (name, &entry)) {
                Standing::Log => return Look::Log(entry.kind),
                Standing::Excluded(exclusion) => return Look::Excluded(exclusion, Some(entry)),
                Standing::OtherRoot => {
                    self.is_of_other_tree(pair, name);
                    Sighting::Unreadable
                }
                Standing::Mirrored(_) => {
                    if entry.is_mount && !(side == Side::Source && self.leaves_out_mount(&entry)) {
                        self.meet_mount(pair, side, name, &entry);
                    }
                    Sighting::Present(entry)
                }
            },
            Err(errno) if is_denial(errno) => Sighting::Absent,
            Err(errno) => {
                self.unseen(pair, side, name, errno);
                Sighting::Unreadable
            }
        };
        Look::Seen(seen)
    }

    fn meet_mount(&self, pair: &Pair, side: Side, name: &CStr, entry: &Entry) {
        let folder = match side {
            Side::Source => &pair.source,
            Side::Replica => &pair.replica,
        };
        if let Some(folder) = folder {
            self.context.inner_mounts.meet(side, (folder, name), entry);
        }
    }

    /// Descends into two folders of one name.
    fn descend<'s>(
        &'s self,
        scope: &Scope<'s>,
        pair: &Arc<Pair>,
        name: &CStr,
        (source, replica): (&Entry, &Entry),
        protected: Protected,
    ) {
        let (Some(source_dir), Some(replica_dir)) = (&pair.source, &pair.replica) else { return };
        // RACE: a mount that appears after this check is not seen before the next pass.
        if source.id == replica.id {
            return self.is_of_other_tree(pair, name);
        }
        if replica.is_mount {
            match self.context.roots.are_apart() {
                Ok(true) => {}
                Ok(false) => return self.is_of_other_tree(pair, name),
                Err(errno) => return self.unknown_mount(pair, name, errno),
            }
        }
        let (source_child, replica_child) =
            (source_dir.child(name, source.id), replica_dir.child(name, replica.id));
        let filesystem = if replica.id.device == replica_dir.id().device {
            Arc::clone(&pair.filesystem)
        } else {
            match self.context.filesystems.of(&replica_child) {
                Ok(filesystem) => filesystem,
                Err(errno) if is_gone(errno) => return self.gone(pair, Side::Replica, errno),
                Err(errno) => return self.unreadable_folder(pair, Side::Replica, errno),
            }
        };
        let below = Pair { source: Some(source_child), replica: Some(replica_child), filesystem, protected };
        self.context.workers.spawn(scope, move |scope| self.visit(scope, Arc::new(below)));
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
