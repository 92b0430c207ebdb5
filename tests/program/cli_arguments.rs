//! The command line as a person meets it: help, version, and usage errors.

use crate::support::proof;
use crate::support::scratch::Scratch;
use assert_cmd::Command;
use assert_cmd::assert::Assert;
use insta::assert_snapshot;
use proptest::prelude::*;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;

fn file_sync() -> Command {
    let mut command = Command::cargo_bin("file-sync").expect("it has been built");
    for variable in ["COLUMNS", "NO_COLOR", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(variable);
    }
    command
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

/// A usage error: reported on stderr, and nothing is touched.
fn refuse<Word: AsRef<OsStr>>(place: &Scratch, words: &[Word]) -> String {
    let assert = file_sync().current_dir(place.path()).args(words).assert().code(2);
    assert_eq!(stdout(&assert), "", "a mistake is told on stderr");
    assert_eq!(place.names(""), ["source"], "a mistake creates nothing");
    stderr(&assert)
}

const ROOTS: &str = "--source source --replica replica";

#[test]
fn help_is_worth_reading() {
    let assert = file_sync().arg("--help").assert().code(0);
    let help = stdout(&assert);
    assert_snapshot!(help);
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "too long: {line}");
    }
    assert_eq!(stderr(&assert), "");
}

#[test]
fn the_short_help_is_one_screen() {
    let assert = file_sync().arg("-h").assert().code(0);
    let screen = stdout(&assert);
    assert_snapshot!(screen);
    assert_eq!(stderr(&assert), "");
    for words in ["help", "-h status", "-h --nosuch", "--once -h", "-nh"] {
        assert_eq!(stdout(&file_sync().args(words.split(' ')).assert().code(0)), screen, "{words}");
    }
}

#[test]
fn nothing_but_the_name_is_answered_in_five_lines() {
    let place = Scratch::with_source();
    let message = refuse::<&str>(&place, &[]);
    assert_eq!(message.lines().count(), 5, "{message}");
    assert_snapshot!(message);
}

#[test]
fn paths_without_options_are_answered_with_the_options() {
    let place = Scratch::with_source();
    for (line, advice) in [
        ("/a /b", "say --source /a --replica /b, at first with --dry-run"),
        ("source replica", "say --source source --replica replica,"),
        ("./source/ replica/ --once", "say --source ./source/ --replica replica/,"),
        ("-v source/ replica/", "say --source source/ --replica replica/,"),
        ("--source source replica/", "say --replica replica/,"),
        ("--source source --replica replica /c", "There is no place for the path /c"),
    ] {
        let message = refuse(&place, &line.split(' ').collect::<Vec<_>>());
        assert!(message.contains(advice), "{line} should say {advice}: {message}");
    }
}

