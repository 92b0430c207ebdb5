//! Support shared by tests, deep suites and benchmarks.

#![allow(dead_code, reason = "no test uses everything")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test may fail as the test itself may"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "events that no test asks about are not listed here")]

pub(crate) mod dice;
pub(crate) mod edits;
pub(crate) mod fsops;
pub(crate) mod index;
pub(crate) mod leave_out;
pub(crate) mod monitor;
pub(crate) mod namespaces;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod proof;
pub(crate) mod scratch;
pub(crate) mod screen;
pub(crate) mod story;
pub(crate) mod tree;
