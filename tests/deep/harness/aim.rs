//! Targets one occurrence of a system call: taken from a strace recording, and found again in another run.
//!
//! strace counts the calls of each thread separately, so "the Nth call" means the Nth of every thread: an early call of
//! one thread hides a call of another at the same count. A hidden call is targeted by a path that it works on instead,
//! the one with the fewest calls, and counted among those.

use file_sync::Hasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// Calls whose strings are contents, or names of xattrs, and not paths.
const WITHOUT_NAMES: [&str; 11] = [
    "read",
    "pread64",
    "write",
    "pwrite64",
    "writev",
    "getrandom",
    "flistxattr",
    "fgetxattr",
    "fsetxattr",
    "fremovexattr",
    "getdents64",
];

/// Calls of which every string is a path, and not only the first.
const OF_TWO_NAMES: [&str; 4] = ["rename", "renameat", "renameat2", "linkat"];

/// Names of hard links, and a new name, which the survey checks again after their folders. Few calls concern them, so a
/// sample of all calls alone would miss those.
const SETTLED_LATE: [&str; 7] = ["a1", "a2", "b1", "b2", "c1", "c2", "comes"];

/// The object of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aim {
    /// A path in the place, relative to it: of a descriptor or of an argument.
    Inside(String),
    /// An argument as strace writes it, or a path elsewhere.
    Named(String),
}

impl Aim {
    /// In the form that strace takes.
    pub(crate) fn path(&self, place: &Path) -> String {
        match self {
            Aim::Inside(path) => {
                place.join(of_this_index(path, place)).to_str().expect("a plain path").to_owned()
            }
            Aim::Named(name) => name.clone(),
        }
    }
}

/// A path as it is in this place: the name of a database ends in a digest of the paths of both roots.
fn of_this_index(path: &str, place: &Path) -> String {
    const DIGITS: usize = 16;
    let start = "state/file-sync/replica-";
    let Some(rest) = path.strip_prefix(start).and_then(|name| name.get(DIGITS..)) else {
        return path.to_owned();
    };
    let mut hasher = Hasher::new();
    let [source, replica] = ["source", "replica"].map(|root| place.join(root));
    hasher.update(source.as_os_str().as_encoded_bytes());
    hasher.update(&[0]);
    hasher.update(replica.as_os_str().as_encoded_bytes());
    format!("{start}{}{rest}", &hasher.finish().to_string()[..DIGITS])
}

/// One occurrence of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) call: String,
    /// The count, from 1, in the first thread that reaches it.
    pub(crate) when: usize,
    /// Only calls on this object are counted.
    pub(crate) aim: Option<Aim>,
    /// All later calls are targeted as well.
    pub(crate) lasts: bool,
    /// The call works on a name that is settled after the survey of its folder, see [`SETTLED_LATE`].
    pub(crate) is_late: bool,
    /// The call works on a file of the index.
    pub(crate) is_of_index: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}{}", self.call, self.when, if self.lasts { "+" } else { "" })?;
        match &self.aim {
            None => Ok(()),
            Some(Aim::Inside(path)) => write!(f, " on ./{path}"),
            Some(Aim::Named(name)) => write!(f, " of {name}"),
        }
    }
}

/// One line of a recording.
#[derive(Debug)]
struct Recorded<'a> {
    thread: u32,
    call: &'a str,
    /// The number of this call among those of its name in its thread, from 1.
    count: usize,
    aims: BTreeSet<Aim>,
}

/// Every occurrence of these calls in a recording (`strace -f -y`) of a run in this place.
pub(crate) fn targets(trace: &str, place: &Path, calls: &[&str]) -> Vec<Target> {
    let recorded = recorded(trace, place, calls);
    let mut reach: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    let mut totals: BTreeMap<(&str, &Aim), usize> = BTreeMap::new();
    for line in &recorded {
        reach.insert((line.call, line.thread), line.count);
        for aim in &line.aims {
            *totals.entry((line.call, aim)).or_default() += 1;
        }
    }
    let mut counts: BTreeMap<(u32, &str, &Aim), usize> = BTreeMap::new();
    let mut targets = BTreeSet::new();
    for line in &recorded {
        for aim in &line.aims {
            *counts.entry((line.thread, line.call, aim)).or_default() += 1;
        }
        let others = reach.range((line.call, 0)..=(line.call, u32::MAX));
        let is_hidden =
            others.into_iter().any(|((_, thread), most)| *thread != line.thread && *most >= line.count);
        let aim = line.aims.iter().filter(|_| is_hidden).min_by_key(|aim| totals[&(line.call, *aim)]);
        let when = aim.map_or(line.count, |aim| counts[&(line.thread, line.call, aim)]);
        let is_late =
            line.aims.iter().any(|aim| matches!(aim, Aim::Named(name) if SETTLED_LATE.contains(&&**name)));
        let is_in_state = |aim: &Aim| matches!(aim, Aim::Inside(path) if path.starts_with("state/"));
        targets.insert(Target {
            call: line.call.to_owned(),
            when,
            aim: aim.cloned(),
            lasts: false,
            is_late,
            is_of_index: line.aims.iter().any(is_in_state),
        });
    }
    targets.into_iter().collect()
}

