//! A small pair of trees in which a pass has to perform every kind of operation: the stage for faults, kills and stops.

use crate::support::dice::Dice;
use crate::support::fsops::{access_list, chmod, link, make_node, set_attribute, set_mtime};
use crate::support::scratch::{NOBODY, Scratch, is_root};
use rustix::fs::{FileType, makedev};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, lchown, symlink};
use std::path::Path;

/// The replica before the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// An older version of the source, with damage and extras.
    Old,
    /// Missing.
    None,
    /// Equal to the source.
    Same,
    /// As `Old`, but everything belongs to an ordinary user, who also runs the program.
    Ordinary,
}

/// A new place with a scene.
pub(crate) fn place(scratch: &Path, scene: Scene) -> Scratch {
    let mut place = Scratch::below(scratch);
    set(&place, scene);
    place.as_user = scene == Scene::Ordinary;
    place
}

/// Fills the source and the replica of a place, and a folder beside them that nothing may touch.
pub(crate) fn set(place: &Scratch, scene: Scene) {
    let outside = place.at("outside");
    fs::create_dir(&outside).expect("created");
    fs::write(outside.join("treasure"), "nobody may touch this").expect("written");
    let by_root = is_root() && scene != Scene::Ordinary;
    build(&place.source, true, by_root);
    match scene {
        Scene::Old | Scene::Ordinary => {
            fs::create_dir(&place.replica).expect("created");
            build(&place.replica, false, by_root);
        }
        Scene::None => {}
        Scene::Same => {
            fs::create_dir(&place.replica).expect("created");
            build(&place.replica, true, by_root);
        }
    }
    if scene == Scene::Ordinary {
        give(place.path());
    }
}

/// Gives a tree to the ordinary user, with unchanged modes and times.
fn give(path: &Path) {
    let facts = fs::symlink_metadata(path).expect("there");
    lchown(path, Some(NOBODY), Some(NOBODY)).expect("an owner");
    if facts.is_dir() {
        for entry in fs::read_dir(path).expect("readable") {
            give(&entry.expect("readable").path());
        }
    }
    if !facts.is_symlink() {
        // chown clears the set-user-ID bit.
        chmod(path, facts.mode() & 0o7777).expect("a mode");
    }
}

fn file(path: &Path, seed: u64, size: usize, mode: u32, time: i64) {
    fs::write(path, Dice(seed).bytes(size)).expect("written");
    chmod(path, mode).expect("a mode");
    set_mtime(path, time, 5).expect("a time");
}

/// One version of the tree: the new one, or the old.
fn build(root: &Path, is_new: bool, by_root: bool) {
    let at = |name: &str| root.join(name);
    let version = u64::from(is_new);
    let time = if is_new { 1_700_000_000 } else { 1_600_000_000 };
    for folder in [
        "same",
        "same/deep",
        "same/deep/er",
        "changed",
        "meta",
        "meta/folder",
        "links",
        "kinds",
        "special",
        "closed",
    ] {
        fs::create_dir(at(folder)).expect("created");
    }
    file(&at("same/one"), 1, 700, 0o644, 1);
    file(&at("same/large"), 2, 300_000, 0o640, 2);
    file(&at("same/deep/er/file"), 3, 10, 0o600, 3);

    file(&at("changed/content"), 10 + version, 5000, 0o644, 4);
    file(&at("changed/size"), 20 + version, 5000 + 100 * version as usize, 0o600, time);
    file(&at("changed/large"), 30 + version, (1 << 20) + 3000, 0o644, time);
    file(&at("changed/emptied"), 40, if is_new { 0 } else { 100 }, 0o644, time);
    let sparse = File::create(at("changed/sparse")).expect("created");
    sparse.set_len(2 << 20).expect("a size");
    sparse.write_all_at(&Dice(50 + version).bytes(4000), (1 << 20) - 5).expect("written");
    set_mtime(&at("changed/sparse"), time, 5).expect("a time");

    file(&at("meta/mode"), 60, 50, if is_new { 0o751 } else { 0o640 }, 5);
    file(&at("meta/time"), 61, 50, 0o644, time);
    file(&at("meta/attribute"), 62, 50, 0o644, 6);
    set_attribute(&at("meta/attribute"), "user.version", &[48 + version as u8]).expect("an attribute");
    if !is_new {
        set_attribute(&at("meta/attribute"), "user.old", b"goes").expect("an attribute");
    }
    file(&at("meta/list"), 63, 50, 0o640, 7);
    set_attribute(&at("meta/list"), "system.posix_acl_access", &access_list(1000 + u32::from(is_new), 5))
        .expect("an access list");
    // An ACL whose mask grants more than before.
    file(&at("meta/mask"), 68, 50, 0o640, 31);
    set_attribute(&at("meta/mask"), "system.posix_acl_access", &access_list(1000 + u32::from(is_new), 7))
        .expect("an access list");
    if !is_new {
        chmod(&at("meta/mask"), 0o640).expect("a mode");
    }
    file(&at("meta/folder/file"), 64, 50, 0o644, 8);

    // A folder without write permission for its owner.
    file(&at("closed/changed"), 93 + version, 500, 0o444, time);
    file(&at(if is_new { "closed/comes" } else { "closed/goes" }), 95, 500, 0o400, 30);
    chmod(&at("closed"), 0o555).expect("a mode");

    // Hard link groups: unchanged, to be created, to be broken.
    file(&at("links/a1"), 70, 300, 0o644, 9);
    link(&at("links/a1"), &at("links/a2")).expect("linked");
    file(&at("links/b1"), 71, 300, 0o644, 10);
    file(&at("links/c1"), 72, 300, 0o644, 11);
    if is_new {
        link(&at("links/b1"), &at("links/b2")).expect("linked");
        file(&at("links/c2"), 73, 300, 0o644, 11);
    } else {
        file(&at("links/b2"), 71, 300, 0o644, 10);
        link(&at("links/c1"), &at("links/c2")).expect("linked");
    }

    make_node(&at("special/fifo"), FileType::Fifo, 0).expect("a FIFO");
    symlink(if is_new { "new target" } else { "old target" }, at("special/link")).expect("linked");

    if is_new {
        fs::create_dir_all(at("new/folder/below")).expect("created");
        file(&at("new/folder/below/file"), 80, 200_000, 0o604, 12);
        file(&at("new/secret"), 81, 3000, 0o600, 13);
        file(&at("new/empty"), 82, 0, 0o644, 14);
        symlink("/etc/passwd", at("new/link")).expect("linked");
        make_node(&at("new/fifo"), FileType::Fifo, 0).expect("a FIFO");
        set_attribute(&at("new/secret"), "user.note", b"kept").expect("an attribute");
        link(&at("new/secret"), &at("links/far")).expect("linked");
        fs::create_dir(at("kinds/file to folder")).expect("created");
        file(&at("kinds/file to folder/inside"), 83, 100, 0o644, 15);
        file(&at("kinds/folder to file"), 84, 100, 0o644, 16);
        file(&at("kinds/link to file"), 85, 100, 0o644, 17);
        symlink("somewhere", at("kinds/file to link")).expect("linked");
    } else {
        file(&at("kinds/file to folder"), 86, 100, 0o644, 18);
        fs::create_dir_all(at("kinds/folder to file/below")).expect("created");
        file(&at("kinds/folder to file/below/file"), 87, 100, 0o644, 19);
        symlink("/etc", at("kinds/link to file")).expect("linked");
        file(&at("kinds/file to link"), 88, 100, 0o644, 20);
        fs::create_dir_all(at("gone/tree/below")).expect("created");
        file(&at("gone/tree/below/file"), 89, 100, 0o644, 21);
        file(&at("gone/file"), 90, 100, 0o644, 22);
        symlink("../same", at("gone/link")).expect("linked");
        file(&at("extra"), 91, 100, 0o644, 23);
        file(&at(".file-sync-0123456789abcdef0123456789abcdef.tmp"), 92, 100, 0o600, 24);
    }
    if by_root {
        as_root(root, is_new);
    }
    // Folders last, since entries created in them change their times. All folders, so that two builds of one version
    // are equal.
    set_folder_times(root);
    chmod(&at("meta/folder"), if is_new { 0o750 } else { 0o755 }).expect("a mode");
    set_mtime(&at("meta/folder"), time, 5).expect("a time");
    set_mtime(&at("meta"), time, 5).expect("a time");
    set_mtime(root, time, 5).expect("a time");
}

