//! The options of `explain`.

use crate::cli::args::filter::FilterArgs;
use crate::cli::args::pairs::PairArgs;
use clap::{ArgAction, Args};
use std::ffi::OsString;

/// The end of the help of `explain`.
pub(super) const AFTER_EXPLAIN: &str = "\
The pair is found by the path, as far as the state folder knows it; of any other pair --source and
--replica name both roots. The path is surveyed as in a pass: a file is read on both sides, a folder
with everything below it. Nothing else of the trees is read, nothing is written, no lock is taken.
Each difference is shown as what the replica has -> what it would get.

A pass may do better than explain says: what seems new here and gone elsewhere may have been moved,
and only a pass looks at both places.

Exit codes:
   0  Answered, whatever the answer
   1  Error: a root cannot be read, or the path lies in no pair that is known
   2  Usage: the command line makes no sense

Examples:
  file-sync explain /data/photos/cat.jpg
  file-sync explain /mnt/backup/photos --json
  file-sync explain --source /data --replica /mnt/backup /data/photos/cat.jpg
  file-sync explain /data/raw/a.tmp --exclude-from /etc/file-sync/rules";

/// Which paths, and the options of the run that a pass would have.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ExplainArgs {
    /// Files or folders in a source or a replica; they may be missing
    #[arg(value_name = "PATH", required = true, help_heading = "Which paths")]
    pub paths: Vec<OsString>,

    /// The pairs that it is about.
    #[command(flatten)]
    pub pairs: PairArgs,

    /// The log file of the run, which is left alone where it lies in a root. --log-file is the same option
    #[arg(long = "log_file", alias = "log-file", value_name = "PATH", help_heading = "As in the run")]
    pub log_file: Option<OsString>,

    /// How long the run trusts a file whose facts did not change: 0, a duration (24h, 30d), or never
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0",
        allow_hyphen_values = true,
        help_heading = "As in the run"
    )]
    pub rehash_after: OsString,

    /// No process writes files of the source through memory (mmap)
    #[arg(long, help_heading = "As in the run")]
    pub no_mapped_writes: bool,

    /// The filter of the run.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// One JSON document
    #[arg(long, help_heading = "What is shown")]
    pub json: bool,

    /// Print this help
    #[arg(short, long, action = ArgAction::HelpShort, help_heading = "About")]
    help: Option<bool>,
}
