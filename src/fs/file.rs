//! The bytes of regular files: opening, reading, writing, holes.

use crate::fs::{is_unsupported, retry_absence, retry_refusal};
use rustix::fs::{Mode, OFlags, SeekFrom, openat, seek};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use std::cell::RefCell;
use std::ffi::CStr;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Opens a regular file for reading. Never blocks on a FIFO, never follows a link, never becomes the terminal of this
/// process. `own` says that the file belongs to this user (or that root asks), so its access time can be left alone.
///
/// # Errors As `open(2)`; `EAGAIN` when another process holds a lease on it, see [`Leases`](crate::fs::lease::Leases).
pub(crate) fn open_to_read(folder: BorrowedFd<'_>, name: &CStr, own: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if own {
        // RACE: the file may have changed hands since its facts were read; then the kernel says EPERM.
        match retry_absence(|| openat(folder, name, flags | OFlags::NOATIME, Mode::empty())) {
            Err(Errno::PERM) => {}
            opened => return opened,
        }
    }
    retry_absence(|| openat(folder, name, flags, Mode::empty()))
}

/// Creates an empty file that only this user may open.
///
/// # Errors
/// As `open(2)`; `EEXIST` when the name is taken.
pub(crate) fn create_private(folder: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat(folder, name, flags, Mode::RUSR | Mode::WUSR))
}

/// Creates an empty file without a name, which vanishes with its descriptor unless it is linked
/// ([`name_file`](crate::fs::dirent::name_file)).
///
/// # Errors
/// As `open(2)` with `O_TMPFILE`.
pub(crate) fn create_unnamed(folder: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    retry_refusal(|| retry_on_intr(|| openat(folder, c".", flags, Mode::RUSR | Mode::WUSR)))
}

/// Reads at `offset` until the buffer is full or the file ends; returns the number of bytes.
///
/// # Errors
/// As `pread(2)`.
pub(crate) fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        match retry_on_intr(|| pread(file, &mut *rest, offset + filled as u64))? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Reads the bytes available at `offset`, at most a buffer; none at the end of the file.
///
/// # Errors
/// As `pread(2)`.
pub(crate) fn read_some(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    retry_on_intr(|| pread(file, &mut *buffer, offset))
}

/// Writes the whole buffer at `offset`.
///
/// # Errors
/// As `pwrite(2)`.
pub(crate) fn write_at(file: BorrowedFd<'_>, buffer: &[u8], offset: u64) -> Result<(), Errno> {
    let mut written = 0;
    while written < buffer.len() {
        let rest = buffer.get(written..).unwrap_or_default();
        match retry_on_intr(|| pwrite(file, rest, offset + written as u64))? {
            0 => return Err(Errno::IO),
            some => written += some,
        }
    }
    Ok(())
}

/// Drops the clean pages of a file from the page cache, so that the next read goes to the disk.
pub(crate) fn forget_cached(file: BorrowedFd<'_>) {
    // Only advice: if it is ignored, reads come from the cache.
    match rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed) {
        Ok(()) | Err(_) => {}
    }
}

/// Announces to the kernel that this part of a file is read soon, so that the disk can begin (`POSIX_FADV_WILLNEED`).
pub(crate) fn announce(file: BorrowedFd<'_>, offset: u64, length: u64) {
    // Only advice: if it is ignored, the later read waits for the disk.
    match rustix::fs::fadvise(file, offset, NonZeroU64::new(length), rustix::fs::Advice::WillNeed) {
        Ok(()) | Err(_) => {}
    }
}

/// Makes an empty file share the content of another one (reflink), on filesystems that can.
///
/// # Errors
/// As `ioctl_ficlone(2)`: `EOPNOTSUPP` or `ENOTTY` where the filesystem cannot, `EINVAL` for these two files.
pub(crate) fn clone_content(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    retry_refusal(|| rustix::fs::ioctl_ficlone(to, from))
}

/// fsyncs the content of a file (`fdatasync`).
///
/// # Errors
/// As `fdatasync(2)`; a filesystem without it is no error.
pub(crate) fn sync_content(file: BorrowedFd<'_>) -> Result<(), Errno> {
    match retry_on_intr(|| rustix::fs::fdatasync(file)) {
        Err(errno) if errno == Errno::INVAL || is_unsupported(errno) => Ok(()),
        synced => synced,
    }
}

