//! Cases in which one pass did not make the replica equal, or a second one still found something: one test each.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail as the test itself may")]

mod support;

use file_sync::monitor::Verb;
use rustix::fs::FileType;
use std::fs;
use support::{Scratch, make_node, plant};

#[test]
fn what_the_replica_has_in_the_place_of_a_socket_is_deleted() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["file", "folder/inside"]);
    scratch.converge();
    fs::remove_file(scratch.source.join("file")).unwrap();
    fs::remove_dir_all(scratch.source.join("folder")).unwrap();
    for name in ["file", "folder"] {
        make_node(&scratch.source.join(name), FileType::Socket, 0).unwrap();
    }
    let passed = scratch.converge();
    assert!(passed.seen.did(Verb::Delete, "file") && passed.seen.did(Verb::Delete, "folder"));
}
