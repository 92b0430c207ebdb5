//! Failures, in two classes: a [`Problem`] concerns one path, is collected, and the pass continues; an [`Error`] ends
//! the pass or the program.

use crate::model::digest::Digest;
use crate::model::errno::Errno;
use crate::model::path::{RelPath, shown};
use crate::model::problem_kind::ProblemKind;
use crate::model::serial::{is_false, no_digest, path};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One of the two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The tree that is only read.
    Source,
    /// The tree that is made to match.
    Replica,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "source",
            Side::Replica => "replica",
        })
    }
}

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A system call failed with this error.
    System(Errno),
    /// file-sync refused, for this reason in words (no capital, no period).
    Refused(&'static str),
    /// The content changed although no fact of the file did.
    Rotted {
        /// The digest of the content that was read.
        found: Digest,
        /// The digest that the index has.
        recorded: Digest,
        /// When the recorded one was last confirmed, in seconds since 1970.
        confirmed: i64,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::System(errno) => write!(f, "{}", std::io::Error::from(*errno)),
            Cause::Refused(reason) => f.write_str(reason),
            Cause::Rotted { found, recorded, confirmed } => {
                let since = jiff::Timestamp::from_second(*confirmed).unwrap_or_default();
                write!(
                    f,
                    "it seems to have rotted: its SHA-256 is {found} and was {recorded} on {since}, and neither its size nor \
                     its times nor its inode have changed since"
                )
            }
        }
    }
}

impl Serialize for Cause {
    /// Writes the words as `cause`, and a system error's number as `errno`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("cause", &self.to_string())?;
        if let Cause::System(errno) = self {
            map.serialize_entry("errno", &errno.raw_os_error())?;
        }
        if let Cause::Rotted { found, recorded, confirmed } = self {
            map.serialize_entry("found_sha256", found)?;
            map.serialize_entry("recorded_sha256", recorded)?;
            map.serialize_entry("confirmed", confirmed)?;
        }
        map.end()
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Cause {
        Cause::System(errno)
    }
}

/// A failure that concerns one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The path below the roots.
    #[serde(flatten, serialize_with = "path")]
    pub path: RelPath,
    /// True when the content could not be read: its digest is logged as empty.
    #[serde(rename = "sha256", skip_serializing_if = "is_false", serialize_with = "no_digest")]
    pub content_unreadable: bool,
    /// The action that failed.
    #[serde(flatten)]
    pub kind: ProblemKind,
    /// The cause.
    #[serde(flatten)]
    pub cause: Cause,
    /// The consequence for the user's data: `its replica is kept`.
    pub consequence: &'static str,
}

impl Problem {
    /// A problem that is not about the content of a file.
    pub fn new(path: RelPath, kind: ProblemKind, cause: Cause, consequence: &'static str) -> Problem {
        Problem { path, content_unreadable: false, kind, cause, consequence }
    }

    /// A name that the replica cannot store; it has the entry under another name.
    pub fn shown_otherwise(path: RelPath, cause: Cause) -> Problem {
        Problem::new(
            path,
            ProblemKind::StoreName,
            cause,
            "it is mirrored under the name that is listed there",
        )
    }
}

impl fmt::Display for Problem {
    /// Writes the message without the path, which the log shows in a field of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cannot {}: {}; {}", self.kind.words(), self.cause, self.consequence)
    }
}

