//! Parts of a pass on their own: hashing, comparing two files, listing a folder, and the survey of two folders that are
//! equal. `cargo bench --bench micro` measures them; whole passes are measured by `--bench peers`.
//!
//! The merge of two listings is private to the survey, and is measured in it: with empty files there is little else but
//! the merge and the system calls that ask for the facts of each name.

#![allow(clippy::expect_used, reason = "a benchmark that cannot go on has nothing better to do than to stop")]

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use file_sync::capabilities::registry::Filesystems;
use file_sync::context::Context;
use file_sync::control::Interrupt;
use file_sync::fs::dir::Dir;
use file_sync::fs::listing::Listing;
use file_sync::model::digest::{Digests, Hasher};
use file_sync::model::event::{Event, Monitor};
use file_sync::plan::{Pair, Watch};
use file_sync::survey::compare_bytes::{Comparison, compare_contents};
use file_sync::survey::survey;
use file_sync::workers::Workers;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::sync::Arc;

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

/// The same without a digest of what they have in common.
#[divan::bench(args = SIZES)]
fn compare_bytes(bencher: Bencher<'_, '_>, size: usize) {
    compare_with(bencher, size, Digests::OfCopies);
}

fn compare_with(bencher: Bencher<'_, '_>, size: usize, digests: Digests) {
    let trees = Trees::new(|folder| fs::write(folder.join("file"), vec![7; size]).expect("written"));
    let open = |name: &str| File::open(trees.folder.path().join(name).join("file")).expect("opened");
    let (source, replica) = (open("source"), open("replica"));
    trees.with_context(1, |context, _| {
        bencher.counter(BytesCount::new(2 * size)).bench_local(|| {
            let found = compare_contents(
                context,
                (source.as_fd(), replica.as_fd()),
                (size as u64, size as u64),
                false,
                digests,
            );
            assert!(matches!(found, Comparison::Equal(_)), "{found:?}");
        });
    });
}

#[divan::bench]
fn list(bencher: Bencher<'_, '_>) {
    let trees = Trees::new(many_names);
    let folder = File::open(trees.folder.path().join("source")).expect("opened");
    bencher.counter(ItemsCount::new(NAMES)).bench_local(|| Listing::read(folder.as_fd()).expect("listed"));
}

/// Two equal folders: names are counted once.
#[divan::bench(args = [1, 2])]
fn survey_of_equal_folders(bencher: Bencher<'_, '_>, threads: usize) {
    let trees = Trees::new(many_names);
    trees.with_context(threads, |context, pair| {
        bencher.counter(ItemsCount::new(NAMES)).bench_local(|| {
            let plan = survey(context, Arc::clone(pair));
            assert!(plan.changes.is_empty(), "{} changes", plan.changes.len());
        });
    });
}

fn many_names(folder: &std::path::Path) {
    for number in 0..NAMES {
        let file = File::create(folder.join(format!("file {number:05}.txt"))).expect("a file");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("a time");
    }
}

/// A source and a replica that are made in the same way.
struct Trees {
    folder: tempfile::TempDir,
}

impl Trees {
    fn new(fill: impl Fn(&std::path::Path)) -> Trees {
        let folder = tempfile::tempdir().expect("a scratch folder");
        for name in ["source", "replica"] {
            let root = folder.path().join(name);
            fs::create_dir(&root).expect("a folder");
            fill(&root);
            let opened = File::open(&root).expect("opened");
            opened.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("a time");
        }
        Trees { folder }
    }

    fn with_context(&self, threads: usize, work: impl FnOnce(&Context<'_>, &Arc<Pair>)) {
        const OPEN_FOLDERS: usize = 16;
        let paths = ["source", "replica"].map(|name| self.folder.path().join(name));
        let [source, replica] = paths.each_ref().map(|path| Dir::root(path, OPEN_FOLDERS).expect("opened"));
        let (interrupt, filesystems) = (Interrupt::new(), Filesystems::default());
        let workers = Workers::new(threads, threads).expect("threads");
        let filesystem = filesystems.of(&replica).expect("a filesystem");
        let pair = Pair {
            source: Some(Arc::clone(&source)),
            replica: Some(Arc::clone(&replica)),
            filesystem,
            watch: Watch::Off,
        };
        let [source_path, replica_path] = &paths;
        let context = Context::new(
            &Deaf,
            (&interrupt, &workers),
            (source_path, source),
            (replica_path, Some(replica)),
            (&filesystems, None),
        );
        work(&context, &Arc::new(pair));
    }
}
