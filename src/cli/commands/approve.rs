//! `file-sync approve PATH...`: accepts files that seem to have rotted as they are.
//!
//! The next pass takes exactly this content for right, in every pair that the path lies in. It works beside a running
//! service: the approval waits in a file next to the index.

use crate::cli::commands::pairs::{Look, below, fitting};
use crate::cli::config::{Environment, absolute};
use crate::fs::Errno;
use crate::fs::dir::Dir;
use crate::fs::file::{open_to_read, read_some, with_buffers};
use crate::fs::stat::entry_at;
use crate::index::approvals::{self, Approval};
use crate::index::known::{self, KnownPair, Unread};
use crate::index::store::Roots;
use crate::log::humanize;
use crate::model::digest::{Digest, Hasher};
use crate::model::entry::Kind;
use crate::model::path::shown;
use crate::run::exit::Exit;
use std::ffi::{CString, OsStr, OsString};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Approves each path; a message for each goes to `out` or `complaints`.
///
/// # Errors
/// The output cannot be written.
pub(super) fn run(
    paths: &[OsString],
    state_dir: Option<PathBuf>,
    environment: &Environment,
    (out, complaints): (&mut dyn Write, &mut dyn Write),
) -> std::io::Result<Exit> {
    let Some(state_dir) = state_dir.or_else(|| environment.state_dir.clone()) else {
        writeln!(complaints, "No folder of indexes is known; name it with --state-dir")?;
        return Ok(Exit::Error);
    };
    let (pairs, unread) = match known::all(&state_dir) {
        Ok(known) => known,
        Err(error) => {
            let folder = shown(state_dir.as_os_str().as_bytes());
            writeln!(complaints, "Cannot read the folder of indexes {folder}: {error}")?;
            return Ok(Exit::Error);
        }
    };
    let mut exit = Exit::Done;
    for path in paths {
        let name = shown(path.as_bytes());
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
