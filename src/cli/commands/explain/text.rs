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
        Fate::Equal if is_trusted(answer) => {
            "stays as it is: by its record both sides are equal, and neither is read".to_owned()
        }
        Fate::Equal => "is equal on both sides and stays as it is".to_owned(),
        Fate::KeptBack => {
            "stays until the next pass: the source lacks it, and its folder has changed while it was looked at"
                .to_owned()
        }
        Fate::Absent => "is neither in the source nor in the replica".to_owned(),
        Fate::Unknown => "changed while it was looked at; ask again".to_owned(),
    }
}

/// Whether the record of the file stands for its content.
fn is_trusted(answer: &Answer) -> bool {
    answer.record.is_some_and(|compared| compared.distrust.is_none())
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
        None => "it stands for the file",
        Some(Distrust::NoRecord) => return Some("none".to_owned()),
        Some(Distrust::SourceChanged) => "the source's file has changed since",
        Some(Distrust::NotCompared) => "copied then, and not compared since",
        Some(Distrust::ReplicaChanged) => "the replica's file has changed since",
        Some(Distrust::Unsettled) => "the file was too young then for its facts to tell a change",
        Some(Distrust::OtherRights) => "made with other rights",
        Some(Distrust::LazyTimes) => "a crash may have lost times since (lazytime)",
        Some(Distrust::Suspect) => "the source was found with another content",
        Some(Distrust::Due) => "due to be read again, by --rehash-after",
        Some(Distrust::NoSize) => "its filesystem may show no sizes",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::focus::ComparedRecord;

    fn answer(fate: Fate, distrust: Option<Distrust>) -> Answer {
        Answer {
            path: RelPath::from_bytes(b"two words".to_vec()),
            fate,
            kind: Some(Kind::Folder),
            differences: Vec::new(),
            attributes: Vec::new(),
            record: Some(ComparedRecord { record: None, confirmed: 0, distrust }),
            below: Below::default(),
            problems: Vec::new(),
            notes: vec!["one\nline".to_owned()],
        }
    }

    #[test]
    fn an_answer_has_a_verdict_and_a_line_for_each_fact() {
        let roots = Roots { source: "/a b".into(), replica: "/c".into() };
        let text = page(&roots, &answer(Fate::Absent, Some(Distrust::NoRecord)));
        let expected = "\"/a b\" -> /c\n\"two words/\" is neither in the source nor in the replica\n  \
                        record     none\n  note       one\\nline\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_trusted_is_not_said_to_have_been_read() {
        assert!(verdict(&answer(Fate::Equal, None)).ends_with("and neither is read"));
        assert!(verdict(&answer(Fate::Equal, Some(Distrust::Due))).starts_with("is equal on both sides"));
    }

    #[test]
    fn what_goes_or_comes_with_its_folder_is_told_with_that() {
        let planned = |verb, kind| Planned {
            verb,
            path: RelPath::from_bytes(b"top".to_vec()),
            kind,
            size: None,
            from: Some(RelPath::from_bytes(b"old".to_vec())),
            subtree: None,
            reason: "was a file".to_owned(),
        };
        for (verb, kind, expected) in [
            (Verb::Create, Kind::Folder, "would be created with its folder top/"),
            (Verb::Delete, Kind::Folder, "would be deleted with its folder top/"),
            (Verb::Retype, Kind::Folder, "would be created with its folder top/"),
            (Verb::Retype, Kind::File, "would be deleted with its folder, which becomes a file"),
            (Verb::Move, Kind::Folder, "is equal, and would be moved with its folder: old/ -> top/"),
        ] {
            assert_eq!(verdict(&answer(Fate::With(planned(verb, kind)), None)), expected);
        }
        let both = [planned(Verb::Move, Kind::Folder), planned(Verb::Metadata, Kind::Folder)];
        let told = verdict(&answer(Fate::Changed(both.to_vec()), None));
        assert_eq!(told, "would be moved here from old/; and it would get its metadata: was a file");
    }
}
