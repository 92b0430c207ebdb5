//! A folder beside the two roots that nothing may read or change, and files that can prove to be whole.

use crate::support::dice::Dice;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use std::ffi::CString;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The repeated content of every file outside: any 32 bytes of a copy show it.
const MARKER: &[u8; 16] = b"\xf5SECRET-OUTSIDE\xf7";

pub(crate) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The folder `outside` of a place and its original state.
pub(crate) struct Outside {
    before: Tree,
}

impl Outside {
    /// Creates files and folders of these names there (a folder ends in `/`). The trees have the same names, so a
    /// program led outside finds them.
    pub(crate) fn new(place: &Scratch, names: &[&str]) -> Outside {
        let outside = place.at("outside");
        fs::create_dir_all(&outside).expect("created");
        for name in names {
            let path = outside.join(name);
            if name.ends_with('/') {
                fs::create_dir_all(&path).expect("created");
            } else {
                fs::create_dir_all(path.parent().expect("a parent")).expect("created");
                fs::write(&path, MARKER.repeat(50)).expect("written");
            }
        }
        Outside { before: Tree::of(&outside).stamped() }
    }

    /// Asserts that nothing outside was changed: neither a byte nor a ctime.
    pub(crate) fn assert_untouched(&self, place: &Scratch) {
        assert_same("something outside was touched", &self.before, &Tree::of(&place.at("outside")).stamped());
    }
}

/// Whether this is content of a file outside, or a part of it.
pub(crate) fn is_secret(content: &[u8]) -> bool {
    let starts = |at: usize| content.get(at..at + MARKER.len()) == Some(MARKER);
    content.iter().enumerate().any(|(at, byte)| *byte == MARKER[0] && starts(at))
}

/// Calls `see` with the path and the content of every regular file below a folder, temporaries included. The tree may
/// change meanwhile: vanished entries are left out, and no link is followed.
pub(crate) fn each_file(root: &Path, see: &mut impl FnMut(&[u8], &[u8])) {
    if let Ok(root) = rustix::fs::open(root, FOLDER, Mode::empty()) {
        each_file_in(root.as_fd(), &[], see);
    }
}

fn each_file_in(folder: BorrowedFd<'_>, path: &[u8], see: &mut impl FnMut(&[u8], &[u8])) {
    let Ok(listing) = rustix::fs::Dir::read_from(folder) else { return };
    let names: Vec<CString> = listing.flatten().map(|entry| entry.file_name().to_owned()).collect();
    for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
        let Ok(facts) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let path = [path, b"/", name.to_bytes()].concat();
        match FileType::from_raw_mode(facts.st_mode) {
            FileType::RegularFile => {
                if let Some(content) = read_in(folder, name) {
                    see(&path, &content);
                }
            }
            FileType::Directory => {
                if let Ok(below) = openat(folder, name, FOLDER, Mode::empty()) {
                    each_file_in(below.as_fd(), &path, see);
                }
            }
            FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {}
        }
    }
}

fn read_in(folder: BorrowedFd<'_>, name: &CString) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: OwnedFd = openat(folder, name, flags, Mode::empty()).ok()?;
    let mut content = Vec::new();
    fs::File::from(file).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Asserts that no regular file below a folder has content of the outside.
pub(crate) fn assert_no_secret(root: &Path) {
    each_file(root, &mut |path, content| {
        let name = path.escape_ascii();
        assert!(!is_secret(content), "{name} in {} has what lies outside", root.display());
    });
}

/// Content that includes its own length and checksum.
pub(crate) fn whole(dice: &mut Dice, size: usize) -> Vec<u8> {
    let bytes = dice.bytes(size);
    let mut content = format!("{size} {}\n", checksum(&bytes)).into_bytes();
    content.extend(bytes);
    content
}

/// Whether a content from [`whole`] is whole.
pub(crate) fn is_whole(content: &[u8]) -> bool {
    let Some(end) = content.iter().position(|byte| *byte == b'\n') else { return false };
    let (head, body) = content.split_at(end);
    let body = &body[1..];
    head == format!("{} {}", body.len(), checksum(body)).as_bytes()
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
