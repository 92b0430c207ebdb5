//! Repeated passes with the real program on the real clock: a series of edits, the schedule, and every signal.

use crate::support::program::{Running, count, lines_with, start, until};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, What};
use insta::assert_snapshot;
use jiff::Timestamp;
use rustix::process::Signal;
use std::fs::{self, OpenOptions};
use std::time::Duration;

/// Too large to be copied or compared before a signal arrives.
const HUGE: usize = 256 << 20;

fn assert_mirrored(place: &Scratch) {
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}

/// Waits for the end of a pass that began after this call.
fn a_whole_pass(running: &Running) {
    // A pass may have begun that the console does not show yet.
    running.pass_ends(running.last_pass() + 2);
}

/// The time of a log line, in seconds since the first line.
fn seconds_of(log: &str, words: &str) -> f64 {
    let time =
        |line: &str| line.split(' ').next().and_then(|time| time.parse::<Timestamp>().ok()).expect("a time");
    let line = log.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words} in {log}"));
    let begin = time(log.lines().next().expect("a line"));
    time(line).duration_since(begin).as_secs_f64()
}

#[test]
fn the_replica_follows_a_life_of_edits() {
    let place = Scratch::with_source();
    place.write("source/kept", "kept");
    place.write("source/changed", "version 1");
    place.write("source/secretly changed", "version 1");
    place.write("source/removed/deep/er/file", "removed");
    place.write("source/renamed/file", "renamed");
    place.write("source/file to folder", "file");
    place.write("source/folder to file/deep/file", "folder");
    place.write("source/file to link", "file");
    place.link("source/link to file", "kept");
    place.link("source/link to folder", "kept");
    // Long enough that no pass overruns it beside the other tests.
    let running = place.started(&mut place.command("--interval 2"));
    assert_mirrored(&place);

    place.write("source/created/deep/er/file", "created");
    place.write("source/changed", "version 2, which is longer");
    let mtime =
        fs::metadata(place.at("source/secretly changed")).and_then(|facts| facts.modified()).expect("known");
    place.write("source/secretly changed", "version 2");
    let file = OpenOptions::new().write(true).open(place.at("source/secretly changed")).expect("open");
    file.set_modified(mtime).expect("set");
    place.remove("source/removed");
    a_whole_pass(&running);
    assert_mirrored(&place);

    place.rename("source/renamed", "source/new name");
    for path in [
        "source/file to folder",
        "source/folder to file",
        "source/file to link",
        "source/link to file",
        "source/link to folder",
    ] {
        place.remove(path);
    }
    place.write("source/file to folder/deep/file", "folder now");
    place.write("source/folder to file", "file now");
    place.link("source/file to link", "nowhere");
    place.write("source/link to file", "file now");
    place.folder("source/link to folder/deep");
    place.mode("source/kept", 0o640);
    a_whole_pass(&running);
    assert_mirrored(&place);

    // Only the replica changes.
    place.write("replica/kept", "KEPT");
    place.write("replica/extra/file", "extra");
    place.remove("replica/new name");
    a_whole_pass(&running);
    assert_mirrored(&place);

    let last = running.last_pass();
    let ended = running.stop();
    // Its mode changed in the source seconds before, so that the index may or may not know who is right.
    let console = ended.console();
    assert_eq!(count(&console, " repair kept ") + count(&console, " update kept "), 1, "{ended:?}");
    assert!(ended.stderr.lines().all(|line| line.contains(" repair kept ")), "{ended:?}");
    let passes: Vec<_> = ended.stdout.lines().filter(|line| line.contains("INFO  pass ")).collect();
    for (number, lines) in (1..=last).zip(passes.chunks(2)) {
        assert!(lines[0].ends_with(&format!("pass {number} started")), "passes overlap: {passes:?}");
        assert!(lines[1].contains(&format!("pass {number} ")), "passes overlap: {passes:?}");
    }
}

#[test]
fn passes_start_one_interval_after_each_other() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let running = place.started(&mut place.command("--interval 1s"));
    running.pass_ends(4);
    let ended = running.stop();
    let begin = seconds_of(&ended.stdout, "pass 1 started");
    for number in 2..=4_u32 {
        let start = seconds_of(&ended.stdout, &format!("pass {number} started")) - begin;
        let due = f64::from(number - 1);
        // A line or a pass may be late on a busy computer, but neither may be early.
        assert!((due - 0.5..due + 5.0).contains(&start), "pass {number} after {start} s: {}", ended.stdout);
    }
    assert!(ended.stdout.contains("4 done: 0 created, 0 updated, 0 deleted, 1 unchanged, 0 problems"));
}

