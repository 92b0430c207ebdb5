//! A filesystem in memory that denies names which it lists, or refuses some names. Both can be switched on while a
//! program uses it.

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, SessionACL, TimeOrNow,
    WriteFlags,
};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// The oddities.
#[derive(Default)]
pub(crate) struct Oddities {
    /// Names that are denied: the error, and the number of good answers before it.
    ghosts: HashMap<String, (i32, usize)>,
    /// Letters that no new name may have.
    refused: Vec<char>,
    /// The number of listings from the first name on, of all folders.
    listings: usize,
}

/// The mounted filesystem.
pub(crate) struct Mounted {
    _session: BackgroundSession,
    oddities: Arc<Mutex<Oddities>>,
}

impl Mounted {
    /// Mounts a new one.
    pub(crate) fn new(at: &Path) -> io::Result<Mounted> {
        fs::create_dir_all(at)?;
        let oddities = Arc::<Mutex<Oddities>>::default();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("odd".to_owned())];
        config.acl = SessionACL::All;
        let mut tree = Tree { nodes: BTreeMap::new(), next: 2, oddities: Arc::clone(&oddities) };
        tree.nodes.insert(1, Node::new(FileType::Directory, 0o755));
        Ok(Mounted { _session: fuser::spawn_mount(Odd(Mutex::new(tree)), at, &config)?, oddities })
    }

    /// Lists a name from now on, in any folder, and denies it with this error after so many more lookups.
    pub(crate) fn deny(&self, name: &str, errno: i32, after: usize) {
        self.oddities().ghosts.insert(name.to_owned(), (errno, after));
    }

    /// Denies nothing any more.
    pub(crate) fn deny_nothing(&self) {
        self.oddities().ghosts.clear();
    }

    /// Refuses from now on names with one of these letters.
    pub(crate) fn refuse(&self, letters: &str) {
        self.oddities().refused = letters.chars().collect();
    }

    /// The number of listings since the last call.
    pub(crate) fn listings(&self) -> usize {
        std::mem::take(&mut self.oddities().listings)
    }

    fn oddities(&self) -> MutexGuard<'_, Oddities> {
        self.oddities.lock().expect("whole oddities")
    }
}

/// The kernel caches nothing.
const KEPT: Duration = Duration::ZERO;

struct Node {
    kind: FileType,
    perm: u16,
    owner: (u32, u32),
    mtime: SystemTime,
    ctime: SystemTime,
    links: u32,
    /// Of a file, or the target of a link.
    content: Vec<u8>,
    entries: BTreeMap<String, u64>,
}

impl Node {
    fn new(kind: FileType, perm: u16) -> Node {
        let now = SystemTime::now();
        let (content, entries) = Default::default();
        Node { kind, perm, owner: (0, 0), mtime: now, ctime: now, links: 1, content, entries }
    }

    fn change(&mut self) {
        (self.mtime, self.ctime) = (SystemTime::now(), SystemTime::now());
    }
}

type Answer<T> = Result<T, Errno>;

struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    oddities: Arc<Mutex<Oddities>>,
}

fn text(name: &OsStr) -> Answer<&str> {
    name.to_str().ok_or(Errno::EILSEQ)
}

