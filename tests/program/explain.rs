//! `explain`: what a pass would do to one path, and why; and that the pass then does it.

use crate::support::fsops::set_mtime;
use crate::support::program::{Ended, count, start};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use insta::{Settings, assert_snapshot};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

fn explain(place: &Scratch, words: &str) -> Ended {
    start(place.bare().arg("explain").args(words.split_whitespace())).end()
}

/// The answer without the roots.
fn answer(place: &Scratch, words: &str) -> String {
    let ended = explain(place, words);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words}: {ended:?}");
    let (roots, answer) = ended.stdout.split_once('\n').expect("two lines");
    assert!(roots.ends_with("/replica"), "{ended:?}");
    answer.to_owned()
}

fn json(place: &Scratch, words: &str) -> Value {
    let ended = explain(place, &format!("{words} --json"));
    assert_eq!((ended.stdout.lines().count(), ended.code), (1, Some(0)), "one document: {ended:?}");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// Snapshot settings that replace moments.
fn settled(place: &Scratch) -> Settings {
    let mut settings = place.settled();
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "[time]");
    settings.add_filter(r"confirmed 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", "confirmed [moment]");
    settings
}

/// A tree with every kind of change, and nothing that a test has to wait for.
fn place() -> Scratch {
    let place = Scratch::with_source();
    for name in ["same", "edited", "chmod", "gone", "was a file", "folder/a", "folder/b", "old/c", "old/d"] {
        place.write(format!("source/{name}"), format!("content of {name}"));
        set_mtime(&place.at(format!("source/{name}")), 1_700_000_000, 0).expect("set");
    }
    symlink("one", place.at("source/link")).expect("made");
    set_mtime(&place.at("source/folder"), 1_700_000_000, 0).expect("set");
    place.sync();
    place.write("source/edited", "a longer content of edited");
    set_mtime(&place.at("source/edited"), 1_700_000_060, 0).expect("set");
    place.mode("source/chmod", 0o600);
    place.remove("source/gone");
    place.remove("source/was a file");
    place.write("source/was a file/inside", "content");
    place.write("source/folder/new", "content");
    set_mtime(&place.at("source/folder"), 1_700_000_060, 0).expect("set");
    place.write("source/new/deep/file", "content");
    place.rename("source/old", "source/moved");
    place.remove("source/link");
    symlink("two", place.at("source/link")).expect("made");
    place.write("replica/extra/file", "content");
    place
}

#[test]
fn every_kind_of_change_is_told_with_both_values() {
    let place = place();
    let before = (Tree::of(&place.at("replica")).stamped(), Tree::of(&place.at("state")).stamped());
    let mut all = String::new();
    for path in [
        "source/same",
        "source/edited",
        "source/chmod",
        "source/gone",
        "replica/gone",
        "source/folder",
        "source/folder/new",
        "source/new/deep/file",
        "source/moved",
        "source/moved/c",
        "replica/extra/file",
        "source/none/at/all",
    ] {
        all.push_str(&answer(&place, path));
    }
    // The times of a link are those of the test.
    let link = answer(&place, "source/link");
    assert!(link.starts_with("link would be updated: target differs\n  target     one -> two\n"), "{link}");
    let both = explain(&place, "source/same source/gone");
    assert_eq!((both.code, count(&both.stdout, " -> ")), (Some(0), 2), "{both:?}");
    settled(&place).bind(|| assert_snapshot!("text", all));
    let after = (Tree::of(&place.at("replica")).stamped(), Tree::of(&place.at("state")).stamped());
    assert_eq!(before, after, "nothing is written");
}

#[test]
fn the_answer_is_what_the_dry_run_plans_for_the_path() {
    let place = place();
    let plan = start(place.with("--source source --replica replica --dry-run", "")).end();
    let mut seen = 0;
    for line in plan.stdout.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let path = fields[2].rsplit(" -> ").next().expect("a path").trim_matches(['"', '/']);
        let told = explain_json(&place, &format!("source/{path}"));
        let changes = told["changes"].as_array().expect("a list").clone();
        assert!(changes.iter().any(|change| change["verb"] == fields[0]), "{line}: {told}");
        seen += 1;
    }
    assert!(seen >= 9, "{plan:?}");
}

fn explain_json(place: &Scratch, path: &str) -> Value {
    let ended = start(place.bare().args(["explain", path, "--json"])).end();
    let document: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    document["pairs"][0].clone()
}

#[test]
fn json_has_the_same_answer() {
    let place = place();
    let document = json(&place, "source/edited source/folder source/moved/c");
    settled(&place).bind(|| {
        assert_snapshot!("json", serde_json::to_string_pretty(&document).expect("JSON"));
    });
}

#[test]
fn what_is_left_out_is_told_with_its_reason_and_what_the_replica_has_there() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    place.sync();
    let _socket = UnixListener::bind(place.at("source/socket")).expect("bound");
    place.write("replica/socket", "in the way");
    place.write("source/log", "lines");
    let told = answer(&place, "source/socket");
    assert!(told.starts_with("socket is left out: sockets are not mirrored\n"), "{told}");
    assert!(told.contains("The replica has a file there, which would be deleted"), "{told}");
    let told = answer(&place, "source/log --log_file source/log");
    assert_eq!(told, "log is left out: it is the log file\n");
}

