//! A file that is only ever appended to, and that another process may rename, remove or fill up at any moment.
//!
//! Log rotation moves a file away while it is open; a writer that only keeps its descriptor would go on writing into
//! the moved file, or into one without a name. So the path can be checked for leading to the open file, and opening
//! creates missing folders.

use crate::fs::Errno;
use crate::fs::lease::Leases;
use crate::fs::resolve::resolve as real_path;
use crate::model::entry::FileId;
use rustix::fs::{FileType, Mode, OFlags};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// The mode: the owner writes, the group reads (the usual `adm`), others nothing: a log names every path of private
/// data.
pub(super) const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

/// Folders that are created for the file are as private as the file.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o750);

/// The longest wait for a lease on the file: other threads wait for its lines. While it is open no lease can be taken.
const LEASE_TIME: Duration = Duration::from_secs(2);

/// The looks at a file that ends in the middle of a line, and the pause between two.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// The path of a file to append to.
#[derive(Clone, Debug)]
pub(crate) struct AppendPath {
    path: PathBuf,
    keep_out: Option<PathBuf>,
    leases: Arc<Leases>,
}

/// An error of opening the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// The file itself: no permission, a folder in its place, a read-only filesystem.
    File(Errno),
    /// A folder on the way is missing and could not be created.
    Folder(PathBuf, Errno),
    /// A folder on the way is missing and must not be created.
    KeptOut(PathBuf),
    /// A mount above the file has gone: the path leads to the folder that it covered.
    Unmounted(PathBuf),
}

/// The open file.
#[derive(Debug)]
pub(crate) struct AppendFile {
    descriptor: OwnedFd,
    id: FileId,
    ends_mid_line: Option<bool>,
}

impl AppendPath {
    /// A file path, and a folder which, together with everything above it, is never created: a source that was
    /// unmounted or removed must not come back as an empty folder because its log file lies inside.
    pub(crate) fn new(path: PathBuf, keep_out: Option<PathBuf>) -> AppendPath {
        // While the folder exists its real path can be resolved; later a symbolic link to it may be dangling.
        let keep_out = keep_out.map(|folder| std::fs::canonicalize(&folder).unwrap_or(folder));
        AppendPath { path, keep_out, leases: Arc::default() }
    }

    /// The path as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file, and creates it and the folders above it when they are missing.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open(&self) -> Result<AppendFile, OpenError> {
        // The file itself must not replace the folder either.
        if self.keep_out.as_deref().is_some_and(|folder| real_path(folder).starts_with(real_path(&self.path)))
        {
            return Err(OpenError::KeptOut(self.path.clone()));
        }
        let open = || self.leases.wait(LEASE_TIME, || open_to_append(&self.path), || true);
        let descriptor = match open() {
            Err(Errno::NOENT) => {
                self.make_folders()?;
                open().map_err(OpenError::File)?
            }
            other => other.map_err(OpenError::File)?,
        };
        let stat = rustix::fs::fstat(&descriptor).map_err(OpenError::File)?;
        let id = FileId { device: stat.st_dev, inode: stat.st_ino };
        let ends_mid_line = if stat.st_size == 0 { Some(false) } else { self.ends_mid_line(id) };
        Ok(AppendFile { descriptor, id, ends_mid_line })
    }

    /// False when the path is known to lead to another file, or to none. A path that cannot be examined (no
    /// permission any longer) still counts as leading there: the open file is the best one available.
    pub(crate) fn leads_to(&self, file: &AppendFile) -> bool {
        match rustix::fs::stat(&self.path) {
            Ok(stat) => FileId { device: stat.st_dev, inode: stat.st_ino } == file.id,
            Err(errno) => !matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP),
        }
    }

    /// Creates the missing folders above the file, from the top down. Only the lowest existing folder is ever looked
    /// up, and each call creates one folder, so that a folder that vanishes meanwhile is an error and is not created
    /// again.
    fn make_folders(&self) -> Result<(), OpenError> {
        let parent = match self.path.parent() {
            Some(parent) => parent,
            None => return Err(OpenError::File(Errno::ISDIR)),
        };
        let (mut folder, missing) =
            split_missing(parent).map_err(|errno| OpenError::Folder(parent.to_owned(), errno))?;
        let keep_out = self.keep_out.as_deref().map(real_path);
        for name in missing {
            folder.push(name);
            if keep_out.as_ref().is_some_and(|keep_out| keep_out.starts_with(&folder)) {
                return Err(OpenError::KeptOut(folder));
            }
            match rustix::fs::mkdir(&folder, FOLDER_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(OpenError::Folder(folder, errno)),
            }
        }
        Ok(())
    }

    /// Whether the content ends without a newline, as after a crash or on a full disk; none when that is unknown.
    ///
    /// RACE: another process that writes at this moment shows a part of its lines, page by page. It is looked at several
    /// times; one that takes longer gets an empty line behind it.
    fn ends_mid_line(&self, id: FileId) -> Option<bool> {
        // A descriptor of its own, because a log may be writable and not readable.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::open(&self.path, flags, Mode::empty()).ok()?);
        for look in 1..=LOOKS {
            let stat = rustix::fs::fstat(&file).ok()?;
            if (FileId { device: stat.st_dev, inode: stat.st_ino }) != id {
                return None;
            }
            let Some(last) = u64::try_from(stat.st_size).ok()?.checked_sub(1) else { return Some(false) };
            let mut byte = [0];
            file.read_exact_at(&mut byte, last).ok()?;
            if byte == [b'\n'] {
                return Some(false);
            }
            if look < LOOKS {
                sleep(BETWEEN_LOOKS);
            }
        }
        Some(true)
    }
}

