//! Log records and their levels.

use crate::model::change::Verb;
use crate::model::confirm::Answer;
use crate::model::event::{Event, Notice, Reason};
use crate::model::report::Outcome;
use crate::model::serial;
use serde::Serialize;
use std::path::Path;

use super::problems::Summary;

/// The level of a line, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// The word in the log.
    pub(super) fn word(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        }
    }
}

/// One line before it is formatted.
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
    /// Many problems in one line. The JSON form has each of them instead.
    #[serde(skip)]
    Summed {
        /// As of an event.
        job: Option<&'a str>,
        /// The problems.
        summary: Summary,
    },
    /// A failure of the log itself.
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
        /// The number of lines that it lacks.
        lines: u64,
    },
    /// The log file cannot be rotated, and is written on.
    #[serde(rename = "log_not_rotated")]
    Unrotated {
        /// The log file.
        #[serde(flatten, serialize_with = "serial::log")]
        log: &'a Path,
        /// The error in words; they are part of the message.
        #[serde(skip)]
        cause: &'a str,
    },
    /// The console takes lines again.
    #[serde(rename = "console_lines_dropped")]
    NotShown {
        /// The number of lines that it did not show.
        lines: u64,
    },
}

impl Record<'_> {
    /// Whether it is the end of a pass.
    pub(super) fn is_pass_end(&self) -> bool {
        matches!(self, Record::Event { event: Event::PassEnded(_), .. })
    }

    /// The level of the record.
    pub(super) fn level(&self) -> Level {
        match self {
            Record::Event { event, .. } => level_of(event),
            Record::Summed { .. } => Level::Warn,
            Record::OfLog(Trouble::Unwritable { .. }) => Level::Error,
            Record::OfLog(Trouble::Lost { .. } | Trouble::Unrotated { .. } | Trouble::NotShown { .. }) => {
                Level::Warn
            }
        }
    }
}

/// The level of an event.
pub(super) fn level_of(event: &Event<'_>) -> Level {
    match event {
        Event::Verified { .. } | Event::Excluded { .. } | Event::Phase { .. } => Level::Debug,
        // The replica was not what it should be.
        Event::Done(operation) if operation.verb == Verb::Repair => Level::Warn,
        Event::Started { .. }
        | Event::PassStarted { .. }
        | Event::Done(_)
        | Event::Planned(_)
        | Event::Skipped { .. }
        | Event::RpoMet { .. }
        | Event::Stopping { .. }
        | Event::Stopped => Level::Info,
        Event::Notice(notice) => match notice {
            Notice::LogInside { .. } | Notice::ReplicaCreated { .. } | Notice::FoldersStay { .. } => {
                Level::Info
            }
            Notice::RuleUsed { .. } => Level::Debug,
            Notice::PlanApproved { .. } => Level::Warn,
            Notice::KeptBack { reason, .. } => match reason {
                Reason::Changed => Level::Info,
                Reason::NotCreated => Level::Warn,
            },
            Notice::FirstDeletion { answer: Answer::Yes, .. } => Level::Info,
            Notice::FirstDeletion { .. }
            | Notice::MayLackRoom { .. }
            | Notice::Unsupported { .. }
            | Notice::RuleUnused { .. }
            | Notice::NoLock
            | Notice::FewerThreads { .. }
            | Notice::NoStateFolder
            | Notice::PriorityRefused { .. }
            | Notice::IndexUnusable { .. }
            | Notice::IndexUnwritable { .. }
            | Notice::IndexRebuilt { .. }
            | Notice::UnstableInodes { .. }
            | Notice::TimesStoodStill { .. }
            | Notice::SymlinkUnread { .. }
            | Notice::XattrUnread { .. } => Level::Warn,
        },
        Event::PassEnded(report) => match report.outcome {
            Outcome::Done | Outcome::Planned | Outcome::Interrupted(_) => Level::Info,
            Outcome::Held(_) => Level::Error,
            Outcome::ReplicaLost => Level::Warn,
        },
        Event::Problem(_) | Event::Overran { .. } | Event::RpoAtRisk { .. } => Level::Warn,
        Event::Failed { .. } | Event::RpoMissed { .. } => Level::Error,
    }
}
