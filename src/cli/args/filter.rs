//! The options that leave something out of the mirror.
//!
//! The order of the rules decides, across three options. clap knows it as positions on the command line, so that these
//! options are read by hand.

use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::ffi::OsString;

/// The filter, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterArgs {
    /// `--exclude`, `--include` and `--exclude-from` in their order.
    pub rules: Vec<RuleArg>,
    /// See `--exclude-caches`.
    pub exclude_caches: bool,
    /// See `--exclude-if-present`.
    pub exclude_if_present: Vec<OsString>,
    /// See `--min-size`.
    pub min_size: Option<OsString>,
    /// See `--max-size`.
    pub max_size: Option<OsString>,
    /// See `--one-file-system`.
    pub one_file_system: bool,
    /// See `--delete-excluded`.
    pub delete_excluded: bool,
}

/// One of the options that are rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleArg {
    /// The pattern of `--exclude`.
    Exclude(OsString),
    /// The pattern of `--include`.
    Include(OsString),
    /// The file of `--exclude-from`.
    From(OsString),
}

/// The options in the form that clap reads.
#[derive(Args)]
struct Options {
    /// Leave out what matches, as in .gitignore: *.tmp in any folder, /a only at the top, cache/ only
    /// folders. Patterns begin at the source root, and of two that match the later one decides. Nothing
    /// below a folder that is left out is looked at. The replica keeps what it has of it
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "What to leave out")]
    exclude: Vec<OsString>,

    /// Make an exception to the --exclude options before it
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "What to leave out")]
    include: Vec<OsString>,

    /// Read patterns from a file, one on each line: ! before an exception, # before a comment. The file
    /// lies outside of source and replica, and is read once, at the start
    #[arg(long, value_name = "FILE", help_heading = "What to leave out")]
    exclude_from: Vec<OsString>,

    /// Leave out what is in a folder with a valid CACHEDIR.TAG, but for that file
    #[arg(long, help_heading = "What to leave out")]
    exclude_caches: bool,

    /// Leave out what is in a folder with an entry of this name, but for that entry
    #[arg(long, value_name = "NAME", help_heading = "What to leave out")]
    exclude_if_present: Vec<OsString>,

    /// Leave out files of fewer bytes: 1, 10K, 1MiB
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = "What to leave out")]
    min_size: Option<OsString>,

    /// Leave out files of more bytes
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = "What to leave out")]
    max_size: Option<OsString>,

    /// Leave out what is in a folder on another filesystem than the source root; the folder itself is
    /// mirrored
    #[arg(short = 'x', long, help_heading = "What to leave out")]
    one_file_system: bool,

    /// Delete what is left out from the replica
    #[arg(long, help_heading = "What to leave out")]
    delete_excluded: bool,
}

impl Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        Options::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Options::augment_args_for_update(command)
    }
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<FilterArgs, clap::Error> {
        let Options {
            exclude,
            include,
            exclude_from,
            exclude_caches,
            exclude_if_present,
            min_size,
            max_size,
            one_file_system,
            delete_excluded,
        } = Options::from_arg_matches(matches)?;
        let placed = |option: &str, values: Vec<OsString>, rule: fn(OsString) -> RuleArg| {
            let places: Vec<usize> = matches.indices_of(option).into_iter().flatten().collect();
            places.into_iter().zip(values.into_iter().map(rule)).collect::<Vec<_>>()
        };
        let mut rules = placed("exclude", exclude, RuleArg::Exclude);
        rules.extend(placed("include", include, RuleArg::Include));
        rules.extend(placed("exclude_from", exclude_from, RuleArg::From));
        rules.sort_by_key(|(place, _)| *place);
        let rules = rules.into_iter().map(|(_, rule)| rule).collect();
        Ok(FilterArgs {
            rules,
            exclude_caches,
            exclude_if_present,
            min_size,
            max_size,
            one_file_system,
            delete_excluded,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = FilterArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::parse;

    #[test]
    fn rules_keep_the_order_of_the_command_line() {
        let words = "file-sync --exclude-from f --exclude a --include=b --exclude c --include -d -x";
        let cli = parse(words.split(' ').map(OsString::from)).unwrap();
        let expected = [
            RuleArg::From("f".into()),
            RuleArg::Exclude("a".into()),
            RuleArg::Include("b".into()),
            RuleArg::Exclude("c".into()),
            RuleArg::Include("-d".into()),
        ];
        assert_eq!(cli.filter.rules, expected);
        assert!(cli.filter.one_file_system);
    }
}
