//! The two roots and the place of the log: missing, wrong, overlapping, vanishing, locked.

use crate::support::program::{Running, count, lines_with, start, until};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use insta::assert_snapshot;
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;

const LOG: &str = "--log_file log";

/// Enough files for a test to act in the middle of a pass.
const MANY: usize = 5000;
/// Each has more files than a new folder gets before its rename to the final name.
const FOLDERS: usize = 2;

fn many_files(place: &Scratch) {
    for number in 0..MANY {
        place.write(format!("source/{}/{number}", number % FOLDERS), format!("{number}"));
    }
}

/// A change to a place while the program runs, and its name.
type Way = (&'static str, fn(&Scratch));

fn assert_mirrored(place: &Scratch) {
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}

/// Waits until the program has created a part of the replica.
fn meets_the_middle(place: &Scratch, running: &Running) {
    until("some of the files are there", || count(&running.stdout(), " create ") > MANY / 20);
    assert!(!running.console().contains("pass 1 done"), "the pass is over already");
    assert!(place.has("replica"));
}

#[test]
fn a_source_that_is_missing_or_no_folder_is_an_error_that_names_it() {
    for (source, words) in [
        ("gone", "does not exist"),
        ("gone/deep", "does not exist"),
        ("dangling", "does not exist"),
        ("file", "is not a folder"),
        ("fifo", "is not a folder"),
        ("link-to-file", "is not a folder"),
    ] {
        for options in ["--once", "--interval 1h", "--dry-run"] {
            let place = Scratch::with_source();
            place.write("file", "content");
            place.link("link-to-file", "file");
            place.link("dangling", "nowhere");
            rustix::fs::mkfifoat(rustix::fs::CWD, place.at("fifo"), rustix::fs::Mode::RUSR).expect("made");
            let before = place.names("");
            let roots = format!("--source {source} --replica replica {LOG}");
            let ended = start(place.with(&roots, options)).end();
            let expected = format!("ERROR file-sync failed: The source {source} {words}");
            assert_eq!(ended.code, Some(1), "{source} {options}: {ended:?}");
            assert!(ended.stderr.contains(&expected), "{source} {options}: {ended:?}");
            assert!(place.log().contains(&expected), "{source} {options}: {}", place.log());
            let mut after = place.names("");
            after.retain(|name| name != "log");
            assert_eq!(after, before, "{source} {options} has created something");
        }
    }
}

#[test]
fn a_missing_source_reads_like_this() {
    let place = Scratch::with_source();
    place.remove("source");
    let ended = place.run("--interval 60");
    place.settled().bind(|| assert_snapshot!(format!("{}--- stderr\n{}", ended.stdout, ended.stderr)));
}

#[test]
fn a_source_removed_while_running_is_an_error_and_the_replica_stays_untouched() {
    let ways: [Way; 3] = [
        ("removed", |place| place.remove("source")),
        ("renamed", |place| place.rename("source", "elsewhere")),
        ("a file now", |place| {
            place.remove("source");
            place.write("source", "content");
        }),
    ];
    for (way, lose) in ways {
        let place = Scratch::with_source();
        place.write("source/folder/file", "content");
        let running = place.start("");
        let before = Tree::of(&place.at("replica")).stamped();
        lose(&place);
        running.signal(Signal::USR1);
        let ended = running.end();
        assert_eq!(ended.code, Some(1), "{way}: {ended:?}");
        assert!(ended.stderr.contains("ERROR file-sync failed: The source source "), "{way}: {ended:?}");
        assert!(place.log().contains("ERROR file-sync failed: The source source "), "{way}: {}", place.log());
        assert_eq!(Tree::of(&place.at("replica")).stamped(), before, "{way}");
    }
}

#[test]
fn a_source_renamed_away_in_the_middle_of_a_pass_ends_the_program_and_nothing_is_deleted() {
    let place = Scratch::with_source();
    many_files(&place);
    place.write("replica/extra", "content");
    place.folder("replica/extras/below");
    let running = start(place.command("--interval 1h"));
    meets_the_middle(&place, &running);
    place.rename("source", "elsewhere");
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(place.has("replica/extra") && place.has("replica/extras/below"));
    assert_eq!(count(&place.log(), " delete "), 0);
    assert_eq!(count(&ended.stderr, "ERROR file-sync failed: The source source "), 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains("nothing was changed"), "it has copied files: {}", ended.stderr);
}

#[test]
fn a_source_swapped_during_the_survey_holds_the_pass() {
    let place = Scratch::with_source();
    // Large enough that the comparison takes a while.
    place.folder("replica");
    for path in ["source/large", "replica/large"] {
        place.write_zeros(path, 128 << 20);
    }
    place.write("replica/extra", "content");
    let before = Tree::of(&place.at("replica")).stamped();
    let running = start(place.command("--once"));
    running.hears("pass 1 started");
    place.rename("source", "elsewhere");
    place.folder("source");
    let ended = running.end();
    assert_eq!(ended.code, Some(25), "{ended:?}");
    assert!(ended.stderr.contains("ERROR pass 1 held: "), "{ended:?}");
    assert_eq!(Tree::of(&place.at("replica")).stamped(), before);
}

#[test]
fn a_missing_replica_is_created_with_its_parents() {
    let place = Scratch::with_source();
    place.write("source/folder/file", "content");
    let ended =
        start(place.with(&format!("--source source --replica new/deep/replica {LOG}"), "--once")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("new/deep/replica")));
    assert!(ended.stdout.contains("replica folder new/deep/replica was missing and has been created"));
}

