//! The JSON form of the log: one object per line, stable names in a stable order. `docs/log-format.md` documents it;
//! a test compares.

use crate::model::change::Operation;
use crate::model::counters::Counter;
use crate::model::digest::Digest;
use crate::model::error::{Cause, Problem};
use crate::model::event::Reason;
use crate::model::event::{Event, Notice};
use crate::model::path::{RelPath, shown};
use crate::model::report::{Hold, Outcome, PassReport};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::ser::Formatter;
use std::borrow::Cow;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::humanize;
use super::record::{Level, Record};
use super::timestamp::Stamp;

/// The version of this form. A field that is new leaves it as it is; one that goes, or means something else, raises it.
const LOG_VERSION: u32 = 1;

/// The whole line with its newline.
pub(super) fn line(stamp: &Stamp, level: Level, record: &Record<'_>) -> String {
    let mut out = Vec::with_capacity(384);
    let written = write_line(&mut out, stamp, level, record);
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail, and all keys are strings");
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

fn write_line(
    out: &mut Vec<u8>,
    stamp: &Stamp,
    level: Level,
    record: &Record<'_>,
) -> Result<(), serde_json::Error> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Harmless);
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("time", stamp.as_str())?;
    map.serialize_entry("level", level.word())?;
    write_record(&mut map, record)?;
    map.end()
}

fn write_record<M: SerializeMap>(map: &mut M, record: &Record<'_>) -> Result<(), M::Error> {
    match record {
        Record::Event(event) => write_event(map, event),
        Record::Unwritable { log, cause } => {
            map.serialize_entry("event", "log_unwritable")?;
            path(map, "log", "log_bytes", log)?;
            map.serialize_entry("message", &humanize::unwritable(log, cause))
        }
        Record::Lost { log, lines } => {
            map.serialize_entry("event", "log_lines_lost")?;
            path(map, "log", "log_bytes", log)?;
            map.serialize_entry("lines", lines)?;
            map.serialize_entry("message", &humanize::lost(log, *lines))
        }
        Record::NotShown { lines } => {
            map.serialize_entry("event", "console_lines_dropped")?;
            map.serialize_entry("lines", lines)?;
            map.serialize_entry("message", &humanize::not_shown(*lines))
        }
    }
}

fn write_event<M: SerializeMap>(map: &mut M, event: &Event<'_>) -> Result<(), M::Error> {
    match event {
        Event::Started { source, replica, interval, log, dry_run } => {
            map.serialize_entry("event", "started")?;
            map.serialize_entry("version", env!("CARGO_PKG_VERSION"))?;
            map.serialize_entry("log_version", &LOG_VERSION)?;
            path(map, "source", "source_bytes", source)?;
            path(map, "replica", "replica_bytes", replica)?;
            map.serialize_entry("interval_seconds", &interval.map(seconds))?;
            map.serialize_entry("dry_run", dry_run)?;
            match log {
                Some(log) => path(map, "log", "log_bytes", log),
                None => map.serialize_entry("log", &None::<&str>),
            }
        }
        Event::PassStarted { number } => {
            map.serialize_entry("event", "pass_started")?;
            map.serialize_entry("pass", number)
        }
        Event::Verified { path, size, digest } => {
            map.serialize_entry("event", "same")?;
            below(map, path)?;
            map.serialize_entry("bytes", size)?;
            sha256(map, *digest)
        }
        Event::Done(operation) => {
            map.serialize_entry("event", "operation")?;
            write_operation(map, operation)
        }
        Event::Planned(operation) => {
            map.serialize_entry("event", "planned")?;
            write_operation(map, operation)
        }
        Event::Skipped { path, kind, reason } => {
            map.serialize_entry("event", "skip")?;
            below(map, path)?;
            map.serialize_entry("kind", kind.word())?;
            map.serialize_entry("reason", reason)
        }
        Event::Problem(problem) => write_problem(map, problem),
        Event::Notice(notice) => write_notice(map, notice),
        Event::PassEnded(report) => write_pass_end(map, report),
        Event::Overran { number, by } => {
            map.serialize_entry("event", "overran")?;
            map.serialize_entry("pass", number)?;
            map.serialize_entry("by_seconds", &seconds(*by))
        }
        Event::Stopping(signal) => {
            map.serialize_entry("event", "stopping")?;
            map.serialize_entry("signal", &signal.to_string())
        }
        Event::Stopped => map.serialize_entry("event", "stopped"),
        Event::Failed(error) => {
            map.serialize_entry("event", "failed")?;
            map.serialize_entry("message", &error.to_string())
        }
    }
}

