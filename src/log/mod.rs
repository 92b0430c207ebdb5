//! The log and the console: every event becomes one line, and every line goes to both.
//!
//! A line is formatted by the thread that reports the event and handed to two sinks, each with a buffer and a thread of
//! its own, so that neither a full disk nor a paused terminal stops the backup. The lines of one thread keep their
//! order; lines of different threads may swap, as far as the scheduler delays a thread.

mod console;
mod file;
pub(crate) mod humanize;
pub(crate) mod json;
mod line;
mod people;
mod problems;
mod queue;
mod record;
mod rotation;
mod text;
mod timestamp;
pub(crate) mod width;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::control::Interrupt;
use crate::fs::Errno;
use crate::fs::console::Stream;
use crate::fs::log_file::AppendPath;
use crate::model::error::{Cause, Error};
use crate::model::event::{Event, Monitor, Wait};
use crate::model::report::Outcome;
use console::Console;
use file::LogFile;
use line::Line;
use problems::{Extent, Late, Problems};
use record::{Level, Record, level_of};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use rotation::Rotation;

/// The two forms of a line; `docs/log-format.md` documents both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object per line.
    Json,
}

/// The lines that the console shows. The file has all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// All.
    #[default]
    Everything,
    /// Warnings, errors, and the end of each pass.
    PassEnds,
    /// Warnings and errors.
    Warnings,
    /// Warnings and errors, but not the end of a pass: somebody else shows it.
    WithoutPassEnds,
}

/// The options of the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsoleOptions {
    /// The lines that are shown.
    pub show: Show,
    /// Colour text lines. The file never has colours, and neither has JSON.
    pub color: bool,
    /// Wait for a slow reader instead of dropping lines: for a single pass, whose output somebody pages through.
    pub patient: bool,
    /// Draw a live line on a terminal: it can move its cursor, and nobody has asked for quiet.
    pub live: bool,
}

/// The options of a [`Log`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The log file. Missing folders above it are created. None: every line goes to the console alone.
    pub path: Option<PathBuf>,
    /// A folder that is never created for the log, nor anything above it: the source. A removed source must not come
    /// back empty because the log lies inside.
    pub keep_out: Option<PathBuf>,
    /// When the file is rotated. None: another program does that, or nobody.
    pub rotation: Option<Rotation>,
    /// The form of the lines, in the file and on the console.
    pub format: Format,
    /// Write debug lines, too, to the file and the console, and do not sum up problems. The JSON form never does.
    pub verbose: bool,
    /// The options of the console.
    pub console: ConsoleOptions,
}

/// The running log. It is a [`Monitor`]; all its methods may be called from any thread.
#[derive(Debug)]
pub struct Log {
    format: Format,
    verbose: bool,
    file: Option<LogFile>,
    console: Arc<Console>,
    /// The problems of each job, from pass to pass.
    problems: Mutex<BTreeMap<Option<String>, Problems>>,
    /// True after the first line.
    has_begun: AtomicBool,
}

impl Log {
    /// Starts the log on the process's standard output and standard error. The file is opened with the
    /// first line.
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
    pub(crate) fn start_on(
        [output, error]: [Option<Stream>; 2],
        options: LogOptions,
        interrupt: Arc<Interrupt>,
    ) -> Result<Log, Error> {
        let LogOptions { path, keep_out, rotation, format, verbose, console } = options;
        let console = Console::start([output, error], console, format, Arc::clone(&interrupt));
        let console = Arc::new(console.map_err(no_thread)?);
        let path = path.map(|path| AppendPath::new(path, keep_out));
        let file = path.map(|path| LogFile::start((path, rotation), format, &console, interrupt));
        let file = file.transpose().map_err(no_thread)?;
        let has_begun = AtomicBool::new(false);
        Ok(Log { format, verbose, file, console, problems: Mutex::default(), has_begun })
    }

