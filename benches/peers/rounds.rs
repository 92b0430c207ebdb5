//! The rounds: one workload after the other, one filesystem after the other, and a table for each work.

use crate::SAVED;
use crate::arguments::{Arguments, Images};
use crate::disk::{Ground, Need, tool};
use crate::fence;
use crate::figures::{Figures, Scene};
use crate::machine::{MACHINE, describe, kib_of_memory};
use crate::mirror::warm;
use crate::probe;
use crate::stage::Stage;
use crate::table::{Row, figures, table};
use crate::work::Work;
use crate::workload::Workload;
use clap::ValueEnum;
use rustix::fs::{Mode, OFlags, open, syncfs};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Runs the inner process.
pub(crate) fn run(arguments: &Arguments, scratch: &Path, may_mount: bool) -> ExitCode {
    let begin = Instant::now();
    let (contenders, left_out) = match probe::contenders(arguments) {
        Ok(found) => found,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    if may_mount && let Err(why) = fence::raise(scratch) {
        eprintln!("Not run: programs of others would have to run as root without a fence: {why}");
        return ExitCode::FAILURE;
    }
    let (ground, images) = ground(arguments, scratch, may_mount);
    let description = describe(scratch, images, &contenders);
    for line in description.iter().chain(&left_out) {
        println!("{}{line}", if arguments.markdown { "- " } else { "" });
    }
    let mut is_right = true;
    let mut scenes = Vec::new();
    if arguments.work.iter().any(|work| work.is_cold()) && images != ON_DISK {
        println!(
            "what is said to be cold is so in the source alone: --images disk puts the replicas on the disk"
        );
    }
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
        settle(&source);
        let inventory = warm(&source);
        let mark = if arguments.markdown { "\n## " } else { "\n" };
        let tree = format!(
            "{}: {}: {} files in {} folders, {} symbolic links, {:.2} GB",
            workload.name(),
            workload.what(),
            inventory.files,
            inventory.folders + 1,
            inventory.links,
            inventory.bytes as f64 / 1e9
        );
        println!("{mark}{tree}");
        let need =
            Need { bytes: inventory.bytes, entries: inventory.files + inventory.folders + inventory.links };
        let mut edit = 0;
        for format in workload.formats().iter().copied() {
            if let Some(why) = ground.lacks(format) {
                println!("{why}");
                continue;
            }
            let stage = Stage {
                contenders: &contenders,
                ground: &ground,
                source: &source,
                scratch,
                format,
                need,
                rounds: arguments.rounds(),
                is_short: !arguments.full,
            };
            for (work, rows) in stage.measure(&works, &mut edit) {
                is_right &= rows.iter().filter(|row| row.is_ours).all(Row::is_right);
                let place = ground.name(format);
                tell(workload, work, place, &rows, arguments.markdown);
                let work_there = format!("{}, {place}", work.title());
                scenes.push(Scene { tree: tree.clone(), work: work_there, runs: figures(&rows, work) });
            }
        }
        fs::remove_dir_all(&folder).expect("removed");
    }
    println!("measured in {:.0} s", begin.elapsed().as_secs_f64());
    if arguments.save.is_some() {
        // Where a build of file-sync lies says nothing elsewhere.
        let ours = |line: &&String| contenders.iter().any(|it| it.is_ours() && line.starts_with(&it.name));
        let description: Vec<&String> = description.iter().filter(|line| !ours(line)).collect();
        save(arguments, &description, scenes, &scratch.join(SAVED));
    }
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn save(arguments: &Arguments, description: &[&String], scenes: Vec<Scene>, file: &Path) {
    let (machine, how): (Vec<&String>, Vec<&String>) = description
        .iter()
        .filter(|line| !line.starts_with("date: "))
        .partition(|line| line.starts_with(MACHINE));
    let how = how.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("; ");
    let figures = Figures {
        title: "file-sync beside its peers".to_owned(),
        measured: format!("{:.10}", jiff::Timestamp::now().to_string()),
        machine: machine.first().map(|line| line.trim_start_matches(MACHINE).to_owned()),
        about: format!("{how}; medians of {} rounds", arguments.rounds()),
        reference: "rsync".to_owned(),
        scenes,
    };
    figures.write(file).expect("the scratch folder is writable");
}

/// Waits until the source is durable: otherwise the kernel would write it back during a measurement.
fn settle(source: &Path) {
    let folder = open(source, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    syncfs(folder.expect("the source")).expect("synced");
}

fn tell(workload: Workload, work: Work, place: &str, rows: &[Row], markdown: bool) {
    let (name, title) = (workload.name(), work.title());
    let ratio = if work.writes() { "time+sync" } else { "time" };
    let mark = if markdown { "### " } else { "" };
    println!("\n{mark}{name}, {title}, {place} (ratios of {ratio})");
    print!("{}{}", if markdown { "\n" } else { "" }, table(rows, work, markdown));
}

const ON_DISK: &str = "each on a filesystem of its own in a sparse image file on the disk";

/// The place of the replicas, and its description.
fn ground(arguments: &Arguments, scratch: &Path, may_mount: bool) -> (Ground, &'static str) {
    /// Needed in the short form: some replicas of half a gigabyte at a time, each in its image and in the cache.
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
        Images::Disk => (Ground::new(&folder, true), ON_DISK),
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
