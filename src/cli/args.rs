//! The command line as typed: the options, the text of `--help`, and nothing more.
//!
//! Values stay raw here (`OsString`, optional even where they are required), because clap's errors for a bad value
//! neither name its consequence nor show a good one. `config` validates them, and its errors come back through
//! [`usage_error`] so that all of them look alike.

mod pairs;

pub use self::pairs::PairArgs;

mod answers;
mod checks;
mod command;
mod explain;
pub(crate) mod filter;
mod habits;
mod screens;
pub(crate) mod size;

pub use self::checks::{ManifestArgs, ReplicaArgs, VerifyArgs};
pub use self::command::Command;
pub use self::explain::ExplainArgs;
pub use self::filter::{FilterArgs, RuleArg};

use self::answers::{explained, page};
use self::screens::SCREEN;
use clap::error::ErrorKind;
use clap::{ArgAction, ColorChoice, CommandFactory, Parser, ValueEnum};
use std::ffi::OsString;

const USAGE: &str = "\
file-sync --source DIR --replica DIR --interval TIME --log_file PATH [OPTIONS]
       file-sync --source DIR --replica DIR --once | --dry-run [OPTIONS]
       file-sync COMMAND [OPTIONS]";

const AFTER_HELP: &str = "\
Examples:
  Mirror a folder every 15 minutes until stopped:
    file-sync --source /data --replica /mnt/backup --interval 15m --log_file /var/log/file-sync/

  See what the next pass would do, without doing it:
    file-sync --source /data --replica /mnt/backup --dry-run

  Bring the replica up to date once, for instance from cron:
    file-sync --source /data --replica /mnt/backup --log_file /tmp/once.log --once --quiet

  See whether every replica is as fresh as it has to be:
    file-sync status

  Read a replica and check every file against its recorded digest:
    file-sync verify --replica /mnt/backup

Signals:
  SIGTERM, SIGINT   Stop: leave no file half done; a second one exits at once
  SIGHUP            Open the log file anew, for logrotate; stop when the terminal was closed
  SIGUSR1           Start a pass now

Exit codes:
   0  Done: the replica matches the source; or a signal stopped repeated passes
   1  Error: the source is missing, or the replica cannot be used or is locked by another file-sync
   2  Usage: the command line makes no sense
  20  Stopped: a signal ended a single pass before it was done
  23  Done with problems: the log names the paths that could not be mirrored; or, of status, a
      replica is older than its RPO
  25  Held: the plan looks like a disaster, or does not fit, so nothing was changed; the log says
      why, and names the command or the option that lets it through
  Repeated passes with problems, or held ones, do not end the program; a missing source does.";