    /// Reopens the file at once, even if no line follows (SIGHUP, after a rotation). Before the first line it does nothing:
    /// the file, and the folders created for it, have to wait until the caller has checked where they would be.
    pub fn request_reopen(&self) {
        if self.has_begun.load(Ordering::SeqCst) {
            self.file.iter().for_each(LogFile::request_reopen);
        }
    }

    /// The width of the terminal that is the standard output.
    pub(crate) fn columns(&self) -> usize {
        self.console.columns()
    }

    /// Hands text for standard output in, as it is, between the lines of the console; the file does not get it.
    pub(crate) fn print(&self, text: &str) {
        self.console.print(text);
    }

    /// Waits until every line handed in before is written or given up. The wait for a stalled file or console is no
    /// longer than that of a producer.
    pub fn flush(&self) {
        // The file first: its failures are reported on the console.
        self.flush_file();
        self.console.flush();
    }

    /// Waits until every line handed in before is in the file, or given up as in [`Log::flush`]. The console may lag.
    pub fn flush_file(&self) {
        self.file.iter().for_each(LogFile::flush);
    }

    /// Writes the waiting lines and takes no more. Waits about one second for a stalled log disk, and one for a console
    /// that nobody reads (for a patient console, until a stop is requested). Calling it again does nothing.
    pub fn finish(&self) {
        self.file.iter().for_each(LogFile::finish);
        self.console.finish();
    }

    /// Whether lines for standard output were lost, although it has a reader.
    pub(crate) fn has_lost_output(&self) -> bool {
        self.console.has_lost_output()
    }
}

impl Log {
    fn write(&self, job: Option<&str>, event: &Event<'_>) {
        self.console.hear(job, event);
        if level_of(event) == Level::Debug && !self.verbose {
            return;
        }
        self.has_begun.store(true, Ordering::SeqCst);
        let has_all = self.verbose || self.format == Format::Json;
        if has_all || self.is_written(job, event) {
            self.put(&Record::Event { job, event });
        }
    }

    /// Whether an event is written in full. At the end of a pass its other problems are written first.
    fn is_written(&self, job: Option<&str>, event: &Event<'_>) -> bool {
        let extent = match event {
            Event::PassStarted { number } => {
                self.with_problems(job, |problems| problems.begin(*number, Instant::now()));
                return true;
            }
            Event::Problem(problem) => {
                return self.with_problems(job, |problems| problems.take(problem, Instant::now()));
            }
            Event::PassEnded(report) => match report.outcome {
                Outcome::Done | Outcome::Planned => Extent::Whole,
                Outcome::Held(_) | Outcome::Interrupted(_) | Outcome::ReplicaLost => Extent::Partial,
            },
            Event::Failed { number: Some(_), .. } => Extent::Partial,
            Event::Failed { number: None, .. }
            | Event::Started { .. }
            | Event::Phase { .. }
            | Event::Verified { .. }
            | Event::Done(_)
            | Event::Planned(_)
            | Event::Skipped { .. }
            | Event::Excluded { .. }
            | Event::Notice(_)
            | Event::Overran { .. }
            | Event::RpoAtRisk { .. }
            | Event::RpoMissed { .. }
            | Event::RpoMet { .. }
            | Event::Stopping { .. }
            | Event::Stopped => return true,
        };
        for late in self.with_problems(job, |problems| problems.end(extent, Instant::now())) {
            match late {
                Late::Named(problem) => self.put(&Record::Event { job, event: &Event::Problem(&problem) }),
                Late::Summed(summary) => self.put(&Record::Summed { job, summary }),
            }
        }
        true
    }

    fn with_problems<T>(&self, job: Option<&str>, work: impl FnOnce(&mut Problems) -> T) -> T {
        let mut all = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(job.map(str::to_owned)).or_default())
    }

    fn put(&self, record: &Record<'_>) {
        let line = Line::new(self.format, record);
        self.file.iter().for_each(|file| file.write(&line));
        self.console.show(record, &line);
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

    fn waits(&self, wait: Wait) {
        self.console.waits(wait);
    }
}

impl Drop for Log {
    /// Closes the queues if [`Log::finish`] was not called, so that the threads end. Does not wait, and cannot fail.
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
