//! A storm: threads turn both trees over while the program makes pass after pass. Part of the suite `races`.
//!
//! It is a process of its own, so that all its files can belong to an ordinary user. Every thread reaches its files
//! through open folders and follows no link, so no thread is led outside by another.

use crate::harness::kit::{Running, tell};
use crate::races::moving::{Reader, Writer};
use crate::races::outside::{FOLDER, Outside, assert_no_secret, is_secret, is_whole, whole};
use crate::support::dice::Dice;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, openat, renameat, renameat_with, unlinkat,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// Files that the source has at every moment, whole: they are only replaced by a rename.
const STEADY: usize = 8;

/// A storm lasts for at least this many passes, but not longer than this.
const LEAST_PASSES: usize = 200;
const MOST: Duration = Duration::from_secs(180);

/// Folders with all kinds of edits.
const FOLDERS: [&str; 6] = ["churn/a", "churn/b", "churn/c", "churn/a/in", "churn/b/in", "churn/b/in/in"];

const NAMES: usize = 12;

/// Names that a program led outside from one of the folders, or from the one above them, would look for.
const BAIT: [&str; 8] = ["f0", "f1", "f2", "in/f0", "in/in/f0", "a/f0", "b/in/f1", "c/f2"];

/// The state shared by the threads of a storm.
struct Storm<'a> {
    place: &'a Scratch,
    over: AtomicBool,
    done: [AtomicUsize; 4],
}

