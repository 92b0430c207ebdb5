//! The schedule of passes, and the threads beside it.

pub mod exit;
pub mod schedule;
pub mod signals;
pub mod systemd;
