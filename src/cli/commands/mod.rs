//! The commands, one file each. They print to the writers that `main` hands in.

mod approve;
mod completions;
mod mirror;

use crate::cli::args::{Cli, Command, usage_error};
use crate::cli::config::{Config, Environment, state_folder_of};
use crate::run::exit::Exit;
use std::io::{ErrorKind, Write};

/// Runs the command of a command line: output goes to `out`, messages outside the log go to `complaints`.
///
/// # Errors
/// A usage error, to be printed; its exit code is 2.
pub fn run(
    cli: Cli,
    environment: &Environment,
    (out, complaints): (&mut dyn Write, &mut dyn Write),
) -> Result<Exit, clap::Error> {
    let color = cli.color;
    let written = match cli.command {
        Some(Command::Completions { shell, .. }) => completions::run(shell, out),
        Some(Command::Approve { paths, state_dir, .. }) => {
            let state_dir = state_dir.map(|path| state_folder_of(&path, environment)).transpose();
            let state_dir = state_dir.map_err(|error| usage_error(&error.to_string(), color))?;
            match approve::run(&paths, state_dir, environment, (out, complaints)) {
                Ok(exit) => return Ok(exit),
                Err(error) => Err(error),
            }
        }
        None => {
            let config = Config::new(cli, environment);
            let config = config.map_err(|error| usage_error(&error.to_string(), color))?;
            return Ok(mirror::run(config, complaints));
        }
    };
    Ok(match written {
        Ok(()) => Exit::Done,
        // EPIPE: the reader has closed the pipe, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            // A closed console does not change the exit code.
            let _ = writeln!(complaints, "Cannot write the output: {error}");
            Exit::Error
        }
    })
}
