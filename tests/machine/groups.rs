//! The group of a copy: kept if the user is a member. Otherwise it gives no right to anybody outside the source's
//! group.

use crate::Test;
use crate::support::leave_out::leave_out;
use crate::support::program::Ended;
use crate::support::scratch::{NOBODY, Scratch, is_root};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::path::Path;

pub(crate) const TESTS: &[Test] = tests![
    a_group_that_the_user_is_not_in_gives_the_copy_no_more_than_others_have,
    a_group_that_the_user_is_in_is_kept_also_in_a_folder_that_gives_another_one,
    a_group_that_changes_in_the_source_changes_in_the_copy_and_its_rights_with_it,
    a_second_group_of_the_user_is_kept,
];

/// A group without members.
const FOREIGN: u32 = 4242;

fn facts(path: &Path) -> (u32, u32) {
    let facts = fs::symlink_metadata(path).expect("there");
    (facts.gid(), facts.mode() & 0o7777)
}

/// A file of an ordinary user, with this group and mode.
fn file(place: &Scratch, name: &str, group: u32, mode: u32) {
    place.write(format!("source/{name}"), name);
    chown(place.at(format!("source/{name}")), Some(NOBODY), Some(group)).expect("root may");
    place.mode(format!("source/{name}"), mode);
}

/// A scratch folder for an ordinary user, in which root creates the files.
fn place() -> Scratch {
    if !is_root() {
        leave_out("only root can make files of other groups");
    }
    Scratch::of_ordinary_user()
}

/// A scratch folder for a user of two groups, and the second group.
fn place_of_two_groups() -> (Scratch, u32) {
    const SECOND: u32 = 4243;
    if is_root() {
        let mut place = Scratch::of_ordinary_user();
        place.groups = &[NOBODY, SECOND];
        if place.bare().arg("--version").output().is_err() {
            leave_out("setpriv(1) is not installed");
        }
        return (place, SECOND);
    }
    let groups = rustix::process::getgroups().unwrap_or_default();
    let own = rustix::process::getegid().as_raw();
    match groups.iter().map(|group| group.as_raw()).find(|group| *group != own) {
        Some(second) => (Scratch::with_source(), second),
        None => leave_out("the user is in one group only"),
    }
}

fn told(ended: &Ended) -> bool {
    ended.console().contains("cannot hold owners and groups")
}

fn a_group_that_the_user_is_not_in_gives_the_copy_no_more_than_others_have() {
    let place = place();
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
    assert_eq!((planned.code, planned.stdout.as_str()), (Some(0), ""), "nothing is planned: {planned:?}");
}

fn a_group_that_the_user_is_in_is_kept_also_in_a_folder_that_gives_another_one() {
    let place = place();
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

fn a_group_that_changes_in_the_source_changes_in_the_copy_and_its_rights_with_it() {
    let place = place();
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

fn a_second_group_of_the_user_is_kept() {
    let (place, second) = place_of_two_groups();
    place.write("source/folder/file", "content");
    for name in ["source/folder/file", "source/folder"] {
        let owner = is_root().then_some(NOBODY);
        chown(place.at(name), owner, Some(second)).expect("a group of one's own");
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
