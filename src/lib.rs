//! Keeps a replica folder exactly equal to a source folder, pass after pass, on a schedule.

pub mod apply;
pub mod compare;
pub mod context;
pub mod copy;
pub mod digest;
pub mod entry;
pub mod exit;
pub mod filesystem;
pub mod finish;
pub mod fs;
pub mod guard;
pub mod interrupt;
pub mod links;
pub mod mirror;
pub mod monitor;
pub mod pass;
pub mod path;
pub mod plan;
pub mod problem;
pub mod reconcile;
pub mod remove;
pub mod report;
pub mod survey;
