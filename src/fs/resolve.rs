//! Resolves paths of the command line: the few lookups before anything is opened.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many symbolic links as the kernel follows in one path (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// True when an entry exists under the path; symbolic links are not followed. An error counts as absence.
pub(crate) fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// True when the path leads to a folder; symbolic links are followed. An error counts as no folder.
pub(crate) fn is_folder(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.is_dir())
}

/// The target of the symbolic link under a path; none where there is none, or it cannot be read.
pub(crate) fn link_target(path: &Path) -> Option<Vec<u8>> {
    let target = path.read_link().ok()?;
    Some(target.into_os_string().into_encoded_bytes())
}

/// Resolves the symbolic links, `.` and `..` of an absolute path, of which any part may be missing, as `realpath -m`
/// does.
///
/// Rejected: `canonicalize` of the longest existing part. It stops at a dangling link, and a source on an unmounted
/// disk looks just like that.
pub(crate) fn resolve(path: &Path) -> PathBuf {
    resolve_past(path, |_| {})
}

/// As [`resolve`], and passes every folder, file or missing name on the way to `pass`, `/` first. Of a symbolic link
/// only the target is passed.
pub(super) fn resolve_past(path: &Path, mut pass: impl FnMut(&Path)) -> PathBuf {
    let mut resolved = PathBuf::from("/");
    pass(&resolved);
    let mut ahead = names_backwards(path);
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            resolved.pop();
            continue;
        }
        resolved.push(&name);
        let target = (links < MAX_LINKS).then(|| std::fs::read_link(&resolved).ok()).flatten();
        let Some(target) = target else {
            pass(&resolved);
            continue;
        };
        links += 1;
        resolved.pop();
        if target.is_absolute() {
            resolved = PathBuf::from("/");
        }
        ahead.extend(names_backwards(&target));
    }
    resolved
}

fn names_backwards(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_is_resolved_even_where_it_leads_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().canonicalize().expect("it exists");
        std::fs::create_dir(base.join("real")).expect("created");
        symlink("real", base.join("link")).expect("linked");
        symlink(base.join("gone/deep"), base.join("dangling")).expect("linked");
        symlink("../x/./dangling", base.join("real/up")).expect("linked");
        symlink("loop", base.join("loop")).expect("linked");
        let cases = [
            ("real/a", "real/a"),
            ("link/a/b", "real/a/b"),
            ("link/..", ""),
            ("dangling/log", "gone/deep/log"),
            ("none/../real", "real"),
            ("none/./a//b", "none/a/b"),
            ("real/up", "x/dangling"),
        ];
        for (given, expected) in cases {
            let expected: PathBuf = base.join(expected).components().collect();
            assert_eq!(resolve(&base.join(given)), expected, "{given}");
        }
        assert!(resolve(&base.join("loop/a")).ends_with("loop/a"), "a loop ends");
        assert_eq!(resolve(Path::new("/../..")), Path::new("/"));
    }

    #[test]
    fn only_folders_are_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path();
        std::fs::write(base.join("file"), "").expect("written");
        symlink(".", base.join("link")).expect("linked");
        symlink("gone", base.join("dangling")).expect("linked");
        for (name, expected) in
            [("", true), ("file", false), ("link", true), ("dangling", false), ("none", false)]
        {
            assert_eq!(is_folder(&base.join(name)), expected, "{name}");
        }
    }
}
