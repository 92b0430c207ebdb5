//! The plan of `--dry-run` on a terminal: a pseudo-terminal of `script(1)`, whose width `stty` sets.

use crate::Test;
use crate::support::leave_out::leave_out;
use crate::support::program::start;
use crate::support::scratch::Scratch;
use std::process::Command;

pub(crate) const TESTS: &[Test] = tests![
    a_terminal_gets_a_summary_that_fits_its_width,
    colours_are_for_terminals_and_nobody_who_refuses_them,
    a_hold_is_told_once_with_the_way_out,
];

/// Runs the program in a terminal of this width, and returns its lines and exit code.
fn shown(place: &Scratch, columns: usize, options: &str) -> (Vec<String>, Option<i32>) {
    if Command::new("script").arg("--version").output().is_err() {
        leave_out("script(1) is not installed");
    }
    let program = place.bare();
    let program = program.get_program().to_string_lossy();
    let script =
        format!("stty cols {columns}; exec {program} --source source --replica replica --dry-run {options}");
    let mut command = Command::new("script");
    command.args(["-qec", &script, "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm");
    command.env("SHELL", "/bin/sh").env("XDG_STATE_HOME", place.at("state")).current_dir(place.path());
    let ended = start(&mut command).end();
    (ended.stdout.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect(), ended.code)
}

fn place() -> Scratch {
    let place = Scratch::with_source();
    for number in 0..12 {
        place.write(format!("source/folder/a name of some length, number {number:02}"), "content");
    }
    place.write("source/gone", "content");
    place.sync();
    place.remove("source/gone");
    for number in 0..12 {
        place.write(format!("source/folder/a name of some length, number {number:02}"), "changed");
    }
    place
}

fn a_terminal_gets_a_summary_that_fits_its_width() {
    let place = place();
    for columns in [80, 40] {
        let (lines, code) = shown(&place, columns, "--color never");
        assert_eq!(code, Some(0), "{lines:?}");
        assert!(lines.iter().all(|line| line.chars().count() <= columns), "{lines:?}");
        for expected in [
            "source -> replica",
            "update    12 entries, 84 B",
            "  … and 7 more, -v shows all",
            "delete    1 entry, 7 B",
        ] {
            assert_eq!(lines.iter().filter(|line| **line == expected).count(), 1, "{expected}: {lines:?}");
        }
    }
    let (lines, _) = shown(&place, 80, "--color never -v");
    assert_eq!(lines.iter().filter(|line| line.contains("content differs")).count(), 12, "{lines:?}");
    let (lines, code) = shown(&place, 80, "-q");
    assert_eq!((lines, code), (Vec::new(), Some(0)));
}

fn colours_are_for_terminals_and_nobody_who_refuses_them() {
    let place = place();
    let (lines, _) = shown(&place, 80, "");
    assert!(lines.iter().any(|line| line.starts_with("\x1b[1;31mdelete\x1b[0m  ")), "{lines:?}");
    let (lines, _) = shown(&place, 80, "--color never");
    assert!(!lines.iter().any(|line| line.contains('\x1b')), "{lines:?}");
}

fn a_hold_is_told_once_with_the_way_out() {
    let place = place();
    let (lines, code) = shown(&place, 80, "--color never --max-change 5");
    let text = lines.join("\n");
    assert_eq!(code, Some(25), "{text}");
    assert_eq!(text.matches("would overwrite").count(), 1, "{text}");
    assert!(text.contains("A pass would be held and change nothing (exit code 25)\n"), "{text}");
    assert!(text.contains("file-sync approve") && text.contains("--max-change off"), "{text}");
}
