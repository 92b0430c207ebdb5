//! The survey: walks both trees in lockstep, compares, and makes the plan. It writes nothing.
//!
//! A folder pair is a task on the thread pool; a large folder is passed on in chunks, and large files are tasks of
//! their own, so that two processors are busy whatever the shape of the tree. Tasks never wait for each other, so the
//! stack stays flat however deep the tree is. What is kept in memory is the changes, the folders in flight, and the
//! files with several names that are not yet settled.

use crate::compare::{Comparison, compare_contents};
use crate::context::Context;
use crate::entry::{Entry, Kind};
use crate::filesystem::{Differences, MetadataComparison, compare_metadata};
use crate::fs::attributes::{Attributes, is_system_made, namespace};
use crate::fs::content::open_to_read;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::subject::Subject;
use crate::fs::{Errno, is_gone, is_unsupported, place, stat};
use crate::links::{LinkTable, Verdict};
use crate::monitor::{Event, Feature, Verb};
use crate::plan::{Action, Change, Counted, FolderChange, Pair, Plan, Watch};
use crate::problem::{Cause, Problem, Side};
use crate::reconcile::{Decision, Sighting, content_verb, reconcile};
use rayon::{Scope, ThreadPool};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// So many names are one task.
const CHUNK: usize = 256;

/// Files of at least this size are compared in a task of their own.
const LARGE: u64 = 1 << 20;

/// Makes the plan for a pair of roots.
pub fn survey(context: &Context<'_>, pool: &ThreadPool, root: Arc<Pair>) -> Plan {
    let survey = Survey { context, plan: Mutex::default(), links: LinkTable::default() };
    pool.in_place_scope(|scope| survey.visit(scope, root));
    let mut plan = survey.plan.into_inner().unwrap_or_else(PoisonError::into_inner);
    let resolution = survey.links.resolve();
    if resolution.not_held {
        context.not_held(Feature::HardLinks);
    }
    context.unchanged(resolution.unchanged);
    plan.changes.extend(resolution.changes);
    plan.anchors = resolution.anchors;
    plan.changes.sort_by_cached_key(|change| (change.pair.path(), change.name.clone()));
    plan.folders.sort_by_cached_key(|folder| folder.pair.path());
    plan
}

struct Survey<'a> {
    context: &'a Context<'a>,
    plan: Mutex<Plan>,
    links: LinkTable,
}

/// The listings of a folder pair.
struct Merge {
    pair: Arc<Pair>,
    source: Listing,
    replica: Listing,
}

/// A position in both listings.
#[derive(Clone, Copy, Default)]
struct Position {
    source: usize,
    replica: usize,
}

impl Merge {
    /// The next name in the order of raw bytes, and which sides have it.
    fn next(&self, at: &mut Position) -> Option<(&CStr, bool, bool)> {
        let (source, replica) = (self.source.get(at.source), self.replica.get(at.replica));
        let (name, in_source, in_replica) = match (source, replica) {
            (None, None) => return None,
            (Some(name), None) => (name, true, false),
            (None, Some(name)) => (name, false, true),
            (Some(ours), Some(theirs)) => match ours.to_bytes().cmp(theirs.to_bytes()) {
                std::cmp::Ordering::Less => (ours, true, false),
                std::cmp::Ordering::Equal => (ours, true, true),
                std::cmp::Ordering::Greater => (theirs, false, true),
            },
        };
        at.source += usize::from(in_source);
        at.replica += usize::from(in_replica);
        Some((name, in_source, in_replica))
    }
}

/// The open folders of a pair.
#[derive(Clone, Copy)]
struct Doors<'a> {
    source: Option<BorrowedFd<'a>>,
    replica: Option<BorrowedFd<'a>>,
}

