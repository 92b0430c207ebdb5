//! The one channel upward: everything that happens is an [`Event`], and every listener is a [`Monitor`].
//!
//! Log, console, service status and tests read the same events, and the exit code comes from the same report, so they
//! cannot disagree.

use crate::model::change::Operation;
use crate::model::confirm::{Answer, FirstDeletion};
use crate::model::counters::{Counters, Counts};
use crate::model::digest::Digest;
use crate::model::entry::Kind;
use crate::model::error::{Cause, Error, Problem, Side};
use crate::model::feature::Feature;
use crate::model::path::RelPath;
use crate::model::report::{Hold, PassReport};
use crate::model::room::Shortage;
use crate::model::serial;
use crate::model::signal::Signal;
use serde::Serialize;
use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Receives events. Its methods are called from several threads at once.
pub trait Monitor: Sync {
    /// Takes one event. It must not fail and should not block: the pass waits for it.
    fn event(&self, event: &Event<'_>);

    /// Takes one event of one of several jobs, see [`ForJob`]. The default ignores the job.
    fn event_of(&self, _job: &str, event: &Event<'_>) {
        self.event(event);
    }

    /// Whether to send [`Event::Verified`], one for every unchanged file, [`Event::Excluded`], one for every entry that is
    /// left out, and [`Notice::RuleUsed`].
    fn wants_verified(&self) -> bool {
        false
    }

    /// Takes the time until the next pass, whenever the schedule begins to wait for it. It is no event: nothing happens,
    /// and no log has it. The default ignores it.
    fn waits(&self, _wait: Wait) {}
}

/// The wait for the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The time until it starts.
    pub next: Duration,
    /// The age of the replica; none while no pass of this process was done.
    pub replica_age: Option<Duration>,
}

/// Passes every event to each of its monitors, in their order.
pub struct Fanout<'a>(Vec<&'a dyn Monitor>);

impl<'a> Fanout<'a> {
    /// Combines any number of monitors.
    pub fn new(monitors: impl IntoIterator<Item = &'a dyn Monitor>) -> Fanout<'a> {
        Fanout(monitors.into_iter().collect())
    }
}

impl Monitor for Fanout<'_> {
    fn event(&self, event: &Event<'_>) {
        self.0.iter().for_each(|monitor| monitor.event(event));
    }

    fn event_of(&self, job: &str, event: &Event<'_>) {
        self.0.iter().for_each(|monitor| monitor.event_of(job, event));
    }

    fn wants_verified(&self) -> bool {
        self.0.iter().any(|monitor| monitor.wants_verified())
    }

    fn waits(&self, wait: Wait) {
        self.0.iter().for_each(|monitor| monitor.waits(wait));
    }
}

/// Adds the job, one source and one replica, to every event: several jobs of one process share a log.
pub struct ForJob<'a> {
    job: &'a str,
    monitor: &'a dyn Monitor,
}

impl<'a> ForJob<'a> {
    /// Passes the events of this job to this monitor.
    pub fn new(job: &'a str, monitor: &'a dyn Monitor) -> ForJob<'a> {
        ForJob { job, monitor }
    }
}

impl Monitor for ForJob<'_> {
    fn event(&self, event: &Event<'_>) {
        self.monitor.event_of(self.job, event);
    }

    fn event_of(&self, job: &str, event: &Event<'_>) {
        self.monitor.event_of(job, event);
    }

    fn wants_verified(&self) -> bool {
        self.monitor.wants_verified()
    }

    fn waits(&self, wait: Wait) {
        self.monitor.waits(wait);
    }
}

/// A phase of a pass. A held or interrupted pass, or a dry run, skips the later ones.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase<'a> {
    /// Both trees are read. The counters are live until the pass ends: a monitor may keep and read them at any time.
    Surveying {
        /// The counters of the pass.
        #[serde(skip)]
        counters: &'a Arc<Counters>,
    },
    /// The plan is complete, nothing is written yet: the counters of the survey, and the planned operations and bytes.
    Surveyed(&'a Counts),
    /// The plan is carried out. Left out when it is empty.
    Applying,
    /// The replica is made durable (`syncfs(2)`). Left out when all writes are durable. The first pass of a process
    /// always syncs: an earlier one may have left writes.
    Syncing,
}

