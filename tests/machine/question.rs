//! The question before a first pass that deletes. The terminal is a pseudo-terminal of `script(1)`.

use crate::Test;
use crate::support::leave_out::leave_out;
use crate::support::program::{Ended, start};
use crate::support::scratch::Scratch;
use std::fs;
use std::io::{PipeWriter, Write, pipe};
use std::process::{Command, Stdio};

pub(crate) const TESTS: &[Test] = tests![
    a_first_pass_that_deletes_asks_and_an_answer_other_than_yes_writes_nothing,
    after_a_yes_the_pass_goes_on_and_later_ones_do_not_ask,
    nobody_is_asked_where_nothing_is_deleted_or_it_is_a_dry_run_or_nobody_can_answer,
    a_signal_ends_the_wait_for_an_answer,
    with_an_interval_only_the_first_pass_asks_and_a_no_ends_the_program,
];

const QUESTION: &str = "Go on? [y/N] ";
const ONCE: &str = "--once";

/// A source with a file, and a replica with others.
fn unknown_replica() -> Scratch {
    let place = Scratch::new();
    place.write("source/file", "content");
    for number in 0..5 {
        place.write(format!("replica/old/{number}"), "not known");
    }
    place.write("replica/one", "of another program");
    place
}

/// The program in a terminal. The pipe leads to its keyboard.
fn in_terminal(place: &Scratch, words: &str) -> (Command, PipeWriter) {
    if Command::new("script").arg("--version").output().is_err() {
        leave_out("script(1) is not installed");
    }
    let (keyboard, typed) = pipe().expect("a pipe");
    let bare = place.bare();
    let program = bare.get_program().to_string_lossy().into_owned();
    let mut command = Command::new("script");
    // A shell that waits for it would be ended by the signal of the keyboard as well.
    let exec = if words.contains('&') { "" } else { "exec" };
    let run =
        format!("{exec} {program} --source source --replica replica --log_file log --color never {words}");
    command.args(["-qec", &run, "/dev/null"]).env("SHELL", "/bin/sh").env("XDG_STATE_HOME", place.state());
    command.current_dir(place.path()).stdin(keyboard);
    (command, typed)
}

/// Runs the program, and types something as soon as it asks.
fn answered(place: &Scratch, words: &str, answer: &str) -> Ended {
    let (command, mut typed) = in_terminal(place, words);
    let running = start(command);
    running.hears(QUESTION);
    typed.write_all(answer.as_bytes()).expect("typed");
    running.end()
}

fn unasked(place: &Scratch, words: &str) -> Ended {
    let (command, _typed) = in_terminal(place, words);
    let ended = start(command).end();
    assert!(!ended.console().contains(QUESTION), "{ended:?}");
    ended
}

fn a_first_pass_that_deletes_asks_and_an_answer_other_than_yes_writes_nothing() {
    for answer in ["\n", "n\n", "no\n", "yess\n", "\u{4}"] {
        let place = unknown_replica();
        let ended = answered(&place, ONCE, answer);
        let said = ended.console().replace('\r', "");
        assert_eq!(ended.code, Some(25), "{answer:?}: {ended:?}");
        let question = "This would delete 7 entries (63 B) from replica, which file-sync has never\nwritten:\n  \
                        old (6 entries)\n  one\nGo on? [y/N] ";
        assert!(said.contains(question), "{said}");
        assert!(said.contains("pass 1 held: the answer was no: it would delete 7 entries (63 B)"), "{said}");
        assert!(place.has("replica/one") && place.has("replica/old/4") && !place.has("replica/file"));
        assert!(place.log().contains("pass 1 held: the answer was no"), "{}", place.log());
    }
}

fn after_a_yes_the_pass_goes_on_and_later_ones_do_not_ask() {
    for answer in ["y\n", "YES\n", " yes \n"] {
        let place = unknown_replica();
        let ended = answered(&place, ONCE, answer);
        assert_eq!(ended.code, Some(0), "{answer:?}: {ended:?}");
        assert!(!place.has("replica/one") && place.has("replica/file"));
        assert!(
            place.log().contains("which file-sync had never written; that was confirmed: old (6), one (1)")
        );
        fs::remove_file(place.at("source/file")).expect("removed");
        assert_eq!(unasked(&place, ONCE).code, Some(0));
        assert!(!place.has("replica/file"));
    }
}

fn nobody_is_asked_where_nothing_is_deleted_or_it_is_a_dry_run_or_nobody_can_answer() {
    let place = unknown_replica();
    assert_eq!(unasked(&place, "--dry-run").code, Some(0));
    assert!(place.has("replica/one"));
    assert_eq!(unasked(&place, "--once --yes").code, Some(0));
    assert!(!place.has("replica/one"));

    let place = unknown_replica();
    place.remove("replica/old");
    place.remove("replica/one");
    place.write("replica/file", "to be overwritten");
    assert_eq!(unasked(&place, ONCE).code, Some(0));
    assert!(!place.log().contains("never written"), "{}", place.log());

    // In the background nobody can answer: the keyboard is the shell's.
    for behind in ["& wait $!", "</dev/null", "2>errors"] {
        let place = unknown_replica();
        let ended = unasked(&place, &format!("{ONCE} {behind}"));
        assert_eq!(ended.code, Some(0), "{behind}: {ended:?}");
        assert!(!place.has("replica/one"));
        let told = "This pass deletes 7 entries (63 B) from replica, which file-sync has never written: old (6), one (1)";
        assert!(place.log().contains(told), "{behind}: {}", place.log());
    }
    // Without an index each pass would ask.
    let place = unknown_replica();
    place.write("state/file-sync", "no folder");
    let ended = unasked(&place, ONCE);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(place.log().contains("without an index it is not known"), "{}", place.log());
}

fn a_signal_ends_the_wait_for_an_answer() {
    for (words, code) in [(ONCE, 20), ("--interval 1h", 0)] {
        let place = unknown_replica();
        let ended = answered(&place, words, "\u{3}");
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(place.has("replica/one") && !place.has("replica/file"));
        assert!(place.log().contains("pass 1 stopped by SIGINT"), "{}", place.log());
    }
}

fn with_an_interval_only_the_first_pass_asks_and_a_no_ends_the_program() {
    let place = unknown_replica();
    let ended = answered(&place, "--interval 1h", "n\n");
    assert_eq!(ended.code, Some(25), "{ended:?}");
    assert!(place.has("replica/one") && !place.has("replica/file"));
    let (mut command, mut typed) = in_terminal(&place, "--interval 1s");
    let running = start(command.stderr(Stdio::piped()));
    running.hears(QUESTION);
    typed.write_all(b"y\n").expect("typed");
    running.hears("pass 1 done");
    fs::remove_file(place.at("source/file")).expect("removed");
    running.hears("delete   file");
    typed.write_all(b"\x03").expect("typed");
    let ended = running.end();
    assert_eq!((ended.code, ended.console().matches(QUESTION).count()), (Some(0), 1), "{ended:?}");
}
