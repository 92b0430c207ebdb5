//! Property test of the filter: random trees on both sides, random rules, edits with moves, and a pass. What is mirrored
//! is equal, what is left out in the replica is as it was, nothing else is there, the source is unchanged, and a second
//! pass does nothing. The oracle knows four forms of patterns and walks up the path by itself.

use crate::support::monitor::pass;
use crate::support::proof;
use crate::support::scratch::Scratch;
use crate::support::tree::{Tree, assert_same};
use file_sync::{FilterOptions, Interrupt, Mirror, MirrorOptions, Origin, Rule, Rules};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A pattern, and what it means.
#[derive(Clone, Debug)]
enum Pattern {
    /// `name`
    Name(&'static str),
    /// `*.ext`
    Extension(&'static str),
    /// `/a/b`
    Path(Vec<&'static str>),
}

#[derive(Clone, Debug)]
struct TestRule {
    pattern: Pattern,
    is_for_folders: bool,
    includes: bool,
}

const NAMES: [&str; 6] = ["a", "b", "c.tmp", "d.tmp", "a.jpg", "é"];

/// Files with their content, and folders (none).
type Listing = BTreeMap<String, Option<String>>;

impl TestRule {
    fn text(&self) -> String {
        let pattern = match &self.pattern {
            Pattern::Name(name) => (*name).to_owned(),
            Pattern::Extension(extension) => format!("*.{extension}"),
            Pattern::Path(names) => format!("/{}", names.join("/")),
        };
        if self.is_for_folders { pattern + "/" } else { pattern }
    }

    fn matches(&self, path: &str, is_folder: bool) -> bool {
        let name = path.rsplit('/').next().unwrap();
        (is_folder || !self.is_for_folders)
            && match &self.pattern {
                Pattern::Name(wanted) => name == *wanted,
                Pattern::Extension(extension) => name.ends_with(&format!(".{extension}")),
                Pattern::Path(names) => path == names.join("/"),
            }
    }
}

/// Whether a path, or a folder above it, is left out.
fn is_out(rules: &[TestRule], path: &str, is_folder: bool) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| (at, true)).chain([(path.len(), is_folder)]);
    ends.into_iter().any(|(end, is_folder)| {
        let last = rules.iter().rev().find(|rule| rule.matches(&path[..end], is_folder));
        last.is_some_and(|rule| !rule.includes)
    })
}

fn rule() -> impl Strategy<Value = TestRule> {
    let name = || select(&NAMES[..]);
    let pattern = prop_oneof![
        name().prop_map(Pattern::Name),
        select(&["tmp", "jpg"][..]).prop_map(Pattern::Extension),
        vec(name(), 1..3).prop_map(Pattern::Path),
    ];
    (pattern, prop::bool::weighted(0.3), prop::bool::weighted(0.3))
        .prop_map(|(pattern, is_for_folders, includes)| TestRule { pattern, is_for_folders, includes })
}

/// Paths and contents of files; some are in the way of others, and are left out then.
fn files() -> impl Strategy<Value = Vec<(Vec<&'static str>, u8)>> {
    vec((vec(select(&NAMES[..]), 1..4), 0..3u8), 0..10)
}

fn plant(root: &Path, files: &[(Vec<&'static str>, u8)]) {
    for (names, content) in files {
        let path = root.join(names.join("/"));
        // Another file may be in the place of a folder, or a folder in that of the file.
        if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.is_dir() {
            fs::write(path, content.to_string()).unwrap();
        }
    }
}

fn listing(root: &Path) -> Listing {
    let mut found = Listing::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(below, None);
                folders.push(path);
            } else {
                found.insert(below, Some(fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// Renames one entry of the source to a name that is free.
fn rename(root: &Path, (which, to): (usize, &[&'static str])) {
    let all: Vec<String> = listing(root).into_keys().collect();
    let Some(from) = all.get(which % all.len().max(1)) else { return };
    let to = to.join("/");
    let is_below =
        to.strip_prefix(from.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !is_below && !root.join(&to).exists() && root.join(&to).parent().unwrap().is_dir() {
        fs::rename(root.join(from), root.join(&to)).unwrap();
    }
}

fn check(place: &Scratch, rules: &[TestRule], delete_excluded: bool) {
    let (before, source) = (listing(&place.replica), listing(&place.source));
    let untouched = Tree::of(&place.source).stamped();
    let given = rules.iter().map(|rule| Rule {
        pattern: rule.text(),
        includes: rule.includes,
        origin: Origin::CommandLine,
    });
    let Ok(given) = Rules::new(given.collect()) else { return };
    let filter = FilterOptions { rules: given, delete_excluded, ..FilterOptions::default() };
    let options = MirrorOptions { filter, ..place.options(2, false) };
    let mirror = || Mirror::new(options.clone(), Arc::new(Interrupt::new())).unwrap();
    let passed = pass(&mut mirror());
    let after = listing(&place.replica);
    let told = format!("{rules:?} {source:?} {before:?} -> {after:?}");
    // An entry that is left out may be in the way of one of another kind; that is told.
    let is_blocked = |path: &str| {
        passed.seen.problems.iter().any(|problem| {
            let top = problem.0.as_bytes();
            path.as_bytes().strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
    };
    for (path, content) in source.iter().filter(|(path, _)| !is_blocked(path)) {
        if !is_out(rules, path, content.is_none()) {
            assert_eq!(after.get(path), Some(content), "{path} {told}");
        }
    }
    let is_out_in = |tree: &Listing, path: &str| {
        tree.get(path).is_some_and(|content| is_out(rules, path, content.is_none()))
    };
    let has_moved = passed.report.counts[file_sync::Counter::Moved] > 0;
    for (path, content) in before.iter().filter(|(path, _)| is_out_in(&before, path)) {
        let is_mirrored = source.get(path).is_some_and(|entry| !is_out(rules, path, entry.is_none()));
        if !delete_excluded && !is_mirrored && !has_moved {
            assert_eq!(after.get(path), Some(content), "{path} {told}");
        }
    }
    // What could not come to its new place may have been elsewhere before: extras like it stay.
    let is_complete = passed.seen.problems.is_empty();
    for path in after.keys().filter(|_| is_complete) {
        let is_mirrored = source.get(path).is_some_and(|entry| !is_out(rules, path, entry.is_none()));
        let holds_excluded = after.keys().any(|below| {
            below.starts_with(path.as_str()) && (is_out_in(&after, below) || is_out_in(&source, below))
        });
        let may_stay = !delete_excluded && (holds_excluded || is_out_in(&source, path));
        let is_below_excluded = source.keys().any(|top| {
            is_out_in(&source, top)
                && path.strip_prefix(top.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        assert!(is_mirrored || may_stay || !delete_excluded && is_below_excluded, "extra {path} {told}");
    }
    assert_same("the source changed", &untouched, &Tree::of(&place.source).stamped());
    if !is_complete {
        return;
    }
    let again = pass(&mut mirror());
    assert_eq!(again.seen.done.len(), 0, "a second pass did something: {:?} {told}", again.seen.done);
}

proptest! {
    #![proptest_config(proof::cases(100, 5000))]

    #[test]
    fn what_is_left_out_stays_as_it_was_and_everything_else_is_mirrored(
        rules in vec(rule(), 1..5),
        ours in files(),
        theirs in files(),
        is_first in any::<bool>(),
        edits in vec((any::<usize>(), vec(select(&NAMES[..]), 1..3)), 0..3),
        delete_excluded in prop::bool::weighted(0.3),
    ) {
        let place = Scratch::new();
        plant(&place.source, &ours);
        if is_first {
            plant(&place.replica, &theirs);
        } else {
            // Everything is in the replica, and known, before there are rules.
            place.pass();
        }
        for (which, to) in &edits {
            rename(&place.source, (*which, to));
        }
        check(&place, &rules, delete_excluded);
    }
}
