//! `explain`: what the next pass would do to one path, and why.
//!
//! The answer is the plan of a dry run that looks at this path alone ([`Mirror::explain`]), and the facts that the survey
//! noted on the way: no rule is written a second time here.

mod answer;
mod collected;
mod differences;
mod json;
mod text;

use self::answer::Answer;
use self::collected::Collected;
use crate::cli::args::{ExplainArgs, FilterArgs};
use crate::cli::commands::chosen::Refused;
use crate::cli::commands::complaints::complain;
use crate::cli::commands::pairs::{Look, Selection, below, fitting, tell_unread};
use crate::cli::config::{Environment, filter, given_path, is_no_file, log_file, trust};
use crate::context::focus::Sight;
use crate::control::Interrupt;
use crate::filter::FilterOptions;
use crate::fs::Errno;
use crate::fs::raise_open_file_limit;
use crate::fs::stat::entry_at_path;
use crate::guard::Limits;
use crate::index::IndexOptions;
use crate::index::store::Roots;
use crate::log::humanize;
use crate::mirror::{Mirror, MirrorOptions};
use crate::model::digest::Digests;
use crate::model::entry::Kind;
use crate::model::error::Error;
use crate::model::limit::Limit;
use crate::model::path::RelPath;
use crate::model::trust::Trust;
use crate::run::exit::Exit;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The options of the run.
struct Options {
    selection: Selection,
    log: Option<PathBuf>,
    rehash_after: Trust,
    no_mapped_writes: bool,
    filter: FilterArgs,
    processors: usize,
}

/// A path in a pair.
struct Asked {
    roots: Roots,
    path: RelPath,
}

/// Runs the command.
///
/// # Errors
/// See [`Refused`].
pub(super) fn run(
    arguments: ExplainArgs,
    environment: &Environment,
    (out, complaints): (&mut dyn Write, &mut dyn Write),
) -> Result<Exit, Refused> {
    let ExplainArgs {
        paths,
        pairs,
        log_file: log,
        rehash_after,
        no_mapped_writes,
        filter: excludes,
        json,
        ..
    } = arguments;
    let log = log.filter(|log| !is_no_file(log));
    let options = Options {
        rehash_after: trust("--rehash-after", &rehash_after)?,
        log: log.map(|log| log_file(Path::new(&log), environment)).transpose()?,
        selection: Selection::new(pairs, environment)?,
        no_mapped_writes,
        filter: excludes,
        processors: environment.processors,
    };
    let (mut answers, mut exit) = (Vec::new(), Exit::Done);
    let asked = asked(&paths, &options.selection, environment, (complaints, &mut exit))?;
    raise_open_file_limit();
    for Asked { roots, path } in asked {
        // A file of rules has to lie outside of the roots.
        let given = [("source", roots.source.as_path()), ("replica", roots.replica.as_path())];
        let filter = filter(options.filter.clone(), given, environment)?;
        match explain(&options, filter, &roots, &path) {
            Ok(answer) => answers.push((roots, answer)),
            Err(error) => {
                complain(complaints, &format!("Cannot explain {path}: {error}"));
                exit = Exit::Error;
            }
        }
    }
    let text = if json { json::document(&answers) } else { text::pages(&answers) };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(exit)
}

/// The paths in their pairs. A path in no pair is a complaint, and so is an index that cannot be read.
fn asked(
    paths: &[OsString],
    selection: &Selection,
    environment: &Environment,
    (complaints, exit): (&mut dyn Write, &mut Exit),
) -> Result<Vec<Asked>, Refused> {
    let mut asked = Vec::new();
    let named = selection.source.clone().zip(selection.replica.clone());
    let (known, unread) = if named.is_some() { Default::default() } else { selection.found() };
    for path in paths {
        let path = given_path("the path", path.clone(), environment)?;
        let before = asked.len();
        match &named {
            Some((source, replica)) => {
                let roots = Roots { source: source.clone(), replica: replica.clone() };
                let found = below(&path, &roots, &Path::to_path_buf)
                    .or_else(|| below(&path, &roots, &environment.resolve));
                asked.extend(found.map(|path| Asked { roots, path }));
            }
            None => {
                let inside = |roots: &Roots, look: Look<'_>| below(&path, roots, look);
                let found = fitting(&known, environment, inside);
                asked.extend(found.into_iter().map(|(pair, path)| Asked { roots: pair.roots.clone(), path }));
            }
        }
        if asked.len() == before {
            let path = humanize::path(&path);
            complain(
                complaints,
                &match named {
                    Some(_) => {
                        format!("Cannot explain {path}: it lies neither in the source nor in the replica")
                    }
                    None => format!(
                        "Cannot explain {path}: it lies in no source and no replica of a pair that is known; give \
                         --state-dir as in the run, or the pair with --source and --replica"
                    ),
                },
            );
            *exit = Exit::Error;
        }
    }
    if !unread.is_empty() {
        tell_unread(complaints, &unread);
        *exit = Exit::Error;
    }
    Ok(asked)
}

fn explain(options: &Options, filter: FilterOptions, roots: &Roots, path: &RelPath) -> Result<Answer, Error> {
    let mirror = MirrorOptions {
        source: roots.source.clone(),
        replica: roots.replica.clone(),
        log: options.log.clone(),
        threads: None,
        processors: options.processors,
        digests: Digests::OfAll,
        dry_run: true,
        verify_writes: false,
        bytes_per_second: None,
        index: Some(IndexOptions {
            state_dir: options.selection.state_dir.clone(),
            rehash_after: options.rehash_after,
            // What is read is hashed: the digest tells rot.
            digest_after: Trust::Never,
            no_mapped_writes: options.no_mapped_writes,
            interval: None,
            rpo: None,
        }),
        // The numbers of a part of a plan say nothing about the whole.
        limits: Limits { max_delete: Limit::Off, max_change: Limit::Off },
        checks_room: false,
        filter,
    };
    let mut mirror = Mirror::new(mirror, Arc::new(Interrupt::new()))?;
    let collected = Collected::about(path);
    let (report, mut seen) = mirror.explain(path, &collected)?;
    if seen.excluded.is_some() && seen.replica.is_none_or(|sight| sight == Sight::Excluded) {
        // A pass does not look at what a pattern leaves out; here it is the answer.
        seen.replica = match entry_at_path(&roots.replica.join(OsStr::from_bytes(path.as_bytes()))) {
            Ok(entry) => Some(Sight::Here(entry)),
            Err(Errno::NOENT | Errno::NOTDIR) => None,
            Err(_) => Some(Sight::Unreadable),
        };
    }
    // Only what the survey has found to be a link is read: a dead mount that is left out would hang.
    let is_link = |sight: &Option<Sight>| {
        differences::entry(sight.as_ref()).is_some_and(|entry| entry.kind == Kind::Symlink)
    };
    let are_links = is_link(&seen.source) && is_link(&seen.replica);
    let targets = [&roots.source, &roots.replica]
        .map(|root| if are_links { differences::target(root, path) } else { None });
    Ok(Answer::new(path, &report, seen, collected.take(), targets))
}
