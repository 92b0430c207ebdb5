//! New folders are filled with their first files under a temporary name. A visible folder is whole after every failure,
//! and only entries created for it are removed.

use crate::harness::cases::Cases;
use crate::harness::images::{EXFAT_FUSE, mounted};
use crate::harness::trace::with_faults;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::fs;

pub(crate) fn run() {
    let cases = Cases::new("new_folders");
    for error in ["EXDEV", "EPERM", "EINVAL", "ENOTEMPTY"] {
        cases.run(&format!("a folder that cannot be renamed ({error})"), || not_renamed(error));
    }
    for (what, also) in [("removed", None), ("removed or renamed", Some("renameat2:error=EIO"))] {
        cases.run(&format!("a torn file that cannot be {what}"), || torn(also));
    }
    for (what, fault) in [("unreadable", "openat:error=EIO"), ("gone", "openat:error=ENOENT")] {
        cases.run(&format!("two names that are one, the second one {what}"), || one_name(fault));
    }
    cases.run("a folder whose name is taken is not filled twice", name_taken);
    cases.finish();
}

fn tree(place: &Scratch) {
    fs::create_dir_all(place.source.join("new/below")).expect("folders");
    // More than one read.
    fs::write(place.source.join("new/b"), vec![7; 500_000]).expect("written");
    for name in ["new/a", "new/c", "new/below/d"] {
        fs::write(place.source.join(name), name).expect("written");
    }
}

fn heals(place: &Scratch) {
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    place.assert_in_step("one quiet pass later");
}

/// The folder is created under its final name instead, with its first files and those after them.
fn not_renamed(error: &str) {
    let place = Scratch::with_source();
    tree(&place);
    let pass = with_faults(&place, &[&format!("renameat2:error={error}:when=1")], None);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    assert_eq!(pass.count("created"), 6, "{:?}", pass.told());
    place.assert_in_step("a folder that was not renamed");
}

/// The second write of `new/b` fails, and so does the removal of the torn file.
fn torn(also: Option<&str>) {
    let place = Scratch::with_source();
    // Makes the index. While it is being made, the second write may be one to its journal.
    assert_eq!(place.once(&[]).code, Some(0));
    tree(&place);
    let faults = ["pwrite64:error=EIO:when=2", "unlinkat:error=EIO"];
    let faults: Vec<&str> = faults.into_iter().chain(also).collect();
    let pass = with_faults(&place, &faults, None);
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    assert!(!place.replica.join("new/b").exists(), "torn, and seen: {:?}", pass.told());
    let is_seen = place.replica.join("new/a").exists();
    assert_eq!(is_seen, also.is_none(), "what is whole is seen with the folder: {:?}", pass.told());
    heals(&place);
}

/// A filesystem that takes `A` and `a` for one name has `A` already when the source's `a` fails.
fn one_name(fault: &str) {
    let mut place = Scratch::with_source();
    let mount = mounted(&place, &EXFAT_FUSE);
    let _mount = mount.unwrap_or_else(|why| leave_out(&format!("exfat-fuse: {why}")));
    place.replica = place.at("mnt").join("replica");
    fs::create_dir_all(place.source.join("old")).expect("a folder");
    fs::write(place.source.join("old/A"), "content").expect("written");
    assert_eq!(place.once(&[]).code, Some(0));
    fs::create_dir(place.source.join("new")).expect("a folder");
    fs::rename(place.source.join("old/A"), place.source.join("new/A")).expect("moved");
    fs::write(place.source.join("new/a"), "another").expect("written");
    let pass = with_faults(&place, &[fault], Some("new/a"));
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    assert!(!place.replica.join("old/A").exists(), "the pass went on: {:?}", pass.told());
    assert_eq!(fs::read(place.replica.join("new/A")).expect("the only copy"), b"content");
}

/// Two folders of the source that are one on the replica: one is a problem, and nothing is copied repeatedly for it.
fn name_taken() {
    let mut place = Scratch::with_source();
    let mount = mounted(&place, &EXFAT_FUSE);
    let _mount = mount.unwrap_or_else(|why| leave_out(&format!("exfat-fuse: {why}")));
    place.replica = place.at("mnt").join("replica");
    for folder in ["Dir", "dir"] {
        fs::create_dir(place.source.join(folder)).expect("a folder");
        fs::write(place.source.join(folder).join("file"), folder).expect("written");
    }
    let first = place.once(&[]);
    assert_eq!(first.code, Some(23), "{:?}", first.told());
    let kept = fs::read(place.replica.join("Dir/file")).expect("there");
    assert!(kept == b"Dir" || kept == b"dir", "{kept:?}");
    // A new process learns it once.
    let again = place.passes(2);
    let written = again.of("done").last().map(|done| done["bytes_written"].clone());
    assert_eq!(written, Some(0.into()), "{:?}", again.told());
    assert_eq!(fs::read(place.replica.join("Dir/file")).expect("there"), kept);
}
