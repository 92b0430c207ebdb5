//! The queue of log lines between the producers and the one thread that writes.
//!
//! A double buffer: producers append to one `Vec` under a mutex while the writer works on the other, so the mutex is
//! never held during a write, and many lines become one write. The buffer is bounded. When it is full, producers wait
//! for room, but only as long as [`Backpressure`] allows: then lines are dropped and counted until the writer takes the
//! buffer. A stalled log disk or terminal must not stop a backup.

use crate::control::Interrupt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The size of the buffer in bytes.
pub(super) const LIMIT: usize = 1 << 20;

/// The time for which the writer lets lines gather before it takes them. Waking it for every line would cost the
/// producers more than formatting does, and nobody reads a log within a hundredth of a second.
const BATCH_DELAY: Duration = Duration::from_millis(10);

/// The period at which a waiting thread checks the stop flag.
const POLL: Duration = Duration::from_millis(20);

/// Backpressure limits after a stop signal.
const SHUTDOWN: Limits =
    Limits { stall: Some(Duration::from_millis(500)), full: Some(Duration::from_millis(1000)) };

/// The longest waits of a producer for room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The longest wait without progress of the writer; none waits for ever.
    pub(super) stall: Option<Duration>,
    /// The longest wait for one buffer, even if the writer makes progress; none waits for ever.
    pub(super) full: Option<Duration>,
}

/// The limits for producers that wait for room, and for the end of the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backpressure {
    /// During the passes.
    pub(super) running: Limits,
    /// At the end of the program.
    pub(super) ending: Limits,
}

/// The stream of a line on the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Standard output; the file sink has only this one.
    Output,
    /// Standard error.
    Error,
}

/// Lines that are written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whole lines, each with its newline.
    pub(super) bytes: Vec<u8>,
    /// The target and the end of each run of bytes.
    pub(super) runs: Vec<(Target, usize)>,
    /// Lines that were dropped after these.
    pub(super) dropped: u64,
    /// True when the file is to be reopened before the write.
    pub(super) reopen: bool,
    lines: u64,
}

impl Batch {
    fn append(&mut self, line: &str, target: Target) {
        self.bytes.extend_from_slice(line.as_bytes());
        self.lines += 1;
        let end = self.bytes.len();
        match self.runs.last_mut() {
            Some((last, place)) if *last == target => *place = end,
            Some(_) | None => self.runs.push((target, end)),
        }
    }

    fn clear(&mut self) {
        if self.bytes.capacity() > 2 * LIMIT {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.runs.clear();
        self.dropped = 0;
        self.reopen = false;
        self.lines = 0;
    }

    fn is_empty(&self) -> bool {
        self.lines == 0 && self.dropped == 0 && !self.reopen
    }
}

/// The outcome of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The line waits to be written.
    Taken,
    /// The line was dropped, and so was one before it.
    Dropped,
    /// The line was dropped, as the first after the backpressure limit.
    FirstDropped,
    /// The queue is closed, and the line is lost.
    Closed,
}

/// The outcome of a wait for lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// There are lines.
    Lines,
    /// The time is over, or somebody has nudged.
    Nothing,
    /// The queue is closed and empty.
    End,
}

/// Shared by the producers and the writer.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// The writer waits here for lines.
    work: Condvar,
    /// Producers wait here for room, and callers of `flush` and `finish` for the writer.
    done: Condvar,
    backpressure: Backpressure,
    interrupt: Arc<Interrupt>,
}

#[derive(Debug)]
struct State {
    waiting: Batch,
    /// All lines handed in so far.
    handed: u64,
    /// All lines written or given up so far.
    settled: u64,
    /// The last time at which the writer made progress, or was idle.
    progress: Instant,
    /// The time since which the buffer is full.
    full_since: Option<Instant>,
    /// True from the first dropped line until the writer takes the buffer.
    dropping: bool,
    /// True while the writer is idle and waits for a line.
    resting: bool,
    /// True while a flush waits: the writer takes lines without a delay.
    urgent: bool,
    /// True when the writer is to look for something else than lines.
    nudged: bool,
    /// True when no more lines are accepted.
    closing: bool,
    /// True when the writer has ended.
    ended: bool,
}

