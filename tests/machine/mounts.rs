//! Mount points at, above and inside the roots come and go between the passes of one process. No lost mount causes a
//! deletion, nothing is written into a bare mount point, and the passes go on when the disk is back.

use crate::Test;
use crate::support::program::{Ended, Running, lines_with, start};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::MetadataExt;

pub(crate) const TESTS: &[Test] = tests![
    a_source_whose_mount_is_gone_holds_the_pass_whatever_is_in_the_mount_point,
    a_replica_whose_mount_is_gone_holds_the_pass_and_nothing_is_made_below,
    with_one_file_system_a_mount_is_an_empty_folder_that_nobody_misses,
    a_mount_inside_the_source_that_is_gone_holds_the_pass_until_it_is_back_or_its_mount_point_is_removed,
    a_file_that_is_mounted_inside_the_source_is_missed_like_a_folder,
    a_mount_in_a_folder_that_the_source_has_anew_is_missed_as_well,
    a_mount_that_goes_with_the_folder_around_it_is_removed_from_the_replica,
    a_mount_inside_the_replica_that_is_gone_holds_the_pass_and_nothing_is_copied_below,
    a_mount_that_comes_in_the_middle_is_remembered_from_then_on,
    a_disk_that_comes_back_under_another_number_goes_on_by_itself,
    another_disk_that_would_empty_the_replica_holds_the_pass_and_so_does_an_empty_one_in_its_place,
    another_disk_that_would_take_a_whole_new_copy_holds_the_pass,
    another_disk_inside_the_source_is_judged_by_what_it_does_there,
    a_disk_that_is_mounted_late_over_the_replica_is_taken_with_what_is_on_it,
    a_replica_that_was_deleted_on_its_own_disk_is_made_again,
    a_replica_that_was_unmounted_although_it_is_in_use_is_let_go_of_by_the_pass_that_finds_it_gone,
    a_log_on_a_disk_that_is_gone_is_not_made_in_the_mount_point,
    a_pass_that_is_held_for_a_mount_tells_it_in_fields,
    a_file_that_a_bind_mount_shows_under_more_names_than_it_has_is_one_file,
];

const WORDS: &str = "--source source --replica replica --log_file log --interval 1h";

fn with_one_file_system_a_mount_is_an_empty_folder_that_nobody_misses() {
    let place = Scratch::with_source();
    fs::create_dir_all(place.at("source/mounted/below")).expect("created");
    place.write("source/file", "content");
    let mounts =
        "mount -t tmpfs none source/mounted; mkdir source/mounted/below; touch source/mounted/below/x";
    let story = Story::new(place, mounts, &format!("{WORDS} -x"));
    assert_eq!(story.place.names("replica"), ["file", "mounted"]);
    assert!(story.place.names("replica/mounted").is_empty());
    // The folder below the mount is on the root's filesystem.
    story.does("umount source/mounted; touch source/mounted/y");
    story.pass("done: 2 created");
    assert_eq!(story.place.names("replica/mounted"), ["below", "y"]);
    story.does("mount -t tmpfs none source/mounted");
    story.pass("0 deleted, 1 unchanged, 2 excluded still in the replica");
    assert_eq!(story.place.names("replica/mounted"), ["below", "y"]);
    // Now there is something to lose.
    story.does("umount source/mounted; rm -r source/mounted/*");
    story.pass("held: ");
    assert_eq!(story.place.names("replica/mounted"), ["below", "y"]);
}

/// One process that makes several passes, among mounts visible only in its own namespace.
struct Story {
    place: Scratch,
    running: Running,
}

impl Story {
    /// Creates the mounts, starts the program, and waits for the first pass.
    fn new(place: Scratch, mounts: &str, words: &str) -> Story {
        let running = start(place.behind_mounts(mounts, words));
        running.hears("pass 1 done");
        Story { place, running }
    }

    /// Runs a script among the mounts.
    fn does(&self, script: &str) {
        self.running.among_its_mounts(&self.place, script);
    }

