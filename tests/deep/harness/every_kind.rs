//! Trees to mirror: one with every kind of entry, and edits to it on both sides.

use crate::support::dice::Dice;
use crate::support::fsops::{chmod, set_attribute, set_mtime};
use crate::support::scratch::is_root;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid, chownat, makedev, mknodat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The features of the filesystem that holds the source.
#[derive(Clone, Copy)]
pub(crate) struct Abilities {
    /// xattrs of users and of root, ACLs, capabilities.
    pub(crate) attributes: bool,
    /// Names of any bytes but `/` and NUL.
    pub(crate) any_name: bool,
}

fn set_owner(path: &Path, uid: u32, gid: u32) {
    chownat(CWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
        .expect("an owner");
}

fn sparse(path: &Path, size: u64, data_at: &[u64]) {
    let mut file = File::create(path).expect("created");
    file.set_len(size).expect("sized");
    for at in data_at {
        file.seek(SeekFrom::Start(*at)).expect("sought");
        file.write_all(b"data between two holes").expect("written");
    }
}

/// Creates a tree with every kind of entry and of metadata in an empty folder. Returns the number of entries.
pub(crate) fn every_kind(root: &Path, abilities: Abilities) {
    let mut dice = Dice(1);
    let at = |name: &str| root.join(name);
    for folder in
        ["empty", "closed", "sticky", "setgid", "many", "links", "devices", "change", "change/gone/deeper"]
    {
        fs::create_dir_all(at(folder)).expect("created");
    }
    for (name, size) in
        [("empty.txt", 0), ("one", 1), ("page", 4096), ("buffer+1", (128 << 10) + 1), ("large", 3 << 20)]
    {
        fs::write(at(name), dice.bytes(size)).expect("written");
    }
    for number in 0..600 {
        fs::write(at(&format!("many/file {number}")), format!("content {number}")).expect("written");
    }
    sparse(&at("hole in front"), 8 << 20, &[(8 << 20) - 100]);
    sparse(&at("holes"), 64 << 20, &[1 << 20, 30 << 20]);
    sparse(&at("all hole"), 16 << 20, &[]);
    deep(root, 60);

    for name in ["a", "b"] {
        fs::write(at("links").join(name), format!("linked {name}")).expect("written");
    }
    for (old, new) in [("a", "links/a2"), ("a", "many/a3"), ("b", "links/b2")] {
        fs::hard_link(at("links").join(old), at(new)).expect("linked");
    }
    for (target, name) in
        [("page", "relative"), ("/etc/hostname", "absolute"), ("no/such", "dangling"), ("..", "up")]
    {
        symlink(target, at(name)).expect("linked");
    }
    symlink("long/".repeat(200), at("long target")).expect("linked");
    fs::hard_link(at("relative"), at("links/linked symlink")).expect("linked");
    mknodat(CWD, at("devices/fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).expect("a FIFO");
    std::os::unix::net::UnixListener::bind(at("devices/run.socket")).expect("a socket");

    let any_name: [&[u8]; 8] = [
        b"-n",
        b" space ",
        b"new\nline",
        b"\xff\xfe not utf-8",
        b"\"quotes\"",
        b"back\\slash",
        b"co:lon*?<>|",
        b"dot.",
    ];
    for name in any_name.iter().filter(|_| abilities.any_name) {
        fs::write(root.join(OsStr::from_bytes(name)), *name).expect("written");
    }
    let longest = if abilities.any_name { "x".repeat(255) } else { "x".repeat(120) };
    fs::write(at(&longest), "a long name").expect("written");

    if abilities.attributes {
        attributes(root);
    }
    if is_root() {
        owned_by_others(root);
    }
    for (name, mode) in
        [("one", 0o600), ("page", 0o444), ("closed", 0o500), ("sticky", 0o1777), ("setgid", 0o2775)]
    {
        chmod(&at(name), mode).expect("a mode");
    }
    // Odd nanoseconds, before 1970, after 2038.
    for (name, seconds, nanoseconds) in [
        ("one", 1_000_000_001, 123_456_789),
        ("page", -86_400, 999_999_999),
        ("large", 4_000_000_000, 5),
        ("relative", 1_234_567_891, 987_654_321),
        ("devices/fifo", 1_111_111_111, 1),
        ("empty", 946_684_800, 250_000_000),
        ("links", 1_500_000_001, 500_000_001),
    ] {
        set_mtime(&at(name), seconds, nanoseconds).expect("a time");
    }
}

/// A narrow chain of folders, as deep as rsync can still follow.
fn deep(root: &Path, levels: usize) {
    let mut folder = root.join("deep");
    for level in 0..levels {
        folder.push(format!("level {level} of a narrow deep place"));
    }
    fs::create_dir_all(&folder).expect("created");
    fs::write(folder.join("bottom"), "down here").expect("written");
}

fn attributes(root: &Path) {
    let at = |name: &str| root.join(name);
    set_attribute(&at("page"), "user.comment", b"a file").expect("an attribute");
    set_attribute(&at("page"), "user.empty", b"").expect("an attribute");
    set_attribute(&at("empty"), "user.comment", b"a folder").expect("an attribute");
    set_attribute(&at("large"), "user.long", &[b'v'; 1500]).expect("an attribute");
    set_attribute(root, "user.root", b"the root itself").expect("an attribute");
    acl(&["-m", "u:1234:rw,g:99:r"], &at("page"));
    acl(&["-d", "-m", "u:1234:rwx"], &at("setgid"));
    if is_root() {
        set_attribute(&at("one"), "trusted.file-sync", b"\0binary\xff").expect("an attribute");
        set_attribute(&at("relative"), "trusted.on-a-link", b"x").expect("an attribute");
        // CAP_NET_RAW, as setcap(8) writes it: revision 2, effective, then four words.
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        set_attribute(&at("many/file 7"), "security.capability", &capability).expect("an attribute");
    }
}

fn acl(arguments: &[&str], path: &Path) {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).chain([path.as_os_str()]).collect();
    crate::harness::kit::sh("setfacl", &arguments);
}

fn owned_by_others(root: &Path) {
    let at = |name: &str| root.join(name);
    for (name, kind, device) in
        [("null", FileType::CharacterDevice, makedev(1, 3)), ("disk", FileType::BlockDevice, makedev(7, 200))]
    {
        mknodat(CWD, at("devices").join(name), kind, Mode::from_raw_mode(0o660), device).expect("a device");
    }
    for (number, name) in
        ["one", "large", "many", "relative", "devices/fifo", "devices/null"].into_iter().enumerate()
    {
        let id = 1000 + u32::try_from(number).expect("small");
        set_owner(&at(name), id, id + 7);
    }
    for (name, mode) in [("many/file 1", 0o4755), ("many/file 2", 0o2755), ("many/file 3", 0o6711)] {
        set_owner(&at(name), 33, 44);
        chmod(&at(name), mode).expect("a mode");
    }
}

/// Changes the source in every way, and damages the replica in some.
pub(crate) fn edit(source: &Path, replica: &Path, abilities: Abilities) {
    let at = |name: &str| source.join(name);
    let mut dice = Dice(2);
    // The same size and time, other bytes: only a comparison of contents finds this.
    let before = fs::metadata(at("buffer+1")).expect("there").modified().expect("known");
    fs::write(at("buffer+1"), dice.bytes((128 << 10) + 1)).expect("written");
    File::options().write(true).open(at("buffer+1")).expect("opened").set_modified(before).expect("set");

    fs::remove_dir_all(at("change/gone")).expect("removed");
    fs::rename(at("deep"), at("change/moved")).expect("renamed");
    fs::rename(at("empty.txt"), at("change/was empty.txt")).expect("renamed");
    for number in 0..50 {
        fs::remove_file(at(&format!("many/file {}", 100 + number))).expect("removed");
        fs::write(at(&format!("many/file {}", 300 + number)), "other").expect("written");
        fs::write(at(&format!("many/new {number}")), "new").expect("written");
    }
    // Changes of kind.
    type Make = fn(&Path);
    let kinds: [(&str, Make); 5] = [
        ("one", |path| fs::create_dir(path).expect("created")),
        ("empty", |path| fs::write(path, "a folder before").expect("written")),
        ("dangling", |path| fs::write(path, "a link before").expect("written")),
        ("up", |path| fs::create_dir(path).expect("created")),
        ("hole in front", |path| symlink("a file before", path).expect("linked")),
    ];
    for (name, make) in kinds {
        let path = at(name);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path).expect("removed");
        } else {
            fs::remove_file(&path).expect("removed");
        }
        make(&path);
    }
    // Hard links: broken, joined, moved to another file.
    fs::remove_file(at("links/a2")).expect("removed");
    fs::write(at("links/a2"), "linked a").expect("written");
    fs::remove_file(at("many/file 200")).expect("removed");
    fs::hard_link(at("links/b"), at("many/file 200")).expect("linked");
    fs::remove_file(at("relative")).expect("removed");
    symlink("elsewhere", at("relative")).expect("linked");
    sparse(&at("holes"), 32 << 20, &[5 << 20]);
    chmod(&at("sticky"), 0o755).expect("a mode");
    set_mtime(&at("many/file 400"), 1_000_000_000, 7).expect("a time");
    if abilities.attributes {
        rustix::fs::lremovexattr(at("page"), "user.comment").expect("removed");
        set_attribute(&at("page"), "user.empty", b"not any more").expect("an attribute");
        acl(&["-b"], &at("page"));
        acl(&["-m", "u:77:r"], &at("many/file 401"));
    }
    // Only the replica: damage, loss, additions.
    let there = |name: &str| replica.join(name);
    let mut damaged = File::options().write(true).open(there("large")).expect("opened");
    damaged.seek(SeekFrom::Start(1 << 20)).expect("sought");
    damaged.write_all(b"damage").expect("written");
    let missing: PathBuf = there("many/file 500");
    fs::remove_file(missing).expect("removed");
    fs::create_dir_all(there("extra/folder")).expect("created");
    fs::write(there("extra/folder/file"), "extra").expect("written");
    fs::write(there("many/extra"), "extra").expect("written");
}
