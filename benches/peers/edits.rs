//! Edits of a source between two passes. Each edit has a number and is the same in every run.

use crate::mirror::list;
use crate::support::dice::Dice;
use crate::workload::{moment, settle};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The greatest changed part of a file, in bytes; smaller files are rewritten as a whole.
const MOST_CHANGED: u64 = 64 << 10;

/// 1 % of the files changed; 0.5 % each added, deleted and renamed, to another folder.
pub(crate) fn many(source: &Path, number: u64) {
    let mut files = list(source).files;
    files.sort();
    let half = files.len() / 200;
    let mut dice = Dice::new(3, number);
    let drawn = dice.draw(5 * half, files.len());
    let mut drawn = drawn.chunks(half.max(1));
    let mut next = || drawn.next().unwrap_or_default().iter().map(|at| &files[*at]);
    for path in next().chain(next()) {
        change(path, number, &mut dice);
    }
    let mut touched = BTreeSet::new();
    for path in next() {
        fs::remove_file(path).expect("removed");
        touched.extend(path.parent());
    }
    // Renamed files keep their content and time, and move to the folders of the last group's files.
    for (serial, (path, beside)) in next().zip(next()).enumerate() {
        fs::rename(path, beside.with_file_name(format!("renamed {number} {serial}"))).expect("renamed");
        let mut content = vec![0; dice.below(8 * 1024)];
        dice.fill(&mut content);
        let added = path.with_file_name(format!("added {number} {serial}"));
        fs::write(&added, content).expect("written");
        let added = File::options().write(true).open(added).expect("opened");
        added.set_modified(moment(number)).expect("a time");
        touched.extend(path.parent().into_iter().chain(beside.parent()));
    }
    settle(touched.into_iter(), number);
}

/// Changes one file; every other file keeps its size.
fn change(path: &Path, number: u64, dice: &mut Dice) {
    let file = File::options().write(true).open(path).expect("opened");
    let size = file.metadata().expect("a size").len();
    let longer = if size == 0 || dice.below(2) == 0 { 100 } else { 0 };
    let length = size.min(MOST_CHANGED) + longer;
    let mut content = vec![0; usize::try_from(length).expect("small")];
    dice.fill(&mut content);
    file.write_all_at(&content, size + longer - length).expect("written");
    file.set_modified(moment(number)).expect("a time");
}

/// 1 MiB in the middle of the large file.
pub(crate) fn large(source: &Path, number: u64) {
    let path = source.join("large");
    let file = File::options().write(true).open(path).expect("opened");
    let size = file.metadata().expect("a size").len();
    let mut content = vec![0; 1 << 20];
    Dice::new(4, number).fill(&mut content);
    file.write_all_at(&content, size / 2).expect("written");
    file.set_modified(moment(number)).expect("a time");
}
