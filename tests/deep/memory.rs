//! Memory: the most that a pass ever has resident, for a million files in many folders and in one.

use crate::kit::{Mount, Place, may_mount, tell, try_sh};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

const FILES: usize = 1_000_000;
const KIB_PER_MIB: u64 = 1 << 10;

pub(crate) fn run() {
    let mut place = Place::new();
    let _mount = room(&place);
    new_roots(&mut place, "tree");
    many_folders(&place);
    new_roots(&mut place, "flat");
    one_folder(&place);
}

/// A filesystem with room for so many files twice over, which is gone at once in the end; else the scratch folder.
fn room(place: &Place) -> Option<Mount> {
    if !may_mount() {
        return None;
    }
    let image = place.path("image");
    File::create(&image).and_then(|file| file.set_len(16 << 30)).expect("a sparse file");
    let inodes = (4 * FILES + 100_000).to_string();
    let mkfs =
        ["-q", "-F", "-b", "1024", "-N", &inodes, "-E", "lazy_itable_init=1", "-O", "^has_journal,large_dir"];
    let mkfs: Vec<&OsStr> = mkfs.iter().map(OsStr::new).chain([image.as_os_str()]).collect();
    try_sh("mkfs.ext4", &mkfs).ok()?;
    let options = [OsStr::new("-o"), OsStr::new("loop"), image.as_os_str()];
    Mount::new(&place.path("mnt"), "mount", &options).ok()
}

/// Empty roots, without waiting for the removal of the old ones.
fn new_roots(place: &mut Place, name: &str) {
    let mnt = place.path("mnt");
    let base = if mnt.exists() { mnt } else { place.path("") };
    place.source = base.join(name);
    place.replica = base.join(format!("{name} replica"));
    fs::create_dir_all(&place.source).expect("created");
}

fn many_folders(place: &Place) {
    const PER_FOLDER: usize = 100;
    make(FILES / PER_FOLDER, |folder| {
        // Two levels, as real trees have them.
        let path = place.source.join(format!("{:03}/{folder:06}", folder % 100));
        fs::create_dir_all(&path).expect("created");
        for file in 0..PER_FOLDER {
            small_file(&path.join(format!("file {file:03}.txt")), folder * PER_FOLDER + file);
        }
    });
    let what = format!("{FILES} files in {} folders", FILES / PER_FOLDER);
    measure(place, &what, "first copy", 96);
    measure(place, &what, "no change", 64);
}

fn one_folder(place: &Place) {
    const TASKS: usize = 100;
    make(TASKS, |task| {
        for file in 0..FILES / TASKS {
            let number = task * (FILES / TASKS) + file;
            small_file(&place.source.join(format!("a file with number {number:07}")), number);
        }
    });
    let what = format!("{FILES} files in one folder");
    measure(place, &what, "first copy", 256);
    measure(place, &what, "no change", 256);
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

fn measure(place: &Place, what: &str, pass: &str, limit_mib: u64) {
    let begin = Instant::now();
    let (peak, code) = peak_resident(place.file_sync(&["--once", "--log-format", "text"]));
    assert_eq!(code, Some(0), "{what}, {pass}");
    let mib = peak as f64 / KIB_PER_MIB as f64;
    tell(&format!("{what}, {pass}: {mib:.1} MiB of {limit_mib}, {:.1} s", begin.elapsed().as_secs_f64()));
    assert!(peak <= limit_mib * KIB_PER_MIB, "{what}, {pass}: {mib:.1} MiB");
}

/// The peak resident memory of a process in KiB, and its exit code. The kernel keeps the peak (`VmHWM`, proc(5));
/// it is read until the process is gone, so that nothing has to be installed.
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