/// The raw arguments.
#[derive(Debug, Parser)]
#[command(
    name = "file-sync",
    version,
    about = "Keeps a replica folder exactly equal to a source folder, pass after pass, on a schedule.",
    override_usage = USAGE,
    after_help = AFTER_HELP,
    // Both come last, and `--help` has clap's compact form: the other one is three times as long.
    disable_help_flag = true,
    disable_version_flag = true,
    max_term_width = 100,
    arg_required_else_help = true,
    // A command stands alone; without one, the options mirror.
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// The command; without one, the options mirror.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Folder to copy from; it is only ever read
    #[arg(long, value_name = "DIR", help_heading = "What to mirror")]
    pub source: Option<OsString>,

    /// Folder to make equal to the source: what the source does not have is deleted from it. It is
    /// created when missing
    #[arg(long, value_name = "DIR", help_heading = "What to mirror")]
    pub replica: Option<OsString>,

    /// Log file. An existing folder, or a path that ends in a slash, means file-sync.log inside it.
    /// Missing folders are created; --once and --dry-run do without. - means none: the console has
    /// every line. --log-file is the same option
    #[arg(long = "log_file", alias = "log-file", value_name = "PATH", help_heading = "What to mirror")]
    pub log_file: Option<OsString>,

    /// The filter.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Time from the start of one pass to the start of the next: seconds (60) or a duration (90s,
    /// 15m, 1h30m, 2d). A pass that takes longer is followed by the next at once
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "When")]
    pub interval: Option<OsString>,

    /// Recovery point objective: the greatest age that the replica may have. A warning tells when the
    /// next pass is likely to miss it, an error when it is missed, and `file-sync status` judges by it
    /// [default: twice the interval]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "When")]
    pub rpo: Option<OsString>,

    /// Run one pass, then exit; --interval is not needed
    #[arg(long, help_heading = "When")]
    pub once: bool,

    /// Show what one pass would do, then exit; nothing is written but the log. On a terminal a summary (-v
    /// shows all of it), in a pipe one line for each change
    #[arg(short = 'n', long, help_heading = "When")]
    pub dry_run: bool,

    /// Hold a pass that would delete more: percent of the replica's entries (20%), a number of entries
    /// (1000), a size (10GiB), 0 for none at all, or off [default: 50%, and at least 100 entries]
    #[arg(long, value_name = "LIMIT", allow_hyphen_values = true, help_heading = "Safety")]
    pub max_delete: Option<OsString>,

    /// Hold a pass that would overwrite more with other contents; the same limits and default
    #[arg(long, value_name = "LIMIT", allow_hyphen_values = true, help_heading = "Safety")]
    pub max_change: Option<OsString>,

    /// Do not hold a pass that needs more room than the replica has: copy what fits, and report the rest
    #[arg(long, help_heading = "Safety")]
    pub no_space_check: bool,

    /// Do not ask. On a terminal, a first pass asks before it deletes anything from a replica that file-sync
    /// has never written
    #[arg(short, long, help_heading = "Safety")]
    pub yes: bool,

    /// At most so many worker threads, 1 to 1024 [default: as many as the disks answer, up to 32; with
    /// --bwlimit one for each processor]
    #[arg(short = 'j', long, value_name = "N", allow_negative_numbers = true, help_heading = "How")]
    pub threads: Option<OsString>,

    /// How contents are compared, byte by byte in both cases: sha256 also digests the source on the
    /// way and logs it, bytes leaves that out and costs less of the processor
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Compare::Sha256, help_heading = "How")]
    pub compare: Compare,

    /// How long a file whose facts did not change is trusted without being read: 0 (every pass reads
    /// every file), a duration (24h, 30d), or never. Reading is spread evenly over that time
    #[arg(long, value_name = "TIME", default_value = "0", allow_hyphen_values = true, help_heading = "How")]
    pub rehash_after: OsString,

    /// How long the recorded digest of an unchanged file that was read and is equal on both sides
    /// stands without being computed again: 0, a duration, or never
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30d",
        allow_hyphen_values = true,
        help_heading = "How"
    )]
    pub digest_after: OsString,

    /// No process writes files of the source through memory (mmap): their times are believed after
    /// seconds instead of two minutes also by an ordinary user and in a container, who cannot see that
    #[arg(long, help_heading = "How")]
    pub no_mapped_writes: bool,

    /// Read every copy back from the disk, and compare it, before it replaces the old version
    #[arg(long, help_heading = "How")]
    pub verify_writes: bool,

    /// Folder for what is remembered of each pair of folders, outside of both [default:
    /// $STATE_DIRECTORY, or file-sync in $XDG_STATE_HOME or in ~/.local/state]
    #[arg(long, value_name = "DIR", help_heading = "How")]
    pub state_dir: Option<OsString>,

    /// At most so many bytes of contents per second, of all threads together, on each of the two sides:
    /// copying a file, or comparing it, takes at least its size divided by RATE. 50MiB, 10MB, 800K; K, M
    /// and G are powers of 1024, as for rsync; 0 or off for no limit
    #[arg(long, value_name = "RATE", allow_hyphen_values = true, help_heading = "Gentle")]
    pub bwlimit: Option<OsString>,

    /// Give way to other programs: the lowest priority for the processor (nice 19), and with it the
    /// lowest ordinary one for the disks
    #[arg(long, help_heading = "Gentle")]
    pub nice: bool,

    /// Also log every file that was compared and found equal, every entry that is left out and its rule,
    /// the phases of each pass, and every problem where more than ten of a kind would be summed up
    #[arg(short, long, conflicts_with = "quiet", help_heading = "What is shown")]
    pub verbose: bool,

    /// Show only warnings, errors and, of repeated passes, the end of each on the console; the log file
    /// keeps every line
    #[arg(short, long, help_heading = "What is shown")]
    pub quiet: bool,

    /// With --dry-run: print the plan as JSON, one object for each change and one with the totals
    #[arg(long, help_heading = "What is shown")]
    pub json: bool,

    /// Colors on the console; auto means on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto, help_heading = "What is shown")]
    pub color: Color,

    /// Size at which the log file is rotated: PATH becomes PATH.1, and so on. A size (64MiB, 10GB), or
    /// off
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64MiB",
        allow_hyphen_values = true,
        help_heading = "What is shown"
    )]
    pub log_max_size: OsString,

    /// Rotated log files that are kept, 1 to 999
    #[arg(
        long,
        value_name = "N",
        default_value = "5",
        allow_negative_numbers = true,
        help_heading = "What is shown"
    )]
    pub log_keep: OsString,

    /// Form of the lines in the log file and on the console
    #[arg(long, value_enum, value_name = "FORM", default_value_t = LogFormat::Text, help_heading = "What is shown")]
    pub log_format: LogFormat,

    /// Print the options that are used most, on one screen
    #[arg(short = 'h', help_heading = "About")]
    screen: bool,

    /// Print this help
    #[arg(long, action = ArgAction::HelpShort, help_heading = "About")]
    help: Option<bool>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "About")]
    version: Option<bool>,
}

