//! The picture of the house, kept: imports in `src/` run down its floors, and never in a circle.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail as the test itself may")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Rooms (folders of `src/`) and single files, from the ground up; rooms on one floor do not import each other. lib.rs and
/// main.rs are above all of them.
const FLOORS: [&[&str]; 13] = [
    &["collections", "model"],
    &["control", "fs"],
    &["capabilities", "hasher", "identity", "lock", "log", "workers"],
    &["metadata_rules", "plan"],
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

/// An import: the file that has it, and the room that it leads to.
type Import = (String, String);

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("no floor has {room}: put it in the picture, here and in docs/code.md"))
}

/// Every file of a folder, with its path below `src/`, without what only tests need.
fn imports(folder: &Path, below: &str, found: &mut BTreeSet<Import>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let entry = entry.expect("readable");
        let name = entry.file_name().into_string().expect("UTF-8");
        let path = format!("{below}{name}");
        if entry.path().is_dir() {
            imports(&entry.path(), &format!("{path}/"), found);
        } else if !["tests.rs", "properties.rs", "test_strategies.rs"].contains(&name.as_str()) {
            let text = fs::read_to_string(entry.path()).expect("readable");
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let code = code.split("#[cfg(test)]\npub").next().unwrap_or_default();
            for rest in code.split("crate::").skip(1) {
                let room: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.insert((path.clone(), room));
            }
        }
    }
}

#[test]
fn imports_run_down_the_picture_and_never_in_a_circle() {
    let mut found = BTreeSet::new();
    imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    assert!(found.len() > 200, "{} imports", found.len());
    let room_of = |file: &str| file.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
    let upwards: Vec<String> = found
        .iter()
        .filter(|(file, to)| *to != room_of(file) && floor(to) >= floor(&room_of(file)))
        .map(|(file, to)| format!("src/{file} imports {to}, which is not below it"))
        .collect();
    assert!(upwards.is_empty(), "{}", upwards.join("\n"));
}

/// Lines of `src/apply/` that call one of these, by file.
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
    // The others remove temporaries of our own: unfinished ones, probes, and the folders in which names are tried.
    let removals = called_in(&["remove_file(", "remove_folder("]);
    assert_eq!(removals, ["names.rs", "probe.rs", "publish.rs", "retire.rs", "show_folder.rs"]);
}
