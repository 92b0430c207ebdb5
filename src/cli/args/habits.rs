//! Words that people type out of habit with other programs: paths without options, as `cp` and `rsync` take them, and
//! options that they have. The answer is what to type instead.
//!
//! Two paths without options are not simply understood: they are easily swapped, and the wrong folder would be emptied.

use crate::model::path::shown;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Options of rsync, rclone and robocopy, and guesses, each with the answer.
const FOREIGN: [(&[&str], &str); 9] = [
    (
        &["--delete", "--delete-after", "--del", "--mirror"],
        "what the source does not have is always deleted from the replica",
    ),
    (
        &["-a", "--archive", "-r", "-R", "--recursive"],
        "whole folders are always mirrored, with owners, modes, times and links",
    ),
    (&["-c", "--checksum"], "contents are always compared"),
    (
        &["--filter", "-f", "-F"],
        "say --exclude PATTERN and --include PATTERN; the last one that matches decides",
    ),
    (&["--include-from"], "say --exclude-from FILE, with a ! before each exception"),
    (&["-C", "--cvs-exclude", "--ignore"], "say --exclude PATTERN"),
    // Short ones mean other things elsewhere: a wrong guess would make the source the replica.
    (&["--dst", "--dest", "--destination", "--target"], "say --replica DIR"),
    (&["-i", "--period", "--every"], "say --interval TIME"),
    (&["-l", "--log"], "say --log_file PATH"),
];

/// The answer to an option that only other programs have.
pub(super) fn foreign(option: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(options, _)| options.contains(&option)).map(|(_, answer)| *answer)
}

/// The option that was given without its value, and the option after it that was taken for that value.
pub(super) fn swallowed<'a>(arguments: &'a [OsString], options: &[&str]) -> Option<(&'a OsStr, &'a OsStr)> {
    arguments.windows(2).find_map(|pair| match pair {
        [option, value] if value.as_bytes().starts_with(b"--") => {
            options.iter().any(|known| option == known).then_some((option.as_os_str(), value.as_os_str()))
        }
        _ => None,
    })
}

/// The advice for a word that is neither an option nor a command, if it seems to be a path. `is_command` says that a
/// command has a similar name.
pub(super) fn advice(arguments: &[OsString], stray: &str, is_command: bool) -> Option<String> {
    let at = arguments.iter().skip(1).position(|word| word.to_string_lossy() == stray)? + 1;
    let is_option = |word: &OsStr| word.as_bytes().starts_with(b"-");
    let words: Vec<&OsString> =
        arguments.get(at..)?.iter().take_while(|word| !is_option(word.as_os_str())).collect();
    let first = words.first()?;
    if (is_command && stray.len() > 2) || !(looks_like_path(first) || words.len() > 1) {
        return None;
    }
    let is_given = |option: &str| {
        let option = option.as_bytes();
        arguments.iter().any(|word| {
            word.as_bytes().strip_prefix(option).is_some_and(|rest| matches!(rest.first(), None | Some(b'=')))
        })
    };
    let missing: Vec<&str> =
        ["--source", "--replica"].into_iter().filter(|option| !is_given(option)).collect();
    let first = shown(first.as_bytes());
    if words.len() > missing.len() && !missing.is_empty() {
        return Some(format!(
            "The path {first} is given without its option, and which of {} words is which is not clear; say --source DIR \
             --replica DIR, at first with --dry-run, because what the source does not have is deleted from the replica",
            words.len()
        ));
    }
    if missing.is_empty() {
        return Some(format!(
            "There is no place for the path {first}: there is one --source and one --replica; start another file-sync for \
             another pair of folders"
        ));
    }
    let named: Vec<String> = missing
        .iter()
        .zip(&words)
        .map(|(option, word)| format!("{option} {}", shown(word.as_bytes())))
        .collect();
    Some(format!(
        "The path {first} is given without its option; say {}, at first with --dry-run, because what the source does not \
         have is deleted from the replica",
        named.join(" ")
    ))
}

/// Whether a word is more likely a path than a misspelled command.
fn looks_like_path(word: &OsStr) -> bool {
    let bytes = word.as_bytes();
    bytes.contains(&b'/') || bytes.starts_with(b".") || bytes.starts_with(b"~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_without_options_are_answered_with_the_options_that_are_missing() {
        let cases = [
            ("/a /b", "/a", Some("say --source /a --replica /b, at first with --dry-run")),
            ("/a /b --once", "/a", Some("say --source /a --replica /b,")),
            ("photos backup", "photos", Some("say --source photos --replica backup,")),
            ("/a", "/a", Some("say --source /a,")),
            (".", ".", Some("say --source .,")),
            ("-v /a /b", "/a", Some("say --source /a --replica /b,")),
            ("--source /a /b", "/b", Some("say --replica /b,")),
            ("--source=/a /b --once", "/b", Some("say --replica /b,")),
            ("--replica /b /a", "/a", Some("say --source /a,")),
            ("/a /b /c", "/a", Some("which of 3 words is which is not clear")),
            ("--source /a --replica /b /c", "/c", Some("no place for the path /c")),
            ("photos", "photos", None),
            ("photos --once", "photos", None),
        ];
        for (line, stray, expected) in cases {
            let words: Vec<OsString> =
                ["file-sync"].into_iter().chain(line.split(' ')).map(OsString::from).collect();
            let told = advice(&words, stray, false);
            match expected {
                Some(expected) => {
                    assert!(told.as_ref().is_some_and(|told| told.contains(expected)), "{line}: {told:?}")
                }
                None => assert_eq!(told, None, "{line}"),
            }
        }
        assert_eq!(advice(&["file-sync".into()], "/a", false), None);
    }

    #[test]
    fn a_misspelled_command_is_no_path() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(advice(&words("file-sync aprove /data/file"), "aprove", true), None);
        // As short as a folder in an example: that it is like a command means nothing.
        assert!(advice(&words("file-sync a b"), "a", true).is_some());
    }

    #[test]
    fn no_foreign_option_is_one_of_ours() {
        use clap::CommandFactory;
        let command = crate::cli::args::Cli::command();
        for option in FOREIGN.iter().flat_map(|(options, _)| *options) {
            let is_ours = command.get_arguments().any(|argument| match option.strip_prefix("--") {
                Some(long) => argument.get_long_and_visible_aliases().is_some_and(|all| all.contains(&long)),
                None => argument.get_short() == option.chars().nth(1),
            });
            assert!(!is_ours, "{option}");
        }
        assert_eq!(foreign("--dest"), Some("say --replica DIR"));
        assert_eq!(foreign("--source"), None);
    }
}
