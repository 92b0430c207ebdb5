//! `verify` and `manifest`: a replica is proven right, or not, without its source and beside a running service.

use crate::support::fsops::noise;
use crate::support::program::{Ended, start, until};
use crate::support::scratch::Scratch;
use rusqlite::Connection;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// One run of a command, with its options.
fn check(place: &Scratch, words: &str) -> Ended {
    start(place.with(words, "")).end()
}

fn verify(place: &Scratch) -> Ended {
    check(place, "verify --replica replica")
}

/// The lines about files: status and path.
fn wrong(ended: &Ended) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let lines = ended.stdout.lines().filter(|line| !line.contains(" read in "));
    lines.map(words).collect()
}

/// The totals, from the colon on.
fn totals(ended: &Ended) -> &str {
    ended.stdout.lines().last().and_then(|line| line.split_once(": ")).map_or("", |(_, counts)| counts)
}

fn database(place: &Scratch) -> PathBuf {
    let folder = fs::read_dir(place.at("state/file-sync")).expect("made by a pass");
    let mut paths = folder.map(|entry| entry.expect("readable").path());
    paths.find(|path| path.extension() == Some(OsStr::new("db"))).expect("an index")
}

fn some_tree(place: &Scratch) {
    place.write("source/a", "content of a");
    place.write("source/folder/deep/b", noise(300_000));
    place.write("source/folder/c", "content of c");
    place.write("source/folder-x/d", "");
    place.write("source/gone/below/e", "content of e");
    place.link("source/link", "a");
    place.folder("source/empty");
    fs::hard_link(place.at("source/a"), place.at("source/folder/another a")).expect("linked");
    fs::hard_link(place.at("source/a"), place.at("source/0")).expect("linked");
}

#[test]
fn a_replica_that_is_right_is_proven_so_without_its_source() {
    let place = Scratch::with_source();
    some_tree(&place);
    place.sync();
    fs::rename(place.at("source"), place.at("elsewhere")).expect("renamed");
    for words in
        ["--replica replica", "--source source --replica replica -j 1", "--replica ./replica/ --drop-cache"]
    {
        let ended = check(&place, &format!("verify {words}"));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words}: {ended:?}");
        assert!(ended.stdout.starts_with("7 files, 293 KiB read in "), "{ended:?}");
        assert_eq!(totals(&ended), "7 ok, 0 rotted, 0 missing, 0 changed, 0 extra, 0 unchecked");
    }
    let all = check(&place, "verify --replica replica -v");
    assert_eq!(all.stdout.lines().filter(|line| line.starts_with("ok  ")).count(), 7, "{all:?}");
    assert_eq!(all.code, Some(0));
}

#[test]
fn everything_that_is_not_right_is_named_in_the_order_of_the_paths() {
    let place = Scratch::with_source();
    some_tree(&place);
    place.sync();
    let mtime = fs::metadata(place.at("replica/folder/deep/b"))
        .and_then(|facts| facts.modified())
        .expect("it has one");
    let mut content = noise(300_000);
    content[1000] ^= 1;
    fs::write(place.at("replica/folder/deep/b"), content).expect("written");
    set_mtime(&place, "replica/folder/deep/b", mtime);
    place.remove("replica/folder-x/d");
    place.remove("replica/gone");
    place.write("replica/extra", "nobody knows it");
    place.remove("replica/folder/c");
    symlink("a", place.at("replica/folder/c")).expect("linked");
    let ended = verify(&place);
    assert_eq!(ended.code, Some(23), "{ended:?}");
    let expected = [
        "extra extra",
        "missing folder-x/d",
        "missing folder/c",
        "changed folder/deep/b",
        "missing gone/below/e",
    ];
    assert_eq!(wrong(&ended), expected);
    assert_eq!(totals(&ended), "3 ok, 0 rotted, 3 missing, 1 changed, 1 extra, 0 unchecked");
    let line = ended.stdout.lines().find(|line| line.starts_with("changed")).expect("told");
    assert!(line.contains(", expected ") && line.contains(", which was last seen on 20"), "{line}");
    let column = |word: &str| ended.stdout.lines().find_map(|line| line.find(word));
    assert_eq!(column("nothing is known"), column("a symlink has its name"), "{ended:?}");
    assert_eq!(check(&place, "verify --replica replica --json -v").code, Some(23));
}

