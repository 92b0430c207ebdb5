//! A filesystem in memory with misleading inode numbers and link counts, or without hard links.

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// The oddity of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// All have one number, and two links.
    OneNumber,
    /// Each shows this number of links.
    Links(u32),
    /// Each shows another number at every lookup.
    NewNumbers,
    /// Each name has a number of its own.
    NumberOfName,
    /// No file gets a second hard link: link(2) fails with this error.
    NoLinks(i32),
}

/// Mounts a new one until the result is dropped.
pub(crate) fn mounted(at: &Path, oddity: Oddity) -> io::Result<BackgroundSession> {
    fs::create_dir_all(at)?;
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("numbers".to_owned())];
    let mut tree = Tree { nodes: BTreeMap::new(), next: 2, looks: 1 << 32, oddity };
    tree.nodes.insert(1, Node::new(FileType::Directory, 0o755));
    fuser::spawn_mount(Numbers(Mutex::new(tree)), at, &config)
}

/// The kernel caches nothing.
const KEPT: Duration = Duration::ZERO;

/// The step between the numbers of one file, if each name has a number of its own.
const NAMES: u64 = 1 << 40;

struct Node {
    kind: FileType,
    perm: u16,
    owner: (u32, u32),
    mtime: SystemTime,
    ctime: SystemTime,
    links: u32,
    /// Of a file, or the target of a link.
    content: Vec<u8>,
    entries: BTreeMap<OsString, u64>,
}

impl Node {
    fn new(kind: FileType, perm: u16) -> Node {
        let now = SystemTime::now();
        let (content, entries) = Default::default();
        Node { kind, perm, owner: (0, 0), mtime: now, ctime: now, links: 1, content, entries }
    }
}

type Answer<T> = Result<T, Errno>;

struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// The number of lookups so far.
    looks: u64,
    oddity: Oddity,
}

impl Tree {
    fn node(&mut self, number: u64) -> Answer<&mut Node> {
        // For a name with a number of its own, that of the file.
        self.nodes.get_mut(&(number % NAMES)).ok_or(Errno::ENOENT)
    }

