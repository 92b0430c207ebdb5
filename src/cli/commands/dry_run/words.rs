//! The words of one change, for summary and lines.

use crate::log::humanize;
use crate::model::change::Operation;
use crate::model::entry::Kind;
use crate::model::path::RelPath;

/// The place of a change: one path, or the old and the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The path before a move or a rename.
    pub from: Option<String>,
    /// The path.
    pub path: String,
}

impl Place {
    /// The place of one entry, escaped as in the log.
    pub(super) fn at(path: &RelPath, kind: Kind) -> Place {
        Place { from: None, path: humanize::below(path, kind) }
    }

    /// The place of a change.
    pub(super) fn of(operation: &Operation<'_>) -> Place {
        let from = operation.moved_from.or(operation.renamed_from);
        let from = from.map(|from| humanize::below(from, operation.kind));
        Place { from, ..Place::at(operation.path, operation.kind) }
    }

    /// `path`, or `old -> new`.
    pub(super) fn text(&self) -> String {
        match &self.from {
            Some(from) => format!("{from} -> {}", self.path),
            None => self.path.clone(),
        }
    }
}

/// The entries below, the other name of a hard link, and the reason; empty where the verb says all.
pub(super) fn note(operation: &Operation<'_>) -> String {
    let mut parts = Vec::new();
    if let Some(below) = operation.subtree {
        if below.folders == 0 && below.files == 0 {
            parts.push("empty".to_owned());
        } else {
            let counts = [(below.folders, "folder", "folders"), (below.files, "file", "files")];
            let counts = counts.into_iter().filter(|(count, _, _)| *count > 0);
            parts.extend(counts.map(|(count, one, many)| humanize::counted(count, one, many)));
        }
    }
    if let Some(other) = operation.linked_to {
        parts.push(format!("=> {other}"));
    }
    if !operation.reason.is_empty() {
        parts.push(humanize::one_line(operation.reason).into_owned());
    }
    if operation.replica_unreadable {
        parts.push("replica unreadable".to_owned());
    }
    parts.join(", ")
}

/// Why an entry is left out.
pub(super) fn left_out(kind: Kind, reason: &str) -> String {
    humanize::one_line(if reason.is_empty() { kind.word() } else { reason }).into_owned()
}
