//! The command line: options, their validation, and the commands beside them.

pub mod args;
pub mod commands;
pub mod config;

use crate::fs::console::Stream;

/// The columns of standard output and of standard error, where they are terminals.
pub fn columns() -> [Option<usize>; 2] {
    let columns = |stream: Stream| stream.is_terminal().then(|| stream.columns());
    [Stream::stdout().and_then(columns), Stream::stderr().and_then(columns)]
}
