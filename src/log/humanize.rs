//! Formats numbers, sizes, times and messages for people. Independent of lines and sinks.

use crate::model::confirm::{Answer, FirstDeletion};
use crate::model::entry::Kind;
use crate::model::event::Notice;
use crate::model::event::Reason;
use crate::model::path::{RelPath, is_deceptive, shown};
use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::problems::{Recurrence, Summary};
use crate::model::words::entries;
pub(crate) use crate::model::words::{number, size};

/// `1 file`, `2,000 files`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// A duration: `0.4 s`, `2.1 s`, `1 min 5 s`, `2 h 3 min`, `3 d 4 h`.
pub(crate) fn duration(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths < 600 { format!("{}.{} s", tenths / 10, tenths % 10) } else { age(duration) }
}

/// An age: as [`duration`], but in whole seconds.
pub(crate) fn age(age: Duration) -> String {
    let seconds = (age.as_millis() + 500) / 1000;
    let minutes = (seconds + 30) / 60;
    let hours = (minutes + 30) / 60;
    if seconds < 60 {
        format!("{seconds} s")
    } else if seconds < 3600 {
        two(seconds / 60, "min", seconds % 60, "s")
    } else if minutes < 24 * 60 {
        two(minutes / 60, "h", minutes % 60, "min")
    } else {
        two(hours / 24, "d", hours % 24, "h")
    }
}

