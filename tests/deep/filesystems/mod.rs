//! Filesystems: a tree of every kind of entry, edits, and a second pass without work, on each filesystem that this
//! machine can mount from an image. On those that cannot hold everything: one notice per feature, exit code 0, and
//! again a second pass without work.

pub(crate) mod stories;
mod unions;

use crate::filesystems::stories::Stage;
use crate::harness::cases::Cases;
use crate::harness::every_kind::{Abilities, edit, every_kind};
use crate::harness::images::{EXFAT_FUSE, Image, mounted};
use crate::harness::kit::{Mount, has, may_mount, skip, tell};
use crate::support::dice::Dice;
use crate::support::edits::Limits;
use crate::support::fsops::set_mtime;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

pub(crate) const EVERYTHING: Abilities = Abilities { attributes: true, any_name: true };

/// Filesystems that hold everything except the features in `lacks`.
const ABLE: [(Image, &[&str]); 5] = [
    (
        Image {
            name: "ext4",
            size: 512 << 20,
            mkfs: &["mkfs.ext4", "-q", "-F"],
            mount: &["mount", "-o", "loop,user_xattr,acl"],
        },
        &[],
    ),
    (
        Image {
            name: "ext4 with 128-byte inodes",
            size: 512 << 20,
            mkfs: &["mkfs.ext4", "-q", "-F", "-I", "128"],
            mount: &["mount", "-o", "loop"],
        },
        &["mtime"],
    ),
    (
        Image {
            name: "xfs",
            size: 512 << 20,
            mkfs: &["mkfs.xfs", "-q", "-f"],
            mount: &["mount", "-o", "loop"],
        },
        &[],
    ),
    (
        Image {
            name: "xfs without big times",
            size: 512 << 20,
            mkfs: &["mkfs.xfs", "-q", "-f", "-m", "bigtime=0"],
            mount: &["mount", "-o", "loop"],
        },
        &["mtime"],
    ),
    (
        Image {
            name: "btrfs",
            size: 512 << 20,
            mkfs: &["mkfs.btrfs", "-q", "-f"],
            mount: &["mount", "-o", "loop"],
        },
        &[],
    ),
];

/// Filesystems that lack many features. The kernel's own vfat and exfat come first; where the kernel has none, FUSE
/// programs stand in.
const UNABLE: [Image; 5] = [
    Image {
        name: "vfat",
        size: 256 << 20,
        mkfs: &["mkfs.vfat", "-F", "32"],
        mount: &["mount", "-t", "vfat", "-o", "loop,utf8"],
    },
    Image {
        name: "exfat",
        size: 256 << 20,
        mkfs: &["mkfs.exfat"],
        mount: &["mount", "-t", "exfat", "-o", "loop"],
    },
    EXFAT_FUSE,
    Image { name: "ntfs-3g", size: 256 << 20, mkfs: &["mkfs.ntfs", "-q", "-F"], mount: &["ntfs-3g"] },
    Image {
        name: "ntfs-3g with permissions",
        size: 256 << 20,
        mkfs: &["mkfs.ntfs", "-q", "-F"],
        mount: &["ntfs-3g", "-o", "permissions,acl"],
    },
];

pub(crate) fn run() {
    if !may_mount() {
        return skip("filesystems", "mounting needs root and a mount namespace");
    }
    if !has("setfacl") {
        return skip("filesystems", "setfacl is not installed");
    }
    let cases = Cases::new("filesystems");
    cases.run("every kind of entry on tmpfs", on_tmpfs);
    for (image, lacks) in &ABLE {
        cases.run(&format!("every kind of entry on {}", image.name), || on_able(image, lacks));
    }
    for image in &UNABLE {
        cases.run(&format!("every kind of entry on {}", image.name), || on_unable(image));
        cases.run(&format!("a source on {}", image.name), || from_unable(image));
    }
    unions::run(&cases);
    stories(&cases);
    cases.finish();
}

/// Random stories on each filesystem, in every direction.
fn stories(cases: &Cases) {
    let memory = Scratch::with_source();
    let _memory = Mount::tmpfs(&memory.at("memory"), "size=2g,mode=1777");
    let elsewhere = memory.at("memory");
    Stage { name: "tmpfs", at: &elsewhere, elsewhere: &elsewhere, limits: Limits::None }.play_all(cases);
    let images =
        ABLE.iter().filter(|(_, lacks)| lacks.is_empty()).map(|(image, _)| (image, Limits::Until2400));
    for (image, limits) in images.chain(UNABLE.iter().map(|image| (image, Limits::PlainNames))) {
        let place = Scratch::below(&elsewhere);
        let name = image.name;
        match mounted(&place, image) {
            Ok(_mount) => {
                Stage { name, at: &place.at("mnt"), elsewhere: &elsewhere, limits }.play_all(cases);
            }
            Err(why) => cases.run(&format!("stories on {name}"), || leave_out(&format!("{name}: {why}"))),
        }
    }
    unions::stories(cases, &elsewhere);
}

