//! Random edits of every kind to a source and a replica.

use super::fsops::{access_list, chmod, link, make_node, mtime, set_attribute, set_mtime};
use super::scratch::{Scratch, is_root};
use rustix::fs::{CWD, FileType, RenameFlags, renameat_with};
use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{Result as IoResult, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The entry that an edit creates at a path.
#[derive(Clone, Debug)]
pub(crate) enum Thing {
    Empty,
    Small(u8),
    Large(u8),
    /// Data at one position, with holes around it.
    Sparse(u8, u32),
    Folder,
    /// A folder with a few entries.
    Nest(u8),
    Symlink(u8),
    Fifo,
    Socket,
    Char(u8),
    Block(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Replica,
}

/// Picks one of the entries that exist when the edit is made.
pub(crate) type Pick = u16;

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Put(Pick, u8, Thing),
    /// New content of the same size, with the old mtime.
    Rewrite(Pick, u8),
    /// One byte of the content changed in place, with the old mtime.
    Flip(Pick, u32),
    Truncate(Pick, u8),
    Append(Pick, u8),
    Delete(Pick),
    Rename(Pick, Pick, u8),
    Swap(Pick, Pick),
    Chmod(Pick, u8),
    Chown(Pick, u8, u8),
    Mtime(Pick, u8),
    Attribute(Pick, u8, Option<u8>),
    AccessList(Pick, bool, Option<u8>),
    Link(Pick, Pick, u8),
    Unlink(Pick),
    /// Adds a hard link to an entry, outside of its tree.
    LinkToOutside(Pick, u8),
    /// Adds a hard link in the tree to a file outside.
    LinkFromOutside(Pick, u8, u8),
    /// Adds a hard link in the replica to a file of the source: at the same path, or elsewhere.
    LinkFromSource(Pick, Option<(Pick, u8)>),
}

/// Few names, so that both sides often use the same path.
fn name(pick: u8, limits: Limits) -> Vec<u8> {
    match pick % 20 {
        unfit @ (0..=8) if limits == Limits::PlainNames => vec![b'0' + unfit],
        0 => b"-rf".to_vec(),
        1 => b" two words ".to_vec(),
        2 => b"line\nbreak".to_vec(),
        3 => b"\xff\xfe not UTF-8 \x80".to_vec(),
        4 => vec![b'l'; 255],
        5 => b".file-sync-00112233445566778899aabbccddeeff.tmp".to_vec(),
        6 => b"...".to_vec(),
        7 => "\u{e4}\u{1f980}".as_bytes().to_vec(),
        8 => b"*?[\\]\"'$`".to_vec(),
        other => vec![b'a' + (other - 9)],
    }
}

pub(crate) fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| seed.wrapping_add((at / 7) as u8).wrapping_mul(31)).collect()
}

fn modes(is_folder: bool) -> &'static [u32] {
    match (is_root(), is_folder) {
        (true, _) => {
            &[0o644, 0o600, 0o000, 0o755, 0o4755, 0o2755, 0o1777, 0o6711, 0o444, 0o555, 0o2770, 0o7777]
        }
        // Modes that make an entry unreadable for this user are a problem, and have a test of their own.
        (false, true) => &[0o755, 0o700, 0o500, 0o555, 0o1777, 0o2755, 0o511],
        (false, false) => &[0o644, 0o600, 0o400, 0o444, 0o755, 0o4755, 0o2755, 0o6555, 0o1777],
    }
}

const TIMES: [(i64, i64); 8] = [
    (-1_000_000_000, 5),
    (-1, 999_999_999),
    (0, 0),
    (1_700_000_000, 123_456_789),
    (1_700_000_000, 123_456_788),
    (4_102_444_800, 1),
    (14_000_000_000, 999_999_999),
    (1_000_000_000_000, 7),
];

const OWNERS: [u32; 4] = [0, 1, 1000, 65534];

/// The limits of the filesystems under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    None,
    /// One of the two holds times until the year 2400 only.
    Until2400,
    /// One of the two holds files and folders with plain names, and little of their metadata.
    PlainNames,
}

pub(crate) struct World {
    pub(crate) scratch: Scratch,
    pub(crate) limits: Limits,
}

