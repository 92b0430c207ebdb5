//! True and apparent absence in the source: names that are listed but cannot be examined, locked folders, names that
//! move during a survey, and names that the replica refuses.

mod locked;

use crate::fuse::odd::Mounted;
use crate::harness::cases::Cases;
use crate::harness::kit::{Mount, Pass, has, may_mount, skip};
use crate::harness::stopped::Stopped;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;

pub(crate) fn run() {
    let cases = Cases::new("absence");
    moved(&cases);
    if may_mount() {
        ghosts(&cases);
        cases.run("names with a colon are refused by a filesystem through FUSE", || refused(Refusing::Fuse));
        cases.run("names with a colon are refused by ntfs-3g", || refused(Refusing::Ntfs));
    } else {
        skip("ghosts and refused names", "mounting needs root and a mount namespace");
    }
    locked::run(&cases);
    cases.finish();
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    fs::write(path, content).expect("written");
}

fn problems(pass: &Pass) -> Vec<&str> {
    let mut paths: Vec<&str> =
        pass.of("problem").map(|problem| problem["path"].as_str().expect("a path")).collect();
    paths.sort_unstable();
    paths
}

/// A filesystem through FUSE.
fn odd(at: &Path) -> Mounted {
    Mounted::new(at).unwrap_or_else(|error| leave_out(&format!("FUSE cannot be mounted here: {error}")))
}

// Moves during the survey.

/// Stops a pass after calls of all kinds, moves files and folders through the whole tree, and continues it: each file
/// that was in both trees is somewhere in the replica at its end.
fn moved(cases: &Cases) {
    for (call, nth) in [
        ("getdents64", 1),
        ("getdents64", 9),
        ("getdents64", 20),
        ("getdents64", 35),
        ("statx", 60),
        ("statx", 150),
        ("statx", 260),
        ("openat", 150),
        ("mkdirat", 1),
        ("renameat2", 1),
        ("unlinkat", 1),
        ("unlinkat", 3),
    ] {
        for step in [1, 5] {
            cases.run(&format!("things move by {step} after {call} {nth}"), || moves(call, nth, step, false));
        }
    }
    // What moved before the pass is moved in the replica as well.
    for (call, nth) in [
        ("getdents64", 1),
        ("getdents64", 20),
        ("statx", 60),
        ("statx", 150),
        ("openat", 100),
        ("renameat2", 1),
        ("renameat2", 2),
        ("renameat2", 3),
    ] {
        for step in [1, 5] {
            cases.run(&format!("things that are known move by {step} after {call} {nth}"), || {
                moves(call, nth, step, true);
            });
        }
    }
}

const ROOMS: usize = 12;

/// Without an index what has moved is created and deleted.
fn moves(call: &'static str, nth: usize, step: usize, is_known: bool) {
    let place = Scratch::with_source();
    let room = |room: usize| place.source.join(format!("room {}", room % ROOMS));
    let thing = |number: usize| format!("thing {number}");
    for number in 0..ROOMS {
        write(&room(number).join(thing(number)).join("file"), &format!("content {number}"));
        write(&room(number).join(format!("file {number}")), &format!("a file {number}"));
    }
    assert_eq!(place.once(&[]).code, Some(0));
    if !is_known {
        fs::remove_dir_all(place.state()).expect("removed");
    }
    // Some are moved before the pass, so that it has entries to create and to delete.
    for number in 0..3 {
        fs::rename(room(number).join(thing(number)), room(number + 7).join(thing(number))).expect("moved");
    }
    let rooms = |number: usize| if number < 3 { number + 7 } else { number };
    let stopped = Stopped::after(&place, call, nth);
    for number in 0..ROOMS {
        let from = room(rooms(number)).join(thing(number));
        fs::rename(from, room(rooms(number) + step).join(thing(number))).expect("moved");
        let from = room(number).join(format!("file {number}"));
        fs::rename(from, room(number + step).join(format!("moved file {number}"))).expect("moved");
    }
    let pass = stopped.resume();
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    let found = contents(&place.replica);
    for number in 0..ROOMS {
        for content in [format!("content {number}"), format!("a file {number}")] {
            assert!(found.contains(&content), "{content} is nowhere in the replica: {:?}", pass.told());
        }
    }
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("when everything rests");
}

/// The contents of all files below a folder.
fn contents(folder: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let kind = fs::symlink_metadata(&path).expect("there").file_type();
        if kind.is_dir() {
            out.extend(contents(&path));
        } else if kind.is_file() {
            out.push(fs::read_to_string(&path).expect("readable"));
        }
    }
    out
}

