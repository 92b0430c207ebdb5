//! Which problems of a pass are written in full, and which are summed up: ten thousand files of one owner, unreadable in
//! every pass, would leave nothing else in the log.
//!
//! Problems are grouped by action and cause, so that a single I/O error does not go down among them:
//!
//! - Up to [`MOST`] of a group are written in full, in every pass.
//! - Of more, so many are written in full, and at the end of the pass the number of the others.
//! - In the next pass those that were there before are only counted. What is new is written in full, again up to
//!   [`MOST`]. When those that were named are gone, others are named in their place.
//! - After a day [`MOST`] are named again: the lines may be in a log that is gone.
//!
//! The JSON form has every problem of every pass, for programs that list them; and so has `-v`.

use crate::collections::HashSet;
use crate::model::error::{Cause, Problem};
use crate::model::problem_kind::ProblemKind;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// The most problems of a group that a pass names.
const MOST: usize = 10;

/// The problems of a group that are remembered until the next pass, as hashes. Of more than these, ten are named in
/// every pass.
const MOST_REMEMBERED: usize = 100_000;

/// The time after which problems are named again.
const NAMED_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// A line about many problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// The action that failed.
    pub(super) kind: ProblemKind,
    /// The cause.
    pub(super) cause: Cause,
    /// The number of problems.
    pub(super) problems: u64,
    /// Whether they were there in the last pass.
    pub(super) recurrence: Recurrence,
}

/// Whether problems were there in the last pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recurrence {
    /// They are new, and so are the ones that were named.
    More,
    /// They were there as well.
    Same {
        /// The last pass.
        last_pass: u64,
        /// The last pass that named some of the group.
        named_in_pass: u64,
    },
}

/// A line at the end of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// A problem that turned out to be one of few.
    Named(Problem),
    /// Many problems.
    Summed(Summary),
}

/// Whether a pass has found everything that there is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// It was carried out, or planned, to its end.
    Whole,
    /// It was held, stopped, or failed.
    Partial,
}

/// The problems of one job, from pass to pass.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pass: u64,
    last_pass: u64,
    groups: Vec<Group>,
}

/// Problems with one action and one cause.
#[derive(Debug)]
struct Group {
    kind: ProblemKind,
    cause: Cause,
    /// All of this pass.
    count: u64,
    /// Those of this pass that were written in full.
    written: usize,
    /// Those of this pass that were there in the last one and were not written.
    same: u64,
    /// Of those, the ones that an earlier pass has named.
    same_named: usize,
    /// The first of those that an earlier pass has named, and the first of the others.
    held_named: Vec<Problem>,
    held: Vec<Problem>,
    /// Hashes of those of this pass.
    now: HashSet<u64>,
    /// Hashes of those of the last pass, if they were many.
    last: HashSet<u64>,
    /// Hashes of those that were named since they became many.
    named: HashSet<u64>,
    named_in_pass: u64,
    named_at: Option<Instant>,
}

impl Problems {
    /// A pass begins.
    pub(super) fn begin(&mut self, pass: u64, now: Instant) {
        self.pass = pass;
        for group in &mut self.groups {
            if group.named_at.is_some_and(|at| now.duration_since(at) >= NAMED_AGAIN) {
                group.forget();
            }
        }
    }

    /// Takes a problem. True when it is to be written at once.
    pub(super) fn take(&mut self, problem: &Problem, now: Instant) -> bool {
        let pass = self.pass;
        let group = self.group_of(problem);
        let hash = hash_of(problem);
        group.count += 1;
        if group.now.len() < MOST_REMEMBERED {
            group.now.insert(hash);
        }
        if group.last.contains(&hash) {
            group.same += 1;
            let is_named = group.named.contains(&hash);
            group.same_named += usize::from(is_named);
            let held = if is_named { &mut group.held_named } else { &mut group.held };
            if held.len() < MOST {
                held.push(problem.clone());
            }
            return false;
        }
        let is_written = group.written < MOST;
        if is_written {
            group.name(hash, pass, now);
        }
        is_written
    }

