//! The command line: options, their validation, and the commands beside them.

pub mod args;
pub mod commands;
pub mod config;
