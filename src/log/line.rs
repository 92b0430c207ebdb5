//! One line of the log, in either form.

use super::record::{Level, Record};
use super::timestamp::{self, Stamp};
use super::{Format, json, text};

/// One line with its newline, without colours.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The whole line.
    pub(super) text: String,
    /// Its level.
    pub(super) level: Level,
    /// True for the end of a pass.
    pub(super) is_pass_end: bool,
    /// Text form only: the end of the verb, which begins after time and level, as a byte offset.
    head_end: Option<usize>,
}

/// The byte offset of the level in a text line.
const LEVEL_START: usize = timestamp::LENGTH + 1;

/// The byte offset of the verb in a text line: the level is padded to 5.
const HEAD_START: usize = LEVEL_START + 5 + 1;

impl Line {
    /// Formats a record with the current time.
    pub(super) fn new(format: Format, record: &Record<'_>) -> Line {
        Line::at(&Stamp::now(), format, record)
    }

    /// Formats a record with a given time.
    pub(super) fn at(stamp: &Stamp, format: Format, record: &Record<'_>) -> Line {
        let (level, is_pass_end) = (record.level(), record.is_pass_end());
        match format {
            Format::Text => {
                let (text, head_end) = text::line(stamp, level, record);
                Line { text, level, is_pass_end, head_end: Some(head_end) }
            }
            Format::Json => {
                Line { text: json::line(stamp, level, record), level, is_pass_end, head_end: None }
            }
        }
    }

    /// The text for a terminal: dim time, coloured level, bold verb. A JSON line is not coloured.
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
