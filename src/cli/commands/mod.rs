//! The commands, one file each. They print to the writers that `main` hands in.

mod approve;
mod chosen;
mod complaints;
mod completions;
mod confirm;
mod dry_run;
mod explain;
mod folded;
mod history;
mod manifest;
mod mirror;
mod pairs;
mod path_history;
mod progress;
mod status;
mod table;
mod tally;
mod verify;
mod words;

use crate::cli::args::{Cli, Command, StatusFormat, usage_error_of};
use crate::cli::commands::chosen::Refused;
use crate::cli::commands::complaints::complain;
use crate::cli::commands::folded::Folded;
use crate::cli::commands::pairs::Selection;
use crate::cli::config::{Config, Environment, UsageError};
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
    let mut complaints = Folded::new(complaints, environment.error_columns);
    if !cli.command.as_ref().is_some_and(Command::prints_sentences) {
        return run_unfolded(cli, environment, (out, &mut complaints));
    }
    run_unfolded(cli, environment, (&mut Folded::new(out, environment.columns), &mut complaints))
}

/// As [`run`]. Every text ends with a line, or is flushed.
fn run_unfolded(
    cli: Cli,
    environment: &Environment,
    (out, complaints): (&mut dyn Write, &mut dyn Write),
) -> Result<Exit, clap::Error> {
    let (color, name) = (cli.color, cli.command.as_ref().map(Command::name));
    let refused = |error: UsageError| usage_error_of(name, &error.to_string(), color);
    let written = match cli.command {
        Some(Command::Completions { shell, .. }) => completions::run(shell, out).map(|()| Exit::Done),
        Some(Command::Approve { paths, pairs, plan, .. }) => {
            let request = approve::Request::new((paths, plan), pairs, environment).map_err(refused)?;
            approve::run(&request, environment, (out, complaints))
        }
        Some(Command::Status { pairs, format, json, .. }) => {
            let format = if json { StatusFormat::Json } else { format };
            let selection = Selection::new(pairs, environment);
            let selection = selection.map_err(refused)?;
            status::run(&selection, format, out)
        }
        Some(Command::History { path: Some(path), pairs, limit, json, .. }) => {
            let options = path_history::Options::new((path, pairs), &limit, json, environment);
            let options = options.map_err(refused)?;
            path_history::run(&options, environment, (out, complaints))
        }
        Some(Command::History { path: None, pairs, limit, json, .. }) => {
            let options = history::Options::new(pairs, &limit, json, environment);
            let options = options.map_err(refused)?;
            history::run(&options, (out, complaints))
        }
        Some(Command::Explain(arguments)) => {
            return ended(explain::run(arguments, environment, (out, complaints)), refused, complaints);
        }
        Some(Command::Verify(arguments)) => {
            return ended(verify::run(arguments, environment, (out, complaints)), refused, complaints);
        }
        Some(Command::Manifest(arguments)) => {
            return ended(manifest::run(arguments, environment, (out, complaints)), refused, complaints);
        }
        None => {
            let config = Config::new(cli, environment);
            let config = config.map_err(refused)?;
            return Ok(mirror::run(config, complaints));
        }
    };
    Ok(match written {
        Ok(exit) => exit,
        // EPIPE: the reader has closed the pipe, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            complain(complaints, &format!("Cannot write the output: {error}"));
            Exit::Error
        }
    })
}

/// The end of a command that can be refused.
fn ended(
    exit: Result<Exit, Refused>,
    refused: impl Fn(UsageError) -> clap::Error,
    complaints: &mut dyn Write,
) -> Result<Exit, clap::Error> {
    let message = match exit {
        Ok(exit) => return Ok(exit),
        Err(Refused::Usage(error)) => return Err(refused(error)),
        // EPIPE: the reader has closed the pipe, as `head` does, so that not all was said.
        Err(Refused::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Stopped),
        Err(Refused::Output(error)) => format!("Cannot write the output: {error}"),
        Err(Refused::Error(message)) => message,
    };
    complain(complaints, &message);
    Ok(Exit::Error)
}
