//! The schedule's clock: `CLOCK_BOOTTIME`, which counts while the computer is suspended and is never set
//! (`clock_gettime(2)`).
//!
//! Waiting is one `poll(2)` on a `timerfd` of the same clock and on an `eventfd`, which other threads write to. An
//! eventfd stays readable until it is drained, so a wake-up before the wait is not lost; and unlike a sleep it needs no
//! slices to notice a signal. `CLOCK_MONOTONIC` (all that `std::time::Instant` and condition variables have) would stop
//! during suspension and miss the RPO by that much.

use crate::fs::{Errno, is_passing};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::io::{read, write};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// The pause after a failed wait for want of memory.
const SHORTAGE: Duration = Duration::from_millis(100);

/// A moment on the boot-time clock: the time since the kernel started, suspension included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(Duration);

impl BootTime {
    /// The moment this long after the kernel started.
    pub const fn from_start(since_start: Duration) -> BootTime {
        BootTime(since_start)
    }

    /// Now.
    pub fn now() -> BootTime {
        BootTime(duration(clock_gettime(ClockId::Boottime)))
    }

    /// The moment this much later.
    pub fn plus(self, duration: Duration) -> BootTime {
        BootTime(self.0.saturating_add(duration))
    }

    /// The moment this much earlier; none before the kernel started.
    pub fn minus(self, duration: Duration) -> Option<BootTime> {
        self.0.checked_sub(duration).map(BootTime)
    }

    /// The time from an earlier moment to this one; zero if that one is later.
    pub fn since(self, earlier: BootTime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    fn timespec(self) -> Timespec {
        Timespec {
            tv_sec: i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: self.0.subsec_nanos().into(),
        }
    }
}

/// The processor time that this process has used so far, that of all its threads.
pub(crate) fn processor_time() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// Neither part is ever negative on the clocks that are read here.
fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The time that this thread has run or has been queued to run. The rest of its life it waited, mostly for a disk.
pub(crate) fn busy_time() -> Duration {
    let ran = duration(clock_gettime(ClockId::ThreadCPUTime));
    // Time on the processor, time in the queue for it, both in nanoseconds (Documentation/scheduler/sched-stats.rst).
    // Without schedstat, waiting for a processor counts as waiting for a disk.
    let queued = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let queued = queued.and_then(|text| text.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0);
    ran + Duration::from_nanos(queued)
}

/// Wakes a waiting [`Timer`], or ends its next wait.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// Ends the current wait, or the next one at once if no thread waits.
    pub fn wake(&self) {
        // The write fails only when the counter is full (EAGAIN): then the wake-up is already on its way.
        let _ = write(&self.0, &1u64.to_ne_bytes());
    }
}

/// Waits on the boot-time clock.
#[derive(Debug)]
pub struct Timer {
    timer: OwnedFd,
    waker: Arc<Waker>,
}

impl Timer {
    /// Creates a timer with its waker.
    ///
    /// # Errors
    /// No file descriptors or no memory (`timerfd_create(2)`, `eventfd(2)`).
    pub fn new() -> Result<Timer, Errno> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Timer { timer, waker: Arc::new(Waker(waker)) })
    }

    /// The waker that other threads use.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Waits for the deadline or a wake-up, whichever comes first. A signal may end the wait earlier, so callers look
    /// at the clock again.
    ///
    /// # Errors
    /// As `timerfd_settime(2)` and `poll(2)`; a lack of memory is transient and no error.
    pub fn wait_until(&self, deadline: BootTime) -> Result<(), Errno> {
        // A timer set to zero would be off; a deadline of zero has passed anyway.
        if deadline > BootTime(Duration::ZERO) {
            let never_again = Timespec { tv_sec: 0, tv_nsec: 0 };
            let once = Itimerspec { it_interval: never_again, it_value: deadline.timespec() };
            // Setting a timer also forgets that it went off before, so it need not be read.
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
            let mut descriptors =
                [PollFd::new(&self.timer, PollFlags::IN), PollFd::new(&self.waker.0, PollFlags::IN)];
            match poll(&mut descriptors, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) if is_passing(errno) => sleep(SHORTAGE),
                Err(errno) => return Err(errno),
            }
        }
        // Drained before the caller checks its flags: a flag that is set after that check writes again.
        match read(&self.waker.0, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        let timer = Timer::new().expect("descriptors");
        for _ in 0..2 {
            let deadline = BootTime::now().plus(Duration::from_millis(20));
            timer.wait_until(deadline).expect("wait");
            assert!(BootTime::now() >= deadline);
        }
    }

    #[test]
    fn a_deadline_in_the_past_does_not_wait() {
        let timer = Timer::new().expect("descriptors");
        timer.wait_until(BootTime::now()).expect("now");
        timer.wait_until(BootTime::from_start(Duration::from_nanos(1))).expect("long ago");
        timer.wait_until(BootTime::from_start(Duration::ZERO)).expect("at the very start");
    }

    #[test]
    fn a_wake_up_before_the_wait_is_not_lost_and_counts_once() {
        let timer = Timer::new().expect("descriptors");
        timer.waker().wake();
        timer.waker().wake();
        let started = BootTime::now();
        timer.wait_until(started.plus(FAR)).expect("woken");
        assert!(BootTime::now().since(started) < FAR);
        let deadline = BootTime::now().plus(Duration::from_millis(20));
        timer.wait_until(deadline).expect("not woken again");
        assert!(BootTime::now() >= deadline);
    }

    #[test]
    fn a_wake_up_from_another_thread_ends_the_wait() {
        let timer = Timer::new().expect("descriptors");
        let waker = timer.waker();
        let started = BootTime::now();
        std::thread::scope(|scope| {
            scope.spawn(move || waker.wake());
            timer.wait_until(started.plus(FAR)).expect("woken");
        });
        assert!(BootTime::now().since(started) < FAR);
    }

    #[test]
    fn the_longest_interval_can_be_waited_for() {
        let timer = Timer::new().expect("descriptors");
        timer.waker().wake();
        timer.wait_until(BootTime::now().plus(crate::model::interval::Interval::MAX)).expect("woken");
        timer.waker().wake();
        timer.wait_until(BootTime::from_start(Duration::MAX)).expect("woken");
    }
}
