//! The state of the pairs as one JSON document. Fields are added and never change their meaning; `docs/status.md` has them.

use super::reason::reason;
use crate::cli::commands::words::{PassObject, rfc3339};
use crate::fs::process::Life;
use crate::index::history::Share;
use crate::index::known::Unread;
use crate::model::counters::Counter;
use crate::model::serial;
use crate::status::judge::Activity;
use crate::status::{PairStatus, Report};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Removing a field, or changing its meaning, raises it.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    time: String,
    /// The worst state; none without a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    pairs: Vec<Pair<'a>>,
    unreadable: Vec<Unreadable<'a>>,
}

#[derive(Serialize)]
struct Pair<'a> {
    #[serde(flatten, serialize_with = "serial::source")]
    source: &'a Path,
    #[serde(flatten, serialize_with = "serial::replica")]
    replica: &'a Path,
    #[serde(flatten, serialize_with = "serial::index")]
    index: &'a Path,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serial::seconds_if_any")]
    replica_age_seconds: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serial::seconds_if_any")]
    rpo_seconds: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpo_met: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serial::seconds_if_any")]
    at_risk_seconds: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serial::seconds_if_any")]
    interval_seconds: Option<Duration>,
    problems: u64,
    rotted: u64,
    held_passes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_since: Option<String>,
    last_day: Judged,
    last_month: Judged,
    #[serde(skip_serializing_if = "Option::is_none")]
    running_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_pass: Option<PassObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_done: Option<PassObject<'a>>,
}

#[derive(Serialize)]
struct Judged {
    passes: u64,
    rpo_met: u64,
}

impl From<Share> for Judged {
    fn from(share: Share) -> Judged {
        Judged { passes: share.judged, rpo_met: share.met }
    }
}

#[derive(Serialize)]
struct Unreadable<'a> {
    #[serde(flatten, serialize_with = "serial::index")]
    index: &'a Path,
    message: String,
}

/// The document, in one line.
pub(super) fn document(report: &Report) -> String {
    let document = Document {
        schema_version: VERSION,
        time: rfc3339(report.now),
        state: report.pairs.first().map(|pair| pair.verdict.state.code()),
        pairs: report.pairs.iter().map(pair).collect(),
        unreadable: report.unread.iter().map(unreadable).collect(),
    };
    let text = serde_json::to_string(&document);
    debug_assert!(text.is_ok(), "all keys are strings: {text:?}");
    text.unwrap_or_default() + "\n"
}

fn unreadable((index, unusable): &Unread) -> Unreadable<'_> {
    Unreadable { index, message: unusable.to_string() }
}

fn pair(pair: &PairStatus) -> Pair<'_> {
    let (history, verdict) = (&pair.history, &pair.verdict);
    let count = |counter| history.last_done.as_ref().map_or(0, |pass| pass.counts[counter]);
    let (running_since, next_pass, life) = match verdict.activity {
        Activity::Running(since) => (Some(since), None, Life::Alive),
        Activity::Next(at) => (None, Some(at), Life::Alive),
        Activity::Perhaps(_) => (None, None, Life::Unknown),
        Activity::None => (None, None, Life::Ended),
    };
    Pair {
        source: &pair.roots.source,
        replica: &pair.roots.replica,
        index: &pair.index,
        state: verdict.state.code(),
        message: reason(pair),
        replica_age_seconds: verdict.age,
        rpo_seconds: history.rpo,
        rpo_met: verdict.is_met,
        at_risk_seconds: verdict.warn_age,
        interval_seconds: history.interval,
        problems: count(Counter::Problems),
        rotted: count(Counter::Rotted),
        held_passes: history.holds.count,
        held_since: history.holds.since.map(rfc3339),
        last_day: history.day.into(),
        last_month: history.month.into(),
        running_since: running_since.map(rfc3339),
        next_pass: next_pass.map(rfc3339),
        last_pass: history.last.as_ref().map(|pass| PassObject::new(pass, life)),
        last_done: history.last_done.as_ref().map(|pass| PassObject::new(pass, life)),
    }
}
