//! Failing disks: disks that die, fill up, disappear or become read-only during a pass. No good old version is lost,
//! failures are reported by a problem and the exit code, and a pass after the trouble heals everything.

mod gone_between;
mod lost_mounts;
mod outputs;
mod refusals;
mod sealed;

use crate::harness::cases::{Cases, is_thorough};
use crate::harness::images::{BTRFS, EXT4, Image, XFS, mounted, mounted_again};
use crate::harness::kit::{Mount, Running, has, may_mount, sh, skip, try_sh};
use crate::harness::stage::{Scene, set};
use crate::harness::stopped::Stopped;
use crate::harness::verdict::{Before, tree_if_any};
use crate::support::dice::Dice;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, What, differences};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

const MIB: usize = 1 << 20;

const EXT4_QUOTA: Image = Image {
    name: "ext4 with quota",
    mkfs: &["mkfs.ext4", "-q", "-F", "-O", "quota", "-E", "quotatype=usrquota"],
    ..EXT4
};

/// The moments at which a pass is stopped: after the nth call of a kind.
const MOMENTS: [(&str, usize); 7] = [
    ("flistxattr", 3),
    ("mkdirat", 2),
    ("pwrite64", 3),
    ("renameat2", 1),
    ("renameat2", 5),
    ("syncfs", 1),
    ("unlinkat", 2),
];

/// A worker syncs the replaced files. The main thread syncs everything before the first deletion, and once more at the
/// end. After that there is nothing left to do.
const LAST_SYNC: (&str, usize) = ("syncfs", 2);

/// In the long form these are all moments, as far as a pass over a small tree makes that many calls.
pub(crate) fn moments() -> Vec<(&'static str, usize)> {
    const CALLS: [&str; 12] = [
        "flistxattr",
        "mkdirat",
        "openat",
        "pwrite64",
        "fchown",
        "fsetxattr",
        "fchmod",
        "utimensat",
        "renameat2",
        "linkat",
        "unlinkat",
        "syncfs",
    ];
    if !is_thorough() {
        return MOMENTS.to_vec();
    }
    // A pass makes some 45 `openat` calls in one thread, and fewer than twenty of most others.
    let nths = |call: &str| match call {
        // The second syncfs of the main thread is the end of the pass.
        "syncfs" => vec![1],
        "openat" => (openat_before_a_pass() + 1..).step_by(2).take(25).collect::<Vec<_>>(),
        _ => (1..=20).collect(),
    };
    CALLS.iter().flat_map(|call| nths(call).into_iter().map(|nth| (*call, nth))).collect()
}

/// The number of `openat` calls until both roots are open: the start of the program, before any work. Libraries and
/// time zones need thirty of these on one machine, and eighty on another. By then the survey, in another thread, has
/// made calls of its own; `flistxattr` finds its moments.
fn openat_before_a_pass() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        if !has("strace") {
            return 0;
        }
        let place = Scratch::with_source();
        fs::create_dir(&place.replica).expect("created");
        let noted = place.at("strace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=openat", "-o"]).arg(&noted);
        let pass = place.run_command(place.file_sync_under(strace, &["--once", "--threads", "1"]));
        assert_eq!(pass.code, Some(0), "{:?}", pass.told());
        let noted = fs::read_to_string(&noted).expect("a trace");
        let root = format!("{:?}", place.replica);
        let lines: Vec<&str> = noted.lines().collect();
        let last = lines.iter().rposition(|line| line.contains(&root)).expect("the replica is opened");
        let thread = |line: &str| line.split(' ').next().map(str::to_owned);
        lines[..=last].iter().filter(|line| thread(line) == thread(lines[last])).count()
    })
}

