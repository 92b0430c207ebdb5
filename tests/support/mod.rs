//! What the tests of the engine share: a scratch folder, a monitor that keeps what it hears, and a snapshot of a tree
//! that is taken without any code of the product, so that the two cannot be wrong in the same way.

#![allow(dead_code, reason = "no test file uses everything")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail as the test itself may")]
#![allow(clippy::wildcard_enum_match_arm, reason = "events that no test asks about are not listed here")]

pub(crate) mod proof;

use file_sync::{
    Counter, Digests, Error, Event, Interrupt, Mirror, MirrorOptions, Monitor, Outcome, PassReport, Phase,
    Verb,
};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Whether this test runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A source, a replica and a folder that belongs to neither; by default side by side on one filesystem.
pub(crate) struct Scratch {
    folders: Vec<TempDir>,
    pub(crate) source: PathBuf,
    pub(crate) replica: PathBuf,
    pub(crate) outside: PathBuf,
    /// What the mirrors of [`Scratch::mirror`] digest.
    pub(crate) digests: Digests,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        let folder = tempfile::Builder::new().prefix("file-sync-test-").tempdir().unwrap();
        let below = |name: &str| folder.path().join(name);
        let (source, replica, outside) = (below("source"), below("replica"), below("outside"));
        Scratch { folders: vec![folder], source, replica, outside, digests: Digests::OfAll }.made()
    }

    /// Each in a new folder below one of these, which may be filesystems of their own.
    pub(crate) fn across(source: &Path, replica: &Path, outside: &Path) -> Scratch {
        let folders = [source, replica, outside]
            .map(|parent| tempfile::Builder::new().prefix("file-sync-test-").tempdir_in(parent).unwrap());
        let [source, replica, outside] = [(0, "source"), (1, "replica"), (2, "outside")]
            .map(|(which, name): (usize, &str)| folders[which].path().join(name));
        Scratch { folders: folders.into(), source, replica, outside, digests: Digests::OfAll }.made()
    }

    fn made(self) -> Scratch {
        for path in [&self.source, &self.replica, &self.outside] {
            fs::create_dir(path).unwrap();
        }
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folders[0].path()
    }

    pub(crate) fn mirror(&self, threads: usize) -> Mirror {
        self.mirror_with(threads, false)
    }

    pub(crate) fn mirror_with(&self, threads: usize, dry_run: bool) -> Mirror {
        let options = MirrorOptions {
            source: self.source.clone(),
            replica: self.replica.clone(),
            log: None,
            threads: Some(threads),
            processors: 2,
            digests: self.digests,
            dry_run,
        };
        Mirror::new(options, Arc::new(Interrupt::new())).unwrap()
    }

    /// One pass of a mirror made for it.
    pub(crate) fn pass(&self) -> Passed {
        pass(&mut self.mirror(2))
    }

    /// One pass that has to be done without a problem and leave the replica equal to the source, and a second one
    /// that has to find nothing to do. Returns the first.
    pub(crate) fn converge(&self) -> Passed {
        let passed = self.pass();
        passed.assert_clean();
        self.assert_equal();
        self.assert_quiet();
        passed
    }

    /// As [`Scratch::converge`], where the first passes may have problems.
    pub(crate) fn converge_in(&self, passes: usize) -> Passed {
        for _ in 1..passes {
            self.pass();
        }
        self.converge()
    }

    pub(crate) fn assert_equal(&self) {
        assert_same("the replica is not the source", &Tree::of(&self.source), &Tree::of(&self.replica));
    }

    /// A pass now does nothing: no operation, no problem, and no write to any inode of the replica.
    pub(crate) fn assert_quiet(&self) {
        let before = Tree::of(&self.replica);
        let passed = self.pass();
        passed.assert_clean();
        assert_eq!(passed.seen.done, [], "a second pass still finds something to do");
        assert_same("a second pass wrote", &before.stamped(), &Tree::of(&self.replica).stamped());
    }
}

impl Drop for Scratch {
    /// In this process: a child would inherit the locks of the replicas of other tests for a moment.
    fn drop(&mut self) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for folder in self.folders.drain(..) {
            let path = folder.keep();
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
                let above = CString::new(format!("to remove {moved}")).unwrap();
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

/// What a monitor heard, as values of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Verb, path, reason.
    pub(crate) done: Vec<Line>,
    pub(crate) planned: Vec<Line>,
    /// Path, then the message.
    pub(crate) problems: Vec<(String, String)>,
    pub(crate) skipped: Vec<String>,
    pub(crate) notices: Vec<String>,
    pub(crate) verified: Vec<String>,
}

/// An operation: what, where, why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line(pub(crate) Verb, pub(crate) String, pub(crate) String);

impl Seen {
    pub(crate) fn did(&self, verb: Verb, path: &str) -> bool {
        self.done.iter().any(|line| line.0 == verb && line.1 == path)
    }
}

/// What a [`Collector`] does when it hears an event.
type Hook<'a> = Box<dyn Fn(&Event<'_>) + Sync + 'a>;

