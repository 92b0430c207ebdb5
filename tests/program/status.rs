//! `status` and `history`: what is told of pairs, by the rows that the passes have left.

use crate::support::program::{Ended, Running, count, lines_with, start};
use crate::support::scratch::Scratch;
use insta::{Settings, assert_snapshot};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Runs a command of the program.
fn ask(place: &Scratch, words: &str) -> Ended {
    let mut command = place.bare();
    start(command.args(words.split_whitespace())).end()
}

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.stdout.lines().count(), 1, "one document: {ended:?}");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// The only pair of a status.
fn pair(place: &Scratch) -> (Option<i32>, Value) {
    let ended = ask(place, "status --json");
    let document = json(&ended);
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["pairs"].as_array().map(Vec::len), Some(1), "{document}");
    (ended.code, document["pairs"][0].clone())
}

/// The databases.
fn databases(place: &Scratch) -> Vec<PathBuf> {
    let names = place.names("state/file-sync").into_iter().map(|name| place.at("state/file-sync").join(name));
    names.filter(|path| path.extension().is_some_and(|extension| extension == "db")).collect()
}

/// Changes the only database.
fn edit(place: &Scratch, sql: &str) {
    let [path] = databases(place).try_into().expect("one database");
    Connection::open(path).and_then(|database| database.execute_batch(sql)).expect("changed");
}

/// Makes all passes so many seconds older.
fn age(place: &Scratch, seconds: i64) {
    let millis = seconds * 1000;
    edit(place, &format!("UPDATE pass SET started = started - {millis}, ended = ended - {millis}"));
}

/// Snapshot settings that replace moments, ages and numbers of processes.
fn settled(place: &Scratch) -> Settings {
    let mut settings = place.settled();
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "[time]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[the moment it was]");
    settings.add_filter(r"-[0-9a-f]{16}\.db", "-[digest].db");
    settings.add_filter(r#""process":\d+"#, r#""process":[id]"#);
    settings.add_filter(r#"_seconds":(0|\d\.\d+),"#, r#"_seconds":[seconds],"#);
    settings.add_filter(r"\b0\.\d s", "0.0 s");
    settings.add_filter(r"  [0-5] s ", "  0 s ");
    // The width of a column depends on the scratch folder.
    settings.add_filter(r" {2,}", "  ");
    settings
}

#[test]
fn help_is_worth_reading() {
    let place = Scratch::with_source();
    for command in ["status", "history"] {
        let ended = ask(&place, &format!("{command} --help"));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.stdout.lines().all(|line| line.chars().count() <= 100), "{ended:?}");
        assert_snapshot!(format!("help_{command}"), ended.stdout);
    }
}

#[test]
fn without_a_pass_there_is_nothing_to_tell() {
    let place = Scratch::with_source();
    for words in ["status", "status --replica replica", "status --source source --state-dir nowhere"] {
        let ended = ask(&place, words);
        assert_eq!(ended.code, Some(23), "{words}: {ended:?}");
        assert!(ended.stdout.starts_with("No pass ") && ended.stdout.contains(" is known in "), "{ended:?}");
    }
    let ended = ask(&place, "status --format nagios");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), "FILE-SYNC UNKNOWN: no pass is known\n"));
    let ended = ask(&place, "history");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(place.names(""), ["source"], "nothing is created");
    // Neither does a dry run leave anything.
    assert_eq!(place.run("--dry-run").code, Some(0));
    assert_eq!(ask(&place, "status").code, Some(23));
}

#[test]
fn a_pass_that_was_done_is_told_in_each_form() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    assert_eq!(place.run("--once --rpo 1h").code, Some(0));
    let settled = settled(&place);
    for (name, words) in [
        ("text", "status"),
        ("json", "status --json"),
        ("history", "history"),
        ("history_json", "history --json"),
    ] {
        let ended = ask(&place, words);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words}: {ended:?}");
        settled.bind(|| assert_snapshot!(format!("done_{name}"), ended.stdout));
    }
    let ended = ask(&place, "status --format nagios");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (line, data) = ended.stdout.trim_end().split_once(" | ").expect("performance data");
    assert_eq!(line, "FILE-SYNC OK: 1 ok");
    assert!(data.starts_with("'replica_age'=") && data.ends_with("s;2700;3600"), "{data}");
}

