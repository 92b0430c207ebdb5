//! Passes in words and in JSON, for the commands that show them.

use crate::fs::process::Life;
use crate::index::history::{Ended, Pass};
use crate::index::store::Roots;
use crate::log::humanize;
use crate::model::counters::{Counter, Counts};
use crate::model::serial;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// A moment in milliseconds since 1970, in local time: `2026-11-26 14:30:12`.
pub(super) fn local(millis: i64) -> String {
    moment(millis).to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A moment in milliseconds since 1970, as RFC 3339 in UTC.
pub(super) fn rfc3339(millis: i64) -> String {
    format!("{:.3}", moment(millis))
}

fn moment(millis: i64) -> Timestamp {
    // A clock out of jiff's range (year 9999) must not end the program.
    Timestamp::from_millisecond(millis).unwrap_or_default()
}

/// `+41 ~7 -3`: made, changed, deleted.
pub(super) fn changes(counts: &Counts) -> String {
    let changed = [
        Counter::Updated,
        Counter::Moved,
        Counter::Repaired,
        Counter::Retyped,
        Counter::Renamed,
        Counter::Linked,
        Counter::Metadata,
    ];
    let changed = changed.into_iter().map(|counter| counts[counter]).sum();
    let parts = [('+', counts[Counter::Created]), ('~', changed), ('-', counts[Counter::Deleted])];
    let parts = parts.into_iter().filter(|(_, number)| *number > 0);
    let parts: Vec<String> =
        parts.map(|(sign, count)| format!("{sign}{}", humanize::number(count))).collect();
    if parts.is_empty() { "no change".to_owned() } else { parts.join(" ") }
}

/// The outcome of a pass, also of one whose end was not written: the name in JSON, and the words for people.
pub(super) fn outcome(pass: &Pass, life: Life) -> (&'static str, &'static str) {
    match (pass.outcome, life) {
        (Some(Ended::ReplicaLost), _) => (Ended::ReplicaLost.code(), "replica lost"),
        (Some(outcome), _) => (outcome.code(), outcome.code()),
        (None, Life::Alive) => ("running", "running"),
        (None, Life::Unknown) => ("perhaps_running", "perhaps running"),
        (None, Life::Ended) => (Ended::Killed.code(), Ended::Killed.code()),
    }
}

/// A document about pairs in JSON.
#[derive(Serialize)]
pub(super) struct Document<T> {
    pub(super) schema_version: u32,
    pub(super) pairs: Vec<T>,
}

/// A pair in JSON, with what a command tells of it.
#[derive(Serialize)]
pub(super) struct OfPair<'a, T> {
    #[serde(flatten, serialize_with = "serial::source")]
    source: &'a Path,
    #[serde(flatten, serialize_with = "serial::replica")]
    replica: &'a Path,
    #[serde(flatten)]
    told: T,
}

impl<'a, T> OfPair<'a, T> {
    /// Facts about the pair with these roots.
    pub(super) fn new(roots: &'a Roots, told: T) -> OfPair<'a, T> {
        OfPair { source: &roots.source, replica: &roots.replica, told }
    }
}

/// A pass in JSON.
#[derive(Serialize)]
pub(super) struct PassObject<'a> {
    pass: u64,
    outcome: &'static str,
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serial::seconds_if_any")]
    duration_seconds: Option<Duration>,
    /// The age that the replica had reached when the pass ended.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serial::seconds_if_any")]
    reached_age_seconds: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpo_met: Option<bool>,
    process: u32,
    #[serde(flatten)]
    counts: Option<&'a Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> PassObject<'a> {
    /// A pass, and whether its process lives.
    pub(super) fn new(pass: &'a Pass, life: Life) -> PassObject<'a> {
        PassObject {
            pass: pass.number,
            outcome: outcome(pass, life).0,
            started: rfc3339(pass.started),
            ended: pass.ended.map(rfc3339),
            duration_seconds: pass.duration(),
            reached_age_seconds: pass.age.map(|age| Duration::from_millis(age.try_into().unwrap_or(0))),
            rpo_met: pass.met,
            process: pass.process,
            counts: pass.ended.is_some().then_some(&pass.counts),
            message: pass.message.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_changed_and_deleted() {
        let of = |counts: &[(Counter, u64)]| changes(&counts.iter().copied().collect());
        assert_eq!(of(&[]), "no change");
        assert_eq!(of(&[(Counter::Created, 1200), (Counter::Deleted, 3)]), "+1,200 -3");
        let all: Vec<_> = Counter::ALL.into_iter().map(|counter| (counter, 1)).collect();
        assert_eq!(of(&all), "+1 ~7 -1");
    }

    #[test]
    fn a_moment_is_written_to_the_millisecond() {
        assert_eq!(rfc3339(1_795_345_200_007), "2026-11-22T11:00:00.007Z");
        assert_eq!(rfc3339(1_795_345_200_000), "2026-11-22T11:00:00.000Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00.000Z");
    }
}