    /// Requests a pass and checks words of its end line, separated by commas.
    fn pass(&self, end: &str) {
        let number = self.running.last_pass() + 1;
        self.running.signal(Signal::USR1);
        self.running.pass_ends(number);
        let console = self.running.console();
        let is_end = |line: &&str| {
            line.contains(&format!(" pass {number} ")) && end.split(", ").all(|words| line.contains(words))
        };
        assert!(console.lines().any(|line| is_end(&line)), "pass {number}, no {end:?}: {console}");
    }

    fn stop(self) -> (Scratch, Ended) {
        (self.place, self.running.stop())
    }
}

/// A mount that goes and comes back. `X` stands for a name.
struct Way {
    name: &'static str,
    /// The mounts at the start; each is also kept at a second place.
    mounts: &'static str,
    root: &'static str,
    goes: &'static str,
    comes: &'static str,
}

const WAYS: [Way; 8] = [
    Way {
        name: "the root is the top of a mount",
        mounts: "mkdir X; mount -t tmpfs none X; mount --bind X keep",
        root: "X",
        goes: "umount -l X",
        comes: "mount --bind keep X",
    },
    Way {
        name: "the root is a folder of the same disk, mounted there",
        mounts: "mkdir X; mount --bind keep X",
        root: "X",
        goes: "umount -l X",
        comes: "mount --bind keep X",
    },
    Way {
        name: "the mount point is removed with its mount",
        mounts: "mkdir -p disk/X; mount -t tmpfs none disk/X; mount --bind disk/X keep",
        root: "disk/X",
        goes: "umount -l disk/X; rm -r disk/X",
        comes: "mkdir -p disk/X; mount --bind keep disk/X",
    },
    Way {
        name: "a mount above, whose mount point has such a folder as well",
        mounts: "mkdir -p disk/X; mount -t tmpfs none disk; mkdir disk/X; mount --bind disk keep",
        root: "disk/X",
        goes: "umount -l disk",
        comes: "mount --bind keep disk",
    },
    Way {
        name: "a mount far above",
        mounts: "mkdir disk; mount -t tmpfs none disk; mkdir -p disk/a/b/X; mount --bind disk keep",
        root: "disk/a/b/X",
        goes: "umount -l disk",
        comes: "mount --bind keep disk",
    },
    Way {
        name: "a mount that a symbolic link leads to",
        mounts: "mkdir disk; ln -s disk link; mount -t tmpfs none disk; mkdir disk/X; mount --bind disk keep",
        root: "link/X",
        goes: "umount -l disk",
        comes: "mount --bind keep disk",
    },
    Way {
        name: "a mount with a symbolic link on it that leads elsewhere",
        mounts: "mkdir -p disk/link/X there/X; mount -t tmpfs none disk; ln -s ../there disk/link; \
                 mount --bind disk keep",
        root: "disk/link/X",
        goes: "umount -l disk",
        comes: "mount --bind keep disk",
    },
    Way {
        name: "a mount on a mount, and both go",
        mounts: "mkdir disk; mount -t tmpfs none disk; mkdir disk/X; mount -t tmpfs none disk/X; \
                 mount --rbind disk keep",
        root: "disk/X",
        goes: "umount -l disk",
        comes: "mount --rbind keep disk",
    },
];

fn a_source_whose_mount_is_gone_holds_the_pass_whatever_is_in_the_mount_point() {
    for way in WAYS {
        let place = Scratch::with_source();
        place.folder("keep");
        let fit = |text: &str| text.replace('X', "data");
        let root = fit(way.root);
        let mounts = format!("{}; for i in 1 2 3; do echo $i >{root}/f$i; done", fit(way.mounts));
        let words = format!("--source {root} --replica replica --log_file log --interval 1h");
        let story = Story::new(place, &mounts, &words);
        assert_eq!(story.place.names("replica"), ["f1", "f2", "f3"], "{}", way.name);
        let before = Tree::of(&story.place.at("replica")).stamped();
        for left in ["", "NOT_MOUNTED", "f1"] {
            let leaves = if left.is_empty() { String::new() } else { format!("; echo here >{root}/{left}") };
            story.does(&format!("{}; mkdir -p {root}{leaves}", fit(way.goes)));
            story.pass("held: ");
            story.pass("held: ");
            assert_eq!(Tree::of(&story.place.at("replica")).stamped(), before, "{}{leaves}", way.name);
            story.does(&fit(way.comes));
            story.pass("done: 0 created, 0 updated, 0 deleted, 3 unchanged, 0 problems");
        }
        let (place, ended) = story.stop();
        let held = lines_with(&ended.stderr, "the source, was the top of a mount (device ");
        let held = held.len() + lines_with(&ended.stderr, "data was the top of a mount (device ").len();
        assert_eq!(held, 6, "{}: {ended:?}", way.name);
        assert_eq!(Tree::of(&place.at("replica")).stamped(), before, "{}", way.name);
    }
}

