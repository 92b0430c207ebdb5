//! Text for a terminal: a line that is too long is broken between two words. A command that a person is to copy stays in
//! one piece on a line of its own, which the terminal itself may break.

use crate::log::width::{width, wrap};
use std::io::{self, Write};

/// The words before a command that a person may copy.
const COMMAND: &str = ": file-sync ";

/// A writer that breaks lines, or passes everything on where the width is not known.
pub(super) struct Folded<'a> {
    out: &'a mut dyn Write,
    columns: Option<usize>,
    /// A line without its end.
    begun: Vec<u8>,
}

impl<'a> Folded<'a> {
    /// Breaks lines that are wider than so many columns, if a number is given.
    pub(super) fn new(out: &'a mut dyn Write, columns: Option<usize>) -> Folded<'a> {
        Folded { out, columns, begun: Vec::new() }
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        match (self.columns, std::str::from_utf8(line)) {
            (Some(columns), Ok(text)) => self.out.write_all(folded(text, columns).as_bytes()),
            (_, _) => self.out.write_all(line),
        }
    }
}

impl Write for Folded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.put(&line)?;
            }
        }
        Ok(bytes.len())
    }

    /// What has no end yet is written as it is: it may be a line that is drawn anew.
    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&std::mem::take(&mut self.begun))?;
        self.out.flush()
    }
}

/// A line that fits into so many columns, on several lines where it has to be. Those that follow begin below the text of
/// the first one.
pub(super) fn folded(line: &str, columns: usize) -> String {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    if width(text) <= columns {
        return line.to_owned();
    }
    if let Some((before, command)) = text.split_once(COMMAND) {
        return format!("{}  file-sync {command}{end}", folded(&format!("{before}:\n"), columns));
    }
    let indent = indent(text, columns);
    let (head, rest) = text.split_at(indent);
    let room = columns - indent;
    let lines = wrap(rest, room, room);
    let lines = lines.join(&format!("\n{}", " ".repeat(width(head))));
    format!("{head}{lines}{end}")
}

/// The place where the text of a line begins: behind its first spaces, or behind the name of a field (`  note    text`).
fn indent(line: &str, columns: usize) -> usize {
    let spaces = line.len() - line.trim_start_matches(' ').len();
    let after = line.get(spaces..).unwrap_or_default();
    let field = after.find("  ").map_or(0, |at| {
        let gap = after.get(at..).unwrap_or_default();
        at + gap.len() - gap.trim_start_matches(' ').len()
    });
    let is_field = spaces > 0 && field > 0 && spaces + field < columns / 2;
    if is_field { spaces + field } else { spaces.min(columns / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, columns: Option<usize>) -> String {
        let mut out = Vec::new();
        let mut writer = Folded::new(&mut out, columns);
        // In pieces, as formatting writes them.
        for piece in text.as_bytes().chunks(3) {
            writer.write_all(piece).unwrap();
        }
        writer.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_broken_between_words_and_goes_on_below_its_text() {
        let text = "short\na line that is too long for it\n  note     one two three four\n";
        let expected =
            ["short", "a line that is too long", "for it", "  note     one two three", "           four"];
        assert_eq!(shown(text, Some(24)).lines().collect::<Vec<_>>(), expected);
        assert_eq!(shown(text, None), text);
        for columns in 1..40 {
            assert!(shown(text, Some(columns)).lines().all(|line| width(line) <= columns), "{columns}");
        }
        assert_eq!(shown("no end", Some(80)), "no end");
    }

    #[test]
    fn a_command_stays_in_one_piece() {
        let text = "it is held; if that is meant: file-sync approve --source '/a b' --plan 1234\n";
        let expected = "it is held; if that\nis meant:\n  file-sync approve --source '/a b' --plan 1234\n";
        assert_eq!(shown(text, Some(20)), expected);
    }
}
