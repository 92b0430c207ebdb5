//! The options that choose pairs, for commands about what the state folder knows.

use clap::Args;
use std::ffi::OsString;

/// Which pairs a command is about: all that are known, or those that the options name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct PairArgs {
    /// Only pairs with this source
    #[arg(long, value_name = "DIR", help_heading = "Which pairs")]
    pub source: Option<OsString>,

    /// Only the pair with this replica
    #[arg(long, value_name = "DIR", help_heading = "Which pairs")]
    pub replica: Option<OsString>,

    /// Folder of what is remembered of each pair, as given to the run [default: $STATE_DIRECTORY, or
    /// file-sync in $XDG_STATE_HOME or in ~/.local/state]
    #[arg(long, value_name = "DIR", help_heading = "Which pairs")]
    pub state_dir: Option<OsString>,
}