impl<'a> Survey<'a> {
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
                // Gone or swapped since it was listed: the next pass sees what has become of it.
                Err(errno) if is_gone(errno) => None,
                Err(errno) => {
                    self.unreadable_folder(&pair, side, errno);
                    None
                }
            }
        };
        // Both are tried, so that both are told; either one blocks everything below.
        let (source, replica) =
            (listing(Side::Source, &pair.source), listing(Side::Replica, &pair.replica));
        self.compare_folders(
            &pair,
            source.as_ref().and_then(|(_, fd)| fd.as_ref()),
            replica.as_ref().and_then(|(_, fd)| fd.as_ref()),
        );
        if let (Some((source, _)), Some((replica, _))) = (source, replica) {
            self.chunk(scope, Arc::new(Merge { pair, source, replica }), Position::default());
        }
    }

    /// The metadata of the folder itself. Without an open folder of the replica its extended attributes are not known,
    /// but the rest is: setting a lost mode right is what makes it readable for the next pass.
    fn compare_folders(
        &self,
        pair: &Arc<Pair>,
        source_fd: Option<&Arc<OwnedFd>>,
        replica_fd: Option<&Arc<OwnedFd>>,
    ) {
        let (Some(source_dir), Some(replica_dir)) = (&pair.source, &pair.replica) else { return };
        // A source folder that cannot be read blocks every change, also of the folder itself.
        let Some(source_fd) = source_fd else { return };
        let (Ok(source), Ok(replica)) = (stat::entry_of(source_fd.as_fd()), facts_of(replica_dir, replica_fd))
        else {
            return;
        };
        let mut differences = self.metadata(pair, &source, &replica);
        if let Some(replica_fd) = replica_fd {
            let subjects = (Subject::Open(source_fd.as_fd()), Subject::Open(replica_fd.as_fd()));
            match self.attributes_differ(pair, subjects.0, subjects.1) {
                Ok(differ) => differences.attributes = differ,
                Err((side, errno)) => self.unreadable_attributes(pair, None, (side, errno)),
            }
        }
        if differences.any() {
            self.plan().folders.push(FolderChange { pair: Arc::clone(pair), differences });
        } else if source_dir.parent().is_some() {
            self.context.unchanged(1);
        }
    }

    /// Works through up to [`CHUNK`] names from `from` on, after handing the rest to whoever is free.
    fn chunk<'s>(&'s self, scope: &Scope<'s>, merge: Arc<Merge>, from: Position) {
        let mut end = from;
        let mut names = 0;
        while names < CHUNK && merge.next(&mut end).is_some() {
            names += 1;
        }
        let mut ahead = end;
        if merge.next(&mut ahead).is_some() {
            let rest = Arc::clone(&merge);
            scope.spawn(move |scope| self.chunk(scope, rest, end));
        }
        let pair = &merge.pair;
        let open = |dir: &Option<Arc<Dir>>| dir.as_ref().map(Dir::open).transpose();
        let (source, replica) = match (open(&pair.source), open(&pair.replica)) {
            (Ok(source), Ok(replica)) => (source, replica),
            (source, replica) => {
                for (side, result) in [(Side::Source, source), (Side::Replica, replica)] {
                    match result {
                        Err(errno) if !is_gone(errno) => self.unreadable_folder(pair, side, errno),
                        Ok(_) | Err(_) => {}
                    }
                }
                return;
            }
        };
        let doors = Doors {
            source: source.as_ref().map(|fd| fd.as_fd()),
            replica: replica.as_ref().map(|fd| fd.as_fd()),
        };
        let mut at = from;
        let mut unchanged = 0;
        while names > 0 && !self.context.is_halted() {
            names -= 1;
            let Some((name, in_source, in_replica)) = merge.next(&mut at) else { break };
            unchanged += self.name(scope, &merge, doors, (name, in_source, in_replica));
        }
        self.context.unchanged(unchanged);
        self.context.interrupt.beat();
    }

    /// Looks at one name on the sides that have it, and decides. Returns 1 when it is right already.
    fn name<'s>(
        &'s self,
        scope: &Scope<'s>,
        merge: &Arc<Merge>,
        doors: Doors<'_>,
        (name, in_source, in_replica): (&CStr, bool, bool),
    ) -> u64 {
        let pair = &merge.pair;
        let Some(watch) = self.context.watch_below(pair.watch, name) else { return 0 };
        let mut source = self.look(pair, Side::Source, doors.source.filter(|_| in_source), name);
        let replica = self.look(pair, Side::Replica, doors.replica.filter(|_| in_replica), name);
        if in_source && source == Sighting::Absent {
            // It vanished since the listing: neither a problem nor a deletion in this pass.
            return 0;
        }
        if let (Sighting::Present(entry), Watch::On(_)) = (&mut source, watch)
            && entry.kind != Kind::Folder
            && in_replica
        {
            self.holds_log(pair, name);
            return 0;
        }
        match reconcile(&source, &replica, &pair.filesystem) {
            Decision::Nothing | Decision::Blocked(_) => 0,
            Decision::Descend => {
                if let (Sighting::Present(source), Sighting::Present(replica)) = (&source, &replica) {
                    self.descend(scope, pair, name, (source, replica), watch);
                }
                0
            }
            Decision::Delete(_) if watch != Watch::Off => {
                // The log lies below: everything else there goes, one by one.
                if let (Sighting::Present(replica), Some(dir)) = (&replica, &pair.replica) {
                    let below = Pair {
                        source: None,
                        replica: Some(dir.child(name, replica.id)),
                        filesystem: Arc::clone(&pair.filesystem),
                        watch,
                    };
                    scope.spawn(move |scope| self.visit(scope, Arc::new(below)));
                }
                0
            }
            Decision::Delete(reason) => {
                if let Sighting::Present(replica) = &replica {
                    self.delete(scope, pair, name, replica, reason);
                }
                0
            }
            Decision::LeaveOut { missing, delete } => {
                if let Sighting::Present(source) = &source {
                    self.leave_out(pair, name, source.kind, missing);
                }
                if let (true, Sighting::Present(replica)) = (delete, &replica) {
                    self.delete(scope, pair, name, replica, "the source has something there that is left out");
                }
                0
            }
            Decision::Create => {
                if let Sighting::Present(source) = &source {
                    let subtree = self.count_below(scope, (Side::Source, &pair.source), name, source);
                    self.push(Change { subtree, ..change(pair, name, source, Action::Create) });
                }
                0
            }
            Decision::Replace(Verb::Retype, reason) => {
                if let (Sighting::Present(source), Sighting::Present(replica)) = (&source, &replica) {
                    self.links.count_name(replica);
                    let subtree = self.count_below(scope, (Side::Source, &pair.source), name, source);
                    let action = Action::Replace(Verb::Retype);
                    let expected = Some(replica.id);
                    self.push(Change { subtree, expected, reason, ..change(pair, name, source, action) });
                }
                0
            }
            decision @ (Decision::Replace(..)
            | Decision::CompareContents
            | Decision::CompareTargets
            | Decision::CompareMetadata) => {
                let (Sighting::Present(source), Sighting::Present(replica)) = (source, replica) else { return 0 };
                if decision == Decision::CompareContents && source.size >= LARGE {
                    let (merge, name) = (Arc::clone(merge), Box::<CStr>::from(name));
                    scope.spawn(move |_| {
                        let pair = &merge.pair;
                        let unchanged = self.compare_large(pair, &name, decision, (&source, &replica));
                        self.context.unchanged(unchanged);
                    });
                    return 0;
                }
                self.compare(pair, doors, name, decision, (&source, &replica))
            }
        }
    }

    /// The facts of one name on one side.
    fn look(&self, pair: &Pair, side: Side, door: Option<BorrowedFd<'_>>, name: &CStr) -> Sighting {
        let Some(folder) = door else { return Sighting::Absent };
        match stat::entry_at(folder, name) {
            Ok(entry) => Sighting::Present(entry),
            Err(errno) if is_gone(errno) => Sighting::Absent,
            Err(errno) => {
                self.context.problem(&Problem {
                    path: pair.path().join(name),
                    action: match side {
                        Side::Source => "look at it in the source",
                        Side::Replica => "look at it in the replica",
                    },
                    cause: Cause::System(errno),
                    consequence: "nothing at or below it is changed in this pass",
                    content_unreadable: true,
                });
                Sighting::Unreadable
            }
        }
    }

    /// Two folders of one name.
    fn descend<'s>(
        &'s self,
        scope: &Scope<'s>,
        pair: &Arc<Pair>,
        name: &CStr,
        (source, replica): (&Entry, &Entry),
        watch: Watch,
    ) {
        let (Some(source_dir), Some(replica_dir)) = (&pair.source, &pair.replica) else { return };
        let is_source = source.id == replica.id
            || replica.id == self.context.source.1.id()
            || (replica.is_mount && replica.id.device == self.context.source.1.id().device);
        if is_source {
            self.context.problem(&Problem {
                path: pair.path().join(name),
                action: "use this folder of the replica",
                cause: Cause::Refused("it is a mount of the source's own filesystem, so writing to it could change the source"),
                consequence: "nothing at or below it is changed; unmount it",
                content_unreadable: false,
            });
            return;
        }
        let (source_child, replica_child) =
            (source_dir.child(name, source.id), replica_dir.child(name, replica.id));
        let filesystem = if replica.id.device == replica_dir.id().device {
            Arc::clone(&pair.filesystem)
        } else {
            match self.context.filesystems.of(&replica_child) {
                Ok(filesystem) => filesystem,
                Err(errno) if is_gone(errno) => return,
                Err(errno) => return self.unreadable_folder(pair, Side::Replica, errno),
            }
        };
        let below = Pair { source: Some(source_child), replica: Some(replica_child), filesystem, watch };
        scope.spawn(move |scope| self.visit(scope, Arc::new(below)));
    }

    fn delete<'s>(
        &'s self,
        scope: &Scope<'s>,
        pair: &Arc<Pair>,
        name: &CStr,
        replica: &Entry,
        reason: &'static str,
    ) {
        self.links.count_name(replica);
        let subtree = self.count_below(scope, (Side::Replica, &pair.replica), name, replica);
        let expected = Some(replica.id);
        self.push(Change { subtree, expected, reason, ..change(pair, name, replica, Action::Delete) });
    }

    fn leave_out(&self, pair: &Pair, name: &CStr, kind: Kind, missing: Option<Feature>) {
        match missing {
            Some(feature) => {
                self.context.not_held(feature);
                self.context.left_out();
            }
            None => self.context.skipped(&pair.path().join(name), kind, "sockets are not mirrored"),
        }
    }

    fn holds_log(&self, pair: &Pair, name: &CStr) {
        self.context.problem(&Problem {
            path: pair.path().join(name),
            action: "replace this folder of the replica",
            cause: Cause::Refused("the log file lies in it"),
            consequence: "it is kept; put the log elsewhere with --log_file",
            content_unreadable: false,
        });
    }

    /// Starts counting what lies below a folder that is on one side only; none for everything else.
    fn count_below<'s>(
        &'s self,
        scope: &Scope<'s>,
        (side, parent): (Side, &Option<Arc<Dir>>),
        name: &CStr,
        entry: &Entry,
    ) -> Option<Arc<Counted>> {
        let dir = parent.as_ref().filter(|_| entry.kind == Kind::Folder)?.child(name, entry.id);
        let counted = Arc::new(Counted::default());
        let task = Arc::clone(&counted);
        scope.spawn(move |scope| self.count(scope, (side, dir), task));
        Some(counted)
    }

    /// Counts one folder of a subtree. What cannot be read is not counted; apply tells it when it gets there.
    fn count<'s>(&'s self, scope: &Scope<'s>, (side, dir): (Side, Arc<Dir>), counted: Arc<Counted>) {
        if self.context.is_halted() {
            return;
        }
        self.context.interrupt.beat();
        let Ok(fd) = dir.open() else { return };
        let Ok(listing) = Listing::read(fd.as_fd()) else { return };
        let (mut files, mut folders, mut bytes) = (0, 0, 0);
        for at in 0..listing.len() {
            let Some(name) = listing.get(at) else { break };
            let Ok(entry) = stat::entry_at(fd.as_fd(), name) else { continue };
            match entry.kind {
                Kind::Folder => {
                    folders += 1;
                    let (child, counted) = (dir.child(name, entry.id), Arc::clone(&counted));
                    scope.spawn(move |scope| self.count(scope, (side, child), counted));
                }
                Kind::File | Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
                    files += 1;
                    if entry.kind == Kind::File {
                        bytes += entry.size;
                    }
                    // A name of the source is a name outside, even where the replica has the same inode (as after
                    // `cp -al`): counted as one of the replica it would be written through.
                    if side == Side::Replica {
                        self.links.count_name(&entry);
                    }
                }
            }
        }
        counted.files.fetch_add(files, Ordering::Relaxed);
        counted.folders.fetch_add(folders, Ordering::Relaxed);
        counted.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn compare_large(
        &self,
        pair: &Arc<Pair>,
        name: &CStr,
        decision: Decision,
        entries: (&Entry, &Entry),
    ) -> u64 {
        let open = |dir: &Option<Arc<Dir>>| dir.as_ref().and_then(|dir| dir.open().ok());
        let (source, replica) = (open(&pair.source), open(&pair.replica));
        let doors = Doors {
            source: source.as_ref().map(|fd| fd.as_fd()),
            replica: replica.as_ref().map(|fd| fd.as_fd()),
        };
        if self.context.is_halted() { 0 } else { self.compare(pair, doors, name, decision, entries) }
    }

    /// Compares two entries of one kind that are not folders. Returns 1 when nothing differs.
    fn compare(
        &self,
        pair: &Arc<Pair>,
        doors: Doors<'_>,
        name: &CStr,
        decision: Decision,
        (source, replica): (&Entry, &Entry),
    ) -> u64 {
        if source.links > 1 || replica.links > 1 {
            if self.links.enter(pair, name, source, replica) {
                let verdict = self.verdict(pair, doors, name, decision, (source, replica));
                self.links.judge(source, replica, verdict);
            }
            return 0;
        }
        let change = change(pair, name, source, Action::Create);
        match self.verdict(pair, doors, name, decision, (source, replica)) {
            Verdict::Same(differences) if differences.any() => {
                let action = Action::SetMetadata(differences);
                self.push(Change { action, expected: Some(replica.id), ..change });
                0
            }
            Verdict::Same(_) => 1,
            Verdict::Replace { verb, reason, replica_unreadable } => {
                let action = Action::Replace(verb);
                self.push(Change { action, expected: Some(replica.id), replica_unreadable, reason, ..change });
                0
            }
            Verdict::Unknown => 0,
        }
    }

    fn verdict(
        &self,
        pair: &Arc<Pair>,
        doors: Doors<'_>,
        name: &CStr,
        decision: Decision,
        (source, replica): (&Entry, &Entry),
    ) -> Verdict {
        let (Some(source_folder), Some(replica_folder)) = (doors.source, doors.replica) else {
            return Verdict::Unknown;
        };
        let named = (Subject::Named(source_folder, name), Subject::Named(replica_folder, name));
        let subjects = match decision {
            Decision::Replace(verb, reason) => {
                return Verdict::Replace { verb, reason, replica_unreadable: false };
            }
            Decision::CompareContents => {
                return self.compare_files(pair, (source_folder, replica_folder), name, (source, replica));
            }
            Decision::CompareTargets => {
                match (place::read_symlink(source_folder, name), place::read_symlink(replica_folder, name)) {
                    (Ok(ours), Ok(theirs)) if ours == theirs => named,
                    (Ok(_), Ok(_)) => {
                        let verb = content_verb(source, replica);
                        return Verdict::Replace { verb, reason: "target differs", replica_unreadable: false };
                    }
                    (Err(errno), _) => return self.unreadable_source(pair, name, errno),
                    (Ok(_), Err(errno)) => return replace_unreadable(errno),
                }
            }
            Decision::CompareMetadata => named,
            Decision::Nothing
            | Decision::Descend
            | Decision::Create
            | Decision::Delete(_)
            | Decision::LeaveOut { .. }
            | Decision::Blocked(_) => return Verdict::Unknown,
        };
        self.same_but_metadata(pair, name, (source, replica), subjects)
    }

    fn compare_files(
        &self,
        pair: &Arc<Pair>,
        (source_folder, replica_folder): (BorrowedFd<'_>, BorrowedFd<'_>),
        name: &CStr,
        (source, replica): (&Entry, &Entry),
    ) -> Verdict {
        let source_file = match open_to_read(source_folder, name, self.context.owns(source.uid)) {
            Ok(file) => file,
            Err(errno) => return self.unreadable_source(pair, name, errno),
        };
        let replica_file = match open_to_read(replica_folder, name, self.context.owns(replica.uid)) {
            Ok(file) => file,
            Err(errno) => return replace_unreadable(errno),
        };
        let (source_file, replica_file) = (source_file.as_fd(), replica_file.as_fd());
        let sparse = source.may_have_holes();
        let sizes = (source.size, source.blocks.saturating_mul(512));
        match compare_contents(self.context, source_file, replica_file, sizes, sparse) {
            Comparison::Equal(digest) => {
                if self.context.monitor.wants_verified() {
                    let path = pair.path().join(name);
                    self.context.monitor.event(&Event::Verified { path: &path, size: source.size, digest });
                }
                let subjects = (Subject::Open(source_file), Subject::Open(replica_file));
                self.same_but_metadata(pair, name, (source, replica), subjects)
            }
            Comparison::Different => Verdict::Replace {
                verb: content_verb(source, replica),
                reason: "content differs",
                replica_unreadable: false,
            },
            Comparison::SourceUnreadable(errno) => self.unreadable_source(pair, name, errno),
            Comparison::ReplicaUnreadable(errno) => replace_unreadable(errno),
            Comparison::Interrupted => Verdict::Unknown,
        }
    }

    fn same_but_metadata(
        &self,
        pair: &Arc<Pair>,
        name: &CStr,
        (source, replica): (&Entry, &Entry),
        (ours, theirs): (Subject<'_>, Subject<'_>),
    ) -> Verdict {
        let mut differences = self.metadata(pair, source, replica);
        // A symbolic link has only attributes that root may set.
        if source.kind != Kind::Symlink || self.context.privileged {
            match self.attributes_differ(pair, ours, theirs) {
                Ok(differ) => differences.attributes = differ,
                Err((_, errno)) if is_gone(errno) => return Verdict::Unknown,
                Err(failed) => self.unreadable_attributes(pair, Some(name), failed),
            }
        }
        Verdict::Same(differences)
    }

    fn metadata(&self, pair: &Pair, source: &Entry, replica: &Entry) -> Differences {
        let MetadataComparison { differences, owner_not_held, mode_not_held, mtime_not_held } =
            compare_metadata(source, replica, &pair.filesystem, self.context.privileged);
        for (not_held, feature) in
            [(owner_not_held, Feature::Owner), (mode_not_held, Feature::Mode), (mtime_not_held, Feature::Mtime)]
        {
            if not_held {
                self.context.not_held(feature);
            }
        }
        differences
    }

    fn attributes_differ(
        &self,
        pair: &Pair,
        source: Subject<'_>,
        replica: Subject<'_>,
    ) -> Result<bool, (Side, Errno)> {
        let privileged = self.context.privileged;
        let ours = match Attributes::read(source, privileged) {
            Err(errno) if is_unsupported(errno) => Attributes::default(),
            read => read.map_err(|errno| (Side::Source, errno))?,
        };
        let theirs = match Attributes::read(replica, privileged) {
            Err(errno) if is_unsupported(errno) => {
                for (name, _) in ours.iter() {
                    if let Some(feature) = namespace(name, privileged) {
                        pair.filesystem.learn_missing(feature);
                        self.context.not_held(feature);
                    }
                }
                return Ok(false);
            }
            read => read.map_err(|errno| (Side::Replica, errno))?,
        };
        let mut differ = false;
        for (name, value) in ours.iter() {
            let Some(feature) = namespace(name, privileged) else { continue };
            if theirs.get(name) == Some(value) {
                continue;
            }
            if pair.filesystem.holds(feature) {
                differ = true;
            } else {
                self.context.not_held(feature);
            }
        }
        Ok(differ || theirs.iter().any(|(name, _)| ours.get(name).is_none() && !is_system_made(name)))
    }

    fn unreadable_source(&self, pair: &Pair, name: &CStr, errno: Errno) -> Verdict {
        // Gone, or another kind by now (EINVAL: no symbolic link any more): the next pass sees it.
        if !is_gone(errno) && errno != Errno::INVAL {
            self.context.problem(&Problem {
                path: pair.path().join(name),
                action: "read the source file",
                cause: Cause::System(errno),
                consequence: "it is skipped and its replica kept",
                content_unreadable: true,
            });
        }
        Verdict::Unknown
    }

    fn unreadable_attributes(&self, pair: &Pair, name: Option<&CStr>, (side, errno): (Side, Errno)) {
        if is_gone(errno) {
            return;
        }
        self.context.problem(&Problem {
            path: name.map_or_else(|| pair.path(), |name| pair.path().join(name)),
            action: match side {
                Side::Source => "read the extended attributes in the source",
                Side::Replica => "read the extended attributes in the replica",
            },
            cause: Cause::System(errno),
            consequence: "those of the replica are kept as they are",
            content_unreadable: false,
        });
    }

    fn unreadable_folder(&self, pair: &Pair, side: Side, errno: Errno) {
        self.context.problem(&Problem {
            path: pair.path(),
            action: match side {
                Side::Source => "read the source folder",
                Side::Replica => "read the replica folder",
            },
            cause: Cause::System(errno),
            consequence: match side {
                Side::Source => "its replica is kept with everything below",
                Side::Replica => "nothing below it is changed in this pass",
            },
            content_unreadable: false,
        });
    }

    fn push(&self, change: Change) {
        self.plan().changes.push(change);
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
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
        reason: "",
    }
}

/// A replica that cannot be read is replaced, unless it is not what it was any more: then the next pass sees it.
fn replace_unreadable(errno: Errno) -> Verdict {
    if is_gone(errno) || errno == Errno::INVAL {
        return Verdict::Unknown;
    }
    Verdict::Replace { verb: Verb::Repair, reason: "the replica cannot be read", replica_unreadable: true }
}

/// The facts of a folder: of the open one, else by its name in its parent.
fn facts_of(dir: &Arc<Dir>, open: Option<&Arc<OwnedFd>>) -> Result<Entry, Errno> {
    match (open, dir.parent()) {
        (Some(fd), _) => stat::entry_of(fd.as_fd()),
        (None, Some(parent)) => stat::entry_at(parent.open()?.as_fd(), dir.name()),
        (None, None) => dir.entry(),
    }
}
