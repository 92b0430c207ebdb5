//! Delta copies: large files that begin as a reflink of the old replica, on filesystems that share blocks. The copy is
//! right after every kind of change, failure, kill and race, and a small change writes little.

use crate::faults::{ERRORS, Reach, check_in};
use crate::harness::aim::Target;
use crate::harness::cases::{Cases, is_thorough, seed};
use crate::harness::kit::{Mount, has, may_mount, skip, try_sh};
use crate::harness::stopped::Stopped;
use crate::harness::trace::targets;
use crate::kills::kill_in;
use crate::support::dice::Dice;
use crate::support::fsops::set_mtime;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A replica is used as a base only when it is older than two seconds, the program's limit.
const REST: Duration = Duration::from_millis(2300);

/// The system calls that clone, compare, write and publish.
const CALLS: [&str; 8] =
    ["ioctl", "pread64", "pwrite64", "ftruncate", "fdatasync", "syncfs", "renameat", "fchmod"];

/// The number of checks of each call in the short form.
const SAMPLE: usize = 12;

pub(crate) fn run() {
    if !may_mount() {
        return skip("deltas", "mounting needs root and a mount namespace");
    }
    let cases = Cases::new("deltas");
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let _memory = Mount::tmpfs(&scratch.path().join("memory"), "size=6g");
    for mkfs in ["mkfs.xfs", "mkfs.btrfs"] {
        let name = mkfs.trim_start_matches("mkfs.");
        if !has(mkfs) {
            skip(name, &format!("{mkfs} is not installed"));
            continue;
        }
        match filesystem(&scratch.path().join("memory"), mkfs) {
            Ok(mount) => on(&cases, name, &mount.1),
            Err(why) => skip(name, &why),
        }
    }
    cases.finish();
}

fn filesystem(memory: &Path, mkfs: &str) -> Result<(Mount, std::path::PathBuf), String> {
    let image = memory.join(format!("{mkfs} image"));
    File::create(&image).and_then(|made| made.set_len(5 << 30)).expect("an image");
    try_sh(mkfs, &[OsStr::new("-q"), OsStr::new("-f"), image.as_os_str()])?;
    let at = memory.join(format!("{mkfs} mount"));
    let mount = Mount::new(&at, "mount", &[OsStr::new("-o"), OsStr::new("loop"), image.as_os_str()])?;
    Ok((mount, at))
}