fn write_operation<M: SerializeMap>(map: &mut M, operation: &Operation<'_>) -> Result<(), M::Error> {
    let Operation {
        verb,
        path,
        kind,
        size,
        digest,
        replica_unreadable,
        target,
        linked_to,
        renamed_from,
        subtree,
        reason,
    } = operation;
    map.serialize_entry("verb", verb.word())?;
    below(map, path)?;
    map.serialize_entry("kind", kind.word())?;
    if let Some(size) = size {
        map.serialize_entry("bytes", size)?;
    }
    sha256(map, *digest)?;
    if *replica_unreadable {
        map.serialize_entry("replica_sha256", "")?;
    }
    if let Some(target) = target {
        bytes(map, "target", "target_bytes", target)?;
    }
    if let Some(linked_to) = linked_to {
        bytes(map, "linked_to", "linked_to_bytes", linked_to.as_bytes())?;
    }
    if let Some(renamed_from) = renamed_from {
        bytes(map, "renamed_from", "renamed_from_bytes", renamed_from.as_bytes())?;
    }
    if let Some(subtree) = subtree {
        map.serialize_entry("subtree_folders", &subtree.folders)?;
        map.serialize_entry("subtree_files", &subtree.files)?;
        map.serialize_entry("subtree_bytes", &subtree.bytes)?;
    }
    if !reason.is_empty() {
        map.serialize_entry("reason", reason)?;
    }
    Ok(())
}

fn write_problem<M: SerializeMap>(map: &mut M, problem: &Problem) -> Result<(), M::Error> {
    let Problem { path, kind, cause, consequence, content_unreadable } = problem;
    map.serialize_entry("event", "problem")?;
    below(map, path)?;
    if *content_unreadable {
        map.serialize_entry("sha256", "")?;
    }
    map.serialize_entry("problem", kind.code())?;
    map.serialize_entry("action", kind.words())?;
    write_cause(map, *cause)?;
    map.serialize_entry("consequence", consequence)?;
    map.serialize_entry("message", &problem.to_string())
}

fn write_cause<M: SerializeMap>(map: &mut M, cause: Cause) -> Result<(), M::Error> {
    map.serialize_entry("cause", &cause.to_string())?;
    match cause {
        Cause::System(errno) => map.serialize_entry("errno", &errno.raw_os_error()),
        Cause::Refused(_) => Ok(()),
    }
}

fn write_notice<M: SerializeMap>(map: &mut M, notice: &Notice<'_>) -> Result<(), M::Error> {
    map.serialize_entry("event", "notice")?;
    match notice {
        Notice::LogInside { side, path } => {
            map.serialize_entry("notice", "log_inside")?;
            map.serialize_entry("side", &side.to_string())?;
            below(map, path)?;
        }
        Notice::NotHeld(feature) => {
            map.serialize_entry("notice", "not_held")?;
            map.serialize_entry("feature", feature.code())?;
        }
        Notice::NoLock => map.serialize_entry("notice", "no_lock")?,
        Notice::FewerThreads { threads, open_files } => {
            map.serialize_entry("notice", "fewer_threads")?;
            map.serialize_entry("threads", threads)?;
            map.serialize_entry("open_files", open_files)?;
        }
        Notice::ReplicaCreated(replica) => {
            map.serialize_entry("notice", "replica_created")?;
            path(map, "replica", "replica_bytes", replica)?;
        }
        Notice::LinkUnread { path, cause } => {
            map.serialize_entry("notice", "link_unread")?;
            below(map, path)?;
            write_cause(map, *cause)?;
        }
        Notice::AttributeUnread { side, path, name, cause } => {
            map.serialize_entry("notice", "attribute_unread")?;
            map.serialize_entry("side", &side.to_string())?;
            below(map, path)?;
            bytes(map, "attribute", "attribute_bytes", name.to_bytes())?;
            write_cause(map, *cause)?;
        }
        Notice::KeptBack { reason, entries, path } => {
            map.serialize_entry("notice", "kept_back")?;
            let reason = match reason {
                Reason::Changed => "changed",
                Reason::Unmade => "not_made",
            };
            map.serialize_entry("reason", reason)?;
            map.serialize_entry("entries", entries)?;
            below(map, path)?;
        }
    }
    map.serialize_entry("message", &humanize::notice(notice))
}

