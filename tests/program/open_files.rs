//! A low limit of open files.

use crate::support::fsops::{chmod, link, plant};
use crate::support::program::start;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use std::fs;

#[test]
fn few_open_files_are_enough_and_cost_threads_only() {
    let place = Scratch::with_source();
    for number in 0..300 {
        place.write(format!("source/{}/{number}/file", number % 20), "content");
    }
    let ended = start(place.under_limit("-n 128", "--once -j 64")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.console().contains("notice Working with 5 threads, fewer than asked for"), "{ended:?}");
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}

#[test]
fn a_low_limit_of_open_files_is_no_problem_for_deep_and_wide_trees() {
    let scratch = Scratch::with_source();
    let mut names = Vec::new();
    for top in 0..12 {
        for below in 0..12 {
            names.extend((0..4).map(|file| format!("wide/{top}/{below}/file {file}")));
        }
    }
    for top in 0..6 {
        names.push(format!("deep {top}/{}file", "d/".repeat(300)));
    }
    plant(&scratch.source, &names.iter().map(String::as_str).collect::<Vec<_>>());
    link(&scratch.source.join("wide/0/0/file 0"), &scratch.source.join("deep 0/d/d/other")).expect("done");
    chmod(&scratch.source.join("wide/3"), 0o555).expect("done");
    let run = |options: &str| {
        let ended = start(scratch.under_limit("-n 256", &format!("--once -j 16 {options}"))).end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    };
    let assert_quiet = || {
        let before = Tree::of(&scratch.replica).stamped();
        let ended = scratch.sync();
        let nothing = "0 created, 0 updated, 0 deleted";
        assert!(ended.stdout.contains(nothing) && !ended.stdout.contains("metadata"), "{ended:?}");
        assert_same("a second pass wrote", &before, &Tree::of(&scratch.replica).stamped());
    };
    run("");
    scratch.assert_equal();
    run("");
    assert_quiet();
    fs::remove_dir_all(scratch.source.join("deep 1")).expect("done");
    fs::rename(scratch.source.join("deep 2"), scratch.source.join("wide/0/moved")).expect("done");
    run("-q");
    scratch.assert_equal();
    assert_quiet();
}
