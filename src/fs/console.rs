//! Standard output and standard error as plain descriptors.
//!
//! Rust's own `Stdout` holds a lock while it writes and is flushed at exit: a reader that has stopped reading would
//! then keep the program from ending. A descriptor of our own has no lock, and a thread that hangs in it can be left
//! behind.

use crate::fs::Errno;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, OwnedFd};

/// An output for lines: a terminal, a pipe, a file.
#[derive(Debug)]
pub(crate) struct Stream(OwnedFd);

impl Stream {
    /// The process's standard output; none if it cannot be duplicated.
    pub(crate) fn stdout() -> Option<Stream> {
        std::io::stdout().as_fd().try_clone_to_owned().ok().map(Stream)
    }

    /// The process's standard error; none if it cannot be duplicated.
    pub(crate) fn stderr() -> Option<Stream> {
        std::io::stderr().as_fd().try_clone_to_owned().ok().map(Stream)
    }

    /// Any descriptor that is open for writing.
    #[cfg(test)]
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> Stream {
        Stream(descriptor)
    }

    /// Writes some of `bytes` and waits as long as that takes, even where another process has made the terminal or
    /// pipe non-blocking.
    ///
    /// # Errors
    /// As `write(2)` and `poll(2)`: `EPIPE` when the reader has gone.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                },
                done => return done,
            }
        }
    }
}
