//! The form in which a dry run shows its plan.

use crate::cli::args::{Cli, LogFormat};
use crate::cli::config::{RunMode, UsageError};

/// The form of a plan on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanForm {
    /// Groups and totals, for a person at a terminal.
    Summary,
    /// One line for each change, for scripts and pipes.
    Lines,
    /// One JSON object for each change, and one with the totals.
    Json,
}

/// How a dry run shows its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// The form.
    pub form: PlanForm,
    /// True: the summary shows every change, and the other forms also name what is left out and what is equal.
    pub verbose: bool,
    /// True: no change is named.
    pub quiet: bool,
    /// True: the summary is coloured.
    pub color: bool,
}

/// The form of the plan; none where a pass carries it out.
///
/// # Errors
/// `--json` without `--dry-run`.
pub(super) fn plan(
    cli: &Cli,
    mode: RunMode,
    (is_terminal, color): (bool, bool),
) -> Result<Option<PlanOptions>, UsageError> {
    if mode != RunMode::DryRun {
        return if cli.json {
            Err(UsageError(
                "Cannot use --json: it shows the plan of a dry run; add --dry-run, or write the log of passes as JSON \
                 with --log-format json"
                    .to_owned(),
            ))
        } else {
            Ok(None)
        };
    }
    let form = match cli.log_format {
        _ if cli.json => PlanForm::Json,
        LogFormat::Json => PlanForm::Json,
        LogFormat::Text if is_terminal => PlanForm::Summary,
        LogFormat::Text => PlanForm::Lines,
    };
    Ok(Some(PlanOptions { form, verbose: cli.verbose, quiet: cli.quiet, color }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::parse;
    use crate::cli::config::Config;
    use crate::cli::config::tests::environment;
    use crate::log::Show;
    use std::ffi::OsString;

    fn config(line: &str, is_terminal: bool) -> Result<Config, String> {
        let words = format!("file-sync --source /src --replica /dst {line}");
        let cli = parse(words.split_whitespace().map(OsString::from)).expect("clap takes it");
        let environment = crate::cli::config::Environment { is_terminal, ..environment() };
        Config::new(cli, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_form_of_a_plan_follows_from_the_terminal_and_json() {
        for (line, is_terminal, form, show) in [
            ("-n", true, PlanForm::Summary, Show::WithoutPassEnds),
            ("-n -q", true, PlanForm::Summary, Show::Warnings),
            ("-n", false, PlanForm::Lines, Show::Warnings),
            ("-n --color always", false, PlanForm::Lines, Show::Warnings),
            ("-n --json", true, PlanForm::Json, Show::Warnings),
            ("-n --log-format json", false, PlanForm::Json, Show::Warnings),
        ] {
            let config = config(line, is_terminal).expect(line);
            assert_eq!(config.plan.map(|plan| plan.form), Some(form), "{line}");
            assert_eq!(config.log.console.show, show, "{line}");
        }
        assert_eq!(config("--once", true).expect("valid").plan, None);
        assert!(
            config("-n --color never", true).is_ok_and(|config| config.plan.is_some_and(|plan| !plan.color))
        );
        let message = config("--once --json", false).expect_err("no plan is shown");
        assert!(message.contains("add --dry-run") && message.contains("--log-format json"), "{message}");
    }
}
