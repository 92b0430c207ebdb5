//! The configuration: the raw arguments, validated and completed. Below this file every value is valid.
//!
//! No rule here calls the system: facts from outside come in as [`Environment`], so that every rule can be tested with a
//! table.

mod filter;
mod limits;
mod log;
mod plan;
mod rate;
mod rpo;

pub(super) use self::filter::filter;
pub(super) use self::log::{is_no_file, log_file};
pub use self::plan::{PlanForm, PlanOptions};

use crate::cli::args::{Cli, Color, Compare, LogFormat};
use crate::fs::resolve::{exists, is_folder, resolve};
use crate::fs::rules_file::{UnreadRules, read_rules};
use crate::guard::Limits;
use crate::index::IndexOptions;
use crate::log::{ConsoleOptions, Format, LogOptions, Show};
use crate::mirror::MirrorOptions;
use crate::model::digest::Digests;
use crate::model::interval::Interval;
use crate::model::limit::Limit;
use crate::model::path::shown;
use crate::model::trust::Trust;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAX_THREADS: usize = 1024;

/// The facts about the program's environment that `main` has found out.
pub struct Environment {
    /// The current folder; none where the system does not tell it.
    pub current_folder: Option<PathBuf>,
    /// True when `NO_COLOR` is set and not empty, or the terminal is a dumb one.
    pub no_color: bool,
    /// True when the terminal cannot move its cursor (`TERM=dumb`).
    pub is_dumb: bool,
    /// True when the console is a terminal.
    pub is_terminal: bool,
    /// The columns of standard output, where that is a terminal.
    pub columns: Option<usize>,
    /// The columns of standard error, where that is a terminal.
    pub error_columns: Option<usize>,
    /// True when standard error is a terminal that can erase a line: progress is shown there.
    pub shows_progress: bool,
    /// Processors this process may use.
    pub processors: usize,
    /// The default of `--state-dir`, an absolute path; none where the environment names none.
    pub state_dir: Option<PathBuf>,
    /// Returns whether an entry exists under a path, dangling links included.
    pub exists: fn(&Path) -> bool,
    /// Returns whether a path leads to a folder.
    pub is_folder: fn(&Path) -> bool,
    /// Resolves the symbolic links of an absolute path, of which any part may be missing.
    pub resolve: fn(&Path) -> PathBuf,
    /// Reads a file of rules.
    pub read_rules: fn(&Path) -> Result<Vec<u8>, UnreadRules>,
}

impl Default for Environment {
    /// One processor, no terminal and no current folder; paths are looked up in the filesystem.
    fn default() -> Environment {
        Environment {
            current_folder: None,
            no_color: false,
            is_dumb: false,
            is_terminal: false,
            columns: None,
            error_columns: None,
            shows_progress: false,
            processors: 1,
            state_dir: None,
            exists,
            is_folder,
            resolve,
            read_rules,
        }
    }
}

/// When passes run, and whether they write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Again and again, from start to start.
    Every(Interval),
    /// One pass.
    Once,
    /// One pass that only makes the plan.
    DryRun,
}

/// The validated configuration of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The pair of roots, and how it is mirrored.
    pub mirror: MirrorOptions,
    /// The log. Its path is absolute, so that it stays the same file when the current folder changes.
    pub log: LogOptions,
    /// When passes run.
    pub mode: RunMode,
    /// How the plan of a dry run is shown; none for passes.
    pub plan: Option<PlanOptions>,
    /// The greatest age that the replica may have, where one is promised.
    pub rpo: Option<Duration>,
    /// True: the process gets the lowest priority.
    pub nice: bool,
    /// True: a first pass may delete without a question.
    pub yes: bool,
}

/// A usage error, in words for the person at the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub(super) String);

