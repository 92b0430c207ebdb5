//! What survey and apply share during one pass: the roots, the rights, the counters, and the one place where
//! everything is reported and counted.

use crate::absence::{Absence, Kept, Reason, Remembered};
use crate::digest::Digests;
use crate::entry::{Entry, Kind, Timestamp};
use crate::filesystem::{Filesystem, Rights};
use crate::fs::dir::Dir;
use crate::fs::stamp::Start;
use crate::fs::superblock::{EXT, may_commit_fast};
use crate::fs::{Errno, is_gone, roots, stat};
use crate::hashing::LargeFiles;
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Feature, Monitor, Notice, Operation, Verb};
use crate::path::RelPath;
use crate::plan::Watch;
use crate::problem::{Cause, Problem, Side};
use crate::report::Counts;
use crate::vanished::Vanished;
use std::collections::HashMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the survey and the apply of one pass need to know.
pub struct Context<'a> {
    /// Receives every event.
    pub monitor: &'a dyn Monitor,
    /// The wish to stop.
    pub interrupt: &'a Interrupt,
    /// The source as the user gave it, and the folder it led to when the pass began.
    pub source: (&'a Path, Arc<Dir>),
    /// The replica likewise; no folder in a dry run without a replica.
    pub replica: (&'a Path, Option<Arc<Dir>>),
    /// The device that held the source in the last pass that was done, if there was one.
    pub last_device: Option<u64>,
    /// Which contents are digested.
    pub digests: Digests,
    /// True when the disk of the replica lost something in the last pass: what the kernel still has in its cache says
    /// nothing then, and contents are read from the disk.
    pub asks_the_disk: bool,
    /// What is known of the replica's filesystems.
    pub filesystems: &'a Filesystems,
    /// The log file's path below the roots, where it lies in one of them.
    pub protected: Option<&'a PathBuf>,
    /// What this process may do.
    pub rights: Rights,
    /// The large files of this pass that are being hashed.
    pub large_files: LargeFiles,
    /// What the source lacks and the replica keeps for now.
    pub absence: Absence,
    /// Names that were listed and denied.
    pub vanished: Vanished,
    /// Set in a pass that follows another one at once: files that have not changed since that one began were compared in
    /// it, and are not read again.
    pub compared_before: Option<Timestamp>,
    totals: Totals,
    told: AtomicU32,
    lost: AtomicBool,
    disturbed: AtomicBool,
    doubted: AtomicBool,
    disk_failed: AtomicBool,
}

#[derive(Default)]
struct Totals {
    verbs: [AtomicU64; Verb::ALL.len()],
    unchanged: AtomicU64,
    skipped: AtomicU64,
    problems: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

/// Whether the source path still leads to the folder that the pass began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It does.
    Same,
    /// It leads nowhere, or to something that is not a folder.
    Missing,
    /// It leads to another folder.
    Replaced,
}

impl<'a> Context<'a> {
    /// A context with empty counters.
    pub fn new(
        monitor: &'a dyn Monitor,
        interrupt: &'a Interrupt,
        source: (&'a Path, Arc<Dir>),
        replica: (&'a Path, Option<Arc<Dir>>),
        (filesystems, protected): (&'a Filesystems, Option<&'a PathBuf>),
    ) -> Context<'a> {
        Context {
            monitor,
            interrupt,
            source,
            replica,
            last_device: None,
            digests: Digests::OfAll,
            asks_the_disk: false,
            filesystems,
            protected,
            rights: crate::fs::rights(),
            large_files: LargeFiles::default(),
            absence: Absence::new(Start::now(), Remembered::default()),
            vanished: Vanished::default(),
            compared_before: None,
            totals: Totals::default(),
            told: AtomicU32::new(0),
            lost: AtomicBool::new(false),
            disturbed: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
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
                action: "go on with this pass",
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
                action: "go on here in the replica",
                cause: Cause::Refused("something else removed or replaced it during the pass"),
                consequence: "the next pass looks at it again; no more paths like it are told in this one",
                content_unreadable: false,
            });
        }
    }

    /// Whether the pass before, which this one follows at once, has compared two files of one size: it has mended what
    /// differed, or has told why not.
    pub fn was_compared_before(&self, source: &Entry, replica: &Entry) -> bool {
        self.compared_before.is_some_and(|start| source.ctime < start) && source.mtime == replica.mtime
    }

    /// Looks whether the source path still leads to the folder of this pass.
    pub fn source_state(&self) -> SourceState {
        let state = self.look_at_source();
        if state != SourceState::Same {
            self.doubted.store(true, Ordering::Relaxed);
        }
        state
    }

    /// True once the source path was found to lead elsewhere, even if it came back: something was left undone then.
    pub fn was_source_away(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    fn look_at_source(&self) -> SourceState {
        match stat::entry_at_path(self.source.0) {
            Ok(entry) if entry.id == self.source.1.id() => SourceState::Same,
            Ok(entry) if entry.kind == Kind::Folder => SourceState::Replaced,
            Ok(_) => SourceState::Missing,
            Err(errno) if is_gone(errno) => SourceState::Missing,
            // It cannot be seen: then it cannot be shown to be the same either.
            Err(_) => SourceState::Replaced,
        }
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
        let (Watch::On(matched), Some(protected)) = (watch, self.protected) else { return Some(Watch::Off) };
        let mut names = protected.components().skip(matched);
        match names.next() {
            Some(next) if next.as_os_str().as_encoded_bytes() == name.to_bytes() => {
                names.next().map(|_| Watch::On(matched + 1))
            }
            Some(_) | None => Some(Watch::Off),
        }
    }

    /// Whether an entry of one tree is the root of the other.
    pub fn is_other_root(&self, side: Side, entry: &Entry) -> bool {
        match side {
            Side::Source => self.replica.1.as_ref().is_some_and(|root| root.id() == entry.id),
            Side::Replica => self.source.1.id() == entry.id,
        }
    }

    /// Whether the two roots, with everything that is mounted inside them now, have nothing in common.
    pub fn are_roots_apart(&self) -> bool {
        roots::relation(self.source.0, self.replica.0) == Ok(None)
    }

    /// Whether a file with this owner can be read without touching its access time.
    pub fn owns(&self, uid: u32) -> bool {
        self.rights.privileged || self.rights.user == uid
    }
}

/// What is known of the filesystems that hold the replica, by device number; it outlives the pass.
#[derive(Debug, Default)]
pub struct Filesystems(Mutex<HashMap<u64, Known>>);

/// A filesystem and its type: device numbers are used again, for other filesystems.
#[derive(Debug)]
struct Known {
    magic: u64,
    filesystem: Arc<Filesystem>,
}

impl Filesystems {
    /// The filesystem that an open folder of the replica lies on.
    ///
    /// # Errors
    /// As opening the folder and `fstatfs(2)`.
    pub fn of(&self, dir: &Arc<Dir>) -> Result<Arc<Filesystem>, Errno> {
        let magic = stat::filesystem_type(&*dir.open()?)?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Known { magic, filesystem: Arc::new(Filesystem::of_type(magic)) };
        let known = all.entry(dir.id().device).or_insert_with(fresh);
        if known.magic != magic {
            *known = fresh();
        }
        if magic == EXT {
            // Each time: another disk may have come under the same number.
            known.filesystem.know_fast_commits(may_commit_fast(dir.id().device));
        }
        Ok(Arc::clone(&known.filesystem))
    }
}