/// A monitor that keeps everything, and may act when it hears something.
#[derive(Default)]
pub(crate) struct Collector<'a> {
    seen: Mutex<Seen>,
    /// Operations are not kept: their paths may be more than fits into memory.
    forgets_operations: bool,
    hook: Option<Hook<'a>>,
}

impl<'a> Collector<'a> {
    /// Calls `hook` for every event, before it is kept.
    pub(crate) fn with_hook(hook: impl Fn(&Event<'_>) + Sync + 'a) -> Collector<'a> {
        Collector { hook: Some(Box::new(hook)), ..Collector::default() }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Monitor for Collector<'_> {
    fn event(&self, event: &Event<'_>) {
        if let Some(hook) = &self.hook {
            hook(event);
        }
        let path = |path: &file_sync::RelPath| String::from_utf8_lossy(path.as_bytes()).into_owned();
        let line = |operation: &file_sync::Operation<'_>| {
            Line(operation.verb, path(operation.path), operation.reason.to_owned())
        };
        if self.forgets_operations && matches!(event, Event::Done(_) | Event::Verified { .. }) {
            return;
        }
        let mut seen = self.seen.lock().unwrap();
        match event {
            Event::Done(operation) => seen.done.push(line(operation)),
            Event::Planned(operation) => seen.planned.push(line(operation)),
            Event::Problem(problem) => seen.problems.push((path(&problem.path), problem.to_string())),
            Event::Skipped { path: at, .. } => seen.skipped.push(path(at)),
            Event::Notice(notice) => seen.notices.push(format!("{notice:?}")),
            Event::Verified { path: at, .. } => seen.verified.push(path(at)),
            _ => {}
        }
    }

    fn wants_verified(&self) -> bool {
        true
    }
}

/// A pass that is over.
pub(crate) struct Passed {
    pub(crate) report: PassReport,
    pub(crate) seen: Seen,
}

impl Passed {
    /// The pass was done, without a problem, and without taking the filesystem for a lesser one.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.seen.problems, [], "problems");
        assert_eq!(self.report.counts[Counter::Problems], 0);
        assert_eq!(self.report.outcome, Outcome::Done);
        let not_held: Vec<&String> =
            self.seen.notices.iter().filter(|notice| notice.starts_with("Unsupported")).collect();
        assert!(not_held.is_empty(), "{not_held:?}");
        assert_eq!(
            self.report.counts.operations(),
            self.seen.done.len() as u64,
            "operations counted and told"
        );
    }
}

/// One pass.
pub(crate) fn pass(mirror: &mut Mirror) -> Passed {
    let collector = Collector::default();
    let report = mirror.pass(1, &collector).unwrap();
    Passed { report, seen: collector.seen() }
}

/// One pass of a tree whose paths are too long to be kept. It has to be done without a problem.
pub(crate) fn clean_pass(mirror: &mut Mirror) -> PassReport {
    let collector = Collector { forgets_operations: true, ..Collector::default() };
    let report = mirror.pass(1, &collector).unwrap();
    assert_eq!(collector.seen().problems, [], "problems");
    assert_eq!((&report.outcome, report.counts[Counter::Problems]), (&Outcome::Done, 0));
    report
}

/// One pass during which `hook` is called for every event.
pub(crate) fn pass_with<'a>(
    mirror: &mut Mirror,
    hook: impl Fn(&Event<'_>) + Sync + 'a,
) -> (Result<PassReport, Error>, Seen) {
    let collector = Collector::with_hook(hook);
    let report = mirror.pass(1, &collector);
    (report, collector.seen())
}

/// One pass whose plan is complete before `edits` change the trees, and is carried out after them.
pub(crate) fn between(mirror: &mut Mirror, edits: impl FnOnce() + Send) -> (Result<PassReport, Error>, Seen) {
    let edits = Mutex::new(Some(edits));
    let passed = pass_with(mirror, |event| {
        if matches!(event, Event::Phase { phase: Phase::Applying, .. }) {
            edits.lock().unwrap().take().unwrap()();
        }
    });
    assert!(edits.into_inner().unwrap().is_none(), "the plan was empty");
    passed
}

