//! The signals that end the program.

use serde::Serialize;
use std::fmt;

/// Why the program stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Signal {
    /// SIGTERM.
    #[serde(rename = "SIGTERM")]
    Terminate,
    /// SIGINT.
    #[serde(rename = "SIGINT")]
    Interrupt,
    /// SIGHUP, because the terminal of the program was closed.
    #[serde(rename = "SIGHUP")]
    Hangup,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Terminate => "SIGTERM",
            Signal::Interrupt => "SIGINT",
            Signal::Hangup => "SIGHUP",
        })
    }
}
