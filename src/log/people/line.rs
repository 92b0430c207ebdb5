//! Lines for people: the time of day, the verb, the path and the size. A path that does not fit is elided in its middle;
//! messages are wrapped at words and lose nothing. No digest: the log file has it.

use super::super::humanize;
use super::super::record::{Level, Record};
use super::super::text;
use super::paint::{Paint, Style};
use crate::log::width::{cut, elide, share, width, wrap};
use crate::model::change::Operation;
use crate::model::event::Event;
use crate::model::path::shown;
use crate::model::report::Hold;

/// From this width on verbs are padded, so that paths begin in one column.
const WIDE: usize = 60;

/// The width of the longest verb of an operation.
const VERB: usize = 8;

/// Narrower terminals show no time.
const WITH_CLOCK: usize = 32;

/// The columns of the time and the space after it: what continues a line begins below its verb.
pub(super) const INDENT: usize = 9;

/// One record, as one or more lines, each with its newline.
pub(super) fn line(clock: &str, record: &Record<'_>, style: Style) -> String {
    let level = record.level();
    let Record::Event { job, event } = record else { return body(clock, record, style) };
    let job = job.map(|job| format!("[{}] ", humanize::one_line(job))).unwrap_or_default();
    match event {
        // A warning keeps all of it.
        Event::Done(operation) if level < Level::Warn => {
            let head = (format!("{job}{}", operation.verb.word()), Paint::of_verb(operation.verb));
            of_operation(clock, head, operation, style)
        }
        Event::Done(operation) => {
            let mut words = humanize::below(operation.path, operation.kind);
            if let Some(size) = operation.size {
                words.push_str(&format!(" {}", humanize::size(size)));
            }
            if !operation.reason.is_empty() {
                words.push_str(&format!(" ({})", humanize::one_line(operation.reason)));
            }
            let head = format!("{job}{}", operation.verb.word());
            message(clock, (&head, Paint::of_verb(operation.verb)), &words, style)
        }
        Event::Verified { path, size, .. } => {
            let end = format!(" {}", humanize::size(*size));
            one(clock, (format!("{job}same"), Paint::Dim), &[&path.to_string()], ("", &end, ""), style)
        }
        Event::Skipped { path, kind, reason } => {
            let reason = if reason.is_empty() { kind.word() } else { reason };
            let reason = format!(" ({})", humanize::one_line(reason));
            let path = humanize::below(path, *kind);
            one(clock, (format!("{job}skip"), Paint::Dim), &[&path], ("", "", &reason), style)
        }
        Event::Excluded { path, rule } => {
            let rule = format!(" (by {})", humanize::one_line(rule));
            one(clock, (format!("{job}exclude"), Paint::Dim), &[&path.to_string()], ("", "", &rule), style)
        }
        Event::Problem(problem) => {
            let words = format!("{} {}", problem.path, humanize::one_line(&problem.to_string()));
            message(clock, (&format!("{job}problem"), Paint::Yellow), &words, style)
        }
        Event::Notice(notice) => {
            // Without colours nothing else would tell that it is one.
            let head = if level >= Level::Warn { "warning" } else { "notice" };
            let words = humanize::notice(notice);
            let head = format!("{job}{head}");
            message(clock, (&head, Paint::of_level(level)), &humanize::one_line(&words), style)
        }
        Event::Started { .. }
        | Event::PassStarted { .. }
        | Event::Phase { .. }
        | Event::Planned(_)
        | Event::PassEnded(_)
        | Event::Overran { .. }
        | Event::RpoAtRisk { .. }
        | Event::RpoMissed { .. }
        | Event::RpoMet { .. }
        | Event::Stopping { .. }
        | Event::Stopped
        | Event::Failed { .. } => body(clock, record, style),
    }
}

/// The words of the log file, wrapped.
fn body(clock: &str, record: &Record<'_>, style: Style) -> String {
    let (text, head_end) = text::body(record);
    let (head, words) = text.split_at(head_end);
    message(clock, (head, Paint::of_level(record.level())), words.trim_start(), style)
}

fn of_operation(clock: &str, head: (String, Paint), operation: &Operation<'_>, style: Style) -> String {
    let path = humanize::below(operation.path, operation.kind);
    let size = operation.size.map(|size| format!(" {}", humanize::size(size))).unwrap_or_default();
    let reason = match operation.reason {
        "" => String::new(),
        reason => format!(" ({})", humanize::one_line(reason)),
    };
    let (arrow, other) = if let Some(old) = operation.moved_from {
        let old = humanize::below(old, operation.kind);
        return one(clock, head, &[&old, &path], (" -> ", &size, &reason), style);
    } else if let Some(target) = operation.target {
        (" -> ", shown(target))
    } else if let Some(linked_to) = operation.linked_to {
        (" => ", linked_to.to_string())
    } else if let Some(renamed_from) = operation.renamed_from {
        (" <= ", renamed_from.to_string())
    } else {
        return one(clock, head, &[&path], ("", &size, &reason), style);
    };
    one(clock, head, &[&path, &other], (arrow, &size, &reason), style)
}

