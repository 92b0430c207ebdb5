//! Writes the man pages, one for the program and one for each command, made of the definition of the command line:
//!
//! ```text
//! cargo run --example manpages -- target/man
//! ```

use clap::CommandFactory;
use file_sync::cli::args::Cli;
use std::env::args_os;
use std::fs::{create_dir_all, read_dir};
use std::io::Result;
use std::path::PathBuf;

fn main() -> Result<()> {
    let folder = PathBuf::from(args_os().nth(1).unwrap_or_else(|| "target/man".into()));
    create_dir_all(&folder)?;
    clap_mangen::generate_to(Cli::command(), &folder)?;
    for page in read_dir(&folder)? {
        println!("{}", page?.path().display());
    }
    Ok(())
}
