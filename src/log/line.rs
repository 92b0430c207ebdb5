//! One line of the log, in either form.

use super::record::{Level, Record};
use super::timestamp::{self, Stamp};
use super::{Format, json, text};

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
