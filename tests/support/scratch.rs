//! The fixture of all tests, suites and benchmarks that mirror something: two roots, a log, and the folder around them,
//! which goes away at the end. How the engine is run on it is in `monitor.rs`, how the program is in `program.rs`.

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

/// An ordinary user and his group, who own nothing.
pub(crate) const NOBODY: u32 = 65534;

/// Whether this thread is root's.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a test as an ordinary user, also when root runs the tests: on a thread that gives its rights away, as then have all
/// threads that it starts. Linux keeps the rights of each thread apart; what glibc would change are those of all.
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

/// The first usual folder for temporary files that this thread may use: that of `TMPDIR` may be root's alone.
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
    /// What the mirrors of [`Scratch::mirror`] digest.
    pub(crate) digests: Digests,
    /// The program that is run.
    pub(crate) program: PathBuf,
    /// It runs as an ordinary user, [`NOBODY`].
    pub(crate) as_user: bool,
    /// That user's groups; only his own one when there are none.
    pub(crate) groups: &'static [u32],
    /// It chooses the number of its workers; else there are two of them in the deep suites, where nothing else is asked for.
    pub(crate) chooses_workers: bool,
}

impl Scratch {
    /// Source, replica and `outside` are there and empty.
    pub(crate) fn new() -> Scratch {
        let scratch = Scratch::with_source();
        fs::create_dir(&scratch.replica).expect("created");
        fs::create_dir(&scratch.outside).expect("created");
        scratch
    }

    /// Only the source is there; replica and log are for the program to make.
    pub(crate) fn with_source() -> Scratch {
        Scratch::below(&temporary())
    }

    /// The same in a folder of one's choice, for instance a mounted tmpfs, which is quicker than most disks.
    pub(crate) fn below(parent: &Path) -> Scratch {
        let folder = scratch_folder(parent);
        let roots = ["source", "replica", "outside"].map(|name| folder.path().join(name));
        let scratch = Scratch::of(vec![folder], roots);
        fs::create_dir(&scratch.source).expect("created");
        scratch
    }

    /// As [`Scratch::new`], each in a new folder below one of these, which may be filesystems of their own.
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

    /// A path below it.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("below the scratch folder")).expect("created");
        fs::write(path, content).expect("written");
    }

    /// Makes a file of zeros that takes no time to make, but some to be read: it has no holes.
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

    /// The names in one folder, sorted; none when it is missing.
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
    /// In this process: a child would inherit the locks of the replicas of other tests for a moment.
    fn drop(&mut self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for folder in self.folders.drain(..) {
            let path = folder.keep();
            // A test may have closed it.
            let _ = fs::set_permissions(&path, Permissions::from_mode(0o700));
            if let Ok(fd) = rustix::fs::open(&path, flags, Mode::empty()) {
                empty(fd.as_fd());
            }
            let _ = fs::remove_dir(&path);
        }
    }
}

/// Removes everything below a folder, however deep: a folder in a folder is moved up first.
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
