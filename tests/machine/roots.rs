//! Roots and logs on mounts: one folder under two names, roots that overlap through a mount, mounts inside the roots.
//! Also the owner of a root.

use crate::Test;
use crate::support::leave_out::leave_out;
use crate::support::program::{lines_with, start};
use crate::support::scratch::{Scratch, is_root};
use crate::support::tree::Tree;
use std::fs;
use std::os::unix::fs::MetadataExt;

pub(crate) const TESTS: &[Test] = tests![
    a_source_that_only_the_kernel_can_find_is_the_one_that_is_mirrored,
    roots_that_are_one_folder_by_a_bind_mount_are_refused,
    roots_that_overlap_through_what_is_mounted_inside_them_are_refused,
    a_disk_that_a_bind_mount_of_the_folder_around_it_does_not_show_is_no_part_of_it,
    a_log_on_a_disk_that_the_source_does_not_show_lies_outside,
    a_source_that_is_unmounted_between_two_passes_holds_the_pass_and_keeps_the_replica,
    what_is_mounted_in_the_replica_is_not_emptied_for_the_sake_of_a_log,
    a_program_that_works_as_root_keeps_the_roots_own_mode_and_owner,
    exit_code_23_when_an_extra_cannot_be_deleted,
];

const LOG: &str = "--log_file log";

fn a_source_that_only_the_kernel_can_find_is_the_one_that_is_mirrored() {
    let place = Scratch::with_source();
    place.folder("source/data");
    // The text of the link names another folder than its destination, which is the working folder of another process.
    let script = "mkdir there; mount -t tmpfs none there; echo hidden >there/f; (cd there; exec sleep 100) & pid=$!; \
        until test /proc/$pid/cwd -ef there; do sleep 0.01; done; mount -t tmpfs none there; echo shown >there/f; \
        ln -s /proc/$pid/cwd link; trap \"kill $pid\" EXIT; \"$0\" \"$@\"; code=$?; \
        cat replica/f; exit $code";
    let words = format!("--source link --replica replica {LOG} --once");
    let command = place.behind_mounts(script, &words);
    let ended = start(command).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(place.read("replica/f"), "hidden\n");
}

fn roots_that_are_one_folder_by_a_bind_mount_are_refused() {
    let cases = [
        ("mount --bind source mount", "source", "mount"),
        ("mount --bind source mount", "mount", "source"),
        ("mount --bind source mount", "source", "mount/sub"),
        ("mount --bind source mount", "source", "mount/new"),
        ("mount --bind source mount", "mount/sub", "source"),
        ("mount --bind source/sub mount", "source", "mount"),
        ("mount --bind source/sub mount", "source", "mount/new/deep"),
        ("mount --bind source/sub mount", "mount", "source"),
        ("mount --bind other source/sub", "source", "source/sub"),
    ];
    for (script, source, replica) in cases {
        let place = Scratch::with_source();
        place.write("source/sub/file", "content");
        place.folder("mount");
        place.folder("other");
        let before = Tree::of(&place.at("source")).stamped();
        let words = format!("--source {source} --replica {replica} {LOG} --once");
        let command = place.behind_mounts(script, &words);
        let ended = start(command).end();
        let case = format!("{script}: {words}: {ended:?}");
        assert_eq!(ended.code, Some(1), "{case}");
        assert!(ended.stderr.contains(source) && ended.stderr.contains(replica), "{case}");
        assert!(ended.stderr.contains("same folder") || ended.stderr.contains("lies inside"), "{case}");
        assert_eq!(Tree::of(&place.at("source")).stamped(), before, "{case}");
        assert!(place.names("mount").is_empty() && place.names("other").is_empty(), "{case}");
    }
}

