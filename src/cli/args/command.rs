//! The commands beside the options.

use crate::cli::args::StatusFormat;
use crate::cli::args::checks::{AFTER_MANIFEST, AFTER_VERIFY, ManifestArgs, VerifyArgs};
use crate::cli::args::explain::{AFTER_EXPLAIN, ExplainArgs};
use crate::cli::args::pairs::PairArgs;
use clap::{ArgAction, Subcommand};
use clap_complete::Shell;
use std::ffi::OsString;

/// Commands beside the options; each has a file in `commands/`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Let a held plan through once, or accept a file that seems to have rotted as it is
    #[command(
        override_usage = "\
file-sync approve --source DIR --replica DIR [--state-dir DIR]
       file-sync approve PATH... [--state-dir DIR]",
        after_help = "\
The log of a held pass names the command that approves its plan, with the counts to look at first. The
next pass carries out this plan; what it would take besides has to keep within the limits, or it is
held again. One of the two roots is enough if it is in one pair only, and so is the path
of a folder in them.

A source file seems to have rotted when its content changed and neither its size nor its times nor its
inode did. It is not copied over its replica, and passes report it until somebody decides. Mostly the
good content is what you want: where the log says that the replica still has it, copy the file back
from there (cp -p REPLICA/FILE SOURCE/FILE). Approve a file only if its present content is right: the
next pass copies that over the replica, and the good content may be gone. An approval holds for the
content that the file has now. Touching or rewriting the file accepts what is in it in the same way.

Examples:
  file-sync approve --source /data --replica /mnt/backup
  file-sync approve /data/photos/2019/cat.jpg
  file-sync approve --state-dir /var/lib/file-sync /data/disk.img"
    )]
    Approve {
        /// Files that seem to have rotted, in a source or a replica; or folders: the plan of their pair
        #[arg(value_name = "PATH")]
        paths: Vec<OsString>,

        /// The pair whose held plan is approved.
        #[command(flatten)]
        pairs: PairArgs,

        /// Only the plan with this number, as the log gives it: one that was held since is refused
        #[arg(long, value_name = "PLAN", help_heading = "Which pairs")]
        plan: Option<String>,

        /// Print this help
        #[arg(short, long, action = ArgAction::Help)]
        help: Option<bool>,
    },

    /// What the next pass would do to a path, and why
    #[command(
        max_term_width = 100,
        override_usage = "file-sync explain PATH... [OPTIONS]",
        after_help = AFTER_EXPLAIN
    )]
    Explain(ExplainArgs),

    /// Is every replica as fresh as it has to be? For people, scripts and monitoring systems
    #[command(
        max_term_width = 100,
        override_usage = "file-sync status [OPTIONS]",
        after_help = "\
The age of a replica is the time since the start of the last pass that was done. Nothing but the
state folder is read: neither a service nor the disks of a pair are needed, and no lock is taken.

Exit codes:
   0  Every replica is within its RPO; one without an RPO has only to have a pass that was done
   1  Error: what is remembered of a pair cannot be read
  23  A replica is older than its RPO, or no pass is known
With --format nagios:
   0  OK
   1  WARNING: problems, a failed pass, or the RPO is at risk
   2  CRITICAL: the RPO is missed, a pass is held, or files have rotted
   3  UNKNOWN: no pass is known, or what is remembered cannot be read

Examples:
  file-sync status
  file-sync status --replica /mnt/backup --format nagios
  file-sync status --json | jq '.pairs[] | select(.rpo_met == false)'"
    )]
    Status {
        /// The pairs that it is about.
        #[command(flatten)]
        pairs: PairArgs,

        /// A table for people, one JSON document, or the line of a monitoring plugin
        #[arg(long, value_enum, value_name = "FORM", default_value_t = StatusFormat::Text, help_heading = "What is shown")]
        format: StatusFormat,

        /// The same as --format json
        #[arg(long, conflicts_with = "format", help_heading = "What is shown")]
        json: bool,

        /// Print this help
        #[arg(short, long, action = ArgAction::HelpShort, help_heading = "About")]
        help: Option<bool>,
    },

    /// The passes of each pair, or what they did to one path, newest first
    #[command(
        max_term_width = 100,
        override_usage = "file-sync history [OPTIONS]\n       file-sync history PATH [OPTIONS]",
        after_help = "\
All passes of the last week are kept, and of earlier days the last one that was done and the worst.
AGE is the age that the replica had reached when the pass ended, before the pass made it younger.

Of a path every operation of the passes that were done is listed, also from before it was moved. The
last 100,000 operations are kept; of one pass at most 10,000, others before creations, and then those
nearest to the top.

Exit codes:
   0  The passes, or the operations, are listed; or nothing is known of them
   1  Error: what is remembered of a pair cannot be read, or the path lies in no pair

Examples:
  file-sync history
  file-sync history /data/photos/2026/tom.jpg
  file-sync history --replica /mnt/backup --limit 500
  file-sync history --json --limit 1 | jq '.pairs[].passes[0].outcome'"
    )]
    History {
        /// A file or folder in a source or a replica; it may be gone
        #[arg(value_name = "PATH", help_heading = "Which path")]
        path: Option<OsString>,

        /// The pairs that it is about.
        #[command(flatten)]
        pairs: PairArgs,

        /// At most so many passes, or operations, of each pair
        #[arg(
            long,
            value_name = "N",
            default_value = "20",
            allow_negative_numbers = true,
            help_heading = "What is shown"
        )]
        limit: OsString,

        /// One JSON document
        #[arg(long, help_heading = "What is shown")]
        json: bool,

        /// Print this help
        #[arg(short, long, action = ArgAction::HelpShort, help_heading = "About")]
        help: Option<bool>,
    },
    /// Read a replica and check every file against its recorded digest; needs no source
    #[command(
        max_term_width = 100,
        override_usage = "file-sync verify --replica DIR [OPTIONS]",
        after_help = AFTER_VERIFY
    )]
    Verify(VerifyArgs),

    /// Print the recorded digests of a replica for sha256sum --check
    #[command(
        max_term_width = 100,
        override_usage = "file-sync manifest --replica DIR [OPTIONS]",
        after_help = AFTER_MANIFEST
    )]
    Manifest(ManifestArgs),

    /// Print what a shell needs to complete file-sync's options with the Tab key
    #[command(
        override_usage = "file-sync completions SHELL",
        after_help = "\
Examples:
  file-sync completions bash > /usr/share/bash-completion/completions/file-sync
  file-sync completions zsh > ~/.zfunc/_file-sync"
    )]
    Completions {
        /// The shell
        shell: Shell,

        /// Print this help
        #[arg(short, long, action = ArgAction::Help)]
        help: Option<bool>,
    },
}
