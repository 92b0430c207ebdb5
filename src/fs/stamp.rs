//! The clock of filesystem timestamps, and the start of a pass on it.
//!
//! Linux stamps by the coarse form of `CLOCK_REALTIME` (`ktime_get_coarse_real_ts64`): the time of the last tick, up to
//! 10 ms ago. Since Linux 6.13 ext4, XFS, btrfs and tmpfs stamp finer where the last stamp has been read (multigrain
//! timestamps), and never earlier than a stamp given before. So no stamp is later than its change, and one may be a
//! tick earlier. A pass notes the exact time and waits for one tick before its first read: a change before that time
//! has no later stamp, and a change during the pass has one.
//!
//! RACE: where another machine stamps (NFS, SMB, sshfs), its clock counts. If it is a second ahead of ours, a change in
//! the second before the pass seems to have happened during it; if it is a second behind, a change in the first second
//! of the pass seems to precede it. The same goes for filesystems with coarse stamps: a second for ext4 with inodes of
//! 128 bytes and for many FUSE filesystems, two for vfat.

use crate::fs::clock::BootTime;
use crate::model::entry::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::thread::sleep;
use std::time::Duration;

/// The start of a pass, by the clock of filesystem timestamps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    stamp: Timestamp,
    boot: BootTime,
}

impl Start {
    /// Now.
    pub(crate) fn now() -> Start {
        Start { stamp: now(), boot: BootTime::now() }
    }

    /// Waits until any further change gets a later stamp: for a tick of the clock, most of which has passed while the
    /// pass was prepared.
    pub(crate) fn let_tick(&self) {
        // Longer than any tick. If that does not help, the clock is being set back.
        for _ in 0..50 {
            if read(ClockId::RealtimeCoarse) > self.stamp {
                return;
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// The latest stamp of an earlier change, on the clock as it is set now: setting the clock back makes stamps
    /// earlier.
    pub(crate) fn stamp(&self) -> Timestamp {
        // In this order: a delay between the two makes the result later, and a later result is not used.
        let elapsed = BootTime::now().since(self.boot);
        on_clock(self.stamp, now(), elapsed)
    }
}

/// The earlier of a start and the time that a clock showing `now` would have shown then.
fn on_clock(start: Timestamp, now: Timestamp, elapsed: Duration) -> Timestamp {
    start.min(back(now, elapsed))
}

/// The present time.
pub(crate) fn now() -> Timestamp {
    read(ClockId::Realtime)
}

fn back(from: Timestamp, by: Duration) -> Timestamp {
    let whole = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
    let seconds = from.seconds.saturating_sub(whole);
    match from.nanoseconds.checked_sub(by.subsec_nanos()) {
        Some(nanoseconds) => Timestamp { seconds, nanoseconds },
        None => Timestamp {
            seconds: seconds.saturating_sub(1),
            nanoseconds: from.nanoseconds + 1_000_000_000 - by.subsec_nanos(),
        },
    }
}

fn read(clock: ClockId) -> Timestamp {
    let time = clock_gettime(clock);
    Timestamp { seconds: time.tv_sec, nanoseconds: u32::try_from(time.tv_nsec).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::dir::Dir;

    fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds, nanoseconds }
    }

    #[test]
    fn a_start_moves_with_a_clock_that_is_set_back_and_not_with_one_that_is_set_forward() {
        let start = at(1000, 5);
        let cases = [
            // The clock's time after so long, and the start.
            (at(1010, 5), Duration::from_secs(10), start),
            (at(1010, 6), Duration::from_secs(10), start),
            (at(5000, 0), Duration::from_secs(10), start),
            (at(1010, 4), Duration::from_secs(10), at(1000, 4)),
            (at(500, 3), Duration::new(10, 4), at(489, 999_999_999)),
            (at(0, 0), Duration::MAX, at(-i64::MAX - 1, 1)),
        ];
        for (now, elapsed, expected) in cases {
            assert_eq!(on_clock(start, now, elapsed), expected, "{now:?} after {elapsed:?}");
        }
    }

    #[test]
    fn what_changes_before_a_start_is_not_stamped_later_and_what_changes_after_its_tick_is() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Dir::root(scratch.path(), 1).unwrap();
        let change = |name: String| {
            std::fs::write(scratch.path().join(name), b"").unwrap();
            folder.entry().unwrap().ctime
        };
        for round in 0..50 {
            let before = change(format!("before {round}"));
            let start = Start::now();
            start.let_tick();
            let after = change(format!("after {round}"));
            assert!(before <= start.stamp(), "{before:?} and {start:?}");
            assert!(start.stamp() < after, "{start:?} and {after:?}");
        }
    }
}
