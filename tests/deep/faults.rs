//! Fault injection: every system call fails once, at each occurrence, with each error that can occur.
//!
//! After each fault: the program neither panics nor hangs; it claims that the replica matches only if it does; the
//! fault is reported; no good version is lost or torn (`verdict`); and one pass without faults heals everything.

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

/// The errors. A healthy kernel does not return each of them from each call. Filesystems in user space, network
/// filesystems and security modules return arbitrary errors, and none may do harm.
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

/// Calls that set permissions, calls that write to the disk, and the call that lists folders. After one failure of such
/// a call a retry may hide the damage. So each also fails from one occurrence on until the end, and its effect must not
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

/// Errors that mean a missing feature of the filesystem. Returned every time, that is the truth.
const NOT_HELD: [&str; 2] = ["EPERM", "EOPNOTSUPP"];

/// Whether a noisy end, a panic or a signal, comes from Rust's runtime or from the loader, which abort without memory
/// or random numbers. The program cannot change that: such an end has to be harmless, but not silent. Any other noisy
/// end is a fault of the program.
fn is_of_the_runtime(hit: &str, said: &str) -> bool {
    const WORDS: [&str; 2] = ["failed to allocate an alternative stack", "memory allocation of"];
    if hit.contains(" mmap(") {
        return said.trim().is_empty() || WORDS.iter().any(|words| said.contains(words));
    }
    // The getrandom calls for names of temporaries have no flags.
    hit.contains(" getrandom(")
        && hit.contains("GRND_INSECURE")
        && said.contains("failed to generate random data")
}

/// The approximate number of checks of each call and scene in the short form, spread over its occurrences and the
/// errors.
const SAMPLE: usize = 30;

/// For checks whose call occurred less often in their run.
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
            // A call that always returns EINTR is retried for ever.
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

/// A scratch folder on a tmpfs, if this machine allows mounts.
pub(crate) fn scratch() -> (tempfile::TempDir, Option<Mount>) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mount = may_mount().then(|| Mount::tmpfs(folder.path(), "size=4g"));
    (folder, mount)
}

/// The scenes that are possible on this machine.
pub(crate) fn scenes(wanted: &[Scene]) -> Vec<Scene> {
    let may_be_user = may_be_user();
    if !may_be_user {
        skip("runs as an ordinary user", "that needs root, setpriv, and a program that everybody may read");
    }
    wanted.iter().copied().filter(|scene| *scene != Scene::Ordinary || may_be_user).collect()
}

/// The checks at the calls of a scene: all of them, or in the short form about [`SAMPLE`] of each call, and as many of
/// its calls on names that are settled late.
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
        // A check requested by name may be any of them.
        if is_thorough() || cases.is_narrowed() || all.len() <= SAMPLE {
            sample.extend(all);
            continue;
        }
        // A stride without a common factor with the number of errors meets each of them in turn.
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

/// Added to the name of a call on a file of the index.
const OF_INDEX: &str = " (of the index)";

/// The numbers of targeted calls that were hit and missed, for each scene and call.
#[derive(Default)]
pub(crate) struct Reach(Mutex<BTreeMap<String, (usize, usize)>>);

impl Reach {
    pub(crate) fn note(&self, scene: &str, target: &Target, is_hit: bool) {
        let mut reach = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = if target.is_of_index { OF_INDEX } else { "" };
        let (hit, missed) = reach.entry(format!("{scene}: {}{index}", target.call)).or_default();
        *(if is_hit { hit } else { missed }) += 1;
    }

    /// A run may make fewer calls than the recorded one, but a fault that hits nothing proves nothing. At least half of
    /// the targets of every call in every scene are hit. Of `write`, which the log calls once for many lines or once
    /// for each, at least one is hit, and so it is of each call on the files of the index, which SQLite makes in whichever
    /// thread is first: strace counts in each thread.
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
        let is_anywhere = |what: &str| what.ends_with(": write") || what.ends_with(OF_INDEX);
        // The one of a first copy is on a temporary, which cannot be aimed at, and those of the index hide it.
        let is_hidden = |what: &str| what == "None: ftruncate";
        cases.run("of each call in each scene at least half of what was aimed at was hit", || {
            let too_few: Vec<&String> = reach
                .iter()
                .filter(|(what, (hit, missed))| {
                    hit < missed && !is_hidden(what) && !(is_anywhere(what) && *hit > 0)
                })
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

/// Injects one fault in a place whose scene is set, and checks all promises.
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
        // The fault hit the loader of the program.
        Some(127) => cases.cover("not even started", &target.call),
        // A source that cannot be examined is not known to be the same: the pass is held.
        Some(1 | 23 | 25) => {
            assert!(told || !ended.said.is_empty(), "exit {code:?} and not a word {}", context())
        }
        code => panic!("exit {code:?} {}", context()),
    }
    // A failed syncfs may have lost any other write. Only EINTR is retried.
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

/// The folder, relative to the source, whose listing failed by this hit; `None` for all other hits. Errors that the
/// program retries successfully are left out.
fn unlisted(place: &Scratch, target: &Target, hit: &str, error: &str) -> Option<Vec<u8>> {
    // EPERM: the folder of another user, which is opened again without O_NOATIME.
    let is_retried = ["ENOENT", "ESTALE", "EINTR"].contains(&error)
        || error == "EPERM" && target.call == "openat" && hit.contains("O_NOATIME");
    if !target.lasts && is_retried {
        return None;
    }
    // "123 getdents64(7</a/source/folder>, ...": the folder of the descriptor. "123 openat(7</a/source>, "folder",
    // O_RDONLY|O_DIRECTORY...": the folder below it.
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
