//! The rate limit of `--bwlimit`: a token bucket that all workers of a mirror share.
//!
//! The bucket is stored as one moment: the time at which everything that has been let through is paid for at the rate.
//! Bytes are paid for before they are read, and may pass once that moment, less the burst, has come. So many workers
//! together keep the rate, and each waits for its turn in the order of asking. Only of a file that shows no size the bytes
//! are paid for after the read.
//!
//! The clock is `CLOCK_MONOTONIC`, which stops during suspension: a computer that wakes up has no rate saved up.
//!
//! Rejected: a bucket that is charged after the read. Each of 32 workers would read its first piece at once.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The rate that an idle time saves up, as a time.
const BURST: Duration = Duration::from_millis(250);

/// The longest sleep between two looks at the stop flag.
const SLICE: Duration = Duration::from_millis(50);

/// Limits the bytes per second of all threads that share it.
#[derive(Debug)]
pub(crate) struct Throttle {
    bucket: Mutex<Bucket>,
    epoch: Instant,
}

impl Throttle {
    /// A limit of so many bytes per second, with nothing saved up.
    pub(crate) fn new(bytes_per_second: NonZeroU64) -> Throttle {
        Throttle { bucket: Mutex::new(Bucket::new(bytes_per_second)), epoch: Instant::now() }
    }

    /// Waits until so many bytes may pass, or until `goes_on`, which is asked every 50 ms, says no.
    pub(crate) fn wait(&self, bytes: u64, goes_on: impl Fn() -> bool) {
        let now = || self.epoch.elapsed();
        let turn = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).admit(bytes, now());
        loop {
            let left = turn.saturating_sub(now());
            if left.is_zero() || !goes_on() {
                return;
            }
            sleep(left.min(SLICE));
        }
    }
}

/// The token bucket; pure.
#[derive(Debug)]
struct Bucket {
    bytes_per_second: NonZeroU64,
    /// The time at which all bytes so far are paid for.
    paid_at: Duration,
}

impl Bucket {
    fn new(bytes_per_second: NonZeroU64) -> Bucket {
        Bucket { bytes_per_second, paid_at: Duration::ZERO }
    }

    /// Takes the tokens of so many bytes, and returns the time from which on they may pass. It has passed if the bucket
    /// had enough.
    fn admit(&mut self, bytes: u64, now: Duration) -> Duration {
        let turn = self.paid_at.max(now.saturating_sub(BURST));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let price = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_at = turn.saturating_add(price);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_strategies::pure;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::cell::Cell;

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(bytes_per_second: u64) -> Bucket {
        Bucket::new(NonZeroU64::new(bytes_per_second).unwrap())
    }

    #[test]
    fn pieces_pass_one_after_the_other_at_the_rate() {
        let mut bucket = bucket(1000);
        // At the same moment, as by many workers at once.
        let turns: Vec<Duration> = (0..4).map(|_| bucket.admit(500, Duration::ZERO)).collect();
        assert_eq!(turns, [0, 500, 1000, 1500].map(Duration::from_millis));
    }

    #[test]
    fn an_idle_hour_saves_up_a_quarter_of_a_second() {
        let mut bucket = bucket(1000);
        bucket.admit(1000, Duration::ZERO);
        let hour = 3600 * SECOND;
        let turns: Vec<Duration> = (0..4).map(|_| bucket.admit(125, hour)).collect();
        let later = |turn: &Duration| turn.as_millis() as i64 - hour.as_millis() as i64;
        assert_eq!(turns.iter().map(later).collect::<Vec<_>>(), [-250, -125, 0, 125]);
    }

    #[test]
    fn nothing_is_saved_up_before_the_first_byte() {
        let mut bucket = bucket(1000);
        assert_eq!(bucket.admit(1000, Duration::ZERO), Duration::ZERO);
        assert_eq!(bucket.admit(1, Duration::ZERO), SECOND);
    }

    #[test]
    fn no_size_and_no_rate_overflows() {
        for (rate, bytes) in [(1, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 1), (1, 0)] {
            let mut bucket = bucket(rate);
            for now in [Duration::ZERO, SECOND, Duration::MAX] {
                bucket.admit(bytes, now);
            }
        }
    }

    #[test]
    fn a_wait_ends_at_once_when_the_pass_is_to_end() {
        let throttle = Throttle::new(NonZeroU64::MIN);
        throttle.wait(1 << 40, || true);
        let asked = Cell::new(0);
        throttle.wait(1, || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        });
        assert_eq!(asked.get(), 3, "it is asked again and again, and once it says no the wait is over");
    }

    proptest! {
        #![proptest_config(pure())]

        #[test]
        fn in_any_span_no_more_passes_than_the_rate_and_the_burst(
            rate in 1024..100_000_000u64,
            pieces in vec((1..=131_072u64, 0..400_000_000u64), 1..60),
        ) {
            let mut bucket = bucket(rate);
            let (mut now, mut passed) = (Duration::ZERO, Vec::new());
            for (bytes, pause) in pieces {
                now += Duration::from_nanos(pause);
                let turn = bucket.admit(bytes, now);
                // A worker that waits asks for the next piece after that.
                now = now.max(turn);
                passed.push((now, bytes));
            }
            for from in 0..passed.len() {
                for to in from..passed.len() {
                    let span = passed[to].0 - passed[from].0 + BURST;
                    // The last piece passes whole when its turn comes.
                    let bytes: u64 = passed[from..to].iter().map(|(_, bytes)| bytes).sum();
                    // Each price is rounded down to a nanosecond.
                    let allowed = span.as_secs_f64() * rate as f64 + 10.0;
                    prop_assert!(bytes as f64 <= allowed, "{bytes} bytes in {span:?}, {allowed} allowed");
                }
            }
        }
    }
}
