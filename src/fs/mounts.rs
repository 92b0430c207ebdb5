//! The mounts of the system, from `/proc/self/mountinfo` (proc(5)).

use crate::collections::HashSet;
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line: a mounted part of a filesystem, and its mount point.
#[derive(Debug)]
pub(super) struct Mount<'a> {
    /// The number of this mount.
    pub(super) id: u64,
    /// The mount that has the mount point.
    parent: u64,
    /// The device, as `major:minor`.
    pub(super) device: &'a [u8],
    /// The folder of the filesystem that is mounted.
    pub(super) root: PathBuf,
    /// The mount point.
    pub(super) point: PathBuf,
    /// True with the option `lazytime`: times are written to the disk up to a day later.
    is_lazy: bool,
}

/// A device, and a path inside its filesystem.
pub(super) type Place<'a> = (&'a [u8], PathBuf);

/// Reads all mounts.
///
/// # Errors
/// As `read(2)`.
pub(super) fn read() -> Result<Vec<u8>, Errno> {
    std::fs::read("/proc/self/mountinfo").map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

pub(super) fn parse(text: &[u8]) -> Vec<Mount<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// One mount; none for a line in another form, of which no field can be trusted.
fn parse_line(line: &[u8]) -> Option<Mount<'_>> {
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let mut fields = line.split(|byte| *byte == b' ');
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
    let mut root = unescape(root);
    // Options, optional fields up to a lone dash, then type and source. NFS shows `/` as the root of every mount: the
    // mounted part of the server is in the source, `host:/path`.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let (kind, source) = (fields.next(), fields.next());
    let is_lazy = fields
        .next()
        .is_some_and(|options| options.split(|byte| *byte == b',').any(|one| one == b"lazytime"));
    if let (Some(b"nfs" | b"nfs4"), Some(source)) = (kind, source)
        && let Some(colon) = source.windows(2).position(|pair| pair == b":/")
    {
        root = unescape(source.get(colon + 1..)?);
    }
    Some(Mount { id, parent, device, root: root.into(), point: unescape(point).into(), is_lazy })
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

/// The mount that a resolved path is on, found from the top of the system down, as the kernel does, from mount to
/// mount. None in a chroot(2) whose root is not listed.
pub(super) fn mount_of<'m, 'a>(mounts: &'m [Mount<'a>], path: &Path) -> Option<&'m Mount<'a>> {
    let listed: HashSet<u64> = mounts.iter().map(|mount| mount.id).collect();
    let mut at: Option<&Mount<'_>> = None;
    // Each step goes to another mount, so a kernel list never takes more steps than it has mounts.
    for _ in 0..mounts.len() {
        let is_next = |mount: &&Mount<'_>| {
            path.starts_with(&mount.point)
                && match at {
                    None => !listed.contains(&mount.parent),
                    // The root of this process stays in place when another mount covers it.
                    Some(at) => mount.parent == at.id && mount.id != at.id && mount.point != Path::new("/"),
                }
        };
        // The uppermost mount point comes first; of several mounts there the last one covers the others.
        let length = |mount: &&Mount<'_>| mount.point.components().count();
        let least = mounts.iter().filter(is_next).map(|mount| length(&mount)).min();
        let next = mounts.iter().rev().filter(is_next).find(|mount| Some(length(mount)) == least);
        match next {
            Some(next) => at = Some(next),
            None => break,
        }
    }
    at
}

/// Whether a resolved path lies on a mount with `lazytime`, or has one below it; true where that cannot be found out.
pub(crate) fn is_lazy(path: &Path) -> bool {
    let is_any = |mounts: &[Mount<'_>]| {
        let is_below = |mount: &Mount<'_>| mount.is_lazy && mount.point.starts_with(path);
        mount_of(mounts, path).is_some_and(|mount| mount.is_lazy) || mounts.iter().any(is_below)
    };
    read().map_or(true, |text| is_any(&parse(&text)))
}

