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

/// Whether open descriptors can be reached under `/proc/self/fd` (proc(5)), as setting the mode of what cannot be opened,
/// and the extended attributes of symbolic links, need.
pub fn has_descriptor_paths() -> bool {
    Path::new("/proc/self/fd").is_dir()
}

/// How two roots lie to each other, if they are not apart. Neither has to exist.
///
/// Three looks, because each sees what the others cannot: the canonical paths (also where a root does not exist yet),
/// device and inode of every folder above (bind mounts of a root), and the places on their filesystems that
/// `/proc/self/mountinfo` gives for both roots and for everything mounted inside them (bind mounts of other folders).
///
/// # Errors
/// When a path or the mounts cannot be read.
pub fn relation(source: &Path, replica: &Path) -> Result<Option<Relation>, Errno> {
    let (source, replica) = (resolved(source)?, resolved(replica)?);
    if let Some(relation) = compare(&source, &replica) {
        return Ok(Some(relation));
    }
    let (source_id, replica_id) = (id_of(&source), id_of(&replica));
    if source_id.is_some() && source_id == replica_id {
        return Ok(Some(Relation::Same));
    }
    if has_above(&replica, source_id) {
        return Ok(Some(Relation::ReplicaInSource));
    }
    if has_above(&source, replica_id) {
        return Ok(Some(Relation::SourceInReplica));
    }
    let mounts = std::fs::read("/proc/self/mountinfo")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(relation_by_mounts(&parse_mounts(&mounts), &source, &replica))
}

/// Compares the places of the two roots and of everything mounted inside them.
fn relation_by_mounts(mounts: &[Mount<'_>], source: &Path, replica: &Path) -> Option<Relation> {
    let places = |root: &Path| -> Vec<Place<'_>> {
        let inside = mounts.iter().filter(|mount| mount.point.starts_with(root));
        place_of(mounts, root)
            .into_iter()
            .chain(inside.map(|mount| (mount.device, mount.root.clone())))
            .collect()
    };
    let (sources, replicas) = (places(source), places(replica));
    let roots = (place_of(mounts, source), place_of(mounts, replica));
    if let (Some((device, source)), Some((other, replica))) = &roots
        && device == other
        && let Some(relation) = compare(source, replica)
    {
        return Some(relation);
    }
    let overlap = sources.iter().any(|(device, place)| {
        replicas.iter().any(|(other, replica)| device == other && compare(place, replica).is_some())
    });
    overlap.then_some(Relation::Mounted)
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

/// One line of `/proc/self/mountinfo` (proc(5)): which part of which filesystem is mounted where.
struct Mount<'a> {
    device: &'a [u8],
    root: PathBuf,
    point: PathBuf,
}

/// A device, and a path inside its filesystem.
type Place<'a> = (&'a [u8], PathBuf);

fn parse_mounts(text: &[u8]) -> Vec<Mount<'_>> {
    let lines = text.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ').skip(2);
            let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
            let mut root = unescape(root);
            // Options, optional fields up to a lone dash, then type and source. NFS shows `/` as the root of everything:
            // which part of the server is mounted is told by the source, `host:/path`.
            let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
            if let (Some(b"nfs" | b"nfs4"), Some(source)) = (fields.next(), fields.next())
                && let Some(colon) = source.windows(2).position(|pair| pair == b":/")
            {
                root = unescape(source.get(colon + 1..)?);
            }
            Some(Mount { device, root: root.into(), point: unescape(point).into() })
        })
        .collect()
}

