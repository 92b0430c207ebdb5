//! A limit of file sizes (`ulimit -f`, `LimitFSIZE=`): a file that is too large is a problem of that file only, also
//! the log.

use crate::support::fsops::noise;
use crate::support::program::{Ended, count, lines_with, start};
use crate::support::scratch::Scratch;
use std::fs::File;
use std::process::Command;

/// One run of the program with this limit of file sizes, in units of 512 bytes.
fn limited(place: &Scratch, blocks: u64, options: &str) -> Ended {
    let run = place.command(options);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!(r#"ulimit -f {blocks}; exec "$0" "$@""#)]);
    shell.arg(run.get_program()).args(run.get_args()).current_dir(place.path()).env("TZ", "UTC");
    start(shell).end()
}

/// The names in a folder, as text.
fn names(place: &Scratch, folder: &str) -> Vec<String> {
    place.names(folder).iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_file_beyond_the_limit_is_a_problem_and_everything_else_is_copied() {
    for threads in ["1", "4"] {
        let place = Scratch::with_source();
        for folder in ["source", "source/new"] {
            place.write(format!("{folder}/a large"), noise(3_000_000));
            for number in 0..4 {
                place.write(format!("{folder}/z{number}"), number.to_string());
            }
        }
        // Only the hole at its end exceeds the limit.
        place.write("source/sparse", "x");
        let sparse = File::options().write(true).open(place.at("source/sparse")).expect("open");
        sparse.set_len(8 << 20).expect("a filesystem with holes");
        place.write("source/replaced", noise(2_000_000));
        place.write("replica/replaced", "the old version");

        let ended = limited(&place, 1000, &format!("--once -j {threads}"));
        assert_eq!(ended.code, Some(23), "{ended:?}");
        let problems = lines_with(&place.log(), "WARN  problem");
        assert_eq!(problems.len(), 4, "{problems:?}");
        for (name, consequence) in [
            ("\"a large\"", "it is missing in the replica"),
            ("\"new/a large\"", "it is missing in the replica"),
            ("sparse", "it is missing in the replica"),
            ("replaced", "the old replica is kept"),
        ] {
            let words = "Cannot write the replica file: File too large (os error 27)";
            let expected = format!("WARN  problem {name} {words}; {consequence}");
            assert!(problems.contains(&expected), "{expected}: {problems:?}");
        }
        assert_eq!(names(&place, "replica"), ["new", "replaced", "z0", "z1", "z2", "z3"]);
        assert_eq!(names(&place, "replica/new"), ["z0", "z1", "z2", "z3"]);
        assert_eq!(place.read("replica/replaced"), "the old version");

        place.sync();
        assert_eq!(
            crate::support::tree::Tree::of(&place.at("source")),
            crate::support::tree::Tree::of(&place.at("replica"))
        );
    }
}

#[test]
fn a_log_that_reaches_the_limit_is_like_one_on_a_full_disk() {
    let place = Scratch::with_source();
    for number in 0..200 {
        place.write(format!("source/{number}"), "content");
    }
    let ended = limited(&place, 16, "--once");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(place.names("replica").len(), 200);
    assert_eq!(place.log().len(), 16 * 512, "it was filled to the last byte");
    let told = lines_with(&ended.stderr, "ERROR log Cannot write the log file");
    assert_eq!(told.len(), 1, "{}", ended.stderr);
    assert!(
        told.iter().all(|line| line.contains("File too large (os error 27); the backup goes on without it"))
    );
    assert_eq!(count(&ended.stdout, " create "), 200, "the console has every line");

    // The next run finds a torn line, and space.
    place.sync();
    let log = place.log();
    let torn = log.lines().filter(|line| !line.starts_with("20")).count();
    assert_eq!(torn, 0, "{log}");
    assert!(log.ends_with("file-sync stopped\n"), "{log}");
}

#[test]
fn what_needs_no_room_is_mirrored_also_where_no_file_may_have_content() {
    let place = Scratch::with_source();
    place.write("source/content", "content");
    place.write("source/empty", "");
    place.write("source/folder/empty", "");
    place.link("source/link", "content");
    let ended = limited(&place, 0, "--once");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(names(&place, "replica"), ["empty", "folder", "link"]);
    assert_eq!(names(&place, "replica/folder"), ["empty"]);
    assert_eq!(lines_with(&ended.stderr, "WARN  problem").len(), 1, "{ended:?}");
    assert_eq!(lines_with(&ended.stderr, "ERROR log").len(), 1, "{ended:?}");
    assert_eq!(place.log(), "");
}
