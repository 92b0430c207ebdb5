//! Keeps a replica folder exactly equal to a source folder, pass after pass, on a schedule.

pub mod apply;
pub mod capabilities;
pub mod cli;
pub mod collections;
pub mod context;
pub mod control;
pub mod fs;
pub mod guard;
pub mod hasher;
pub mod identity;
pub mod lock;
pub mod log;
pub mod metadata_rules;
pub mod mirror;
pub mod model;
pub mod pass;
pub mod plan;
pub mod run;
pub mod survey;
#[cfg(test)]
mod test_strategies;
pub mod walk;
pub mod whereabouts;
pub mod workers;
