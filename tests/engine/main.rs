//! The engine in this process: what a pass does to two trees, without the program around it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as the test itself may"
)]

mod budget;
mod convergence;
mod model;
mod shapes;
mod unreadable;

#[path = "../support/mod.rs"]
mod support;
