//! The commands, one file each. Their output goes to a writer from `main`.

mod completions;

use crate::cli::args::Command;
use std::io::{Result, Write};

/// Runs a command.
///
/// # Errors
/// Its output could not be written.
pub fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    match command {
        Command::Completions { shell, .. } => completions::run(shell, out),
    }
}
