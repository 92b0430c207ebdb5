//! The trees that are mirrored.

use crate::disk::Format;
use crate::mirror::list;
use crate::real_tree;
use crate::support::dice::Dice;
use crate::work::Work;
use clap::ValueEnum;
use rayon::prelude::*;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const MIB: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Workload {
    /// 200,000 files of 0 to 8 KB in 2,111 folders
    #[value(name = "W1")]
    W1,
    /// 8 files of 512 MiB
    #[value(name = "W2")]
    W2,
    /// A real tree: what this machine has of sources, programs and libraries
    #[value(name = "W3")]
    W3,
    /// 1,000,000 files of 100 B in 10,000 folders
    #[value(name = "W4")]
    W4,
    /// 1,000,000 files of 100 B in one folder
    Flat,
    /// 60,000 names of one file
    Links,
    /// 300,000 files of 100 B with two names each
    Pairs,
    /// One file of 512 MiB, to be edited
    Edit,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::W1 => "W1",
            Workload::W2 => "W2",
            Workload::W3 => "W3",
            Workload::W4 => "W4",
            Workload::Flat => "flat",
            Workload::Links => "links",
            Workload::Pairs => "pairs",
            Workload::Edit => "edit",
        }
    }

    pub(crate) fn what(self) -> &'static str {
        match self {
            Workload::W1 => "small files of up to 8 KB",
            Workload::W2 => "large files",
            Workload::W3 => "a real tree",
            Workload::W4 => "tiny files in many folders",
            Workload::Flat => "tiny files in one folder",
            Workload::Links => "many names of one file",
            Workload::Pairs => "tiny files of two names",
            Workload::Edit => "one large file",
        }
    }

    pub(crate) fn works(self) -> &'static [Work] {
        match self {
            Workload::W1 | Workload::W3 | Workload::W4 | Workload::Flat => &[
                Work::FirstCopy,
                Work::NoChange,
                Work::QuickCheck,
                Work::ColdCopy,
                Work::ColdNoChange,
                Work::Changed,
                Work::ChangedQuick,
            ],
            Workload::Links | Workload::Pairs => &[Work::FirstCopy, Work::NoChange],
            Workload::W2 => &[Work::FirstCopy, Work::NoChange, Work::ColdCopy, Work::ColdNoChange],
            Workload::Edit => &[Work::Edit],
        }
    }

    /// The filesystems on which the replica is tried. Of those for the edit, two can share blocks between files.
    pub(crate) fn formats(self) -> &'static [Format] {
        match self {
            Workload::W1 | Workload::W2 | Workload::W3 | Workload::W4 | Workload::Flat => &[Format::Ext4],
            Workload::Links | Workload::Pairs => &[Format::Ext4, Format::Xfs],
            Workload::Edit => &[Format::Ext4, Format::Xfs, Format::Btrfs],
        }
    }

    pub(crate) fn is_in_short_form(self) -> bool {
        self != Workload::Flat
    }

    /// Makes the tree below `root`, which does not exist yet.
    pub(crate) fn make(self, full: bool, root: &Path) {
        fs::create_dir(root).expect("a folder for the source");
        match self {
            Workload::W1 => {
                let leaves = if full { 2_000 } else { 200 };
                small_files(
                    leaves,
                    100,
                    |dice| dice.below(8 * 1024 + 1),
                    |leaf| root.join(format!("{}/{}/{leaf:04}", leaf % 10, leaf / 10 % 10)),
                );
            }
            Workload::W2 => {
                let (count, size) = if full { (8, 512 * MIB) } else { (2, 256 * MIB) };
                (0..count).for_each(|number| large_file(&root.join(format!("large {number}")), number, size));
            }
            Workload::W3 => real_tree::copy(root, if full { 1 } else { 10 }),
            Workload::W4 => {
                let leaves = if full { 10_000 } else { 300 };
                small_files(leaves, 100, |_| 100, |leaf| root.join(format!("{:03}/{leaf:06}", leaf % 100)));
            }
            Workload::Flat => {
                let leaves = if full { 10_000 } else { 500 };
                small_files(leaves, 100, |_| 100, |_| root.to_owned());
            }
            Workload::Links => {
                let folders = 10;
                for folder in 0..folders {
                    fs::create_dir(root.join(folder.to_string())).expect("a folder");
                }
                let name = |number: usize| root.join(format!("{}/name {number:05}", number % folders));
                fs::write(name(0), "one content").expect("written");
                File::open(name(0)).and_then(|file| file.set_modified(moment(0))).expect("a time");
                for number in 1..if full { 60_000 } else { 10_000 } {
                    fs::hard_link(name(0), name(number)).expect("linked");
                }
            }
            Workload::Pairs => {
                let leaves = if full { 3_000 } else { 300 };
                let folder = |tree: &str, leaf| root.join(format!("{tree}/{:02}/{leaf:06}", leaf % 30));
                small_files(leaves, 100, |_| 100, |leaf| folder("first", leaf));
                second_names(leaves, |leaf| folder("first", leaf), |leaf| folder("second", leaf));
            }
            Workload::Edit => {
                large_file(&root.join("large"), 0, if full { 512 * MIB } else { 128 * MIB });
            }
        }
        settle(list(root).folders.iter().map(PathBuf::as_path), 0);
    }
}

