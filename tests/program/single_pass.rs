//! One pass and its exit code, the dry run, and a second pass without work.

use crate::support::fsops::noise;
use crate::support::program::{count, lines_with, start};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

fn some_tree(place: &Scratch) {
    place.write("source/file", "content");
    place.write("source/folder/deep/file", noise(100_000));
    place.write("source/empty", "");
    place.folder("source/folder/empty");
    place.link("source/link", "file");
    place.link("source/dangling", "nowhere");
    fs::hard_link(place.at("source/file"), place.at("source/folder/hard link")).expect("linked");
    rustix::fs::mkfifoat(rustix::fs::CWD, place.at("source/fifo"), rustix::fs::Mode::RWXU).expect("made");
    place.mode("source/folder/deep/file", 0o4751);
    place.mode("source/folder/empty", 0o1777);
}

#[test]
fn exit_code_0_when_the_replica_matches() {
    let place = Scratch::with_source();
    some_tree(&place);
    assert_eq!(place.run("--once").code, Some(0));
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}

#[test]
fn a_process_without_a_state_folder_says_so_once() {
    const NOTICE: &str = "WARN  notice No folder is known for what passes remember";
    let place = Scratch::with_source();
    assert_eq!(count(&place.run("--once").stderr, NOTICE), 0);
    let mut command = place.command("--interval 1h");
    command.env_remove("XDG_STATE_HOME").env_remove("HOME");
    let running = place.started(&mut command);
    running.pass_now();
    let ended = running.stop();
    assert_eq!(count(&ended.stderr, NOTICE), 1, "{ended:?}");
    let named =
        start(place.command("--once --state-dir elsewhere").env_remove("XDG_STATE_HOME").env_remove("HOME"));
    assert_eq!(count(&named.end().stderr, NOTICE), 0);
}

#[test]
fn exit_code_1_when_the_source_is_missing() {
    let place = Scratch::with_source();
    place.remove("source");
    assert_eq!(place.run("--once").code, Some(1));
}

#[test]
fn exit_code_2_when_the_command_line_makes_no_sense() {
    let place = Scratch::with_source();
    assert_eq!(place.run("--once --interval 0").code, Some(2));
    assert_eq!(place.names(""), ["source"], "nothing is created");
}

#[test]
fn exit_code_23_when_a_path_could_not_be_mirrored_and_the_rest_is() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "content");
    place.write("source/file", "content");
    place.mode("source/secret", 0o000);
    let ended = place.run("--once");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(place.names("replica"), ["file"]);
    assert!(
        ended.stdout.contains("pass 1 done: 1 created, 0 updated, 1 metadata set, 0 deleted"),
        "{ended:?}"
    );
}

#[test]
fn comparing_bytes_finds_the_same_damage_and_leaves_out_only_the_digests_of_what_is_right() {
    let place = Scratch::with_source();
    place.write("source/right", noise(300_000));
    place.write("source/wrong", noise(300_000));
    assert_eq!(place.run("--once").code, Some(0));
    // One bit differs; size and times are the same.
    let path = place.at("replica/wrong");
    let mut content = fs::read(&path).expect("readable");
    content[299_999] ^= 1;
    let time = fs::metadata(&path).and_then(|facts| facts.modified()).expect("a time");
    fs::write(&path, content).expect("written");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("a time");
    let ended = place.run("--once --verbose --compare bytes");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
    let digests = |words: &str| {
        let lines = lines_with(&ended.console(), words);
        assert_eq!(lines.len(), 1, "{words}: {ended:?}");
        lines[0].contains("sha256=")
    };
    assert!(!digests("same right"), "no digest was taken: {ended:?}");
    assert!(digests("repair wrong"), "what is copied is digested: {ended:?}");
    let again = place.run("--once --verbose --compare sha256");
    assert_eq!(lines_with(&again.stdout, "sha256=").len(), 2, "{again:?}");
}

#[test]
fn an_interval_does_no_harm_beside_once() {
    let place = Scratch::with_source();
    assert_eq!(place.run("--once --interval 1h").code, Some(0));
}

