//! The plan of `--dry-run` in a pipe: lines, JSON, the hold, and the exit codes. `tests/machine/plans.rs` has terminals.

use crate::support::program::{Ended, count, start};
use crate::support::scratch::Scratch;
use insta::assert_snapshot;
use serde_json::Value;
use std::fs;

/// A tree in which a pass would do something of most kinds.
fn place() -> Scratch {
    let place = Scratch::with_source();
    for name in ["old/a", "old/b", "edited", "same", "gone"] {
        place.write(format!("source/{name}"), format!("content of {name}"));
    }
    for number in 0..9 {
        place.write(format!("source/folder/{number}"), "content");
    }
    place.sync();
    place.remove("log");
    place.write("source/new", "new");
    place.write("source/two words/file", "content");
    place.write("source/edited", "edited");
    place.rename("source/old", "source/moved");
    place.remove("source/gone");
    place.mode("source/folder", 0o700);
    place
}

fn dry(place: &Scratch, options: &str) -> Ended {
    let ended = start(place.with("--source source --replica replica --dry-run", options)).end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    ended
}

fn objects(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_plan_that_cannot_be_written_is_an_error() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    for form in ["", "--json"] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("opened");
        let mut command = place.command(&format!("--dry-run {form}"));
        let output = command.stdout(full).output().expect("run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{form}: {said}");
        assert!(said.contains("Cannot write the plan to standard output"), "{form}: {said}");
    }
}

#[test]
fn a_pipe_gets_a_line_for_each_change_and_nothing_else() {
    let place = place();
    let lines = dry(&place, "");
    place.settled().bind(|| assert_snapshot!("lines", lines.stdout));
    assert_eq!(dry(&place, "-q").stdout, "");
    assert_eq!(dry(&place, "--color always").stdout, lines.stdout, "a script gets no colours");
    let verbose = dry(&place, "-v").stdout;
    assert_eq!(count(&verbose, "same\t15\tsame\n"), 1, "{verbose}");
    let changes = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("same\t")).map(str::to_owned).collect()
    };
    assert_eq!(changes(&verbose), changes(&lines.stdout));
}

#[test]
fn json_has_an_object_for_each_change_and_one_with_the_totals() {
    let place = place();
    let all = objects(&dry(&place, "--json"));
    let (last, changes) = all.split_last().expect("objects");
    assert!(changes.iter().all(|change| change["event"] == "planned"), "{all:?}");
    assert_eq!(changes.len(), dry(&place, "").stdout.lines().count());
    assert_eq!(all[0]["schema_version"], 1);
    assert!(all[1..].iter().all(|object| object.get("schema_version").is_none()), "{all:?}");
    assert_eq!((&last["event"], &last["outcome"]), (&"pass_ended".into(), &"planned".into()));
    assert_eq!((&last["created"], &last["problems"]), (&3.into(), &0.into()));
    let of = |verb: &str| {
        let found = last["changes"].as_array().expect("a list").iter().find(|of| of["verb"] == verb);
        found.unwrap_or_else(|| panic!("{verb}: {last}")).clone()
    };
    assert_eq!((&of("create")["changes"], &of("create")["entries"]), (&2.into(), &3.into()));
    assert_eq!(of("create")["bytes"], 10);
    assert_eq!(of("move")["changes"], 1);
    let quiet = objects(&dry(&place, "--json -q"));
    assert_eq!(quiet.len(), 1, "{quiet:?}");
    assert_eq!((&quiet[0]["schema_version"], &quiet[0]["outcome"]), (&1.into(), &"planned".into()));
    assert_eq!(objects(&dry(&place, "--log-format json")).len(), all.len());
}

#[test]
fn json_without_a_dry_run_is_refused_with_what_to_type_instead() {
    let place = Scratch::with_source();
    for options in ["--once --json", "--interval 1h --log_file log --json"] {
        let ended = start(place.with("--source source --replica replica", options)).end();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(
            ended.stderr.contains("add --dry-run") && ended.stderr.contains("--log-format json"),
            "{ended:?}"
        );
    }
    assert!(!place.has("replica"));
}

#[test]
fn a_plan_that_would_be_held_is_shown_with_the_hold_and_exit_code_25() {
    let place = place();
    for name in ["folder", "same", "edited"] {
        fs::rename(place.at(format!("source/{name}")), place.at(format!("source/moved/{name}.old")))
            .expect("renamed");
    }
    place.remove("source/moved");
    let roots = "--source source --replica replica --dry-run --max-delete 3";
    let ended = start(place.with(roots, "")).end();
    assert_eq!(ended.code, Some(25), "{ended:?}");
    assert!(ended.stdout.contains("delete\t63\tfolder/\t9 files\n"), "{ended:?}");
    assert_eq!(count(&ended.stderr, "ERROR pass 1 held: the plan would delete "), 1, "{ended:?}");
    let ended = start(place.with(roots, "--json")).end();
    assert_eq!(ended.code, Some(25), "{ended:?}");
    let all = objects(&ended);
    let last = all.last().expect("objects");
    assert_eq!((&last["outcome"], &last["hold"]), (&"held".into(), &"too_many_deletions".into()));
    assert!(last["message"].as_str().is_some_and(|words| words.contains("--max-delete allows 3")), "{last}");
}

#[test]
fn problems_go_to_standard_error_and_into_the_json() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "content");
    place.sync();
    place.mode("source/secret", 0o000);
    place.write("source/new", "content");
    let roots = "--source source --replica replica --dry-run";
    let ended = start(place.with(roots, "")).end();
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(23), 2), "{ended:?}");
    assert_eq!(count(&ended.stderr, "WARN  problem secret "), 1, "{ended:?}");
    let ended = start(place.with(roots, "--json")).end();
    let all = objects(&ended);
    let problems: Vec<&Value> = all.iter().filter(|object| object["event"] == "problem").collect();
    assert_eq!(
        (ended.code, problems.len(), &problems[0]["path"]),
        (Some(23), 1, &"secret".into()),
        "{all:?}"
    );
    assert_eq!(all.last().expect("objects")["problems"], 1);
}

#[test]
fn the_reader_of_the_plan_may_leave_early() {
    let place = Scratch::with_source();
    for number in 0..3000 {
        place.write(format!("source/a rather long name of a file, number {number}"), "");
    }
    place.write("replica/extra", "");
    let program = place.with("--source source --replica replica", "--dry-run");
    let words =
        program.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("{} {words} | head -1", program.get_program().to_string_lossy())]);
    let ended = start(shell.current_dir(place.path()).env("XDG_STATE_HOME", place.at("state"))).end();
    assert_eq!((ended.stdout.lines().count(), ended.stderr.as_str()), (1, ""), "{ended:?}");
}
