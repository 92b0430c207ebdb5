//! Encrypted ext4 folders without their key: on either side, from the start, and in the middle of a pass. No deletion
//! relies on their listing, nothing is created under encoded names, and with the key everything is right.

use crate::harness::cases::Cases;
use crate::harness::images::{Image, mounted};
use crate::harness::kit::{Mount, Pass, has, may_mount, sh, skip};
use crate::harness::stopped::Stopped;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ENCRYPTED: Image = Image {
    name: "ext4 with encryption",
    size: 64 << 20,
    mkfs: &["mkfs.ext4", "-q", "-F", "-O", "encrypt"],
    mount: &["mount", "-o", "loop"],
};

pub(crate) fn run(cases: &Cases) {
    if !may_mount() {
        return skip("locked folders", "mounting needs root and a mount namespace");
    }
    for side in [Side::Source, Side::Replica] {
        let name = |what: &str| format!("{what} in the {side:?} is locked");
        cases.run(&name("a folder"), || one_of_several(side));
        cases.run(&name("the root"), || the_root(side));
        for (what, make) in KINDS {
            cases.run(&name(&format!("a folder with {what}")), || only(side, make));
        }
    }
    cases.run("a folder of the source is locked and called otherwise", renamed);
    cases.run("a new folder is locked", a_new_one);
    cases.run("a locked folder is to be deleted", to_be_deleted);
    cases.run("a locked folder is in the place of a file, and a file in its place", another_kind);
    cases.run("an empty folder of the replica is locked", an_empty_one);
    for hashes in ["all of the names", "some of the names"] {
        cases.run(&format!("a folder with its key, {hashes} hashes"), || unlocked(hashes));
    }
    for (call, nth) in [
        ("getdents64", 1),
        ("getdents64", 2),
        ("getdents64", 6),
        ("getdents64", 9),
        ("statx", 20),
        ("statx", 40),
        ("statx", 70),
        ("pread64", 3),
        ("pread64", 25),
        ("readlinkat", 1),
        ("syncfs", 1),
        ("unlinkat", 1),
    ] {
        let goes = || in_the_middle(call, nth, Key::Goes);
        cases.run(&format!("a folder is locked after {call} {nth}"), goes);
    }
    cases.run("a folder is locked before something in it is deleted", before_a_deletion);
    // A pass over folders that are locked at first makes fewer calls.
    for (call, nth) in
        [("getdents64", 1), ("getdents64", 2), ("getdents64", 5), ("statx", 20), ("unlinkat", 1)]
    {
        let comes = || in_the_middle(call, nth, Key::Comes);
        cases.run(&format!("a folder is unlocked after {call} {nth}"), comes);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Replica,
}

/// A place with one side on an encrypting filesystem, with folders that can be locked.
struct Vault {
    // Unmounted before the removal of the folder around it.
    _disk: Mount,
    place: Scratch,
    key: String,
}

impl Vault {
    fn new(side: Side) -> Vault {
        if !has("xfs_io") {
            leave_out("xfs_io, which handles keys, is not installed");
        }
        let mut place = Scratch::with_source();
        let disk = mounted(&place, &ENCRYPTED)
            .unwrap_or_else(|why| leave_out(&format!("{}: {why}", ENCRYPTED.name)));
        let root = place.at("mnt/root");
        fs::create_dir(&root).expect("created");
        match side {
            Side::Source => place.source = root,
            Side::Replica => place.replica = root,
        }
        let vault = Vault { _disk: disk, place, key: String::new() };
        let key = vault.add_key();
        Vault { key, ..vault }
    }

    fn disk(&self) -> PathBuf {
        self.place.at("mnt")
    }

    /// Adds the key to the filesystem; returns its identifier.
    fn add_key(&self) -> String {
        let mut command = Command::new("xfs_io");
        command.args(["-c", "add_enckey"]).arg(self.disk());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("xfs_io");
        process.stdin.take().expect("a pipe").write_all(&[7; 64]).expect("written");
        let output = process.wait_with_output().expect("xfs_io");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(key) = told.trim().rsplit(' ').next().filter(|key| key.len() == 32) else {
            leave_out("the kernel does not encrypt files");
        };
        key.to_owned()
    }

    fn lock(&self) {
        io(&format!("rm_enckey {}", self.key), &self.disk());
    }

    /// Creates a folder and encrypts its future content.
    fn encrypt(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("created");
        io(&format!("set_encpolicy -v 2 {}", self.key), folder);
    }

    fn pass(&self) -> Pass {
        self.place.once(&[])
    }

    /// One pass that has exactly these problems.
    fn pass_with_problems(&self, expected: &[&str]) -> Pass {
        let pass = self.pass();
        let mut paths: Vec<&str> =
            pass.of("problem").map(|problem| problem["path"].as_str().expect("a path")).collect();
        paths.sort_unstable();
        assert_eq!(paths, expected, "{:?}", pass.told());
        assert_eq!(pass.code, Some(if expected.is_empty() { 0 } else { 23 }), "{:?}", pass.told());
        for problem in pass.of("problem") {
            assert!(problem["message"].as_str().expect("a message").contains("unlock it"), "{problem}");
        }
        pass
    }

    /// With the key one pass makes everything right.
    fn unlock_and_heal(&self) {
        self.add_key();
        self.pass_with_problems(&[]);
        self.place.assert_in_step("with the key");
    }
}

/// A command of `xfs_io` on a path.
fn io(command: &str, path: &Path) {
    sh("xfs_io", &[OsStr::new("-c"), OsStr::new(command), path.as_os_str()]);
}

fn write(path: PathBuf, content: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    fs::write(path, content).expect("written");
}

/// Sample content of a folder.
fn fill(folder: &Path) {
    write(folder.join("diary"), "a secret");
    write(folder.join("a name that is longer than most, of more than forty letters"), "another");
    write(folder.join("below/inside"), "one more");
    symlink("diary", folder.join("link")).expect("linked");
}

fn assert_no_odd_names(root: &Path) {
    for path in Tree::of(root).nodes.keys() {
        let name = path.rsplit(|byte| *byte == b'/').next().expect("a name");
        let is_real = name.len() < 22 || name.contains(&b' ');
        assert!(is_real, "a name that is none: {}", path.escape_ascii());
    }
}

fn one_of_several(side: Side) {
    let vault = Vault::new(side);
    let Scratch { source, replica, .. } = &vault.place;
    let encrypted = if side == Side::Source { source } else { replica };
    vault.encrypt(&encrypted.join("home/alice"));
    fill(&source.join("home/alice"));
    for name in ["home/bob/kept", "home/bob/gone", "home/bob/below/changed"] {
        write(source.join(name), name);
    }
    vault.pass_with_problems(&[]);
    let before = Tree::of(&replica.join("home/alice"));
    fs::remove_file(source.join("home/alice/diary")).expect("removed");
    fs::remove_file(source.join("home/bob/gone")).expect("removed");
    write(source.join("home/bob/below/changed"), "it has changed");
    if side == Side::Replica {
        write(source.join("home/alice/new"), "it is new");
    }
    vault.lock();
    for _ in 0..2 {
        vault.pass_with_problems(&["home/alice"]);
        // Its sibling is mirrored as usual.
        assert!(!replica.join("home/bob/gone").exists());
        assert_eq!(fs::read(replica.join("home/bob/below/changed")).expect("there"), b"it has changed");
        if side == Side::Source {
            assert_same("what is locked in the source", &before, &Tree::of(&replica.join("home/alice")));
        }
    }
    vault.add_key();
    if side == Side::Replica {
        assert_same("what was locked in the replica", &before, &Tree::of(&replica.join("home/alice")));
    }
    vault.unlock_and_heal();
}

fn the_root(side: Side) {
    let vault = Vault::new(side);
    let Scratch { source, replica, .. } = &vault.place;
    vault.encrypt(if side == Side::Source { source } else { replica });
    fill(source);
    vault.pass_with_problems(&[]);
    let before = Tree::of(replica);
    fs::remove_file(source.join("diary")).expect("removed");
    vault.lock();
    vault.pass_with_problems(&["."]);
    if side == Side::Source {
        assert_same("the root of the source is locked", &before, &Tree::of(replica));
    }
    vault.add_key();
    if side == Side::Replica {
        assert_same("the root of the replica was locked", &before, &Tree::of(replica));
    }
    vault.unlock_and_heal();
}

/// Fills a folder. Each filling shows the missing key in another way.
type Make = fn(&Path);

const KINDS: [(&str, Make); 5] = [
    ("one file", |folder| write(folder.join("diary"), "a secret")),
    ("an empty file", |folder| write(folder.join("diary"), "")),
    ("folders only", |folder| write(folder.join("below/further/diary"), "a secret")),
    ("an empty folder only", |folder| fs::create_dir(folder.join("below")).expect("created")),
    ("links only", |folder| {
        for name in ["one", "two"] {
            symlink("target", folder.join(name)).expect("linked");
        }
    }),
];

fn only(side: Side, make: Make) {
    let vault = Vault::new(side);
    let Scratch { source, replica, .. } = &vault.place;
    vault.encrypt(&if side == Side::Source { source } else { replica }.join("private"));
    fs::create_dir_all(source.join("private")).expect("created");
    make(&source.join("private"));
    vault.pass_with_problems(&[]);
    // With the key no name is unusual.
    vault.place.assert_in_step("before");
    let before = Tree::of(replica);
    vault.lock();
    vault.pass_with_problems(&["private"]);
    if side == Side::Source {
        assert_same("what is locked in the source", &before, &Tree::of(replica));
    }
    vault.unlock_and_heal();
    assert_same("what was locked", &before, &Tree::of(replica));
}

/// The old name of an unreadable folder must not be deleted: its content is the only copy.
fn renamed() {
    let vault = Vault::new(Side::Source);
    let Scratch { source, replica, .. } = &vault.place;
    vault.encrypt(&source.join("private"));
    fill(&source.join("private"));
    vault.pass_with_problems(&[]);
    let before = Tree::of(&replica.join("private"));
    vault.lock();
    fs::rename(source.join("private"), source.join("renamed")).expect("renamed");
    for _ in 0..2 {
        vault.pass_with_problems(&["renamed"]);
        assert_same("its old name", &before, &Tree::of(&replica.join("private")));
        assert!(!replica.join("renamed").exists());
    }
    vault.unlock_and_heal();
}

fn a_new_one() {
    let vault = Vault::new(Side::Source);
    let Scratch { source, replica, .. } = &vault.place;
    write(source.join("file"), "content");
    vault.pass_with_problems(&[]);
    // One that the survey sees, and two inside a new folder.
    for folder in ["private", "new/private", "new/further/private"] {
        vault.encrypt(&source.join(folder));
        fill(&source.join(folder));
    }
    write(source.join("new/file"), "content");
    vault.lock();
    for _ in 0..2 {
        vault.pass_with_problems(&["new/further/private", "new/private", "private"]);
        assert_no_odd_names(replica);
        assert!(replica.join("new/file").exists() && !replica.join("new/private").exists());
    }
    vault.unlock_and_heal();
}

/// The kernel would allow the removal file by file.
fn to_be_deleted() {
    let vault = Vault::new(Side::Replica);
    let Scratch { source, replica, .. } = &vault.place;
    write(source.join("file"), "content");
    for folder in ["private", "extra/private"] {
        vault.encrypt(&replica.join(folder));
        fill(&replica.join(folder));
    }
    write(replica.join("extra/file"), "content");
    let before = Tree::of(replica);
    vault.lock();
    for _ in 0..2 {
        vault.pass_with_problems(&["extra/private", "private"]);
        assert!(!replica.join("extra/file").exists(), "what can be read goes");
    }
    vault.add_key();
    let now = Tree::of(replica);
    for path in before.nodes.keys().filter(|path| path.windows(7).any(|part| part == b"private")) {
        assert!(now.nodes.contains_key(path), "lost {}", path.escape_ascii());
    }
    vault.unlock_and_heal();
    assert!(!replica.join("private").exists() && !replica.join("extra").exists());
}

fn another_kind() {
    let vault = Vault::new(Side::Replica);
    let Scratch { source, replica, .. } = &vault.place;
    write(source.join("private"), "a file");
    vault.encrypt(&replica.join("private"));
    fill(&replica.join("private"));
    vault.lock();
    vault.pass_with_problems(&["private"]);
    assert!(replica.join("private").is_dir());
    vault.unlock_and_heal();

    let vault = Vault::new(Side::Source);
    let Scratch { source, replica, .. } = &vault.place;
    vault.encrypt(&source.join("private"));
    fill(&source.join("private"));
    write(replica.join("private"), "a file");
    vault.lock();
    vault.pass_with_problems(&["private"]);
    assert_eq!(fs::read(replica.join("private")).expect("a file"), b"a file");
    vault.unlock_and_heal();
}

/// An empty folder lists nothing, so only a creation in it fails; one problem for all of it.
fn an_empty_one() {
    let vault = Vault::new(Side::Replica);
    let Scratch { source, replica, .. } = &vault.place;
    vault.encrypt(&replica.join("private"));
    for number in 0..50 {
        write(source.join(format!("private/{number}")), "content");
        write(source.join(format!("private/below {number}/file")), "content");
    }
    vault.lock();
    vault.pass_with_problems(&["private"]);
    vault.unlock_and_heal();
}

/// Names that look like the kernel's encoded names are ordinary names.
fn unlocked(which: &str) {
    for side in [Side::Source, Side::Replica] {
        let vault = Vault::new(side);
        let Scratch { source, replica, .. } = &vault.place;
        vault.encrypt(&if side == Side::Source { source } else { replica }.join("cache"));
        for number in 0..40_u128 {
            write(source.join(format!("cache/{number:032x}")), "content");
        }
        if which.starts_with("some") {
            write(source.join("cache/index"), "content");
        }
        vault.pass_with_problems(&[]);
        vault.place.assert_in_step("a cache");
        for number in 0..30_u128 {
            fs::remove_file(source.join(format!("cache/{number:032x}"))).expect("removed");
        }
        let pass = vault.pass_with_problems(&[]);
        assert_eq!(pass.count("deleted"), 30);
        vault.place.assert_in_step("a cache of which much is gone");
    }
}

/// The change of the key in the middle of a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Goes,
    Comes,
}

