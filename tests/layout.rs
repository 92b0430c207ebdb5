//! The layering of `src/`: imports run down the floors of the design, and never in a circle.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail as the test itself may")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Rooms (folders of `src/`) and single files, from the ground up; rooms on one floor do not import each other. lib.rs
/// and main.rs are above all of them.
const FLOORS: [&[&str]; 13] = [
    &["collections", "model"],
    &["control", "fs"],
    &["capabilities", "filter", "hasher", "identity", "index", "lock", "log", "throttle", "workers"],
    &["metadata_rules", "plan", "status", "verify"],
    &["guard"],
    &["context"],
    &["walk"],
    &["survey"],
    &["apply", "whereabouts"],
    &["pass"],
    &["mirror"],
    &["run"],
    &["cli"],
];

/// An import: the importing file, and the path after `crate::`, as far as it is a plain path.
type Import = (String, String);

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("no floor has {room}: put it in the picture, here and in docs/code.md"))
}

/// The code of a file without comments and the tests at its end.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("readable");
    let mut code = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let is_test = code.ends_with("#[cfg(test)]\n") && line.ends_with('{');
        if is_test && (line.starts_with("mod ") || line.starts_with("pub")) {
            break;
        }
        code.extend([line, "\n"]);
    }
    code
}

/// The paths that begin here, `a::b` and `a::c::d` for `a::{b, c::d}`.
fn paths(text: &str, start: &str, found: &mut BTreeSet<String>) {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let (rest, path) = (&text[name.len()..], format!("{start}{name}"));
    if let Some(group) = rest.strip_prefix("::{") {
        let (mut depth, mut at) = (1, 0);
        let end = group.find(|c: char| {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            depth == 0
        });
        let group = &group[..end.unwrap_or(0)];
        for (place, _) in group.match_indices(',').chain([(group.len(), "")]) {
            // A comma inside an inner group does not separate items of this one.
            let item = &group[at..place];
            if item.matches('{').count() == item.matches('}').count() {
                paths(item.trim(), &format!("{path}::"), found);
                at = place + 1;
            }
        }
    } else if let Some(rest) = rest.strip_prefix("::") {
        paths(rest, &format!("{path}::"), found);
    } else {
        found.insert(path);
    }
}

/// Every file of a folder, with its path below `src/`, but for files of tests.
fn imports(folder: &Path, below: &str, found: &mut BTreeSet<Import>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let entry = entry.expect("readable");
        let name = entry.file_name().into_string().expect("UTF-8");
        let path = format!("{below}{name}");
        if entry.path().is_dir() {
            imports(&entry.path(), &format!("{path}/"), found);
        } else if !["tests.rs", "properties.rs", "test_strategies.rs", "lib.rs", "main.rs"].contains(&&*name)
        {
            // `super::x` in `a/b.rs` is `crate::a::x`, and `super::super::x` is `crate::x`.
            let above = below.trim_end_matches('/').replace('/', "::");
            let further = above.rsplit_once("::").map_or("", |(further, _)| further);
            let code = code_of(&entry.path())
                .replace("super::super::", &format!("crate::{further}::"))
                .replace("super::", &format!("crate::{above}::"))
                .replace("crate::::", "crate::");
            for rest in code.split("crate::").skip(1) {
                let mut of_one = BTreeSet::new();
                paths(rest, "", &mut of_one);
                found.extend(of_one.into_iter().map(|to| (path.clone(), to)));
            }
        }
    }
}

#[test]
fn imports_run_down_the_picture_and_never_in_a_circle() {
    let mut found = BTreeSet::new();
    imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    assert!(found.len() > 500, "{} imports", found.len());
    let room_of = |file: &str| file.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
    let upwards: Vec<String> = found
        .iter()
        .map(|(file, path)| (file, path.split("::").next().unwrap_or_default()))
        .filter(|(file, to)| *to != room_of(file) && floor(to) >= floor(&room_of(file)))
        .map(|(file, to)| format!("src/{file} imports {to}, which is not below it"))
        .collect();
    assert!(upwards.is_empty(), "{}", upwards.join("\n"));

    // Circles between files. A `mod.rs` is left out: it defines the types that its files share, and calls them.
    let files: BTreeSet<String> = found.iter().map(|(file, _)| file.clone()).collect();
    let file_of = |path: &str| {
        let words: Vec<&str> = path.split("::").collect();
        (1..=words.len())
            .rev()
            .map(|len| format!("{}.rs", words[..len].join("/")))
            .find(|it| files.contains(it))
    };
    let mut edges: BTreeSet<(String, String)> = found
        .iter()
        .filter_map(|(file, path)| Some((file.clone(), file_of(path)?)))
        .filter(|(from, to)| from != to && !from.ends_with("mod.rs"))
        .collect();
    // A file without imports, or that nothing imports, is in no circle. Such files are removed until none is left.
    let mut before = usize::MAX;
    while edges.len() < before {
        before = edges.len();
        let [from, to] = [0, 1].map(|end| {
            edges.iter().map(|edge| if end == 0 { &edge.0 } else { &edge.1 }.clone()).collect::<BTreeSet<_>>()
        });
        edges.retain(|edge| to.contains(&edge.0) && from.contains(&edge.1));
    }
    assert!(edges.is_empty(), "files in a circle, or between two circles: {edges:#?}");
}

/// The names of files in `src/apply/` that call one of these functions.
fn calls(folder: &Path, words: &[&str], found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            calls(&path, words, found);
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if words.iter().any(|word| code.contains(word)) {
            found.insert(path.file_name().expect("a name").to_string_lossy().into_owned());
        }
    }
}

#[test]
fn what_leaves_the_replica_leaves_through_one_door() {
    let apply = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/apply");
    let called_in = |words: &[&str]| {
        let mut found = BTreeSet::new();
        calls(&apply, words, &mut found);
        found.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(called_in(&["rename_over("]), ["retire.rs"]);
    // The other files remove only temporaries of the program: unfinished ones, probes, and the folders in which names
    // are tried.
    let removals = called_in(&["remove_file(", "remove_folder("]);
    assert_eq!(removals, ["names.rs", "probe.rs", "publish.rs", "retire.rs", "stage_folder.rs"]);
}
