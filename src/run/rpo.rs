//! Whether the replica is within its RPO; pure. `rpo_watch.rs` has the clock and the thread.
//!
//! The age of the replica is the time since the start of the last pass that was done. A miss is told when the age exceeds
//! the RPO, also in the middle of a pass. A prediction is made at the end of each pass: the age at the end of the next one
//! is expected to be the time until that one is due, and its duration ([`expected`]: the second longest of the last five),
//! on top of the age of now.

use crate::fs::clock::BootTime;
use crate::model::estimate::{SAMPLE, expected};
use std::collections::VecDeque;
use std::time::Duration;

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// At the end of the next pass the replica is expected to be this old.
    AtRisk(Duration),
    /// It is too old; its age, if it is known.
    Missed(Option<Duration>),
    /// It is within the RPO again, at this age.
    Met(Duration),
}

/// The judgement of one replica.
#[derive(Clone, Debug)]
pub(super) struct Rpo {
    rpo: Duration,
    /// A moment, and the age of the replica at that moment.
    at: (BootTime, Duration),
    /// False while the age is counted from the start of this process, because no pass is known to have been done.
    is_known: bool,
    durations: VecDeque<Duration>,
    is_missed: bool,
    is_at_risk: bool,
}

impl Rpo {
    /// Begins at this moment, with the age that the replica has then, if that is known.
    pub(super) fn new(rpo: Duration, now: BootTime, age: Option<Duration>) -> Rpo {
        Rpo {
            rpo,
            at: (now, age.unwrap_or_default()),
            is_known: age.is_some(),
            durations: VecDeque::new(),
            is_missed: false,
            is_at_risk: false,
        }
    }

    /// The RPO.
    pub(super) fn rpo(&self) -> Duration {
        self.rpo
    }

    /// The moment after which the RPO is missed; none if it is.
    pub(super) fn deadline(&self) -> Option<BootTime> {
        (!self.is_missed).then(|| self.at.0.plus(self.rpo.saturating_sub(self.at.1)))
    }

    /// Judges the age.
    pub(super) fn look(&mut self, now: BootTime) -> Option<News> {
        let age = self.age(now);
        if self.is_missed || age <= self.rpo {
            return None;
        }
        self.is_missed = true;
        Some(News::Missed(self.is_known.then_some(age)))
    }

    /// Takes in a pass that was done. Returns a miss that it ends, if nobody has looked before, and then the rest.
    pub(super) fn done(&mut self, started: BootTime, now: BootTime) -> [Option<News>; 2] {
        let missed = self.look(now);
        let duration = now.since(started);
        self.durations.push_front(duration);
        self.durations.truncate(SAMPLE);
        (self.at, self.is_known) = ((started, Duration::ZERO), true);
        let is_within = duration <= self.rpo;
        let next = if is_within {
            std::mem::take(&mut self.is_missed).then_some(News::Met(duration))
        } else {
            self.look(now)
        };
        [missed, next]
    }

    /// Predicts the age at the end of the next pass. A risk is told once, until it is over.
    pub(super) fn next_is_due(&mut self, due: BootTime) -> Option<News> {
        let end = due.plus(expected(self.durations.iter().copied())?);
        let age = self.age(end);
        let was_at_risk = self.is_at_risk;
        // A miss has been told already.
        self.is_at_risk = !self.is_missed && age > self.rpo;
        (self.is_at_risk && !was_at_risk).then_some(News::AtRisk(age))
    }

    fn age(&self, now: BootTime) -> Duration {
        self.at.1.saturating_add(now.since(self.at.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Step {
        /// A pass that was done, from start to end.
        Done(u64, u64),
        /// The next pass is due.
        Due(u64),
        Look(u64),
    }
    use Step::{Done, Due, Look};

    fn at(seconds: u64) -> BootTime {
        BootTime::from_start(Duration::from_secs(1000 + seconds))
    }

    /// All news of a story with an RPO of 20 s, in words.
    fn told(age: Option<u64>, steps: &[Step]) -> String {
        let mut rpo = Rpo::new(Duration::from_secs(20), at(0), age.map(Duration::from_secs));
        let mut told = Vec::new();
        for step in steps {
            match step {
                Done(started, now) => told.extend(rpo.done(at(*started), at(*now)).into_iter().flatten()),
                Due(due) => told.extend(rpo.next_is_due(at(*due))),
                Look(now) => told.extend(rpo.look(at(*now))),
            }
        }
        let words = told.iter().map(|news| match news {
            News::AtRisk(age) => format!("risk {}", age.as_secs()),
            News::Missed(Some(age)) => format!("missed {}", age.as_secs()),
            News::Missed(None) => "missed".to_owned(),
            News::Met(age) => format!("met {}", age.as_secs()),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_change_is_told_once() {
        let cases: [(&str, Option<u64>, &[Step], &str); 15] = [
            ("on time", None, &[Done(0, 1), Due(10), Done(10, 11), Due(20), Look(30)], ""),
            ("exactly at the RPO", Some(0), &[Look(20)], ""),
            ("a moment later", Some(0), &[Look(21), Look(22)], "missed 21"),
            ("nothing is known", None, &[Look(20), Look(21)], "missed"),
            ("an earlier process", Some(15), &[Look(5), Look(6)], "missed 21"),
            ("missed from the start", Some(500), &[Look(0), Done(0, 3), Look(20)], "missed 500, met 3"),
            ("nobody has looked", Some(0), &[Done(10, 25)], "missed 25, met 15"),
            ("a long first pass", None, &[Look(21), Done(0, 30), Done(30, 31)], "missed, met 1"),
            ("a pass longer than the RPO", Some(0), &[Done(0, 30)], "missed 30"),
            ("and it goes on", Some(0), &[Done(0, 30), Done(30, 55), Done(55, 56)], "missed 30, met 1"),
            (
                "slow passes",
                None,
                &[Done(0, 12), Due(12), Done(12, 24), Due(24)],
                "risk 24, missed 24, met 12",
            ),
            (
                "slow passes that become fast and slow",
                None,
                &[Done(0, 12), Due(12), Done(12, 13), Due(22), Done(22, 34), Due(34), Done(34, 46), Due(46)],
                "risk 24, missed 22, met 12, risk 24, missed 24, met 12",
            ),
            ("held passes", None, &[Done(0, 1), Due(10), Due(20), Due(30)], "risk 21"),
            ("a risk comes true", None, &[Done(0, 1), Due(20), Look(21), Due(30)], "risk 21, missed 21"),
            ("without a pass nothing is predicted", Some(19), &[Due(10)], ""),
        ];
        for (name, age, steps, expected) in cases {
            assert_eq!(told(age, steps), expected, "{name}");
        }
    }

    #[test]
    fn the_deadline_follows_the_last_pass_and_is_off_after_a_miss() {
        let mut rpo = Rpo::new(Duration::from_secs(20), at(0), Some(Duration::from_secs(5)));
        assert_eq!(rpo.deadline(), Some(at(15)));
        rpo.done(at(10), at(11));
        assert_eq!(rpo.deadline(), Some(at(30)));
        rpo.look(at(31));
        assert_eq!(rpo.deadline(), None);
        rpo.done(at(40), at(41));
        assert_eq!(rpo.deadline(), Some(at(60)));
        let old = Rpo::new(Duration::from_secs(20), at(0), Some(Duration::from_secs(500)));
        assert_eq!(old.deadline(), Some(at(0)));
    }
}
