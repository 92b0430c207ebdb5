//! A full disk: a plan that cannot fit is held. Where it is carried out all the same, deletions free space, a file that
//! still does not fit is a problem, no good old version is lost, and the next pass with enough space heals everything.

use crate::harness::cases::Cases;
use crate::harness::kit::{Mount, may_mount, skip};
use crate::support::dice::Dice;
use crate::support::scratch::Scratch;
use std::fs;

const MIB: usize = 1 << 20;

/// Carries out plans that do not fit.
const ANYWAY: &[&str] = &["--no-space-check"];

/// The plan is held before the first write.
fn assert_held(place: &Scratch, resource: &str) {
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(25), "{:?}", pass.told());
    let held = pass.of("pass_ended").next().expect("an end");
    assert_eq!((&held["hold"], &held["resource"]), (&"no_room".into(), &resource.into()), "{held}");
    assert_eq!(pass.operations(), 0, "{:?}", pass.told());
}

pub(crate) fn run() {
    if !may_mount() {
        return skip("full_disk", "mounting needs root and a mount namespace");
    }
    let cases = Cases::new("full_disk");
    cases.run("deletions make room, and a disk that grows heals the rest", deletions_make_room);
    cases.run("files that never fit keep no others out", some_that_never_fit);
    cases.run("a disk without inodes", no_inodes);
    cases.finish();
}

fn deletions_make_room() {
    let mut place = Scratch::with_source();
    let _small = Mount::tmpfs(&place.at("mnt"), "size=8m");
    place.replica = place.at("mnt").join("replica");
    let mut dice = Dice(4);
    let mut write = |name: &str, size: usize| {
        let bytes = dice.bytes(size);
        fs::write(place.source.join(name), &bytes).expect("written");
        bytes
    };
    write("goes", 5 * MIB);
    let kept = write("kept", 2 * MIB);
    assert_eq!(place.once(&[]).code, Some(0));

    // The new file fits only after the deletion: the second try succeeds, in the same pass.
    fs::remove_file(place.source.join("goes")).expect("removed");
    write("a comes", 4 * MIB);
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    assert_eq!((pass.count("created"), pass.count("deleted")), (1, 1));
    place.assert_in_step("after a deletion made room");

    // Too little space in any order: the new version of a file and a new file do not fit, a small file does.
    write("kept", 3 * MIB);
    write("too much", 7 * MIB);
    let little = write("little", 1000);
    assert_held(&place, "bytes");
    let pass = place.once(ANYWAY);
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    let mut problems: Vec<&str> = pass.of("problem").filter_map(|problem| problem["path"].as_str()).collect();
    problems.sort_unstable();
    assert_eq!(problems, ["kept", "too much"], "{:?}", pass.told());
    assert!(pass.of("problem").all(|problem| problem["errno"] == 28), "{:?}", pass.told());
    assert!(fs::read(place.replica.join("kept")).expect("there") == kept, "the old version is whole");
    assert!(fs::read(place.replica.join("little")).expect("there") == little);
    let left: Vec<_> =
        fs::read_dir(&place.replica).expect("there").map(|entry| entry.expect("there").file_name()).collect();
    assert_eq!(left.len(), 3, "no temporary is left behind: {left:?}");

    // The disk grows, and the next pass heals.
    let remount = ["-o", "remount,size=32m"].map(std::ffi::OsStr::new);
    crate::harness::kit::sh("mount", &[remount[0], remount[1], place.at("mnt").as_os_str()]);
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    place.assert_in_step("after the disk has grown");
}

/// A file that is too large for the disk keeps no other file out.
fn some_that_never_fit() {
    let mut place = Scratch::with_source();
    let _small = Mount::tmpfs(&place.at("mnt"), "size=8m");
    place.replica = place.at("mnt").join("replica");
    let mut dice = Dice(5);
    for number in 0..60 {
        fs::write(place.source.join(format!("small {number}")), dice.bytes(100_000)).expect("written");
    }
    for number in 0..4 {
        let path = place.source.join(format!("never fits {number}"));
        fs::write(&path, dice.bytes(20 * MIB)).expect("written");
    }
    assert_held(&place, "bytes");
    let pass = place.once(ANYWAY);
    assert_eq!(
        (pass.code, pass.count("created"), pass.count("problems")),
        (Some(23), 60, 4),
        "{:?}",
        pass.told()
    );
}

/// The disk runs out of inodes instead of bytes.
fn no_inodes() {
    let mut place = Scratch::with_source();
    let _few = Mount::tmpfs(&place.at("mnt"), "size=32m,nr_inodes=20");
    place.replica = place.at("mnt").join("replica");
    for number in 0..40 {
        fs::write(place.source.join(number.to_string()), "x").expect("written");
    }
    assert_held(&place, "inodes");
    let pass = place.once(ANYWAY);
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    assert_eq!(pass.count("created") + pass.count("problems"), 40);
    for number in 8..40 {
        fs::remove_file(place.source.join(number.to_string())).expect("removed");
    }
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    place.assert_in_step("after fewer files were wanted");
}
