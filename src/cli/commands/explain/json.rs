//! The answer for programs: one document.

use crate::cli::commands::tally::Tally;
use crate::cli::commands::words::{Document, OfPair, rfc3339};
use crate::index::store::Roots;
use crate::index::trust::Distrust;
use crate::log::json::object;
use crate::model::change::Verb;
use crate::model::digest::Digest;
use crate::model::entry::Kind;
use crate::model::error::Problem;
use crate::model::path::RelPath;
use crate::model::serial;
use serde::Serialize;

use super::answer::{Answer, Fate};
use super::collected::Planned;
use super::differences::Difference;

/// Removing a field, or changing its meaning, raises it.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten, serialize_with = "serial::path")]
    path: &'a RelPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    fate: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// The changes at the path, or the one of the folder that takes it along.
    changes: Vec<Change<'a>>,
    differences: &'a [Difference],
    attributes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Record>,
    below: Below,
    problems: Vec<OfProblem<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Change<'a> {
    verb: Verb,
    #[serde(flatten, serialize_with = "serial::path")]
    path: &'a RelPath,
    kind: Kind,
    #[serde(rename = "bytes", skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(flatten, serialize_with = "serial::moved_from")]
    moved_from: Option<&'a RelPath>,
    #[serde(flatten, serialize_with = "serial::renamed_from")]
    renamed_from: Option<&'a RelPath>,
    #[serde(flatten)]
    subtree: Option<crate::model::change::Subtree>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

#[derive(Serialize)]
struct Record {
    #[serde(rename = "sha256", skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed: Option<String>,
    trusted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_because: Option<Distrust>,
}

#[derive(Serialize)]
struct Below {
    changes: Vec<OfVerb>,
    unchanged: u64,
    left_out: u64,
    excluded: u64,
    problems: u64,
}

#[derive(Serialize)]
struct OfVerb {
    verb: Verb,
    #[serde(flatten)]
    tally: Tally,
}

#[derive(Serialize)]
struct OfProblem<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    message: String,
}

/// The document, with its newline.
pub(super) fn document(answers: &[(Roots, Answer)]) -> String {
    let pairs = answers.iter().map(|(roots, answer)| OfPair::new(roots, told(answer))).collect();
    object(&Document { schema_version: VERSION, pairs })
}

fn told(answer: &Answer) -> Told<'_> {
    let (fate, reason) = match &answer.fate {
        Fate::Changed(_) => ("changed", None),
        Fate::With(_) => ("with_folder", None),
        Fate::LeftOut(reason) => ("left_out", Some(reason.as_str())),
        Fate::Excluded(_, rule) => ("excluded", Some(rule.as_str())),
        Fate::KeepsExcluded => ("keeps_excluded", None),
        Fate::Mounted => ("mounted", None),
        Fate::Problem => ("problem", None),
        Fate::Equal => ("equal", None),
        Fate::KeptBack => ("kept_back", None),
        Fate::Absent => ("absent", None),
        Fate::Unknown => ("unknown", None),
    };
    let changes = answer.fate.planned().iter().map(change).collect();
    let record = answer.record.map(|compared| Record {
        digest: compared.record.map(|record| record.digest),
        confirmed: compared.record.map(|_| rfc3339(compared.confirmed.saturating_mul(1000))),
        trusted: compared.distrust.is_none(),
        read_because: compared.distrust,
    });
    let below = Below {
        changes: answer.below.changes.all().map(|(verb, tally)| OfVerb { verb, tally }).collect(),
        unchanged: answer.below.unchanged,
        left_out: answer.below.left_out,
        excluded: answer.below.excluded,
        problems: answer.below.problems,
    };
    let problems = answer.problems.iter();
    let problems = problems.map(|problem| OfProblem { problem, message: problem.to_string() });
    Told {
        path: &answer.path,
        kind: answer.kind,
        fate,
        reason,
        changes,
        differences: &answer.differences,
        attributes: &answer.attributes,
        record,
        below,
        problems: problems.collect(),
        notes: &answer.notes,
    }
}

fn change(planned: &Planned) -> Change<'_> {
    let from = |verb| planned.from.as_ref().filter(|_| planned.verb == verb);
    Change {
        verb: planned.verb,
        path: &planned.path,
        kind: planned.kind,
        size: planned.size,
        moved_from: from(Verb::Move),
        renamed_from: from(Verb::Rename),
        subtree: planned.subtree,
        reason: &planned.reason,
    }
}
