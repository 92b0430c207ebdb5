//! Property tests: a name of any bytes leaves the log at one line per event, and can be parsed back from it.

use crate::fs::Errno;
use crate::model::change::{Operation, Subtree, Verb};
use crate::model::counters::Counts;
use crate::model::digest::Hasher;
use crate::model::entry::{FileId, Kind};
use crate::model::error::{Cause, Error, Problem, Relation, Side};
use crate::model::event::{Event, Notice};
use crate::model::feature::Feature;
use crate::model::mounts::{Difference, Identity, Place};
use crate::model::path::{RelPath, shown};
use crate::model::problem_kind::ProblemKind;
use crate::model::report::{Hold, Outcome, PassReport};
use crate::test_strategies::{KINDS, bytes, pure};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::Format;
use super::line::Line;
use super::record::Record;
use super::timestamp::Stamp;

/// Parses a name by the rules of `docs/log-format.md`: one name from the start of a text, and the rest.
fn read_name(text: &str) -> Option<(Vec<u8>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Some((text.as_bytes()[..end].to_vec(), &text[end..]));
    };
    let mut out = Vec::new();
    let mut rest = quoted;
    loop {
        let mut characters = rest.chars();
        let first = characters.next()?;
        rest = characters.as_str();
        if first == '"' {
            return Some((out, rest));
        }
        if first != '\\' {
            out.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let which = characters.next()?;
        rest = characters.as_str();
        match which {
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'r' => out.push(b'\r'),
            '\\' | '"' => out.push(which as u8),
            'x' => {
                out.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                rest = &rest[2..];
            }
            'u' => {
                let (digits, after) = rest.strip_prefix('{')?.split_once('}')?;
                let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            _ => return None,
        }
    }
}

/// Whether a line must not contain a character: a control character, or one that hides or reorders others (Unicode's
/// `Bidi_Control` and `Default_Ignorable_Code_Point`, as far as names could use them to deceive).
fn is_harmful(character: char) -> bool {
    character.is_control()
        || "\u{ad}\u{61c}\u{180e}\u{2028}\u{2029}\u{feff}".contains(character)
        || ('\u{200b}'..='\u{200f}').contains(&character)
        || ('\u{202a}'..='\u{202e}').contains(&character)
        || ('\u{2060}'..='\u{206f}').contains(&character)
        || ('\u{e0000}'..='\u{e007f}').contains(&character)
}

fn line(format: Format, event: &Event<'_>) -> Result<String, TestCaseError> {
    let stamp = Stamp::at(Timestamp::UNIX_EPOCH, &TimeZone::UTC);
    let line = Line::at(&stamp, format, &Record::Event { job: None, event }).text;
    let line = line.strip_suffix('\n').expect("a line ends").to_owned();
    prop_assert!(!line.contains(is_harmful), "{line:?}");
    Ok(line)
}

/// A text line without time and level.
fn text(event: &Event<'_>) -> Result<String, TestCaseError> {
    Ok(line(Format::Text, event)?.split_off(super::timestamp::LENGTH + 7))
}

fn json(event: &Event<'_>) -> Result<Value, TestCaseError> {
    serde_json::from_str(&line(Format::Json, event)?).map_err(|error| TestCaseError::fail(error.to_string()))
}

/// The bytes of a name, parsed from a JSON line as a program does.
fn bytes_of(line: &Value, key: &str) -> Vec<u8> {
    let digits = line.get(format!("{key}_bytes")).and_then(Value::as_str);
    let Some(digits) = digits else {
        return line[key].as_str().expect("a text").as_bytes().to_vec();
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

/// A valid path below a root: no NUL, no slash at either end, not empty.
fn relative(mut raw: Vec<u8>) -> RelPath {
    raw.retain(|byte| *byte != 0);
    let names: Vec<&[u8]> = raw.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    RelPath::from_bytes(if names.is_empty() { b"x".to_vec() } else { names.join(&b'/') })
}

proptest! {
    #![proptest_config(pure())]

    #[test]
    fn a_shown_name_is_harmless_and_is_read_back_whatever_follows(raw in bytes(), next in bytes()) {
        let one = shown(&raw);
        prop_assert!(!one.contains(is_harmful), "{one:?}");
        let line = format!("{one} {}", shown(&next));
        let (name, rest) = read_name(&line).expect("one name");
        prop_assert_eq!(name, raw);
        let (name, rest) = read_name(rest.strip_prefix(' ').expect("a space")).expect("another name");
        prop_assert_eq!((name, rest), (next, ""));
    }

    #[test]
    fn an_operation_can_be_read_back_from_both_forms(
        raw in bytes(),
        other in bytes(),
        kind in select(&KINDS[..]),
        verb in select(&Verb::ALL[..]),
        size in any::<Option<u64>>(),
        is_planned in any::<bool>(),
    ) {
        let (path, linked_to) = (relative(raw), relative(other.clone()));
        let renamed_from = linked_to.join(c"x");
        let moved_from = path.join(c"y");
        let operation = Operation {
            size,
            digest: size.map(|_| Hasher::new().finish()),
            target: Some(&other),
            linked_to: Some(&linked_to),
            renamed_from: Some(&renamed_from),
            moved_from: Some(&moved_from),
            subtree: Some(Subtree { files: 1, folders: 2, bytes: 3 }),
            reason: "content differs",
            ..Operation::new(verb, &path, kind)
        };
        let event = if is_planned { Event::Planned(operation) } else { Event::Done(operation) };

        let line = text(&event)?;
        let head = if is_planned { format!("would {} ", verb.word()) } else { format!("{} ", verb.word()) };
        let slash: &[u8] = if kind == Kind::Folder { b"/" } else { b"" };
        let (name, rest) = read_name(line.strip_prefix(&head).expect("the verb")).expect("the old path");
        prop_assert_eq!(name, [moved_from.as_bytes(), slash].concat());
        let (name, rest) = read_name(rest.strip_prefix(" -> ").expect("the new path")).expect("the path");
        prop_assert_eq!(name, [path.as_bytes(), slash].concat());
        let (target, rest) = read_name(rest.strip_prefix(" -> ").expect("a target")).expect("a name");
        prop_assert_eq!(&target, &other);
        let (name, rest) = read_name(rest.strip_prefix(" => ").expect("a link")).expect("a name");
        prop_assert_eq!(name, linked_to.as_bytes());
        let (name, rest) = read_name(rest.strip_prefix(" <= ").expect("another name")).expect("a name");
        prop_assert_eq!(name, renamed_from.as_bytes());
        prop_assert!(rest.ends_with(" (2 folders, 1 file, 3 B) (content differs)"), "{rest}");
        prop_assert_eq!(rest.contains(" sha256=e3b0c442"), size.is_some());

        let line = json(&event)?;
        prop_assert_eq!(bytes_of(&line, "path"), path.as_bytes());
        prop_assert_eq!(bytes_of(&line, "target"), other);
        prop_assert_eq!(bytes_of(&line, "linked_to"), linked_to.as_bytes());
        prop_assert_eq!(bytes_of(&line, "renamed_from"), renamed_from.as_bytes());
        prop_assert_eq!(bytes_of(&line, "moved_from"), moved_from.as_bytes());
        prop_assert_eq!(line["bytes"].as_u64(), size);
    }

    #[test]
    fn every_event_that_names_a_path_stays_one_harmless_line(raw in bytes(), words in any::<String>()) {
        let (below, path) = (relative(raw.clone()), Path::new(OsStr::from_bytes(&raw)));
        let rule = words.clone();
        let cause = Cause::System(Errno::IO);
        let problem = Problem {
            path: below.clone(),
            kind: ProblemKind::ReadSourceFile,
            cause,
            consequence: "its replica is kept",
            content_unreadable: true,
        };
        let errors = [
            Error::SourceMissing { path: path.into() },
            Error::ReplicaUnusable { path: path.into(), action: "opened", cause },
            Error::RootsOverlap { relation: Relation::Same, source_path: path.into(), replica_path: path.into() },
            Error::NoThreads { reason: words.clone() },
            Error::Panicked { message: words },
        ];
        let interval = Some(Duration::from_secs(60));
        let mut events = vec![
            Event::Started { version: "0.1.0", source: path, replica: path, interval, dry_run: false, log: Some(path) },
            Event::Verified { path: &below, size: 5, digest: None },
            Event::Skipped { path: &below, kind: Kind::Socket, reason: "sockets are not mirrored" },
            Event::Excluded { path: &below, rule: &rule },
            Event::Problem(&problem),
            Event::Notice(Notice::LogInside { side: Side::Source, path: &below }),
            Event::Notice(Notice::Unsupported { feature: Feature::Owner }),
            Event::Notice(Notice::ReplicaCreated { replica: path }),
            Event::Notice(Notice::SymlinkUnread { path: &below, cause: Cause::System(Errno::PERM) }),
            Event::Notice(Notice::XattrUnread {
                side: Side::Source,
                path: &below,
                name: c"user.\u{202e}",
                cause: Cause::System(Errno::IO),
            }),
        ];
        let identity = Identity { id: FileId { device: 2065, inode: 2 }, btime: None, is_mount: true };
        let places = [Place::Root(path.into()), Place::Above(path.into()), Place::Inside(below.clone())];
        let held = places.map(|place| PassReport {
            number: 7,
            outcome: Outcome::Held(Hold::MountGone(Box::new(Difference {
                side: Side::Replica,
                place,
                was: identity,
                now: None,
            }))),
            counts: Counts::default(),
            duration: Duration::ZERO,
            oldest_confirmation: None,
            replica_age: None,
        });
        events.extend(errors.iter().map(|error| Event::Failed { error, number: Some(7), ends_program: false }));
        events.extend(held.iter().map(Event::PassEnded));
        for event in &events {
            text(event)?;
            let line = json(event)?;
            if let Event::PassEnded(PassReport { outcome: Outcome::Held(hold), .. }) = event {
                let place = hold.difference().expect("a place").path();
                prop_assert_eq!(bytes_of(&line, "place"), place, "{:?}", event);
            }
            for key in ["path", "source", "replica", "log"] {
                if line.get(key).is_some() {
                    let expected = if key == "path" { below.as_bytes() } else { &raw };
                    prop_assert_eq!(bytes_of(&line, key), expected, "{:?}", event);
                }
            }
        }
    }
}