/// Sets the length of a file; an extension is a hole.
///
/// # Errors
/// As `ftruncate(2)`.
pub(crate) fn set_length(file: BorrowedFd<'_>, length: u64) -> Result<(), Errno> {
    retry_on_intr(|| rustix::fs::ftruncate(file, length))
}

/// fsyncs the content of a file that has been written already, perhaps by another process.
///
/// # Errors
/// As `open(2)` and `fdatasync(2)`; a filesystem without it is no error.
pub(crate) fn sync_named(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    sync_content(open_to_read(folder, name, false)?.as_fd())
}

/// The first range of data at or after `from` and before `end`; none when there are only holes. Everything is data on a
/// filesystem that does not report holes.
///
/// # Errors
/// As `lseek(2)` with `SEEK_DATA` and `SEEK_HOLE`.
pub(crate) fn next_data(file: BorrowedFd<'_>, from: u64, end: u64) -> Result<Option<Range<u64>>, Errno> {
    if from >= end {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL) => return Ok(Some(from..end)),
        Err(errno) => return Err(errno),
    };
    if start >= end {
        return Ok(None);
    }
    match seek(file, SeekFrom::Hole(start)) {
        Ok(stop) => Ok(Some(start..stop.min(end))),
        // Truncated meanwhile: the next read will notice.
        Err(Errno::NXIO) => Ok(Some(start..end)),
        Err(errno) => Err(errno),
    }
}

/// A piece of a file: stored bytes, or a hole that reads as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Stored bytes.
    Data(Range<u64>),
    /// Zeros that take no space.
    Hole(Range<u64>),
}

/// The piece that starts at `at` and ends at or before `end`. Without `sparse` everything is data.
///
/// # Errors
/// As [`next_data`].
pub(crate) fn segment(file: BorrowedFd<'_>, at: u64, end: u64, sparse: bool) -> Result<Segment, Errno> {
    if !sparse {
        return Ok(Segment::Data(at..end));
    }
    Ok(match next_data(file, at, end)? {
        None => Segment::Hole(at..end),
        Some(data) if data.start > at => Segment::Hole(at..data.start),
        Some(data) => Segment::Data(data),
    })
}

/// The size of a read, in bytes. Larger buffers gain nothing and exceed the processor's cache.
pub(crate) const BUFFER: usize = 128 << 10;

thread_local! {
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::new((vec![0; BUFFER], vec![0; BUFFER]));
}

/// Lends the two buffers of this thread, [`BUFFER`] bytes each.
pub(crate) fn with_buffers<R>(work: impl FnOnce(&mut [u8], &mut [u8]) -> R) -> R {
    BUFFERS.with_borrow_mut(|(one, other)| work(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn data_and_holes_are_told_apart() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = std::fs::File::open(scratch.path()).unwrap();
        let file = create_private(folder.as_fd(), c"sparse").unwrap();
        set_length(file.as_fd(), 4 << 20).unwrap();
        assert_eq!(next_data(file.as_fd(), 0, 4 << 20), Ok(None));
        write_at(file.as_fd(), &[7; 4096], 1 << 20).unwrap();
        let data = next_data(file.as_fd(), 0, 4 << 20).unwrap().unwrap();
        assert!(data.contains(&(1 << 20)) && data.end - data.start < 1 << 20, "{data:?}");
        assert_eq!(next_data(file.as_fd(), data.end, 4 << 20), Ok(None));
        assert_eq!(create_private(folder.as_fd(), c"sparse").unwrap_err(), Errno::EXIST);
    }

    #[test]
    fn reading_past_the_end_says_how_much_there_was() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("five"), b"12345").unwrap();
        let folder = std::fs::File::open(scratch.path()).unwrap();
        let file = open_to_read(folder.as_fd(), c"five", true).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(read_at(file.as_fd(), &mut buffer, 2), Ok(3));
        assert_eq!(&buffer[..3], b"345");
    }
}
