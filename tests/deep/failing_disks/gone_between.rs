//! Lost mounts between two passes of one process, on filesystems of every kind: the pass is held, nothing is deleted
//! for it, nothing is written into the mount point, and the passes go on when the disk is back. Part of the suite
//! `failing_disks`.

use crate::failing_disks::Bench;
use crate::failing_disks::lost_mounts::served;
use crate::harness::cases::Cases;
use crate::harness::images::{BTRFS, EXT4, XFS};
use crate::harness::images::{Image, mounted_again};
use crate::harness::kit::{Mount, Running, has, is_of, sh, try_sh};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn run(cases: &Cases, memory: &Path) {
    for image in [&EXT4, &XFS, &BTRFS] {
        let name = image.name;
        for below in ["", "a/replica"] {
            let root = if below.is_empty() { "the mount itself" } else { "a folder on it" };
            for end in [End::Unmounted, End::Pulled] {
                cases.run(
                    &format!("a replica on {name}, {root}, {} between two passes", end.words()),
                    || {
                        replica_goes(memory, image, below, end);
                    },
                );
            }
        }
        cases.run(
            &format!("a source on {name} goes between two passes, and its mount point has a file"),
            || {
                source_goes(memory, image);
            },
        );
        cases.run(&format!("another {name} comes under the same device number"), || swapped(memory, image));
        cases.run(&format!("a disk with {name} inside the source goes with its mount point"), || {
            inner_disk_goes(memory, image);
        });
        cases.run(&format!("a disk with {name} inside the replica goes with the replica folder"), || {
            inner_disk_goes_with_the_replica(memory, image);
        });
    }
    cases.run("subvolumes of a btrfs are folders, and mounts where they are mounted", || subvolumes(memory));
    cases.run("a source on an overlayfs is unmounted between two passes", || overlay_goes(memory));
    cases.run("the server of a source on FUSE dies between two passes", || server_dies(memory));
    for nth in [1, 2, 3, 4, 5] {
        cases.run(
            &format!("the system has no more open files when it is asked for mounts, time {nth}"),
            || {
                system_is_short(memory, nth);
            },
        );
    }
}

/// A file-sync process that makes passes one second apart.
struct Passes<'a> {
    place: &'a Scratch,
    running: Running,
}

impl<'a> Passes<'a> {
    fn start(place: &'a Scratch) -> Passes<'a> {
        let passes = Passes {
            place,
            running: Running(place.file_sync(&["--interval", "1"]).spawn().expect("it starts")),
        };
        place.wait_for("done", 1);
        passes
    }

    /// Waits until two more passes have ended like this: the first of them may have begun before the last change.
    fn end_with(&self, event: &str) {
        let count = self.place.events().iter().filter(|it| is_of(it, event)).count();
        self.place.wait_for(event, count + 2);
    }

    /// Stops the process; returns its events of held passes.
    fn stop(self) -> Vec<serde_json::Value> {
        assert_eq!(self.running.stop(), Some(0));
        let events = self.place.events();
        events.into_iter().filter(|event| event["outcome"] == "held").collect()
    }
}

fn umount(at: &Path, option: Option<&str>) {
    let words: Vec<&OsStr> = option.map(OsStr::new).into_iter().chain([at.as_os_str()]).collect();
    sh("umount", &words);
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A few files and folders.
fn fill(folder: &Path) {
    fs::create_dir_all(folder.join("deep/er")).expect("created");
    for name in ["one", "deep/two", "deep/er/three"] {
        fs::write(folder.join(name), name).expect("written");
    }
}

/// The end of a disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Unmounted lazily, while it is in use.
    Unmounted,
    /// Every read and write fails, then it is unmounted lazily.
    Pulled,
}

impl End {
    fn words(self) -> &'static str {
        match self {
            End::Unmounted => "is unmounted",
            End::Pulled => "is pulled out",
        }
    }
}

