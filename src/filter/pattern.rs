//! The patterns of `.gitignore` in the dialect of the matcher (`ignore`, over `globset`).
//!
//! The two differ in three places (gitignore(5), git's wildmatch.c): braces are letters for git and alternatives for the
//! matcher; a backslash in a class escapes for git and is a letter for the matcher; and a class that is never closed
//! matches nothing for git. Braces are escaped here. The other two are refused, as is everything else that can only be a
//! mistake, because a rule that silently matches nothing costs a person the copies that it was to keep out, or in.

/// The reason to refuse a pattern, with the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It has no character, or none besides slashes and spaces.
    #[error("it is empty; leave it out")]
    Empty,
    /// It begins with `!`.
    #[error("it begins with !; an exception is an --include, and a name that begins with ! is written \\!")]
    Negated,
    /// A class (`[`) has no end.
    #[error("its [ has no ]; a name with a [ is written \\[")]
    UnclosedClass,
    /// A class has a backslash.
    #[error("it has a backslash between [ and ]; a ] stands first there, as in []a], and a - last")]
    BackslashInClass,
    /// A class has a character that is more than one byte.
    #[error("it has a letter between [ and ] that is more than one byte; write a rule for each of its names")]
    WideClass,
    /// It ends in a backslash.
    #[error("it ends in a backslash; a name that does is written with two")]
    TrailingBackslash,
    /// It has a name that no path has.
    #[error("it has a . or .. among its names, which no path below the source has; write it without")]
    Dots,
    /// It is an absolute path of the machine, as it seems.
    #[error("the matcher refuses it: {0}")]
    Refused(String),
}

/// The line that the matcher has to read for a pattern: without a comment sign, with its spaces, with braces as letters.
///
/// # Errors
/// The pattern can match nothing.
pub(super) fn line_of(pattern: &str, includes: bool) -> Result<String, BadPattern> {
    if pattern.trim_matches(['/', ' ']).is_empty() {
        return Err(BadPattern::Empty);
    }
    if pattern.starts_with('!') {
        return Err(BadPattern::Negated);
    }
    if pattern.trim_matches('/').split('/').any(|name| name == "." || name == "..") {
        return Err(BadPattern::Dots);
    }
    let mut line = String::with_capacity(pattern.len() + 8);
    if includes {
        line.push('!');
    }
    if pattern.starts_with('#') {
        line.push('\\');
    }
    escape_braces(pattern, &mut line)?;
    // The matcher drops spaces at the end of a line, as git does; here the shell or the file has settled them. The first
    // may have its backslash.
    let body = line.trim_end_matches(' ');
    let backslashes = body.len() - body.trim_end_matches('\\').len();
    let body = body.len() + backslashes % 2;
    let spaces = line.split_off(body.min(line.len())).len();
    line.push_str(&"\\ ".repeat(spaces));
    Ok(line)
}

fn escape_braces(pattern: &str, line: &mut String) -> Result<(), BadPattern> {
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                line.push('\\');
                line.push(characters.next().ok_or(BadPattern::TrailingBackslash)?);
            }
            '{' | '}' => line.extend(['\\', character]),
            '[' => {
                line.push('[');
                if let Some(negation) = characters.next_if(|next| matches!(next, '!' | '^')) {
                    line.push(negation);
                }
                let mut is_first = true;
                loop {
                    let character = characters.next().ok_or(BadPattern::UnclosedClass)?;
                    line.push(character);
                    match character {
                        ']' if !is_first => break,
                        '\\' => return Err(BadPattern::BackslashInClass),
                        // A class of POSIX, as in [[:digit:]]: its end is none of the whole.
                        '[' if characters.peek() == Some(&':') => {
                            let mut last = ' ';
                            loop {
                                let character = characters.next().ok_or(BadPattern::UnclosedClass)?;
                                line.push(character);
                                if last == ':' && character == ']' {
                                    break;
                                }
                                last = character;
                            }
                        }
                        character if !character.is_ascii() => return Err(BadPattern::WideClass),
                        _ => {}
                    }
                    is_first = false;
                }
            }
            character => line.push(character),
        }
    }
    Ok(())
}

/// The folder below which alone a pattern can match, as far as its first wildcard tells: `a/b` for `/a/b` and for
/// `a/b/*.tmp`. None for one that is not anchored: it matches in every folder.
pub(super) fn anchor(pattern: &str) -> Option<Vec<&str>> {
    let trimmed = pattern.strip_suffix('/').unwrap_or(pattern);
    trimmed.contains('/').then(|| {
        let names = trimmed.trim_start_matches('/').split('/');
        names.take_while(|name| !name.contains(['*', '?', '[', '\\'])).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_lines_that_mean_the_same_to_the_matcher() {
        for (pattern, includes, line) in [
            ("*.tmp", false, "*.tmp"),
            ("*.tmp", true, "!*.tmp"),
            ("#a", false, "\\#a"),
            ("#a", true, "!\\#a"),
            ("a ", false, "a\\ "),
            ("a  ", true, "!a\\ \\ "),
            ("a\\ ", false, "a\\ "),
            ("a\\  ", false, "a\\ \\ "),
            ("a\\\\ ", false, "a\\\\\\ "),
            ("{a,b}", false, "\\{a,b\\}"),
            ("[{]", false, "[{]"),
            ("[]{]}", false, "[]{]\\}"),
            ("[![:digit:]{]{", false, "[![:digit:]{]\\{"),
            ("\\{", false, "\\{"),
            ("\\!a", false, "\\!a"),
        ] {
            assert_eq!(line_of(pattern, includes).as_deref(), Ok(line), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_refused() {
        for (pattern, reason) in [
            ("", BadPattern::Empty),
            ("/", BadPattern::Empty),
            ("  ", BadPattern::Empty),
            ("!", BadPattern::Negated),
            ("!a", BadPattern::Negated),
            ("a[", BadPattern::UnclosedClass),
            ("[]", BadPattern::UnclosedClass),
            ("[[:digit:", BadPattern::UnclosedClass),
            ("[\\]]", BadPattern::BackslashInClass),
            ("[äö]", BadPattern::WideClass),
            ("a\\", BadPattern::TrailingBackslash),
            ("./a", BadPattern::Dots),
            ("a/../b", BadPattern::Dots),
        ] {
            assert_eq!(line_of(pattern, false), Err(reason), "{pattern}");
        }
    }

    #[test]
    fn the_anchor_of_a_pattern_ends_before_its_first_wildcard() {
        for (pattern, expected) in [
            ("a", None),
            ("*.tmp", None),
            ("a/", None),
            ("/a", Some(vec!["a"])),
            ("/a/", Some(vec!["a"])),
            ("a/b", Some(vec!["a", "b"])),
            ("a/b/*.c", Some(vec!["a", "b"])),
            ("/*", Some(vec![])),
            ("**/a", Some(vec![])),
            ("a/\\*/b", Some(vec!["a"])),
        ] {
            assert_eq!(anchor(pattern), expected, "{pattern}");
        }
    }
}
