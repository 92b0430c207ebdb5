//! Filesystem operations that the standard library lacks, and contents for files.

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Sets the mtime and leaves the access time. Does not follow a symbolic link.
pub(crate) fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) -> std::io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(crate) fn mtime(path: &Path) -> (i64, i64) {
    let facts = fs::symlink_metadata(path).unwrap();
    (facts.mtime(), facts.mtime_nsec())
}

pub(crate) fn chmod(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

pub(crate) fn set_attribute(path: &Path, name: &str, value: &[u8]) -> std::io::Result<()> {
    Ok(rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty())?)
}

/// A POSIX ACL in the kernel's xattr format: the three classes, one named user, and the mask.
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

/// Creates a FIFO, socket or device node.
pub(crate) fn make_node(path: &Path, kind: FileType, device: u64) -> std::io::Result<()> {
    Ok(rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device)?)
}

/// Adds a hard link to an entry. Does not follow a symbolic link.
pub(crate) fn link(old: &Path, new: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::linkat(CWD, old, CWD, new, AtFlags::empty())?)
}

/// Creates a small tree: names that end in `/` are folders, all others files that contain their own name.
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

/// SHA-256 of a whole content at once, without the program's own code.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that do not compress, repeat or contain holes.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The bytes of a path, to search for them in a log.
pub(crate) fn bytes(path: &impl AsRef<OsStr>) -> &[u8] {
    path.as_ref().as_bytes()
}
