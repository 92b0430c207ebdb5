//! Kills: SIGKILL at each occurrence of each system call, and at random moments of longer passes. This file kills
//! single passes; `periodic.rs` kills one pass among many of a process.
//!
//! After each kill: no torn file under a final name and no version lost (`verdict`), and the next pass makes everything
//! right and leaves no temporary behind.

mod periodic;

use crate::faults::{NOT_REACHED, Reach, sampled, scenes, scratch};
use crate::harness::aim::Target;
use crate::harness::cases::{Cases, is_thorough, seed};
use crate::harness::kit::{Running, has, skip};
use crate::harness::stage::{self, Scene};
use crate::harness::trace::{signal_of, tamper};
use crate::harness::verdict::Before;
use crate::support::dice::Dice;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) const KILL: i32 = 9;

/// The number of passes killed at a random moment.
const MOMENTS: usize = 60;
const MOMENTS_IN_THE_LONG_FORM: usize = 1500;

struct Death {
    scene: Scene,
    target: Target,
}

pub(crate) fn run() {
    let (scratch, _mount) = scratch();
    let scratch = scratch.path();
    let cases = Cases::new("kills");
    if has("strace") {
        let mut deaths = Vec::new();
        for scene in scenes(&[Scene::Old, Scene::None, Scene::Ordinary]) {
            let all = sampled(&cases, scene, scratch, |target| vec![Death { scene, target: target.clone() }]);
            deaths.extend(all.into_iter().filter(|death| cases.wants(&name(death))));
        }
        let reach = Reach::default();
        cases.run_all(&deaths, name, |death| at_a_call(death, scratch, &cases, &reach));
        reach.assert_enough(&cases);
    } else {
        skip("kills at every call", "strace is not installed");
    }
    let moments = if is_thorough() { MOMENTS_IN_THE_LONG_FORM } else { MOMENTS };
    let moments: Vec<usize> = (0..moments).collect();
    let length = length_of_a_pass(scratch);
    cases.run_all(
        &moments,
        |moment| format!("random moment {moment}."),
        |moment| at_a_moment(*moment, length, scratch, &cases),
    );
    periodic::run(scratch, &cases);
    cases.finish();
}

fn name(death: &Death) -> String {
    format!("{:?}: {} KILL", death.scene, death.target)
}

fn at_a_call(death: &Death, scratch: &Path, cases: &Cases, reach: &Reach) {
    let place = stage::place(scratch, death.scene);
    kill_in(&place, (&format!("{:?}", death.scene), &death.target), cases, reach);
}

/// One kill in a place whose scene is set.
pub(crate) fn kill_in(place: &Scratch, (scene, target): (&str, &Target), cases: &Cases, reach: &Reach) {
    let before = Before::of(place);
    let ended = tamper(place, target, "signal=KILL");
    if signal_of(ended.status) != Some(KILL) {
        assert_eq!(ended.status.code(), Some(0), "it was not killed: {:?}", ended.pass.told());
        reach.note(scene, target, false);
        leave_out(NOT_REACHED);
    }
    reach.note(scene, target, true);
    before.check(place, false);
    before.heals(place);
    cases.cover("killed at", &target.call);
}

/// A pair of trees for longer passes: several hundred files, some of them new, changed or gone.
pub(crate) fn long_stage(place: &Scratch) {
    fs::create_dir(&place.replica).expect("created");
    let mut dice = Dice(7);
    for (is_new, root) in [(true, &place.source), (false, &place.replica)] {
        for number in 0..400_u64 {
            let folder = root.join(format!("folder {}", number % 16));
            fs::create_dir_all(&folder).expect("created");
            let version = match (number % 5, is_new) {
                (0, true) | (1, false) => continue,
                (2, is_new) => u64::from(is_new),
                _ => 0,
            };
            let size = 1 + Dice(number).below(120_000);
            let path = folder.join(format!("file {number}"));
            fs::write(path, Dice(number * 2 + version).bytes(size)).expect("written");
        }
        for number in 0..3 {
            let size = (3 << 20) + dice.below(1000);
            fs::write(root.join(format!("large {number}")), dice.bytes(size)).expect("written");
        }
    }
}

/// More small changed files than one group commit takes.
fn crowd(place: &Scratch) {
    for (version, root) in [("new", &place.source), ("old", &place.replica)] {
        fs::create_dir(root.join("crowd")).expect("created");
        for number in 0..1300 {
            fs::write(root.join(format!("crowd/{number}")), format!("{version} {number}")).expect("written");
        }
    }
}

fn length_of_a_pass(scratch: &Path) -> Duration {
    let place = Scratch::below(scratch);
    long_stage(&place);
    let begin = Instant::now();
    assert_eq!(place.once(&[]).code, Some(0));
    begin.elapsed()
}

fn at_a_moment(moment: usize, length: Duration, scratch: &Path, cases: &Cases) {
    let place = Scratch::below(scratch);
    long_stage(&place);
    if moment % 4 == 3 {
        crowd(&place);
    }
    let before = Before::of(&place);
    let mut dice = Dice(seed().wrapping_mul(1_000_003) + moment as u64);
    // Several kills before a pass may end: each pass has to cope with the leftovers of the one before it.
    let deaths = 1 + dice.below(3);
    let mut found = Vec::new();
    for _ in 0..deaths {
        let mut running = Running(place.file_sync(&["--once"]).spawn().expect("it starts"));
        sleep(length.mul_f64(dice.below(1200) as f64 / 1000.0));
        running.0.kill().expect("a child");
        let was_killed = signal_of(running.0.wait().expect("a child")) == Some(KILL);
        cases.cover("random moments", if was_killed { "in the middle" } else { "after the end" });
        found = before.wrong(&Tree::of(&place.replica));
        if !found.is_empty() {
            break;
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    before.check_others(&place);
    before.heals(&place);
}
