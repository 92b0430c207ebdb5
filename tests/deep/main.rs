//! The deep suites: tests that take longer, or need more of the machine, than `cargo test` should. docs/testing.md
//! documents the purpose of each, and how to run it.
//!
//! Off unless `FILE_SYNC_DEEP` is set, so that `cargo test` stays quick. They run one after the other, because they
//! measure. Each suite is a process of its own, as root in mount and process namespaces of its own: no mount and no
//! process is left behind, however it ends.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a suite is one large test, and a test may fail"
)]

mod abilities;
mod absence;
mod deltas;
mod failing_disks;
mod faults;
mod filesystems;
mod full_disk;
mod fuse;
mod harness;
mod hostile;
mod kills;
mod links;
mod memory;
mod names;
mod new_files;
mod new_folders;
mod power_loss;
mod races;
mod real_tree;
mod rot;
mod system_calls;

#[path = "../support/mod.rs"]
mod support;

use harness::cases::{ONLY, SEED, TALLY};
use std::env::{args, current_exe, var_os};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;
use support::namespaces::in_namespaces;

/// Set for the process of one suite that may mount.
const MAY_MOUNT: &str = "FILE_SYNC_DEEP_MAY_MOUNT";

struct Suite {
    name: &'static str,
    run: fn(),
}

const SUITES: &[Suite] = &[
    Suite { name: "faults", run: faults::run },
    Suite { name: "kills", run: kills::run },
    Suite { name: "deltas", run: deltas::run },
    Suite { name: "new_folders", run: new_folders::run },
    Suite { name: "new_files", run: new_files::run },
    Suite { name: "system_calls", run: system_calls::run },
    Suite { name: "filesystems", run: filesystems::run },
    Suite { name: "names", run: names::run },
    Suite { name: "abilities", run: abilities::run },
    Suite { name: "failing_disks", run: failing_disks::run },
    Suite { name: "full_disk", run: full_disk::run },
    Suite { name: "power_loss", run: power_loss::run },
    Suite { name: "real_tree", run: real_tree::run },
    Suite { name: "rot", run: rot::run },
    Suite { name: "absence", run: absence::run },
    Suite { name: "races", run: races::run },
    Suite { name: "links", run: links::run },
    Suite { name: "hostile", run: hostile::run },
    Suite { name: "memory", run: memory::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = args().skip(1).collect();
    if let [word, name] = arguments.as_slice()
        && word == "--suite"
    {
        let suite = SUITES.iter().find(|suite| suite.name == name).expect("a suite");
        (suite.run)();
        return ExitCode::SUCCESS;
    }
    if let [word, folder] = arguments.as_slice()
        && word == "--stories"
    {
        filesystems::stories::play_here(Path::new(folder));
        return ExitCode::SUCCESS;
    }
    if var_os("FILE_SYNC_DEEP").is_none() {
        println!("deep suites skipped: set FILE_SYNC_DEEP=1 to run them (docs/testing.md)");
        return ExitCode::SUCCESS;
    }
    let words = match words(&arguments) {
        Ok(words) => words,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let filters = &words.suites;
    let tally = tempfile::NamedTempFile::new().expect("a file for the tally");
    let mut failed = 0;
    for suite in SUITES {
        if !filters.is_empty() && !filters.iter().any(|filter| suite.name.contains(filter.as_str())) {
            continue;
        }
        println!("\nsuite {}", suite.name);
        let begin = Instant::now();
        let mut process = process_of(suite.name);
        process.env(TALLY, tally.path());
        for (variable, value) in [(ONLY, &words.only), (SEED, &words.seed)] {
            if let Some(value) = value {
                process.env(variable, value);
            }
        }
        let ok = process.status().expect("it starts").success();
        failed += u32::from(!ok);
        println!(
            "suite {} {}, {} s",
            suite.name,
            if ok { "ok" } else { "FAILED" },
            begin.elapsed().as_secs()
        );
    }
    let tally = fs::read_to_string(tally.path()).expect("the tally");
    let mut sums = [0, 0, 0];
    println!("\nsuites that failed: {failed}");
    for line in tally.lines() {
        match counts(line) {
            Some(counts) => sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count),
            None => println!("{line}"),
        }
    }
    let [checks_passed, checks_failed, checks_skipped] = sums;
    println!("deep: {checks_passed} passed, {checks_failed} failed, {checks_skipped} skipped");
    if sums == [0, 0, 0]
        && let Some(only) = &words.only
    {
        eprintln!("no check has {only:?} in its name");
        failed += 1;
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The line of a suite in the tally; none for a line of a report.
fn counts(line: &str) -> Option<[usize; 3]> {
    let counts: Result<Vec<usize>, _> = line.split(' ').map(str::parse).collect();
    counts.ok()?.try_into().ok()
}

/// The parsed command line.
#[derive(Default)]
struct Words {
    /// Parts of the names of suites; all of them when empty.
    suites: Vec<String>,
    only: Option<String>,
    seed: Option<String>,
}

fn words(arguments: &[String]) -> Result<Words, String> {
    let mut words = Words::default();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().cloned().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--only" => words.only = Some(value()?),
            "--seed" => words.seed = Some(value()?),
            // Options that cargo test passes to every test binary.
            option if option.starts_with('-') => {}
            suite if SUITES.iter().any(|known| known.name.contains(suite)) => {
                words.suites.push(suite.to_owned());
            }
            other => {
                let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
                return Err(format!("no suite is called {other}; there are {}", names.join(", ")));
            }
        }
    }
    Ok(words)
}

/// The process of one suite, in namespaces of its own if the machine allows that.
fn process_of(suite: &str) -> Command {
    let mut command = in_namespaces(&current_exe().expect("this program"), MAY_MOUNT);
    command.args(["--suite", suite]);
    command
}
