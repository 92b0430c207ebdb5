//! The log and the console as a user meets them: the place of the log file, the content of its lines, and that no
//! failure of either stops the backup.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail as the test itself may")]

use insta::assert_snapshot;
mod support;

use crate::support::fsops::{noise, sha256};
use crate::support::program::{Ended, count, lines_with, start, start_as_is, until};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

const ROOTS: &str = "--source source --replica replica";

/// A change to a place while the program runs, and its name.
type Way = (&'static str, fn(&Scratch));

fn assert_mirrored(place: &Scratch) {
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}

/// One pass with this log.
fn once(place: &Scratch, log: &str) -> Ended {
    start(place.with(ROOTS, "--once").args(["--log_file", log])).end()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Trees in which one pass performs every kind of operation.
fn eventful(place: &Scratch) {
    place.write("source/updated", "one");
    place.write("source/repaired", "two");
    place.write("source/same", "three");
    place.write("source/mode", "four");
    place.write("source/now a folder", "five");
    place.write("source/removed/deep/file", "six");
    place.write("source/linked", "seven");
    place.sync();
    place.remove("log");
    place.write("source/updated", "one, and more");
    place.write("source/new/file", noise(12_595));
    place.folder("source/new/empty");
    place.link("source/new/symlink", "../same");
    fs::hard_link(place.at("source/linked"), place.at("source/link")).expect("linked");
    place.mode("source/mode", 0o600);
    place.remove("source/now a folder");
    place.folder("source/now a folder");
    place.remove("source/removed");
    UnixListener::bind(place.at("source/socket")).expect("bound");
    // Only the replica is wrong: same size, same mtime.
    let mtime = fs::metadata(place.at("replica/repaired")).and_then(|facts| facts.modified()).expect("known");
    place.write("replica/repaired", "2.0");
    let file = OpenOptions::new().write(true).open(place.at("replica/repaired")).expect("open");
    file.set_modified(mtime).expect("set");
}

#[test]
fn an_existing_folder_or_a_path_with_a_slash_at_its_end_means_file_sync_log_inside() {
    for (given, expected) in [
        ("file", "file"),
        ("logs", "logs/file-sync.log"),
        ("logs/", "logs/file-sync.log"),
        ("link", "logs/file-sync.log"),
        ("logs/file", "logs/file"),
        ("new/", "new/file-sync.log"),
        ("new/deep/", "new/deep/file-sync.log"),
        ("new/deep/file", "new/deep/file"),
        (".", "file-sync.log"),
        ("logs/..", "file-sync.log"),
    ] {
        let place = Scratch::with_source();
        place.folder("logs");
        place.link("link", "logs");
        let ended = once(&place, given);
        assert_eq!(ended.code, Some(0), "{given}: {ended:?}");
        assert!(place.at(expected).is_file(), "{given} should be {expected}");
        assert_eq!(sorted(&place.read(expected)), sorted(&ended.console()), "{given}");
        let told = ended.stdout.lines().next().and_then(|line| line.split_once(" log ")).expect("a path").1;
        let (told, expected) = (fs::canonicalize(told), fs::canonicalize(place.at(expected)));
        assert_eq!(told.expect("it exists"), expected.expect("it exists"), "{given}");
    }
}

#[test]
fn a_log_that_exists_is_appended_to() {
    let place = Scratch::with_source();
    place.write("log", "an older line\n");
    place.sync();
    place.sync();
    assert!(place.log().starts_with("an older line\n"));
    assert_eq!(count(&place.log(), "pass 1 done"), 2);
}

#[test]
fn a_log_removed_or_rotated_while_running_is_made_again_by_the_next_line() {
    let ways: [Way; 4] = [
        ("removed", |place| place.remove("logs/log")),
        ("removed with its folders", |place| place.remove("logs")),
        ("rotated", |place| place.rename("logs/log", "logs/log.1")),
        ("its folder renamed", |place| place.rename("logs", "old")),
    ];
    for (way, lose) in ways {
        let place = Scratch::with_source();
        let mut command = place.with(ROOTS, "--log_file logs/log --interval 1h");
        let running = place.started(&mut command);
        until("the log has it too", || place.read("logs/log").contains("pass 1 done"));
        lose(&place);
        running.pass_now();
        let ended = running.stop();
        let log = place.read("logs/log");
        let first = log.lines().next().unwrap_or_default();
        assert!(first.ends_with(" INFO  pass 2 started"), "{way}: {log}");
        assert!(log.ends_with(" INFO  file-sync stopped\n"), "{way}: {log}");
        assert_eq!(ended.stderr, "", "{way}");
        for old in ["logs/log.1", "old/log"] {
            if place.has(old) {
                assert!(place.read(old).lines().last().expect("a line").contains("pass 1 done"), "{way}");
            }
        }
    }
}

#[test]
fn sighup_after_a_rotation_opens_a_new_file() {
    let place = Scratch::with_source();
    let running = place.start("");
    until("the log has it too", || place.log().contains("pass 1 done"));
    place.rename("log", "log.1");
    running.signal(Signal::HUP);
    running.pass_now();
    running.stop();
    assert!(place.log().contains("pass 2 done") && !place.log().contains("pass 1 "));
    assert!(place.read("log.1").contains("pass 1 done") && !place.read("log.1").contains("pass 2 "));
}

#[test]
fn a_log_that_cannot_be_written_is_told_once_and_the_backup_goes_on() {
    let place = Scratch::with_source();
    place.write("file", "content");
    let cases = [
        ("/dev/full", "No space left on device"),
        ("file/log", "Not a directory"),
        ("file/deep/log", "Not a directory"),
        ("/proc/log", "No such file"),
    ];
    for (number, (log, cause)) in cases.into_iter().enumerate() {
        place.write("source/file", number.to_string());
        let ended = once(&place, log);
        assert_eq!(ended.code, Some(0), "{log}: {ended:?}");
        let told = lines_with(&ended.console(), "ERROR log Cannot write the log file ");
        assert_eq!(told.len(), 1, "{log}: {ended:?}");
        assert!(told[0].contains(cause) && told[0].ends_with("the backup goes on without it"), "{told:?}");
        assert!(ended.stdout.contains("pass 1 done"), "{log}: {ended:?}");
        assert_mirrored(&place);
    }
}

#[test]
fn a_log_that_an_ordinary_user_may_not_write_is_told_once_and_the_backup_goes_on() {
    let place = Scratch::of_ordinary_user();
    place.write("source/file", "content");
    place.folder("closed");
    place.write("log", "");
    place.mode("closed", 0o555);
    place.mode("log", 0o444);
    for log in ["closed/log", "closed/new/log", "log"] {
        let ended = once(&place, log);
        assert_eq!(ended.code, Some(0), "{log}: {ended:?}");
        let told = lines_with(&ended.console(), "ERROR log Cannot write the log file ");
        assert_eq!(told.len(), 1, "{log}: {ended:?}");
        assert!(told[0].contains("Permission denied"), "{told:?}");
        assert!(ended.stdout.contains("pass 1 done"), "{log}: {ended:?}");
    }
    assert_mirrored(&place);
}

#[test]
fn without_a_log_the_exit_code_is_still_that_of_the_pass() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "content");
    place.mode("source/secret", 0o000);
    let ended = once(&place, "/dev/full");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(count(&ended.stderr, "WARN  problem secret "), 1, "{ended:?}");
}

