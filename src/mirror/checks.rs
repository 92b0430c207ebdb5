//! Checks of the paths of the roots and the log, before and at the beginning of a pass. They create and change nothing.

use crate::fs::{is_gone, is_passing, roots, stat};
use crate::model::entry::Kind;
use crate::model::error::{Cause, Error, Side};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Retries for two seconds on a passing error: in a pass it costs the pass, before the first one it would cost the
/// program.
pub(super) fn patiently<T>(mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    const TRIES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(100);
    for _ in 1..TRIES {
        match ask() {
            Err(Error::System { cause: Cause::System(errno), .. }) if is_passing(errno) => sleep(PAUSE),
            asked => return asked,
        }
    }
    ask()
}

/// Checks that the source is a folder.
pub(super) fn check_source(source: &Path) -> Result<(), Error> {
    let path = || source.to_path_buf();
    match stat::entry_at_path(source) {
        Ok(entry) if entry.kind == Kind::Folder => Ok(()),
        Ok(_) => Err(Error::SourceNotAFolder { path: path() }),
        Err(errno) if is_gone(errno) => Err(Error::SourceMissing { path: path() }),
        Err(errno) => Err(Error::SourceUnreadable { path: path(), cause: Cause::System(errno) }),
    }
}

/// Checks that the source, which `given` leads to, and the replica do not overlap.
pub(super) fn check_apart(source: &Path, given: &Path, replica: &Path) -> Result<(), Error> {
    let relation = roots::relation(source, replica).map_err(|errno| Error::System {
        action: "find out where the two folders are",
        cause: errno.into(),
    })?;
    relation.map_or(Ok(()), |relation| {
        Err(Error::RootsOverlap {
            relation,
            source_path: given.to_path_buf(),
            replica_path: replica.to_path_buf(),
        })
    })
}

/// The path of the log file below a root, if it lies inside one.
pub(super) fn protected(
    log: Option<&Path>,
    source: &Path,
    replica: &Path,
) -> Result<Option<(Side, PathBuf)>, Error> {
    let Some(log) = log else { return Ok(None) };
    let place = place_inside(log, source, replica)
        .map_err(|cause| Error::System { action: "find out where the log file is", cause })?;
    Ok(place.filter(|(_, below)| !below.as_os_str().is_empty()))
}

/// The root that a path is, or lies in, and the path below it.
pub(super) fn place_inside(
    path: &Path,
    source: &Path,
    replica: &Path,
) -> Result<Option<(Side, PathBuf)>, Cause> {
    for (side, root) in [(Side::Source, source), (Side::Replica, replica)] {
        if let Some(below) = roots::position_below(root, path)? {
            return Ok(Some((side, below)));
        }
    }
    Ok(None)
}