/// A fact that is neither an operation nor a problem.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice<'a> {
    /// A pass deletes entries from a replica that no recorded pass has written.
    FirstDeletion {
        /// What it deletes.
        #[serde(flatten)]
        question: &'a FirstDeletion<'a>,
        /// Whether a person has agreed.
        answer: Answer,
    },
    /// A filesystem of the replica may lack the room that the plan needs.
    MayLackRoom {
        /// The shortage, if files take as much room there as in the source.
        #[serde(flatten)]
        shortage: &'a Shortage,
    },
    /// The log file lies inside a root.
    LogInside {
        /// The root.
        side: Side,
        /// The path below it.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
    },
    /// The replica cannot hold a feature of the source; once per pass.
    Unsupported {
        /// The feature.
        feature: Feature,
    },
    /// The replica's filesystem does not support `flock(2)`.
    NoLock,
    /// Fewer worker threads run than requested, because of the limit of open files.
    FewerThreads {
        /// Their number.
        threads: usize,
        /// The limit (`ulimit -Hn`).
        open_files: u64,
    },
    /// The system refused the lower priority of `--nice`; at the start of the program.
    PriorityRefused {
        /// The error.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The replica folder was missing and was created.
    ReplicaCreated {
        /// The replica as the user gave it.
        #[serde(flatten, serialize_with = "serial::replica")]
        replica: &'a Path,
    },
    /// The target of a symbolic link in the replica cannot be read; once per pass.
    SymlinkUnread {
        /// Its path.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        /// The error.
        #[serde(flatten)]
        cause: Cause,
    },
    /// An extended attribute (xattr) is listed, but its filesystem has no value for it; once per pass and side.
    XattrUnread {
        /// The tree.
        side: Side,
        /// The path of the entry.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        /// Its name.
        #[serde(flatten, serialize_with = "serial::xattr")]
        name: &'a CStr,
        /// The error.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The environment names no folder for what passes remember; at the start of the program.
    NoStateFolder,
    /// The index cannot be used, and the pass goes on without it; when the reason changes.
    IndexUnusable {
        /// The database file.
        #[serde(flatten, serialize_with = "serial::index")]
        index: &'a Path,
        /// The reason in words.
        reason: &'a str,
    },
    /// The index cannot be written: what it knows is used, and nothing new is remembered; when the reason changes.
    IndexUnwritable {
        /// The database file.
        #[serde(flatten, serialize_with = "serial::index")]
        index: &'a Path,
        /// The reason in words.
        reason: &'a str,
    },
    /// The index was damaged, and is made anew.
    IndexRebuilt {
        /// The database file.
        #[serde(flatten, serialize_with = "serial::index")]
        index: &'a Path,
        /// The damage in words.
        reason: &'a str,
    },
    /// A doubtful plan is carried out: a person has approved it.
    PlanApproved {
        /// What would have held it.
        #[serde(flatten)]
        hold: &'a Hold,
    },
    /// The inode numbers of a filesystem change with each mount, and are left out of the comparison with the index.
    UnstableInodes {
        /// The tree.
        side: Side,
        /// The path of a file whose number changed.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
    },
    /// The content of a source file changed and its times did not, on a filesystem where that is no proof of damage;
    /// once per pass.
    TimesStoodStill {
        /// The path of the file.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
    },
    /// A rule of the filter matched nothing; in the first whole pass of a process.
    RuleUnused {
        /// The rule, and its place.
        rule: &'a str,
    },
    /// The number of entries that a rule of the filter decided about; sent to those who want every name.
    RuleUsed {
        /// The rule, and its place.
        rule: &'a str,
        /// The number.
        entries: u64,
    },
    /// Folders that the source lacks stay in the replica, because the filter leaves out entries in them; when their
    /// number changes.
    FoldersStay {
        /// Their number; one that lies in another is not counted.
        folders: u64,
        /// The path of the first.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
    },
    /// Replica entries that the source lacks are not deleted in this pass.
    KeptBack {
        /// The reason.
        #[serde(rename = "kept_because")]
        reason: Reason,
        /// Their number.
        entries: u64,
        /// The path of the first.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
    },
}

/// The reason for not deleting a replica entry in this pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Its source folder changed during the pass, or an entry of its kind and size disappeared: it may have moved.
    Changed,
    /// An entry of its kind and size could not be created: it may be this one under its new name.
    NotCreated,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 2] = [Reason::Changed, Reason::NotCreated];
}

