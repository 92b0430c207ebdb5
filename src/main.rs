//! The program: reads the command line and the environment, runs the command, and exits.
//!
//! A panic is never silent. Rust's panic hook prints its place (with a backtrace if `RUST_BACKTRACE` is set). The
//! schedule turns a panic in a pass, also in a worker thread, into an error in the log and exit code 1. Other panics of
//! the main thread are caught here, because Rust's exit code for a panic, 101, is not documented for file-sync.

use file_sync::Exit;
use file_sync::cli::args::parse;
use file_sync::cli::columns;
use file_sync::cli::commands;
use file_sync::cli::config::Environment;
use std::env::{args_os, current_dir, var_os};
use std::ffi::OsStr;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;

fn main() -> ExitCode {
    let exit = catch_unwind(|| {
        let done = parse(args_os())
            .and_then(|cli| commands::run(cli, &environment(), (&mut stdout(), &mut stderr())));
        done.unwrap_or_else(|error| {
            // clap returns help and version as errors, too. A closed console changes nothing.
            let _ = error.print();
            if error.exit_code() == 0 { Exit::Done } else { Exit::Usage }
        })
    });
    let exit = exit.unwrap_or_else(|_| {
        // A console that is closed changes nothing.
        let _ = writeln!(
            stderr(),
            "A mistake in file-sync ended the program; the lines above say where. Please report it"
        );
        Exit::Error
    });
    ExitCode::from(exit.code())
}

/// The default state folder: systemd's (`StateDirectory=`), else the user's (XDG Base Directory Specification). Relative
/// paths are invalid in both.
fn state_dir() -> Option<PathBuf> {
    let absolute = |name: &str| var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Of several folders, the first.
    let of_service = var_os("STATE_DIRECTORY")
        .and_then(|folders| {
            folders.as_bytes().split(|byte| *byte == b':').next().map(OsStr::from_bytes).map(PathBuf::from)
        })
        .filter(|path| path.is_absolute());
    let of_user = || absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    of_service.or_else(|| Some(of_user()?.join("file-sync")))
}

fn environment() -> Environment {
    let is_set = |name: &str| var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    let [columns, error_columns] = columns();
    Environment {
        current_folder: current_dir().ok(),
        columns,
        error_columns,
        no_color: is_set("NO_COLOR") || is_dumb,
        is_dumb,
        is_terminal: stdout().is_terminal(),
        shows_progress: stderr().is_terminal() && !is_dumb,
        state_dir: state_dir(),
        processors: available_parallelism().map_or(1, usize::from),
        ..Environment::default()
    }
}