impl World {
    /// The number of [`TIMES`] that both sides can hold.
    fn times(&self) -> usize {
        if self.limits == Limits::None { TIMES.len() } else { TIMES.len() - 1 }
    }

    fn root(&self, side: Side) -> &Path {
        match side {
            Side::Source => &self.scratch.source,
            Side::Replica => &self.scratch.replica,
        }
    }

    /// All entries of a kind in a tree; the root first if it matches.
    fn all(&self, side: Side, wanted: impl Fn(FileType) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.root(side).to_path_buf()];
        while let Some(folder) = folders.pop() {
            if wanted(FileType::Directory) {
                found.push(folder.clone());
            }
            let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
            names.sort_by_key(|entry| entry.file_name());
            for entry in names {
                let kind = FileType::from_raw_mode(entry.path().symlink_metadata().unwrap().mode());
                if kind == FileType::Directory {
                    folders.push(entry.path());
                } else if wanted(kind) {
                    found.push(entry.path());
                }
            }
        }
        found
    }

    fn pick(&self, side: Side, pick: Pick, wanted: impl Fn(FileType) -> bool) -> Option<PathBuf> {
        let all = self.all(side, wanted);
        (!all.is_empty()).then(|| all[usize::from(pick) % all.len()].clone())
    }

    fn file(&self, side: Side, pick: Pick) -> Option<PathBuf> {
        self.pick(side, pick, |kind| kind == FileType::RegularFile)
    }

    fn any(&self, side: Side, pick: Pick) -> Option<PathBuf> {
        self.pick(side, pick, |_| true)
    }

    fn below(&self, side: Side, pick: Pick) -> Option<PathBuf> {
        self.any(side, pick).filter(|path| path != self.root(side))
    }

    /// A path for a new entry. The depth is limited, so that every path fits into a system call.
    fn place(&self, side: Side, pick: Pick, at: u8) -> Option<PathBuf> {
        let folder = self.pick(side, pick, |kind| kind == FileType::Directory)?;
        (folder.as_os_str().len() < 2000).then(|| folder.join(OsStr::from_bytes(&name(at, self.limits))))
    }

    pub(crate) fn edit(&self, side: Side, edit: &Edit) -> IoResult<()> {
        let done = || Ok(());
        match edit {
            Edit::Put(at, name, thing) => match self.place(side, *at, *name) {
                // NTFS has no symbolic link targets that are not UTF-8.
                Some(_) if self.limits == Limits::PlainNames && thing.has_odd_target() => done(),
                Some(path) => opened(path.parent().unwrap(), || put(&path, thing)),
                None => done(),
            },
            Edit::Rewrite(at, seed) => self.with_file(side, *at, |path| {
                let (seconds, nanoseconds) = mtime(path);
                let length = fs::metadata(path)?.len() as usize;
                fs::write(path, content(*seed, length))?;
                set_mtime(path, seconds, nanoseconds)
            }),
            Edit::Flip(at, position) => self.with_file(side, *at, |path| {
                let (seconds, nanoseconds) = mtime(path);
                let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
                let length = file.metadata()?.len();
                if length > 0 {
                    let mut byte = [0];
                    let position = u64::from(*position) % length;
                    file.read_exact_at(&mut byte, position)?;
                    file.write_all_at(&[byte[0] ^ 0x40], position)?;
                }
                set_mtime(path, seconds, nanoseconds)
            }),
            Edit::Truncate(at, part) => self.with_file(side, *at, |path| {
                let file = fs::OpenOptions::new().write(true).open(path)?;
                file.set_len(file.metadata()?.len() * u64::from(*part) / 256)
            }),
            Edit::Append(at, length) => self.with_file(side, *at, |path| {
                fs::OpenOptions::new()
                    .append(true)
                    .open(path)?
                    .write_all(&content(*length, usize::from(*length)))
            }),
            Edit::Delete(at) => match self.below(side, *at) {
                Some(path) => opened(path.parent().unwrap(), || remove(&path)),
                None => done(),
            },
            Edit::Rename(from, to, name) => match (self.below(side, *from), self.place(side, *to, *name)) {
                (Some(from), Some(to)) => opened(from.parent().unwrap(), || {
                    opened(to.parent().unwrap(), || opened(&from, || fs::rename(&from, &to)))
                }),
                _ => done(),
            },
            Edit::Swap(one, other) => match (self.below(side, *one), self.below(side, *other)) {
                (Some(one), Some(other)) => opened(one.parent().unwrap(), || {
                    opened(other.parent().unwrap(), || {
                        opened(&one, || {
                            opened(&other, || {
                                Ok(renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE)?)
                            })
                        })
                    })
                }),
                _ => done(),
            },
            Edit::Chmod(at, mode) => match self.pick(side, *at, |kind| kind != FileType::Symlink) {
                Some(path) => {
                    let modes = modes(path.is_dir());
                    let most = if self.limits == Limits::PlainNames { 0o777 } else { 0o7777 };
                    chmod(&path, modes[usize::from(*mode) % modes.len()] & most)
                }
                None => done(),
            },
            Edit::Chown(at, uid, gid) => match self.any(side, *at) {
                Some(path) if is_root() => {
                    let owner = |pick: u8| Some(OWNERS[usize::from(pick) % OWNERS.len()]);
                    std::os::unix::fs::lchown(path, owner(*uid), owner(*gid))
                }
                _ => done(),
            },
            Edit::Mtime(at, time) => match self.any(side, *at) {
                Some(path) => {
                    let (seconds, nanoseconds) = TIMES[usize::from(*time) % self.times()];
                    set_mtime(&path, seconds, nanoseconds)
                }
                None => done(),
            },
            Edit::Attribute(at, name, value) => match self.any(side, *at) {
                Some(path) => opened(&path, || edit_attribute(&path, *name, *value)),
                None => done(),
            },
            Edit::AccessList(at, of_new, permissions) => match self.any(side, *at) {
                Some(path) => {
                    let name = if *of_new { "system.posix_acl_default" } else { "system.posix_acl_access" };
                    match permissions {
                        Some(permissions) => {
                            let list =
                                access_list(1000 + u32::from(permissions / 8), u16::from(permissions % 8));
                            set_attribute(&path, name, &list)
                        }
                        None => Ok(rustix::fs::lremovexattr(&path, name)?),
                    }
                }
                None => done(),
            },
            Edit::Link(from, to, name) => {
                match (
                    self.pick(side, *from, |kind| kind != FileType::Directory),
                    self.place(side, *to, *name),
                ) {
                    (Some(from), Some(to)) if from != to => {
                        opened(to.parent().unwrap(), || replace_by_link(&from, &to))
                    }
                    _ => done(),
                }
            }
            Edit::Unlink(at) => self.with_file(side, *at, |path| {
                let content = fs::read(path)?;
                let (seconds, nanoseconds) = mtime(path);
                opened(path.parent().unwrap(), || {
                    fs::remove_file(path)?;
                    fs::write(path, &content)?;
                    set_mtime(path, seconds, nanoseconds)
                })
            }),
            Edit::LinkToOutside(at, name) => match self.pick(side, *at, |kind| kind != FileType::Directory) {
                Some(path) => link(&path, &self.scratch.outside.join(format!("further {name}"))),
                None => done(),
            },
            Edit::LinkFromOutside(to, name, which) => match self.place(side, *to, *name) {
                Some(to) => opened(to.parent().unwrap(), || {
                    replace_by_link(&self.scratch.outside.join(format!("given {}", which % 3)), &to)
                }),
                None => done(),
            },
            Edit::LinkFromSource(from, to) => {
                let Some(from) = self.pick(Side::Source, *from, |kind| kind != FileType::Directory) else {
                    return done();
                };
                let to = match to {
                    Some((at, name)) => self.place(Side::Replica, *at, *name),
                    None => Some(self.scratch.replica.join(from.strip_prefix(&self.scratch.source).unwrap())),
                };
                match to.filter(|to| to.parent().unwrap().is_dir()) {
                    Some(to) => opened(to.parent().unwrap(), || replace_by_link(&from, &to)),
                    None => done(),
                }
            }
        }
    }

    fn with_file(&self, side: Side, pick: Pick, work: impl FnOnce(&Path) -> IoResult<()>) -> IoResult<()> {
        match self.file(side, pick) {
            Some(path) => opened(&path, || work(&path)),
            None => Ok(()),
        }
    }
}

