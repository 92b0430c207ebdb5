//! A high limit of open files, and a file larger than many filesystems can hold.

use crate::Test;
use crate::support::fsops::noise;
use crate::support::leave_out::leave_out;
use crate::support::program::start;
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use rustix::process::{Resource, Signal, getrlimit};
use std::fs::OpenOptions;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = tests![
    a_soft_limit_of_open_files_is_raised_to_the_hard_one,
    a_signal_while_a_huge_file_with_holes_is_copied_ends_the_program_within_two_seconds,
];

fn a_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    // 64 threads want 16 descriptors each.
    if getrlimit(Resource::Nofile).maximum.is_some_and(|hard| hard < 64 * 16 + 48) {
        leave_out("the hard limit of open files is too low");
    }
    let place = Scratch::with_source();
    for number in 0..300 {
        place.write(format!("source/{}/{number}/file", number % 20), "content");
    }
    let ended = start(place.under_limit("-Sn 128", "--once -j 64")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.console().contains("fewer than asked for"), "{ended:?}");
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}

fn a_signal_while_a_huge_file_with_holes_is_copied_ends_the_program_within_two_seconds() {
    let place = Scratch::with_source();
    place.write("source/large", noise(64 << 20));
    let file = OpenOptions::new().write(true).open(place.at("source/large")).expect("open");
    if file.set_len(1 << 40).is_err() {
        leave_out("this filesystem has no files of 1 TiB");
    }
    let running = start(place.command("--interval 1h"));
    running.copies_into(&place.at("replica"));
    let (ended, time) = running.stop_with(Signal::TERM);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(time < Duration::from_secs(2), "it took {time:?}");
    assert!(place.names("replica").is_empty());
}
