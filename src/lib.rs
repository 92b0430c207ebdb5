//! Keeps a replica folder exactly equal to a source folder, pass after pass, on a schedule.

pub mod absence;
pub mod apply;
pub mod cli;
pub mod config;
pub mod context;
pub mod digest;
pub mod entry;
pub mod exit;
pub mod filesystem;
pub mod fs;
pub mod guard;
pub mod hashing;
pub mod interrupt;
pub mod interval;
pub mod log;
pub mod mirror;
pub mod monitor;
pub mod pass;
pub mod path;
pub mod plan;
pub mod problem;
#[cfg(test)]
mod proof;
pub mod report;
pub mod schedule;
pub mod service;
pub mod signals;
pub mod survey;
mod unreadable;
pub mod vanished;
