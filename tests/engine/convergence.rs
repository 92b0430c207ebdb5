//! Regressions of convergence: one pass did not make the replica equal, or a second pass still found a difference. One
//! test for each case.

use crate::support::fsops::{chmod, link, make_node, plant};
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use file_sync::Verb;
use rustix::fs::FileType;
use std::fs;

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

#[test]
fn a_name_that_waits_for_its_other_name_is_linked_into_a_new_folder_that_is_read_only() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["one/a", "one/b", "two/a"]);
    for (old, new) in [("one/a", "two/z"), ("one/b", "two/b"), ("two/a", "one/z")] {
        fs::write(scratch.source.join(old), vec![7; 2 << 20]).unwrap();
        link(&scratch.source.join(old), &scratch.source.join(new)).unwrap();
    }
    for name in ["one", "two"] {
        chmod(&scratch.source.join(name), 0o555).unwrap();
    }
    scratch.converge();
}

#[test]
fn a_replica_file_that_is_a_name_of_a_source_file_is_never_written_through() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["new/x"]);
    fs::copy(scratch.source.join("new/x"), scratch.source.join("b")).unwrap();
    chmod(&scratch.source.join("b"), 0o600).unwrap();
    // As after `cp -al` and a rename in the source.
    link(&scratch.source.join("new/x"), &scratch.replica.join("b")).unwrap();
    let before = Tree::of(&scratch.source);
    scratch.converge();
    assert_same("the source changed", &before, &Tree::of(&scratch.source));
    assert_eq!(Tree::of(&scratch.replica).shared_outside(), [""; 0]);
}

#[test]
fn a_replica_that_was_made_of_hard_links_to_the_source_becomes_files_of_its_own() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["a", "folder/b", "folder/c", "new/d"]);
    link(&scratch.source.join("a"), &scratch.source.join("new/e")).unwrap();
    fs::create_dir(scratch.replica.join("folder")).unwrap();
    for name in ["a", "folder/b", "folder/c"] {
        link(&scratch.source.join(name), &scratch.replica.join(name)).unwrap();
    }
    let before = Tree::of(&scratch.source);
    scratch.converge();
    assert_same("the source changed", &before, &Tree::of(&scratch.source));
    assert_eq!(Tree::of(&scratch.replica).shared_outside(), [""; 0]);
}