// Names listed and denied.

fn ghosts(cases: &Cases) {
    for (errno, code) in [
        (Errno::NOENT, "ENOENT"),
        (Errno::STALE, "ESTALE"),
        (Errno::LOOP, "ELOOP"),
        (Errno::NOTDIR, "ENOTDIR"),
    ] {
        // Denied from the first look on, or from a later one: when it is opened, copied, or examined by apply.
        for after in 0..6 {
            let name = format!("a file of the source is listed and denied with {code} after {after} looks");
            cases.run(&name, || ghost_in_the_source(errno, after));
        }
    }
    for after in 0..4 {
        cases.run(&format!("a folder of the source is listed and denied after {after} looks"), || {
            ghost_folder(after);
        });
        cases.run(&format!("a name in a new folder is listed and denied after {after} looks"), || {
            ghost_in_a_new_folder(after);
        });
    }
    cases.run("a name of the replica is listed and denied", ghost_in_the_replica);
    cases.run("a name in a folder of the replica that goes is listed and denied", ghost_in_what_goes);
    cases.run("a file that vanishes is no problem", a_real_disappearance);
    cases.run("a file of the replica that vanishes is made again", a_disappearance_in_the_replica);
    cases.run("a folder in which thousands of names are denied is listed a few times", many_ghosts);
}

fn with_odd_source() -> (Scratch, Mounted) {
    let mut place = Scratch::with_source();
    place.source = place.at("odd");
    let mounted = odd(&place.source);
    (place, mounted)
}

fn ghost_in_the_source(errno: Errno, after: usize) {
    let (place, odd) = with_odd_source();
    for name in ["ghost", "file", "gone", "folder/file"] {
        write(&place.source.join(name), name);
    }
    assert_eq!(place.once(&[]).code, Some(0));
    let ghost = place.replica.join("ghost");
    write(&place.source.join("ghost"), "changed and longer");
    fs::remove_file(place.source.join("gone")).expect("removed");
    for round in 0..3 {
        odd.deny("ghost", errno.raw_os_error(), if round == 0 { after } else { 0 });
        let pass = place.once(&[]);
        let is_copied = fs::read(&ghost).expect("kept") == b"changed and longer";
        assert!(is_copied || fs::read(&ghost).expect("kept") == b"ghost");
        // A denial may come too late to matter.
        if !(round == 0 && is_copied && pass.code == Some(0)) {
            assert_eq!((pass.code, problems(&pass)), (Some(23), vec!["ghost"]), "{:?}", pass.told());
        }
        assert!(!place.replica.join("gone").exists(), "what is beside it goes its way");
    }
    odd.deny_nothing();
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("without ghosts");
}

fn ghost_folder(after: usize) {
    let (place, odd) = with_odd_source();
    for name in ["ghost/file", "ghost/below/file", "folder/file"] {
        write(&place.source.join(name), name);
    }
    assert_eq!(place.once(&[]).code, Some(0));
    let kept = contents(&place.replica.join("ghost")).len();
    fs::remove_file(place.source.join("ghost/file")).expect("removed");
    for round in 0..2 {
        odd.deny("ghost", Errno::NOENT.raw_os_error(), if round == 0 { after } else { 0 });
        let pass = place.once(&[]);
        let is_through = !place.replica.join("ghost/file").exists();
        assert!(contents(&place.replica.join("ghost")).len() + usize::from(is_through) == kept);
        if !(is_through && pass.code == Some(0)) {
            assert_eq!((pass.code, problems(&pass)), (Some(23), vec!["ghost"]), "{:?}", pass.told());
        }
    }
    odd.deny_nothing();
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("without ghosts");
}

fn ghost_in_a_new_folder(after: usize) {
    let (place, odd) = with_odd_source();
    write(&place.source.join("file"), "content");
    assert_eq!(place.once(&[]).code, Some(0));
    for name in ["new/ghost", "new/file", "new/below/file"] {
        write(&place.source.join(name), name);
    }
    for round in 0..2 {
        odd.deny("ghost", Errno::NOENT.raw_os_error(), if round == 0 { after } else { 0 });
        let pass = place.once(&[]);
        assert!(place.replica.join("new/below/file").exists());
        if !(place.replica.join("new/ghost").exists() && pass.code == Some(0)) {
            assert_eq!((pass.code, problems(&pass)), (Some(23), vec!["new/ghost"]), "{:?}", pass.told());
        }
    }
    odd.deny_nothing();
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("without ghosts");
}