#[test]
fn a_replica_removed_while_running_is_made_again_and_filled_by_the_next_pass() {
    let ways: [Way; 3] = [
        ("removed", |place| place.remove("replica")),
        ("renamed", |place| place.rename("replica", "elsewhere")),
        ("empty now", |place| {
            place.remove("replica");
            place.folder("replica");
        }),
    ];
    for (way, lose) in ways {
        let place = Scratch::with_source();
        place.write("source/folder/file", "content");
        let running = place.start("");
        lose(&place);
        running.pass_now();
        assert_mirrored(&place);
        running.pass_now();
        let ended = running.stop();
        assert!(ended.stdout.contains("pass 3 done: 0 created"), "{way}: {ended:?}");
        assert_eq!(ended.stderr, "", "{way}");
    }
}

#[test]
fn a_replica_whose_parents_vanished_is_made_again_with_them() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let command = &mut place.with(&format!("--source source --replica a/b/replica {LOG}"), "--interval 1h");
    let running = place.started(command);
    place.remove("a");
    running.pass_now();
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("a/b/replica")));
    running.stop();
}

#[test]
fn a_replica_lost_in_the_middle_of_a_pass_is_one_problem_and_filled_at_once() {
    let ways: [Way; 2] = [
        ("renamed", |place| place.rename("replica", "elsewhere")),
        ("removed", |place| place.remove("replica")),
    ];
    for (way, lose) in ways {
        let place = Scratch::with_source();
        many_files(&place);
        let running = start(place.command("--interval 1h"));
        meets_the_middle(&place, &running);
        running.suspend();
        lose(&place);
        running.signal(Signal::CONT);
        running.hears("pass 1 ended early: the replica folder disappeared");
        running.pass_ends(2);
        assert_mirrored(&place);
        let ended = running.stop();
        assert_eq!(lines_with(&ended.stderr, "problem ").len(), 1, "{way}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("the replica folder was removed or replaced"),
            "{way}: {}",
            ended.stderr
        );
        assert_eq!(count(&ended.stdout, "pass 2 done"), 1, "{way}");
    }
}

