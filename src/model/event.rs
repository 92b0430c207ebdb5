//! The one channel upward: everything that happens is an [`Event`], and every listener implements [`Monitor`].
//!
//! The log, the console, the service manager's status, the exit code and the tests read the same events, so they cannot
//! disagree.

use crate::model::change::Operation;
use crate::model::counters::{Counters, Counts};
use crate::model::digest::Digest;
use crate::model::entry::Kind;
use crate::model::error::{Cause, Error, Problem, Side};
use crate::model::feature::Feature;
use crate::model::path::RelPath;
use crate::model::report::PassReport;
use crate::model::serial;
use crate::model::signal::Signal;
use serde::Serialize;
use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Receives events; called from several threads at once.
pub trait Monitor: Sync {
    /// Takes one event. It must not fail and should not block.
    fn event(&self, event: &Event<'_>);

    /// Takes one event of one of several jobs, see [`ForJob`]. A monitor that does not tell jobs apart takes it as any
    /// other event.
    fn event_of(&self, _job: &str, event: &Event<'_>) {
        self.event(event);
    }

    /// Whether [`Event::Verified`] is wanted, one for every unchanged file.
    fn wants_verified(&self) -> bool {
        false
    }
}

/// Passes every event on to each of its monitors, in their order.
pub struct Fanout<'a>(Vec<&'a dyn Monitor>);

impl<'a> Fanout<'a> {
    /// A monitor of any number of monitors.
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
}

/// Names the job, one source and one replica, that every event belongs to: several jobs of one process share a log.
pub struct ForJob<'a> {
    job: &'a str,
    monitor: &'a dyn Monitor,
}

impl<'a> ForJob<'a> {
    /// Events of this job, for this monitor.
    pub fn new(job: &'a str, monitor: &'a dyn Monitor) -> ForJob<'a> {
        ForJob { job, monitor }
    }
}

impl Monitor for ForJob<'_> {
    fn event(&self, event: &Event<'_>) {
        self.monitor.event_of(self.job, event);
    }

    fn wants_verified(&self) -> bool {
        self.monitor.wants_verified()
    }
}

/// The phase that a pass has reached. A held or interrupted pass skips the later ones.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase<'a> {
    /// Both trees are read. The counters are live until the pass ends: a monitor may keep them and read them at any time.
    Surveying {
        /// The counters of the pass.
        #[serde(skip)]
        counters: &'a Arc<Counters>,
    },
    /// The plan is complete, and nothing is written yet: the counters of the survey, and the operations and bytes that are
    /// to come.
    Surveyed(&'a Counts),
    /// The plan is carried out. Left out where it is empty.
    Applying,
    /// The replica is made durable (`syncfs(2)`). Left out where nothing has been written since the last time.
    Syncing,
}

/// Something worth knowing that is not an operation and not a problem.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice<'a> {
    /// The log file lies inside a root.
    LogInside {
        /// Which root.
        side: Side,
        /// Where in it.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
    },
    /// The replica cannot hold something that the source has.
    NotHeld {
        /// What it cannot hold.
        feature: Feature,
    },
    /// The replica's filesystem knows no locks.
    NoLock,
    /// Fewer threads than asked for, because of the limit of open files.
    FewerThreads {
        /// How many there are.
        threads: usize,
        /// The limit (`ulimit -Hn`).
        open_files: u64,
    },
    /// The replica folder was missing and has been made.
    ReplicaCreated {
        /// The replica as the user gave it.
        #[serde(flatten, serialize_with = "serial::replica")]
        replica: &'a Path,
    },
    /// A symbolic link of the replica does not tell where it leads: told once per pass.
    SymlinkUnread {
        /// Where.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        /// What the kernel said.
        #[serde(flatten)]
        cause: Cause,
    },
    /// An extended attribute is listed, and its filesystem has no value for it: told once per pass for each side.
    XattrUnread {
        /// Which root.
        side: Side,
        /// Where in it.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        /// Its name.
        #[serde(flatten, serialize_with = "serial::xattr")]
        name: &'a CStr,
        /// What the kernel said.
        #[serde(flatten)]
        cause: Cause,
    },
    /// Entries of the replica that the source lacks were kept for now.
    KeptBack {
        /// Why.
        reason: Reason,
        /// How many.
        entries: u64,
        /// The first of them.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
    },
}

/// Why something stays for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The source has changed where it is missing, since the pass began.
    Changed,
    /// Something like it could not be made.
    #[serde(rename = "not_made")]
    Unmade,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 2] = [Reason::Changed, Reason::Unmade];
}

/// Everything that is ever reported.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The program begins.
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
        /// The log file, if there is one.
        #[serde(flatten, serialize_with = "serial::log")]
        log: Option<&'a Path>,
    },
    /// A pass begins.
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
    /// A file's content was read on both sides and agrees.
    #[serde(rename = "same")]
    Verified {
        /// Where.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        /// Bytes of content.
        #[serde(rename = "bytes")]
        size: u64,
        /// Digest of both sides.
        #[serde(rename = "sha256", skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
    /// Something was done.
    #[serde(rename = "operation")]
    Done(Operation<'a>),
    /// Something would be done (dry run).
    Planned(Operation<'a>),
    /// An entry is left out by design.
    #[serde(rename = "skip")]
    Skipped {
        /// Where.
        #[serde(flatten, serialize_with = "serial::path")]
        path: &'a RelPath,
        /// What it is.
        kind: Kind,
        /// Why.
        #[serde(skip_serializing_if = "str::is_empty")]
        reason: &'a str,
    },
    /// Something could not be done.
    Problem(&'a Problem),
    /// Something worth knowing.
    Notice(Notice<'a>),
    /// A pass is over.
    PassEnded(&'a PassReport),
    /// A pass took longer than the interval.
    Overran {
        /// Which pass.
        #[serde(rename = "pass")]
        number: u64,
        /// By how much.
        #[serde(rename = "by_seconds", serialize_with = "serial::seconds")]
        by: Duration,
    },
    /// A signal asks the program to stop.
    Stopping {
        /// The signal.
        signal: Signal,
    },
    /// The program ends in order.
    Stopped,
    /// An error ended a pass. The program ends with it, or, in a later pass of many, goes on with the next one.
    Failed(&'a Error),
}
