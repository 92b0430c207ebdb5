//! The state that survey and apply share during one pass: options, roots, rights, the facts of the replica's
//! filesystems, and the reporter.

pub(crate) mod absence;
pub(crate) mod compared;
pub(crate) mod focus;
pub(crate) mod inner_mounts;
pub(crate) mod log_file;
pub(crate) mod on_disk;
pub(crate) mod page_cache;
pub(crate) mod reporter;
pub(crate) mod roots;
pub(crate) mod unread;
mod unreadable;
pub(crate) mod vanished;

use crate::capabilities::registry::Filesystems;
use crate::context::absence::{Absence, Remembered};
use crate::context::compared::Compared;
use crate::context::focus::{Focus, Seen};
use crate::context::inner_mounts::InnerMounts;
use crate::context::log_file::LogFile;
use crate::context::on_disk::OnDisk;
use crate::context::page_cache::PageCache;
use crate::context::reporter::Reporter;
use crate::context::roots::{ReplicaState, Roots};
use crate::context::unread::Unread;
use crate::context::vanished::Vanished;
use crate::control::Interrupt;
use crate::filter::Filter;
use crate::fs::dir::Dir;
use crate::fs::file::open_to_read;
use crate::fs::lease::Leases;
use crate::fs::read_only::ReadOnlyFolders;
use crate::fs::stamp::Start;
use crate::fs::{Errno, stat};
use crate::guard::Limits;
use crate::hasher::LargeFiles;
use crate::index::Ledger;
use crate::model::confirm::Confirm;
use crate::model::counters::{Counter, Counts};
use crate::model::digest::Digests;
use crate::model::entry::Kind;
use crate::model::error::{Cause, Problem};
use crate::model::event::Reason;
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::model::rights::Rights;
use crate::throttle::Throttle;
use crate::workers::Workers;
use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The shared state of one pass.
pub(crate) struct Context<'a> {
    /// Reports and counts events.
    pub reporter: Reporter<'a>,
    /// The two folders.
    pub roots: Roots<'a>,
    /// The stop flag and the heartbeat.
    pub interrupt: &'a Interrupt,
    /// The thread pool.
    pub workers: &'a Workers,
    /// The mounts inside the trees, as the survey meets them.
    pub inner_mounts: InnerMounts,
    /// The contents that are digested.
    pub digests: Digests,
    /// True when the replica's disk lost data in the last pass: the page cache proves nothing then, and contents are
    /// read from the disk.
    pub asks_the_disk: bool,
    /// True: every copy is read back from the disk before it gets its name.
    pub verifies_writes: bool,
    /// The limit of the rate, if there is one.
    pub throttle: Option<&'a Throttle>,
    /// The facts of the replica's filesystems.
    pub filesystems: &'a Filesystems,
    /// The log file, if it lies in a root.
    pub log: LogFile<'a>,
    /// What is left out.
    pub filter: Arc<Filter>,
    /// The rights of this process.
    pub rights: Rights,
    /// The large files of this pass that are being hashed.
    pub large_files: LargeFiles,
    /// The read-only folders of the replica.
    pub read_only: ReadOnlyFolders,
    leases: Leases,
    /// Absences, and entries that the replica keeps for now.
    pub absence: Absence,
    /// Names that were listed and denied.
    pub vanished: Vanished,
    /// The files that need not be read again.
    pub compared: Compared,
    /// The index.
    pub ledger: Ledger,
    /// The most that the pass may take from the replica.
    pub limits: Limits,
    /// Whether it is the first pass of this process.
    pub is_first: bool,
    /// Who is asked before a first pass deletes.
    pub confirm: Option<&'a dyn Confirm>,
    /// Whether a plan is held that needs more room than the replica has.
    pub checks_room: bool,
    /// The path that the pass is limited to, if it is.
    pub focus: Option<&'a Focus>,
    /// The devices where reads can be announced at no cost.
    pub on_disk: OnDisk,
    /// The page cache.
    pub cache: PageCache,
    is_disturbed: AtomicBool,
    has_kept_back: AtomicBool,
    has_disk_failed: AtomicBool,
}

