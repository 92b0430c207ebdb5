//! Making, moving and removing names in an open folder.

use crate::fs::locked::{LOCKED, is_made_up_target};
use crate::fs::stat::entry_at;
use crate::fs::{retry_absence, retry_refusal};
use crate::model::entry::Kind;
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, RenameFlags, flock, makedev, renameat_with, syncfs,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

/// An unguessable and unique name for a temporary: 128 random bits.
///
/// # Errors
/// As `getrandom(2)`.
pub(crate) fn temporary_name() -> Result<CString, Errno> {
    let name = format!(".file-sync-{:032x}.tmp", u128::from_ne_bytes(random()?));
    CString::new(name).map_err(|_| Errno::INVAL)
}

/// Whether a name has the form of [`temporary_name`].
pub(crate) fn is_temporary_name(name: &CStr) -> bool {
    let random = name.to_bytes().strip_prefix(b".file-sync-").and_then(|rest| rest.strip_suffix(b".tmp"));
    random.is_some_and(|random| random.len() == 32 && random.iter().all(u8::is_ascii_hexdigit))
}

/// Random bytes from the kernel, fetched for many names at once.
fn random() -> Result<[u8; 16], Errno> {
    const NAMES: usize = 64;
    thread_local! {
        static POOL: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    POOL.with_borrow_mut(|pool| {
        if let Some(random) = pool.pop() {
            return Ok(random);
        }
        let mut bytes = [0; 16 * NAMES];
        let mut filled = 0;
        while filled < bytes.len() {
            let rest = bytes.get_mut(filled..).unwrap_or_default();
            filled += retry_on_intr(|| getrandom(&mut *rest, GetRandomFlags::empty()))?;
        }
        pool.extend(bytes.as_chunks().0);
        pool.pop().ok_or(Errno::IO)
    })
}

/// Makes a folder that only this user may enter.
///
/// # Errors
/// As `mkdir(2)`.
pub(crate) fn make_folder(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    rustix::fs::mkdirat(folder, name, Mode::RWXU)
}

/// Makes a symbolic link.
///
/// # Errors
/// As `symlink(2)`.
pub(crate) fn make_symlink(target: &CStr, folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    retry_refusal(|| rustix::fs::symlinkat(target, folder, name))
}

/// The target of a symbolic link.
///
/// # Errors
/// As `readlink(2)`; `EINVAL` when the name is no link, `EIO` when it is one and reading it fails with that, `ENOKEY`
/// when it is encrypted and locked.
pub(crate) fn read_symlink(folder: BorrowedFd<'_>, name: &CStr) -> Result<CString, Errno> {
    let read = || retry_absence(|| retry_refusal(|| rustix::fs::readlinkat(folder, name, Vec::new())));
    // Retried once: a single refusal is no proof that the filesystem hides link targets.
    let first = match read() {
        Err(Errno::ACCESS | Errno::PERM) => read(),
        answered => answered,
    };
    match first {
        // The kernel has generated this target; the real one is encrypted.
        Ok(target) if is_made_up_target(&target) && entry_at(folder, name)?.is_encrypted => Err(LOCKED),
        // readlink(2) says EINVAL and statx(2) says symbolic link: then it cannot be read, which does not make it
        // another kind.
        Err(Errno::INVAL) if entry_at(folder, name).is_ok_and(|entry| entry.kind == Kind::Symlink) => {
            Err(Errno::IO)
        }
        read => read,
    }
}

/// Makes a FIFO that only this user may open.
///
/// # Errors
/// As `mknod(2)`.
pub(crate) fn make_fifo(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    retry_refusal(|| rustix::fs::mknodat(folder, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0))
}

/// Makes a device node that only this user may open.
///
/// # Errors
/// As `mknod(2)`.
pub(crate) fn make_device(
    folder: BorrowedFd<'_>,
    name: &CStr,
    block: bool,
    device: u64,
) -> Result<(), Errno> {
    let kind = if block { FileType::BlockDevice } else { FileType::CharacterDevice };
    retry_refusal(|| rustix::fs::mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device))
}

/// The number of `/dev/null`, a character device that exists everywhere.
pub(crate) fn null_device() -> u64 {
    makedev(1, 3)
}

/// Makes `new` a further name of the file `old`; a symbolic link is not followed.
///
/// # Errors
/// As `link(2)`.
pub(crate) fn make_link(
    from: BorrowedFd<'_>,
    old: &CStr,
    to: BorrowedFd<'_>,
    new: &CStr,
) -> Result<(), Errno> {
    retry_refusal(|| rustix::fs::linkat(from, old, to, new, AtFlags::empty()))
}

