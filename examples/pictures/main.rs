//! Makes the pictures of README.md: SVG files of a terminal in which file-sync has really run.
//!
//! ```text
//! cargo run --example pictures              writes docs/pictures/*.svg
//! cargo run --example pictures -- --check   fails if they are not what the program prints now
//! ```
//!
//! The program runs in a pseudo-terminal of 80 columns (`terminal.rs`), on trees at paths such as /srv/photos, which exist
//! only in mount and process namespaces of this run (`stage.rs`). A terminal emulator (the crate vt100) interprets colours,
//! cursor movements and erased lines, and the screen at the end is drawn (`svg.rs`). Times, process ids and the like, which
//! differ from run to run, are replaced by settled ones (`settle.rs`), so the files change only with the output.
//!
//! Two processes: the outer one builds the program and writes the files, the inner one has the namespaces.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a tool that cannot go on has nothing better to do than to stop and say where"
)]

mod scenes;
mod screen;
mod settle;
mod stage;
mod svg;
mod terminal;

#[path = "../../tests/support/dice.rs"]
#[allow(dead_code, reason = "the tests and benchmarks use the rest")]
mod dice;
#[path = "../../tests/support/namespaces.rs"]
mod namespaces;

use clap::Parser;
use namespaces::in_any_namespaces;
use std::collections::BTreeMap;
use std::env::{current_exe, var_os};
use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Set for the inner process: the built program.
const PROGRAM: &str = "FILE_SYNC_PICTURES_PROGRAM";
/// Set for the inner process, by which it knows that it may mount.
const MAY_MOUNT: &str = "FILE_SYNC_PICTURES_MAY_MOUNT";

/// The exit code where the pictures cannot be made: that of tests left out, as in automake.
const LEFT_OUT: u8 = 77;

/// Makes the pictures of README.md from real runs of file-sync
#[derive(Parser)]
#[command(name = "cargo run --example pictures --", disable_version_flag = true)]
struct Arguments {
    /// Write nothing; fail if a picture is not what the program prints now
    #[arg(long)]
    check: bool,
}

/// The drawn pictures by the names of their files.
type Pictures = BTreeMap<String, String>;

fn main() -> ExitCode {
    if let Some(program) = var_os(PROGRAM) {
        let pictures = scenes::play(Path::new(&program));
        let pictures = serde_json::to_string(&pictures).expect("plain text");
        stdout().write_all(pictures.as_bytes()).expect("the outer process reads it");
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    let Some(pictures) = made() else {
        println!(
            "The pictures are not made: mounting needs root, or a kernel that gives user namespaces to ordinary users"
        );
        return ExitCode::from(LEFT_OUT);
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    if arguments.check { compare(&folder, &pictures) } else { write(&folder, &pictures) }
}

/// Builds the program and lets the inner process draw it. None where no namespace allows to mount.
fn made() -> Option<Pictures> {
    let this = current_exe().expect("this program");
    let mut inner = in_any_namespaces(&this, MAY_MOUNT)?;
    let output = inner.env(PROGRAM, built()).stderr(Stdio::inherit()).output().expect("it starts");
    assert!(output.status.success(), "no pictures: {}", output.status);
    Some(serde_json::from_slice(&output.stdout).expect("the pictures"))
}

/// The program, built of the sources as they are. The example is named too, so that features of libraries are those of
/// this build, and nothing is compiled twice.
fn built() -> PathBuf {
    let mut cargo = Command::new(var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--bin", "file-sync", "--example", "pictures"]);
    cargo.args(["--message-format", "json-render-diagnostics"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo starts");
    assert!(output.status.success(), "the program is not built: {}", output.status);
    let messages = String::from_utf8_lossy(&output.stdout);
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program = artifacts
        .filter(|message| message["target"]["name"] == "file-sync" && message["target"]["kind"][0] == "bin")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.expect("cargo tells where the program is")
}

fn write(folder: &Path, pictures: &Pictures) -> ExitCode {
    fs::create_dir_all(folder).expect("created");
    for (name, picture) in pictures {
        let path = folder.join(name);
        fs::write(&path, picture).expect("written");
        println!("{}", path.display());
    }
    ExitCode::SUCCESS
}

fn compare(folder: &Path, pictures: &Pictures) -> ExitCode {
    let mut is_as_committed = true;
    for (name, picture) in pictures {
        let path = folder.join(name);
        let old = fs::read_to_string(&path).unwrap_or_default();
        if old == *picture {
            println!("{} is what the program prints", path.display());
            continue;
        }
        is_as_committed = false;
        println!("FAILED {} is not what the program prints:", path.display());
        for (sign, lines, others) in [('-', &old, picture), ('+', picture, &old)] {
            for line in lines.lines().filter(|line| !others.lines().any(|other| other == *line)) {
                println!("{sign} {line}");
            }
        }
    }
    if is_as_committed {
        ExitCode::SUCCESS
    } else {
        println!("If the output is meant: cargo run --example pictures");
        ExitCode::FAILURE
    }
}
