//! The pairs that a state folder knows, for commands that run beside the passes. They only read.

use crate::index::store::{Roots, Unusable, open_to_read};
use rusqlite::Connection;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A pair with an index.
#[derive(Debug)]
pub(crate) struct KnownPair {
    /// The database file.
    pub path: PathBuf,
    /// Its roots.
    pub roots: Roots,
    /// The open database.
    pub connection: Connection,
}

/// A database in the state folder that cannot be read, and why.
pub(crate) type Unread = (PathBuf, Unusable);

/// Opens every index of a state folder, in the order of the sources. A missing folder has none.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn all(state_dir: &Path) -> std::io::Result<(Vec<KnownPair>, Vec<Unread>)> {
    let listed = match std::fs::read_dir(state_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        listed => listed?,
    };
    let (mut known, mut unread) = (Vec::new(), Vec::new());
    for entry in listed {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "db") {
            // A process that has begun to write at the wrong moment makes a database seem damaged once.
            let opened = match open(&path) {
                Err(Unusable::Damaged(_)) => open(&path),
                opened => opened,
            };
            match opened {
                Ok(pair) => known.push(pair),
                Err(error) => unread.push((path, error)),
            }
        }
    }
    known.sort_by(|one, other| {
        (&one.roots.source, &one.roots.replica).cmp(&(&other.roots.source, &other.roots.replica))
    });
    unread.sort_by(|one, other| one.0.cmp(&other.0));
    Ok((known, unread))
}

/// Opens the index of a file.
///
/// # Errors
/// See [`Unusable`].
pub(crate) fn open(path: &Path) -> Result<KnownPair, Unusable> {
    of(path, open_to_read(path)?)
}

/// The pair of an open index.
///
/// # Errors
/// See [`Unusable`].
pub(super) fn of(path: &Path, connection: Connection) -> Result<KnownPair, Unusable> {
    let roots = connection.query_row("SELECT source, replica FROM pair", [], |row| {
        let path = |at| Ok::<_, rusqlite::Error>(PathBuf::from(OsString::from_vec(row.get(at)?)));
        Ok(Roots { source: path(0)?, replica: path(1)? })
    })?;
    Ok(KnownPair { path: path.to_owned(), roots, connection })
}