#[test]
fn a_log_that_works_again_is_told_with_the_number_of_lines_lost() {
    let place = Scratch::with_source();
    place.write("logs", "a file in the way");
    let mut command = place.with(ROOTS, "--log_file logs/log --interval 1h");
    let running = place.started(&mut command);
    running.pass_now();
    place.remove("logs");
    running.pass_now();
    let ended = running.stop();
    assert_eq!(count(&ended.stderr, "ERROR log Cannot write the log file"), 1, "{}", ended.stderr);
    let log = place.read("logs/log");
    let (first, rest) = log.split_once('\n').expect("a line");
    let all = ended.stdout.lines().count();
    let lost = all - rest.lines().count();
    let expected = format!(
        "WARN  log The log file {} is written again; {lost} lines were lost while it could not be written",
        place.at("logs/log").display()
    );
    assert_eq!(lines_with(&ended.stderr, "written again"), [expected.as_str()], "{}", ended.stderr);
    assert_eq!(lines_with(first, ""), [expected], "{log}");
    assert!(rest.contains("pass 3 started") && rest.contains("pass 3 done"), "{log}");
    assert!(!rest.contains("pass 1 started"), "{log}");
}

#[test]
fn the_log_and_the_console_have_the_same_lines_in_both_forms() {
    for form in ["text", "json"] {
        let place = Scratch::with_source();
        eventful(&place);
        let ended = place.run(&format!("--once -v --log-format {form}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(sorted(&place.log()), sorted(&ended.console()), "{form}");
    }
}

#[test]
fn an_eventful_pass_reads_like_this() {
    let place = Scratch::with_source();
    eventful(&place);
    let ended = place.run("--once -j 1");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut lines: Vec<&str> =
        ended.stdout.lines().map(|line| line.split_once(' ').expect("a time").1).collect();
    // Within a pass the order of the lines is the order of the work.
    let pass = 2..lines.len() - 2;
    lines[pass].sort_unstable();
    let text = format!("{}\n--- stderr\n{}", lines.join("\n"), ended.stderr);
    place.settled().bind(|| assert_snapshot!(text));
}

#[test]
fn a_dry_run_of_the_same_reads_like_this() {
    let place = Scratch::with_source();
    eventful(&place);
    let ended = place.run("--dry-run -j 1");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "");
    place.settled().bind(|| assert_snapshot!(format!("{}--- log\n{}", ended.stdout, place.log())));
}

#[test]
fn every_line_begins_with_a_time_with_milliseconds_and_offset_and_a_padded_level() {
    let place = Scratch::with_source();
    eventful(&place);
    for zone in ["UTC", "Asia/Kolkata", "<-03>3"] {
        let ended = start(place.command("--once -v").env("TZ", zone)).end();
        for line in ended.console().lines() {
            let (time, rest) = line.split_once(' ').expect("a time");
            assert_eq!(time.len(), "2026-11-22T12:00:00.123+01:00".len(), "{line}");
            assert!(time.as_bytes()[10] == b'T' && time.as_bytes()[19] == b'.', "{line}");
            assert!(matches!(time.as_bytes()[23], b'+' | b'-'), "{line}");
            let levels = ["INFO  ", "WARN  ", "ERROR ", "DEBUG "];
            assert!(levels.iter().any(|level| rest.starts_with(level)), "{line}");
        }
    }
}

#[test]
fn the_offset_is_that_of_the_local_time() {
    let place = Scratch::with_source();
    let ended = start(place.command("--once").env("TZ", "<+0530>-5:30")).end();
    assert!(ended.stdout.lines().all(|line| line[..29].ends_with("+05:30")), "{ended:?}");
}

/// The fields that `docs/log-format.md` gives each event and each notice.
fn documented_fields() -> BTreeMap<String, BTreeSet<String>> {
    let document = include_str!("../docs/log-format.md");
    let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        // Text in parentheses lists values and conditions.
        let outside =
            |cell: &str| -> String { cell.split('(').flat_map(|part| part.rsplit(')').next()).collect() };
        let names = |cell: &str| -> BTreeSet<String> {
            outside(cell).split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let [events, facts] = cells[..] else { continue };
        for event in names(events) {
            fields.entry(event).or_default().append(&mut names(facts));
        }
    }
    fields
}

fn check_json(text: &str, seen: &mut BTreeSet<String>) {
    let documented = documented_fields();
    for line in text.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let object = object.as_object().expect("an object");
        let word =
            |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(
            word("time").len() == 29 && ["DEBUG", "INFO", "WARN", "ERROR"].contains(&word("level")),
            "{line}"
        );
        let event = word("event");
        seen.insert(event.to_owned());
        let mut fields = documented.get(event).unwrap_or_else(|| panic!("{event} is not documented")).clone();
        if event == "notice" {
            let notice = word("notice");
            seen.insert(format!("notice {notice}"));
            // The table of notices has a heading of the same name as the event.
            fields = BTreeSet::from(["notice", "message"].map(str::to_owned));
            let more = documented.get(notice).unwrap_or_else(|| panic!("{notice} is not documented"));
            fields.extend(more.iter().cloned());
        }
        if object.contains_key("hold") {
            let more = documented.get(word("hold")).unwrap_or_else(|| panic!("not documented: {line}"));
            fields.extend(more.iter().cloned());
        }
        for name in object.keys().filter(|name| !["time", "level", "event"].contains(&name.as_str())) {
            let plain = name.strip_suffix("_bytes").unwrap_or(name);
            assert!(fields.contains(name) || fields.contains(plain), "{name} is not documented: {line}");
        }
        let may_be_missing = match event {
            // "A field that does not apply is left out."
            "operation" | "planned" => {
                let always = ["verb", "path", "kind"].map(str::to_owned);
                fields.retain(|name| always.contains(name));
                BTreeSet::new()
            }
            "problem" => {
                BTreeSet::from(["errno", "sha256", "path", "found_sha256", "recorded_sha256", "confirmed"])
            }
            "failed" => BTreeSet::from(["pass"]),
            "pass_ended" => BTreeSet::from([
                "signal",
                "message",
                "hold",
                "replica_age_seconds",
                "oldest_confirmation_seconds",
            ]),
            "phase" => {
                let is_plan = word("phase") == "surveyed";
                fields.retain(|name| is_plan || ["pass", "phase"].contains(&name.as_str()));
                BTreeSet::new()
            }
            "started" => BTreeSet::from(["interval_seconds", "log"]),
            _ => BTreeSet::new(),
        };
        for name in fields {
            let is_there = object.contains_key(&name) || may_be_missing.contains(name.as_str());
            assert!(is_there, "{name} is missing: {line}");
        }
    }
}