/// Makes an entry accessible to its owner for the duration of `work`, then restores its mode.
fn opened(path: &Path, work: impl FnOnce() -> IoResult<()>) -> IoResult<()> {
    let Ok(facts) = path.symlink_metadata() else { return work() };
    if is_root() || facts.is_symlink() || facts.mode() & 0o700 == 0o700 {
        return work();
    }
    chmod(path, facts.mode() & 0o7777 | 0o700)?;
    let result = work();
    if path.symlink_metadata().is_ok_and(|now| (now.ino(), now.dev()) == (facts.ino(), facts.dev())) {
        chmod(path, facts.mode() & 0o7777)?;
    }
    result
}

fn remove(path: &Path) -> IoResult<()> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(facts) if facts.is_dir() => {
            if !is_root() {
                let mut folders = vec![path.to_path_buf()];
                while let Some(folder) = folders.pop() {
                    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
                    for entry in fs::read_dir(&folder)? {
                        let entry = entry?;
                        if entry.file_type()?.is_dir() {
                            folders.push(entry.path());
                        }
                    }
                }
            }
            fs::remove_dir_all(path)
        }
        Ok(_) => fs::remove_file(path),
    }
}

fn replace_by_link(from: &Path, to: &Path) -> IoResult<()> {
    // Linked under another name first: the removed entry may contain `from`.
    let aside = to.with_file_name("aside");
    link(from, &aside)?;
    remove(to)?;
    fs::rename(&aside, to)?;
    // rename(2) does nothing when both names are links to the same inode.
    if aside.symlink_metadata().is_ok() { fs::remove_file(&aside) } else { Ok(()) }
}

