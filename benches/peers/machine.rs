//! Describes the machine in a few lines: figures mean nothing without it.

use crate::contender::Contender;
use std::fs;
use std::path::Path;

/// How the line of the machine begins.
pub(crate) const MACHINE: &str = "machine: ";

pub(crate) fn describe(scratch: &Path, images: &str, contenders: &[Contender]) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut lines = vec![
        format!("date: {:.16}Z", jiff::Timestamp::now().to_string()),
        format!(
            "{MACHINE}{}, {cores} processors, {:.0} GiB memory, Linux {}",
            field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned()),
            kib_of_memory("MemTotal").unwrap_or_default() as f64 / f64::from(1 << 20),
            fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim()
        ),
        load(cores),
        format!("source: {}; everything in the cache but where it says otherwise", filesystem_of(scratch)),
        format!("replicas: {images}"),
    ];
    let mut told = Vec::new();
    for contender in contenders {
        // Several contenders may be one program; builds of file-sync differ by their paths.
        if told.contains(&contender.program) {
            continue;
        }
        told.push(contender.program.clone());
        let version = &contender.version;
        lines.push(if contender.is_ours() {
            format!("{}: {version}, {}", contender.name, contender.program.display())
        } else {
            format!("{}: {version}", contender.program.display())
        });
    }
    lines
}

/// The other load of the machine (proc_loadavg(5)), with a warning where that makes figures worthless.
fn load(cores: usize) -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
    let is_busy = load > cores as f64 / 2.0;
    let warning = "; BUSY WITH SOMETHING ELSE: times say little, ratios not much more";
    format!("load before: {load:.2}{}", if is_busy { warning } else { "" })
}

/// A field of /proc/meminfo, in KiB.
pub(crate) fn kib_of_memory(name: &str) -> Option<u64> {
    field("/proc/meminfo", name)?.trim_end_matches(" kB").parse().ok()
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The name of the filesystem that a folder is on (proc_pid_mountinfo(5)): that of the longest mount point above it,
/// and of the last one where several are mounted at one place.
fn filesystem_of(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let candidates = mounts.lines().filter_map(|line| {
        let point = line.split(' ').nth(4)?;
        let kind = line.split_once(" - ")?.1.split(' ').next()?;
        folder.starts_with(point).then_some((point.len(), kind))
    });
    candidates
        .max_by_key(|(length, _)| *length)
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}
