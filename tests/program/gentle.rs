//! `--bwlimit` and `--nice`.

use crate::support::fsops::noise;
use crate::support::program::{Running, start};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use rustix::process::{Signal, getpriority_process};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_limited_pass_takes_the_time_of_its_contents_for_copying_and_for_comparing() {
    let place = Scratch::with_source();
    // A large file and small ones, read by several workers.
    place.write("source/large", noise(2 << 20));
    for number in 0..16 {
        place.write(format!("source/small {number}"), noise(64 << 10));
    }
    // 3 MiB at 2 MiB a second; the last piece passes at its beginning, and an idle time saves up 250 ms.
    let least = Duration::from_millis(1500 - 63 - 250);
    for work in ["copying", "comparing"] {
        let begin = Instant::now();
        let ended = place.run("--once --bwlimit 2MiB -j 4");
        let time = begin.elapsed();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(time >= least, "{work} took {time:?}, and {least:?} is the least");
    }
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}

#[test]
fn a_signal_ends_a_pass_that_waits_for_the_limit() {
    let place = Scratch::with_source();
    place.write("source/file", noise(1 << 20));
    // A quarter of an hour for the whole file, and two minutes from one piece to the next.
    let running = start(place.command("--once --bwlimit 1K"));
    running.copies_into(&place.at("replica"));
    let (ended, _) = running.stop_with(Signal::TERM);
    assert_eq!(ended.code, Some(20), "{ended:?}");
    assert_eq!(place.names("replica"), [] as [&str; 0], "nothing is left of the copy");
}

#[test]
fn no_limit_is_a_limit_of_0_or_off() {
    for limit in ["0", "off"] {
        let place = Scratch::with_source();
        place.write("source/file", "content");
        let ended = place.run(&format!("--once --bwlimit {limit}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(place.read("replica/file"), "content");
    }
}

/// The nice values of all threads.
fn priorities(running: &Running) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{}/task", running.id())).expect("it runs");
    let stats = threads.map(|thread| fs::read_to_string(thread.expect("listed").path().join("stat")));
    // Field 19 of proc_pid_stat(5); the second one is the name in parentheses.
    let nice = |stat: String| stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok();
    stats.map(|stat| stat.ok().and_then(nice).expect("a number")).collect()
}

#[test]
fn a_gentle_process_has_the_lowest_priority_in_all_its_threads() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let own = getpriority_process(None).expect("a number");
    for (option, expected) in [("--nice", 19), ("", own)] {
        let running = place.start(option);
        let found = priorities(&running);
        assert!(found.len() > 1 && found.iter().all(|nice| *nice == expected), "{option}: {found:?}");
        let ended = running.stop();
        assert!(!ended.stderr.contains("notice"), "{ended:?}");
    }
}