fn in_the_middle(call: &'static str, nth: usize, key: Key) {
    let vault = Vault::new(Side::Source);
    let Scratch { source, replica, .. } = &vault.place;
    for folder in ["one", "two", "two/three"] {
        vault.encrypt(&source.join(folder));
        fill(&source.join(folder));
        for number in 0..10 {
            write(source.join(folder).join(format!("file {number}")), "content");
        }
    }
    write(source.join("gone"), "gone");
    write(source.join("two/gone"), "gone");
    vault.pass_with_problems(&[]);
    fs::remove_file(source.join("gone")).expect("removed");
    fs::remove_file(source.join("two/gone")).expect("removed");
    let before = Tree::of(replica);
    if key == Key::Comes {
        vault.lock();
    }
    let stopped = Stopped::after(&vault.place, call, nth);
    match key {
        Key::Goes => vault.lock(),
        Key::Comes => {
            vault.add_key();
        }
    }
    let pass = stopped.resume();
    assert!(matches!(pass.code, Some(0 | 23)), "{:?}", pass.told());
    assert_no_odd_names(replica);
    let now = Tree::of(replica);
    for (path, node) in &before.nodes {
        let may_go = path.ends_with(b"gone");
        let is_there = now.nodes.get(path).is_some_and(|now| now.0.what == node.0.what);
        assert!(is_there || may_go, "lost {}: {:?}", path.escape_ascii(), pass.told());
    }
    vault.unlock_and_heal();
}