fn on_tmpfs() {
    let mut place = Scratch::with_source();
    let _mount = Mount::tmpfs(&place.at("mnt"), "size=512m");
    both_ways("tmpfs", &mut place, &[]);
}

fn on_able(image: &Image, lacks: &[&str]) {
    let mut place = Scratch::with_source();
    match mounted(&place, image) {
        Ok(_mount) => both_ways(image.name, &mut place, lacks),
        Err(why) => leave_out(&format!("{}: {why}", image.name)),
    }
}

/// The filesystem as replica of a source elsewhere, then as source of a replica on itself.
pub(crate) fn both_ways(name: &str, place: &mut Scratch, lacks: &[&str]) {
    let mnt = place.at("mnt");
    place.replica = mnt.join("replica");
    every_kind(&place.source, EVERYTHING);
    let first = place.once(&[]);
    assert_eq!(first.code, Some(0), "{name}: {:?}", first.told());
    assert_eq!(first.not_held(), lacks, "{name}");
    in_step(name, place, lacks);
    edit(&place.source, &place.replica, EVERYTHING);
    let edited = place.once(&[]);
    assert_eq!(edited.code, Some(0), "{name}: {:?}", edited.told());
    in_step(name, place, lacks);

    place.source = place.replica.clone();
    place.replica = mnt.join("replica of the replica");
    let third = place.once(&[]);
    assert_eq!(third.code, Some(0), "{name}: {:?}", third.told());
    in_step(name, place, &[]);
    tell(&format!(
        "{name}: {} created, {} operations after the edits, then none",
        first.count("created"),
        edited.operations()
    ));
}

fn in_step(name: &str, place: &Scratch, lacks: &[&str]) {
    if lacks.is_empty() {
        return place.assert_in_step(name);
    }
    // rsync would set the time again and again, since it cannot be held.
    let second = place.once(&[]);
    assert_eq!((second.code, second.operations()), (Some(0), 0), "{name}: {:?}", second.told());
}

fn on_unable(image: &Image) {
    let mut place = Scratch::with_source();
    let _mount = mounted(&place, image).unwrap_or_else(|why| leave_out(&format!("{}: {why}", image.name)));
    let name = image.name;
    let abilities = Abilities { attributes: true, any_name: false };
    place.replica = place.at("mnt").join("replica");
    every_kind(&place.source, abilities);
    let first = place.passes(2);
    assert_eq!((first.code, first.operations()), (Some(0), 0), "{name}, second pass: {:?}", first.told());
    let created = first.of("done").next().map(|end| end["created"].to_string()).unwrap_or_default();
    let told = first.not_held();
    let features: BTreeSet<&String> = told.iter().collect();
    // On a slow machine a third pass may have begun.
    let passes = first.of("pass_started").count();
    assert!(told.len() <= passes * features.len(), "{name}: told more than once a pass: {told:?}");
    untouched(name, &place);
    edit(&place.source, &place.replica, abilities);
    // The first pass after the edits may learn that a kind cannot be held; the second removes the consequences.
    let edited = place.passes(3);
    assert_eq!(
        (edited.code, edited.operations()),
        (Some(0), 0),
        "{name}, after the edits: {:?}",
        edited.told()
    );
    untouched(name, &place);
    let features: Vec<&str> = features.into_iter().map(String::as_str).collect();
    tell(&format!("{name}: {created} created; cannot hold {}", features.join(", ")));
}

/// A limited filesystem as source, with a replica that can hold everything: its visible metadata is mirrored exactly.
fn from_unable(image: &Image) {
    let mut place = Scratch::with_source();
    let _mount = mounted(&place, image).unwrap_or_else(|why| leave_out(&format!("{}: {why}", image.name)));
    let name = image.name;
    let _memory = Mount::tmpfs(&place.at("memory"), "size=512m");
    place.replica = place.at("memory").join("replica");
    place.source = place.at("mnt").join("source");
    fs::create_dir(&place.source).expect("created");
    plain_tree(&place.source);
    let first = place.once(&[]);
    assert_eq!((first.code, first.not_held()), (Some(0), vec![]), "{name}: {:?}", first.told());
    shown_is_held(name, &place);

    plain_edits(&place);
    let edited = place.once(&[]);
    assert_eq!(edited.code, Some(0), "{name}, after the edits: {:?}", edited.told());
    let deleted = edited.count("deleted");
    assert!(deleted >= 3, "{name}: {deleted} deleted: {:?}", edited.told());
    shown_is_held(name, &place);
    tell(&format!(
        "{name} as source: {} created, {} operations after the edits, then none",
        first.count("created"),
        edited.operations()
    ));
}