/// One line that is no wider than the terminal: time, verb, one or two paths with an arrow between them, and an end.
/// What comes last is left out where it does not fit.
fn one(
    clock: &str,
    (head, paint): (String, Paint),
    paths: &[&str],
    (arrow, end, reason): (&str, &str, &str),
    style: Style,
) -> String {
    let start = start(clock, style);
    let head = cut(&head, style.columns / 2);
    let gap = gap(head, style);
    let room = style.columns.saturating_sub(width(&start) + width(head) + gap.len());
    let whole: usize = paths.iter().map(|path| width(path)).sum::<usize>() + width(arrow);
    let end = if whole.min(8) + width(end) <= room { end } else { "" };
    let reason = if whole + width(end) + width(reason) <= room { reason } else { "" };
    let room = room - width(end) - width(reason);
    let shown = match paths {
        [one, other] if room > width(arrow) + 2 => {
            let (first, second) = share(one, other, room - width(arrow));
            format!("{}{arrow}{}", elide(one, first), elide(other, second))
        }
        [one, ..] => elide(one, room).into_owned(),
        [] => String::new(),
    };
    let tail = format!("{end}{reason}");
    let (start, head, tail) =
        (style.paint(Paint::Dim, &start), style.paint(paint, head), style.paint(Paint::Dim, &tail));
    format!("{start}{head}{gap}{shown}{tail}\n")
}

fn start(clock: &str, style: Style) -> String {
    if style.columns >= WITH_CLOCK { format!("{clock} ") } else { String::new() }
}

/// A message with all its words, on as many lines as it takes.
pub(super) fn message(clock: &str, (head, paint): (&str, Paint), words: &str, style: Style) -> String {
    let start = start(clock, style);
    let indent = width(&start);
    let room = style.columns.saturating_sub(indent);
    let gap = if words.is_empty() { String::new() } else { gap(head, style) };
    let lines = wrap(words, room.saturating_sub(width(head) + gap.len()), room);
    let mut lines = lines.iter();
    let first = lines.next().map_or("", String::as_str);
    let line = format!("{}{}{gap}{first}", style.paint(Paint::Dim, &start), style.paint(paint, head));
    let mut out = format!("{}\n", line.trim_end());
    lines.for_each(|line| out.push_str(&format!("{}{line}\n", " ".repeat(indent))));
    out
}

/// The space after a verb. A head of several words is none.
fn gap(head: &str, style: Style) -> String {
    let pad = if style.columns >= WIDE && !head.contains(' ') { VERB } else { 0 };
    " ".repeat(pad.saturating_sub(width(head)) + 1)
}

/// A sum of lines that were not shown: `… 12,340 created in photos/, 1.2 GiB`.
pub(super) fn sum(clock: &str, words: (&str, &str), folder: &str, style: Style) -> String {
    let start = start(clock, style);
    let (what, bytes) = words;
    let room = style.columns.saturating_sub(width(&start) + 2);
    let what = cut(what, room);
    let mut text = what.to_owned();
    let left = room - width(what);
    let bytes = if width(bytes) <= left { bytes } else { "" };
    if !folder.is_empty() && left - width(bytes) > 8 {
        text.push_str(&format!(" in {}", elide(folder, left - width(bytes) - 4)));
    }
    format!("{}… {text}{bytes}\n", style.paint(Paint::Dim, &start))
}

/// A held pass: the reason, and on lines of its own the command that lets it through, so that it can be copied.
pub(super) fn held(clock: &str, (pass, hold): (&str, &Hold), style: Style) -> String {
    let reason = hold.to_string();
    let reason = humanize::one_line(&reason);
    let head = (pass, Paint::Red);
    let command = hold.approve_command().and_then(|command| Some((reason.strip_suffix(command)?, command)));
    let Some((reason, command)) = command else {
        return message(clock, head, &format!("held: {reason}; nothing was changed"), style);
    };
    let words = format!("held; nothing was changed: {}", reason.trim_end());
    let mut out = message(clock, head, &words, style);
    let lines = command_lines(command, style.columns);
    out.push_str(&lines.join("\n"));
    out.push('\n');
    out
}

