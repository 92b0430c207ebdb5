//! Hard links on filesystems with wrong inode numbers or link counts, and failures of link(2). Also the cost of files
//! with many names there.

use crate::fuse::numbers::{Oddity, mounted};
use crate::harness::cases::Cases;
use crate::harness::kit::{Mount, Pass, has, may_mount};
use crate::harness::trace::with_faults;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use fuser::BackgroundSession;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Errors of filesystems without hard links, and of disks.
const ERRORS: [(&str, Errno); 14] = [
    ("EPERM", Errno::PERM),
    ("ENOENT", Errno::NOENT),
    ("EIO", Errno::IO),
    ("EACCES", Errno::ACCESS),
    ("EXDEV", Errno::XDEV),
    ("ENODEV", Errno::NODEV),
    ("EINVAL", Errno::INVAL),
    ("ENOTTY", Errno::NOTTY),
    ("EROFS", Errno::ROFS),
    ("EMLINK", Errno::MLINK),
    ("ERANGE", Errno::RANGE),
    ("ENOSYS", Errno::NOSYS),
    ("EOPNOTSUPP", Errno::OPNOTSUPP),
    ("EREMOTEIO", Errno::REMOTEIO),
];

pub(crate) fn run() {
    let cases = Cases::new("links");
    for (what, oddity) in [
        ("one number for all files", Oddity::OneNumber),
        ("no links at all", Oddity::Links(0)),
        ("more links than there are", Oddity::Links(9999)),
        ("another number at each look", Oddity::NewNumbers),
        ("a number for each name", Oddity::NumberOfName),
    ] {
        cases.run(&format!("a source with {what}"), || source_with(oddity));
        // A replica whose files seem to have names outside of it is copied again at each pass, so it is never quiet.
        if !matches!(oddity, Oddity::NewNumbers | Oddity::OneNumber | Oddity::Links(9999)) {
            cases.run(&format!("a replica with {what}"), || replica_with(oddity));
        }
    }
    cases.run("files that one number made one file before", made_one);
    for (error, errno) in ERRORS {
        let oddity = Oddity::NoLinks(errno.raw_os_error());
        cases.run(&format!("a replica that makes no links ({error})"), || replica_with(oddity));
        cases.run(&format!("link(2) fails once ({error})"), || fails_once(error));
    }
    cases.run("names that have to become one file are written to the disk together", written_once);
    cases.run("a new name is linked under its own name, whatever the number of workers", linked_at_once);
    cases.run("no room for a file of many names is found out once", no_room);
    cases.finish();
}

fn odd(at: &Path, oddity: Oddity) -> BackgroundSession {
    mounted(at, oddity).unwrap_or_else(|error| leave_out(&format!("FUSE cannot be mounted here: {error}")))
}

/// Files with several names and with one, some of the same length and time. Without hard links, only files with one
/// name.
fn fill(root: &Path) {
    let same = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    for folder in ["folder/below", "other"] {
        fs::create_dir_all(root.join(folder)).expect("created");
    }
    for (number, folder) in ["", "folder", "folder/below", "other"].into_iter().enumerate() {
        for (name, content) in [
            ("alike", format!("content {number}")),
            ("longer", "x".repeat(1000 * number)),
            ("2", "2".to_owned()),
        ] {
            let path = root.join(folder).join(name);
            fs::write(&path, content).expect("written");
            File::open(&path).and_then(|file| file.set_modified(same)).expect("a time");
        }
    }
    // Equal to another file except for its mode.
    fs::set_permissions(root.join("other/2"), Permissions::from_mode(0o640)).expect("a mode");
    // These fail on a filesystem without hard links.
    let _ = fs::hard_link(root.join("alike"), root.join("other/another name of alike"));
    let _ = fs::hard_link(root.join("folder/longer"), root.join("folder/below/another name of longer"));
    symlink("folder", root.join("link")).expect("linked");
}