fn with_odd_replica() -> (Scratch, Mounted) {
    let mut place = Scratch::with_source();
    place.replica = place.at("odd");
    let mounted = odd(&place.replica);
    (place, mounted)
}

fn ghost_in_the_replica() {
    let (place, odd) = with_odd_replica();
    for name in ["ghost", "file"] {
        write(&place.source.join(name), name);
    }
    assert_eq!(place.once(&[]).code, Some(0));
    write(&place.source.join("file"), "changed and longer");
    odd.deny("ghost", Errno::NOENT.raw_os_error(), 0);
    for _ in 0..2 {
        let pass = place.once(&[]);
        assert_eq!((pass.code, problems(&pass)), (Some(23), vec!["ghost"]), "{:?}", pass.told());
        assert_eq!(fs::read(place.replica.join("file")).expect("there"), b"changed and longer");
    }
    // Also as an extra.
    fs::remove_file(place.source.join("ghost")).expect("removed");
    let pass = place.once(&[]);
    assert_eq!((pass.code, problems(&pass)), (Some(23), vec!["ghost"]), "{:?}", pass.told());
    odd.deny_nothing();
    assert_eq!(place.once(&[]).code, Some(0));
    assert!(!place.replica.join("ghost").exists());
}

fn ghost_in_what_goes() {
    let (place, odd) = with_odd_replica();
    for name in ["goes/ghost", "goes/file", "goes/below/file", "file"] {
        write(&place.source.join(name), name);
    }
    assert_eq!(place.once(&[]).code, Some(0));
    fs::remove_dir_all(place.source.join("goes")).expect("removed");
    odd.deny("ghost", Errno::NOENT.raw_os_error(), 0);
    for _ in 0..2 {
        let pass = place.once(&[]);
        assert_eq!((pass.code, problems(&pass)), (Some(23), vec!["goes"]), "{:?}", pass.told());
        assert!(!place.replica.join("goes/file").exists() && !place.replica.join("goes/below").exists());
    }
    odd.deny_nothing();
    assert_eq!(place.once(&[]).code, Some(0));
    assert!(!place.replica.join("goes").exists());
}

/// Ten files, all removed while the pass is stopped in the middle.
fn a_real_disappearance() {
    for (call, nth) in [("getdents64", 1), ("getdents64", 2), ("statx", 40), ("pread64", 2)] {
        let place = Scratch::with_source();
        for number in 0..10 {
            write(&place.source.join(format!("folder/{number}")), "content");
        }
        assert_eq!(place.once(&[]).code, Some(0));
        for number in 0..10 {
            write(&place.source.join(format!("folder/{number}")), "CONTENT");
        }
        let stopped = Stopped::after(&place, call, nth);
        for number in 0..10 {
            fs::remove_file(place.source.join(format!("folder/{number}"))).expect("removed");
        }
        let pass = stopped.resume();
        assert_eq!((pass.code, problems(&pass)), (Some(0), vec![]), "{call} {nth}: {:?}", pass.told());
        assert_eq!(place.once(&[]).code, Some(0));
        place.assert_in_step("when everything rests");
    }
}

/// Removed between the listing of the replica and the lookup: the file was in the replica, so it is copied again at
/// once.
fn a_disappearance_in_the_replica() {
    let place = Scratch::with_source();
    for name in ["file", "other"] {
        write(&place.source.join(name), name);
    }
    assert_eq!(place.once(&[]).code, Some(0));
    // Each of the two folders is listed by two calls.
    let stopped = Stopped::after(&place, "getdents64", 4);
    fs::remove_file(place.replica.join("file")).expect("removed");
    let pass = stopped.resume();
    assert_eq!((pass.code, problems(&pass)), (Some(0), vec![]), "{:?}", pass.told());
    assert_eq!(fs::read(place.replica.join("file")).expect("made again"), b"file");
}

/// Each listing of a large folder takes long.
fn many_ghosts() {
    const NAMES: usize = 3000;
    let (place, odd) = with_odd_source();
    for number in 0..NAMES {
        File::create(place.source.join(format!("ghost {number}"))).expect("created");
        odd.deny(&format!("ghost {number}"), Errno::NOENT.raw_os_error(), 0);
    }
    let _ = odd.listings();
    let pass = place.once(&[]);
    assert_eq!((pass.code, problems(&pass).len()), (Some(23), NAMES));
    let listings = odd.listings();
    // One of the survey, and a few at the end.
    assert!((2..=8).contains(&listings), "{listings} listings");
}

