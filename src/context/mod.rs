//! What survey and apply share during one pass: the roots, the rights, the counters, and the one place where
//! everything is reported and counted.

pub mod absence;
pub mod inner_mounts;
pub mod protected;
pub mod unread;
mod unreadable;
pub mod vanished;

use crate::capabilities::registry::Filesystems;
use crate::collections::HashSet;
use crate::context::absence::{Absence, Kept, Remembered};
use crate::context::inner_mounts::InnerMounts;
use crate::context::protected::LogFile;
use crate::context::unread::{Telling, Unread};
use crate::context::vanished::Vanished;
use crate::control::Interrupt;
use crate::fs::dir::Dir;
use crate::fs::file::open_to_read;
use crate::fs::lease::Leases;
use crate::fs::read_only::ReadOnlyFolders;
use crate::fs::stamp::Start;
use crate::fs::{Errno, is_gone, roots, stat};
use crate::hasher::LargeFiles;
use crate::identity::hash_of;
use crate::model::change::{Operation, Verb};
use crate::model::digest::Digests;
use crate::model::entry::{Entry, Kind, Timestamp};
use crate::model::error::{Cause, Problem, Side};
use crate::model::event::Reason;
use crate::model::event::{Event, Monitor, Notice};
use crate::model::feature::Feature;
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::model::report::Counts;
use crate::model::rights::Rights;
use crate::plan::Watch;
use crate::workers::Workers;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the survey and the apply of one pass need to know.
pub struct Context<'a> {
    /// Receives every event.
    pub monitor: &'a dyn Monitor,
    /// The wish to stop.
    pub interrupt: &'a Interrupt,
    /// Who does the work.
    pub workers: &'a Workers,
    /// The source as the user gave it, and the folder it led to when the pass began.
    pub source: (&'a Path, Arc<Dir>),
    /// Where that folder is, whatever symbolic links the user's path goes through.
    pub real_source: PathBuf,
    /// The replica likewise; no folder in a dry run without a replica.
    pub replica: (&'a Path, Option<Arc<Dir>>),
    /// What is mounted inside the trees, as the survey meets it.
    pub inner_mounts: InnerMounts,
    /// Which contents are digested.
    pub digests: Digests,
    /// True when the disk of the replica lost something in the last pass: what the kernel still has in its cache says
    /// nothing then, and contents are read from the disk.
    pub asks_the_disk: bool,
    /// What is known of the replica's filesystems.
    pub filesystems: &'a Filesystems,
    /// The log file's path below the roots, where it lies in one of them.
    pub protected: Option<&'a PathBuf>,
    /// The log file, wherever it lies.
    pub log: LogFile<'a>,
    /// What this process may do.
    pub rights: Rights,
    /// The large files of this pass that are being hashed.
    pub large_files: LargeFiles,
    /// Where nothing can be changed.
    pub read_only: ReadOnlyFolders,
    leases: Leases,
    /// What the source lacks and the replica keeps for now.
    pub absence: Absence,
    /// Names that were listed and denied.
    pub vanished: Vanished,
    /// Set in a pass that follows another one at once: files that have not changed since that one began were compared in
    /// it, and are not read again.
    pub compared_before: Option<Timestamp>,
    moved: Mutex<HashSet<usize>>,
    totals: Totals,
    told: AtomicU32,
    told_unread: AtomicU32,
    /// Hashes of the attributes that have been told, each with its path.
    unread_by_path: Mutex<HashSet<u64>>,
    lost: AtomicBool,
    disturbed: AtomicBool,
    doubted: AtomicBool,
    kept_back: AtomicBool,
    disk_failed: AtomicBool,
}

/// The bit of links that cannot be read, among those of attributes: one for each side and way of telling.
const LINK: u32 = 1 << 4;

#[derive(Default)]
struct Totals {
    verbs: [AtomicU64; Verb::ALL.len()],
    unchanged: AtomicU64,
    skipped: AtomicU64,
    problems: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

/// Whether the folder that the pass began with is still the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// The source path leads to it.
    Same,
    /// A symbolic link on the way leads elsewhere by now, and the folder is where it was: it is as good a source as before.
    /// But whoever moves a link on may remove what it led to.
    LeftBehind,
    /// The path leads nowhere, or to something that is not a folder.
    Missing,
    /// It leads to another folder, and so does the real path: something was mounted, unmounted, renamed or replaced.
    Replaced,
}

impl SourceState {
    /// Whether the pass may go on with the folder that it began with.
    pub fn is_whole(self) -> bool {
        match self {
            SourceState::Same | SourceState::LeftBehind => true,
            SourceState::Missing | SourceState::Replaced => false,
        }
    }
}

impl<'a> Context<'a> {
    /// A context with empty counters.
    pub fn new(
        monitor: &'a dyn Monitor,
        (interrupt, workers): (&'a Interrupt, &'a Workers),
        source: (&'a Path, Arc<Dir>),
        replica: (&'a Path, Option<Arc<Dir>>),
        (filesystems, protected): (&'a Filesystems, Option<&'a PathBuf>),
    ) -> Context<'a> {
        Context {
            monitor,
            interrupt,
            workers,
            real_source: source.0.to_path_buf(),
            source,
            replica,
            inner_mounts: InnerMounts::default(),
            digests: Digests::OfAll,
            asks_the_disk: false,
            filesystems,
            protected,
            log: LogFile::default(),
            rights: crate::fs::rights::rights(),
            large_files: LargeFiles::new(workers.computing()),
            read_only: ReadOnlyFolders::default(),
            leases: Leases::default(),
            absence: Absence::new(Start::now(), Remembered::default()),
            vanished: Vanished::default(),
            compared_before: None,
            moved: Mutex::default(),
            totals: Totals::default(),
            told: AtomicU32::new(0),
            told_unread: AtomicU32::new(0),
            unread_by_path: Mutex::default(),
            lost: AtomicBool::new(false),
            disturbed: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            kept_back: AtomicBool::new(false),
            disk_failed: AtomicBool::new(false),
        }
    }

    /// True when the pass has to end early: a signal came, or the replica is gone.
    pub fn is_halted(&self) -> bool {
        self.interrupt.is_set() || self.is_replica_lost()
    }

    /// True once the replica folder was found missing or replaced.
    pub fn is_replica_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Looks whether the replica path still leads to the folder of this pass. When it does not, the pass ends early,
    /// with one problem instead of thousands.
    pub fn check_replica(&self) -> bool {
        let Some(dir) = &self.replica.1 else { return true };
        let here = stat::entry_at_path(self.replica.0).is_ok_and(|entry| entry.id == dir.id());
        if !here && !self.lost.swap(true, Ordering::Relaxed) {
            self.count_problem(&Problem {
                path: RelPath::root(),
                kind: ProblemKind::GoOn,
                cause: Cause::Refused("the replica folder was removed or replaced"),
                consequence: "the next pass makes it again and fills it",
                content_unreadable: false,
            });
        }
        here
    }

    /// Tells that something else works on the replica during this pass, so that it may not match at the end: once,
    /// because a replica that is being deleted would give one problem per file.
    pub fn replica_disturbed(&self, path: &RelPath) {
        if self.check_replica() && !self.disturbed.swap(true, Ordering::Relaxed) {
            self.count_problem(&Problem {
                path: path.clone(),
                kind: ProblemKind::GoOnHere,
                cause: Cause::Refused("something else removed or replaced it during the pass"),
                consequence: "the next pass looks at it again; no more paths like it are told in this one",
                content_unreadable: false,
            });
        }
    }

    /// Whether the pass before, which this one follows at once, has compared two files of one size: it has mended what
    /// differed, or has told why not.
    pub fn was_compared_before(&self, folder: Option<&Arc<Dir>>, source: &Entry, replica: &Entry) -> bool {
        let has_moved = |dir: &Arc<Dir>| self.moved().contains(&Arc::as_ptr(dir).addr());
        self.compared_before.is_some_and(|start| source.ctime < start)
            && source.mtime == replica.mtime
            && !folder.is_some_and(has_moved)
    }

    /// Notes, in a pass that follows another one at once, that a folder or one above it has changed since that one began:
    /// another folder may have its name by now, with files that are older.
    pub fn note_moved(&self, dir: &Arc<Dir>, facts: &Entry) {
        let Some(start) = self.compared_before else { return };
        let mut moved = self.moved();
        let is_below = dir.parent().is_some_and(|above| moved.contains(&Arc::as_ptr(above).addr()));
        if facts.ctime >= start || is_below {
            // By address: it may be another folder's later, which is read again for nothing then.
            moved.insert(Arc::as_ptr(dir).addr());
        }
    }

    fn moved(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the folder of this pass is still the source.
    pub fn source_state(&self) -> SourceState {
        let state = self.look_at_source();
        if !state.is_whole() {
            self.doubted.store(true, Ordering::Relaxed);
        }
        state
    }

    /// True once the source path was found to lead elsewhere, even if it came back: something was left undone then.
    pub fn was_source_away(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    fn look_at_source(&self) -> SourceState {
        let leads = |path: &Path| match stat::entry_at_path(path) {
            Ok(entry) if entry.id == self.source.1.id() => SourceState::Same,
            Ok(entry) if entry.kind == Kind::Folder => SourceState::Replaced,
            Ok(_) => SourceState::Missing,
            Err(errno) if is_gone(errno) => SourceState::Missing,
            // It cannot be seen: then it cannot be shown to be the same either.
            Err(_) => SourceState::Replaced,
        };
        let state = leads(self.source.0);
        let is_left_behind = state != SourceState::Same
            && self.real_source != self.source.0
            && leads(&self.real_source) == SourceState::Same;
        if is_left_behind { SourceState::LeftBehind } else { state }
    }

    /// Marks that something which is absent from the folder of this pass stays in the replica, because a link has moved on
    /// and it is not known to be absent there.
    pub fn keep_back(&self) {
        self.kept_back.store(true, Ordering::Relaxed);
    }

    /// Whether anything was kept back.
    pub fn has_kept_back(&self) -> bool {
        self.kept_back.load(Ordering::Relaxed)
    }

    /// Reports something done, and counts it.
    pub fn done(&self, operation: Operation<'_>) {
        self.count_verb(operation.verb);
        self.monitor.event(&Event::Done(operation));
    }

    /// Reports something planned, and counts it.
    pub fn planned(&self, operation: Operation<'_>) {
        self.count_verb(operation.verb);
        self.monitor.event(&Event::Planned(operation));
    }

    fn count_verb(&self, verb: Verb) {
        let index = Verb::ALL.iter().position(|other| *other == verb).unwrap_or_default();
        if let Some(total) = self.totals.verbs.get(index) {
            total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reports a problem, and counts it; once the replica is lost, what follows from that is not repeated.
    pub fn problem(&self, problem: &Problem) {
        if !self.is_replica_lost() && self.check_replica() {
            self.count_problem(problem);
        }
    }

    fn count_problem(&self, problem: &Problem) {
        self.totals.problems.fetch_add(1, Ordering::Relaxed);
        self.monitor.event(&Event::Problem(problem));
    }

    /// Reports an entry that is left out by design.
    pub fn skipped(&self, path: &RelPath, kind: Kind, reason: &str) {
        self.totals.skipped.fetch_add(1, Ordering::Relaxed);
        self.monitor.event(&Event::Skipped { path, kind, reason });
    }

    /// Tells, once per pass, that the replica cannot hold something.
    pub fn not_held(&self, feature: Feature) {
        let bit = 1 << feature as u32;
        if self.told.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.monitor.event(&Event::Notice(Notice::NotHeld(feature)));
        }
    }

    /// Tells, once per pass, that a symbolic link of the replica does not show where it leads.
    pub fn link_unread(&self, path: &RelPath, errno: Errno) {
        if self.told_unread.fetch_or(LINK, Ordering::Relaxed) & LINK == 0 {
            let cause = Cause::System(errno);
            self.monitor.event(&Event::Notice(Notice::LinkUnread { path, cause }));
        }
    }

    /// Tells that an extended attribute is there and could not be read, see [`Telling`].
    pub fn attribute_unread(&self, path: &RelPath, unread: &Unread) {
        let telling = unread.telling();
        let cause = Cause::System(unread.errno);
        if telling != Telling::Problem {
            let bit =
                1 << (2 * u32::from(telling == Telling::Notice) + u32::from(unread.side == Side::Source));
            if self.told_unread.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
                return;
            }
        } else {
            // The survey and apply both read it.
            let what = hash_of(&(path.as_bytes(), unread.name.as_c_str(), unread.side == Side::Source));
            if !self.unread_by_path.lock().unwrap_or_else(PoisonError::into_inner).insert(what) {
                return;
            }
        }
        match telling {
            Telling::Notice => self.monitor.event(&Event::Notice(Notice::AttributeUnread {
                side: unread.side,
                path,
                name: &unread.name,
                cause,
            })),
            Telling::ProblemOnce | Telling::Problem => self.problem(&Problem {
                path: path.clone(),
                kind: unread.kind(),
                cause,
                consequence: unread.consequence(),
                content_unreadable: false,
            }),
        }
    }

    /// Tells what was kept back.
    pub fn tell_kept_back(&self) {
        for reason in Reason::ALL {
            let Kept { entries, first } = self.absence.kept(reason);
            if entries > 0 {
                self.monitor.event(&Event::Notice(Notice::KeptBack { reason, entries, path: &first }));
            }
        }
    }

    /// Counts entries that are right already.
    pub fn unchanged(&self, entries: u64) {
        self.totals.unchanged.fetch_add(entries, Ordering::Relaxed);
    }

    /// Counts entries that are left out by design and told by [`Context::not_held`].
    pub fn left_out(&self) {
        self.totals.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes read, and is a sign of life.
    pub fn read(&self, bytes: usize) {
        self.interrupt.beat();
        self.totals.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        self.workers.did_bytes(bytes as u64);
    }

    /// Marks that something written did not get to its disk.
    pub fn disk_failed(&self) {
        self.disk_failed.store(true, Ordering::Relaxed);
    }

    /// Whether something written in this pass did not get to its disk.
    pub fn has_disk_failed(&self) -> bool {
        self.disk_failed.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.totals.bytes_written.load(Ordering::Relaxed)
    }

    /// Counts bytes written, or to be written.
    pub fn written(&self, bytes: u64) {
        self.totals.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The numbers so far.
    pub fn counts(&self) -> Counts {
        let verb = |verb: Verb| {
            let index = Verb::ALL.iter().position(|other| *other == verb);
            index.and_then(|at| self.totals.verbs.get(at)).map_or(0, |total| total.load(Ordering::Relaxed))
        };
        Counts {
            created: verb(Verb::Create),
            updated: verb(Verb::Update),
            repaired: verb(Verb::Repair),
            retyped: verb(Verb::Retype),
            renamed: verb(Verb::Rename),
            linked: verb(Verb::Link),
            metadata: verb(Verb::Metadata),
            deleted: verb(Verb::Delete),
            unchanged: self.totals.unchanged.load(Ordering::Relaxed),
            skipped: self.totals.skipped.load(Ordering::Relaxed),
            kept_back: self.absence.kept(Reason::Changed).entries,
            problems: self.totals.problems.load(Ordering::Relaxed),
            bytes_read: self.totals.bytes_read.load(Ordering::Relaxed),
            bytes_written: self.bytes_written(),
        }
    }

    /// How `name` in a folder that lies like `watch` lies to the protected log file: off it, above it, or the file
    /// itself (none).
    pub fn watch_below(&self, watch: Watch, name: &CStr) -> Option<Watch> {
        match self.next_protected(watch) {
            Some(next) if next == name.to_bytes() => self.watch_of_next(watch),
            Some(_) | None => Some(Watch::Off),
        }
    }

    /// The next name of the protected path in a folder that lies like `watch`; none off the way.
    pub fn next_protected(&self, watch: Watch) -> Option<&[u8]> {
        let (Watch::On(matched), Some(protected)) = (watch, self.protected) else { return None };
        protected.components().nth(matched).map(|next| next.as_os_str().as_encoded_bytes())
    }

    /// How what has that name lies to the protected log file; none for the file itself.
    pub fn watch_of_next(&self, watch: Watch) -> Option<Watch> {
        let (Watch::On(matched), Some(protected)) = (watch, self.protected) else { return Some(Watch::Off) };
        protected.components().nth(matched + 1).map(|_| Watch::On(matched + 1))
    }

    /// Whether an entry of one tree is the root of the other.
    pub fn is_other_root(&self, side: Side, entry: &Entry) -> bool {
        match side {
            Side::Source => self.replica.1.as_ref().is_some_and(|root| root.id() == entry.id),
            Side::Replica => self.source.1.id() == entry.id,
        }
    }

    /// Whether the two roots, with everything that is mounted inside them now, have nothing in common.
    ///
    /// # Errors
    /// As [`roots::relation`].
    pub fn are_roots_apart(&self) -> Result<bool, Errno> {
        Ok(roots::relation(&self.real_source, self.replica.0)?.is_none())
    }

    /// Opens a regular file of `uid`'s for reading, and waits for whoever holds a lease on it.
    ///
    /// # Errors
    /// As [`open_to_read`]. `EAGAIN` also when this pass is to end, which may be the only reason for it.
    pub fn open_to_read(&self, folder: BorrowedFd<'_>, name: &CStr, uid: u32) -> Result<OwnedFd, Errno> {
        let own = self.owns(uid);
        let goes_on = || {
            self.interrupt.beat();
            // Others take the place of a worker that waits.
            self.workers.did_bytes(0);
            let is_file = || stat::entry_at(folder, name).is_ok_and(|entry| entry.kind == Kind::File);
            !self.is_halted() && is_file()
        };
        self.leases.wait(Duration::MAX, || open_to_read(folder, name, own), goes_on)
    }

    /// Whether a file with this owner can be read without touching its access time.
    pub fn owns(&self, uid: u32) -> bool {
        self.rights.owns(uid)
    }
}
