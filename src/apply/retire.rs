//! The only path by which an entry leaves the replica: it is unlinked, or the rename that publishes its successor drops
//! it.
//!
//! Our own temporaries, which never had a public name, do not pass through here: see
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

/// Replaces an entry that is no folder by one that moves to its place.
///
/// # Errors
/// As `rename(2)`.
pub(super) fn replace_by_moved(
    old: (BorrowedFd<'_>, &CStr),
    new: (BorrowedFd<'_>, &CStr),
) -> Result<(), Errno> {
    dirent::move_over(old, new)
}

/// Replaces an entry that is no folder by a finished temporary, in one atomic rename.
///
/// # Errors
/// As `rename(2)`.
pub(super) fn replace(folder: BorrowedFd<'_>, temporary: &CStr, name: &CStr) -> Result<(), Errno> {
    dirent::rename_over(folder, temporary, name)
}
