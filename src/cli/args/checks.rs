//! The options of `verify` and `manifest`.

use clap::{ArgAction, Args};
use std::ffi::OsString;

/// The end of the help of `verify`.
pub(super) const AFTER_VERIFY: &str = "\
Nothing but the replica and the index is read, and nothing is written: the source may be missing,
and a file-sync may be at work. Names that are not right are looked at again at the end; what a pass
has replaced and not recorded by then shows as changed, missing or extra.

Status of a file:
  ok         Its content has the recorded SHA-256
  rotted     Its content differs although its size, times and inode stand still: nobody wrote it
  changed    Its content differs, and something may have written it
  missing    It is recorded and not there
  extra      It is there and not recorded: it is not known to belong there
  unchecked  It has no digest or cannot be read; the line says why

Exit codes:
   0  Every file is ok
   1  Error: there is no index, no replica, or one of them cannot be read
   2  Usage: the command line makes no sense
  20  Stopped: a signal ended it, or the reader of its output went away
  23  At least one file is not ok

Examples:
  file-sync verify --replica /mnt/backup
  file-sync verify --replica /mnt/backup --json | jq -r 'select(.status == \"rotted\").path'
  file-sync verify --replica /mnt/disk --index /mnt/disk-index.db";

/// The end of the help of `manifest`.
pub(super) const AFTER_MANIFEST: &str = "\
The digests are those that passes have confirmed; no content is read. The moment that they stand
for, and files of the replica without a digest, go to standard error.

Exit codes:
   0  Every file of the replica has a digest
   1  Error: there is no index, no replica, or one of them cannot be read
   2  Usage: the command line makes no sense
  20  Stopped: the reader of the output went away
  23  Some files have no digest

Examples:
  file-sync manifest --replica /mnt/backup > /root/backup.sha256
  cd /mnt/backup && sha256sum --quiet --check /root/backup.sha256";

/// Which replica, and which index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ReplicaArgs {
    /// The replica
    #[arg(long, value_name = "DIR", help_heading = "Which replica")]
    pub replica: Option<OsString>,

    /// Its source, where several were mirrored to the same replica; it is not read
    #[arg(long, value_name = "DIR", help_heading = "Which replica")]
    pub source: Option<OsString>,

    /// Folder of what is remembered of each pair, as given to the run [default: $STATE_DIRECTORY, or
    /// file-sync in $XDG_STATE_HOME or in ~/.local/state]
    #[arg(long, value_name = "DIR", help_heading = "Which replica")]
    pub state_dir: Option<OsString>,

    /// The index itself, for instance a copy on another computer; the replica may have another path
    /// there
    #[arg(long, value_name = "FILE", conflicts_with = "state_dir", help_heading = "Which replica")]
    pub index: Option<OsString>,

    /// The log file, in case it lies inside the replica, where it is no extra. --log-file is the same
    /// option
    #[arg(long = "log_file", alias = "log-file", value_name = "PATH", help_heading = "Which replica")]
    pub log_file: Option<OsString>,
}

/// The options of `verify`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct VerifyArgs {
    /// Which replica.
    #[command(flatten)]
    pub replica: ReplicaArgs,

    /// At most so many worker threads, 1 to 1024 [default: as many as the disk answers, up to 32]
    #[arg(short = 'j', long, value_name = "N", allow_negative_numbers = true, help_heading = "How")]
    pub threads: Option<OsString>,

    /// Drop each file from the page cache before it is read, so that the disk answers and not the
    /// memory
    #[arg(long, help_heading = "How")]
    pub drop_cache: bool,

    /// One JSON object for each file that is not ok, and one with the totals
    #[arg(long, help_heading = "What is shown")]
    pub json: bool,

    /// Show the files that are ok, too
    #[arg(short, long, help_heading = "What is shown")]
    pub verbose: bool,

    /// Print this help
    #[arg(short, long, action = ArgAction::Help, help_heading = "About")]
    help: Option<bool>,
}

/// The options of `manifest`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ManifestArgs {
    /// Which replica.
    #[command(flatten)]
    pub replica: ReplicaArgs,

    /// Accepted as by verify; one thread is enough, because no content is read
    #[arg(short = 'j', long, value_name = "N", allow_negative_numbers = true, help_heading = "How")]
    pub threads: Option<OsString>,

    /// End each line with NUL instead of a newline, and escape nothing, as sha256sum --zero does
    #[arg(short = '0', long, help_heading = "What is shown")]
    pub zero: bool,

    /// One JSON object for each file, and one with the totals
    #[arg(long, conflicts_with = "zero", help_heading = "What is shown")]
    pub json: bool,

    /// Print this help
    #[arg(short, long, action = ArgAction::Help, help_heading = "About")]
    help: Option<bool>,
}
