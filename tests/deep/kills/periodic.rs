//! Kills between and during passes of one process (`--interval`): the source is edited while the program is idle, and
//! the program is killed at a random moment of the next pass, or right after it reports "done". Part of `kills`.
//!
//! Such a process differs from a new one: it has learned the limits of the filesystems, keeps the replica locked, and
//! remembers the durable data. Its word counts: once the log has a pass that is done, everything is durable, also after
//! an immediate kill.
//!
//! A pass that reads the source during an edit has many right results, so nothing could be checked after it. Each edit
//! is made while no pass runs, and the first pass that can see it is known.

use crate::harness::cases::{Cases, is_thorough, seed};
use crate::harness::kit::Running;
use crate::harness::trace::signal_of;
use crate::harness::verdict::Before;
use crate::kills::{KILL, long_stage};
use crate::support::dice::Dice;
use crate::support::process::stands_still;
use crate::support::scratch::Scratch;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The numbers of kills at a random moment, and right after "done".
const DEATHS: (usize, usize) = (20, 6);
const DEATHS_IN_THE_LONG_FORM: (usize, usize) = (400, 100);

/// A pass takes a fraction of a second, and the next is due after one second.
const PATIENCE: Duration = Duration::from_secs(60);

/// The polling interval of the log.
const GLANCE: Duration = Duration::from_micros(500);

/// Passes that write less had next to nothing to do: their length says nothing about the others.
const MUCH: u64 = 1 << 20;

/// The trigger of the pass that is killed.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// SIGUSR1, in the middle of a long interval.
    Asked,
    /// The shortest possible interval.
    Due,
}

#[derive(Clone, Copy, Debug)]
enum Moment {
    Random,
    Done,
}

struct Death {
    number: usize,
    start: Start,
    moment: Moment,
}

impl Death {
    fn name(&self) -> String {
        let Death { number, start, moment } = self;
        format!("periodic {number}: {start:?}, {moment:?}")
    }
}

pub(crate) fn run(scratch: &Path, cases: &Cases) {
    let (random, done) = if is_thorough() { DEATHS_IN_THE_LONG_FORM } else { DEATHS };
    let deaths: Vec<Death> = (0..random + done)
        .map(|number| Death {
            number,
            // Fewer of those that have to wait for the interval.
            start: if number % 3 == 0 { Start::Due } else { Start::Asked },
            moment: if number < random { Moment::Random } else { Moment::Done },
        })
        .collect();
    cases.run_all(&deaths, Death::name, |death| die(death, scratch, cases));
}

fn die(death: &Death, scratch: &Path, cases: &Cases) {
    let place = Scratch::below(scratch);
    long_stage(&place);
    let mut before = Before::of(&place);
    let mut dice = Dice(seed().wrapping_mul(1_000_003) + 500_000 + death.number as u64);
    let mut length = Duration::ZERO;
    let lives = 1 + dice.below(3);
    for life in 0..lives {
        let mut program = Program::start(&place, death.start);
        // The number of passes that it completes. A process after a killed one may be killed in its first pass, which
        // heals.
        let rounds = if life == 0 { 1 + dice.below(2) } else { dice.below(3) };
        let mut pass = 1;
        for _ in 0..rounds {
            length = program.wait_for_end(pass).unwrap_or(length);
            before.check(&place, true);
            (before, pass) = program.edit(pass, &mut dice);
        }
        program.wait_for_start(pass);
        match death.moment {
            Moment::Random => {
                if let Start::Asked = death.start
                    && dice.below(3) == 0
                {
                    // Another pass follows at once, without work, and may be the one that is killed.
                    program.signal(Signal::USR1);
                }
                sleep(length.mul_f64(dice.below(1200) as f64 / 1000.0));
            }
            Moment::Done => drop(program.wait_for_end(pass)),
        }
        let is_done = program.kill(pass);
        let moment = match death.moment {
            Moment::Random if is_done => "after the end",
            Moment::Random => "in the middle",
            Moment::Done => "right after done",
        };
        cases.cover("periodic", moment);
        before.check(&place, is_done);
    }
    before.heals(&place);
}

