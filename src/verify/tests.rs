//! Checks of small replicas, with indexes that say what each test needs.

use super::*;
use crate::fs::magic::{filesystem_type, has_true_ctime};
use crate::fs::stat::entry_at_path;
use crate::index::read::tests::{empty, put_record};
use crate::index::{Facts, Record};
use crate::model::digest::{Digest, Hasher};
use crate::model::entry::Kind;
use crate::model::path::RelPath;
use crate::model::signal::Signal;
use crate::verify::manifest::manifest;
use crate::verify::status::Why;
use rusqlite::Connection;
use std::ffi::OsStr;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::sync_channel;
use tempfile::TempDir;

/// A replica and its index.
struct Place {
    scratch: TempDir,
    connection: Connection,
    reader: Reader,
}

impl Place {
    fn new() -> Place {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("replica")).unwrap();
        let (connection, reader) = empty(scratch.path());
        Place { scratch, connection, reader }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.scratch.path().join("replica").join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    /// Records a file with the facts that it has, and this content.
    fn record(&self, path: &str, content: &str) {
        let entry = entry_at_path(&self.at(path));
        let facts = entry.ok().map(|entry| Facts::of(&entry, 1, true));
        let source =
            facts.unwrap_or_else(|| Facts::of(&entry_at_path(self.scratch.path()).unwrap(), 1, true));
        let (size, digest) = (content.len() as u64, digest(content));
        self.put(
            path,
            Record {
                digest,
                size,
                source,
                replica: facts,
                is_bare: true,
                is_suspect: false,
                confirmed: 100,
                hashed: 100,
            },
        );
    }

    fn put(&self, path: &str, record: Record) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        put_record(&self.connection, folder.as_bytes(), name.as_bytes(), record);
    }

    /// Writes and records a file.
    fn good(&self, path: &str) {
        self.write(path, path);
        self.record(path, path);
    }

    fn verify_with(&self, threads: usize, interrupt: &Interrupt) -> (Vec<Finding>, Tally, End) {
        let replica = self.at("");
        let task = Task {
            replica: &replica,
            reader: &self.reader,
            left_out: &[],
            threads,
            processors: 2,
            drops_cache: threads > 1,
            tells_ok: true,
            interrupt,
        };
        let (tally, (sender, receiver)) = (Tally::default(), sync_channel(10_000));
        let end = verify(&task, &tally, &sender).unwrap();
        drop(sender);
        let mut findings: Vec<Finding> = receiver.into_iter().flatten().collect();
        findings.sort_by(|one, other| one.path.cmp(&other.path));
        (findings, tally, end)
    }

    /// Status and reason of all files that are not right.
    fn verify(&self) -> Vec<(String, Status, Option<Why>)> {
        let (findings, tally, end) = self.verify_with(4, &Interrupt::new());
        assert!(!end.is_stopped);
        assert_eq!((tally.files(), tally.looked()), (findings.len() as u64, findings.len() as u64));
        let wrong = findings.into_iter().filter(|finding| finding.status != Status::Ok);
        wrong.map(|finding| (finding.path.to_string(), finding.status, finding.why)).collect()
    }

    fn has_true_ctime(&self) -> bool {
        has_true_ctime(filesystem_type(fs::File::open(self.scratch.path()).unwrap()).unwrap())
    }
}

fn digest(content: &str) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(content.as_bytes());
    hasher.finish()
}

fn wrong(path: &str, status: Status, why: Option<Why>) -> (String, Status, Option<Why>) {
    (path.to_owned(), status, why)
}

#[test]
fn every_status_is_told_with_any_number_of_threads() {
    let place = Place::new();
    for at in 0..200 {
        place.good(&format!("many/{at:03}"));
    }
    place.good("right");
    place.write("rotted", "now");
    place.record("rotted", "was");
    place.write("changed", "before");
    place.record("changed", "before");
    place.write("changed", "after it");
    place.record("gone/folder/missing", "was");
    place.record("missing", "was");
    place.write("extra/file", "nobody knows");
    std::os::unix::fs::symlink("right", place.at("link")).unwrap();
    place.record("link", "was a file");
    place.good("folder");
    fs::remove_file(place.at("folder")).unwrap();
    place.good("folder/inside");
    let rot = match place.has_true_ctime() {
        true => wrong("rotted", Status::Rotted, None),
        false => wrong("rotted", Status::Changed, Some(Why::TimesProveNothing)),
    };
    let expected = [
        wrong("changed", Status::Changed, None),
        wrong("extra/file", Status::Extra, None),
        wrong("folder", Status::Missing, Some(Why::OtherKind(Kind::Folder))),
        wrong("gone/folder/missing", Status::Missing, None),
        wrong("link", Status::Missing, Some(Why::OtherKind(Kind::Symlink))),
        wrong("missing", Status::Missing, None),
        rot,
    ];
    assert_eq!(place.verify(), expected);
    let (one, tally, end) = place.verify_with(1, &Interrupt::new());
    let (several, ..) = place.verify_with(8, &Interrupt::new());
    assert_eq!((&one, tally.of(Status::Ok)), (&several, 202));
    assert_eq!(end, End { was_written: false, is_stopped: false });
    let rotted = one.iter().find(|finding| finding.path.to_string() == "rotted").unwrap();
    assert_eq!((rotted.found, rotted.recorded), (Some(digest("now")), Some(digest("was"))));
    assert_eq!(rotted.confirmed, Some(100));
}