/// The place of a resolved path: below the last mount whose mount point lies deepest at or above it.
fn place_of<'a>(mounts: &[Mount<'a>], path: &Path) -> Option<Place<'a>> {
    let above = mounts.iter().filter_map(|mount| Some((mount, path.strip_prefix(&mount.point).ok()?)));
    let (mount, below) = above.max_by_key(|(mount, _)| mount.point.components().count())?;
    Some((mount.device, mount.root.components().chain(below.components()).collect()))
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
    use crate::proof::{bytes, name, pure};
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

    const MOUNTS: &[u8] = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n\
        40 22 254:0 /data/my\\040src/sub /mnt/bind rw - ext4 /dev/vda rw\n\
        41 22 0:50 / /data/tmp rw - tmpfs tmpfs rw\n\
        42 22 0:51 / /data/src/pool rw - tmpfs tmpfs rw\n\
        43 22 0:51 /deep /backup/b/deep rw - tmpfs tmpfs rw\n\
        44 22 254:0 /vault /data/other/vault rw - ext4 /dev/vda rw\n\
        45 22 0:60 / /nas/home rw shared:7 - nfs4 nas:/vol/home rw\n\
        46 22 0:60 / /nas/backup rw shared:8 - nfs4 [fe80::1]:/vol/backup rw\n";

    #[test]
    fn a_bind_mount_of_an_inner_folder_is_found_in_mountinfo() {
        let mounts = parse_mounts(MOUNTS);
        let place = |path: &str| place_of(&mounts, Path::new(path)).unwrap();
        assert_eq!(place("/mnt/bind/x"), (&b"254:0"[..], "/data/my src/sub/x".into()));
        assert_eq!(place("/data/my src"), (&b"254:0"[..], "/data/my src".into()));
        assert_eq!(place("/data/tmp/y"), (&b"0:50"[..], "/y".into()));
    }

    #[test]
    fn mounts_inside_the_roots_that_make_them_overlap_are_found() {
        let mounts = parse_mounts(MOUNTS);
        let cases = [
            ("/data/my src", "/mnt/bind", Some(Relation::ReplicaInSource)),
            ("/mnt/bind", "/data/my src", Some(Relation::SourceInReplica)),
            // A folder of a filesystem that the source has mounted is mounted inside the replica.
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

    /// A field as the kernel writes it (`mangle` in fs/seq_file.c).
    fn mangled(path: &Path) -> Vec<u8> {
        let escaped = |byte: &u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            other => vec![*other],
        };
        bytes_of(path).iter().flat_map(escaped).collect()
    }

    fn absolute() -> impl Strategy<Value = PathBuf> {
        vec(name(), 0..4).prop_map(|names| {
            let names = names.iter().map(|name| OsStr::from_bytes(name.as_bytes()));
            let names = names.filter(|name| *name != "." && *name != "..");
            Path::new("/").join(names.collect::<PathBuf>())
        })
    }

    proptest! {
        #![proptest_config(pure())]

        #[test]
        fn mount_points_are_read_as_the_kernel_wrote_them(mounts in vec((0..3u8, absolute(), absolute()), 0..6)) {
            let mut text = Vec::new();
            for (device, root, point) in &mounts {
                text.extend_from_slice(format!("22 1 0:{device} ").as_bytes());
                text.extend_from_slice(&mangled(root));
                text.push(b' ');
                text.extend_from_slice(&mangled(point));
                text.extend_from_slice(b" rw shared:1 - ext4 /dev/vda rw\n");
            }
            let read = parse_mounts(&text);
            prop_assert_eq!(read.len(), mounts.len());
            for (read, (device, root, point)) in read.iter().zip(&mounts) {
                let device = format!("0:{device}");
                prop_assert_eq!(read.device, device.as_bytes());
                prop_assert_eq!((&read.root, &read.point), (root, point));
            }
        }

        #[test]
        fn roots_that_overlap_do_so_whichever_is_the_source(
            mounts in vec((0..3u8, absolute(), absolute()), 0..6),
            one in absolute(),
            other in absolute(),
        ) {
            let device = |which: u8| [&b"0:0"[..], b"0:1", b"0:2"][usize::from(which)];
            let mounts: Vec<Mount<'_>> = mounts
                .into_iter()
                .map(|(which, root, point)| Mount { device: device(which), root, point })
                .collect();
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
            let mounts = parse_mounts(&text);
            prop_assert!(mounts.len() <= text.split(|byte| *byte == b'\n').count());
            relation_by_mounts(&mounts, &one, Path::new("/replica"));
        }
    }
}