fn recorded<'a>(trace: &'a str, place: &Path, calls: &[&str]) -> Vec<Recorded<'a>> {
    let place = place.to_str().expect("a plain path").trim_end_matches('/');
    let mut counts: BTreeMap<(u32, &str), usize> = BTreeMap::new();
    let mut recorded = Vec::new();
    for line in trace.lines() {
        // "123 statx(5</a/b>, ...", or "123 <... statx resumed>" for the end of an interrupted line.
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let (Ok(thread), Some((call, arguments))) = (thread.parse(), rest.trim_start().split_once('('))
        else {
            continue;
        };
        if !calls.contains(&call) {
            continue;
        }
        let count = counts.entry((thread, call)).or_default();
        *count += 1;
        recorded.push(Recorded { thread, call, count: *count, aims: aims(call, arguments, place) });
    }
    recorded
}

/// The objects of a call: the paths of its descriptors, `5</a/b>`, and the strings that are paths, `"b"`. Temporaries
/// have other names in every run and cannot be targeted.
fn aims(call: &str, arguments: &str, place: &str) -> BTreeSet<Aim> {
    // The return value is no argument. An interrupted line has none yet.
    let arguments = arguments.rsplit_once(") = ").map_or(arguments, |(arguments, _)| arguments);
    let mut aims = BTreeSet::new();
    let mut strings = 0;
    let mut rest = arguments;
    while let Some(at) = rest.find(['"', '<']) {
        let (before, after) = rest.split_at(at);
        let is_string = after.starts_with('"');
        let end = if is_string { '"' } else { '>' };
        let Some((inside, behind)) = after.get(1..).and_then(|inside| inside.split_once(end)) else { break };
        rest = behind;
        let is_path = if is_string {
            strings += 1;
            !WITHOUT_NAMES.contains(&call) && (strings == 1 || OF_TWO_NAMES.contains(&call))
        } else {
            before.ends_with(|digit: char| digit.is_ascii_digit()) && inside.starts_with('/')
        };
        let is_lasting =
            !inside.contains(".file-sync-") && !inside.contains('\\') && !inside.contains("(deleted)");
        if is_path && is_lasting && !inside.is_empty() {
            aims.insert(match inside.strip_prefix(place) {
                Some(below) => Aim::Inside(below.trim_start_matches('/').to_owned()),
                None => Aim::Named(inside.to_owned()),
            });
        }
    }
    aims
}

/// Tests the parser on lines as strace writes them.
pub(crate) fn reads_lines() {
    let inside = |path: &str| Aim::Inside(path.to_owned());
    let named = |name: &str| Aim::Named(name.to_owned());
    for (call, arguments, expected) in [
        ("openat", r#"AT_FDCWD</w>, "/p/source", O_RDONLY) = 3</p/source>"#, vec![inside("source")]),
        ("openat", r#"3</p/source>, "a", O_RDONLY <unfinished ...>"#, vec![inside("source"), named("a")]),
        ("pread64", r#"5</p/source/a>, "</p/x>\"...", 4096, 0) = 4096"#, vec![inside("source/a")]),
        ("fsetxattr", r#"5</p/replica/.file-sync-0.tmp>, "user.note", "kept", 4, 0) = 0"#, vec![]),
        (
            "renameat2",
            r#"4</p/replica>, ".file-sync-0.tmp", 4</p/replica>, "name", 0) = 0"#,
            vec![inside("replica"), named("name")],
        ),
        ("readlinkat", r#"3</p/source>, "link", "/etc", 256) = 4"#, vec![inside("source"), named("link")]),
        ("mmap", "NULL, 4096, PROT_READ, MAP_PRIVATE, 3</lib/c.so>, 0) = 0x7f", vec![named("/lib/c.so")]),
        ("clone3", "{flags=CLONE_VM|CLONE_FS, stack=0x7f} => {parent_tid=[7]}, 88) = 7", vec![]),
    ] {
        let found: Vec<Aim> = aims(call, arguments, "/p").into_iter().collect();
        assert_eq!(found, expected, "{call}({arguments}");
    }
    // Two threads that open two files each: by count alone the calls of the second would never be hit.
    let trace = "1 openat(3</p/source>, \"a\") = 5</p/source/a>\n1 openat(3</p/source>, \"b\") = 5</p/source/b>\n\
                 2 openat(3</p/source>, \"c\") = 5</p/source/c>\n2 statx(5</p/source/c>, \"\") = 0\n";
    let found: Vec<String> =
        targets(trace, Path::new("/p"), &["openat", "statx"]).iter().map(Target::to_string).collect();
    assert_eq!(found, ["openat #1 of a", "openat #1 of c", "openat #2", "statx #1"]);
}