/// Every file with its content, and every symbolic link with its target.
fn contents(root: &Path, below: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(root.join(below)).expect("readable") {
        let entry = entry.expect("readable");
        let path = below.join(entry.file_name());
        if entry.path().is_dir() && !entry.path().is_symlink() {
            contents(root, &path, all);
        } else {
            let content = match fs::read_link(entry.path()) {
                Ok(target) => target.into_os_string().into_encoded_bytes(),
                Err(_) => fs::read(entry.path()).expect("readable"),
            };
            all.insert(path.display().to_string(), content);
        }
    }
}

fn assert_same(place: &Scratch, what: &str) {
    let all = |root: &Path| {
        let mut all = BTreeMap::new();
        contents(root, Path::new(""), &mut all);
        all
    };
    assert!(all(&place.source) == all(&place.replica), "{what}: contents differ");
}

fn is_right(place: &Scratch, pass: &Pass, what: &str) {
    assert_eq!((pass.code, pass.count("problems")), (Some(0), 0), "{what}: {:?}", pass.told());
    assert_same(place, what);
}

fn is_quiet(place: &Scratch, what: &str) {
    for round in 0..2 {
        let pass = place.once(&[]);
        is_right(place, &pass, what);
        assert_eq!(pass.operations(), 0, "{what}, round {round}: {:?}", pass.told());
    }
}

/// Changes the content, at the same length, of a name that may share its inode number with all others; removes one
/// name.
fn edit(place: &Scratch) {
    fs::write(place.source.join("folder/alike"), "changed x").expect("written");
    fs::write(place.source.join("other/longer"), "short").expect("written");
    fs::remove_file(place.source.join("folder/2")).expect("removed");
    fs::write(place.source.join("folder/below/new"), "content 0").expect("written");
}

fn source_with(oddity: Oddity) {
    let mut place = Scratch::with_source();
    place.source = place.at("odd").join("source");
    let _session = odd(&place.at("odd"), oddity);
    fs::create_dir(&place.source).expect("created");
    fill(&place.source);
    let first = place.once(&[]);
    is_right(&place, &first, "first pass");
    is_quiet(&place, "after the first pass");
    edit(&place);
    let edited = place.once(&[]);
    is_right(&place, &edited, "after edits");
    is_quiet(&place, "after edits");
    // The same with passes of one process.
    let later = place.passes(3);
    assert_eq!((later.code, later.operations()), (Some(0), 0), "{:?}", later.told());
}

fn replica_with(oddity: Oddity) {
    let mut place = Scratch::with_source();
    place.replica = place.at("odd").join("replica");
    let _session = odd(&place.at("odd"), oddity);
    fill(&place.source);
    let first = place.once(&[]);
    is_right(&place, &first, "first pass");
    let no_links = match oddity {
        Oddity::NoLinks(_) | Oddity::NumberOfName => true,
        Oddity::OneNumber | Oddity::NewNumbers => false,
        Oddity::Links(links) => links == 0,
    };
    if no_links && oddity != Oddity::Links(0) {
        assert!(first.not_held().contains(&"hard_links".to_owned()), "{:?}", first.told());
        let mut twice = first.not_held();
        twice.dedup();
        assert_eq!(twice.len(), first.not_held().len(), "told once");
    }
    is_quiet(&place, "after the first pass");
    edit(&place);
    let edited = place.once(&[]);
    is_right(&place, &edited, "after edits");
    is_quiet(&place, "after edits");
    fs::hard_link(place.source.join("2"), place.source.join("other/another name of 2")).expect("linked");
    let linked = place.once(&[]);
    is_right(&place, &linked, "one more name");
    is_quiet(&place, "one more name");
    let later = place.passes(3);
    assert_eq!((later.code, later.operations()), (Some(0), 0), "{:?}", later.told());
}

