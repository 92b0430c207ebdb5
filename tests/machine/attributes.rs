//! Extended attributes (xattrs), which not every filesystem keeps.

use crate::Test;
use crate::support::fsops::{chmod, keeps, plant, set_attribute};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use file_sync::Verb;

pub(crate) const TESTS: &[Test] = tests![extended_attributes_of_what_is_read_only_are_set_and_removed];

fn extended_attributes_of_what_is_read_only_are_set_and_removed() {
    let scratch = Scratch::new();
    if !keeps(&scratch.source, "user.one", b"1") {
        leave_out("this filesystem keeps no extended attributes of users");
    }
    plant(&scratch.source, &["file", "folder/"]);
    let names = ["file", "folder"].map(|name| scratch.source.join(name));
    for path in &names {
        set_attribute(path, "user.one", b"1").unwrap();
        chmod(path, 0o555).unwrap();
    }
    scratch.converge();
    for path in &names {
        chmod(path, 0o755).unwrap();
        set_attribute(path, "user.two", b"2").unwrap();
        rustix::fs::removexattr(path, "user.one").unwrap();
        chmod(path, 0o555).unwrap();
    }
    let passed = scratch.converge();
    assert!(passed.seen.did(Verb::Metadata, "file") && passed.seen.did(Verb::Metadata, "folder"));
}