/// What an entry is, with what only this kind has.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum What {
    File(Vec<u8>),
    /// A file that this user cannot read.
    Closed(u64),
    Folder,
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    Char(u64),
    Block(u64),
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::File(content) => {
                let mut hasher = DefaultHasher::new();
                content.hash(&mut hasher);
                write!(f, "file of {} bytes ({:x})", content.len(), hasher.finish())
            }
            What::Closed(size) => write!(f, "unreadable file of {size} bytes"),
            What::Folder => f.write_str("folder"),
            What::Symlink(target) => write!(f, "symlink to {}", target.escape_ascii()),
            What::Fifo => f.write_str("fifo"),
            What::Socket => f.write_str("socket"),
            What::Char(device) => write!(f, "char {device:x}"),
            What::Block(device) => write!(f, "block {device:x}"),
        }
    }
}

/// One entry of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) what: What,
    pub(crate) mode: u32,
    pub(crate) mtime: (i64, u64),
    /// Zero unless root, who alone can set it.
    pub(crate) owner: (u32, u32),
    pub(crate) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the same inode in this tree, when there are several.
    pub(crate) same_as: Option<Vec<u8>>,
    /// Inode, links and ctime; only in trees made by [`Tree::stamped`].
    pub(crate) stamp: Option<Stamp>,
}

/// What a write always changes and no program can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) ctime: (i64, u64),
}

/// Everything that can be known of a tree, by path; the root has the empty path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<Vec<u8>, (Node, Stamp)>,
}

impl Tree {
    pub(crate) fn of(root: &Path) -> Tree {
        let mut tree = Tree::default();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(root.parent().unwrap(), flags, Mode::empty()).unwrap();
        let name = CString::new(root.file_name().unwrap().as_bytes()).unwrap();
        tree.add(parent.as_fd(), &name, Vec::new());
        let mut first: BTreeMap<(u64, u64), (Vec<u8>, usize)> = BTreeMap::new();
        for (path, (node, stamp)) in &tree.nodes {
            if node.what != What::Folder {
                first.entry((stamp.device, stamp.inode)).or_insert_with(|| (path.clone(), 0)).1 += 1;
            }
        }
        for (node, stamp) in tree.nodes.values_mut() {
            if let Some((path, 2..)) = first.get(&(stamp.device, stamp.inode)) {
                node.same_as = Some(path.clone());
            }
        }
        tree
    }

    fn add(&mut self, folder: BorrowedFd<'_>, name: &CStr, path: Vec<u8>) {
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let mut below = None;
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(folder, name, flags, Mode::empty()) {
                    Ok(fd) => {
                        let mut content = Vec::new();
                        fs::File::from(fd).read_to_end(&mut content).unwrap();
                        What::File(content)
                    }
                    Err(_) => What::Closed(stat.st_size as u64),
                }
            }
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                below = rustix::fs::openat(folder, name, flags, Mode::empty()).ok();
                What::Folder
            }
            FileType::Symlink => {
                What::Symlink(rustix::fs::readlinkat(folder, name, Vec::new()).unwrap().into_bytes())
            }
            FileType::Fifo => What::Fifo,
            FileType::Socket => What::Socket,
            FileType::CharacterDevice => What::Char(stat.st_rdev),
            FileType::BlockDevice => What::Block(stat.st_rdev),
            FileType::Unknown => panic!("{}", path.escape_ascii()),
        };
        let node = Node {
            mode: if matches!(what, What::Symlink(_)) { 0 } else { stat.st_mode & 0o7777 },
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            owner: if is_root() { (stat.st_uid, stat.st_gid) } else { (0, 0) },
            attributes: attributes(folder, name),
            same_as: None,
            stamp: None,
            what,
        };
        let stamp = Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            links: stat.st_nlink as u64,
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        };
        self.nodes.insert(path.clone(), (node, stamp));
        let Some(below) = below else { return };
        let names: Vec<CString> = rustix::fs::Dir::read_from(&below)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_owned())
            .collect();
        for name in names {
            if !matches!(name.to_bytes(), b"." | b"..") {
                let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
                self.add(below.as_fd(), &name, [&path, separator, name.to_bytes()].concat());
            }
        }
    }

    /// With inode, links and ctime of every entry, so that every write shows.
    pub(crate) fn stamped(mut self) -> Tree {
        for (node, stamp) in self.nodes.values_mut() {
            node.stamp = Some(*stamp);
        }
        self
    }

    /// Everything that is mirrored.
    fn mirrored(&self) -> impl Iterator<Item = (&Vec<u8>, &Node)> {
        self.nodes.iter().map(|(path, (node, _))| (path, node)).filter(|(_, node)| node.what != What::Socket)
    }

    /// Mirrored entries below the root.
    pub(crate) fn entries(&self) -> u64 {
        self.mirrored().count() as u64 - 1
    }

    pub(crate) fn inodes(&self) -> BTreeSet<(u64, u64)> {
        self.nodes.values().map(|(_, stamp)| (stamp.device, stamp.inode)).collect()
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path.as_bytes()).map(|(node, _)| node)
    }

    /// Names that share an inode with something outside this tree.
    pub(crate) fn shared_outside(&self) -> Vec<String> {
        let mut names: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for (_, stamp) in self.nodes.values() {
            *names.entry((stamp.device, stamp.inode)).or_default() += 1;
        }
        let is_shared = |(node, stamp): &(Node, Stamp)| {
            !matches!(node.what, What::Folder | What::Socket)
                && stamp.links > names[&(stamp.device, stamp.inode)]
        };
        self.nodes
            .iter()
            .filter(|(_, both)| is_shared(both))
            .map(|(path, _)| path.escape_ascii().to_string())
            .collect()
    }
}

