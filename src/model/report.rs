//! The report of one pass: outcome, counts, duration.

use crate::model::counters::Counts;
use crate::model::doubt::{Doubt, RootChange, WayOut};
use crate::model::limit::{Amount, Limit};
use crate::model::mounts::{Difference, Place};
use crate::model::path::shown;
use crate::model::room::Shortage;
use crate::model::serial::{self, seconds, seconds_if_any};
use crate::model::signal::Signal;
use crate::model::words::{entries, size};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// The outcome of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The whole plan was carried out, except for the problems.
    Done,
    /// Only the plan was computed (dry run).
    Planned,
    /// The guard refused the plan; nothing was written.
    Held(Hold),
    /// A signal ended the pass early.
    #[serde(serialize_with = "signal")]
    Interrupted(Signal),
    /// The replica folder was removed or replaced during the pass; the next does the rest.
    ReplicaLost,
}

/// The guard's reason to refuse a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "hold", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hold {
    /// The source path leads to another folder than at the start of the pass, or of the one before a second look.
    SourceReplaced,
    /// A filesystem that was mounted in the last pass is not mounted any more.
    MountGone(Box<Difference>),
    /// Another filesystem is mounted than in the last pass, and by the plan it is probably the wrong one.
    #[serde(rename = "other_filesystem")]
    Swapped {
        /// The mount point, with its identity in the last pass and now.
        #[serde(flatten)]
        difference: Box<Difference>,
        /// The plan's turnover there.
        #[serde(flatten)]
        turnover: Turnover,
    },
    /// The replica folder is missing, and its path is on another filesystem than in the last pass.
    #[serde(rename = "missing_on_other_filesystem")]
    MissingElsewhere(Box<Difference>),
    /// The plan deletes more than a limit allows.
    TooManyDeletions(Box<Doubt>),
    /// The plan overwrites more with other contents than a limit allows.
    TooManyChanges(Box<Doubt>),
    /// A root is another folder than in the last pass, and by the plan it is probably the wrong one.
    OtherRoot {
        /// The root, with its identity in the last pass and now.
        #[serde(flatten)]
        root: Box<RootChange>,
        /// What the plan takes.
        #[serde(flatten)]
        doubt: Box<Doubt>,
    },
    /// The source is empty, the replica is not, and no pass is known that mirrored the one into the other.
    EmptySource(Box<Doubt>),
    /// A filesystem of the replica lacks the room that the plan needs.
    NoRoom(Box<Shortage>),
    /// A person was asked before the first pass, and said no.
    Declined {
        /// The replica.
        #[serde(flatten, serialize_with = "serial::replica")]
        replica: PathBuf,
        /// What would be deleted from it.
        #[serde(flatten, serialize_with = "would_delete")]
        deleted: Amount,
    },
}

fn would_delete<S: Serializer>(deleted: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("would_delete", &deleted.entries)?;
    map.serialize_entry("would_delete_bytes", &deleted.bytes)?;
    map.end()
}

fn signal<S: Serializer>(signal: &Signal, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("signal", signal)?;
    map.end()
}

/// The entries that a plan creates, deletes and keeps at and below one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Turnover {
    /// Entries that would be created in the replica.
    #[serde(rename = "would_create")]
    pub created: u64,
    /// Entries that would be deleted from the replica.
    #[serde(rename = "would_delete")]
    pub deleted: u64,
    /// Entries that exist on both sides.
    #[serde(rename = "would_keep")]
    pub kept: u64,
}

impl Hold {
    /// The path whose identity changed, if the reason has one.
    pub fn difference(&self) -> Option<&Difference> {
        match self {
            Hold::SourceReplaced => None,
            Hold::MountGone(difference)
            | Hold::Swapped { difference, .. }
            | Hold::MissingElsewhere(difference) => Some(difference),
            Hold::TooManyDeletions(_)
            | Hold::TooManyChanges(_)
            | Hold::OtherRoot { .. }
            | Hold::EmptySource(_)
            | Hold::NoRoom(_)
            | Hold::Declined { .. } => None,
        }
    }

    /// The command that lets the plan through, where there is one; it ends the text of the reason.
    pub fn approve_command(&self) -> Option<&str> {
        match self {
            Hold::TooManyDeletions(doubt)
            | Hold::TooManyChanges(doubt)
            | Hold::OtherRoot { doubt, .. }
            | Hold::EmptySource(doubt) => match &doubt.way_out {
                WayOut::Approve(command) => Some(command),
                WayOut::DryRun | WayOut::Approved | WayOut::NoLimits | WayOut::Index => None,
            },
            Hold::SourceReplaced
            | Hold::MountGone(_)
            | Hold::Swapped { .. }
            | Hold::MissingElsewhere(_)
            | Hold::NoRoom(_)
            | Hold::Declined { .. } => None,
        }
    }

    /// The doubt about a plan that a person can let through, to be completed.
    pub(crate) fn doubt_mut(&mut self) -> Option<&mut Doubt> {
        match self {
            Hold::TooManyDeletions(doubt)
            | Hold::TooManyChanges(doubt)
            | Hold::OtherRoot { doubt, .. }
            | Hold::EmptySource(doubt) => Some(doubt),
            Hold::SourceReplaced
            | Hold::MountGone(_)
            | Hold::Swapped { .. }
            | Hold::MissingElsewhere(_)
            | Hold::NoRoom(_)
            | Hold::Declined { .. } => None,
        }
    }
}

