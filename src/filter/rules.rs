//! The rules in their order, with their matcher.

use crate::filter::pattern::{BadPattern, line_of};
use crate::filter::rule::{BadOrder, Rule, check_order};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rules that can be used. Of two that match a path, the later one decides.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    matcher: Arc<Gitignore>,
}

/// The reason to refuse rules, with the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// One of them cannot be used.
    #[error("Cannot use the rule {rule}: {reason}")]
    Pattern {
        /// The rule.
        rule: Rule,
        /// The reason.
        reason: BadPattern,
    },
    /// All of them together are too large for the matcher.
    #[error("Cannot use so many rules at once: {0}; use fewer, or shorter ones")]
    TooMany(String),
    /// They are in an order that can only be a mistake.
    #[error("{0}")]
    Order(BadOrder),
}

impl Default for Rules {
    /// No rule.
    fn default() -> Rules {
        Rules { rules: Vec::new(), matcher: Arc::new(Gitignore::empty()) }
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Rules) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Rules {}

impl Rules {
    /// Prepares rules.
    ///
    /// # Errors
    /// A pattern is none, or the order can only be a mistake.
    pub fn new(rules: Vec<Rule>) -> Result<Rules, BadRules> {
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for (number, rule) in rules.iter().enumerate() {
            let bad = |reason| BadRules::Pattern { rule: rule.clone(), reason };
            let line = line_of(&rule.pattern, rule.includes).map_err(bad)?;
            // The matcher gives the place of a rule back with a match: the place is its number.
            builder
                .add_line(Some(PathBuf::from(number.to_string())), &line)
                .map_err(|error| bad(BadPattern::Refused(error.to_string())))?;
        }
        check_order(&rules).map_err(BadRules::Order)?;
        let matcher = builder.build().map_err(|error| BadRules::TooMany(error.to_string()))?;
        Ok(Rules { rules, matcher: Arc::new(matcher) })
    }

    /// The rules in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether one of them is for folders alone.
    pub(super) fn have_one_for_folders(&self) -> bool {
        self.rules.iter().any(|rule| rule.pattern.ends_with('/'))
    }

    /// The last rule that matches a path below the source root, by its number, and whether it leaves out.
    pub(super) fn ask(&self, path: &[u8], is_folder: bool) -> Option<(usize, bool)> {
        // The place that `new` has given the rule; there is always one, and it is a number.
        let number = |glob: &Glob| glob.from()?.to_str()?.parse().ok();
        match self.matcher.matched(Path::new(OsStr::from_bytes(path)), is_folder) {
            Match::None => None,
            Match::Ignore(glob) => Some((number(glob)?, true)),
            Match::Whitelist(glob) => Some((number(glob)?, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::rule::Origin;

    /// Rules as in a `.gitignore`, with `!` for an exception.
    fn rules(lines: &[&str]) -> Result<Rules, BadRules> {
        let rule = |line: &&str| Rule {
            pattern: line.strip_prefix('!').unwrap_or(line).to_owned(),
            includes: line.starts_with('!'),
            origin: Origin::CommandLine,
        };
        Rules::new(lines.iter().map(rule).collect())
    }

    /// Whether a path is left out, given the folders above it, as `git check-ignore` has it.
    fn is_out(rules: &Rules, path: &str) -> bool {
        let (path, is_folder) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let ends = path.match_indices('/').map(|(at, _)| (at, true)).chain([(path.len(), is_folder)]);
        ends.map(|(end, is_folder)| rules.ask(&path.as_bytes()[..end], is_folder))
            .any(|answer| answer.is_some_and(|(_, excludes)| excludes))
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        // Each line was compared with git check-ignore.
        for (lines, path, expected) in [
            (&["*.tmp"][..], "a.tmp", true),
            (&["*.tmp"], "a/b/c.tmp", true),
            (&["/*.tmp"], "a/c.tmp", false),
            (&["a/b"], "a/b", true),
            (&["a/b"], "x/a/b", false),
            (&["b/"], "a/b", false),
            (&["b/"], "a/b/", true),
            (&["b/"], "a/b/c", true),
            (&["a/**"], "a/", false),
            (&["a/**"], "a/x/y", true),
            (&["**/x/y"], "x/y", true),
            (&["a/**/b"], "a/b", true),
            (&["*", "!*/", "!*.jpg"], "a/b.jpg", false),
            (&["*", "!*/", "!*.jpg"], "a/b.png", true),
            (&["a/", "!a/keep"], "a/keep", true),
            (&["a/*", "!a/keep"], "a/keep", false),
            (&["{a,b}"], "a", false),
            (&["{a,b}"], "{a,b}", true),
            (&["[[:digit:]]x"], "1x", true),
            (&["[!a]x"], "bx", true),
            (&["a?b"], "a/b", false),
            (&["#x"], "#x", true),
        ] {
            assert_eq!(is_out(&rules(lines).unwrap(), path), expected, "{lines:?} {path}");
        }
    }

    #[test]
    fn names_are_bytes() {
        let rules = rules(&["*.tmp", "caf\u{e9}", "a?b"]).unwrap();
        assert!(rules.ask(b"\xff\xfe.tmp", false).is_some());
        assert!(rules.ask("caf\u{e9}".as_bytes(), false).is_some());
        assert!(rules.ask(b"caf\xe9", false).is_none());
        assert!(rules.ask(b"a\xffb", false).is_some());
        assert!(rules.ask(b"line\nbreak.tmp", false).is_some());
    }

    #[test]
    fn the_last_rule_that_matches_decides_and_is_named() {
        let rules = rules(&["*.tmp", "!keep.tmp", "/a/keep.tmp"]).unwrap();
        assert_eq!(rules.ask(b"x.tmp", false), Some((0, true)));
        assert_eq!(rules.ask(b"keep.tmp", false), Some((1, false)));
        assert_eq!(rules.ask(b"a/keep.tmp", false), Some((2, true)));
        assert_eq!(rules.ask(b"x", false), None);
    }
}
