//! One rule of a filter, as a person gave it.

use crate::model::path::shown;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A pattern, and whether it leaves out or makes an exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The pattern, without the `!` of an exception.
    pub pattern: String,
    /// True for an exception to the rules before it.
    pub includes: bool,
    /// Where it stands.
    pub origin: Origin,
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    CommandLine,
    /// In a file of rules.
    File {
        /// The path as the user gave it.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl fmt::Display for Rule {
    /// The pattern, and in parentheses its place: `*.tmp (--exclude)`, `!*.tmp (/etc/rules:3)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = shown(self.pattern.as_bytes());
        match &self.origin {
            Origin::CommandLine if self.includes => write!(f, "{pattern} (--include)"),
            Origin::CommandLine => write!(f, "{pattern} (--exclude)"),
            Origin::File { path, line } => {
                let sign = if self.includes { "!" } else { "" };
                write!(f, "{sign}{pattern} ({}:{line})", shown(path.as_os_str().as_bytes()))
            }
        }
    }
}

/// The reason to refuse a list of rules, with the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOrder {
    /// An exception without a rule before it.
    #[error(
        "The exception {rule} does nothing: it makes an exception to the --exclude rules before it, and there is none \
         (the last rule that matches decides, as in .gitignore){way_out}"
    )]
    NothingBefore {
        /// The exception.
        rule: Rule,
        /// The line that works, if there is one.
        way_out: String,
    },
    /// A rule that leaves everything out after an exception.
    #[error(
        "The rule {rule} leaves out everything, also the exceptions before it: the last rule that matches decides, as in \
         .gitignore{way_out}"
    )]
    UndoesAll {
        /// The rule.
        rule: Rule,
        /// The line that works, if there is one.
        way_out: String,
    },
}

/// Refuses orders that can only be a mistake, above all the one of rsync, where the first rule that matches decides.
///
/// # Errors
/// An exception stands before all rules, or a rule for everything behind one.
pub(super) fn check_order(rules: &[Rule]) -> Result<(), BadOrder> {
    let order: Vec<&Rule> = rules.iter().collect();
    let Some(mistake) = mistake(&order) else { return Ok(()) };
    let way_out = match reordered(rules) {
        Some(line) => format!("; say {line}"),
        None => "; put the rule that leaves out before its exceptions".to_owned(),
    };
    Err(match mistake {
        Mistake::NothingBefore(rule) => BadOrder::NothingBefore { rule: rule.clone(), way_out },
        Mistake::UndoesAll(rule) => BadOrder::UndoesAll { rule: rule.clone(), way_out },
    })
}

/// A rule in the wrong place.
enum Mistake<'a> {
    NothingBefore(&'a Rule),
    UndoesAll(&'a Rule),
}

fn mistake<'a>(rules: &[&'a Rule]) -> Option<Mistake<'a>> {
    let first = rules.iter().position(|rule| rule.includes)?;
    if first == 0 {
        return rules.first().map(|rule| Mistake::NothingBefore(rule));
    }
    let undoes = |rule: &&&Rule| !rule.includes && matches_all(&rule.pattern);
    rules.iter().skip(first).find(undoes).map(|rule| Mistake::UndoesAll(rule))
}

fn matches_all(pattern: &str) -> bool {
    matches!(pattern, "*" | "/*" | "**" | "/**" | "**/*" | "*/**")
}

/// The options in an order that works. None where there is nothing to leave out, or a rule stands in a file.
///
/// A list that begins with an exception is read as one of rsync, where the first rule that matches decides: backwards, it
/// means the same here. In any other list only the rules for everything have to come first.
fn reordered(rules: &[Rule]) -> Option<String> {
    let is_typed =
        |rule: &Rule| rule.origin == Origin::CommandLine && !rule.pattern.contains(char::is_control);
    if !rules.iter().all(is_typed) || rules.iter().all(|rule| rule.includes) {
        return None;
    }
    let mut order: Vec<&Rule> = rules.iter().collect();
    if rules.first().is_some_and(|rule| rule.includes) {
        order.reverse();
    }
    // A stable sort: the others keep their order.
    order.sort_by_key(|rule| rule.includes || !matches_all(&rule.pattern));
    if mistake(&order).is_some() {
        return None;
    }
    let option = |rule: &Rule| {
        let option = if rule.includes { "--include" } else { "--exclude" };
        format!("{option} '{}'", rule.pattern.replace('\'', r"'\''"))
    };
    Some(order.into_iter().map(option).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        let rule = |text: &&str| Rule {
            pattern: text.trim_start_matches('+').to_owned(),
            includes: text.starts_with('+'),
            origin: Origin::CommandLine,
        };
        texts.iter().map(rule).collect()
    }

    fn answer(texts: &[&str]) -> Option<String> {
        check_order(&rules(texts)).err().map(|error| error.to_string())
    }

    #[test]
    fn the_order_of_rsync_is_refused_with_the_one_that_works() {
        let said = answer(&["+*/", "+*.jpg", "*"]).unwrap();
        assert!(said.ends_with("; say --exclude '*' --include '*.jpg' --include '*/'"), "{said}");
        assert_eq!(answer(&["*", "+*/", "+*.jpg"]), None);
        let said = answer(&["*.tmp", "+keep.tmp", "*"]).unwrap();
        assert!(said.starts_with("The rule * (--exclude) leaves out everything"), "{said}");
        assert!(said.ends_with("; say --exclude '*' --exclude '*.tmp' --include 'keep.tmp'"), "{said}");
    }

    #[test]
    fn an_exception_to_nothing_is_refused() {
        let said = answer(&["+*.jpg"]).unwrap();
        assert!(said.contains("*.jpg (--include) does nothing"), "{said}");
        assert!(said.ends_with("; put the rule that leaves out before its exceptions"), "{said}");
        assert!(answer(&["+a", "*.tmp"]).unwrap().ends_with("; say --exclude '*.tmp' --include 'a'"));
        // Backwards, it would begin with an exception, too.
        assert!(answer(&["+a", "b", "+c"]).unwrap().ends_with("before its exceptions"));
        assert!(answer(&["+a\n", "b"]).unwrap().ends_with("before its exceptions"));
        assert_eq!(answer(&["*.tmp", "+a.tmp", "b"]), None);
        assert_eq!(answer(&["*.tmp"]), None);
        assert_eq!(answer(&[]), None);
    }
}