fn replica_goes(memory: &Path, image: &'static Image, below: &str, end: End) {
    let mut bench = Bench::new(memory, image);
    let mount_point = bench.mount_point();
    bench.place.replica = if below.is_empty() { mount_point.clone() } else { mount_point.join(below) };
    fill(&bench.place.source);
    let passes = Passes::start(&bench.place);
    if end == End::Pulled {
        let words = ["-x", "-c", "shutdown"].map(OsStr::new).into_iter().chain([mount_point.as_os_str()]);
        try_sh("xfs_io", &words.collect::<Vec<_>>())
            .unwrap_or_else(|why| leave_out(&format!("no shutdown: {why}")));
    }
    umount(&mount_point, Some("-l"));
    passes.end_with("held");
    assert_eq!(names(&mount_point), [""; 0], "something was made in the mount point");
    // Nothing keeps the disk open: the loop device has gone with it.
    let loops = Command::new("losetup").arg("-j").arg(bench.place.at("image")).output().expect("losetup");
    assert_eq!(String::from_utf8_lossy(&loops.stdout), "", "the disk is still in use");
    let _disk = mounted_again(&bench.place, image).expect("it mounts again");
    fs::write(bench.place.source.join("later"), "later").expect("written");
    passes.end_with("done");
    let held = passes.stop();
    assert!(held.iter().all(|held| held["hold"] == "mount_gone" && held["side"] == "replica"), "{held:?}");
    assert_eq!(fs::read(bench.place.replica.join("later")).expect("there"), b"later");
    assert_eq!(fs::read(bench.place.replica.join("deep/er/three")).expect("there"), b"deep/er/three");
}

fn source_goes(memory: &Path, image: &'static Image) {
    let mut bench = Bench::new(memory, image);
    let (source, replica) = (bench.mount_point(), bench.place.at("replica"));
    (bench.place.source, bench.place.replica) = (source.clone(), replica);
    fill(&source);
    let passes = Passes::start(&bench.place);
    let before = Tree::of(&bench.place.replica).stamped();
    for marker in [false, true] {
        umount(&source, None);
        if marker {
            fs::write(source.join("NOT_MOUNTED"), "").expect("written");
        }
        passes.end_with("held");
        assert_same("a held pass wrote", &before, &Tree::of(&bench.place.replica).stamped());
        let disk = mounted_again(&bench.place, image).expect("it mounts again");
        passes.end_with("done");
        assert_same("nothing has changed", &before, &Tree::of(&bench.place.replica).stamped());
        std::mem::forget(disk);
    }
    let held = passes.stop();
    assert!(held.iter().all(|held| held["hold"] == "mount_gone" && held["side"] == "source"), "{held:?}");
}

/// The kernel reuses the device number for the next disk, and all filesystems of a kind have the same root inode
/// number.
fn swapped(memory: &Path, image: &'static Image) {
    let mut bench = Bench::new(memory, image);
    bench.place.replica = bench.mount_point();
    fill(&bench.place.source);
    let passes = Passes::start(&bench.place);
    umount(&bench.mount_point(), Some("-l"));
    passes.end_with("held");
    let (right, wrong) = (bench.place.at("image"), bench.place.at("right"));
    fs::rename(&right, &wrong).expect("renamed");
    let disk = crate::harness::images::mounted(&bench.place, image).expect("a new one mounts");
    let blank = names(&bench.mount_point());
    // The identity of an xfs is its device number. Then the memory of the process tells, not that of the index.
    let is_other = |event: &serde_json::Value| {
        ["other_root", "other_filesystem"].iter().any(|hold| event["hold"] == *hold)
            && event["side"] == "replica"
    };
    assert_eq!(passes.place.events().iter().filter(|event| is_other(event)).count(), 0);
    passes.end_with("held");
    assert_eq!(names(&bench.mount_point()), blank, "a blank disk was filled");
    drop(disk);
    fs::rename(&wrong, &right).expect("renamed");
    let _disk = mounted_again(&bench.place, image).expect("it mounts again");
    passes.end_with("done");
    let held = passes.stop();
    let other = held.iter().find(|held| is_other(held)).expect("told");
    let is_told =
        other["hold"] == "other_filesystem" && other["was_mount"] == true && other["now_mount"] == true;
    assert!(is_told || other["was"] != other["now"] && other["approve"].is_string(), "{other}");
}

