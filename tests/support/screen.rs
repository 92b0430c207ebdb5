//! What a person sees of a program in a terminal: the bytes that it was sent, interpreted by an emulator.

use std::fmt;
use std::num::NonZeroU16;

/// More rows than any test fills: nothing scrolls away.
const ROWS: u16 = 2_000;

/// The screen at the end.
pub(crate) struct Screen(vt100::Parser);

impl Screen {
    /// In a window of this width.
    pub(crate) fn of(sent: &str, columns: u16) -> Screen {
        let [rows, columns] = [ROWS, columns].map(|size| NonZeroU16::new(size).expect("not zero"));
        let mut parser = vt100::Parser::new(rows, columns, 0);
        parser.process(sent.as_bytes());
        Screen(parser)
    }

    /// The rows that were too long for the window.
    pub(crate) fn wrapped(&self) -> Vec<String> {
        let screen = self.0.screen();
        let rows = screen.rows(0, screen.size().1.get()).zip(0..);
        rows.filter(|(_, at)| screen.row_wrapped(*at)).map(|(row, _)| row).collect()
    }
}

impl fmt::Display for Screen {
    /// The rows that are not empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let screen = self.0.screen();
        let mut rows = screen.rows(0, screen.size().1.get()).filter(|row| !row.trim().is_empty());
        rows.try_for_each(|row| writeln!(f, "{}", row.trim_end()))
    }
}
