//! The start times of passes: arithmetic alone. Starts lie on a grid of one interval, so that late wake-ups do not add up to
//! a drift. Where a start cannot lie on it (a pass overran, somebody asked for one, the computer was suspended), the grid
//! begins anew with that start. Passes that were missed are not made up for: the next one brings the replica up to date.

use crate::fs::clock::BootTime;
use crate::model::interval::Interval;
use std::time::Duration;

/// Start-to-start arithmetic; pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartTimes {
    interval: Duration,
    due: BootTime,
}

impl StartTimes {
    /// A grid whose first start is due now.
    pub(crate) fn new(interval: Interval, now: BootTime) -> StartTimes {
        StartTimes { interval: interval.length(), due: now }
    }

    /// The time at which the next pass is due.
    pub(crate) fn due(&self) -> BootTime {
        self.due
    }

    /// Starts a pass: the next is due one interval after this one was due.
    ///
    /// If it starts early because it was requested, or so late that it was no ordinary wake-up (the computer was
    /// suspended, the process stopped), the next is due one interval after now.
    pub(crate) fn start(&mut self, now: BootTime) {
        let is_early = now < self.due;
        let is_late = now.since(self.due) > self.tolerance();
        let start = if is_early || is_late { now } else { self.due };
        self.due = start.plus(self.interval);
    }

    /// Ends a pass. If the next was due before now, returns by how much, and makes it due now.
    pub(crate) fn end(&mut self, now: BootTime) -> Option<Duration> {
        let overrun = now.since(self.due);
        if overrun.is_zero() {
            return None;
        }
        self.due = now;
        Some(overrun)
    }

    /// The greatest delay of a wake-up on a busy computer before the grid begins anew.
    fn tolerance(&self) -> Duration {
        (self.interval / 2).min(Duration::from_secs(1))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) const BOOT: BootTime = BootTime::from_start(Duration::from_secs(1_000));

    pub(crate) fn at(seconds: f64) -> BootTime {
        BOOT.plus(Duration::from_secs_f64(seconds))
    }

    pub(crate) fn interval(seconds: u64) -> Interval {
        Interval::new(Duration::from_secs(seconds)).expect("valid")
    }

    #[test]
    fn the_grid_neither_drifts_nor_catches_up() {
        // Interval 10. Each case: starts and ends of passes, then the time when the next is due and the last overrun.
        type Case = (&'static str, &'static [(f64, f64)], f64, Option<f64>);
        let cases: [Case; 12] = [
            ("a quick pass", &[(0.0, 3.0)], 10.0, None),
            ("late wake-ups do not add up", &[(0.0, 1.0), (10.2, 11.0), (20.3, 21.0)], 30.0, None),
            ("exactly as long as the interval", &[(0.0, 10.0)], 10.0, None),
            ("an overrun", &[(0.0, 12.5)], 12.5, Some(2.5)),
            ("by many intervals", &[(0.0, 75.0)], 75.0, Some(65.0)),
            ("the grid begins anew after an overrun", &[(0.0, 12.5), (12.5, 13.0)], 22.5, None),
            ("overrun after overrun", &[(0.0, 12.0), (12.0, 25.0)], 25.0, Some(3.0)),
            ("a late wake-up counts as part of the pass", &[(0.0, 1.0), (10.5, 20.25)], 20.25, Some(0.25)),
            ("asked for early", &[(0.0, 1.0), (4.0, 5.0)], 14.0, None),
            ("suspended between passes", &[(0.0, 1.0), (95.0, 96.0)], 105.0, None),
            ("suspended for less than an interval", &[(0.0, 1.0), (19.0, 21.0)], 29.0, None),
            ("suspended during a pass", &[(0.0, 500.0), (500.0, 501.0)], 510.0, None),
        ];
        for (name, passes, due, overrun) in cases {
            let mut start_times = StartTimes::new(interval(10), BOOT);
            let mut last = None;
            for (start, end) in passes {
                start_times.start(at(*start));
                last = start_times.end(at(*end));
            }
            assert_eq!(start_times.due(), at(due), "{name}");
            assert_eq!(last, overrun.map(Duration::from_secs_f64), "{name}");
        }
    }

    #[test]
    fn years_of_passes_start_on_the_second() {
        let mut start_times = StartTimes::new(interval(60), BOOT);
        for pass in 0..1_000_000 {
            let due = start_times.due();
            assert_eq!(due, BOOT.plus(Duration::from_secs(60 * pass)));
            let late = Duration::from_millis(pass % 999);
            start_times.start(due.plus(late));
            assert_eq!(start_times.end(due.plus(late + Duration::from_secs(5))), None);
        }
    }
}
