//! Power loss: during a pass and right after it the disk of the replica is copied as it would be found then. On the
//! copy no good old version is lost; after "done" everything is there; and one pass heals any torn file.
//!
//! The cuts come at random moments, in several weathers: no unwritten data has reached the disk, the journal has but
//! the data has not, single files have, a part of everything has. disk.rs explains why a copy is faithful.

mod disk;
mod torn;
mod versions;

use crate::harness::cases::{Cases, is_thorough, seed};
use crate::harness::kit::{Pass, Running, has, may_mount, skip, tell};
use crate::harness::verdict::Before;
use crate::power_loss::disk::{Disk, FORMATS, Format, Shelf, is_faithful, is_of_one_moment};
use crate::power_loss::torn::{Left, Versions, the_verdict_sees};
use crate::power_loss::versions::{Version, build};
use crate::support::dice::Dice;
use crate::support::index;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, differences};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

pub(crate) fn run() {
    if !may_mount() {
        return skip("power_loss", "mounting needs root and a mount namespace");
    }
    let cases = Cases::new("power_loss");
    cases.run("the verdict sees what is torn, lost and made up", the_verdict_sees);
    for error in ["EIO", "ENOSPC"] {
        let name = format!("nothing is deleted after {error} of the sync before");
        cases.run(&name, || deletions_wait_for_the_disk(error));
    }
    for format in FORMATS {
        if let Err(why) = on(&cases, format) {
            skip(format.name, &why);
        }
    }
    cases.finish();
}

fn on(cases: &Cases, format: Format) -> Result<(), String> {
    let name = format.name;
    let shelf = Shelf::new()?;
    cases.run(&format!("{name}: what was synced is on the copy, the rest is not"), || {
        is_faithful(&shelf, format)
    });
    cases.run(&format!("{name}: a copy is of one moment"), || is_of_one_moment(&shelf, format));
    build(&shelf.place.source, Version::New);
    cases.run(&format!("{name}: killed before its sync, then a pass with nothing to do"), || {
        killed_before_its_sync(&shelf, format);
    });
    let base = shelf.format(format, "base")?;
    {
        let _mount = base.mount()?;
        base.prepare();
        fs::create_dir(&shelf.place.replica).expect("created");
        build(&shelf.place.replica, Version::Old);
    }
    // Files written within the last two seconds are not cloned.
    sleep(Duration::from_millis(2300));
    let mut found = Found::default();
    let rounds = if is_thorough() { 60 } else { 6 };
    for number in 0..rounds {
        Round::new(format, number).play(cases, &shelf, &base, &mut found);
    }
    tell(&format!(
        "{name}: {} cuts found {} paths old, {} new, {} torn without an old version; {} old versions and {} moved files lost; \
         {} claims of the index hold",
        found.cuts, found.old, found.new, found.torn, found.lost, found.moves_lost, found.claims
    ));
    Ok(())
}

/// The findings of all cuts on one filesystem.
#[derive(Default)]
struct Found {
    cuts: usize,
    old: usize,
    new: usize,
    torn: usize,
    lost: usize,
    moves_lost: usize,
    claims: usize,
}

impl Found {
    fn add(&mut self, left: &Left) {
        self.cuts += 1;
        self.old += left.old;
        self.new += left.new;
        self.torn += left.torn;
        self.lost += left.lost.len();
        self.moves_lost += left.moves_lost.len();
    }
}

/// The writes that reach the disk right before the power loss.
#[derive(Clone, Copy, Debug)]
enum Weather {
    /// Only the kernel's own writes.
    Calm,
    /// The journal, without unrelated data.
    Journal,
    /// Three files that another program fsyncs.
    Files,
    /// Those, then the journal.
    FilesThenJournal,
    /// As much of everything as can be written in a few milliseconds.
    Part,
}

const WEATHERS: [Weather; 5] =
    [Weather::Calm, Weather::Journal, Weather::Files, Weather::FilesThenJournal, Weather::Part];

/// One power loss during a pass.
struct Moment {
    /// The moment, in thousandths of the operations.
    at: usize,
    weather: Weather,
    /// Whether the program is stopped meanwhile.
    stopped: bool,
}

/// One pass with several power losses, each on a copy of the disk, without the program's knowledge.
struct Round {
    format: Format,
    name: String,
    dice: Dice,
    moments: Vec<Moment>,
    threads: &'static str,
    /// Killed at the last moment; then another pass says "done".
    is_killed: bool,
}

