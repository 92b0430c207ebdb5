//! The room that a plan needs, on small filesystems: a plan that cannot fit is held before the first write, and one that
//! fits is not, however it comes to fit.

use crate::Test;
use crate::support::program::start;
use crate::support::scratch::Scratch;
use std::fs;

pub(crate) const TESTS: &[Test] = tests![
    a_plan_that_cannot_fit_is_held_until_it_fits,
    what_the_plan_deletes_and_replaces_makes_room,
    a_file_costs_its_blocks_once_under_all_its_names_and_nothing_when_it_moves,
    each_filesystem_inside_the_replica_is_judged_by_itself,
    a_plan_with_more_files_than_inodes_is_held,
    after_a_pass_with_problems_a_plan_that_seems_too_large_is_tried,
];

/// A script, the options of the pass after it, its exit code, and words that it says.
type Step = (&'static str, &'static str, i32, &'static str);

const DONE: &str = "pass 1 done";

/// Runs passes one after the other, between scripts, on mounts of their own.
fn story(mounts: &str, steps: &[Step]) {
    let place = Scratch::with_source();
    let mut script = mounts.to_owned();
    for (at, (step, options, ..)) in steps.iter().enumerate() {
        script.push_str(&format!(
            "; {step}; code=0; \"$0\" \"$@\" {options} >said.{at} 2>&1 || code=$?; echo \"exit $code\" >>said.{at}"
        ));
    }
    let words = "--source source --replica disk/replica --log_file log --once";
    let ended = start(place.behind_mounts(&script, words)).end();
    for (at, (step, options, code, words)) in steps.iter().enumerate() {
        let said = fs::read_to_string(place.at(format!("said.{at}")));
        let said = said.unwrap_or_else(|_| format!("nothing; the script ended: {ended:?}"));
        let is_right = said.contains(&format!("exit {code}\n")) && said.contains(words);
        assert!(is_right, "step {at}, {step:?} {options:?}: not {code} and {words:?}: {said}");
    }
}

const DISK: &str = "mkdir disk; mount -t tmpfs -o size=16m none disk; \
    file() { mkdir -p \"$(dirname \"$1\")\"; head -c \"$2\"M /dev/urandom >\"$1\"; }";

fn a_plan_that_cannot_fit_is_held_until_it_fits() {
    story(
        DISK,
        &[
            (
                "file source/large 24",
                "",
                25,
                "held: the plan needs 24 MiB on the filesystem of disk/replica, which has 16 MiB free and gets back 0 B from \
                 what is deleted or replaced: 8 MiB too few; make room there, or run it with --no-space-check, which copies \
                 what fits; nothing was changed",
            ),
            ("test ! -e disk/replica", "--dry-run", 25, "create\t25165824\tlarge"),
            ("true", "--dry-run --no-space-check", 0, "create\t25165824\tlarge"),
            (
                "mkdir -p disk/replica; file disk/replica/extra 1",
                "",
                25,
                "has 15 MiB free and gets back 1 MiB",
            ),
            ("test -e disk/replica/extra; file source/large 8", "", 0, DONE),
            ("test ! -e disk/replica/extra; file source/larger 12", "", 25, "needs 12 MiB"),
            ("file source/small 1", "--no-space-check", 23, "problem larger"),
            ("cmp source/small disk/replica/small", "", 23, "problem larger"),
        ],
    );
}

fn what_the_plan_deletes_and_replaces_makes_room() {
    story(
        DISK,
        &[
            ("file source/goes/one 6; file source/goes/two 6; file source/stays 2", "", 0, DONE),
            ("rm -r source/goes; file source/comes 12", "", 0, "1 created"),
            // Of another kind than before, in both directions.
            ("rm source/comes; file source/comes/one 12", "", 0, "1 retyped"),
            ("rm -r source/comes; file source/comes 1", "", 0, "1 retyped"),
            // Either version fits and both do not: the rest is mirrored all the same.
            ("file source/comes 9", "", 0, DONE),
            ("file source/comes 12; echo >source/little", "", 23, "create little"),
            ("true", "", 23, "problem comes"),
            ("rm source/stays", "", 23, "delete stays"),
        ],
    );
}

fn a_file_costs_its_blocks_once_under_all_its_names_and_nothing_when_it_moves() {
    story(
        DISK,
        &[
            ("truncate -s 1T source/hole", "", 0, DONE),
            // Blocks that were reserved and never written become a hole of the copy.
            ("truncate -s 90M source/image; fallocate -n -o 8M -l 64M source/image || true", "", 0, DONE),
            ("truncate -s 91M source/image", "", 0, "1 updated"),
            ("file source/a/1 7; for i in 2 3 4 5; do ln source/a/1 source/a/$i; done", "", 0, "4 linked"),
            ("cp -al source/a source/b", "", 0, DONE),
            ("mv source/b source/c; file source/c/other 7", "", 0, DONE),
            ("mkdir source/d; mv source/c/other source/d/moved", "", 0, "1 moved"),
            ("rm -r source/a source/c; file source/e 8", "", 0, DONE),
            ("truncate -s 1T source/hole2; file source/f 4", "", 25, "needs 4 MiB"),
            // Two names each of two files, one of which has another name outside.
            ("rm source/f source/e; file source/g/1 5; ln source/g/1 source/g/2", "", 0, DONE),
            (
                "file outside 9; ln outside source/h; ln outside source/i",
                "--dry-run",
                0,
                "create\t9437184\th",
            ),
        ],
    );
}

fn each_filesystem_inside_the_replica_is_judged_by_itself() {
    let mounts =
        format!("{DISK}; mkdir -p disk/replica/inner; mount -t tmpfs -o size=4m none disk/replica/inner");
    story(
        &mounts,
        &[
            ("file source/large 14; file source/inner/small 3", "", 0, DONE),
            (
                "file source/inner/more/large 6",
                "",
                25,
                "the plan needs 6 MiB on the filesystem of disk/replica/inner, which has 1 MiB free",
            ),
            ("rm -r source/inner/more; rm source/large; file source/inner/more 3", "", 25, "needs 3 MiB"),
            ("rm source/inner/small", "", 0, DONE),
        ],
    );
}

fn a_plan_with_more_files_than_inodes_is_held() {
    let mounts = "mkdir disk; mount -t tmpfs -o size=16m,nr_inodes=40 none disk";
    story(
        mounts,
        &[
            (
                "for i in $(seq 50); do echo $i >source/$i; done",
                "",
                25,
                "the plan needs 50 inodes (one for each file and folder) on the filesystem of disk/replica, which has",
            ),
            ("for i in $(seq 31 50); do rm source/$i; done", "", 0, "30 created"),
            ("mkdir source/new; for i in $(seq 30); do mv source/$i source/new; done", "", 0, DONE),
            (
                "rm -r source/new; mkdir source/x; for i in $(seq 30); do echo x >source/x/$i; done",
                "",
                0,
                DONE,
            ),
        ],
    );
}

fn after_a_pass_with_problems_a_plan_that_seems_too_large_is_tried() {
    story(
        DISK,
        &[
            ("file source/large 24", "--no-space-check", 23, "problem large"),
            (
                "echo little >source/little",
                "",
                23,
                "The replica may lack room: the plan needs 24 MiB on the filesystem of disk/replica",
            ),
            ("cmp source/little disk/replica/little; rm source/large", "", 0, DONE),
            ("file source/large 24", "", 25, "needs 24 MiB"),
        ],
    );
}