#[test]
fn a_later_confirmation_of_the_folder_counts() {
    let place = Place::new();
    place.good("a/file");
    place.connection.execute("INSERT INTO folder (path, confirmed) VALUES (x'61', 777)", []).unwrap();
    let (findings, ..) = place.verify_with(2, &Interrupt::new());
    assert_eq!(findings[0].confirmed, Some(777));
}

#[test]
fn a_copy_that_was_not_read_back_is_checked_by_its_digest() {
    let place = Place::new();
    place.write("copy", "right");
    place.write("other", "wrong");
    for name in ["copy", "other"] {
        place.record(name, "right");
        let record = place.reader.record(b"", &std::ffi::CString::new(name).unwrap()).unwrap().unwrap();
        place.put(name, Record { replica: None, ..record });
    }
    assert_eq!(place.verify(), [wrong("other", Status::Changed, Some(Why::NotReadBack))]);
}

#[test]
fn other_names_of_a_file_are_checked_by_the_record_of_one() {
    let place = Place::new();
    for (first, second, content) in [("a", "b/z", "good"), ("m", "c", "bad"), ("n", "o", "none")] {
        place.write(first, content);
        fs::create_dir_all(place.at("b")).unwrap();
        fs::hard_link(place.at(first), place.at(second)).unwrap();
    }
    place.record("b/z", "good");
    place.record("m", "was");
    let rot = if place.has_true_ctime() {
        (Status::Rotted, None)
    } else {
        (Status::Changed, Some(Why::TimesProveNothing))
    };
    let none = Some(Why::NoNameRecorded);
    let expected = [
        wrong("c", rot.0, rot.1),
        wrong("m", rot.0, rot.1),
        wrong("n", Status::Unchecked, none),
        wrong("o", Status::Unchecked, none),
    ];
    assert_eq!(place.verify(), expected);
    let (_, tally, _) = place.verify_with(1, &Interrupt::new());
    assert_eq!(tally.bytes(), 7, "each content is read once");
}

#[test]
fn what_has_no_digest_for_a_reason_is_no_extra() {
    let place = Place::new();
    fs::File::create(place.at("sparse")).unwrap().set_len(17 << 30).unwrap();
    place.write("old", "x");
    assert_eq!(
        place.verify(),
        [wrong("old", Status::Extra, None), wrong("sparse", Status::Unchecked, Some(Why::Holes))]
    );
    let sql = "UPDATE pair SET boot = boot; INSERT INTO pass (number, started, ended, outcome, process, mark) \
               VALUES (1, 9000000000000, 9000000000001, 'done', 0, '')";
    place.connection.execute_batch(sql).unwrap();
    if place.has_true_ctime() {
        assert_eq!(place.verify()[0], wrong("old", Status::Unchecked, Some(Why::OlderThanPass)));
    }
}

#[test]
fn a_stop_is_told() {
    let place = Place::new();
    place.good("a");
    let interrupt = Interrupt::new();
    interrupt.stop(Signal::Interrupt);
    let (findings, _, end) = place.verify_with(2, &interrupt);
    assert!(end.is_stopped && findings.is_empty());
}

#[test]
fn a_damaged_index_or_a_missing_replica_is_a_failure_and_no_finding() {
    let place = Place::new();
    place.good("a");
    let interrupt = Interrupt::new();
    let replica = place.at("");
    let task = |replica| Task {
        replica,
        reader: &place.reader,
        left_out: &[],
        threads: 2,
        processors: 2,
        drops_cache: false,
        tells_ok: false,
        interrupt: &interrupt,
    };
    let (sender, _receiver) = sync_channel(100);
    let nowhere = place.at("nowhere");
    let missing = verify(&task(nowhere.as_path()), &Tally::default(), &sender);
    assert!(matches!(missing, Err(Failure::Replica(Errno::NOENT))));
    place.connection.execute("UPDATE file SET records = substr(records, 1, 9)", []).unwrap();
    let damaged = verify(&task(replica.as_path()), &Tally::default(), &sender);
    assert!(matches!(damaged, Err(Failure::Index(Unusable::Damaged(_)))), "{damaged:?}");
}