impl Round {
    fn new(format: Format, number: usize) -> Round {
        let salt: u64 = format.name.bytes().map(u64::from).sum();
        let mut dice = Dice(seed().wrapping_mul(1_000_003).wrapping_add(salt * 1000 + number as u64));
        let mut moments: Vec<Moment> = (0..4)
            .map(|_| Moment {
                at: dice.below(1001),
                // The journal alone tears files, so it is used every second time.
                weather: if dice.below(2) == 0 { Weather::Journal } else { WEATHERS[dice.below(5)] },
                stopped: dice.below(2) == 0,
            })
            .collect();
        moments.sort_by_key(|moment| moment.at);
        Round {
            format,
            name: format!("{}: pass {number}", format.name),
            moments,
            threads: if dice.below(2) == 0 { "1" } else { "4" },
            is_killed: number % 3 == 2,
            dice,
        }
    }

    fn play(mut self, cases: &Cases, shelf: &Shelf, base: &Disk<'_>, found: &mut Found) {
        let name = self.name.clone();
        let names: Vec<String> = self
            .moments
            .iter()
            .map(|moment| {
                let Moment { at, weather, stopped } = moment;
                let stopped = if *stopped { "stopped" } else { "running" };
                format!("{name}, power lost at {at}/1000, {weather:?}, {stopped}")
            })
            .chain([format!("{name}, power lost after done")])
            .collect();
        if !names.iter().any(|name| cases.wants(name)) {
            return;
        }
        let disk = base.cut("original");
        let mount = disk.mount().expect("mounted");
        let before = Before::of(&shelf.place);
        let versions = Versions { old: Tree::of(&shelf.place.replica), new: Tree::of(&shelf.place.source) };
        let mut cuts = self.pass(&shelf.place, &disk);
        // The disk itself is no longer of use: it is fully synced.
        drop(mount);
        for (number, name) in names.iter().enumerate().rev() {
            let cut = cuts.pop().expect("a cut for each name");
            let is_done = number == self.moments.len();
            cases.run(name, || {
                let weather = self.moments.get(number).map(|moment| moment.weather);
                let what = weather.map_or("after done".to_owned(), |weather| format!("{weather:?}"));
                cases.cover("losses of power", &format!("{} {what}", self.format.name));
                let _mount = cut.mount().expect("the disk can be mounted after the loss of power");
                let now = Tree::of(&shelf.place.replica);
                let left = versions.judge(&now);
                found.add(&left);
                if is_done {
                    // What the index says since then holds on the copy: it was committed after the sync.
                    let checked = index::check(&shelf.place);
                    assert!(checked.records > 0, "{checked:?}");
                    found.claims += checked.claims;
                }
                before.heals(&shelf.place);
                let wrong = [&left.lost, &left.moves_lost, &left.wrong];
                let [lost, moves, wrong] =
                    wrong.map(|lines| format!("{}: {}", lines.len(), lines.join("\n  ")));
                assert!(
                    left.lost.is_empty() && left.moves_lost.is_empty() && left.wrong.is_empty(),
                    "lost {lost}\nmoves lost {moves}\nwrong {wrong}"
                );
                if is_done {
                    let missing = differences(&versions.new, &now);
                    assert!(missing.is_empty(), "after done: {}", missing.join("\n"));
                }
            });
        }
    }

    /// Runs one pass. Returns the disk at every moment, and after the end.
    fn pass<'d>(&mut self, place: &Scratch, disk: &'d Disk<'_>) -> Vec<Disk<'d>> {
        let mut cuts = Vec::new();
        let all = OPERATIONS.load(Ordering::Relaxed) as usize;
        let start = || {
            // The first pass has no log yet.
            let _ = fs::remove_file(place.at("log"));
            Running(place.file_sync(&["--once", "--threads", self.threads]).spawn().expect("it starts"))
        };
        let mut running = start();
        for (number, moment) in self.moments.iter().enumerate() {
            wait(place, moment.at * all / 1000);
            if moment.stopped {
                signal(&running, Signal::STOP);
            }
            cuts.push(cut_in(&mut self.dice, moment.weather, place, disk, &format!("cut {number}")));
            if moment.stopped {
                signal(&running, Signal::CONT);
            }
        }
        if self.is_killed {
            signal(&running, Signal::KILL);
            drop(running);
            running = start();
        }
        wait(place, usize::MAX);
        cuts.push(disk.cut("cut after done"));
        let code = running.0.wait().expect("it ends").code();
        assert_eq!(code, Some(0), "{}", fs::read_to_string(place.at("log")).unwrap_or_default());
        if !self.is_killed {
            OPERATIONS.store(operations(place).0 as u64, Ordering::Relaxed);
        }
        cuts
    }
}