pub(crate) fn run() {
    if !may_mount() {
        return skip("failing_disks", "mounting needs root and a mount namespace");
    }
    let cases = Cases::new("failing_disks");
    let folder = Scratch::with_source();
    let _memory = Mount::tmpfs(&folder.at("memory"), "size=2g,mode=1777");
    let memory = folder.at("memory");
    for image in [&EXT4, &XFS] {
        for (call, nth) in moments().into_iter().chain([LAST_SYNC]) {
            dies(&cases, &memory, image, (call, nth));
        }
    }
    for what in [Frozen::Mount, Frozen::Filesystem] {
        read_only_at_all_moments(&cases, &memory, what);
    }
    lost_mounts::run(&cases, &memory);
    gone_between::run(&cases, &memory);
    cases.run("a disk that is dead pass after pass", || stays_dead(&memory));
    cases.run("a replica that is read-only from the start", || read_only_from_the_start(&memory));
    for (what, folder, replaced) in [
        ("", "", 0),
        (", one file replaced", "", 1),
        (", files replaced together", "", 20),
        (", files replaced together in a folder", "folder", 20),
        (", files replaced in two batches", "folder", 1500),
    ] {
        cases.run(&format!("an image whose own disk is full{what}"), || {
            image_on_a_full_disk(&memory, folder, replaced);
        });
    }
    cases.run("what a disk has lost is found by the next pass of the same process", || {
        lost_and_found(&memory)
    });
    for image in [&BTRFS, &EXT4_QUOTA] {
        cases.run(&format!("a quota on {}", image.name), || quota(&memory, image));
    }
    refusals::run(&cases, &memory);
    sealed::run(&cases, &memory);
    outputs::run(&cases, &memory);
    cases.finish();
}

/// A replica on a disk of its own; the source is elsewhere.
pub(crate) struct Bench {
    // Unmounted before the removal of the folder around it.
    disk: Option<Mount>,
    image: &'static Image,
    pub(crate) place: Scratch,
}

impl Bench {
    /// Leaves the check out if the machine cannot mount the disk.
    pub(crate) fn new(memory: &Path, image: &'static Image) -> Bench {
        let mut place = Scratch::below(memory);
        place.replica = place.at("mnt").join("replica");
        let disk = mounted(&place, image).unwrap_or_else(|why| leave_out(&format!("{}: {why}", image.name)));
        Bench { disk: Some(disk), image, place }
    }

    pub(crate) fn mount_point(&self) -> std::path::PathBuf {
        self.place.at("mnt")
    }

    /// Removes the disk and attaches it again: data that was not durable is lost.
    pub(crate) fn replug(&mut self) {
        self.disk = None;
        self.disk = Some(mounted_again(&self.place, self.image).expect("it mounts again"));
    }
}

pub(crate) fn mount_option(options: &str, at: &Path) {
    sh("mount", &[OsStr::new("-o"), OsStr::new(options), at.as_os_str()]);
}

/// Every call fails from one moment on. Data that was not durable is lost. Or the journal is still written, with every
/// rename in it, and only contents are lost.
fn dies(cases: &Cases, memory: &Path, image: &'static Image, (call, nth): (&'static str, usize)) {
    let name = image.name;
    for (shutdown, journal) in [("shutdown", "is lost"), ("shutdown -f", "is written")] {
        cases.run(&format!("a disk with {name} dies after {call} {nth}, its journal {journal}"), || {
            let mut bench = Bench::new(memory, image);
            set(&bench.place, Scene::Old);
            sh("sync", &[OsStr::new("-f"), bench.mount_point().as_os_str()]);
            let before = Before::of(&bench.place);
            let stopped = Stopped::after(&bench.place, call, nth);
            if let Err(why) = shut_down(&bench, shutdown) {
                leave_out(&format!("{name} cannot be shut down: {why}"));
            }
            let pass = stopped.resume();
            // Work before the last sync is durable.
            let is_done = (call, nth) == LAST_SYNC;
            let is_told = if is_done { pass.code == Some(0) } else { matches!(pass.code, Some(1 | 23)) };
            assert!(is_told, "{:?}: {:?}", pass.code, pass.told());
            bench.replug();
            if is_done {
                before.check(&bench.place, true);
            }
            before.check_others(&bench.place);
            // A new file had no version to lose: it may be there without content. So may a temporary, which has its
            // mode by then, and its length if it is sparse.
            let replica = tree_if_any(&bench.place.replica);
            let wrong = before.wrong(&replica);
            let is_empty = |what: &&What| matches!(what, What::File(it) if it.iter().all(|byte| *byte == 0));
            let empty: BTreeSet<String> = replica
                .nodes
                .values()
                .map(|(node, _)| &node.what)
                .filter(is_empty)
                .map(|what| format!("{what:?}"))
                .collect();
            let may_be = |line: &String| {
                line.contains("it was None")
                    || line.starts_with("the temporary") && empty.iter().any(|what| line.ends_with(what))
            };
            let lost: Vec<_> = wrong.into_iter().filter(|line| !may_be(line)).collect();
            assert!(lost.is_empty(), "{}", lost.join("\n"));
            before.heals(&bench.place);
            cases.cover("deaths", &format!("{name} {call}"));
        });
    }
}

