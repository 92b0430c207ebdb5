//! The only place that reports events and counts: each operation, skipped entry and problem of a pass is reported and
//! counted in one call, so that log, summary and exit code cannot disagree. Operations that were done are noted in the
//! index as well.

use crate::collections::HashSet;
use crate::context::absence::{Absence, Kept};
use crate::context::unread::{Telling, Unread};
use crate::filter::Filter;
use crate::fs::Errno;
use crate::identity::hash_of;
use crate::index::Ledger;
use crate::model::change::Operation;
use crate::model::confirm::{Answer, FirstDeletion};
use crate::model::counters::{Counter, Counters, Counts, Tally};
use crate::model::digest::Digest;
use crate::model::entry::Kind;
use crate::model::error::{Cause, Problem, Side};
use crate::model::event::{Event, Monitor, Notice, Phase, Reason};
use crate::model::feature::Feature;
use crate::model::path::RelPath;
use crate::model::report::Hold;
use crate::model::room::Shortage;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Reports and counts the events of one pass.
pub(crate) struct Reporter<'a> {
    monitor: &'a dyn Monitor,
    /// The number of the pass.
    number: u64,
    counters: Arc<Counters>,
    ledger: Ledger,
    /// The features that have been reported, as bits.
    features: AtomicU32,
    /// The notices and problems about unread xattrs and links that have been reported, as bits.
    unread: AtomicU32,
    /// Hashes of the reported xattrs, each with its path and side.
    unread_by_path: Mutex<HashSet<u64>>,
}

/// The bit of unread links. The bits below are of xattrs: one for each side and way of reporting.
const SYMLINK: u32 = 1 << 4;

/// The bit of a file whose times stood still.
const TIMES: u32 = 1 << 5;

