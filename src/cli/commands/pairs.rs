//! The choice of pairs, by `--source`, `--replica` and `--state-dir`, or by a path in one of them. Paths are compared as
//! text, so that it works while a disk is dead; symbolic links are looked up only where the text is not enough.

use crate::cli::args::PairArgs;
use crate::cli::commands::complaints::complain;
use crate::cli::config::{Environment, UsageError, given_path, given_state_dir};
use crate::index::known::{KnownPair, Unread, all};
use crate::index::location::may_be_of;
use crate::index::store::{Roots, Unusable};
use crate::log::humanize;
use crate::model::path::RelPath;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The pairs that a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// The source, as an absolute path; none for any.
    pub source: Option<PathBuf>,
    /// The replica, the same.
    pub replica: Option<PathBuf>,
    /// The folder of the databases.
    pub state_dir: PathBuf,
}

impl Selection {
    /// Checks and completes the raw arguments.
    ///
    /// # Errors
    /// A path is empty or leads nowhere, or no state folder is known.
    pub(super) fn new(arguments: PairArgs, environment: &Environment) -> Result<Selection, UsageError> {
        let path =
            |option, given: Option<_>| given.map(|path| given_path(option, path, environment)).transpose();
        Ok(Selection {
            source: path("--source", arguments.source)?,
            replica: path("--replica", arguments.replica)?,
            state_dir: given_state_dir(arguments.state_dir, environment)?,
        })
    }

    /// Whether the options name a root.
    pub(super) fn is_narrowed(&self) -> bool {
        self.source.is_some() || self.replica.is_some()
    }

    /// The pairs, and the databases that cannot be read. Which pair such a database is about is known by its name alone,
    /// so one with the name of the replica counts.
    ///
    /// # Errors
    /// The state folder cannot be read.
    pub(super) fn find(&self) -> std::io::Result<(Vec<KnownPair>, Vec<Unread>)> {
        let (mut known, mut unread) = all(&self.state_dir)?;
        let is_meant =
            |wanted: &Option<PathBuf>, root: &Path| wanted.as_ref().is_none_or(|wanted| wanted == root);
        known.retain(|pair| {
            is_meant(&self.source, &pair.roots.source) && is_meant(&self.replica, &pair.roots.replica)
        });
        // A process is just making it.
        unread.retain(|(_, unusable)| !matches!(unusable, Unusable::Missing));
        unread.retain(|(index, _)| self.replica.as_ref().is_none_or(|replica| may_be_of(index, replica)));
        Ok((known, unread))
    }
}

impl Selection {
    /// As [`Selection::find`]; a state folder that cannot be read is among what cannot be read.
    pub(super) fn found(&self) -> (Vec<KnownPair>, Vec<Unread>) {
        self.find().unwrap_or_else(|error| {
            (Vec::new(), vec![(self.state_dir.clone(), Unusable::Failed(error.to_string()))])
        })
    }
}

/// Complains about databases that cannot be read.
pub(super) fn tell_unread(complaints: &mut dyn Write, unread: &[Unread]) {
    for (index, unusable) in unread {
        let (index, reason) = (humanize::path(index), unusable.to_string());
        let reason = humanize::one_line(&reason);
        complain(complaints, &format!("The index {index} cannot be read: {reason}"));
    }
}

/// The place of a path, as it is written or with its symbolic links looked up.
pub(super) type Look<'a> = &'a dyn Fn(&Path) -> PathBuf;

/// The pairs that fit, each with what `fits` says of it. The paths are compared as text first. Only if no pair fits, links
/// are looked up: the disk of another pair may be dead.
pub(super) fn fitting<'k, T>(
    known: &'k [KnownPair],
    environment: &Environment,
    fits: impl Fn(&Roots, Look<'_>) -> Option<T>,
) -> Vec<(&'k KnownPair, T)> {
    let all = |look: Look<'_>| -> Vec<_> {
        known.iter().filter_map(|pair| Some((pair, fits(&pair.roots, look)?))).collect()
    };
    let found = all(&Path::to_path_buf);
    if found.is_empty() { all(&environment.resolve) } else { found }
}

/// The path below the roots of a pair, of an absolute path in its source or replica. It may be missing.
pub(super) fn below(path: &Path, roots: &Roots, look: Look<'_>) -> Option<RelPath> {
    let itself = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => look(parent).join(name),
        (Some(_) | None, Some(_) | None) => look(path),
    };
    let found = |path: &Path| {
        let below = |root: &PathBuf| {
            let below: PathBuf = path.strip_prefix(look(root)).ok()?.components().collect();
            let is_plain = below.components().all(|name| matches!(name, Component::Normal(_)));
            is_plain.then(|| RelPath::from_bytes(below.as_os_str().as_bytes().to_vec()))
        };
        [&roots.source, &roots.replica].into_iter().find_map(below)
    };
    // The name itself may be a link that is mirrored. One elsewhere may lead to a root or into it.
    found(&itself).or_else(|| found(&look(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_below_either_root() {
        let roots = Roots { source: "/srv/photos".into(), replica: "/backup/photos".into() };
        let look: Look<'_> = &|path| match (path.strip_prefix("/link"), path.to_str()) {
            (Ok(rest), _) => Path::new("/srv").join(rest),
            (Err(_), Some("/home")) => "/srv/photos".into(),
            (Err(_), Some("/srv/photos/link")) => "/elsewhere".into(),
            (Err(_), _) => path.to_owned(),
        };
        for (path, as_text, with_links) in [
            ("/srv/photos/2026/tom.jpg", Some("2026/tom.jpg"), Some("2026/tom.jpg")),
            ("/backup/photos/2026/", Some("2026"), Some("2026")),
            ("/srv/photos", Some(""), Some("")),
            ("/srv/photos2/tom.jpg", None, None),
            ("/srv/photos/../other", None, None),
            ("/link/photos/tom.jpg", None, Some("tom.jpg")),
            // A link that leads to a root; one inside is mirrored as what it is.
            ("/link/photos", None, Some("")),
            ("/home", None, Some("")),
            ("/srv/photos/link", Some("link"), Some("link")),
        ] {
            let found = |look| below(Path::new(path), &roots, look);
            let expected = |text: Option<&str>| text.map(|text| RelPath::from_bytes(text.into()));
            assert_eq!(found(&Path::to_path_buf), expected(as_text), "{path}");
            assert_eq!(found(look), expected(with_links), "{path}");
        }
    }
}
