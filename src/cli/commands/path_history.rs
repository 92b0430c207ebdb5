//! `history PATH`: what passes did to one path, newest first.

use crate::cli::args::PairArgs;
use crate::cli::commands::complaints::complain;
use crate::cli::commands::pairs::{Selection, below, fitting, tell_unread};
use crate::cli::commands::table::Table;
use crate::cli::commands::words::{Document, OfPair, local, rfc3339};
use crate::cli::config::{Environment, UsageError, given_path, whole_number};
use crate::index::path_history::{Event, LeftOut, PathHistory, read};
use crate::index::store::Roots;
use crate::log::{humanize, json};
use crate::model::change::Verb;
use crate::model::digest::Digest;
use crate::model::entry::Kind;
use crate::model::path::RelPath;
use crate::model::serial;
use crate::run::exit::Exit;
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::io::{Result, Write};
use std::path::PathBuf;

/// Removing a field, or changing its meaning, raises it.
const VERSION: u32 = 1;

/// The choices of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    path: PathBuf,
    selection: Selection,
    limit: usize,
    is_json: bool,
}

impl Options {
    /// Checks and completes the raw arguments.
    ///
    /// # Errors
    /// As [`Selection::new`]; the path is empty or leads nowhere, or the limit is no whole number.
    pub(super) fn new(
        (path, pairs): (OsString, PairArgs),
        limit: &OsStr,
        is_json: bool,
        environment: &Environment,
    ) -> std::result::Result<Options, UsageError> {
        let limit = whole_number("--limit", limit, "--limit 100")?;
        let path = given_path("the path", path, environment)?;
        Ok(Options { path, selection: Selection::new(pairs, environment)?, limit, is_json })
    }
}

/// The operations on the path in one pair.
struct Found<'a> {
    roots: &'a Roots,
    path: RelPath,
    history: PathHistory,
}

/// Prints the operations. A path in no pair is a complaint, and so is an index that cannot be read: it may be about the
/// path.
pub(super) fn run(
    options: &Options,
    environment: &Environment,
    (out, complaints): (&mut dyn Write, &mut dyn Write),
) -> Result<Exit> {
    let (known, mut unread) = options.selection.found();
    let mut found = Vec::new();
    let inside = fitting(&known, environment, |roots, look| below(&options.path, roots, look));
    let is_outside = inside.is_empty();
    for (pair, path) in inside {
        match read(&pair.connection, &path, options.limit) {
            Ok(history) => found.push(Found { roots: &pair.roots, path, history }),
            Err(error) => unread.push((pair.path.clone(), error.into())),
        }
    }
    let text = match options.is_json {
        true => document(&found),
        false => found.iter().map(page).collect::<Vec<_>>().join("\n"),
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    tell_unread(complaints, &unread);
    if is_outside {
        let path = humanize::path(&options.path);
        let message = format!(
            "Cannot tell the history of {path}: it lies in no source and no replica of an index that can be read (see \
             --state-dir)"
        );
        complain(complaints, &message);
    }
    Ok(if is_outside || !unread.is_empty() { Exit::Error } else { Exit::Done })
}

/// A table under the names of the roots and the path.
fn page(found: &Found<'_>) -> String {
    let Found { roots, path, history } = found;
    let (source, replica) = (humanize::path(&roots.source), humanize::path(&roots.replica));
    let mut text = format!("{source} -> {replica}: {path}\n");
    if history.events.is_empty() {
        text.push_str(&match history.since {
            Some(since) => {
                format!("No operation on it is known; operations are kept since {}\n", local(since))
            }
            None => "No operation on it is known; none is kept before a pass was done\n".to_owned(),
        });
    } else {
        let mut table = Table::new(["TIME", "OPERATION", "SIZE", "DETAILS"]);
        history.events.iter().for_each(|event| table.row(row(event)));
        text.push_str(&table.text());
    }
    for LeftOut { started, operations } in &history.left_out {
        let operations = humanize::counted(*operations, "operation", "operations");
        text.push_str(&format!("Of the pass of {} {operations} were not kept\n", local(*started)));
    }
    text
}

fn row(event: &Event) -> [String; 4] {
    let size = event.size.map_or_else(|| "-".to_owned(), humanize::size);
    [local(event.time), event.verb.word().to_owned(), size, details(event)]
}

fn details(event: &Event) -> String {
    let mut details = Vec::new();
    let name = |path: &RelPath| match event.with {
        Some(_) => path.to_string(),
        None => humanize::below(path, event.kind),
    };
    match (&event.moved_to, &event.other, event.verb) {
        (Some(to), _, _) => details.push(format!("to {}", name(to))),
        (None, Some(other), Verb::Link) => details.push(format!("to {other}")),
        (None, Some(from), _) => details.push(format!("from {}", name(from))),
        (None, None, _) => {}
    }
    details
        .extend(event.with.as_ref().map(|folder| format!("with {}", humanize::below(folder, Kind::Folder))));
    details.extend(event.digest.map(|digest| format!("sha256={digest}")));
    details.join(" ")
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten, serialize_with = "serial::path")]
    path: &'a RelPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_since: Option<String>,
    operations: Vec<Operation<'a>>,
    left_out: Vec<Missing>,
}

/// An operation in JSON, with the fields that it has in the log.
#[derive(Serialize)]
struct Operation<'a> {
    time: String,
    verb: Verb,
    #[serde(flatten, serialize_with = "serial::path")]
    path: &'a RelPath,
    /// Of the path; it is not known where the operation was on a folder above.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(rename = "bytes", skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(rename = "sha256", skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(flatten, serialize_with = "serial::linked_to")]
    linked_to: Option<&'a RelPath>,
    #[serde(flatten, serialize_with = "serial::renamed_from")]
    renamed_from: Option<&'a RelPath>,
    #[serde(flatten, serialize_with = "serial::moved_from")]
    moved_from: Option<&'a RelPath>,
    #[serde(flatten, serialize_with = "serial::moved_to")]
    moved_to: Option<&'a RelPath>,
    #[serde(flatten, serialize_with = "serial::with")]
    with: Option<&'a RelPath>,
}

/// A pass of which not all operations are kept.
#[derive(Serialize)]
struct Missing {
    started: String,
    operations: u64,
}

fn document(found: &[Found<'_>]) -> String {
    json::object(&Document { schema_version: VERSION, pairs: found.iter().map(object).collect() })
}

fn object<'a>(found: &'a Found<'_>) -> OfPair<'a, Told<'a>> {
    let Found { roots, path, history } = found;
    let missing = |LeftOut { started, operations }: &LeftOut| Missing {
        started: rfc3339(*started),
        operations: *operations,
    };
    let told = Told {
        path,
        kept_since: history.since.map(rfc3339),
        operations: history.events.iter().map(operation).collect(),
        left_out: history.left_out.iter().map(missing).collect(),
    };
    OfPair::new(roots, told)
}

fn operation(event: &Event) -> Operation<'_> {
    let other = |of: Verb| event.other.as_ref().filter(|_| event.verb == of);
    Operation {
        time: rfc3339(event.time),
        verb: event.verb,
        path: &event.path,
        kind: event.with.is_none().then_some(event.kind),
        size: event.size,
        digest: event.digest,
        linked_to: other(Verb::Link),
        renamed_from: other(Verb::Rename),
        moved_from: other(Verb::Move),
        moved_to: event.moved_to.as_ref(),
        with: event.with.as_ref(),
    }
}