fn roots_that_overlap_through_what_is_mounted_inside_them_are_refused() {
    let cases = [
        // The source contains a bind mount of the folder that holds the replica: the copy would never end.
        ("mount --bind mount source/sub", "mount/replica"),
        // The replica contains a bind mount of a filesystem inside the source: a deletion there would delete source
        // data.
        (
            "mount -t tmpfs none source/sub; mkdir source/sub/y; touch source/sub/y/precious; mkdir -p replica/x; \
             mount --bind source/sub/y replica/x; trap 'ls source/sub/y/precious' EXIT",
            "replica",
        ),
    ];
    for (script, replica) in cases {
        let place = Scratch::with_source();
        place.write("source/sub/file", "content");
        place.folder("mount");
        let before = Tree::of(&place.at("source")).stamped();
        let words = format!("--source source --replica {replica} {LOG} --once");
        let command = place.behind_mounts(script, &words);
        let ended = start(command).end();
        let case = format!("{script}: {words}: {ended:?}");
        assert_eq!(ended.code, Some(1), "{case}");
        assert!(ended.stderr.contains("overlap; nothing was changed"), "{case}");
        assert_eq!(Tree::of(&place.at("source")).stamped(), before, "{case}");
        assert!(place.names("mount").is_empty(), "{case}");
    }
}

fn a_disk_that_a_bind_mount_of_the_folder_around_it_does_not_show_is_no_part_of_it() {
    // `top` stands in for `/`. It is a mount of its own, so mounts in it are on it and not on its bind mount.
    let top = "mkdir -p top/etc top/mnt/disk view; echo a >top/etc/a; mount --bind top top";
    let disk = "mount -t tmpfs none top/mnt/disk";
    let cases = [
        (format!("{top}; {disk}; mount --bind top view"), "view", "top/mnt/disk/backup", true),
        (
            format!("{top}; {disk}; mount --bind top view; mkdir top/mnt/disk/backup"),
            "view",
            "top/mnt/disk/backup",
            true,
        ),
        (format!("{top}; {disk}; mount --bind top view"), "view", "top/mnt/disk", true),
        // The reverse direction, for a full restore.
        (
            format!("{top}; {disk}; mount --bind top view; cp -a view top/mnt/disk/b; echo b >top/etc/a"),
            "top/mnt/disk/b",
            "view",
            true,
        ),
        // A recursive bind mount, which includes the mounts below.
        (format!("{top}; {disk}; mount --rbind top view"), "view", "top/mnt/disk/backup", false),
        (format!("{top}; {disk}; mount --rbind top view"), "view", "top/mnt/disk", false),
        (
            format!("{top}; {disk}; mount --rbind top view; mkdir top/mnt/disk/b"),
            "top/mnt/disk/b",
            "view",
            false,
        ),
        // A shared bind mount, which includes later mounts below.
        (
            format!("mount --make-rshared .; {top}; mount --bind top view; {disk}"),
            "view",
            "top/mnt/disk/backup",
            false,
        ),
        // The disk is visible at another place.
        (
            format!(
                "{top}; {disk}; mkdir top/mnt/disk/b; mount --bind top view; mount --bind top/mnt/disk view/etc"
            ),
            "view",
            "top/mnt/disk/b",
            false,
        ),
        // A bind-mounted folder of the same disk, itself visible in the source.
        (
            format!("{top}; mkdir top/real; mount --bind top view; mount --bind top/real top/mnt/disk"),
            "view",
            "top/mnt/disk/b",
            false,
        ),
        // No disk at all.
        (format!("{top}; mount --bind top view"), "view", "top/mnt/disk/backup", false),
        (format!("{top}; mount --bind top view"), "view", "top/new/backup", false),
        (format!("{top}; mount --bind top view"), "top/etc", "view", false),
    ];
    for (script, source, replica, is_apart) in cases {
        let place = Scratch::with_source();
        let words = format!("--source {source} --replica {replica} {LOG} --once");
        let around = if is_apart { "true" } else { "find top view >before" };
        // A new mount namespace is private unless the script makes it shared.
        let script = format!("mount --bind . .; cd \"$PWD\"; {script}; {around}");
        let command = place.behind_mounts(&script, &words);
        let ended = start(command).end();
        let case = format!("{script}: {words}: {ended:?}");
        if is_apart {
            assert_eq!(ended.code, Some(0), "{case}");
            assert!(ended.stdout.contains(" 0 problems, "), "{case}");
        } else {
            assert_eq!(ended.code, Some(1), "{case}");
            assert!(
                ended.stderr.contains("; nothing was changed. Give two folders that lie apart"),
                "{case}"
            );
            assert_eq!(place.names("top/etc"), ["a"], "{case}");
        }
    }
}

