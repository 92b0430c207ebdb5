//! What is left out: the patterns, their files, and the other rules of the filter.

use crate::cli::args::filter::{FilterArgs, RuleArg};
use crate::cli::args::size::Size;
use crate::cli::config::{Environment, UsageError, given_path};
use crate::filter::{FilterOptions, Origin, Rule, Rules};
use crate::model::path::shown;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Checks the filter.
///
/// # Errors
/// A pattern, a size or a name is none, the order of the rules can only be a mistake, or a file of rules cannot be read
/// or lies in one of the roots.
pub(in crate::cli) fn filter(
    given: FilterArgs,
    roots: [(&str, &Path); 2],
    environment: &Environment,
) -> Result<FilterOptions, UsageError> {
    let mut rules = Vec::new();
    for rule in given.rules {
        match rule {
            RuleArg::Exclude(pattern) => rules.push(typed("--exclude", &pattern, false)?),
            RuleArg::Include(pattern) => rules.push(typed("--include", &pattern, true)?),
            RuleArg::From(path) => rules.append(&mut from_file(path, roots, environment)?),
        }
    }
    let markers = given.exclude_if_present.into_iter().map(marker).collect::<Result<_, _>>()?;
    let filter = FilterOptions {
        rules: Rules::new(rules).map_err(|bad| UsageError(bad.to_string()))?,
        caches: given.exclude_caches,
        markers,
        min_size: given.min_size.map(|size| bytes("--min-size", &size)).transpose()?,
        max_size: given.max_size.map(|size| bytes("--max-size", &size)).transpose()?,
        one_file_system: given.one_file_system,
        delete_excluded: given.delete_excluded,
    };
    if let (Some(least), Some(most)) = (filter.min_size, filter.max_size)
        && least > most
    {
        return Err(UsageError(format!(
            "Cannot use --min-size with --max-size: no file has at least {least} bytes and at most {most}"
        )));
    }
    if filter.delete_excluded && !filter.is_on() {
        return Err(UsageError(
            "Cannot use --delete-excluded alone: nothing is left out; say what with --exclude PATTERN".into(),
        ));
    }
    Ok(filter)
}

fn typed(option: &str, pattern: &OsStr, includes: bool) -> Result<Rule, UsageError> {
    let pattern = pattern.to_str().ok_or_else(|| {
        let pattern = shown(pattern.as_bytes());
        UsageError(format!("Cannot use {option} {pattern}: it is not UTF-8; write a ? for each such byte"))
    })?;
    Ok(Rule { pattern: pattern.to_owned(), includes, origin: Origin::CommandLine })
}

fn marker(name: OsString) -> Result<CString, UsageError> {
    let is_name = !name.is_empty() && !name.as_bytes().contains(&b'/') && name != "." && name != "..";
    let words = shown(name.as_bytes());
    CString::new(name.into_vec()).ok().filter(|_| is_name).ok_or_else(|| {
        UsageError(format!(
            "Cannot use --exclude-if-present {words}: it is no name of an entry; give one without a slash, such as \
             --exclude-if-present .nobackup"
        ))
    })
}

fn bytes(option: &str, given: &OsStr) -> Result<u64, UsageError> {
    let size = Size::parse(&given.to_string_lossy()).map_err(|reason| {
        let given = shown(given.as_bytes());
        UsageError(format!(
            "Cannot use {option} {given}: {reason}; give bytes or a size, such as {option} 1000 or {option} 4GiB"
        ))
    })?;
    Ok(size.bytes)
}

/// Reads a file of rules. It must not lie in a root: whoever can write there could keep files out of the mirror.
fn from_file(
    given: OsString,
    roots: [(&str, &Path); 2],
    environment: &Environment,
) -> Result<Vec<Rule>, UsageError> {
    let words = shown(given.as_bytes());
    let refused = |reason: String| {
        let way_out =
            "give a file of patterns, one on each line, such as --exclude-from /etc/file-sync/exclude";
        UsageError(format!("Cannot use --exclude-from {words}: {reason}; {way_out}"))
    };
    let path = given_path("--exclude-from", given.clone(), environment)?;
    let real = (environment.resolve)(&path);
    for (name, root) in roots {
        let root = given_path("--source", root.as_os_str().to_owned(), environment)?;
        if real.starts_with((environment.resolve)(&root)) {
            return Err(refused(format!(
                "it lies inside the {name}, and whoever can write there could keep files out of the replica"
            )));
        }
    }
    let text = (environment.read_rules)(&path).map_err(|reason| refused(reason.to_string()))?;
    rules_of(&text, &PathBuf::from(given))
        .map_err(|line| refused(format!("line {line} is not UTF-8 (a ? stands for any byte)")))
}

/// The rules in a text of the form of `.gitignore` (gitignore(5)).
///
/// # Errors
/// The number of a line that is not UTF-8.
fn rules_of(text: &[u8], path: &Path) -> Result<Vec<Rule>, usize> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut rules = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = number + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = without_spaces(std::str::from_utf8(line).map_err(|_| number)?);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (includes, pattern) = line.strip_prefix('!').map_or((false, line), |pattern| (true, pattern));
        let origin = Origin::File { path: path.to_owned(), line: number };
        // A comment sign at the beginning is escaped in a file, and a letter in a rule.
        let pattern = pattern.strip_prefix('\\').filter(|rest| rest.starts_with('#')).unwrap_or(pattern);
        rules.push(Rule { pattern: pattern.to_owned(), includes, origin });
    }
    Ok(rules)
}

/// A line without the spaces at its end, but for one that a backslash keeps.
fn without_spaces(line: &str) -> &str {
    let end = line.trim_end_matches(' ').len();
    let body = line.get(..end).unwrap_or(line);
    let backslashes = body.len() - body.trim_end_matches('\\').len();
    if backslashes % 2 == 1 { line.get(..end + 1).unwrap_or(line) } else { body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(text: &str) -> Vec<(String, bool, usize)> {
        let rules = rules_of(text.as_bytes(), Path::new("/rules")).unwrap();
        let parts = |rule: Rule| match rule.origin {
            Origin::File { line, .. } => (rule.pattern, rule.includes, line),
            Origin::CommandLine => panic!("{rule}"),
        };
        rules.into_iter().map(parts).collect()
    }

    #[test]
    fn a_file_of_rules_reads_as_a_gitignore() {
        let text = "\u{feff}# comment\r\n\r\n*.tmp  \r\n!keep.tmp\n\\#a\n\\!b\na\\ \n  \nlast";
        let expected = [
            ("*.tmp", false, 3),
            ("keep.tmp", true, 4),
            ("#a", false, 5),
            ("\\!b", false, 6),
            ("a\\ ", false, 7),
            ("last", false, 9),
        ];
        let expected = expected.map(|(pattern, includes, line)| (pattern.to_owned(), includes, line));
        assert_eq!(patterns(text), expected);
        assert_eq!(rules_of(b"a\n\xff\n", Path::new("/rules")), Err(2));
    }
}