/// The mount points below an open folder, as paths from there.
///
/// # Errors
/// As `readlink(2)` and `read(2)`.
pub(crate) fn points_below(folder: BorrowedFd<'_>) -> Result<Vec<PathBuf>, Errno> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let path = path.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let text = read()?;
    let points =
        parse(&text).into_iter().filter_map(|mount| Some(mount.point.strip_prefix(&path).ok()?.into()));
    Ok(points.filter(|point: &PathBuf| !point.as_os_str().is_empty()).collect())
}

/// The place of a resolved path on its filesystem.
pub(super) fn place_of<'a>(mounts: &[Mount<'a>], path: &Path) -> Option<Place<'a>> {
    place_on(mount_of(mounts, path)?, path)
}

/// The place of a path, as if it were on this mount.
fn place_on<'a>(mount: &Mount<'a>, path: &Path) -> Option<Place<'a>> {
    let below = path.strip_prefix(&mount.point).ok()?;
    Some((mount.device, mount.root.components().chain(below.components()).collect()))
}

/// All places that can be reached at and below a resolved path, and also those of hidden mounts, because the covering
/// mount may go.
pub(super) fn places_below<'a>(mounts: &[Mount<'a>], path: &Path) -> Vec<Place<'a>> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    let deepest = above.max_by_key(|mount| mount.point.components().count());
    let inside = mounts.iter().filter(|mount| mount.point.starts_with(path));
    place_of(mounts, path)
        .into_iter()
        .chain(deepest.and_then(|mount| place_on(mount, path)))
        .chain(inside.map(|mount| (mount.device, mount.root.clone())))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::test_strategies::{name, pure};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    pub(in crate::fs) const MOUNTS: &[u8] = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n\
        40 22 254:0 /data/my\\040src/sub /mnt/bind rw - ext4 /dev/vda rw\n\
        41 22 0:50 / /data/tmp rw - tmpfs tmpfs rw\n\
        42 22 0:51 / /data/src/pool rw - tmpfs tmpfs rw\n\
        43 22 0:51 /deep /backup/b/deep rw - tmpfs tmpfs rw\n\
        44 22 254:0 /vault /data/other/vault rw - ext4 /dev/vda rw\n\
        45 22 0:60 / /nas/home rw shared:7 - nfs4 nas:/vol/home rw\n\
        46 22 0:60 / /nas/backup rw shared:8 - nfs4 [fe80::1]:/vol/backup rw\n";

    #[test]
    fn a_bind_mount_of_an_inner_folder_is_found_in_mountinfo() {
        let mounts = parse(MOUNTS);
        let place = |path: &str| place_of(&mounts, Path::new(path)).unwrap();
        assert_eq!(place("/mnt/bind/x"), (&b"254:0"[..], "/data/my src/sub/x".into()));
        assert_eq!(place("/data/my src"), (&b"254:0"[..], "/data/my src".into()));
        assert_eq!(place("/data/tmp/y"), (&b"0:50"[..], "/y".into()));
    }

    #[test]
    fn the_mount_of_a_path_is_found_as_the_kernel_goes_down_to_it() {
        let text = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            30 22 8:1 / /a rw - ext4 /dev/sda1 rw\n\
            31 30 8:2 / /a/b rw - ext4 /dev/sda2 rw\n\
            32 22 8:1 / /x rw - ext4 /dev/sda1 rw\n\
            40 22 8:3 / /disk rw - ext4 /dev/sdb rw\n\
            41 40 0:50 / /disk rw - tmpfs tmpfs rw\n\
            50 22 8:4 / /mnt/deep rw - ext4 /dev/sdc rw\n\
            51 22 0:51 / /mnt rw - tmpfs tmpfs rw\n\
            60 22 0:52 / / rw - tmpfs tmpfs rw\n";
        let mounts = parse(text);
        let cases = [
            ("/", 22),
            ("/etc", 22),
            ("/a", 30),
            ("/a/c", 30),
            ("/a/b/c", 31),
            ("/ab", 22),
            ("/x", 32),
            // A plain bind mount does not show mounts on the other mount.
            ("/x/b/c", 32),
            // Mounted over an earlier mount.
            ("/disk/x", 41),
            // Hidden by a later mount above it.
            ("/mnt/deep/x", 51),
        ];
        for (path, expected) in cases {
            assert_eq!(mount_of(&mounts, Path::new(path)).map(|mount| mount.id), Some(expected), "{path}");
        }
        // In a chroot its own root is not listed.
        let inside = parse(b"30 22 8:1 / /a rw - ext4 /dev/sda1 rw\n");
        assert!(mount_of(&inside, Path::new("/etc")).is_none());
        assert_eq!(mount_of(&inside, Path::new("/a/x")).map(|mount| mount.id), Some(30));
    }

    #[test]
    fn what_others_hide_is_among_the_places_below_a_root() {
        let text = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            50 22 8:4 /in /mnt/deep rw - ext4 /dev/sdc rw\n\
            51 22 0:51 / /mnt rw - tmpfs tmpfs rw\n";
        let mounts = parse(text);
        let places = |path: &str| places_below(&mounts, Path::new(path));
        let hidden = (&b"8:4"[..], PathBuf::from("/in"));
        assert!(places("/").contains(&hidden) && places("/mnt").contains(&hidden));
        assert!(places("/mnt/deep/x").contains(&(b"8:4", "/in/x".into())));
        assert!(places("/mnt/deep/x").contains(&(b"0:51", "/deep/x".into())));
        assert_eq!(places("/etc"), [(&b"254:0"[..], "/etc".into()), (b"254:0", "/etc".into())]);
    }

    /// A field as the kernel writes it (`mangle` in fs/seq_file.c).
    fn mangled(path: &Path) -> Vec<u8> {
        let escaped = |byte: &u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            other => vec![*other],
        };
        path.as_os_str().as_bytes().iter().flat_map(escaped).collect()
    }

    pub(in crate::fs) fn absolute() -> impl Strategy<Value = PathBuf> {
        vec(name(), 0..4).prop_map(|names| {
            let names = names.iter().map(|name| OsStr::from_bytes(name.as_bytes()));
            let names = names.filter(|name| *name != "." && *name != "..");
            Path::new("/").join(names.collect::<PathBuf>())
        })
    }

    /// A mount: the earlier mount that it is on, its device, its folder there, its mount point.
    pub(in crate::fs) type Drawn = (usize, u8, PathBuf, PathBuf);

    pub(in crate::fs) fn mount() -> impl Strategy<Value = Drawn> {
        (0..4usize, 0..3u8, absolute(), absolute())
    }

    /// The lines of some mounts.
    pub(in crate::fs) fn mountinfo(mounts: &[Drawn]) -> Vec<u8> {
        let mut text = Vec::new();
        for (number, (parent, device, root, point)) in mounts.iter().enumerate() {
            let id = 22 + number;
            let parent = if number == 0 { 1 } else { 22 + parent % number };
            text.extend_from_slice(format!("{id} {parent} 0:{device} ").as_bytes());
            text.extend_from_slice(&mangled(root));
            text.push(b' ');
            text.extend_from_slice(&mangled(point));
            text.extend_from_slice(b" rw shared:1 - ext4 /dev/vda rw\n");
        }
        text
    }

    proptest! {
        #![proptest_config(pure())]

        #[test]
        fn mount_points_are_read_as_the_kernel_wrote_them(mounts in vec(mount(), 0..6)) {
            let text = mountinfo(&mounts);
            let read = parse(&text);
            prop_assert_eq!(read.len(), mounts.len());
            for (read, (_, device, root, point)) in read.iter().zip(&mounts) {
                let device = format!("0:{device}");
                prop_assert_eq!(read.device, device.as_bytes());
                prop_assert_eq!((&read.root, &read.point), (root, point));
            }
        }

        #[test]
        fn a_path_is_on_a_mount_at_or_above_it(mounts in vec(mount(), 0..6), path in absolute()) {
            let text = mountinfo(&mounts);
            let mounts = parse(&text);
            if let Some(mount) = mount_of(&mounts, &path) {
                prop_assert!(path.starts_with(&mount.point));
                let (device, below) = place_of(&mounts, &path).unwrap();
                prop_assert_eq!(device, mount.device);
                prop_assert!(below.starts_with(&mount.root));
            }
        }
    }
}
