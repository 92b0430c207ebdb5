//! How far one pass is: its phase, its live counters, and their speed.

use super::LONG;
use super::live::{Reading, Writing, reading, syncing, writing};
use super::rate::Rate;
use super::summary::Bytes;
use crate::control::Interrupt;
use crate::model::change::Verb;
use crate::model::counters::{Counter, Counters, Counts, Tally};
use crate::model::event::Phase;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The cost of a change beside its bytes, in bytes: creating a file takes about as long as writing so much.
const CHANGE: u64 = 64 << 10;

/// A call to the disk that takes longer than this is told.
const SLOW_DISK: Duration = Duration::from_secs(1);

/// A pass, from its start until the next one of its job starts.
#[derive(Debug)]
pub(super) struct Running {
    job: Option<String>,
    number: u64,
    began: Instant,
    stage: Stage,
    counters: Option<Arc<Counters>>,
    /// The totals of the plan.
    plan: Counts,
    /// The bytes of the operations so far.
    bytes: Bytes,
    entries: Rate,
    content: Rate,
    work: Rate,
    /// A number that changes with each progress, and since when it has not while a call waits for the disk.
    disk: Option<(u64, Instant)>,
}

/// The stage of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the survey, and between it and the first change.
    Between,
    Reading,
    Writing,
    Syncing(Instant),
    Ended,
}

impl Running {
    /// A pass that begins.
    pub(super) fn new(job: Option<&str>, number: u64, began: Instant) -> Running {
        Running {
            job: job.map(str::to_owned),
            number,
            began,
            stage: Stage::Between,
            counters: None,
            plan: Counts::default(),
            bytes: Bytes::default(),
            entries: Rate::default(),
            content: Rate::default(),
            work: Rate::default(),
            disk: None,
        }
    }

    /// Whether it belongs to another job.
    pub(super) fn is_not_of(&self, job: Option<&str>) -> bool {
        self.job.as_deref() != job
    }