/// Links an open file without a name under the name `new`, if that is free.
/// # Errors
/// As `link(2)`; `EEXIST` when the name is taken, `ENOENT` also where the kernel is older than 6.10 and neither this
/// user's rights nor `/proc` lead to the file.
/// rights nor `/proc` lead to the file.
pub(crate) fn name_file(file: BorrowedFd<'_>, folder: BorrowedFd<'_>, new: &CStr) -> Result<(), Errno> {
    match retry_refusal(|| rustix::fs::linkat(file, c"", folder, new, AtFlags::EMPTY_PATH)) {
        Err(Errno::NOENT) => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            retry_refusal(|| rustix::fs::linkat(CWD, &path, folder, new, AtFlags::SYMLINK_FOLLOW))
        }
        named => named,
    }
}

/// Renames within a folder, only if the new name is free.
///
/// # Errors
/// As `renameat2(2)` with `RENAME_NOREPLACE`; `EEXIST` when the name is taken.
pub(crate) fn rename_to_free(folder: BorrowedFd<'_>, old: &CStr, new: &CStr) -> Result<(), Errno> {
    match retry_refusal(|| renameat_with(folder, old, folder, new, RenameFlags::NOREPLACE)) {
        // RACE: this filesystem (some network filesystems) cannot do it atomically; a name that appears between the
        // lookup and the rename is replaced.
        Err(Errno::INVAL | Errno::NOSYS) => match entry_at(folder, new) {
            Err(Errno::NOENT) => rename_over(folder, old, new),
            Ok(_) => Err(Errno::EXIST),
            Err(errno) => Err(errno),
        },
        renamed => renamed,
    }
}

/// Renames within a folder and atomically replaces the entry of the new name, which must not be a folder.
///
/// # Errors
/// As `rename(2)`.
pub(crate) fn rename_over(folder: BorrowedFd<'_>, old: &CStr, new: &CStr) -> Result<(), Errno> {
    rustix::fs::renameat(folder, old, folder, new)
}

/// Moves an entry to another folder, or to another name in the same one, only if that name is free.
///
/// # Errors
/// As `renameat2(2)` with `RENAME_NOREPLACE`; `EEXIST` when the name is taken.
pub(crate) fn move_to_free(
    (from, old): (BorrowedFd<'_>, &CStr),
    (to, new): (BorrowedFd<'_>, &CStr),
) -> Result<(), Errno> {
    match retry_refusal(|| renameat_with(from, old, to, new, RenameFlags::NOREPLACE)) {
        // RACE: as in [`rename_to_free`].
        Err(Errno::INVAL | Errno::NOSYS) => match entry_at(to, new) {
            Err(Errno::NOENT) => move_over((from, old), (to, new)),
            Ok(_) => Err(Errno::EXIST),
            Err(errno) => Err(errno),
        },
        moved => moved,
    }
}

/// As [`move_to_free`]; an entry of the new name, which must not be a folder, is replaced.
///
/// # Errors
/// As `rename(2)`.
pub(crate) fn move_over(
    (from, old): (BorrowedFd<'_>, &CStr),
    (to, new): (BorrowedFd<'_>, &CStr),
) -> Result<(), Errno> {
    retry_refusal(|| rustix::fs::renameat(from, old, to, new))
}

/// Exchanges the entries of two names in two folders atomically.
///
/// # Errors
/// As [`exchange`].
pub(crate) fn exchange_across(
    (from, old): (BorrowedFd<'_>, &CStr),
    (to, new): (BorrowedFd<'_>, &CStr),
) -> Result<(), Errno> {
    retry_refusal(|| renameat_with(from, old, to, new, RenameFlags::EXCHANGE))
}

/// Exchanges two names atomically.
///
/// # Errors
/// As `renameat2(2)` with `RENAME_EXCHANGE`; `EINVAL` or `ENOSYS` where the filesystem cannot.
pub(crate) fn exchange(folder: BorrowedFd<'_>, one: &CStr, other: &CStr) -> Result<(), Errno> {
    retry_refusal(|| renameat_with(folder, one, folder, other, RenameFlags::EXCHANGE))
}

/// Removes a name that is not a folder.
///
/// # Errors
/// As `unlink(2)`.
pub(crate) fn remove_file(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    retry_absence(|| rustix::fs::unlinkat(folder, name, AtFlags::empty()))
}

/// Removes an empty folder.
///
/// # Errors
/// As `rmdir(2)`.
pub(crate) fn remove_folder(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    retry_absence(|| rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR))
}

/// Runs `syncfs` on the filesystem that holds `folder`.
///
/// # Errors
/// As `syncfs(2)`.
pub(crate) fn sync_filesystem(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    retry_on_intr(|| syncfs(folder))
}

/// Locks an open folder for this process, without waiting. The lock ends with the descriptor and leaves nothing behind.
///
/// # Errors
/// As `flock(2)`; `EWOULDBLOCK` when another process has the lock.
pub(crate) fn lock_folder(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    retry_on_intr(|| flock(folder, FlockOperation::NonBlockingLockExclusive))
}

/// Releases the lock of [`lock_folder`], also where another process has inherited the descriptor.
///
/// # Errors
/// As `flock(2)`.
pub(crate) fn unlock_folder(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    retry_on_intr(|| flock(folder, FlockOperation::Unlock))
}
