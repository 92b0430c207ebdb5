//! Property tests of the command line, for any input.

use super::log::names_folder;
use super::tests::environment;
use super::*;
use crate::cli::args::parse;
use crate::test_strategies::{bytes, cases};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::os::unix::ffi::OsStringExt;

/// Valid words, values and arbitrary bytes, in any order.
fn arguments() -> impl Strategy<Value = Vec<OsString>> {
    const OPTIONS: [&str; 24] = [
        "--source",
        "--replica",
        "--log_file",
        "--log-file",
        "--interval",
        "--once",
        "--dry-run",
        "-n",
        "--threads",
        "-j",
        "-v",
        "-q",
        "--verbose",
        "--quiet",
        "--color",
        "--log-format",
        "--log-max-size",
        "--log-keep",
        "--",
        "-",
        "--help",
        "-V",
        "-nqj2",
        "--source=",
    ];
    const VALUES: [&str; 14] =
        ["", "a", "/a/b", "logs/", ".", "..", "15m", "60", "0", "-5", "1024", "1025", "json", "never"];
    let word = prop_oneof![
        3 => select(&OPTIONS[..]).prop_map(OsString::from),
        3 => select(&VALUES[..]).prop_map(OsString::from),
        1 => (select(&OPTIONS[..]), bytes()).prop_map(|(option, value)| {
            OsString::from_vec([option.as_bytes(), b"=", &value].concat())
        }),
        1 => bytes().prop_map(OsString::from_vec),
    ];
    // So that many lines are complete, and test the meaning of their values.
    let whole = (select(&VALUES[..]), select(&VALUES[..]), select(&VALUES[..]), bytes(), bytes());
    let whole = whole.prop_map(|(source, interval, threads, replica, log)| {
        let given = [("--source", source), ("--interval", interval), ("--threads", threads)];
        let given = given.map(|(option, value)| OsString::from(format!("{option}={value}")));
        let raw = [("--replica=", replica), ("--log_file=", log)];
        let raw = raw.map(|(option, value)| OsString::from_vec([option.as_bytes(), &value].concat()));
        given.into_iter().chain(raw).collect::<Vec<_>>()
    });
    (prop_oneof![Just(Vec::new()), whole], vec(word, 0..5)).prop_map(|(whole, words)| [whole, words].concat())
}

proptest! {
    #![proptest_config(cases(100, 10_000))]

    #[test]
    fn whatever_is_typed_is_a_whole_configuration_or_a_mistake_with_a_message(arguments in arguments()) {
        let words = std::iter::once(OsString::from("file-sync")).chain(arguments);
        let cli = match parse(words) {
            Ok(cli) => cli,
            Err(error) => {
                let text = error.render().to_string();
                let is_mistake = error.use_stderr();
                prop_assert_eq!(error.exit_code(), if is_mistake { 2 } else { 0 }, "{}", text);
                prop_assert!(!text.trim().is_empty());
                return Ok(());
            }
        };
        let has_no_file = cli.log_file.as_deref().is_some_and(is_no_file);
        match Config::new(cli, &environment()) {
            Ok(config) => {
                prop_assert!(!config.mirror.source.as_os_str().is_empty() && !config.mirror.replica.as_os_str().is_empty());
                match &config.log.path {
                    Some(log) => prop_assert!(log.is_absolute() && !names_folder(log), "{log:?}"),
                    None => {
                        prop_assert!(has_no_file || config.mode.interval().is_none(), "repeated passes have a log");
                    }
                }
                prop_assert!(config.mirror.threads.is_none_or(|threads| (1..=MAX_THREADS).contains(&threads)));
                prop_assert_eq!(config.mode.interval().is_some(), matches!(config.mode, RunMode::Every(_)));
            }
            Err(mistake) => {
                let text = mistake.to_string();
                prop_assert!(text.contains("--"), "names no option: {text}");
                prop_assert!(!text.contains(char::is_control), "{text:?}");
                prop_assert_eq!(crate::cli::args::usage_error(&text, Color::Never).exit_code(), 2);
            }
        }
    }
}
