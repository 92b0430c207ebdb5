//! The workers: a thread pool of which only as many threads are at work as help.
//!
//! A read outside the page cache waits for a disk. One worker per processor leaves the disk idle most of the time, so
//! there may be more threads than processors, under a limit (limit.rs) that follows measurements: the share of its time
//! that a worker waits, and the work done in that time. A thread is started when the limit first rises to it: a pass
//! over cached data never needs more than one per processor. When the limit falls some threads rest. They rest without
//! a task, so that the others can take all tasks.
//!
//! Rejected: io_uring, which has neither `flistxattr` nor `getdents` and is switched off on many servers.

mod limit;

use crate::fs::clock::{busy_time, processor_time};
use crate::workers::limit::{Limit, NAME, Sample};
use rayon::{Scope, ThreadBuilder, ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The default limit. On a virtual solid-state disk 64 workers were slower than 32.
pub(crate) const MOST: usize = 32;

/// The least time between two readings of the clock.
const POLL: Duration = Duration::from_millis(5);

/// The size of a read from which on the task may take long.
const MANY_BYTES: u64 = 1 << 16;

/// Below this share of use the processors have time to spare for announcing the next reads.
const SPARE: f64 = 0.4;

/// A thread pool with a limit of threads at work.
#[derive(Debug)]
pub(crate) struct Workers {
    pool: ThreadPool,
    processors: usize,
    most: usize,
    /// The present limit; a copy of that in `control`.
    limit: AtomicUsize,
    /// Threads of the pool that have not been needed so far, in reverse order.
    unstarted: Mutex<Vec<ThreadBuilder>>,
    started: AtomicUsize,
    /// The number of resting threads; changed under `is_over`.
    resting: AtomicUsize,
    /// True while there is no work.
    is_over: Mutex<bool>,
    end_of_rest: Condvar,
    /// The number of tasks that are not done.
    pending: AtomicUsize,
    /// The number of tasks that are running.
    working: AtomicUsize,
    /// The work done so far, in KiB.
    effort: AtomicU64,
    control: Mutex<Control>,
    /// The time of the next reading of the clock, in milliseconds since `epoch`.
    next_look: AtomicU64,
    epoch: Instant,
    has_spare_time: AtomicBool,
}

#[derive(Debug)]
struct Control {
    limit: Limit,
    /// The start of the measurement under this limit, and the effort before it.
    since: Instant,
    effort: u64,
    /// The sum of the times that threads were watched at work, and of the times that they ran or were ready to run
    /// meanwhile.
    watched: Duration,
    busy: Duration,
    /// The processor time of this process at the start.
    used: Duration,
}

/// Counts a task as done, also when it panics: the other threads would rest for ever.
struct Task<'a>(&'a Workers);

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
        if self.0.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            *lock(&self.0.is_over) = true;
            self.0.end_of_rest.notify_all();
        }
    }
}

