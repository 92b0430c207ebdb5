//! The log and the console: every event becomes one line, and every line goes to both.
//!
//! A line is formatted by the thread that reports the event and handed to two sinks, each with a buffer and a thread
//! of its own, so that neither a full disk nor a paused terminal holds the backup up. Each thread's lines keep their
//! order; lines of different threads may differ in order by as little as a scheduler does.

mod console;
mod file;
mod humanize;
mod json;
mod line;
mod queue;
mod record;
mod text;
mod timestamp;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::control::Interrupt;
use crate::fs::Errno;
use crate::fs::console::Stream;
use crate::fs::log_file::AppendPath;
use crate::model::error::{Cause, Error};
use crate::model::event::{Event, Monitor};
use console::Console;
use file::LogFile;
use line::Line;
use record::{Level, Record, level_of};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The two forms of a line; `docs/log-format.md` documents both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object per line.
    Json,
}

/// How the console behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsoleOptions {
    /// Show warnings and errors only.
    pub quiet: bool,
    /// Colour text lines. The file never has colours, and neither has JSON.
    pub color: bool,
    /// Wait for a slow reader instead of dropping lines: for a single pass, whose output somebody pages through.
    pub patient: bool,
}

/// What the log is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The file. Missing folders above it are made. None: every line goes to the console alone.
    pub path: Option<PathBuf>,
    /// A folder that is never created for the sake of the log, nor anything above it: the source, which must not
    /// come back empty because the log lies inside.
    pub keep_out: Option<PathBuf>,
    /// The form of the lines, in the file and on the console.
    pub format: Format,
    /// Debug lines too, in the file and on the console.
    pub verbose: bool,
    /// The console.
    pub console: ConsoleOptions,
}

/// The running log. It is a [`Monitor`]; all its methods may be called from any thread.
#[derive(Debug)]
pub struct Log {
    format: Format,
    verbose: bool,
    file: Option<LogFile>,
    console: Arc<Console>,
}

impl Log {
    /// Starts the log on the process's own console. Touches no file: that happens with the first line.
    ///
    /// # Errors
    /// [`Error::System`] when the two threads cannot be started.
    pub fn start(options: LogOptions, interrupt: Arc<Interrupt>) -> Result<Log, Error> {
        Log::start_on([Stream::stdout(), Stream::stderr()], options, interrupt)
    }

    /// Starts the log with other streams in place of standard output and standard error.
    ///
    /// # Errors
    /// As [`Log::start`].
    pub fn start_on(
        [output, error]: [Option<Stream>; 2],
        options: LogOptions,
        interrupt: Arc<Interrupt>,
    ) -> Result<Log, Error> {
        let LogOptions { path, keep_out, format, verbose, console } = options;
        let console = Console::start([output, error], console, format, Arc::clone(&interrupt));
        let console = Arc::new(console.map_err(no_thread)?);
        let path = path.map(|path| AppendPath::new(path, keep_out));
        let file = path.map(|path| LogFile::start(path, format, &console, interrupt));
        let file = file.transpose().map_err(no_thread)?;
        Ok(Log { format, verbose, file, console })
    }

    /// Opens the file anew before the next line is written (SIGHUP, after a rotation).
    pub fn request_reopen(&self) {
        self.file.iter().for_each(LogFile::request_reopen);
    }

    /// Returns when everything handed in before is written, or given up: a file or a console that hangs is not
    /// waited for longer than a producer would wait.
    pub fn flush(&self) {
        // The file first, because its troubles are told on the console.
        self.flush_file();
        self.console.flush();
    }

    /// Returns when the file has everything handed in before, or as [`Log::flush`] gives up; the console may lag.
    pub fn flush_file(&self) {
        self.file.iter().for_each(LogFile::flush);
    }

    /// Writes what waits and takes no more lines. Waits about one second for a log disk that has hung and one for
    /// a console that nobody reads (a patient console is waited for until the program is asked to stop). Calling it
    /// again does nothing.
    pub fn finish(&self) {
        self.file.iter().for_each(LogFile::finish);
        self.console.finish();
    }
}

impl Log {
    fn write(&self, job: Option<&str>, event: &Event<'_>) {
        if level_of(event) == Level::Debug && !self.verbose {
            return;
        }
        let line = Line::new(self.format, &Record::Event { job, event });
        self.file.iter().for_each(|file| file.write(&line));
        self.console.show(&line);
    }
}

impl Monitor for Log {
    fn event(&self, event: &Event<'_>) {
        self.write(None, event);
    }

    fn event_of(&self, job: &str, event: &Event<'_>) {
        self.write(Some(job), event);
    }

    fn wants_verified(&self) -> bool {
        self.verbose
    }
}

impl Drop for Log {
    /// Lets the threads go when somebody forgot to finish. Waits for nothing, and nothing can fail.
    fn drop(&mut self) {
        self.file.iter().for_each(LogFile::close);
        self.console.close();
    }
}

fn no_thread(error: io::Error) -> Error {
    Error::System {
        action: "start the threads of the log",
        cause: Cause::System(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)),
    }
}
