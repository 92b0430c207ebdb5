//! Looks at the places that a pass remembers: the way to a root, and mounts inside it.

use crate::fs::dir::Dir;
use crate::fs::magic::{filesystem_type, is_passing_type};
use crate::fs::resolve::resolve_past;
use crate::fs::stat::{entry_at, entry_at_path};
use crate::fs::{Errno, is_gone};
use crate::model::entry::Kind;
use crate::model::mounts::{Backing, Identity, Sight, Step, Way};
use crate::model::path::RelPath;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Every folder on the way to `path`, of which any part may be missing, and its target last; empty where that is deeper
/// than `PATH_MAX`. An autofs mount is mounted by this.
///
/// # Errors
/// As `getcwd(2)` and `statx(2)`, but absence is no error.
pub(crate) fn look(path: &Path) -> Result<Way, Errno> {
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
            // Relative to a very deep current folder: only the kernel can resolve that.
            Err(Errno::NAMETOOLONG) => return Ok(Way::new()),
            Err(errno) => return Err(errno),
        };
        way.push(Step { path, identity });
    }
    Ok(way)
}

/// The entry at a path below a root now; symbolic links are not followed.
pub(crate) fn look_inside(root: &Arc<Dir>, path: &RelPath) -> Sight {
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

/// The folder at a path below a root; symbolic links are not followed; none where there is no folder.
pub(crate) fn folder_at(root: &Arc<Dir>, path: &RelPath) -> Option<Arc<Dir>> {
    let mut dir = Arc::clone(root);
    for name in path.names() {
        let name = CString::new(name).ok()?;
        let entry = entry_at(dir.open().ok()?.as_fd(), &name).ok()?;
        dir = (entry.kind == Kind::Folder).then(|| dir.child(&name, entry.id))?;
    }
    Some(dir)
}

/// The backing of a mount that was met under `name`. An error counts as a disk.
pub(crate) fn backing(folder: &Arc<Dir>, name: &CStr, identity: &Identity) -> Backing {
    let opened = folder.child(name, identity.id).open();
    match opened.and_then(|fd| filesystem_type(&*fd)) {
        Ok(magic) if is_passing_type(magic) => Backing::Passing,
        Ok(_) | Err(_) => Backing::Lasting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_folder_on_the_way_is_seen_links_and_missing_ones_included() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("real/deep")).unwrap();
        fs::create_dir(base.join("other")).unwrap();
        symlink("../real", base.join("other/link")).unwrap();
        symlink(base.join("gone/far"), base.join("dangling")).unwrap();
        let cases: [(&str, &[(&str, bool)]); 5] = [
            ("real/deep", &[("real", true), ("real/deep", true)]),
            ("other/link/deep", &[("other", true), ("real", true), ("real/deep", true)]),
            ("real/missing/x", &[("real", true), ("real/missing", false), ("real/missing/x", false)]),
            ("dangling/x", &[("gone", false), ("gone/far", false), ("gone/far/x", false)]),
            ("real/deep/..", &[("real", true), ("real/deep", true), ("real", true)]),
        ];
        for (path, expected) in cases {
            let way = look(&base.join(path)).unwrap();
            assert_eq!(way[0].path, Path::new("/"), "{path}");
            let below: Vec<(&str, bool)> = way
                .iter()
                .filter_map(|step| {
                    Some((step.path.strip_prefix(&base).ok()?.to_str()?, step.identity.is_some()))
                })
                .filter(|(path, _)| !path.is_empty())
                .collect();
            assert_eq!(below, expected, "{path}");
        }
        let way = look(&base.join("real")).unwrap();
        let is_folder =
            |step: &Step| step.identity == Some(Identity::of(&entry_at_path(&step.path).unwrap()));
        assert!(way.iter().all(is_folder), "{way:?}");
    }

    #[test]
    fn a_place_inside_is_seen_without_following_links() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("a/b")).unwrap();
        fs::write(scratch.path().join("a/file"), "").unwrap();
        symlink("a", scratch.path().join("link")).unwrap();
        let root = Dir::root(scratch.path(), 4).unwrap();
        let path = |text: &str| RelPath::from_bytes(text.into());
        let here = |text: &str| {
            let facts = fs::symlink_metadata(scratch.path().join(text)).unwrap();
            std::os::unix::fs::MetadataExt::ino(&facts)
        };
        for there in ["a", "a/b", "a/file", "link"] {
            let Sight::Here(identity) = look_inside(&root, &path(there)) else { panic!("{there}") };
            assert_eq!(identity.id.inode, here(there), "{there}");
        }
        let cases = [
            ("x", Sight::Gone),
            ("a/x", Sight::Gone),
            ("a/b/x", Sight::Gone),
            ("x/y", Sight::Cleared),
            ("a/file/x", Sight::Cleared),
            ("link/b", Sight::Cleared),
            ("", Sight::Unknown),
        ];
        for (gone, expected) in cases {
            assert_eq!(look_inside(&root, &path(gone)), expected, "{gone}");
        }
        for (at, is_folder) in [("", true), ("a/b", true), ("a/file", false), ("link", false), ("x", false)] {
            assert_eq!(folder_at(&root, &path(at)).is_some(), is_folder, "{at}");
        }
    }

    #[test]
    fn what_is_behind_a_mount_is_known_by_its_type() {
        let root = Dir::root(Path::new("/"), 4).unwrap();
        let of = |name: &CStr| {
            let identity = Identity::of(&entry_at(root.open().unwrap().as_fd(), name).unwrap());
            backing(&root, name, &identity)
        };
        assert_eq!(of(c"proc"), Backing::Passing);
        let other = Identity { is_mount: true, ..Identity::of(&entry_at_path(Path::new("/")).unwrap()) };
        assert_eq!(backing(&root, c"proc", &other), Backing::Lasting, "something else by now");
    }
}
