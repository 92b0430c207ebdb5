//! The replica that a check is about, and its index: named itself, or found in the state folder.

use crate::cli::args::ReplicaArgs;
use crate::cli::commands::pairs::fitting;
use crate::cli::config::{Environment, UsageError, absolute, check_tilde, folder, is_no_file, log_file};
use crate::fs::rotated::beside;
use crate::fs::stat::entry_at_path;
use crate::index::known::all;
use crate::index::read::Reader;
use crate::index::store::Unusable;
use crate::log::humanize;
use crate::model::entry::FileId;
use crate::model::error::Cause;
use crate::verify::Failure;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A replica and its open index.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The replica, as an absolute path.
    pub replica: PathBuf,
    /// The database file.
    pub index: PathBuf,
    /// It is open.
    pub reader: Reader,
    /// The log file and its rotated files, which may lie in the replica and do not belong to it.
    pub left_out: Vec<FileId>,
}

/// The reason why a command does nothing.
#[derive(Debug)]
pub(super) enum Refused {
    /// The command line makes no sense.
    Usage(UsageError),
    /// Something is missing or cannot be read.
    Error(String),
    /// The output cannot be written.
    Output(std::io::Error),
}

impl From<UsageError> for Refused {
    fn from(error: UsageError) -> Refused {
        Refused::Usage(error)
    }
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Refused {
        Refused::Output(error)
    }
}

impl Chosen {
    /// Finds the replica and its index.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(super) fn find(arguments: ReplicaArgs, environment: &Environment) -> Result<Chosen, Refused> {
        let path = |option, given, example| given_path((option, given, example), environment);
        let replica = path("--replica", arguments.replica, "--replica /mnt/backup")?;
        let optional = |option, given: Option<OsString>, example| {
            given.map(|given| path(option, Some(given), example)).transpose()
        };
        let source = optional("--source", arguments.source, "--source /data")?;
        let index = optional("--index", arguments.index, "--index /mnt/disk/index.db")?;
        let state_dir = optional("--state-dir", arguments.state_dir, "--state-dir /var/lib/file-sync")?;
        let log = arguments.log_file.filter(|log| !is_no_file(log));
        let log = log.map(|log| log_file(Path::new(&log), environment)).transpose()?;
        let rotated = log.iter().flat_map(|log| beside(log));
        let logs = log.iter().cloned().chain(rotated);
        let left_out = logs.filter_map(|path| Some(entry_at_path(&path).ok()?.id)).collect();
        let index = match index {
            Some(index) => index,
            None => {
                let state_dir = state_dir.or_else(|| environment.state_dir.clone()).ok_or_else(|| {
                    usage(
                        "The environment names no home folder; give --state-dir or --index, such as --state-dir \
                         /var/lib/file-sync",
                    )
                })?;
                known_pair(&state_dir, (source.as_deref(), &replica), environment)?
            }
        };
        let reader = Reader::open(&index);
        let reader = reader.map_err(|unusable| Refused::Error(unusable_index(&index, &unusable)))?;
        Ok(Chosen { replica, index, reader, left_out })
    }

    /// The words for a failure.
    pub(super) fn words(&self, failure: &Failure) -> String {
        let replica = humanize::path(&self.replica);
        match failure {
            Failure::Replica(errno) => {
                let cause = Cause::System(*errno);
                format!("Cannot read the replica {replica}: {cause}; mount what holds it, or check --replica")
            }
            Failure::Index(unusable) => unusable_index(&self.index, unusable),
            Failure::Threads(reason) => format!("Cannot start threads: {reason}; try fewer, such as -j 1"),
        }
    }
}

/// The database of a pair, or the only one of a replica.
fn known_pair(
    state_dir: &Path,
    (source, replica): (Option<&Path>, &Path),
    environment: &Environment,
) -> Result<PathBuf, Refused> {
    let folder = humanize::path(state_dir);
    let shown = humanize::path(replica);
    let (known, unread) = all(state_dir)
        .map_err(|error| Refused::Error(format!("Cannot read the state folder {folder}: {error}")))?;
    let mut meant = fitting(&known, environment, |roots, look| {
        let is_same = |one: &Path, other: &Path| look(one) == look(other);
        let is_meant =
            is_same(replica, &roots.replica) && source.is_none_or(|source| is_same(source, &roots.source));
        is_meant.then_some(())
    });
    match (meant.pop(), meant.is_empty(), unread.first()) {
        (Some((pair, ())), true, _) => Ok(pair.path.clone()),
        (Some(last), false, _) => {
            let sources = meant.iter().chain([&last]).map(|(pair, ())| humanize::path(&pair.roots.source));
            let sources: Vec<String> = sources.collect();
            Err(usage(&format!(
                "Several sources were mirrored to {shown}: {}; give one of them with --source, or the database itself \
                 with --index",
                sources.join(", ")
            )))
        }
        (None, _, None) => Err(Refused::Error(format!(
            "No index of the replica {shown} is in {folder}; run a pass first, or say where the index is with --state-dir or \
             --index"
        ))),
        (None, _, Some((path, unusable))) => Err(Refused::Error(format!(
            "No index of the replica {shown} is in {folder}, unless it is this one. {}",
            unusable_index(path, unusable)
        ))),
    }
}

fn usage(message: &str) -> Refused {
    Refused::Usage(UsageError(message.to_owned()))
}

fn unusable_index(path: &Path, unusable: &Unusable) -> String {
    let advice = match unusable {
        Unusable::Missing => "run a pass first, or check the path",
        Unusable::Locked => "wait for that process, or copy the file and name the copy with --index",
        Unusable::Newer(_) => "use that version",
        Unusable::Older => "run a pass first",
        Unusable::Damaged(_) => "move it away, and the next pass makes a new one",
        Unusable::Foreign | Unusable::OtherRoots => "check the path",
        Unusable::Failed(_) => {
            "check the rights to the file and its folder, or copy it and name the copy with --index"
        }
    };
    format!("Cannot use the index {}: {unusable}; {advice}", humanize::path(path))
}

/// A path from the command line, made absolute.
fn given_path(
    (option, given, example): (&str, Option<OsString>, &str),
    environment: &Environment,
) -> Result<PathBuf, UsageError> {
    let given = folder(option, given, example)?;
    check_tilde(option, &given, environment)?;
    absolute(&given, environment).ok_or_else(|| {
        UsageError(format!(
            "Cannot use {option} {}: the current folder is gone or unreadable, so that a relative path leads nowhere; give \
             an absolute path, such as {example}",
            humanize::path(&given)
        ))
    })
}
