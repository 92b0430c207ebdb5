//! Paths below a root, as raw bytes, and their escaped form for people.
//!
//! Names are bytes: nothing here assumes UTF-8. Output is escaped so that a hostile name can neither break a log line
//! in two nor send control sequences to a terminal.

use std::ffi::CStr;
use std::fmt;

/// A path relative to a root: names joined with `/`, no leading or trailing slash, empty for the root itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// The root itself.
    pub fn root() -> RelPath {
        RelPath(Vec::new())
    }

    /// A path from bytes that already have the form described above.
    pub fn from_bytes(bytes: Vec<u8>) -> RelPath {
        RelPath(bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True for the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This path with one more name.
    pub fn join(&self, name: &CStr) -> RelPath {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.count_bytes());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.to_bytes());
        RelPath(bytes)
    }

    /// This path after `top` has become `instead`; the same path where it is not below that.
    pub(crate) fn below_instead(&self, top: &RelPath, instead: &RelPath) -> RelPath {
        if !self.is_at_or_below(top) {
            return self.clone();
        }
        let rest = self.0.get(top.0.len()..).unwrap_or_default();
        RelPath([&instead.0, rest].concat())
    }

    /// The path of the folder, and the name in it; two empty ones for the root.
    pub(crate) fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => {
                (self.0.get(..slash).unwrap_or_default(), self.0.get(slash + 1..).unwrap_or_default())
            }
            None => (&[], &self.0),
        }
    }

    /// Whether this path equals another one or lies below it.
    pub fn is_at_or_below(&self, other: &RelPath) -> bool {
        match self.0.strip_prefix(other.0.as_slice()) {
            Some(rest) => other.is_root() || rest.is_empty() || rest.first() == Some(&b'/'),
            None => false,
        }
    }

    /// The names of the path, from the top down.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }
}

impl fmt::Display for RelPath {
    /// The form for people: `.` for the root, else escaped and quoted where that is needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { f.write_str(&shown(&self.0)) }
    }
}

/// The bytes of a path or link target in a form that is safe to show on one line.
///
/// Printable UTF-8 stays as it is. Control and formatting characters, bytes that are not UTF-8, `"` and `\` are escaped
/// (`\n`, `\t`, `\r`, `\\`, `\"`, `\x1b`, `\u{202e}`), and text with an escape or white space is put in double quotes,
/// so that a name can never be taken for the words that follow it.
pub(crate) fn shown(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(bytes.len() + 2);
    let mut must_quote = bytes.is_empty();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            must_quote |= character.is_whitespace();
            let written = match character {
                '\n' => write!(out, "\\n"),
                '\t' => write!(out, "\\t"),
                '\r' => write!(out, "\\r"),
                '\\' => write!(out, "\\\\"),
                '"' => write!(out, "\\\""),
                c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
                c if is_deceptive(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
                c => {
                    out.push(c);
                    continue;
                }
            };
            must_quote = true;
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        for byte in chunk.invalid() {
            must_quote = true;
            let written = write!(out, "\\x{byte:02x}");
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
    }
    if must_quote { format!("\"{out}\"") } else { out }
}

/// Characters that are valid Unicode but could hide or reorder what a person reads: C1 controls, line and paragraph
/// separators, bidirectional controls, zero-width characters, the byte-order mark.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c), 0x00ad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
            | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_below_another_only_where_a_name_ends() {
        let cases = [
            ("", "", true),
            ("a", "", true),
            ("a/b", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a/b", "a", true),
            ("a/b/c", "a/b", true),
            ("ab", "a", false),
            ("ab/c", "a", false),
            ("a", "a/b", false),
            ("b/a", "a", false),
        ];
        for (path, top, expected) in cases {
            let [path, top] = [path, top].map(|text| RelPath::from_bytes(text.into()));
            assert_eq!(path.is_at_or_below(&top), expected, "{path} {top}");
        }
    }

    #[test]
    fn ordinary_names_are_shown_as_they_are() {
        for name in ["a.txt", "docs/ünïcödé.md", "-rf", ".hidden", "a'b", "日本"] {
            assert_eq!(shown(name.as_bytes()), name);
        }
    }

    #[test]
    fn names_that_could_deceive_are_escaped_and_quoted() {
        let cases: [(&[u8], &str); 9] = [
            (b"two words", r#""two words""#),
            (b"line\nbreak", r#""line\nbreak""#),
            (b"\x1b[31mred", r#""\x1b[31mred""#),
            (b"quo\"te", r#""quo\"te""#),
            (b"back\\slash", r#""back\\slash""#),
            (b"not\xffutf8", r#""not\xffutf8""#),
            ("rtl\u{202e}txt".as_bytes(), r#""rtl\u{202e}txt""#),
            ("c1\u{85}".as_bytes(), r#""c1\u{85}""#),
            (b"", r#""""#),
        ];
        for (raw, expected) in cases {
            assert_eq!(shown(raw), expected);
        }
    }

    #[test]
    fn joining_and_splitting_agree() {
        let path = RelPath::root().join(c"a").join(c"b c").join(c"d");
        assert_eq!(path.as_bytes(), b"a/b c/d");
        assert_eq!(path.names().collect::<Vec<_>>(), [&b"a"[..], b"b c", b"d"]);
        assert_eq!(RelPath::root().to_string(), ".");
        assert_eq!(RelPath::root().names().count(), 0);
    }
}