#[test]
fn a_pass_that_overruns_is_followed_at_once_and_the_log_says_by_how_much() {
    let place = Scratch::with_source();
    place.write_zeros("source/large", HUGE / 4);
    let running = start(place.command("--interval 2"));
    running.copies_into(&place.at("replica"));
    // Suspended, as a laptop is: the suspended time counts.
    running.suspend();
    assert!(!place.has("replica/large"), "it has been copied already");
    std::thread::sleep(Duration::from_millis(2100));
    running.signal(Signal::CONT);
    running.hears("pass 2 started");
    let ended = running.stop();
    let overran = lines_with(&ended.stderr, "overran");
    assert_eq!(overran.len(), 1, "{ended:?}");
    assert!(overran[0].starts_with("WARN  pass 1 overran its interval by "), "{ended:?}");
    assert!(overran[0].ends_with(" s; the next one starts now"), "{ended:?}");
    let wait = seconds_of(&ended.stdout, "pass 2 started") - seconds_of(&ended.stdout, "pass 1 done");
    assert!((0.0..1.0).contains(&wait), "waited {wait} s: {ended:?}");
}

#[test]
fn sigusr1_starts_a_pass_at_once() {
    let place = Scratch::with_source();
    let running = place.start("");
    for number in 2..=4 {
        place.write(format!("source/{number}"), "content");
        running.pass_now();
        assert_mirrored(&place);
        assert_eq!(running.last_pass(), number);
    }
    running.stop();
}

#[test]
fn sighup_in_the_middle_of_a_pass_opens_the_log_anew_and_ends_nothing() {
    let place = Scratch::with_source();
    place.write_zeros("source/large", HUGE / 8);
    let running = start(place.command("--interval 1h"));
    running.copies_into(&place.at("replica"));
    until("the log says so", || place.log().contains("pass 1 started"));
    place.rename("log", "log.1");
    running.signal(Signal::HUP);
    running.pass_ends(1);
    running.stop();
    assert_mirrored(&place);
    assert!(place.log().contains("pass 1 done") && place.log().ends_with("file-sync stopped\n"));
    assert!(place.read("log.1").contains("pass 1 started"));
}

#[test]
fn a_signal_while_a_huge_file_is_copied_ends_the_program_within_two_seconds_and_harms_nothing() {
    for (options, code) in [("--interval 1h", 0), ("--once", 20)] {
        for (signal, word) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
            for old in [Some("the old version"), None] {
                let place = Scratch::with_source();
                place.write_zeros("source/large", HUGE);
                place.folder("replica");
                if let Some(old) = old {
                    place.write("replica/large", old);
                }
                let before = place.names("replica");
                let running = start(place.command(options));
                running.copies_into(&place.at("replica"));
                let (ended, time) = running.stop_with(signal);
                assert_eq!(ended.code, Some(code), "{ended:?}");
                assert!(time < Duration::from_secs(2), "it took {time:?}");
                assert_eq!(place.names("replica"), before, "nothing is left under any name");
                if let Some(old) = old {
                    assert_eq!(place.read("replica/large"), old);
                }
                let log = place.log();
                for line in [
                    format!("INFO  file-sync stopping on {word}"),
                    format!("INFO  pass 1 stopped by {word}: 0 created, 0 updated, 0 deleted"),
                    "INFO  file-sync stopped".to_owned(),
                ] {
                    assert_eq!(count(&log, &line), 1, "{line}: {log}");
                }
                assert!(log.ends_with(" INFO  file-sync stopped\n"), "{log}");
                assert_eq!(ended.stderr, "");
            }
        }
    }
}

#[test]
fn a_signal_while_a_huge_file_is_compared_ends_the_program_within_two_seconds() {
    let place = Scratch::with_source();
    place.write_zeros("source/large", HUGE);
    place.folder("replica");
    place.write_zeros("replica/large", HUGE);
    let before = Tree::of(&place.at("replica")).stamped();
    for (options, code) in [("--interval 1h", 0), ("--once", 20), ("--dry-run", 20)] {
        place.write("log", "");
        let running = start(place.command(options));
        until("the pass has begun", || place.log().contains("pass 1 started"));
        let (ended, time) = running.stop_with(Signal::TERM);
        assert_eq!(ended.code, Some(code), "{options}: {ended:?}");
        assert!(time < Duration::from_secs(2), "it took {time:?}");
        let told = "pass 1 stopped by SIGTERM: 0 created, 0 updated, 0 deleted";
        assert!(place.log().contains(told), "{ended:?}");
        assert_eq!(Tree::of(&place.at("replica")).stamped(), before);
    }
}

#[test]
fn a_signal_while_many_files_are_copied_leaves_only_whole_files_and_the_next_run_completes_them() {
    let place = Scratch::with_source();
    for number in 0..4000 {
        place.write(format!("source/{}/{number}", number % 8), format!("content {number}"));
    }
    let running = start(place.command("--interval 1h"));
    until("some of the files are there", || count(&running.stdout(), " create ") > 200);
    let (ended, time) = running.stop_with(Signal::TERM);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(time < Duration::from_secs(2), "it took {time:?}");
    assert!(ended.stdout.contains("pass 1 stopped by SIGTERM: "), "{}", place.log());
    let created = count(&ended.stdout, " INFO  create ");
    let told = ended.stdout.replace(',', "");
    assert!(told.contains(&format!("SIGTERM: {created} created 0 updated")), "{created}: {}", place.log());
    let source = Tree::of(&place.at("source"));
    for (path, (node, _)) in Tree::of(&place.at("replica")).nodes {
        let is_whole = source.nodes.get(&path).is_some_and(|(original, _)| *original == node);
        assert!(node.what == What::Folder || is_whole, "{}: {node:?}", path.escape_ascii());
    }
    place.sync();
    assert_mirrored(&place);
}

