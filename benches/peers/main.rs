//! file-sync beside its peers: the same trees, the same edits, the same filesystem, one after the other in every round.
//! docs/testing.md says how to run it.
//!
//! Two processes. The inner one measures; as root it does so in mount and process namespaces of its own, so that no
//! mount and no process is left behind however it ends. The outer one only keeps the scratch folder: it outlives an
//! interrupt from the keyboard, and removes the folder, which would otherwise leave some ten gigabytes behind.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has nothing better to do than to stop and say where"
)]

mod arguments;
mod contender;
mod disk;
mod edits;
mod fence;
mod figures;
mod machine;
mod measure;
mod mirror;
mod probe;
mod real_tree;
mod rounds;
mod stage;
mod table;
mod work;
mod workload;

#[path = "../../tests/support/mod.rs"]
mod support;

use arguments::Arguments;
use clap::Parser;
use std::env::{args_os, current_exe, var_os};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;
use support::namespaces::in_namespaces;

/// Set for the inner process: its scratch folder.
const SCRATCH: &str = "FILE_SYNC_PEERS_SCRATCH";
/// The figures, in the scratch folder.
const SAVED: &str = "figures.json";
/// Set for the inner process where it may mount.
const MAY_MOUNT: &str = "FILE_SYNC_PEERS_MAY_MOUNT";

fn main() -> ExitCode {
    // cargo bench passes it. `cargo test --all-targets` runs this program too, and must not measure anything.
    if !args_os().any(|word| word == "--bench") {
        println!("not measured: cargo bench --bench peers does that");
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    if arguments.charts {
        return draw();
    }
    match var_os(SCRATCH) {
        Some(scratch) => rounds::run(&arguments, &PathBuf::from(scratch), var_os(MAY_MOUNT).is_some()),
        None => keep_scratch(&arguments),
    }
}

/// Writes the charts and the page with the tables.
fn draw() -> ExitCode {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let drawn = figures::drawn(&docs).and_then(|files| {
        files.iter().try_for_each(|(path, text)| {
            println!("{}", path.display());
            fs::write(path, text)
        })
    });
    match drawn {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Not drawn: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The outer process.
fn keep_scratch(arguments: &Arguments) -> ExitCode {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).expect("a signal handler");
    }
    let parent = arguments.scratch();
    let scratch = match tempfile::Builder::new().prefix("file-sync-peers.").tempdir_in(&parent) {
        Ok(scratch) => scratch,
        Err(error) => {
            eprintln!(
                "No scratch folder in {}: {error}; choose another one with --scratch",
                parent.display()
            );
            return ExitCode::FAILURE;
        }
    };
    let mut inner = in_namespaces(&current_exe().expect("this program"), MAY_MOUNT);
    inner.args(args_os().skip(1)).env(SCRATCH, scratch.path());
    let mut inner = inner.spawn().expect("the benchmark starts");
    let status = loop {
        if let Some(status) = inner.try_wait().expect("waited") {
            break status;
        }
        if interrupted.load(Ordering::Relaxed) {
            // A signal from the keyboard reaches both processes, one from kill(1) perhaps only this one. The children
            // of the inner process end with it.
            let _ = inner.kill();
        }
        sleep(Duration::from_millis(100));
    };
    // The inner process can write nowhere else.
    let saved = arguments.save.as_ref().map_or(Ok(0), |file| fs::copy(scratch.path().join(SAVED), file));
    if let Err(error) = &saved {
        eprintln!("The figures are not saved: {error}");
    }
    if let Err(error) = scratch.close() {
        eprintln!("Left in {}: {error}", parent.display());
    }
    if status.success() && saved.is_ok() && !interrupted.load(Ordering::Relaxed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
