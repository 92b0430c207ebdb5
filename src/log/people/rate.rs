//! The speed of something that is counted, over the last minute, and the time that the rest will take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time over which the speed is measured. A shorter one makes the time that is left jump.
const WINDOW: Duration = Duration::from_secs(60);

/// The time between two samples.
const STEP: Duration = Duration::from_secs(1);

/// A shorter time tells nothing of the rest.
const LEAST: Duration = Duration::from_secs(5);

/// Samples of a number that grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    /// Notes the number at this moment.
    pub(super) fn note(&mut self, now: Instant, number: u64) {
        if self.0.back().is_some_and(|(last, _)| now.duration_since(*last) < STEP) {
            return;
        }
        self.0.push_back((now, number));
        while self.0.len() > 2 && self.0.front().is_some_and(|(then, _)| now.duration_since(*then) > WINDOW) {
            self.0.pop_front();
        }
    }

    /// The increase in a second; none within the first second.
    pub(super) fn of(&self, now: Instant, number: u64) -> Option<f64> {
        let (then, before) = self.0.front()?;
        let time = now.duration_since(*then);
        (time >= STEP).then(|| number.saturating_sub(*before) as f64 / time.as_secs_f64())
    }

    /// The time until so much more is done; none in the first seconds, and while nothing is done.
    pub(super) fn left(&self, now: Instant, number: u64, rest: u64) -> Option<Duration> {
        let (first, _) = self.0.front()?;
        let rate = self.of(now, number).filter(|rate| *rate > 0.0)?;
        let is_known = now.duration_since(*first) >= LEAST;
        is_known.then(|| Duration::try_from_secs_f64(rest as f64 / rate).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_minute() {
        let (start, mut rate) = (Instant::now(), Rate::default());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        rate.note(start, 0);
        assert_eq!((rate.of(start, 0), rate.left(start, 0, 100)), (None, None));
        for second in 1..=100 {
            rate.note(at(second), second * 10);
            assert_eq!(rate.of(at(second), second * 10), Some(10.0));
        }
        // Ten times as fast from here on: after a minute nothing is left of the time before.
        for second in 101..=161 {
            rate.note(at(second), 1000 + (second - 100) * 100);
        }
        assert_eq!(rate.of(at(161), 7100), Some(100.0));
    }

    #[test]
    fn the_time_that_is_left_is_told_after_some_seconds_and_does_not_jump() {
        let (start, mut rate) = (Instant::now(), Rate::default());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut before: Option<f64> = None;
        for second in 0..=100 {
            // Seconds in which much is done follow on seconds in which little is.
            let done = second * 10 + if second % 2 == 0 { 9 } else { 0 };
            rate.note(at(second), done);
            let left = rate.left(at(second), done, 2000 - done).map(|left| left.as_secs_f64());
            assert_eq!(left.is_some(), second >= 5, "{second}");
            if let (Some(before), Some(left), 20..) = (before, left, second) {
                assert!((before - left).abs() < 15.0, "{before} {left}");
            }
            before = left;
        }
    }

    #[test]
    fn nothing_is_told_while_nothing_is_done() {
        let (start, mut rate) = (Instant::now(), Rate::default());
        rate.note(start, 5);
        assert_eq!(rate.left(start + Duration::from_secs(30), 5, 100), None);
    }
}