/// A running file-sync with its log so far.
struct Program<'a> {
    place: &'a Scratch,
    start: Start,
    process: Running,
    log: Log,
}

impl<'a> Program<'a> {
    fn start(place: &'a Scratch, start: Start) -> Program<'a> {
        // Each process counts its passes from 1, so each has a log of its own. The first finds none.
        let _ = fs::remove_file(&place.log);
        let interval = match start {
            Start::Asked => "1h",
            Start::Due => "1",
        };
        let process = Running(place.file_sync(&["--interval", interval]).spawn().expect("it starts"));
        Program { place, start, process, log: Log::default() }
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.process.0.id()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    fn wait<T>(&mut self, what: &str, found: impl Fn(&Log) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            self.log.read(&self.place.log);
            if let Some(found) = found(&self.log) {
                return found;
            }
            let ended = self.process.0.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended before {what}: {ended:?}, {:?}", self.log);
            assert!(begin.elapsed() < PATIENCE, "{what} did not come: {:?}", self.log);
            sleep(GLANCE);
        }
    }

    /// Waits until the log has the start of a pass. Returns its time, to the millisecond.
    fn wait_for_start(&mut self, pass: u64) -> Timestamp {
        self.wait(&format!("the start of pass {pass}"), |log| log.started.get(&pass).copied())
    }

    /// Waits until the log has the end of a pass, with any outcome.
    fn wait_for_any_end(&mut self, pass: u64) -> Value {
        self.wait(&format!("the end of pass {pass}"), |log| log.ended.get(&pass).cloned())
    }

    /// Waits for the end of a pass, which has to be "done". Returns its duration, if it had much to do.
    fn wait_for_end(&mut self, pass: u64) -> Option<Duration> {
        let end = self.wait_for_any_end(pass);
        assert!(is_done(&end), "nothing was in its way: {end}");
        let seconds = end["duration_seconds"].as_f64().expect("a duration");
        (end["bytes_written"].as_u64() > Some(MUCH)).then(|| Duration::from_secs_f64(seconds))
    }

    /// Edits the source while no pass runs; `pass` is the last that ended. Returns both trees after the edit, and the
    /// number of the first pass after it, which has started.
    fn edit(&mut self, pass: u64, dice: &mut Dice) -> (Before, u64) {
        match self.start {
            Start::Asked => {
                edit(&self.place.source, dice);
                let before = Before::of(self.place);
                // Not earlier: a request during a pass would cause one more pass.
                self.signal(Signal::USR1);
                self.wait_for_start(pass + 1);
                (before, pass + 1)
            }
            Start::Due => self.edit_while_stopped(pass, dice),
        }
    }

    /// The interval does not wait for an edit, so the program is stopped meanwhile.
    fn edit_while_stopped(&mut self, mut pass: u64, dice: &mut Dice) -> (Before, u64) {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            // A pass during an edit, see below, may have had problems.
            self.wait_for_any_end(pass);
            self.signal(Signal::STOP);
            self.wait_until_still();
            self.log.read(&self.place.log);
            pass += 1;
            if self.log.started.contains_key(&pass) {
                self.signal(Signal::CONT);
                continue;
            }
            let stopped = Timestamp::now();
            edit(&self.place.source, dice);
            let before = Before::of(self.place);
            self.signal(Signal::CONT);
            // The pass may have started just before the stop: log lines are written a millisecond later, and that was
            // stopped, too. But the line has the time, to the millisecond, and an edit takes many.
            if self.wait_for_start(pass) > stopped {
                return (before, pass);
            }
        }
        panic!("it was never at rest: {:?}", self.log);
    }