fn inner_disk_goes(memory: &Path, image: &'static Image) {
    let bench = Bench::new(memory, image);
    let mut place = Scratch::below(memory);
    place.source = bench.place.path().to_owned();
    // Here the mount point is below the source, and the image is beside the source.
    fs::rename(bench.place.at("image"), place.at("image")).expect("renamed");
    fill(&bench.mount_point());
    let passes = Passes::start(&place);
    let kept = place.replica.join("mnt/deep/er/three");
    let before = fs::read(&kept).expect("copied");
    umount(&bench.mount_point(), None);
    fs::remove_dir(bench.mount_point()).expect("removed");
    passes.end_with("held");
    assert_eq!(fs::read(&kept).expect("kept"), before);
    // The disk is attached and removed again. This time the mount point stays, until somebody removes it.
    let remount = || {
        fs::create_dir_all(bench.mount_point()).expect("created");
        let [mount, options @ ..] = image.mount else { panic!("no mount") };
        let (file, point) = (place.at("image"), bench.mount_point());
        let words = options.iter().map(OsStr::new).chain([file.as_os_str(), point.as_os_str()]);
        sh(mount, &words.collect::<Vec<_>>());
    };
    remount();
    passes.end_with("done");
    umount(&bench.mount_point(), None);
    passes.end_with("held");
    assert_eq!(fs::read(&kept).expect("kept"), before);
    fs::remove_dir(bench.mount_point()).expect("removed");
    passes.end_with("done");
    assert!(!place.replica.join("mnt").exists(), "removed on purpose");
    passes.stop();
    // Dropping the bench unmounts it.
    remount();
}

fn inner_disk_goes_with_the_replica(memory: &Path, image: &'static Image) {
    let bench = Bench::new(memory, image);
    let mut place = Scratch::below(memory);
    place.replica = bench.place.path().to_owned();
    fs::rename(bench.place.at("image"), place.at("image")).expect("renamed");
    fill(&place.source.join("mnt"));
    let passes = Passes::start(&place);
    assert_eq!(fs::read(bench.mount_point().join("one")).expect("copied"), b"one");
    umount(&bench.mount_point(), None);
    fs::remove_dir_all(&place.replica).expect("removed");
    passes.end_with("held");
    assert!(!place.replica.exists(), "a held pass writes nothing");
    passes.stop();
    // Dropping the bench unmounts it.
    fs::create_dir_all(bench.mount_point()).expect("created");
    let [mount, options @ ..] = image.mount else { panic!("no mount") };
    let (file, point) = (place.at("image"), bench.mount_point());
    let words = options.iter().map(OsStr::new).chain([file.as_os_str(), point.as_os_str()]);
    sh(mount, &words.collect::<Vec<_>>());
}

fn subvolumes(memory: &Path) {
    let mut bench = Bench::new(memory, &BTRFS);
    let pool = bench.mount_point();
    let subvolume = |what: &str, path: &Path| {
        sh("btrfs", &[OsStr::new("-q"), OsStr::new("subvolume"), OsStr::new(what), path.as_os_str()]);
    };
    let inner = bench.place.source.join("inner");
    fs::create_dir(&inner).expect("created");
    for name in ["replica", "data"] {
        subvolume("create", &pool.join(name));
    }
    fill(&pool.join("data"));
    let inner_mount = Mount::new(
        &inner,
        "mount",
        &["-o", "subvol=data", "-t", "btrfs"]
            .map(OsStr::new)
            .into_iter()
            .chain([loop_of(&bench.place).as_os_str()])
            .collect::<Vec<_>>(),
    );
    let inner_mount = inner_mount.unwrap_or_else(|why| leave_out(&why));
    bench.place.replica = pool.join("replica");
    let passes = Passes::start(&bench.place);
    // The replica is a subvolume with a device number of its own, and no mount: after its deletion it is created again.
    subvolume("delete", &pool.join("replica"));
    passes.end_with("done");
    assert_eq!(fs::read(bench.place.replica.join("inner/one")).expect("made again"), b"one");
    // A lost mount holds the pass.
    drop(inner_mount);
    passes.end_with("held");
    assert_eq!(fs::read(bench.place.replica.join("inner/one")).expect("kept"), b"one");
    // A held pass writes nothing: it does not create a missing replica folder, either.
    fs::remove_dir_all(pool.join("replica")).expect("removed");
    passes.end_with("held");
    assert!(!bench.place.replica.exists());
    passes.stop();

    // A subvolume inside the source is a folder: its deletion is mirrored.
    let mut place = Scratch::below(memory);
    place.source = pool.clone();
    let passes = Passes::start(&place);
    assert!(place.replica.join("data/one").exists());
    subvolume("delete", &pool.join("data"));
    passes.end_with("done");
    assert!(!place.replica.join("data").exists());
    assert_eq!(passes.stop(), [serde_json::Value::Null; 0]);
}