#[test]
fn json_lines_have_the_fields_that_the_document_gives_them() {
    let mut seen = BTreeSet::new();
    let place = Scratch::with_source();
    eventful(&place);
    place.run("--dry-run --log-format json");
    check_json(&place.log(), &mut seen);
    place.rename("replica", "elsewhere");
    check_json(&place.run("--once --log-format json").console(), &mut seen);
    check_json(&place.run("--once -v --log-format json").console(), &mut seen);
    let ended = start(place.with(ROOTS, "--once --log-format json --log_file /dev/full")).end();
    check_json(&ended.console(), &mut seen);
    let ended = start(place.with(ROOTS, "--interval 1h --log-format json --log_file source/log"));
    ended.hears("\"outcome\":\"done\"");
    check_json(&ended.stop().console(), &mut seen);
    place.write("source/logs", "a file in the way");
    let ended = start(place.with(ROOTS, "--once --log-format json --log_file replica/logs/log")).end();
    check_json(&ended.console(), &mut seen);
    place.remove("source");
    check_json(&place.run("--once --log-format json").console(), &mut seen);
    check_json(&place.log(), &mut seen);
    let expected = [
        "failed",
        "log_unwritable",
        "notice",
        "notice log_inside",
        "notice replica_created",
        "operation",
        "pass_ended",
        "pass_started",
        "phase",
        "planned",
        "problem",
        "same",
        "skip",
        "started",
        "stopped",
        "stopping",
    ];
    assert_eq!(seen, expected.into_iter().map(str::to_owned).collect());
}

