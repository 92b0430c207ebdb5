//! Hostile trees: names, shapes and kinds of entries that can break programs.
//!
//! tests/logging.rs has the names that forge log lines and colour terminals; tests/engine/shapes.rs has 3,000 levels,
//! 50,000 entries and few descriptors; the suite `memory` has a million entries in one folder.

mod private;
mod waits;

use crate::harness::cases::Cases;
use crate::harness::kit::{Mount, has, may_mount, sh, skip, tell};
use crate::races::outside::FOLDER;
use crate::support::leave_out::leave_out;
use crate::support::scratch::{Scratch, is_root};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

pub(crate) fn run() {
    let cases = Cases::new("hostile");
    let place = Scratch::with_source();
    // A disk works as well, but takes longer.
    let mount = may_mount().then(|| Mount::tmpfs(&place.at("mnt"), "size=2g,nr_inodes=2m"));
    let below = if mount.is_some() { place.at("mnt") } else { place.path().to_owned() };
    cases.run("names like temporaries and options", || like_ours(&below));
    for form in ["text", "json"] {
        cases.run(&format!("names of every byte, {form}"), || every_byte(&below, form));
    }
    cases.run("5,000 levels", || deep(&below));
    cases.run("100,000 links to one file", || {
        needs(mount.is_some(), "100,000 links to one file need a tmpfs, to mount which needs root");
        many_links(Scratch::below(&below), 100_000);
    });
    cases.run("more links than the replica's filesystem can hold", || {
        needs(may_mount(), "a filesystem of few links per file has to be mounted, which needs root");
        needs(has("mkfs.ext4"), "mkfs.ext4 is not installed");
        too_many_links();
    });
    cases.run("a hole of 1 TiB", || {
        needs(mount.is_some(), "a hole of 1 TiB needs a tmpfs, to mount which needs root");
        hole(&below);
    });
    for made_up in ["/proc/sys/vm", "/proc/sys/net/ipv4", "/sys/kernel/mm"] {
        cases.run(&format!("sizes that lie, {made_up}"), || lies(&below, made_up));
    }
    waits::run(&cases, place.path());
    cases.run("a FIFO, devices and a socket are never opened", || {
        needs(is_root(), "devices can only be made by root");
        needs(has("strace"), "strace is not installed");
        never_opened(&below);
    });
    if !is_root() {
        skip("who may read what", "files of other owners need root");
    } else if !has("strace") || !has("setfacl") {
        skip("who may read what", "strace or setfacl is not installed");
    } else {
        cases.run("what shows too much is seen", || private::the_check_sees(&below));
        private::check_all(&cases, &below);
        private::check_user(&cases, &below);
    }
    cases.finish();
}

fn needs(holds: bool, otherwise: &str) {
    if !holds {
        leave_out(otherwise);
    }
}

/// Names that the program itself could have created, or could take for its options, are ordinary names.
fn like_ours(below: &Path) {
    let place = Scratch::below(below);
    let temporary = |digit: char| format!(".file-sync-{}.tmp", digit.to_string().repeat(32));
    let at = |name: &str| place.source.join(name);
    fs::write(at(&temporary('0')), "a file").expect("written");
    fs::create_dir_all(at(&temporary('1')).join(temporary('2'))).expect("created");
    fs::write(at(&temporary('1')).join(temporary('3')), "in a folder").expect("written");
    symlink("nowhere", at(&temporary('4'))).expect("linked");
    fs::hard_link(at(&temporary('0')), at(&temporary('5'))).expect("linked");
    for name in ["--delete", "-rf", "--", "-", "--source=.", "~", "$HOME", "`id`", "*", "%s%n"] {
        fs::write(at(name), name).expect("written");
    }
    let first = place.once(&[]);
    assert_eq!(
        (first.code, first.count("created") + first.count("linked")),
        (Some(0), 16),
        "{:?}",
        first.told()
    );
    place.assert_in_step("names like temporaries");
    let later = place.passes(3);
    assert_eq!((later.code, later.operations()), (Some(0), 0), "{:?}", later.told());
    fs::write(at(&temporary('0')), "another content").expect("written");
    fs::remove_dir_all(at(&temporary('1'))).expect("removed");
    let edited = place.once(&[]);
    assert_eq!((edited.code, edited.count("problems")), (Some(0), 0), "{:?}", edited.told());
    place.assert_in_step("names like temporaries, edited");
}