thread_local! {
    /// The time of the last reading for this thread, if it is watched, and its busy time then.
    static WATCHED: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workers {
    /// At most `most` threads on so many processors; both are at least 1.
    ///
    /// # Errors
    /// A thread could not be started.
    pub(crate) fn new(processors: usize, most: usize) -> Result<Workers, ThreadPoolBuildError> {
        let (processors, most) = (processors.max(1), most.max(1));
        let limit = Limit::new(processors, most);
        let mut unstarted = Vec::new();
        let pool = ThreadPoolBuilder::new()
            .num_threads(most)
            .spawn_handler(|thread| {
                if thread.index() < limit.now() {
                    return start(thread);
                }
                unstarted.push(thread);
                Ok(())
            })
            .build()?;
        unstarted.reverse();
        let epoch = Instant::now();
        Ok(Workers {
            pool,
            processors,
            most,
            limit: AtomicUsize::new(limit.now()),
            started: AtomicUsize::new(most - unstarted.len()),
            unstarted: Mutex::new(unstarted),
            resting: AtomicUsize::new(0),
            is_over: Mutex::new(true),
            end_of_rest: Condvar::new(),
            pending: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            effort: AtomicU64::new(0),
            control: Mutex::new(Control {
                limit,
                since: epoch,
                effort: 0,
                watched: Duration::ZERO,
                busy: Duration::ZERO,
                used: processor_time(),
            }),
            next_look: AtomicU64::new(0),
            epoch,
            has_spare_time: AtomicBool::new(false),
        })
    }

    /// The most threads that may be at work.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// The number of threads that can compute at once: no more than there are processors or workers.
    pub(crate) fn computing(&self) -> usize {
        self.processors.min(self.most)
    }

    /// True while the processors mostly wait for a disk, so that announcing the next reads to the kernel is worth some
    /// of their time.
    pub(crate) fn wait_for_disk(&self) -> bool {
        self.has_spare_time.load(Ordering::Relaxed)
    }

    /// Runs short work on all started threads, whatever the limit.
    pub(crate) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Runs a task and all tasks that are spawned from it ([`Workers::spawn`]), and waits for the last of them. One at
    /// a time.
    pub(crate) fn scope<'s>(&'s self, task: impl FnOnce(&Scope<'s>) + Send) {
        self.pending.store(1, Ordering::Release);
        *lock(&self.is_over) = false;
        lock(&self.control).begin(Instant::now(), self.effort.load(Ordering::Relaxed));
        self.pool.scope(|scope| {
            for _ in self.limit.load(Ordering::Relaxed)..self.started.load(Ordering::Relaxed) {
                scope.spawn(|_| self.rest());
            }
            self.work(|| task(scope));
        });
    }

    /// Hands a task to any free thread.
    pub(crate) fn spawn<'s>(&'s self, scope: &Scope<'s>, task: impl FnOnce(&Scope<'s>) + Send + 's) {
        self.pending.fetch_add(1, Ordering::AcqRel);
        scope.spawn(move |scope| {
            self.work(|| task(scope));
            self.rest();
        });
    }

    /// Works through `0..len` in chunks of `size`. Each chunk is a task that first spawns the rest for a rayon thief.
    /// The chunk that ends last calls `done`.
    pub(crate) fn in_chunks<'s>(
        &'s self,
        scope: &Scope<'s>,
        (len, size): (usize, usize),
        work: impl Fn(&Scope<'s>, Range<usize>) + Send + Sync + 's,
        done: impl FnOnce(&Scope<'s>) + Send + Sync + 's,
    ) {
        self.chunk(scope, 0..len, size, Arc::new((work, done)));
    }

    fn chunk<'s>(
        &'s self,
        scope: &Scope<'s>,
        all: Range<usize>,
        size: usize,
        task: Arc<(
            impl Fn(&Scope<'s>, Range<usize>) + Send + Sync + 's,
            impl FnOnce(&Scope<'s>) + Send + Sync + 's,
        )>,
    ) {
        let end = all.end.min(all.start + size);
        if end < all.end {
            let (rest, task) = (end..all.end, Arc::clone(&task));
            self.spawn(scope, move |scope| self.chunk(scope, rest, size, task));
        }
        (task.0)(scope, all.start..end);
        // Only the last chunk gets it.
        if let Some((_, done)) = Arc::into_inner(task) {
            done(scope);
        }
    }

    fn work(&self, task: impl FnOnce()) {
        self.working.fetch_add(1, Ordering::Relaxed);
        let over = Task(self);
        self.watch();
        task();
        self.judge(true);
        drop(over);
    }

    /// Counts one name: each by itself, since on a slow disk a whole chunk takes longer than the comparison of two
    /// limits.
    pub(crate) fn did_name(&self) {
        self.effort.fetch_add(NAME, Ordering::Relaxed);
    }

    /// Counts bytes of content.
    pub(crate) fn did_bytes(&self, bytes: u64) {
        self.effort.fetch_add(bytes >> 10, Ordering::Relaxed);
        // A task of small files ends soon, and then the clock is read.
        if bytes == 0 || bytes >= MANY_BYTES || WATCHED.get().is_some() {
            self.judge(false);
        }
    }

    /// The number of threads that do not rest.
    fn at_work(&self) -> usize {
        self.started.load(Ordering::Relaxed).saturating_sub(self.resting.load(Ordering::Relaxed))
    }

    /// Rests while there is work and more threads than the limit would be at work.
    fn rest(&self) {
        let limit = || self.limit.load(Ordering::Relaxed);
        if self.at_work() <= limit() {
            return;
        }
        let mut is_over = lock(&self.is_over);
        if self.at_work() <= limit() {
            return;
        }
        self.resting.fetch_add(1, Ordering::Relaxed);
        while !*is_over && self.at_work() >= limit() {
            is_over = self.end_of_rest.wait(is_over).unwrap_or_else(PoisonError::into_inner);
        }
        self.resting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Begins to watch this thread, if a reading is due.
    fn watch(&self) {
        WATCHED.set(None);
        if self.most == 1 {
            return;
        }
        let now = Instant::now();
        let millis = now.duration_since(self.epoch).as_millis() as u64;
        let due = self.next_look.load(Ordering::Relaxed);
        let next = millis + POLL.as_millis() as u64;
        // The first thread to come is watched.
        if millis >= due
            && self.next_look.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            WATCHED.set(Some((now, busy_time())));
        }
    }

    /// Adds the measurement of this thread, if it is watched, and chooses the limit anew when there is enough.
    fn judge(&self, is_task_over: bool) {
        let Some((then, busy_then)) = WATCHED.get() else {
            if !is_task_over {
                self.watch();
            }
            return;
        };
        let now = Instant::now();
        let watched = now.duration_since(then);
        if !is_task_over && watched < POLL {
            return;
        }
        let busy = busy_time();
        WATCHED.set((!is_task_over).then_some((now, busy)));
        let mut control = lock(&self.control);
        control.watched += watched;
        control.busy += busy.saturating_sub(busy_then);
        let done = self.effort.load(Ordering::Relaxed);
        let Some(sample) = control.ripe(now, done, self.working.load(Ordering::Relaxed)) else { return };
        let before = control.limit.now();
        let used = processor_time().saturating_sub(control.used).as_secs_f64();
        let has_spare_time = used < SPARE * sample.elapsed.as_secs_f64() * self.computing() as f64;
        control.limit.judge(sample);
        let after = control.limit.now();
        control.begin(now, done);
        drop(control);
        self.has_spare_time.store(has_spare_time, Ordering::Relaxed);
        let after = after.min(self.start_up_to(after));
        self.limit.store(after, Ordering::Relaxed);
        for _ in before..after {
            // Under the lock, else a thread that is about to rest may miss it.
            let _is_over = lock(&self.is_over);
            self.end_of_rest.notify_one();
        }
    }
}

impl Workers {
    /// Starts threads up to a number, and returns the number of started ones. Where the system gives no more, the
    /// others do the work.
    fn start_up_to(&self, wanted: usize) -> usize {
        let mut started = self.started.load(Ordering::Acquire);
        if started < wanted {
            let mut unstarted = lock(&self.unstarted);
            started = self.started.load(Ordering::Acquire);
            while started < wanted
                && let Some(thread) = unstarted.pop()
            {
                // The remaining threads may be started later.
                if start(thread).is_err() {
                    break;
                }
                started = self.started.fetch_add(1, Ordering::AcqRel) + 1;
            }
        }
        started
    }
}

/// Starts a thread of the pool.
fn start(thread: ThreadBuilder) -> io::Result<()> {
    let named = std::thread::Builder::new().name(format!("worker {}", thread.index()));
    named.spawn(|| thread.run()).map(drop)
}

impl Control {
    /// Begins a measurement under the present limit.
    fn begin(&mut self, now: Instant, done: u64) {
        (self.since, self.effort) = (now, done);
        (self.watched, self.busy) = (Duration::ZERO, Duration::ZERO);
        self.used = processor_time();
    }

    /// The measurement, once it is long enough.
    fn ripe(&self, now: Instant, done: u64, at_work: usize) -> Option<Sample> {
        let (elapsed, effort) = (now.duration_since(self.since), done.saturating_sub(self.effort));
        let is_ripe = !self.watched.is_zero() && self.limit.is_ripe(elapsed, effort, at_work);
        is_ripe.then(|| {
            let share = self.busy.as_secs_f64() / self.watched.as_secs_f64();
            Sample { elapsed, effort, waiting: (1.0 - share).clamp(0.0, 1.0) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread::sleep;

    /// The number of running tasks, and its maximum.
    #[derive(Default)]
    struct Gauge {
        now: AtomicUsize,
        most: AtomicUsize,
        runs: AtomicUsize,
    }

    impl Gauge {
        fn run(&self, task: impl FnOnce()) {
            self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            task();
            self.runs.fetch_add(1, Ordering::SeqCst);
            self.now.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Spawns the next task before its own work, as the survey does with chunks of names.
    fn chain<'s>(workers: &'s Workers, scope: &Scope<'s>, gauge: &'s Gauge, left: usize, task: fn()) {
        if left > 1 {
            workers.spawn(scope, move |scope| chain(workers, scope, gauge, left - 1, task));
        }
        gauge.run(task);
        (0..32).for_each(|_| workers.did_name());
    }

    #[test]
    fn every_task_is_done_once_with_any_number_of_workers_again_and_again() {
        for (processors, most) in [(1, 1), (1, 8), (2, 2), (2, 32), (8, 3)] {
            let workers = Workers::new(processors, most).unwrap();
            for tasks in [1, 2, 100, 3000] {
                let gauge = Gauge::default();
                workers.scope(|scope| chain(&workers, scope, &gauge, tasks, || {}));
                assert_eq!(gauge.runs.load(Ordering::SeqCst), tasks, "{processors} {most}");
                assert!(gauge.most.load(Ordering::SeqCst) <= most);
            }
        }
    }

    #[test]
    fn chunks_cover_everything_once_and_whoever_is_last_ends_them() {
        for most in [1, 8] {
            let workers = Workers::new(2, most).unwrap();
            for (len, size, chunks) in [(0, 4, 1), (3, 4, 1), (4, 4, 1), (5, 4, 2), (1000, 7, 143)] {
                let (runs, ends) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let seen: Vec<AtomicUsize> = (0..len).map(|_| AtomicUsize::new(0)).collect();
                let work = |_: &Scope<'_>, chunk: Range<usize>| {
                    assert_eq!(ends.load(Ordering::SeqCst), 0);
                    runs.fetch_add(1, Ordering::SeqCst);
                    for at in &seen[chunk] {
                        at.fetch_add(1, Ordering::SeqCst);
                    }
                };
                let done = |_: &Scope<'_>| {
                    assert_eq!(runs.load(Ordering::SeqCst), chunks);
                    ends.fetch_add(1, Ordering::SeqCst);
                };
                workers.scope(|scope| workers.in_chunks(scope, (len, size), work, done));
                assert_eq!(ends.load(Ordering::SeqCst), 1);
                assert!(seen.iter().all(|at| at.load(Ordering::SeqCst) == 1), "{len} {size}");
            }
        }
    }

    #[test]
    fn where_tasks_wait_more_of_them_are_at_work_than_there_are_processors() {
        let workers = Workers::new(2, 16).unwrap();
        let started = || workers.started.load(Ordering::SeqCst);
        assert_eq!(started(), 2);
        let gauge = Gauge::default();
        workers.scope(|scope| chain(&workers, scope, &gauge, 400, || sleep(Duration::from_millis(5))));
        assert!(started() > 4, "{}", started());
        assert!(gauge.most.load(Ordering::SeqCst) > 4, "{}", gauge.most.load(Ordering::SeqCst));
    }

    #[test]
    fn one_worker_is_one_worker_however_much_it_waits() {
        let workers = Workers::new(4, 1).unwrap();
        let gauge = Gauge::default();
        workers.scope(|scope| chain(&workers, scope, &gauge, 50, || sleep(Duration::from_millis(1))));
        assert_eq!(gauge.most.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_task_that_panics_ends_the_scope_and_leaves_nobody_at_rest() {
        let workers = Workers::new(2, 8).unwrap();
        let gauge = Gauge::default();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            workers.scope(|scope| {
                for at in 0..100 {
                    let gauge = &gauge;
                    workers.spawn(scope, move |_| gauge.run(|| assert_ne!(at, 50, "one of them")));
                }
            });
        }));
        assert!(panicked.is_err());
        assert_eq!(gauge.runs.load(Ordering::SeqCst), 99);
        let after = Gauge::default();
        workers.scope(|scope| chain(&workers, scope, &after, 100, || {}));
        assert_eq!(after.runs.load(Ordering::SeqCst), 100);
    }
}
