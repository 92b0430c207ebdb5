//! Folders that their filesystem encrypts (fscrypt: ext4, f2fs, ubifs, CephFS) and whose key is missing.
//!
//! Such a folder is *locked*, and can still be listed: the kernel generates a name for each entry from the bytes of the
//! encrypted one (`fscrypt_fname_disk_to_usr` in fs/crypto/fname.c). Those names lead to their entries, but the real
//! names are hidden, so absence cannot be proven. An `ioctl(2)` reports whether the key is present, but calling it
//! takes unsafe code. So a locked folder is recognised by its entries:
//!
//! - all of its names are base64 of at least 16 bytes, and
//! - of its first 16 entries, no regular file can be opened (`ENOKEY`), each symbolic link has a target of that form,
//!   and no subfolder is readable by the same test.
//!
//! An open folder keeps its names, and its entries are locked one by one: a file cannot be opened, a link has a
//! generated target.
//!
//! An encrypted folder with such names and no entry that can be tested counts as locked: at worst a folder of hashes
//! counts as unreadable and is left alone, which does no harm.
//!
//! The kernel does not remove the key of an open folder, but it uses a key as soon as it is added. So a listing may
//! begin with generated names and end with real ones. It is then read again.

use crate::fs::dir::open_again;
use crate::fs::dirent::read_symlink;
use crate::fs::file::open_to_read;
use crate::fs::listing::Listing;
use crate::fs::locked::{LOCKED, may_be_made_up};
use crate::fs::retry_absence;
use crate::fs::stat::{entry_at, entry_of};
use crate::model::entry::Kind;
use rustix::fs::{Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The greatest number of entries that are tested.
const LOOKS: usize = 16;

impl Listing {
    /// Reads the whole folder. A listing that breaks off is an error, never a short listing: names that are missing
    /// from it would count as deleted. The same holds for the hidden names of a locked folder.
    ///
    /// The folder is opened anew: descriptors are shared between threads, and two that read from one position would
    /// each get a part of the names.
    ///
    /// # Errors
    /// As `open(2)` and `getdents(2)`; `EOVERFLOW` for folders whose names take more than 4 GiB; `ENOKEY` for one that
    /// is encrypted and locked.
    pub(crate) fn read(folder: BorrowedFd<'_>) -> Result<Listing, Errno> {
        real_names(folder, retry_absence(|| Listing::read_once(folder))?)
    }
}

/// The given fresh listing of a folder if its names are real; else a new listing with the real names.
///
/// # Errors
/// `ENOKEY` when the folder is locked; as [`Listing::read`].
fn real_names(folder: BorrowedFd<'_>, listing: Listing) -> Result<Listing, Errno> {
    let made_up = listing.iter().filter(|name| may_be_made_up(name.to_bytes())).count();
    // Tested only if a name has that form: nearly all folders have none.
    if made_up == 0 || !entry_of(folder)?.is_encrypted {
        return Ok(listing);
    }
    if made_up == listing.len() && !is_readable(folder, listing.iter(), Depth::Here) {
        return Err(LOCKED);
    }
    // The key is present now, and stays while the folder is open. It may have been missing when the listing began.
    retry_absence(|| Listing::read_once(folder))
}

/// Whether an open encrypted folder is locked now. An unlocked one stays so while it is open. Ends at the first name
/// that decides.
///
/// # Errors
/// As `getdents(2)`.
pub(crate) fn is_locked(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    let listed = open_again(folder)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(8 << 10);
    let mut entries = RawDir::new(&listed, buffer.spare_capacity_mut());
    let mut first: Vec<CString> = Vec::new();
    while let Some(found) = entries.next() {
        let found = found?;
        let name = found.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if !may_be_made_up(name.to_bytes()) {
            return Ok(false);
        }
        if first.len() < LOOKS {
            first.push(name.to_owned());
            if first.len() == LOOKS && is_readable(folder, first.iter().map(|name| &**name), Depth::Here) {
                return Ok(false);
            }
        }
    }
    // An empty folder hides nothing.
    let is_all = first.len() < LOOKS;
    let names = || first.iter().map(|name| &**name);
    Ok(!(first.is_empty() || is_all && is_readable(folder, names(), Depth::Here)))
}

/// The depth of the test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Also into the subfolders of this folder.
    Here,
    /// No deeper.
    Below,
}

/// Whether one of the first of these entries is readable in a way that takes the key.
fn is_readable<'a>(folder: BorrowedFd<'_>, names: impl Iterator<Item = &'a CStr>, depth: Depth) -> bool {
    names.take(LOOKS).any(|name| match entry_at(folder, name).map(|entry| entry.kind) {
        Ok(Kind::File) => can_open(folder, name),
        // A target is encrypted like a name; without the key it has the form of a generated name, or reading it fails.
        Ok(Kind::Symlink) => {
            read_symlink(folder, name).is_ok_and(|target| !may_be_made_up(target.to_bytes()))
        }
        // A subfolder has the same key: the kernel does not remove a key while a folder below is in use.
        Ok(Kind::Folder) if depth == Depth::Here => {
            open_below(folder, name).and_then(|below| shows_names(below.as_fd())).unwrap_or(false)
        }
        Ok(Kind::Folder | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice) | Err(_) => false,
    })
}

/// Whether a file without other hard links can be opened. A file with several may be open under another name, and then
/// has its key although this folder has not.
fn can_open(folder: BorrowedFd<'_>, name: &CStr) -> bool {
    open_to_read(folder, name, false)
        .and_then(|file| entry_of(file.as_fd()))
        .is_ok_and(|entry| entry.kind == Kind::File && entry.links <= 1)
}

fn shows_names(folder: BorrowedFd<'_>) -> Result<bool, Errno> {
    let listing = Listing::read_once(folder)?;
    Ok(listing.iter().any(|name| !may_be_made_up(name.to_bytes()))
        || is_readable(folder, listing.iter(), Depth::Below))
}

fn open_below(folder: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    openat(folder, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_encrypted_is_not_locked_whatever_its_names() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = std::fs::File::open(scratch.path()).unwrap();
        for number in 0..20 {
            std::fs::write(scratch.path().join(format!("{number:032x}")), b"").unwrap();
        }
        assert_eq!(Listing::read(folder.as_fd()).unwrap().len(), 20);
        assert_eq!(is_locked(folder.as_fd()), Ok(false));
    }

    #[test]
    fn a_file_that_can_be_read_says_that_its_folder_has_its_key() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let folder = std::fs::File::open(scratch.path()).unwrap();
        let folder = folder.as_fd();
        let is_readable = |name: &CStr| super::is_readable(folder, [name].into_iter(), Depth::Here);
        std::fs::write(path("file"), b"").unwrap();
        assert!(is_readable(c"file"));
        assert!(!is_readable(c"missing"));
        std::fs::hard_link(path("file"), path("other")).unwrap();
        assert!(!is_readable(c"file"), "it may be in use under its other name");
        std::os::unix::fs::symlink("target", path("link")).unwrap();
        std::os::unix::fs::symlink("AAAAAAAAAACRZr7Wk2gqmZE-o5hv9Oqv", path("made up")).unwrap();
        assert!(is_readable(c"link") && !is_readable(c"made up"));
        std::fs::create_dir_all(path("folder/AAAAAAAAAACRZr7Wk2gqmZE-o5hv9Oqv")).unwrap();
        assert!(!is_readable(c"folder"));
        std::fs::write(path("folder/name"), b"").unwrap();
        assert!(is_readable(c"folder"), "a name below it is real");
    }
}
