//! One entry whose metadata is read or set: an open file or folder, or a name for an entry that cannot be opened safely
//! (symbolic links, FIFOs, devices, files without read permission).

use crate::fs::retry_refusal;
use crate::fs::stat::{access_time, entry_at, entry_of};
use crate::model::entry::{Entry, Timestamp};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr, futimens, lgetxattr, llistxattr,
    lremovexattr, lsetxattr, openat, utimensat,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// An entry whose metadata can be accessed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// An open file or folder.
    Open(BorrowedFd<'a>),
    /// A name in an open folder; a symbolic link there is not followed.
    Named(BorrowedFd<'a>, &'a CStr),
}

/// The access time in a call that sets the modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessTime {
    /// It is left alone (`UTIME_OMIT`).
    Left,
    /// It is set to its present value, where a call with one time only is dropped.
    SetAgain,
}

impl Subject<'_> {
    /// The facts of the entry as they are now.
    ///
    /// # Errors
    /// As `statx(2)`.
    pub(crate) fn entry(self) -> Result<Entry, Errno> {
        match self {
            Subject::Open(fd) => entry_of(fd),
            Subject::Named(folder, name) => entry_at(folder, name),
        }
    }

    /// Sets owner and group.
    ///
    /// # Errors
    /// As `fchownat(2)`.
    pub(crate) fn set_owner(self, uid: u32, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Subject::Open(fd) => retry_refusal(|| fchown(fd, uid, gid)),
            Subject::Named(folder, name) => {
                retry_refusal(|| chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))
            }
        }
    }

    /// Sets the permission bits. Not for symbolic links, which have none.
    ///
    /// # Errors
    /// As `fchmod(2)`.
    pub(crate) fn set_mode(self, mode: u16) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode.into());
        retry_refusal(|| self.set_mode_once(mode))
    }

    fn set_mode_once(self, mode: Mode) -> Result<(), Errno> {
        match self {
            Subject::Open(fd) => fchmod(fd, mode),
            Subject::Named(folder, name) => {
                // fchmodat(2) would follow a link that was swapped in. A path descriptor pins the inode, and /proc
                // leads to exactly that inode.
                let pinned =
                    openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
                if entry_of(pinned.as_fd())?.kind == crate::model::entry::Kind::Symlink {
                    return Err(Errno::LOOP);
                }
                let path = format!("/proc/self/fd/{}", pinned.as_raw_fd());
                chmodat(CWD, &path, mode, AtFlags::empty())
            }
        }
    }

    /// Sets the modification time.
    ///
    /// # Errors
    /// As `utimensat(2)`.
    pub(crate) fn set_mtime(self, mtime: Timestamp, access: AccessTime) -> Result<(), Errno> {
        let last_access = match access {
            AccessTime::Left => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            AccessTime::SetAgain => {
                // RACE: an access between this read and the call is lost.
                let atime = match self {
                    Subject::Open(fd) => access_time(fd, c""),
                    Subject::Named(folder, name) => access_time(folder, name),
                }?;
                Timespec { tv_sec: atime.seconds, tv_nsec: i64::from(atime.nanoseconds) }
            }
        };
        let times = Timestamps {
            last_access,
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: i64::from(mtime.nanoseconds) },
        };
        match self {
            Subject::Open(fd) => retry_refusal(|| futimens(fd, &times)),
            Subject::Named(folder, name) => {
                retry_refusal(|| utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW))
            }
        }
    }

    /// Lists the xattr names, each with its NUL, into `buffer`; returns their length.
    ///
    /// # Errors
    /// As `listxattr(2)`; `ERANGE` when the buffer is too small.
    pub(super) fn list_attributes(self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Subject::Open(fd) => retry_refusal(|| flistxattr(fd, &mut *buffer)),
            Subject::Named(folder, name) => {
                let path = named(folder, name)?;
                retry_refusal(|| llistxattr(&path, &mut *buffer))
            }
        }
    }

    /// Reads the value of one xattr into `buffer`; returns its length.
    ///
    /// # Errors
    /// As `getxattr(2)`; `ERANGE` when the buffer is too small.
    pub(super) fn attribute(self, attribute: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Subject::Open(fd) => retry_refusal(|| fgetxattr(fd, attribute, &mut *buffer)),
            Subject::Named(folder, name) => {
                let path = named(folder, name)?;
                retry_refusal(|| lgetxattr(&path, attribute, &mut *buffer))
            }
        }
    }

    /// Whether there is an xattr of this name.
    ///
    /// # Errors
    /// As `getxattr(2)`.
    pub(crate) fn has_attribute(self, attribute: &CStr) -> Result<bool, Errno> {
        match self.attribute(attribute, &mut [0; 64]) {
            Ok(_) | Err(Errno::RANGE) => Ok(true),
            Err(Errno::NODATA) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Sets one xattr.
    ///
    /// # Errors
    /// As `setxattr(2)`.
    pub(crate) fn set_attribute(self, attribute: &CStr, value: &[u8]) -> Result<(), Errno> {
        match self {
            Subject::Open(fd) => retry_refusal(|| fsetxattr(fd, attribute, value, XattrFlags::empty())),
            Subject::Named(folder, name) => {
                let path = named(folder, name)?;
                retry_refusal(|| lsetxattr(&path, attribute, value, XattrFlags::empty()))
            }
        }
    }

    /// Removes one xattr.
    ///
    /// # Errors
    /// As `removexattr(2)`; `ENODATA` when it is not there.
    pub(crate) fn remove_attribute(self, attribute: &CStr) -> Result<(), Errno> {
        match self {
            Subject::Open(fd) => fremovexattr(fd, attribute),
            Subject::Named(folder, name) => lremovexattr(named(folder, name)?, attribute),
        }
    }
}

/// A path that leads through the open folder to the name in it: the kernel has no `*at` calls for xattrs before Linux
/// 6.13. The folder part is a link to the descriptor itself and cannot be swapped.
fn named(folder: BorrowedFd<'_>, name: &CStr) -> Result<CString, Errno> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).map_err(|_| Errno::INVAL)
}