impl Command {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Approve { .. } => "approve",
            Command::Explain(_) => "explain",
            Command::Status { .. } => "status",
            Command::History { .. } => "history",
            Command::Verify(_) => "verify",
            Command::Manifest(_) => "manifest",
            Command::Completions { .. } => "completions",
        }
    }

    /// Whether it prints sentences, which may be broken to fit a terminal; not tables, and nothing for programs.
    pub(crate) fn prints_sentences(&self) -> bool {
        match self {
            Command::Approve { .. } => true,
            Command::Explain(arguments) => !arguments.json,
            Command::Status { format, json, .. } => *format == StatusFormat::Text && !json,
            Command::History { .. }
            | Command::Verify(_)
            | Command::Manifest(_)
            | Command::Completions { .. } => false,
        }
    }
}

/// When to use colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How contents are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compare {
    /// All bytes of both sides; the source's are digested on the way.
    Sha256,
    /// All bytes of both sides; only what is copied is digested.
    Bytes,
}

/// How a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// A table for people.
    Text,
    /// One JSON document.
    Json,
    /// One line for Nagios, Icinga and their like.
    Nagios,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Valid values of each option, shown where one is missing.
const EXAMPLES: [(&str, &str); 28] = [
    ("--source", "--source /data"),
    ("--replica", "--replica /mnt/backup"),
    ("--log_file", "--log_file /var/log/file-sync/"),
    ("--interval", "--interval 15m"),
    ("--rpo", "--rpo 1h"),
    ("--format", "--format nagios"),
    ("--limit", "--limit 100"),
    ("--index", "--index /mnt/disk/index.db"),
    ("--exclude", "--exclude '*.tmp'"),
    ("--include", "--exclude '*.tmp' --include keep.tmp"),
    ("--exclude-from", "--exclude-from /etc/file-sync/exclude"),
    ("--exclude-if-present", "--exclude-if-present .nobackup"),
    ("--min-size", "--min-size 1"),
    ("--max-size", "--max-size 4GiB"),
    ("--max-delete", "--max-delete 20%"),
    ("--max-change", "--max-change 1000"),
    ("--threads", "--threads 4"),
    ("--bwlimit", "--bwlimit 50MiB"),
    ("--compare", "--compare bytes"),
    ("--rehash-after", "--rehash-after 30d"),
    ("--digest-after", "--digest-after 30d"),
    ("--state-dir", "--state-dir /var/lib/file-sync"),
    ("--color", "--color never"),
    ("--log-max-size", "--log-max-size 64MiB"),
    ("--log-keep", "--log-keep 5"),
    ("--log-format", "--log-format json"),
    ("<PATH>...", "file-sync explain /data/photos/cat.jpg"),
    ("<SHELL>", "file-sync completions bash"),
];

