//! Small passes: the comparison of two files of one size, and the survey of two folders that are equal, beside SHA-256
//! alone. `cargo bench --bench micro` measures them; passes over whole trees are measured by `--bench peers`.
//!
//! A pass over one pair of files costs some system calls beside the comparison, so the smallest size shows those.

#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing better to do than to stop")]

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use file_sync::{
    Counter, Digests, Event, FilterOptions, Hasher, Interrupt, Limits, Mirror, MirrorOptions, Monitor,
};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const SIZES: [usize; 3] = [4 << 10, 256 << 10, 16 << 20];
const NAMES: usize = 10_000;

fn main() {
    divan::main();
}

struct Deaf;

impl Monitor for Deaf {
    fn event(&self, _: &Event<'_>) {}
}

#[divan::bench(args = SIZES)]
fn hash(bencher: Bencher<'_, '_>, size: usize) {
    let content = vec![7; size];
    bencher.counter(BytesCount::new(size)).bench(|| {
        let mut hasher = Hasher::new();
        hasher.update(black_box(&content));
        hasher.finish()
    });
}

/// Two equal files in the cache: bytes are those of both.
#[divan::bench(args = SIZES)]
fn compare(bencher: Bencher<'_, '_>, size: usize) {
    compare_with(bencher, size, Digests::OfAll);
}

/// The same without a digest of the equal bytes.
#[divan::bench(args = SIZES)]
fn compare_bytes(bencher: Bencher<'_, '_>, size: usize) {
    compare_with(bencher, size, Digests::OfCopies);
}

fn compare_with(bencher: Bencher<'_, '_>, size: usize, digests: Digests) {
    let fill = |folder: &Path| fs::write(folder.join("file"), vec![7; size]).expect("written");
    let mut pair = EqualPair::new(fill, 1, digests);
    bencher.counter(BytesCount::new(2 * size)).bench_local(|| pair.pass(1));
}

/// Two equal folders of empty files: names are counted once.
#[divan::bench(args = [1, 2])]
fn survey_of_equal_folders(bencher: Bencher<'_, '_>, threads: usize) {
    let fill = |folder: &Path| {
        for number in 0..NAMES {
            File::create(folder.join(format!("file {number:05}.txt"))).expect("a file");
        }
    };
    let mut pair = EqualPair::new(fill, threads, Digests::OfAll);
    bencher.counter(ItemsCount::new(NAMES)).bench_local(|| pair.pass(NAMES));
}

/// A source and a replica that match.
struct EqualPair {
    mirror: Mirror,
    /// Removed at the end.
    _folder: TempDir,
}

impl EqualPair {
    fn new(fill: impl Fn(&Path), threads: usize, digests: Digests) -> EqualPair {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let [source, replica] = ["source", "replica"].map(|name| folder.path().join(name));
        fs::create_dir(&source).expect("a folder");
        fill(&source);
        let options = MirrorOptions {
            source,
            replica,
            log: None,
            threads: Some(threads),
            processors: threads,
            digests,
            dry_run: false,
            verify_writes: false,
            bytes_per_second: None,
            index: None,
            limits: Limits::default(),
            filter: FilterOptions::default(),
            checks_room: true,
        };
        let mut mirror = Mirror::new(options, Arc::new(Interrupt::new())).expect("two folders");
        mirror.pass(1, &Deaf).expect("a first copy");
        EqualPair { mirror, _folder: folder }
    }

    /// A pass that finds so many files unchanged, and nothing to do.
    fn pass(&mut self, files: usize) {
        let report = self.mirror.pass(2, &Deaf).expect("a pass");
        assert_eq!((report.counts[Counter::Unchanged], report.counts.operations()), (files as u64, 0));
    }
}
