//! `status`: whether every replica is as fresh as it has to be.
//!
//! Nothing but the state folder is read. The forms are in files of their own; the exit code is the same for those that are
//! not for Nagios.

mod json;
mod nagios;
mod reason;
mod text;

use crate::cli::args::StatusFormat;
use crate::cli::commands::pairs::Selection;
use crate::index::store::Unusable;
use crate::run::exit::Exit;
use crate::status::{Report, now};
use std::io::{Result, Write};

/// Prints the state of the pairs.
pub(super) fn run(selection: &Selection, format: StatusFormat, out: &mut dyn Write) -> Result<Exit> {
    let now = now();
    let report = match selection.find() {
        Ok((known, unread)) => Report::of(known, unread, now),
        Err(error) => Report::of(
            Vec::new(),
            vec![(selection.state_dir.clone(), Unusable::Failed(error.to_string()))],
            now,
        ),
    };
    let (text, exit) = match format {
        StatusFormat::Text => (text::page(&report, selection), exit(&report)),
        StatusFormat::Json => (json::document(&report), exit(&report)),
        StatusFormat::Nagios => {
            let (line, health) = nagios::line(&report);
            (line, Exit::Checked(health))
        }
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(exit)
}

fn exit(report: &Report) -> Exit {
    let is_fresh = !report.pairs.is_empty() && report.pairs.iter().all(|pair| pair.verdict.is_fresh());
    if !report.unread.is_empty() {
        Exit::Error
    } else if is_fresh {
        Exit::Done
    } else {
        Exit::Problems
    }
}