impl Config {
    /// Checks and completes the raw arguments.
    ///
    /// # Errors
    /// A required option is missing, or a value is invalid. The message names the option and shows a valid value.
    pub fn new(cli: Cli, environment: &Environment) -> Result<Config, UsageError> {
        // Before the options that move out of `cli`; a missing one of those is still reported first.
        let mode = mode(&cli);
        let color = match cli.color {
            Color::Auto => environment.is_terminal && !environment.no_color,
            Color::Always => true,
            Color::Never => false,
        };
        let plan = mode.clone().and_then(|mode| plan::plan(&cli, mode, (environment.is_terminal, color)));
        let threads = cli.threads.as_deref().map(threads).transpose();
        let rehash_after = trust("--rehash-after", &cli.rehash_after);
        let digest_after = trust("--digest-after", &cli.digest_after);
        let max_delete = cli.max_delete.as_deref().map(|given| limits::limit("--max-delete", given));
        let max_change = cli.max_change.as_deref().map(|given| limits::limit("--max-change", given));
        let bytes_per_second = rate::rate(cli.bwlimit.as_deref());
        let state_dir =
            cli.state_dir.map(|path| folder("--state-dir", Some(path), "--state-dir /var/lib/file-sync"));
        let source = folder("--source", cli.source, "--source /data")?;
        let replica = folder("--replica", cli.replica, "--replica /mnt/backup")?;
        let (mode, threads, state_dir) = (mode?, threads?, state_dir.transpose()?);
        let plan = plan?;
        let rpo = rpo::rpo(cli.rpo.as_deref(), mode)?;
        let (rehash_after, digest_after) = (rehash_after?, digest_after?);
        let limits = Limits {
            max_delete: max_delete.transpose()?.unwrap_or(Limit::DEFAULT),
            max_change: max_change.transpose()?.unwrap_or(Limit::DEFAULT),
        };
        let bytes_per_second = bytes_per_second?;
        let rotation = log::rotation(&cli.log_max_size, &cli.log_keep)?;
        let log = match (mode, cli.log_file) {
            (RunMode::Once | RunMode::DryRun, None) => None,
            (RunMode::Every(_) | RunMode::Once | RunMode::DryRun, Some(log)) if is_no_file(&log) => None,
            (RunMode::Every(_) | RunMode::Once | RunMode::DryRun, log) => {
                Some(folder("--log_file", log, "--log_file /var/log/file-sync/")?)
            }
        };
        let paths = [
            ("--source", Some(&source)),
            ("--replica", Some(&replica)),
            ("--log_file", log.as_ref()),
            ("--state-dir", state_dir.as_ref()),
        ];
        for (option, path) in paths {
            path.map_or(Ok(()), |path| check_tilde(option, path, environment))?;
        }
        let log = log.map(|log| log_file(&log, environment)).transpose()?;
        // While the source is missing, nothing may be created in it: an empty source would empty the replica.
        let keep_out = log.as_ref().and_then(|log| keep_out(log, &source, environment));
        let state_dir = state_dir
            .map(|path| {
                let roots = [("source", source.clone()), ("replica", replica.clone())];
                state_folder(&path, roots, environment)
            })
            .transpose()?;
        let filter = filter(cli.filter, [("source", &source), ("replica", &replica)], environment)?;
        let index = state_dir.or_else(|| environment.state_dir.clone()).map(|state_dir| IndexOptions {
            state_dir,
            rehash_after,
            digest_after,
            no_mapped_writes: cli.no_mapped_writes,
            interval: mode.interval().map(Interval::length),
            rpo,
        });
        Ok(Config {
            mirror: MirrorOptions {
                source,
                replica,
                log: log.clone(),
                threads,
                processors: environment.processors,
                digests: match cli.compare {
                    Compare::Sha256 => Digests::OfAll,
                    Compare::Bytes => Digests::OfCopies,
                },
                dry_run: mode == RunMode::DryRun,
                verify_writes: cli.verify_writes,
                bytes_per_second,
                index,
                limits,
                filter,
                checks_room: !cli.no_space_check,
            },
            log: LogOptions {
                path: log,
                keep_out,
                rotation,
                format: match cli.log_format {
                    LogFormat::Text => Format::Text,
                    LogFormat::Json => Format::Json,
                },
                verbose: cli.verbose,
                // A person waits for the output of a single pass; a schedule waits for nobody.
                console: ConsoleOptions {
                    show: show(cli.quiet, mode, plan),
                    color,
                    patient: mode.interval().is_none(),
                    live: !environment.is_dumb && !cli.quiet,
                },
            },
            mode,
            plan,
            rpo,
            nice: cli.nice,
            yes: cli.yes,
        })
    }
}

