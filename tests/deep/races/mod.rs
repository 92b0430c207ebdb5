//! Races: other processes change both trees during passes. Nothing outside of the two roots is read into the replica or
//! changed, no torn file replaces a good one, nothing hangs, and one quiet pass makes everything right.
//!
//! tests/interference.rs has the races that can be timed by events of the library: called-off deletions, roots swapped
//! in the middle. Here the program itself runs, with races between its events, and under a storm.

mod moments;
mod moving;
pub(crate) mod outside;
mod storm;

use crate::harness::cases::{Cases, is_thorough, seed};
use crate::harness::kit::{Mount, has, may_mount, skip};
use crate::support::fsops::chmod;
use crate::support::leave_out::leave_out;
use crate::support::scratch::{Scratch, is_root};
use std::env::{current_exe, var};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Set for the process of one storm: its folder.
const STORM: &str = "FILE_SYNC_DEEP_STORM";

/// An ordinary user.
const NOBODY: u32 = 65534;

pub(crate) fn run() {
    if let Ok(below) = var(STORM) {
        let length = Duration::from_secs(if is_thorough() { 120 } else { 12 });
        return storm::rage(Path::new(&below), seed(), length);
    }
    let cases = Cases::new("races");
    let place = Scratch::with_source();
    chmod(place.path(), 0o755).expect("a mode");
    // A disk works as well, but takes longer.
    let mount = may_mount().then(|| Mount::tmpfs(&place.at("mnt"), "size=1g"));
    let below = if mount.is_some() { place.at("mnt") } else { place.path().to_owned() };
    if has("strace") {
        moments::check_all(&cases, &below);
    } else {
        skip("races at chosen moments", "strace is not installed");
    }
    cases.run("the judge of files that change in place sees damage", moving::the_judge_sees);
    let passes = if is_thorough() { 1000 } else { 100 };
    cases.run("the source comes and goes", || storm::root_goes(&below, seed(), passes));
    if !is_root() {
        cases.run("a storm as root", || leave_out("a storm as root needs root"));
        cases.run("a storm as an ordinary user", || rage(&below.join("user"), None));
        return cases.finish();
    }
    cases.run("a storm as root", || rage(&below.join("root"), None));
    let user = NOBODY.to_string();
    let words = [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()];
    let mut probe = Command::new("setpriv");
    probe.env_remove("FILE_SYNC_DEEP").stdout(Stdio::null()).stderr(Stdio::null());
    cases.run("a storm as an ordinary user", || {
        let probed = probe.args(&words).arg(current_exe().expect("this program")).status();
        if !probed.is_ok_and(|status| status.success()) {
            leave_out("setpriv is missing, or the user may not run this program");
        }
        rage(&below.join("user"), Some(&words));
    });
    cases.finish();
}

fn rage(below: &Path, user: Option<&[String]>) {
    fs::create_dir(below).expect("created");
    let this = current_exe().expect("this program");
    let mut command = if let Some(user) = user {
        chown(below, Some(NOBODY), Some(NOBODY)).expect("an owner");
        let mut command = Command::new("setpriv");
        command.args(user).arg(this);
        command
    } else {
        Command::new(this)
    };
    let status = command.args(["--suite", "races"]).env(STORM, below).status().expect("it starts");
    assert!(status.success(), "the storm failed: see above");
}
