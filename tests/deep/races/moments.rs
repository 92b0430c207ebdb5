//! Races at chosen moments: the program is stopped after one system call, one hostile change is made to its trees, and
//! it continues. Part of the suite `races`.
//!
//! Two accepted races are not checked here. Another process creates an entry in the replica between the last look at a
//! name and its rename or removal (`RACE` in src/apply). A name comes back in the source in that same moment. The
//! second is recognized here by the trace, and counted as covered.

use crate::harness::cases::{Cases, is_thorough, seed};
use crate::harness::kit::may_be_user;
use crate::harness::stage::{self, Scene};
use crate::harness::stopped::Stopped;
use crate::harness::verdict::{Before, tree_if_any};
use crate::races::outside::{Outside, assert_no_secret};
use crate::support::dice::Dice;
use crate::support::leave_out::leave_out;
use crate::support::scratch::{NOBODY, Scratch, is_root};
use crate::support::tree::{Tree, What, assert_same};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Calls after which the program is stopped; those that a run does not make are left out.
const CALLS: [&str; 18] = [
    "openat",
    "statx",
    "getdents64",
    "pread64",
    "pwrite64",
    "ftruncate",
    "fchmod",
    "fchown",
    "fchownat",
    "utimensat",
    "fsetxattr",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "linkat",
    "renameat",
    "renameat2",
    "unlinkat",
];

/// Names that a program led outside would look for.
const BAIT: [&str; 16] = [
    "treasure",
    "one",
    "large",
    "file",
    "content",
    "size",
    "mode",
    "list",
    "secret",
    "a1",
    "deep/er/file",
    "tree/below/file",
    "below/file",
    "folder/below/file",
    "replica/changed/size",
    "replica/gone/file",
];

/// The number of moments of each call in the short form.
const SAMPLE: usize = 12;

/// For an ordinary user the calls are the same, and few fail.
const SAMPLE_OF_USER: usize = 3;

/// One hostile change. Returns the paths at and below which it worked; `None` if it was impossible at this moment.
type Act = fn(&Scratch) -> Option<Vec<&'static str>>;

struct Mutation {
    name: &'static str,
    act: Act,
    /// The reversal, where the paths of the roots themselves lead elsewhere now.
    undo: Option<fn(&Scratch)>,
    /// Names that are in the source again: none of their files may be deleted any more.
    returns: &'static [&'static str],
}

const fn plain(name: &'static str, act: Act) -> Mutation {
    Mutation { name, act, undo: None, returns: &[] }
}

const BACK: [&str; 3] = ["gone/file", "gone/tree/below/file", "extra"];

