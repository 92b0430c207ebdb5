//! Files that show no size, as on a server that generates them when they are read: one has an end, one has none, and
//! some fail to open at first, as files on tape.

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, ReplyXattr, Request,
};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The content of the finite file.
pub(crate) static DOCUMENT: [u8; 300_000] = [b'd'; 300_000];

/// The names, in the order of their inodes after the root.
const FIXED: [&str; 2] = ["document", "endless"];

/// The filesystem; `offline` is the number of files that cannot be opened.
pub(crate) struct NoSizes {
    pub(crate) offline: u64,
}

/// Mounts it until the result is dropped.
pub(crate) fn mounted(at: &Path, files: NoSizes) -> io::Result<fuser::BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("no-sizes".to_owned())];
    fuser::spawn_mount(files, at, &config)
}

const KEPT: Duration = Duration::from_secs(1);

impl NoSizes {
    fn names(&self) -> impl Iterator<Item = String> {
        let offline = (0..self.offline).map(|number| format!("offline {number}"));
        FIXED.into_iter().map(str::to_owned).chain(offline)
    }
}

fn facts(inode: u64) -> FileAttr {
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let is_folder = inode == 1;
    FileAttr {
        ino: INodeNo(inode),
        size: 0,
        blocks: 0,
        atime: moment,
        mtime: moment,
        ctime: moment,
        crtime: moment,
        kind: if is_folder { FileType::Directory } else { FileType::RegularFile },
        perm: if is_folder { 0o755 } else { 0o644 },
        nlink: if is_folder { 2 } else { 1 },
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for NoSizes {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = (2..).zip(self.names()).find(|(_, known)| parent.0 == 1 && OsStr::new(known) == name);
        match found {
            Some((inode, _)) => reply.entry(&KEPT, &facts(inode), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&KEPT, &facts(inode.0));
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if inode.0 >= 2 + FIXED.len() as u64 {
            return reply.error(Errno::EAGAIN);
        }
        // Without direct I/O the kernel would trust the size, and read nothing.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let size = size as usize;
        if inode.0 == 3 {
            return reply.data(&vec![b'e'; size]);
        }
        let rest = usize::try_from(offset).ok().and_then(|offset| DOCUMENT.get(offset..)).unwrap_or_default();
        reply.data(rest.get(..size).unwrap_or(rest));
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (number, name) in (0..).zip(self.names()).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(INodeNo(number + 2), number + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn listxattr(&self, _: &Request, _: INodeNo, size: u32, reply: ReplyXattr) {
        if size == 0 { reply.size(0) } else { reply.data(&[]) }
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::NO_XATTR);
    }
}
