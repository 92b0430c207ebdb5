//! When the log file is rotated: before the line with which it would exceed its size. A line is never split.

use crate::fs::Errno;
use crate::fs::log_file::{AppendFile, AppendPath};
use crate::fs::rotated::{Rotated, is_of_descriptor, rotate};
use std::time::{Duration, Instant};

/// The pause after a rotation that failed.
const PAUSE: Duration = Duration::from_secs(60);

/// The pause after one that was put off because another process has locked the log, and the time after which that is a
/// failure. Lines go on into the same file meanwhile.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(60);

/// The most files that one piece of lines opens: on filesystems whose inode numbers are unstable a path never seems to
/// lead to the open file.
const MOST_ATTEMPTS: u32 = 3;

/// The limits of the log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The size in bytes that a file does not exceed, unless a single line does.
    pub max_size: u64,
    /// The number of rotated files that are kept, 1 to [`Rotation::MOST`].
    pub keep: u16,
}

impl Rotation {
    /// The greatest number of rotated files.
    pub const MOST: u16 = crate::fs::rotated::MOST;
}

impl Default for Rotation {
    /// 64 MiB, and five rotated files.
    fn default() -> Rotation {
        Rotation { max_size: 64 << 20, keep: 5 }
    }
}

/// What is to be done with lines that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes of them, whole lines, go into the open file.
    Write(usize),
    /// The file is to be rotated first.
    Rotate,
}

/// Rotates the log file of one writer.
#[derive(Debug)]
pub(super) struct Rotator {
    rotation: Option<Rotation>,
    /// Whether the path leads through a descriptor of the process (`/dev/stderr`): then it leads to the same file after
    /// a rename. Looked up when it is first needed.
    is_of_descriptor: Option<bool>,
    /// The time of the last attempt, if it failed.
    failed: Option<Instant>,
    /// The times of the first and the last attempt that was put off since the last rotation.
    put_off: Option<(Instant, Instant)>,
    /// Attempts since lines were last written.
    attempts: u32,
}

impl Rotator {
    pub(super) fn new(rotation: Option<Rotation>) -> Rotator {
        Rotator { rotation, is_of_descriptor: None, failed: None, put_off: None, attempts: 0 }
    }

    /// What is to be done with these lines.
    pub(super) fn step(&mut self, path: &AppendPath, file: &AppendFile, lines: &[u8]) -> Step {
        let all = Step::Write(lines.len());
        let Some(rotation) = self.rotation else { return all };
        let is_too_early = self.failed.is_some_and(|at| at.elapsed() < PAUSE)
            || self.put_off.is_some_and(|(_, last)| last.elapsed() < SHORT_PAUSE);
        if is_too_early || self.attempts >= MOST_ATTEMPTS {
            return all;
        }
        let Some(size) = file.size() else { return all };
        let step = step(size, rotation.max_size, lines);
        if step == Step::Rotate && *self.is_of_descriptor.get_or_insert_with(|| is_of_descriptor(path.path()))
        {
            return all;
        }
        step
    }

    /// Rotates the file. True when the path has to be opened again.
    ///
    /// # Errors
    /// As [`rotate`], for the first attempt that fails; later ones that fail as well return false.
    pub(super) fn rotate(&mut self, path: &AppendPath, file: &AppendFile) -> Result<bool, Errno> {
        let Some(rotation) = self.rotation else { return Ok(false) };
        self.attempts += 1;
        match self.rotate_unless_busy(path, file, rotation.keep) {
            Ok(Rotated::Done | Rotated::Elsewhere) => {
                (self.failed, self.put_off) = (None, None);
                Ok(true)
            }
            Ok(Rotated::Busy) => Ok(false),
            Err(errno) => {
                let is_first = self.failed.replace(Instant::now()).is_none();
                if is_first { Err(errno) } else { Ok(false) }
            }
        }
    }

    /// A lock that somebody else holds puts the rotation off, and is a failure only if it lasts.
    fn rotate_unless_busy(
        &mut self,
        path: &AppendPath,
        file: &AppendFile,
        keep: u16,
    ) -> Result<Rotated, Errno> {
        let rotated = rotate(path, file, keep)?;
        if rotated == Rotated::Busy {
            let now = Instant::now();
            let first = self.put_off.map_or(now, |(first, _)| first);
            self.put_off = Some((first, now));
            if now.duration_since(first) >= LONG {
                return Err(Errno::WOULDBLOCK);
            }
        }
        Ok(rotated)
    }

    /// Notes that lines were written.
    pub(super) fn has_written(&mut self) {
        self.attempts = 0;
    }
}

/// What is to be done with lines for a file of this size. An empty file takes one line of any size.
fn step(size: u64, max_size: u64, lines: &[u8]) -> Step {
    let room = usize::try_from(max_size.saturating_sub(size)).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return Step::Write(lines.len());
    }
    let end_of_line = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    match lines.get(..room).and_then(end_of_line) {
        Some(end) => Step::Write(end),
        None if size > 0 => Step::Rotate,
        None => {
            let first = lines.iter().position(|byte| *byte == b'\n');
            Step::Write(first.map_or(lines.len(), |at| at + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_written_as_far_as_they_fit() {
        let lines = b"aaaa\nbbbb\ncccc\n";
        for (size, max_size, expected) in [
            (0, 100, Step::Write(15)),
            (85, 100, Step::Write(15)),
            (86, 100, Step::Write(10)),
            (94, 100, Step::Write(5)),
            (96, 100, Step::Rotate),
            (100, 100, Step::Rotate),
            (500, 100, Step::Rotate),
            // A line that is longer than a file may be gets one for itself.
            (0, 4, Step::Write(5)),
            (1, 4, Step::Rotate),
            (0, 0, Step::Write(5)),
        ] {
            assert_eq!(step(size, max_size, lines), expected, "{size} of {max_size}");
        }
        assert_eq!(step(100, 100, b""), Step::Write(0), "nothing needs no room");
        assert_eq!(step(0, 1, b"no newline"), Step::Write(10));
    }

    #[test]
    fn a_lock_that_lasts_is_a_failure_and_told_once() {
        let temp = tempfile::tempdir().unwrap();
        let path = AppendPath::new(temp.path().join("log"), None);
        let file = path.open().unwrap();
        let mut rotator = Rotator::new(Some(Rotation { max_size: 1, keep: 1 }));
        let other = std::fs::File::open(path.path()).unwrap();
        other.lock().unwrap();
        assert_eq!(rotator.rotate(&path, &file), Ok(false));
        let now = Instant::now();
        rotator.put_off = Some((now.checked_sub(LONG).unwrap(), now));
        assert_eq!(rotator.rotate(&path, &file), Err(Errno::WOULDBLOCK));
        assert_eq!(rotator.rotate(&path, &file), Ok(false));
        other.unlock().unwrap();
        assert_eq!(rotator.rotate(&path, &file), Ok(true));
        assert_eq!((rotator.failed, rotator.put_off), (None, None));
    }
}