    /// Waits until every thread is stopped.
    fn wait_until_still(&mut self) {
        let process = self.process.0.id();
        self.wait("its threads stand still", |_| stands_still(process).then_some(()));
    }

    /// Kills the program. Returns whether it had reported a pass as done by then.
    fn kill(mut self, pass: u64) -> bool {
        self.process.0.kill().expect("a child");
        let status = self.process.0.wait().expect("a child");
        assert_eq!(signal_of(status), Some(KILL), "it ended by itself: {status}, {:?}", self.log);
        self.log.read(&self.place.log);
        self.log.ended.get(&pass).is_some_and(|end| {
            assert!(is_done(end), "nothing was in its way: {end}");
            true
        })
    }
}

/// Whether the line that ends a pass claims that the replica matches.
fn is_done(end: &Value) -> bool {
    end["outcome"] == "done" && end["problems"] == 0
}

/// The starts and ends of passes in a log that grows, by their numbers.
#[derive(Debug, Default)]
struct Log {
    file: Option<File>,
    /// The start of an incomplete line.
    rest: Vec<u8>,
    started: BTreeMap<u64, Timestamp>,
    ended: BTreeMap<u64, Value>,
}

impl Log {
    /// Reads only the added lines: the log is polled thousands of times.
    fn read(&mut self, path: &Path) {
        if self.file.is_none() {
            // The log may not exist yet.
            self.file = File::open(path).ok();
        }
        let Some(file) = &mut self.file else { return };
        file.read_to_end(&mut self.rest).expect("readable");
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in String::from_utf8_lossy(&lines).lines().filter(|line| line.contains("\"event\":\"pass_"))
        {
            let line: Value = serde_json::from_str(line).expect("a line of the log");
            let pass = line["pass"].as_u64().expect("a number");
            if line["event"] == "pass_started" {
                let time = line["time"].as_str().and_then(|time| time.parse().ok());
                self.started.insert(pass, time.expect("a time"));
            } else {
                self.ended.insert(pass, line);
            }
        }
    }
}

/// Edits the source of [`long_stage`] between two passes: about half of the files become new, changed, gone, renamed,
/// linked or another kind, and so do one large file and one folder.
fn edit(source: &Path, dice: &mut Dice) {
    let stamp = dice.roll();
    let (folders, large): (Vec<PathBuf>, Vec<PathBuf>) =
        names(source).into_iter().partition(|path| path.is_dir());
    let size = (3 << 20) + dice.below(1000);
    fs::write(&large[dice.below(large.len())], dice.bytes(size)).expect("written");
    for (number, path) in folders.iter().flat_map(|folder| names(folder)).enumerate() {
        let other = folders[dice.below(folders.len())].join(format!("{stamp:x} {number}"));
        let size = 1 + dice.below(120_000);
        if path.is_dir() {
            fs::remove_dir_all(&path).expect("removed");
            fs::write(&path, dice.bytes(size)).expect("written");
            continue;
        }
        match dice.below(20) {
            0 | 1 => fs::remove_file(&path),
            2 | 3 => fs::rename(&path, &other),
            // Same size, same inode.
            4 | 5 => fs::read(&path).and_then(|old| fs::write(&path, dice.bytes(old.len()))),
            6 | 7 => fs::write(&other, dice.bytes(size)).and_then(|()| fs::rename(&other, &path)),
            8 | 9 => fs::write(&other, dice.bytes(size)),
            10 => fs::hard_link(&path, &other),
            11 => fs::remove_file(&path)
                .and_then(|()| fs::create_dir(&path))
                .and_then(|()| fs::write(path.join("inside"), dice.bytes(size))),
            _ => Ok(()),
        }
        .expect("edited");
    }
    let folder = &folders[dice.below(folders.len())];
    fs::rename(folder, source.join(format!("folder {stamp:x}"))).expect("renamed");
}

/// The entries of a folder, in a stable order.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()).collect();
    names.sort();
    names
}