/// As in a mail folder: entries come and go all the time.
fn while_it_changes<R>(place: &Scratch, folder: &str, work: impl FnOnce() -> R) -> R {
    let (folder, is_over) = (place.at(folder), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0_u64.. {
                let path = folder.join(format!("comes and goes {number}"));
                fs::write(&path, "").expect("written");
                fs::remove_file(&path).expect("removed");
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        result
    })
}

/// Under cron each run is a process of its own, which knows nothing of the last one.
#[test]
fn what_went_from_a_folder_that_always_changes_goes_in_one_run_too() {
    let place = Scratch::with_source();
    place.write("source/large", noise(3 << 20));
    place.write("source/busy/file", "content");
    place.write("source/busy/gone", "content");
    place.sync();
    place.remove("source/busy/gone");
    // One worker reads the folder after the large file.
    let ended = while_it_changes(&place, "source/busy", || place.run("--once --threads 1"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!place.has("replica/busy/gone"), "{ended:?}");
    // The first pass cannot tell a deletion from a move.
    let passes = lines_with(&ended.stdout, " done: ");
    assert_eq!(passes.len(), 2, "{ended:?}");
    assert!(passes[0].contains("0 deleted") && passes[0].contains(" kept back, "), "{ended:?}");
    assert!(passes[0].contains(" MiB read"), "{ended:?}");
    // The second pass only lists, and reads no file that has not changed since.
    assert!(!passes[1].contains("0 deleted") && passes[1].contains(" B read"), "{ended:?}");
    assert!(lines_with(&ended.stdout, "notice ")[0].contains("may have moved"), "{ended:?}");
}

#[test]
fn a_second_pass_changes_nothing() {
    let place = Scratch::with_source();
    some_tree(&place);
    place.sync();
    let before = Tree::of(&place.at("replica")).stamped();
    let source = Tree::of(&place.at("source")).stamped();
    let ended = place.sync();
    assert!(
        ended.stdout.contains("pass 1 done: 0 created, 0 updated, 0 deleted, 10 unchanged, 0 problems"),
        "{ended:?}"
    );
    assert_eq!(
        lines_with(&ended.stdout, "").len(),
        4,
        "started, pass started, pass done, stopped: {ended:?}"
    );
    assert_eq!(Tree::of(&place.at("replica")).stamped(), before);
    assert_eq!(Tree::of(&place.at("source")).stamped(), source);
}

#[test]
fn a_dry_run_writes_nothing_and_prints_every_planned_change() {
    let place = Scratch::with_source();
    some_tree(&place);
    place.sync();
    place.write("source/file", "changed");
    place.write("source/new", "content");
    place.write("source/tree/deep/file", "content");
    place.mode("source/empty", 0o600);
    place.remove("source/folder/deep");
    place.remove("source/dangling");
    place.folder("source/dangling");
    place.write("replica/extra", "content");
    let before = (Tree::of(&place.at("source")).stamped(), Tree::of(&place.at("replica")).stamped());
    let state = Tree::of(&place.at("state")).stamped();
    for options in ["--dry-run", "-n", "-n --once", "-n --interval 1"] {
        place.remove("log");
        let ended = place.run(options);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stderr, "");
        for (line, logged) in [
            ("update\t7\tfile\tcontent differs\n", "update file "),
            ("create\t7\tnew\n", "create new "),
            ("create\t7\ttree/\t1 folder, 1 file\n", "create tree/ (1 folder, 1 file, 7 B)"),
            ("metadata\t-\tempty\tmode\n", "metadata empty "),
            ("delete\t100000\tfolder/deep/\t1 file\n", "delete folder/deep/ (0 folders, 1 file, 97.7 KiB)"),
            ("retype\t0\tdangling/\tempty, was a symbolic link\n", "retype dangling/ "),
            ("delete\t7\textra\n", "delete extra "),
        ] {
            assert_eq!(count(&ended.stdout, line), 1, "{line}: {ended:?}");
            assert_eq!(count(&place.log(), &format!("INFO  would {logged}")), 1, "{logged}");
        }
        assert!(
            place.log().contains("pass 1 planned: ") && place.log().contains("nothing was written"),
            "{ended:?}"
        );
        assert_eq!(
            before,
            (Tree::of(&place.at("source")).stamped(), Tree::of(&place.at("replica")).stamped()),
            "{options}"
        );
        assert_eq!(place.names(""), ["log", "replica", "source", "state"]);
        assert_eq!(state, Tree::of(&place.at("state")).stamped(), "the index is only read");
    }
}

