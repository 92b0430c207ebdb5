//! How a terminal shows lines: its width and its colours.

use super::super::record::Level;
use crate::model::change::Verb;
use std::borrow::Cow;

/// Narrower terminals are treated as this wide.
const LEAST: usize = 20;

/// What a line has to fit into, and whether it is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// The width of the terminal.
    pub(super) columns: usize,
    /// Whether it shows colours.
    pub(super) color: bool,
}

/// A colour, as the parameter of the escape sequence (SGR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// The time.
    Dim,
    /// A verb without a meaning of its own.
    Bold,
    /// Something is made.
    Green,
    /// Something is replaced or set.
    Cyan,
    /// Something gets another place.
    Blue,
    /// Something goes.
    Magenta,
    /// A warning.
    Yellow,
    /// An error.
    Red,
}

impl Style {
    /// For a terminal of this width.
    pub(super) fn new(columns: usize, color: bool) -> Style {
        Style { columns: columns.max(LEAST), color }
    }

    /// The text in a colour.
    pub(super) fn paint<'a>(self, paint: Paint, text: &'a str) -> Cow<'a, str> {
        if !self.color {
            return Cow::Borrowed(text);
        }
        let code = match paint {
            Paint::Dim => "2",
            Paint::Bold => "1",
            Paint::Green => "32",
            Paint::Cyan => "36",
            Paint::Blue => "34",
            Paint::Magenta => "35",
            Paint::Yellow => "33",
            Paint::Red => "31",
        };
        Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
    }
}

impl Paint {
    /// The colour of a message.
    pub(super) fn of_level(level: Level) -> Paint {
        match level {
            Level::Debug => Paint::Dim,
            Level::Info => Paint::Bold,
            Level::Warn => Paint::Yellow,
            Level::Error => Paint::Red,
        }
    }

    /// The colour of an operation.
    pub(super) fn of_verb(verb: Verb) -> Paint {
        match verb {
            Verb::Create | Verb::Link => Paint::Green,
            Verb::Update | Verb::Metadata | Verb::Retype => Paint::Cyan,
            Verb::Move | Verb::Rename => Paint::Blue,
            Verb::Repair => Paint::Yellow,
            Verb::Delete => Paint::Magenta,
        }
    }
}