/// The program goes on, reports no pass as done without problems, and stops on request.
fn stays_dead(memory: &Path) {
    let bench = Bench::new(memory, &EXT4);
    let place = &bench.place;
    set(place, Scene::Same);
    let running = Running(place.file_sync(&["--interval", "1"]).spawn().expect("it starts"));
    place.wait_for("done", 1);
    if let Err(why) = shut_down(&bench, "shutdown -f") {
        leave_out(&format!("ext4 cannot be shut down: {why}"));
    }
    let started = place.events().iter().filter(|event| event["event"] == "pass_started").count();
    place.wait_for("pass_started", started + 4);
    let events = place.events();
    let ends = |event: &&Value| event["outcome"] == "done" || event["event"] == "failed";
    let ends: Vec<_> = events.iter().filter(ends).collect();
    let (_, last) = ends.split_at(ends.len() - 2);
    assert!(last.iter().all(|end| end["event"] == "failed" || end["problems"] != 0), "{last:#?}");
    assert_eq!(running.stop(), Some(0));
}

/// Makes every further disk access fail.
fn shut_down(bench: &Bench, how: &str) -> Result<(), String> {
    let at = bench.mount_point();
    let words = ["-x", "-c", how].map(OsStr::new).into_iter().chain([at.as_os_str()]);
    try_sh("xfs_io", &words.collect::<Vec<_>>())
}

/// The part that becomes read-only.
#[derive(Clone, Copy)]
enum Frozen {
    /// Only the mount point, as an administrator does it.
    Mount,
    /// The filesystem below it, as the kernel does it after an error.
    Filesystem,
}

impl Frozen {
    fn name(self) -> &'static str {
        match self {
            Frozen::Mount => "mount",
            Frozen::Filesystem => "filesystem",
        }
    }

    fn options(self, mode: &str) -> String {
        match self {
            Frozen::Mount => format!("remount,bind,{mode}"),
            Frozen::Filesystem => format!("remount,{mode}"),
        }
    }
}

/// Most moments of copying are refused, since a temporary is open for writing: other moments are needed.
const MORE_MOMENTS: [(&str, usize); 4] =
    [("flistxattr", 1), ("unlinkat", 1), ("unlinkat", 4), ("unlinkat", 6)];

fn read_only_at_all_moments(cases: &Cases, memory: &Path, what: Frozen) {
    let name = what.name();
    let demanded: Vec<_> = MOMENTS.into_iter().chain(MORE_MOMENTS).collect();
    let more = moments().into_iter().filter(|moment| !demanded.contains(moment));
    let took_effect = Cell::new(0);
    for moment @ (call, nth) in demanded.iter().copied().chain(more) {
        cases.run(&format!("the {name} of the replica becomes read-only after {call} {nth}"), || {
            becomes_read_only(memory, what, moment);
            took_effect.set(took_effect.get() + usize::from(demanded.contains(&moment)));
        });
    }
    // Checks requested by name report individually whether they were possible.
    if !cases.is_narrowed() {
        cases.run(&format!("a {name} that becomes read-only at half of the moments or more"), || {
            let (took_effect, all) = (took_effect.get(), demanded.len());
            assert!(2 * took_effect >= all, "it became so, and the check held, at {took_effect} of {all}");
        });
    }
}

