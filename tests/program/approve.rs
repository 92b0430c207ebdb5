//! `approve` beside the passes: which index it finds, and what it says where it finds none.

use crate::support::fsops::set_mtime;
use crate::support::program::{Ended, start};
use crate::support::scratch::Scratch;
use std::fs;
use std::path::PathBuf;

fn approve(place: &Scratch, path: &str) -> Ended {
    start(place.bare().args(["approve", path])).end()
}

/// The only file of the state folder whose name ends so.
fn state_file(place: &Scratch, end: &str) -> PathBuf {
    let names = place
        .names("state/file-sync")
        .into_iter()
        .filter(|name| name.as_encoded_bytes().ends_with(end.as_bytes()));
    let [name] = <[_; 1]>::try_from(names.collect::<Vec<_>>()).expect("one file");
    place.at("state/file-sync").join(name)
}

#[test]
fn a_file_is_approved_in_the_pair_that_it_lies_in() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    place.sync();
    let ended = approve(&place, "replica/file");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("Approved replica/file sha256="), "{ended:?}");
    assert!(fs::read(state_file(&place, ".approved")).expect("readable").ends_with(b"  file\0"));
    let ended = approve(&place, "elsewhere/file");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("it lies in no source and no replica that has an index"), "{ended:?}");
    set_mtime(&place.at("source/file"), 1_700_000_000, 0).expect("set");
    place.sync();
}

#[test]
fn an_index_that_cannot_be_read_is_named_where_no_pair_is_found() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    place.sync();
    let database = state_file(&place, ".db");
    let connection = rusqlite::Connection::open(&database).expect("it opens");
    connection
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = TRUNCATE; BEGIN EXCLUSIVE")
        .expect("locked");
    let ended = approve(&place, "source/file");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = format!("{} (another process uses it)", database.display());
    assert!(ended.stderr.contains("index that can be read") && ended.stderr.contains(&said), "{ended:?}");
    drop(connection);
    fs::remove_file(&database).expect("removed");
    rustix::fs::mkfifoat(rustix::fs::CWD, &database, rustix::fs::Mode::RWXU).expect("made");
    let ended = approve(&place, "source/file");
    let said = format!("{} (it is not a regular file)", database.display());
    assert!(ended.code == Some(1) && ended.stderr.contains(&said), "{ended:?}");
    // A pass goes on without it.
    let ended = place.sync();
    assert!(ended.stderr.contains("it is not a regular file; passes go on without it"), "{ended:?}");
}