#[test]
fn a_replica_removed_piece_by_piece_while_it_is_filled_is_not_thousands_of_problems() {
    let place = Scratch::with_source();
    many_files(&place);
    let running = start(place.command("--interval 1h"));
    meets_the_middle(&place, &running);
    // The program goes on filling the folder, so the removal needs retries.
    until("it is gone", || fs::remove_dir_all(place.at("replica")).is_ok());
    running.pass_ends(1);
    running.pass_now();
    assert_mirrored(&place);
    let ended = running.stop();
    assert!(lines_with(&ended.stderr, "problem ").len() <= 2, "{}", ended.stderr);
}

#[test]
fn a_folder_of_the_replica_lost_in_the_middle_of_a_pass_is_one_problem_and_not_one_per_file() {
    let place = Scratch::with_source();
    many_files(&place);
    let running = start(place.command("--interval 1h"));
    meets_the_middle(&place, &running);
    let half_full = || {
        running.suspend();
        let names = (0..FOLDERS).map(|number| place.at("replica").join(number.to_string()));
        let is_half_full = |path: &PathBuf| {
            let count = fs::read_dir(path).map_or(0, Iterator::count);
            (1..MANY / FOLDERS - 100).contains(&count)
        };
        let found = names.into_iter().find(is_half_full);
        if found.is_none() {
            running.signal(Signal::CONT);
        }
        found
    };
    let mut found = None;
    until("a folder is half full", || {
        found = half_full();
        found.is_some()
    });
    let folder = found.expect("found");
    fs::remove_dir_all(&folder).expect("nothing fills it now");
    running.signal(Signal::CONT);
    running.pass_ends(1);
    running.pass_now();
    assert_mirrored(&place);
    let ended = running.stop();
    let name = folder.file_name().expect("it has one").to_string_lossy().into_owned();
    let expected = format!(
        "WARN  problem {name} Cannot continue here in the replica: something else removed or replaced it during the pass; \
         the next pass looks at it again; no more paths like it are told in this one"
    );
    assert_eq!(lines_with(&ended.stderr, "problem "), [expected]);
    assert!(ended.stdout.contains(" 1 problem, "), "{}", ended.stdout);
}

#[test]
fn a_single_pass_that_loses_its_replica_says_so_in_its_exit_code() {
    let place = Scratch::with_source();
    many_files(&place);
    let running = start(place.command("--once"));
    meets_the_middle(&place, &running);
    place.rename("replica", "elsewhere");
    let ended = running.end();
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(lines_with(&ended.stderr, "problem ").len(), 1, "{}", ended.stderr);
    assert!(!place.has("replica"));
}

#[test]
fn a_replica_that_is_no_folder_is_an_error_and_stays_as_it_is() {
    for replica in ["file", "file/below", "fifo", "dangling"] {
        for options in ["--once", "--interval 1h", "--dry-run"] {
            if (replica, options) == ("dangling", "--dry-run") {
                // Nothing exists yet, so no entry is in the way of a plan.
                continue;
            }
            let place = Scratch::with_source();
            place.write("file", "content");
            place.link("dangling", "nowhere");
            rustix::fs::mkfifoat(rustix::fs::CWD, place.at("fifo"), rustix::fs::Mode::RUSR).expect("made");
            let before = Tree::of(&place.at(replica)).stamped();
            let roots = format!("--source source --replica {replica} {LOG}");
            let ended = start(place.with(&roots, options)).end();
            let expected = format!("ERROR file-sync failed: The replica {replica} ");
            assert_eq!(ended.code, Some(1), "{replica} {options}: {ended:?}");
            assert!(ended.stderr.contains(&expected), "{replica} {options}: {ended:?}");
            assert!(place.log().contains(&expected), "{replica} {options}: {}", place.log());
            assert_eq!(Tree::of(&place.at(replica)).stamped(), before, "{replica} {options}");
        }
    }
}

#[test]
fn a_replica_that_becomes_a_file_is_an_error_of_each_pass_until_it_is_a_folder_again() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let running = place.start("");
    place.remove("replica");
    place.write("replica", "a file");
    running.signal(Signal::USR1);
    running.hears("ERROR pass 2 failed: The replica replica is not a folder");
    place.remove("replica");
    running.pass_now();
    assert_mirrored(&place);
    running.stop();
}

