//! The command line: options, what follows from them, and the commands beside them.

pub mod args;
pub mod commands;
pub mod config;
