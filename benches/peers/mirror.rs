//! Compares a replica with its source, within the claims of the program that made it. The tests have a stricter picture
//! of a tree in `tests/support/tree.rs`, with all contents in memory; here are a million files and 4 GiB.

use rayon::prelude::*;
use rustix::fs::OFlags;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The claims of a program beside names, kinds, contents and the targets of symbolic links.
#[derive(Clone, Copy)]
pub(crate) struct Claims {
    /// Mode and time of files.
    pub(crate) files: bool,
    /// Mode and time of folders.
    pub(crate) folders: bool,
    /// Time of symbolic links.
    pub(crate) links: bool,
    /// A file of its own in the replica, by its manual.
    pub(crate) own: Option<&'static str>,
}

/// The numbers of entries in a tree.
#[derive(Clone, Copy, Default)]
pub(crate) struct Inventory {
    pub(crate) files: u64,
    pub(crate) folders: u64,
    pub(crate) links: u64,
    pub(crate) bytes: u64,
}

/// The depth of a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Contents,
    /// For a run that had nothing to write.
    Facts,
}

/// Compares two trees; the differences in a few words, if any.
pub(crate) fn wrong(source: &Path, replica: &Path, claims: Claims, depth: Depth) -> Option<String> {
    let differences = below(source, replica, claims, depth);
    let first = differences.first()?;
    let more = differences.len() - 1;
    Some(if more == 0 { first.clone() } else { format!("{first}, and {more} more") })
}

fn below(source: &Path, replica: &Path, claims: Claims, depth: Depth) -> Vec<String> {
    let (ours, theirs) = match (names(source), names(replica)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (_, Err(error)) => return vec![format!("{}: {error}", shown(replica))],
        (Err(error), _) => return vec![format!("{}: {error}", shown(source))],
    };
    let extra = theirs.difference(&ours).filter(|name| claims.own.is_none_or(|own| name.as_os_str() != own));
    let mut differences: Vec<String> =
        extra.map(|name| format!("{} is too many", shown(&replica.join(name)))).collect();
    let ours: Vec<OsString> = ours.into_iter().collect();
    differences.par_extend(ours.par_iter().flat_map_iter(|name| {
        let (source, replica) = (source.join(name), replica.join(name));
        let Some(difference) = of_one(&source, &replica, claims, depth) else { return Vec::new() };
        match difference {
            Found::Folder => below(&source, &replica, claims, depth),
            Found::Different(what) => vec![format!("{what} of {}", shown(&replica))],
        }
    }));
    differences
}

enum Found {
    Folder,
    Different(&'static str),
}

fn of_one(source: &Path, replica: &Path, claims: Claims, depth: Depth) -> Option<Found> {
    let ours = fs::symlink_metadata(source).expect("the source");
    let Ok(theirs) = fs::symlink_metadata(replica) else { return Some(Found::Different("absence")) };
    if ours.file_type() != theirs.file_type() {
        return Some(Found::Different("kind"));
    }
    if ours.is_symlink() {
        let same = fs::read_link(source).expect("a target") == fs::read_link(replica).expect("a target");
        if !same {
            return Some(Found::Different("target"));
        }
        return (claims.links && time(&ours) != time(&theirs)).then_some(Found::Different("time"));
    }
    let claimed = if ours.is_dir() { claims.folders } else { claims.files };
    if claimed && time(&ours) != time(&theirs) {
        return Some(Found::Different("time"));
    }
    if claimed && ours.mode() != theirs.mode() {
        return Some(Found::Different("mode"));
    }
    if ours.is_dir() {
        return Some(Found::Folder);
    }
    let same = ours.len() == theirs.len() && (depth == Depth::Facts || have_same_content(source, replica));
    (!same).then_some(Found::Different("content"))
}

fn time(facts: &Metadata) -> (i64, i64) {
    (facts.mtime(), facts.mtime_nsec())
}

fn names(folder: &Path) -> std::io::Result<BTreeSet<OsString>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// The last two names of a path.
fn shown(path: &Path) -> String {
    let names: Vec<_> =
        path.components().rev().take(2).map(|name| name.as_os_str().to_string_lossy()).collect();
    names.into_iter().rev().collect::<Vec<_>>().join("/").escape_debug().to_string()
}

const PIECE: usize = 256 << 10;

thread_local! {
    static BUFFERS: RefCell<[Vec<u8>; 2]> = RefCell::new([vec![0; PIECE], vec![0; PIECE]]);
}

fn have_same_content(source: &Path, replica: &Path) -> bool {
    let (Ok(mut source), Ok(mut replica)) = (open(source), open(replica)) else { return false };
    BUFFERS.with_borrow_mut(|[ours, theirs]| {
        loop {
            let (Ok(count), Ok(other)) = (fill(&mut source, ours), fill(&mut replica, theirs)) else {
                return false;
            };
            if ours[..count] != theirs[..other] {
                return false;
            }
            if count < PIECE {
                return true;
            }
        }
    })
}

/// Leaves no trace: the next measured program would write a new access time back.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = i32::try_from(OFlags::NOATIME.bits()).expect("a flag of open(2)");
    let quiet = File::options().read(true).custom_flags(flags).open(path);
    // Only the owner may open with O_NOATIME.
    quiet.or_else(|_| File::open(path))
}

fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Reads everything in a tree once, so that it is in the page cache for the next reader, and counts it.
pub(crate) fn warm(folder: &Path) -> Inventory {
    let names: Vec<OsString> = names(folder).into_iter().flatten().collect();
    let inventories = names.par_iter().map(|name| {
        let path = folder.join(name);
        let Ok(facts) = fs::symlink_metadata(&path) else { return Inventory::default() };
        if facts.is_dir() {
            let mut below = warm(&path);
            below.folders += 1;
            return below;
        }
        if facts.is_symlink() {
            return Inventory { links: 1, ..Inventory::default() };
        }
        if let Ok(mut file) = open(&path) {
            BUFFERS.with_borrow_mut(
                |[buffer, _]| while fill(&mut file, buffer).is_ok_and(|count| count == PIECE) {},
            );
        }
        Inventory { files: 1, bytes: facts.len(), ..Inventory::default() }
    });
    inventories.reduce(Inventory::default, |one, other| Inventory {
        files: one.files + other.files,
        folders: one.folders + other.folders,
        links: one.links + other.links,
        bytes: one.bytes + other.bytes,
    })
}

/// Regular files and folders of a tree, in no order.
pub(crate) struct Listed {
    pub(crate) files: Vec<PathBuf>,
    /// With the root.
    pub(crate) folders: Vec<PathBuf>,
}

pub(crate) fn list(root: &Path) -> Listed {
    let mut listed = Listed { files: Vec::new(), folders: vec![root.to_owned()] };
    let mut next = 0;
    while let Some(folder) = listed.folders.get(next) {
        next += 1;
        for entry in fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable")) {
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                listed.folders.push(entry.path());
            } else if kind.is_file() {
                listed.files.push(entry.path());
            }
        }
    }
    listed
}
