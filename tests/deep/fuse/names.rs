//! A filesystem in memory that treats several names as one, or shows other names than it was given.

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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// The rule by which names are altered, or are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Dots and spaces at the end are dropped, as by vfat.
    Trailer,
    /// The letter é is decomposed, as by HFS+.
    Decomposed,
    /// All is lower case, as with lowntfs-3g and `ignore_case`.
    Lower,
    /// Upper and lower case are one, and the given form is shown, as by exfat.
    AnyCase,
    /// The same, and each spelling gets an inode number of its own at its lookup, as by FUSE programs without inode
    /// numbers (exfat-fuse, sshfs); and a rename refuses all flags, RENAME_NOREPLACE among them.
    AnyCaseNumbered,
}

impl Rule {
    /// The form of a name that the filesystem keeps.
    fn kept(self, name: &str) -> String {
        match self {
            Rule::Trailer => name.trim_end_matches(['.', ' ']).to_owned(),
            Rule::Decomposed => name.replace('\u{e9}', "e\u{301}"),
            Rule::Lower => name.to_lowercase(),
            Rule::AnyCase | Rule::AnyCaseNumbered => name.to_owned(),
        }
    }

    /// The common form of all names that are one.
    fn key(self, name: &str) -> String {
        match self {
            Rule::AnyCase | Rule::AnyCaseNumbered => name.to_lowercase(),
            Rule::Trailer | Rule::Decomposed | Rule::Lower => self.kept(name),
        }
    }
}

/// Counters of calls.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) made: AtomicUsize,
    pub(crate) written: AtomicUsize,
    pub(crate) removed: AtomicUsize,
    pub(crate) renamed: AtomicUsize,
    /// A name that is denied to so many lookups.
    denied: Mutex<Option<(String, usize)>>,
}

impl Calls {
    /// Denies a name to so many lookups.
    pub(crate) fn deny(&self, name: &str, times: usize) {
        *self.denied.lock().expect("whole") = Some((name.to_owned(), times));
    }

    fn is_denied(&self, name: &OsStr) -> bool {
        match &mut *self.denied.lock().expect("whole") {
            Some((denied, times)) if *times > 0 && name == denied.as_str() => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    /// The files and folders created, writes, removals and renames since the last call.
    pub(crate) fn take(&self) -> [usize; 4] {
        [&self.made, &self.written, &self.removed, &self.renamed]
            .map(|count| count.swap(0, Ordering::Relaxed))
    }
}

/// The mounted filesystem.
pub(crate) struct Mounted {
    _session: BackgroundSession,
    pub(crate) calls: Arc<Calls>,
}

/// Mounts a new one.
pub(crate) fn mount(at: &Path, rule: Rule) -> io::Result<Mounted> {
    fs::create_dir_all(at)?;
    let calls = Arc::new(Calls::default());
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("names".to_owned())];
    config.acl = SessionACL::All;
    let mut tree = Tree { rule, nodes: BTreeMap::new(), numbers: HashMap::new(), next: 2 };
    tree.nodes.insert(1, Node::new(FileType::Directory, 0o755));
    let names = Names { tree: Mutex::new(tree), calls: Arc::clone(&calls) };
    Ok(Mounted { _session: fuser::spawn_mount(names, at, &config)?, calls })
}

/// The lifetime of the kernel's cache, as with libfuse.
const KEPT: Duration = Duration::from_secs(1);

struct Node {
    kind: FileType,
    perm: u16,
    owner: (u32, u32),
    mtime: SystemTime,
    ctime: SystemTime,
    links: u32,
    /// Of a file, or the target of a link.
    content: Vec<u8>,
    /// In a folder: by the common form of a name, the name that is shown and the node.
    entries: BTreeMap<String, (String, u64)>,
}

impl Node {
    fn new(kind: FileType, perm: u16) -> Node {
        let now = SystemTime::now();
        Node {
            kind,
            perm,
            owner: (0, 0),
            mtime: now,
            ctime: now,
            links: 1,
            content: Vec::new(),
            entries: BTreeMap::new(),
        }
    }
}

struct Tree {
    rule: Rule,
    nodes: BTreeMap<u64, Node>,
    /// With numbers for each spelling: the number of a folder and a spelling in it. It holds the node.
    numbers: HashMap<(u64, String), u64>,
    next: u64,
}

type Answer<T> = Result<T, Errno>;

fn text(name: &OsStr) -> Answer<&str> {
    name.to_str().ok_or(Errno::EILSEQ)
}

/// The first number of spellings; modulo this a number is its node.
const SPELLINGS: u64 = 1 << 40;

impl Tree {
    fn real(number: INodeNo) -> u64 {
        number.0 % SPELLINGS
    }

    fn node(&mut self, number: INodeNo) -> Answer<&mut Node> {
        self.nodes.get_mut(&Tree::real(number)).ok_or(Errno::ENOENT)
    }

    fn find(&mut self, parent: INodeNo, name: &str) -> Answer<u64> {
        let key = self.rule.key(name);
        Ok(self.node(parent)?.entries.get(&key).ok_or(Errno::ENOENT)?.1)
    }