static MUTATIONS: [Mutation; 22] = [
    plain("replica/changed leads outside", |at| swap(at, &at.replica, "changed")),
    plain("replica/gone leads outside", |at| swap(at, &at.replica, "gone")),
    plain("replica/gone/tree leads outside", |at| swap(at, &at.replica, "gone/tree")),
    plain("replica/new leads outside", |at| swap(at, &at.replica, "new")),
    plain("replica/new/folder leads outside", |at| swap(at, &at.replica, "new/folder")),
    plain("replica/meta leads outside", |at| swap(at, &at.replica, "meta")),
    plain("replica/links leads outside", |at| swap(at, &at.replica, "links")),
    plain("replica/same/deep leads outside", |at| swap(at, &at.replica, "same/deep")),
    plain("source/changed leads outside", |at| swap(at, &at.source, "changed")),
    plain("source/new leads outside", |at| swap(at, &at.source, "new")),
    plain("source/new/folder leads outside", |at| swap(at, &at.source, "new/folder")),
    plain("source/same leads outside", |at| swap(at, &at.source, "same")),
    plain("source/links leads outside", |at| swap(at, &at.source, "links")),
    plain("files of the replica lead outside", |at| {
        let names = ["changed/size", "changed/content", "meta/mode", "meta/list", "special/fifo", "same/one"];
        names.iter().for_each(|name| lead_outside(at, &at.replica.join(name)));
        Some(names.to_vec())
    }),
    plain("temporaries lead outside", |at| {
        let found = temporaries(&at.replica);
        found.iter().for_each(|path| lead_outside(at, path));
        (!found.is_empty()).then(|| vec![""])
    }),
    plain("source files vanish", |at| {
        let names = ["changed/size", "changed/large", "new/secret", "links/b1", "same/one", "special/fifo"];
        names.iter().for_each(|name| remove(&at.source.join(name)));
        Some(names.to_vec())
    }),
    plain("source files change", |at| {
        let write = |name: &str| File::options().write(true).open(at.source.join(name));
        write("changed/large").and_then(|file| file.set_len(500_000)).expect("truncated");
        write("same/large")
            .and_then(|file| file.write_all_at(b"rewritten in place", 299_000))
            .expect("written");
        File::options()
            .append(true)
            .open(at.source.join("new/folder/below/file"))
            .and_then(|mut file| file.write_all(b"grown"))
            .expect("written");
        Some(Vec::new())
    }),
    plain("kinds change in the source", |at| {
        for name in ["changed/content", "new/empty"] {
            remove(&at.source.join(name));
            fs::create_dir(at.source.join(name)).expect("created");
            fs::write(at.source.join(name).join("inside"), "inside").expect("written");
        }
        remove(&at.source.join("same/deep"));
        fs::write(at.source.join("same/deep"), "a file now").expect("written");
        Some(vec!["changed/content", "new/empty", "same/deep"])
    }),
    plain("folders of the replica are others", |at| {
        for name in ["changed", "gone", "kinds"] {
            if at.replica.join(name).is_dir() {
                fs::rename(at.replica.join(name), at.at(format!("aside {name}"))).expect("renamed");
                fs::create_dir(at.replica.join(name)).expect("created");
            }
        }
        Some(vec!["changed", "gone", "kinds"])
    }),
    Mutation {
        name: "what was deleted comes back",
        act: |at| {
            for name in BACK {
                let path = at.source.join(name);
                fs::create_dir_all(path.parent().expect("a parent")).expect("created");
                fs::write(path, "it is back").expect("written");
            }
            Some(Vec::new())
        },
        undo: None,
        returns: &BACK,
    },
    Mutation {
        name: "the folder above the replica leads outside",
        act: |at| swap(at, at.path(), "above"),
        undo: Some(|at| exchange(&at.at("aside"), &at.at("above"))),
        returns: &[],
    },
    Mutation {
        name: "the source is another folder",
        act: |at| {
            fs::create_dir(at.at("aside")).expect("created");
            exchange(&at.at("aside"), &at.source);
            Some(Vec::new())
        },
        undo: Some(|at| exchange(&at.at("aside"), &at.source)),
        returns: &BACK,
    },
];

fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("exchanged");
}

/// Exchanges a folder with a symbolic link that leads outside.
fn swap(place: &Scratch, root: &Path, name: &'static str) -> Option<Vec<&'static str>> {
    let (aside, folder) = (place.at("aside"), root.join(name));
    if !fs::symlink_metadata(&folder).is_ok_and(|facts| facts.is_dir()) {
        return None;
    }
    symlink(place.at("outside"), &aside).expect("linked");
    exchange(&aside, &folder);
    Some(vec![name])
}

fn lead_outside(place: &Scratch, path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|facts| !facts.is_dir()) {
        remove(path);
        symlink(place.at("outside/treasure"), path).expect("linked");
    }
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path).expect("removed"),
        Ok(_) => fs::remove_file(path).expect("removed"),
        Err(_) => {}
    }
}

/// The program's temporaries that are in a tree now.
fn temporaries(root: &Path) -> Vec<PathBuf> {
    let found = tree_if_any(root);
    let is_temporary = |path: &&Vec<u8>| {
        path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b".file-sync-"))
    };
    let paths = found.nodes.keys().filter(is_temporary);
    paths.map(|path| root.join(String::from_utf8_lossy(path).as_ref())).collect()
}

struct Case {
    scene: Scene,
    call: &'static str,
    number: usize,
    mutation: &'static Mutation,
}