#[test]
fn version_is_one_line() {
    for option in ["--version", "-V"] {
        let assert = file_sync().arg(option).assert().code(0);
        assert_eq!(stdout(&assert), format!("file-sync {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn help_survives_a_closed_console() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("file-sync"));
    let status = command.arg("--help").stdout(writer).status().expect("it runs");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn every_mistake_is_named_and_a_valid_value_shown() {
    let place = Scratch::with_source();
    let log = format!("{ROOTS} --log_file log");
    let full = format!("{log} --interval 60");
    let cases = [
        (String::new(), "--source DIR", "--dry-run"),
        ("-v".into(), "--source is missing", "--source /data"),
        (log.clone(), "--interval is missing", "--interval 15m"),
        (log.clone(), "--interval is missing", "--once"),
        ("--replica b --log_file c --interval 60".into(), "--source is missing", "--source /data"),
        ("--source a --log_file c --interval 60".into(), "--replica is missing", "--replica /mnt/backup"),
        (format!("{ROOTS} --interval 1h"), "--log_file is missing", "--log_file /var/log/file-sync/"),
        ("--source '' --replica b --log_file c --once".into(), "--source \"\"", "--source /data"),
        ("--source a --replica= --log_file c --once".into(), "--replica \"\"", "--replica /mnt/backup"),
        ("--source a --replica b --log-file '' --once".into(), "--log_file \"\"", "--log_file /var/log/"),
        (format!("{log} --interval 0"), "--interval 0", "--interval 15m"),
        (format!("{log} --interval 0s"), "--interval 0s", "--interval 15m"),
        (format!("{log} --interval -5"), "--interval -5", "--interval 15m"),
        (format!("{log} --interval=-5"), "--interval -5", "--interval 15m"),
        (format!("{log} --interval ''"), "--interval \"\"", "--interval 15m"),
        (format!("{log} --interval soon"), "--interval soon", "--interval 15m"),
        (format!("{log} --interval 1.5"), "--interval 1.5", "--interval 15m"),
        (format!("{log} --interval 99999999999999999999"), "--interval 99999", "--interval 15m"),
        (format!("{log} --interval 99999999999999999999h"), "--interval 99999", "--interval 15m"),
        (format!("{log} --once --interval soon"), "--interval soon", "--interval 15m"),
        (format!("{log} --interval"), "--interval <TIME>", "--interval 15m"),
        (format!("{full} --threads 0"), "--threads 0", "--threads 4"),
        (format!("{full} -j -1"), "--threads -1", "--threads 4"),
        (format!("{full} -j 1025"), "--threads 1025", "--threads 4"),
        (format!("{full} -j many"), "--threads many", "--threads 4"),
        (format!("{full} -j"), "--threads <N>", "--threads 4"),
        (format!("{full} --bwlimit 5000"), "--bwlimit 5000", "--bwlimit 5000K or --bwlimit 5000B"),
        (format!("{full} --bwlimit -1"), "--bwlimit -1", "--bwlimit 50MiB"),
        (format!("{full} --bwlimit 3Mbit"), "--bwlimit 3Mbit", "--bwlimit 50MiB"),
        (format!("{full} --bwlimit"), "--bwlimit <RATE>", "--bwlimit 50MiB"),
        (format!("{full} --nice=10"), "--nice", "Usage: file-sync --source DIR"),
        (format!("{full} --color blue"), "--color <WHEN>", "always"),
        (format!("{full} --log-format xml"), "--log-format <FORM>", "json"),
        (format!("{full} -v -q"), "--verbose", "--quiet"),
        (format!("{full} --source again"), "--source", "Usage: file-sync --source DIR"),
        (format!("{full} --log-file again"), "--log_file", "Usage: file-sync --source DIR"),
        (format!("{full} stray"), "stray", "Usage: file-sync --source DIR"),
        (format!("{full} --sorce x"), "--sorce", "--source"),
        ("--source=~/data --replica b --log_file c --once".into(), "--source ~/data", "--source $HOME/data"),
        (format!("{log} --replica ~ --once").replace("--replica replica ", ""), "--replica ~", "./~"),
        ("--source source --replica b --log_file=~/log --once".into(), "--log_file ~/log", "./~/log"),
        ("--source".into(), "--source <DIR>", "--source /data"),
        ("--source --replica b".into(), "--source <DIR>", "--source /data"),
        ("--replica".into(), "--replica <DIR>", "--replica /mnt/backup"),
        ("--log_file".into(), "--log_file <PATH>", "--log_file /var/log/file-sync/"),
        ("--log-file".into(), "--log_file <PATH>", "--log_file /var/log/file-sync/"),
    ];
    for (line, named, valid) in cases {
        let words: Vec<_> =
            line.split_whitespace().map(|word| if word == "''" { "" } else { word }).collect();
        let message = refuse(&place, &words);
        assert!(message.contains(named), "{line} should name {named}: {message}");
        assert!(message.contains(valid), "{line} should show {valid}: {message}");
    }
}

#[test]
fn a_mistake_reads_like_this() {
    let place = Scratch::with_source();
    let words = "--source source --replica replica --log_file log --interval -5";
    let message = refuse(&place, &words.split(' ').collect::<Vec<_>>());
    assert_snapshot!(message);
}

#[test]
fn values_that_are_not_utf_8_are_shown_escaped() {
    let place = Scratch::with_source();
    let mut words: Vec<OsString> = ROOTS.split(' ').map(OsString::from).collect();
    words.extend(["--log_file", "log", "--interval"].map(OsString::from));
    words.push(OsString::from_vec(b"1\xff\x1b[31mm".to_vec()));
    let message = refuse(&place, &words);
    assert!(message.contains(r#"--interval "1\xff\x1b[31mm""#), "{message}");
}

#[test]
fn colors_of_a_mistake_follow_the_option() {
    let place = Scratch::with_source();
    for (color, expected) in [("always", true), ("never", false), ("auto", false)] {
        let message = refuse(&place, &["--color", color]);
        assert_eq!(message.contains('\u{1b}'), expected, "{color}: {message}");
    }
}

#[test]
fn paths_that_are_not_utf_8_are_no_usage_error() {
    let place = Scratch::with_source();
    let name = |suffix: &str| {
        let mut bytes = b"\xff\xfe-".to_vec();
        bytes.extend_from_slice(suffix.as_bytes());
        place.path().join(OsString::from_vec(bytes))
    };
    // The missing source is an error of its own kind. It shows that all three paths were parsed.
    let assert = file_sync()
        .arg("--source")
        .arg(name("source"))
        .arg("--replica")
        .arg(name("replica"))
        .arg("--log_file")
        .arg(name("log"))
        .args(["--interval", "1h"])
        .assert()
        .code(1);
    let output = stdout(&assert) + &stderr(&assert);
    assert!(output.contains(r"\xff\xfe-source") || output.contains(r"\xFF\xFE-source"), "{output}");
    assert!(!name("replica").exists() && !name("source").exists());
}

#[test]
fn a_log_inside_a_missing_source_does_not_bring_the_source_back() {
    for log in ["gone", "gone/", "gone/log", "gone/deep/log", "./x/../gone/log"] {
        for source in ["gone", "./gone/", "link"] {
            let place = Scratch::with_source();
            std::os::unix::fs::symlink("gone", place.path().join("link")).expect("linked");
            let mut command = file_sync();
            command.current_dir(place.path()).args(["--source", source, "--replica", "replica"]);
            let assert = command.args(["--log_file", log, "--interval", "1h"]).assert().code(1);
            let output = stdout(&assert) + &stderr(&assert);
            assert!(!place.path().join("gone").exists(), "--source {source} --log_file {log}: {output}");
            assert!(!place.path().join("replica").exists(), "--source {source} --log_file {log}: {output}");
        }
    }
}

#[test]
fn words_that_no_option_and_no_command_takes_are_answered_with_what_to_type() {
    let place = Scratch::with_source();
    for (line, answer) in [
        ("nosuch", "There is no command nosuch; the commands are approve, explain, status, history,"),
        ("statsu", "similar subcommand exists: 'status'"),
        ("--source source status", "The command status comes first"),
        ("--delete --once", "There is no option --delete: what the source does not have is always deleted"),
        ("-av /a /b", "There is no option -a: whole folders are always mirrored"),
        ("-r source replica", "There is no option -r: whole folders are always mirrored"),
        ("--source source --dest replica", "There is no option --dest: say --replica DIR"),
        (
            "--interval --source source",
            "--interval needs a value, and --source comes next; for example --interval 15m",
        ),
        ("approve", "for example file-sync approve /data/photos/cat.jpg"),
        ("completions", "for example file-sync completions bash"),
        ("status --replica=", "Usage: file-sync status [OPTIONS]"),
        ("status /a", "Usage: file-sync status [OPTIONS]"),
        ("history --limit 0", "Usage: file-sync history"),
        ("verify -j 0", "Usage: file-sync verify --replica DIR"),
    ] {
        let message = refuse(&place, &line.split(' ').collect::<Vec<_>>());
        assert!(message.contains(answer), "{line} should say {answer}: {message}");
    }
}

/// Random words, but never the replica's option or a short form of it, so that no command line is ever carried out.
fn senseless() -> impl Strategy<Value = Vec<OsString>> {
    let word = prop_oneof![
        2 => "--?[a-z_]{1,9}(=[ -~]{0,6})?".prop_map(OsString::from),
        2 => "--(source|log_file|interval|threads|color|once|dry-run|quiet)".prop_map(OsString::from),
        1 => "[ -~]{0,8}".prop_map(OsString::from),
        // No NUL: an argument of execve(2) cannot contain one.
        1 => proptest::collection::vec(1..=255u8, 0..12).prop_map(OsString::from_vec),
    ];
    proptest::collection::vec(word, 0..6).prop_map(|mut words| {
        words.retain(|word| !word.as_encoded_bytes().starts_with(b"--r"));
        words
    })
}

proptest! {
    #![proptest_config(proof::cases(24, 1000))]

    #[test]
    fn whatever_is_typed_ends_with_help_or_with_a_message_and_touches_nothing(words in senseless()) {
        let place = Scratch::with_source();
        let assert = file_sync().current_dir(place.path()).args(&words).assert();
        let (code, told) = (assert.get_output().status.code(), stderr(&assert));
        prop_assert_eq!(place.names(""), ["source"], "a mistake creates nothing");
        prop_assert!(!told.contains("panicked"), "{}", told);
        match code {
            Some(0) => prop_assert!(told.is_empty() && !stdout(&assert).is_empty()),
            code => {
                prop_assert_eq!(code, Some(2), "{}", told);
                prop_assert!(stdout(&assert).is_empty() && told.contains("--"), "{}", told);
            }
        }
    }
}

#[test]
fn completions_know_every_option_and_are_scripts_of_their_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&file_sync().args(["completions", shell]).assert().code(0));
        for option in ["source", "replica", "interval", "log_file", "log-format", "dry-run", "completions"] {
            assert!(script.contains(option), "{shell} does not know {option}");
        }
        // Each installed shell checks the syntax of its script.
        let check = std::process::Command::new(shell).args(["-n", "-c", &script]).output();
        if let Ok(output) = check {
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn a_command_stands_alone_and_is_no_name_that_is_taken_from_folders() {
    let place = Scratch::with_source();
    for words in ["completions", "completions nosuch", "--source source completions bash", "complet bash"] {
        refuse(&place, &words.split(' ').collect::<Vec<_>>());
    }
    let help = stdout(&file_sync().args(["completions", "--help"]).assert().code(0));
    assert!(help.contains("/usr/share/bash-completion/"), "{help}");
    fs::rename(place.path().join("source"), place.path().join("completions")).expect("renamed");
    let words = "--source completions --replica replica --log_file log --once";
    file_sync().current_dir(place.path()).args(words.split(' ')).assert().code(0);
}

#[test]
fn output_that_nobody_reads_to_its_end_is_no_error() {
    use std::process::{Command, Stdio};
    let program = file_sync().get_program().to_owned();
    let mut child = Command::new(program)
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("there");
    let program = file_sync().get_program().to_owned();
    let output = Command::new(program).args(["completions", "bash"]).stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Cannot write the output"));
}

#[test]
fn the_man_page_has_every_option_and_the_exit_codes() {
    use clap::CommandFactory;
    let mut page = Vec::new();
    clap_mangen::Man::new(file_sync::cli::args::Cli::command()).render(&mut page).expect("rendered");
    let page = String::from_utf8_lossy(&page).replace('\\', "");
    for words in
        ["--source", "--log_file", "--dry-run", "--log-format", "file-sync-completions(1)", "Exit codes"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn a_single_pass_needs_no_log_file() {
    let place = Scratch::with_source();
    fs::write(place.path().join("source/file"), "content").expect("written");
    for (words, verb) in [("--dry-run", "create\t7\tfile"), ("--once", "create file")] {
        let words = format!("{ROOTS} {words}");
        let assert = file_sync().current_dir(place.path()).args(words.split(' ')).assert().code(0);
        let console = stdout(&assert);
        assert!(console.contains(verb) && !console.contains(" log "), "{console}");
    }
    assert_eq!(fs::read_to_string(place.path().join("replica/file")).expect("copied"), "content");
    let mut names = place.names("");
    names.sort();
    assert_eq!(names, ["replica", "source"]);
    let words = format!("{ROOTS} --once --log-format json");
    let assert = file_sync().current_dir(place.path()).args(words.split(' ')).assert().code(0);
    assert!(!stdout(&assert).contains(r#""log":"#), "{}", stdout(&assert));
}
