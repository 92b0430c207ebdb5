//! Every system call fails once: at each occurrence, with each error that can occur.
//!
//! After each: the program has not panicked and does not hang; it claims that the replica matches only if it does;
//! what went wrong has been told; no good version is lost, nothing is torn (`verdict`); and one pass without trouble
//! makes everything right.

use crate::harness::aim::{self, Target};
use crate::harness::cases::{Cases, is_thorough, seed};
use crate::harness::kit::{Mount, has, may_be_user, may_mount, skip, tell};
use crate::harness::stage::{self, Scene};
use crate::harness::trace::{signal_of, tamper, targets};
use crate::harness::verdict::{Before, sees};
use crate::support::dice::Dice;
use crate::support::leave_out::leave_out;
use crate::support::scratch::Scratch;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The errors. Not each of them can come from each call on a healthy kernel; but filesystems in user space, network
/// filesystems and security modules return whatever they like, and none of it may do harm.
pub(crate) const ERRORS: [&str; 13] = [
    "EIO",
    "ENOSPC",
    "EDQUOT",
    "EACCES",
    "EPERM",
    "EROFS",
    "EMFILE",
    "ENOMEM",
    "ENOENT",
    "ESTALE",
    "EINTR",
    "EINVAL",
    "EOPNOTSUPP",
];

/// Calls that set who may do what, those that write to the disk, and the one that lists folders. Where one of them fails once, trying again may mend
/// it before anyone looks; so they also fail from one occurrence on until the end, and what they would have done must not
/// be half there.
const LASTING: [&str; 11] = [
    "fchown",
    "fchownat",
    "fchmod",
    "fchmodat",
    "fsetxattr",
    "lsetxattr",
    "fremovexattr",
    "lremovexattr",
    "fdatasync",
    "syncfs",
    "getdents64",
];

/// An answer that says that the filesystem has no such thing. When it is given always, it is true.
const NOT_HELD: [&str; 2] = ["EPERM", "EOPNOTSUPP"];

/// Whether an end with noise, a panic or a signal, is one of the language's own runtime or of the loader, which give up
/// where they get no memory or no random numbers. That is not ours to choose: it has to be without harm, but not without
/// noise. Everything else is ours.
fn is_of_the_runtime(hit: &str, said: &str) -> bool {
    const WORDS: [&str; 2] = ["failed to allocate an alternative stack", "memory allocation of"];
    if hit.contains(" mmap(") {
        return said.trim().is_empty() || WORDS.iter().any(|words| said.contains(words));
    }
    // Those of our temporaries' names have no flags.
    hit.contains(" getrandom(")
        && hit.contains("GRND_INSECURE")
        && said.contains("failed to generate random data")
}

/// In the short form about so many checks of each call and scene are made, spread over its occurrences and the errors.
const SAMPLE: usize = 30;

/// For checks whose call was not made that often in their run.
pub(crate) const NOT_REACHED: &str = "not reached in this run";

struct Fault {
    scene: Scene,
    target: Target,
    error: &'static str,
}

impl Fault {
    fn name(&self) -> String {
        format!("{:?}: {} {}", self.scene, self.target, self.error)
    }
}

pub(crate) fn run() {
    if !has("strace") {
        return skip("faults", "strace is not installed");
    }
    let (scratch, _mount) = scratch();
    let cases = Cases::new("faults");
    let mut faults = Vec::new();
    for scene in scenes(&[Scene::Old, Scene::None, Scene::Same, Scene::Ordinary]) {
        let all = sampled(&cases, scene, scratch.path(), |target| {
            ERRORS.map(|error| Fault { scene, target: target.clone(), error }).into()
        });
        let lasting = sampled(&cases, scene, scratch.path(), |target| {
            if !LASTING.contains(&target.call.as_str()) {
                return Vec::new();
            }
            let target = Target { lasts: true, ..target.clone() };
            // A call that is interrupted for ever is made for ever.
            let is_made_again = ["fdatasync", "syncfs"].contains(&target.call.as_str());
            let errors = ERRORS
                .into_iter()
                .filter(|error| !(NOT_HELD.contains(error) || is_made_again && *error == "EINTR"));
            errors.map(|error| Fault { scene, target: target.clone(), error }).collect()
        });
        let all = all.into_iter().chain(lasting);
        faults.extend(all.filter(|fault| cases.wants(&fault.name())));
    }
    cases.run("lines of a trace are read as they are written", aim::reads_lines);
    cases.run("the verdict sees what it should", || sees(scratch.path()));
    let reach = Reach::default();
    cases.run_all(&faults, Fault::name, |fault| check(fault, scratch.path(), &cases, &reach));
    reach.assert_enough(&cases);
    cases.finish();
}

