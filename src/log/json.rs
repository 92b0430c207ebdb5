//! The JSON form of the log: one object per line, stable names in a stable order. The types of the events define their
//! own fields; time, level, job and the message for people are added here. `docs/log-format.md` documents the form; a
//! test compares.

use crate::model::event::Event;
use crate::model::path::shown;
use crate::model::report::Outcome;
use serde::Serialize;
use serde_json::ser::Formatter;
use std::io;

use super::humanize;
use super::record::{Level, Record, Trouble};
use super::timestamp::Stamp;

/// The version of this form. Adding a field keeps it; removing a field, or changing its meaning, raises it.
const LOG_VERSION: u32 = 1;

/// One line.
#[derive(Serialize)]
struct Object<'a> {
    time: &'a str,
    level: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    /// Only in the first line of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_version: Option<u32>,
    #[serde(flatten)]
    record: &'a Record<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// The whole line with its newline.
pub(super) fn line(stamp: &Stamp, level: Level, record: &Record<'_>) -> String {
    let (job, log_version) = match record {
        Record::Event { job, event } => {
            (*job, matches!(event, Event::Started { .. } | Event::PassStarted { .. }).then_some(LOG_VERSION))
        }
        Record::Summed { .. } | Record::OfLog(_) => (None, None),
    };
    let object = Object { time: stamp.as_str(), level, job, log_version, record, message: message(record) };
    self::object(&object)
}

/// An object on one line, with its newline, for the commands that print JSON.
pub(crate) fn object(value: &impl Serialize) -> String {
    let mut out = Vec::with_capacity(256);
    let written = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Harmless));
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail, and all keys are strings: {written:?}");
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

/// The message for people, for records whose fields are not enough.
fn message(record: &Record<'_>) -> Option<String> {
    match record {
        Record::Event { event: Event::Problem(problem), .. } => Some(problem.to_string()),
        Record::Event { event: Event::Notice(notice), .. } => Some(humanize::notice(notice)),
        Record::Event { event: Event::Failed { error, .. }, .. } => Some(error.to_string()),
        Record::Event { event: Event::PassEnded(report), .. } => match &report.outcome {
            Outcome::Held(hold) => Some(hold.to_string()),
            Outcome::Done | Outcome::Planned | Outcome::Interrupted(_) | Outcome::ReplicaLost => None,
        },
        Record::Event { .. } | Record::Summed { .. } => None,
        Record::OfLog(Trouble::Unwritable { log, cause }) => Some(humanize::unwritable(log, cause)),
        Record::OfLog(Trouble::Lost { log, lines }) => Some(humanize::lost(log, *lines)),
        Record::OfLog(Trouble::Unrotated { log, cause }) => Some(humanize::unrotated(log, cause)),
        Record::OfLog(Trouble::NotShown { lines }) => Some(humanize::not_shown(*lines)),
    }
}

/// Compact JSON in which a name can neither colour a terminal nor reorder its text.
///
/// JSON itself requires escapes for quote, backslash and characters below U+0020 only. The other characters that
/// [`shown`] escapes are written as `\uXXXX`, too: to a JSON parser it is the same string.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let harmless = |byte: u8| byte.is_ascii() && byte != 0x7f;
        // A fragment has no backslash of its own (serde_json escapes it), so one in the shown form is an escape.
        if fragment.bytes().all(harmless) || !shown(fragment.as_bytes()).contains('\\') {
            return writer.write_all(fragment.as_bytes());
        }
        let mut buffer = [0; 4];
        for character in fragment.chars() {
            let text = character.encode_utf8(&mut buffer);
            if shown(text.as_bytes()).contains('\\') {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                writer.write_all(text.as_bytes())?;
            }
        }
        Ok(())
    }
}