impl AppendFile {
    /// Device and inode.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Whether the file ended in the middle of a line when it was opened; none when that is unknown.
    pub(crate) fn ends_mid_line(&self) -> Option<bool> {
        self.ends_mid_line
    }

    /// The size of a regular file; none for anything else, as a FIFO or a terminal, and where it is unknown.
    pub(crate) fn size(&self) -> Option<u64> {
        let stat = rustix::fs::fstat(&self.descriptor).ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        u64::try_from(stat.st_size).ok().filter(|_| is_file)
    }

    /// One `write(2)`: may write less than everything.
    ///
    /// # Errors
    /// As `write(2)`; `EINTR` included.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(&self.descriptor, bytes)
    }
}

impl AsFd for AppendFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn open_to_append(path: &Path) -> Result<OwnedFd, Errno> {
    // O_NONBLOCK, so that a FIFO without a reader is an error here and not an endless wait.
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOCTTY
        | OFlags::NONBLOCK;
    let descriptor = rustix::fs::open(path, flags, FILE_MODE)?;
    let flags = rustix::fs::fcntl_getfl(&descriptor)?;
    rustix::fs::fcntl_setfl(&descriptor, flags - OFlags::NONBLOCK)?;
    Ok(descriptor)
}

/// The real path of the lowest existing folder on the way to `path`, and the names that are missing below it. A `..`
/// below a missing folder leads nowhere and is an error.
fn split_missing(path: &Path) -> Result<(PathBuf, Vec<OsString>), Errno> {
    let mut missing = Vec::new();
    for ancestor in path.ancestors() {
        let looked_up = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        match std::fs::canonicalize(looked_up) {
            Ok(existing) => {
                missing.reverse();
                return Ok((existing, missing));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match ancestor.file_name() {
                Some(name) => missing.push(name.to_owned()),
                None => return Err(Errno::NOENT),
            },
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
    Err(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn append(path: PathBuf, keep_out: Option<PathBuf>) -> Result<AppendFile, OpenError> {
        AppendPath::new(path, keep_out).open()
    }

    #[test]
    fn missing_folders_are_made_and_neither_they_nor_the_file_are_for_everyone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b/log");
        let file = append(path.clone(), None).unwrap();
        assert_eq!(file.write(b"x\n"), Ok(2));
        assert_eq!(fs::read(&path).unwrap(), b"x\n");
        for made in ["a", "a/b", "a/b/log"] {
            let mode = fs::metadata(temp.path().join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o027, 0, "{made}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_or_nowhere_is_noticed() {
        let temp = tempfile::tempdir().unwrap();
        let path = AppendPath::new(temp.path().join("d/log"), None);
        let file = path.open().unwrap();
        assert!(path.leads_to(&file));
        fs::rename(path.path(), temp.path().join("d/log.1")).unwrap();
        assert!(!path.leads_to(&file));
        let newer = path.open().unwrap();
        assert!(path.leads_to(&newer) && !path.leads_to(&file));
        fs::remove_dir_all(temp.path().join("d")).unwrap();
        assert!(!path.leads_to(&newer));
    }

    #[test]
    fn the_kept_out_folder_and_what_is_above_it_are_never_made_under_any_name() {
        let temp = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(temp.path()).unwrap();
        let source = root.join("x/source");
        symlink(root.join("x"), root.join("link")).unwrap();
        fs::create_dir(root.join("other")).unwrap();
        for log in ["x/source/logs/log", "x/source/log", "x/log", "x/logs/log", "other/../x/source/log"] {
            let error = append(root.join(log), Some(source.clone())).unwrap_err();
            assert_eq!(error, OpenError::KeptOut(root.join("x")), "{log}");
        }
        assert!(!root.join("x").exists());
        fs::create_dir(root.join("x")).unwrap();
        for log in ["x/source/logs/log", "x/source/log", "link/source/log"] {
            let error = append(root.join(log), Some(source.clone())).unwrap_err();
            assert_eq!(error, OpenError::KeptOut(source.clone()), "{log}");
        }
        append(root.join("x/logs/log"), Some(source.clone())).unwrap();
        assert!(!source.exists());
        fs::create_dir(&source).unwrap();
        append(root.join("x/source/logs/log"), Some(source.clone())).unwrap();
    }

    #[test]
    fn a_kept_out_folder_given_by_a_link_is_known_by_its_real_path_when_it_is_gone() {
        let temp = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(temp.path()).unwrap();
        fs::create_dir(root.join("real")).unwrap();
        symlink(root.join("real"), root.join("source")).unwrap();
        let path = AppendPath::new(root.join("real/logs/log"), Some(root.join("source")));
        fs::remove_dir(root.join("real")).unwrap();
        assert_eq!(path.open().unwrap_err(), OpenError::KeptOut(root.join("real")));
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        assert_eq!(append(root.to_owned(), None).unwrap_err(), OpenError::File(Errno::ISDIR));
        fs::write(root.join("file"), "").unwrap();
        assert_eq!(append(root.join("file/log"), None).unwrap_err(), OpenError::File(Errno::NOTDIR));
        let below = root.join("missing/../log");
        assert!(matches!(append(below, None).unwrap_err(), OpenError::Folder(_, Errno::NOENT)));
        assert!(!root.join("missing").exists());
    }

    #[test]
    fn a_torn_last_line_is_noticed() {
        let temp = tempfile::tempdir().unwrap();
        for (content, torn) in [("", false), ("a\n", false), ("a\nb", true)] {
            let path = temp.path().join("log");
            fs::write(&path, content).unwrap();
            assert_eq!(append(path, None).unwrap().ends_mid_line(), Some(torn), "{content:?}");
        }
    }
}
