//! Text in columns of a terminal: its width, and how it is fitted into a given one.
//!
//! A terminal may take an emoji with a modifier for one character or for two. The larger width is assumed, so that a
//! line is rather too short than too long.

use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for what is left out.
const ELLIPSIS: &str = "…";

/// The number of columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { clusters(text).map(|(_, width)| width).sum() }
}

/// The characters of a text, each with the marks that belong to it, and their widths.
fn clusters(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let mark = |(_, c): &(usize, char)| c.width().unwrap_or(0) > 0;
        let end = rest.char_indices().skip(1).find(mark).map_or(rest.len(), |(at, _)| at);
        let (cluster, after) = rest.split_at(end);
        rest = after;
        Some((cluster, first.width().unwrap_or(0).max(cluster.width())))
    })
}

/// The longest start of a text that is no wider than this.
fn start(text: &str, most: usize) -> &str {
    let mut taken = 0;
    let end = clusters(text).scan(0, |at, (cluster, width)| {
        *at += cluster.len();
        taken += width;
        (taken <= most).then_some(*at)
    });
    text.get(..end.last().unwrap_or(0)).unwrap_or_default()
}

/// The longest end of a text that is no wider than this.
fn end(text: &str, most: usize) -> &str {
    let all: Vec<(&str, usize)> = clusters(text).collect();
    let mut taken = 0;
    let length = all.iter().rev().scan(0, |length, (cluster, width)| {
        *length += cluster.len();
        taken += width;
        (taken <= most).then_some(*length)
    });
    text.get(text.len() - length.last().unwrap_or(0)..).unwrap_or_default()
}

/// A text that is no wider than this: its middle is left out where it does not fit. The end is the larger part, because
/// a path ends in the name.
pub(crate) fn elide(text: &str, most: usize) -> Cow<'_, str> {
    if width(text) <= most {
        return Cow::Borrowed(text);
    }
    let Some(room) = most.checked_sub(1) else { return Cow::Borrowed("") };
    let head = start(text, room * 2 / 5);
    Cow::Owned(format!("{head}{ELLIPSIS}{}", end(text, room - width(head))))
}

/// A text that is no wider than this: its end is left out where it does not fit.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    start(text, most)
}

/// The rooms of two texts on one line of this width: what the one does not need, the other has.
pub(crate) fn share(one: &str, other: &str, most: usize) -> (usize, usize) {
    let (one, other) = (width(one), width(other));
    let half = most / 2;
    if one + other <= most {
        (one, other)
    } else if one <= half {
        (one, most - one)
    } else if other <= most - half {
        (most - other, other)
    } else {
        (half, most - half)
    }
}

/// The lines of a text that is wrapped at its spaces: the first is no wider than `first`, the others no wider than
/// `rest`. A word that is longer than both is broken, after a slash if there is one.
pub(crate) fn wrap(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = first.max(1);
    for word in text.split(' ') {
        let line = lines.last_mut();
        let Some(line) = line else { return lines };
        if line.is_empty() && (width(word) <= room || width(word) > rest) {
            line.push_str(word);
        } else if !line.is_empty() && width(line) + 1 + width(word) <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
            room = rest.max(1);
        }
        while let Some(line) = lines.last_mut()
            && width(line) > room
        {
            let fitting = start(line, room);
            // At least one character, or it would never end.
            let least = line.chars().next().map_or(1, char::len_utf8);
            let place = fitting.rfind('/').map_or(fitting.len(), |slash| slash + 1).max(least);
            let after = line.split_off(place.min(line.len()));
            if after.is_empty() {
                break;
            }
            lines.push(after);
            room = rest.max(1);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_counts_columns_and_rather_too_many() {
        for (text, columns) in [
            ("", 0),
            ("abc", 3),
            ("é", 1),
            ("e\u{301}", 1),
            ("日本", 4),
            ("…", 1),
            ("\u{2764}\u{fe0f}", 2),
            ("\u{1f44d}\u{1f3fd}", 4),
        ] {
            assert_eq!(width(text), columns, "{text:?}");
        }
    }

    #[test]
    fn a_text_is_elided_in_the_middle_and_never_inside_a_character() {
        for (text, most, expected) in [
            ("photos/cat.jpg", 14, "photos/cat.jpg"),
            ("photos/2026/summer/cat.jpg", 16, "photos…r/cat.jpg"),
            ("photos/2026/summer/cat.jpg", 6, "ph…jpg"),
            ("photos/cat.jpg", 1, "…"),
            ("photos/cat.jpg", 0, ""),
            ("日本日本日本", 8, "日…日本"),
            ("日本日本日本", 7, "日…日本"),
            // A mark keeps its letter.
            ("ae\u{301}e\u{301}e\u{301}z", 4, "a…e\u{301}z"),
        ] {
            assert_eq!(elide(text, most), expected);
        }
    }

    #[test]
    fn two_texts_share_a_line_by_what_they_need() {
        assert_eq!(share("abc", "abcdef", 20), (3, 6));
        assert_eq!(share("abc", "abcdefghij", 10), (3, 7));
        assert_eq!(share("abcdefghij", "abc", 10), (7, 3));
        assert_eq!(share("abcdefghij", "abcdefghij", 9), (4, 5));
    }

    #[test]
    fn a_message_is_wrapped_at_words_and_a_long_path_after_a_slash() {
        assert_eq!(wrap("one two three", 20, 20), ["one two three"]);
        assert_eq!(wrap("one two three", 7, 5), ["one two", "three"]);
        assert_eq!(wrap("see a/bb/ccc/dddd now", 6, 8), ["see", "a/bb/", "ccc/dddd", "now"]);
        assert_eq!(wrap("photos/cat.jpg is", 5, 20), ["", "photos/cat.jpg is"]);
        assert_eq!(wrap("abcdefgh", 3, 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("日本", 1, 1), ["日", "本"]);
        assert_eq!(wrap("", 5, 5), [""]);
        for most in 1..30 {
            let text = "The replica folder /srv/backup was missing and has been created";
            let lines = wrap(text, most, most);
            assert!(lines.iter().all(|line| width(line) <= most), "{lines:?}");
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text), "nothing is lost");
        }
    }
}
