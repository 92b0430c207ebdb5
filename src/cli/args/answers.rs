//! Answers to command lines that make no sense, where clap's own words tell too little or guess wrong.

use crate::cli::args::habits::{advice, foreign, swallowed};
use crate::cli::args::screens::{ALONE, SCREEN};
use crate::cli::args::{Cli, Color, example_of, usage_error};
use crate::model::path::shown;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;

/// The options whose value may begin with a hyphen, so that clap takes the next option for it.
const TAKE_HYPHENS: [&str; 7] =
    ["--interval", "--rpo", "--rehash-after", "--digest-after", "--bwlimit", "--max-delete", "--max-change"];

/// Replaces clap's errors where it cannot know what is meant.
pub(super) fn explained(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let (first, kind) = (arguments.get(1), error.kind());
    let asks_for_help = first.is_some_and(|word| word == "-h" || (word == "help" && arguments.len() == 2));
    let instead = if asks_for_help {
        page(SCREEN, Some("--help"))
    } else if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        page(ALONE, None)
    } else if first.is_some_and(|word| Cli::command().find_subcommand(word).is_some()) {
        None
    } else {
        message_for(&error, arguments).map(|message| usage_error(&message, Color::Auto))
    };
    instead.unwrap_or_else(|| with_example(error))
}

/// A message for words that no option and no command takes.
fn message_for(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    let (command, argument) = (text(ContextKind::InvalidSubcommand), text(ContextKind::InvalidArg));
    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
    let stray = command.or(argument.filter(|_| is_unknown))?;
    if let Some((option, value)) = swallowed(arguments, &TAKE_HYPHENS) {
        let (option, value) = (option.to_string_lossy(), value.to_string_lossy());
        let example = example_of(&option).unwrap_or_default();
        return Some(format!(
            "The option {option} needs a value, and {value} comes next; for example {example}"
        ));
    }
    let is_like_command = error.get(ContextKind::SuggestedSubcommand).is_some();
    advice(arguments, stray, is_like_command).or_else(|| match (command, is_like_command) {
        // clap names the command that is meant.
        (Some(_), true) => None,
        (Some(name), false) if Cli::command().find_subcommand(name).is_none() => {
            let cli = Cli::command();
            let all: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
            let name = shown(name.as_bytes());
            Some(format!("There is no command {name}; the commands are {}", all.join(", ")))
        }
        (Some(name), false) => {
            Some(format!("The command {name} comes first, before its options; see file-sync {name} --help"))
        }
        (None, _) => {
            let option = shown(stray.as_bytes());
            foreign(stray).map(|answer| format!("There is no option {option}: {answer}"))
        }
    })
}

/// A page in place of the generated help, as clap prints it: with `--help` to standard output with exit code 0, without
/// any argument to standard error with exit code 2.
pub(super) fn page(text: &'static str, argument: Option<&str>) -> Option<clap::Error> {
    let words = ["file-sync"].into_iter().chain(argument);
    Cli::command().override_help(text).try_get_matches_from(words).err()
}

/// Adds a valid value to an error about one option.
fn with_example(mut error: clap::Error) -> clap::Error {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::MissingRequiredArgument) {
        return error;
    }
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.clone(),
        Some(ContextValue::Strings(arguments)) => arguments.join(" "),
        Some(_) | None => return error,
    };
    if let Some(example) = example_of(&argument) {
        let tip = format!("for example {example}").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}
