//! The schedule of passes, and the threads beside it.

pub(crate) mod exit;
pub mod schedule;
pub mod signals;
pub(crate) mod start_times;
pub mod systemd;