impl fmt::Display for Hold {
    /// Writes the reason and the remedy, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "if that is meant, start file-sync anew";
        match self {
            Hold::SourceReplaced => f.write_str(
                "the source path leads to another folder than when the pass started (was something mounted or unmounted?)",
            ),
            Hold::MountGone(difference) => {
                write!(f, "{}; mount it again, or, ", difference.told())?;
                if matches!(difference.place, Place::Inside(_)) && difference.now.is_some() {
                    write!(f, "{AGAIN} or remove the mount point")
                } else {
                    f.write_str(AGAIN)
                }
            }
            Hold::Swapped { difference, turnover: Turnover { created, deleted, kept } } => write!(
                f,
                "{}, and the plan is to create {created} entries, delete {deleted} and keep {kept} there; mount the right \
                 one, or, {AGAIN}",
                difference.told()
            ),
            Hold::MissingElsewhere(difference) => write!(
                f,
                "{}, and the replica folder is missing there; mount the right one, or, {AGAIN}",
                difference.told()
            ),
            Hold::TooManyDeletions(doubt) => {
                f.write_str("the plan would delete ")?;
                write_part(f, doubt.stake.deleted, doubt.stake.all)?;
                write_limit(f, doubt, "--max-delete", doubt.stake.deleted)
            }
            Hold::TooManyChanges(doubt) => {
                f.write_str("the plan would overwrite ")?;
                write_part(f, doubt.stake.changed, doubt.stake.all)?;
                f.write_str(" with other contents")?;
                write_limit(f, doubt, "--max-change", doubt.stake.changed)
            }
            Hold::OtherRoot { root, doubt } => {
                let RootChange { side, was, now } = **root;
                write!(
                    f,
                    "the {} is not the folder of the last pass ({was} then, {now} now; is it mounted?), and the plan would \
                     create {} entries and delete ",
                    side,
                    doubt.stake.created
                )?;
                write_part(f, doubt.stake.deleted, doubt.stake.all)?;
                write_way_out(f, doubt)
            }
            Hold::EmptySource(doubt) => {
                f.write_str("the source is empty (is it mounted?), and the plan would delete ")?;
                write_part(f, doubt.stake.deleted, doubt.stake.all)?;
                f.write_str(", which no recorded pass has written")?;
                write_way_out(f, doubt)
            }
            Hold::Declined { replica, deleted } => write!(
                f,
                "the answer was no: it would delete {} ({}) from {}, which file-sync has never written; --dry-run shows all of it",
                entries(deleted.entries),
                size(deleted.bytes),
                shown(replica.as_os_str().as_bytes())
            ),
            Hold::NoRoom(shortage) => write!(
                f,
                "{shortage}; make room there, or run it with --no-space-check, which copies what fits"
            ),
        }
    }
}

fn write_part(f: &mut fmt::Formatter<'_>, amount: Amount, all: u64) -> fmt::Result {
    let percent = u128::from(amount.entries) * 100 / u128::from(all.max(1));
    write!(f, "{} of the replica's {all} entries ({percent} %)", amount.entries)
}

/// Writes the limit of an option and what exceeds it, and the rest.
fn write_limit(f: &mut fmt::Formatter<'_>, doubt: &Doubt, option: &str, amount: Amount) -> fmt::Result {
    if let Some(limit) = doubt.limit {
        match limit {
            Limit::Bytes(most) => write!(f, ", {} bytes; {option} allows {most}", amount.bytes)?,
            Limit::Off | Limit::Share { .. } | Limit::Entries(_) => write!(f, "; {option} allows {limit}")?,
        }
    }
    write_way_out(f, doubt)
}

/// Writes the examples and the way out.
fn write_way_out(f: &mut fmt::Formatter<'_>, doubt: &Doubt) -> fmt::Result {
    for (at, (path, entries)) in doubt.examples.iter().enumerate() {
        write!(f, "{} {path} ({entries})", if at == 0 { ":" } else { "," })?;
    }
    if doubt.others > 0 {
        write!(f, " and {} more", doubt.others)?;
    }
    match &doubt.way_out {
        WayOut::Approve(command) => write!(f, "; if that is meant: {command}"),
        WayOut::Approved => Ok(()),
        WayOut::DryRun => f.write_str("; a pass would be held, and name the command that lets it through"),
        WayOut::NoLimits => {
            f.write_str("; if that is meant, run it once with --max-delete off --max-change off")
        }
        WayOut::Index => f.write_str("; nobody can approve it while the index cannot be written"),
    }
}

/// The report of one pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassReport {
    /// 1 for the first pass of this process.
    #[serde(rename = "pass")]
    pub number: u64,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The counters at the end.
    #[serde(flatten)]
    pub counts: Counts,
    /// From start to end, by CLOCK_BOOTTIME.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// The age of the replica at the end: the time since the start of the last [`Outcome::Done`] of this process, if
    /// any. Set by the schedule; [`Mirror::pass`](crate::Mirror::pass) leaves it none.
    #[serde(
        rename = "replica_age_seconds",
        skip_serializing_if = "Option::is_none",
        serialize_with = "seconds_if_any"
    )]
    pub replica_age: Option<Duration>,
    /// The age of the oldest confirmation of a file that was trusted and not read; none where all were read.
    #[serde(
        rename = "oldest_confirmation_seconds",
        skip_serializing_if = "Option::is_none",
        serialize_with = "seconds_if_any"
    )]
    pub oldest_confirmation: Option<Duration>,
}