impl<'a> Context<'a> {
    /// The context of one pass. `protected` is the log file's path below the roots, where it lies in one of them.
    pub(crate) fn new(
        reporter: Reporter<'a>,
        (interrupt, workers): (&'a Interrupt, &'a Workers),
        source: (&'a Path, Arc<Dir>),
        replica: (&'a Path, Option<Arc<Dir>>),
        (filesystems, protected): (&'a Filesystems, Option<&'a PathBuf>),
    ) -> Context<'a> {
        Context {
            reporter,
            roots: Roots::new(source, replica),
            interrupt,
            workers,
            inner_mounts: InnerMounts::default(),
            digests: Digests::OfAll,
            asks_the_disk: false,
            verifies_writes: false,
            throttle: None,
            filesystems,
            log: LogFile::new(None, protected),
            filter: Arc::default(),
            rights: crate::fs::rights::rights(),
            large_files: LargeFiles::new(workers.computing()),
            read_only: ReadOnlyFolders::default(),
            leases: Leases::default(),
            absence: Absence::new(Start::now(), Remembered::default()),
            vanished: Vanished::default(),
            compared: Compared::default(),
            ledger: Ledger::off(),
            limits: Limits::default(),
            is_first: false,
            confirm: None,
            checks_room: true,
            focus: None,
            on_disk: OnDisk::default(),
            cache: PageCache::now(),
            is_disturbed: AtomicBool::new(false),
            has_kept_back: AtomicBool::new(false),
            has_disk_failed: AtomicBool::new(false),
        }
    }

    /// Whether the pass looks at a name in a folder: at all of them, unless it is limited to one path.
    pub(crate) fn looks_at(&self, folder: impl FnOnce() -> RelPath, name: &CStr) -> bool {
        self.focus.is_none_or(|focus| focus.has(&folder().join(name)))
    }

    /// Notes what was seen at a path, if the pass is limited to that one.
    pub(crate) fn note(&self, path: impl FnOnce() -> RelPath, note: impl FnOnce(&mut Seen)) {
        if let Some(focus) = self.focus {
            focus.note(&path(), note);
        }
    }

    /// True when the pass has to end early: on a stop signal, or when the replica has gone.
    pub(crate) fn is_halted(&self) -> bool {
        self.interrupt.is_set() || self.roots.is_replica_lost()
    }

    /// Checks whether the replica path still leads to the folder of this pass. If not, the pass ends early, with one
    /// problem instead of thousands.
    pub(crate) fn check_replica(&self) -> bool {
        let state = self.roots.replica_state();
        if state == ReplicaState::JustLost {
            self.reporter.problem(&Problem::new(
                RelPath::root(),
                ProblemKind::ContinuePass,
                Cause::Refused("the replica folder was removed or replaced"),
                "the next pass makes it again and fills it",
            ));
        }
        state == ReplicaState::Here
    }

    /// Reports that another process works on the replica during this pass, so that it may not match at the end: once,
    /// because a replica that is being deleted would give one problem per file.
    pub(crate) fn replica_disturbed(&self, path: &RelPath) {
        if self.check_replica() && !self.is_disturbed.swap(true, Ordering::Relaxed) {
            self.reporter.problem(&Problem::new(
                path.clone(),
                ProblemKind::ContinueHere,
                Cause::Refused("something else removed or replaced it during the pass"),
                "the next pass looks at it again; no more paths like it are told in this one",
            ));
        }
    }

    /// Reports a problem, and counts it. After the loss of the replica its consequences are not reported.
    pub(crate) fn problem(&self, problem: &Problem) {
        if !self.roots.is_replica_lost() && self.check_replica() {
            self.reporter.problem(problem);
        }
    }

    /// Reports an xattr that exists and could not be read, see [`Unread::telling`].
    pub(crate) fn xattr_unread(&self, path: &RelPath, unread: &Unread) {
        if let Some(problem) = self.reporter.xattr_unread(path, unread) {
            self.problem(&problem);
        }
    }

    /// Notes that an entry which is absent from the source folder of this pass stays in the replica, because a symbolic
    /// link leads to another folder now and absence there is not proven.
    pub(crate) fn keep_back(&self) {
        self.has_kept_back.store(true, Ordering::Relaxed);
    }

    /// Whether an entry was kept back.
    pub(crate) fn has_kept_back(&self) -> bool {
        self.has_kept_back.load(Ordering::Relaxed)
    }

    /// Notes that a write did not become durable.
    pub(crate) fn disk_failed(&self) {
        self.has_disk_failed.store(true, Ordering::Relaxed);
    }

    /// Whether a write of this pass did not become durable.
    pub(crate) fn has_disk_failed(&self) -> bool {
        self.has_disk_failed.load(Ordering::Relaxed)
    }

    /// Waits for the turn of so many bytes of content under the limit of the rate. Called once for bytes that are read on
    /// one side and written or compared on the other: the limit holds for each side. A wait ends early when the pass has
    /// to end, so callers check that next.
    pub(crate) fn pace(&self, bytes: usize) {
        if let Some(throttle) = self.throttle {
            throttle.wait(bytes as u64, || {
                // The wait is intended: it is progress to the watchdog.
                self.interrupt.beat();
                !self.is_halted()
            });
        }
    }

    /// Whether announcing the next reads to the kernel is worth it. What is announced is cached, and is read as fast as
    /// the disk can, whatever the limit of the rate.
    pub(crate) fn may_announce(&self) -> bool {
        self.throttle.is_none() && !self.cache.is_used_up() && self.workers.wait_for_disk()
    }

    /// Counts bytes read, and beats.
    pub(crate) fn read(&self, bytes: usize) {
        self.interrupt.beat();
        self.reporter.count(Counter::BytesRead, bytes as u64);
        self.workers.did_bytes(bytes as u64);
    }

    /// The numbers so far.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.reporter.counters().read();
        counts[Counter::KeptBack] = self.absence.kept(Reason::Changed).entries;
        counts
    }

    /// Opens a regular file of owner `uid` for reading, and waits for a lease on it to end.
    ///
    /// # Errors
    /// As [`open_to_read`]. `EAGAIN` also when this pass is to end, which may be the only reason for it.
    pub(crate) fn open_to_read(
        &self,
        folder: BorrowedFd<'_>,
        name: &CStr,
        uid: u32,
    ) -> Result<OwnedFd, Errno> {
        let own = self.owns(uid);
        let goes_on = || {
            self.interrupt.beat();
            // Lets the limit start other workers while this one waits.
            self.workers.did_bytes(0);
            let is_file = || stat::entry_at(folder, name).is_ok_and(|entry| entry.kind == Kind::File);
            !self.is_halted() && is_file()
        };
        self.leases.wait(Duration::MAX, || open_to_read(folder, name, own), goes_on)
    }

    /// Whether a file with this owner can be read without touching its access time.
    pub(crate) fn owns(&self, uid: u32) -> bool {
        self.rights.owns(uid)
    }
}