impl Storm<'_> {
    fn each(&self, seed: u64, counter: usize, mut work: impl FnMut(&mut Dice)) {
        let mut dice = Dice(seed);
        while !self.over.load(Ordering::Relaxed) {
            work(&mut dice);
            if let Some(done) = self.done.get(counter) {
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Runs the storm in an empty folder that this user may write to.
pub(crate) fn rage(below: &Path, seed: u64, length: Duration) {
    let mut place = Scratch::below(below);
    place.chooses_workers = true;
    let outside = Outside::new(&place, &BAIT);
    let mut dice = Dice(seed);
    fs::create_dir_all(place.at("staging")).expect("created");
    fs::create_dir(place.source.join("steady")).expect("created");
    for number in 0..STEADY {
        replace_steady(&place, number, &mut dice);
    }
    for folder in FOLDERS {
        fs::create_dir_all(place.source.join(folder)).expect("created");
        for number in 0..NAMES {
            fs::write(place.source.join(folder).join(format!("f{number}")), whole(&mut dice, 3000))
                .expect("written");
        }
    }
    let mut writer = Writer::new(&place);
    assert_eq!(place.once(&[]).code, Some(0), "before the storm");

    let storm = Storm { place: &place, over: AtomicBool::new(false), done: Default::default() };
    let errors = place.at("errors");
    let mut command = place.file_sync(&["--interval", "1h"]);
    let running = command.stderr(File::create(&errors).expect("created")).spawn();
    let running = Running(running.expect("it starts"));
    let pid = Pid::from_raw(i32::try_from(running.0.id()).expect("a process id")).expect("a process id");
    // The first event is of the earlier pass. SIGUSR1 would kill the program before it has installed its handlers.
    place.wait_for("pass_started", 2);
    let (writer, reader) = scope(|scope| {
        let storm = &storm;
        // A panic of one thread ends the others as well.
        let ends = || EndsIt(&storm.over);
        for (number, root) in [(1, &place.source), (2, &place.source), (3, &place.replica)] {
            scope.spawn(move || {
                let _ends = ends();
                storm.each(seed + number, 0, |dice| churn(root, dice));
            });
        }
        scope.spawn(move || {
            let _ends = ends();
            storm.each(seed + 4, 1, |dice| {
                replace_steady(storm.place, dice.below(STEADY), dice);
                sleep(Duration::from_micros(500));
            });
        });
        for (number, root) in [(5, &place.source), (6, &place.replica)] {
            scope.spawn(move || {
                let _ends = ends();
                storm.each(seed + number, 2, |dice| swap(storm.place, root, number, dice));
            });
        }
        let reader = scope.spawn(move || {
            let _ends = ends();
            let mut reader = Reader::default();
            storm.each(seed + 7, 3, |dice| {
                watch(storm.place, dice);
                if dice.below(10) == 0 {
                    reader.look(storm.place, dice);
                }
                if dice.below(300) == 0 {
                    assert_no_secret(&storm.place.replica);
                }
            });
            reader
        });
        let writer = scope.spawn(move || {
            let _ends = ends();
            // It has its own count.
            storm.each(seed + 8, usize::MAX, |dice| writer.step(&storm.over, dice));
            writer
        });
        let begin = Instant::now();
        let mut enough = length;
        while begin.elapsed() < enough && !storm.over.load(Ordering::Relaxed) {
            kill_process(pid, Signal::USR1).expect("it runs");
            sleep(Duration::from_millis(10));
            // Passes take longer on a busy machine. The log is large, so it is not read all the time.
            if begin.elapsed() >= enough && enough < MOST && passes_of(&place) < LEAST_PASSES {
                enough += Duration::from_secs(2);
            }
        }
        storm.over.store(true, Ordering::Relaxed);
        (writer.join().expect("no panic"), reader.join().expect("no panic"))
    });
    let passes = passes_of(&place);
    kill_process(pid, Signal::TERM).expect("it runs");
    let status = ends_in_time(running);
    let errors = fs::read_to_string(errors).expect("readable");
    assert!(status.success() && !errors.contains("panicked"), "{status} after SIGTERM: {errors}");
    assert!(passes >= LEAST_PASSES, "only {passes} passes");
    outside.assert_untouched(&place);
    assert_no_secret(&place.replica);
    let [churned, replaced, swapped, watched] =
        storm.done.each_ref().map(|count| count.load(Ordering::Relaxed));
    tell(&format!(
        "{passes} passes; {churned} edits, {replaced} files replaced, {swapped} swaps, {watched} looks"
    ));
    tell(&reader.tell(writer.rests));

    // One quiet pass makes everything right, and the next finds nothing to do.
    let quiet = place.once(&[]);
    assert_eq!(quiet.code, Some(0), "{:?}", quiet.told());
    assert_same("after one quiet pass", &Tree::of(&place.source), &Tree::of(&place.replica));
    let second = place.once(&[]);
    assert_eq!((second.code, second.operations()), (Some(0), 0), "{:?}", second.told());
    outside.assert_untouched(&place);
}

fn passes_of(place: &Scratch) -> usize {
    fs::read_to_string(&place.log).unwrap_or_default().matches("\"outcome\":\"done\"").count()
}

struct EndsIt<'a>(&'a AtomicBool);

impl Drop for EndsIt<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn ends_in_time(mut running: Running) -> ExitStatus {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(30) {
        if let Some(status) = running.0.try_wait().expect("a child") {
            return status;
        }
        sleep(Duration::from_millis(5));
    }
    panic!("it does not answer SIGTERM");
}

fn steady(number: usize) -> String {
    format!("steady/s{number}")
}

fn replace_steady(place: &Scratch, number: usize, dice: &mut Dice) {
    let size = if dice.below(40) == 0 { 1_500_000 } else { dice.below(150_000) };
    let new = place.at("staging/new");
    fs::write(&new, whole(dice, size)).expect("written");
    fs::rename(new, place.source.join(steady(number))).expect("replaced");
}

/// Reads a file of the replica that the source always has.
fn watch(place: &Scratch, dice: &mut Dice) {
    let name = steady(dice.below(STEADY));
    let content = fs::read(place.replica.join(&name));
    let content = content.unwrap_or_else(|error| panic!("{name} is missing in the replica: {error}"));
    assert!(!is_secret(&content), "{name} has what lies outside");
    assert!(is_whole(&content), "{name} is torn in the replica: {} bytes", content.len());
}

/// The folder at a path below a root, without following any link.
fn enter(root: &Path, path: &str) -> Option<OwnedFd> {
    let mut at = rustix::fs::open(root, FOLDER, Mode::empty()).ok()?;
    for name in path.split('/') {
        at = openat(&at, name, FOLDER, Mode::empty()).ok()?;
    }
    Some(at)
}

/// One edit somewhere in a tree; a missing entry is skipped.
fn churn(root: &Path, dice: &mut Dice) {
    let folder = FOLDERS[dice.below(FOLDERS.len())];
    let Some(at) = enter(root, folder) else {
        // The folder may have been removed: create it again, level by level.
        if let Some((above, name)) = folder.rsplit_once('/')
            && let Some(above) = enter(root, above)
        {
            let _ = rustix::fs::mkdirat(&above, name, Mode::RWXU);
        }
        sleep(Duration::from_micros(200));
        return;
    };
    let name = format!("f{}", dice.below(NAMES));
    let other = format!("f{}", dice.below(NAMES));
    let open = |flags: OFlags| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat(&at, name.as_str(), flags, Mode::from_raw_mode(0o640)).map(File::from).ok()
    };
    let most = if dice.below(30) == 0 { 2_000_000 } else { 20_000 };
    let size = dice.below(most);
    // A failure here is caused by another thread.
    let name = name.as_str();
    let _ = match dice.below(12) {
        0 => open(OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)
            .is_some_and(|mut file| file.write_all(&whole(dice, size)).is_ok()),
        1 => open(OFlags::WRONLY).is_some_and(|file| file.write_all_at(&dice.bytes(5000), 100).is_ok()),
        2 => open(OFlags::WRONLY).is_some_and(|file| file.set_len(size as u64 / 2).is_ok()),
        3 => open(OFlags::WRONLY | OFlags::APPEND)
            .is_some_and(|mut file| file.write_all(&dice.bytes(size)).is_ok()),
        4 => unlinkat(&at, name, AtFlags::empty()).is_ok(),
        5 => renameat(&at, name, &at, other.as_str()).is_ok(),
        6 => rustix::fs::linkat(&at, name, &at, other.as_str(), AtFlags::empty()).is_ok(),
        7 => rustix::fs::symlinkat("../../../outside", &at, name).is_ok(),
        8 => rustix::fs::mknodat(&at, name, FileType::Fifo, Mode::RUSR, 0).is_ok(),
        9 => open(OFlags::RDONLY).is_some_and(|file| {
            // Not the mode of a folder: an ordinary user would lock himself out.
            let mode = Mode::from_raw_mode(0o600 | size as u32 & 0o77);
            file.metadata().is_ok_and(|facts| facts.is_file()) && rustix::fs::fchmod(&file, mode).is_ok()
        }),
        10 => {
            let _ = rustix::fs::mkdirat(&at, name, Mode::RWXU);
            openat(&at, name, FOLDER, Mode::empty())
                .is_ok_and(|below| renameat(&at, other.as_str(), &below, "inside").is_ok())
        }
        _ => remove_some(root, folder, dice),
    };
    sleep(Duration::from_micros(200));
}

/// From time to time a whole subtree is moved out of the tree in one step, then removed.
fn remove_some(root: &Path, folder: &str, dice: &mut Dice) -> bool {
    let (above, name) = folder.rsplit_once('/').expect("two names");
    let Some(at) = enter(root, above).filter(|_| dice.below(4) == 0) else { return false };
    let gone = root.with_file_name(format!("gone {}", dice.roll()));
    let is_gone = renameat(&at, name, CWD, &gone).is_ok();
    if is_gone {
        remove(&gone);
    }
    is_gone
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|facts| facts.is_dir()) {
        // The program may still create entries in a folder that it has open.
        let tried = (0..100).find(|_| fs::remove_dir_all(path).is_ok() || !path.exists());
        assert!(tried.is_some(), "{} cannot be removed", path.display());
    } else {
        let _ = fs::remove_file(path);
    }
}

