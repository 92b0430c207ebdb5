//! What one pass did, as numbers.

use crate::model::counters::Counts;
use crate::model::mounts::{Difference, Place};
use crate::model::serial::{seconds, seconds_if_any};
use crate::model::signal::Signal;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::fmt;
use std::time::Duration;

/// How a pass ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The whole plan was carried out, but for the problems.
    Done,
    /// Only the plan was made (dry run).
    Planned,
    /// The guard refused the plan; nothing was written.
    Held(Hold),
    /// A signal ended the pass early.
    #[serde(rename = "stopped", serialize_with = "signal")]
    Interrupted(Signal),
    /// The replica folder disappeared during the pass; what is left is for the next pass.
    ReplicaLost,
}

/// Why the guard refused a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "hold", rename_all = "snake_case")]
pub enum Hold {
    /// The source path leads to another folder than at the start of the pass, or of the one whose rest this one does.
    SourceReplaced,
    /// Something that was mounted in the last pass is not mounted any more.
    MountGone(Box<Difference>),
    /// Something else is mounted than in the last pass, and it looks like the wrong disk.
    #[serde(rename = "other_filesystem")]
    Swapped {
        /// Where, and what was there and is.
        #[serde(flatten)]
        difference: Box<Difference>,
        /// What the plan does there.
        #[serde(flatten)]
        turnover: Turnover,
    },
    /// The replica folder is missing, on another filesystem than the one it was on in the last pass.
    #[serde(rename = "missing_on_other_filesystem")]
    MissingElsewhere(Box<Difference>),
}

fn signal<S: Serializer>(signal: &Signal, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("signal", signal)?;
    map.end()
}

/// What a plan does at and below one place, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Turnover {
    /// Entries that would be created in the replica.
    #[serde(rename = "would_create")]
    pub created: u64,
    /// Entries that would be deleted from the replica.
    #[serde(rename = "would_delete")]
    pub deleted: u64,
    /// Entries that both sides have.
    #[serde(rename = "would_keep")]
    pub kept: u64,
}

impl Hold {
    /// The place that is not what it was, if it is about one.
    pub fn difference(&self) -> Option<&Difference> {
        match self {
            Hold::SourceReplaced => None,
            Hold::MountGone(difference)
            | Hold::Swapped { difference, .. }
            | Hold::MissingElsewhere(difference) => Some(difference),
        }
    }
}

impl fmt::Display for Hold {
    /// The reason, for people, and what to do.
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
        }
    }
}

/// The report of one pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassReport {
    /// 1 for the first pass of this process.
    #[serde(rename = "pass")]
    pub number: u64,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// From start to end, on the boot-time clock.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// How old the replica is at the end: the time since the start of the last pass that was done.
    /// None while no pass of this process has been done.
    #[serde(
        rename = "replica_age_seconds",
        skip_serializing_if = "Option::is_none",
        serialize_with = "seconds_if_any"
    )]
    pub replica_age: Option<Duration>,
}