fn attributes(folder: BorrowedFd<'_>, name: &CStr) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    let path = Path::new(OsStr::from_bytes(&path));
    let mut buffer = vec![0; 65536];
    let Ok(length) = rustix::fs::llistxattr(path, &mut buffer[..]) else { return BTreeMap::new() };
    let names: Vec<Vec<u8>> = buffer[..length].split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let mut found = BTreeMap::new();
    for name in names {
        let wanted: [&[u8]; 4] = [b"user.", b"trusted.", b"security.capability", b"system.posix_acl_"];
        // XFS shows root each access list once more, under the name that it has on the disk.
        let is_shown_twice = name.starts_with(b"trusted.SGI_ACL_");
        if wanted.iter().any(|prefix| name.starts_with(prefix))
            && !is_shown_twice
            && let Ok(length) = rustix::fs::lgetxattr(path, name.as_slice(), &mut buffer[..])
        {
            found.insert(name, buffer[..length].to_vec());
        }
    }
    found
}

/// The differences of two snapshots, in words; sockets do not count.
pub(crate) fn differences(expected: &Tree, found: &Tree) -> Vec<String> {
    let (expected, found): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (expected.mirrored().collect(), found.mirrored().collect());
    let mut out = Vec::new();
    for (path, node) in &expected {
        let shown = path.escape_ascii();
        match found.get(path) {
            None => out.push(format!("missing {shown}: {node:?}")),
            Some(other) if other != node => {
                out.push(format!("differs {shown}:\n  expected {node:?}\n  found    {other:?}"));
            }
            Some(_) => {}
        }
    }
    for (path, node) in &found {
        if !expected.contains_key(path) {
            out.push(format!("extra {}: {node:?}", path.escape_ascii()));
        }
    }
    out
}

#[track_caller]
pub(crate) fn assert_same(complaint: &str, expected: &Tree, found: &Tree) {
    let differences = differences(expected, found);
    assert!(differences.is_empty(), "{complaint}:\n{}", differences.join("\n"));
}

/// Sets the modification time and leaves the access time; a symbolic link is meant itself.
pub(crate) fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) -> std::io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(crate) fn mtime(path: &Path) -> (i64, i64) {
    use std::os::unix::fs::MetadataExt;
    let facts = fs::symlink_metadata(path).unwrap();
    (facts.mtime(), facts.mtime_nsec())
}

pub(crate) fn chmod(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

pub(crate) fn set_attribute(path: &Path, name: &str, value: &[u8]) -> std::io::Result<()> {
    Ok(rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty())?)
}

/// An access control list in the kernel's own form: the three classes, one named user, and the mask.
pub(crate) fn access_list(user: u32, permissions: u16) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, NOBODY), (2, permissions, user), (4, 5, NOBODY), (0x10, 7, NOBODY), (0x20, 4, NOBODY)];
    let mut out = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

/// Whether the filesystem of a folder keeps this extended attribute.
pub(crate) fn keeps(folder: &Path, name: &str, value: &[u8]) -> bool {
    let probe = folder.join("probe");
    fs::write(&probe, b"").unwrap();
    let keeps = set_attribute(&probe, name, value).is_ok();
    fs::remove_file(&probe).unwrap();
    keeps
}

/// Makes a FIFO, socket or device node.
pub(crate) fn make_node(path: &Path, kind: FileType, device: u64) -> std::io::Result<()> {
    Ok(rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device)?)
}

/// Makes a further name of an entry; a symbolic link is meant itself.
pub(crate) fn link(old: &Path, new: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::linkat(CWD, old, CWD, new, AtFlags::empty())?)
}

/// Makes a small tree: names that end in `/` are folders, all others files that contain their own name.
pub(crate) fn plant(root: &Path, names: &[&str]) {
    for name in names {
        let path = root.join(name);
        if name.ends_with('/') {
            fs::create_dir_all(&path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
        }
    }
}
