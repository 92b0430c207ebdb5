//! When a pass runs, and what runs beside it.

pub mod exit;
pub mod schedule;
pub mod signals;
pub mod systemd;
