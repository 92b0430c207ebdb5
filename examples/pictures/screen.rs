//! The final screen of a terminal, as lines of cells in styles.

use vt100::Color;

/// How a cell looks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Style {
    pub(crate) ink: Color,
    pub(crate) paper: Color,
    pub(crate) bold: bool,
    pub(crate) dim: bool,
    pub(crate) italic: bool,
    pub(crate) underline: bool,
    pub(crate) inverse: bool,
}

impl Style {
    fn of(cell: &vt100::Cell) -> Style {
        Style {
            ink: cell.fgcolor(),
            paper: cell.bgcolor(),
            bold: cell.bold(),
            dim: cell.dim(),
            italic: cell.italic(),
            underline: cell.underline(),
            inverse: cell.inverse(),
        }
    }
}

/// Neighbouring cells of one style.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) column: usize,
    /// In columns: a wide letter takes two.
    pub(crate) width: usize,
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// A line as the program wrote it: one row, or several where it was too long for one.
#[derive(Clone, Debug)]
struct Line {
    rows: Vec<Vec<Run>>,
}

impl Line {
    fn text(&self) -> String {
        self.rows.iter().flatten().map(|run| run.text.as_str()).collect()
    }
}

/// The rows with something on them.
pub(crate) struct Screen {
    lines: Vec<Line>,
}

impl Screen {
    pub(crate) fn of(screen: &vt100::Screen) -> Screen {
        let (rows, columns) = screen.size();
        let mut lines: Vec<Line> = Vec::new();
        let mut goes_on = false;
        for row in 0..rows.get() {
            let runs = runs(screen, row, columns.get());
            match lines.last_mut() {
                Some(line) if goes_on => line.rows.push(runs),
                _ => lines.push(Line { rows: vec![runs] }),
            }
            goes_on = screen.row_wrapped(row);
        }
        while lines.last().is_some_and(|line| line.rows.iter().all(Vec::is_empty)) {
            lines.pop();
        }
        Screen { lines }
    }

    /// Sorts neighbouring lines that are the same up to one of these verbs: workers that run at the same time finish in an
    /// order that is another one in every run.
    pub(crate) fn sort_after(&mut self, verbs: &[&str]) {
        let begin = |line: &Line| {
            let text = line.text();
            let ends =
                verbs.iter().filter_map(|verb| Some(text.find(&format!(" {verb} "))? + verb.len() + 2));
            ends.min().map(|end| text[..end].to_owned())
        };
        let groups = self.lines.chunk_by_mut(|one, other| begin(one).is_some() && begin(one) == begin(other));
        groups.for_each(|lines| lines.sort_by_key(Line::text));
    }

    pub(crate) fn height(&self) -> usize {
        self.rows().count()
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &[Run]> {
        self.lines.iter().flat_map(|line| line.rows.iter().map(Vec::as_slice))
    }

    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|line| line.text() + "\n").collect()
    }
}

/// The runs of a row, without empty cells at its end.
fn runs(screen: &vt100::Screen, row: u16, columns: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation()) else {
            continue;
        };
        let style = Style::of(cell);
        let text = if cell.has_contents() { cell.contents() } else { " " };
        let width = 1 + usize::from(cell.is_wide());
        match runs.last_mut() {
            Some(run) if run.style == style => {
                run.text.push_str(text);
                run.width += width;
            }
            _ => runs.push(Run { column: column.into(), width, text: text.to_owned(), style }),
        }
    }
    while let Some(last) = runs.last_mut() {
        let shows_spaces = last.style.inverse || last.style.underline || last.style.paper != Color::Default;
        if shows_spaces {
            break;
        }
        let kept = last.text.trim_end_matches(' ').len();
        last.width -= last.text.len() - kept;
        last.text.truncate(kept);
        if kept > 0 {
            break;
        }
        runs.pop();
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;

    fn screen(bytes: &str) -> Screen {
        let size = |size| NonZeroU16::new(size).expect("not zero");
        let mut parser = vt100::Parser::new(size(10), size(20), 0);
        parser.process(bytes.as_bytes());
        Screen::of(parser.screen())
    }

    #[test]
    fn a_line_that_was_erased_is_not_there() {
        let screen = screen("1 of 2 files\r\x1b[Kone\r\n2 of 2 files\r\x1b[2Ktwo\r\n");
        assert_eq!(screen.text(), "one\ntwo\n");
    }

    #[test]
    fn a_line_that_is_too_long_is_one_line_in_two_rows() {
        let screen = screen("12345678901234567890123\r\nnext");
        assert_eq!((screen.text().as_str(), screen.height()), ("12345678901234567890123\nnext\n", 3));
    }

    #[test]
    fn colours_begin_runs() {
        let screen = screen("\x1b[2m12:00\x1b[0m \x1b[1;32mok\x1b[0m");
        let runs = screen.rows().next().expect("a row");
        let of_style = |change: fn(&mut Style)| {
            let mut style = Style::default();
            change(&mut style);
            style
        };
        let green = of_style(|style| (style.bold, style.ink) = (true, Color::Idx(2)));
        let run = |column, text: &str, style| Run { column, width: text.len(), text: text.to_owned(), style };
        let dim = of_style(|style| style.dim = true);
        assert_eq!(runs, [run(0, "12:00", dim), run(5, " ", Style::default()), run(6, "ok", green)]);
    }

    #[test]
    fn lines_of_workers_are_sorted_and_other_lines_stay_in_place() {
        let mut screen = screen("create z\r\n9 create b\r\n9 create a\r\n9 update 2\r\n9 create 0\r\n");
        screen.sort_after(&["create", "update"]);
        assert_eq!(screen.text(), "create z\n9 create a\n9 create b\n9 update 2\n9 create 0\n");
    }
}