fn a_replica_whose_mount_is_gone_holds_the_pass_and_nothing_is_made_below() {
    for way in WAYS {
        let place = Scratch::with_source();
        place.folder("keep");
        place.write("source/file", "content");
        let fit = |text: &str| text.replace('X', "data");
        let root = fit(way.root);
        let words = format!("--source source --replica {root} --log_file log --interval 1h");
        let story = Story::new(place, &fit(way.mounts), &words);
        story.does(&fit(way.goes));
        let names = "find . -path ./keep -prune -o -name 'sum.*' -o -print | sort | sha256sum";
        story.does(&format!("{names} >sum.before"));
        story.place.write("source/file", "changed");
        story.pass("held: ");
        story.pass("held: ");
        story.does(&format!("{names} >sum.after; cmp sum.before sum.after"));
        story.does(&fit(way.comes));
        story.pass("done: 0 created, 1 updated, 0 deleted, 0 unchanged, 0 problems");
        story.does(&format!("test $(cat {root}/file) = changed"));
        let (_, ended) = story.stop();
        assert_eq!(lines_with(&ended.stderr, "was the top of a mount (").len(), 2, "{}: {ended:?}", way.name);
        let advice = "; mount it again, or, if that is meant, start file-sync anew; nothing was changed";
        assert!(ended.stderr.contains(advice), "{}: {ended:?}", way.name);
    }
}

fn a_mount_inside_the_source_that_is_gone_holds_the_pass_until_it_is_back_or_its_mount_point_is_removed() {
    let place = Scratch::with_source();
    place.write("source/a/file", "content");
    place.folder("source/a/m");
    place.folder("keep");
    let mounts = "mount -t tmpfs none source/a/m; mkdir source/a/m/deep; echo 1 >source/a/m/deep/f; \
                  mount --bind source/a/m keep";
    let story = Story::new(place, mounts, WORDS);
    assert_eq!(story.place.read("replica/a/m/deep/f"), "1\n");
    let before = Tree::of(&story.place.at("replica")).stamped();
    for leaves in ["", "; touch source/a/m/NOT_MOUNTED", "; mkdir source/a/m/deep"] {
        story.does(&format!("umount source/a/m{leaves}"));
        story.pass("held: a/m in the source was the top of a mount (device ");
        story.pass("held: a/m in the source was the top of a mount (device ");
        assert_eq!(Tree::of(&story.place.at("replica")).stamped(), before, "{leaves}");
        story.does("mount --bind keep source/a/m");
        story.pass("done: 0 created, 0 updated, 0 deleted");
    }
    story.does("umount source/a/m; rm -r source/a/m");
    story.pass("done: 0 created, 0 updated, 3 deleted");
    assert_eq!(story.place.names("replica/a"), ["file"]);
    let (_, ended) = story.stop();
    let advice = "; mount it again, or, if that is meant, start file-sync anew or remove the mount point; \
                  nothing was changed";
    assert!(ended.stderr.contains(advice), "{ended:?}");
}

fn a_file_that_is_mounted_inside_the_source_is_missed_like_a_folder() {
    let place = Scratch::with_source();
    place.write("source/file", "below");
    place.write("other", "mounted");
    let story = Story::new(place, "mount --bind other source/file", WORDS);
    assert_eq!(story.place.read("replica/file"), "mounted");
    story.does("umount source/file");
    story.pass("held: file in the source was the top of a mount (device ");
    assert_eq!(story.place.read("replica/file"), "mounted");
    story.stop();
}

