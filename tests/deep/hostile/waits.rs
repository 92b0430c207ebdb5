//! Files that block a reader, for ever if he allows it: one without an end, offline ones, and one with a lease.

use crate::fuse::no_sizes::{DOCUMENT, NoSizes, mounted};
use crate::harness::cases::Cases;
use crate::harness::kit::{Mount, Running, has, may_mount, tell};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

pub(crate) fn run(cases: &Cases, below: &Path) {
    cases.run("files that show no size, one of which never ends", || no_sizes(below));
    cases.run("a file that never ends, on a small disk", || small_disk(below));
    cases.run("files that are never to be had", || never_opened(below));
    cases.run("a lease that is never given up", || lease_kept(below));
}

fn served(place: &Scratch, offline: u64) -> fuser::BackgroundSession {
    mounted(&place.source, NoSizes { offline }).unwrap_or_else(|error| leave_out(&format!("FUSE: {error}")))
}

/// A file with an end is copied and then equal. Nothing remains of an endless file, and its problem names the bound.
fn no_sizes(below: &Path) {
    let place = Scratch::below(below);
    let _mount = served(&place, 0);
    for (pass, operations) in [(1, 2), (2, 0)] {
        let begin = Instant::now();
        let ended = place.once(&[]);
        tell(&format!("pass {pass}: {:.1} s", begin.elapsed().as_secs_f64()));
        assert_eq!((ended.code, ended.operations()), (Some(23), operations), "{:?}", ended.told());
        let problems: Vec<_> = ended.of("problem").collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0]["path"], "endless");
        assert_eq!(problems[0]["cause"], "it shows no size, and did not end after 1 GiB");
        assert_eq!(problems[0]["consequence"], "it is missing in the replica");
        let names: Vec<_> = fs::read_dir(&place.replica).expect("readable").flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(fs::read(place.replica.join("document")).expect("there"), DOCUMENT);
    }
    // An old version of the endless file, and a longer one of the document.
    fs::write(place.replica.join("endless"), "an old version").expect("written");
    fs::write(place.replica.join("document"), [&DOCUMENT[..], b"more"].concat()).expect("written");
    let ended = place.once(&[]);
    assert_eq!((ended.code, ended.count("repaired")), (Some(23), 1), "{:?}", ended.told());
    assert_eq!(fs::read(place.replica.join("endless")).expect("kept"), b"an old version");
    assert_eq!(fs::read(place.replica.join("document")).expect("there"), DOCUMENT);
}

/// The copy leaves space for others at all times, other programs included.
fn small_disk(below: &Path) {
    if !may_mount() {
        leave_out("a small filesystem has to be mounted, which needs root");
    }
    let place = Scratch::below(below);
    let _disk = Mount::tmpfs(&place.replica, "size=200m");
    let _mount = served(&place, 0);
    let least = Arc::new(AtomicU64::new(u64::MAX));
    let is_over = Arc::new(AtomicBool::new(false));
    let (watched, over, disk) = (Arc::clone(&least), Arc::clone(&is_over), place.replica.clone());
    let watcher = spawn(move || {
        while !over.load(Ordering::Relaxed) {
            let facts = rustix::fs::statvfs(&disk).expect("mounted");
            watched.fetch_min(facts.f_bavail * facts.f_frsize, Ordering::Relaxed);
            sleep(Duration::from_micros(200));
        }
    });
    let ended = place.once(&[]);
    is_over.store(true, Ordering::Relaxed);
    watcher.join().expect("no panic");
    assert_eq!(ended.code, Some(23), "{:?}", ended.told());
    let causes: Vec<_> = ended.of("problem").map(|problem| problem["cause"].clone()).collect();
    assert_eq!(causes, ["it shows no size, and takes more than half of the room"]);
    let least = least.load(Ordering::Relaxed) >> 20;
    tell(&format!("at least {least} MiB of 200 MiB were free"));
    assert!((70..=100).contains(&least), "{least} MiB");
}

/// The first few opens wait as long as a lease may be kept, and later ones do not wait.
fn never_opened(below: &Path) {
    let place = Scratch::below(below);
    let _mount = served(&place, 40);
    fs::create_dir(&place.replica).expect("created");
    fs::write(place.replica.join("offline 7"), "an old version").expect("written");
    fs::write(place.replica.join("endless"), "").expect("written");
    let begin = Instant::now();
    let ended = place.once(&["-j", "2"]);
    let time = begin.elapsed();
    tell(&format!("40 of them: {:.1} s", time.as_secs_f64()));
    assert_eq!(ended.code, Some(23), "{:?}", ended.told());
    let paths = ended.of("problem").filter_map(|problem| problem["path"].as_str());
    assert_eq!(paths.filter(|path| path.starts_with("offline")).count(), 40, "{:?}", ended.told());
    assert!(time < Duration::from_secs(120), "{time:?}");
    assert_eq!(fs::read(place.replica.join("document")).expect("there"), DOCUMENT);
    assert_eq!(fs::read(place.replica.join("offline 7")).expect("kept"), b"an old version");
}

/// The kernel breaks the lease after its time (`lease-break-time`, 45 s), and until then the program waits.
fn lease_kept(below: &Path) {
    if !has("perl") {
        leave_out("perl is not installed");
    }
    let said = fs::read_to_string("/proc/sys/fs/lease-break-time").unwrap_or_default();
    match said.trim().parse() {
        Ok(1..=60) => {}
        Ok::<u64, _>(_) | Err(_) => leave_out("leases are kept for longer than a minute here"),
    }
    let place = Scratch::below(below);
    for root in [&place.source, &place.replica] {
        fs::create_dir_all(root).expect("created");
        fs::write(root.join("same"), "the same").expect("written");
    }
    let script = r#"$SIG{IO} = "IGNORE"; for (@ARGV) { open my $file, "+<", $_ or die; fcntl $file, 1024, 1 or die; push @files, $file }
        $| = 1; print "holds\n"; sleep 10 while 1"#;
    let mut perl = Command::new("perl");
    perl.args(["-e", script]).args([place.replica.join("same")]);
    let mut holder = Running(perl.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts"));
    let mut told = String::new();
    BufReader::new(holder.0.stdout.take().expect("a pipe")).read_line(&mut told).expect("text");
    if told.is_empty() {
        leave_out("this filesystem has no leases");
    }
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("there"));
    let before = inode(&place.replica.join("same"));
    let begin = Instant::now();
    let ended = place.once(&[]);
    tell(&format!("taken away: {:.1} s", begin.elapsed().as_secs_f64()));
    assert_eq!((ended.code, ended.count("problems")), (Some(0), 0), "{:?}", ended.told());
    assert_eq!(inode(&place.replica.join("same")), before, "it was right, and is not written anew");
}
