//! `file-sync approve`: lets a held plan through once, or accepts files that seem to have rotted as they are.
//!
//! The next pass carries out exactly this plan, or a smaller one; or takes exactly this content for right, in every pair
//! that the path lies in. It works beside a running service: the approval waits in a file next to the index.

use crate::cli::args::PairArgs;
use crate::cli::commands::pairs::{Look, Selection, below, fitting, tell_unread};
use crate::cli::commands::words::local;
use crate::cli::config::{Environment, UsageError, absolute};
use crate::fs::Errno;
use crate::fs::dir::Dir;
use crate::fs::file::{open_to_read, read_some, with_buffers};
use crate::fs::resolve::is_folder;
use crate::fs::stat::entry_at;
use crate::index::approvals::{self, Approval};
use crate::index::held;
use crate::index::known::{KnownPair, Unread};
use crate::index::store::{Roots, Unusable};
use crate::log::humanize;
use crate::model::digest::{Digest, Hasher};
use crate::model::entry::Kind;
use crate::model::path::shown;
use crate::run::exit::Exit;
use std::ffi::{CString, OsStr, OsString};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Files or a held plan to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Files that seem to have rotted, and folders of pairs whose held plan is meant.
    paths: Vec<OsString>,
    /// The first digits of the digest of the plan that is meant.
    plan: Option<String>,
    selection: Selection,
}

impl Request {
    /// Checks and completes the raw arguments.
    ///
    /// # Errors
    /// As [`Selection::new`]; neither a path nor a root is named.
    pub(super) fn new(
        (paths, plan): (Vec<OsString>, Option<String>),
        pairs: PairArgs,
        environment: &Environment,
    ) -> Result<Request, UsageError> {
        let selection = Selection::new(pairs, environment)?;
        match (paths.is_empty(), selection.is_narrowed()) {
            (true, false) => Err(UsageError(
                "Nothing to approve: name the pair of a held plan (--source DIR --replica DIR, as the log says it), or \
                 the files that seem to have rotted, for example file-sync approve /data/photos/cat.jpg"
                    .to_owned(),
            )),
            (false, true) => Err(UsageError(
                "Name either the pair of a held plan or paths, and not both".to_owned(),
            )),
            (true, true) | (false, false) => Ok(Request { paths, plan, selection }),
        }
    }
}

/// Approves each path, or the plan of the pair; a message for each goes to `out` or `complaints`.
///
/// # Errors
/// The output cannot be written.
pub(super) fn run(
    request: &Request,
    environment: &Environment,
    (out, complaints): (&mut dyn Write, &mut dyn Write),
) -> std::io::Result<Exit> {
    let Request { paths, plan, selection } = request;
    let (pairs, unread) = match selection.find() {
        Ok(found) => found,
        Err(error) => {
            let folder = shown(selection.state_dir.as_os_str().as_bytes());
            writeln!(complaints, "Cannot read the folder of indexes {folder}: {error}")?;
            return Ok(Exit::Error);
        }
    };
    if paths.is_empty() {
        tell_unread(complaints, &unread);
        let pairs: Vec<&KnownPair> = pairs.iter().collect();
        return approve_plan(&pairs, plan.as_deref(), (out, complaints));
    }
    let mut exit = Exit::Done;
    for path in paths {
        let name = shown(path.as_bytes());
        let full = absolute(Path::new(path), environment);
        let inside = |roots: &Roots, look: Look<'_>| below(full.as_ref()?, roots, look);
        if full.as_ref().is_some_and(|full| is_folder(full)) {
            let pairs: Vec<&KnownPair> =
                fitting(&pairs, environment, inside).into_iter().map(|(pair, _)| pair).collect();
            if !pairs.is_empty() {
                if approve_plan(&pairs, plan.as_deref(), (&mut *out, &mut *complaints))? != Exit::Done {
                    exit = Exit::Error;
                }
                continue;
            }
        }
        match approve(Path::new(path), (&pairs, &unread), environment) {
            Ok(digest) => writeln!(out, "Approved {name} sha256={digest}; the next pass takes it as it is")?,
            Err(reason) => {
                writeln!(complaints, "Cannot approve {name}: {reason}")?;
                exit = Exit::Error;
            }
        }
    }
    Ok(exit)
}