/// A failure that ends a pass or the program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source does not exist.
    #[error("The source {} does not exist; nothing was changed. Check --source, or mount what holds it", show(.path))]
    SourceMissing {
        /// As the user gave it.
        path: PathBuf,
    },
    /// The source existed when the pass began, and was missing at its end.
    #[error(
        "The source {} disappeared during the pass; what was copied until then is complete, and nothing was deleted \
         afterwards. Check --source, or mount what holds it", show(.path)
    )]
    SourceLost {
        /// As the user gave it.
        path: PathBuf,
    },
    /// The source is not a folder.
    #[error("The source {} is not a folder; nothing was changed. Give a folder to --source", show(.path))]
    SourceNotAFolder {
        /// As the user gave it.
        path: PathBuf,
    },
    /// The source folder cannot be opened.
    #[error("The source {} cannot be opened: {cause}; nothing was changed", show(.path))]
    SourceUnreadable {
        /// As the user gave it.
        path: PathBuf,
        /// The system error.
        cause: Cause,
    },
    /// The replica is not a folder.
    #[error("The replica {} is not a folder; nothing was changed. Give a folder, or a path that does not exist yet, to --replica", show(.path))]
    ReplicaNotAFolder {
        /// As the user gave it.
        path: PathBuf,
    },
    /// The replica cannot be created, opened, examined or locked.
    #[error("The replica {} cannot be {action}: {cause}", show(.path))]
    ReplicaUnusable {
        /// As the user gave it.
        path: PathBuf,
        /// The action that failed: `created`, `opened`, `examined`, `locked`.
        action: &'static str,
        /// The system error.
        cause: Cause,
    },
    /// Another process holds the lock on this replica.
    #[error("The replica {} is locked by another file-sync; wait for it to end or stop it", show(.path))]
    ReplicaLocked {
        /// As the user gave it.
        path: PathBuf,
    },
    /// The two roots are one folder, one lies inside the other, or they overlap through a mount.
    #[error("{}", nested(*.relation, .source_path, .replica_path))]
    RootsOverlap {
        /// The relation of the two.
        relation: Relation,
        /// As the user gave it.
        source_path: PathBuf,
        /// As the user gave it.
        replica_path: PathBuf,
    },
    /// The worker threads could not be started.
    #[error("The worker threads could not be started: {reason}")]
    NoThreads {
        /// The error in words.
        reason: String,
    },
    /// A system call that the program itself needs failed.
    #[error("Cannot {action}: {cause}")]
    System {
        /// The action that failed.
        action: &'static str,
        /// The system error.
        cause: Cause,
    },
    /// A panic: a bug in file-sync.
    #[error(
        "A mistake in file-sync ended the pass: {}; files already replaced are complete. Please report it, and start \
         file-sync again", shown(.message.as_bytes())
    )]
    Panicked {
        /// The message of the panic.
        message: String,
    },
}

impl Error {
    /// The name of the error in the JSON log.
    pub fn code(&self) -> &'static str {
        match self {
            Error::SourceMissing { .. } => "source_missing",
            Error::SourceLost { .. } => "source_lost",
            Error::SourceNotAFolder { .. } => "source_not_a_folder",
            Error::SourceUnreadable { .. } => "source_unreadable",
            Error::ReplicaNotAFolder { .. } => "replica_not_a_folder",
            Error::ReplicaUnusable { .. } => "replica_unusable",
            Error::ReplicaLocked { .. } => "replica_locked",
            Error::RootsOverlap { .. } => "roots_overlap",
            Error::NoThreads { .. } => "no_threads",
            Error::System { .. } => "system",
            Error::Panicked { .. } => "panic",
        }
    }
}

impl Serialize for Error {
    /// Writes the name as `error`; the message has the rest.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("error", self.code())?;
        map.end()
    }
}

/// The relation of two roots that overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are the same folder.
    Same,
    /// The replica lies inside the source.
    ReplicaInSource,
    /// The source lies inside the replica.
    SourceInReplica,
    /// A mount inside one shows a folder of the other.
    Mounted,
}

fn show(path: &Path) -> String {
    shown(path.as_os_str().as_bytes())
}

fn nested(relation: Relation, source: &Path, replica: &Path) -> String {
    let (source, replica) = (show(source), show(replica));
    let fact = match relation {
        Relation::Same => format!("The source {source} and the replica {replica} are the same folder"),
        Relation::ReplicaInSource => format!("The replica {replica} lies inside the source {source}"),
        Relation::SourceInReplica => format!("The source {source} lies inside the replica {replica}"),
        Relation::Mounted => {
            format!(
                "Through something that is mounted inside them, the source {source} and the replica {replica} overlap"
            )
        }
    };
    format!("{fact}; nothing was changed. Give two folders that lie apart")
}