/// For every byte that a name may contain, a name of 255 of them, as file and as folder: each is one line of the log.
fn every_byte(below: &Path, form: &str) {
    let place = Scratch::below(below);
    fs::create_dir(place.source.join("folders")).expect("created");
    for byte in (1..=255).filter(|byte| *byte != b'/') {
        let name = [byte; 255];
        let name = OsStr::from_bytes(&name);
        fs::write(place.source.join(name), [byte]).expect("written");
        fs::create_dir(place.source.join("folders").join(name)).expect("created");
    }
    let operations = 2 * 254 + 1;
    let run = |verb: &str, beside: usize| {
        let pass = place.run_command(place.file_sync(&["--once", "--log-format", form]));
        let log = fs::read_to_string(place.at("log")).expect("UTF-8");
        assert_eq!(pass.code, Some(0), "{log}");
        let control = |letter: char| letter.is_control() && letter != '\n';
        assert!(!log.contains(control), "control characters in the log");
        let words = [format!(" INFO  {verb} "), format!("\"verb\":\"{verb}\"")];
        let lines =
            log.lines().filter(|line| words.iter().any(|words| line.contains(words.as_str()))).count();
        assert_eq!(lines, operations, "{verb}");
        // Started, pass started, the root's own metadata, pass done, stopped.
        assert_eq!(log.lines().count(), operations + beside + 5, "{log}");
        for line in log.lines() {
            let is_line = match form {
                "json" => {
                    serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["time"].is_string())
                }
                _ => line.get(..29).is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()),
            };
            assert!(is_line, "{line}");
        }
    };
    // The log reports a new replica.
    run("create", 1);
    place.assert_in_step("names of every byte");
    // Another folder in its place would hold the pass.
    crate::support::scratch::empty(File::open(&place.source).expect("opened").as_fd());
    run("delete", 0);
    assert_eq!(fs::read_dir(&place.replica).expect("there").count(), 0);
}

/// The lowest folder of a chain of folders of one name, and their number.
fn bottom(root: &Path, top: &str) -> (OwnedFd, usize) {
    let mut at = rustix::fs::open(root, FOLDER, Mode::empty()).expect("a root");
    let mut levels = 0;
    let mut name = top;
    while let Ok(below) = openat(&at, name, FOLDER, Mode::empty()) {
        (at, levels, name) = (below, levels + 1, "level");
    }
    (at, levels)
}

/// Far more levels than a path can name, or a stack can hold.
fn deep(below: &Path) {
    const LEVELS: usize = 5000;
    let place = Scratch::below(below);
    mkdirat(CWD, place.source.join("top"), Mode::RWXU).expect("created");
    let (mut at, levels) = bottom(&place.source, "top");
    for _ in levels..LEVELS {
        mkdirat(&at, "level", Mode::RWXU).expect("created");
        at = openat(&at, "level", FOLDER, Mode::empty()).expect("opened");
    }
    let leaf =
        |at: &OwnedFd, flags: OFlags| openat(at, "leaf", flags, Mode::RUSR | Mode::WUSR).map(File::from);
    leaf(&at, OFlags::WRONLY | OFlags::CREATE)
        .map(|mut file| file.write_all(b"leaf"))
        .expect("made")
        .expect("written");
    let run = |count: &str| {
        let pass = place.run_command(place.file_sync(&["--once", "--log-format", "text"]));
        let log = fs::read_to_string(place.at("log")).expect("a log");
        assert_eq!(pass.code, Some(0), "{}", log.lines().last().unwrap_or_default());
        let end = log.lines().find(|line| line.contains(" done: ")).expect("a pass");
        assert!(end.contains(count), "{end}");
    };
    let is_mirrored = |top: &str| {
        let (at, levels) = bottom(&place.replica, top);
        let mut content = String::new();
        leaf(&at, OFlags::RDONLY).expect("the leaf").read_to_string(&mut content).expect("readable");
        assert_eq!((levels, content.as_str()), (LEVELS, "leaf"));
    };
    run(" 5,001 created");
    is_mirrored("top");
    run(" 0 created");
    // The whole chain under another name.
    fs::rename(place.source.join("top"), place.source.join("other")).expect("renamed");
    run(" 1 moved");
    is_mirrored("other");
    assert_eq!(bottom(&place.replica, "top").1, 0);
    fs::rename(place.source.join("other"), below.join("gone")).expect("renamed");
    run(" 5,001 deleted");
    assert_eq!(fs::read_dir(&place.replica).expect("there").count(), 0);
}

