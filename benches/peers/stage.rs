//! All contenders on one tree and one kind of filesystem.
//!
//! Within a round, all contenders do one work, one after the other, before the next work, and their order rotates with
//! every round: any other load of the machine affects all of them.

use crate::contender::{Contender, Way, state_of};
use crate::disk::{Disk, Format, Ground, Need};
use crate::edits;
use crate::machine::kib_of_memory;
use crate::measure::{self, Measured};
use crate::mirror::{Depth, warm, wrong};
use crate::table::Row;
use crate::work::Work;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Longer than the age at which a time stamp proves something to the index of file-sync.
const SETTLED: Duration = Duration::from_millis(4_100);

/// The rest of the replicas before the edit of a large file.
const REST: Duration = Duration::from_millis(2500);

/// One tree, one filesystem, and all contenders.
pub(crate) struct Stage<'a> {
    pub(crate) contenders: &'a [Contender],
    pub(crate) ground: &'a Ground,
    pub(crate) source: &'a Path,
    /// For the log and for files that a program keeps in its user's home.
    pub(crate) scratch: &'a Path,
    pub(crate) format: Format,
    pub(crate) need: Need,
    pub(crate) rounds: u32,
    pub(crate) is_short: bool,
}

/// A contender's replica, and the last edit of the source that it has mirrored.
struct Replica {
    disk: Disk,
    edit: u64,
}