#[test]
fn the_age_is_judged_against_the_rpo() {
    let place = Scratch::with_source();
    assert_eq!(place.run("--once --rpo 1h").code, Some(0));
    for (older, state, code, nagios) in [(2_000, "ok", 0, 0), (1_000, "at_risk", 0, 1), (700, "late", 23, 2)]
    {
        age(&place, older);
        let (is, pair) = pair(&place);
        assert_eq!((is, &pair["state"]), (Some(code), &state.into()), "{pair}");
        assert_eq!(pair["rpo_met"], code == 0);
        assert_eq!(ask(&place, "status").code, Some(code));
        assert_eq!(ask(&place, "status --format nagios").code, Some(nagios));
    }
    let ended = ask(&place, "status");
    settled(&place).bind(|| assert_snapshot!("late", ended.stdout));
}

#[test]
fn a_pair_without_an_rpo_has_an_age_and_does_not_fail() {
    let place = Scratch::with_source();
    place.sync();
    age(&place, 40 * 86_400);
    let (code, pair) = pair(&place);
    assert_eq!((code, &pair["state"]), (Some(0), &"ok".into()));
    assert!(pair["replica_age_seconds"].as_f64() > Some(3e6) && pair.get("rpo_seconds").is_none(), "{pair}");
    let ended = ask(&place, "status --format nagios");
    assert!(ended.code == Some(0) && !ended.stdout.contains(';'), "{ended:?}");
}

#[test]
fn problems_are_those_of_the_last_pass() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "content");
    place.mode("source/secret", 0o000);
    assert_eq!(place.run("--once --rpo 1h").code, Some(23));
    let (code, with) = pair(&place);
    assert_eq!((code, &with["state"], &with["problems"]), (Some(0), &"problems".into(), &1.into()));
    assert_eq!(ask(&place, "status --format nagios").code, Some(1));
    place.mode("source/secret", 0o600);
    place.sync();
    let (_, without) = pair(&place);
    assert_eq!((&without["state"], &without["problems"]), (&"ok".into(), &0.into()));
    assert_eq!(without["rpo_seconds"], 3600.0, "a run without --rpo keeps it");
}

