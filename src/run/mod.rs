//! The schedule of passes, and the threads beside it.

pub(crate) mod exit;
pub mod schedule;
pub mod signals;
pub mod systemd;
