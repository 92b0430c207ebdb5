//! Races: others work in both trees while passes run. Nothing outside of the two roots is read into the replica or
//! changed, no torn file takes the place of a good one, nothing hangs, and one quiet pass makes everything right.
//!
//! tests/interference.rs has what can be timed by the events of the library: deletions that are called off, roots that
//! are swapped in the middle. Here it is the program itself, at moments between its events, and under a storm.

use crate::cases::Cases;
use crate::kit::{Mount, Place, has, is_root, may_mount, skip};
use crate::moments;

pub(crate) fn run() {
    if !may_mount() {
        return skip("races", "mounting needs root and a mount namespace");
    }
    assert!(is_root());
    let cases = Cases::new("races");
    let place = Place::new();
    let _mount = Mount::tmpfs(&place.path("mnt"), "size=1g");
    if has("strace") {
        moments::check_all(&cases, &place.path("mnt"));
    } else {
        skip("races at chosen moments", "strace is not installed");
    }
    cases.finish();
}