    /// The number under which the kernel knows a node that it has looked up by this name.
    fn number(&mut self, parent: INodeNo, name: &str, node: u64) -> u64 {
        if self.rule != Rule::AnyCaseNumbered {
            return node;
        }
        let next = SPELLINGS * self.next + node;
        let number = *self.numbers.entry((Tree::real(parent), name.to_owned())).or_insert(next);
        // The spelling leads to another node by now.
        let number = if number % SPELLINGS == node { number } else { next };
        self.next += 1;
        self.numbers.insert((Tree::real(parent), name.to_owned()), number);
        number
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

    fn lookup(&mut self, parent: INodeNo, name: &OsStr) -> Answer<FileAttr> {
        let name = text(name)?;
        let node = self.find(parent, name)?;
        let number = self.number(parent, name, node);
        self.facts(number)
    }

    fn insert(&mut self, parent: INodeNo, name: &str, node: u64) -> Answer<()> {
        let (key, shown) = (self.rule.key(name), self.rule.kept(name));
        let folder = self.node(parent)?;
        if folder.entries.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        folder.entries.insert(key, (shown, node));
        folder.mtime = SystemTime::now();
        Ok(())
    }

    fn make(&mut self, parent: INodeNo, name: &OsStr, node: Node) -> Answer<FileAttr> {
        let number = self.next;
        self.next += 1;
        self.insert(parent, text(name)?, number)?;
        self.nodes.insert(number, node);
        self.lookup(parent, name)
    }

    fn remove(&mut self, parent: INodeNo, name: &OsStr, is_folder: bool) -> Answer<()> {
        let name = text(name)?;
        let number = self.find(parent, name)?;
        let node = self.node(INodeNo(number))?;
        match (node.kind == FileType::Directory, is_folder) {
            (true, false) => return Err(Errno::EISDIR),
            (false, true) => return Err(Errno::ENOTDIR),
            (true, true) if !node.entries.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => node.links = node.links.saturating_sub(1),
        }
        // An open file stays readable: nodes are never dropped.
        let key = self.rule.key(name);
        let folder = self.node(parent)?;
        folder.entries.remove(&key);
        folder.mtime = SystemTime::now();
        Ok(())
    }

    fn rename(
        &mut self,
        (parent, name): (INodeNo, &OsStr),
        (new_parent, new_name): (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> Answer<()> {
        let knows_flags = self.rule != Rule::AnyCaseNumbered;
        if flags.contains(RenameFlags::RENAME_EXCHANGE) || !(flags.is_empty() || knows_flags) {
            return Err(Errno::EINVAL);
        }
        let (old, new) = (text(name)?, text(new_name)?);
        let number = self.find(parent, old)?;
        match self.find(new_parent, new) {
            Ok(other) if other == number => {}
            Ok(_) if flags.contains(RenameFlags::RENAME_NOREPLACE) => return Err(Errno::EEXIST),
            Ok(other) => {
                let is_folder = self.node(INodeNo(other))?.kind == FileType::Directory;
                self.remove(new_parent, new_name, is_folder)?;
            }
            Err(_) => {}
        }
        let key = self.rule.key(old);
        self.node(parent)?.entries.remove(&key);
        self.insert(new_parent, new, number)?;
        // The kernel still knows it by its number.
        if let Some(known) = self.numbers.remove(&(Tree::real(parent), old.to_owned())) {
            self.numbers.insert((Tree::real(new_parent), new.to_owned()), known);
        }
        self.node(parent)?.mtime = SystemTime::now();
        Ok(())
    }
}

struct Names {
    tree: Mutex<Tree>,
    calls: Arc<Calls>,
}

impl Names {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("a whole tree")
    }

    fn made(&self, owner: &Request, parent: INodeNo, name: &OsStr, mut node: Node) -> Answer<FileAttr> {
        self.calls.made.fetch_add(1, Ordering::Relaxed);
        node.owner = (owner.uid(), owner.gid());
        self.tree().make(parent, name, node)
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

impl Filesystem for Names {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if self.calls.is_denied(name) {
            return reply.error(Errno::ENOENT);
        }
        entry(reply, self.tree().lookup(parent, name));
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
        entry(reply, self.made(request, parent, name, Node::new(FileType::Directory, perm(mode))));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        entry(reply, self.made(request, parent, name, Node::new(FileType::RegularFile, perm(mode))));
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
        match self.made(request, parent, name, Node::new(FileType::RegularFile, perm(mode))) {
            Ok(facts) => reply.created(&KEPT, &facts, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let content = target.as_os_str().as_bytes().to_vec();
        let node = Node { content, ..Node::new(FileType::Symlink, 0o777) };
        entry(reply, self.made(request, parent, name, node));
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.tree();
        let linked = text(name).and_then(|text| tree.insert(parent, text, Tree::real(number)));
        if linked.is_ok()
            && let Ok(node) = tree.node(number)
        {
            node.links += 1;
        }
        let facts = linked.and_then(|()| tree.lookup(parent, name));
        entry(reply, facts);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.calls.removed.fetch_add(1, Ordering::Relaxed);
        empty(reply, self.tree().remove(parent, name, false));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.calls.removed.fetch_add(1, Ordering::Relaxed);
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
        self.calls.renamed.fetch_add(1, Ordering::Relaxed);
        empty(reply, self.tree().rename((parent, name), (new_parent, new_name), flags));
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
        self.calls.written.fetch_add(1, Ordering::Relaxed);
        let mut tree = self.tree();
        let Ok(node) = tree.node(number) else { return reply.error(Errno::ENOENT) };
        let start = usize::try_from(offset).expect("an offset");
        let end = start + data.len();
        node.content.resize(node.content.len().max(end), 0);
        node.content[start..end].copy_from_slice(data);
        node.mtime = SystemTime::now();
        reply.written(u32::try_from(data.len()).expect("a length"));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut tree = self.tree();
        let Ok(folder) = tree.node(number) else { return reply.error(Errno::ENOENT) };
        let entries: Vec<(String, u64)> = folder.entries.values().cloned().collect();
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
