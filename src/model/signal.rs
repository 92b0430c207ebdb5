//! The signals that end the program.

use serde::Serialize;
use std::fmt;

/// A signal that requests a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Signal {
    /// SIGTERM.
    #[serde(rename = "SIGTERM")]
    Terminate,
    /// SIGINT.
    #[serde(rename = "SIGINT")]
    Interrupt,
    /// SIGHUP from a closed terminal; any other reopens the log.
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
