//! Retries: transient failures are retried before the deletions, failures for want of room after them.

use crate::apply::error::{Failed, Hope};
use crate::apply::job::Job;
use crate::apply::{Apply, lock};
use crate::model::change::Verb;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The jobs to retry, by the time of the retry.
#[derive(Default)]
pub(super) struct Again {
    now: Mutex<Vec<Job>>,
    after_deletions: Mutex<Vec<Job>>,
    /// Set when transient failures are not retried any more.
    is_second_try: AtomicBool,
    /// Set when nothing is retried any more.
    is_last_try: AtomicBool,
}

impl Again {
    /// Whether nothing is retried any more.
    pub(super) fn is_last_try(&self) -> bool {
        self.is_last_try.load(Ordering::Relaxed)
    }

    /// Keeps a job for a retry, if there is to be one.
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
    /// Retries transient failures once, before the deletion of anything that may be an old name.
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

    /// Retries once the jobs that found no room, or their name taken, before the deletions.
    pub(super) fn try_for_the_last_time(&self) {
        self.again.is_last_try.store(true, Ordering::Relaxed);
        let jobs = std::mem::take(&mut *lock(&self.again.after_deletions));
        if jobs.is_empty() {
            return;
        }
        self.anchors.try_again();
        // One after the other: a file that does not fit must not, while it is tried, take the room of one that does.
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