#[test]
fn every_operation_is_logged_with_the_digest_of_its_content() {
    let place = Scratch::with_source();
    eventful(&place);
    let ended = place.run("--once -v");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let log = place.log();
    for (line, content) in [
        ("INFO  update updated 13 B", &b"one, and more"[..]),
        ("WARN  repair repaired 3 B", b"two"),
        ("INFO  create new/file 12.3 KiB", &noise(12_595)),
        ("DEBUG same same 5 B", b"three"),
        ("DEBUG same mode 4 B", b"four"),
    ] {
        let expected = format!("{line} sha256={}", sha256(content));
        assert_eq!(count(&log, &expected), 1, "{expected}\n{log}");
    }
    for line in [
        "INFO  link link => linked",
        "INFO  metadata mode 4 B (mode)",
        "INFO  retype \"now a folder/\"",
        "INFO  delete removed/deep/file 3 B",
        "INFO  delete removed/deep/\n",
        "INFO  delete removed/\n",
        "INFO  create new/symlink -> ../same",
        "INFO  create new/empty/",
        "INFO  skip socket (sockets are not mirrored)",
    ] {
        assert_eq!(count(&log, line), 1, "{line}\n{log}");
    }
}

#[test]
fn an_empty_file_has_the_digest_of_nothing() {
    let place = Scratch::with_source();
    place.write("source/empty", "");
    let ended = place.sync();
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert!(ended.stdout.contains(&format!("create empty 0 B sha256={digest}\n")), "{ended:?}");
}

#[test]
fn a_source_file_that_cannot_be_read_is_a_problem_with_an_empty_digest_and_its_replica_is_kept() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "old");
    place.write("source/file", "old");
    place.sync();
    place.write("source/secret", "new");
    place.write("source/file", "new");
    place.mode("source/secret", 0o000);
    let ended = place.run("--once");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(place.read("replica/secret"), "old");
    assert_eq!(place.read("replica/file"), "new");
    let problem = "WARN  problem secret sha256=\"\" Cannot read the source file: Permission denied (os error 13); \
                   it is skipped and its replica kept";
    assert_eq!(lines_with(&place.log(), "problem secret"), [problem]);
    assert_eq!(lines_with(&ended.stderr, ""), [problem]);
    assert!(
        ended.stdout.contains(" 1 problem, ") && ended.stdout.contains(" old but for 1 problem\n"),
        "{ended:?}"
    );
}

#[test]
fn a_new_source_file_that_cannot_be_read_is_a_problem_with_an_empty_digest() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "content");
    place.mode("source/secret", 0o000);
    let ended = place.run("--once");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(count(&ended.stderr, "WARN  problem secret sha256=\"\" "), 1, "{ended:?}");
    assert!(place.names("replica").is_empty());
}

#[test]
fn a_source_folder_that_cannot_be_read_keeps_its_replica_and_deletions_elsewhere_go_on() {
    let place = Scratch::of_ordinary_user();
    place.write("source/closed/deep/file", "content");
    place.write("source/gone/file", "content");
    place.sync();
    let before = Tree::of(&place.at("replica/closed/deep")).stamped();
    place.remove("source/gone");
    place.mode("source/closed", 0o000);
    let ended = place.run("--once");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    place.mode("replica/closed", 0o700);
    assert_eq!(Tree::of(&place.at("replica/closed/deep")).stamped(), before);
    assert!(!place.has("replica/gone"), "{ended:?}");
    assert_eq!(lines_with(&ended.stderr, "problem ").len(), 1, "{ended:?}");
    assert!(
        ended.stderr.contains("problem closed Cannot read the source folder: Permission denied"),
        "{ended:?}"
    );
}