fn set_folder_times(folder: &Path) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_dir()) {
            set_folder_times(&path);
        }
    }
    set_mtime(folder, 1000, 5).expect("a time");
}

/// The capability to bind to low ports (`CAP_NET_BIND_SERVICE`, as `vfs_cap_data` of version 2).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Entries that only root can create.
fn as_root(root: &Path, is_new: bool) {
    let at = |name: &str| root.join(name);
    file(&at("meta/owner"), 65, 50, 0o644, 25);
    lchown(at("meta/owner"), Some(33), Some(if is_new { 44 } else { 33 })).expect("an owner");
    file(&at("changed/setuid"), 66 + u64::from(is_new), 5000, 0o600, 26);
    lchown(at("changed/setuid"), Some(33), Some(33)).expect("an owner");
    chmod(&at("changed/setuid"), 0o4711).expect("a mode");
    set_mtime(&at("changed/setuid"), 26, 5).expect("a time");
    // Owners that change together with rights: the old group may not use the rights of the new one. A mode, a program
    // that runs as its owner, an ACL, and a capability.
    let group = if is_new { 44 } else { 33 };
    let owned = |name: &str, seed: u64, mode: u32| {
        file(&at(name), seed, 50, mode, 32);
        lchown(at(name), Some(33), Some(group)).expect("an owner");
        // chown clears the set-user-ID bit.
        chmod(&at(name), mode).expect("a mode");
    };
    owned("meta/group", 101, if is_new { 0o640 } else { 0o600 });
    owned("meta/program", 102, if is_new { 0o4750 } else { 0o750 });
    owned("meta/heirs", 103, if is_new { 0o750 } else { 0o700 });
    owned("meta/capable", 104, 0o710);
    // The new group loses a right of the old one.
    owned("meta/shut", 109, if is_new { 0o600 } else { 0o640 });
    if is_new {
        owned("new/group", 105, 0o640);
        owned("new/program", 106, 0o4750);
        owned("new/heirs", 107, 0o750);
        owned("new/capable", 108, 0o710);
        for name in ["meta/heirs", "new/heirs"] {
            set_attribute(&at(name), "system.posix_acl_access", &access_list(1000, 5))
                .expect("an access list");
            chmod(&at(name), 0o750).expect("a mode");
        }
        for name in ["meta/capable", "new/capable"] {
            set_attribute(&at(name), "security.capability", &CAPABILITY).expect("a capability");
        }
    }
    make_node(&at("special/device"), FileType::CharacterDevice, makedev(1, if is_new { 3 } else { 5 }))
        .expect("a device");
    lchown(at("special/link"), Some(33), Some(33)).expect("an owner");
    set_mtime(&at("special/device"), 27, 5).expect("a time");
    set_mtime(&at("special/link"), 28, 5).expect("a time");
    set_mtime(&at("special/fifo"), 29, 5).expect("a time");
}
