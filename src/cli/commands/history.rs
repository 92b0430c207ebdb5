//! `history`: the passes of each pair, newest first.

use crate::cli::args::PairArgs;
use crate::cli::commands::pairs::{Selection, tell_unread};
use crate::cli::commands::table::Table;
use crate::cli::commands::words::{Document, OfPair, PassObject, changes, local, outcome};
use crate::cli::config::{Environment, UsageError, whole_number};
use crate::fs::process::{Life, life};
use crate::index::history::{Pass, newest};
use crate::index::known::KnownPair;
use crate::index::store::{Roots, Unusable};
use crate::log::humanize;
use crate::model::counters::Counter;
use crate::run::exit::Exit;
use serde::Serialize;
use std::ffi::OsStr;
use std::io::{Result, Write};
use std::time::Duration;

/// Removing a field, or changing its meaning, raises it.
const VERSION: u32 = 1;

/// The choices of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    selection: Selection,
    limit: usize,
    is_json: bool,
}

impl Options {
    /// Checks and completes the raw arguments.
    ///
    /// # Errors
    /// As [`Selection::new`]; the limit is no whole number.
    pub(super) fn new(
        pairs: PairArgs,
        limit: &OsStr,
        is_json: bool,
        environment: &Environment,
    ) -> std::result::Result<Options, UsageError> {
        let limit = whole_number("--limit", limit, "--limit 100")?;
        Ok(Options { selection: Selection::new(pairs, environment)?, limit, is_json })
    }
}

/// The passes of one pair.
struct Passes {
    roots: Roots,
    passes: Vec<Pass>,
    /// Whether the process of the newest one lives.
    life: Life,
}

impl Passes {
    fn of(pair: &KnownPair, limit: usize) -> std::result::Result<Passes, Unusable> {
        let passes = newest(&pair.connection, limit)?;
        let life = passes.first().map_or(Life::Ended, |pass| life(pass.process, &pass.mark));
        Ok(Passes { roots: pair.roots.clone(), passes, life })
    }
}

/// Prints the passes. What cannot be read is a complaint.
pub(super) fn run(options: &Options, (out, complaints): (&mut dyn Write, &mut dyn Write)) -> Result<Exit> {
    let state_dir = &options.selection.state_dir;
    let (known, mut unread) = options.selection.found();
    let mut pairs = Vec::new();
    for pair in known {
        match Passes::of(&pair, options.limit) {
            Ok(passes) => pairs.push(passes),
            Err(unusable) => unread.push((pair.path, unusable)),
        }
    }
    let text = match options.is_json {
        true => document(&pairs),
        false if pairs.is_empty() && unread.is_empty() => {
            format!("No pass is known in {}\n", humanize::path(state_dir))
        }
        false => pairs.iter().map(page).collect::<Vec<_>>().join("\n"),
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    tell_unread(complaints, &unread);
    Ok(if unread.is_empty() { Exit::Done } else { Exit::Error })
}

/// A table under the names of the roots.
fn page(pair: &Passes) -> String {
    let (source, replica) = (humanize::path(&pair.roots.source), humanize::path(&pair.roots.replica));
    let heading = ["STARTED", "TOOK", "OUTCOME", "CHANGES", "READ", "WRITTEN", "PROBLEMS", "AGE", "RPO", ""];
    let mut table = Table::new(heading);
    pair.passes.iter().enumerate().for_each(|(at, pass)| {
        // Only the newest pass of a pair can run.
        let life = if at == 0 { pair.life } else { Life::Ended };
        table.row(row(pass, life));
    });
    format!("{source} -> {replica}\n{}", table.text())
}

fn row(pass: &Pass, life: Life) -> [String; 10] {
    let none = || "-".to_owned();
    let counts = pass.ended.map(|_| &pass.counts);
    let size = |counter| counts.map_or_else(none, |counts| humanize::size(counts[counter]));
    let age = pass.age.and_then(|age| age.try_into().ok()).map(Duration::from_millis);
    [
        local(pass.started),
        pass.duration().map_or_else(none, humanize::duration),
        outcome(pass, life).1.to_owned(),
        counts.map_or_else(none, changes),
        size(Counter::BytesRead),
        size(Counter::BytesWritten),
        counts.map_or_else(none, |counts| humanize::number(counts[Counter::Problems])),
        age.map_or_else(none, humanize::age),
        match pass.met {
            Some(true) => "met".to_owned(),
            Some(false) => "missed".to_owned(),
            None => none(),
        },
        pass.message.as_deref().map(|message| humanize::one_line(message).into_owned()).unwrap_or_default(),
    ]
}

#[derive(Serialize)]
struct Listed<'a> {
    passes: Vec<PassObject<'a>>,
}

fn document(pairs: &[Passes]) -> String {
    let document = Document { schema_version: VERSION, pairs: pairs.iter().map(object).collect() };
    let text = serde_json::to_string(&document);
    debug_assert!(text.is_ok(), "all keys are strings: {text:?}");
    text.unwrap_or_default() + "\n"
}

fn object(pair: &Passes) -> OfPair<'_, Listed<'_>> {
    let life_of = |at| if at == 0 { pair.life } else { Life::Ended };
    let passes = pair.passes.iter().enumerate();
    let passes = passes.map(|(at, pass)| PassObject::new(pass, life_of(at))).collect();
    OfPair::new(&pair.roots, Listed { passes })
}