#[test]
fn a_signal_between_passes_ends_the_program_at_once() {
    for (signal, word) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let place = Scratch::with_source();
        let (ended, time) = place.start("").stop_with(signal);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(time < Duration::from_secs(2), "it took {time:?}");
        let end = lines_with(&place.log(), "INFO  file-sync s");
        assert_eq!(
            end,
            [format!("INFO  file-sync stopping on {word}"), "INFO  file-sync stopped".to_owned()]
        );
    }
}

/// A finished single pass that waits for its output to be read.
fn unread(place: &Scratch) -> (Running, std::io::PipeReader) {
    for number in 0..1500 {
        place.write(format!("source/{}{number}", "n".repeat(200)), "");
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let running = crate::support::program::start_as_is(place.command("--once").stdout(writer));
    until("the pass is done", || place.has("log") && place.log().contains("pass 1 done"));
    (running, reader)
}

#[test]
fn a_single_pass_whose_output_nobody_reads_ends_when_it_is_asked_to() {
    let place = Scratch::with_source();
    let (mut running, _reader) = unread(&place);
    assert!(!running.has_ended(), "it waits for the reader");
    let (ended, time) = running.stop_with(Signal::TERM);
    assert_eq!(ended.code, Some(0), "the pass was done");
    assert!(time < Duration::from_secs(2), "it took {time:?}");
}

#[test]
fn a_second_signal_exits_at_once() {
    let place = Scratch::with_source();
    let (mut running, _reader) = unread(&place);
    running.signal(Signal::TERM);
    until("the program has ended", || {
        // The program ignores a second signal within a tenth of a second of the first, so it is sent repeatedly.
        running.has_ended() || {
            running.signal(Signal::TERM);
            false
        }
    });
    assert_eq!(running.end().code, Some(1));
}

#[test]
fn with_problems_the_program_goes_on() {
    let place = Scratch::with_source();
    place.write("source/logs", "a file where the log's folder is");
    place.write("source/file", "content");
    let roots = "--source source --replica replica --log_file replica/logs/log";
    let running = place.started(&mut place.with(roots, "--interval 1"));
    place.write("source/file", "changed");
    a_whole_pass(&running);
    assert_eq!(place.read("replica/file"), "changed");
    let ended = running.stop();
    assert!(count(&ended.stderr, "WARN  problem logs ") >= 2, "{ended:?}");
    assert!(ended.stdout.contains(" old but for 1 problem\n"), "{ended:?}");
}

#[test]
fn a_problem_that_is_over_is_not_told_any_more() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "content");
    place.mode("source/secret", 0o000);
    let running = place.start("");
    running.pass_now();
    place.mode("source/secret", 0o600);
    running.pass_now();
    let ended = running.stop();
    assert_eq!(count(&ended.stderr, "WARN  problem secret "), 2, "{ended:?}");
    assert!(ended.stdout.contains("pass 3 done: 1 created"), "{ended:?}");
    assert_eq!(place.read("replica/secret"), "content");
}

#[test]
fn after_a_held_pass_the_program_goes_on_with_the_folder_that_is_there_then() {
    let place = Scratch::with_source();
    place.write_zeros("source/large", HUGE / 2);
    place.folder("replica");
    place.write_zeros("replica/large", HUGE / 2);
    let before = Tree::of(&place.at("replica")).stamped();
    let running = start(place.command("--interval 1h"));
    running.hears("pass 1 started");
    place.rename("source", "elsewhere");
    place.write("source/file", "content");
    running.hears("ERROR pass 1 held: ");
    assert_eq!(Tree::of(&place.at("replica")).stamped(), before);
    running.pass_now();
    assert_mirrored(&place);
    running.stop();
}

#[test]
fn the_age_of_the_replica_is_told_also_when_a_pass_is_not_done() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let running = place.start("");
    place.write_zeros("source/large", HUGE);
    running.signal(Signal::USR1);
    running.copies_into(&place.at("replica"));
    let ended = running.stop();
    let line = lines_with(&ended.stdout, "pass 2 stopped by SIGTERM").remove(0);
    let age = line.rsplit(", ").next().expect("an age");
    assert!(age.starts_with("replica is ") && age.ends_with(" old"), "{line}");
}

#[test]
fn repeated_passes_read_like_this() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let running = place.start("");
    place.write("source/file", "changed");
    running.pass_now();
    running.pass_now();
    running.stop();
    place.settled().bind(|| assert_snapshot!(place.log()));
}