#[test]
fn a_replica_file_that_cannot_be_read_is_replaced_and_its_digest_is_empty() {
    let place = Scratch::of_ordinary_user();
    place.write("source/file", "content");
    place.sync();
    place.mode("replica/file", 0o000);
    let ended = place.run("--once");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected = format!(
        "WARN  repair file 7 B sha256={} replica_sha256=\"\" (the replica cannot be read)",
        sha256(b"content")
    );
    assert_eq!(lines_with(&ended.stderr, "repair file"), [expected]);
    assert_mirrored(&place);
}

#[test]
fn when_both_sides_cannot_be_read_nothing_is_taken_for_equal() {
    let place = Scratch::of_ordinary_user();
    place.write("source/file", "content");
    place.sync();
    place.mode("source/file", 0o000);
    place.mode("replica/file", 0o000);
    let before = Tree::of(&place.at("replica")).stamped();
    let ended = place.run("--once -v");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(count(&ended.stderr, "WARN  problem file sha256=\"\" "), 1, "{ended:?}");
    assert_eq!(count(&ended.stdout, " same "), 0, "{ended:?}");
    assert!(ended.stdout.contains("0 deleted, 0 unchanged, 1 problem"), "{ended:?}");
    assert_eq!(Tree::of(&place.at("replica")).stamped(), before);
}

#[test]
fn a_console_that_is_closed_early_stops_nothing() {
    for (options, code) in [("--once", 0), ("--once -v", 0), ("--once --log-format json", 0)] {
        let place = Scratch::with_source();
        for number in 0..500 {
            place.write(format!("source/{number}"), "content");
        }
        let mut command = place.command(options);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        // As `| head -1` does: reads one line, then closes the pipe.
        let mut line = String::new();
        BufReader::with_capacity(1, child.stdout.take().expect("a pipe")).read_line(&mut line).expect("read");
        assert!(line.contains("started"), "{line}");
        assert_eq!(child.wait().expect("it ends").code(), Some(code), "{options}");
        assert_mirrored(&place);
        let ends = ["file-sync stopped\n", "\"event\":\"stopped\"}\n"];
        assert!(ends.iter().any(|end| place.log().ends_with(end)), "{options}: {}", place.log());
    }
}