/// One file with very many names. Returns the number of inodes in the replica.
fn many_links(place: Scratch, count: usize) {
    let name = |root: &Path, number: usize| root.join(format!("{}/{number}", number % 10));
    for number in 0..10 {
        fs::create_dir(place.source.join(number.to_string())).expect("created");
    }
    fs::write(name(&place.source, 0), "one content").expect("written");
    for number in 1..count {
        fs::hard_link(name(&place.source, 0), name(&place.source, number)).expect("linked");
    }
    for (step, operations) in [("first", count as u64 + 10), ("second", 0)] {
        let pass = place.once(&["--log-format", "text"]);
        let log = fs::read_to_string(place.at("log")).expect("a log");
        let end = log.lines().find(|line| line.contains(" done: ")).unwrap_or_default().to_owned();
        assert_eq!(pass.code, Some(0), "{step}: {end}");
        assert_eq!(
            log.matches(" INFO  create ").count() + log.matches(" INFO  link ").count(),
            operations as usize,
            "{step}: {end}"
        );
    }
    let mut inodes = std::collections::BTreeMap::<u64, usize>::new();
    for number in 0..count {
        let facts = fs::symlink_metadata(name(&place.replica, number)).expect("there");
        *inodes.entry(facts.ino()).or_default() += 1;
        if facts.nlink() < 2 || number < 10 {
            assert_eq!(fs::read(name(&place.replica, number)).expect("readable"), b"one content");
        }
    }
    tell(&format!("{count} names are {} files in the replica", inodes.len()));
    // Two threads that reach the link limit at once copy the file twice, without harm.
    assert!(inodes.len() <= 2 * (count / 65_000) + 1, "{} files", inodes.len());
}

fn too_many_links() {
    let mut place = Scratch::with_source();
    let (image, disk, quick) = (place.at("image"), place.at("disk"), place.at("quick"));
    File::create(&image).and_then(|made| made.set_len(256 << 20)).expect("an image");
    sh("mkfs.ext4", &["-q", "-F"].map(OsStr::new).into_iter().chain([image.as_os_str()]).collect::<Vec<_>>());
    let _quick = Mount::tmpfs(&quick, "size=256m,nr_inodes=1m");
    match Mount::new(&disk, "mount", &[OsStr::new("-o"), OsStr::new("loop"), image.as_os_str()]) {
        Err(why) => leave_out(&why),
        Ok(_disk) => {
            (place.source, place.replica) = (quick.join("source"), disk.join("replica"));
            fs::create_dir(&place.source).expect("created");
            many_links(place, 70_000);
        }
    }
}

/// A file that is nearly all hole: its holes are neither read nor written, in the first pass and later.
fn hole(below: &Path) {
    const SIZE: u64 = 1 << 40;
    let place = Scratch::below(below);
    let file = File::create(place.source.join("sparse")).expect("created");
    file.set_len(SIZE).expect("a size");
    for at in [0, SIZE / 2 + 12_345, SIZE - 100] {
        file.write_all_at(&[7; 100], at).expect("written");
    }
    File::create(place.source.join("all hole")).and_then(|made| made.set_len(SIZE)).expect("a size");
    let run = |what: &str, written: u64| {
        let begin = Instant::now();
        let pass = place.once(&[]);
        assert_eq!(pass.code, Some(0), "{:?}", pass.told());
        assert!(begin.elapsed() < Duration::from_secs(10), "{what} took {:?}", begin.elapsed());
        assert!(pass.count("bytes_read") < 1 << 20, "{what} read {}", pass.count("bytes_read"));
        assert!(pass.count("bytes_written") <= written, "{what} wrote {}", pass.count("bytes_written"));
        for name in ["sparse", "all hole"] {
            let facts = fs::metadata(place.replica.join(name)).expect("there");
            assert!(facts.len() == SIZE && facts.blocks() < 2048, "{} blocks", facts.blocks());
        }
    };
    run("the copy", 1 << 20);
    run("the comparison", 0);
    file.write_all_at(b"changed", SIZE / 2 + 12_350).expect("written");
    run("the update", 1 << 20);
    let mut content = [0; 12];
    let replica = File::open(place.replica.join("sparse")).expect("opened");
    replica.read_exact_at(&mut content, SIZE / 2 + 12_345).expect("read");
    assert_eq!(&content, b"\x07\x07\x07\x07\x07changed");
    run("the last comparison", 0);
}

