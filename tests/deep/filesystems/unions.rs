//! Union filesystems: overlayfs, and mergerfs, where a renamed folder gets another inode number. Part of the suite
//! `filesystems`.

use crate::filesystems::stories::Stage;
use crate::filesystems::{EVERYTHING, both_ways};
use crate::harness::cases::Cases;
use crate::harness::every_kind::{edit, every_kind};
use crate::harness::kit::{Mount, has};
use crate::support::edits::Limits;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

pub(crate) fn run(cases: &Cases) {
    cases.run("every kind of entry on overlayfs", || {
        on_union("overlayfs", |place| overlay(place, "index=off"));
    });
    for options in ["index=off", "index=on", "index=off,redirect_dir=on"] {
        cases.run(&format!("entries that an overlayfs with {options} has below are changed above"), || {
            below_an_overlay(options);
        });
    }
    cases.run("every kind of entry on mergerfs", || on_union("mergerfs", merged));
    cases.run("new folders that are other ones under their names", renamed_is_another);
}

/// Random stories on each of them.
pub(crate) fn stories(cases: &Cases, elsewhere: &Path) {
    for (name, mount) in [
        ("overlayfs", (|place| overlay(place, "index=off")) as fn(&Scratch) -> Result<Mount, String>),
        ("mergerfs", merged),
    ] {
        let place = Scratch::below(elsewhere);
        match mount(&place) {
            Ok(_mount) => {
                Stage { name, at: &place.at("mnt"), elsewhere, limits: Limits::None }.play_all(cases);
            }
            Err(why) => cases.run(&format!("stories on {name}"), || leave_out(&format!("{name}: {why}"))),
        }
    }
}

/// An overlayfs of the lower folder `lower` and an empty upper folder; both lie where the place lies.
fn overlay(place: &Scratch, options: &str) -> Result<Mount, String> {
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| place.at(name));
    for folder in [&lower, &upper, &work] {
        fs::create_dir_all(folder).expect("created");
    }
    let folders = format!("lowerdir={},upperdir={}", lower.display(), upper.display());
    let options = format!("{folders},workdir={},{options}", work.display());
    let arguments = ["-t", "overlay", "-o", &options, "overlay"].map(OsStr::new);
    Mount::new(&place.at("mnt"), "mount", &arguments)
}

fn on_union(name: &str, mount: impl FnOnce(&Scratch) -> Result<Mount, String>) {
    let memory = Scratch::with_source();
    let _memory = Mount::tmpfs(&memory.at("memory"), "size=1g");
    let mut place = Scratch::below(&memory.at("memory"));
    match mount(&place) {
        Ok(_mount) => both_ways(name, &mut place, &[]),
        Err(why) => leave_out(&format!("{name}: {why}")),
    }
}

/// The replica is in the lower folder when the first pass over it begins. So every change copies up, every deletion is
/// a whiteout, and a change of one name of a hard link group breaks the link. The lower folder stays unchanged.
fn below_an_overlay(options: &str) {
    let memory = Scratch::with_source();
    let _memory = Mount::tmpfs(&memory.at("memory"), "size=1g");
    let mut place = Scratch::below(&memory.at("memory"));
    place.replica = place.at("lower").join("replica");
    every_kind(&place.source, EVERYTHING);
    assert_eq!(place.once(&[]).code, Some(0));
    let below = Tree::of(&place.replica).stamped();
    let lower = place.replica.clone();
    let _mount =
        overlay(&place, options).unwrap_or_else(|why| leave_out(&format!("overlayfs with {options}: {why}")));
    place.replica = place.at("mnt").join("replica");
    edit(&place.source, &place.replica, EVERYTHING);
    place.passes(3);
    if !options.contains("redirect_dir=on") {
        // Such an overlay refuses to rename a folder of the lower layer, so nothing can be exchanged with it.
        let stuck = place.once(&[]);
        let problems: Vec<_> =
            stuck.of("problem").map(|it| (it["path"].as_str(), it["errno"].as_u64())).collect();
        assert_eq!((stuck.code, problems), (Some(23), vec![(Some("empty"), Some(18))]), "{options}");
        fs::remove_dir(place.replica.join("empty")).expect("removed");
        assert_eq!(place.once(&[]).code, Some(0), "{options}");
    }
    place.assert_in_step(options);
    assert_same("what lies below changed", &below, &Tree::of(&lower).stamped());
}

/// A mergerfs of two folders. A new folder is created on the branch of its parent.
fn merged(place: &Scratch) -> Result<Mount, String> {
    if !has("mergerfs") {
        return Err("mergerfs is not installed".to_owned());
    }
    let branches = ["one", "other"].map(|name| place.at(name));
    for branch in &branches {
        fs::create_dir_all(branch).expect("created");
    }
    let branches = branches.map(|branch| branch.display().to_string()).join(":");
    Mount::new(
        &place.at("mnt"),
        "mergerfs",
        &["-o", "allow_other,use_ino,minfreespace=1M,cache.attr=0,cache.entry=0", &branches].map(OsStr::new),
    )
}

/// A new folder is filled under a temporary name. It is found under its final name even if its descriptor was closed
/// meanwhile, because more folders below it are in use than may be open.
fn renamed_is_another() {
    let memory = Scratch::with_source();
    let _memory = Mount::tmpfs(&memory.at("memory"), "size=1g");
    let mut place = Scratch::below(&memory.at("memory"));
    let _mount = merged(&place).unwrap_or_else(|why| leave_out(&format!("mergerfs: {why}")));
    place.replica = place.at("mnt").join("replica");
    fs::create_dir(place.at("mnt").join("a")).expect("created");
    let inode = |name: &str| fs::metadata(place.at("mnt").join(name)).expect("there").ino();
    let before = inode("a");
    fs::rename(place.at("mnt").join("a"), place.at("mnt").join("b")).expect("renamed");
    assert_ne!(before, inode("b"), "this mergerfs does not number folders by their names");
    for number in 0..200 {
        let below = place.source.join(format!("folder/{number}"));
        fs::create_dir_all(&below).expect("created");
        fs::write(below.join("file"), number.to_string()).expect("written");
        fs::write(place.source.join(format!("folder/file {number}")), "content").expect("written");
    }
    let mut few = Command::new("prlimit");
    few.arg("--nofile=64");
    let pass = place.run_command(place.file_sync_under(few, &["--once"]));
    assert_eq!((pass.code, pass.count("created")), (Some(0), 601), "{:?}", pass.told());
    place.assert_in_step("mergerfs");
}
