//! The names of rotated log files, `LOG.1` (the newest) to `LOG.999`, and the rotation itself.
//!
//! A rotation is a chain of renames from the oldest file down to the log. Another file-sync that writes to the same log,
//! or logrotate, may do the same at any moment, so no rename may replace anything, and only the oldest file is removed:
//!
//! - Of several processes that have one log open, one rotates: it holds a lock (flock(2)) on the open file and looks
//!   whether the path still leads to that file. The next log exists only after the last rename of the chain, so that
//!   nobody can begin to rotate that one earlier.
//! - logrotate knows no such lock. Each name is renamed only to a free one (`RENAME_NOREPLACE`).
//! - A chain that was cut off leaves a gap, and the next one moves files only up to it.

use crate::fs::Errno;
use crate::fs::dirent::{remove_file, rename_to_free};
use crate::fs::log_file::{AppendFile, AppendPath, FILE_MODE};
use crate::fs::resolve::{exists, resolve, resolve_past};
use crate::fs::stat::entry_at;
use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid, flock};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// The most files that can be kept.
pub(crate) const MOST: u16 = 999;

/// The attempts to get the lock, and the pause between two. Another process needs it for some renames only. Lines wait
/// meanwhile, so that a disk that is busy must not make this wait long.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(5);

/// The result of a rotation that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotated {
    /// The open file is `LOG.1` now, and there is a new and empty log: the path has to be opened again.
    Done,
    /// The path leads to another file already, or to none: somebody else has rotated it, and it has to be opened again.
    Elsewhere,
    /// Somebody else holds the lock. The log is where it was.
    Busy,
}

/// Whether a name is that of a rotated file of this log.
pub(crate) fn is_rotated(log: &[u8], name: &[u8]) -> bool {
    let number = name.strip_prefix(log).and_then(|rest| rest.strip_prefix(b"."));
    number.is_some_and(|number| {
        (1..=3).contains(&number.len()) && number.iter().all(u8::is_ascii_digit) && number[0] != b'0'
    })
}

/// Whether a path leads through a descriptor of a process, as `/dev/stderr` does.
pub(crate) fn is_of_descriptor(path: &Path) -> bool {
    let mut is_in_proc = false;
    resolve_past(path, |step| is_in_proc |= step == Path::new("/proc"));
    is_in_proc
}

/// The rotated files of a log by their numbers, up to two missing ones in a row: a chain that was cut off lacks one.
/// Cheaper than [`beside`] in a folder with very many names.
pub(crate) fn chain(log: &Path) -> Vec<PathBuf> {
    let log = resolve(log);
    let (mut found, mut missing) = (Vec::new(), 0);
    for number in 1..=MOST {
        let mut path = log.clone().into_os_string();
        path.push(format!(".{number}"));
        let path = PathBuf::from(path);
        if exists(&path) {
            found.push(path);
            missing = 0;
        } else if missing == 1 {
            break;
        } else {
            missing += 1;
        }
    }
    found
}

/// All rotated files beside a log, in no order.
pub(crate) fn beside(log: &Path) -> Vec<PathBuf> {
    let log = resolve(log);
    let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let rotated = names.filter(|other| is_rotated(name.as_bytes(), other.as_bytes()));
    rotated.map(|name| folder.join(name)).collect()
}

/// Moves the open log to `LOG.1`, and before that `LOG.1` to `LOG.2` and so on, and makes a new log with its mode and
/// owner. The oldest of more than `keep` is removed.
///
/// # Errors
/// The folder cannot be opened or changed, the new log cannot be made, or somebody else rotates by other means. The log is
/// where it was.
pub(crate) fn rotate(path: &AppendPath, file: &AppendFile, keep: u16) -> Result<Rotated, Errno> {
    // The target of a symbolic link is rotated, and the link stays.
    let log = resolve(path.path());
    let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else { return Err(Errno::ISDIR) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let lock = lock(file.as_fd());
    if lock == Lock::Busy {
        return Ok(Rotated::Busy);
    }
    let rotated = if path.leads_to(file) {
        move_all(folder.as_fd(), name, (file, keep))
    } else {
        Ok(Rotated::Elsewhere)
    };
    if lock == Lock::Held {
        // It cannot fail for a lock that is held, which ends with the descriptor at the latest.
        let _ = flock(file.as_fd(), FlockOperation::Unlock);
    }
    rotated
}

fn move_all(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    (file, keep): (&AppendFile, u16),
) -> Result<Rotated, Errno> {
    let (log, newest) = (numbered(name, 0)?, numbered(name, 1)?);
    make_room(folder, name, keep)?;
    match rename_to_free(folder, &log, &newest) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Rotated::Elsewhere),
        Err(errno) => return Err(errno),
    }
    match make_like(folder, &log, file.as_fd()) {
        // Another process was faster.
        Ok(()) | Err(Errno::EXIST) => Ok(Rotated::Done),
        Err(errno) => {
            // If that fails as well the next line makes a new log, or tells why it cannot.
            rename_to_free(folder, &newest, &log)?;
            Err(errno)
        }
    }
}

