//! One line of progress on a terminal, drawn anew a few times a second, and erased before anything else is printed.
//!
//! Rejected: a progress bar of a library. Its width, its drawing thread and its terminal handling are more than a line
//! of less than eighty letters needs.

use crate::cli::commands::complaints::show;
use crate::log::humanize;
use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

/// The time between two drawings.
pub(super) const STEP: Duration = Duration::from_millis(250);

/// The time over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(10);

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    is_on: bool,
    is_shown: bool,
    /// The number of files, where it is known.
    total: Option<u64>,
    drawn: Instant,
    /// The bytes that had been read at some moments.
    samples: VecDeque<(Instant, u64)>,
}

/// The text of the line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// The number of files so far.
    pub files: u64,
    /// The number of bytes; none where no content is read.
    pub bytes: Option<u64>,
    /// The number of files that are not right so far.
    pub not_right: u64,
}

impl Progress {
    /// A line that is not shown yet. `total` is asked for only if it will be.
    pub(super) fn new(is_on: bool, total: impl FnOnce() -> Option<u64>) -> Progress {
        let total = if is_on { total() } else { None };
        Progress { is_on, is_shown: false, total, drawn: Instant::now(), samples: VecDeque::new() }
    }

    /// Draws the line, unless it was drawn a moment ago.
    pub(super) fn draw(&mut self, terminal: &mut dyn Write, done: Done) {
        if !self.is_on || self.drawn.elapsed() < STEP {
            return;
        }
        self.drawn = Instant::now();
        let line = self.line(done);
        self.is_shown = true;
        show(terminal, &format!("\r\u{1b}[K{line}"));
    }

    /// Erases the line.
    pub(super) fn erase(&mut self, terminal: &mut dyn Write) {
        if std::mem::take(&mut self.is_shown) {
            show(terminal, "\r\u{1b}[K");
        }
    }

    fn line(&mut self, done: Done) -> String {
        let mut line = match self.total {
            Some(total) => format!("{} of {} files", humanize::number(done.files), humanize::number(total)),
            None => humanize::counted(done.files, "file", "files"),
        };
        if let Some(bytes) = done.bytes {
            line.push_str(&format!(
                ", {} read, {}/s",
                humanize::size(bytes),
                humanize::size(self.rate(bytes))
            ));
        }
        if done.not_right > 0 {
            line.push_str(&format!(", {} not ok so far", humanize::number(done.not_right)));
        }
        line
    }

    /// The bytes of a second, over the last seconds.
    fn rate(&mut self, bytes: u64) -> u64 {
        let now = Instant::now();
        self.samples.push_back((now, bytes));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(then, _)| now - *then > WINDOW) {
            self.samples.pop_front();
        }
        let Some((then, before)) = self.samples.front().copied() else { return 0 };
        let seconds = (now - then).as_secs_f64();
        if seconds > 0.0 { (bytes.saturating_sub(before) as f64 / seconds) as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(total: Option<u64>) -> Progress {
        let mut progress = Progress::new(true, || total);
        progress.drawn -= STEP;
        progress
    }

    #[test]
    fn the_line_says_how_far_it_is_and_is_erased_once() {
        let mut terminal = Vec::new();
        let mut progress = due(Some(50_011));
        let done = Done { files: 12_345, bytes: Some(3 << 20), not_right: 2 };
        progress.draw(&mut terminal, done);
        progress.draw(&mut terminal, done);
        progress.erase(&mut terminal);
        progress.erase(&mut terminal);
        let expected = "\r\u{1b}[K12,345 of 50,011 files, 3 MiB read, 0 B/s, 2 not ok so far\r\u{1b}[K";
        assert_eq!(String::from_utf8(terminal).unwrap(), expected);
    }

    #[test]
    fn nothing_is_shown_where_there_is_no_terminal() {
        let mut progress = Progress::new(false, || panic!("not asked for"));
        progress.drawn -= STEP;
        let mut out = Vec::new();
        progress.draw(&mut out, Done::default());
        progress.erase(&mut out);
        assert!(out.is_empty());
    }
}