#[test]
fn roots_that_overlap_are_refused_before_anything_is_created_and_both_are_named() {
    let same = "are the same folder";
    let cases = [
        ("source", "source", same),
        ("source", "./source/", same),
        ("source", "link", same),
        ("link", "source", same),
        ("source", "other/../source", same),
        ("source", "link/sub/..", same),
        ("source", "source/sub", "lies inside"),
        ("source", "link/sub", "lies inside"),
        ("source", "source/new", "lies inside"),
        ("source", "source/new/deep/er", "lies inside"),
        ("source", "link/new", "lies inside"),
        ("source", "other/../source/new", "lies inside"),
        ("source", "other/new/../../source/new", "lies inside"),
        ("source", "into/new", "lies inside"),
        ("link", "source/new", "lies inside"),
        ("source/sub", "source", "lies inside"),
        ("source/sub", "link", "lies inside"),
        ("into", "source", "lies inside"),
        ("source/sub/../sub", "other/../link", "lies inside"),
    ];
    for (source, replica, words) in cases {
        // The log's folder exists or has to be created.
        for log in ["log", "new-folder/log"] {
            for options in ["--once", "--interval 1h", "--dry-run"] {
                let place = Scratch::with_source();
                place.write("source/sub/file", "content");
                place.folder("other");
                place.link("link", "source");
                place.link("into", "source/sub");
                let before = Tree::of(&place.at("source")).stamped();
                let names = place.names("");
                let roots = format!("--source {source} --replica {replica} --log_file {log}");
                let ended = start(place.with(&roots, options)).end();
                let case = format!("{roots} {options}: {ended:?}");
                assert_eq!(ended.code, Some(1), "{case}");
                assert!(ended.stderr.contains(words), "{case}");
                let named = ended.stderr.replace(';', " ");
                assert!(named.contains(&format!("source {source} ")), "{case}");
                assert!(named.contains(&format!("replica {replica} ")), "{case}");
                assert_eq!(Tree::of(&place.at("source")).stamped(), before, "{case}");
                let mut after = place.names("");
                if log == "log" {
                    assert!(place.log().contains(words), "{case}");
                    after.retain(|name| name != "log");
                }
                assert_eq!(after, names, "{case}");
            }
        }
    }
}

#[test]
fn folders_that_only_look_alike_are_no_overlap() {
    for (source, replica) in
        [("source", "source2"), ("source", "source-new/source"), ("source", "source/../x")]
    {
        let place = Scratch::with_source();
        place.write("source/file", "content");
        let roots = format!("--source {source} --replica {replica} {LOG}");
        let ended = start(place.with(&roots, "--once")).end();
        assert_eq!(ended.code, Some(0), "{source} {replica}: {ended:?}");
    }
}

#[test]
fn a_replica_path_that_is_led_into_the_source_while_running_changes_nothing_there() {
    for target in [".", "source", "source/sub"] {
        let place = Scratch::with_source();
        place.write("source/sub/file", "content");
        place.write("other", "content");
        place.folder("replica");
        place.link("link", "replica");
        let roots = format!("--source source --replica link {LOG}");
        let running = place.started(&mut place.with(&roots, "--interval 1h"));
        let before = Tree::of(&place.at("source")).stamped();
        place.remove("link");
        place.link("link", target);
        running.signal(Signal::USR1);
        running.hears("nothing was changed");
        // The two streams are read by separate threads.
        running.hears("pass 2 started");
        // The link may be repaired; the passes then go on.
        place.remove("link");
        place.link("link", "replica");
        running.pass_now();
        running.stop();
        assert_eq!(Tree::of(&place.at("source")).stamped(), before, "{target}");
        assert_eq!(place.read("other"), "content", "{target}");
    }
}

