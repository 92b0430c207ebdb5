//! The group of a copy: kept where the user is in it, and else of no use to anybody who is not in the source's.

#![allow(clippy::expect_used, reason = "a helper of a test may fail as the test itself may")]

#[path = "support/program.rs"]
mod program;

use program::{Place, is_root, skip};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::path::Path;

/// The user and the group that own nothing, as whom the program runs when root runs the tests.
const NOBODY: u32 = 65534;

/// A group that nobody is in.
const FOREIGN: u32 = 4242;

fn facts(path: &Path) -> (u32, u32) {
    let facts = fs::symlink_metadata(path).expect("there");
    (facts.gid(), facts.mode() & 0o7777)
}

/// A file of an ordinary user, with this group and mode.
fn file(place: &Place, name: &str, group: u32, mode: u32) {
    place.write(format!("source/{name}"), name);
    chown(place.at(format!("source/{name}")), Some(NOBODY), Some(group)).expect("root may");
    place.mode(format!("source/{name}"), mode);
}

/// A place for an ordinary user whose files root makes; none, after saying so, without root.
fn place() -> Option<Place> {
    if !is_root() {
        skip("only root can make files of other groups");
        return None;
    }
    Place::of_ordinary_user()
}

fn told(ended: &program::Ended) -> bool {
    ended.console().contains("cannot hold owners and groups")
}

#[test]
fn a_group_that_the_user_is_not_in_gives_the_copy_no_more_than_others_have() {
    let Some(place) = place() else { return };
    let cases =
        [(0o640, 0o600), (0o664, 0o644), (0o644, 0o644), (0o604, 0o600), (0o755, 0o755), (0o4750, 0o4700)];
    for (mode, _) in cases {
        file(&place, &format!("{mode:o}"), FOREIGN, mode);
    }
    place.folder("source/folder");
    chown(place.at("source/folder"), Some(NOBODY), Some(FOREIGN)).expect("root may");
    place.mode("source/folder", 0o2775);
    let ended = place.sync();
    for (mode, expected) in cases {
        assert_eq!(facts(&place.at(format!("replica/{mode:o}"))), (NOBODY, expected), "{mode:o}");
    }
    assert_eq!(facts(&place.at("replica/folder")), (NOBODY, 0o2755));
    assert!(told(&ended), "{ended:?}");
    let again = place.sync();
    assert!(again.stdout.contains("0 created, 0 updated, 0 deleted"), "{again:?}");
    let planned = place.run("--once --dry-run");
    assert!(planned.stdout.contains("0 to create, 0 to update, 0 to delete"), "{planned:?}");
    assert!(!planned.stdout.contains("metadata"), "{planned:?}");
}

#[test]
fn a_group_that_the_user_is_in_is_kept_also_in_a_folder_that_gives_another_one() {
    let Some(place) = place() else { return };
    file(&place, "file", NOBODY, 0o640);
    place.link("source/link", "file");
    lchown(place.at("source/link"), Some(NOBODY), Some(NOBODY)).expect("root may");
    place.folder("replica");
    chown(place.at("replica"), Some(NOBODY), Some(FOREIGN)).expect("root may");
    place.mode("replica", 0o2775);
    let ended = place.sync();
    assert!(!told(&ended), "{ended:?}");
    for name in ["file", "link"] {
        assert_eq!(facts(&place.at(format!("replica/{name}"))).0, NOBODY, "{name}");
    }
    assert_eq!(facts(&place.at("replica/file")).1, 0o640);
    assert_eq!(facts(&place.at("replica")), (NOBODY, 0o755), "the root as well");
}

#[test]
fn a_group_that_changes_in_the_source_changes_in_the_copy_and_its_rights_with_it() {
    let Some(place) = place() else { return };
    file(&place, "file", NOBODY, 0o660);
    place.sync();
    assert_eq!(facts(&place.at("replica/file")), (NOBODY, 0o660));
    chown(place.at("source/file"), Some(NOBODY), Some(FOREIGN)).expect("root may");
    assert!(told(&place.sync()));
    assert_eq!(facts(&place.at("replica/file")), (NOBODY, 0o600), "its group may nothing now");
    chown(place.at("source/file"), Some(NOBODY), Some(NOBODY)).expect("root may");
    assert!(!told(&place.sync()));
    assert_eq!(facts(&place.at("replica/file")), (NOBODY, 0o660));
}

#[test]
fn a_second_group_of_the_user_is_kept() {
    let place = Place::new();
    let groups = rustix::process::getgroups().unwrap_or_default();
    let own = rustix::process::getegid().as_raw();
    let Some(second) = groups.iter().map(|group| group.as_raw()).find(|group| *group != own) else {
        return skip("the user is in one group only");
    };
    place.write("source/folder/file", "content");
    for name in ["source/folder/file", "source/folder"] {
        chown(place.at(name), None, Some(second)).expect("a group of one's own");
    }
    place.mode("source/folder/file", 0o640);
    place.mode("source/folder", 0o2750);
    place.sync();
    assert_eq!(facts(&place.at("replica/folder/file")), (second, 0o640));
    assert_eq!(facts(&place.at("replica/folder")), (second, 0o2750));
    let again = place.sync();
    assert!(again.stdout.contains("0 created, 0 updated, 0 deleted"), "{again:?}");
    assert!(!again.stdout.contains("metadata"), "{again:?}");
}