impl Case {
    fn name(&self) -> String {
        format!("{:?}, after {} {}: {}", self.scene, self.call, self.number, self.mutation.name)
    }
}

/// The checks; `below` is a folder that is quick to work in.
pub(crate) fn check_all(cases: &Cases, below: &Path) {
    let mut dice = Dice(seed());
    let mut all = Vec::new();
    // Without root, the user is ordinary already.
    let by_user = is_root() && may_be_user();
    for scene in [Scene::Old, Scene::None].into_iter().chain(by_user.then_some(Scene::Ordinary)) {
        let sample = if scene == Scene::Ordinary { SAMPLE_OF_USER } else { SAMPLE };
        for (call, count) in counted(below, scene) {
            let places: Vec<usize> = if is_thorough() || count <= sample {
                (1..=count).collect()
            } else {
                // One random moment of each stretch, by the seed.
                (0..sample)
                    .map(|part| {
                        let (from, to) = (part * count / sample, (part + 1) * count / sample);
                        1 + from + dice.below(to - from)
                    })
                    .collect()
            };
            for number in places {
                // Deletions matter most after the calls that precede a removal.
                let first =
                    if call == "unlinkat" && dice.below(2) == 0 { 19 } else { dice.below(MUTATIONS.len()) };
                let tried = if is_thorough() { 4 } else { 1 };
                for step in 0..tried {
                    let mutation = &MUTATIONS[(first + step * 5) % MUTATIONS.len()];
                    all.push(Case { scene, call, number, mutation });
                }
            }
        }
    }
    cases.run_all(&all, Case::name, |case| check(cases, below, case));
    if !cases.is_narrowed() {
        let done: usize = cases.covered("moments").values().sum();
        cases.run("most of what was to be done could be done", || {
            assert!(3 * done >= 2 * all.len(), "{done} of {}", all.len());
        });
    }
}

/// The greatest number of calls of each kind in one thread of a pass.
fn counted(below: &Path, scene: Scene) -> BTreeMap<&'static str, usize> {
    let (place, _outside) = set(below, scene);
    let mut stopped = Stopped::start(&place, &CALLS.join(","), "fallocate:signal=STOP");
    assert!(!stopped.wait(), "nothing stops it");
    let trace = stopped.trace();
    assert_eq!(stopped.finish(), Some(0));
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let name = call.trim_start().split('(').next().unwrap_or_default();
        *counts.entry((thread, name)).or_default() += 1;
    }
    let most =
        |call: &str| counts.iter().filter(|((_, name), _)| *name == call).map(|(_, count)| *count).max();
    CALLS.into_iter().filter_map(|call| Some((call, most(call)?))).collect()
}

/// A place with its replica one level further down, so that the folder above it can be swapped.
fn set(below: &Path, scene: Scene) -> (Scratch, Outside) {
    let mut place = Scratch::below(below);
    place.replica = place.at("above/replica");
    fs::create_dir(place.at("above")).expect("created");
    stage::set(&place, scene);
    place.as_user = scene == Scene::Ordinary;
    let mut outside = Outside::new(&place, &BAIT);
    if place.as_user {
        // A file that the program may not change anyway proves nothing.
        hand_over(&place.at("outside"));
        outside = Outside::new(&place, &BAIT);
    }
    (place, outside)
}

/// Gives the ordinary user all entries that are not his yet.
fn hand_over(path: &Path) {
    let facts = fs::symlink_metadata(path).expect("there");
    if facts.uid() != NOBODY {
        lchown(path, Some(NOBODY), Some(NOBODY)).expect("an owner");
    }
    if facts.is_dir() {
        for entry in fs::read_dir(path).expect("readable") {
            hand_over(&entry.expect("readable").path());
        }
    }
}

