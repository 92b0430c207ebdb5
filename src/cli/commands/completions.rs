//! `completions SHELL`: prints a shell script that completes the options, generated from their definition.

use crate::cli::args::Cli;
use clap::CommandFactory;
use clap_complete::{Shell, generate};
use std::io::{Result, Write};

pub(super) fn run(shell: Shell, out: &mut dyn Write) -> Result<()> {
    // `generate` panics on a write error.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "file-sync", &mut script);
    out.write_all(&script)?;
    out.flush()
}