    /// Whether it has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.stage != Stage::Ended
    }

    /// Takes the next phase. True: there is something else to show.
    pub(super) fn reaches(&mut self, phase: &Phase<'_>, now: Instant) -> bool {
        self.stage = match phase {
            Phase::Surveying { counters } => {
                self.counters = Some(Arc::clone(counters));
                Stage::Reading
            }
            Phase::Surveyed(counts) => {
                self.plan = **counts;
                Stage::Between
            }
            Phase::Applying => {
                (self.content, self.entries) = (Rate::default(), Rate::default());
                Stage::Writing
            }
            Phase::Syncing => Stage::Syncing(now),
        };
        true
    }

    /// Adds the bytes of an operation.
    pub(super) fn add(&mut self, verb: Verb, bytes: u64) {
        self.bytes.add(verb, bytes);
    }

    /// The bytes that it has handled.
    pub(super) fn bytes(&self) -> Bytes {
        let mut bytes = self.bytes;
        bytes.unchanged = self.counters.as_ref().map_or(0, |counters| counters.tally(Tally::BytesUnchanged));
        bytes
    }

    /// It has ended.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Ended;
    }

    /// The live line; none for a short pass.
    pub(super) fn line(&mut self, now: Instant, columns: usize, interrupt: &Interrupt) -> Option<String> {
        let counters = Arc::clone(self.counters.as_ref()?);
        let is_long = now.duration_since(self.began) >= LONG;
        match self.stage {
            Stage::Between | Stage::Ended => None,
            Stage::Reading => {
                let (entries, read) = (counters.tally(Tally::Names), counters.get(Counter::BytesRead));
                self.entries.note(now, entries);
                self.content.note(now, read);
                let state = Reading {
                    entries,
                    changes: counters.tally(Tally::Changes),
                    entries_per_second: self.entries.of(now, entries),
                    bytes: read,
                    bytes_per_second: self.content.of(now, read),
                };
                is_long.then(|| reading(self.number, state, columns))
            }
            Stage::Writing => {
                let state = self.written(now, &counters, interrupt);
                is_long.then(|| writing(state, columns))
            }
            Stage::Syncing(since) => {
                is_long.then(|| syncing(self.number, now.duration_since(since), columns))
            }
        }
    }

    fn written(&mut self, now: Instant, counters: &Counters, interrupt: &Interrupt) -> Writing {
        let (all, all_bytes) = (self.plan.operations(), self.plan[Counter::BytesToWrite]);
        let done = counters.read().operations().min(all);
        // Holes are not written, and neither is what a clone has already: a file that is done counts as a whole.
        let bytes = counters.get(Counter::BytesWritten).max(self.bytes.copied()).min(all_bytes);
        let work = |changes: u64, bytes: u64| bytes.saturating_add(changes.saturating_mul(CHANGE));
        let (done_work, all_work) = (work(done, bytes), work(all, all_bytes));
        self.entries.note(now, done);
        self.content.note(now, bytes);
        self.work.note(now, done_work);
        Writing {
            changes: (done, all),
            bytes: (bytes, all_bytes),
            part: if all_work == 0 { 1.0 } else { done_work as f64 / all_work as f64 },
            changes_per_second: self.entries.of(now, done),
            bytes_per_second: self.content.of(now, bytes),
            left: self.work.left(now, done_work, all_work - done_work),
            waits_for_disk: self.waits_for_disk(now, interrupt),
        }
    }

    fn waits_for_disk(&mut self, now: Instant, interrupt: &Interrupt) -> bool {
        let pulse = interrupt.pulse();
        match self.disk {
            _ if !interrupt.waits_for_disk() => {
                self.disk = None;
                false
            }
            Some((same, since)) if same == pulse => now.duration_since(since) >= SLOW_DISK,
            Some(_) | None => {
                self.disk = Some((pulse, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn each_phase_has_its_line_once_the_pass_is_long() {
        let (start, interrupt) = (Instant::now(), Interrupt::new());
        let mut pass = Running::new(None, 3, start);
        assert_eq!(pass.line(at(start, 9), 80, &interrupt), None, "nothing is counted yet");
        let counters = Arc::new(Counters::default());
        pass.reaches(&Phase::Surveying { counters: &counters }, start);
        assert_eq!(pass.line(start, 80, &interrupt), None, "it may be a short one");
        counters.add_to(Tally::Names, 4000);
        counters.add_to(Tally::Changes, 3);
        counters.add(Counter::BytesRead, 2048);
        let line = pass.line(at(start, 2), 80, &interrupt).unwrap();
        assert_eq!(line, "pass 3 reads both trees: 4,000 entries, 3 changes, 2,000/s, 2 KiB read, 1 KiB/s");

        let plan = Counts::from_iter([(Counter::Created, 10), (Counter::BytesToWrite, 100 << 20)]);
        pass.reaches(&Phase::Surveyed(&plan), at(start, 3));
        assert_eq!(pass.line(at(start, 3), 80, &interrupt), None);
        pass.reaches(&Phase::Applying, at(start, 3));
        let line = pass.line(at(start, 3), 80, &interrupt).unwrap();
        assert_eq!(line, "[>                   ] 0 %, 0 of 10 changes, 0 B of 100 MiB");
        counters.add(Counter::Created, 5);
        counters.add(Counter::BytesWritten, 20 << 20);
        // A sparse file of 50 MiB is done.
        pass.add(Verb::Create, 50 << 20);
        let line = pass.line(at(start, 13), 80, &interrupt).unwrap();
        assert_eq!(line, "[====>   ] 50 %, 5 of 10, 50 of 100 MiB, 5 MiB/s, 15 s left");
        pass.reaches(&Phase::Syncing, at(start, 13));
        assert_eq!(pass.line(at(start, 15), 80, &interrupt).unwrap(), "pass 3: writing to disk, 2 s");
        pass.end();
        assert_eq!(pass.line(at(start, 16), 80, &interrupt), None);
        assert_eq!(pass.bytes().of(Verb::Create), 50 << 20);
    }

    #[test]
    fn a_long_wait_for_the_disk_has_words_of_its_own() {
        let (start, interrupt) = (Instant::now(), Interrupt::new());
        let mut pass = Running::new(None, 1, start);
        pass.reaches(&Phase::Surveying { counters: &Arc::default() }, start);
        pass.reaches(&Phase::Surveyed(&Counts::from_iter([(Counter::Created, 2)])), start);
        pass.reaches(&Phase::Applying, start);
        let mut told =
            |seconds| pass.line(at(start, seconds), 80, &interrupt).unwrap().ends_with(", writing to disk");
        interrupt.begin_disk_wait();
        assert_eq!([told(2), told(4)], [false, true]);
        interrupt.beat();
        assert!(!told(5), "another thread goes on");
        interrupt.end_disk_wait();
        assert_eq!([told(6), told(8)], [false, false]);
    }
}