    /// The pass ends: the lines that are still to be written.
    pub(super) fn end(&mut self, extent: Extent, now: Instant) -> Vec<Late> {
        let (pass, last_pass) = (self.pass, self.last_pass);
        let has_problems = self.groups.iter().any(|group| group.count > 0);
        let mut late = Vec::new();
        for group in &mut self.groups {
            group.end((pass, last_pass), now, &mut late);
            group.remember(extent);
        }
        self.groups.retain(|group| !group.last.is_empty());
        if extent == Extent::Whole || has_problems {
            self.last_pass = pass;
        }
        late
    }

    fn group_of(&mut self, problem: &Problem) -> &mut Group {
        let cause = match problem.cause {
            // The digests are different for each file.
            Cause::Rotted { .. } => Cause::Refused("the content seems to have rotted"),
            cause @ (Cause::System(_) | Cause::Refused(_)) => cause,
        };
        let is_it = |group: &Group| group.kind == problem.kind && group.cause == cause;
        let at = self.groups.iter().position(is_it).unwrap_or(self.groups.len());
        if at == self.groups.len() {
            self.groups.push(Group::new(problem.kind, cause));
        }
        &mut self.groups[at]
    }
}

impl Group {
    fn new(kind: ProblemKind, cause: Cause) -> Group {
        Group {
            kind,
            cause,
            count: 0,
            written: 0,
            same: 0,
            same_named: 0,
            held_named: Vec::new(),
            held: Vec::new(),
            now: HashSet::default(),
            last: HashSet::default(),
            named: HashSet::default(),
            named_in_pass: 0,
            named_at: None,
        }
    }

    /// Notes that a problem is written in full.
    fn name(&mut self, hash: u64, pass: u64, now: Instant) {
        self.written += 1;
        self.named.insert(hash);
        self.named_in_pass = pass;
        // The time of the first: the next ones must not put off the day on which it is named again.
        self.named_at.get_or_insert(now);
    }

    /// Has the next problems named as if they were new.
    fn forget(&mut self) {
        self.last.clear();
        self.named.clear();
        self.named_at = None;
    }

    fn end(&mut self, (pass, last_pass): (u64, u64), now: Instant, late: &mut Vec<Late>) {
        let new = self.count - self.same - u64::try_from(self.written).unwrap_or(u64::MAX);
        if usize::try_from(self.count).is_ok_and(|count| count <= MOST) {
            self.same = 0;
            late.extend(self.held_named.drain(..).chain(self.held.drain(..)).map(Late::Named));
        } else {
            let named = self.same_named + self.written;
            let held = std::mem::take(&mut self.held);
            for problem in held.into_iter().take(MOST.saturating_sub(named)) {
                self.name(hash_of(&problem), pass, now);
                self.same -= 1;
                late.push(Late::Named(problem));
            }
        }
        let same = Recurrence::Same { last_pass, named_in_pass: self.named_in_pass };
        for (problems, recurrence) in [(new, Recurrence::More), (self.same, same)] {
            if problems > 0 {
                let (kind, cause) = (self.kind, self.cause);
                late.push(Late::Summed(Summary { kind, cause, problems, recurrence }));
            }
        }
    }

    /// Keeps for the next pass what it is to be compared with.
    fn remember(&mut self, extent: Extent) {
        let is_many = self.count > u64::try_from(MOST).unwrap_or(u64::MAX);
        match extent {
            Extent::Whole if !is_many => self.forget(),
            // What a pass did not get to may still be there.
            Extent::Partial if !self.last.is_empty() => {
                let room = MOST_REMEMBERED.saturating_sub(self.last.len());
                self.last.extend(self.now.iter().take(room));
            }
            Extent::Partial if !is_many => {}
            Extent::Whole | Extent::Partial => self.last = std::mem::take(&mut self.now),
        }
        self.named.retain(|hash| self.last.contains(hash));
        self.now.clear();
        self.held.clear();
        self.held_named.clear();
        (self.count, self.written, self.same, self.same_named) = (0, 0, 0, 0);
    }
}

