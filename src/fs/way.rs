//! Where a root lies and what is mounted inside: looks at places that a pass remembers.

use crate::entry::Kind;
use crate::fs::dir::Dir;
use crate::fs::resolve::resolve_past;
use crate::fs::stat::{entry_at, entry_at_path, filesystem_type, is_passing_type};
use crate::fs::{Errno, is_gone};
use crate::memory::{Backing, Identity, Sight, Step, Way};
use crate::path::RelPath;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Every folder on the way to `path`, of which any part may be missing, and last the place that it leads to; nothing where that
/// is deeper than `PATH_MAX`. What is mounted when somebody looks (autofs) is mounted then.
///
/// # Errors
/// As `getcwd(2)` and `statx(2)`, but that something is missing is no error.
pub fn look(path: &Path) -> Result<Way, Errno> {
    let absolute =
        std::path::absolute(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut passed: Vec<PathBuf> = Vec::new();
    let end = resolve_past(&absolute, |path| passed.push(path.to_path_buf()));
    // A path that ends in `..` has passed a folder below its end.
    if passed.last() != Some(&end) {
        passed.push(end);
    }
    let mut way = Way::new();
    for path in passed {
        let identity = match entry_at_path(&path) {
            Ok(entry) => Some(Identity::of(&entry)),
            Err(errno) if is_gone(errno) => None,
            // Relative to a current folder that lies very deep: only the kernel can go there.
            Err(Errno::NAMETOOLONG) => return Ok(Way::new()),
            Err(errno) => return Err(errno),
        };
        way.push(Step { path, identity });
    }
    Ok(way)
}

/// What is at a path below a root now, no symbolic link followed.
pub fn look_inside(root: &Arc<Dir>, path: &RelPath) -> Sight {
    let mut dir = Arc::clone(root);
    let mut names = path.names().peekable();
    while let Some(name) = names.next() {
        let (Ok(folder), Ok(name)) = (dir.open(), CString::new(name)) else { return Sight::Unknown };
        match (entry_at(folder.as_fd(), &name), names.peek()) {
            (Ok(entry), None) => return Sight::Here(Identity::of(&entry)),
            (Ok(entry), Some(_)) if entry.kind == Kind::Folder => dir = dir.child(&name, entry.id),
            (Err(Errno::NOENT), None) => return Sight::Gone,
            (Ok(_) | Err(Errno::NOENT), Some(_)) => return Sight::Cleared,
            (Err(_), _) => return Sight::Unknown,
        }
    }
    Sight::Unknown
}

/// The folder at a path below a root, no symbolic link followed; none where there is no folder.
pub fn folder_at(root: &Arc<Dir>, path: &RelPath) -> Option<Arc<Dir>> {
    let mut dir = Arc::clone(root);
    for name in path.names() {
        let name = CString::new(name).ok()?;
        let entry = entry_at(dir.open().ok()?.as_fd(), &name).ok()?;
        dir = (entry.kind == Kind::Folder).then(|| dir.child(&name, entry.id))?;
    }
    Some(dir)
}

/// What is behind a mount that was met under `name`. What cannot be found out is taken for a disk.
pub fn backing(folder: &Arc<Dir>, name: &CStr, identity: &Identity) -> Backing {
    let opened = folder.child(name, identity.id).open();
    match opened.and_then(|fd| filesystem_type(&*fd)) {
        Ok(magic) if is_passing_type(magic) => Backing::Passing,
        Ok(_) | Err(_) => Backing::Lasting,
    }
}