#[test]
fn a_log_in_the_source_is_not_copied_and_the_first_lines_say_so() {
    for log in ["source/log", "source/sub/log", "source/new/deep/log", "source/new/"] {
        let place = Scratch::with_source();
        place.write("source/sub/file", "content");
        for number in 1..=2 {
            let ended =
                start(place.with("--source source --replica replica --log_file", log).arg("--once")).end();
            assert_eq!(ended.code, Some(0), "{log}: {ended:?}");
            let path = if log.ends_with('/') { format!("{log}file-sync.log") } else { log.to_owned() };
            let below = path.strip_prefix("source/").expect("inside");
            let notice =
                format!("The log file lies inside the source at {below}; it is neither copied nor deleted");
            assert!(
                place.read(&path).lines().take(3).any(|line| line.contains(&notice)),
                "{}",
                place.read(&path)
            );
            assert!(ended.stdout.lines().take(3).any(|line| line.contains(&notice)), "{ended:?}");
            let mut source = Tree::of(&place.at("source"));
            source.retain(|path| path != below.as_bytes());
            assert_eq!(source, Tree::of(&place.at("replica")), "{log}");
            let unchanged = ended.stdout.contains("pass 1 done: 0 created, 0 updated, 0 deleted");
            assert_eq!(unchanged, number == 2, "{log}: {ended:?}");
            assert!(number == 1 || !ended.stdout.contains("metadata"), "{log}: {ended:?}");
        }
    }
}

#[test]
fn a_log_in_the_replica_is_not_deleted_and_the_first_lines_say_so() {
    for log in ["replica/log", "replica/sub/log", "replica/own/deep/log", "replica/own/"] {
        let place = Scratch::with_source();
        place.write("source/sub/file", "content");
        let path = if log.ends_with('/') { format!("{log}file-sync.log") } else { log.to_owned() };
        let below = path.strip_prefix("replica/").expect("inside");
        for number in 1..=2 {
            let ended =
                start(place.with("--source source --replica replica --log_file", log).arg("--once")).end();
            assert_eq!(ended.code, Some(0), "{log}: {ended:?}");
            let notice =
                format!("The log file lies inside the replica at {below}; it is neither copied nor deleted");
            assert_eq!(count(&place.read(&path), &notice), number, "{}", place.read(&path));
            assert!(ended.stdout.lines().take(3).any(|line| line.contains(&notice)), "{ended:?}");
            assert_eq!(
                count(&place.read(&path), "file-sync stopped"),
                number,
                "the same file is appended to"
            );
            let mut replica = Tree::of(&place.at("replica"));
            replica.retain(|path| !below.as_bytes().starts_with(path) || path == b"sub");
            let mut source = Tree::of(&place.at("source"));
            source.retain(|path| !path.is_empty());
            assert_eq!(source, replica, "{log}");
            assert!(
                number == 1 || ended.stdout.contains("pass 1 done: 0 created, 0 updated, 0 deleted"),
                "{ended:?}"
            );
            assert!(number == 1 || !ended.stdout.contains("metadata"), "{log}: {ended:?}");
        }
    }
}

#[test]
fn beside_a_log_in_a_folder_that_the_source_lacks_everything_else_is_deleted() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    place.write("replica/own/log", "an older line\n");
    place.write("replica/own/extra", "content");
    place.write("replica/own/extras/deep/er", "content");
    place.write("replica/own/log.1", "rotated");
    let ended =
        start(place.with("--source source --replica replica --log_file replica/own/log", "--once")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(place.names("replica"), ["file", "own"]);
    assert_eq!(place.names("replica/own"), ["log", "log.1"]);
    assert!(place.read("replica/own/log").starts_with("an older line\n"));
}