impl Queue {
    pub(super) fn new(backpressure: Backpressure, interrupt: Arc<Interrupt>) -> Queue {
        let state = State {
            waiting: Batch::default(),
            handed: 0,
            settled: 0,
            progress: Instant::now(),
            full_since: None,
            dropping: false,
            resting: false,
            urgent: false,
            nudged: false,
            closing: false,
            ended: false,
        };
        Queue {
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
            backpressure,
            interrupt,
        }
    }

    /// Hands a line in, and waits for room within the limits.
    pub(super) fn push(&self, line: &str, target: Target) -> Pushed {
        let mut state = self.lock();
        while !state.closing && !state.dropping && is_full(&state, line) {
            let full_since = *state.full_since.get_or_insert_with(Instant::now);
            let limits = if self.interrupt.is_set() { SHUTDOWN } else { self.backpressure.running };
            match time_left(limits, state.progress, full_since) {
                Some(left) => state = self.wait(&self.done, state, left),
                None => {
                    state.dropping = true;
                    state.waiting.dropped += 1;
                    return Pushed::FirstDropped;
                }
            }
        }
        if state.closing {
            return Pushed::Closed;
        }
        if state.dropping {
            state.waiting.dropped += 1;
            return Pushed::Dropped;
        }
        self.append(state, line, target);
        Pushed::Taken
    }

    /// Hands a line in without waiting. For the few lines about the log itself, which come from a thread that others
    /// wait for. They may exceed [`LIMIT`], up to twice; beyond that they are dropped.
    pub(super) fn push_at_once(&self, line: &str, target: Target) {
        let mut state = self.lock();
        if state.closing {
            return;
        }
        if state.waiting.bytes.len() > 2 * LIMIT {
            state.waiting.dropped += 1;
            return;
        }
        self.append(state, line, target);
    }

