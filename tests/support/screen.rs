//! A terminal, as far as the program uses one: what it was sent, drawn on a grid of cells.

use std::fmt;

/// A screen without end at its bottom.
#[derive(Debug)]
pub(crate) struct Screen {
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    columns: usize,
    /// The rows that were longer than the window, as far as they were drawn.
    pub(crate) wrapped: Vec<String>,
}

impl Screen {
    /// Draws these bytes in a window of this width. Colours are left out; any other sequence is a mistake.
    pub(crate) fn of(sent: &str, columns: usize) -> Screen {
        let mut screen = Screen { rows: vec![Vec::new()], at: (0, 0), columns, wrapped: Vec::new() };
        screen.draw(sent);
        screen
    }

    /// The window gets another width. The rows that are there are not broken anew, as in xterm.
    pub(crate) fn resize(&mut self, columns: usize) {
        self.columns = columns;
    }

    /// Draws more.
    pub(crate) fn draw(&mut self, sent: &str) {
        let mut rest = sent.chars();
        while let Some(c) = rest.next() {
            let (row, column) = self.at;
            match c {
                '\r' => self.at.1 = 0,
                '\n' => {
                    self.at.0 += 1;
                    self.rows.resize(self.rows.len().max(row + 2), Vec::new());
                }
                '\u{1b}' => {
                    assert_eq!(rest.next(), Some('['), "not a control sequence: {sent:?}");
                    let mut numbers = String::new();
                    let letter = rest.by_ref().find(|c| {
                        numbers.push(*c);
                        c.is_ascii_alphabetic()
                    });
                    match letter {
                        // Erases from the cursor to the end of the screen.
                        Some('J') if numbers == "J" => {
                            self.rows[row].truncate(column);
                            self.rows.truncate(row + 1);
                        }
                        Some('m') => {}
                        other => panic!("{other:?} in {sent:?}"),
                    }
                }
                c => {
                    assert!(!c.is_control(), "{c:?} in {sent:?}");
                    // Most of Asia's letters take two cells; the second stays empty.
                    let width = if ('\u{2e80}'..'\u{fffd}').contains(&c) { 2 } else { 1 };
                    if column + width > self.columns {
                        self.wrapped.push(self.rows[row].iter().collect());
                    }
                    let cells = &mut self.rows[row];
                    cells.resize(cells.len().max(column + 1), ' ');
                    cells[column] = c;
                    self.at.1 += width;
                }
            }
        }
    }
}

impl fmt::Display for Screen {
    /// The rows that are not empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows.iter().map(|row| row.iter().collect::<String>());
        rows.filter(|row| !row.trim().is_empty()).try_for_each(|row| writeln!(f, "{}", row.trim_end()))
    }
}