/// cron mails what a single pass shows, so that a quiet one that went well has to show nothing. A service that shows
/// nothing for weeks looks dead.
///
/// Beside the plan of a dry run there are only warnings; its summary also tells of a hold.
fn show(quiet: bool, mode: RunMode, plan: Option<PlanOptions>) -> Show {
    match (quiet, mode) {
        (false, RunMode::DryRun) if plan.is_some_and(|plan| plan.form == PlanForm::Summary) => {
            Show::WithoutPassEnds
        }
        (_, RunMode::DryRun) => Show::Warnings,
        (false, RunMode::Every(_) | RunMode::Once) => Show::Everything,
        (true, RunMode::Every(_)) => Show::PassEnds,
        (true, RunMode::Once) => Show::Warnings,
    }
}

impl RunMode {
    /// The interval, where passes repeat.
    pub fn interval(self) -> Option<Interval> {
        match self {
            RunMode::Every(interval) => Some(interval),
            RunMode::Once | RunMode::DryRun => None,
        }
    }
}

/// Refuses an invalid interval even where a single pass does not need one.
fn mode(cli: &Cli) -> Result<RunMode, UsageError> {
    let interval = cli.interval.as_deref().map(interval).transpose()?;
    match (cli.dry_run, cli.once, interval) {
        (true, _, _) => Ok(RunMode::DryRun),
        (false, true, _) => Ok(RunMode::Once),
        (false, false, Some(interval)) => Ok(RunMode::Every(interval)),
        (false, false, None) => Err(UsageError(
            "The option --interval is missing; give the time from the start of one pass to the start of the next, \
             such as --interval 15m, or give --once to run a single pass"
                .into(),
        )),
    }
}

fn interval(text: &OsStr) -> Result<Interval, UsageError> {
    // A byte that is not UTF-8 becomes a replacement character, which no time contains.
    Interval::parse(&text.to_string_lossy()).map_err(|reason| {
        let text = shown(text.as_bytes());
        UsageError(format!(
            "Cannot use --interval {text}: {reason}; give seconds or a duration, such as --interval 60, \
             --interval 15m or --interval 1h30m"
        ))
    })
}

pub(super) fn trust(option: &str, text: &OsStr) -> Result<Trust, UsageError> {
    Trust::parse(&text.to_string_lossy()).map_err(|reason| {
        // The reasons speak of intervals.
        let (text, reason) = (shown(text.as_bytes()), reason.to_string().replace("interval", "time"));
        UsageError(format!(
            "Cannot use {option} {text}: {reason}; give 0, a duration or never, such as {option} 24h or {option} 30d"
        ))
    })
}

/// The absolute path of a folder that an option of a command names. It may be missing.
///
/// # Errors
/// It is empty, has a `~` that no shell has replaced, or is relative and nobody knows to what.
pub(crate) fn given_path(
    option: &str,
    given: OsString,
    environment: &Environment,
) -> Result<PathBuf, UsageError> {
    let path = folder(option, Some(given), &format!("{option} /data"))?;
    check_tilde(option, &path, environment)?;
    absolute(&path, environment).ok_or_else(|| {
        UsageError(format!(
            "Cannot use {option} {}: the current folder is gone or unreadable, so that a relative path leads nowhere; \
             give an absolute path, such as {option} /data",
            shown(path.as_os_str().as_bytes())
        ))
    })
}

/// The state folder that a command reads.
///
/// # Errors
/// As [`given_path`], or the environment names none and neither does the option.
pub(crate) fn given_state_dir(
    given: Option<OsString>,
    environment: &Environment,
) -> Result<PathBuf, UsageError> {
    match given {
        Some(path) => given_path("--state-dir", path, environment),
        None => environment.state_dir.clone().ok_or_else(|| {
            UsageError(
                "The environment names no state folder (HOME is not set); give one, such as --state-dir \
                 /var/lib/file-sync"
                    .into(),
            )
        }),
    }
}