fn a_mount_in_a_folder_that_the_source_has_anew_is_missed_as_well() {
    let place = Scratch::with_source();
    place.folder("keep");
    let story = Story::new(place, "mount -t tmpfs none keep; echo 1 >keep/f", WORDS);
    // The folder is new, so the pass copies it whole.
    story.does("mkdir -p source/new/m; mount --bind keep source/new/m");
    story.pass("done: 3 created");
    story.does("umount source/new/m");
    story.pass("held: new/m in the source was the top of a mount");
    assert_eq!(story.place.read("replica/new/m/f"), "1\n");
    story.stop();
}

fn a_mount_that_goes_with_the_folder_around_it_is_removed_from_the_replica() {
    let place = Scratch::with_source();
    place.folder("source/a/m");
    place.folder("source/b");
    let story = Story::new(place, "mount -t tmpfs none source/a/m; touch source/a/m/f", WORDS);
    story.does("umount source/a/m; rm -r source/a");
    story.pass("done: 0 created, 0 updated, 3 deleted");
    assert_eq!(story.place.names("replica"), ["b"]);
    story.stop();
}

fn a_mount_inside_the_replica_that_is_gone_holds_the_pass_and_nothing_is_copied_below() {
    let place = Scratch::with_source();
    place.write("source/a/m/f", "content");
    place.folder("replica/a/m");
    place.folder("keep");
    let mounts = "mount -t tmpfs none replica/a/m; mount --bind replica/a/m keep";
    let story = Story::new(place, mounts, WORDS);
    let below = Tree::of(&story.place.at("replica/a/m")).stamped();
    story.does("test -e replica/a/m/f; umount replica/a/m");
    story.place.write("source/a/m/f", "changed");
    story.pass("held: a/m in the replica was the top of a mount (device ");
    story.pass("held: a/m in the replica was the top of a mount (device ");
    assert_eq!(Tree::of(&story.place.at("replica/a/m")).stamped(), below);
    story.does("mount --bind keep replica/a/m");
    story.pass("done: 0 created, 1 updated");
    story.does("test $(cat replica/a/m/f) = changed");
    let (place, _) = story.stop();
    assert_eq!(Tree::of(&place.at("replica/a/m")).stamped(), below);
}

fn a_mount_that_comes_in_the_middle_is_remembered_from_then_on() {
    let place = Scratch::with_source();
    place.write("source/m/f", "on the disk below");
    let story = Story::new(place, "true", WORDS);
    story.does("mount -t tmpfs none source/m; echo mounted >source/m/g; cp -a source/m/. /dev/null || true");
    story.pass("done: 1 created, 0 updated, 1 deleted");
    story.does("umount source/m");
    story.pass("held: m in the source was the top of a mount");
    assert_eq!(story.place.read("replica/m/g"), "mounted\n");
    story.stop();
}

fn a_disk_that_comes_back_under_another_number_goes_on_by_itself() {
    let place = Scratch::with_source();
    place.folder("disk");
    place.folder("keep");
    // A copy with all its attributes stands in for the same disk under another device number.
    let mounts = "mount -t tmpfs none disk; mkdir disk/data disk/replica; touch disk/data/a disk/data/b";
    let words = "--source disk/data --replica disk/replica --log_file log --interval 1h";
    let story = Story::new(place, mounts, words);
    let swaps =
        "mount -t tmpfs none keep; cp -a disk/. keep; umount -l disk; mount --bind keep disk; umount keep";
    for _ in 0..2 {
        story.does(swaps);
        story.pass("done: 0 created, 0 updated, 0 deleted, 2 unchanged, 0 problems");
    }
    // Rotating backup disks: this one is one pass behind.
    story.does("mount -t tmpfs none keep; cp -a disk/. keep; echo new >keep/data/a; touch keep/data/c");
    story.does("umount -l disk; mount --bind keep disk");
    story.pass("done: 1 created, 1 updated, 0 deleted");
    let (_, ended) = story.stop();
    assert_eq!(ended.stderr, "");
}