/// The replica has everything that the source shows, by our own and by rsync's comparison.
fn shown_is_held(name: &str, place: &Scratch) {
    for arguments in [&["--dry-run"][..], &[]] {
        let pass = place.once(arguments);
        assert_eq!((pass.code, pass.operations()), (Some(0), 0), "{name}, {arguments:?}: {:?}", pass.told());
    }
    assert_same_contents(&place.source, &place.replica);
    if has("rsync") {
        // ntfs-3g has default ACLs that it does not list, but which rsync requests by name.
        let left: Vec<String> =
            place.rsync().into_iter().filter(|line| !line.starts_with(".d.......a. ")).collect();
        assert!(left.is_empty(), "{name}: rsync would do {left:#?}");
    }
}

/// Entries that each of them can hold; and hard links, where the filesystem has them.
fn plain_tree(root: &Path) {
    let mut dice = Dice(11);
    for folder in ["empty", "many", "deep/er/and/deeper", "goes/below", "moves"] {
        fs::create_dir_all(root.join(folder)).expect("created");
    }
    for (name, size) in [("nothing", 0), ("one", 1), ("page", 4096), ("large", 3 << 20), ("grows", 100)] {
        fs::write(root.join(name), dice.bytes(size)).expect("written");
    }
    for name in ["deep/er/and/deeper/file", "goes/below/file", "moves/file", "\u{e4}\u{f6} \u{20ac}"] {
        fs::write(root.join(name), name).expect("written");
    }
    for number in 0..300 {
        fs::write(root.join(format!("many/a file with a long name, {number}")), dice.bytes(number))
            .expect("written");
    }
    fs::write(root.join(format!("{} is long", "x".repeat(200))), "a long name").expect("written");
    // Most of them refuse.
    let _ = fs::hard_link(root.join("page"), root.join("many/linked"));
    let _ = std::os::unix::fs::symlink("page", root.join("symbolic"));
    set_mtime(&root.join("one"), 1_000_000_001, 123_456_789).expect("a time");
    set_mtime(&root.join("page"), 946_684_801, 999_999_999).expect("a time");
}

fn plain_edits(place: &Scratch) {
    let mut dice = Dice(12);
    let at = |name: &str| place.source.join(name);
    fs::write(at("grows"), dice.bytes(200_000)).expect("written");
    // Other content of the same size and time.
    let time = fs::metadata(at("large")).and_then(|facts| facts.modified()).expect("a time");
    fs::write(at("large"), dice.bytes(3 << 20)).expect("written");
    File::options().write(true).open(at("large")).and_then(|file| file.set_modified(time)).expect("a time");
    fs::remove_dir_all(at("goes")).expect("removed");
    fs::rename(at("moves"), at("deep/moved")).expect("renamed");
    for (old, new) in [("one", "ONE"), ("many", "Many")] {
        fs::rename(at(old), at(new)).expect("renamed");
    }
    fs::remove_file(at("nothing")).expect("removed");
    fs::create_dir(at("nothing")).expect("created");
    fs::write(at("nothing/inside"), "a folder now").expect("written");
    fs::remove_dir(at("empty")).expect("removed");
    fs::write(at("empty"), "a file now").expect("written");
    set_mtime(&at("page"), 1_500_000_000, 0).expect("a time");
    // Only the replica: damage, loss, additions.
    let there = |name: &str| place.replica.join(name);
    fs::write(there("deep/er/and/deeper/file"), "damage").expect("written");
    fs::remove_file(there("many/a file with a long name, 7")).expect("removed");
    fs::write(there("many/extra"), "extra").expect("written");
}

/// A new process, which has to learn the limits anew, finds nothing to do either.
fn untouched(name: &str, place: &Scratch) {
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.operations()), (Some(0), 0), "{name}, new process: {:?}", pass.told());
    assert_same_contents(&place.source, &place.replica);
}

/// Every file and folder of the source is in the replica with the same bytes, and nothing else is.
fn assert_same_contents(source: &Path, replica: &Path) {
    let names = |folder: &Path| -> BTreeSet<std::ffi::OsString> {
        let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable"));
        let kept = entries.filter(|entry| {
            let kind = entry.file_type().expect("known");
            kind.is_file() || kind.is_dir()
        });
        kept.map(|entry| entry.file_name()).collect()
    };
    let (ours, theirs) = (names(source), names(replica));
    assert_eq!(ours, theirs, "in {}", source.display());
    for name in ours {
        let (source, replica) = (source.join(&name), replica.join(&name));
        if source.is_dir() {
            assert_same_contents(&source, &replica);
        } else {
            assert!(
                fs::read(&source).expect("readable") == fs::read(&replica).expect("readable"),
                "{}",
                source.display()
            );
        }
    }
}
