//! The picture of a tree: all its observable facts, taken without any code of the product, so that the two cannot be
//! wrong in the same way. All tests and suites compare such pictures. Two models are separate, because they answer
//! another question: `benches/peers/mirror.rs` compares a million files of programs that promise less, and
//! `tests/deep/races/moving.rs` and `tests/deep/power_loss/torn.rs` know the permitted mixtures of versions.

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The kind of an entry, with the facts of that kind.
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

/// One entry of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) what: What,
    pub(crate) mode: u32,
    pub(crate) mtime: (i64, u64),
    pub(crate) owner: (u32, u32),
    pub(crate) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the same inode in this tree, if it has several.
    pub(crate) same_as: Option<Vec<u8>>,
    /// Inode, links and ctime; only in trees made by [`Tree::stamped`].
    pub(crate) stamp: Option<Stamp>,
}

/// Facts that every write changes and no program can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) ctime: (i64, u64),
}

/// The picture of a tree, by path; the root has the empty path. A missing root has no nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<Vec<u8>, (Node, Stamp)>,
}

impl Tree {
    pub(crate) fn of(root: &Path) -> Tree {
        let mut tree = Tree::default();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = match rustix::fs::open(root.parent().unwrap(), flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return tree,
            parent => parent.unwrap(),
        };
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
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => return,
            stat => stat.unwrap(),
        };
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
            owner: (stat.st_uid, stat.st_gid),
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

    /// Adds inode, links and ctime of every entry, so that every write is visible. Taking the picture changes none of
    /// them.
    pub(crate) fn stamped(mut self) -> Tree {
        for (node, stamp) in self.nodes.values_mut() {
            node.stamp = Some(*stamp);
        }
        self
    }

    /// Keeps only the wanted paths.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&[u8]) -> bool) {
        self.nodes.retain(|path, _| wanted(path));
    }

    /// All entries of kinds that are mirrored.
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

    /// Names that share an inode with a name outside this tree.
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

/// Includes sockets. [`differences`] leaves them out, since they are not mirrored.
impl PartialEq for Tree {
    fn eq(&self, other: &Tree) -> bool {
        let ours = self.nodes.iter().map(|(path, (node, _))| (path, node));
        ours.eq(other.nodes.iter().map(|(path, (node, _))| (path, node)))
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
        // XFS shows root each ACL a second time, under its on-disk name.
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

/// The differences of two pictures, in words; sockets do not count.
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