fn another_disk_that_would_empty_the_replica_holds_the_pass_and_so_does_an_empty_one_in_its_place() {
    let place = Scratch::with_source();
    place.folder("disk");
    place.folder("keep");
    let mounts = "mount -t tmpfs none disk; mount --bind disk keep; touch disk/a disk/b disk/c";
    let words = "--source disk --replica replica --log_file log --interval 1h";
    let story = Story::new(place, mounts, words);
    let before = Tree::of(&story.place.at("replica")).stamped();
    for content in ["true", "mkdir disk/lost+found", "touch disk/other"] {
        story.does(&format!("umount disk; mount -t tmpfs none disk; {content}"));
        story.pass("held: the source ");
        story.pass("held: the source ");
        assert_eq!(Tree::of(&story.place.at("replica")).stamped(), before, "{content}");
        story.does("umount disk; mount --bind keep disk");
        story.pass("done: 0 created, 0 updated, 0 deleted, 3 unchanged");
    }
    let (_, ended) = story.stop();
    let told = " and the plan would create 1 entries and delete 3 of the replica's 3 entries (100 %)";
    assert!(ended.stderr.contains(told), "{ended:?}");
    let approves = "if that is meant: file-sync approve --source ";
    assert!(ended.stderr.contains(approves), "{ended:?}");
}

fn another_disk_that_would_take_a_whole_new_copy_holds_the_pass() {
    let place = Scratch::with_source();
    place.folder("disk");
    place.folder("keep");
    for name in ["a", "b", "c"] {
        place.write(format!("source/{name}"), name);
    }
    let mounts = "mount -t tmpfs none disk; mount --bind disk keep";
    for replica in ["disk", "disk/deep/replica"] {
        let place = Scratch::with_source();
        place.folder("disk");
        place.folder("keep");
        place.write("source/a", "a");
        let words = format!("--source source --replica {replica} --log_file log --interval 1h");
        let story = Story::new(place, mounts, &words);
        story.does("umount -l disk; mount -t tmpfs none disk");
        story.pass("held: ");
        story.does("test -z \"$(ls -A disk)\"");
        // A replica folder made by hand is found, but everything would be copied again.
        story.does(&format!("mkdir -p {replica}"));
        story.pass("held: ");
        story.does(&format!("test -z \"$(ls -A {replica})\""));
        story.does("umount disk; mount --bind keep disk");
        story.pass("done: 0 created, 0 updated, 0 deleted, 1 unchanged");
        story.stop();
    }
}

fn another_disk_inside_the_source_is_judged_by_what_it_does_there() {
    let place = Scratch::with_source();
    place.folder("source/m");
    place.folder("keep");
    for number in 0..50 {
        place.write(format!("source/{number}"), "content");
    }
    let mounts = "mount -t tmpfs none source/m; mount --bind source/m keep; mkdir source/m/d; \
                  touch source/m/d/a source/m/d/b source/m/d/c";
    let story = Story::new(place, mounts, WORDS);
    story.does("umount source/m; mount -t tmpfs none source/m; mkdir source/m/d");
    story.pass("held: m in the source was the top of a mount (device ");
    story.does("touch source/m/d/a source/m/d/b");
    story.pass("done: 0 created, 0 updated, 1 deleted");
    story.stop();
}

fn a_disk_that_is_mounted_late_over_the_replica_is_taken_with_what_is_on_it() {
    let place = Scratch::with_source();
    place.folder("disk");
    place.write("source/a", "content");
    let words = "--source source --replica disk/replica --log_file log --interval 1h";
    let story = Story::new(place, "true", words);
    assert_eq!(story.place.names("disk/replica"), ["a"]);
    story.does("mount -t tmpfs none disk; mkdir disk/replica; echo old >disk/replica/a");
    story.pass("done: 0 created, 1 repaired");
    story.does("test $(cat disk/replica/a) = content; umount -l disk");
    story.pass("held: ");
    story.stop();
}

fn a_replica_that_was_deleted_on_its_own_disk_is_made_again() {
    let place = Scratch::with_source();
    place.folder("disk");
    place.write("source/a", "content");
    let words = "--source source --replica disk/deep/replica --log_file log --interval 1h";
    let story = Story::new(place, "mount -t tmpfs none disk", words);
    for gone in ["disk/deep/replica", "disk/deep"] {
        story.does(&format!("rm -r {gone}"));
        story.pass("done: 1 created");
        story.does("test $(cat disk/deep/replica/a) = content");
    }
    story.stop();
}

