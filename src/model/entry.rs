//! One name in a folder and the facts that `statx` gives about it. Plain data: nothing here touches a disk.

use rustix::fs::{major, minor};
use serde::Serialize;
use std::fmt;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link; it is mirrored as a link and never followed.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket; it is never mirrored.
    Socket,
    /// A character device node.
    CharDevice,
    /// A block device node.
    BlockDevice,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Kind; 7] = [
        Kind::File,
        Kind::Folder,
        Kind::Symlink,
        Kind::Fifo,
        Kind::Socket,
        Kind::CharDevice,
        Kind::BlockDevice,
    ];

    /// The word for this kind in messages.
    pub fn word(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Folder => "folder",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::CharDevice => "character device",
            Kind::BlockDevice => "block device",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A point in time as the kernel stores it: seconds since 1970-01-01T00:00:00Z and nanoseconds into that second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds since the epoch; negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Milliseconds since 1970.
    pub(crate) fn millis(self) -> i64 {
        self.seconds.saturating_mul(1000).saturating_add(i64::from(self.nanoseconds / 1_000_000))
    }
}

/// Device and inode number: together they name one file as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number, major and minor joined as `makedev(3)` does.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// The `statx(2)` facts of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its kind.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (the low 12 bits of `st_mode`).
    pub mode: u16,
    /// Number of hard links.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device and inode.
    pub id: FileId,
    /// Bytes of content (regular files) or of the target (symbolic links).
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Device number of a device node, 0 for the rest.
    pub rdev: u64,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of content or facts; no program can set it.
    pub ctime: Timestamp,
    /// Creation of the inode, where the filesystem remembers it.
    pub btime: Option<Timestamp>,
    /// True where another filesystem (or a bind mount) is mounted at this name.
    pub is_mount: bool,
    /// True where the filesystem encrypts it, with or without its key.
    pub is_encrypted: bool,
}

impl Entry {
    /// True when fewer blocks are allocated than the size needs: the file has holes, or it is compressed.
    pub(crate) fn may_have_holes(&self) -> bool {
        self.kind == Kind::File && self.blocks.saturating_mul(512) < self.size
    }

    /// True when no fact that a write changes differs between two reads of one open file. The inode number may differ:
    /// some FUSE filesystems invent a new one for each read.
    pub(crate) fn is_unchanged_since(&self, earlier: &Entry) -> bool {
        self.kind == earlier.kind
            && self.size == earlier.size
            && self.mtime == earlier.mtime
            && self.ctime == earlier.ctime
    }
}

/// Major and minor number of a device in the form of `makedev(3)`: arithmetic, no system call.
pub(crate) fn device_numbers(device: u64) -> (u32, u32) {
    (major(device), minor(device))
}
