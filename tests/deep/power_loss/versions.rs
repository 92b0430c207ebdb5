//! Two versions of a tree of several hundred files: enough work for a pass to be disturbed in its middle.

use crate::support::dice::Dice;
use crate::support::fsops::set_mtime;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The number of files of the old version; the new one has about as many.
const FILES: u64 = 260;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Old,
    New,
}

/// One version of the tree: a third of the files differ, some are new, some gone, some moved, some of another kind.
pub(crate) fn build(root: &Path, version: Version) {
    let is_new = version == Version::New;
    let salt = if is_new { 1_000_000 } else { 0 };
    let file = |name: &str, seed: u64| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        let mut dice = Dice(seed);
        let size = 1 + [1000, 20_000, 300_000].map(|limit| dice.below(limit))[seed as usize % 3];
        fs::write(&path, dice.bytes(size)).expect("written");
        set_mtime(&path, 1_000_000_000 + seed as i64, 5).expect("a time");
    };
    for number in 0..FILES {
        let name = format!("folder {}/file {number}", number % 20);
        match number % 20 {
            0..7 => file(&name, number + salt),
            7 if is_new => {}
            8 if is_new => file(&format!("folder {}/moved {number}", number % 7), number),
            9 => {
                file(&name, number);
                set_mtime(&root.join(&name), 1_000_000_000 + (number + salt) as i64, 5).expect("a time");
            }
            10 => {
                file(&name, number + salt);
                if is_new {
                    // It sorts first, so it is the one that is copied, and the other one is linked.
                    let first = format!("folder {}/another {number}", number % 20);
                    fs::hard_link(root.join(&name), root.join(first)).expect("linked");
                }
            }
            11 if is_new => {
                file(&name, number);
                file(&format!("new/below/{number}/new"), number + salt);
            }
            _ => file(&name, number),
        }
    }
    // Large files with small changes: on filesystems that can share blocks, they begin as clones of the old version.
    for number in 0..4 {
        let mut content = Dice(3000 + number).bytes(1_300_000 + 1000 * number as usize);
        if is_new {
            content[250_000 * number as usize] ^= 1;
            content.truncate(content.len() - 500 * number as usize);
        }
        let path = root.join(format!("large {number}"));
        fs::write(&path, content).expect("written");
        set_mtime(&path, 1_000_000_000 + (number + salt) as i64, 5).expect("a time");
    }
    for number in 0..6 {
        let at = |name: &str| format!("kinds/{name} {number}");
        let (one, other) = if is_new { (1, 0) } else { (0, 1) };
        file(&(at("folder") + ["", "/inside"][one]), 2000 + number);
        file(&(at("file") + ["", "/inside"][other]), 2100 + number);
        let names = [at("link to file"), at("file to link")];
        file(&names[other], 2200 + number);
        symlink("nowhere", root.join(&names[one])).expect("linked");
    }
}
