//! The two roots before a pass enters them: their real paths, and their relation.

use crate::fs::is_gone;
use crate::fs::mounts::{self, Mount, mount_of, place_of, places_below};
use crate::fs::resolve::resolve;
use crate::fs::stat::entry_at_path;
use crate::model::entry::FileId;
use crate::model::error::Relation;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Creates a folder and its missing parents. The folder itself is private until the first pass has given it the mode of
/// the source.
///
/// # Errors
/// As `mkdir(2)`; `ENOTDIR` when another entry is in the way.
pub(crate) fn create_with_parents(path: &Path) -> Result<(), Errno> {
    let as_errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(as_errno)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path).map_err(as_errno) {
        Err(Errno::EXIST) if path.is_dir() => Ok(()),
        created => created,
    }
}

/// The folders that [`create_with_parents`] would make, the deepest first.
pub(crate) fn missing(path: &Path) -> Vec<PathBuf> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && folder.symlink_metadata().is_err();
    path.ancestors().take_while(is_missing).map(Path::to_owned).collect()
}

/// Removes folders that were made, as far as they are empty.
pub(crate) fn remove_made(folders: &[PathBuf]) {
    // An empty folder that stays does no harm, and the held pass tells its reason.
    let _ = folders.iter().try_for_each(std::fs::remove_dir);
}

/// Whether open descriptors can be reached under `/proc/self/fd` (proc(5)), which setting the mode of an unopenable
/// entry and the xattrs of symbolic links need.
pub(crate) fn has_descriptor_paths() -> bool {
    Path::new("/proc/self/fd").is_dir()
}

/// The relation of two roots, if they are not apart. Neither has to exist.
///
/// Three checks, because each covers a gap of the others: the canonical paths (also where a root does not exist yet),
/// device and inode of every folder above (bind mounts of a root), and the places on their filesystems that
/// `/proc/self/mountinfo` gives for both roots and for everything mounted inside them (bind mounts of other folders).
///
/// Only reachable places count: a plain bind mount of `/` does not show the mounts below `/`, so a disk that is mounted
/// there is no part of it. In doubt the roots overlap.
///
/// # Errors
/// When a path or the mounts cannot be read.
pub(crate) fn relation(source: &Path, replica: &Path) -> Result<Option<Relation>, Errno> {
    let (source, replica) = (resolved(source)?, resolved(replica)?);
    if let Some(relation) = compare(&source, &replica) {
        return Ok(Some(relation));
    }
    let (source_id, replica_id) = (id_of(&source), id_of(&replica));
    if source_id.is_some() && source_id == replica_id {
        return Ok(Some(Relation::Same));
    }
    let text = mounts::read()?;
    let mounts = mounts::parse(&text);
    if reached_from(&mounts, (&source, source_id), &replica).is_some() {
        return Ok(Some(Relation::ReplicaInSource));
    }
    if reached_from(&mounts, (&replica, replica_id), &source).is_some() {
        return Ok(Some(Relation::SourceInReplica));
    }
    Ok(relation_by_mounts(&mounts, &source, &replica))
}

/// The folder above `inner` that is `outer` under another path, if `inner` can be reached from `outer` as well.
///
/// The two paths to one folder may lie on two mounts of it (a bind mount), and a mount further down is on one of them
/// only: then the same names lead to other folders.
fn reached_from<'p>(
    mounts: &[Mount<'_>],
    (outer, outer_id): (&Path, Option<FileId>),
    inner: &'p Path,
) -> Option<&'p Path> {
    outer_id?;
    let is_reached = |above: &&Path| {
        // A missing folder would be created in the nearest existing one.
        let Some((nearest, id)) = inner.ancestors().find_map(|path| Some((path, id_of(path)?))) else {
            return true;
        };
        let Ok(names) = nearest.strip_prefix(above) else { return true };
        let is_crossed = match (mount_of(mounts, above), mount_of(mounts, nearest)) {
            (Some(one), Some(other)) => one.id != other.id,
            (_, None) | (None, _) => false,
        };
        // Both checks must agree. An error counts as reached.
        let is_elsewhere = match entry_at_path(&outer.join(names)) {
            Ok(entry) => entry.id != id,
            Err(errno) => is_gone(errno),
        };
        !(is_crossed && is_elsewhere)
    };
    inner.ancestors().skip(1).filter(|above| id_of(above) == outer_id).find(is_reached)
}

