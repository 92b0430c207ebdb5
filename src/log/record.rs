//! What becomes a line, how much it matters, and the line itself.

use crate::model::event::{Event, Notice, Reason};
use crate::model::report::Outcome;
use crate::model::serial;
use serde::Serialize;
use std::path::Path;

use super::timestamp::{self, Stamp};
use super::{Format, json, text};

/// How much a line matters, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// The word of the log.
    pub(super) fn word(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        }
    }
}

/// One line before it has a form.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Record<'a> {
    /// An event of the engine.
    Event {
        /// The job it belongs to, where the process has several.
        #[serde(skip)]
        job: Option<&'a str>,
        /// The event.
        #[serde(flatten)]
        event: &'a Event<'a>,
    },
    /// A fact about the log itself.
    OfLog(Trouble<'a>),
}

/// Lines that are lost or late.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "event")]
pub(super) enum Trouble<'a> {
    /// The log file cannot be written, and the backup goes on.
    #[serde(rename = "log_unwritable")]
    Unwritable {
        /// The log file.
        #[serde(flatten, serialize_with = "serial::log")]
        log: &'a Path,
        /// The error in words; they are part of the message.
        #[serde(skip)]
        cause: &'a str,
    },
    /// The log file can be written again.
    #[serde(rename = "log_lines_lost")]
    Lost {
        /// The log file.
        #[serde(flatten, serialize_with = "serial::log")]
        log: &'a Path,
        /// How many lines are not in it.
        lines: u64,
    },
    /// The console takes lines again.
    #[serde(rename = "console_lines_dropped")]
    NotShown {
        /// How many lines it did not show.
        lines: u64,
    },
}

impl Record<'_> {
    /// How much it matters.
    pub(super) fn level(&self) -> Level {
        match self {
            Record::Event { event, .. } => level_of(event),
            Record::OfLog(Trouble::Unwritable { .. }) => Level::Error,
            Record::OfLog(Trouble::Lost { .. } | Trouble::NotShown { .. }) => Level::Warn,
        }
    }
}

/// How much an event matters.
pub(super) fn level_of(event: &Event<'_>) -> Level {
    match event {
        Event::Verified { .. } | Event::Phase { .. } => Level::Debug,
        Event::Started { .. }
        | Event::PassStarted { .. }
        | Event::Done(_)
        | Event::Planned(_)
        | Event::Skipped { .. }
        | Event::Stopping { .. }
        | Event::Stopped => Level::Info,
        Event::Notice(notice) => match notice {
            Notice::LogInside { .. } | Notice::ReplicaCreated { .. } => Level::Info,
            Notice::KeptBack { reason, .. } => match reason {
                Reason::Changed => Level::Info,
                Reason::Unmade => Level::Warn,
            },
            Notice::NotHeld { .. }
            | Notice::NoLock
            | Notice::FewerThreads { .. }
            | Notice::SymlinkUnread { .. }
            | Notice::XattrUnread { .. } => Level::Warn,
        },
        Event::PassEnded(report) => match report.outcome {
            Outcome::Done | Outcome::Planned | Outcome::Interrupted(_) => Level::Info,
            Outcome::Held(_) | Outcome::ReplicaLost => Level::Warn,
        },
        Event::Problem(_) | Event::Overran { .. } => Level::Warn,
        Event::Failed(_) => Level::Error,
    }
}

/// One line with its newline, plain as the file has it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The whole line.
    pub(super) text: String,
    /// How much it matters.
    pub(super) level: Level,
    /// Text form only: where the words of the verb end, which begin after time and level.
    head_end: Option<usize>,
}

/// Where the level of a text line begins.
const LEVEL_START: usize = timestamp::LENGTH + 1;

/// Where the verb of a text line begins: the level is padded to 5.
const HEAD_START: usize = LEVEL_START + 5 + 1;

impl Line {
    /// The line of a record at this moment.
    pub(super) fn new(format: Format, record: &Record<'_>) -> Line {
        Line::at(&Stamp::now(), format, record)
    }

    /// The line of a record at any moment.
    pub(super) fn at(stamp: &Stamp, format: Format, record: &Record<'_>) -> Line {
        let level = record.level();
        match format {
            Format::Text => {
                let (text, head_end) = text::line(stamp, level, record);
                Line { text, level, head_end: Some(head_end) }
            }
            Format::Json => Line { text: json::line(stamp, level, record), level, head_end: None },
        }
    }

    /// The line for a terminal: dim time, coloured level, bold verb. A JSON line stays as it is.
    pub(super) fn colored(&self) -> String {
        let Some(head_end) = self.head_end else { return self.text.clone() };
        let color = match self.level {
            Level::Debug => "36",
            Level::Info => "32",
            Level::Warn => "33",
            Level::Error => "31",
        };
        format!(
            "\x1b[2m{}\x1b[0m \x1b[{color}m{}\x1b[0m \x1b[1m{}\x1b[0m{}",
            &self.text[..LEVEL_START - 1],
            &self.text[LEVEL_START..HEAD_START - 1],
            &self.text[HEAD_START..head_end],
            &self.text[head_end..],
        )
    }
}
