//! Unreadable entries, for survey and apply alike: confirms that an entry has gone, or reports the problem.

use crate::context::Context;
use crate::fs::dir::{Dir, Found};
use crate::fs::{Errno, locked};
use crate::model::entry::Kind;
use crate::model::error::{Cause, Problem, Side};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use std::ffi::CStr;
use std::sync::Arc;

impl Context<'_> {
    /// Confirms an error that says that `name` has gone from a folder, or, without a name, the folder itself. An entry
    /// that is still there has not gone; after another error nothing is known; and a denied one is looked up again
    /// later, in a listing.
    pub(crate) fn confirms_gone(
        &self,
        side: Side,
        dir: &Arc<Dir>,
        name: Option<&CStr>,
        errno: Errno,
    ) -> bool {
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

    /// Reports a folder that cannot be read; a locked one once.
    pub(crate) fn unreadable_folder(&self, side: Side, path: &RelPath, errno: Errno) {
        if errno == locked::LOCKED {
            return self.locked(side, path);
        }
        self.problem(&Problem::new(
            path.clone(),
            read_folder(side),
            Cause::System(errno),
            match side {
                Side::Source => "its replica is kept with everything below",
                Side::Replica => "nothing below it is changed in this pass",
            },
        ));
    }

    /// Reports once that a folder is encrypted and its key is missing.
    pub(crate) fn locked(&self, side: Side, path: &RelPath) {
        if self.absence.is_news_that_locked(side, path) {
            self.problem(&Problem::new(
                path.clone(),
                read_folder(side),
                Cause::Refused(locked::WORDS),
                match side {
                    Side::Source => "what the replica has of it is kept with everything below",
                    Side::Replica => "nothing below it is changed in this pass",
                },
            ));
        }
    }

    /// Whether a file cannot be opened because the key of its folder was removed while the folder is in use, which
    /// still shows its names then; that is reported once per folder.
    pub(crate) fn is_locked_file(&self, side: Side, dir: &Arc<Dir>, errno: Errno) -> bool {
        let is_locked = errno == locked::LOCKED && dir.entry().is_ok_and(|folder| folder.is_encrypted);
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
