//! The engine as its callers see it: a pair of roots that can be made to match, pass after pass.
//!
//! What outlives a pass is kept here: the worker threads, the lock on the replica, what was learned of its
//! filesystems, and whether something still has to be written to the disk.

use crate::absence::{Absence, Remembered};
use crate::context::{Context, Filesystems};
use crate::digest::Digests;
use crate::entry::{FileId, Kind};
use crate::fs::clock::BootTime;
use crate::fs::dir::Dir;
use crate::fs::stamp::Start;
use crate::fs::{Errno, is_gone, is_unsupported, place, roots, stat};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor, Notice};
use crate::pass::{Purpose, run};
use crate::path::RelPath;
use crate::problem::{Cause, Error, Side};
use crate::report::{Outcome, PassReport};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// What to mirror and how.
#[derive(Clone, Debug)]
pub struct MirrorOptions {
    /// The folder to read.
    pub source: PathBuf,
    /// The folder to make equal to it; created when missing.
    pub replica: PathBuf,
    /// The log file, which is neither copied nor deleted where it lies inside a root.
    pub log: Option<PathBuf>,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Which contents are digested.
    pub digests: Digests,
    /// True: make the plan, report it, write nothing.
    pub dry_run: bool,
}

/// A checked pair of roots.
pub struct Mirror {
    options: MirrorOptions,
    interrupt: Arc<Interrupt>,
    pool: ThreadPool,
    filesystems: Filesystems,
    protected: Option<PathBuf>,
    /// The replica folder that this process has locked, and whether the filesystem knew how to.
    locked: Option<(FileId, Arc<OwnedFd>)>,
    /// Whether something written may not be on the disk yet; also true for what an earlier process may have left.
    unsynced: bool,
    /// Whether the disk failed to take something in the last pass.
    disk_failed: bool,
    /// The device that held the source in the last pass that was done.
    last_device: Option<u64>,
    /// What the last pass kept back, and is to go in the next.
    remembered: Remembered,
    /// When the last pass began.
    last_start: Option<Start>,
    /// What is told when the first pass begins.
    first_notices: Vec<FirstNotice>,
}

enum FirstNotice {
    LogInside(Side, RelPath),
    FewerThreads(usize, u64),
}

/// Descriptors that are not for the trees: log, console, timer, signals, what the libraries need.
const RESERVED: u64 = 48;

/// Descriptors that one worker may hold at once besides the shared ones: two folders, a listing, two files, a target.
const PER_THREAD: u64 = 8;

impl Mirror {
    /// Checks the roots without creating or changing anything.
    ///
    /// # Errors
    /// The source is missing or not a folder, the replica is something else than a folder, or the two overlap.
    pub fn new(options: MirrorOptions, interrupt: Arc<Interrupt>) -> Result<Mirror, Error> {
        if !roots::has_descriptor_paths() {
            let cause = Cause::Refused("/proc is not mounted; mount it (mount -t proc proc /proc)");
            return Err(Error::System { action: "set the metadata of links and devices", cause });
        }
        check_source(&options)?;
        let path = || options.replica.clone();
        match stat::entry_at_path(&options.replica) {
            Ok(entry) if entry.kind != Kind::Folder => return Err(Error::ReplicaNotAFolder { path: path() }),
            Ok(_) => {}
            Err(errno) if errno == Errno::NOENT => {}
            Err(errno) if errno == Errno::NOTDIR => return Err(Error::ReplicaNotAFolder { path: path() }),
            Err(errno) => {
                return Err(Error::ReplicaUnusable { path: path(), action: "examined", cause: errno.into() });
            }
        }
        check_apart(&options)?;
        let mut first_notices = Vec::new();
        let protected = protected(&options)?;
        if let Some((side, path)) = &protected {
            first_notices
                .push(FirstNotice::LogInside(*side, RelPath::from_bytes(roots::bytes_of(path).to_vec())));
        }
        let limit = crate::fs::open_file_limit();
        let affordable =
            usize::try_from(limit.saturating_sub(RESERVED) / 2 / PER_THREAD).unwrap_or(usize::MAX).max(1);
        let threads = options.threads.clamp(1, affordable);
        if threads < options.threads {
            first_notices.push(FirstNotice::FewerThreads(threads, limit));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("worker {number}"))
            .build()
            .map_err(|error| Error::NoThreads { reason: error.to_string() })?;
        Ok(Mirror {
            options,
            interrupt,
            pool,
            filesystems: Filesystems::default(),
            protected: protected.map(|(_, path)| path),
            locked: None,
            unsynced: true,
            disk_failed: false,
            last_device: None,
            remembered: Remembered::default(),
            last_start: None,
            first_notices,
        })
    }