/// A time in the past for all created entries: later changes are newer under any clock.
pub(crate) fn moment(days: u64) -> SystemTime {
    const JANUARY_2025: u64 = 1_735_689_600;
    SystemTime::UNIX_EPOCH + Duration::new(JANUARY_2025 + days * 86_400, 123_456_789)
}

/// Gives folders a time in the past as well. rsync compares whole seconds: it would skip a folder that was created in
/// the same second as its original.
pub(crate) fn settle<'a>(folders: impl Iterator<Item = &'a Path>, days: u64) {
    for folder in folders {
        File::open(folder).and_then(|folder| folder.set_modified(moment(days))).expect("a time");
    }
}

fn small_files(
    leaves: u64,
    per_leaf: u64,
    size: impl Fn(&mut Dice) -> usize + Sync,
    folder: impl Fn(u64) -> PathBuf + Sync,
) {
    (0..leaves).into_par_iter().for_each(|leaf| {
        let folder = folder(leaf);
        fs::create_dir_all(&folder).expect("a folder");
        let mut dice = Dice::new(1, leaf);
        let mut content = Vec::new();
        for number in 0..per_leaf {
            content.resize(size(&mut dice), 0);
            dice.fill(&mut content);
            let name = folder.join(format!("file {:07}.txt", leaf * per_leaf + number));
            let mut file = File::create(name).expect("a file");
            file.write_all(&content).expect("written");
            if dice.below(16) == 0 {
                file.set_permissions(fs::Permissions::from_mode(0o755)).expect("a mode");
            }
            file.set_modified(moment(0)).expect("a time");
        }
    });
}

/// Gives every file a second hard link, in the other half of the tree.
fn second_names(leaves: u64, first: impl Fn(u64) -> PathBuf + Sync, second: impl Fn(u64) -> PathBuf + Sync) {
    (0..leaves).into_par_iter().for_each(|leaf| {
        let (first, second) = (first(leaf), second(leaves - 1 - leaf));
        fs::create_dir_all(&second).expect("a folder");
        for file in fs::read_dir(first).expect("readable") {
            let file = file.expect("readable");
            fs::hard_link(file.path(), second.join(file.file_name())).expect("linked");
        }
    });
}

fn large_file(path: &Path, number: u64, size: usize) {
    let mut file = File::create(path).expect("a file");
    let mut dice = Dice::new(2, number);
    let mut piece = vec![0; MIB];
    for _ in 0..size / MIB {
        dice.fill(&mut piece);
        file.write_all(&piece).expect("written");
    }
    file.set_modified(moment(0)).expect("a time");
}