/// Everything that is reported.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event<'a> {
    /// The program starts.
    Started {
        /// The version of the program.
        version: &'a str,
        /// The source as the user gave it.
        #[serde(flatten, serialize_with = "serial::source")]
        source: &'a Path,
        /// The replica as the user gave it.
        #[serde(flatten, serialize_with = "serial::replica")]
        replica: &'a Path,
        /// The interval; none for a single pass.
        #[serde(
            rename = "interval_seconds",
            skip_serializing_if = "Option::is_none",
            serialize_with = "serial::seconds_if_any"
        )]
        interval: Option<Duration>,
        /// True when nothing will be written.
        dry_run: bool,
        /// The log file, if any.
        #[serde(flatten, serialize_with = "serial::log")]
        log: Option<&'a Path>,
    },
    /// A pass starts.
    PassStarted {
        /// 1 for the first pass of this process.
        #[serde(rename = "pass")]
        number: u64,
    },
    /// A pass has reached a phase.
    Phase {
        /// The number of the pass.
        #[serde(rename = "pass")]
        number: u64,
        /// The phase.
        #[serde(flatten)]
        phase: Phase<'a>,
    },
    /// The content of a file was read on both sides and is equal.
    #[serde(rename = "same")]
    Verified {
        /// Its path.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        /// Size in bytes.
        #[serde(rename = "bytes")]
        size: u64,
        /// Digest of both sides; none if only copies are digested, or for a file with huge holes.
        #[serde(rename = "sha256", skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
    /// An operation was done.
    #[serde(rename = "operation")]
    Done(Operation<'a>),
    /// An operation would be done (dry run).
    Planned(Operation<'a>),
    /// An entry is left out by design.
    #[serde(rename = "skip")]
    Skipped {
        /// The path of the entry.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        /// The kind of the entry.
        kind: Kind,
        /// The reason; empty if it is the kind.
        #[serde(skip_serializing_if = "str::is_empty")]
        reason: &'a str,
    },
    /// The filter leaves an entry out. Sent as [`Event::Verified`] is, to those who want every name.
    #[serde(rename = "exclude")]
    Excluded {
        /// The path of the entry.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        /// The rule or option, and its place: `*.tmp (--exclude)`, `*.tmp (/etc/rules:3)`.
        rule: &'a str,
    },
    /// A problem with one path; the pass continues.
    Problem(&'a Problem),
    /// See [`Notice`].
    Notice(Notice<'a>),
    /// A pass ended.
    PassEnded(&'a PassReport),
    /// A pass took longer than the interval.
    Overran {
        /// The number of the pass.
        #[serde(rename = "pass")]
        number: u64,
        /// The time over the interval.
        #[serde(rename = "by_seconds", serialize_with = "serial::seconds")]
        by: Duration,
    },
    /// The next pass is expected to end when the replica is older than its RPO.
    RpoAtRisk {
        /// The greatest age that the replica may have.
        #[serde(rename = "rpo_seconds", serialize_with = "serial::seconds")]
        rpo: Duration,
        /// The age that it is expected to reach.
        #[serde(rename = "expected_age_seconds", serialize_with = "serial::seconds")]
        expected: Duration,
    },
    /// The replica is older than its RPO.
    RpoMissed {
        /// The greatest age that it may have.
        #[serde(rename = "rpo_seconds", serialize_with = "serial::seconds")]
        rpo: Duration,
        /// Its age; none if no pass is known to have been done.
        #[serde(
            rename = "replica_age_seconds",
            skip_serializing_if = "Option::is_none",
            serialize_with = "serial::seconds_if_any"
        )]
        age: Option<Duration>,
    },
    /// After a miss the replica is within its RPO again.
    RpoMet {
        /// The greatest age that it may have.
        #[serde(rename = "rpo_seconds", serialize_with = "serial::seconds")]
        rpo: Duration,
        /// Its age.
        #[serde(rename = "replica_age_seconds", serialize_with = "serial::seconds")]
        age: Duration,
    },
    /// A signal requested a stop.
    Stopping {
        /// The signal.
        signal: Signal,
    },
    /// The program ends without an error.
    Stopped,
    /// An error ended a pass, or the program, which may not have begun a pass.
    Failed {
        /// The error.
        #[serde(flatten)]
        error: &'a Error,
        /// The pass that it ended; none outside of a pass.
        #[serde(rename = "pass", skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        /// True: the program ends. False: the next pass tries again.
        ends_program: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    /// Keeps the job of each event.
    #[derive(Default)]
    struct Jobs(Mutex<Vec<Option<String>>>, bool);

    impl Jobs {
        fn keep(&self, job: Option<&str>) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(job.map(str::to_owned));
        }

        fn kept(&self) -> Vec<Option<String>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    impl Monitor for Jobs {
        fn event(&self, _: &Event<'_>) {
            self.keep(None);
        }

        fn event_of(&self, job: &str, _: &Event<'_>) {
            self.keep(Some(job));
        }

        fn wants_verified(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn every_monitor_hears_every_event_with_its_job() {
        let monitors = [Jobs::default(), Jobs::default(), Jobs::default()];
        let all = Fanout::new(monitors.iter().map(|monitor| monitor as &dyn Monitor));
        all.event(&Event::Stopped);
        let outer = ForJob::new("outer", &all);
        outer.event(&Event::Stopped);
        // The inner name is the more precise one.
        ForJob::new("inner", &outer).event(&Event::Stopped);
        let expected = [None, Some("outer".to_owned()), Some("inner".to_owned())];
        assert!(monitors.iter().all(|monitor| monitor.kept() == expected), "{:?}", monitors[0].kept());
    }

    #[test]
    fn one_monitor_that_wants_every_file_is_enough() {
        for wanted in [false, true] {
            let (one, other) = (Jobs(Mutex::default(), wanted), Jobs::default());
            let all = Fanout::new([&other as &dyn Monitor, &one]);
            assert_eq!(ForJob::new("a", &all).wants_verified(), wanted);
        }
    }
}