#[test]
fn a_dry_run_does_not_make_a_missing_replica() {
    let place = Scratch::with_source();
    some_tree(&place);
    let roots = "--source source --replica new/deep/replica --log_file log";
    let ended = start(place.with(roots, "--dry-run")).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(place.names(""), ["log", "source"]);
    assert_eq!(count(&ended.stdout, "create\t"), 6, "the entries of the source's root: {ended:?}");
}

#[test]
fn a_dry_run_without_changes_says_so() {
    let place = Scratch::with_source();
    some_tree(&place);
    place.sync();
    let ended = place.run("--dry-run");
    assert_eq!((ended.code, ended.console().as_str()), (Some(0), ""));
    let expected = "pass 1 planned: 0 to create, 0 to update, 0 to delete, 10 unchanged, 0 problems";
    assert!(place.log().contains(expected), "{}", place.log());
}

#[test]
fn a_dry_run_with_problems_has_the_exit_code_of_a_pass_with_problems() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "content");
    place.write("source/file", "content");
    place.sync();
    place.mode("source/secret", 0o000);
    let before = Tree::of(&place.at("replica")).stamped();
    let ended = place.run("--dry-run");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(count(&ended.stderr, "WARN  problem secret sha256=\"\" "), 1, "{ended:?}");
    assert_eq!(Tree::of(&place.at("replica")).stamped(), before);
}

#[test]
fn what_a_dry_run_plans_is_what_a_pass_does() {
    let place = Scratch::with_source();
    some_tree(&place);
    place.sync();
    place.write("source/file", "changed");
    place.write("source/new", "content");
    place.remove("source/link");
    place.write("source/link", "a file now");
    place.remove("source/folder/empty");
    place.mode("source/empty", 0o600);
    place.write("replica/folder/deep/file", "damaged");
    // Verb and path of each line.
    let changes = |text: &str| -> Vec<String> {
        let verbs = ["create", "update", "repair", "retype", "link", "metadata", "delete"];
        let mut changes: Vec<String> = lines_with(text, "  ")
            .iter()
            .filter_map(|line| line.strip_prefix("INFO  ").or_else(|| line.strip_prefix("WARN  ")))
            .map(|line| line.strip_prefix("would ").unwrap_or(line))
            .filter(|line| verbs.iter().any(|verb| line.starts_with(&format!("{verb} "))))
            .map(|line| {
                let (verb, rest) = line.split_once(' ').expect("a path");
                let end = match rest.strip_prefix('"') {
                    Some(quoted) => quoted.find('"').map(|end| end + 2),
                    None => rest.find(' '),
                };
                format!("{verb} {}", &rest[..end.unwrap_or(rest.len())])
            })
            .collect();
        changes.sort();
        changes
    };
    let log = |options: &str| {
        place.remove("log");
        assert_eq!(place.run(options).code, Some(0), "{options}");
        place.log()
    };
    let planned = changes(&log("--dry-run"));
    let done = changes(&log("--once"));
    assert_eq!(planned, done);
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}

#[test]
fn one_thread_does_what_many_do() {
    for threads in ["1", "2", "16"] {
        let place = Scratch::with_source();
        some_tree(&place);
        let ended = place.run(&format!("--once -j {threads}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")), "{threads} threads");
    }
}

#[test]
fn the_source_is_only_ever_read() {
    let place = Scratch::with_source();
    some_tree(&place);
    let before = Tree::of(&place.at("source")).stamped();
    place.sync();
    place.write("replica/extra", "content");
    place.remove("replica/file");
    place.sync();
    assert_eq!(Tree::of(&place.at("source")).stamped(), before);
}

#[test]
fn what_is_written_is_read_back_when_that_is_wanted() {
    let place = Scratch::with_source();
    some_tree(&place);
    place.write("source/large", noise(3_000_000));
    // "content" has two names.
    let size = 2 * (7 + 100_000 + 3_000_000);
    let ended = place.run("--once --verify-writes --log-format json");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
    assert!(ended.stdout.contains(&format!("\"bytes_read\":{size},")), "{size}: {ended:?}");
    // An update, too.
    place.write("source/large", noise(2_000_000));
    let ended = place.run("--once --verify-writes");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}
