//! Text that fits in so many columns of a terminal, for the summary.

use crate::log::width::{cut, elide, share, width, wrap};

const ARROW: &str = " -> ";

/// The text, and spaces up to a width.
pub(super) fn padded(text: &str, columns: usize) -> String {
    let mut padded = text.to_owned();
    padded.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(text))));
    padded
}

/// The text without its end, if it is too wide.
pub(super) fn without_end(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    format!("{}…", cut(text, columns.saturating_sub(1)))
}

/// `one -> other`, both without their middle if they are too wide together.
pub(super) fn in_two(one: &str, other: &str, columns: usize) -> String {
    let (of_one, of_other) = share(one, other, columns.saturating_sub(width(ARROW)));
    format!("{}{ARROW}{}", elide(one, of_one), elide(other, of_other))
}

/// The text on lines of at most so many columns, each after an indent.
pub(super) fn wrapped(text: &str, columns: usize, indent: &str) -> String {
    let room = columns.saturating_sub(width(indent));
    wrap(text, room, room).iter().map(|line| format!("{indent}{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_note_gives_way() {
        assert_eq!(without_end("30 folders, 600 files", 15), "30 folders, 60…");
        assert_eq!(without_end("mode", 4), "mode");
        assert_eq!(without_end("日本", 3), "日…");
        assert_eq!(padded("日", 4), "日  ");
    }

    #[test]
    fn of_two_paths_the_longer_one_gives_way() {
        assert_eq!(in_two("a", "b", 80), "a -> b");
        for columns in 10..60 {
            let text = in_two("long/path/to/a/name", "another/long/path/to/a/name", columns);
            assert!(width(&text) <= columns, "{text}");
            assert!(in_two("a", "another/long/path", columns).starts_with("a -> "), "{columns}");
        }
    }

    #[test]
    fn every_line_of_a_text_is_indented() {
        assert_eq!(wrapped("one two three", 9, "  "), "  one two\n  three\n");
        assert_eq!(wrapped("one", 40, ""), "one\n");
    }
}