impl Stage<'_> {
    pub(crate) fn measure(&self, works: &[Work], edit: &mut u64) -> Vec<(Work, Vec<Row>)> {
        let mut results: Vec<(Work, Vec<Row>)> = works.iter().map(|work| (*work, self.rows(*work))).collect();
        let mut replicas: Vec<Option<Replica>> = self.contenders.iter().map(|_| None).collect();
        for round in 0..self.rounds as usize {
            let count = self.contenders.len();
            let mut order: Vec<usize> = (0..count).map(|place| (place + round) % count).collect();
            if round > 0 && self.is_short {
                order.retain(|at| self.contenders[*at].is_in_every_round());
            }
            if round == 0 || works.contains(&Work::FirstCopy) {
                replicas.iter_mut().for_each(|replica| *replica = None);
                for at in order.iter().copied() {
                    replicas[at] = self.start(at, *edit, &mut results);
                }
            }
            for (work, rows) in results.iter_mut().filter(|(work, _)| *work != Work::FirstCopy) {
                self.catch_up(&mut replicas, *edit);
                if work.needs_edit() {
                    *edit += 1;
                    self.edit(*work, *edit);
                }
                for at in order.iter().copied() {
                    if *work == Work::ColdCopy {
                        self.cold_copy(at, rows);
                        continue;
                    }
                    let Some(replica) = &mut replicas[at] else { continue };
                    for way in self.contenders[at].ways(*work) {
                        self.timed(at, &way, *work, &replica.disk, Some(rows));
                        replica.edit = *edit;
                    }
                }
            }
        }
        results
    }

    /// The first copy of a contender, to a fresh filesystem; none if it does none of the works. The replica is kept if
    /// it does other works.
    fn start(&self, at: usize, edit: u64, results: &mut [(Work, Vec<Row>)]) -> Option<Replica> {
        let contender = &self.contenders[at];
        let has_part = |work: Work| !contender.ways(work).is_empty();
        let stays = results.iter().any(|(work, _)| !work.is_copy() && has_part(*work));
        let rows = results.iter_mut().find(|(work, _)| *work == Work::FirstCopy && has_part(*work));
        if !stays && rows.is_none() {
            return None;
        }
        let disk = self.ground.disk(self.format, &at.to_string(), self.need).expect("a fresh filesystem");
        // Contenders for the edit only copy in the same way.
        let ways = [Work::FirstCopy, Work::Edit].into_iter().flat_map(|work| contender.ways(work));
        let way = ways.into_iter().next().expect("a way");
        self.timed(at, &way, Work::FirstCopy, &disk, rows.map(|(_, rows)| rows));
        if stays && contender.has_index() {
            // A copy is read back once before it is trusted, and a time of the last seconds proves nothing.
            sleep(SETTLED);
            self.run(at, &way, &disk);
        }
        stays.then_some(Replica { disk, edit })
    }

    /// A copy with an empty cache, to a fresh filesystem of its own.
    fn cold_copy(&self, at: usize, rows: &mut Vec<Row>) {
        for way in self.contenders[at].ways(Work::ColdCopy) {
            let disk = self.ground.disk(self.format, "cold", self.need).expect("a fresh filesystem");
            self.timed(at, &way, Work::ColdCopy, &disk, Some(rows));
        }
    }

    fn rows(&self, work: Work) -> Vec<Row> {
        let ways = self.contenders.iter().flat_map(|contender| {
            contender.ways(work).into_iter().map(|way| Row {
                program: contender.name.clone(),
                options: way.options.join(" "),
                label: way.label,
                is_reference: contender.is_reference(),
                is_ours: contender.is_ours(),
                rounds: Vec::new(),
                wrong: None,
            })
        });
        ways.collect()
    }

    /// Mirrors the last edit with the contenders that did not take part in it, unmeasured.
    fn catch_up(&self, replicas: &mut [Option<Replica>], edit: u64) {
        for (at, (contender, replica)) in self.contenders.iter().zip(replicas).enumerate() {
            let Some(replica) = replica.as_mut().filter(|replica| replica.edit != edit) else { continue };
            let ways = [Work::Changed, Work::Edit].into_iter().flat_map(|work| contender.ways(work));
            if let Some(way) = ways.into_iter().next() {
                self.run(at, &way, &replica.disk);
            }
            replica.edit = edit;
        }
    }

    /// Edits the source for all contenders.
    fn edit(&self, work: Work, number: u64) {
        if work == Work::Edit {
            // As between two passes: a file that was written within the last two seconds is not cloned.
            sleep(REST);
            edits::large(self.source, number);
        } else {
            edits::many(self.source, number);
        }
    }

    /// Runs one contender, with a warm or an empty cache, and enters its cost and whether its replica is right.
    fn timed(&self, at: usize, way: &Way, work: Work, disk: &Disk, rows: Option<&mut Vec<Row>>) {
        let contender = &self.contenders[at];
        if work.is_cold() {
            drop_caches(disk);
        } else if contender.evicts() || !self.all_fits_in_memory() {
            warm(self.source);
            warm(&disk.replica);
        }
        if work.is_copy() {
            // As on the first day.
            let _ = fs::remove_dir_all(state_of(&self.log(at)));
        }
        let measured = self.run(at, way, disk);
        if work.is_cold() {
            // For the works that follow.
            warm(self.source);
            warm(&disk.replica);
        }
        let depth = if work.writes() { Depth::Contents } else { Depth::Facts };
        let wrong = wrong(self.source, &disk.replica, contender.claims(), depth);
        if contender.evicts() {
            warm(self.source);
        }
        let Some(rows) = rows else { return };
        let row = rows.iter_mut().find(|row| row.label == way.label).expect("a row");
        row.rounds.push(measured);
        row.wrong = row.wrong.take().or(wrong);
    }

    /// The log of a contender; its index is beside it.
    fn log(&self, at: usize) -> PathBuf {
        self.scratch.join(format!("log-{at}"))
    }

    fn run(&self, at: usize, way: &Way, disk: &Disk) -> Measured {
        let (log, home) = (self.log(at), self.scratch.join("home"));
        // So that neither grows with the rounds. A missing one need not be removed.
        let _ = fs::remove_file(&log);
        let _ = fs::remove_dir_all(&home);
        fs::create_dir(&home).expect("a home");
        let mut command = self.contenders[at].command(way, self.source, &disk.replica, &log);
        command.env("HOME", &home).env("TMPDIR", &home);
        for variable in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"] {
            command.env_remove(variable);
        }
        measure::run(command, disk, &home)
    }

    /// Whether everything fits in the cache: the source, and each replica with the image that it lies in.
    fn all_fits_in_memory(&self) -> bool {
        let most = self.need.bytes + self.need.entries * (4 << 10);
        let copies = 1 + 2 * self.contenders.len() as u64;
        kib_of_memory("MemAvailable").is_some_and(|kib| most * copies / 1024 < kib)
    }
}

/// Drops the kernel's caches of all files, folders and inodes (proc_sys_vm(5)). Only root may.
fn drop_caches(disk: &Disk) {
    const EVERYTHING: &str = "3";
    disk.sync();
    if let Err(error) = fs::write("/proc/sys/vm/drop_caches", EVERYTHING) {
        println!("the cache is as it was: {error}");
    }
}
