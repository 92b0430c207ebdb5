//! The two roots before a pass enters them: where they really are, and how they lie to each other.

use crate::entry::FileId;
use crate::fs::resolve::resolve;
use crate::fs::stat::entry_at_path;
use crate::problem::Relation;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Makes a folder and its missing parents. The folder itself is for this user only until the first pass has given it
/// the mode of the source.
///
/// # Errors
/// As `mkdir(2)`; `ENOTDIR` when something else is in the way.
pub fn create_with_parents(path: &Path) -> Result<(), Errno> {
    let as_errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(as_errno)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path).map_err(as_errno) {
        Err(Errno::EXIST) if path.is_dir() => Ok(()),
        created => created,
    }
}

/// How two roots lie to each other, if they are not apart. The source must exist; the replica need not.
///
/// Three looks, because each sees what the others cannot: the canonical paths (also where a root does not exist yet),
/// device and inode of every folder above (bind mounts of a root), and the place on the filesystem that
/// `/proc/self/mountinfo` gives (bind mounts of a folder inside a root).
///
/// # Errors
/// When a path cannot be resolved.
pub fn relation(source: &Path, replica: &Path) -> Result<Option<Relation>, Errno> {
    let (source, replica) = (resolved(source)?, resolved(replica)?);
    let by_path = compare(&source, &replica);
    let by_id = || {
        let (source_id, replica_id) = (id_of(&source), id_of(&replica));
        if source_id.is_some() && source_id == replica_id {
            Some(Relation::Same)
        } else if has_above(&replica, source_id) {
            Some(Relation::ReplicaInSource)
        } else if has_above(&source, replica_id) {
            Some(Relation::SourceInReplica)
        } else {
            None
        }
    };
    let by_mount = || {
        let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
        let (source_device, source_place) = place_on_filesystem(&mounts, &source)?;
        let (replica_device, replica_place) = place_on_filesystem(&mounts, &replica)?;
        if source_device == replica_device { compare(&source_place, &replica_place) } else { None }
    };
    Ok(by_path.or_else(by_id).or_else(by_mount))
}

/// Where `path` lies below `root`: the names from the root down, none when it lies elsewhere.
///
/// # Errors
/// When a path cannot be resolved.
pub fn position_below(root: &Path, path: &Path) -> Result<Option<PathBuf>, Errno> {
    let (root, path) = (resolved(root)?, resolved(path)?);
    if let Ok(below) = path.strip_prefix(&root) {
        return Ok(Some(below.to_path_buf()));
    }
    let Some(root_id) = id_of(&root) else { return Ok(None) };
    let above = path.ancestors().skip(1).find(|above| id_of(above) == Some(root_id));
    Ok(above.and_then(|above| path.strip_prefix(above).ok()).map(Path::to_path_buf))
}

/// The path with all symbolic links and `..` resolved, whether it exists or not.
fn resolved(path: &Path) -> Result<PathBuf, Errno> {
    let absolute =
        std::path::absolute(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(resolve(&absolute))
}

fn compare(source: &Path, replica: &Path) -> Option<Relation> {
    if source == replica {
        Some(Relation::Same)
    } else if replica.starts_with(source) {
        Some(Relation::ReplicaInSource)
    } else if source.starts_with(replica) {
        Some(Relation::SourceInReplica)
    } else {
        None
    }
}

fn id_of(path: &Path) -> Option<FileId> {
    entry_at_path(path).ok().map(|entry| entry.id)
}

fn has_above(path: &Path, id: Option<FileId>) -> bool {
    id.is_some() && path.ancestors().skip(1).any(|above| id_of(above) == id)
}

/// Device and path inside its filesystem of a resolved path, from the text of `/proc/self/mountinfo` (proc(5)): the
/// last mount whose mount point lies at or above the path.
fn place_on_filesystem(mounts: &[u8], path: &Path) -> Option<(Vec<u8>, PathBuf)> {
    let mut best: Option<(usize, Vec<u8>, PathBuf)> = None;
    for line in mounts.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ').skip(2);
        let (Some(device), Some(root), Some(point)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, point) = (unescape(root), unescape(point));
        let Ok(below) = path.strip_prefix(&point) else { continue };
        let depth = Path::new(&point).components().count();
        if best.as_ref().is_none_or(|(deepest, _, _)| depth >= *deepest) {
            let place: PathBuf = Path::new(&root).components().chain(below.components()).collect();
            best = Some((depth, device.to_vec(), place));
        }
    }
    best.map(|(_, device, place)| (device, place))
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'\\').then(|| after.get(..3)).flatten();
        let value = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match value {
            Some(value) => {
                out.push(value);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(out)
}

/// A path of the user as bytes.
pub fn bytes_of(path: &Path) -> &[u8] {
    OsStr::as_bytes(path.as_os_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_overlap_are_seen_under_any_name() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join(path);
        for folder in ["a", "a/inner", "b"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        std::os::unix::fs::symlink("a", at("link")).unwrap();
        let cases = [
            ("a", "b", None),
            ("a", "a2", None),
            ("a", "a", Some(Relation::Same)),
            ("a", "link", Some(Relation::Same)),
            ("a", "b/../a", Some(Relation::Same)),
            ("a", "a/inner", Some(Relation::ReplicaInSource)),
            ("a", "link/inner/not/yet/there", Some(Relation::ReplicaInSource)),
            ("a", "b/missing/../../a/x", Some(Relation::ReplicaInSource)),
            ("a/inner", "link", Some(Relation::SourceInReplica)),
            ("a/inner", "a", Some(Relation::SourceInReplica)),
        ];
        for (source, replica, expected) in cases {
            assert_eq!(relation(&at(source), &at(replica)), Ok(expected), "{source} and {replica}");
        }
    }

    #[test]
    fn a_bind_mount_of_an_inner_folder_is_found_in_mountinfo() {
        let mounts = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            40 22 254:0 /data/my\\040src/sub /mnt/bind rw - ext4 /dev/vda rw\n\
            41 22 0:50 / /data/tmp rw - tmpfs tmpfs rw\n";
        let place = |path: &str| place_on_filesystem(mounts, Path::new(path)).unwrap();
        assert_eq!(place("/mnt/bind/x"), (b"254:0".to_vec(), "/data/my src/sub/x".into()));
        assert_eq!(place("/data/my src"), (b"254:0".to_vec(), "/data/my src".into()));
        assert_eq!(place("/data/tmp/y"), (b"0:50".to_vec(), "/y".into()));
    }

    #[test]
    fn the_place_of_a_log_below_a_root_is_found() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join(path);
        std::fs::create_dir(at("a")).unwrap();
        std::os::unix::fs::symlink("a", at("link")).unwrap();
        assert_eq!(position_below(&at("a"), &at("link/logs/x.txt")), Ok(Some("logs/x.txt".into())));
        assert_eq!(position_below(&at("a"), &at("b/x.txt")), Ok(None));
        assert_eq!(position_below(&at("missing"), &at("missing/x.txt")), Ok(Some("x.txt".into())));
    }
}
