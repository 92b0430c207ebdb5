//! Leases (`F_SETLEASE`) held by another program. Samba and the kernel's NFS server hold one while a client has the
//! file open.

use crate::Test;
use crate::support::leave_out::leave_out;
use crate::support::program::{Running, count, start, until};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use rustix::process::Signal;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = tests![
    a_file_that_somebody_holds_a_lease_on_is_read_when_that_is_given_up,
    a_replica_that_somebody_holds_a_lease_on_is_compared_and_not_taken_for_damaged,
    what_goes_or_is_replaced_needs_nobody_to_give_up_a_lease,
    while_one_worker_waits_for_a_lease_the_others_go_on_and_a_signal_ends_it,
    a_log_that_somebody_holds_a_lease_on_loses_no_line,
];

/// Takes write leases (`F_SETLEASE`) on files and gives each up the given number of seconds after the kernel's request;
/// with `never`, it gives none up.
const HOLDER: &str = r#"
    my $patience = shift; my @files;
    $SIG{IO} = $patience eq "never" ? "IGNORE" : sub { select undef, undef, undef, $patience; fcntl $_, 1024, 2 for @files };
    for (@ARGV) { open my $file, "+<", $_ or die; fcntl $file, 1024, 1 or die "no leases: $!\n"; push @files, $file }
    $| = 1; print "holds\n"; sleep 10 while 1;
"#;

/// A process that holds leases.
fn holder(place: &Scratch, patience: &str, files: &[&str]) -> Running {
    let mut command = Command::new("perl");
    command.args(["-e", HOLDER, patience]).args(files).current_dir(place.path());
    if Command::new("perl").arg("-v").output().is_err() {
        leave_out("perl is not installed");
    }
    let mut holder = start(command);
    until("the leases are held", || holder.stdout().contains("holds") || holder.has_ended());
    if holder.has_ended() {
        leave_out(&format!("this filesystem has no leases: {}", holder.end().stderr));
    }
    holder
}

fn assert_mirrored(place: &Scratch) {
    assert_eq!(Tree::of(&place.at("source")), Tree::of(&place.at("replica")));
}

fn a_file_that_somebody_holds_a_lease_on_is_read_when_that_is_given_up() {
    let place = Scratch::with_source();
    for file in ["same", "changed", "other mode"] {
        place.write(format!("source/{file}"), "content");
    }
    place.sync();
    place.write("source/changed", "new content");
    place.write("source/new", "content");
    place.mode("source/other mode", 0o604);
    let files = ["source/same", "source/changed", "source/new", "source/other mode"];
    let _holder = holder(&place, "0.3", &files);
    let ended = place.sync();
    assert_eq!(ended.stderr, "");
    assert_mirrored(&place);
}

fn a_replica_that_somebody_holds_a_lease_on_is_compared_and_not_taken_for_damaged() {
    let place = Scratch::with_source();
    for file in ["same", "changed", "other mode", "damaged"] {
        place.write(format!("source/{file}"), "content");
    }
    place.sync();
    let facts = |file: &str| std::fs::metadata(place.at(file)).expect("it exists");
    let before = facts("replica/same").ino();
    place.write("source/changed", "new content");
    place.mode("source/other mode", 0o604);
    place.write("replica/damaged", "CONTENT");
    let files = ["replica/same", "replica/changed", "replica/other mode", "replica/damaged"];
    let _holder = holder(&place, "0.3", &files);
    let ended = place.sync();
    assert_mirrored(&place);
    assert_eq!(facts("replica/same").ino(), before, "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert_eq!(count(&ended.stderr, " repair damaged "), 1, "{ended:?}");
    assert_eq!(count(&ended.stdout, " repair "), 0, "{ended:?}");
}

fn what_goes_or_is_replaced_needs_nobody_to_give_up_a_lease() {
    let place = Scratch::with_source();
    place.write("replica/extra", "content");
    place.write("replica/retyped", "content");
    place.write("replica/resized", "content");
    place.folder("source/retyped");
    place.write("source/resized", "more content");
    let files = ["replica/extra", "replica/retyped", "replica/resized"];
    let _holder = holder(&place, "never", &files);
    // A first pass that deletes says so, unless that is confirmed.
    let ended = place.run("--once --yes");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_mirrored(&place);
}

fn while_one_worker_waits_for_a_lease_the_others_go_on_and_a_signal_ends_it() {
    for (options, leased) in [("--once -j 2", 1), ("--once", 6)] {
        let place = Scratch::with_source();
        // These names sort before and after all others, so they are read first from either end.
        let folder = |number| if number % 2 == 0 { "a" } else { "z" };
        let names = (0..leased).map(|number| format!("source/{}{number}/leased", folder(number)));
        let names: Vec<String> = names.collect();
        names.iter().for_each(|name| place.write(name, "content"));
        for number in 0..200 {
            place.write(format!("source/folder {}/{number}", number % 10), "content");
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let _holder = holder(&place, "never", &names);
        let begin = Instant::now();
        let running = start(place.command(options));
        until("the others are there", || count(&running.stdout(), " create \"folder ") == 210);
        assert!(begin.elapsed() < Duration::from_secs(20), "it took {:?}", begin.elapsed());
        sleep(Duration::from_millis(300));
        assert!(!running.stdout().contains("pass 1 done"), "it waits");
        running.signal(Signal::TERM);
        let begin = Instant::now();
        let ended = running.end();
        assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());
        assert_eq!(ended.code, Some(20), "{ended:?}");
        assert_eq!(ended.stderr, "", "no problem is told");
        assert!(!place.has("replica/a0/leased"));
    }
}

fn a_log_that_somebody_holds_a_lease_on_loses_no_line() {
    let place = Scratch::with_source();
    place.write("log", "an older line\n");
    let _holder = holder(&place, "0.3", &["log"]);
    let ended = place.sync();
    assert_eq!(ended.stderr, "");
    assert!(place.log().contains("file-sync 0.1.0 started"), "{}", place.log());
}
