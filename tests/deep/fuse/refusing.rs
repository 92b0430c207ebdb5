//! A filesystem in memory that refuses some metadata, or sets it elsewhere. Its oddities can be changed while a program
//! uses it.

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, ReplyXattr, Request, SessionACL,
    TimeOrNow, WriteFlags,
};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// The oddities.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oddities {
    /// Everything belongs to nobody, and owners are refused (NFS with `root_squash`).
    pub(crate) squashes: bool,
    /// Giving an entry to this user, or to this group, is refused.
    pub(crate) refused_user: Option<u32>,
    pub(crate) refused_group: Option<u32>,
    /// Set-user-ID and set-group-ID bits are refused (systemd's `RestrictSUIDSGID`).
    pub(crate) refuses_setuid: bool,
    /// A request to set one time alone is dropped without an error (libfuse 2).
    pub(crate) drops_single_times: bool,
    /// Setting metadata of a link sets that of its target in the same folder (sshfs).
    pub(crate) follows_links: bool,
    /// No link can be read (sshfs, for links that lead out of its tree).
    pub(crate) hides_targets: bool,
    /// The number of further owner changes that are refused, of any entry.
    pub(crate) refused_owners: usize,
    /// Xattrs that every file lists, and the errors of reading them.
    pub(crate) unreadable: Vec<(&'static str, i32)>,
}

/// The mounted filesystem.
pub(crate) struct Mounted {
    _session: BackgroundSession,
    oddities: Arc<Mutex<Oddities>>,
}

impl Mounted {
    /// Mounts a new one that every user may write to.
    pub(crate) fn new(at: &Path, oddities: Oddities) -> io::Result<Mounted> {
        fs::create_dir_all(at)?;
        let oddities = Arc::new(Mutex::new(oddities));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("refusing".to_owned())];
        config.acl = SessionACL::All;
        let mut tree = Tree { nodes: BTreeMap::new(), next: 2, oddities: Arc::clone(&oddities) };
        tree.nodes.insert(1, Node::new(FileType::Directory, 0o777));
        Ok(Mounted { _session: fuser::spawn_mount(Refusing(Mutex::new(tree)), at, &config)?, oddities })
    }

    /// Sets other oddities from now on.
    pub(crate) fn set(&self, oddities: Oddities) {
        *self.oddities.lock().expect("whole oddities") = oddities;
    }
}

/// The kernel caches nothing.
const KEPT: Duration = Duration::ZERO;

const NOBODY: u32 = 65534;

/// The xattr of the ACL, whose entries show in the mode.
const ACCESS_LIST: &str = "system.posix_acl_access";

struct Node {
    kind: FileType,
    perm: u16,
    owner: (u32, u32),
    mtime: SystemTime,
    ctime: SystemTime,
    links: u32,
    parent: u64,
    /// Of a file, or the target of a link.
    content: Vec<u8>,
    entries: BTreeMap<OsString, u64>,
    attributes: BTreeMap<OsString, Vec<u8>>,
}