#[test]
fn a_record_that_stands_is_told_and_so_is_why_another_one_does_not() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    place.sync();
    let told = answer(&place, "source/file");
    assert!(told.contains("copied then, and not compared since"), "{told}");
    place.write("source/file", "another");
    let told = answer(&place, "source/file");
    assert!(told.contains("the source's file has changed since"), "{told}");
    place.write("source/new", "content");
    assert!(!answer(&place, "source/new").contains("record"), "the replica has no such file");
    place.write("replica/new", "content");
    assert!(answer(&place, "source/new").contains("record     none\n"));
}

#[test]
fn what_cannot_be_read_is_a_problem_with_its_words() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "content");
    place.write("source/folder/file", "content");
    place.sync();
    place.mode("source/secret", 0o000);
    place.mode("source/folder", 0o000);
    let told = answer(&place, "source/secret");
    assert!(told.starts_with("secret stays as it is, because of a problem\n"), "{told}");
    assert!(told.contains("  problem    secret Cannot read"), "{told}");
    let told = answer(&place, "source/folder/file");
    assert!(told.starts_with("folder/file stays as it is, because of a problem\n"), "{told}");
    place.mode("source/folder", 0o755);
}

#[test]
fn the_pair_is_found_by_the_path_or_named() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let unknown = explain(&place, "source/file");
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(1), ""), "{unknown:?}");
    assert!(
        unknown.stderr.contains("lies in no source and no replica of a pair that is known"),
        "{unknown:?}"
    );
    let named = explain(&place, "--source source --replica replica source/file");
    assert_eq!((named.code, named.stderr.as_str()), (Some(0), ""), "{named:?}");
    assert!(named.stdout.contains("file would be created (7 B)"), "{named:?}");
    let outside = explain(&place, "--source source --replica replica file");
    assert_eq!(outside.code, Some(1), "{outside:?}");
    assert!(outside.stderr.contains("neither in the source nor in the replica"), "{outside:?}");
    assert!(!place.has("replica"));
    place.sync();
    symlink(place.at("source"), place.at("way")).expect("made");
    for path in ["source/file", "replica/file", "way/file", "./source/./file"] {
        assert!(answer(&place, path).starts_with("file is equal on both sides"), "{path}");
    }
    fs::remove_dir_all(place.at("source")).expect("removed");
    let gone = explain(&place, "replica/file");
    assert_eq!((gone.code, gone.stdout.as_str()), (Some(1), ""), "{gone:?}");
    assert!(gone.stderr.starts_with("Cannot explain file: The source "), "{gone:?}");
}

#[test]
fn a_path_is_needed() {
    let place = Scratch::with_source();
    let ended = explain(&place, "");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.stderr.contains("for example file-sync explain /data/photos/cat.jpg"), "{ended:?}");
}

#[test]
fn nothing_beside_the_path_is_read() {
    let place = Scratch::of_ordinary_user();
    for name in ["asked/file", "beside/file", "large"] {
        place.write(format!("source/{name}"), "content");
    }
    place.sync();
    // Everything that is not asked about is unreadable: a pass that looked at it would have a problem.
    place.mode("source/beside", 0o000);
    place.mode("source/large", 0o000);
    assert!(answer(&place, "source/asked/file").starts_with("asked/file is equal on both sides"));
    assert!(answer(&place, "source/asked").starts_with("asked/ is equal on both sides"));
    place.mode("source/beside", 0o755);
}

#[test]
fn a_rule_that_leaves_something_out_is_named_with_its_file_and_line() {
    let place = Scratch::with_source();
    for name in ["raw/a.tmp", "raw/b", "cache/deep/c"] {
        place.write(format!("source/{name}"), "content");
    }
    place.sync();
    for name in ["raw/a.tmp", "cache/deep/c"] {
        set_mtime(&place.at(format!("replica/{name}")), 1_700_000_000, 0).expect("set");
    }
    place.write("rules", "# comment\n*.tmp\n/cache/\n");
    let rules = place.at("rules").to_string_lossy().into_owned();
    let ask = |words: &str| answer(&place, &format!("{words} --exclude-from {rules}"));
    let told = ask("source/raw/a.tmp");
    let expected = format!("raw/a.tmp is left out: *.tmp ({rules}:2)\n");
    assert!(told.starts_with(&expected), "{told}");
    let stays = "The replica has one of 2023-11-14, which stays (--delete-excluded would remove it)";
    assert!(told.contains(stays), "{told}");
    let told = ask("source/cache/deep/c");
    assert!(
        told.starts_with(&format!("cache/deep/c is left out with cache: /cache/ ({rules}:3)\n")),
        "{told}"
    );
    assert!(told.contains(stays), "{told}");
    let told = ask("--delete-excluded source/raw/a.tmp");
    assert!(told.starts_with(&expected) && told.contains("2023-11-14, which would be deleted\n"), "{told}");
    // With the folder above it as well.
    let told = ask("--delete-excluded source/cache/deep/c");
    assert!(told.contains("which would be deleted\n"), "{told}");
    let told = ask("source/raw");
    assert!(told.contains("  below      1 unchanged, 1 excluded\n"), "{told}");
    let told = answer(&place, "source/raw/a.tmp");
    assert!(told.starts_with("raw/a.tmp would get its metadata: mtime\n"), "without rules: {told}");
    place.remove("source/cache");
    place.remove("source/raw");
    let told = ask("replica/raw");
    assert!(told.contains("would be deleted") && told.contains("what is excluded in it stays"), "{told}");
    let told = ask("replica/raw/a.tmp");
    assert!(told.starts_with(&expected) && told.contains("which stays"), "{told}");
}