/// The identity of a problem from pass to pass.
fn hash_of(problem: &Problem) -> u64 {
    let mut hasher = DefaultHasher::new();
    (problem.path.as_bytes(), problem.consequence, problem.content_unreadable).hash(&mut hasher);
    if let Cause::Rotted { found, .. } = &problem.cause {
        found.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::errno::Errno;
    use crate::model::path::RelPath;
    use std::ops::Range;

    fn problem(name: &str, errno: Errno) -> Problem {
        let path = RelPath::from_bytes(name.as_bytes().to_vec());
        Problem::new(path, ProblemKind::ReadSourceFile, Cause::System(errno), "its replica is kept")
    }

    /// One job, whose time stands still until it is moved on.
    struct Job {
        problems: Problems,
        pass: u64,
        now: Instant,
    }

    impl Job {
        fn new() -> Job {
            Job { problems: Problems::default(), pass: 0, now: Instant::now() }
        }

        /// Runs a pass with the problems of these numbers. Returns the names that it wrote, early and late, and the
        /// summaries.
        fn pass(
            &mut self,
            numbers: impl IntoIterator<Item = u32>,
            extent: Extent,
        ) -> (Vec<u32>, Vec<(u64, Recurrence)>) {
            self.pass += 1;
            self.problems.begin(self.pass, self.now);
            let (mut names, mut summaries) = (Vec::new(), Vec::new());
            for number in numbers {
                if self.problems.take(&problem(&number.to_string(), Errno::ACCESS), self.now) {
                    names.push(number);
                }
            }
            for late in self.problems.end(extent, self.now) {
                match late {
                    Late::Named(problem) => names.push(problem.path.to_string().parse().unwrap()),
                    Late::Summed(summary) => summaries.push((summary.problems, summary.recurrence)),
                }
            }
            names.sort_unstable();
            (names, summaries)
        }

        fn whole(&mut self, numbers: Range<u32>) -> (Vec<u32>, Vec<(u64, Recurrence)>) {
            self.pass(numbers, Extent::Whole)
        }
    }

    fn names(numbers: Range<u32>) -> Vec<u32> {
        numbers.collect()
    }

    fn same(last_pass: u64, named_in_pass: u64) -> Recurrence {
        Recurrence::Same { last_pass, named_in_pass }
    }

    #[test]
    fn up_to_ten_of_a_kind_are_named_in_every_pass() {
        let mut job = Job::new();
        for _ in 0..3 {
            assert_eq!(job.whole(0..10), (names(0..10), vec![]));
        }
    }

    #[test]
    fn of_more_ten_are_named_once_and_the_others_are_counted() {
        let mut job = Job::new();
        assert_eq!(job.whole(0..10_000), (names(0..10), vec![(9_990, Recurrence::More)]));
        assert_eq!(job.whole(0..10_000), (vec![], vec![(10_000, same(1, 1))]));
        assert_eq!(job.whole(0..10_000), (vec![], vec![(10_000, same(2, 1))]));
    }

    #[test]
    fn new_ones_among_many_are_named() {
        let mut job = Job::new();
        job.whole(0..100);
        assert_eq!(job.whole(0..102), (names(100..102), vec![(100, same(1, 2))]));
        assert_eq!(job.whole(0..200), (names(102..112), vec![(88, Recurrence::More), (102, same(2, 3))]));
    }

    #[test]
    fn in_place_of_those_that_are_gone_others_are_named() {
        let mut job = Job::new();
        job.whole(0..100);
        assert_eq!(job.whole(7..100), (names(10..17), vec![(86, same(1, 2))]));
        assert_eq!(job.whole(7..100), (vec![], vec![(93, same(2, 2))]));
        assert_eq!(job.whole(50..100), (names(50..60), vec![(40, same(3, 4))]));
    }

    #[test]
    fn many_that_have_become_few_are_all_named_again_in_every_pass() {
        let mut job = Job::new();
        job.whole(0..100);
        for _ in 0..2 {
            assert_eq!(job.whole(5..15), (names(5..15), vec![]));
        }
        assert_eq!(job.whole(0..0), (vec![], vec![]));
        assert_eq!(job.whole(0..12), (names(0..10), vec![(2, Recurrence::More)]));
    }

    #[test]
    fn after_a_day_ten_are_named_again() {
        let mut job = Job::new();
        job.whole(0..100);
        job.now += NAMED_AGAIN - Duration::from_secs(1);
        assert_eq!(job.whole(0..101), (names(100..101), vec![(100, same(1, 2))]));
        job.now += Duration::from_secs(1);
        assert_eq!(job.whole(0..101), (names(0..10), vec![(91, Recurrence::More)]));
        assert_eq!(job.whole(0..101), (vec![], vec![(101, same(3, 3))]));
    }

    #[test]
    fn a_pass_that_did_not_get_to_all_of_them_forgets_none() {
        let mut job = Job::new();
        job.whole(0..100);
        assert_eq!(job.pass(0..0, Extent::Partial), (vec![], vec![]));
        assert_eq!(job.pass(92..102, Extent::Partial), (names(92..102), vec![]));
        assert_eq!(job.whole(0..102), (vec![], vec![(102, same(3, 3))]));
    }

    #[test]
    fn many_in_a_first_pass_that_failed_are_known_in_the_next() {
        let mut job = Job::new();
        assert_eq!(job.pass(0..20, Extent::Partial), (names(0..10), vec![(10, Recurrence::More)]));
        assert_eq!(job.whole(0..20), (vec![], vec![(20, same(1, 1))]));
    }

    #[test]
    fn another_cause_does_not_go_down_among_many() {
        let mut problems = Problems::default();
        let now = Instant::now();
        for pass in 1..=2 {
            problems.begin(pass, now);
            for number in 0..100 {
                problems.take(&problem(&number.to_string(), Errno::ACCESS), now);
            }
            assert!(problems.take(&problem("broken", Errno::IO), now), "pass {pass}");
            problems.end(Extent::Whole, now);
        }
    }

    #[test]
    fn files_that_rotted_are_one_kind_and_a_new_digest_is_a_new_problem() {
        let rotted = |name: &str, content: &[u8]| {
            let mut hasher = crate::model::digest::Hasher::new();
            let recorded = crate::model::digest::Hasher::new().finish();
            hasher.update(content);
            let cause = Cause::Rotted { found: hasher.finish(), recorded, confirmed: 0 };
            Problem { cause, kind: ProblemKind::TrustSourceFile, ..problem(name, Errno::IO) }
        };
        let mut problems = Problems::default();
        let now = Instant::now();
        problems.begin(1, now);
        for number in 0..20 {
            problems.take(&rotted(&number.to_string(), b"a"), now);
        }
        let late = problems.end(Extent::Whole, now);
        assert!(matches!(&late[..], [Late::Summed(summary)] if summary.problems == 10), "{late:?}");
        problems.begin(2, now);
        assert!(!problems.take(&rotted("1", b"a"), now));
        assert!(problems.take(&rotted("1", b"b"), now));
    }

    #[test]
    fn of_more_than_are_remembered_ten_are_named_in_every_pass() {
        let mut job = Job::new();
        let all = u32::try_from(MOST_REMEMBERED).unwrap() + 100;
        job.whole(0..all);
        let first = all - 100;
        assert_eq!(
            job.whole(0..all),
            (names(first..first + 10), vec![(90, Recurrence::More), (u64::from(first), same(1, 2))])
        );
    }
}