#[test]
fn the_rotated_files_of_a_log_in_a_root_are_neither_copied_nor_deleted() {
    for root in ["source", "replica"] {
        let place = Scratch::with_source();
        for number in 0..40 {
            place.write(format!("source/a/{number}"), "content");
        }
        place.write(format!("{root}/logs/log.x"), "no rotated file");
        place.write(format!("{root}/logs/log.77"), "of another run with other options");
        let log = format!("{root}/logs/log");
        let roots = format!("--source source --replica replica --log_file {log}");
        for options in ["--log-max-size 1000B --log-keep 3", "--log-max-size off"] {
            let ended = start(place.with(&roots, &format!("--once {options}"))).end();
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        let mut kept = vec!["log", "log.1", "log.2", "log.3", "log.77"];
        if root == "source" {
            assert_eq!(place.names("replica/logs"), ["log.x"]);
            kept.push("log.x");
        }
        assert_eq!(place.names(&format!("{root}/logs")), kept);
        assert_eq!(place.names("replica/a").len(), 40);
    }
}

#[test]
fn a_log_that_is_rotated_in_a_root_by_repeated_passes_comes_to_rest() {
    for root in ["source", "replica"] {
        let place = Scratch::with_source();
        place.write("source/file", "content");
        let roots = format!("--source source --replica replica --log_file {root}/log --log-max-size 300B");
        let running = place.started(&mut place.with(&roots, "--interval 1h"));
        for _ in 0..4 {
            running.pass_now();
        }
        let ended = running.stop();
        assert_eq!(ended.stderr, "", "{ended:?}");
        assert_eq!(count(&ended.stdout, " create file "), 1, "{ended:?}");
        assert_eq!(count(&ended.stdout, " delete "), 0, "{ended:?}");
        assert!(place.has(format!("{root}/log.2")));
        assert!(!place.has("source/log.1") || !place.has("replica/log.1"));
    }
}

#[test]
fn a_path_that_is_the_log_on_one_side_is_left_alone_on_the_other() {
    let place = Scratch::with_source();
    place.write("source/log", "of the source\n");
    place.write("replica/log", "of the replica\n");
    let ended = start(place.with("--source source --replica replica --log_file replica/log", "--once")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(place.read("source/log"), "of the source\n");
    assert!(place.read("replica/log").starts_with("of the replica\n"));
    let ended = start(place.with("--source source --replica replica --log_file source/log", "--once")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(place.read("source/log").starts_with("of the source\n"));
    assert!(place.read("replica/log").starts_with("of the replica\n"));
}

#[test]
fn a_file_with_the_inode_of_the_log_is_neither_copied_nor_deleted_wherever_it_lies() {
    let place = Scratch::with_source();
    place.write("log", "an older line\n");
    for folder in ["source/old", "source/new", "replica/old", "replica/gone/deep"] {
        place.folder(folder);
    }
    place.write("source/new/file", "content");
    place.write("replica/gone/deep/file", "content");
    for name in
        ["source/log", "source/old/log", "source/new/log", "replica/old/mine", "replica/gone/deep/log"]
    {
        fs::hard_link(place.at("log"), place.at(name)).expect("linked");
    }
    for number in 1..=2 {
        let ended = start(place.with("--source source --replica replica", "--once --log_file log")).end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(place.names("replica"), ["gone", "new", "old"]);
        assert_eq!(place.names("replica/new"), ["file"]);
        assert_eq!(place.names("replica/old"), ["mine"]);
        assert_eq!(place.names("replica/gone/deep"), ["log"]);
        let log = place.read("log");
        assert_eq!(count(&log, "file-sync stopped"), number, "{log}");
        assert!(log.starts_with("an older line\n"), "{log}");
        let skipped =
            ["log", "new/log", "old/log", "old/mine"].map(|path| format!("skip {path} (it is the log file)"));
        assert!(skipped.iter().all(|line| ended.stdout.contains(line)), "{ended:?}");
        assert_eq!(count(&ended.stdout, " delete "), 2 - number, "what lies beside it goes: {ended:?}");
    }
}

#[test]
fn a_folder_of_the_replica_that_holds_the_log_is_not_replaced_by_a_file() {
    let place = Scratch::with_source();
    place.write("source/logs", "a file");
    let ended =
        start(place.with("--source source --replica replica --log_file replica/logs/log", "--once")).end();
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert!(place.read("replica/logs/log").contains("problem logs "), "{ended:?}");
}

#[test]
fn a_source_that_vanished_while_running_is_not_made_again_for_the_log_inside_it() {
    for log in ["source/log", "source/logs/log"] {
        let place = Scratch::with_source();
        place.write("source/file", "content");
        let command = &mut place.with("--source source --replica replica --log_file", "");
        let running = place.started(command.args([log, "--interval", "1h"]));
        let before = Tree::of(&place.at("replica")).stamped();
        place.remove("source");
        running.signal(Signal::USR1);
        let ended = running.end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(!place.has("source"), "{log}: {ended:?}");
        assert_eq!(Tree::of(&place.at("replica")).stamped(), before, "{log}");
        assert_eq!(count(&ended.stderr, "ERROR log Cannot write the log file"), 1, "{ended:?}");
        assert_eq!(
            count(&ended.stderr, "ERROR file-sync failed: The source source does not exist"),
            1,
            "{ended:?}"
        );
    }
}

#[test]
fn a_replica_that_vanished_with_the_log_inside_it_is_filled_again_and_so_is_the_log() {
    let place = Scratch::with_source();
    place.write("source/folder/file", "content");
    let command =
        &mut place.with("--source source --replica replica --log_file replica/log", "--interval 1h");
    let running = place.started(command);
    // In one step: a late log line would create a file in a folder that is being removed.
    place.rename("replica", "gone");
    running.pass_now();
    // The new log file is an entry of the replica's root, and may be created after pass 2 has set the root's mtime: the
    // log writer delays lines by some milliseconds, which is enough for more than one pass.
    until("the log is there again", || place.has("replica/log"));
    running.pass_now();
    running.pass_now();
    let ended = running.stop();
    let log = place.read("replica/log");
    assert!(log.contains("pass 2 started") && log.contains("pass 2 done: 2 created"), "{log}");
    assert!(log.contains("pass 4 done: 0 created, 0 updated, 0 deleted, 2 unchanged"), "{log}");
    assert_eq!(ended.stderr, "");
    let mut replica = Tree::of(&place.at("replica"));
    replica.retain(|path| path != b"log");
    assert_eq!(Tree::of(&place.at("source")), replica);
}

/// Another process on the same replica, with a log of its own.
fn second(place: &Scratch, replica: &str) -> crate::support::program::Ended {
    let roots = format!("--source source --replica {replica} --log_file second");
    start(place.with(&roots, "--once")).end()
}

#[test]
fn a_second_process_on_the_same_replica_is_refused() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    place.link("link", "replica");
    let running = place.start("");
    place.write("source/file", "changed");
    let before = Tree::of(&place.at("replica")).stamped();
    for replica in ["replica", "link", "./source/../replica"] {
        for options in ["--once", "--interval 1h"] {
            let roots = format!("--source source --replica {replica} --log_file second");
            let ended = start(place.with(&roots, options)).end();
            assert_eq!(ended.code, Some(1), "{ended:?}");
            let expected =
                format!("ERROR file-sync failed: The replica {replica} is locked by another file-sync");
            assert!(ended.stderr.contains(&expected), "{ended:?}");
            assert!(place.read("second").contains(&expected));
            assert_eq!(Tree::of(&place.at("replica")).stamped(), before);
        }
    }
    running.pass_now();
    running.stop();
    assert_eq!(second(&place, "replica").code, Some(0), "the lock ends with its process");
}

#[test]
fn a_dry_run_tells_what_would_be_done_also_beside_a_process_that_has_the_replica() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let running = place.start("");
    place.write("source/new", "content");
    let before = Tree::of(&place.at("replica")).stamped();
    for _ in 0..2 {
        let dry = start(place.with("--source source --replica replica --log_file second", "--dry-run")).end();
        assert_eq!((dry.code, dry.stderr.as_str()), (Some(0), ""), "{dry:?}");
        assert!(dry.stdout.contains("create\t7\tnew\n"), "{dry:?}");
        let log = place.read("second");
        assert!(log.contains("planned: 1 to create, 0 to update, "), "{log}");
        assert!(log.contains(" 0 to delete, 1 unchanged, 0 problems, "), "{log}");
    }
    assert_eq!(Tree::of(&place.at("replica")).stamped(), before);
    assert_eq!(second(&place, "replica").code, Some(1), "what writes still waits for its turn");
    running.pass_now();
    assert_mirrored(&place);
    running.stop();
}

#[test]
fn a_dry_run_needs_no_right_to_write() {
    let place = Scratch::of_ordinary_user();
    place.write("source/file", "content");
    place.write("source/new", "content");
    place.write("replica/file", "content");
    place.mode("replica/file", 0o444);
    place.mode("replica", 0o555);
    let dry = place.run("--dry-run");
    assert_eq!((dry.code, dry.stderr.as_str()), (Some(0), ""), "{dry:?}");
    assert!(dry.stdout.contains("create\t7\tnew\n"), "{dry:?}");
    assert_eq!(place.names("replica"), ["file"]);
}

#[test]
fn two_processes_on_one_source_and_two_replicas_are_welcome() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let running = place.start("");
    let ended = second(&place, "other");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    running.stop();
}