/// A replica in which names of different files were hard links of one file, because the source shows one inode number.
fn made_one() {
    let mut place = Scratch::with_source();
    place.source = place.at("odd").join("source");
    let _session = odd(&place.at("odd"), Oddity::OneNumber);
    fs::create_dir(&place.source).expect("created");
    fs::create_dir(&place.replica).expect("created");
    let same = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    for name in ["a", "b", "c"] {
        let path = place.source.join(name);
        fs::write(&path, name).expect("written");
        File::open(&path).and_then(|file| file.set_modified(same)).expect("a time");
    }
    fs::write(place.replica.join("a"), "a").expect("written");
    File::open(place.replica.join("a")).and_then(|file| file.set_modified(same)).expect("a time");
    for name in ["b", "c"] {
        fs::hard_link(place.replica.join("a"), place.replica.join(name)).expect("linked");
    }
    let first = place.once(&[]);
    is_right(&place, &first, "first pass");
    is_quiet(&place, "after the first pass");
}

/// One link(2) call fails on a real filesystem: that name becomes a copy, and the next pass links it.
fn fails_once(error: &str) {
    // The program retries once after these errors.
    let calls =
        if ["EPERM", "EINVAL", "ENOTTY", "ENOSYS", "EOPNOTSUPP"].contains(&error) { "1..2" } else { "1" };
    let place = in_memory();
    fs::create_dir_all(place.source.join("folder")).expect("created");
    fs::create_dir_all(place.replica.join("folder")).expect("created");
    fs::write(place.source.join("folder/a"), "content").expect("written");
    for name in ["folder/b", "folder/c"] {
        fs::hard_link(place.source.join("folder/a"), place.source.join(name)).expect("linked");
    }
    // New files with one name would use link(2) as well.
    let pass = with_faults(&place, &[&format!("linkat:error={error}:when={calls}")], None);
    assert_same(&place, "first pass");
    // A limit of link(2) is documented. Any other error is a problem: links work here, and the next pass may succeed.
    let told = if ["EMLINK", "EXDEV"].contains(&error) { (Some(0), 0) } else { (Some(23), 1) };
    assert_eq!((pass.code, pass.count("problems")), told, "{:?}", pass.told());
    assert_eq!((pass.count("created"), pass.count("linked")), (2, 1), "{:?}", pass.told());
    assert_eq!(place.once(&[]).code, Some(0));
    place.assert_in_step("one quiet pass later");
}

fn in_memory() -> Scratch {
    let mut place = Scratch::with_source();
    if may_mount() {
        let memory = place.at("memory");
        // It is unmounted with the namespace of the suite.
        std::mem::forget(Mount::tmpfs(&memory, "size=1g"));
        (place.source, place.replica) = (memory.join("source"), memory.join("replica"));
        fs::create_dir(&place.source).expect("created");
    }
    place
}

fn count(trace: &str, call: &str) -> usize {
    trace.lines().filter(|line| line.contains(&format!(" {call}("))).count()
}

/// The replica has 600 copies of 3 files with 200 names each: each file is fsynced at most once, over all cases.
fn written_once() {
    const NAMES: usize = 200;
    let place = in_memory();
    for file in 0..3 {
        for root in [&place.source, &place.replica] {
            fs::create_dir_all(root.join(file.to_string())).expect("created");
        }
        let path = |root: &Path, name: usize| root.join(format!("{file}/{name}"));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        for name in 0..NAMES {
            // In the second and third file some content changed.
            let content = if file > 0 && name % 2 == 0 { "changed" } else { "content" };
            fs::write(path(&place.replica, name), content).expect("written");
            let file = File::open(path(&place.replica, name)).expect("opened");
            file.set_modified(time).expect("a time");
        }
        fs::write(path(&place.source, 0), "content").expect("written");
        File::open(path(&place.source, 0)).and_then(|file| file.set_modified(time)).expect("a time");
        for name in 1..NAMES {
            fs::hard_link(path(&place.source, 0), path(&place.source, name)).expect("linked");
        }
    }
    let pass = with_faults(&place, &["linkat,fdatasync,fsync,syncfs:delay_enter=1"], None);
    is_right(&place, &pass, "first pass");
    assert_eq!(pass.count("linked"), 3 * (NAMES as u64 - 1), "{:?}", pass.told());
    let trace = fs::read_to_string(place.at("trace")).expect("a trace");
    // The index is synced as well.
    let trace: Vec<&str> = trace.lines().filter(|line| !line.contains("/state/file-sync/")).collect();
    let trace = trace.join("\n");
    let (files, all) = (count(&trace, "fdatasync") + count(&trace, "fsync"), count(&trace, "syncfs"));
    assert!(files <= 3 && all <= 3, "{files} files and {all} filesystems were synced");
    assert_eq!(count(&trace, "linkat"), 3 * (NAMES - 1));
    place.assert_in_step("one pass later");
}

