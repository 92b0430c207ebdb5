//! The one door through which an entry leaves the replica, deleted or replaced. It is unlinked, or the rename that publishes
//! its successor drops it.
//!
//! Temporaries of our own, which never had a name that anyone knows, do not go this way: see
//! [`discard`](crate::apply::publish::discard).

use crate::fs::{Errno, dirent};
use crate::model::entry::Kind;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// Deletes an entry of this kind; a folder has to be empty.
///
/// # Errors
/// As `unlink(2)` and `rmdir(2)`.
pub(super) fn delete(folder: BorrowedFd<'_>, name: &CStr, kind: Kind) -> Result<(), Errno> {
    match kind {
        Kind::Folder => dirent::remove_folder(folder, name),
        Kind::File | Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
            dirent::remove_file(folder, name)
        }
    }
}

/// Puts a finished temporary in the place of an entry that is no folder, in one atomic step.
///
/// # Errors
/// As `rename(2)`.
pub(super) fn replace(folder: BorrowedFd<'_>, temporary: &CStr, name: &CStr) -> Result<(), Errno> {
    dirent::rename_over(folder, temporary, name)
}