/// A command of a shell that is broken between its options, as a shell allows it. An option that is wider than the
/// terminal stays whole, and the terminal breaks it: no newline is copied then.
fn command_lines(command: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::from("  ")];
    for (at, part) in options(command).into_iter().enumerate() {
        let Some(line) = lines.last_mut() else { return lines };
        // Two more for the backslash that may follow.
        if at == 0 || width(line) + 1 + width(part) + 2 <= columns {
            if at > 0 {
                line.push(' ');
            }
            line.push_str(part);
        } else {
            line.push_str(" \\");
            lines.push(format!("    {part}"));
        }
    }
    lines
}

/// The parts of a command: its name and the words after it, and each option with its value. What is quoted for the shell
/// is not looked into.
fn options(command: &str) -> Vec<&str> {
    let (mut parts, mut from, mut quotes, mut before) = (Vec::new(), 0, Quotes::None, ' ');
    for (at, c) in command.char_indices() {
        quotes = match (quotes, c) {
            (Quotes::None, '\'') if before == '$' => Quotes::Ansi,
            (Quotes::None, '\'') if before != '\\' => Quotes::Single,
            (Quotes::Single, '\'') => Quotes::None,
            (Quotes::Ansi, '\'') if before != '\\' => Quotes::None,
            (quotes, _) => quotes,
        };
        // Of two backslashes the second is no escape.
        before = if before == '\\' && c == '\\' { ' ' } else { c };
        if quotes == Quotes::None && command.get(at..).is_some_and(|rest| rest.starts_with(" --")) {
            parts.extend(command.get(from..at));
            from = at + 1;
        }
    }
    parts.extend(command.get(from..));
    parts
}

