//! The stories of `tests/engine/model.rs` on any filesystem: as replica, as source, as both, and as a user without any
//! rights.

use crate::harness::cases::{Cases, SEED, is_thorough, seed};
use crate::harness::kit::has;
use crate::support::edits::{Edit, Limits, World};
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use crate::support::story::{Round, link_story, play, story};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::env::{current_exe, var};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Set for a process that only plays stories: their number.
const COUNT: &str = "FILE_SYNC_DEEP_STORIES";

const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// A filesystem on which stories are played.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) name: &'a str,
    /// A folder on it.
    pub(crate) at: &'a Path,
    /// A folder on a tmpfs.
    pub(crate) elsewhere: &'a Path,
    pub(crate) limits: Limits,
}

impl Stage<'_> {
    /// Every meaningful direction, each as one check.
    pub(crate) fn play_all(self, cases: &Cases) {
        let Stage { name, at, elsewhere, limits } = self;
        let holds_everything = limits != Limits::PlainNames;
        let mut directions = vec![];
        if at != elsewhere {
            directions.push(("as replica", elsewhere, at));
            directions.push(("as source", at, elsewhere));
        }
        directions.push(("as both", at, at));
        for (direction, source, replica) in directions {
            cases.run(&format!("stories on {name} {direction}"), || {
                play_some([source, replica, at], limits, count(limits));
                (0..count(limits)).for_each(|_| cases.cover("stories", &format!("{name} {direction}")));
            });
        }
        if holds_everything {
            cases.run(&format!("stories on {name} as an ordinary user"), || self.play_as_nobody());
        }
    }

    fn play_as_nobody(self) {
        let this = current_exe().expect("this program");
        let nobody = |program: &Path| {
            let mut command = Command::new("setpriv");
            command.args(NOBODY).arg(program);
            command
        };
        let may_run = || nobody(Path::new("test")).arg("-x").arg(&this).status().is_ok_and(|it| it.success());
        if !has("setpriv") || !may_run() {
            leave_out("setpriv is missing, or nobody may run this program");
        }
        fs::set_permissions(self.at, Permissions::from_mode(0o1777)).expect("a mode");
        let mut command = nobody(&this);
        command.arg("--stories").arg(self.at).env(SEED, seed().to_string());
        let output = command.env(COUNT, (count(self.limits) / 2).to_string()).output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = told.lines().collect();
        assert!(output.status.success(), "{}", lines[lines.len().saturating_sub(40)..].join("\n"));
    }
}

/// Runs in the process of an ordinary user: all three folders lie below one.
pub(crate) fn play_here(folder: &Path) {
    let count = var(COUNT).ok().and_then(|count| count.parse().ok()).expect("a number");
    play_some([folder; 3], Limits::Until2400, count);
}

fn count(limits: Limits) -> u32 {
    match (is_thorough(), limits) {
        (false, Limits::PlainNames) => 8,
        (false, Limits::None | Limits::Until2400) => 20,
        (true, Limits::PlainNames) => 500,
        (true, Limits::None | Limits::Until2400) => 3000,
    }
}

/// Half general stories and half hard link stories, with source, replica and the outside in these folders.
fn play_some(folders: [&Path; 3], limits: Limits, count: u32) {
    play_each(&story(), folders, limits, count.div_ceil(2));
    play_each(&link_story(), folders, limits, count / 2);
}

/// A failed story is reported in its shortest form.
fn play_each(
    stories: &impl Strategy<Value = (Vec<Edit>, Vec<Round>)>,
    [source, replica, outside]: [&Path; 3],
    limits: Limits,
    cases: u32,
) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let dice = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let played = TestRunner::new_with_rng(config, dice).run(stories, |(tree, rounds)| {
        let world = World { scratch: Scratch::across(source, replica, outside), limits };
        play(&world, &tree, &rounds);
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}