    /// Runs one pass. Problems with single paths are reported to the monitor and counted; they are not errors.
    ///
    /// # Errors
    /// The source is missing, or the replica cannot be used.
    pub fn pass(&mut self, number: u64, monitor: &dyn Monitor) -> Result<PassReport, Error> {
        self.pass_after(number, monitor, None)
    }

    /// Runs one pass right after another one, for what that has kept back: files that have not changed since it began are
    /// not read again.
    ///
    /// # Errors
    /// As [`Mirror::pass`].
    pub fn second_look(&mut self, number: u64, monitor: &dyn Monitor) -> Result<PassReport, Error> {
        self.pass_after(number, monitor, self.last_start)
    }

    fn pass_after(
        &mut self,
        number: u64,
        monitor: &dyn Monitor,
        compared: Option<Start>,
    ) -> Result<PassReport, Error> {
        let started = BootTime::now();
        let start = Start::now();
        self.last_start = Some(start);
        for notice in self.first_notices.drain(..) {
            monitor.event(&Event::Notice(match &notice {
                FirstNotice::LogInside(side, path) => Notice::LogInside { side: *side, path },
                FirstNotice::FewerThreads(threads, open_files) => {
                    Notice::FewerThreads { threads: *threads, open_files: *open_files }
                }
            }));
        }
        check_source(&self.options)?;
        // At every pass: a symbolic link may lead elsewhere by now, and anything may have been mounted.
        check_apart(&self.options)?;
        let capacity = self.handle_capacity();
        let source = Dir::root(&self.options.source, capacity).map_err(|errno| self.source_error(errno))?;
        let replica = self.open_replica(capacity, monitor)?;
        let (purpose, mut unsynced) =
            if self.options.dry_run { (Purpose::Plan, false) } else { (Purpose::Mirror, self.unsynced) };
        let device = source.id().device;
        let mut context = Context::new(
            monitor,
            &self.interrupt,
            (&self.options.source, source),
            (&self.options.replica, replica),
            (&self.filesystems, self.protected.as_ref()),
        );
        context.absence = Absence::new(start, self.remembered.clone());
        context.compared_before = compared.map(|start| start.stamp());
        context.last_device = self.last_device;
        context.digests = self.options.digests;
        context.asks_the_disk = self.disk_failed;
        start.let_tick();
        let outcome = run(&context, &self.pool, purpose, &mut unsynced);
        if matches!(outcome, Ok(Outcome::Done | Outcome::Planned)) {
            context.tell_kept_back();
        }
        let counts = context.counts();
        let to_remember = context.absence.to_remember();
        // Once a pass has seen a disk fail, the kernel's cache is not believed until another one got to its end.
        self.disk_failed |= context.has_disk_failed();
        drop(context);
        self.unsynced = unsynced;
        let outcome = outcome?;
        match outcome {
            Outcome::ReplicaLost => self.locked = None,
            Outcome::Done => {
                self.last_device = Some(device);
                self.disk_failed = unsynced;
                self.remembered = to_remember;
            }
            // What an earlier pass has kept back, and this one has not come to, may still go in the next.
            Outcome::Interrupted(_) => self.remembered.extend(to_remember),
            Outcome::Planned | Outcome::Held(_) => {}
        }
        Ok(PassReport {
            number,
            outcome,
            counts,
            duration: BootTime::now().since(started),
            replica_age: None,
        })
    }