fn write_pass_end<M: SerializeMap>(map: &mut M, report: &PassReport) -> Result<(), M::Error> {
    let PassReport { number, outcome, counts, duration, replica_age } = report;
    let (event, signal, reason) = match outcome {
        Outcome::Done => ("pass_done", None, None),
        Outcome::Planned => ("pass_planned", None, None),
        Outcome::Held(hold) => ("pass_held", None, Some(Cow::Owned(hold.to_string()))),
        Outcome::Interrupted(signal) => ("pass_stopped", Some(signal.to_string()), None),
        Outcome::ReplicaLost => {
            ("pass_ended_early", None, Some(Cow::Borrowed("the replica folder disappeared")))
        }
    };
    map.serialize_entry("event", event)?;
    map.serialize_entry("pass", number)?;
    if let Some(signal) = signal {
        map.serialize_entry("signal", &signal)?;
    }
    if let Some(reason) = reason {
        map.serialize_entry("reason", &reason)?;
    }
    if let Outcome::Held(hold) = outcome {
        write_hold(map, hold)?;
    }
    for counter in Counter::ALL.into_iter().filter(|counter| tells(outcome, *counter)) {
        map.serialize_entry(counter.code(), &counts[counter])?;
    }
    map.serialize_entry("duration_seconds", &seconds(*duration))?;
    map.serialize_entry("replica_age_seconds", &replica_age.map(seconds))
}

/// Whether the end of a pass tells a counter: a plan has written nothing, and after the work nobody asks for the plan.
fn tells(outcome: &Outcome, counter: Counter) -> bool {
    match counter {
        Counter::BytesToWrite => *outcome == Outcome::Planned,
        Counter::BytesWritten => *outcome != Outcome::Planned,
        Counter::Created
        | Counter::Updated
        | Counter::Repaired
        | Counter::Retyped
        | Counter::Renamed
        | Counter::Linked
        | Counter::Metadata
        | Counter::Deleted
        | Counter::Unchanged
        | Counter::Skipped
        | Counter::KeptBack
        | Counter::Problems
        | Counter::BytesRead => true,
    }
}

/// Why a pass was held, in fields: what was at a place in the last pass, and what is there now.
fn write_hold<M: SerializeMap>(map: &mut M, hold: &Hold) -> Result<(), M::Error> {
    map.serialize_entry("hold", hold.word())?;
    let Some(difference) = hold.difference() else { return Ok(()) };
    map.serialize_entry("side", &difference.side.to_string())?;
    bytes(map, "place", "place_bytes", difference.path())?;
    map.serialize_entry("was_device", &difference.was.device())?;
    map.serialize_entry("was_mount", &difference.was.is_mount)?;
    map.serialize_entry("now_device", &difference.now.map(|now| now.device()))?;
    map.serialize_entry("now_mount", &difference.now.map(|now| now.is_mount))?;
    match hold {
        Hold::Swapped(_, turnover) => {
            map.serialize_entry("would_create", &turnover.created)?;
            map.serialize_entry("would_delete", &turnover.deleted)?;
            map.serialize_entry("would_keep", &turnover.kept)
        }
        Hold::SourceReplaced | Hold::MountGone(_) | Hold::MissingElsewhere(_) => Ok(()),
    }
}

fn sha256<M: SerializeMap>(map: &mut M, digest: Option<Digest>) -> Result<(), M::Error> {
    match digest {
        Some(digest) => map.serialize_entry("sha256", &Shown(digest)),
        None => Ok(()),
    }
}

/// A digest, written without a `String` of its own.
struct Shown(Digest);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

fn below<M: SerializeMap>(map: &mut M, path: &RelPath) -> Result<(), M::Error> {
    let raw = if path.is_root() { b"." } else { path.as_bytes() };
    bytes(map, "path", "path_bytes", raw)
}

fn path<M: SerializeMap>(
    map: &mut M,
    key: &'static str,
    key_bytes: &'static str,
    path: &Path,
) -> Result<(), M::Error> {
    bytes(map, key, key_bytes, path.as_os_str().as_bytes())
}

/// A name as text; when it is not UTF-8 the text has replacement characters, and a second field has the bytes in
/// hexadecimal digits.
fn bytes<M: SerializeMap>(
    map: &mut M,
    key: &'static str,
    key_bytes: &'static str,
    raw: &[u8],
) -> Result<(), M::Error> {
    match std::str::from_utf8(raw) {
        Ok(text) => map.serialize_entry(key, text),
        Err(_) => {
            map.serialize_entry(key, &String::from_utf8_lossy(raw))?;
            let digits: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
            map.serialize_entry(key_bytes, &digits)
        }
    }
}

/// Seconds with milliseconds: more digits would only pretend.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Compact JSON in which a name can neither colour a terminal nor reorder what it shows.
///
/// JSON itself demands escapes for characters below U+0020 only. The others that could deceive, those that
/// [`shown`] escapes, are written as `\uXXXX` too: to a JSON parser it is the same string.
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