/// A folder of files with a size of 0 or a wrong size: everything readable arrives, and the pass ends.
fn lies(below: &Path, made_up: &str) {
    let mut place = Scratch::below(below);
    place.source = place.at("lies");
    needs(may_mount(), "procfs and sysfs are mirrored through a mount, which needs root");
    let bind = match Mount::new(&place.source, "mount", &[OsStr::new("--bind"), OsStr::new(made_up)]) {
        Ok(bind) => bind,
        Err(why) => leave_out(&why),
    };
    let begin = Instant::now();
    let first = place.once(&[]);
    assert!(matches!(first.code, Some(0 | 23)), "exit {:?}: {:?}", first.code, first.told());
    let second = place.once(&[]);
    assert_eq!((second.code, second.count("created")), (first.code, 0), "{:?}", second.told());
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    let (mut same, mut moved, mut unreadable) = (0, 0, 0);
    same_contents(&place.source, &place.replica, &mut |source, replica| match (
        fs::read(source),
        fs::read(replica),
    ) {
        (Ok(ours), Ok(theirs)) if ours == theirs => same += 1,
        (Ok(_), Ok(_)) => moved += 1,
        (Ok(_), Err(error)) => panic!("{} is missing: {error}", replica.display()),
        (Err(_), _) => unreadable += 1,
    });
    tell(&format!(
        "{made_up}: {same} files arrived, {moved} have changed since, {unreadable} cannot be read"
    ));
    assert!(same > 10 && moved <= same / 10, "{same} are the same, {moved} are not");
    drop(bind);
}

fn same_contents(source: &Path, replica: &Path, see: &mut impl FnMut(&Path, &Path)) {
    for entry in fs::read_dir(source).expect("readable").flatten() {
        let (ours, theirs) = (entry.path(), replica.join(entry.file_name()));
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            same_contents(&ours, &theirs, see);
        } else if kind.is_file() {
            see(&ours, &theirs);
        }
    }
}

/// Entries that block, stream without end or act when they are opened are never opened, not even to set their mode.
fn never_opened(below: &Path) {
    const NAMES: [&str; 5] = ["fifo", "zero", "console", "loop", "socket"];
    let place = Scratch::below(below);
    let make = |root: &Path, mode: u32| {
        let node = |name: &str, kind, device| {
            mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(mode), device).expect("made");
        };
        node("fifo", FileType::Fifo, 0);
        node("zero", FileType::CharacterDevice, makedev(1, 5));
        node("console", FileType::CharacterDevice, makedev(5, 1));
        node("loop", FileType::BlockDevice, makedev(7, 250));
        drop(UnixListener::bind(root.join("socket")).expect("a socket"));
    };
    make(&place.source, 0o640);
    // A writer that waits for a reader: an open of the FIFO would wake it.
    let fifo = place.source.join("fifo");
    let writer = spawn(move || File::options().write(true).open(fifo).map(drop));
    let run = |what: &str, operations: Option<u64>| {
        let trace = place.at("trace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=open,openat,openat2,creat", "-o"]).arg(&trace);
        let pass = place.run_command(place.file_sync_under(strace, &["--once"]));
        assert_eq!(pass.code, Some(0), "{what}: {:?}", pass.told());
        if let Some(operations) = operations {
            assert_eq!(pass.operations(), operations, "{what}: {:?}", pass.told());
        }
        let trace = fs::read(&trace).expect("a trace");
        for line in String::from_utf8_lossy(&trace).lines().filter(|line| !line.contains("O_PATH")) {
            assert!(!NAMES.iter().any(|name| line.contains(&format!("\"{name}\""))), "{what}: {line}");
            let is_temporary = line.contains("\".file-sync-") && !line.contains("O_EXCL");
            assert!(!is_temporary, "{what}: {line}");
        }
        assert!(!writer.is_finished(), "{what}: somebody opened the FIFO");
    };
    run("they are made", Some(5));
    run("nothing to do", Some(0));
    for name in &NAMES[..4] {
        sh("chmod", &[OsStr::new("600"), place.source.join(name).as_os_str()]);
    }
    run("other modes", Some(4));
    // Changes of kind in their place.
    for name in &NAMES[..4] {
        fs::remove_file(place.replica.join(name)).expect("removed");
        fs::write(place.replica.join(name), "a file was here").expect("written");
    }
    run("files become special", Some(5));
    fs::remove_dir_all(&place.replica).expect("removed");
    fs::create_dir(&place.replica).expect("created");
    for name in NAMES {
        mknodat(CWD, place.replica.join(name), FileType::Fifo, Mode::RUSR, 0).expect("made");
    }
    run("FIFOs become devices", None);
    // Releases the writer.
    let begin = Instant::now();
    let reader = File::options().read(true).open(place.source.join("fifo"));
    while !writer.is_finished() && begin.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(5));
    }
    drop(reader);
    writer.join().expect("no panic").expect("it was opened by us in the end");
}