fn a_log_on_a_disk_that_the_source_does_not_show_lies_outside() {
    let top = "mkdir -p top/etc top/mnt/disk view; echo a >top/etc/a; mount --bind top top; \
        mount -t tmpfs none top/mnt/disk; mount --bind top view";
    for (log, is_inside) in [("top/mnt/disk/log", false), ("top/etc/log", true), ("top/mnt/log", true)] {
        let place = Scratch::with_source();
        let words = format!("--source view --replica top/mnt/disk/backup --log_file {log} --once");
        let command = place.behind_mounts(top, &words);
        let ended = start(command).end();
        assert_eq!(ended.code, Some(0), "{log}: {ended:?}");
        let notice = ended.stdout.contains("The log file lies inside the source");
        assert_eq!(notice, is_inside, "{log}: {ended:?}");
    }
}

fn a_source_that_is_unmounted_between_two_passes_holds_the_pass_and_keeps_the_replica() {
    let place = Scratch::with_source();
    place.folder("source");
    place.folder("replica");
    // The second pass is requested after the unmount; the third finds the source again.
    let script = "mount -t tmpfs none source; mkdir keep; touch source/precious; mount --bind source keep; \
        (until grep -q 'pass 1 done' log; do sleep 0.05; done; umount -l source; kill -USR1 $$; \
        until grep -q 'pass 2 held' log; do sleep 0.05; done; mount --bind keep source; kill -USR1 $$; \
        until grep -q 'pass 3 done' log; do sleep 0.05; done; kill -TERM $$) &";
    let words = format!("--source source --replica replica {LOG} --interval 1h");
    let command = place.behind_mounts(&format!("{script} true"), &words);
    let ended = start(command).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains(" delete "), "{ended:?}");
    assert!(ended.stdout.contains("pass 3 done: 0 created, 0 updated, 0 deleted, 1 unchanged"), "{ended:?}");
    assert!(place.has("replica/precious"));
}

fn what_is_mounted_in_the_replica_is_not_emptied_for_the_sake_of_a_log() {
    let place = Scratch::with_source();
    place.folder("source");
    place.folder("replica/logs");
    place.write("out/vital", "content");
    let words = "--source source --replica replica --log_file replica/logs/log --once";
    let command = place.behind_mounts("mount --bind out replica/logs", words);
    let ended = start(command).end();
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert!(
        ended.stderr.contains("problem logs Cannot delete it from the replica: something is mounted"),
        "{ended:?}"
    );
    assert_eq!(place.read("out/vital"), "content");
}

fn a_program_that_works_as_root_keeps_the_roots_own_mode_and_owner() {
    if !is_root() {
        leave_out("it needs root, to give a folder away");
    }
    let place = Scratch::with_source();
    place.mode("source", 0o2751);
    std::os::unix::fs::chown(place.at("source"), Some(1234), Some(4321)).expect("root may");
    place.mode("source", 0o2751);
    place.sync();
    let facts = fs::metadata(place.at("replica")).expect("it exists");
    assert_eq!((facts.mode() & 0o7777, facts.uid(), facts.gid()), (0o2751, 1234, 4321));
}

fn exit_code_23_when_an_extra_cannot_be_deleted() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    place.folder("replica/mounted");
    let words = "--source source --replica replica --log_file log --once";
    let command = place.behind_mounts("mount -t tmpfs none replica/mounted", words);
    let ended = start(command).end();
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(lines_with(&ended.stderr, "problem mounted ").len(), 1, "{ended:?}");
    assert_eq!(place.names("replica"), ["file", "mounted"]);
}