fn becomes_read_only(memory: &Path, what: Frozen, (call, nth): (&str, usize)) {
    let bench = Bench::new(memory, &EXT4);
    let place = &bench.place;
    set(place, Scene::Old);
    let before = Before::of(place);
    let stopped = Stopped::after(place, call, nth);
    let at = bench.mount_point();
    let options = what.options("ro");
    let arguments = [OsStr::new("-o"), OsStr::new(&options), at.as_os_str()];
    if let Err(why) = try_sh("mount", &arguments) {
        // Nothing has happened to the mount then.
        assert_eq!(stopped.resume().code, Some(0));
        before.check(place, true);
        // A temporary is open for writing.
        let why = why.replace(at.to_str().expect("text"), "the replica");
        leave_out(&format!("the kernel makes the {} not read-only now: {why}", what.name()));
    }
    let pass = stopped.resume();
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    assert!(pass.of("problem").all(|problem| problem["errno"] == 30), "{:?}", pass.told());
    before.check(place, false);
    mount_option(&what.options("rw"), &at);
    before.heals(place);
}

fn read_only_from_the_start(memory: &Path) {
    let bench = Bench::new(memory, &EXT4);
    let place = &bench.place;
    set(place, Scene::Old);
    let before = Before::of(place);
    mount_option("remount,ro", &bench.mount_point());
    let pass = place.once(&[]);
    assert_eq!((pass.code, pass.operations()), (Some(23), 0), "{:?}", pass.told());
    assert_eq!(pass.count("problems"), 1, "{:?}", pass.told());
    before.check(place, false);
    mount_option("remount,rw", &bench.mount_point());
    before.heals(place);
    mount_option("remount,ro", &bench.mount_point());
    let same = place.once(&[]);
    assert_eq!((same.code, same.operations()), (Some(0), 0), "nothing to write: {:?}", same.told());
}

/// Replaced files of one group commit, and a large new file without space.
///
/// The filesystem reports free space; only writeback to its disk fails.
fn image_on_a_full_disk(memory: &Path, folder: &str, replaced: usize) {
    let small = Scratch::below(memory);
    let _small = Mount::tmpfs(&small.at("small"), "size=16m");
    let mut bench = Bench::new(&small.at("small"), &EXT4);
    bench.place.source = small.source.clone();
    // The log is not on the full disk, where its lines would be lost as well.
    bench.place.log = small.log.clone();
    let mut dice = Dice(7);
    let at = bench.place.source.join(folder);
    fs::create_dir_all(&at).expect("created");
    let mut write = |size: usize| {
        for number in 0..replaced {
            fs::write(at.join(format!("file {number}")), dice.bytes(1000)).expect("written");
        }
        fs::write(at.join("new"), dice.bytes(size)).expect("written");
    };
    write(1000);
    fs::write(at.join("gone"), "goes").expect("written");
    assert_eq!(bench.place.once(&[]).code, Some(0));
    if replaced > 0 {
        // A new file has no older version to be kept.
        fs::remove_file(bench.place.replica.join(folder).join("new")).expect("removed");
    }
    write(30 * MIB);
    fs::remove_file(at.join("gone")).expect("removed");
    let before = Before::of(&bench.place);
    let pass = bench.place.once(&[]);
    assert_eq!(pass.code, Some(23), "what is not on the disk is not done: {:?}", pass.told());
    let is_told =
        [5, 28, 30].iter().any(|errno| pass.of("problem").any(|problem| problem["errno"] == *errno));
    assert!(is_told, "{:?}", pass.of("problem").collect::<Vec<_>>());
    mount_option("remount,size=128m", &small.at("small"));
    bench.replug();
    before.heals(&bench.place);
}