/// The device that holds the image of a place.
fn loop_of(place: &Scratch) -> PathBuf {
    let found = Command::new("losetup").args(["-n", "-O", "NAME", "-j"]).arg(place.at("image")).output();
    let found = String::from_utf8(found.expect("losetup").stdout).expect("text");
    PathBuf::from(found.trim())
}

fn overlay_goes(memory: &Path) {
    let mut place = Scratch::below(memory);
    place.source = place.at("merged");
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(place.at(name)).expect("created");
    }
    fill(&place.at("lower"));
    fs::write(place.at("upper/four"), "four").expect("written");
    let mount = || {
        let at = |name: &str| place.at(name).display().to_string();
        let folders = format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
        Mount::new(&place.source, "mount", &["-t", "overlay", "-o", &folders, "overlay"].map(OsStr::new))
    };
    let merged = mount().unwrap_or_else(|why| leave_out(&format!("no overlayfs: {why}")));
    let passes = Passes::start(&place);
    let before = Tree::of(&place.replica).stamped();
    drop(merged);
    // Most of the same entries in the folder below the mount point change nothing.
    fill(&place.source);
    passes.end_with("held");
    assert_same("a held pass wrote", &before, &Tree::of(&place.replica).stamped());
    let _merged = mount().expect("it mounts again");
    passes.end_with("done");
    assert_same("nothing has changed", &before, &Tree::of(&place.replica).stamped());
    passes.stop();
}

fn server_dies(memory: &Path) {
    let mut place = Scratch::below(memory);
    fill(&place.source);
    let (mut server, mount) = match served(&place) {
        Ok(served) => served,
        Err(why) => leave_out(&format!("a source on FUSE: {why}")),
    };
    place.source = place.at("mnt");
    let passes = Passes::start(&place);
    let before = Tree::of(&place.replica).stamped();
    server.0.kill().expect("killed");
    server.0.wait().expect("it ends");
    passes.end_with("failed");
    drop(mount);
    passes.end_with("held");
    assert_same("nothing has changed", &before, &Tree::of(&place.replica).stamped());
    passes.stop();
}

/// The program reads mountinfo once at its start, then once a pass. From the second pass on it reads it once more, to
/// leave what is mounted where it is; otherwise no moves are looked for in that pass.
fn system_is_short(memory: &Path, nth: usize) {
    if !has("strace") {
        leave_out("strace is not installed");
    }
    let place = Scratch::below(memory);
    fill(&place.source);
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-P", "/proc/self/mountinfo", "-e", "trace=openat"]);
    strace.arg("-e").arg(format!("inject=openat:error=ENFILE:when={nth}"));
    let running = Running(place.file_sync_under(strace, &["--interval", "1"]).spawn().expect("it starts"));
    place.wait_for("done", 3);
    assert_eq!(running.stop(), Some(0));
    let events = place.events();
    let failed: Vec<_> = events.iter().filter(|event| event["event"] == "failed").collect();
    // Before the first pass the read is retried.
    let expected = usize::from(nth != 1 && nth != 4);
    assert_eq!(failed.len(), expected, "{failed:?}");
    let Some(failed) = failed.first() else { return };
    let message = failed["message"].as_str().expect("text");
    assert!(
        message.starts_with("Cannot find out where the two folders are: Too many open files in system"),
        "{message}"
    );
    assert_eq!(fs::read(place.replica.join("deep/two")).expect("copied"), b"deep/two");
}