#[test]
fn rotted_files_are_told_without_a_promise_about_the_replica() {
    let place = Scratch::with_source();
    place.sync();
    edit(&place, r#"UPDATE pass SET problems = 2, rotted = 1, counts = '{"problems":2,"rotted":1}'"#);
    let (code, pair) = pair(&place);
    assert_eq!((code, &pair["state"], &pair["rotted"]), (Some(0), &"rotted".into(), &1.into()));
    let shown = ask(&place, "status").stdout;
    assert!(shown.contains(" needs a decision: 1 source file seems to have rotted"), "{shown}");
    assert!(!shown.contains("good copies") && shown.contains("whether its replica still has"), "{shown}");
    assert_eq!(ask(&place, "status --format nagios").code, Some(2));
}

#[test]
fn passes_that_were_held_are_counted_since_the_last_one_that_was_done() {
    let place = Scratch::with_source();
    place.sync();
    let hold = "INSERT INTO pass (number, started, ended, outcome, process, mark, message) \
                SELECT number, started + 1000, ended + 1000, 'held', process, mark, 'the disk\nis gone' FROM pass LIMIT 1";
    edit(&place, &format!("{hold}; {hold}"));
    let (code, pair) = pair(&place);
    // It is within its RPO: it has none.
    assert_eq!((code, &pair["state"], &pair["held_passes"]), (Some(0), &"held".into(), &2.into()));
    assert!(pair["message"].as_str().expect("a reason").contains("the disk"), "{pair}");
    assert_eq!(ask(&place, "status --format nagios").code, Some(2));
    let ended = ask(&place, "status");
    settled(&place).bind(|| assert_snapshot!("held", ended.stdout));
    place.sync();
    assert_eq!(self::pair(&place).1["held_passes"], 0);
}

#[test]
fn a_held_pass_and_a_failed_one_leave_their_message() {
    let place = Scratch::with_source();
    place.write_zeros("source/large", 64 << 20);
    place.folder("replica");
    place.write_zeros("replica/large", 64 << 20);
    let running = start(place.command("--interval 1h"));
    running.hears("pass 1 started");
    place.rename("source", "elsewhere");
    place.folder("source");
    running.hears("ERROR pass 1 held: ");
    let (_, held) = pair(&place);
    assert_eq!((&held["state"], &held["last_pass"]["outcome"]), (&"held".into(), &"held".into()), "{held}");
    place.remove("source");
    running.signal(Signal::USR1);
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let (code, failed) = pair(&place);
    assert_eq!((code, &failed["last_pass"]["outcome"]), (Some(23), &"failed".into()));
    assert!(failed["last_pass"]["message"].as_str().expect("why").contains("does not exist"), "{failed}");
    let shown = ask(&place, "history").stdout;
    assert!(count(&shown, "  failed  ") == 1 && count(&shown, "  held  ") == 1, "{shown}");
}

/// A pass that takes longer than the test.
fn in_a_pass(place: &Scratch) -> Running {
    place.sync();
    place.write_zeros("source/large", 1 << 30);
    let running = start(place.command("--interval 1h"));
    running.hears("pass 1 started");
    running.copies_into(&place.at("replica"));
    running.suspend();
    running
}

#[test]
fn a_pass_that_runs_is_told_and_one_that_was_killed_too() {
    let place = Scratch::with_source();
    let running = in_a_pass(&place);
    let (_, before) = pair(&place);
    assert_eq!((&before["state"], &before["last_pass"]["outcome"]), (&"ok".into(), &"running".into()));
    assert!(before["running_since"].is_string() && before["last_done"]["outcome"] == "done", "{before}");
    let shown = ask(&place, "status").stdout;
    assert!(shown.contains("  running for "), "{shown}");
    let (ended, _) = running.stop_with(Signal::KILL);
    assert_eq!(ended.code, None);
    let (code, after) = pair(&place);
    assert_eq!((code, &after["state"]), (Some(0), &"failing".into()), "{after}");
    assert_eq!((&after["last_pass"]["outcome"], after.get("running_since")), (&"killed".into(), None));
    assert_eq!(ask(&place, "status --format nagios").code, Some(1));
    // A later pass knows it, too.
    place.remove("source/large");
    place.sync();
    let (_, later) = pair(&place);
    assert_eq!(later["state"], "ok");
    assert!(ask(&place, "history").stdout.contains("  killed  "));
}

#[test]
fn beside_a_running_service_the_next_pass_is_known() {
    let place = Scratch::with_source();
    let running = place.start("");
    let (code, pair) = pair(&place);
    assert_eq!((code, &pair["state"], &pair["interval_seconds"]), (Some(0), &"ok".into(), &3600.0.into()));
    assert_eq!((&pair["rpo_seconds"], pair["next_pass"].is_string()), (&7200.0.into(), true));
    let shown = ask(&place, "status").stdout;
    assert!(shown.contains("  in 59 min") || shown.contains("  in 1 h"), "{shown}");
    running.pass_now();
    assert_eq!(ask(&place, "history --limit 1").stdout.lines().count(), 3);
    let last = json(&ask(&place, "history --json"));
    assert_eq!(last["pairs"][0]["passes"][0]["pass"], 2);
    running.stop();
    assert!(ask(&place, "status").stdout.contains("  no process"));
}

#[test]
fn a_process_that_another_one_keeps_out_leaves_no_row() {
    let place = Scratch::with_source();
    let running = place.start("");
    assert_eq!(place.run("--once").code, Some(1));
    assert_eq!(pair(&place).1["last_pass"]["outcome"], "done");
    running.stop();
}

#[test]
fn what_cannot_be_read_is_told_and_the_others_are_told_as_well() {
    let place = Scratch::with_source();
    place.sync();
    for other in ["damaged", "later"] {
        let roots = format!("--source source --replica {other} --once --log_file log");
        assert_eq!(start(place.bare().args(roots.split_whitespace())).end().code, Some(0));
    }
    let of = |name: &str| {
        let path = databases(&place).into_iter().find(|path| path.to_string_lossy().contains(name));
        path.expect("a database")
    };
    fs::write(of("/damaged-"), [b'x'; 9000]).expect("written");
    Connection::open(of("/later-")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let ended = ask(&place, "status");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    settled(&place).bind(|| assert_snapshot!("unreadable", ended.stdout));
    let document = json(&ask(&place, "status --json"));
    let lengths = ["pairs", "unreadable"].map(|name| document[name].as_array().map(Vec::len));
    assert_eq!(lengths, [Some(1), Some(2)], "{document}");
    let ended = ask(&place, "status --format nagios");
    assert!(ended.code == Some(3) && ended.stdout.contains(" cannot be read; "), "{ended:?}");
    let ended = ask(&place, "history");
    assert_eq!((ended.code, lines_with(&ended.stderr, "index").len()), (Some(1), 2), "{ended:?}");
    // Another pair has nothing to do with it.
    let ended = ask(&place, "status --replica replica");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn pairs_are_chosen_by_their_roots_in_any_spelling() {
    let place = Scratch::with_source();
    place.sync();
    // A slash at the end makes no other pair.
    start(place.with("--source source/ --replica ./replica/", "--once")).end();
    start(place.with("--source source --replica other", "--once")).end();
    let here = place.path().to_string_lossy().into_owned();
    let cases = [
        ("".to_owned(), 2),
        ("--source source".to_owned(), 2),
        ("--replica replica".to_owned(), 1),
        ("--replica ./replica/".to_owned(), 1),
        (format!("--replica {here}/replica --source {here}/source"), 1),
        ("--replica elsewhere".to_owned(), 0),
        ("--state-dir state/file-sync".to_owned(), 2),
    ];
    for (words, expected) in cases {
        let document = json(&ask(&place, &format!("status --json {words}")));
        assert_eq!(document["pairs"].as_array().map(Vec::len), Some(expected), "{words}: {document}");
    }
    for (words, code) in [
        ("status --replica=", 2),
        ("status --format xml", 2),
        ("history --limit 0", 2),
        ("status --rpo 1h", 2),
    ] {
        assert_eq!(ask(&place, words).code, Some(code), "{words}");
    }
}

#[test]
fn a_run_tells_when_its_rpo_is_missed_and_met_again() {
    let place = Scratch::with_source();
    assert_eq!(place.run("--interval 10 --rpo 10").code, Some(2), "it could not be met");
    place.write("source/file", "content");
    let running = place.started(&mut place.command("--interval 2 --rpo 4"));
    running.suspend();
    std::thread::sleep(std::time::Duration::from_secs(5));
    running.signal(Signal::CONT);
    running.hears("ERROR rpo of 4 s missed: the replica is ");
    running.hears("INFO  rpo of 4 s met again: the replica is 0 s old");
    let ended = running.stop();
    assert_eq!(count(&ended.stderr, " missed: "), 1, "{ended:?}");
    // The next process knows the age by the index.
    age(&place, 60);
    let running = start(place.command("--interval 2 --rpo 4"));
    running.hears("ERROR rpo of 4 s missed: the replica is 1 min");
    running.hears("met again");
    running.stop();
}

#[test]
fn an_index_that_cannot_be_written_costs_no_pass() {
    let place = Scratch::of_ordinary_user();
    place.write("source/file", "content");
    place.sync();
    let [database] = databases(&place).try_into().expect("one database");
    fs::set_permissions(&database, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    place.mode("state/file-sync", 0o500);
    let ended = place.run("--once");
    place.mode("state/file-sync", 0o700);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(count(&ended.stderr, "WARN  notice Cannot write the index "), 1, "{ended:?}");
    assert_eq!(count(&ended.stderr, "WARN "), 1, "{ended:?}");
}
