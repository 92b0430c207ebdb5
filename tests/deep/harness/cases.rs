//! Counted checks: each runs even after others have failed, and can be repeated alone by its name. The end of a suite
//! reports its coverage and the numbers of passed, failed and skipped checks.

use crate::harness::kit::tell;
use crate::support::leave_out::reason;
use std::any::Any;
use std::collections::BTreeMap;
use std::env::{var, var_os};
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{available_parallelism, scope};

/// Only checks whose name contains this run; `--only TEXT` sets it.
pub(crate) const ONLY: &str = "FILE_SYNC_DEEP_ONLY";

/// The seed of everything random; `--seed N` sets it.
pub(crate) const SEED: &str = "FILE_SYNC_DEEP_SEED";

/// A file to which each suite appends the report of each failed check and one line, `passed failed skipped`. The end of
/// a long run shows them again.
pub(crate) const TALLY: &str = "FILE_SYNC_DEEP_TALLY";

/// Whether the long form is on: every occurrence instead of a sample, and thousands of random cases.
pub(crate) fn is_thorough() -> bool {
    var_os("FILE_SYNC_PROOF").is_some_and(|proof| proof == "deep")
}

/// The seed of this run. Each long run has another one. Each short run has the same, so that CI passes or fails only
/// because of the change under test.
pub(crate) fn seed() -> u64 {
    var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// The checks of one suite.
pub(crate) struct Cases {
    suite: &'static str,
    only: Option<String>,
    passed: AtomicUsize,
    skipped: Mutex<BTreeMap<String, usize>>,
    failed: Mutex<Vec<String>>,
    covered: Mutex<BTreeMap<&'static str, BTreeMap<String, usize>>>,
}

impl Cases {
    pub(crate) fn new(suite: &'static str) -> Cases {
        Cases {
            suite,
            only: var(ONLY).ok(),
            passed: AtomicUsize::new(0),
            skipped: Mutex::default(),
            failed: Mutex::default(),
            covered: Mutex::default(),
        }
    }

    /// Whether single checks are requested by name: then all checks are candidates, not a sample.
    pub(crate) fn is_narrowed(&self) -> bool {
        self.only.is_some()
    }

    /// Whether a check of this name is wanted in this run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// Runs one check. It fails by panicking, and [`leave_out`](crate::support::leave_out::leave_out) skips it. The
    /// name is enough to repeat the check, so it contains every number that the check depends on, apart from the seed.
    pub(crate) fn run(&self, name: &str, case: impl FnOnce()) {
        if !self.wants(name) {
            return;
        }
        let Err(cause) = catch_unwind(AssertUnwindSafe(case)) else {
            self.passed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if let Some(why) = reason(&*cause) {
            *lock(&self.skipped).entry(why.to_owned()).or_default() += 1;
            return;
        }
        let report = format!(
            "FAILED {name}\n    {}\n    repeat: FILE_SYNC_DEEP=1{} cargo test --release --test deep -- {} --seed {} --only '{name}'",
            shortened(message(&*cause)).replace('\n', "\n    "),
            if is_thorough() { " FILE_SYNC_PROOF=deep" } else { "" },
            self.suite,
            seed()
        );
        tell(&report);
        lock(&self.failed).push(report);
    }

    /// Runs one check per item, concurrently: twice as many as there are processors, since they mostly wait.
    pub(crate) fn run_all<T: Sync>(
        &self,
        items: &[T],
        name: impl Fn(&T) -> String + Sync,
        case: impl Fn(&T) + Sync,
    ) {
        let next = AtomicUsize::new(0);
        let workers = available_parallelism().map_or(2, usize::from) * 2;
        scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        self.run(&name(item), || case(item));
                    }
                });
            }
        });
    }

    /// Records coverage, for instance `cover("errors", "EIO")`.
    pub(crate) fn cover(&self, what: &'static str, which: &str) {
        let mut covered = lock(&self.covered);
        *covered.entry(what).or_default().entry(which.to_owned()).or_default() += 1;
    }

    /// The counts of one kind of coverage.
    pub(crate) fn covered(&self, what: &'static str) -> BTreeMap<String, usize> {
        lock(&self.covered).get(what).cloned().unwrap_or_default()
    }

    /// Reports the coverage and the results; fails if a check has failed.
    pub(crate) fn finish(self) {
        for (what, tried) in &*lock(&self.covered) {
            let tried: Vec<String> = tried.iter().map(|(which, count)| format!("{which} {count}")).collect();
            tell(&format!("{what}: {}", tried.join(", ")));
        }
        for (why, count) in &*lock(&self.skipped) {
            tell(&format!("skipped {count}: {why}"));
        }
        let failures = lock(&self.failed);
        let failed = failures.len();
        let passed = self.passed.load(Ordering::Relaxed);
        let skipped: usize = lock(&self.skipped).values().sum();
        tell(&format!("{}: {passed} passed, {failed} failed, {skipped} skipped", self.suite));
        if let Some(tally) = var_os(TALLY) {
            let mut tally = OpenOptions::new().append(true).open(tally).expect("the tally");
            for report in failures.iter() {
                writeln!(tally, "{}: {report}", self.suite).expect("written");
            }
            writeln!(tally, "{passed} {failed} {skipped}").expect("written");
        }
        assert!(failed == 0, "{failed} failed");
        assert!(passed > 0 || self.is_narrowed(), "nothing was checked");
    }
}

/// A poisoned lock is used all the same: its data is consistent at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The start of a message: a whole log in it would hide everything else.
fn shortened(message: &str) -> String {
    const MOST: usize = 6000;
    let mut letters = message.chars();
    let start: String = letters.by_ref().take(MOST).collect();
    if letters.next().is_some() { start + " [...]" } else { start }
}

fn message(cause: &(dyn Any + Send)) -> &str {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}
