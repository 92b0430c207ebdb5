//! The engine in this process: the effect of a pass on two trees, without the command line around it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as the test itself may"
)]

mod budget;
mod convergence;
mod filter;
mod index;
mod model;
mod moves;
mod shapes;
mod unreadable;

#[path = "../support/mod.rs"]
mod support;