/// A place that is quick, if this machine lets us make one.
pub(crate) fn scratch() -> (tempfile::TempDir, Option<Mount>) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mount = may_mount().then(|| Mount::tmpfs(folder.path(), "size=4g"));
    (folder, mount)
}

/// The scenes that this machine can set.
pub(crate) fn scenes(wanted: &[Scene]) -> Vec<Scene> {
    let may_be_user = may_be_user();
    if !may_be_user {
        skip("runs as an ordinary user", "that needs root, setpriv, and a program that everybody may read");
    }
    wanted.iter().copied().filter(|scene| *scene != Scene::Ordinary || may_be_user).collect()
}

/// What is to be tried at the calls of a scene: everything, or in the short form about [`SAMPLE`] of each call, and as many
/// of its calls on names that are settled late.
pub(crate) fn sampled<T>(
    cases: &Cases,
    scene: Scene,
    scratch: &Path,
    tried: impl Fn(&Target) -> Vec<T>,
) -> Vec<T> {
    let place = stage::place(scratch, scene);
    let mut kinds: BTreeMap<(String, bool), Vec<Target>> = BTreeMap::new();
    for target in targets(&place) {
        kinds.entry((target.call.clone(), target.is_late)).or_default().push(target);
    }
    let mut made = Vec::new();
    let mut sample = Vec::new();
    for ((call, is_late), targets) in kinds {
        let each = targets.first().map_or(0, |target| tried(target).len());
        if each == 0 {
            continue;
        }
        let late = if is_late { " (of names settled late)" } else { "" };
        made.push(format!("{call}{late} {}", targets.len()));
        let all: Vec<T> = targets.iter().flat_map(&tried).collect();
        // What is asked for by name may be anything.
        if is_thorough() || cases.is_narrowed() || all.len() <= SAMPLE {
            sample.extend(all);
            continue;
        }
        // A stride that shares no factor with the number of errors meets each of them in turn.
        let mut stride = all.len() / SAMPLE;
        while each > 1 && stride.is_multiple_of(each) {
            stride += 1;
        }
        let offset = Dice(seed()).below(stride);
        sample.extend(all.into_iter().skip(offset).step_by(stride));
    }
    if !made.is_empty() {
        tell(&format!("{scene:?}: occurrences: {}", made.join(", ")));
    }
    sample
}

/// How many of the calls that were aimed at were made in their runs: for each scene and call those that were hit, and
/// those that were missed.
#[derive(Default)]
pub(crate) struct Reach(Mutex<BTreeMap<String, (usize, usize)>>);

impl Reach {
    pub(crate) fn note(&self, scene: &str, target: &Target, is_hit: bool) {
        let mut reach = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (hit, missed) = reach.entry(format!("{scene}: {}", target.call)).or_default();
        *(if is_hit { hit } else { missed }) += 1;
    }

    /// A run may make fewer calls than the one that was recorded; but what hits nothing proves nothing. Of every call in
    /// every scene at least half are hit; of `write`, which the log makes once for many lines or once for each, some.
    pub(crate) fn assert_enough(&self, cases: &Cases) {
        let reach = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missed: Vec<String> = reach
            .iter()
            .filter(|(_, (_, missed))| *missed > 0)
            .map(|(what, (hit, missed))| format!("{what} {missed} of {}", hit + missed))
            .collect();
        tell(&format!(
            "aimed at and not hit: {}",
            if missed.is_empty() { "none".to_owned() } else { missed.join(", ") }
        ));
        if cases.is_narrowed() {
            return;
        }
        cases.run("of each call in each scene at least half of what was aimed at was hit", || {
            let too_few: Vec<&String> = reach
                .iter()
                .filter(|(what, (hit, missed))| hit < missed && !(what.ends_with(": write") && *hit > 0))
                .map(|(what, _)| what)
                .collect();
            assert!(too_few.is_empty(), "more than half missed: {too_few:?}");
        });
        cases.run("nine of ten calls that were aimed at were hit", || {
            let hit: usize = reach.values().map(|(hit, _)| hit).sum();
            let missed: usize = reach.values().map(|(_, missed)| missed).sum();
            assert!(hit >= 9 * missed, "{hit} were hit and {missed} were not");
        });
    }
}