    fn append(&self, mut state: MutexGuard<'_, State>, line: &str, target: Target) {
        let was_half_full = is_half_full(&state);
        state.waiting.append(line, target);
        state.handed += 1;
        // Not for every line: each wake-up is a system call.
        let wake = state.resting || (is_half_full(&state) && !was_half_full);
        if state.resting {
            // The writer was idle until now: that is no stall.
            state.resting = false;
            state.progress = Instant::now();
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Has the file reopened at once, even if no line waits: a log rotation may wait for the old file to be closed.
    pub(super) fn request_reopen(&self) {
        self.lock().waiting.reopen = true;
        self.work.notify_all();
    }

    /// The writer's side: settles the batch that was written, and fills it with the waiting lines. Waits if there are
    /// none. False when the queue is closed and empty.
    pub(super) fn take(&self, batch: &mut Batch) -> bool {
        loop {
            match self.take_within(batch, None) {
                Took::Lines => return true,
                Took::Nothing => {}
                Took::End => {
                    self.end();
                    return false;
                }
            }
        }
    }

    /// As [`Queue::take`], but waits no longer than this and only until [`Queue::nudge`]. After its end the writer calls
    /// [`Queue::end`].
    pub(super) fn take_within(&self, batch: &mut Batch, most: Option<Duration>) -> Took {
        let deadline = most.and_then(|most| Instant::now().checked_add(most));
        let mut state = self.lock();
        state.settled += batch.lines;
        batch.clear();
        state.progress = Instant::now();
        self.done.notify_all();
        let mut gathered = false;
        loop {
            if state.waiting.is_empty() {
                if state.closing {
                    return Took::End;
                }
                let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                if std::mem::take(&mut state.nudged) || left.is_some_and(|left| left.is_zero()) {
                    return Took::Nothing;
                }
                state.resting = true;
                state = match left {
                    Some(left) => {
                        self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                };
                state.resting = false;
            } else if !gathered && !state.urgent && !state.closing && !is_half_full(&state) {
                state = self.wait(&self.work, state, BATCH_DELAY);
                gathered = true;
            } else {
                std::mem::swap(batch, &mut state.waiting);
                state.progress = Instant::now();
                state.full_since = None;
                state.dropping = false;
                state.urgent = false;
                self.done.notify_all();
                return Took::Lines;
            }
        }
    }

    /// Lets the writer return from [`Queue::take_within`], even if no line waits.
    pub(super) fn nudge(&self) {
        self.lock().nudged = true;
        self.work.notify_one();
    }

    /// The writer's side: it has written everything and ends.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.done.notify_all();
    }

    /// The writer's side: notes that bytes were written.
    pub(super) fn progress(&self) {
        self.lock().progress = Instant::now();
    }

    /// The writer's side: ends the queue, and discards the waiting lines.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.ended = true;
        state.waiting.clear();
        drop(state);
        self.done.notify_all();
    }

    /// Waits until every line handed in before is written or given up. False when the writer stalls beyond the limit.
    pub(super) fn flush(&self) -> bool {
        let mut state = self.lock();
        let target = state.handed;
        let begin = Instant::now();
        loop {
            if state.settled >= target || state.ended {
                return true;
            }
            // Set in every round: `take` clears it with each batch.
            state.urgent = true;
            self.work.notify_one();
            let limits = if self.interrupt.is_set() { SHUTDOWN } else { self.backpressure.running };
            match time_left(Limits { full: None, ..limits }, state.progress, begin) {
                Some(left) => state = self.wait(&self.done, state, left),
                None => return false,
            }
        }
    }

    /// Closes the queue, and waits until the writer has ended or a limit is reached. Returns the number of lines that
    /// are dropped or may not be written any more.
    pub(super) fn finish(&self) -> u64 {
        self.close();
        let begin = Instant::now();
        let mut state = self.lock();
        loop {
            if state.ended {
                return 0;
            }
            let ending = self.backpressure.ending;
            let limits = if self.interrupt.is_set() {
                Limits { stall: SHUTDOWN.stall, full: ending.full.or(SHUTDOWN.full) }
            } else {
                ending
            };
            match time_left(limits, state.progress.max(begin), begin) {
                Some(left) => state = self.wait(&self.done, state, left),
                None => return state.handed - state.settled + state.waiting.dropped,
            }
        }
    }

    /// Accepts no more lines; the writer ends when the last one is written.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
        self.done.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked with the mutex held has at worst lost a line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        condition: &Condvar,
        state: MutexGuard<'a, State>,
        most: Duration,
    ) -> MutexGuard<'a, State> {
        condition.wait_timeout(state, most.min(POLL)).unwrap_or_else(PoisonError::into_inner).0
    }
}

fn is_full(state: &State, line: &str) -> bool {
    let waiting = state.waiting.bytes.len();
    waiting > 0 && waiting + line.len() > LIMIT
}

fn is_half_full(state: &State) -> bool {
    state.waiting.bytes.len() > LIMIT / 2
}