/// Data whose writeback failed is still correct in the kernel's cache: the next pass has to check the disk.
fn lost_and_found(memory: &Path) {
    let small = Scratch::below(memory);
    let _small = Mount::tmpfs(&small.at("small"), "size=16m");
    let mut bench = Bench::new(&small.at("small"), &EXT4);
    bench.place.source = small.source.clone();
    // The log is not on the full disk, where its lines would be lost as well.
    bench.place.log = small.log.clone();
    let place = &bench.place;
    let running = Running(place.file_sync(&["--interval", "1h"]).spawn().expect("it starts"));
    let pid = Pid::from_raw(i32::try_from(running.0.id()).expect("a process id")).expect("a process id");
    let pass = |number| {
        kill_process(pid, Signal::USR1).expect("it runs");
        place.wait_for("done", number);
    };
    place.wait_for("done", 1);
    fs::write(place.source.join("new"), Dice(8).bytes(30 * MIB)).expect("written");
    pass(2);
    mount_option("remount,size=128m", &small.at("small"));
    pass(3);
    assert_eq!(running.stop(), Some(0));
    let events = place.events();
    let done: Vec<_> = events.iter().filter(|event| event["outcome"] == "done").collect();
    assert!(done[1]["problems"] != 0, "{done:#?}");
    // The filesystem may refuse writes until it is mounted again; then that is reported.
    let is_told = done[2]["problems"] != 0;
    let source = Tree::of(&place.source);
    bench.replug();
    let on_the_disk = Tree::of(&bench.place.replica);
    assert!(is_told || differences(&source, &on_the_disk).is_empty(), "lost without a word: {done:#?}");
}

/// A quota is a full disk for some users only.
fn quota(memory: &Path, image: &'static Image) {
    const NOBODY: [&str; 4] = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let bench = Bench::new(memory, image);
    let place = &bench.place;
    let at = bench.mount_point();
    let limit = |mib: usize| {
        let words: Vec<String> = if image.name == "btrfs" {
            vec!["btrfs".into(), "qgroup".into(), "limit".into(), format!("{mib}M"), "0/5".into()]
        } else {
            ["setquota", "-u", "65534", "0"]
                .map(String::from)
                .into_iter()
                .chain([(mib << 10).to_string(), "0".into(), "0".into()])
                .collect()
        };
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).chain([at.as_os_str()]).collect();
        let program = words[0].to_str().expect("text");
        try_sh(program, &words[1..])
    };
    if image.name == "btrfs" {
        sh("btrfs", &[OsStr::new("quota"), OsStr::new("enable"), at.as_os_str()]);
    }
    if let Err(why) = limit(12) {
        leave_out(&format!("no quota on {}: {why}", image.name));
    }
    for folder in [place.path(), &at, &place.source] {
        std::os::unix::fs::chown(folder, Some(65534), Some(65534)).expect("an owner");
    }
    // The quota does not limit root.
    let pass = || {
        let mut user = Command::new("setpriv");
        user.args(NOBODY);
        place.run_command(place.file_sync_under(user, &["--once"]))
    };
    let mut dice = Dice(8);
    let mut write = |name: &str, size: usize| {
        let bytes = dice.bytes(size);
        fs::write(place.source.join(name), &bytes).expect("written");
        bytes
    };
    let kept = write("kept", 3 * MIB);
    write("goes", 5 * MIB);
    let first = pass();
    assert_eq!(first.code, Some(0), "{:?}", first.told());
    fs::remove_file(place.source.join("goes")).expect("removed");
    write("kept", 11 * MIB);
    let little = write("little", 1000);
    let full = pass();
    assert_eq!((full.code, full.count("deleted")), (Some(23), 1), "{:?}", full.told());
    let problems: Vec<_> = full.of("problem").map(|it| (it["path"].as_str(), it["errno"].as_u64())).collect();
    assert_eq!(problems, [(Some("kept"), Some(122))], "{:?}", full.told());
    assert!(fs::read(place.replica.join("kept")).expect("there") == kept, "the old version is whole");
    assert!(fs::read(place.replica.join("little")).expect("there") == little, "a small one found room");
    limit(48).expect("a higher limit");
    let healed = pass();
    assert_eq!(healed.code, Some(0), "{:?}", healed.told());
    let quiet = pass();
    assert_eq!((quiet.code, quiet.operations()), (Some(0), 0), "{:?}", quiet.told());
}