fn target(which: u8) -> &'static [u8] {
    const TARGETS: [&[u8]; 6] = [b"a", b"nowhere", b"/etc/passwd", b"..", b"\xff\n", b"../outside/given 0"];
    TARGETS[usize::from(which) % TARGETS.len()]
}

impl Thing {
    /// Whether it has a symbolic link whose target is not UTF-8.
    fn has_odd_target(&self) -> bool {
        matches!(self, Thing::Symlink(which) | Thing::Nest(which) if target(*which).contains(&0xff))
    }
}

fn put(path: &Path, thing: &Thing) -> IoResult<()> {
    remove(path)?;
    match thing {
        Thing::Empty => fs::write(path, b""),
        Thing::Small(seed) => fs::write(path, content(*seed, 1 + usize::from(*seed % 9) * 1000)),
        Thing::Large(seed) => fs::write(path, content(*seed, (1 << 20) + usize::from(*seed))),
        Thing::Sparse(seed, position) => {
            let file = fs::File::create_new(path)?;
            file.set_len(3 << 20)?;
            file.write_all_at(&content(*seed, 5000), u64::from(*position) % (4 << 20))
        }
        Thing::Folder => fs::create_dir(path),
        Thing::Nest(seed) => {
            fs::create_dir(path)?;
            put(&path.join("a"), &Thing::Small(*seed))?;
            fs::create_dir(path.join("b"))?;
            put(&path.join("b/c"), &Thing::Symlink(*seed))?;
            link(&path.join("a"), &path.join("b/a"))?;
            put(&path.join("b/d"), &Thing::Fifo)?;
            chmod(&path.join("b"), 0o555)
        }
        Thing::Symlink(which) => symlink(OsStr::from_bytes(target(*which)), path),
        Thing::Fifo => make_node(path, FileType::Fifo, 0),
        Thing::Socket => make_node(path, FileType::Socket, 0),
        Thing::Char(_) | Thing::Block(_) if !is_root() => fs::write(path, b"no device"),
        Thing::Char(minor) => {
            make_node(path, FileType::CharacterDevice, rustix::fs::makedev(1, u32::from(minor % 4)))
        }
        Thing::Block(minor) => {
            make_node(path, FileType::BlockDevice, rustix::fs::makedev(7, u32::from(minor % 4)))
        }
    }
}

fn edit_attribute(path: &Path, name: u8, value: Option<u8>) -> IoResult<()> {
    const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let name = ["user.a", "user.b b", "trusted.t", "security.capability"][usize::from(name % 4)];
    match value {
        Some(_) if name == "security.capability" => set_attribute(path, name, &CAPABILITY),
        Some(value) => set_attribute(path, name, &content(value, usize::from(value % 40))),
        None => Ok(rustix::fs::lremovexattr(path, CString::new(name).unwrap())?),
    }
}