fn two(large: u128, large_unit: &str, small: u128, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// A path below the roots for the log: a folder has a slash at its end, inside the quotes if there are any.
pub(crate) fn below(path: &RelPath, kind: Kind) -> String {
    let mut text = path.to_string();
    if kind == Kind::Folder {
        // Only a quoted path ends in a quote: one in the name is escaped, and an escaped path is quoted.
        if text.ends_with('"') {
            text.pop();
            text.push_str("/\"");
        } else {
            text.push('/');
        }
    }
    text
}

/// A path of the system for the log.
pub(crate) fn path(path: &Path) -> String {
    shown(path.as_os_str().as_bytes())
}

/// Foreign text on one line: control characters and deceptive characters are escaped.
pub(crate) fn one_line(words: &str) -> Cow<'_, str> {
    if !words.contains(is_deceptive) {
        return Cow::Borrowed(words);
    }
    let escaped =
        words.chars().map(|c| if is_deceptive(c) { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(escaped.collect())
}

/// The message of a notice.
pub(crate) fn notice(notice: &Notice<'_>) -> String {
    match notice {
        Notice::LogInside { side, path } => {
            format!(
                "The log file lies inside the {side} at {path}; it is neither copied nor deleted, and neither are its \
                 rotated files, which have .1 to .999 after its name"
            )
        }
        Notice::Unsupported { feature } => format!(
            "The replica's filesystem, or the rights of this process, cannot hold {}; they are left out",
            feature.words()
        ),
        Notice::FirstDeletion { question, answer } => first_deletion(question, *answer),
        Notice::MayLackRoom { shortage } => format!("The replica may lack room: {shortage}; the pass goes on, and what does not fit is a problem"),
        Notice::NoLock => {
            "The replica's filesystem knows no locks; make sure that no second file-sync works on it"
                .to_owned()
        }
        Notice::FewerThreads { threads, open_files } => format!(
            "Working with {}, fewer than asked for, because only {} may be open at once; raise the hard limit (ulimit -Hn, or LimitNOFILE= of a service)",
            counted(u64::try_from(*threads).unwrap_or(u64::MAX), "thread", "threads"),
            counted(*open_files, "file", "files"),
        ),
        Notice::PriorityRefused { cause } => format!(
            "--nice has no effect, because the system refused a lower priority: {cause}; passes run with the priority of \
             other programs"
        ),
        Notice::ReplicaCreated { replica } => {
            format!("The replica folder {} was missing and has been created", path(replica))
        }
        Notice::SymlinkUnread { path, cause } => format!(
            "The symbolic link {path} of the replica does not tell where it leads: {cause}; it is compared by its length \
             and age. No more like it are told in this pass"
        ),
        Notice::XattrUnread { side, path, name, cause } => format!(
            "The extended attribute {} of {path} is listed in the {side} and cannot be read: {cause}; in the replica it \
             stays as it is. No more like it are told in this pass",
            shown(name.to_bytes()),
        ),
        Notice::NoStateFolder => {
            "No folder is known for what passes remember: neither STATE_DIRECTORY nor XDG_STATE_HOME nor HOME is set; \
             every file is read and hashed in every pass; name a folder with --state-dir"
                .to_owned()
        }
        Notice::IndexUnusable { index, reason } => format!(
            "Cannot use the index {}: {reason}; passes go on without it, and read and hash every file",
            path(index)
        ),
        Notice::IndexUnwritable { index, reason } => format!(
            "Cannot write the index {}: {reason}; what it knows is used, and what this pass confirms is not remembered",
            path(index)
        ),
        Notice::IndexRebuilt { index, reason } => {
            format!("The index {} is damaged ({reason}) and is made anew; no file is at stake", path(index))
        }
        Notice::PlanApproved { hold } => {
            format!("Goes on with an approved plan, which would be held: {}", one_line(&hold.to_string()))
        }
        Notice::UnstableInodes { side, path } => format!(
            "The inode numbers of the {side}'s filesystem change with each mount, as that of {path}; files are \
             recognized without them there"
        ),
        Notice::TimesStoodStill { path } => format!(
            "The content of {path} changed in the source and its times did not; it is copied, because its filesystem does \
             not tell damage from change. No more like it are told in this pass"
        ),
        Notice::RuleUnused { rule } => format!(
            "The rule {rule} decided about nothing: patterns begin at the source root, a later rule goes before an \
             earlier one, and nothing below a folder that is left out is looked at"
        ),
        Notice::RuleUsed { rule, entries } => {
            format!("The rule {rule} decided about {}", counted(*entries, "entry", "entries"))
        }
        Notice::FoldersStay { folders: 1, path } => format!(
            "The folder {path} has gone from the source and stays in the replica, because entries in it are excluded"
        ),
        Notice::FoldersStay { folders, path } => format!(
            "{} folders have gone from the source and stay in the replica, because entries in them are excluded; the \
             first is {path}",
            number(*folders)
        ),
        Notice::KeptBack { reason, entries, path } => {
            let (is_one, entries) = (*entries == 1, counted(*entries, "entry", "entries"));
            let why = match (reason, is_one) {
                (Reason::Changed, true) => {
                    "stays until the next pass, because the folder that it went from has changed during this one and it may have moved"
                }
                (Reason::Changed, false) => {
                    "stay until the next pass, because the folders that they went from have changed during this one and they may have moved"
                }
                (Reason::NotCreated, true) => {
                    "stays, because something like it could not be made in the replica and it may be that under its old name"
                }
                (Reason::NotCreated, false) => {
                    "stay, because others like them could not be made in the replica and they may be those under their old names"
                }
            };
            format!("{entries} that the source lacks {why} (the first: {path})")
        }
    }
}

fn first_deletion(question: &FirstDeletion<'_>, answer: Answer) -> String {
    let FirstDeletion { replica, deleted, examples, others, has_index } = question;
    let mut text = format!(
        "This pass deletes {} ({}) from {}",
        entries(deleted.entries),
        size(deleted.bytes),
        path(replica)
    );
    text.push_str(match (has_index, answer) {
        (true, Answer::Yes) => ", which file-sync had never written; that was confirmed",
        (true, Answer::No | Answer::Nobody) => ", which file-sync has never written",
        (false, _) => "; without an index it is not known whether file-sync has ever written it",
    });
    for (at, (path, below)) in examples.iter().enumerate() {
        text.push_str(&format!("{} {path} ({below})", if at == 0 { ":" } else { "," }));
    }
    if *others > 0 {
        text.push_str(&format!(" and {} more", number(*others)));
    }
    text
}

/// The message about many problems.
pub(super) fn summary(summary: &Summary) -> String {
    let (many, what) = (number(summary.problems), summary.kind.words());
    let cause = &summary.cause;
    match summary.recurrence {
        Recurrence::More => {
            format!("{many} more of this kind: Cannot {what}: {cause}; with -v each of them is named")
        }
        Recurrence::Same { last_pass, named_in_pass } => format!(
            "{many} the same as in pass {last_pass}: Cannot {what}: {cause}; pass {named_in_pass} names some of them"
        ),
    }
}

/// The message when the log file cannot be written.
pub(super) fn unwritable(log: &Path, cause: &str) -> String {
    format!("Cannot write the log file {}: {cause}; the backup goes on without it", path(log))
}

/// The message when the log file cannot be rotated.
pub(super) fn unrotated(log: &Path, cause: &str) -> String {
    format!("Cannot rotate the log file {}: {cause}; lines go on into the same file", path(log))
}

/// The message when the log file can be written again.
pub(super) fn lost(log: &Path, lines: u64) -> String {
    let lines = match lines {
        1 => "1 line was".to_owned(),
        more => format!("{} lines were", number(more)),
    };
    format!("The log file {} is written again; {lines} lost while it could not be written", path(log))
}

/// The message when the console takes lines again.
pub(super) fn not_shown(lines: u64) -> String {
    let lines = match lines {
        1 => "1 line was".to_owned(),
        more => format!("{} lines were", number(more)),
    };
    format!("{lines} not shown, because nobody read the console in time; see the log file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_between_thousands() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")];
        for (given, expected) in cases {
            assert_eq!(number(given), expected);
        }
        assert_eq!(number(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(2000, "file", "files"), "2,000 files");
    }

    #[test]
    fn sizes_have_at_most_one_decimal() {
        let cases = [
            (0, "0 B"),
            (12, "12 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (12_595, "12.3 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_525, "1 MiB"),
            (34 << 20, "34 MiB"),
            (1_288_490_189, "1.2 GiB"),
            (5 << 40, "5 TiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (given, expected) in cases {
            assert_eq!(size(given), expected, "{given}");
        }
    }

    #[test]
    fn durations_have_the_two_largest_units_that_matter() {
        let cases = [
            (0, "0.0 s", "0 s"),
            (49, "0.0 s", "0 s"),
            (350, "0.4 s", "0 s"),
            (2_100, "2.1 s", "2 s"),
            (59_449, "59.4 s", "59 s"),
            (59_950, "1 min", "1 min"),
            (65_000, "1 min 5 s", "1 min 5 s"),
            (3_599_600, "1 h", "1 h"),
            (7_380_000, "2 h 3 min", "2 h 3 min"),
            (86_399_000, "1 d", "1 d"),
            (273_600_000, "3 d 4 h", "3 d 4 h"),
        ];
        for (millis, took, old) in cases {
            assert_eq!(duration(Duration::from_millis(millis)), took, "{millis}");
            assert_eq!(age(Duration::from_millis(millis)), old, "{millis}");
        }
        assert_eq!(duration(Duration::MAX), "213503982334601 d 7 h");
    }

    #[test]
    fn a_folder_ends_in_a_slash_and_the_slash_is_inside_the_quotes() {
        let cases: [(&[u8], &str, &str); 6] = [
            (b"a", "a", "a/"),
            (b"", ".", "./"),
            (b"a b", "\"a b\"", "\"a b/\""),
            (b"a\"", "\"a\\\"\"", "\"a\\\"/\""),
            (b"\"", "\"\\\"\"", "\"\\\"/\""),
            (b"n\xff/x", "\"n\\xff/x\"", "\"n\\xff/x/\""),
        ];
        for (raw, file, folder) in cases {
            let path = RelPath::from_bytes(raw.to_vec());
            assert_eq!(below(&path, Kind::File), file);
            assert_eq!(below(&path, Kind::Folder), folder);
        }
    }

    #[test]
    fn foreign_words_stay_on_one_line() {
        assert_eq!(one_line("plain\\n"), "plain\\n");
        assert_eq!(one_line("a\nb\u{1b}[31m\u{85}"), "a\\nb\\u{1b}[31m\\u{85}");
        assert_eq!(one_line("a\u{2028}b\u{202e}"), "a\\u{2028}b\\u{202e}");
    }
}
