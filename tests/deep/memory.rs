//! Memory: the peak resident memory of a pass over a million files, in many folders and in one, and over files with two
//! names.

use crate::harness::cases::Cases;
use crate::harness::kit::{Mount, Pass, may_mount, tell, try_sh};
use crate::support::dice::Dice;
use crate::support::scratch::Scratch;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

const FILES: usize = 1_000_000;
const PER_FOLDER: usize = 100;
const UPPER_FOLDERS: usize = 100;
/// The final number of entries, in millions: nothing is removed between the cases.
const ROOMS: usize = 6;
const KIB_PER_MIB: u64 = 1 << 10;

pub(crate) fn run() {
    let cases = Cases::new("memory");
    let mut place = Scratch::with_source();
    place.chooses_workers = true;
    let _mount = room(&place);
    new_roots(&mut place, "tree");
    let folders = FILES / PER_FOLDER;
    cases.run(&format!("{FILES} files in {folders} folders"), || many_folders(&place));
    new_roots(&mut place, "flat");
    cases.run(&format!("{FILES} files in one folder"), || one_folder(&place));
    // The second names come late: after all first ones with one worker, and in another order. The index takes some MiB,
    // however large the tree is; what the links take shows without it. The program itself takes 9.4 MiB of it, with 16
    // threads and the matcher of the filter; it was 8.4 MiB without the matcher, and the last limit 26 MiB.
    for (order, threads, limit_mib) in [("another", "2", 32), ("the same", "1", 26), ("another", "16", 27)] {
        let state = place.state();
        if limit_mib < 32 && !state.is_file() {
            let _ = fs::remove_dir_all(&state);
            fs::write(&state, "no folder").expect("written");
        }
        new_roots(&mut place, &format!("two names in {order} order, {threads}"));
        let what = format!("{TWO_NAMES} files of two names in {order} order, --threads {threads}");
        cases.run(&what, || two_names(&place, (order, threads), limit_mib));
    }
    cases.finish();
}

/// A filesystem with inodes for [`ROOMS`] million entries, which is quick to discard; `None` if it cannot be mounted.
fn room(place: &Scratch) -> Option<Mount> {
    if !may_mount() {
        return None;
    }
    let image = place.at("image");
    File::create(&image).and_then(|file| file.set_len(16 << 30)).expect("a sparse file");
    let inodes = (ROOMS * FILES + 100_000).to_string();
    let mkfs =
        ["-q", "-F", "-b", "1024", "-N", &inodes, "-E", "lazy_itable_init=1", "-O", "^has_journal,large_dir"];
    let mkfs: Vec<&OsStr> = mkfs.iter().map(OsStr::new).chain([image.as_os_str()]).collect();
    try_sh("mkfs.ext4", &mkfs).ok()?;
    let options = [OsStr::new("-o"), OsStr::new("loop"), image.as_os_str()];
    Mount::new(&place.at("mnt"), "mount", &options).ok()
}

/// New empty roots, which saves the removal of the old ones.
fn new_roots(place: &mut Scratch, name: &str) {
    let mnt = place.at("mnt");
    let base = if mnt.exists() { mnt } else { place.path().to_owned() };
    place.source = base.join(name);
    place.replica = base.join(format!("{name} replica"));
    fs::create_dir_all(&place.source).expect("created");
}

fn many_folders(place: &Scratch) {
    let folders = FILES / PER_FOLDER;
    make(folders, |folder| {
        // Two levels, as in real trees.
        let path = place.source.join(format!("{:03}/{folder:06}", folder % UPPER_FOLDERS));
        fs::create_dir_all(&path).expect("created");
        for file in 0..PER_FOLDER {
            small_file(&path.join(format!("file {file:03}.txt")), folder * PER_FOLDER + file);
        }
    });
    let entries = FILES + folders + UPPER_FOLDERS;
    measure(place, &format!("{FILES} files in {folders} folders"), (entries, 0), [96, 64], &[]);
}

fn one_folder(place: &Scratch) {
    const TASKS: usize = 100;
    make(TASKS, |task| {
        for file in 0..FILES / TASKS {
            let number = task * (FILES / TASKS) + file;
            small_file(&place.source.join(format!("a file with number {number:07}")), number);
        }
    });
    measure(place, &format!("{FILES} files in one folder"), (FILES, 0), [256, 256], &[]);
}

/// The number of files with two names.
const TWO_NAMES: usize = 300_000;

fn two_names(place: &Scratch, (order, threads): (&str, &str), limit_mib: u64) {
    // Coprime to the number of files, so that the stride visits all of them.
    const STRIDE: usize = 7_654_321;
    let path = |tree: &str, number: usize| {
        let folder =
            place.source.join(format!("{tree}/{:03}/{:06}", number / PER_FOLDER % 30, number / PER_FOLDER));
        (folder.join(format!("file {number:07}.txt")), folder)
    };
    let folders = TWO_NAMES / PER_FOLDER;
    make(folders, |folder| {
        for number in folder * PER_FOLDER..(folder + 1) * PER_FOLDER {
            let (file, folder) = path("first", number);
            fs::create_dir_all(folder).expect("created");
            small_file(&file, number);
        }
    });
    make(folders, |folder| {
        for number in folder * PER_FOLDER..(folder + 1) * PER_FOLDER {
            let other = if order == "the same" { number } else { number * STRIDE % TWO_NAMES };
            let (link, folder) = path("second", other);
            fs::create_dir_all(folder).expect("created");
            fs::hard_link(path("first", number).0, link).expect("linked");
        }
    });
    let entries = 2 * (TWO_NAMES + folders + 30 + 1);
    let what = format!("{TWO_NAMES} files of two names in {order} order, --threads {threads}");
    measure(place, &what, (entries, TWO_NAMES), [limit_mib; 2], &["--threads", threads]);
    // Checks the links as well as the contents.
    for number in (0..TWO_NAMES).step_by(1000) {
        let (file, _) = path("first", number);
        let file = place.replica.join(file.strip_prefix(&place.source).expect("below"));
        assert_eq!(fs::metadata(&file).expect("there").nlink(), 2, "{}", file.display());
    }
}