/// Exchanges a folder with a link that leads outside, and back a moment later.
fn swap(place: &Scratch, root: &Path, number: u64, dice: &mut Dice) {
    let folder = ["churn", "churn/a", "churn/b/in", "churn/c", "churn/b"][dice.below(5)];
    let aside = place.at(format!("swap {number}"));
    remove(&aside);
    symlink(place.at("outside"), &aside).expect("linked");
    let (above, name) = folder.rsplit_once('/').unwrap_or((".", folder));
    let exchange = || {
        if let Some(at) = enter(root, above) {
            // One of the two may be gone.
            let _ = renameat_with(CWD, &aside, &at, name, RenameFlags::EXCHANGE);
        }
    };
    exchange();
    sleep(Duration::from_micros(dice.below(3000) as u64));
    exchange();
    sleep(Duration::from_micros(dice.below(2000) as u64));
}

/// The source itself is renamed away and back while single passes begin and end: no file of the replica is deleted.
pub(crate) fn root_goes(below: &Path, seed: u64, passes: usize) {
    let place = Scratch::below(below);
    let mut dice = Dice(seed);
    for number in 0..40 {
        let folder = place.source.join(format!("d{}", number % 7));
        fs::create_dir_all(&folder).expect("created");
        fs::write(folder.join(number.to_string()), whole(&mut dice, 2000)).expect("written");
    }
    assert_eq!(place.once(&[]).code, Some(0));
    let over = AtomicBool::new(false);
    let mut codes = std::collections::BTreeMap::<i32, usize>::new();
    scope(|scope| {
        scope.spawn(|| {
            let _ends = EndsIt(&over);
            let mut dice = Dice(seed + 1);
            while !over.load(Ordering::Relaxed) {
                let away = place.at("away");
                fs::rename(&place.source, &away).expect("renamed");
                sleep(Duration::from_micros(dice.below(2000) as u64));
                fs::rename(&away, &place.source).expect("renamed");
                sleep(Duration::from_micros(dice.below(8000) as u64));
            }
        });
        let before = Tree::of(&place.replica);
        for _ in 0..passes {
            let code = place.once(&[]).code.expect("no signal");
            assert!([0, 1, 23, 25].contains(&code), "exit {code}");
            *codes.entry(code).or_default() += 1;
            assert_same("a source that went away for a moment", &before, &Tree::of(&place.replica));
        }
        over.store(true, Ordering::Relaxed);
    });
    tell(&format!("{passes} passes while the source comes and goes, by exit code: {codes:?}"));
    place.assert_in_step("after the source came back");
}