#[test]
fn a_console_that_is_full_or_was_never_open_changes_neither_the_backup_nor_the_exit_code() {
    for streams in [">&- 2>&-", ">/dev/full 2>/dev/full", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for (log, expected) in [("log", 0), ("replica/logs/log", 23)] {
            let place = Scratch::with_source();
            place.write("source/file", "content");
            if expected == 23 {
                place.write("source/logs", "a file where the log's folder is");
            }
            let mut command = Command::new("sh");
            command.args(["-c", &format!(r#""$0" "$@" {streams}"#), env!("CARGO_BIN_EXE_file-sync")]);
            command.args(ROOTS.split(' ')).args(["--once", "--log_file", log]).current_dir(place.path());
            let ended = start(command).end();
            assert_eq!(ended.code, Some(expected), "{streams}: {ended:?}");
            assert_eq!(place.read("replica/file"), "content", "{streams}");
            assert!(place.read(log).ends_with("file-sync stopped\n"), "{streams}");
        }
    }
}

#[test]
fn a_console_that_nobody_reads_does_not_hold_up_repeated_passes() {
    let place = Scratch::with_source();
    // Long paths fill the pipe and the buffer of 1 MiB behind it with few files.
    let folder = format!("source/{}", vec!["n".repeat(250); 6].join("/"));
    for number in 0..1200 {
        place.write(format!("{folder}/{number}"), "");
    }
    let mut command = place.command("--interval 1h");
    // The read end stays open, and nobody reads.
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let running = start_as_is(command.stdout(writer).stderr(Stdio::null()));
    drop(command);
    until("the pass is done", || place.has("log") && place.log().contains("pass 1 done"));
    running.signal(Signal::TERM);
    assert_eq!(running.end().code, Some(0));
    assert_mirrored(&place);
    assert!(place.log().ends_with("file-sync stopped\n"));
}

/// Names that try to break, forge and colour log lines, and to hide in them.
fn hostile_names() -> Vec<OsString> {
    let names: [&[u8]; 14] = [
        b"line\nbreak",
        b"x\n2026-11-22T12:00:00.123+01:00 INFO  pass 9 done: 0 created",
        b"\x1b[31mred\x1b[0m",
        b"\x1b]0;title\x07",
        b"carriage\rreturn",
        b"tab\there",
        b"back\x08space",
        b"not\xff\xfeutf8",
        b"c1\xc2\x9b31m",
        "rtl\u{202e}gpj.exe".as_bytes(),
        b"quote\" sha256=",
        b"back\\slash",
        b" leading and trailing ",
        b"-rf",
    ];
    names.into_iter().map(|name| OsString::from_vec(name.to_vec())).collect()
}

fn assert_harmless(bytes: &[u8], what: &str) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
    assert_eq!(bad, None, "{what}: {text}");
}

#[test]
fn hostile_names_give_one_line_each_and_no_control_bytes() {
    for form in ["text", "json"] {
        let place = Scratch::with_source();
        let names = hostile_names();
        for name in &names {
            place.write(Path::new("source").join(name), "content");
            place.folder(Path::new("source/folders").join(name));
        }
        place.folder("source/links");
        for (number, name) in names.iter().enumerate() {
            std::os::unix::fs::symlink(name, place.at(format!("source/links/{number}"))).expect("linked");
        }
        let run = |expected: usize, verb: &str| {
            place.write("log", "");
            let output = place.command("--once --log-format").arg(form).output().expect("it runs");
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let log = fs::read(place.at("log")).expect("readable");
            for (what, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr), ("log", &log)] {
                assert_harmless(bytes, what);
            }
            let log = String::from_utf8(log).expect("UTF-8");
            let words = [format!(" INFO  {verb} "), format!("\"verb\":\"{verb}\"")];
            let lines = log.lines().filter(|line| words.iter().any(|words| line.contains(words)));
            assert_eq!(lines.count(), expected, "{log}");
            // Each line of the program begins with the time. No forged line does.
            let begins = |line: &str| {
                line.contains(" file-sync ") || line.contains("\"event\"") || line.starts_with("20")
            };
            assert!(log.lines().all(begins), "{log}");
            let ends = log
                .lines()
                .filter(|line| line[29..].starts_with(" INFO  pass ") && line.contains("done"))
                .count();
            assert_eq!(ends, usize::from(form == "text"), "{log}");
            log
        };
        let log = run(3 * names.len() + 2, "create");
        if form == "json" {
            let mut paths: Vec<Vec<u8>> = Vec::new();
            for line in log.lines() {
                let object: Value = serde_json::from_str(line).expect("JSON");
                if object["kind"] == "file" {
                    let hex = object.get("path_bytes").and_then(Value::as_str);
                    paths.push(hex.map_or_else(|| object["path"].as_str().expect("a path").into(), unhex));
                }
            }
            paths.sort();
            let mut expected: Vec<_> =
                names.iter().map(|name| crate::support::fsops::bytes(name).to_vec()).collect();
            expected.sort();
            assert_eq!(paths, expected);
        }
        for entry in ["source/folders", "source/links"] {
            place.remove(entry);
        }
        for name in &names {
            place.remove(Path::new("source").join(name));
        }
        run(3 * names.len() + 2, "delete");
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

#[test]
fn hostile_roots_and_log_paths_stay_on_their_line() {
    for form in ["text", "json"] {
        let place = Scratch::with_source();
        for name in hostile_names() {
            for source in ["", "gone "] {
                let mut source = OsString::from(source);
                source.push(&name);
                place.folder(&name);
                let mut replica = OsString::from("replica ");
                replica.push(&name);
                let mut log = OsString::from("/dev/full");
                log.push(&name);
                let mut command = place.bare();
                command
                    .arg("--source")
                    .arg(Path::new(".").join(&source))
                    .arg("--replica")
                    .arg(Path::new(".").join(&replica));
                command
                    .args(["--once", "--log-format", form, "--log_file"])
                    .arg(place.at("file/x").join(&name));
                place.write("file", "in the way");
                let output = command.output().expect("it runs");
                assert_harmless(&output.stdout, "stdout");
                assert_harmless(&output.stderr, "stderr");
                assert_eq!(output.status.code(), Some(i32::from(source.len() > name.len())), "{output:?}");
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert_eq!(
                    text.lines().filter(|line| line.contains("started")).count(),
                    if output.status.success() { 2 } else { 1 },
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn quiet_leaves_warnings_and_errors_and_the_log_keeps_everything() {
    let place = Scratch::with_source();
    eventful(&place);
    let ended = place.run("--once -q");
    assert_eq!(ended.code, Some(0));
    assert_eq!(lines_with(&ended.console(), "").len(), 1, "one repair: {ended:?}");
    assert!(place.log().contains("INFO  create new/file") && place.log().contains("pass 1 done"));
    place.remove("source");
    let ended = place.run("--once -q");
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stdout, "");
    assert_eq!(lines_with(&ended.stderr, "").len(), 1, "{ended:?}");
    assert!(ended.stderr.contains("ERROR file-sync failed: The source source does not exist"), "{ended:?}");
}

#[test]
fn verbose_adds_the_files_that_were_compared_and_are_the_same() {
    let place = Scratch::with_source();
    place.write("source/a", "content");
    place.write("source/folder/b", "more content");
    place.sync();
    for (options, same, expected) in [
        ("--once", " DEBUG same ", 0),
        ("--once -v", " DEBUG same ", 2),
        ("--dry-run --verbose", "same\t", 2),
    ] {
        place.write("log", "");
        let ended = place.run(options);
        assert_eq!(count(&ended.stdout, same), expected, "{options}: {ended:?}");
        assert_eq!(count(&place.log(), " DEBUG same "), expected, "{options}");
    }
    assert!(place.log().contains(&format!("DEBUG same folder/b 12 B sha256={}\n", sha256(b"more content"))));
}

#[test]
fn colors_take_nothing_away_from_the_words() {
    let place = Scratch::with_source();
    eventful(&place);
    let ended = place.run("--once --color always");
    let mut plain = String::new();
    let mut rest = ended.console();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').expect("the end of a color").1.to_owned();
    }
    plain.push_str(&rest);
    assert_eq!(sorted(&plain), sorted(&place.log()));
}

#[test]
fn a_log_is_closed_to_other_users() {
    let place = Scratch::with_source();
    let ended = once(&place, "new/log");
    assert_eq!(ended.code, Some(0));
    let mode = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(place.at(path)).expect("it exists").mode() & 0o007
    };
    assert_eq!((mode("new"), mode("new/log")), (0, 0));
}

#[test]
fn half_a_line_from_before_is_ended_first() {
    let place = Scratch::with_source();
    place.write("log", "half a li");
    place.sync();
    assert!(place.log().starts_with("half a li\n20"), "{}", place.log());
}

#[test]
fn a_log_that_is_a_fifo_without_a_reader_stops_nothing() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    rustix::fs::mkfifoat(rustix::fs::CWD, place.at("fifo"), rustix::fs::Mode::RWXU).expect("made");
    let ended = once(&place, "fifo");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(count(&ended.stderr, "ERROR log Cannot write the log file"), 1, "{ended:?}");
    assert_mirrored(&place);
}

#[test]
fn a_log_that_is_a_fifo_that_nobody_empties_stops_nothing() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    rustix::fs::mkfifoat(rustix::fs::CWD, place.at("fifo"), rustix::fs::Mode::RWXU).expect("made");
    // Opened for reading and writing, so that opening the FIFO does not block; nothing is read.
    let _reader = File::options().read(true).write(true).open(place.at("fifo")).expect("opened");
    let ended = once(&place, "fifo");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_mirrored(&place);
}

/// The lines of a log and of its rotated files, oldest first.
fn with_rotated(place: &Scratch, log: &str) -> String {
    let mut names = (1..=999).map(|number| format!("{log}.{number}")).take_while(|name| place.has(name));
    let rotated: Vec<String> = names.by_ref().collect();
    rotated.iter().rev().map(|name| place.read(name)).collect::<String>() + &place.read(log)
}

#[test]
fn a_log_is_rotated_by_its_size_and_has_the_same_lines_as_the_console() {
    for form in ["text", "json"] {
        let place = Scratch::with_source();
        for number in 0..200 {
            place.write(format!("source/{number}"), "content");
        }
        let ended = place.run(&format!("--once --log-format {form} --log-max-size 2kB --log-keep 900"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(place.has("log.5") && place.read("log.1").len() <= 2000, "{ended:?}");
        let mut number = 1;
        while place.has(format!("log.{number}")) {
            let text = place.read(format!("log.{number}"));
            assert!(text.ends_with('\n') && text.len() <= 2000, "{text}");
            number += 1;
        }
        assert_eq!(sorted(&with_rotated(&place, "log")), sorted(&ended.console()), "{form}");
    }
}

#[test]
fn as_many_rotated_logs_are_kept_as_were_asked_for_and_off_rotates_nothing() {
    let place = Scratch::with_source();
    for number in 0..100 {
        place.write(format!("source/{number}"), "content");
    }
    let logs = |place: &Scratch| {
        let mut names = place.names("");
        names.retain(|name| name.to_string_lossy().starts_with("log"));
        names
    };
    for off in ["off", "0"] {
        assert_eq!(place.run(&format!("--once -v --log-max-size {off}")).code, Some(0));
        assert_eq!(logs(&place), ["log"]);
    }
    place.run("--once -v --log-max-size 1000B --log-keep 3");
    assert_eq!(logs(&place), ["log", "log.1", "log.2", "log.3"]);
    // What is there already counts.
    assert!(place.read("log.3").len() <= 1000);
}

#[test]
fn a_log_that_cannot_be_rotated_is_told_once_and_goes_on() {
    let place = Scratch::of_ordinary_user();
    place.folder("logs");
    place.write("logs/log", "");
    place.mode("logs", 0o555);
    for number in 0..30 {
        place.write(format!("source/{number}"), "content");
    }
    let ended = start(place.with(ROOTS, "--once --log_file logs/log --log-max-size 500B")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = lines_with(&ended.console(), "WARN  log Cannot rotate the log file ");
    assert_eq!(told.len(), 1, "{ended:?}");
    assert!(told[0].ends_with("Permission denied (os error 13); lines go on into the same file"), "{told:?}");
    // Without times: the line about the rotation has one of its own in the file.
    let [mut log, mut console] = [place.read("logs/log"), ended.console()].map(|text| lines_with(&text, ""));
    log.sort();
    console.sort();
    assert_eq!(log, console);
    assert_eq!(place.names("logs"), ["log"]);
}

#[test]
fn a_log_on_a_descriptor_is_never_rotated() {
    let place = Scratch::with_source();
    for number in 0..30 {
        place.write(format!("source/{number}"), "content");
    }
    let mut command = place.with(ROOTS, "--once --log_file /dev/stderr --log-max-size 500B");
    let file = File::create(place.at("captured")).expect("created");
    let status = command.stdout(Stdio::null()).stderr(file).status().expect("it runs");
    assert_eq!(status.code(), Some(0));
    assert_eq!(count(&place.read("captured"), " create "), 30);
    assert!(!place.has("captured.1"));
}

#[test]
fn a_dash_is_no_log_file_and_no_file_of_that_name() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let ended = once(&place, "-");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains(" create file ") && !ended.stdout.contains(" log "), "{ended:?}");
    assert!(!place.has("-"));
    let running = place.started(&mut place.with(ROOTS, "--log_file - --interval 1h"));
    running.stop();
    assert!(!place.has("-"));
    assert_eq!(once(&place, "./-").code, Some(0));
    assert!(place.read("-").contains("pass 1 done"));
}

#[test]
fn quiet_repeated_passes_show_their_ends() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let running = start(place.command("--interval 1h -q"));
    running.hears("pass 1 done");
    let ended = running.stop();
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    assert_eq!(ended.stderr, "");
    assert!(place.log().contains(" create file ") && place.log().contains("pass 1 started"));
}

/// Files that nobody may read.
fn closed(place: &Scratch, numbers: std::ops::Range<u32>) {
    for number in numbers {
        place.write(format!("source/{number:05}"), "content");
        place.mode(format!("source/{number:05}"), 0o000);
    }
}

#[test]
fn many_problems_of_one_kind_are_summed_up_and_not_told_again_in_the_next_pass() {
    let place = Scratch::of_ordinary_user();
    closed(&place, 0..500);
    let running = place.start("");
    running.pass_now();
    closed(&place, 500..502);
    running.pass_now();
    let ended = running.stop();
    let what = "Cannot read the source file: Permission denied (os error 13);";
    assert_eq!(count(&ended.stderr, " problem "), 12, "{ended:?}");
    assert_eq!(count(&ended.stderr, " problem 00500 ") + count(&ended.stderr, " problem 00501 "), 2);
    let summed = [
        format!("WARN  problems 490 more of this kind: {what} with -v each of them is named"),
        format!("WARN  problems 500 the same as in pass 1: {what} pass 1 names some of them"),
        format!("WARN  problems 500 the same as in pass 2: {what} pass 3 names some of them"),
    ];
    assert_eq!(lines_with(&ended.stderr, " problems "), summed, "{ended:?}");
    assert_eq!(lines_with(&place.log(), " problems ")[..1], summed[..1]);
    assert!(ended.stdout.contains(" old but for 500 problems\n"), "{ended:?}");
    assert!(ended.stdout.contains(" old but for 502 problems\n"), "{ended:?}");
}

#[test]
fn json_and_verbose_name_every_problem_in_every_pass() {
    for options in ["--log-format json", "-v"] {
        let place = Scratch::of_ordinary_user();
        closed(&place, 0..30);
        let running = start(place.command("--interval 1h").args(options.split(' ')));
        running.hears(if options == "-v" { "pass 1 done" } else { "\"outcome\":\"done\"" });
        let ended = running.stop();
        let named = count(&ended.stderr, " problem ") + count(&ended.stderr, "\"event\":\"problem\"");
        assert_eq!(named, 30, "{options}: {ended:?}");
        assert!(!ended.console().contains(" problems ") || options == "-v", "{options}: {ended:?}");
    }
}

#[test]
fn ten_problems_of_one_kind_are_all_told_in_every_pass() {
    let place = Scratch::of_ordinary_user();
    closed(&place, 0..10);
    let running = place.start("");
    running.pass_now();
    let ended = running.stop();
    assert_eq!(count(&ended.stderr, " problem "), 20, "{ended:?}");
    assert_eq!(lines_with(&ended.stderr, "WARN  problems ").len(), 0, "{ended:?}");
}