impl Node {
    fn new(kind: FileType, perm: u16) -> Node {
        let now = SystemTime::now();
        let (content, entries, attributes) = Default::default();
        Node {
            kind,
            perm,
            owner: (0, 0),
            mtime: now,
            ctime: now,
            links: 1,
            parent: 1,
            content,
            entries,
            attributes,
        }
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

impl Tree {
    fn oddities(&self) -> MutexGuard<'_, Oddities> {
        self.oddities.lock().expect("whole oddities")
    }

    fn node(&mut self, number: INodeNo) -> Answer<&mut Node> {
        self.nodes.get_mut(&number.0).ok_or(Errno::ENOENT)
    }

    fn find(&mut self, parent: INodeNo, name: &OsStr) -> Answer<u64> {
        self.node(parent)?.entries.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// The node that a change of an entry affects: its target, where links are followed.
    fn followed(&mut self, number: INodeNo) -> Answer<INodeNo> {
        let node = self.node(number)?;
        let (is_link, parent, target) =
            (node.kind == FileType::Symlink, node.parent, OsStr::from_bytes(&node.content).to_owned());
        if !is_link || !self.oddities().follows_links {
            return Ok(number);
        }
        let mut at = INodeNo(parent);
        for part in Path::new(&target).components() {
            at = match part.as_os_str().as_bytes() {
                b".." => INodeNo(self.node(at)?.parent),
                _ => INodeNo(self.find(at, part.as_os_str())?),
            };
        }
        Ok(at)
    }

    fn facts(&mut self, number: u64) -> Answer<FileAttr> {
        let squashes = self.oddities().squashes;
        let node = self.node(INodeNo(number))?;
        let owner = if squashes { (NOBODY, NOBODY) } else { node.owner };
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
            uid: owner.0,
            gid: owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn insert(&mut self, parent: INodeNo, name: &OsStr, number: u64) -> Answer<()> {
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
        self.insert(parent, name, number)?;
        self.next += 1;
        let owner = (request.uid(), request.gid());
        self.nodes.insert(number, Node { owner, parent: parent.0, ..node });
        self.facts(number)
    }

    fn remove(&mut self, parent: INodeNo, name: &OsStr, is_folder: bool) -> Answer<()> {
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
        let number = self.find(parent, name)?;
        match self.find(new_parent, new_name) {
            Ok(_) if flags.contains(RenameFlags::RENAME_NOREPLACE) => return Err(Errno::EEXIST),
            Ok(other) => {
                let is_folder = self.node(INodeNo(other))?.kind == FileType::Directory;
                self.remove(new_parent, new_name, is_folder)?;
            }
            Err(_) => {}
        }
        self.insert(new_parent, new_name, number)?;
        let folder = self.node(parent)?;
        folder.entries.remove(name);
        folder.change();
        let node = self.node(INodeNo(number))?;
        (node.ctime, node.parent) = (SystemTime::now(), new_parent.0);
        Ok(())
    }

    fn set_owner(&mut self, number: INodeNo, uid: Option<u32>, gid: Option<u32>) -> Answer<()> {
        if uid.is_none() && gid.is_none() {
            return Ok(());
        }
        let mut oddities = self.oddities();
        let is_refused = |id: Option<u32>, refused| id.is_some() && id == refused;
        let refuses = oddities.squashes
            || is_refused(gid, oddities.refused_group)
            || is_refused(uid, oddities.refused_user);
        if refuses || oddities.refused_owners > 0 {
            oddities.refused_owners = oddities.refused_owners.saturating_sub(1);
            return Err(Errno::EPERM);
        }
        drop(oddities);
        let node = self.node(number)?;
        node.owner = (uid.unwrap_or(node.owner.0), gid.unwrap_or(node.owner.1));
        Ok(())
    }

    /// Sets an xattr. An ACL shows in the mode: the mask as the group, and the other two classes.
    fn set_attribute(&mut self, number: INodeNo, name: &OsStr, value: &[u8]) -> Answer<()> {
        let number = self.followed(number)?;
        let node = self.node(number)?;
        node.attributes.insert(name.to_owned(), value.to_vec());
        if name == ACCESS_LIST {
            let bits = |tags: &[u8]| {
                let mut entries = value[4..].chunks_exact(8);
                tags.iter()
                    .find_map(|tag| entries.clone().find(|entry| entry[0] == *tag))
                    .or_else(|| entries.next())
                    .map_or(0, |entry| u16::from(entry[2]))
            };
            node.perm = node.perm & !0o777 | bits(&[1]) << 6 | bits(&[0x10, 4]) << 3 | bits(&[0x20]);
        }
        node.ctime = SystemTime::now();
        Ok(())
    }

    /// The xattrs that an entry lists.
    fn names(&mut self, number: INodeNo) -> Answer<Vec<u8>> {
        let number = self.followed(number)?;
        let unreadable: Vec<&str> = self.oddities().unreadable.iter().map(|(name, _)| *name).collect();
        let node = self.node(number)?;
        let extra = unreadable.into_iter().filter(|_| node.kind == FileType::RegularFile).map(OsStr::new);
        let own: Vec<&OsStr> = node.attributes.keys().map(OsString::as_os_str).collect();
        let extra = extra.filter(|name| !own.contains(name));
        let all: Vec<&OsStr> = own.iter().copied().chain(extra).collect();
        Ok(all.into_iter().flat_map(|name| name.as_bytes().iter().copied().chain([0])).collect())
    }

    fn attribute(&mut self, number: INodeNo, name: &OsStr) -> Answer<Vec<u8>> {
        let number = self.followed(number)?;
        let denied = self.oddities().unreadable.iter().find(|(denied, _)| name == *denied).copied();
        let node = self.node(number)?;
        match denied {
            Some((_, errno)) if node.kind == FileType::RegularFile => Err(Errno::from_i32(errno)),
            _ => node.attributes.get(name).cloned().ok_or(Errno::NO_XATTR),
        }
    }
}

struct Refusing(Mutex<Tree>);

impl Refusing {
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

fn bytes(reply: ReplyXattr, size: u32, answer: Answer<Vec<u8>>) {
    match answer {
        Ok(bytes) if size == 0 => reply.size(u32::try_from(bytes.len()).expect("a length")),
        Ok(bytes) if bytes.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(&bytes),
        Err(errno) => reply.error(errno),
    }
}

fn perm(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("twelve bits")
}

impl Filesystem for Refusing {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.tree();
        let found = tree.find(parent, name).and_then(|found| tree.facts(found));
        entry(reply, found);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree().facts(number.0) {
            Ok(facts) => reply.attr(&KEPT, &facts),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
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
        let target = match tree.followed(number).and_then(|at| tree.set_owner(at, uid, gid).map(|()| at)) {
            Ok(target) => target,
            Err(errno) => return reply.error(errno),
        };
        if mode.is_some_and(|mode| mode & 0o6000 != 0) && tree.oddities().refuses_setuid {
            return reply.error(Errno::EPERM);
        }
        let drops = tree.oddities().drops_single_times && atime.is_some() != mtime.is_some();
        let Ok(node) = tree.node(target) else { return reply.error(Errno::ENOENT) };
        node.perm = mode.map_or(node.perm, perm);
        if let Some(list) = node.attributes.get_mut(OsStr::new(ACCESS_LIST)).filter(|_| mode.is_some()) {
            for entry in list[4..].chunks_exact_mut(8) {
                // The owner, the mask and others; an ACL with named entries has a mask, and its owning group stays.
                let shift = match entry[0] {
                    1 => 6,
                    0x10 => 3,
                    0x20 => 0,
                    _ => continue,
                };
                entry[2] = u8::try_from(node.perm >> shift & 7).expect("three bits");
            }
        }
        if let Some(size) = size {
            node.content.resize(usize::try_from(size).expect("a size"), 0);
            node.mtime = SystemTime::now();
        }
        node.mtime = match mtime.filter(|_| !drops) {
            Some(TimeOrNow::SpecificTime(time)) => time,
            Some(TimeOrNow::Now) => SystemTime::now(),
            None => node.mtime,
        };
        node.ctime = SystemTime::now();
        match tree.facts(number.0) {
            Ok(facts) => reply.attr(&KEPT, &facts),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        let mut tree = self.tree();
        if tree.oddities().hides_targets {
            return reply.error(Errno::EPERM);
        }
        match tree.node(number) {
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
        let entries: Vec<(OsString, u64)> =
            folder.entries.iter().map(|(name, number)| (name.clone(), *number)).collect();
        let from = usize::try_from(offset).expect("an offset");
        for (at, (name, node)) in entries.into_iter().enumerate().skip(from) {
            let kind = tree.node(INodeNo(node)).map_or(FileType::RegularFile, |node| node.kind);
            if reply.add(INodeNo(node), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn setxattr(
        &self,
        _: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        empty(reply, self.tree().set_attribute(number, name, value));
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        bytes(reply, size, self.tree().attribute(number, name));
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        bytes(reply, size, self.tree().names(number));
    }

    fn removexattr(&self, _: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut tree = self.tree();
        let removed = tree
            .followed(number)
            .and_then(|at| tree.node(at)?.attributes.remove(name).map(drop).ok_or(Errno::NO_XATTR));
        empty(reply, removed);
    }
}
