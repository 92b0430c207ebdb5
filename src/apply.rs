//! Carrying the plan out: the only part that writes.
//!
//! In this order: creates and updates, in parallel; hard links to what is there now; deletions, deepest first; once
//! more what found no room before the deletions; the metadata of the folders that were worked in, deepest first.

use crate::context::Context;
use crate::copy::{Destination, Failed, Made, discard, make_entry, publish};
use crate::entry::{Entry, FileId, Kind};
use crate::finish::{Model, NotSet, finish_folder, make_writable, set_metadata};
use crate::fs::content::open_to_read;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::subject::Subject;
use crate::fs::{Errno, is_gone, is_unsupported, place, stat};
use crate::monitor::{Feature, Operation, Verb};
use crate::path::RelPath;
use crate::plan::{Action, Change, Pair, Plan};
use crate::problem::{Cause, Problem};
use crate::remove::{Licence, Target, remove};
use rayon::{Scope, ThreadPool};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many changes, or names of a new folder, are one task.
const CHUNK: usize = 64;

/// Files of at least this size are copied in a task of their own.
const LARGE: u64 = 1 << 20;

/// Carries out a plan that the guard let through.
pub fn apply(context: &Context<'_>, pool: &ThreadPool, plan: &Plan) {
    let apply = Apply {
        context,
        anchors: Mutex::new(HashMap::new()),
        deferred: Mutex::default(),
        no_room: Mutex::default(),
        leftovers: Mutex::default(),
        touched: Mutex::default(),
    };
    for anchor in &plan.anchors {
        let key = (anchor.source, anchor.folder.id().device);
        let place = Place { folder: Arc::clone(&anchor.folder), name: anchor.name.clone(), id: anchor.replica };
        lock(&apply.anchors).insert(key, Some(place));
    }
    let (removals, changes): (Vec<&Change>, Vec<&Change>) =
        plan.changes.iter().partition(|change| change.action == Action::Delete);

    pool.in_place_scope(|scope| apply.change_all(scope, &changes));
    apply.link_deferred();
    pool.in_place_scope(|scope| apply.remove_all(scope, &removals));
    apply.remove_leftovers();
    apply.try_again(pool);
    apply.finish_folders(plan);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name in the replica and the inode it leads to.
#[derive(Clone)]
struct Place {
    folder: Arc<Dir>,
    name: Box<CStr>,
    id: FileId,
}

/// One entry to make.
#[derive(Clone)]
struct Job {
    pair: Arc<Pair>,
    name: Box<CStr>,
    verb: Verb,
    expected: Option<FileId>,
    replica_unreadable: bool,
    reason: &'static str,
    /// True when the content under the name is right and only the link is missing.
    content_is_right: bool,
}

impl Job {
    fn of(change: &Change, verb: Verb) -> Job {
        Job {
            pair: Arc::clone(&change.pair),
            name: change.name.clone(),
            verb,
            expected: change.expected,
            replica_unreadable: change.replica_unreadable,
            reason: change.reason,
            content_is_right: change.action == Action::Link { same: true },
        }
    }

    fn path(&self) -> RelPath {
        self.pair.path().join(&self.name)
    }
}

/// A folder that this pass has made. It is finished when everything in it is.
struct NewFolder {
    pair: Arc<Pair>,
    parent: Option<Arc<NewFolder>>,
    /// Tasks and folders below that are not done yet.
    pending: AtomicUsize,
}

impl NewFolder {
    fn hold(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a name that shares its inode with others waits for.
type Anchors = HashMap<(FileId, u64), Option<Place>>;

struct Apply<'a> {
    context: &'a Context<'a>,
    /// Where each source inode of several names is in the replica; none while it is being copied.
    anchors: Mutex<Anchors>,
    /// Names that wait for their inode to be copied.
    deferred: Mutex<Vec<Job>>,
    /// What found no room.
    no_room: Mutex<Vec<Job>>,
    /// Entries of another kind that were replaced and now lie under a temporary name: folder, name, path.
    leftovers: Mutex<Vec<(Arc<Dir>, CString, RelPath)>>,
    /// Folders that have to be finished at the end, though no planned change names them.
    touched: Mutex<Vec<Arc<Pair>>>,
}

impl Apply<'_> {
    /// Creates, updates and metadata: a chunk, after handing the rest to whoever is free.
    fn change_all<'s>(&'s self, scope: &Scope<'s>, changes: &'s [&'s Change]) {
        let (chunk, rest) = changes.split_at(changes.len().min(CHUNK));
        if !rest.is_empty() {
            scope.spawn(move |scope| self.change_all(scope, rest));
        }
        let mut prepared: Option<&Arc<Pair>> = None;
        for change in chunk {
            if self.context.is_halted() {
                return;
            }
            if !prepared.is_some_and(|pair| Arc::ptr_eq(pair, &change.pair)) {
                if let Some(dir) = &change.pair.replica {
                    make_writable(self.context, dir);
                }
                prepared = Some(&change.pair);
            }
            match change.action {
                Action::Create => self.start(scope, Job::of(change, Verb::Create), None),
                Action::Replace(verb) => self.start(scope, Job::of(change, verb), None),
                Action::Link { .. } => lock(&self.deferred).push(Job::of(change, Verb::Link)),
                Action::SetMetadata(differences) => self.set_metadata(change, differences.words()),
                Action::Delete => {}
            }
        }
    }

    /// Makes one entry now, or, for a large file, in a task of its own. `holder` is the new folder that waits for it,
    /// already held once for this job.
    fn start<'s>(&'s self, scope: &Scope<'s>, job: Job, holder: Option<Arc<NewFolder>>) {
        let Some(entry) = self.look(&job) else { return self.release(holder) };
        match entry.kind {
            Kind::Folder => {
                self.make_folder(scope, &job, holder.clone());
                self.release(holder);
            }
            Kind::File if entry.size >= LARGE => scope.spawn(move |_| {
                self.make(&job, &entry);
                self.release(holder);
            }),
            Kind::File | Kind::Symlink | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice | Kind::Socket => {
                self.make(&job, &entry);
                self.release(holder);
            }
        }
    }

    /// The source's entry as it is now; none when there is nothing to do.
    fn look(&self, job: &Job) -> Option<Entry> {
        let dir = job.pair.source.as_ref()?;
        match dir.open().and_then(|fd| stat::entry_at(fd.as_fd(), &job.name)) {
            Ok(entry) => Some(entry),
            Err(errno) if is_gone(errno) => None,
            Err(errno) => {
                let failed = Failed::Because("look at it in the source", Cause::System(errno), true);
                self.failed(job, failed);
                None
            }
        }
    }

    /// Makes one entry that is not a folder.
    fn make(&self, job: &Job, entry: &Entry) {
        if self.context.is_halted() {
            return;
        }
        self.context.interrupt.beat();
        if entry.kind == Kind::Folder {
            // It became a folder meanwhile: the next pass sees it.
            return;
        }
        if entry.kind == Kind::Socket {
            return self.context.skipped(&job.path(), Kind::Socket, "sockets are not mirrored");
        }
        let feature = match entry.kind {
            Kind::Symlink => Some(Feature::Symlinks),
            Kind::Fifo => Some(Feature::Fifos),
            Kind::CharDevice | Kind::BlockDevice => Some(Feature::Devices),
            Kind::File | Kind::Folder | Kind::Socket => None,
        };
        if let Some(feature) = feature.filter(|feature| !job.pair.filesystem.holds(*feature)) {
            self.context.not_held(feature);
            return self.context.left_out();
        }
        if entry.links > 1 && job.pair.filesystem.holds(Feature::HardLinks) {
            self.make_linked(job, entry);
        } else if entry.links > 1 && job.content_is_right {
            // Learned since the plan was made: linking is impossible here, and its own content is right.
            self.context.unchanged(1);
        } else {
            self.make_alone(job, entry);
        }
    }

    /// Makes an entry by copying it. Returns where it is then.
    fn make_alone(&self, job: &Job, entry: &Entry) -> Option<Place> {
        let (Some(source), Some(replica)) = (&job.pair.source, &job.pair.replica) else { return None };
        let made = self.open(source, replica).and_then(|(source, replica)| {
            let at = Destination {
                source: source.as_fd(),
                replica: replica.as_fd(),
                filesystem: &job.pair.filesystem,
                name: &job.name,
                expected: job.expected,
            };
            make_entry(self.context, at, entry)
        });
        match made {
            Ok(made) => {
                let place =
                    Place { folder: Arc::clone(replica), name: job.name.clone(), id: made.entry.id };
                self.made(job, made);
                Some(place)
            }
            Err(failed) => {
                self.failed(job, failed);
                None
            }
        }
    }

    fn open(&self, source: &Arc<Dir>, replica: &Arc<Dir>) -> Result<Opened, Failed> {
        let source = match source.open() {
            Err(errno) if is_gone(errno) => return Err(Failed::Vanished),
            opened => opened
                .map_err(|errno| Failed::Because("open the source folder", Cause::System(errno), false))?,
        };
        let replica = replica.open().map_err(Failed::replica("open the replica folder"))?;
        Ok((source, replica))
    }

    /// Tells what was made.
    fn made(&self, job: &Job, made: Made) {
        let path = job.path();
        let linked_verb = if job.verb == Verb::Link { Verb::Update } else { job.verb };
        let reason = if made.unstable { "unstable: it changed while it was read" } else { job.reason };
        self.context.done(Operation {
            size: (made.entry.kind == Kind::File).then_some(made.entry.size),
            digest: made.digest,
            replica_unreadable: job.replica_unreadable,
            target: made.target.as_deref().map(CStr::to_bytes),
            reason,
            ..Operation::new(linked_verb, &path, made.entry.kind)
        });
        if made.unstable {
            self.problem(&path, "copy the source file at rest", Cause::Refused("it changes all the time while it is read"), "its last copy is kept, which may mix two moments");
        }
        if let Some((action, errno)) = made.not_set {
            self.problem(&path, action, Cause::System(errno), "its content is right");
        }
        if let (Some(leftover), Some(folder)) = (made.leftover, &job.pair.replica) {
            lock(&self.leftovers).push((Arc::clone(folder), leftover, path));
        }
    }

    fn failed(&self, job: &Job, failed: Failed) {
        match failed {
            Failed::Vanished | Failed::Halted => {
                self.context.check_replica();
            }
            Failed::NotHeld => self.context.left_out(),
            full if full.is_full() => lock(&self.no_room).push(job.clone()),
            Failed::Because(action, cause, content_unreadable) => self.context.problem(&Problem {
                path: job.path(),
                action,
                cause,
                consequence: match job.expected {
                    Some(_) => "the old replica is kept",
                    None => "it is missing in the replica",
                },
                content_unreadable,
            }),
        }
    }

    fn problem(&self, path: &RelPath, action: &'static str, cause: Cause, consequence: &'static str) {
        self.context.problem(&Problem {
            path: path.clone(),
            action,
            cause,
            consequence,
            content_unreadable: false,
        });
    }

    /// Makes one name of a file that has several: the first is copied, the others are linked to it.
    fn make_linked(&self, job: &Job, entry: &Entry) {
        let Some(replica) = &job.pair.replica else { return };
        let key = (entry.id, replica.id().device);
        let anchor = {
            let mut anchors = lock(&self.anchors);
            match anchors.get(&key) {
                Some(None) => {
                    lock(&self.deferred).push(job.clone());
                    return;
                }
                Some(Some(place)) => Some(place.clone()),
                None => {
                    anchors.insert(key, None);
                    None
                }
            }
        };
        if let Some(anchor) = anchor {
            match self.link(job, entry, &anchor) {
                Ok(()) => return,
                Err(Some(failed)) => return self.failed(job, failed),
                // It cannot be linked there. If its own content is right it stays; else it becomes the new anchor.
                Err(None) if job.content_is_right => return self.context.unchanged(1),
                Err(None) => {}
            }
        } else if job.content_is_right {
            lock(&self.anchors).remove(&key);
            return self.context.unchanged(1);
        }
        let made = self.make_alone(job, entry);
        let mut anchors = lock(&self.anchors);
        match made {
            Some(place) => anchors.insert(key, Some(place)),
            None => anchors.remove(&key),
        };
    }

    /// Links one name to its anchor.
    ///
    /// # Errors
    /// None when linking is impossible here and copying is not; else what went wrong.
    fn link(&self, job: &Job, entry: &Entry, anchor: &Place) -> Result<(), Option<Failed>> {
        const ACTION: &str = "link it to its other name";
        let failed = |errno| Some(Failed::replica(ACTION)(errno));
        let Some(replica) = &job.pair.replica else { return Ok(()) };
        let folder = replica.open().map_err(failed)?;
        let Ok(from) = anchor.folder.open() else { return Err(None) };
        let temporary = place::temporary_name().map_err(failed)?;
        match place::make_link(from.as_fd(), &anchor.name, folder.as_fd(), &temporary) {
            Ok(()) => {}
            // Too many links, or another filesystem, or the anchor is gone.
            Err(Errno::MLINK | Errno::XDEV | Errno::NOENT) => return Err(None),
            Err(errno) if errno == Errno::PERM || is_unsupported(errno) => {
                job.pair.filesystem.learn_missing(Feature::HardLinks);
                self.context.not_held(Feature::HardLinks);
                return Err(None);
            }
            Err(errno) => return Err(failed(errno)),
        }
        let at = Destination {
            source: folder.as_fd(),
            replica: folder.as_fd(),
            filesystem: &job.pair.filesystem,
            name: &job.name,
            expected: job.expected,
        };
        if stat::entry_at(folder.as_fd(), &temporary).map(|linked| linked.id) != Ok(anchor.id) {
            discard(folder.as_fd(), &temporary);
            return Err(None);
        }
        if job.expected == Some(anchor.id) {
            // rename(2) does nothing when both names are the same file already.
            discard(folder.as_fd(), &temporary);
            self.context.unchanged(1);
            return Ok(());
        }
        match publish(at, &temporary, false) {
            Ok(leftover) => {
                let path = job.path();
                let other = anchor.folder.path().join(&anchor.name);
                self.context.done(Operation {
                    linked_to: Some(&other),
                    ..Operation::new(Verb::Link, &path, entry.kind)
                });
                if let Some(leftover) = leftover {
                    lock(&self.leftovers).push((Arc::clone(replica), leftover, path));
                }
                Ok(())
            }
            Err(failed) => {
                discard(folder.as_fd(), &temporary);
                Err(Some(failed))
            }
        }
    }

    /// The names that waited for their inode, one after the other.
    fn link_deferred(&self) {
        let jobs = std::mem::take(&mut *lock(&self.deferred));
        for job in jobs {
            if self.context.is_halted() {
                return;
            }
            if let Some(entry) = self.look(&job) {
                self.touch(&job.pair);
                self.make(&job, &entry);
            }
        }
    }

    /// Makes a folder and starts filling it.
    fn make_folder<'s>(&'s self, scope: &Scope<'s>, job: &Job, parent: Option<Arc<NewFolder>>) {
        if self.context.is_halted() {
            return;
        }
        match self.new_folder(job) {
            Ok(Some(pair)) => {
                let path = job.path();
                self.context.done(Operation {
                    reason: job.reason,
                    ..Operation::new(job.verb, &path, Kind::Folder)
                });
                if let Some(parent) = &parent {
                    parent.hold();
                }
                let folder =
                    Arc::new(NewFolder { pair: Arc::new(pair), parent, pending: AtomicUsize::new(1) });
                scope.spawn(move |scope| self.fill(scope, folder));
            }
            Ok(None) => {}
            Err(failed) => self.failed(job, failed),
        }
    }

    /// Makes an empty folder under its name, private until it is finished.
    fn new_folder(&self, job: &Job) -> Result<Option<Pair>, Failed> {
        const ACTION: &str = "make the folder in the replica";
        let (Some(source), Some(replica)) = (&job.pair.source, &job.pair.replica) else { return Ok(None) };
        let (source_fd, replica_fd) = self.open(source, replica)?;
        let seen = match stat::entry_at(source_fd.as_fd(), &job.name) {
            Ok(entry) if entry.kind == Kind::Folder => entry,
            Ok(_) | Err(Errno::NOENT) => return Err(Failed::Vanished),
            Err(errno) => return Err(Failed::Because("look at it in the source", Cause::System(errno), false)),
        };
        if job.expected.is_none() {
            match place::make_folder(replica_fd.as_fd(), &job.name) {
                Err(Errno::EXIST) => {
                    let reason = Cause::Refused("the replica has another entry of that name by now (do upper and lower case count as the same there?)");
                    return Err(Failed::Because(ACTION, reason, false));
                }
                made => made.map_err(Failed::replica(ACTION))?,
            }
        } else {
            let temporary = place::temporary_name().map_err(Failed::replica(ACTION))?;
            place::make_folder(replica_fd.as_fd(), &temporary).map_err(Failed::replica(ACTION))?;
            let at = Destination {
                source: source_fd.as_fd(),
                replica: replica_fd.as_fd(),
                filesystem: &job.pair.filesystem,
                name: &job.name,
                expected: job.expected,
            };
            match publish(at, &temporary, true) {
                Ok(None) => {}
                Ok(Some(leftover)) => {
                    lock(&self.leftovers).push((Arc::clone(replica), leftover, job.path()));
                }
                Err(failed) => {
                    // Empty and private; where even this fails it is an extra that the next pass removes.
                    return match place::remove_folder(replica_fd.as_fd(), &temporary) {
                        Ok(()) | Err(_) => Err(failed),
                    };
                }
            }
        }
        let made = stat::entry_at(replica_fd.as_fd(), &job.name).map_err(Failed::replica(ACTION))?;
        Ok(Some(Pair {
            source: Some(source.child(&job.name, seen.id)),
            replica: Some(replica.child(&job.name, made.id)),
            filesystem: Arc::clone(&job.pair.filesystem),
            watch: self.context.watch_below(job.pair.watch, &job.name).unwrap_or(crate::plan::Watch::Off),
        }))
    }

    /// Lists the source's folder and makes everything in it.
    fn fill<'s>(&'s self, scope: &Scope<'s>, folder: Arc<NewFolder>) {
        let Some(source) = &folder.pair.source else { return };
        match source.open().and_then(|fd| Listing::read(fd.as_fd())) {
            Ok(listing) => self.fill_from(scope, folder, Arc::new(listing), 0),
            Err(errno) => {
                if !is_gone(errno) {
                    let path = folder.pair.path();
                    self.problem(&path, "read the source folder", Cause::System(errno), "its replica stays empty");
                }
                self.release(Some(folder));
            }
        }
    }

    /// Makes up to [`CHUNK`] entries of a new folder, after handing the rest on. Holds the folder once.
    fn fill_from<'s>(
        &'s self,
        scope: &Scope<'s>,
        folder: Arc<NewFolder>,
        listing: Arc<Listing>,
        from: usize,
    ) {
        let end = (from + CHUNK).min(listing.len());
        if end < listing.len() {
            folder.hold();
            let (rest, listing) = (Arc::clone(&folder), Arc::clone(&listing));
            scope.spawn(move |scope| self.fill_from(scope, rest, listing, end));
        }
        for at in from..end {
            let Some(name) = listing.get(at) else { break };
            if self.context.is_halted() {
                break;
            }
            if self.context.watch_below(folder.pair.watch, name).is_none() {
                continue;
            }
            folder.hold();
            let job = Job {
                pair: Arc::clone(&folder.pair),
                name: name.into(),
                verb: Verb::Create,
                expected: None,
                replica_unreadable: false,
                reason: "",
                content_is_right: false,
            };
            self.start(scope, job, Some(Arc::clone(&folder)));
        }
        self.release(Some(folder));
    }

    /// Lets go of a new folder; whoever is last finishes it, and then the folder above in the same way.
    fn release(&self, folder: Option<Arc<NewFolder>>) {
        let mut next = folder;
        while let Some(folder) = next {
            if folder.pending.fetch_sub(1, Ordering::AcqRel) != 1 {
                return;
            }
            self.finish(&folder.pair, true);
            next = folder.parent.clone();
        }
    }

    /// True when the folder shows other metadata now.
    fn finish(&self, pair: &Pair, attributes: bool) -> bool {
        if self.context.is_halted() {
            return false;
        }
        match finish_folder(self.context, pair, attributes) {
            Ok(changed) => changed,
            Err((_, errno)) if is_gone(errno) => false,
            Err((action, errno)) => {
                self.problem(&pair.path(), action, Cause::System(errno), "the folder's contents are right");
                false
            }
        }
    }

    fn touch(&self, pair: &Arc<Pair>) {
        lock(&self.touched).push(Arc::clone(pair));
    }

    /// Sets the metadata of an entry whose content is right.
    fn set_metadata(&self, change: &Change, reason: &'static str) {
        let path = change.pair.path().join(&change.name);
        match self.try_metadata(change) {
            Ok(Some(entry)) => {
                let size = (entry.kind == Kind::File).then_some(entry.size);
                self.context.done(Operation {
                    size,
                    reason,
                    ..Operation::new(Verb::Metadata, &path, entry.kind)
                });
            }
            Ok(None) => {}
            Err((_, errno)) if is_gone(errno) => {
                self.context.check_replica();
            }
            Err((action, errno)) => self.problem(&path, action, Cause::System(errno), "its content is right"),
        }
    }

    /// None when there turned out to be nothing to set, because the filesystem cannot hold it.
    fn try_metadata(&self, change: &Change) -> Result<Option<Entry>, NotSet> {
        let (Some(source), Some(replica)) = (&change.pair.source, &change.pair.replica) else { return Ok(None) };
        let source = source.open().map_err(|errno| ("open the source folder", errno))?;
        let replica = replica.open().map_err(|errno| ("open the replica folder", errno))?;
        let (source, replica, name) = (source.as_fd(), replica.as_fd(), &*change.name);
        let entry = stat::entry_at(source, name).map_err(|errno| ("look at it in the source", errno))?;
        let old = stat::entry_at(replica, name).map_err(|errno| ("look at it in the replica", errno))?;
        if entry.kind != change.kind || Some(old.id) != change.expected {
            return Err(("look at it in the replica", Errno::NOENT));
        }
        // A file is opened, so that what is set is set on the inode that was looked at; the rest is reached by name.
        let open = |folder, owner: u32| match change.kind {
            Kind::File => open_to_read(folder, name, self.context.owns(owner)).ok(),
            Kind::Folder | Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => None,
        };
        let (source_file, replica_file) = (open(source, entry.uid), open(replica, old.uid));
        let ours = source_file.as_ref().map_or(Subject::Named(source, name), |fd| Subject::Open(fd.as_fd()));
        let theirs = replica_file.as_ref().map_or(Subject::Named(replica, name), |fd| Subject::Open(fd.as_fd()));
        if theirs.entry().map_err(|errno| ("look at it in the replica", errno))?.id != old.id {
            return Err(("look at it in the replica", Errno::NOENT));
        }
        let has_attributes = change.kind != Kind::Symlink || self.context.privileged;
        let attributes = has_attributes.then_some(ours);
        let set = set_metadata(self.context, &change.pair.filesystem, Model { entry: &entry, attributes }, theirs)?;
        Ok(set.changed.then_some(set.entry))
    }

    /// Removes what the source no longer has: a chunk, after handing the rest on.
    fn remove_all<'s>(&'s self, scope: &Scope<'s>, removals: &'s [&'s Change]) {
        let (chunk, rest) = removals.split_at(removals.len().min(CHUNK));
        if !rest.is_empty() {
            scope.spawn(move |scope| self.remove_all(scope, rest));
        }
        for change in chunk {
            if self.context.is_halted() {
                return;
            }
            let Some(folder) = &change.pair.replica else { continue };
            make_writable(self.context, folder);
            let path = change.pair.path().join(&change.name);
            let target =
                Target { folder, name: &change.name, expected: change.expected, path: &path, tell_top: true };
            remove(self.context, target, Licence::Absent(&change.pair, &change.name));
        }
    }

    fn remove_leftovers(&self) {
        let leftovers = std::mem::take(&mut *lock(&self.leftovers));
        for (folder, name, path) in leftovers {
            if self.context.is_halted() {
                return;
            }
            let target = Target { folder: &folder, name: &name, expected: None, path: &path, tell_top: false };
            remove(self.context, target, Licence::Replaced);
        }
    }

    /// What found no room before the deletions is tried once more.
    fn try_again(&self, pool: &ThreadPool) {
        let jobs = std::mem::take(&mut *lock(&self.no_room));
        if jobs.is_empty() {
            return;
        }
        // One after the other: what does not fit must not take the room, while it tries, from what does.
        for job in jobs {
            if !self.context.is_halted() {
                self.touch(&job.pair);
                pool.in_place_scope(|scope| self.start(scope, job, None));
            }
        }
        self.link_deferred();
        for job in std::mem::take(&mut *lock(&self.no_room)) {
            self.problem(
                &job.path(),
                "copy it, even after the deletions",
                Cause::System(Errno::NOSPC),
                match job.expected {
                    Some(_) => "the old replica is kept",
                    None => "it is missing in the replica",
                },
            );
        }
        self.remove_leftovers();
    }

    /// Folders that were worked in, or whose own metadata differs; deepest first, since a mode may close a folder.
    fn finish_folders(&self, plan: &Plan) {
        struct Finish<'p> {
            pair: Arc<Pair>,
            planned: Option<&'p crate::filesystem::Differences>,
        }
        let mut all: HashMap<*const Pair, Finish<'_>> = HashMap::new();
        for pair in plan.changes.iter().map(|change| &change.pair).chain(lock(&self.touched).iter()) {
            all.entry(Arc::as_ptr(pair)).or_insert_with(|| Finish { pair: Arc::clone(pair), planned: None });
        }
        for folder in &plan.folders {
            let planned = Some(&folder.differences);
            all.insert(Arc::as_ptr(&folder.pair), Finish { pair: Arc::clone(&folder.pair), planned });
        }
        let mut all: Vec<Finish<'_>> = all.into_values().collect();
        all.sort_by_cached_key(|finish| (std::cmp::Reverse(finish.pair.depth()), finish.pair.path()));
        for Finish { pair, planned } in all {
            let attributes = planned.is_some_and(|differences| differences.attributes);
            if self.finish(&pair, attributes)
                && let Some(differences) = planned
            {
                let path = pair.path();
                let reason = differences.words();
                self.context.done(Operation { reason, ..Operation::new(Verb::Metadata, &path, Kind::Folder) });
            }
        }
    }
}

/// The open folders of a pair.
type Opened = (Arc<std::os::fd::OwnedFd>, Arc<std::os::fd::OwnedFd>);
