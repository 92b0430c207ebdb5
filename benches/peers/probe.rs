//! Finds the contenders on this machine.

use crate::arguments::Arguments;
use crate::contender::{Contender, Tool};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_file-sync");

/// Name, program, tool. Several contenders may be one program.
const PEERS: [(&str, &str, Tool); 10] = [
    ("rsync", "rsync", Tool::Rsync),
    ("rsync", "rsync", Tool::RsyncEdit(&["--checksum"])),
    ("rsync", "rsync", Tool::RsyncEdit(&["--inplace", "--no-whole-file"])),
    ("rsync", "rsync", Tool::RsyncEdit(&["--checksum", "--inplace", "--no-whole-file"])),
    ("rclone", "rclone", Tool::Rclone),
    ("cp -a", "cp", Tool::Cp),
    ("xcp", "xcp", Tool::Xcp),
    ("lms", "lms", Tool::Lms),
    ("ripsync", "ripsync", Tool::Ripsync),
    ("plsync", "plsync", Tool::Plsync),
];

/// All requested builds of file-sync, then the peers; and a line for each missing one.
pub(crate) fn contenders(arguments: &Arguments) -> Result<(Vec<Contender>, Vec<String>), String> {
    let mut contenders = vec![file_sync("file-sync", Path::new(PROGRAM))?];
    for (number, ours) in arguments.ours.iter().enumerate() {
        let (name, path) = match ours.split_once('=') {
            Some((name, path)) => (name.to_owned(), path),
            None => (format!("file-sync {}", number + 2), ours.as_str()),
        };
        if contenders.iter().any(|known| known.name == name) {
            return Err(format!("two contenders are called {name}: give them names, as NAME=PATH"));
        }
        contenders.push(file_sync(&name, Path::new(path))?);
    }
    let mut left_out = Vec::new();
    for ours in &contenders {
        if let Tool::FileSync { bytes: None, .. } = ours.tool {
            left_out.push(format!("{} has no --compare bytes", ours.name));
        }
        if let Tool::FileSync { quick: None, .. } = ours.tool {
            left_out.push(format!("{} has no quick check", ours.name));
        }
    }
    for (name, program, tool) in PEERS {
        if !arguments.wants_peer(program) {
            continue;
        }
        // rclone alone has "version" as a command, and knows the option as well.
        match says(Path::new(program), "--version") {
            Some(version) => {
                let version = version.lines().next().unwrap_or_default().trim().to_owned();
                contenders.push(Contender { name: name.to_owned(), program: program.into(), version, tool });
            }
            None => left_out.push(format!("{program} is not installed")),
        }
    }
    left_out.dedup();
    Ok((contenders, left_out))
}

fn file_sync(name: &str, program: &Path) -> Result<Contender, String> {
    let version = says(program, "--version").ok_or_else(|| format!("{} does not run", program.display()))?;
    let help = says(program, "--help").unwrap_or_default();
    let program = program.canonicalize().unwrap_or_else(|_| PathBuf::from(program));
    let has = |option: &str| help.contains(option);
    let tool = Tool::FileSync {
        bytes: has("--compare").then(|| vec!["--compare", "bytes"]),
        quick: has("--rehash-after").then(|| vec!["--rehash-after", "never"]),
        hashed: has("--digest-after").then(|| vec!["--digest-after", "0"]),
    };
    Ok(Contender { name: name.to_owned(), program, version: version.trim().to_owned(), tool })
}

fn says(program: &Path, option: &str) -> Option<String> {
    let output = Command::new(program).arg(option).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