/// A name missing from a folder that is locked by now may still exist. An open folder keeps its names, so the program
/// gets few descriptors.
fn before_a_deletion() {
    if !has("prlimit") {
        leave_out("prlimit, which limits open files, is not installed");
    }
    let vault = Vault::new(Side::Source);
    let Scratch { source, replica, .. } = &vault.place;
    vault.encrypt(&source.join("private"));
    write(source.join("private/kept"), "content");
    write(source.join("private/gone"), "gone");
    for number in 0..30 {
        write(source.join(format!("folder {number}/kept")), "content");
        write(source.join(format!("folder {number}/gone")), "gone");
    }
    vault.pass_with_problems(&[]);
    for number in 0..30 {
        fs::remove_file(source.join(format!("folder {number}/gone"))).expect("removed");
    }
    fs::remove_file(source.join("private/gone")).expect("removed");
    let stopped = Stopped::after_with_few_files(&vault.place, "syncfs", 1);
    vault.lock();
    let pass = stopped.resume();
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    let problems: Vec<&Value> = pass.of("problem").collect();
    assert!(problems.len() == 1 && problems[0]["path"] == "private", "{problems:?}");
    assert!(replica.join("private/gone").exists(), "it was not seen to be absent");
    for number in 0..30 {
        assert!(!replica.join(format!("folder {number}/gone")).exists(), "what is beside it goes its way");
    }
    vault.unlock_and_heal();
}
