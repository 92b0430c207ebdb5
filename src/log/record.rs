//! What becomes a line, how much it matters, and the line itself.

use crate::model::event::Reason;
use crate::model::event::{Event, Notice};
use crate::model::report::Outcome;
use std::path::Path;

use super::timestamp::{self, Stamp};
use super::{Format, json, text};

/// How much a line matters, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// An event of the engine, or what the log has to say about itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Record<'a> {
    /// An event.
    Event(&'a Event<'a>),
    /// The log file cannot be written, and the backup goes on.
    Unwritable { log: &'a Path, cause: &'a str },
    /// The log file can be written again, and so many lines are not in it.
    Lost { log: &'a Path, lines: u64 },
    /// So many lines were not shown on the console.
    NotShown { lines: u64 },
}

impl Record<'_> {
    /// How much it matters.
    pub(super) fn level(&self) -> Level {
        match self {
            Record::Event(event) => level_of(event),
            Record::Unwritable { .. } => Level::Error,
            Record::Lost { .. } | Record::NotShown { .. } => Level::Warn,
        }
    }
}

/// How much an event matters.
pub(super) fn level_of(event: &Event<'_>) -> Level {
    match event {
        Event::Verified { .. } => Level::Debug,
        Event::Started { .. }
        | Event::PassStarted { .. }
        | Event::Done(_)
        | Event::Planned(_)
        | Event::Skipped { .. }
        | Event::Stopping(_)
        | Event::Stopped => Level::Info,
        Event::Notice(notice) => match notice {
            Notice::LogInside { .. } | Notice::ReplicaCreated(_) => Level::Info,
            Notice::KeptBack { reason, .. } => match reason {
                Reason::Changed => Level::Info,
                Reason::Unmade => Level::Warn,
            },
            Notice::NotHeld(_)
            | Notice::NoLock
            | Notice::FewerThreads { .. }
            | Notice::LinkUnread { .. }
            | Notice::AttributeUnread { .. } => Level::Warn,
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