/// A valid use of an option, or of a required argument.
fn example_of(argument: &str) -> Option<&'static str> {
    let is_in = |option: &str| argument.split_whitespace().any(|word| word == option);
    EXAMPLES.iter().find(|(option, _)| is_in(option)).map(|(_, example)| *example)
}

/// Reads the command line, program name first.
///
/// # Errors
/// An option is unknown, given twice, lacks its value or excludes another; or help or the version was requested.
/// Printing the error and exiting with its `exit_code` is right in every case.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) if cli.screen => page(SCREEN, Some("--help")).map_or(Ok(cli), Err),
        Ok(cli) => Ok(cli),
        Err(error) => Err(explained(error, &arguments)),
    }
}

/// An error about the arguments in clap's own form, with exit code 2.
pub fn usage_error(message: &str, color: Color) -> clap::Error {
    usage_error_of(None, message, color)
}

/// As [`usage_error`], with the usage of a command.
pub(crate) fn usage_error_of(command: Option<&str>, message: &str, color: Color) -> clap::Error {
    let choice = match color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    };
    let mut cli = Cli::command();
    // Hands settings down to the commands.
    cli.build();
    let command = command.and_then(|name| cli.find_subcommand_mut(name)).cloned().unwrap_or(cli);
    command.color(choice).error(ErrorKind::ValueValidation, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn parsed(line: &str) -> Result<Cli, ErrorKind> {
        let arguments = ["file-sync"].into_iter().chain(line.split_whitespace()).map(OsString::from);
        parse(arguments).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_has_no_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_come_in_any_order_and_in_both_spellings() {
        for line in [
            "--source a --replica b --interval 60 --log_file c",
            "--log-file c --interval=60 --replica=b --source=a",
            "--interval 60 --log_file=c --source a --replica b",
        ] {
            let cli = parsed(line).expect(line);
            assert_eq!(cli.source.as_deref(), Some("a".as_ref()), "{line}");
            assert_eq!(cli.replica.as_deref(), Some("b".as_ref()), "{line}");
            assert_eq!(cli.interval.as_deref(), Some("60".as_ref()), "{line}");
            assert_eq!(cli.log_file.as_deref(), Some("c".as_ref()), "{line}");
            assert!(!cli.once && !cli.dry_run && !cli.verbose && !cli.quiet, "{line}");
        }
    }

    #[test]
    fn short_options_work() {
        let cli = parsed("-n -v -j 3").expect("valid");
        assert!(cli.dry_run && cli.verbose);
        assert_eq!(cli.threads.as_deref(), Some("3".as_ref()));
        assert!(parsed("-qn").expect("valid").quiet);
    }

    #[test]
    fn values_that_look_like_options_reach_the_validation() {
        for line in ["--interval -5", "--interval=-5", "--interval -5m", "--interval --once"] {
            assert!(parsed(line).expect(line).interval.is_some(), "{line}");
        }
        assert!(parsed("-j -1").expect("reaches the validation").threads.is_some());
    }

    #[test]
    fn mistakes_are_refused() {
        let cases = [
            ("--sorce a", ErrorKind::UnknownArgument),
            ("a b", ErrorKind::ValueValidation),
            ("nosuch", ErrorKind::ValueValidation),
            ("statsu", ErrorKind::InvalidSubcommand),
            ("--source a --source b", ErrorKind::ArgumentConflict),
            ("--log_file a --log-file b", ErrorKind::ArgumentConflict),
            ("--source", ErrorKind::InvalidValue),
            ("--source --replica b", ErrorKind::InvalidValue),
            ("--color blue", ErrorKind::InvalidValue),
            ("--log-format xml", ErrorKind::InvalidValue),
            ("-v -q", ErrorKind::ArgumentConflict),
            ("--once=yes", ErrorKind::TooManyValues),
        ];
        for (line, kind) in cases {
            assert_eq!(parsed(line).map(|_| ()), Err(kind), "{line}");
        }
    }

    #[test]
    fn names_that_are_not_utf_8_are_taken_as_they_are() {
        let name = OsString::from_vec(b"/data/\xff\xfe".to_vec());
        let cli = parse(["file-sync".into(), "--source".into(), name.clone()]).expect("valid");
        assert_eq!(cli.source, Some(name));
    }
}
