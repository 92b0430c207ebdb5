//! Failures of the log and the console: the backup goes on, the exit code is right, and lost lines are reported.

use crate::harness::cases::Cases;
use crate::harness::kit::{Mount, Running};
use crate::harness::stage::{Scene, set};
use crate::harness::verdict::Before;
use crate::support::scratch::Scratch;
use std::fs::{self, File};
use std::io::{Read, pipe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) fn run(cases: &Cases, memory: &Path) {
    cases.run("the disk of the log is full, then is not", || log_disk_full(memory));
    for console in [">&- 2>&-", ">/dev/full 2>/dev/full", "| true", "2>&1 | head -n 1 >/dev/null"] {
        cases.run(&format!("a console that is {console}"), || console_gone(memory, console));
    }
}

fn log_disk_full(memory: &Path) {
    let mut place = Scratch::below(memory);
    set(&place, Scene::Old);
    let before = Before::of(&place);
    let tiny = Mount::tmpfs(&place.at("tiny"), "size=16k");
    place.log = place.at("tiny").join("log");
    let filler = place.at("tiny").join("filler");
    fs::write(&filler, vec![0; 16 << 10]).expect("written");
    let (mut console, end) = pipe().expect("a pipe");
    let mut command = place.file_sync(&["--interval", "1"]);
    let running = Running(command.stderr(end).spawn().expect("it starts"));
    drop(command);
    wait_until("mirrored", || {
        crate::support::tree::differences(
            &crate::support::tree::Tree::of(&place.source),
            &crate::harness::verdict::tree_if_any(&place.replica),
        )
        .is_empty()
    });
    assert!(place.events().is_empty(), "there was no room for a line");
    fs::remove_file(&filler).expect("removed");
    wait_until("logged again", || place.events().iter().any(|event| event["event"] == "log_lines_lost"));
    place.wait_for("done", 1);
    assert_eq!(running.stop(), Some(0));
    before.check(&place, true);
    let lost = place.events().iter().find_map(|event| event["lines"].as_u64());
    assert!(lost.is_some_and(|lines| lines > 10), "{lost:?}");
    let mut told = String::new();
    console.read_to_string(&mut told).expect("text");
    assert_eq!(told.matches("log_unwritable").count(), 1, "{told}");
    assert_eq!(told.matches("log_lines_lost").count(), 1, "{told}");
    drop(tiny);
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(60), "not {what} after a minute");
        sleep(Duration::from_millis(100));
    }
}

/// Everything is logged to a console that takes nothing. The code is 0 without trouble, and 23 with a problem.
fn console_gone(memory: &Path, console: &str) {
    for (code, spoil) in [(0, false), (23, true)] {
        let place = Scratch::below(memory);
        set(&place, Scene::Old);
        if spoil {
            // A mount on an extra of the replica: the extra cannot be deleted.
            fs::create_dir(place.replica.join("busy")).expect("created");
        }
        let _busy = spoil.then(|| Mount::tmpfs(&place.replica.join("busy"), "size=4k"));
        let before = Before::of(&place);
        let script = format!("{{ \"$0\" \"$@\"; echo $? >\"$CODE\"; }} {console}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(env!("CARGO_BIN_EXE_file-sync")).env("CODE", place.at("code"));
        shell.args(["--once", "--verbose", "--log-format", "json", "--source"]).arg(&place.source);
        shell.arg("--replica").arg(&place.replica).arg("--log_file").arg(&place.log);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
        let mut shown = String::new();
        File::open(place.at("code")).and_then(|mut file| file.read_to_string(&mut shown)).expect("a code");
        assert_eq!(shown.trim(), code.to_string(), "{console}: {:?}", place.events().last());
        if spoil {
            assert!(place.replica.join("new/secret").exists());
        } else {
            before.check(&place, true);
        }
    }
}
