//! Waits for leases of other processes (fcntl(2), `F_SETLEASE`): Samba and the kernel's NFS server take one for a
//! client that has a file open, and give it up when another process opens the file and the client has written its
//! cached data.
//!
//! An open with `O_NONBLOCK` starts that and fails at once with `EAGAIN`. So it is retried until it succeeds, with
//! `O_NONBLOCK` each time: another entry that appears under the name cannot block, a signal ends the wait, and the
//! waiting thread can show that it is alive. Rejected: one open without `O_NONBLOCK`. It would have to go through
//! `/proc/self/fd`, lest it open a FIFO, and would notice no signal while the kernel waits.

use crate::fs::Errno;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The kernel's default time before it breaks a lease, used where `/proc` does not tell it.
const BREAK_TIME: Duration = Duration::from_secs(45);

/// The slack for the kernel's clock: it breaks an expired lease only at the next open.
const SLACK: Duration = Duration::from_secs(2);

/// The wait after another wait was in vain. A holder that is alive is faster.
const BRIEF: Duration = Duration::from_millis(100);

/// The first pause between two attempts, and the longest.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The state of waiting for leases during one pass.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// Set after a wait in vain. The kernel breaks every lease in the end, so `EAGAIN` has another cause here (a file
    /// on tape), possibly for thousands of files.
    in_vain: AtomicBool,
}

impl Leases {
    /// Retries `open` while it fails with `EAGAIN`, for as long as the kernel waits for a holder, at most `most`, and
    /// while `goes_on`, which is called before each retry, returns true.
    ///
    /// # Errors
    /// As `open`.
    pub(crate) fn wait<T>(
        &self,
        most: Duration,
        mut open: impl FnMut() -> Result<T, Errno>,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<T, Errno> {
        let mut answered = open();
        if !matches!(answered, Err(Errno::AGAIN)) {
            return answered;
        }
        let is_brief = self.in_vain.load(Ordering::Relaxed);
        let most = if is_brief { BRIEF } else { most.min(break_time() + SLACK) };
        let begin = Instant::now();
        let mut pause = PAUSE;
        while matches!(answered, Err(Errno::AGAIN)) && goes_on() {
            if begin.elapsed() >= most {
                self.in_vain.store(true, Ordering::Relaxed);
                break;
            }
            sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            answered = open();
        }
        answered
    }
}

/// The kernel's time limit for the holder of a lease (proc_sys_fs(5)). Zero means for ever, which is too long.
fn break_time() -> Duration {
    let said = std::fs::read_to_string("/proc/sys/fs/lease-break-time").unwrap_or_default();
    let seconds = said.trim().parse().ok().filter(|seconds| *seconds > 0);
    seconds.map_or(BREAK_TIME, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_holds_a_lease_is_waited_for_and_any_other_answer_is_taken_at_once() {
        for (answers, expected) in [
            (vec![Ok(1)], Ok(1)),
            (vec![Err(Errno::NOENT)], Err(Errno::NOENT)),
            (vec![Err(Errno::AGAIN), Ok(2)], Ok(2)),
            (vec![Err(Errno::AGAIN), Err(Errno::AGAIN), Err(Errno::IO)], Err(Errno::IO)),
        ] {
            let leases = Leases::default();
            let mut rest = answers.iter();
            let waited = leases.wait(LONG, || *rest.next().expect("an answer"), || true);
            assert_eq!(waited, expected, "{answers:?}");
            assert_eq!(rest.len(), 0, "{answers:?}");
        }
    }

    #[test]
    fn the_wait_ends_when_it_is_not_to_go_on() {
        let (opened, asked) = (Cell::new(0), Cell::new(0));
        let open = || {
            opened.set(opened.get() + 1);
            Err::<(), Errno>(Errno::AGAIN)
        };
        let goes_on = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };
        assert_eq!(Leases::default().wait(LONG, open, goes_on), Err(Errno::AGAIN));
        assert_eq!((opened.get(), asked.get()), (3, 3), "what comes under the name meanwhile is not opened");
    }

    #[test]
    fn after_one_has_waited_in_vain_the_others_wait_briefly() {
        let leases = Leases::default();
        let waits = |most| {
            let begin = Instant::now();
            let waited = leases.wait(most, || Err::<(), Errno>(Errno::AGAIN), || true);
            assert_eq!(waited, Err(Errno::AGAIN));
            begin.elapsed()
        };
        assert!(waits(2 * BRIEF) >= 2 * BRIEF);
        for _ in 0..3 {
            let time = waits(LONG);
            assert!(time >= BRIEF && time < LONG / 2, "{time:?}");
        }
    }
}