/// The time left to wait; none when a limit is reached.
fn time_left(limits: Limits, progress: Instant, begin: Instant) -> Option<Duration> {
    let mut left = Duration::MAX;
    for (limit, since) in [(limits.stall, progress), (limits.full, begin)] {
        if let Some(limit) = limit {
            left = left.min(limit.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?);
        }
    }
    Some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::signal::Signal;

    const SHORT: Limits = Limits { stall: Some(Duration::from_millis(20)), full: None };
    const ENDLESS: Limits = Limits { stall: None, full: None };

    fn queue(running: Limits) -> Arc<Queue> {
        let backpressure = Backpressure { running, ending: SHORT };
        Arc::new(Queue::new(backpressure, Arc::new(Interrupt::new())))
    }

    fn fill(queue: &Queue, line: &str) -> u64 {
        let mut taken = 0;
        while queue.push(line, Target::Output) == Pushed::Taken {
            taken += 1;
        }
        taken
    }

    #[test]
    fn lines_come_out_in_order_with_their_targets() {
        let queue = queue(ENDLESS);
        queue.push("a\n", Target::Output);
        queue.push("b\n", Target::Output);
        queue.push("c\n", Target::Error);
        queue.push("d\n", Target::Output);
        let mut batch = Batch::default();
        assert!(queue.take(&mut batch));
        assert_eq!(batch.bytes, b"a\nb\nc\nd\n");
        assert_eq!(batch.runs, [(Target::Output, 4), (Target::Error, 6), (Target::Output, 8)]);
        queue.close();
        assert!(!queue.take(&mut batch));
        assert_eq!(queue.push("e\n", Target::Output), Pushed::Closed);
        assert_eq!(queue.finish(), 0);
    }

    #[test]
    fn a_writer_with_something_else_to_do_waits_no_longer_than_it_wants() {
        let queue = queue(ENDLESS);
        let mut batch = Batch::default();
        assert_eq!(queue.take_within(&mut batch, Some(Duration::from_millis(5))), Took::Nothing);
        queue.nudge();
        assert_eq!(queue.take_within(&mut batch, None), Took::Nothing);
        queue.push("a\n", Target::Output);
        assert_eq!(queue.take_within(&mut batch, Some(Duration::ZERO)), Took::Lines);
        assert_eq!(batch.bytes, b"a\n");
        let nudging = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.nudge()
        });
        assert_eq!(queue.take_within(&mut batch, None), Took::Nothing);
        nudging.join().unwrap();
        queue.close();
        assert_eq!(queue.take_within(&mut batch, Some(Duration::MAX)), Took::End);
        queue.end();
        assert_eq!(queue.finish(), 0);
    }

    #[test]
    fn a_full_buffer_drops_after_its_patience_and_counts_exactly_until_it_is_taken() {
        let queue = queue(SHORT);
        let line = format!("{}\n", "x".repeat(1023));
        assert_eq!(fill(&queue, &line), 1024);
        for _ in 0..10 {
            assert_eq!(queue.push(&line, Target::Output), Pushed::Dropped);
        }
        assert!(!queue.flush());
        let mut batch = Batch::default();
        assert!(queue.take(&mut batch));
        assert_eq!((batch.lines, batch.dropped), (1024, 11));
        assert_eq!(queue.push(&line, Target::Output), Pushed::Taken);
        assert!(queue.take(&mut batch));
        assert_eq!((batch.lines, batch.dropped), (1, 0));
    }

    #[test]
    fn progress_lengthens_the_patience_only_up_to_the_whole_limit() {
        let queue = queue(Limits { stall: Some(Duration::MAX), full: Some(Duration::from_millis(20)) });
        let line = format!("{}\n", "x".repeat(LIMIT - 1));
        assert_eq!(fill(&queue, &line), 1);
    }

    #[test]
    fn a_line_larger_than_the_buffer_is_taken_when_nothing_waits() {
        let queue = queue(SHORT);
        let line = format!("{}\n", "x".repeat(2 * LIMIT));
        assert_eq!(fill(&queue, &line), 1);
    }

    #[test]
    fn endless_patience_ends_with_the_wish_to_stop() {
        let queue = queue(ENDLESS);
        let filler = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || fill(&queue, "line\n")
        });
        while !is_full(&queue.lock(), "line\n") {
            std::thread::yield_now();
        }
        assert!(!filler.is_finished());
        queue.interrupt.stop(Signal::Terminate);
        assert_eq!(filler.join().unwrap(), u64::try_from(LIMIT / 5).unwrap());
        assert!(!queue.flush());
        assert!(queue.finish() > 0);
    }

    #[test]
    fn a_writer_that_leaves_sets_everybody_free() {
        let queue = queue(ENDLESS);
        let filler = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || fill(&queue, "line\n")
        });
        while !is_full(&queue.lock(), "line\n") {
            std::thread::yield_now();
        }
        queue.abandon();
        filler.join().unwrap();
        assert!(queue.flush());
        assert_eq!(queue.finish(), 0);
    }

    #[test]
    fn flush_waits_for_what_was_handed_in_before() {
        let queue = queue(ENDLESS);
        let writer = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let (mut batch, mut all) = (Batch::default(), Vec::new());
                while queue.take(&mut batch) {
                    all.extend_from_slice(&batch.bytes);
                }
                all
            }
        });
        for round in 0..100 {
            queue.push(&format!("{round}\n"), Target::Output);
            assert!(queue.flush());
            assert_eq!(queue.lock().settled, round + 1);
        }
        assert_eq!(queue.finish(), 0);
        assert_eq!(writer.join().unwrap().iter().filter(|byte| **byte == b'\n').count(), 100);
    }
}