/// The number of operations of a pass; a guess until one has ended.
static OPERATIONS: AtomicU64 = AtomicU64::new(250);

fn signal(running: &Running, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(running.0.id()).expect("small")).expect("a process id");
    // The process is reaped later, so its id stays valid after its end.
    kill_process(pid, signal).expect("sent");
}

/// The number of operations in the log so far, and whether the pass is done.
fn operations(place: &Scratch) -> (usize, bool) {
    let log = fs::read_to_string(place.at("log")).unwrap_or_default();
    (log.matches("\"event\":\"operation\"").count(), log.contains("\"outcome\":\"done\""))
}

/// Waits for this many operations, or for the end of the pass.
fn wait(place: &Scratch, count: usize) {
    let begin = Instant::now();
    loop {
        let (found, is_done) = operations(place);
        if found >= count || is_done {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{found} operations of {count} after a minute");
        sleep(Duration::from_micros(200));
    }
}

/// Produces the weather, then copies the disk.
fn cut_in<'d>(
    dice: &mut Dice,
    weather: Weather,
    place: &Scratch,
    disk: &'d Disk<'_>,
    name: &str,
) -> Disk<'d> {
    if matches!(weather, Weather::Files | Weather::FilesThenJournal) {
        sync_some(&place.replica, dice);
    }
    match weather {
        Weather::Calm | Weather::Files => {}
        Weather::Journal | Weather::FilesThenJournal => disk.commit(),
        Weather::Part => {
            let pause = Duration::from_micros(dice.below(20_000) as u64);
            let mount = File::open(place.at("mnt")).expect("opened");
            return scope(|scope| {
                scope.spawn(|| rustix::fs::syncfs(&mount).expect("synced"));
                sleep(pause);
                disk.cut(name)
            });
        }
    }
    disk.cut(name)
}

/// fsyncs three random files of the replica.
fn sync_some(replica: &Path, dice: &mut Dice) {
    for _ in 0..3 {
        let mut at = replica.to_owned();
        while at.is_dir() {
            let Ok(entries) = fs::read_dir(&at) else { break };
            let mut entries: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            entries.sort();
            if entries.is_empty() {
                break;
            }
            at = entries.swap_remove(dice.below(entries.len()));
        }
        // The file may be gone by now, or a dangling link.
        if at.is_file()
            && let Ok(file) = File::open(&at)
        {
            let _ = file.sync_data();
        }
    }
}

/// Data left by a killed pass may not be durable. The next pass finds it right, and has to make it durable before
/// "done".
fn killed_before_its_sync(shelf: &Shelf, format: Format) {
    if !has("strace") {
        leave_out("strace is not installed");
    }
    let place = &shelf.place;
    let disk = shelf.format(format, "killed").expect("a disk");
    let mount = disk.mount().expect("mounted");
    // An injected error keeps the call from being made: the signal alone would arrive after it.
    let killed = syncing(place, "error=EINTR:signal=KILL");
    assert_eq!(killed.of("done").count(), 0, "it was not killed: {:?}", killed.told());
    let started = place.once(&[]);
    let cut = disk.cut("killed cut");
    assert_eq!(
        (started.code, started.operations()),
        (Some(0), started.count("metadata")),
        "{:?}",
        started.told()
    );
    drop(mount);
    let _mount = cut.mount().expect("mounted");
    let missing = differences(&Tree::of(&place.source), &Tree::of(&place.replica));
    assert!(missing.is_empty(), "after done: {}", missing.join("\n"));
}

/// If copied data cannot be made durable, nothing is deleted, after any error: even where deletions would free
/// space, a lost file may be the new name of a deleted one.
fn deletions_wait_for_the_disk(error: &str) {
    if !has("strace") {
        leave_out("strace is not installed");
    }
    let place = Scratch::with_source();
    fs::create_dir(&place.replica).expect("created");
    fs::write(place.source.join("moved here"), "content").expect("written");
    fs::write(place.replica.join("moved away"), "content").expect("written");
    let pass = syncing(&place, &format!("error={error}:when=1"));
    assert_eq!((pass.code, pass.count("problems")), (Some(23), 1), "{:?}", pass.told());
    assert!(place.replica.join("moved away").exists(), "{:?}", pass.told());
    assert_eq!(place.once(&[]).code, Some(0), "the disk works again");
    place.assert_in_step("after the disk works again");
}

/// One pass with an injected fault of `syncfs(2)`.
fn syncing(place: &Scratch, what: &str) -> Pass {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=syncfs", "-e"]);
    strace.arg(format!("inject=syncfs:{what}"));
    place.run_command(place.file_sync_under(strace, &["--once"]))
}
