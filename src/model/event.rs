//! The one channel upward: everything that happens is an [`Event`], and whoever wants to know implements [`Monitor`].
//!
//! The log, the console, the summary, the exit code and the tests read the same events, so they cannot disagree.

use crate::model::change::Operation;
use crate::model::digest::Digest;
use crate::model::entry::Kind;
use crate::model::error::{Cause, Error, Problem, Side};
use crate::model::feature::Feature;
use crate::model::path::RelPath;
use crate::model::report::PassReport;
use crate::model::signal::Signal;
use std::ffi::CStr;
use std::path::Path;
use std::time::Duration;

/// Receives events; called from several threads at once.
pub trait Monitor: Sync {
    /// Takes one event. It must not fail and should not block.
    fn event(&self, event: &Event<'_>);

    /// Whether [`Event::Verified`] is wanted, one for every unchanged file.
    fn wants_verified(&self) -> bool {
        false
    }
}

/// Passes every event on to two monitors, one after the other.
pub struct Both<'a>(pub &'a dyn Monitor, pub &'a dyn Monitor);

impl Monitor for Both<'_> {
    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
        self.1.event(event);
    }

    fn wants_verified(&self) -> bool {
        self.0.wants_verified() || self.1.wants_verified()
    }
}

/// Something worth knowing that is not an operation and not a problem.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// The log file lies inside a root.
    LogInside {
        /// Which root.
        side: Side,
        /// Where in it.
        path: &'a RelPath,
    },
    /// The replica cannot hold something that the source has.
    NotHeld(Feature),
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
    ReplicaCreated(&'a Path),
    /// A symbolic link of the replica does not tell where it leads: told once per pass.
    LinkUnread {
        /// Where.
        path: &'a RelPath,
        /// What the kernel said.
        cause: Cause,
    },
    /// An extended attribute is listed, and its filesystem has no value for it: told once per pass for each side.
    AttributeUnread {
        /// Which root.
        side: Side,
        /// Where in it.
        path: &'a RelPath,
        /// Its name.
        name: &'a CStr,
        /// What the kernel said.
        cause: Cause,
    },
    /// Entries of the replica that the source lacks were kept for now.
    KeptBack {
        /// Why.
        reason: Reason,
        /// How many.
        entries: u64,
        /// The first of them.
        path: &'a RelPath,
    },
}

/// Why something stays for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The source has changed where it is missing, since the pass began.
    Changed,
    /// Something like it could not be made.
    Unmade,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 2] = [Reason::Changed, Reason::Unmade];
}

/// Everything that is ever reported.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The program begins.
    Started {
        /// The source as the user gave it.
        source: &'a Path,
        /// The replica as the user gave it.
        replica: &'a Path,
        /// The interval; none for a single pass.
        interval: Option<Duration>,
        /// The log file, if there is one.
        log: Option<&'a Path>,
        /// True when nothing will be written.
        dry_run: bool,
    },
    /// A pass begins.
    PassStarted {
        /// 1 for the first pass of this process.
        number: u64,
    },
    /// A file's content was read on both sides and agrees.
    Verified {
        /// Where.
        path: &'a RelPath,
        /// Bytes of content.
        size: u64,
        /// Digest of both sides.
        digest: Option<Digest>,
    },
    /// Something was done.
    Done(Operation<'a>),
    /// Something would be done (dry run).
    Planned(Operation<'a>),
    /// An entry is left out by design.
    Skipped {
        /// Where.
        path: &'a RelPath,
        /// What it is.
        kind: Kind,
        /// Why.
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
        number: u64,
        /// By how much.
        by: Duration,
    },
    /// A signal asks the program to stop.
    Stopping(Signal),
    /// The program ends in order.
    Stopped,
    /// An error ended a pass. The program ends with it, or, in a later pass of many, goes on with the next one.
    Failed(&'a Error),
}
