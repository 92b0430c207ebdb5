//! What is left out by design, seen from outside.

#![allow(clippy::expect_used, reason = "a helper of a test may fail as the test itself may")]

use assert_cmd::Command;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

fn pass(folder: &Path) -> String {
    let mut command = Command::cargo_bin("file-sync").expect("it has been built");
    command.current_dir(folder).args([
        "--source",
        "source",
        "--replica",
        "replica",
        "--log_file",
        "log",
        "--once",
    ]);
    let output = command.assert().success().get_output().clone();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_file_that_became_a_socket_goes_from_the_replica() {
    let scratch = tempfile::tempdir().expect("a folder");
    let at = |name: &str| scratch.path().join(name);
    fs::create_dir(at("source")).expect("created");
    fs::write(at("source/run"), "a file").expect("written");
    pass(scratch.path());
    assert!(at("replica/run").exists());
    fs::remove_file(at("source/run")).expect("removed");
    let _socket = UnixListener::bind(at("source/run")).expect("a socket");
    let told = pass(scratch.path());
    assert!(told.contains("skip run (sockets are not mirrored)"), "{told}");
    assert!(told.contains("delete run 6 B"), "{told}");
    assert!(!at("replica/run").exists());
    let told = pass(scratch.path());
    assert!(told.contains(" 0 deleted, 0 unchanged, 1 skipped, 0 problems"), "{told}");
}