impl<'a> Reporter<'a> {
    /// A reporter for the pass of this number, with all counters at zero. What is done is noted in the ledger.
    pub(crate) fn new(monitor: &'a dyn Monitor, number: u64, ledger: Ledger) -> Reporter<'a> {
        Reporter {
            monitor,
            number,
            counters: Arc::default(),
            ledger,
            features: AtomicU32::new(0),
            unread: AtomicU32::new(0),
            unread_by_path: Mutex::default(),
        }
    }

    /// The live counters.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Adds to a counter without an event.
    pub(crate) fn count(&self, counter: Counter, number: u64) {
        self.counters.add(counter, number);
    }

    /// Adds to a number of the progress.
    pub(crate) fn tally(&self, tally: Tally, number: u64) {
        self.counters.add_to(tally, number);
    }

    /// Reports that both trees are read from here on.
    pub(crate) fn surveying(&self) {
        self.phase(Phase::Surveying { counters: &self.counters });
    }

    /// Reports a complete plan.
    pub(crate) fn surveyed(&self, totals: &Counts) {
        let read = self.counters.read();
        let counts = Counter::ALL.into_iter().map(|counter| (counter, read[counter] + totals[counter]));
        self.phase(Phase::Surveyed(&counts.collect()));
    }

    /// Reports that the plan is carried out from here on.
    pub(crate) fn applying(&self) {
        self.phase(Phase::Applying);
    }

    /// Reports that the replica is made durable from here on.
    pub(crate) fn syncing(&self) {
        self.phase(Phase::Syncing);
    }

    fn phase(&self, phase: Phase<'_>) {
        self.monitor.event(&Event::Phase { number: self.number, phase });
    }

    /// Reports a done operation, counts it, and notes it in the index.
    pub(crate) fn done(&self, operation: Operation<'_>) {
        self.ledger.done(&operation);
        self.count(Counter::of(operation.verb), 1);
        self.monitor.event(&Event::Done(operation));
    }

    /// Reports a planned operation; [`Reporter::planned_in_all`] counts it.
    pub(crate) fn planned(&self, operation: Operation<'_>) {
        self.monitor.event(&Event::Planned(operation));
    }

    /// Counts all operations of a plan.
    pub(crate) fn planned_in_all(&self, totals: &Counts) {
        for counter in Counter::ALL {
            self.count(counter, totals[counter]);
        }
    }

    /// Reports that a doubtful plan goes on, because a person has approved it.
    pub(crate) fn plan_approved(&self, hold: &Hold) {
        self.monitor.event(&Event::Notice(Notice::PlanApproved { hold }));
    }

    /// Reports that a pass deletes from a replica that no recorded pass has written.
    pub(crate) fn first_deletion(&self, question: &FirstDeletion<'_>, answer: Answer) {
        self.monitor.event(&Event::Notice(Notice::FirstDeletion { question, answer }));
    }

    /// Reports that a plan may not fit.
    pub(crate) fn may_lack_room(&self, shortage: &Shortage) {
        self.monitor.event(&Event::Notice(Notice::MayLackRoom { shortage }));
    }

    /// Reports a problem, and counts it.
    pub(crate) fn problem(&self, problem: &Problem) {
        self.count(Counter::Problems, 1);
        self.monitor.event(&Event::Problem(problem));
    }

    /// Reports an entry that is left out by design, and counts it.
    pub(crate) fn skipped(&self, path: &RelPath, kind: Kind, reason: &str) {
        self.count(Counter::Skipped, 1);
        self.monitor.event(&Event::Skipped { path, kind, reason });
    }

    /// Reports an entry that the filter leaves out, and the rule.
    pub(crate) fn excluded(&self, path: &RelPath, rule: &str) {
        self.monitor.event(&Event::Excluded { path, rule });
    }

    /// Reports the folders that stay because of excluded entries in them, unless the last pass had as many.
    pub(crate) fn folders_stay(&self, filter: &Filter, folders: u64, path: &RelPath) {
        if filter.are_other_folders(folders) {
            self.monitor.event(&Event::Notice(Notice::FoldersStay { folders, path }));
        }
    }

    /// Reports, after a survey, the rules that matched nothing, once; and the others to those who want every name.
    pub(crate) fn rules(&self, filter: &Filter) {
        let is_first = filter.is_first_report();
        for (rule, entries) in filter.hits() {
            let words = rule.to_string();
            if entries == 0 && is_first {
                self.monitor.event(&Event::Notice(Notice::RuleUnused { rule: &words }));
            } else if self.wants_verified() {
                self.monitor.event(&Event::Notice(Notice::RuleUsed { rule: &words, entries }));
            }
        }
    }

    /// Whether the monitor wants [`Event::Verified`].
    pub(crate) fn wants_verified(&self) -> bool {
        self.monitor.wants_verified()
    }

    /// Reports a file that was read on both sides and agrees.
    pub(crate) fn verified(&self, path: &RelPath, size: u64, digest: Option<Digest>) {
        self.monitor.event(&Event::Verified { path, size, digest });
    }

    /// Reports, once per pass, that the replica cannot hold a feature, and counts an entry that is left out for it.
    pub(crate) fn left_out(&self, feature: Feature) {
        self.not_held(feature);
        self.count(Counter::Skipped, 1);
    }

    /// Reports, once per pass, that the replica cannot hold a feature.
    pub(crate) fn not_held(&self, feature: Feature) {
        if is_first(&self.features, 1 << feature as u32) {
            self.monitor.event(&Event::Notice(Notice::Unsupported { feature }));
        }
    }

    /// Reports, once per pass, that the target of a symbolic link in the replica cannot be read.
    pub(crate) fn symlink_unread(&self, path: &RelPath, errno: Errno) {
        if is_first(&self.unread, SYMLINK) {
            let cause = Cause::System(errno);
            self.monitor.event(&Event::Notice(Notice::SymlinkUnread { path, cause }));
        }
    }

    /// Reports, once per pass, a source file whose content changed and whose times did not.
    pub(crate) fn times_stood_still(&self, path: &RelPath) {
        if is_first(&self.unread, TIMES) {
            self.monitor.event(&Event::Notice(Notice::TimesStoodStill { path }));
        }
    }

    /// Reports that the inode numbers of a filesystem are unstable; the index says it once.
    pub(crate) fn unstable_inodes(&self, side: Side, path: &RelPath) {
        self.monitor.event(&Event::Notice(Notice::UnstableInodes { side, path }));
    }

    /// Reports an xattr that exists and could not be read, unless it has been reported. A notice is sent here; a
    /// problem is returned, and the caller reports it.
    pub(crate) fn xattr_unread(&self, path: &RelPath, unread: &Unread) -> Option<Problem> {
        let telling = unread.telling();
        let cause = Cause::System(unread.errno);
        let is_new = if telling == Telling::Problem {
            // The survey and apply both read it, and it is reported once.
            let what = hash_of(&(path.as_bytes(), unread.name.as_c_str(), unread.side == Side::Source));
            self.unread_by_path.lock().unwrap_or_else(PoisonError::into_inner).insert(what)
        } else {
            let bit = 2 * u32::from(telling == Telling::Notice) + u32::from(unread.side == Side::Source);
            is_first(&self.unread, 1 << bit)
        };
        if !is_new {
            return None;
        }
        match telling {
            Telling::Notice => {
                self.monitor.event(&Event::Notice(Notice::XattrUnread {
                    side: unread.side,
                    path,
                    name: &unread.name,
                    cause,
                }));
                None
            }
            Telling::ProblemOnce | Telling::Problem => {
                Some(Problem::new(path.clone(), unread.kind(), cause, unread.consequence()))
            }
        }
    }

    /// Reports the entries that were kept back.
    pub(crate) fn kept_back(&self, absence: &Absence) {
        for reason in Reason::ALL {
            let Kept { entries, first } = absence.kept(reason);
            if entries > 0 {
                self.monitor.event(&Event::Notice(Notice::KeptBack { reason, entries, path: &first }));
            }
        }
    }
}

/// Sets a bit atomically. True if it was not set before.
fn is_first(bits: &AtomicU32, bit: u32) -> bool {
    bits.fetch_or(bit, Ordering::Relaxed) & bit == 0
}