/// The absolute path of the state folder, which must not lie in a root: it changes with every pass.
fn state_folder(
    given: &Path,
    roots: impl IntoIterator<Item = (&'static str, PathBuf)>,
    environment: &Environment,
) -> Result<PathBuf, UsageError> {
    let refused = |reason: &str| {
        let given = shown(given.as_os_str().as_bytes());
        UsageError(format!(
            "Cannot use --state-dir {given}: {reason}; give a folder outside of both, such as --state-dir \
             /var/lib/file-sync"
        ))
    };
    let path = absolute(given, environment).ok_or_else(|| {
        refused("the current folder is gone or unreadable, so that a relative path leads nowhere")
    })?;
    for (name, root) in roots {
        let root = absolute(&root, environment).unwrap_or_default();
        if (environment.resolve)(&path).starts_with((environment.resolve)(&root)) {
            return Err(refused(&format!("it lies inside the {name}")));
        }
    }
    Ok(path)
}

/// A whole number of one or more.
///
/// # Errors
/// The text is none.
pub(crate) fn whole_number(option: &str, text: &OsStr, example: &str) -> Result<usize, UsageError> {
    let number = text.to_str().and_then(|text| text.parse::<NonZeroUsize>().ok());
    number.map(NonZeroUsize::get).ok_or_else(|| {
        let text = shown(text.as_bytes());
        UsageError(format!(
            "Cannot use {option} {text}: give a whole number of at least 1, such as {example}"
        ))
    })
}

pub(super) fn threads(text: &OsStr) -> Result<usize, UsageError> {
    let number = text.to_str().and_then(|text| text.parse::<NonZeroUsize>().ok());
    number.map(NonZeroUsize::get).filter(|number| *number <= MAX_THREADS).ok_or_else(|| {
        let text = shown(text.as_bytes());
        UsageError(format!(
            "Cannot use --threads {text}: give a whole number from 1 to {MAX_THREADS}, such as --threads 4"
        ))
    })
}

/// A required path that is not empty.
pub(super) fn folder(option: &str, value: Option<OsString>, example: &str) -> Result<PathBuf, UsageError> {
    match value {
        None => Err(UsageError(format!("The option {option} is missing; give a path, such as {example}"))),
        Some(path) if path.is_empty() => Err(UsageError(format!(
            "Cannot use {option} \"\": the path is empty; give a path, such as {example}"
        ))),
        Some(path) => Ok(PathBuf::from(path)),
    }
}

/// Refuses a path with an unexpanded `~` at its start, unless an entry of that name exists. A shell expands it only at
/// the start of an unquoted word: not in `--replica=~/backup`, nor in a service file. Taken literally, replica or log
/// would be created in a new folder called `~`, where nobody would look for them.
pub(super) fn check_tilde(option: &str, path: &Path, environment: &Environment) -> Result<(), UsageError> {
    let bytes = path.as_os_str().as_bytes();
    let first = bytes.split(|byte| *byte == b'/').next().unwrap_or_default();
    let first = Path::new(OsStr::from_bytes(first));
    let Some(user) = first.as_os_str().as_bytes().strip_prefix(b"~") else { return Ok(()) };
    if absolute(first, environment).is_some_and(|first| (environment.exists)(&first)) {
        return Ok(());
    }
    let home = if user.is_empty() { b"$HOME".to_vec() } else { [b"/home/", user].concat() };
    let rest = bytes.get(first.as_os_str().len()..).unwrap_or_default();
    Err(UsageError(format!(
        "Cannot use {option} {}: no shell has put a home folder in place of {}, as it does at the start of an unquoted \
         word only; give the whole path, such as {option} {}, or {option} {} if that is its name",
        shown(bytes),
        shown(first.as_os_str().as_bytes()),
        shown(&[&home, rest].concat()),
        shown(&[b"./", bytes].concat()),
    )))
}

/// The path from the root of the filesystem, without `.` and doubled slashes.
pub(crate) fn absolute(path: &Path, environment: &Environment) -> Option<PathBuf> {
    let joined =
        if path.is_absolute() { path.to_owned() } else { environment.current_folder.as_ref()?.join(path) };
    Some(joined.components().collect())
}

fn keep_out(log: &Path, source: &Path, environment: &Environment) -> Option<PathBuf> {
    let source = absolute(source, environment)?;
    let is_inside = (environment.resolve)(log).starts_with((environment.resolve)(&source));
    is_inside.then_some(source)
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::parse;
    use crate::log::Rotation;
    use std::os::unix::ffi::OsStringExt;

    const GIVEN: &str = "--source /src --replica /dst --log_file /log/x.log ";

    pub(super) fn environment() -> Environment {
        Environment {
            current_folder: Some(PathBuf::from("/here")),
            no_color: false,
            is_dumb: false,
            is_terminal: true,
            columns: None,
            error_columns: None,
            shows_progress: false,
            processors: 4,
            state_dir: Some(PathBuf::from("/state")),
            exists: |path| path == Path::new("/here/~there"),
            is_folder: |path| path == Path::new("/here/folder") || path == Path::new("/folder"),
            resolve: |path| match path.strip_prefix("/link") {
                Ok(rest) => Path::new("/src").join(rest),
                Err(_) => path.to_owned(),
            },
            read_rules: |_| Ok(b"*.tmp\n!keep.tmp\n".to_vec()),
        }
    }

    fn words(line: &str) -> impl Iterator<Item = OsString> {
        line.split_whitespace().map(|word| OsString::from(if word == "''" { "" } else { word }))
    }

    fn config_in(line: &str, environment: &Environment) -> Result<Config, String> {
        let cli = parse(words("file-sync").chain(words(line))).expect("clap takes it");
        Config::new(cli, environment).map_err(|error| error.to_string())
    }

    fn config(line: &str) -> Result<Config, String> {
        config_in(line, &environment())
    }

    #[test]
    fn the_mode_follows_from_three_options() {
        let quarter = Interval::new(Duration::from_secs(900)).expect("valid");
        let cases = [
            ("--interval 15m", RunMode::Every(quarter)),
            ("--interval 900", RunMode::Every(quarter)),
            ("--once", RunMode::Once),
            ("--once --interval 15m", RunMode::Once),
            ("-n", RunMode::DryRun),
            ("--dry-run --once", RunMode::DryRun),
            ("--dry-run --interval 15m", RunMode::DryRun),
        ];
        for (line, mode) in cases {
            let config = config(&format!("{GIVEN} {line}")).expect(line);
            assert_eq!(config.mode, mode, "{line}");
            assert_eq!(config.mirror.dry_run, mode == RunMode::DryRun, "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name_with_a_valid_value() {
        let all = "--source a --replica b --log_file c --interval 60 ";
        let cases = [
            ("-v", "--source is missing", "--source /data"),
            ("--source a --replica b --log_file c", "--interval", "--interval 15m"),
            ("--source a --replica b --log_file c", "--interval", "--once"),
            ("--replica b --log_file c --interval 60", "--source is missing", "--source /data"),
            ("--source a --log_file c --interval 60", "--replica is missing", "--replica /mnt/backup"),
            (
                "--source a --replica b --interval 1h",
                "--log_file is missing",
                "--log_file /var/log/file-sync/",
            ),
            ("--source '' --replica b --log_file c --once", "--source \"\"", "--source /data"),
            ("--source a --replica '' --log_file c --once", "--replica \"\"", "--replica /mnt/backup"),
            (
                "--source a --replica b --log_file= --once",
                "--log_file \"\"",
                "--log_file /var/log/file-sync/",
            ),
            ("--source a --replica b --interval 0", "--interval 0", "--interval 15m"),
            ("--source a --replica b --interval -5", "--interval -5", "--interval 15m"),
            ("--source a --replica b --interval=-5", "--interval -5", "--interval 15m"),
            ("--source a --replica b --interval ''", "--interval \"\"", "--interval 15m"),
            ("--source a --replica b --interval soon", "--interval soon", "--interval 15m"),
            ("--source a --replica b --once --interval soon", "--interval soon", "--interval 15m"),
            ("--source a --replica b --interval 99999999999999999999", "--interval 9999", "--interval 15m"),
            (&format!("{all} --bwlimit 1000"), "--bwlimit 1000", "--bwlimit 1000K"),
            (&format!("{all} --bwlimit ''"), "--bwlimit \"\"", "--bwlimit 50MiB"),
            (&format!("{all} -j 0"), "--threads 0", "--threads 4"),
            (&format!("{all} -j -1"), "--threads -1", "--threads 4"),
            (&format!("{all} -j 1025"), "--threads 1025", "1024"),
            (&format!("{all} -j four"), "--threads four", "--threads 4"),
            (&format!("{all} -j ''"), "--threads \"\"", "--threads 4"),
        ];
        for (line, named, valid) in cases {
            let message = config(line).expect_err(line);
            assert!(message.contains(named), "{line}: {message}");
            assert!(message.contains(valid), "{line}: {message}");
            assert!(message.starts_with(char::is_uppercase) && !message.ends_with('.'), "{line}: {message}");
        }
    }

    #[test]
    fn a_pass_is_gentle_only_where_that_was_asked_for() {
        for (given, bytes_per_second, nice) in [
            ("", None, false),
            ("--bwlimit 50MiB", Some(50 << 20), false),
            ("--bwlimit off --nice", None, true),
            ("--nice --bwlimit=1.5M", Some(3 << 19), true),
        ] {
            let config = config(&format!("{GIVEN} --once {given}")).expect(given);
            let found = config.mirror.bytes_per_second.map(|rate| rate.get());
            assert_eq!((found, config.nice), (bytes_per_second, nice), "{given}");
        }
    }

    #[test]
    fn an_interval_that_is_not_utf_8_is_shown_escaped() {
        let interval = OsString::from_vec(b"1\xffm".to_vec());
        let cli = parse(words("file-sync --source a --replica b --interval").chain([interval]))
            .expect("clap takes it");
        let message = Config::new(cli, &environment()).expect_err("invalid").to_string();
        assert!(message.contains(r#"--interval "1\xffm""#), "{message}");
    }

    #[test]
    fn the_log_path_becomes_an_absolute_file() {
        let cases = [
            ("/var/x.log", "/var/x.log"),
            ("x.log", "/here/x.log"),
            ("./a//b.log", "/here/a/b.log"),
            ("../x.log", "/here/../x.log"),
            ("folder", "/here/folder/file-sync.log"),
            ("/folder", "/folder/file-sync.log"),
            ("/folder/", "/folder/file-sync.log"),
            ("new/", "/here/new/file-sync.log"),
            ("new/.", "/here/new/file-sync.log"),
            ("/new///", "/new/file-sync.log"),
            (".", "/here/file-sync.log"),
            ("..", "/here/../file-sync.log"),
            ("/", "/file-sync.log"),
            ("x.", "/here/x."),
            ("..x", "/here/..x"),
        ];
        for (given, expected) in cases {
            let config =
                config(&format!("--source /src --replica /dst --once --log_file {given}")).expect(given);
            assert_eq!(
                config.log.path.map(PathBuf::into_os_string),
                Some(OsString::from(expected)),
                "{given}"
            );
        }
    }

    #[test]
    fn a_dash_is_no_log_file_also_for_repeated_passes() {
        for mode in ["--once", "--dry-run", "--interval 60"] {
            let config = config(&format!("--source /src --replica /dst {mode} --log_file -")).expect(mode);
            assert_eq!((config.log.path, config.mirror.log), (None, None), "{mode}");
        }
        let named = config("--source /src --replica /dst --once --log_file ./-").expect("a file");
        assert_eq!(named.log.path, Some(PathBuf::from("/here/-")));
    }

    #[test]
    fn a_log_is_rotated_unless_that_is_switched_off() {
        let of = |options: &str| config(&format!("{GIVEN} --once {options}")).expect(options).log.rotation;
        assert_eq!(of(""), Some(Rotation::default()));
        assert_eq!(of("--log-max-size 1MB --log-keep 2"), Some(Rotation { max_size: 1_000_000, keep: 2 }));
        assert_eq!(of("--log-max-size off"), None);
    }

    #[test]
    fn a_quiet_console_shows_the_ends_of_repeated_passes() {
        let of = |options: &str| config(&format!("{GIVEN} {options}")).expect(options).log.console.show;
        assert_eq!(of("--interval 60"), Show::Everything);
        assert_eq!(of("--interval 60 -q"), Show::PassEnds);
        assert_eq!(of("--once -q"), Show::Warnings);
        assert_eq!(of("--dry-run -q"), Show::Warnings);
    }

    #[test]
    fn a_live_line_is_for_terminals_that_can_show_it_and_people_who_want_it() {
        for (is_dumb, options, expected) in
            [(false, "--once", true), (true, "--once", false), (false, "--once -q", false)]
        {
            let environment = Environment { is_dumb, ..environment() };
            let config = config_in(&format!("{GIVEN} {options}"), &environment);
            assert_eq!(config.expect(options).log.console.live, expected, "{is_dumb} {options}");
        }
    }

    #[test]
    fn without_a_current_folder_only_an_absolute_log_path_will_do() {
        let lost = Environment { current_folder: None, ..environment() };
        assert!(config_in("--source a --replica b --once --log_file /c", &lost).is_ok());
        let message = config_in("--source a --replica b --once --log_file c", &lost).expect_err("relative");
        assert!(
            message.contains("--log_file c") && message.contains("--log_file /var/log/file-sync/"),
            "{message}"
        );
    }

    #[test]
    fn a_log_inside_the_source_is_kept_out_of_a_missing_source() {
        let cases = [
            ("/src", "/src/logs/x", Some("/src")),
            ("/src/", "/src/x", Some("/src")),
            ("/src", "/src", Some("/src")),
            ("/src", "/srcx/x", None),
            ("/src/a", "/src/x", None),
            ("/link", "/src/x", Some("/link")),
            ("/src", "/link/x", Some("/src")),
            ("data", "/here/data/x", Some("/here/data")),
            ("data", "data/x", Some("/here/data")),
        ];
        for (source, log, keep_out) in cases {
            let line = format!("--source {source} --replica /dst --once --log_file {log}");
            let config = config(&line).expect(&line);
            assert_eq!(config.log.keep_out.as_deref(), keep_out.map(Path::new), "{line}");
        }
    }

    #[test]
    fn a_tilde_that_no_shell_has_replaced_is_refused_where_nothing_has_that_name() {
        // The given path, and the suggested one; none where the path is accepted.
        let cases = [
            ("~", Some("$HOME")),
            ("~/", Some("$HOME/")),
            ("~/data", Some("$HOME/data")),
            ("~ann/data", Some("/home/ann/data")),
            ("~ann", Some("/home/ann")),
            ("~there", None),
            ("~there/data", None),
            ("./~/data", None),
            ("./~", None),
            ("/~/data", None),
            ("a/~/data", None),
            ("data~", None),
        ];
        let line = |option: &str, given: &str| {
            let all = [("--source", "/src"), ("--replica", "/dst"), ("--log_file", "/log/x.log")];
            let words =
                all.map(|(name, path)| format!("{name}={}", if name == option { given } else { path }));
            format!("{} --once", words.join(" "))
        };
        for option in ["--source", "--replica", "--log_file"] {
            for (given, instead) in cases {
                let told = config(&line(option, given));
                let Some(instead) = instead else {
                    assert!(told.is_ok(), "{option} {given}: {told:?}");
                    continue;
                };
                let message = told.expect_err(given);
                for words in [
                    format!("Cannot use {option} {given}: "),
                    format!("such as {option} {instead}, "),
                    format!("or {option} ./{given} if that is its name"),
                ] {
                    assert!(message.contains(&words), "{words}: {message}");
                }
            }
        }
        // In a current folder that has an entry of that name.
        let around = Environment { exists: |path| path == Path::new("/here/~"), ..environment() };
        for option in ["--source", "--replica", "--log_file"] {
            let config = config_in(&line(option, "~/data"), &around).expect(option);
            assert_eq!(
                config.log.path.is_some_and(|log| log.starts_with("/here/~")),
                option == "--log_file",
                "{option}"
            );
            assert!(config_in(&line(option, "~ann"), &around).is_err(), "{option}");
        }
        let lost = Environment { current_folder: None, ..around };
        assert!(config_in(&line("--source", "~/data"), &lost).is_err(), "nobody can know");
    }

    #[test]
    fn colors_follow_the_option_first_and_the_terminal_second() {
        for (option, no_color, is_terminal, expected) in [
            ("auto", false, true, true),
            ("auto", true, true, false),
            ("auto", false, false, false),
            ("always", true, false, true),
            ("never", false, true, false),
        ] {
            let around = Environment { no_color, is_terminal, ..environment() };
            let config = config_in(&format!("{GIVEN} --once --color {option}"), &around).expect(option);
            assert_eq!(config.log.console.color, expected, "{option} {no_color} {is_terminal}");
        }
    }

    #[test]
    fn threads_are_as_many_as_were_asked_for_or_left_open() {
        for (processors, given, expected) in
            [(4, "", None), (4096, "", None), (4, "-j 1", Some(1)), (4, "--threads 1024", Some(1024))]
        {
            let around = Environment { processors, ..environment() };
            let config = config_in(&format!("{GIVEN} --once {given}"), &around).expect(given);
            assert_eq!((config.mirror.threads, config.mirror.processors), (expected, processors), "{given}");
        }
    }
}
