//! The engine as its callers see it: a pair of roots that can be made to match, pass after pass.

use crate::interrupt::Interrupt;
use crate::monitor::Monitor;
use crate::problem::Error;
use crate::report::PassReport;
use std::path::PathBuf;
use std::sync::Arc;

/// What to mirror and how.
#[derive(Clone, Debug)]
pub struct MirrorOptions {
    /// The folder to read.
    pub source: PathBuf,
    /// The folder to make equal to it; created when missing.
    pub replica: PathBuf,
    /// The log file, which is neither copied nor deleted where it lies inside a root.
    pub log: Option<PathBuf>,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// True: make the plan, report it, write nothing.
    pub dry_run: bool,
}

/// A checked pair of roots.
pub struct Mirror {
    options: MirrorOptions,
    interrupt: Arc<Interrupt>,
}

impl Mirror {
    /// Checks the roots without creating or changing anything.
    ///
    /// # Errors
    /// The source is missing or not a folder, the replica is something else than a folder, or the two overlap.
    pub fn new(options: MirrorOptions, interrupt: Arc<Interrupt>) -> Result<Mirror, Error> {
        Ok(Mirror { options, interrupt })
    }

    /// Runs one pass. Problems with single paths are reported to the monitor and counted; they are not errors.
    ///
    /// # Errors
    /// The source is missing, or the replica cannot be used.
    pub fn pass(&mut self, number: u64, monitor: &dyn Monitor) -> Result<PassReport, Error> {
        let _ = (number, monitor, &self.options, &self.interrupt);
        Err(Error::SourceMissing { path: self.options.source.clone() })
    }
}
