//! Publishes a finished temporary with one atomic rename, and only over the entry that the survey saw in the replica.

use crate::apply::error::Failed;
use crate::apply::retire;
use crate::apply::staged::{Destination, Published, Staged};
use crate::fs::{Errno, dirent, is_unsupported, stat};
use crate::model::entry::Kind;
use crate::model::error::Cause;
use crate::model::problem_kind::ProblemKind;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

/// Removes something unfinished that will not be published. If that fails it is renamed to a temporary name, as an
/// extra that the next pass removes. False when it has kept its name.
pub(crate) fn discard(folder: BorrowedFd<'_>, name: &CStr) -> bool {
    match dirent::remove_file(folder, name) {
        Ok(()) | Err(Errno::NOENT) => true,
        Err(_) => {
            dirent::temporary_name().is_ok_and(|aside| dirent::rename_to_free(folder, name, &aside).is_ok())
        }
    }
}

/// Renames a finished temporary into place. Returns the temporary name of the replaced entry, where that could not be
/// replaced in one step.
///
/// # Errors
/// The entry under the name is not the expected one, or the kernel refuses.
pub(crate) fn publish(
    at: Destination<'_>,
    temporary: &CStr,
    is_folder: bool,
) -> Result<Option<CString>, Failed> {
    const ACTION: ProblemKind = ProblemKind::Publish;
    let changed = || Failed::Because(ACTION, Cause::Refused("the replica changed during the pass"), false);
    let folder = at.replica;
    let taken = |errno| match errno {
        Errno::EXIST => Failed::Taken,
        // vfat returns ENOENT for a name of dots only.
        Errno::NOENT if stat::entry_at(folder, temporary).is_ok() => Failed::name_refused(ACTION),
        errno => Failed::replica(ACTION)(errno),
    };
    let Some(expected) = at.expected else {
        return dirent::rename_to_free(folder, temporary, at.name).map(|()| None).map_err(taken);
    };
    let old = match stat::entry_at(folder, at.name) {
        Ok(old) => old,
        Err(Errno::NOENT) => {
            return dirent::rename_to_free(folder, temporary, at.name).map(|()| None).map_err(taken);
        }
        Err(errno) => return Err(Failed::replica(ACTION)(errno)),
    };
    let was_folder = old.kind == Kind::Folder;
    if old.id != expected || (was_folder && is_folder) {
        return Err(changed());
    }
    // RACE: between the lookup and the rename another process may put another entry under the name, which is then
    // replaced. A folder is safe from that, since the kernel refuses to replace it.
    if !was_folder && !is_folder {
        return retire::replace(folder, temporary, at.name).map(|()| None).map_err(taken);
    }
    match dirent::exchange(folder, temporary, at.name) {
        Ok(()) => Ok(Some(temporary.to_owned())),
        Err(errno) if errno == Errno::INVAL || is_unsupported(errno) => {
            // Without RENAME_EXCHANGE the old entry is renamed aside first. After a crash in between both versions
            // exist, but none under its name, until the next pass.
            let aside = dirent::temporary_name().map_err(Failed::replica(ACTION))?;
            dirent::rename_to_free(folder, at.name, &aside).map_err(Failed::replica(ACTION))?;
            match dirent::rename_to_free(folder, temporary, at.name) {
                Ok(()) => Ok(Some(aside)),
                Err(errno) => {
                    dirent::rename_to_free(folder, &aside, at.name)
                        .map_err(Failed::replica(ProblemKind::RestoreOldEntry))?;
                    Err(taken(errno))
                }
            }
        }
        Err(errno) => Err(Failed::replica(ACTION)(errno)),
    }
}

impl Staged {
    /// Renames it into place.
    ///
    /// # Errors
    /// See [`publish`]; the temporary is discarded.
    pub(crate) fn publish(mut self, at: Destination<'_>) -> Result<Published, Failed> {
        match publish(at, &self.temporary, false) {
            Ok(leftover) => {
                self.made.leftover = leftover;
                Ok(self.made)
            }
            Err(failed) => {
                discard(at.replica, &self.temporary);
                Err(failed)
            }
        }
    }
}