fn a_replica_that_was_unmounted_although_it_is_in_use_is_let_go_of_by_the_pass_that_finds_it_gone() {
    let place = Scratch::with_source();
    place.folder("disk");
    place.folder("keep");
    place.write("source/a", "content");
    let words = "--source source --replica disk/replica --log_file log --interval 1h";
    let mounts = "mount -t tmpfs none disk; mount --bind disk keep";
    let story = Story::new(place, mounts, words);
    story.does("umount -l disk");
    let is_locked = "! flock --nonblock keep/replica true";
    story.does(is_locked);
    story.pass("held: ");
    story.does("flock --nonblock keep/replica true");
    story.does("mount --bind keep disk");
    story.pass("done: 0 created, 0 updated, 0 deleted, 1 unchanged");
    story.does(is_locked);
    story.stop();
}

fn a_log_on_a_disk_that_is_gone_is_not_made_in_the_mount_point() {
    for log in ["disk/log", "disk/logs/log", "disk/replica/log", "disk/replica/logs/log"] {
        let place = Scratch::with_source();
        place.folder("disk");
        place.folder("keep");
        place.write("source/a", "content");
        let words = format!("--source source --replica disk/replica --log_file {log} --interval 1h");
        let mounts = "mount -t tmpfs none disk; mount --bind disk keep";
        let story = Story::new(place, mounts, &words);
        story.does("umount -l disk");
        story.pass("held: ");
        story.running.hears("ERROR log Cannot write the log file ");
        story.does("test -z \"$(ls -A disk)\"; mount --bind keep disk");
        story.pass("done: 0 created, 0 updated, 0 deleted, 1 unchanged");
        story.running.hears(" is written again; ");
        let (_, ended) = story.stop();
        let cause = "disk is not mounted any more; the backup goes on without it";
        assert_eq!(lines_with(&ended.stderr, cause).len(), 1, "{log}: {ended:?}");
    }
}

fn a_pass_that_is_held_for_a_mount_tells_it_in_fields() {
    let place = Scratch::with_source();
    place.folder("disk");
    place.write("source/a", "content");
    let words = "--source source --replica disk/replica --log_file log --interval 1h --log-format json";
    let command = place.behind_mounts("mount -t tmpfs none disk", words);
    let running = start(command);
    running.hears("\"outcome\":\"done\"");
    let story = Story { place, running };
    story.does("umount -l disk");
    story.running.signal(Signal::USR1);
    story.running.hears("\"outcome\":\"held\"");
    let (place, ended) = story.stop();
    let line = ended.stderr.lines().find(|line| line.contains("\"outcome\":\"held\"")).expect("a line");
    let event: serde_json::Value = serde_json::from_str(line).expect("an object");
    assert_eq!(event["hold"], "mount_gone", "{line}");
    assert_eq!(event["side"], "replica", "{line}");
    assert_eq!(
        event["place"],
        place.at("disk").canonicalize().expect("there").to_str().expect("text"),
        "{line}"
    );
    assert_eq!((&event["was_mount"], &event["now_mount"]), (&true.into(), &false.into()), "{line}");
    assert!(event["was_device"].as_str().expect("text").starts_with("0:"), "{line}");
    assert_ne!(event["was_device"], event["now_device"], "{line}");
}

fn a_file_that_a_bind_mount_shows_under_more_names_than_it_has_is_one_file() {
    let place = Scratch::with_source();
    place.write("source/a/x", "content");
    fs::hard_link(place.at("source/a/x"), place.at("source/a/y")).expect("linked");
    place.folder("source/b");
    for linked in [Some("3 linked"), None] {
        let words = format!("{WORDS} --threads 1").replace("--interval 1h", "--once");
        let command = place.behind_mounts("mount --bind source/a source/b", &words);
        let ended = start(command).end();
        assert_eq!(ended.stdout.contains(linked.unwrap_or("linked")), linked.is_some(), "{ended:?}");
        for name in ["a/x", "a/y", "b/x", "b/y"] {
            let links = fs::metadata(place.at(format!("replica/{name}"))).expect("there").nlink();
            assert_eq!(links, 4, "{name}: {ended:?}");
        }
    }
}
