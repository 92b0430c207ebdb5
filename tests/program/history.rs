//! `history PATH`: what is told of one path, across moves, and what is not noted.

use crate::support::fsops::set_mtime;
use crate::support::program::{Ended, count, start, until};
use crate::support::scratch::Scratch;
use insta::{Settings, assert_snapshot};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

fn history(place: &Scratch, words: &str) -> Ended {
    start(place.bare().arg("history").args(words.split_whitespace())).end()
}

fn json(place: &Scratch, words: &str) -> Value {
    let ended = history(place, &format!("{words} --json"));
    assert_eq!((ended.stdout.lines().count(), ended.code), (1, Some(0)), "one document: {ended:?}");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// The verbs that are told of a path.
fn verbs(place: &Scratch, path: &str) -> Vec<String> {
    let document = json(place, path);
    let operations = document["pairs"][0]["operations"].as_array().expect("operations").clone();
    operations.iter().map(|operation| operation["verb"].as_str().expect("a word").to_owned()).collect()
}

/// The number of operations in the only index.
fn kept(place: &Scratch) -> i64 {
    let name = place.names("state/file-sync").into_iter().find(|name| name.as_bytes().ends_with(b".db"));
    let path = place.at("state/file-sync").join(name.expect("a database"));
    let sql = "SELECT coalesce(sum(count), 0) FROM operation";
    Connection::open(path).and_then(|index| index.query_row(sql, [], |row| row.get(0))).expect("read")
}

/// Snapshot settings that replace moments.
fn settled(place: &Scratch) -> Settings {
    let mut settings = place.settled();
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "[time]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[the moment it was]");
    settings
}

/// A file that is created, edited, moved with its folder and deleted.
fn with_story() -> Scratch {
    let place = Scratch::with_source();
    place.write("source/2026/tom.jpg", "kitten");
    place.write("source/2026/jim.jpg", "kitten");
    for path in ["source/2026/tom.jpg", "source/2026"] {
        set_mtime(&place.at(path), 1_700_000_000, 0).expect("set");
    }
    place.sync();
    place.write("source/2026/tom.jpg", "cat");
    place.sync();
    place.rename("source/2026", "source/cats");
    place.sync();
    place.remove("source/cats/tom.jpg");
    place.sync();
    place
}

#[test]
fn a_path_is_told_newest_first_and_across_moves() {
    let place = with_story();
    let settled = settled(&place);
    for (name, words) in [
        ("text", "source/cats/tom.jpg"),
        ("json", "source/cats/tom.jpg --json"),
        ("folder", "source/cats"),
        ("old_path", "replica/2026/jim.jpg"),
        ("unknown", "replica/none"),
    ] {
        let ended = history(&place, words);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words}: {ended:?}");
        settled.bind(|| assert_snapshot!(format!("path_{name}"), ended.stdout));
    }
    let ended = history(&place, "source/cats/tom.jpg --limit 2");
    assert_eq!(ended.stdout.lines().count(), 4, "{ended:?}");
}

#[test]
fn a_path_is_found_in_each_pair_that_it_lies_in_however_it_is_given() {
    let place = with_story();
    start(place.with("--source source --replica other", "--once")).end();
    let told = |words: &str| json(&place, words)["pairs"].as_array().map(Vec::len);
    assert_eq!(told("source/cats/jim.jpg"), Some(2));
    assert_eq!(told("other/cats/jim.jpg"), Some(1));
    assert_eq!(told("source/cats/jim.jpg --replica other"), Some(1));
    let absolute = place.at("source/cats/tom.jpg");
    let words = format!("{} --replica replica", absolute.display());
    assert_eq!(verbs(&place, &words), ["delete", "move", "update", "create"]);
    place.link("way", "source");
    assert_eq!(told("way/cats/jim.jpg"), Some(2), "through a symbolic link");
    assert_eq!(told("outside/../source/cats/jim.jpg"), Some(2));
    assert_eq!(told("source"), Some(2), "the roots themselves");
    let ended = history(&place, "elsewhere/file");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.stderr.contains("it lies in no source and no replica"), "{ended:?}");
    assert_eq!(start(place.bare().args(["history", ""])).end().code, Some(2));
}

#[test]
fn a_name_that_is_not_utf_8_is_told_as_in_the_log() {
    let place = Scratch::with_source();
    let name = OsStr::from_bytes(b"source/n\xff");
    place.write(name, "content");
    place.sync();
    let ended = start(place.bare().arg("history").arg(name)).end();
    assert!(ended.stdout.lines().next().is_some_and(|line| line.ends_with(r#": "n\xff""#)), "{ended:?}");
    let ended = start(place.bare().arg("history").arg(name).arg("--json")).end();
    let document: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let operation = &document["pairs"][0]["operations"][0];
    assert_eq!(
        (&operation["verb"], &operation["path_bytes"]),
        (&"create".into(), &"6eff".into()),
        "{document}"
    );
}

#[test]
fn a_pass_that_was_not_done_leaves_nothing_and_neither_does_a_dry_run() {
    let place = Scratch::with_source();
    place.write("source/before", "content");
    place.sync();
    let before = kept(&place);
    for number in 0..4_000 {
        place.write(format!("source/{}/{number}", number % 8), format!("content {number}"));
    }
    assert_eq!(place.run("--dry-run").code, Some(0));
    assert_eq!(kept(&place), before);
    let running = start(place.command("--once"));
    until("some of the files are there", || count(&running.stdout(), " create ") > 200);
    let (ended, _) = running.stop_with(Signal::TERM);
    assert_eq!(ended.code, Some(20), "{ended:?}");
    assert_eq!(kept(&place), before);
    let running = start(place.command("--once"));
    until("some of the files are there", || count(&running.stdout(), " create ") > 200);
    let (ended, _) = running.stop_with(Signal::KILL);
    assert_eq!((ended.code, kept(&place)), (None, before));
    place.sync();
    assert!(kept(&place) > before);
    // Nothing is done where nothing has changed.
    let after = kept(&place);
    place.sync();
    assert_eq!(kept(&place), after);
}

#[test]
fn what_is_not_kept_of_a_large_pass_is_told() {
    let place = Scratch::with_source();
    for number in 0..10_200 {
        place.write(format!("source/folder/deep/{number}"), "");
    }
    place.write("source/top", "content");
    place.sync();
    let pairs = json(&place, "source/folder/deep/0");
    assert_eq!(pairs["pairs"][0]["left_out"][0]["operations"], 204, "{pairs}");
    assert_eq!(verbs(&place, "source/top"), ["create"], "what is nearest to the top stays");
    let shown = history(&place, "source/folder/deep/none").stdout;
    assert!(shown.contains(" create ") && shown.contains(" with folder/"), "{shown}");
    assert!(shown.ends_with(" 204 operations were not kept\n"), "{shown}");
}
