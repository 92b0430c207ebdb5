//! The order of everything. Within a round, each work is done by one contender after the other before the next work
//! comes, and the order of the contenders moves on with every round: whatever else the machine does hits all of them.

use crate::arguments::{Arguments, Images};
use crate::contender::{Contender, Way};
use crate::disk::{Disk, Format, Ground, Need, tool};
use crate::machine::{describe, kib_of_memory};
use crate::measure::{self, Measured};
use crate::mirror::{Depth, warm, wrong};
use crate::table::{Row, table};
use crate::work::Work;
use crate::workload::Workload;
use crate::{edits, probe};
use clap::ValueEnum;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The inner process: everything.
pub(crate) fn run(arguments: &Arguments, scratch: &Path, may_mount: bool) -> ExitCode {
    let begin = Instant::now();
    let (contenders, left_out) = match probe::contenders(arguments) {
        Ok(found) => found,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let (ground, images) = ground(arguments, scratch, may_mount);
    for line in describe(scratch, images, &contenders).iter().chain(&left_out) {
        println!("{}{line}", if arguments.markdown { "- " } else { "" });
    }
    let mut is_right = true;
    for workload in Workload::value_variants().iter().copied().filter(|workload| arguments.wants(*workload)) {
        let works: Vec<Work> =
            workload.works().iter().copied().filter(|work| arguments.wants_work(*work)).collect();
        if works.is_empty() {
            continue;
        }
        let folder = scratch.join("tree");
        fs::create_dir(&folder).expect("a folder");
        let source = folder.join("source");
        workload.make(arguments.full, &source);
        let inventory = warm(&source);
        let mark = if arguments.markdown { "\n## " } else { "\n" };
        println!(
            "{mark}{}: {}: {} files in {} folders, {} symbolic links, {:.2} GB",
            workload.name(),
            workload.what(),
            inventory.files,
            inventory.folders + 1,
            inventory.links,
            inventory.bytes as f64 / 1e9
        );
        let need =
            Need { bytes: inventory.bytes, entries: inventory.files + inventory.folders + inventory.links };
        let mut edit = 0;
        for format in workload.formats().iter().copied() {
            if let Some(why) = ground.lacks(format) {
                println!("{why}");
                continue;
            }
            let log = scratch.join("log");
            let stage =
                Stage { contenders: &contenders, ground: &ground, source: &source, log, format, need };
            for (work, rows) in stage.measure(&works, arguments.rounds(), &mut edit) {
                is_right &= rows.iter().filter(|row| row.is_ours).all(Row::is_right);
                let mark = if arguments.markdown { "\n### " } else { "\n" };
                let ratio = if work.writes() { "time+sync" } else { "time" };
                println!(
                    "{mark}{}, {}, {} ({} rounds; ratios of {ratio})",
                    workload.name(),
                    work.title(),
                    format.name(),
                    arguments.rounds()
                );
                println!(
                    "{}{}",
                    if arguments.markdown { "\n" } else { "" },
                    table(&rows, work, arguments.markdown)
                );
            }
        }
        fs::remove_dir_all(&folder).expect("removed");
    }
    println!("measured in {:.0} s", begin.elapsed().as_secs_f64());
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Where the replicas go, and in words.
fn ground(arguments: &Arguments, scratch: &Path, may_mount: bool) -> (Ground, &'static str) {
    /// The short form has up to eight replicas of half a gigabyte at a time, and they have to stay in memory.
    const ENOUGH_KIB: u64 = 10 << 20;
    let folder = scratch.join("replicas");
    if !may_mount {
        return (
            Ground::new(&folder, false),
            "plain folders beside the source; only root can mount a fresh filesystem",
        );
    }
    let has_room = kib_of_memory("MemAvailable").is_some_and(|kib| kib > ENOUGH_KIB);
    let usual = if arguments.full || !has_room { Images::Disk } else { Images::Memory };
    let (ground, words) = match arguments.images.unwrap_or(usual) {
        Images::Disk => {
            (Ground::new(&folder, true), "each on a filesystem of its own in a sparse image file on the disk")
        }
        Images::Memory => {
            fs::create_dir(&folder).expect("a folder");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", "size=80%", "tmpfs"]).arg(&folder);
            tool(&mut mount).expect("a tmpfs");
            (Ground::new(&folder, true), "each on a filesystem of its own in a sparse image file in memory")
        }
    };
    (ground, words)
}

/// One tree, one filesystem, and all contenders.
struct Stage<'a> {
    contenders: &'a [Contender],
    ground: &'a Ground,
    source: &'a Path,
    log: PathBuf,
    format: Format,
    need: Need,
}

/// A contender's replica, and the edit of the source that it has caught up with.
struct Replica {
    disk: Disk,
    edit: u64,
}

impl Stage<'_> {
    fn measure(&self, works: &[Work], rounds: u32, edit: &mut u64) -> Vec<(Work, Vec<Row>)> {
        let mut results: Vec<(Work, Vec<Row>)> = works.iter().map(|work| (*work, self.rows(*work))).collect();
        let copies_first = works.contains(&Work::FirstCopy);
        let mut replicas: Vec<Option<Replica>> = self.contenders.iter().map(|_| None).collect();
        for round in 0..rounds as usize {
            let count = self.contenders.len();
            let order: Vec<usize> = (0..count).map(|place| (place + round) % count).collect();
            if round == 0 || copies_first {
                replicas.iter_mut().for_each(|replica| *replica = None);
                for at in order.iter().copied() {
                    let stays = works
                        .iter()
                        .any(|work| *work != Work::FirstCopy && !self.contenders[at].ways(*work).is_empty());
                    let takes_part = copies_first && !self.contenders[at].ways(Work::FirstCopy).is_empty();
                    if !stays && !takes_part {
                        continue;
                    }
                    let rows = results.iter_mut().find(|(work, _)| *work == Work::FirstCopy && takes_part);
                    let replica = self.first_copy(at, *edit, rows.map(|(_, rows)| rows));
                    replicas[at] = stays.then_some(replica);
                }
            }
            for (work, rows) in results.iter_mut().filter(|(work, _)| *work != Work::FirstCopy) {
                if work.needs_edit() {
                    self.edit(*work, &mut replicas, edit);
                }
                for at in order.iter().copied() {
                    let Some(replica) = &mut replicas[at] else { continue };
                    for way in self.contenders[at].ways(*work) {
                        warm(&replica.disk.replica);
                        self.timed(at, &way, *work, &replica.disk, Some(rows));
                        replica.edit = *edit;
                    }
                }
            }
        }
        results
    }

    fn rows(&self, work: Work) -> Vec<Row> {
        let ways = self.contenders.iter().flat_map(|contender| {
            contender.ways(work).into_iter().map(|way| Row {
                label: way.label,
                is_reference: contender.is_reference(),
                is_ours: contender.is_ours(),
                rounds: Vec::new(),
                wrong: None,
            })
        });
        ways.collect()
    }

    /// To a fresh filesystem; only measured where there are rows for it.
    fn first_copy(&self, at: usize, edit: u64, rows: Option<&mut Vec<Row>>) -> Replica {
        let disk = self.ground.disk(self.format, &format!("{at}"), self.need).expect("a fresh filesystem");
        disk.sync();
        let contender = &self.contenders[at];
        // Those that only edit copy as the others of their kind do.
        let copying = contender.ways(Work::FirstCopy).into_iter().next();
        let way = copying.or_else(|| contender.ways(Work::Edit).into_iter().next()).expect("a way");
        self.timed(at, &way, Work::FirstCopy, &disk, rows);
        Replica { disk, edit }
    }

    /// Edits the source for everybody; whoever did not take part in the last edit catches up before.
    fn edit(&self, work: Work, replicas: &mut [Option<Replica>], edit: &mut u64) {
        for (at, replica) in replicas.iter_mut().enumerate() {
            let contender = &self.contenders[at];
            let Some(replica) = replica.as_mut().filter(|replica| replica.edit != *edit) else { continue };
            let ways = [Work::Changed, Work::Edit].into_iter().flat_map(|work| contender.ways(work));
            if let Some(way) = ways.into_iter().next() {
                self.timed(at, &way, work, &replica.disk, None);
            }
            replica.edit = *edit;
        }
        *edit += 1;
        if work == Work::Edit {
            edits::large(self.source, *edit);
        } else {
            edits::many(self.source, *edit);
        }
    }

    /// Runs one contender with a warm source, and enters what it cost and whether its replica is right.
    fn timed(&self, at: usize, way: &Way, work: Work, disk: &Disk, rows: Option<&mut Vec<Row>>) {
        let contender = &self.contenders[at];
        // Also because some, such as rclone, drop from the cache what they have read.
        warm(self.source);
        let _ = fs::remove_file(&self.log);
        let measured: Measured =
            measure::run(contender.command(way, self.source, &disk.replica, &self.log), disk);
        let Some(rows) = rows else { return };
        let depth = if work.writes() { Depth::Contents } else { Depth::Facts };
        let row = rows.iter_mut().find(|row| row.label == way.label).expect("a row");
        let wrong = wrong(self.source, &disk.replica, contender.claims(), depth);
        row.rounds.push(measured);
        row.wrong = row.wrong.take().or(wrong);
    }
}
