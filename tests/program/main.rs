//! The program from outside: its command line, its passes, its exit codes, on any machine and as any user.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as the test itself may"
)]

mod approve;
mod cli_arguments;
mod dry_run;
mod explain;
mod filter;
mod gentle;
mod guard;
mod history;
mod left_out;
mod no_size;
mod open_files;
mod periodic;
mod roots;
mod single_pass;
mod size_limits;
mod status;
mod verify;

#[path = "../support/mod.rs"]
mod support;
