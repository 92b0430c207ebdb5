//! Stand-in for the log: writes every event to stderr, so that what lies above can be built and tried.

use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// What the log needs to know.
pub struct LogOptions {
    /// The log file.
    pub path: PathBuf,
    /// Nothing is created below this folder while it is missing.
    pub keep_out: Option<PathBuf>,
    /// The form of lines.
    pub format: Format,
    /// True: also files that agree.
    pub verbose: bool,
    /// How the console behaves.
    pub console: ConsoleOptions,
}

/// How the console behaves.
pub struct ConsoleOptions {
    /// True: warnings and errors only.
    pub quiet: bool,
    /// True: colored.
    pub color: bool,
    /// True: a slow reader is waited for.
    pub patient: bool,
}

/// The form of lines.
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The log.
pub struct Log;

impl Log {
    /// Starts the log.
    pub fn start(_options: LogOptions, _interrupt: Arc<Interrupt>) -> Log {
        Log
    }

    /// Asks for the file to be opened anew; does not wait.
    pub fn request_reopen(&self) {
        let _ = writeln!(std::io::stderr(), "Reopen");
    }

    /// Waits until all lines are written.
    pub fn flush(&self) {}

    /// Writes all lines and closes the file.
    pub fn finish(self) {}
}

impl Monitor for Log {
    fn event(&self, event: &Event<'_>) {
        let _ = writeln!(std::io::stderr(), "{event:?}");
    }
}