/// Makes a new log with the mode and owner of the old one, whose readers are to read on: an administrator may have
/// opened it for a group.
fn make_like(folder: BorrowedFd<'_>, log: &CStr, old: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = rustix::fs::openat(folder, log, flags, FILE_MODE)?;
    let (was, is) = (rustix::fs::fstat(old)?, rustix::fs::fstat(&new)?);
    let is_same = (was.st_uid, was.st_gid) == (is.st_uid, is.st_gid);
    let owner = (Some(Uid::from_raw(was.st_uid)), Some(Gid::from_raw(was.st_gid)));
    // With another group the bits of the old one would let others in: the mode of a new log stays.
    if is_same || rustix::fs::fchown(&new, owner.0, owner.1).is_ok() {
        match rustix::fs::fchmod(&new, Mode::from_raw_mode(was.st_mode & 0o777)) {
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Frees `LOG.1`.
fn make_room(folder: BorrowedFd<'_>, name: &OsStr, keep: u16) -> Result<(), Errno> {
    let keep = keep.clamp(1, MOST);
    let mut gap = 1;
    while gap <= keep {
        match entry_at(folder, &numbered(name, gap)?) {
            Ok(_) => gap += 1,
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno),
        }
    }
    if gap > keep {
        gap = keep;
        match remove_file(folder, &numbered(name, keep)?) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    for number in (1..gap).rev() {
        match rename_to_free(folder, &numbered(name, number)?, &numbered(name, number + 1)?) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The name of a rotated file; that of the log itself for 0.
fn numbered(name: &OsStr, number: u16) -> Result<CString, Errno> {
    let mut bytes = name.as_bytes().to_vec();
    if number > 0 {
        bytes.extend_from_slice(format!(".{number}").as_bytes());
    }
    CString::new(bytes).map_err(|_| Errno::INVAL)
}

/// The lock on an open log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    /// This process has it.
    Held,
    /// Somebody else has it.
    Busy,
    /// The filesystem has no locks.
    None,
}

/// Takes the lock on an open log.
fn lock(file: BorrowedFd<'_>) -> Lock {
    let mut attempts = 1;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Lock::Held,
            Err(Errno::WOULDBLOCK) if attempts == ATTEMPTS => return Lock::Busy,
            Err(Errno::WOULDBLOCK) => {
                attempts += 1;
                sleep(PAUSE);
            }
            Err(Errno::INTR) => {}
            // RACE: without locks (some network filesystems) two processes may rotate at once. No file is replaced, but
            // the oldest may go one rotation early.
            Err(_) => return Lock::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    fn opened(temp: &TempDir, name: &str) -> (AppendPath, AppendFile) {
        let path = AppendPath::new(temp.path().join(name), None);
        let file = path.open().unwrap();
        (path, file)
    }

    /// Opens the log, writes to it and rotates it.
    fn rotated(temp: &TempDir, content: &str, keep: u16) -> Result<Rotated, Errno> {
        let (path, file) = opened(temp, "log");
        file.write(content.as_bytes()).unwrap();
        rotate(&path, &file, keep)
    }

    /// Every file with its content.
    fn files(temp: &TempDir) -> Vec<(String, String)> {
        let entries = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap());
        let mut all: Vec<_> = entries
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        all.sort();
        all
    }

    fn expected(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
    }

    #[test]
    fn the_newest_is_number_one_and_the_oldest_of_more_than_are_kept_goes() {
        let temp = tempfile::tempdir().unwrap();
        for content in ["a", "b", "c", "d", "e"] {
            assert_eq!(rotated(&temp, content, 3), Ok(Rotated::Done));
        }
        assert_eq!(files(&temp), expected(&[("log", ""), ("log.1", "e"), ("log.2", "d"), ("log.3", "c")]));
        assert_eq!(rotated(&temp, "f", 1), Ok(Rotated::Done));
        assert_eq!(files(&temp)[1], ("log.1".into(), "f".into()));
    }

    #[test]
    fn a_gap_in_the_chain_is_filled_and_costs_no_file() {
        let temp = tempfile::tempdir().unwrap();
        for (name, content) in [("log.1", "1"), ("log.3", "3"), ("log.x", "x"), ("log.10", "10")] {
            fs::write(temp.path().join(name), content).unwrap();
        }
        assert_eq!(rotated(&temp, "0", 3), Ok(Rotated::Done));
        let all =
            [("log", ""), ("log.1", "0"), ("log.10", "10"), ("log.2", "1"), ("log.3", "3"), ("log.x", "x")];
        assert_eq!(files(&temp), expected(&all));
    }

    #[test]
    fn a_log_that_somebody_else_has_rotated_is_not_rotated_again() {
        let temp = tempfile::tempdir().unwrap();
        let (path, file) = opened(&temp, "log");
        file.write(b"old").unwrap();
        fs::rename(temp.path().join("log"), temp.path().join("log.1")).unwrap();
        assert_eq!(rotate(&path, &file, 3), Ok(Rotated::Elsewhere));
        fs::write(temp.path().join("log"), "new").unwrap();
        assert_eq!(rotate(&path, &file, 3), Ok(Rotated::Elsewhere));
        assert_eq!(files(&temp), expected(&[("log", "new"), ("log.1", "old")]));
    }

    #[test]
    fn of_two_that_have_one_log_open_the_second_finds_it_rotated() {
        let temp = tempfile::tempdir().unwrap();
        let ((one, first), (other, second)) = (opened(&temp, "log"), opened(&temp, "log"));
        first.write(b"a\n").unwrap();
        second.write(b"b\n").unwrap();
        assert_eq!(rotate(&one, &first, 3), Ok(Rotated::Done));
        assert_eq!(rotate(&other, &second, 3), Ok(Rotated::Elsewhere));
        assert_eq!(files(&temp), expected(&[("log", ""), ("log.1", "a\nb\n")]));
    }

    #[test]
    fn a_log_that_another_process_holds_is_left_alone_and_can_be_rotated_later() {
        let temp = tempfile::tempdir().unwrap();
        let ((path, file), (_, other)) = (opened(&temp, "log"), opened(&temp, "log"));
        assert_eq!(lock(other.as_fd()), Lock::Held);
        assert_eq!(rotate(&path, &file, 3), Ok(Rotated::Busy));
        assert_eq!(files(&temp), expected(&[("log", "")]));
        drop(other);
        assert_eq!(rotate(&path, &file, 3), Ok(Rotated::Done));
        // The lock is on the file that was rotated, and given back.
        assert_eq!(lock(fs::File::open(temp.path().join("log.1")).unwrap().as_fd()), Lock::Held);
    }

    #[test]
    fn of_a_symbolic_link_the_target_is_rotated_where_it_lies() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("logs")).unwrap();
        symlink("logs/real", temp.path().join("log")).unwrap();
        assert_eq!(rotated(&temp, "a", 3), Ok(Rotated::Done));
        assert_eq!(fs::read_to_string(temp.path().join("logs/real.1")).unwrap(), "a");
        assert_eq!(fs::read_to_string(temp.path().join("log")).unwrap(), "");
        assert!(fs::symlink_metadata(temp.path().join("log")).unwrap().is_symlink());
        assert_eq!(
            beside(&temp.path().join("log")),
            [temp.path().canonicalize().unwrap().join("logs/real.1")]
        );
    }

    #[test]
    fn the_new_log_has_the_mode_of_the_old_one() {
        let temp = tempfile::tempdir().unwrap();
        let (path, file) = opened(&temp, "log");
        fs::set_permissions(path.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(rotate(&path, &file, 3), Ok(Rotated::Done));
        assert_eq!(fs::metadata(path.path()).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn what_cannot_be_moved_leaves_the_log_where_it_is() {
        let temp = tempfile::tempdir().unwrap();
        // A folder in the place of the oldest file cannot be removed as a file.
        fs::create_dir(temp.path().join("log.1")).unwrap();
        let (path, file) = opened(&temp, "log");
        assert_eq!(rotate(&path, &file, 1), Err(Errno::ISDIR));
        assert!(path.leads_to(&file));
    }

    #[test]
    fn a_chain_may_lack_one_number_and_ends_where_two_are_missing() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("log");
        for number in [2, 3, 5, 8] {
            fs::write(temp.path().join(format!("log.{number}")), "").unwrap();
        }
        let names = |paths: Vec<PathBuf>| {
            let mut names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(chain(&log)), ["log.2", "log.3", "log.5"]);
        assert_eq!(names(beside(&log)), ["log.2", "log.3", "log.5", "log.8"]);
    }

    #[test]
    fn a_path_through_a_descriptor_is_known() {
        assert!(is_of_descriptor(Path::new("/proc/self/fd/2")));
        let temp = tempfile::tempdir().unwrap();
        symlink("/proc/self/fd/2", temp.path().join("link")).unwrap();
        assert!(is_of_descriptor(&temp.path().join("link")));
        assert!(!is_of_descriptor(&temp.path().join("log")));
    }

    #[test]
    fn rotated_files_are_known_by_their_names() {
        for (name, expected) in [
            ("log.1", true),
            ("log.10", true),
            ("log.999", true),
            ("log.1000", false),
            ("log.0", false),
            ("log.01", false),
            ("log.", false),
            ("log", false),
            ("log1", false),
            ("log.1.gz", false),
            ("log.a", false),
            ("xlog.1", false),
        ] {
            assert_eq!(is_rotated(b"log", name.as_bytes()), expected, "{name}");
        }
    }
}
