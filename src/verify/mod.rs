//! Checks a replica against the index, without the source and beside a running service: it only reads.
//!
//! The walk (walk.rs) goes through replica and index in the order of the paths and hands out jobs, which the workers
//! read and decide about (content.rs, decide.rs). Nothing is reported at the first look: a pass may be replacing the
//! file, and it writes its records at its end. Names that are not right are looked at again when all others have been
//! (second.rs), and read again if their record or their facts are others by then.

mod check;
mod content;
mod decide;
mod links;
pub(crate) mod manifest;
mod second;
pub(crate) mod status;
pub(crate) mod tally;
#[cfg(test)]
mod tests;
mod walk;

use crate::control::Interrupt;
use crate::fs::dir::Dir;
use crate::fs::lease::Leases;
use crate::fs::process::{Life, life};
use crate::fs::uncached::Uncached;
use crate::fs::{Errno, boot, is_lazy};
use crate::hasher::LargeFiles;
use crate::index::read::Reader;
use crate::index::store::Unusable;
use crate::model::entry::FileId;
use crate::verify::check::{Answer, Checker, hidden_folder};
use crate::verify::content::Tools;
use crate::verify::links::Links;
use crate::verify::second::{MOST_SUSPECTS, Second, Suspect};
use crate::verify::status::{Finding, Status};
use crate::verify::tally::Tally;
use crate::verify::walk::{Item, State, Step, Walk};
use crate::workers::Workers;
use rayon::Scope;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most files of a job, and the most bytes.
const MOST_FILES: usize = 32;
const MOST_BYTES: u64 = 1 << 20;

/// The most jobs that wait for a worker: beyond them the walk does a job itself.
const MOST_JOBS: usize = 256;

/// The most descriptors of folders that are kept open.
const OPEN_FOLDERS: usize = 64;

/// What is to be checked, and how.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    /// The replica.
    pub replica: &'a Path,
    /// Its index.
    pub reader: &'a Reader,
    /// Files and folders of the replica that do not belong to it: the log file.
    pub left_out: &'a [FileId],
    /// The greatest number of threads.
    pub threads: usize,
    /// The number of processors.
    pub processors: usize,
    /// Drop each file from the page cache before it is read.
    pub drops_cache: bool,
    /// Report files that are right too.
    pub tells_ok: bool,
    /// Ends the check.
    pub interrupt: &'a Interrupt,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Replica or index were written meanwhile: what a pass has replaced and not recorded yet does not look right.
    pub was_written: bool,
    /// A stop was requested.
    pub is_stopped: bool,
}

/// The reason why nothing can be checked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The replica cannot be opened or listed.
    Replica(Errno),
    /// The index cannot be read.
    Index(Unusable),
    /// There are no threads.
    Threads(String),
}

impl From<Unusable> for Failure {
    fn from(unusable: Unusable) -> Failure {
        Failure::Index(unusable)
    }
}

/// Opens the root of a replica.
fn open_root(replica: &Path) -> Result<Arc<Dir>, Failure> {
    Dir::root(replica, OPEN_FOLDERS).map_err(Failure::Replica)
}

/// Checks every file of a replica. What is found goes to `out` in lists, the last of which are in the order of the
/// paths; a reader that has gone is no error.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn verify(task: &Task<'_>, tally: &Tally, out: &SyncSender<Vec<Finding>>) -> Result<End, Failure> {
    let root = open_root(task.replica)?;
    let version = task.reader.version()?;
    let workers =
        Workers::new(task.processors, task.threads).map_err(|error| Failure::Threads(error.to_string()))?;
    let tools = Tools {
        interrupt: task.interrupt,
        workers: &workers,
        tally,
        drops_cache: task.drops_cache,
        large: LargeFiles::new(workers.computing()),
        uncached: Uncached::default(),
        leases: Leases::default(),
    };
    let checker = Checker {
        tools,
        links: Links::default(),
        last_pass: task.reader.last_done()?.map(|milliseconds| milliseconds.div_euclid(1000)),
        may_have_lost_times: is_lazy(task.replica) && task.reader.boot()? != boot(),
    };
    let check = Check {
        task,
        root: &root,
        checker: &checker,
        tally,
        out,
        second: Second::new(task.reader, &root, &checker),
        hidden: Mutex::default(),
        jobs: AtomicUsize::new(0),
        failure: Mutex::default(),
    };
    workers.scope(|scope| {
        let walked = check.walk(scope);
        check.note(walked);
    });
    workers.scope(|scope| check.all(scope, checker.links.waiting()));
    workers.scope(|scope| check.second.look(scope, &workers));
    let mut findings = std::mem::take(&mut *lock(&check.hidden));
    let (found, has_changed) = check.second.end()?;
    findings.extend(found);
    check.end(findings)?;
    let writer = task.reader.unended()?;
    let is_being_written = writer.is_some_and(|(process, mark)| life(process, &mark) != Life::Ended);
    let was_written = has_changed || task.reader.version()? != version || is_being_written;
    Ok(End { was_written, is_stopped: task.interrupt.is_set() })
}

