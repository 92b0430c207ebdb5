//! Random trees of every kind of entry, random edits on both sides, a pass: the replica is the source, the source and
//! what lies outside are as they were, and a second pass finds nothing and writes nothing.
//!
//! `FILE_SYNC_PROOF=deep` runs thousands of cases; `PROPTEST_CASES` sets the number itself.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself may")]

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, RenameFlags, renameat_with};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{Result as IoResult, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use support::{
    Scratch, Tree, access_list, assert_same, chmod, is_root, link, make_node, mtime, pass, proof,
    set_attribute, set_mtime,
};

/// What an edit puts at a path.
#[derive(Clone, Debug)]
enum Thing {
    Empty,
    Small(u8),
    Large(u8),
    /// Data at a position, holes around it.
    Sparse(u8, u32),
    Folder,
    /// A folder with some things in it.
    Nest(u8),
    Symlink(u8),
    Fifo,
    Socket,
    Char(u8),
    Block(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Replica,
}

/// Picks one of what there is when the edit is made.
type Pick = u16;

#[derive(Clone, Debug)]
enum Edit {
    Put(Pick, u8, Thing),
    /// New content of the same size, and the old modification time.
    Rewrite(Pick, u8),
    /// One byte of the content, in place, and the old modification time.
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
    /// Gives an entry a further name outside of its tree.
    LinkToOutside(Pick, u8),
    /// Puts a further name of a file outside into the tree.
    LinkFromOutside(Pick, u8, u8),
    /// Puts a further name of a file of the source into the replica: at the same path, or elsewhere.
    LinkFromSource(Pick, Option<(Pick, u8)>),
}

/// Few names, so that both sides often mean the same path.
fn name(pick: u8) -> Vec<u8> {
    match pick % 20 {
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

fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| seed.wrapping_add((at / 7) as u8).wrapping_mul(31)).collect()
}

fn modes(is_folder: bool) -> &'static [u32] {
    match (is_root(), is_folder) {
        (true, _) => {
            &[0o644, 0o600, 0o000, 0o755, 0o4755, 0o2755, 0o1777, 0o6711, 0o444, 0o555, 0o2770, 0o7777]
        }
        // What this user cannot read is a problem, and has a test of its own.
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

struct World {
    scratch: Scratch,
}

impl World {
    fn root(&self, side: Side) -> &Path {
        match side {
            Side::Source => &self.scratch.source,
            Side::Replica => &self.scratch.replica,
        }
    }

    /// Everything in a tree that is of a kind, the root first where it is one.
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

    /// A place for something new: not too deep, so that every path fits into a system call.
    fn place(&self, side: Side, pick: Pick, at: u8) -> Option<PathBuf> {
        let folder = self.pick(side, pick, |kind| kind == FileType::Directory)?;
        (folder.as_os_str().len() < 2000).then(|| folder.join(OsStr::from_bytes(&name(at))))
    }

    fn edit(&self, side: Side, edit: &Edit) -> IoResult<()> {
        let done = || Ok(());
        match edit {
            Edit::Put(at, name, thing) => match self.place(side, *at, *name) {
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
                    chmod(&path, modes[usize::from(*mode) % modes.len()])
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
                    let (seconds, nanoseconds) = TIMES[usize::from(*time) % TIMES.len()];
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

/// Lets an ordinary user work on an entry of his whose mode forbids it, and sets that mode again.
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
    // Linked under another name first: what is removed may hold what is to be linked.
    let aside = to.with_file_name("aside");
    link(from, &aside)?;
    remove(to)?;
    fs::rename(&aside, to)?;
    // Nothing is renamed when both are the same file.
    if aside.symlink_metadata().is_ok() { fs::remove_file(&aside) } else { Ok(()) }
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
        Thing::Symlink(which) => {
            let targets: [&[u8]; 6] =
                [b"a", b"nowhere", b"/etc/passwd", b"..", b"\xff\n", b"../outside/given 0"];
            symlink(OsStr::from_bytes(targets[usize::from(*which) % targets.len()]), path)
        }
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

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        1 => Just(Thing::Empty),
        5 => any::<u8>().prop_map(Thing::Small),
        1 => any::<u8>().prop_map(Thing::Large),
        1 => any::<(u8, u32)>().prop_map(|(seed, at)| Thing::Sparse(seed, at)),
        3 => Just(Thing::Folder),
        2 => any::<u8>().prop_map(Thing::Nest),
        2 => any::<u8>().prop_map(Thing::Symlink),
        1 => Just(Thing::Fifo),
        1 => Just(Thing::Socket),
        1 => any::<u8>().prop_map(Thing::Char),
        1 => any::<u8>().prop_map(Thing::Block),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let pick = any::<Pick>;
    let byte = any::<u8>;
    prop_oneof![
        6 => (pick(), byte(), thing()).prop_map(|(at, name, thing)| Edit::Put(at, name, thing)),
        2 => (pick(), byte()).prop_map(|(at, seed)| Edit::Rewrite(at, seed)),
        2 => (pick(), any::<u32>()).prop_map(|(at, position)| Edit::Flip(at, position)),
        1 => (pick(), byte()).prop_map(|(at, part)| Edit::Truncate(at, part)),
        1 => (pick(), byte()).prop_map(|(at, length)| Edit::Append(at, length)),
        2 => pick().prop_map(Edit::Delete),
        2 => (pick(), pick(), byte()).prop_map(|(from, to, name)| Edit::Rename(from, to, name)),
        2 => (pick(), pick()).prop_map(|(one, other)| Edit::Swap(one, other)),
        2 => (pick(), byte()).prop_map(|(at, mode)| Edit::Chmod(at, mode)),
        2 => (pick(), byte(), byte()).prop_map(|(at, uid, gid)| Edit::Chown(at, uid, gid)),
        2 => (pick(), byte()).prop_map(|(at, time)| Edit::Mtime(at, time)),
        3 => (pick(), byte(), any::<Option<u8>>()).prop_map(|(at, name, value)| Edit::Attribute(at, name, value)),
        2 => (pick(), any::<bool>(), any::<Option<u8>>()).prop_map(|(at, of_new, permissions)| {
            Edit::AccessList(at, of_new, permissions)
        }),
        3 => (pick(), pick(), byte()).prop_map(|(from, to, name)| Edit::Link(from, to, name)),
        1 => pick().prop_map(Edit::Unlink),
        1 => (pick(), byte()).prop_map(|(at, name)| Edit::LinkToOutside(at, name)),
        1 => (pick(), byte(), byte()).prop_map(|(to, name, which)| Edit::LinkFromOutside(to, name, which)),
        1 => (pick(), any::<Option<(Pick, u8)>>()).prop_map(|(from, to)| Edit::LinkFromSource(from, to)),
    ]
}

/// Edits that make and break hard links, between few names and few contents, so that the groups of the two sides
/// overlap in every way.
fn link_edit() -> impl Strategy<Value = Edit> {
    let pick = any::<Pick>;
    let name = || 9..15u8;
    let thing = prop_oneof![
        3 => (0..2u8).prop_map(Thing::Small),
        1 => Just(Thing::Folder),
        1 => Just(Thing::Fifo),
        1 => Just(Thing::Symlink(0)),
        1 => Just(Thing::Nest(0)),
    ];
    prop_oneof![
        4 => (pick(), name(), thing).prop_map(|(at, name, thing)| Edit::Put(at, name, thing)),
        8 => (pick(), pick(), name()).prop_map(|(from, to, name)| Edit::Link(from, to, name)),
        2 => pick().prop_map(Edit::Unlink),
        2 => pick().prop_map(Edit::Delete),
        2 => (pick(), pick(), name()).prop_map(|(from, to, name)| Edit::Rename(from, to, name)),
        2 => (pick(), pick()).prop_map(|(one, other)| Edit::Swap(one, other)),
        1 => (pick(), 0..2u32).prop_map(|(at, position)| Edit::Flip(at, position)),
        2 => (pick(), 0..3u8).prop_map(|(at, mode)| Edit::Chmod(at, mode)),
        1 => (pick(), 0..3u8).prop_map(|(at, time)| Edit::Mtime(at, time)),
        1 => (pick(), any::<u8>()).prop_map(|(at, name)| Edit::LinkToOutside(at, name)),
        1 => (pick(), name(), any::<u8>()).prop_map(|(to, name, which)| Edit::LinkFromOutside(to, name, which)),
        2 => (pick(), proptest::option::of((pick(), name()))).prop_map(|(from, to)| Edit::LinkFromSource(from, to)),
    ]
}

/// What happens between two passes.
#[derive(Clone, Debug)]
struct Round {
    edits: Vec<(Side, Edit)>,
    threads: usize,
    dry_run_first: bool,
}

fn round(edit: impl Strategy<Value = Edit>, most: usize) -> impl Strategy<Value = Round> {
    let side = prop_oneof![3 => Just(Side::Source), 2 => Just(Side::Replica)];
    (vec((side, edit), 1..most), 1..5usize, any::<bool>()).prop_map(|(edits, threads, dry_run_first)| Round {
        edits,
        threads,
        dry_run_first,
    })
}

/// A tree, and rounds of edits.
fn story() -> impl Strategy<Value = (Vec<Edit>, Vec<Round>)> {
    (vec(edit(), 5..40), vec(round(edit(), 14), 1..5))
}

/// The same of hard links.
fn link_story() -> impl Strategy<Value = (Vec<Edit>, Vec<Round>)> {
    (vec(link_edit(), 5..20), vec(round(link_edit(), 12), 1..5))
}

/// Edits, then passes, then everything that has to hold.
fn check(world: &World, round: &Round) {
    for (side, edit) in &round.edits {
        // Many an edit makes no sense where it lands; then nothing happens.
        let _ = world.edit(*side, edit);
    }
    let scratch = &world.scratch;
    let (source, replica, outside) =
        (Tree::of(&scratch.source), Tree::of(&scratch.replica), Tree::of(&scratch.outside));
    if round.dry_run_first {
        let passed = pass(&mut scratch.mirror_with(round.threads, true));
        assert_eq!(passed.seen.problems, []);
        assert_same("a dry run wrote", &replica.clone().stamped(), &Tree::of(&scratch.replica).stamped());
        let is_same =
            support::differences(&source, &replica).is_empty() && replica.shared_outside().is_empty();
        assert!(
            passed.report.counts.operations() > 0 || is_same,
            "a dry run plans nothing for two trees that differ"
        );
    }

    let mut mirror = scratch.mirror(round.threads);
    pass(&mut mirror).assert_clean();
    let mirrored = Tree::of(&scratch.replica);
    assert_same("the replica is not the source", &source, &mirrored);
    assert_eq!(mirrored.shared_outside(), [""; 0], "the replica shares files with something outside");
    assert_same("something outside changed", &outside, &Tree::of(&scratch.outside));
    assert_untouched(&source, &replica, &Tree::of(&scratch.source));

    let passed = pass(&mut mirror);
    passed.assert_clean();
    assert_eq!(passed.seen.done, [], "a second pass still finds something to do");
    assert_eq!(
        passed.report.counts.unchanged,
        source.entries(),
        "entries that a second pass finds unchanged"
    );
    assert_same("a second pass wrote", &mirrored.stamped(), &Tree::of(&scratch.replica).stamped());
}

/// The source is as it was, down to the ctimes; but a name that the replica gives up shows in the ctime of a file that
/// the two trees shared.
fn assert_untouched(source: &Tree, replica: &Tree, now: &Tree) {
    let shared: BTreeSet<(u64, u64)> = source.inodes().intersection(&replica.inodes()).copied().collect();
    let without = |tree: &Tree| {
        let mut tree = tree.clone().stamped();
        for (node, stamp) in tree.nodes.values_mut() {
            if shared.contains(&(stamp.device, stamp.inode)) {
                node.stamp = None;
            }
        }
        tree
    };
    assert_same("the source changed", &without(source), &without(now));
}

fn play(tree: &[Edit], rounds: &[Round]) {
    let world = World { scratch: Scratch::new() };
    for which in 0..3 {
        let path = world.scratch.outside.join(format!("given {which}"));
        fs::write(&path, content(which, 1000)).unwrap();
        set_mtime(&path, 1_000_000_000 + i64::from(which), 1).unwrap();
    }
    let first = Round {
        edits: tree.iter().map(|edit| (Side::Source, edit.clone())).collect(),
        threads: 2,
        dry_run_first: false,
    };
    check(&world, &first);
    for round in rounds {
        check(&world, round);
    }
}

proptest! {
    #![proptest_config(proof::cases(60, 3000))]

    #[test]
    fn whatever_was_edited_one_pass_makes_the_replica_equal_and_a_second_finds_nothing((tree, rounds) in story()) {
        play(&tree, &rounds);
    }

    #[test]
    fn however_hard_links_were_made_and_broken_one_pass_makes_them_equal_and_a_second_finds_nothing(
        (tree, rounds) in link_story()
    ) {
        play(&tree, &rounds);
    }
}
