//! Retries: what failed for a reason of the moment is tried again before the deletions, what found no room after them.

use crate::apply::error::{Failed, Hope};
use crate::apply::{Apply, Job, lock};
use crate::model::change::Verb;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is tried again, and when.
#[derive(Default)]
pub(super) struct Again {
    now: Mutex<Vec<Job>>,
    after_deletions: Mutex<Vec<Job>>,
    /// Set once nothing is tried again for a reason of the moment.
    is_second_try: AtomicBool,
    /// Set once nothing is tried again any more.
    is_last_try: AtomicBool,
}

impl Again {
    /// Whether nothing is tried again any more.
    pub(super) fn is_last_try(&self) -> bool {
        self.is_last_try.load(Ordering::Relaxed)
    }

    /// Keeps a job for another try, if there is to be one.
    pub(super) fn keep(&self, job: &Job, failed: &Failed) -> bool {
        let (jobs, is_over) = match failed.hope() {
            Hope::Soon => (&self.now, &self.is_second_try),
            Hope::AfterDeletions => (&self.after_deletions, &self.is_last_try),
            Hope::None => return false,
        };
        let keeps = !is_over.load(Ordering::Relaxed);
        if keeps {
            lock(jobs).push(job.clone());
        }
        keeps
    }
}

impl Apply<'_> {
    /// What failed for a reason of the moment is tried once more, before anything goes that may be its old name.
    pub(super) fn try_again_now(&self) {
        self.again.is_second_try.store(true, Ordering::Relaxed);
        let jobs = std::mem::take(&mut *lock(&self.again.now));
        if jobs.is_empty() || self.context.is_halted() {
            return;
        }
        self.context.workers.scope(|scope| {
            for job in jobs {
                if job.verb != Verb::Retype || !self.is_too_early(&job.pair, &job.name) {
                    self.touch(&job.pair);
                    self.start(scope, job, None);
                }
            }
        });
        self.finish_waiting();
    }

    /// What found no room before the deletions, or its name taken, is tried once more.
    pub(super) fn try_for_the_last_time(&self) {
        self.again.is_last_try.store(true, Ordering::Relaxed);
        let jobs = std::mem::take(&mut *lock(&self.again.after_deletions));
        if jobs.is_empty() {
            return;
        }
        self.anchors.try_again();
        // One after the other: what does not fit must not take the room, while it tries, from what does.
        for job in jobs {
            let is_too_early = || job.verb == Verb::Retype && self.is_too_early(&job.pair, &job.name);
            if !self.context.is_halted() && !is_too_early() {
                self.touch(&job.pair);
                self.context.workers.scope(|scope| self.start(scope, job, None));
            }
        }
        self.finish_waiting();
        if self.may_remove(false) {
            self.remove_leftovers();
        }
    }
}