fn on(cases: &Cases, name: &str, at: &Path) {
    let edits: Vec<(Edit, Scratch)> = EDITS.iter().map(|edit| (*edit, Scratch::below(at))).collect();
    for (edit, place) in &edits {
        edit.prepare(place);
    }
    sleep(REST);
    for (edit, place) in &edits {
        cases.run(&format!("{name}: {}", edit.name), || edit.check(place));
    }
    cases.run(&format!("{name}: a replica that was written just now is no base"), || too_young(at));
    if !has("strace") {
        return skip("faults, kills and races of clones", "strace is not installed");
    }
    cases.run(&format!("{name}: a clone that is none, though the filesystem says so"), || claimed(at));
    races(cases, name, at);
    let recorded = Scratch::below(at);
    stage(&recorded);
    sleep(REST);
    let mut tried = Vec::new();
    let all = targets(&recorded);
    assert!(all.iter().any(|target| target.call == "ioctl"), "no clone was made");
    for call in CALLS {
        let ways: Vec<(Target, &'static str)> = all
            .iter()
            .filter(|target| target.call == call)
            .flat_map(|target| ERRORS.into_iter().chain(["KILL"]).map(|way| (target.clone(), way)))
            .collect();
        let most = if is_thorough() || cases.is_narrowed() { usize::MAX } else { SAMPLE };
        // A stride without a common factor with the number of ways meets each of them in turn.
        let mut stride = (ways.len() / most).max(1);
        while stride > 1 && stride.is_multiple_of(ERRORS.len() + 1) {
            stride += 1;
        }
        tried.extend(ways.into_iter().skip(Dice(seed()).below(stride)).step_by(stride));
    }
    let name_of = |target: &Target, way: &str| format!("{name}: {target} {way}");
    tried.retain(|(target, way)| cases.wants(&name_of(target, way)));
    let reach = Reach::default();
    // The replicas of a batch age together; a batch is as large as the space allows.
    for some in tried.chunks(200) {
        let staged: Vec<(Scratch, &(Target, &'static str))> =
            some.iter().map(|tried| (Scratch::below(at), tried)).collect();
        staged.iter().for_each(|(place, _)| stage(place));
        sleep(REST);
        cases.run_all(
            &staged,
            |(_, (target, way))| name_of(target, way),
            |(place, (target, way))| match *way {
                "KILL" => kill_in(place, (name, target), cases, &reach),
                error => check_in(place, (name, target, error), cases, &reach),
            },
        );
    }
    reach.assert_enough(cases);
}

/// A file in which two distant blocks changed, and one that became shorter. The shorter one comes before the edited
/// one, so the edited one is still to be copied while the shorter one is truncated.
fn stage(place: &Scratch) {
    fs::create_dir(&place.replica).expect("created");
    let content = Dice(1).bytes(MIB + MIB / 2);
    write(&place.replica.join("edited"), &content);
    write(&place.replica.join("a shorter one"), &content);
    write(&place.source.join("edited"), &new_content());
    write(&place.source.join("a shorter one"), &content[..MIB + 100]);
    for root in [&place.source, &place.replica] {
        set_mtime(root, 1000, 5).expect("a time");
    }
}

fn new_content() -> Vec<u8> {
    let mut new = Dice(1).bytes(MIB + MIB / 2);
    new[300_000] ^= 1;
    new[1_400_000] ^= 1;
    new
}

fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("written");
}

/// The change of a file, and the most bytes that its copy may write.
#[derive(Clone, Copy)]
struct Edit {
    name: &'static str,
    old: fn() -> Vec<u8>,
    edit: fn(&mut Vec<u8>),
    most: usize,
}

const WHOLE: usize = usize::MAX;

const EDITS: [Edit; 10] = [
    Edit { name: "one bit in the middle", old: base, edit: |file| file[5 * MIB + 7] ^= 1, most: 4096 },
    Edit { name: "the first byte", old: base, edit: |file| file[0] ^= 1, most: 4096 },
    Edit { name: "the last byte", old: base, edit: |file| *file.last_mut().expect("bytes") ^= 1, most: 4096 },
    Edit { name: "a byte more", old: base, edit: |file| file.push(1), most: 4096 },
    Edit { name: "a byte less", old: base, edit: |file| file.truncate(file.len() - 1), most: 0 },
    Edit { name: "half of it is gone", old: base, edit: |file| file.truncate(4 * MIB + 1), most: 0 },
    Edit {
        name: "a MiB of zeros more",
        old: base,
        edit: |file| file.extend(vec![0; MIB]),
        most: MIB + 2 * 4096,
    },
    Edit { name: "everything moved by a byte", old: base, edit: |file| file.insert(0, 1), most: WHOLE },
    Edit {
        name: "zeros where there were bytes",
        old: base,
        edit: |file| file[MIB..3 * MIB].fill(0),
        most: 2 * MIB,
    },
    Edit { name: "bytes where there were zeros", old: zeros, edit: |file| file[MIB] = 1, most: 4096 },
];

fn base() -> Vec<u8> {
    Dice(3).bytes(8 * MIB + 1000)
}

fn zeros() -> Vec<u8> {
    vec![0; 4 * MIB]
}

impl Edit {
    /// Creates both sides; the caller lets the replica age.
    fn prepare(&self, place: &Scratch) {
        let old = (self.old)();
        fs::create_dir(&place.replica).expect("created");
        write(&place.replica.join("file"), &old);
        let mut new = old;
        (self.edit)(&mut new);
        write(&place.source.join("file"), &new);
    }

    fn check(&self, place: &Scratch) {
        let pass = place.once(&[]);
        assert_eq!(pass.code, Some(0), "{:?}", pass.told());
        assert_same(self.name, &Tree::of(&place.source), &Tree::of(&place.replica));
        let written = pass.count("bytes_written");
        assert!(written <= self.most as u64, "{written} bytes written");
        let again = place.once(&[]);
        assert_eq!((again.code, again.operations()), (Some(0), 0), "{:?}", again.told());
    }
}

fn too_young(at: &Path) {
    let place = Scratch::below(at);
    stage(&place);
    let pass = place.once(&[]);
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    assert_eq!(pass.count("bytes_written"), (2 * MIB + MIB / 2 + 100) as u64);
    assert_same("copied whole", &Tree::of(&place.source), &Tree::of(&place.replica));
}

/// The ioctl returns success without cloning, and the temporary is empty: everything is copied.
fn claimed(at: &Path) {
    let place = Scratch::below(at);
    stage(&place);
    sleep(REST);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=ioctl", "-e", "inject=ioctl:retval=0", "-o"]);
    strace.arg(place.at("trace"));
    let pass = place.run_command(place.file_sync_under(strace, &["--once"]));
    let trace = fs::read_to_string(place.at("trace")).expect("a trace");
    assert!(trace.contains("FICLONE"), "no clone was tried: {trace}");
    assert_eq!(pass.code, Some(0), "{:?}", pass.told());
    assert_same("copied whole", &Tree::of(&place.source), &Tree::of(&place.replica));
}

/// Race: another process writes to the old replica while it is the base, before, between and after the parts compared
/// so far.
fn races(cases: &Cases, name: &str, at: &Path) {
    type Change = (&'static str, fn(&File));
    const CHANGES: [Change; 5] = [
        ("written before it", |old| old.write_all_at(&[1; 5000], 100_000).expect("written")),
        ("written behind it", |old| old.write_all_at(&[1; 5000], 900_000).expect("written")),
        // The base is no longer different from the source there, but its clone still is.
        ("mended behind it", |old| {
            old.write_all_at(&new_content()[1_400_000..][..1], 1_400_000).expect("written")
        }),
        ("cut", |old| old.set_len(700_000).expect("cut")),
        ("emptied", |old| old.set_len(0).expect("cut")),
    ];
    let moments = [("ioctl", 1), ("pwrite64", 1), ("pwrite64", 2), ("ftruncate", 1)];
    let all: Vec<_> = CHANGES
        .into_iter()
        .flat_map(|change| moments.map(|moment| (Scratch::below(at), change, moment)))
        .collect();
    for (place, ..) in &all {
        stage(place);
    }
    sleep(REST);
    for (place, (change, edit), (call, when)) in &all {
        cases.run(&format!("{name}: the old replica is {change} after {call} {when}"), || {
            let aim = if *call == "ioctl" { "FICLONE" } else { call };
            let mut running = Stopped::start(place, call, &format!("{call}:signal=STOP:when={when}+"));
            // The program also queries its console by ioctl.
            let mut reached = running.wait();
            while reached && *call == "ioctl" && !running.trace().contains(aim) {
                running.go_on();
                reached = running.wait();
            }
            if !reached {
                leave_out("the moment was not reached");
            }
            let old = File::options().write(true).open(place.replica.join("edited")).expect("opened");
            edit(&old);
            assert_eq!(running.finish(), Some(0), "{:?}", place.events());
            assert_same("the copy", &Tree::of(&place.source), &Tree::of(&place.replica));
        });
    }
}