fn linked_at_once() {
    const NAMES: usize = 500;
    let place = in_memory();
    for root in [&place.source, &place.replica] {
        fs::create_dir_all(root.join("old")).expect("created");
    }
    fs::create_dir(place.source.join("new")).expect("created");
    fs::write(place.source.join("old/0"), "content").expect("written");
    for name in 1..NAMES {
        let folder = if name % 2 == 0 { "old" } else { "new" };
        let path = place.source.join(format!("{folder}/{name}"));
        fs::hard_link(place.source.join("old/0"), path).expect("linked");
    }
    let pass = with_faults(&place, &["linkat,renameat,renameat2:delay_enter=1"], None);
    is_right(&place, &pass, "first pass");
    assert_eq!((pass.count("created"), pass.count("linked")), (2, NAMES as u64 - 1), "{:?}", pass.told());
    let trace = fs::read_to_string(place.at("trace")).expect("a trace");
    // The first file and the new folder.
    let renamed = count(&trace, "renameat") + count(&trace, "renameat2");
    assert!(renamed <= 2, "{renamed} were renamed");
    assert_eq!(count(&trace, "linkat"), NAMES - 1);
    let inodes: std::collections::BTreeSet<u64> = ["old", "new"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(place.replica.join(folder)).expect("readable"))
        .map(|entry| entry.expect("readable").metadata().expect("facts").ino())
        .collect();
    assert_eq!(inodes.len(), 1);
    // A first copy, with different numbers of workers.
    for threads in ["1", "2", "16"] {
        fs::remove_dir_all(&place.replica).expect("removed");
        let pass = place.once(&["--threads", threads]);
        is_right(&place, &pass, threads);
        assert_eq!(pass.count("linked"), NAMES as u64 - 1, "{threads}: {:?}", pass.told());
    }
    place.assert_in_step("in the end");
}

/// A file without space is tried for one of its names, and once more after the deletions, but not for each name.
fn no_room() {
    if !may_mount() || !has("strace") {
        leave_out("a small filesystem has to be mounted, and strace has to be there");
    }
    const NAMES: usize = 50;
    let mut place = Scratch::with_source();
    let small = place.at("small");
    let _small = Mount::tmpfs(&small, "size=4m");
    place.replica = small.join("replica");
    fs::create_dir(&place.replica).expect("created");
    fs::write(place.source.join("0"), vec![7; 6 << 20]).expect("written");
    for name in 1..NAMES {
        fs::hard_link(place.source.join("0"), place.source.join(name.to_string())).expect("linked");
    }
    assert_eq!(place.once(&[]).code, Some(25), "the guard holds it");
    let pass = with_faults(&place, &["linkat:delay_enter=1"], None);
    assert_eq!(pass.code, Some(23), "{:?}", pass.told());
    assert_eq!(pass.count("problems"), NAMES as u64, "{:?}", pass.told());
    assert!(pass.count("bytes_written") < 4 * (4 << 20), "{:?}", pass.told());
    fs::write(place.source.join("0"), vec![7; 2 << 20]).expect("written");
    let second = place.once(&[]);
    assert_eq!((second.code, second.count("linked")), (Some(0), NAMES as u64 - 1), "{:?}", second.told());
    place.assert_in_step("when it fits");
}
