//! The engine in this process: passes over a [`Scratch`], and a monitor that records its events.

use super::index;
use super::scratch::Scratch;
use super::tree::{Tree, assert_same};
use file_sync::{
    Counter, Error, Event, FilterOptions, IndexOptions, Interrupt, Limit, Limits, Mirror, MirrorOptions,
    Monitor, Operation, Outcome, PassReport, Phase, RelPath, Trust, Verb,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

impl Scratch {
    /// The index of the engine: every file is read in every pass.
    pub(crate) fn index(&self) -> IndexOptions {
        IndexOptions {
            state_dir: self.state().join("file-sync"),
            rehash_after: Trust::Never,
            digest_after: Trust::For(Duration::from_secs(30 * 24 * 60 * 60)),
            no_mapped_writes: true,
            interval: None,
            rpo: None,
        }
    }

    pub(crate) fn mirror(&self, threads: usize) -> Mirror {
        self.mirror_with(threads, false)
    }

    pub(crate) fn mirror_with(&self, threads: usize, dry_run: bool) -> Mirror {
        Mirror::new(self.options(threads, dry_run), Arc::new(Interrupt::new())).unwrap()
    }

    /// The options of a mirror of the roots.
    pub(crate) fn options(&self, threads: usize, dry_run: bool) -> MirrorOptions {
        MirrorOptions {
            source: self.source.clone(),
            replica: self.replica.clone(),
            log: None,
            threads: Some(threads),
            processors: 2,
            digests: self.digests,
            dry_run,
            verify_writes: false,
            bytes_per_second: None,
            index: Some(self.index()),
            // The guard has tests of its own.
            limits: Limits { max_delete: Limit::Off, max_change: Limit::Off },
            filter: FilterOptions::default(),
            checks_room: true,
        }
    }

    /// One pass of a new mirror.
    pub(crate) fn pass(&self) -> Passed {
        pass(&mut self.mirror(2))
    }

    /// Runs two passes. The first has to be done without a problem and leave the replica equal to the source, and the
    /// second has to find nothing to do. Returns the first.
    pub(crate) fn converge(&self) -> Passed {
        let passed = self.pass();
        passed.assert_clean();
        self.assert_equal();
        self.assert_quiet();
        index::check(self);
        passed
    }

    /// As [`Scratch::converge`], but the first passes may have problems.
    pub(crate) fn converge_in(&self, passes: usize) -> Passed {
        for _ in 1..passes {
            self.pass();
        }
        self.converge()
    }

    pub(crate) fn assert_equal(&self) {
        assert_same("the replica is not the source", &Tree::of(&self.source), &Tree::of(&self.replica));
    }

    /// Asserts that a pass does nothing: no operation, no problem, and no write to any inode of the replica.
    pub(crate) fn assert_quiet(&self) {
        let before = Tree::of(&self.replica);
        let passed = self.pass();
        passed.assert_clean();
        assert_eq!(passed.seen.done, [], "a second pass still finds something to do");
        assert_same("a second pass wrote", &before.stamped(), &Tree::of(&self.replica).stamped());
    }
}

/// The recorded events of a monitor, as owned values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Verb, path, reason.
    pub(crate) done: Vec<Line>,
    pub(crate) planned: Vec<Line>,
    /// Path, then the message.
    pub(crate) problems: Vec<(String, String)>,
    pub(crate) skipped: Vec<String>,
    pub(crate) notices: Vec<String>,
    pub(crate) verified: Vec<String>,
}

/// An operation: verb, path, reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line(pub(crate) Verb, pub(crate) String, pub(crate) String);

impl Seen {
    pub(crate) fn did(&self, verb: Verb, path: &str) -> bool {
        self.done.iter().any(|line| line.0 == verb && line.1 == path)
    }
}

/// Called by a [`Collector`] for each event.
type Hook<'a> = Box<dyn Fn(&Event<'_>) + Sync + 'a>;