    fn find(&mut self, parent: u64, name: &OsStr) -> Answer<u64> {
        self.node(parent)?.entries.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// The facts for the kernel: with the number that it asks by.
    fn facts(&mut self, number: u64) -> Answer<FileAttr> {
        let node = self.node(number)?;
        Ok(FileAttr {
            ino: INodeNo(number),
            size: node.content.len() as u64,
            blocks: node.content.len().div_ceil(512) as u64,
            atime: node.mtime,
            mtime: node.mtime,
            ctime: node.ctime,
            crtime: node.ctime,
            kind: node.kind,
            perm: node.perm,
            nlink: node.links,
            uid: node.owner.0,
            gid: node.owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// The facts for programs.
    fn shown(&mut self, number: u64) -> Answer<FileAttr> {
        let mut facts = self.facts(number)?;
        if facts.kind != FileType::Directory {
            match self.oddity {
                Oddity::OneNumber => (facts.ino, facts.nlink) = (INodeNo(4711), 2),
                Oddity::Links(links) => facts.nlink = links,
                Oddity::NewNumbers => {
                    self.looks += 1;
                    facts.ino = INodeNo(self.looks);
                }
                Oddity::NumberOfName | Oddity::NoLinks(_) => {}
            }
        }
        Ok(facts)
    }

    fn insert(&mut self, parent: u64, name: &OsStr, number: u64) -> Answer<u64> {
        let number = if self.oddity == Oddity::NumberOfName
            && self.node(number)?.kind == FileType::RegularFile
        {
            let hash = name.as_bytes().iter().fold(7u64, |sum, byte| sum * 31 % 65_521 + u64::from(*byte));
            number % NAMES + hash * NAMES
        } else {
            number
        };
        let folder = self.node(parent)?;
        folder.entries.insert(name.to_owned(), number);
        folder.mtime = SystemTime::now();
        Ok(number)
    }

    fn make(&mut self, parent: u64, name: &OsStr, node: Node) -> Answer<FileAttr> {
        if self.find(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        let number = self.insert(parent, name, number)?;
        self.facts(number)
    }

    fn link(&mut self, number: u64, parent: u64, name: &OsStr) -> Answer<FileAttr> {
        if let Oddity::NoLinks(errno) = self.oddity {
            return Err(Errno::from_i32(errno));
        }
        if self.find(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.node(number)?.links += 1;
        let number = self.insert(parent, name, number)?;
        self.facts(number)
    }

    fn remove(&mut self, parent: u64, name: &OsStr) -> Answer<()> {
        let number = self.find(parent, name)?;
        if !self.node(number)?.entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.node(number)?.links -= 1;
        let folder = self.node(parent)?;
        folder.entries.remove(name);
        folder.mtime = SystemTime::now();
        Ok(())
    }

    fn rename(&mut self, (parent, name): (u64, &OsStr), (new_parent, new_name): (u64, &OsStr)) -> Answer<()> {
        let number = self.find(parent, name)?;
        match self.find(new_parent, new_name) {
            // As rename(2) specifies.
            Ok(other) if other % NAMES == number % NAMES => return Ok(()),
            Ok(_) => self.remove(new_parent, new_name)?,
            Err(_) => {}
        }
        self.insert(new_parent, new_name, number)?;
        self.node(parent)?.entries.remove(name);
        Ok(())
    }
}

struct Numbers(Mutex<Tree>);

impl Numbers {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().expect("a whole tree")
    }
}

fn entry(reply: ReplyEntry, answer: Answer<FileAttr>) {
    match answer {
        Ok(facts) => reply.entry(&KEPT, &facts, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

fn empty(reply: ReplyEmpty, answer: Answer<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn shown(reply: ReplyAttr, answer: Answer<FileAttr>) {
    match answer {
        Ok(facts) => reply.attr(&KEPT, &facts),
        Err(errno) => reply.error(errno),
    }
}

fn perm(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("twelve bits")
}

impl Filesystem for Numbers {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.tree();
        let found = tree.find(parent.0, name).and_then(|found| tree.facts(found));
        entry(reply, found);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        shown(reply, self.tree().shown(number.0));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.tree();
        let Ok(node) = tree.node(number.0) else { return reply.error(Errno::ENOENT) };
        node.perm = mode.map_or(node.perm, perm);
        node.owner = (uid.unwrap_or(node.owner.0), gid.unwrap_or(node.owner.1));
        if let Some(size) = size {
            node.content.resize(usize::try_from(size).expect("a size"), 0);
            node.mtime = SystemTime::now();
        }
        node.mtime = match mtime {
            Some(TimeOrNow::SpecificTime(time)) => time,
            Some(TimeOrNow::Now) => SystemTime::now(),
            None => node.mtime,
        };
        node.ctime = SystemTime::now();
        shown(reply, tree.shown(number.0));
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.tree().node(number.0) {
            Ok(node) => reply.data(&node.content),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.tree().make(parent.0, name, Node::new(FileType::Directory, perm(mode))));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.tree().make(parent.0, name, Node::new(FileType::RegularFile, perm(mode))) {
            Ok(facts) => reply.created(&KEPT, &facts, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let content = target.as_os_str().as_bytes().to_vec();
        let node = Node { content, ..Node::new(FileType::Symlink, 0o777) };
        entry(reply, self.tree().make(parent.0, name, node));
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.tree().link(number.0, parent.0, name));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        // As most FUSE filesystems do.
        let renamed = if flags.is_empty() {
            self.tree().rename((parent.0, name), (new_parent.0, new_name))
        } else {
            Err(Errno::EINVAL)
        };
        empty(reply, renamed);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut tree = self.tree();
        let Ok(node) = tree.node(number.0) else { return reply.error(Errno::ENOENT) };
        let rest = usize::try_from(offset).ok().and_then(|offset| node.content.get(offset..));
        let rest = rest.unwrap_or_default();
        reply.data(rest.get(..size as usize).unwrap_or(rest));
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut tree = self.tree();
        let Ok(node) = tree.node(number.0) else { return reply.error(Errno::ENOENT) };
        let start = usize::try_from(offset).expect("an offset");
        let end = start + data.len();
        node.content.resize(node.content.len().max(end), 0);
        node.content[start..end].copy_from_slice(data);
        (node.mtime, node.ctime) = (SystemTime::now(), SystemTime::now());
        reply.written(u32::try_from(data.len()).expect("a length"));
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut tree = self.tree();
        let Ok(folder) = tree.node(number.0) else { return reply.error(Errno::ENOENT) };
        let from = usize::try_from(offset).expect("an offset");
        for (at, (name, node)) in folder.entries.iter().enumerate().skip(from) {
            if reply.add(INodeNo(*node), at as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}
