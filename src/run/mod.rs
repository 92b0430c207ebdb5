//! The schedule of passes, and the threads beside it.

pub(crate) mod exit;
mod rpo;
pub(crate) mod rpo_watch;
pub mod schedule;
pub mod signals;
pub(crate) mod start_times;
pub mod systemd;