/// A check at work.
struct Check<'a> {
    task: &'a Task<'a>,
    root: &'a Arc<Dir>,
    checker: &'a Checker<'a>,
    tally: &'a Tally,
    out: &'a SyncSender<Vec<Finding>>,
    second: Second<'a>,
    /// Folders that cannot be listed.
    hidden: Mutex<Vec<Finding>>,
    /// The number of jobs that are not done.
    jobs: AtomicUsize,
    failure: Mutex<Option<Failure>>,
}

impl Check<'_> {
    /// Goes through replica and index and hands out jobs.
    fn walk<'s>(&'s self, scope: &Scope<'s>) -> Result<(), Failure> {
        let mut walk = Walk::new(self.task.reader, self.root, self.task.left_out)?;
        let (mut job, mut bytes) = (Vec::new(), 0);
        while let Some(step) = walk.next()? {
            if self.task.interrupt.is_set() {
                return Ok(());
            }
            match step {
                Step::Hidden(path, errno) if path.is_root() => return Err(Failure::Replica(errno)),
                Step::Hidden(path, errno) => {
                    self.tally.look();
                    lock(&self.hidden).push(hidden_folder(path, errno));
                }
                Step::Item(item) => {
                    let size = size_of(&item);
                    if size >= MOST_BYTES {
                        self.hand_out(scope, vec![*item], false);
                        continue;
                    }
                    job.push(*item);
                    bytes += size;
                    if job.len() >= MOST_FILES || bytes >= MOST_BYTES {
                        self.hand_out(scope, std::mem::take(&mut job), false);
                        bytes = 0;
                    }
                }
            }
        }
        self.hand_out(scope, job, false);
        Ok(())
    }

    /// Checks names that waited for the others.
    fn all<'s>(&'s self, scope: &Scope<'s>, mut items: Vec<Item>) {
        while !items.is_empty() {
            let rest = items.split_off(items.len().min(MOST_FILES));
            self.hand_out(scope, std::mem::replace(&mut items, rest), true);
        }
    }

    /// Hands a job to a worker, or does it.
    fn hand_out<'s>(&'s self, scope: &Scope<'s>, items: Vec<Item>, is_last: bool) {
        if self.jobs.load(Ordering::Relaxed) >= MOST_JOBS {
            return self.job(items, is_last);
        }
        self.jobs.fetch_add(1, Ordering::Relaxed);
        self.checker.tools.workers.spawn(scope, move |_| {
            self.job(items, is_last);
            self.jobs.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn job(&self, items: Vec<Item>, is_last: bool) {
        let mut right = Vec::new();
        for item in items {
            if self.task.interrupt.is_set() {
                break;
            }
            match self.checker.check(&item, is_last) {
                Answer::Found(found) => match *found {
                    (finding, _) if finding.status == Status::Ok => {
                        self.tally.count(Status::Ok);
                        right.extend(self.task.tells_ok.then_some(finding));
                    }
                    (finding, state) => self.suspect(Suspect { item: Item { state, ..item }, finding }),
                },
                Answer::Later => {
                    self.checker.links.wait(item);
                    continue;
                }
                Answer::Nothing | Answer::Stopped => {}
            }
            self.tally.look();
            self.checker.tools.workers.did_name();
        }
        self.send(right);
    }

    /// Keeps a finding for the second look. Beyond a number of them each is looked at again at once.
    fn suspect(&self, suspect: Suspect) {
        if let Some(suspect) = self.second.keep(suspect, MOST_SUSPECTS) {
            match self.second.look_at(suspect) {
                Ok(Some(finding)) => self.report(vec![finding]),
                Ok(None) => {}
                Err(unusable) => self.note(Err(unusable.into())),
            }
        }
    }

    /// Reports what is settled, in the order of the paths.
    fn end(&self, mut findings: Vec<Finding>) -> Result<(), Failure> {
        if let Some(failure) = lock(&self.failure).take() {
            return Err(failure);
        }
        findings.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        self.report(findings);
        Ok(())
    }

    fn report(&self, findings: Vec<Finding>) {
        findings.iter().for_each(|finding| self.tally.count(finding.status));
        let is_told = |finding: &Finding| finding.status != Status::Ok || self.task.tells_ok;
        self.send(findings.into_iter().filter(is_told).collect());
    }

    fn send(&self, findings: Vec<Finding>) {
        if !findings.is_empty() {
            // The reader has gone: its output was closed.
            let _ = self.out.send(findings);
        }
    }

    fn note(&self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            lock(&self.failure).get_or_insert(failure);
        }
    }
}

fn size_of(item: &Item) -> u64 {
    match item.state {
        State::There(entry) => entry.size,
        State::Absent | State::Unlooked(_) | State::Hidden(_) => 0,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