/// Lets the held plan of a pair through. Of several pairs only one may have one: nobody approves what was not meant.
fn approve_plan(
    pairs: &[&KnownPair],
    meant: Option<&str>,
    (out, complaints): (&mut dyn Write, &mut dyn Write),
) -> std::io::Result<Exit> {
    let mut held = Vec::new();
    for pair in pairs {
        match held::read(&pair.connection) {
            Ok(plan) => held.extend(plan.map(|plan| (*pair, plan))),
            Err(error) => {
                let (index, reason) = (humanize::path(&pair.path), Unusable::from(error).to_string());
                writeln!(complaints, "The index {index} cannot be read: {}", humanize::one_line(&reason))?;
                return Ok(Exit::Error);
            }
        }
    }
    let names =
        |roots: &Roots| format!("{} -> {}", humanize::path(&roots.source), humanize::path(&roots.replica));
    match held.as_slice() {
        [] if pairs.is_empty() => {
            writeln!(complaints, "Cannot approve: no pair with these roots has an index (see --state-dir)")?;
            Ok(Exit::Error)
        }
        [] => {
            writeln!(complaints, "Nothing to approve: the last pass of the pair was not held for its plan")?;
            Ok(Exit::Error)
        }
        [(_, plan)] if meant.is_some_and(|meant| !plan.approval().digest.to_string().starts_with(meant)) => {
            let message = humanize::one_line(&plan.message);
            writeln!(
                complaints,
                "Cannot approve: another plan is held by now, see the log or `status`: {message}"
            )?;
            Ok(Exit::Error)
        }
        [(pair, plan)] => {
            if let Err(error) = held::approve(&pair.path, plan) {
                let file = humanize::path(&approvals::file_of(&pair.path));
                writeln!(complaints, "Cannot approve: cannot write {file}: {error}")?;
                return Ok(Exit::Error);
            }
            let [deletions, changes] = [plan.takes.deleted, plan.takes.changed].map(|amount| {
                format!("{} ({})", humanize::number(amount.entries), humanize::size(amount.bytes))
            });
            writeln!(
                out,
                "Approved the plan of {} that was held at {}: {deletions} deleted, {changes} overwritten; the next pass \
                 carries it out, once, and nothing else beyond the limits",
                names(&pair.roots),
                local(plan.held)
            )?;
            Ok(Exit::Done)
        }
        several => {
            writeln!(
                complaints,
                "Which one? Plans of these pairs are held; name one with --source and --replica:"
            )?;
            for (pair, _) in several {
                writeln!(complaints, "  {}", names(&pair.roots))?;
            }
            Ok(Exit::Error)
        }
    }
}

/// Approves the present content of a file in every pair that it lies in.
fn approve(
    path: &Path,
    (pairs, unread): (&[KnownPair], &[Unread]),
    environment: &Environment,
) -> Result<Digest, String> {
    let path = absolute(path, environment).ok_or("the current folder is gone or unreadable")?;
    let mut approved = None;
    let inside = |roots: &Roots, look: Look<'_>| below(&path, roots, look).filter(|below| !below.is_root());
    for (pair, below) in fitting(pairs, environment, inside) {
        let digest = digest_of(&pair.roots.source.join(OsStr::from_bytes(below.as_bytes())))?;
        let entry = Approval { digest, path: below.as_bytes().to_vec() };
        approvals::add(&pair.path, &[entry]).map_err(|error| {
            format!("cannot write {}: {error}", humanize::path(&approvals::file_of(&pair.path)))
        })?;
        approved = Some(digest);
    }
    approved.ok_or_else(|| unknown(unread))
}

/// Why no pair was found. An index that cannot be read may be the one of the path.
fn unknown(unread: &[Unread]) -> String {
    let unread: Vec<String> = unread
        .iter()
        .map(|(index, unusable)| {
            let reason = unusable.to_string();
            format!("{} ({})", humanize::path(index), humanize::one_line(&reason))
        })
        .collect();
    if unread.is_empty() {
        "it lies in no source and no replica that has an index (see --state-dir)".to_owned()
    } else {
        format!(
            "it lies in no source and no replica of an index that can be read; these cannot: {}",
            unread.join(", ")
        )
    }
}

fn digest_of(path: &Path) -> Result<Digest, String> {
    let failed =
        |error: std::io::Error| format!("cannot read {}: {error}", shown(path.as_os_str().as_bytes()));
    let refused = |errno: Errno| failed(errno.into());
    let not_a_file = || "it is no file in the source".to_owned();
    let (folder, name) = path.parent().zip(path.file_name()).ok_or_else(not_a_file)?;
    let name = CString::new(name.as_bytes()).map_err(|error| failed(error.into()))?;
    let folder = Dir::root(folder, 1).and_then(|dir| dir.open()).map_err(refused)?;
    if entry_at(folder.as_fd(), &name).map_err(refused)?.kind != Kind::File {
        return Err(not_a_file());
    }
    let file = open_to_read(folder.as_fd(), &name, false).map_err(refused)?;
    let mut hasher = Hasher::new();
    with_buffers(|buffer, _| {
        let mut at = 0;
        loop {
            match read_some(file.as_fd(), buffer, at).map_err(refused)? {
                0 => return Ok::<(), String>(()),
                read => {
                    hasher.update(buffer.get(..read).unwrap_or_default());
                    at += read as u64;
                }
            }
        }
    })?;
    Ok(hasher.finish())
}