/// Compares the places of the two roots and of everything mounted inside them.
fn relation_by_mounts(mounts: &[Mount<'_>], source: &Path, replica: &Path) -> Option<Relation> {
    let roots = (place_of(mounts, source), place_of(mounts, replica));
    if let (Some((device, source)), Some((other, replica))) = &roots
        && device == other
        && let Some(relation) = compare(source, replica)
    {
        return Some(relation);
    }
    let (sources, replicas) = (places_below(mounts, source), places_below(mounts, replica));
    let overlap = sources.iter().any(|(device, place)| {
        replicas.iter().any(|(other, replica)| device == other && compare(place, replica).is_some())
    });
    overlap.then_some(Relation::Mounted)
}

/// The position of `path` below `root`: the names from the root down, none when it lies elsewhere.
///
/// # Errors
/// When a path or the mounts cannot be read.
pub(crate) fn position_below(root: &Path, path: &Path) -> Result<Option<PathBuf>, Errno> {
    let (root, path) = (resolved(root)?, resolved(path)?);
    if let Ok(below) = path.strip_prefix(&root) {
        return Ok(Some(below.to_path_buf()));
    }
    let root_id = id_of(&root);
    if root_id.is_none() || !path.ancestors().skip(1).any(|above| id_of(above) == root_id) {
        return Ok(None);
    }
    let text = mounts::read()?;
    let above = reached_from(&mounts::parse(&text), (&root, root_id), &path);
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

/// The bytes of a user's path.
pub(crate) fn bytes_of(path: &Path) -> &[u8] {
    OsStr::as_bytes(path.as_os_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::mounts::tests::{MOUNTS, absolute, mount, mountinfo};
    use crate::test_strategies::{bytes, pure};
    use proptest::collection::vec;
    use proptest::prelude::*;

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
    fn mounts_inside_the_roots_that_make_them_overlap_are_found() {
        let mounts = mounts::parse(MOUNTS);
        let cases = [
            ("/data/my src", "/mnt/bind", Some(Relation::ReplicaInSource)),
            ("/mnt/bind", "/data/my src", Some(Relation::SourceInReplica)),
            // A folder of a filesystem that the source has mounted is mounted inside the replica as well.
            ("/data/src", "/backup/b", Some(Relation::Mounted)),
            ("/data/src", "/backup/a", None),
            // The replica lies in a folder that is also mounted inside the source.
            ("/data/other", "/vault/replica", Some(Relation::Mounted)),
            ("/data/other", "/elsewhere", None),
            ("/data/tmp", "/data/src", None),
            ("/nas/home", "/nas/backup", None),
            ("/nas/home", "/nas/home/x", Some(Relation::ReplicaInSource)),
        ];
        for (source, replica, expected) in cases {
            let found = relation_by_mounts(&mounts, Path::new(source), Path::new(replica));
            assert_eq!(found, expected, "{source} and {replica}");
        }
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

    proptest! {
        #![proptest_config(pure())]

        #[test]
        fn roots_that_overlap_do_so_whichever_is_the_source(
            mounts in vec(mount(), 0..6),
            one in absolute(),
            other in absolute(),
        ) {
            let text = mountinfo(&mounts);
            let mounts = mounts::parse(&text);
            let there = relation_by_mounts(&mounts, &one, &other);
            let back = match relation_by_mounts(&mounts, &other, &one) {
                Some(Relation::ReplicaInSource) => Some(Relation::SourceInReplica),
                Some(Relation::SourceInReplica) => Some(Relation::ReplicaInSource),
                same => same,
            };
            prop_assert_eq!(there, back);
            if place_of(&mounts, &one).is_some() {
                let same = relation_by_mounts(&mounts, &one, &one);
                prop_assert_eq!(same, Some(Relation::Same));
            }
        }

        #[test]
        fn whatever_mountinfo_says_it_is_read_to_its_end(text in vec(bytes(), 0..20), one in absolute()) {
            let text = text.join(&b' ');
            let mounts = mounts::parse(&text);
            prop_assert!(mounts.len() <= text.split(|byte| *byte == b'\n').count());
            relation_by_mounts(&mounts, &one, Path::new("/replica"));
        }
    }
}