fn set_mtime(place: &Scratch, path: &str, mtime: SystemTime) {
    let file = fs::File::options().write(true).open(place.at(path)).expect("writable");
    file.set_modified(mtime).expect("set");
}

#[test]
fn names_of_any_bytes_come_as_the_log_format_says() {
    let place = Scratch::with_source();
    place.sync();
    for name in [&b"line\nbreak"[..], b"not \xff utf-8", b"\x1b[31m"] {
        place.write(PathBuf::from("replica").join(OsStr::from_bytes(name)), "x");
    }
    let ended = verify(&place);
    assert!(
        ended.stdout.contains(r#""line\nbreak""#) && ended.stdout.contains(r#""not \xff utf-8""#),
        "{ended:?}"
    );
    assert!(!ended.stdout.contains('\u{1b}'));
    let json = check(&place, "verify --replica replica --json");
    let objects: Vec<serde_json::Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(objects.len(), 4, "{json:?}");
    let odd = objects.iter().find(|object| object["path_bytes"].is_string()).expect("it has bytes");
    assert_eq!(odd["path_bytes"], "6e6f7420ff207574662d38");
    assert_eq!((&odd["event"], &odd["status"]), (&"file".into(), &"extra".into()));
    let totals = objects.last().expect("totals");
    assert_eq!(
        (&totals["event"], &totals["files"], &totals["extra"]),
        (&"totals".into(), &3.into(), &3.into())
    );
    assert!(!json.stdout.contains('\u{1b}'));
}

#[test]
fn every_field_of_a_changed_file_is_in_its_object() {
    let place = Scratch::with_source();
    place.write("source/a", "abc");
    place.sync();
    fs::write(place.at("replica/a"), "").expect("written");
    let json = check(&place, "verify --replica replica --json");
    let object: serde_json::Value =
        serde_json::from_str(json.stdout.lines().next().expect("told")).expect("JSON");
    assert_eq!(object["sha256"], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(object["recorded_sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert!(object["confirmed"].as_str().is_some_and(|moment| moment.ends_with('Z')), "{object}");
}

#[test]
fn unreadable_files_and_folders_are_unchecked_and_never_missing() {
    let place = Scratch::of_ordinary_user();
    place.write("source/secret", "x");
    place.write("source/closed/inside", "x");
    place.write("source/closed/deeper/file", "x");
    place.sync();
    place.mode("replica/secret", 0o000);
    place.mode("replica/closed", 0o000);
    let ended = verify(&place);
    place.mode("replica/closed", 0o700);
    assert_eq!(ended.code, Some(23));
    let expected =
        ["unchecked closed", "unchecked closed/deeper/file", "unchecked closed/inside", "unchecked secret"];
    assert_eq!(wrong(&ended), expected, "{ended:?}");
    assert!(ended.stdout.contains("Permission denied"), "{ended:?}");
}

#[test]
fn a_log_inside_the_replica_is_no_extra_where_it_is_named() {
    let place = Scratch::with_source();
    place.write("source/a", "x");
    let run =
        start(place.with("--source source --replica replica --log_file replica/logs/ --once", "")).end();
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(wrong(&verify(&place)), ["extra logs/file-sync.log"]);
    place.write("replica/logs/file-sync.log.1", "rotated");
    assert_eq!(check(&place, "verify --replica replica --log-file replica/logs/").code, Some(0));
    assert_eq!(check(&place, "manifest --replica replica --log_file replica/logs/").code, Some(0));
}

#[test]
fn it_works_beside_a_service_and_sees_what_that_has_done() {
    let place = Scratch::with_source();
    some_tree(&place);
    let running = place.start("");
    assert_eq!(verify(&place).code, Some(0));
    place.write("source/a", "another content");
    place.write("source/new", "new");
    place.remove("source/gone");
    running.pass_now();
    let ended = verify(&place);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    running.stop();
}

#[test]
fn a_pass_in_the_middle_of_a_copy_does_not_disturb() {
    let place = Scratch::with_source();
    some_tree(&place);
    let running = place.start("");
    place.write_zeros("source/large", 300 << 20);
    running.signal(Signal::USR1);
    running.copies_into(&place.at("replica"));
    running.suspend();
    let ended = verify(&place);
    running.signal(Signal::CONT);
    running.pass_ends(2);
    running.stop();
    // Where the filesystem has no files without a name, the unfinished copy has one.
    let unfinished = wrong(&ended).iter().all(|line| line.starts_with("extra .file-sync-"));
    assert!(unfinished, "{ended:?}");
    assert_eq!(verify(&place).code, Some(0));
}

#[test]
fn a_copy_of_the_index_does_on_another_computer() {
    let place = Scratch::of_ordinary_user();
    some_tree(&place);
    place.sync();
    place.folder("usb/read-only");
    fs::copy(database(&place), place.at("usb/read-only/index.db")).expect("copied");
    fs::rename(place.at("replica"), place.at("usb/replica")).expect("renamed");
    place.remove("state");
    place.remove("source");
    for path in ["usb/read-only/index.db", "usb/read-only"] {
        place.mode(path, 0o555);
    }
    let words = "--replica usb/replica --index usb/read-only/index.db";
    let ended = check(&place, &format!("verify {words}"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(check(&place, &format!("manifest {words}")).code, Some(0));
    assert_eq!(place.names("usb/read-only"), ["index.db"], "nothing is written");
}

#[test]
fn without_an_index_or_a_replica_a_message_says_what_to_do() {
    let place = Scratch::with_source();
    place.write("source/a", "x");
    for (words, expected) in [
        ("--replica replica", "run a pass first"),
        ("--replica replica --index nowhere.db", "run a pass first, or check the path"),
    ] {
        for command in ["verify", "manifest"] {
            let ended = check(&place, &format!("{command} {words}"));
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains(expected) && ended.stdout.is_empty(), "{ended:?}");
        }
    }
    place.sync();
    fs::rename(place.at("replica"), place.at("away")).expect("renamed");
    let ended = verify(&place);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("Cannot read the replica") && ended.stderr.contains("mount"), "{ended:?}");
    place.folder("replica");
    let ended = verify(&place);
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert!(ended.stderr.contains("is what holds the replica mounted?"), "{ended:?}");
    fs::write(database(&place), "no database at all").expect("written");
    let ended = verify(&place);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("it is damaged") && ended.stderr.contains("move it away"), "{ended:?}");
}

#[test]
fn mistakes_are_refused() {
    let place = Scratch::with_source();
    let two = place.at("two");
    fs::create_dir(&two).expect("created");
    for source in ["source", "two"] {
        let words = format!("--source {source} --replica replica --log_file log --once");
        assert_eq!(start(place.with(&words, "")).end().code, Some(0));
    }
    for (words, expected) in [
        ("verify", "--replica is missing"),
        ("manifest", "--replica is missing"),
        ("verify --replica=", "--replica \"\""),
        ("verify --replica replica -j 0", "--threads 0"),
        ("verify --replica=~/x", "$HOME/x"),
        ("verify --replica replica --index a --state-dir b", "--index"),
        ("manifest --replica replica -0 --json", "--json"),
        ("verify --replica replica", "Several sources"),
    ] {
        let ended = check(&place, words);
        assert_eq!(ended.code, Some(2), "{words}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{words}: {ended:?}");
    }
    assert_eq!(check(&place, "verify --replica replica --source two").code, Some(0));
}

#[test]
fn an_interrupt_ends_it_with_exit_code_20() {
    let place = Scratch::with_source();
    fs::File::create(place.at("source/sparse")).and_then(|file| file.set_len(4 << 30)).expect("created");
    place.sync();
    let running = start(place.with("verify --replica replica", ""));
    let open = format!("/proc/{}/fd", running.id());
    until("it reads", || {
        let descriptors = fs::read_dir(&open).into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|file| file.ends_with("sparse"))
    });
    let (ended, _) = running.stop_with(Signal::INT);
    assert_eq!(ended.code, Some(20), "{ended:?}");
    assert!(ended.stdout.starts_with("Stopped early: 0 files"), "{ended:?}");
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let place = Scratch::with_source();
    place.sync();
    (0..200).for_each(|at| place.write(format!("replica/{at}"), "x"));
    for command in ["verify", "manifest"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = place.with(&format!("{command} --replica replica --json"), "");
        let status = command.stdout(writer).stderr(Stdio::null()).status().expect("it runs");
        assert_eq!(status.code(), Some(20));
    }
}

#[test]
fn a_manifest_is_checked_by_sha256sum_whatever_the_names() {
    let place = Scratch::with_source();
    some_tree(&place);
    let names: [&[u8]; 8] =
        [b"line\nbreak", b"back\\slash", b"cr\rcr", b"-dash", b" *star", b"\xff", b"\\n", b"two  spaces "];
    for name in names {
        place.write(PathBuf::from("source").join(OsStr::from_bytes(name)), name);
    }
    place.sync();
    place.remove("source");
    let manifest = check(&place, "manifest --replica replica");
    assert_eq!(manifest.code, Some(0), "{manifest:?}");
    assert!(manifest.stderr.starts_with("15 digests as of 20"), "{manifest:?}");
    let raw = place.with("manifest --replica replica", "").output().expect("it runs").stdout;
    fs::write(place.at("sums"), &raw).expect("written");
    let mut sha256sum = Command::new("sha256sum");
    sha256sum.args(["--strict", "--check", "../sums"]).current_dir(place.at("replica"));
    let output = sha256sum.output().expect("coreutils");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(told.lines().filter(|line| line.ends_with(": OK")).count(), 15, "{told}");
    // The same bytes as sha256sum itself prints, in the order of the paths.
    for (option, end) in [("", b'\n'), ("-0", b'\0')] {
        let ours =
            place.with(&format!("manifest --replica replica {option}"), "").output().expect("it runs").stdout;
        let mut theirs = Command::new("sh");
        let option = if option.is_empty() { "" } else { "--zero" };
        let script =
            format!("find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum {option} --");
        theirs.args(["-c", &script]).current_dir(place.at("replica"));
        let theirs = theirs.output().expect("coreutils and findutils").stdout;
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
        assert!(ours == theirs && ours.ends_with(&[end]));
    }
}

#[test]
fn a_manifest_names_what_has_no_digest_and_tells_its_moment() {
    let place = Scratch::with_source();
    place.write("source/a", "abc");
    place.sync();
    place.write("replica/extra", "x");
    let insert = |connection: &Connection| {
        let sql = "DELETE FROM pass; INSERT INTO pass (number, started, ended, outcome, process, mark) \
                   VALUES (1, 1764000000000, 1764000001000, 'done', 1, '')";
        connection.execute_batch(sql).expect("written");
    };
    insert(&Connection::open(database(&place)).expect("opened"));
    let ended = check(&place, "manifest --replica replica");
    assert_eq!(ended.code, Some(23), "{ended:?}");
    assert_eq!(ended.stdout, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n");
    assert!(ended.stderr.contains("Without a digest: extra  nothing is known of it"), "{ended:?}");
    assert!(
        ended.stderr.contains("1 digest as of 2025-11-24T16:00:00Z (the start of the last pass"),
        "{ended:?}"
    );
    let json = check(&place, "manifest --replica replica --json -j 4");
    let objects: Vec<serde_json::Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(objects.len(), 3, "{json:?}");
    assert_eq!((&objects[0]["path"], &objects[0]["bytes"]), (&"a".into(), &3.into()));
    assert_eq!((&objects[1]["event"], &objects[1]["path"]), (&"without_digest".into(), &"extra".into()));
    assert_eq!((&objects[2]["files"], &objects[2]["as_of"]), (&1.into(), &"2025-11-24T16:00:00Z".into()));
}

#[test]
fn the_help_of_both_is_worth_reading() {
    let place = Scratch::with_source();
    for command in ["verify", "manifest"] {
        let ended = check(&place, &format!("{command} --help"));
        assert_eq!(ended.code, Some(0));
        insta::assert_snapshot!(format!("{command}_help"), ended.stdout);
        let longest = ended.stdout.lines().map(|line| line.chars().count()).max();
        assert!(longest.is_some_and(|longest| longest <= 105), "{longest:?}");
    }
}