fn check(fault: &Fault, scratch: &Path, cases: &Cases, reach: &Reach) {
    let place = stage::place(scratch, fault.scene);
    check_in(&place, (&format!("{:?}", fault.scene), &fault.target, fault.error), cases, reach);
}

/// One fault in a place whose scene is set: the call fails, and everything that is promised holds.
pub(crate) fn check_in(
    place: &Scratch,
    (scene, target, error): (&str, &Target, &'static str),
    cases: &Cases,
    reach: &Reach,
) {
    let before = Before::of(place);
    let ended = tamper(place, target, &format!("error={error}"));
    let Some(hit) = ended.hits.first() else {
        reach.note(scene, target, false);
        leave_out(NOT_REACHED);
    };
    reach.note(scene, target, true);
    let context = || format!("after {hit}\n{} {:?}", ended.said, ended.pass.told());
    let code = ended.status.code();
    let is_noisy = ended.said.contains("panicked") || signal_of(ended.status).is_some();
    if is_noisy && is_of_the_runtime(hit, &ended.said) {
        cases.cover("ended by the runtime, without harm", &target.call);
        before.check(place, false);
        return before.heals(place);
    }
    assert!(!is_noisy, "it panicked, or a signal ended it {}", context());
    let told =
        ended.pass.events.iter().any(|event| {
            event["event"] == "problem" || event["outcome"] == "held" || event["level"] == "ERROR"
        });
    match code {
        Some(0) => {}
        // The loader of the program was hit.
        Some(127) => cases.cover("not even started", &target.call),
        // What cannot be seen is not known to be the same source: the pass is held.
        Some(1 | 23 | 25) => {
            assert!(told || !ended.said.is_empty(), "exit {code:?} and not a word {}", context())
        }
        code => panic!("exit {code:?} {}", context()),
    }
    // Whatever else was written by then may be lost. Only an interrupted call is just made again.
    if target.call == "syncfs" && error != "EINTR" {
        assert_ne!(code, Some(0), "not all is on the disk, and it is called done {}", context());
    }
    let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        before.check(place, code == Some(0));
        if let Some(folder) = unlisted(place, target, hit, error) {
            let gone = before.extras_gone(place, &folder);
            assert!(
                gone.is_empty(),
                "deleted, though nobody could see that they are gone: {}",
                gone.join(", ")
            );
            cases.cover("folders of the source that could not be listed", &target.call);
        }
        before.heals(place);
    }));
    if let Err(cause) = verdict {
        let cause = cause.downcast_ref::<String>().cloned().unwrap_or_default();
        panic!("{cause}\nexit {code:?} {}", context());
    }
    cases.cover("calls", &target.call);
    cases.cover("errors", error);
    cases.cover("exit codes", &format!("{}", code.unwrap_or(-1)));
}

/// The folder of the source, relative to it, that this hit has kept from being listed; none for all other hits. Of the
/// errors those are left out after which the program asks a second time, and then gets an answer.
fn unlisted(place: &Scratch, target: &Target, hit: &str, error: &str) -> Option<Vec<u8>> {
    if !target.lasts && ["ENOENT", "ESTALE", "EINTR"].contains(&error) {
        return None;
    }
    // "123 getdents64(7</a/source/folder>, ...": the folder is that of the descriptor; in
    // "123 openat(7</a/source>, "folder", O_RDONLY|O_DIRECTORY..." it is the one below.
    let (call, rest) = hit.trim_start_matches(|digit: char| digit.is_ascii_digit()).trim().split_once('(')?;
    let path = rest.split_once('<')?.1.split('>').next()?;
    let folder = path.strip_prefix(place.source.to_str()?)?.trim_start_matches('/');
    match call {
        "getdents64" => Some(folder.as_bytes().to_vec()),
        "openat" if rest.contains("O_DIRECTORY") => {
            let name = rest.split('"').nth(1)?;
            let is_root = folder.is_empty();
            Some(if is_root { name.to_owned() } else { format!("{folder}/{name}") }.into_bytes())
        }
        _ => None,
    }
}