#[test]
fn a_replica_that_was_made_again_is_locked_as_well() {
    let ways: [fn(&Scratch); 2] =
        [|place| place.remove("replica"), |place| place.rename("replica", "elsewhere")];
    for lose in ways {
        let place = Scratch::with_source();
        place.write("source/file", "content");
        let running = place.start("");
        lose(&place);
        running.pass_now();
        let ended = second(&place, "replica");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("is locked by another file-sync"), "{ended:?}");
        if place.has("elsewhere") {
            assert_eq!(second(&place, "elsewhere").code, Some(0), "the old one is free");
        }
        running.stop();
    }
}

#[test]
fn the_lock_leaves_nothing_behind_not_even_after_kill_9() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let running = place.start("");
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
    assert_eq!(place.names("replica"), ["file"]);
    assert_eq!(place.names(""), ["log", "replica", "source", "state"]);
    let ended = second(&place, "replica");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("pass 1 done: 0 created, 0 updated, 0 deleted"), "{ended:?}");
}

#[test]
fn what_kill_9_leaves_in_the_middle_of_a_copy_is_removed_by_the_next_pass() {
    let place = Scratch::with_source();
    place.write_zeros("source/large", 128 << 20);
    place.write("replica/large", "the old version");
    let running = start(place.command("--once"));
    until("the copy has begun", || place.names("replica").len() == 2);
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
    assert_eq!(place.read("replica/large"), "the old version");
    place.write("source/large", "small now");
    place.sync();
    assert_eq!(place.names("replica"), ["large"]);
    assert_mirrored(&place);
}

#[test]
fn a_replica_that_an_ordinary_user_may_not_make_is_an_error() {
    let place = Scratch::of_ordinary_user();
    place.folder("closed");
    place.mode("closed", 0o555);
    let ended = start(place.with(&format!("--source source --replica closed/replica {LOG}"), "--once")).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let expected = "ERROR file-sync failed: The replica closed/replica cannot be created: Permission denied";
    assert!(ended.stderr.contains(expected), "{ended:?}");
    assert!(!place.has("closed/replica"));
}

#[test]
fn a_source_that_an_ordinary_user_may_not_read_is_an_error_or_a_problem_and_costs_no_replica() {
    let place = Scratch::of_ordinary_user();
    place.write("source/file", "content");
    place.sync();
    place.mode("source", 0o000);
    let before = Tree::of(&place.at("replica/file")).stamped();
    let ended = place.run("--once");
    assert!(matches!(ended.code, Some(1 | 23)), "{ended:?}");
    assert!(ended.stderr.contains("Permission denied"), "{ended:?}");
    assert_eq!(Tree::of(&place.at("replica/file")).stamped(), before);
}