impl Tree {
    fn oddities(&self) -> MutexGuard<'_, Oddities> {
        self.oddities.lock().expect("whole oddities")
    }

    fn node(&mut self, number: INodeNo) -> Answer<&mut Node> {
        self.nodes.get_mut(&number.0).ok_or(Errno::ENOENT)
    }

    /// The node of a name, unless that is denied.
    fn find(&mut self, parent: INodeNo, name: &str) -> Answer<u64> {
        let number = *self.node(parent)?.entries.get(name).ok_or(Errno::ENOENT)?;
        match self.oddities().ghosts.get_mut(name) {
            Some((errno, 0)) => Err(Errno::from_i32(*errno)),
            Some((_, after)) => {
                *after -= 1;
                Ok(number)
            }
            None => Ok(number),
        }
    }

    fn facts(&mut self, number: u64) -> Answer<FileAttr> {
        let node = self.node(INodeNo(number))?;
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

    fn insert(&mut self, parent: INodeNo, name: &str, number: u64) -> Answer<()> {
        if self.oddities().refused.iter().any(|letter| name.contains(*letter)) {
            return Err(Errno::EINVAL);
        }
        let folder = self.node(parent)?;
        if folder.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        folder.entries.insert(name.to_owned(), number);
        folder.change();
        Ok(())
    }

    fn make(&mut self, request: &Request, parent: INodeNo, name: &OsStr, node: Node) -> Answer<FileAttr> {
        let number = self.next;
        self.insert(parent, text(name)?, number)?;
        self.next += 1;
        self.nodes.insert(number, Node { owner: (request.uid(), request.gid()), ..node });
        self.facts(number)
    }

    fn remove(&mut self, parent: INodeNo, name: &OsStr, is_folder: bool) -> Answer<()> {
        let name = text(name)?;
        let number = self.find(parent, name)?;
        let node = self.node(INodeNo(number))?;
        match (node.kind == FileType::Directory, is_folder) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if !node.entries.is_empty() => return Err(Errno::ENOTEMPTY),
            // An open file stays readable: nodes are never dropped.
            _ => node.links = node.links.saturating_sub(1),
        }
        let folder = self.node(parent)?;
        folder.entries.remove(name);
        folder.change();
        Ok(())
    }

    fn rename(
        &mut self,
        (parent, name): (INodeNo, &OsStr),
        (new_parent, new_name): (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> Answer<()> {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return Err(Errno::EINVAL);
        }
        let (old, new) = (text(name)?, text(new_name)?);
        let number = self.find(parent, old)?;
        match self.find(new_parent, new) {
            Ok(_) if flags.contains(RenameFlags::RENAME_NOREPLACE) => return Err(Errno::EEXIST),
            Ok(other) => {
                let is_folder = self.node(INodeNo(other))?.kind == FileType::Directory;
                self.remove(new_parent, new_name, is_folder)?;
            }
            Err(_) => {}
        }
        self.insert(new_parent, new, number)?;
        let folder = self.node(parent)?;
        folder.entries.remove(old);
        folder.change();
        self.node(INodeNo(number))?.ctime = SystemTime::now();
        Ok(())
    }
}

struct Odd(Mutex<Tree>);

impl Odd {
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

fn attr(reply: ReplyAttr, answer: Answer<FileAttr>) {
    match answer {
        Ok(facts) => reply.attr(&KEPT, &facts),
        Err(errno) => reply.error(errno),
    }
}

fn empty(reply: ReplyEmpty, answer: Answer<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn perm(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("twelve bits")
}

impl Filesystem for Odd {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.tree();
        let found = text(name).and_then(|name| tree.find(parent, name)).and_then(|found| tree.facts(found));
        entry(reply, found);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attr(reply, self.tree().facts(number.0));
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
        let Ok(node) = tree.node(number) else { return reply.error(Errno::ENOENT) };
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
        attr(reply, tree.facts(number.0));
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.tree().node(number) {
            Ok(node) => reply.data(&node.content),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let node = Node::new(FileType::Directory, perm(mode));
        entry(reply, self.tree().make(request, parent, name, node));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let node = Node::new(FileType::RegularFile, perm(mode));
        match self.tree().make(request, parent, name, node) {
            Ok(facts) => reply.created(&KEPT, &facts, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let content = target.as_os_str().as_bytes().to_vec();
        let node = Node { content, ..Node::new(FileType::Symlink, 0o777) };
        entry(reply, self.tree().make(request, parent, name, node));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove(parent, name, false));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove(parent, name, true));
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
        empty(reply, self.tree().rename((parent, name), (new_parent, new_name), flags));
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
        let Ok(node) = tree.node(number) else { return reply.error(Errno::ENOENT) };
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
        let Ok(node) = tree.node(number) else { return reply.error(Errno::ENOENT) };
        let start = usize::try_from(offset).expect("an offset");
        let end = start + data.len();
        node.content.resize(node.content.len().max(end), 0);
        node.content[start..end].copy_from_slice(data);
        node.change();
        reply.written(u32::try_from(data.len()).expect("a length"));
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut tree = self.tree();
        let Ok(folder) = tree.node(number) else { return reply.error(Errno::ENOENT) };
        let entries: Vec<(String, u64)> =
            folder.entries.iter().map(|(name, number)| (name.clone(), *number)).collect();
        if offset == 0 {
            tree.oddities().listings += 1;
        }
        let from = usize::try_from(offset).expect("an offset");
        for (at, (name, node)) in entries.into_iter().enumerate().skip(from) {
            let kind = tree.node(INodeNo(node)).map_or(FileType::RegularFile, |node| node.kind);
            if reply.add(INodeNo(node), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