fn check(cases: &Cases, below: &Path, case: &Case) {
    let (place, outside) = set(below, case.scene);
    let (source, replica) = (Tree::of(&place.source), tree_if_any(&place.replica));
    let inject = format!("{}:signal=STOP:when={}", case.call, case.number);
    let mut stopped = Stopped::start(&place, &CALLS.join(","), &inject);
    if !stopped.wait() {
        assert_eq!(stopped.finish(), Some(0), "it was never stopped");
        leave_out("the moment is never reached");
    }
    // The roots are given as paths: until they are open, a swapped path leads to another folder.
    let trace = stopped.trace();
    let is_open = |root: &Path| trace.contains(&format!("openat(AT_FDCWD, \"{}\"", root.display()));
    let (is_early, undo) = (!is_open(&place.source) || !is_open(&place.replica), case.mutation.undo);
    let there: Vec<&str> =
        case.mutation.returns.iter().copied().filter(|name| place.replica.join(name).exists()).collect();
    let touched = if undo.is_some() && is_early { None } else { (case.mutation.act)(&place) };
    let Some(touched) = touched else {
        assert_eq!(stopped.finish(), Some(0));
        leave_out("nothing there to do it to at this moment");
    };
    if place.as_user {
        hand_over(place.path());
    }
    let changed = Tree::of(&place.source).stamped();
    // Longer than a check of the source stays valid.
    sleep(Duration::from_millis(15));
    let trace_file = place.at("trace");
    let code = stopped.finish();
    assert!(matches!(code, Some(0 | 1 | 23 | 25)), "exit {code:?}");
    outside.assert_untouched(&place);
    assert_same("the source was touched", &changed, &Tree::of(&place.source).stamped());
    if let Some(undo) = undo {
        undo(&place);
    }
    assert_no_secret(place.path().join("above").as_path());
    let trace = fs::read(&trace_file).expect("a trace");
    let mut excused = excused(&String::from_utf8_lossy(&trace));
    let now = tree_if_any(&place.replica);
    for name in there {
        if now.get(name).is_none() {
            let base = name.rsplit('/').next();
            let calls = String::from_utf8_lossy(&trace);
            let calls = calls.split_once("--- SIGSTOP").map_or("", |(_, calls)| calls);
            let calls: Vec<&str> = calls.lines().take(40).collect();
            assert!(
                excused.take().as_deref() == base,
                "{name} came back in the source and was deleted:\n{}",
                calls.join("\n")
            );
            cases.cover("came back", "deleted between the last look and the removal");
        }
    }
    let versions = [&source, &replica, &Tree::of(&place.source)];
    let wrong = wrong(&versions, &now, &touched);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    cases.cover("moments", &format!("{:?}", case.scene));
    cases.cover("stopped after", case.call);
    cases.cover("done meanwhile", case.mutation.name);
    Before::of(&place).heals(&place);
    outside.assert_untouched(&place);
}

/// The name removed by the program's very next call after the stop, if that was a removal.
fn excused(trace: &str) -> Option<String> {
    let (_, after) = trace.split_once("--- SIGCONT")?;
    let next = after.lines().skip(1).find(|line| line.contains('('))?;
    let (_, name) = next.split_once("unlinkat(")?.1.split_once('"')?;
    Some(name.split_once('"')?.0.to_owned())
}

/// Files that are neither an old nor a new version, and files lost where only the program worked.
fn wrong(versions: &[&Tree; 3], now: &Tree, touched: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let [source, replica, _] = versions;
    for (path, (node, _)) in &now.nodes {
        let known: Vec<&What> =
            versions.iter().filter_map(|tree| tree.nodes.get(path)).map(|(node, _)| &node.what).collect();
        let (name, is_file) = (path.escape_ascii(), matches!(node.what, What::File(_)));
        if is_file && !known.is_empty() && !known.contains(&&node.what) {
            wrong.push(format!("torn {name}: {:?}, none of {known:?}", node.what));
        }
    }
    let is_below = |path: &[u8], top: &str| path.starts_with(top.as_bytes());
    for path in replica.nodes.keys().filter(|path| source.nodes.contains_key(*path)) {
        let is_ours = !touched.iter().any(|top| is_below(path, top));
        if is_ours && !now.nodes.contains_key(path) {
            wrong.push(format!("lost {}", path.escape_ascii()));
        }
    }
    wrong
}