/// Looks again at a name that was not right, after a change.
fn second_look(place: &Place, path: &str, change: impl FnOnce()) -> (Option<Status>, bool) {
    let (interrupt, tally) = (Interrupt::new(), Tally::default());
    let workers = Workers::new(1, 1).unwrap();
    let tools = Tools {
        interrupt: &interrupt,
        workers: &workers,
        tally: &tally,
        drops_cache: false,
        large: LargeFiles::new(1),
        uncached: Uncached::default(),
        leases: Leases::default(),
    };
    let checker = Checker { tools, links: Links::default(), last_pass: None, may_have_lost_times: false };
    let root = open_root(&place.at("")).unwrap();
    let second = Second::new(&place.reader, &root, &checker);
    let mut walk = Walk::new(&place.reader, &root, &[]).unwrap();
    while let Some(step) = walk.next().unwrap() {
        let Step::Item(item) = step else { continue };
        if item.path().to_string() != path {
            continue;
        }
        let Answer::Found(found) = checker.check(&item, false) else { panic!("{item:?}") };
        let (finding, state) = *found;
        assert_ne!(finding.status, Status::Ok);
        change();
        let found = second.look_at(Suspect { item: Item { state, ..*item }, finding }).unwrap();
        return (found.map(|finding| finding.status), second.end().unwrap().1);
    }
    panic!("{path} is not on the way");
}

#[test]
fn what_a_pass_has_replaced_and_recorded_by_then_is_right() {
    let place = Place::new();
    place.write("file", "new");
    place.record("file", "old");
    assert_eq!(second_look(&place, "file", || place.record("file", "new")), (Some(Status::Ok), true));
    place.record("file", "old");
    let replaced = || place.write("file", "old");
    assert_eq!(second_look(&place, "file", replaced), (Some(Status::Ok), true));
    place.record("file", "another");
    let (status, has_changed) = second_look(&place, "file", || place.record("file", "a third"));
    assert!(status != Some(Status::Ok) && has_changed, "{status:?}");
}

#[test]
fn temporaries_that_are_gone_and_files_that_have_come_are_no_findings() {
    let place = Place::new();
    place.write("d/.file-sync-1.tmp", "x");
    let gone = || fs::remove_dir_all(place.at("d")).unwrap();
    assert_eq!(second_look(&place, "d/.file-sync-1.tmp", gone), (None, true));
    place.write("d/new", "x");
    assert_eq!(second_look(&place, "d/new", || place.record("d/new", "x")), (Some(Status::Ok), true));
    place.record("e/late", "late");
    assert_eq!(second_look(&place, "e/late", || place.write("e/late", "late")).0, Some(Status::Ok));
    let forgotten =
        || assert_eq!(place.connection.execute("DELETE FROM file WHERE folder = x'66'", []), Ok(1));
    place.record("f/deleted", "x");
    assert_eq!(second_look(&place, "f/deleted", forgotten), (None, true));
    place.write("still", "x");
    assert_eq!(second_look(&place, "still", || {}), (Some(Status::Extra), false));
}

#[test]
fn the_way_is_in_the_order_of_whole_paths_and_misses_nothing() {
    let place = Place::new();
    let files = ["a", "a-b/1", "a.d", "b/x/1", "b/x", "b-/2", "b0", "c/d/e/f/g", "c/d-/x", "c/d.", "z"];
    let on_disk = ["b/", "a-b/", "c/d/e/"];
    let mut expected = Vec::new();
    for (at, path) in files.iter().enumerate() {
        let clashes = files.iter().any(|other| other.starts_with(&format!("{path}/")));
        if at % 3 != 0 && !clashes {
            place.write(path, "x");
        }
        if at % 3 != 1 {
            place.record(path, "x");
        }
        if at % 3 != 1 || !clashes {
            expected.push(path.as_bytes().to_vec());
        }
    }
    on_disk.iter().for_each(|folder| fs::create_dir_all(place.at(folder)).unwrap());
    expected.sort();
    let root = open_root(&place.at("")).unwrap();
    let mut walk = Walk::new(&place.reader, &root, &[]).unwrap();
    let mut found = Vec::new();
    while let Some(step) = walk.next().unwrap() {
        match step {
            Step::Item(item) => found.push(item.path().as_bytes().to_vec()),
            Step::Hidden(path, errno) => panic!("{path}: {errno}"),
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn a_manifest_has_every_recorded_file_and_names_the_others() {
    let place = Place::new();
    place.good("a");
    place.good("d/b");
    place.record("missing", "m");
    place.write("z/extra", "x");
    fs::hard_link(place.at("d/b"), place.at("aa")).unwrap();
    let odd = place.scratch.path().join("replica").join(OsStr::from_bytes(b"\xff\n"));
    fs::write(odd, "odd").unwrap();
    let mut lines = Vec::new();
    let without = manifest(&place.at(""), &place.reader, &[], &mut |line| {
        lines.push((line.path.to_string(), line.digest));
        ControlFlow::Continue(())
    });
    let expected = [("a", "a"), ("aa", "d/b"), ("d/b", "d/b"), ("missing", "m")]
        .map(|(path, content)| (path.to_owned(), digest(content)));
    assert_eq!(lines, expected);
    let without: Vec<RelPath> = without.unwrap().into_iter().map(|finding| finding.path).collect();
    assert_eq!(without.iter().map(RelPath::to_string).collect::<Vec<_>>(), ["z/extra", "\"\\xff\\n\""]);
}
