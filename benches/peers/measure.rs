//! Measures one run of one program.
//!
//! - Time: from the start of the process to its end, and also until its filesystem is synced.
//! - Processor time: of the process and its reaped descendants, as the kernel adds it up for this process when a child
//!   has ended. Later work of kernel threads, such as writeback, is not counted.
//! - Peak memory: the sum of the peak resident sizes of all processes that are alive at one moment. Shared pages count
//!   more than once.

use crate::disk::Disk;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

#[derive(Clone)]
pub(crate) struct Measured {
    /// Seconds until the program ended.
    pub(crate) time: f64,
    /// Seconds until its writes were durable as well.
    pub(crate) synced: f64,
    /// Seconds of all processors, in user and in kernel mode.
    pub(crate) processor: f64,
    pub(crate) peak_kib: u64,
    /// The bytes that its filesystem wrote to the disk; none where it has no disk of its own.
    pub(crate) written: Option<u64>,
    /// The failure, if any.
    pub(crate) failure: Option<String>,
}

/// Runs a command, after a sync of the writes that earlier runs have left.
pub(crate) fn run(mut command: Command, disk: &Disk, scratch: &Path) -> Measured {
    let errors = tempfile::tempfile_in(scratch).expect("a file for what it says");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(errors.try_clone().expect("a descriptor"));
    command.env_remove("NOTIFY_SOCKET");
    disk.sync();
    let (written, processor) = (disk.written(), processor_of_children());
    let begin = Instant::now();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Measured::failed(error.to_string()),
    };
    let (process, is_over) = (child.id(), AtomicBool::new(false));
    let (status, time, peak_kib) = scope(|scope| {
        let watch = scope.spawn(|| peak_resident(process, &is_over));
        let status = child.wait().expect("it ends");
        let time = begin.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        (status, time, watch.join().expect("watched"))
    });
    disk.sync();
    let synced = begin.elapsed().as_secs_f64();
    let written = disk.written().zip(written).map(|(after, before)| after - before);
    let processor = processor_of_children() - processor;
    let failure = failure(status, errors);
    Measured { time, synced, processor, peak_kib, written, failure }
}

impl Measured {
    fn failed(why: String) -> Measured {
        Measured { time: 0.0, synced: 0.0, processor: 0.0, peak_kib: 0, written: None, failure: Some(why) }
    }
}

fn failure(status: ExitStatus, mut errors: fs::File) -> Option<String> {
    use std::io::{Read, Seek};
    if status.success() {
        return None;
    }
    let mut told = Vec::new();
    errors.rewind().and_then(|()| errors.read_to_end(&mut told)).expect("what it said");
    let told = String::from_utf8_lossy(&told).into_owned();
    let first: String = told.trim().lines().next().unwrap_or_default().chars().take(60).collect();
    Some(format!("{status}: {first}"))
}

/// The seconds that all reaped children have used (proc_pid_stat(5), `cutime` and `cstime`).
fn processor_of_children() -> f64 {
    // USER_HZ, which is 100 wherever Rust runs on Linux.
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = fs::read_to_string("/proc/self/stat").expect("procfs");
    let (_, after_name) = text.rsplit_once(") ").expect("a name");
    let ticks = after_name.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
    ticks.map(f64::from).sum::<f64>() / TICKS_PER_SECOND
}

/// Polls until the program has ended: its peak vanishes with it, so the last reading has to be recent.
fn peak_resident(root: u32, is_over: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut alive = BTreeMap::new();
        enter(root, &mut alive);
        peak = peak.max(alive.values().sum());
        sleep(Duration::from_millis(3));
    }
    peak
}

/// Adds a process and its descendants (proc_pid_task(5), `children`).
fn enter(process: u32, alive: &mut BTreeMap<u32, u64>) {
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else { return };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    if alive.insert(process, kib.unwrap_or_default()).is_some() {
        return;
    }
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return };
    for task in tasks.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            enter(child, alive);
        }
    }
}
