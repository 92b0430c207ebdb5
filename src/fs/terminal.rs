//! The terminal that this process was started from: whether there is one, and whether it has been closed.
//!
//! The controlling terminal, not the console: output may go to a file or a pipe, and closing the terminal ends the
//! program all the same. `setsid(1)` and service managers leave a program without one.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::Signal;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The controlling terminal, open.
#[derive(Debug)]
pub(crate) struct Terminal(OwnedFd);

impl Terminal {
    /// The controlling terminal of this process, if it has one.
    pub(crate) fn controlling() -> Option<Terminal> {
        open_current().ok().map(Terminal)
    }

    /// Whether the terminal was closed, or this process has left its session. A session loses its terminal also when
    /// its leader (a shell) ends, which is when SIGHUP is sent; the window may close a moment later, or stay.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_hung_up(Duration::ZERO) || matches!(open_current(), Err(Errno::NXIO | Errno::IO))
    }

    /// Waits until the terminal is closed, at most about so long.
    pub(crate) fn wait(&self, most: Duration) {
        self.is_hung_up(most);
    }

    fn is_hung_up(&self, wait: Duration) -> bool {
        // No events are requested: unread input must not end the wait.
        let mut asked = [PollFd::new(&self.0, PollFlags::empty())];
        let wait = Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
        let answered = poll(&mut asked, Some(&wait)).is_ok_and(|answered| answered > 0);
        answered && asked.iter().any(|asked| asked.revents().intersects(PollFlags::HUP | PollFlags::ERR))
    }
}

fn open_current() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open("/dev/tty", flags, Mode::empty())
}

/// Whether this process ignores SIGHUP, as under `nohup(1)`. Must be called before a handler is installed; false where
/// `/proc` does not tell.
pub(crate) fn ignores_hangups() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, Signal::HUP))
}

/// Whether `/proc/PID/status` lists a signal as ignored (proc(5)).
fn ignores(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status =
            |mask: &str| format!("Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t{mask}\nSigCgt:\t0\n");
        for (mask, expected) in [
            ("0000000000000000", false),
            ("0000000000000001", true),
            ("0000000000001000", false),
            ("0000000000001001", true),
            ("fffffffffffffffe", false),
            ("", false),
        ] {
            assert_eq!(ignores(&status(mask), Signal::HUP), expected, "{mask}");
        }
        assert!(!ignores("", Signal::HUP), "no such line");
        assert!(ignores(&status("0000000001000000"), Signal::XFSZ));
    }
}
