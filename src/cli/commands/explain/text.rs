//! The answer for people.

use crate::cli::commands::words::local;
use crate::index::store::Roots;
use crate::index::trust::Distrust;
use crate::log::humanize;
use crate::model::change::Verb;
use crate::model::entry::Kind;
use crate::model::path::RelPath;

use super::answer::{Answer, Below, Fate, subtree};
use super::collected::Planned;

/// The answers, each under the roots of its pair.
pub(super) fn pages(answers: &[(Roots, Answer)]) -> String {
    answers.iter().map(|(roots, answer)| page(roots, answer)).collect::<Vec<_>>().join("\n")
}

fn page(roots: &Roots, answer: &Answer) -> String {
    let (source, replica) = (humanize::path(&roots.source), humanize::path(&roots.replica));
    let path = humanize::below(&answer.path, answer.kind.unwrap_or(Kind::File));
    let mut text = format!("{source} -> {replica}\n{path} {}\n", verdict(answer));
    let mut line = |what: &str, words: &str| {
        text.push_str(&format!("  {what:<11}{}\n", humanize::one_line(words)));
    };
    for difference in &answer.differences {
        line(difference.what, &difference.to_string());
    }
    if !answer.attributes.is_empty() {
        line("attributes", &answer.attributes.join(", "));
    }
    if let Some(record) = record(answer) {
        line("record", &record);
    }
    if let Some(below) = below(&answer.below) {
        line("below", &below);
    }
    for problem in &answer.problems {
        line("problem", &format!("{} {problem}", problem.path));
    }
    for note in &answer.notes {
        line("note", note);
    }
    text
}

/// The sentence after the path.
fn verdict(answer: &Answer) -> String {
    match &answer.fate {
        Fate::Changed(planned) => planned.iter().map(would).collect::<Vec<_>>().join("; and it "),
        Fate::With(planned) => {
            let folder = humanize::below(&planned.path, planned.kind);
            match (planned.verb, &planned.from) {
                (Verb::Move, Some(from)) => {
                    let from = humanize::below(from, planned.kind);
                    format!("is equal, and would be moved with its folder: {from} -> {folder}")
                }
                (Verb::Retype, _) if planned.kind != Kind::Folder => {
                    format!("would be deleted with its folder, which becomes a {}", planned.kind.word())
                }
                (Verb::Delete, _) => format!("would be deleted with its folder {folder}"),
                (_, _) => format!("would be created with its folder {folder}"),
            }
        }
        Fate::LeftOut(reason) => format!("is left out: {reason}"),
        Fate::Excluded(path, rule) if *path == answer.path => format!("is left out: {rule}"),
        Fate::Excluded(path, rule) => format!("is left out with {path}: {rule}"),
        Fate::KeepsExcluded => {
            "stays: the source lacks it, and the filter leaves out what is in it (--delete-excluded would remove it)"
                .to_owned()
        }
        Fate::Mounted => "stays: something is mounted there in the replica; unmount it first".to_owned(),
        Fate::Problem => "stays as it is, because of a problem".to_owned(),
        Fate::Equal => "is equal on both sides and stays as it is".to_owned(),
        Fate::KeptBack => {
            "stays until the next pass: the source lacks it, and its folder has changed while it was looked at"
                .to_owned()
        }
        Fate::Absent => "is neither in the source nor in the replica".to_owned(),
        Fate::Unknown => "changed while it was looked at; ask again".to_owned(),
    }
}

fn would(planned: &Planned) -> String {
    let Planned { verb, kind, size, from, subtree: below, reason, .. } = planned;
    let reason = if reason.is_empty() { String::new() } else { format!(": {}", humanize::one_line(reason)) };
    let amount = match (below, size) {
        (Some(below), _) => format!(" ({})", subtree(*below)),
        (None, Some(size)) => format!(" ({})", humanize::size(*size)),
        (None, None) => String::new(),
    };
    let from = from.as_ref().map_or_else(String::new, |from: &RelPath| humanize::below(from, *kind));
    match verb {
        Verb::Create => format!("would be created{amount}: the replica does not have it"),
        Verb::Update => format!("would be updated{reason}"),
        Verb::Repair => format!("would be repaired{reason}"),
        Verb::Retype => format!("would be replaced by a {}{amount}{reason}", kind.word()),
        Verb::Move => format!("would be moved here from {from}"),
        Verb::Rename => format!("would be renamed: the replica lists it as {from}"),
        Verb::Link => format!("would become a hard link{reason}"),
        Verb::Metadata => format!("would get its metadata{reason}"),
        Verb::Delete if reason.is_empty() => format!("would be deleted{amount}: the source does not have it"),
        Verb::Delete => format!("would be deleted{amount}{reason}"),
    }
}

fn record(answer: &Answer) -> Option<String> {
    let compared = answer.record.as_ref()?;
    let standing = match compared.distrust {
        None => "it stands, and nothing is read",
        Some(Distrust::NoRecord) => return Some("none; the file was read".to_owned()),
        Some(Distrust::SourceChanged) => "the source's file has changed since",
        Some(Distrust::NotCompared) => "copied then, and not compared since",
        Some(Distrust::ReplicaChanged) => "the replica's file has changed since",
        Some(Distrust::Unsettled) => "too young to stand; the file was read",
        Some(Distrust::OtherRights) => "made with other rights; the file was read",
        Some(Distrust::LazyTimes) => "a crash may have lost times (lazytime); the file was read",
        Some(Distrust::Suspect) => "the source was found with another content",
        Some(Distrust::Due) => "due to be read again by --rehash-after; the file was read",
        Some(Distrust::NoSize) => "its filesystem may show no sizes; the file was read",
    };
    let digest = compared.record.map(|record| format!("sha256={}, ", record.digest)).unwrap_or_default();
    let confirmed = local(compared.confirmed.saturating_mul(1000));
    Some(format!("{digest}confirmed {confirmed}; {standing}"))
}

fn below(below: &Below) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    for (verb, tally) in below.changes.all() {
        let size = tally.bytes.map(|bytes| format!(" ({})", humanize::size(bytes))).unwrap_or_default();
        parts.push(format!("{} to {}{size}", humanize::number(tally.entries), words_of(verb)));
    }
    let rest = [
        (below.unchanged, "unchanged"),
        (below.left_out, "left out"),
        (below.excluded, "excluded"),
        (below.problems, "with problems"),
    ];
    let rest = rest.into_iter().filter(|(count, _)| *count > 0);
    parts.extend(rest.map(|(count, word)| format!("{} {word}", humanize::number(count))));
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn words_of(verb: Verb) -> &'static str {
    if verb == Verb::Metadata { "get metadata" } else { verb.word() }
}