// Names refused by the replica.

/// Files that contain their own names.
const TEXTS: [&str; 9] = [
    "report",
    "folder/report",
    "folder/other",
    "goes/report",
    "goes/below/report",
    "moves/report",
    "deep/down/report",
    "deep/moves/report",
    "deep/down/other",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusing {
    Fuse,
    Ntfs,
}

fn refused(by: Refusing) {
    let mut place = Scratch::with_source();
    let (mut _odd, mut _ntfs) = (None, None);
    match by {
        Refusing::Fuse => {
            place.replica = place.at("odd");
            let mounted = odd(&place.replica);
            mounted.refuse(":");
            _odd = Some(mounted);
        }
        Refusing::Ntfs => {
            _ntfs = Some(ntfs(&place));
            place.replica = place.at("mnt/replica");
        }
    }
    let at = |name: &str| place.source.join(name);
    for name in TEXTS {
        write(&at(name), &format!("the only text of {name}"));
    }
    write(&at("an extra"), "of another size");
    std::os::unix::fs::symlink("report", at("link")).expect("linked");
    assert!(matches!(place.once(&[]).code, Some(0)));
    // Within a folder, to another one, out of deleted folders (which stay as a whole), a folder itself, a link.
    fs::rename(at("report"), at("report: final")).expect("renamed");
    fs::rename(at("folder/report"), at("report: of folder")).expect("renamed");
    fs::rename(at("goes/report"), at("folder/report: of goes")).expect("renamed");
    fs::rename(at("goes/below/report"), at("report: of below")).expect("renamed");
    fs::remove_dir_all(at("goes")).expect("removed");
    fs::rename(at("moves"), at("moves: away")).expect("renamed");
    fs::rename(at("link"), at("link: moved")).expect("renamed");
    fs::create_dir_all(at("new: folder/below")).expect("created");
    fs::rename(at("deep/down/report"), at("new: folder/below/report")).expect("renamed");
    fs::rename(at("deep/moves"), at("new: folder/moves")).expect("renamed");
    fs::remove_file(at("an extra")).expect("removed");
    let told = [
        "folder/report: of goes",
        "link: moved",
        "moves: away",
        "new: folder",
        "report: final",
        "report: of below",
        "report: of folder",
    ];
    for _ in 0..2 {
        let pass = place.once(&[]);
        assert_eq!((pass.code, problems(&pass)), (Some(23), told.to_vec()), "{:?}", pass.told());
        let kept: Vec<_> = pass.of("notice").filter(|notice| notice["notice"] == "kept_back").collect();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(
            (kept[0]["kept_because"].as_str(), kept[0]["entries"].as_u64()),
            (Some("not_created"), Some(7))
        );
        let found = contents(&place.replica);
        for name in TEXTS {
            assert!(found.contains(&format!("the only text of {name}")), "{name} is nowhere: {found:?}");
        }
        assert!(fs::symlink_metadata(place.replica.join("link")).is_ok(), "the link is nowhere");
        assert!(!place.replica.join("an extra").exists());
    }
    // With acceptable names everything is created, and then the old names are deleted.
    for (old, new) in [
        ("report: final", "final"),
        ("report: of folder", "of folder"),
        ("folder/report: of goes", "folder/of goes"),
        ("report: of below", "of below"),
        ("moves: away", "away"),
        ("link: moved", "moved"),
        ("new: folder", "new"),
    ] {
        fs::rename(at(old), at(new)).expect("renamed");
    }
    assert_eq!(place.once(&[]).code, Some(0));
    let (mut ours, mut theirs) = (contents(&place.source), contents(&place.replica));
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
}

fn ntfs(place: &Scratch) -> Mount {
    if !has("mkntfs") || !has("ntfs-3g") {
        leave_out("ntfs-3g is not installed");
    }
    let image = place.at("image");
    File::create(&image).and_then(|made| made.set_len(64 << 20)).expect("an image");
    crate::harness::kit::sh(
        "mkntfs",
        &[OsStr::new("-q"), OsStr::new("-F"), OsStr::new("-f"), image.as_os_str()],
    );
    let options = [OsStr::new("-o"), OsStr::new("windows_names,permissions"), image.as_os_str()];
    Mount::new(&place.at("mnt"), "ntfs-3g", &options)
        .unwrap_or_else(|why| leave_out(&format!("ntfs-3g: {why}")))
}
