//! The watch on the RPO: tells a miss at the moment it happens, also while a pass hangs, from a thread of its own.

use crate::fs::Errno;
use crate::fs::clock::{BootTime, Timer, Waker};
use crate::model::event::{Event, Monitor};
use crate::run::rpo::{News, Rpo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, scope};
use std::time::Duration;

/// The deadline itself is within the RPO.
const JUST_AFTER: Duration = Duration::from_millis(1);

/// For a wait that only a wake-up ends.
const FOR_EVER: BootTime = BootTime::from_start(Duration::MAX);

/// Judges the age of the replica while passes repeat.
#[derive(Debug)]
pub struct RpoWatch {
    rpo: Mutex<Rpo>,
    timer: Timer,
    waker: Arc<Waker>,
    is_over: AtomicBool,
}

impl RpoWatch {
    /// A watch that begins now, with the age that the replica has by the passes of earlier processes, if that is known.
    /// Without it the age is counted from now.
    ///
    /// # Errors
    /// As [`Timer::new`].
    pub fn new(rpo: Duration, age: Option<Duration>) -> Result<RpoWatch, Errno> {
        RpoWatch::from(BootTime::now(), rpo, age)
    }

    /// As [`RpoWatch::new`], from another moment.
    ///
    /// # Errors
    /// As [`Timer::new`].
    pub(super) fn from(now: BootTime, rpo: Duration, age: Option<Duration>) -> Result<RpoWatch, Errno> {
        let timer = Timer::new()?;
        let waker = timer.waker();
        let rpo = Mutex::new(Rpo::new(rpo, now, age));
        Ok(RpoWatch { rpo, timer, waker, is_over: AtomicBool::new(false) })
    }

    /// Does some work, and tells misses while it is done. Without a thread for it, a miss is told at the end of the pass
    /// that ends it.
    pub fn during<T>(&self, monitor: &dyn Monitor, work: impl FnOnce() -> T) -> T {
        scope(|scope| {
            // Joined at the end of the scope, if it could be started.
            let _ = Builder::new().name("rpo".into()).spawn_scoped(scope, || self.wait(monitor));
            let _end = End(self);
            work()
        })
    }

    fn wait(&self, monitor: &dyn Monitor) {
        while !self.is_over.load(Ordering::SeqCst) {
            let news = self.rpo().look(BootTime::now());
            self.tell(news, monitor);
            let deadline = self.rpo().deadline().map_or(FOR_EVER, |deadline| deadline.plus(JUST_AFTER));
            if self.timer.wait_until(deadline).is_err() {
                return;
            }
        }
    }

    /// Takes in a pass that was done.
    pub(crate) fn done(&self, started: BootTime, now: BootTime, monitor: &dyn Monitor) {
        let news = self.rpo().done(started, now);
        self.tell(news.into_iter().flatten(), monitor);
        self.waker.wake();
    }

    /// Predicts whether the next pass, which is due then, meets the RPO.
    pub(crate) fn next_is_due(&self, due: BootTime, monitor: &dyn Monitor) {
        let news = self.rpo().next_is_due(due);
        self.tell(news, monitor);
    }

    fn tell(&self, news: impl IntoIterator<Item = News>, monitor: &dyn Monitor) {
        for news in news {
            let rpo = self.rpo().rpo();
            monitor.event(&match news {
                News::AtRisk(expected) => Event::RpoAtRisk { rpo, expected },
                News::Missed(age) => Event::RpoMissed { rpo, age },
                News::Met(age) => Event::RpoMet { rpo, age },
            });
        }
    }

    fn rpo(&self) -> MutexGuard<'_, Rpo> {
        self.rpo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a watch, also after a panic: the scope waits for its thread.
struct End<'a>(&'a RpoWatch);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
        self.0.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Teller(Mutex<Sender<&'static str>>);

    impl Monitor for Teller {
        fn event(&self, event: &Event<'_>) {
            let words = [
                (matches!(event, Event::RpoMissed { .. }), "missed"),
                (matches!(event, Event::RpoMet { .. }), "met"),
            ];
            let (_, word) = words.into_iter().find(|(is_it, _)| *is_it).unwrap();
            self.0.lock().unwrap().send(word).unwrap();
        }
    }

    #[test]
    fn a_miss_is_told_while_the_work_hangs_and_the_watch_ends_with_the_work() {
        let (sender, heard) = channel();
        let teller = Teller(Mutex::new(sender));
        let hour = Duration::from_secs(3600);
        let watch = RpoWatch::new(hour, Some(hour - Duration::from_millis(50))).unwrap();
        let next = || heard.recv_timeout(Duration::from_secs(60)).unwrap();
        watch.during(&teller, || {
            assert_eq!(next(), "missed");
            watch.done(BootTime::now(), BootTime::now(), &teller);
            assert_eq!(next(), "met");
        });
        let watch = RpoWatch::new(hour, None).unwrap();
        let panic = std::panic::AssertUnwindSafe(|| watch.during(&teller, || panic!("a mistake")));
        assert!(std::panic::catch_unwind(panic).is_err(), "it does not wait for ever");
        assert!(heard.try_recv().is_err());
    }
}
