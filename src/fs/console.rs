//! Standard output and standard error as plain descriptors, and a question to the person at the terminal.
//!
//! Rust's own `Stdout` holds a lock while it writes and is flushed at exit: a reader that has stopped reading would
//! then keep the program from ending. A descriptor of our own has no lock, and a thread that hangs in it can be left
//! behind.

use crate::fs::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::getpgrp;
use rustix::termios::{isatty, tcgetpgrp, tcgetwinsize};
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};

/// The width that is assumed of a terminal that does not tell it.
pub(crate) const COLUMNS: usize = 80;

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

    /// Whether it is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        isatty(&self.0)
    }

    /// The number of columns of the terminal at this moment.
    pub(crate) fn columns(&self) -> usize {
        let columns = tcgetwinsize(&self.0).map_or(0, |size| usize::from(size.ws_col));
        if columns == 0 { COLUMNS } else { columns }
    }

    /// Whether both are one terminal.
    pub(crate) fn is_same_terminal(&self, other: &Stream) -> bool {
        let device = |stream: &Stream| rustix::fs::fstat(&stream.0).map(|facts| facts.st_rdev);
        match (device(self), device(other)) {
            (Ok(one), Ok(other)) => one == other,
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    /// Whether it is a pipe or a socket: another program reads it.
    pub(crate) fn is_read_by_a_program(&self) -> bool {
        use rustix::fs::FileType;
        let kind = rustix::fs::fstat(&self.0).map(|facts| FileType::from_raw_mode(facts.st_mode));
        matches!(kind, Ok(FileType::Fifo | FileType::Socket))
    }

    /// Whether the terminal takes bytes now: not while somebody has stopped its output (Ctrl-S).
    pub(crate) fn is_ready(&self) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut asked = [PollFd::new(&self.0, PollFlags::OUT)];
        let answered = poll(&mut asked, Some(&at_once)).is_ok_and(|answered| answered > 0);
        answered && asked.iter().any(|asked| asked.revents().contains(PollFlags::OUT))
    }

    /// Whether this process is in the foreground of the terminal: else a shell or another program has its screen. False
    /// where it is not the terminal that this process was started from.
    pub(crate) fn is_in_foreground(&self) -> bool {
        tcgetpgrp(&self.0).is_ok_and(|group| group == getpgrp())
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

/// A question to the person at the terminal.
#[derive(Debug)]
pub(crate) struct Dialog {
    question: Stream,
    answer: OwnedFd,
}

/// The interval in which a wait for an answer looks for a signal.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The longest answer.
const MOST: usize = 4096;

impl Dialog {
    /// None where nobody can answer: standard input and standard error have to be terminals, and this process in the
    /// foreground. One in the background (`&`) would be stopped by reading (SIGTTIN).
    pub(crate) fn with_person() -> Option<Dialog> {
        let (input, error) = (std::io::stdin(), std::io::stderr());
        let is_in_front = tcgetpgrp(&input).is_ok_and(|group| group == getpgrp());
        if !(input.is_terminal() && error.is_terminal() && is_in_front) {
            return None;
        }
        Some(Dialog { question: Stream::stderr()?, answer: input.as_fd().try_clone_to_owned().ok()? })
    }

    /// The columns of the terminal.
    pub(crate) fn columns(&self) -> usize {
        self.question.columns()
    }

    /// Asks, and waits for a line while `goes_on` says so. None without an answer: the end of the input, a terminal that
    /// was closed, or a signal.
    pub(crate) fn ask(&self, question: &str, goes_on: impl Fn() -> bool) -> Option<String> {
        let mut rest = question.as_bytes();
        while !rest.is_empty() {
            let written = self.question.write(rest).ok().filter(|written| *written > 0)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        let mut line = Vec::new();
        let is_whole = loop {
            if !goes_on() || line.len() > MOST {
                break false;
            }
            let mut asked = [PollFd::new(&self.answer, PollFlags::IN)];
            match poll(&mut asked, Some(&LOOK)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(_) => break false,
            }
            let mut piece = [0; 256];
            match rustix::io::read(&self.answer, &mut piece) {
                Ok(0) => break false,
                Ok(length) => line.extend_from_slice(piece.get(..length).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => break false,
            }
            if line.contains(&b'\n') {
                break true;
            }
        };
        if !is_whole {
            // The next line of the log begins a line of the terminal; one that is gone needs none.
            let _ = self.question.write(b"\n");
        }
        is_whole.then(|| String::from_utf8_lossy(&line).into_owned())
    }
}