/// The quotes of a shell that a character is in: in `'...'` a backslash is a letter, in `$'...'` an escape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Ansi,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::Verb;
    use crate::model::doubt::{Doubt, WayOut};
    use crate::model::entry::Kind;
    use crate::model::error::{Cause, Problem};
    use crate::model::event::Notice;
    use crate::model::limit::Stake;
    use crate::model::path::RelPath;
    use crate::model::problem_kind::ProblemKind;
    use crate::test_strategies::bytes;
    use proptest::prelude::*;

    const CLOCK: &str = "12:00:00";

    fn path(text: &str) -> RelPath {
        RelPath::from_bytes(text.as_bytes().to_vec())
    }

    fn told(event: &Event<'_>, columns: usize) -> String {
        line(CLOCK, &Record::Event { job: None, event }, Style::new(columns, false))
    }

    #[test]
    fn an_operation_is_one_line_without_its_digest() {
        let (cat, old) = (path("photos/2026/summer/cat.jpg"), path("unsorted/cat.jpg"));
        let create = Operation { size: Some(12_600), ..Operation::new(Verb::Create, &cat, Kind::File) };
        let update = Operation { verb: Verb::Update, reason: "size differs", ..create };
        let moved = Operation { verb: Verb::Move, moved_from: Some(&old), ..create };
        let link = Operation { target: Some(b"../x\x1b[31m"), kind: Kind::Symlink, size: None, ..create };
        let folder = Operation::new(Verb::Metadata, &cat, Kind::Folder);
        for (operation, columns, expected) in [
            (create, 80, "12:00:00 create   photos/2026/summer/cat.jpg 12.3 KiB\n"),
            (create, 40, "12:00:00 create photo…r/cat.jpg 12.3 KiB\n"),
            (create, 20, "create phot…/cat.jpg\n"),
            (update, 80, "12:00:00 update   photos/2026/summer/cat.jpg 12.3 KiB (size differs)\n"),
            (update, 60, "12:00:00 update   photos/2026/summer/cat.jpg 12.3 KiB\n"),
            (moved, 80, "12:00:00 move     unsorted/cat.jpg -> photos/2026/summer/cat.jpg 12.3 KiB\n"),
            (moved, 40, "12:00:00 move un…jpg -> ph….jpg 12.3 KiB\n"),
            (link, 80, "12:00:00 create   photos/2026/summer/cat.jpg -> \"../x\\x1b[31m\"\n"),
            (folder, 80, "12:00:00 metadata photos/2026/summer/cat.jpg/\n"),
        ] {
            let shown = told(&Event::Done(operation), columns);
            assert_eq!(shown, expected);
        }
        for columns in 0..100 {
            for operation in [create, update, moved, link, folder] {
                let shown = told(&Event::Done(operation), columns);
                assert!(width(shown.trim_end()) <= columns.max(20), "{columns} {shown:?}");
                assert_eq!(shown.matches('\n').count(), 1);
            }
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_a_line_wider_than_the_window_or_colours_it(
            (one, other) in (bytes(), bytes()),
            columns in 20_usize..120,
            size in any::<Option<u64>>(),
        ) {
            let (path, old) = (RelPath::from_bytes(one), RelPath::from_bytes(other));
            let plain = Operation { size, ..Operation::new(Verb::Update, &path, Kind::File) };
            let moved = Operation { moved_from: Some(&old), verb: Verb::Move, ..plain };
            let link = Operation { target: Some(old.as_bytes()), verb: Verb::Create, ..plain };
            for operation in [plain, moved, link] {
                let shown = told(&Event::Done(operation), columns);
                prop_assert!(shown.ends_with('\n') && !shown.trim_end().contains(char::is_control), "{:?}", shown);
                prop_assert!(width(shown.trim_end_matches('\n')) <= columns, "{} {:?}", columns, shown);
            }
        }
    }

    #[test]
    fn a_warning_is_wrapped_and_loses_nothing() {
        let long = path("photos/2026/summer/a very long name of a file that nobody can read.jpg");
        let cause = Cause::Refused("Permission denied");
        let problem = Problem::new(long.clone(), ProblemKind::ReadSourceFile, cause, "its replica is kept");
        let repair = Operation {
            size: Some(6),
            reason: "the source is as recorded, the replica is not",
            ..Operation::new(Verb::Repair, &long, Kind::File)
        };
        let notice = Notice::NoLock;
        for columns in [40, 80] {
            for (event, words) in [
                (Event::Problem(&problem), format!("problem {long} {problem}")),
                (
                    Event::Done(repair),
                    format!("repair {long} 6 B (the source is as recorded, the replica is not)"),
                ),
                (Event::Notice(notice), format!("warning {}", humanize::notice(&notice))),
            ] {
                let shown = told(&event, columns);
                assert!(shown.lines().all(|line| width(line) <= columns), "{shown}");
                let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
                assert_eq!(letters(&shown), letters(&format!("{CLOCK}{words}")));
            }
        }
    }

    #[test]
    fn colours_are_of_the_verb_and_change_no_letter() {
        let cat = path("cat.jpg");
        let operation = Operation { size: Some(6), ..Operation::new(Verb::Create, &cat, Kind::File) };
        let record = Record::Event { job: Some("home"), event: &Event::Done(operation) };
        let colored = line(CLOCK, &record, Style::new(80, true));
        let expected = "\x1b[2m12:00:00 \x1b[0m\x1b[32m[home] create\x1b[0m cat.jpg\x1b[2m 6 B\x1b[0m\n";
        assert_eq!(colored, expected);
        assert_eq!(line(CLOCK, &record, Style::new(80, false)), "12:00:00 [home] create cat.jpg 6 B\n");
    }

    #[test]
    fn the_command_that_lets_a_plan_through_can_be_copied() {
        let command = "file-sync approve --source '/my --films' --replica /mnt/backup/films --plan 12345678";
        let mut doubt = Doubt::of(Stake::default(), None);
        doubt.way_out = WayOut::Approve(command.to_owned());
        let shown = held(CLOCK, ("pass 2", &Hold::EmptySource(doubt)), Style::new(60, false));
        let expected = "  file-sync approve --source '/my --films' \\\n    --replica /mnt/backup/films --plan 12345678\n";
        assert!(shown.ends_with(expected), "{shown}");
        assert!(shown.starts_with("12:00:00 pass 2 held; nothing was changed: the source is"), "{shown}");
        assert!(shown.lines().all(|line| width(line) <= 60), "{shown}");
        let other = held(CLOCK, ("pass 2", &Hold::SourceReplaced), Style::new(80, false));
        assert!(other.ends_with("nothing was changed\n"), "{other}");
    }

    #[test]
    fn a_command_is_broken_between_its_options_and_never_in_a_quoted_path() {
        for (command, parts) in [
            ("a b --c d --e", &["a b", "--c d", "--e"][..]),
            ("a --c '/x --y' --e", &["a", "--c '/x --y'", "--e"]),
            (r"a --c '/it'\''s --y' --e", &["a", r"--c '/it'\''s --y'", "--e"]),
            (r"a --c '/x\' --e", &["a", r"--c '/x\'", "--e"]),
            (r"a --c $'/x\'y --z' --e", &["a", r"--c $'/x\'y --z'", "--e"]),
            (r"a --c $'/x\\' --e", &["a", r"--c $'/x\\'", "--e"]),
        ] {
            assert_eq!(options(command), parts);
        }
    }

    #[test]
    fn a_sum_fits_into_its_line() {
        let told = |columns| {
            let words = ("12,340 created", ", 1.2 GiB");
            sum(CLOCK, words, "photos/2026/summer/", Style::new(columns, false))
        };
        assert_eq!(told(80), "12:00:00 … 12,340 created in photos/2026/summer/, 1.2 GiB\n");
        for columns in 20..80 {
            assert!(width(told(columns).trim_end()) <= columns, "{}", told(columns));
        }
    }
}
