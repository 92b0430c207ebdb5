//! Keeps a replica folder exactly equal to a source folder, pass after pass, on a schedule.

pub mod digest;
pub mod entry;
pub mod exit;
pub mod fs;
pub mod interrupt;
pub mod log;
pub mod mirror;
pub mod monitor;
pub mod path;
pub mod problem;
pub mod report;
