//! The engine: a pair of roots that is mirrored pass after pass.
//!
//! It keeps the state that outlives a pass: the worker threads, the lock on the replica, the learned properties of its
//! filesystems, and whether writes may not be durable yet.

mod checks;
mod explain;
mod notes;
mod places;

use self::checks::{check_apart, check_source, patiently, place_inside, protected};
use crate::capabilities::registry::Filesystems;
use crate::context::Context;
use crate::context::absence::{Absence, Remembered};
use crate::context::compared::Compared;
use crate::context::focus::Focus;
use crate::context::log_file::LogFile;
use crate::context::reporter::Reporter;
use crate::control::Interrupt;
use crate::filter::{Filter, FilterOptions};
use crate::fs::clock::BootTime;
use crate::fs::dir::Dir;
use crate::fs::stamp::Start;
use crate::fs::{Errno, roots, stat};
use crate::guard::{Facts, Limits, Ruling, examine};
use crate::index::passes::{PassEnd, carry_problems};
use crate::index::{Index, IndexOptions};
use crate::lock::ReplicaLock;
use crate::model::confirm::Confirm;
use crate::model::counters::{Counter, Counts};
use crate::model::digest::Digests;
use crate::model::entry::{FileId, Kind};
use crate::model::error::{Cause, Error, Side};
use crate::model::event::{Event, Monitor, Notice};
use crate::model::mounts::Identity;
use crate::model::path::RelPath;
use crate::model::report::{Hold, Outcome, PassReport};
use crate::pass::{Arrival, Carried, Purpose, run};
use crate::throttle::Throttle;
use crate::whereabouts::{Inner, Ways, end, find, identity, identity_of_missing};
use crate::workers::{MOST, Workers};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The options of a [`Mirror`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorOptions {
    /// The source folder; only read.
    pub source: PathBuf,
    /// The replica folder; created when missing.
    pub replica: PathBuf,
    /// The log file. Inside a root it is neither copied nor deleted.
    pub log: Option<PathBuf>,
    /// The maximum of worker threads, at least 1. None: a default, or `processors` if that is more, or if there is a limit
    /// of the rate.
    pub threads: Option<usize>,
    /// The processors that this process may use, at least 1.
    pub processors: usize,
    /// The extent of digests.
    pub digests: Digests,
    /// True: compute and report the plan, write nothing.
    pub dry_run: bool,
    /// True: every copy is read back from the disk before it gets its name.
    pub verify_writes: bool,
    /// The limit of `--bwlimit`: the rate at which contents are read and written on each side; none for no limit.
    pub bytes_per_second: Option<NonZeroU64>,
    /// What is remembered from one pass to the next; none: nothing.
    pub index: Option<IndexOptions>,
    /// The most that a pass may take from the replica.
    pub limits: Limits,
    /// What is left out.
    pub filter: FilterOptions,
    /// True: a plan that needs more room than the replica has is held before the first write.
    pub checks_room: bool,
}

/// A checked pair of roots, mirrored pass after pass.
pub struct Mirror {
    options: MirrorOptions,
    interrupt: Arc<Interrupt>,
    workers: Workers,
    throttle: Option<Throttle>,
    filesystems: Filesystems,
    filter: Arc<Filter>,
    protected: Option<PathBuf>,
    lock: ReplicaLock,
    index: Option<Index>,
    /// Unsynced at first: an earlier process may have left writes that are not durable.
    carried: Carried,
    /// True after a write that did not become durable, until a whole pass has synced the replica.
    disk_failed: bool,
    /// The paths that the last pass kept back and the next may delete.
    remembered: Remembered,
    /// The start and the source of the last pass.
    last: Option<Begin>,
    /// The counters in the row of the last pass.
    noted: Counts,
    /// Who is asked before a first pass deletes.
    confirm: Option<Box<dyn Confirm>>,
    /// The path that the passes are limited to, for [`Mirror::explain`].
    focus: Option<Arc<Focus>>,
    /// The notices to report at the start of the first pass.
    first_notices: Vec<FirstNotice>,
}

/// The number and the start of a pass.
#[derive(Clone, Copy)]
struct Moment {
    /// The number of the pass.
    number: u64,
    start: Start,
    /// The previous pass, for a second look: its comparisons still hold.
    before: Option<Begin>,
}

/// The start and the source of a pass.
#[derive(Clone, Copy)]
struct Begin {
    start: Start,
    source: FileId,
    /// With the birth time, if it could be read: a new folder may get the old inode number.
    identity: Option<Identity>,
}

impl Begin {
    fn is_with(&self, other: &Begin) -> bool {
        let is_known_as_another =
            self.identity.zip(other.identity).is_some_and(|(one, other)| !one.is_same_folder(&other));
        self.source == other.source && !is_known_as_another
    }
}

/// The result of a visit of the two trees.
struct Visited {
    outcome: Outcome,
    counts: Counts,
    /// See [`PassReport::oldest_confirmation`].
    oldest_confirmation: Option<Duration>,
}

impl Visited {
    /// Of a pass that ended before anything was read.
    fn early(outcome: Outcome) -> Visited {
        Visited { outcome, counts: Counts::default(), oldest_confirmation: None }
    }
}

enum FirstNotice {
    LogInside(Side, RelPath),
    FewerThreads(usize, u64),
    IndexUnusable(PathBuf, String),
}

/// Descriptors that are not for the trees: log, console, timer, signals, libraries.
const RESERVED: u64 = 48;

/// Descriptors that one worker may hold at once besides the shared ones: two folders, a listing, two files, a target.
const PER_THREAD: u64 = 8;

impl Mirror {
    /// Checks the roots without creating or changing anything.
    ///
    /// # Errors
    /// The source is missing, unreadable or not a folder; the replica is unusable or not a folder; the two overlap;
    /// `/proc` is not mounted; no worker threads.
    pub fn new(options: MirrorOptions, interrupt: Arc<Interrupt>) -> Result<Mirror, Error> {
        if !roots::has_descriptor_paths() {
            let cause = Cause::Refused("/proc is not mounted; mount it (mount -t proc proc /proc)");
            return Err(Error::System { action: "set the metadata of links and devices", cause });
        }
        check_source(&options.source)?;
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
        patiently(|| check_apart(&options.source, &options.source, &options.replica))?;
        let mut first_notices = Vec::new();
        let protected = patiently(|| protected(options.log.as_deref(), &options.source, &options.replica))?;
        if let Some((side, path)) = &protected {
            first_notices
                .push(FirstNotice::LogInside(*side, RelPath::from_bytes(roots::bytes_of(path).to_vec())));
        }
        let index = options.index.as_ref().and_then(|index_options| {
            let index = Index::new(index_options.clone(), &options.source, &options.replica);
            let reason = match place_inside(&index_options.state_dir, &options.source, &options.replica) {
                Ok(None) => return Some(index),
                Ok(Some((side, _))) => {
                    format!("its folder lies inside the {side}; choose another one with --state-dir")
                }
                Err(cause) => format!("where its folder is cannot be found out: {cause}"),
            };
            first_notices.push(FirstNotice::IndexUnusable(index.path().to_owned(), reason));
            None
        });
        let limit = crate::fs::open_file_limit();
        let affordable =
            usize::try_from(limit.saturating_sub(RESERVED) / 2 / PER_THREAD).unwrap_or(usize::MAX).max(1);
        // Under a limit of the rate more workers gain nothing, and each file would be open for longer, in which it may
        // change.
        let most = options.bytes_per_second.map_or(MOST, |_| 1);
        let threads = options.threads.unwrap_or(most.max(options.processors)).clamp(1, affordable);
        if options.threads.is_some_and(|wanted| threads < wanted) {
            first_notices.push(FirstNotice::FewerThreads(threads, limit));
        }
        let workers = Workers::new(options.processors, threads)
            .map_err(|error| Error::NoThreads { reason: error.to_string() })?;
        Ok(Mirror {
            throttle: options.bytes_per_second.map(Throttle::new),
            filter: Arc::new(Filter::new(options.filter.clone())),
            options,
            interrupt,
            workers,
            filesystems: Filesystems::default(),
            protected: protected.map(|(_, path)| path),
            lock: ReplicaLock::default(),
            index,
            carried: Carried { unsynced: true, memory: None, held: None, had_problems: None },
            disk_failed: false,
            remembered: Remembered::default(),
            last: None,
            noted: Counts::default(),
            confirm: None,
            focus: None,
            first_notices,
        })
    }

    /// Has somebody asked before the first pass deletes entries from a replica that no recorded pass has written. Without
    /// it the pass reports that, and goes on.
    #[must_use]
    pub fn asking(self, confirm: Box<dyn Confirm>) -> Mirror {
        Mirror { confirm: Some(confirm), ..self }
    }

    /// Runs one pass. Problems with single paths are reported to the monitor and counted; they are not errors.
    ///
    /// # Errors
    /// The source is missing, unreadable or lost; the replica is unusable or locked; the two overlap.
    pub fn pass(&mut self, number: u64, monitor: &dyn Monitor) -> Result<PassReport, Error> {
        self.pass_after(number, monitor, None)
    }

    /// Runs one pass right after another one, for the entries that it kept back. Files that have not changed since then
    /// are not read again. Held if the source path leads to another folder by now: the entries were absent from the
    /// earlier one only.
    ///
    /// # Errors
    /// As [`Mirror::pass`].
    pub fn second_look(&mut self, number: u64, monitor: &dyn Monitor) -> Result<PassReport, Error> {
        self.pass_after(number, monitor, self.last)
    }

    fn pass_after(
        &mut self,
        number: u64,
        monitor: &dyn Monitor,
        before: Option<Begin>,
    ) -> Result<PassReport, Error> {
        let started = BootTime::now();
        let start = Start::now();
        for notice in self.first_notices.drain(..) {
            monitor.event(&Event::Notice(match &notice {
                FirstNotice::LogInside(side, path) => Notice::LogInside { side: *side, path },
                FirstNotice::FewerThreads(threads, open_files) => {
                    Notice::FewerThreads { threads: *threads, open_files: *open_files }
                }
                FirstNotice::IndexUnusable(index, reason) => Notice::IndexUnusable { index, reason },
            }));
        }
        let visited = self.visit(monitor, Moment { number, start, before });
        let duration = BootTime::now().since(started);
        let mut noted = visited.as_ref().map_or_else(|_| Counts::default(), |visited| visited.counts);
        if before.is_some() {
            carry_problems(&mut noted, &self.noted);
        }
        let result = visited.as_ref().map(|visited| (&visited.outcome, &noted));
        let warning = self.note_end(&PassEnd { number, start, duration, result });
        self.noted = noted;
        self.warn(monitor, warning);
        let Visited { outcome, counts, oldest_confirmation } = visited?;
        Ok(PassReport { number, outcome, counts, duration, replica_age: None, oldest_confirmation })
    }

    /// Resolves and opens the two roots, and mirrors them unless the guard holds the pass.
    fn visit(&mut self, monitor: &dyn Monitor, moment: Moment) -> Result<Visited, Error> {
        check_source(&self.options.source)?;
        let capacity = self.handle_capacity();
        let (source_way, source) =
            find(&self.options.source, capacity).map_err(|errno| self.source_error(errno))?;
        let source = source.ok_or_else(|| self.source_error(Errno::NOENT))?;
        let source_identity = source_way.last().and_then(|step| step.identity);
        let begin = Begin { start: moment.start, source: source.id(), identity: source_identity };
        if moment.before.is_some_and(|before| !before.is_with(&begin)) {
            return Ok(Visited::early(Outcome::Held(Hold::SourceReplaced)));
        }
        self.last = Some(begin);
        let (replica_way, mut replica) = self.find_replica(capacity)?;
        let mut ways = Ways { source: source_way, replica: replica_way };
        let mut swapped = match self.judge(&ways) {
            Ok(swapped) => swapped,
            Err(hold) => return Ok(Visited::early(Outcome::Held(hold))),
        };
        let source_path = end(&ways.source).unwrap_or(&self.options.source).to_path_buf();
        // Checked at every pass: a symbolic link may lead elsewhere by now, and mounts may have changed.
        check_apart(&source_path, &self.options.source, &self.options.replica)?;
        self.lock(replica.as_ref(), monitor)?;
        // Before the first write, and before anything is read: a held pass costs little.
        let inner = Inner::look(&source, replica.as_ref(), self.carried.memory.as_ref());
        let facts = Facts { source_is_same: true, gone: inner.gone(), swapped: &[] };
        if let Ruling::Hold(hold) = examine(facts) {
            inner.note_vacated(&mut self.carried.memory);
            self.let_go(&hold);
            return Ok(Visited::early(Outcome::Held(hold)));
        }
        let is_made = replica.is_none() && !self.options.dry_run;
        let made = if is_made { roots::missing(&self.options.replica) } else { Vec::new() };
        if is_made {
            // RACE: a filesystem unmounted between the judgement and now leaves a folder in its mount point, no more.
            roots::create_with_parents(&self.options.replica)
                .map_err(|errno| self.replica_error("created", errno))?;
            monitor.event(&Event::Notice(Notice::ReplicaCreated { replica: &self.options.replica }));
            (ways.replica, replica) = self.find_replica(capacity)?;
            swapped = match self.judge(&ways) {
                Ok(_) if replica.is_none() => return Ok(Visited::early(Outcome::ReplicaLost)),
                Ok(swapped) => swapped,
                Err(hold) => return Ok(Visited::early(Outcome::Held(hold))),
            };
            self.lock(replica.as_ref(), monitor)?;
        }
        let of_replica = match &replica {
            Some(replica) => identity(replica),
            None => identity_of_missing(&self.options.replica),
        };
        let identities = identity(&source).zip(of_replica);
        let identities = identities.map(|(source, replica)| [source, replica]);
        let arrival = Arrival { ways, swapped, identities };
        let visited = self.mirror(monitor, (source_path, source, replica), &arrival, moment);
        if is_made && matches!(visited, Ok(Visited { outcome: Outcome::Held(_), .. })) {
            // A held pass leaves nothing behind; above all no folder in the place of a missing mount.
            self.lock.let_go();
            roots::remove_made(&made);
        }
        visited
    }

    /// Runs a pass over the open roots, and keeps its results for the next one.
    fn mirror(
        &mut self,
        monitor: &dyn Monitor,
        (source_path, source, replica): (PathBuf, Arc<Dir>, Option<Arc<Dir>>),
        arrival: &Arrival,
        moment: Moment,
    ) -> Result<Visited, Error> {
        let (ledger, warning) = self.begin_index(moment, &source_path);
        self.warn(monitor, warning);
        self.disk_failed |= self.index.as_ref().is_some_and(Index::disk_failed);
        let purpose = if self.options.dry_run { Purpose::Plan } else { Purpose::Mirror };
        let mut context = Context::new(
            Reporter::new(monitor, moment.number, ledger.clone()),
            (&self.interrupt, &self.workers),
            (&self.options.source, source),
            (&self.options.replica, replica),
            (&self.filesystems, self.protected.as_ref()),
        );
        self.filesystems.begin_pass();
        context.roots.real_source = source_path;
        context.absence = Absence::new(moment.start, self.remembered.clone());
        context.compared = Compared::since(moment.before.map(|before| before.start.stamp()));
        context.digests = self.options.digests;
        context.asks_the_disk = self.disk_failed;
        context.verifies_writes = self.options.verify_writes;
        context.throttle = self.throttle.as_ref();
        context.focus = self.focus.as_deref();
        context.log = LogFile::new(self.options.log.as_deref(), self.protected.as_ref());
        moment.start.let_tick();
        context.ledger = ledger.clone();
        context.limits = self.options.limits;
        context.filter = Arc::clone(&self.filter);
        self.filter.begin_pass();
        context.checks_room = self.options.checks_room;
        context.is_first = moment.number == 1;
        context.confirm = self.confirm.as_deref();
        let identities = arrival.identities;
        let outcome = run(&context, purpose, arrival, &mut self.carried);
        if matches!(outcome, Ok(Outcome::Done | Outcome::Planned)) {
            context.reporter.kept_back(&context.absence);
        }
        let counts = context.counts();
        let to_remember = context.absence.to_remember();
        // After a failed write the page cache is not trusted until a whole pass has synced the replica.
        self.disk_failed |= context.has_disk_failed();
        drop(context);
        let is_durable = matches!(outcome, Ok(Outcome::Done)) && !self.carried.unsynced;
        let warning = self.index.as_mut().and_then(|index| index.end(is_durable, identities));
        self.warn(monitor, warning);
        let mut outcome = outcome?;
        if let Outcome::Held(hold) = &mut outcome {
            self.note_held(hold, moment);
        }
        match &outcome {
            Outcome::ReplicaLost => {
                self.lock.let_go();
                // The next pass compares with these places, even if this one has no plan.
                self.carried.memory.get_or_insert_with(|| arrival.ways.remembered());
            }
            Outcome::Done => {
                self.disk_failed = self.carried.unsynced;
                self.carried.had_problems = Some(counts[Counter::Problems] > 0);
                self.remembered = to_remember;
            }
            Outcome::Held(hold) => self.let_go(hold),
            // Entries that an earlier pass kept back and this one did not reach may still be deleted in the next.
            Outcome::Interrupted(_) => self.remembered.extend(to_remember),
            Outcome::Planned => {}
        }
        let oldest_confirmation = ledger.oldest_confirmation().filter(|_| counts[Counter::Trusted] > 0);
        Ok(Visited { outcome, counts, oldest_confirmation })
    }
}
