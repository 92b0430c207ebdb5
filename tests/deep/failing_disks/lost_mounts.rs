//! Lost mounts at the source or the replica during a pass: nothing is deleted for that reason, and nothing is written
//! into the mount point below.

use crate::failing_disks::{Bench, moments};
use crate::harness::cases::Cases;
use crate::harness::images::EXT4;
use crate::harness::kit::{Mount, Running, has, sh};
use crate::harness::stage::{Scene, set};
use crate::harness::stopped::Stopped;
use crate::harness::verdict::{Before, TEMPORARY};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, What};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) fn run(cases: &Cases, memory: &Path) {
    for (call, nth) in moments() {
        cases.run(&format!("the replica is unmounted after {call} {nth}"), || {
            replica_unmounted(memory, (call, nth));
        });
        for source in ["", "below"] {
            let root = if source.is_empty() { "the mount itself" } else { "a folder on it" };
            cases.run(&format!("the source, {root}, is unmounted after {call} {nth}"), || {
                source_unmounted(memory, source, (call, nth));
            });
        }
        cases.run(&format!("the server of the source is killed after {call} {nth}"), || {
            server_killed(memory, Some((call, nth)));
        });
    }
    cases.run("the server of the source is killed before the pass", || server_killed(memory, None));
    cases.run("a source on a disk that goes between two passes", || source_gone_between(memory));
}

fn unmount(at: &Path) {
    sh("umount", &[OsStr::new("-l"), at.as_os_str()]);
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("readable").next().is_none()
}

fn replica_unmounted(memory: &Path, (call, nth): (&str, usize)) {
    let mut bench = Bench::new(memory, &EXT4);
    set(&bench.place, Scene::Old);
    let before = Before::of(&bench.place);
    let stopped = Stopped::after(&bench.place, call, nth);
    unmount(&bench.mount_point());
    let pass = stopped.resume();
    assert!(matches!(pass.code, Some(1 | 23)), "{:?}: {:?}", pass.code, pass.told());
    assert!(is_empty(&bench.mount_point()), "something was written into the mount point");
    bench.replug();
    before.check(&bench.place, false);
    before.heals(&bench.place);
}

/// Replaces the source for the length of one run; the folder with the same content stays for the comparison.
fn with_source<T>(place: &mut Scratch, source: PathBuf, work: impl FnOnce(&Scratch) -> T) -> T {
    let real = std::mem::replace(&mut place.source, source);
    let done = work(place);
    place.source = real;
    done
}

/// Extras of the replica that only a deletion removes. Temporaries may go at any time, and entries below a folder that
/// changes kind go with it.
fn extras(place: &Scratch, source: &Tree) -> BTreeSet<String> {
    let is_extra = |path: &[u8]| {
        let parts = (0..path.len()).filter(|at| path[*at] == b'/').map(|at| &path[..at]);
        let is_retyped = |folder: &[u8]| {
            source.nodes.get(folder).is_some_and(|(node, _)| !matches!(node.what, What::Folder))
        };
        let is_temporary = path.split(|byte| *byte == b'/').any(|part| part.starts_with(TEMPORARY));
        !source.nodes.contains_key(path) && !is_temporary && !parts.into_iter().any(is_retyped)
    };
    let paths = Tree::of(&place.replica).nodes.into_keys();
    paths.filter(|path| is_extra(path)).map(|path| path.escape_ascii().to_string()).collect()
}

fn source_unmounted(memory: &Path, below: &str, (call, nth): (&str, usize)) {
    let mut place = Scratch::below(memory);
    set(&place, Scene::Old);
    let before = Before::of(&place);
    let at = place.at("mnt");
    // With a subfolder, the mount shows the whole place, which contains `source`.
    let (shown, source) = if below.is_empty() {
        (place.source.clone(), at.clone())
    } else {
        (place.path().to_owned(), at.join("source"))
    };
    let _mount = Mount::new(&at, "mount", &[OsStr::new("--bind"), shown.as_os_str()]).expect("a bind mount");
    let tree = Tree::of(&place.source);
    let all = extras(&place, &tree);
    let (pass, at_the_moment) = with_source(&mut place, source, |place| {
        let stopped = Stopped::after(place, call, nth);
        unmount(&at);
        let at_the_moment = extras(place, &tree);
        // Longer than any check of the source stays valid.
        sleep(Duration::from_millis(15));
        (stopped.resume(), at_the_moment)
    });
    assert!(matches!(pass.code, Some(1 | 23 | 25)), "{:?}: {:?}", pass.code, pass.told());
    before.check(&place, false);
    let left = extras(&place, &tree);
    // Deletions that had begun, of entries that the pass did not find in the source, end at this moment.
    assert_eq!(left, at_the_moment, "deleted when the source was gone: {:?}", pass.told());
    // These calls also open the emptied folders, and set the mode and time of folders after that.
    if !["unlinkat", "openat", "fchmod", "utimensat"].contains(&call) {
        assert!(all.len() > 5, "{all:?}");
        assert_eq!(left, all, "nothing had been deleted when the source went: {:?}", pass.told());
    }
    before.heals(&place);
}

