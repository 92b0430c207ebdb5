//! What could not be read, for survey and apply alike: whether it is true that it has gone, and the words where it has
//! not.

use crate::context::Context;
use crate::fs::dir::{Dir, Found};
use crate::fs::{Errno, encryption};
use crate::model::entry::Kind;
use crate::model::error::{Cause, Problem, Side};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use std::ffi::CStr;
use std::sync::Arc;

impl Context<'_> {
    /// Whether something has gone from a folder, as an error said about `name`, or, without a name, about the folder
    /// itself. What is still there has not gone, whatever the error said; what cannot be seen is not known to have gone;
    /// and what is denied is looked for once more later, in a listing.
    pub fn confirms_gone(&self, side: Side, dir: &Arc<Dir>, name: Option<&CStr>, errno: Errno) -> bool {
        match dir.find(name) {
            Ok(Found::Replaced) => true,
            Ok(Found::Denied(above, denied)) => {
                self.vanished.note(side, &above, &denied);
                true
            }
            // ELOOP and ENOTDIR: another kind of entry has the name.
            Ok(Found::There(entry)) => match errno {
                Errno::LOOP => name.is_some() && entry.kind == Kind::Symlink,
                Errno::NOTDIR => name.is_some() && entry.kind != Kind::Folder,
                _ => false,
            },
            Err(_) => false,
        }
    }

    /// Tells a folder that cannot be read; a locked one once.
    pub fn unreadable_folder(&self, side: Side, path: &RelPath, errno: Errno) {
        if errno == encryption::LOCKED {
            return self.locked(side, path);
        }
        self.problem(&Problem {
            path: path.clone(),
            kind: read_folder(side),
            cause: Cause::System(errno),
            consequence: match side {
                Side::Source => "its replica is kept with everything below",
                Side::Replica => "nothing below it is changed in this pass",
            },
            content_unreadable: false,
        });
    }

    /// Tells, once, that a folder is encrypted and its key is not there.
    pub fn locked(&self, side: Side, path: &RelPath) {
        if self.absence.is_news_that_locked(side, path) {
            self.problem(&Problem {
                path: path.clone(),
                kind: read_folder(side),
                cause: Cause::Refused(encryption::WORDS),
                consequence: match side {
                    Side::Source => "what the replica has of it is kept with everything below",
                    Side::Replica => "nothing below it is changed in this pass",
                },
                content_unreadable: false,
            });
        }
    }

    /// Whether a file cannot be opened because the key of its folder has gone while that is still in use, and so still
    /// has its names; that is told once for the folder.
    pub fn is_locked_file(&self, side: Side, dir: &Arc<Dir>, errno: Errno) -> bool {
        let is_locked = errno == encryption::LOCKED && dir.entry().is_ok_and(|folder| folder.is_encrypted);
        if is_locked {
            self.locked(side, &dir.path());
        }
        is_locked
    }
}

fn read_folder(side: Side) -> ProblemKind {
    match side {
        Side::Source => ProblemKind::ReadSourceFolder,
        Side::Replica => ProblemKind::ReadReplicaFolder,
    }
}
