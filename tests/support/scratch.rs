//! The fixture of all tests, suites and benchmarks that mirror trees: two roots, a log, and the folder around them,
//! which is removed at the end. `monitor.rs` runs the engine on it, and `program.rs` the program.

use file_sync::Digests;
use rustix::fs::{Access, AtFlags, FallocateFlags, Mode, OFlags, access, fallocate};
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::env::temp_dir;
use std::ffi::{CString, OsString};
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::scope;
use tempfile::{Builder, TempDir};

/// The user and group id of an ordinary user without files of his own.
pub(crate) const NOBODY: u32 = 65534;

/// Whether this thread runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a test as an ordinary user, also when root runs the tests: on a thread that drops its rights, which all threads
/// started by it inherit. Linux keeps credentials per thread; the wrappers of glibc would change those of every thread.
pub(crate) fn as_ordinary_user(test: impl FnOnce() + Send) {
    if !is_root() {
        return test();
    }
    let ended = scope(|scope| {
        let thread = scope.spawn(|| {
            let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            set_thread_groups(&[]).expect("root may");
            set_thread_res_gid(group, group, group).expect("root may");
            set_thread_res_uid(user, user, user).expect("root may");
            test();
        });
        thread.join()
    });
    if let Err(cause) = ended {
        resume_unwind(cause);
    }
}

/// The first usual folder for temporary files that this thread may use: the folder of `TMPDIR` may be accessible to
/// root only.
fn temporary() -> PathBuf {
    let parents = [temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let usable = parents.iter().find(|path| access(*path, Access::WRITE_OK | Access::EXEC_OK).is_ok());
    usable.unwrap_or(&parents[0]).clone()
}

/// A source, a replica, a log, and a folder that belongs to neither root.
pub(crate) struct Scratch {
    folders: Vec<TempDir>,
    pub(crate) source: PathBuf,
    pub(crate) replica: PathBuf,
    pub(crate) outside: PathBuf,
    pub(crate) log: PathBuf,
    /// The digests that the mirrors of [`Scratch::mirror`] take.
    pub(crate) digests: Digests,
    /// The program under test.
    pub(crate) program: PathBuf,
    /// The program runs as an ordinary user, [`NOBODY`].
    pub(crate) as_user: bool,
    /// The groups of that user; only his primary group if empty.
    pub(crate) groups: &'static [u32],
    /// The program chooses the number of its workers. Otherwise the deep suites set it to two, unless the arguments do.
    pub(crate) chooses_workers: bool,
}

impl Scratch {
    /// Source, replica and `outside` exist and are empty.
    pub(crate) fn new() -> Scratch {
        let scratch = Scratch::with_source();
        fs::create_dir(&scratch.replica).expect("created");
        fs::create_dir(&scratch.outside).expect("created");
        scratch
    }

    /// Only the source exists; the program creates replica and log.
    pub(crate) fn with_source() -> Scratch {
        Scratch::below(&temporary())
    }

    /// The same below another folder, for instance a mounted tmpfs, which is faster than most disks.
    pub(crate) fn below(parent: &Path) -> Scratch {
        let folder = scratch_folder(parent);
        let roots = ["source", "replica", "outside"].map(|name| folder.path().join(name));
        let scratch = Scratch::of(vec![folder], roots);
        fs::create_dir(&scratch.source).expect("created");
        scratch
    }

    /// As [`Scratch::new`], each in a new folder below one of these, which may be separate filesystems.
    pub(crate) fn across(source: &Path, replica: &Path, outside: &Path) -> Scratch {
        let folders = [source, replica, outside].map(scratch_folder);
        let names = [(&folders[0], "source"), (&folders[1], "replica"), (&folders[2], "outside")];
        let roots = names.map(|(folder, name)| folder.path().join(name));
        roots.iter().for_each(|root| fs::create_dir(root).expect("created"));
        Scratch::of(folders.into(), roots)
    }

    fn of(folders: Vec<TempDir>, [source, replica, outside]: [PathBuf; 3]) -> Scratch {
        Scratch {
            log: folders[0].path().join("log"),
            folders,
            source,
            replica,
            outside,
            digests: Digests::OfAll,
            program: env!("CARGO_BIN_EXE_file-sync").into(),
            as_user: false,
            groups: &[],
            chooses_workers: false,
        }
    }

    /// The folder around the roots.
    pub(crate) fn path(&self) -> &Path {
        self.folders[0].path()
    }

    /// The folder of the index.
    pub(crate) fn state(&self) -> PathBuf {
        let folder = self.folders.last().map_or(self.path(), TempDir::path);
        folder.join("state")
    }

    /// A path below it.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }

    /// Writes a file, and creates the folders above it.
    pub(crate) fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("below the scratch folder")).expect("created");
        fs::write(path, content).expect("written");
    }

    /// Creates a file of zeros without holes: quick to create, but slow to read.
    pub(crate) fn write_zeros(&self, path: &str, length: usize) {
        let file = fs::File::create(self.at(path)).expect("created");
        if fallocate(&file, FallocateFlags::empty(), 0, length as u64).is_err() {
            fs::write(self.at(path), vec![0; length]).expect("written");
        }
    }

    pub(crate) fn folder(&self, path: impl AsRef<Path>) {
        fs::create_dir_all(self.at(path)).expect("created");
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.at(path)).expect("linked");
    }

    pub(crate) fn rename(&self, old: &str, new: &str) {
        fs::rename(self.at(old), self.at(new)).expect("renamed");
    }

    pub(crate) fn mode(&self, path: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.at(path), Permissions::from_mode(mode)).expect("set");
    }

    pub(crate) fn remove(&self, path: impl AsRef<Path>) {
        let path = self.at(path);
        if path.symlink_metadata().expect("it exists").is_dir() {
            fs::remove_dir_all(path).expect("removed");
        } else {
            fs::remove_file(path).expect("removed");
        }
    }

    pub(crate) fn read(&self, path: impl AsRef<Path>) -> String {
        let bytes = fs::read(self.at(path)).expect("readable");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.at(path).symlink_metadata().is_ok()
    }

    /// The names in one folder, sorted; empty if the folder is missing.
    pub(crate) fn names(&self, path: &str) -> Vec<OsString> {
        let Ok(entries) = fs::read_dir(self.at(path)) else { return Vec::new() };
        let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        names.sort();
        names
    }
}