/// A FUSE filesystem with the content of a folder, and the process that serves it.
pub(crate) fn served(place: &Scratch) -> Result<(Running, Mount), String> {
    for program in ["mkfs.ext2", "debugfs", "fuse2fs"] {
        if !has(program) {
            return Err(format!("{program} is not installed"));
        }
    }
    let (image, at) = (place.at("image"), place.at("mnt"));
    File::create(&image).and_then(|file| file.set_len(32 << 20)).expect("an image");
    sh("mkfs.ext2", &[OsStr::new("-q"), OsStr::new("-d"), place.source.as_os_str(), image.as_os_str()]);
    // Without the entries that mkfs adds; if that fails, the comparison reports it.
    sh(
        "debugfs",
        &["-w", "-R", "rmdir lost+found"]
            .map(OsStr::new)
            .into_iter()
            .chain([image.as_os_str()])
            .collect::<Vec<_>>(),
    );
    fs::create_dir(&at).expect("created");
    let outer = fs::metadata(&at).expect("there").dev();
    let server = Command::new("fuse2fs")
        .args(["-f", "-o", "ro"])
        .args([&image, &at])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut server = Running(server);
    let begin = Instant::now();
    while fs::metadata(&at).is_ok_and(|facts| facts.dev() == outer) {
        if server.0.try_wait().expect("a child").is_some() || begin.elapsed() > Duration::from_secs(20) {
            return Err("fuse2fs does not mount here".into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok((server, Mount::of(&at)))
}

fn server_killed(memory: &Path, moment: Option<(&str, usize)>) {
    let mut place = Scratch::below(memory);
    set(&place, Scene::Old);
    let before = Before::of(&place);
    let (mut server, _mount) = match served(&place) {
        Ok(served) => served,
        Err(why) => leave_out(&format!("a source on FUSE: {why}")),
    };
    let mut kill = || {
        server.0.kill().expect("killed");
        server.0.wait().expect("it ends");
    };
    let at = place.at("mnt");
    let pass = with_source(&mut place, at, |place| match moment {
        Some((call, nth)) => {
            let stopped = Stopped::after(place, call, nth);
            kill();
            stopped.resume()
        }
        None => {
            kill();
            place.once(&[])
        }
    });
    assert!(matches!(pass.code, Some(1 | 23 | 25)), "{:?}: {:?}", pass.code, pass.told());
    before.check(&place, false);
    let deleted = pass.of("operation").filter(|it| it["verb"] == "delete").count();
    assert!(moment.is_some_and(|(call, _)| call == "unlinkat") || deleted == 0, "{:?}", pass.told());
    before.heals(&place);
}

fn source_gone_between(memory: &Path) {
    let mut bench = Bench::new(memory, &EXT4);
    let (source, replica) = (bench.mount_point(), bench.place.at("replica"));
    (bench.place.source, bench.place.replica) = (source.clone(), replica);
    fs::write(source.join("file"), "content").expect("written");
    let running = Running(bench.place.file_sync(&["--interval", "1"]).spawn().expect("it starts"));
    bench.place.wait_for("done", 1);
    let before = Before::of(&bench.place);
    unmount(&source);
    bench.place.wait_for("held", 2);
    assert_eq!(fs::read(bench.place.replica.join("file")).expect("there"), b"content");
    bench.replug();
    before.check_others(&bench.place);
    fs::write(source.join("file"), "later").expect("written");
    let done = bench.place.events().iter().filter(|event| event["outcome"] == "done").count();
    bench.place.wait_for("done", done + 2);
    assert_eq!(running.stop(), Some(0));
    assert_eq!(fs::read(bench.place.replica.join("file")).expect("there"), b"later");
}