/// A monitor that records every event, and may act on it.
#[derive(Default)]
pub(crate) struct Collector<'a> {
    seen: Mutex<Seen>,
    /// Operations are not recorded: their paths may exceed the memory.
    forgets_operations: bool,
    hook: Option<Hook<'a>>,
}

impl<'a> Collector<'a> {
    /// Calls `hook` for every event, before it is recorded.
    pub(crate) fn with_hook(hook: impl Fn(&Event<'_>) + Sync + 'a) -> Collector<'a> {
        Collector { hook: Some(Box::new(hook)), ..Collector::default() }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Monitor for Collector<'_> {
    fn event(&self, event: &Event<'_>) {
        if let Some(hook) = &self.hook {
            hook(event);
        }
        let path = |path: &RelPath| String::from_utf8_lossy(path.as_bytes()).into_owned();
        let line = |operation: &Operation<'_>| {
            Line(operation.verb, path(operation.path), operation.reason.to_owned())
        };
        if self.forgets_operations && matches!(event, Event::Done(_) | Event::Verified { .. }) {
            return;
        }
        let mut seen = self.seen.lock().unwrap();
        match event {
            Event::Done(operation) => seen.done.push(line(operation)),
            Event::Planned(operation) => seen.planned.push(line(operation)),
            Event::Problem(problem) => seen.problems.push((path(&problem.path), problem.to_string())),
            Event::Skipped { path: at, .. } => seen.skipped.push(path(at)),
            Event::Notice(notice) => seen.notices.push(format!("{notice:?}")),
            Event::Verified { path: at, .. } => seen.verified.push(path(at)),
            _ => {}
        }
    }

    fn wants_verified(&self) -> bool {
        true
    }
}

/// A finished pass.
pub(crate) struct Passed {
    pub(crate) report: PassReport,
    pub(crate) seen: Seen,
}

impl Passed {
    /// Asserts that the pass was done without a problem, and without a notice that the filesystem cannot hold
    /// something.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.seen.problems, [], "problems");
        assert_eq!(self.report.counts[Counter::Problems], 0);
        assert_eq!(self.report.outcome, Outcome::Done);
        let not_held: Vec<&String> =
            self.seen.notices.iter().filter(|notice| notice.starts_with("Unsupported")).collect();
        assert!(not_held.is_empty(), "{not_held:?}");
        assert_eq!(
            self.report.counts.operations(),
            self.seen.done.len() as u64,
            "operations counted and told"
        );
    }
}

/// One pass.
pub(crate) fn pass(mirror: &mut Mirror) -> Passed {
    let collector = Collector::default();
    let report = mirror.pass(1, &collector).unwrap();
    Passed { report, seen: collector.seen() }
}

/// One pass over a tree whose paths are too long to be recorded. It has to be done without a problem.
pub(crate) fn clean_pass(mirror: &mut Mirror) -> PassReport {
    let collector = Collector { forgets_operations: true, ..Collector::default() };
    let report = mirror.pass(1, &collector).unwrap();
    assert_eq!(collector.seen().problems, [], "problems");
    assert_eq!((&report.outcome, report.counts[Counter::Problems]), (&Outcome::Done, 0));
    report
}

/// One pass during which `hook` is called for every event.
pub(crate) fn pass_with<'a>(
    mirror: &mut Mirror,
    hook: impl Fn(&Event<'_>) + Sync + 'a,
) -> (Result<PassReport, Error>, Seen) {
    let collector = Collector::with_hook(hook);
    let report = mirror.pass(1, &collector);
    (report, collector.seen())
}

/// One pass whose plan is complete before `edits` change the trees, and is applied after them.
pub(crate) fn between(mirror: &mut Mirror, edits: impl FnOnce() + Send) -> (Result<PassReport, Error>, Seen) {
    let edits = Mutex::new(Some(edits));
    let passed = pass_with(mirror, |event| {
        if matches!(event, Event::Phase { phase: Phase::Applying, .. }) {
            edits.lock().unwrap().take().unwrap()();
        }
    });
    assert!(edits.into_inner().unwrap().is_none(), "the plan was empty");
    passed
}