fn scratch_folder(parent: &Path) -> TempDir {
    Builder::new().prefix("file-sync-test-").tempdir_in(parent).expect("a scratch folder")
}

impl Drop for Scratch {
    /// In this process: a child would briefly inherit the replica locks of other tests.
    fn drop(&mut self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for folder in self.folders.drain(..) {
            let path = folder.keep();
            // A test may have removed the permissions.
            let _ = fs::set_permissions(&path, Permissions::from_mode(0o700));
            if let Ok(fd) = rustix::fs::open(&path, flags, Mode::empty()) {
                empty(fd.as_fd());
            }
            let _ = fs::remove_dir(&path);
        }
    }
}

/// Removes everything below a folder, at any depth: nested folders are moved up first.
pub(crate) fn empty(top: BorrowedFd<'_>) {
    let names = |folder: BorrowedFd<'_>| -> Vec<CString> {
        let Ok(folder) = rustix::fs::Dir::read_from(folder) else { return Vec::new() };
        let names = folder.filter_map(Result::ok).map(|entry| entry.file_name().to_owned());
        names.filter(|name| !matches!(name.to_bytes(), b"." | b"..")).collect()
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut moved = 0;
    let mut folders = Vec::new();
    let mut sort = |from: BorrowedFd<'_>, folders: &mut Vec<CString>| {
        for name in names(from) {
            if rustix::fs::unlinkat(from, &name, AtFlags::empty()).is_err() {
                let _ = rustix::fs::chmodat(from, &name, Mode::RWXU, AtFlags::empty());
                moved += 1;
                let above = CString::new(format!("to remove {moved}")).expect("no NUL");
                if rustix::fs::renameat(from, &name, top, &above).is_ok() {
                    folders.push(above);
                }
            }
        }
    };
    sort(top, &mut folders);
    while let Some(name) = folders.pop() {
        if let Ok(fd) = rustix::fs::openat(top, &name, flags, Mode::empty()) {
            sort(fd.as_fd(), &mut folders);
        }
        let _ = rustix::fs::unlinkat(top, &name, AtFlags::REMOVEDIR);
    }
}
