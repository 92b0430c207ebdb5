//! The choice of pairs by `--source`, `--replica` and `--state-dir`. Paths are compared as text, so that it works while a
//! disk is dead.

use crate::cli::args::PairArgs;
use crate::cli::config::{Environment, UsageError, given_path, given_state_dir};
use crate::index::known::{KnownPair, Unread, all};
use crate::index::location::may_be_of;
use crate::index::store::Unusable;
use std::path::{Path, PathBuf};

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
