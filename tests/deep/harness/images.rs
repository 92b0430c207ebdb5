//! Filesystems in image files, created and mounted for one check.

use crate::harness::kit::{Mount, has, try_sh};
use crate::support::scratch::Scratch;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

/// A filesystem in an image file.
pub(crate) struct Image {
    pub(crate) name: &'static str,
    pub(crate) size: u64,
    pub(crate) mkfs: &'static [&'static str],
    pub(crate) mount: &'static [&'static str],
}

pub(crate) const EXT4: Image =
    Image { name: "ext4", size: 64 << 20, mkfs: &["mkfs.ext4", "-q", "-F"], mount: &["mount", "-o", "loop"] };

pub(crate) const XFS: Image =
    Image { name: "xfs", size: 320 << 20, mkfs: &["mkfs.xfs", "-q", "-f"], mount: &["mount", "-o", "loop"] };

pub(crate) const BTRFS: Image = Image {
    name: "btrfs",
    size: 256 << 20,
    mkfs: &["mkfs.btrfs", "-q", "-f"],
    mount: &["mount", "-o", "loop"],
};

/// For a FUSE program that takes block devices only. The loop device disappears with its last descriptor.
const FUSE_BLOCK: &str = r#"device=$(losetup --find --show "$1") && { "$0" "$device" "$2"; code=$?; losetup -d "$device"; exit $code; }"#;

/// Case is ignored, and every file belongs to root.
pub(crate) const EXFAT_FUSE: Image = Image {
    name: "exfat-fuse",
    size: 256 << 20,
    mkfs: &["mkfs.exfat"],
    mount: &["sh", "-c", FUSE_BLOCK, "mount.exfat-fuse"],
};

/// A new filesystem, mounted.
pub(crate) fn mounted(place: &Scratch, image: &Image) -> Result<Mount, String> {
    let [mkfs, options @ ..] = image.mkfs else { return Err("no mkfs".into()) };
    if !has(mkfs) {
        return Err(format!("{mkfs} is not installed"));
    }
    let file = place.at("image");
    File::create(&file).and_then(|made| made.set_len(image.size)).map_err(|error| error.to_string())?;
    try_sh(mkfs, &words(options, &file))?;
    mounted_again(place, image)
}

/// Mounts the filesystem that [`mounted`] has created once more.
pub(crate) fn mounted_again(place: &Scratch, image: &Image) -> Result<Mount, String> {
    let [mount, options @ ..] = image.mount else { return Err("no mount".into()) };
    if !has(mount) {
        return Err(format!("{mount} is not installed"));
    }
    // Removes the name of the scratch folder, so that equal reasons are counted together.
    let scratch = place.path().to_string_lossy().into_owned();
    Mount::new(&place.at("mnt"), mount, &words(options, &place.at("image")))
        .map_err(|why| why.replace(&scratch, ""))
}

fn words<'a>(options: &'a [&'a str], file: &'a Path) -> Vec<&'a OsStr> {
    options.iter().map(OsStr::new).chain([file.as_os_str()]).collect()
}