    /// How many folders of each tree stay open.
    fn handle_capacity(&self) -> usize {
        let threads = self.pool.current_num_threads() as u64;
        let free = crate::fs::open_file_limit().saturating_sub(RESERVED + threads * PER_THREAD);
        usize::try_from(free / 2).unwrap_or(usize::MAX).clamp(4, 512)
    }

    fn source_error(&self, errno: Errno) -> Error {
        let path = self.options.source.clone();
        match errno {
            Errno::NOENT => Error::SourceMissing { path },
            Errno::NOTDIR => Error::SourceNotAFolder { path },
            errno => Error::SourceUnreadable { path, cause: errno.into() },
        }
    }

    /// Opens the replica, makes it where it is missing, and locks it. None in a dry run without a replica.
    fn open_replica(&mut self, capacity: usize, monitor: &dyn Monitor) -> Result<Option<Arc<Dir>>, Error> {
        let path = self.options.replica.clone();
        let unusable = |action: &'static str, errno: Errno| match errno {
            Errno::NOTDIR => Error::ReplicaNotAFolder { path: path.clone() },
            errno => Error::ReplicaUnusable { path: path.clone(), action, cause: errno.into() },
        };
        let dir = match Dir::root(&path, capacity) {
            Err(Errno::NOENT) if self.options.dry_run => return Ok(None),
            Err(Errno::NOENT) => {
                roots::create_with_parents(&path).map_err(|errno| unusable("created", errno))?;
                monitor.event(&Event::Notice(Notice::ReplicaCreated(&path)));
                Dir::root(&path, capacity)
            }
            opened => opened,
        };
        let dir = dir.map_err(|errno| unusable("opened", errno))?;
        if self.locked.as_ref().is_none_or(|(id, _)| *id != dir.id()) {
            // A replica that was made again is another folder; the lock on the old one is let go.
            self.locked = None;
            let fd = dir.open().map_err(|errno| unusable("opened", errno))?;
            match place::lock_folder(fd.as_fd()) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(Error::ReplicaLocked { path }),
                Err(errno)
                    if is_unsupported(errno)
                        || matches!(errno, Errno::NOLCK | Errno::BADF | Errno::INVAL) =>
                {
                    monitor.event(&Event::Notice(Notice::NoLock));
                }
                Err(errno) => return Err(unusable("locked", errno)),
            }
            self.locked = Some((dir.id(), fd));
        }
        Ok(Some(dir))
    }
}

fn check_source(options: &MirrorOptions) -> Result<(), Error> {
    let path = || options.source.clone();
    match stat::entry_at_path(&options.source) {
        Ok(entry) if entry.kind == Kind::Folder => Ok(()),
        Ok(_) => Err(Error::SourceNotAFolder { path: path() }),
        Err(errno) if is_gone(errno) => Err(Error::SourceMissing { path: path() }),
        Err(errno) => Err(Error::SourceUnreadable { path: path(), cause: Cause::System(errno) }),
    }
}

fn check_apart(options: &MirrorOptions) -> Result<(), Error> {
    let relation = roots::relation(&options.source, &options.replica).map_err(|errno| Error::System {
        action: "find out where the two folders are",
        cause: errno.into(),
    })?;
    relation.map_or(Ok(()), |relation| {
        Err(Error::RootsOverlap {
            relation,
            source_path: options.source.clone(),
            replica_path: options.replica.clone(),
        })
    })
}

/// The log file's path below a root, where it lies in one.
fn protected(options: &MirrorOptions) -> Result<Option<(Side, PathBuf)>, Error> {
    let Some(log) = &options.log else { return Ok(None) };
    for (side, root) in [(Side::Source, &options.source), (Side::Replica, &options.replica)] {
        let below = roots::position_below(root, log).map_err(|errno| Error::System {
            action: "find out where the log file is",
            cause: errno.into(),
        })?;
        if let Some(below) = below.filter(|below| !below.as_os_str().is_empty()) {
            return Ok(Some((side, below)));
        }
    }
    Ok(None)
}