fn make(tasks: usize, task: impl Fn(usize) + Sync) {
    scope(|scope| {
        for half in 0..2 {
            let task = &task;
            scope.spawn(move || (half..tasks).step_by(2).for_each(task));
        }
    });
}

fn small_file(path: &Path, number: usize) {
    let content = format!("{number:0100}");
    File::create(path).and_then(|mut file| file.write_all(content.as_bytes())).expect("written");
}

/// Checks the memory of the first copy, which creates the given numbers of entries and links, and of a pass without
/// changes. Each has its limit in MiB.
fn measure(
    place: &Scratch,
    what: &str,
    (entries, links): (usize, usize),
    limits_mib: [u64; 2],
    arguments: &[&str],
) {
    let mut too_much = Vec::new();
    for (pass, (expected, linked), limit_mib) in
        [("first copy", (entries, links), limits_mib[0]), ("no change", (0, 0), limits_mib[1])]
    {
        // A new log, which is read from its end.
        let _ = fs::remove_file(&place.log);
        let begin = Instant::now();
        let (peak, code) = peak_resident(place.file_sync(&[&["--once"], arguments].concat()));
        let seconds = begin.elapsed().as_secs_f64();
        let done = Pass { code, events: end_of_log(&place.log) };
        assert_eq!(code, Some(0), "{what}, {pass}: {:?}", done.told());
        // One more operation for the metadata of the root, which is not created as an entry.
        let of_root = usize::from(expected > 0);
        let did = [done.count("created"), done.count("linked"), done.operations(), done.count("problems")];
        let expected_counts = [expected - linked, linked, expected + of_root, 0].map(|count| count as u64);
        assert_eq!(did, expected_counts, "{what}, {pass}: {:?}", done.told());
        let mib = peak as f64 / KIB_PER_MIB as f64;
        let line = format!("{what}, {pass}: {expected} made, {mib:.1} MiB of {limit_mib}, {seconds:.1} s");
        tell(&line);
        assert!(peak > 0, "the kernel tells no peak");
        if peak > limit_mib * KIB_PER_MIB {
            too_much.push(line);
        }
    }
    let mut dice = Dice(9);
    let compared = assert_same(&place.source, &place.replica, &mut dice);
    assert_eq!(compared.names, entries, "{what}: names in the replica");
    assert!(compared.contents > entries / SAMPLE / 2, "{what}: {} contents compared", compared.contents);
    tell(&format!(
        "{what}: {} names and a sample of {} contents are right",
        compared.names, compared.contents
    ));
    assert!(too_much.is_empty(), "too much: {}", too_much.join("; "));
}

/// The last events, operations apart, of a log too large to be read as a whole.
fn end_of_log(log: &Path) -> Vec<Value> {
    const LENGTH: u64 = 64 << 10;
    let mut file = File::open(log).expect("a log");
    let size = file.metadata().expect("a size").len();
    file.seek(SeekFrom::Start(size.saturating_sub(LENGTH))).expect("sought");
    let mut end = Vec::new();
    file.read_to_end(&mut end).expect("read");
    // The first line is cut off, unless it is the first of the whole log.
    let end = String::from_utf8_lossy(&end);
    let events = end.lines().filter_map(|line| serde_json::from_str(line).ok());
    events.filter(|event: &Value| event["event"] != "operation").collect()
}

/// Of this many files the content of one is compared.
const SAMPLE: usize = 100;

struct Compared {
    names: usize,
    contents: usize,
}

/// Both trees have the same names, and a sample of the files the same contents.
fn assert_same(source: &Path, replica: &Path, dice: &mut Dice) -> Compared {
    let mut sum = Compared { names: 0, contents: 0 };
    let (ours, theirs) = (names(source), names(replica));
    // assert_eq would print a million names.
    assert!(ours == theirs, "the names in {} and {} differ", source.display(), replica.display());
    for (name, is_folder) in ours {
        sum.names += 1;
        let (source, replica) = (source.join(&name), replica.join(&name));
        if is_folder {
            let below = assert_same(&source, &replica, dice);
            sum.names += below.names;
            sum.contents += below.contents;
        } else if dice.below(SAMPLE) == 0 {
            let read = |path: &Path| fs::read(path).expect("readable");
            assert!(read(&source) == read(&replica), "the content of {}", replica.display());
            sum.contents += 1;
        }
    }
    sum
}

/// The names in a folder, sorted, each with whether it is a folder.
fn names(folder: &Path) -> Vec<(OsString, bool)> {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable"));
    let is_folder = |entry: &fs::DirEntry| entry.file_type().expect("known").is_dir();
    let mut names: Vec<_> = entries.map(|entry| (entry.file_name(), is_folder(&entry))).collect();
    names.sort();
    names
}

/// The peak resident memory of a process in KiB, and its exit code. The kernel keeps the peak (`VmHWM`, proc(5)). It is
/// polled until the process is gone, so that no tool has to be installed.
fn peak_resident(mut command: Command) -> (u64, Option<i32>) {
    let mut child = command.spawn().expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Some(exit) = child.try_wait().expect("waited") {
            return (peak, exit.code());
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or_default());
        sleep(Duration::from_millis(5));
    }
}
