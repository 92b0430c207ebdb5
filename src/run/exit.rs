//! Exit codes, for scripts and monitoring systems.

use crate::model::counters::Counter;
use crate::model::report::{Outcome, PassReport};

/// The outcome of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, the replica matches; also when a signal ends a program that repeats passes.
    Done,
    /// 1: source missing, replica unusable, or locked by another process.
    Error,
    /// 2: usage error on the command line.
    Usage,
    /// 20: a signal stopped a single pass before it was done. rsync uses the same code.
    Stopped,
    /// 23: done, with problems; the log names them.
    Problems,
    /// 25: the guard refused the plan; nothing was changed.
    Held,
    /// 0 to 3: the answer of a check for a monitoring system, by the convention of Nagios.
    Checked(Health),
}

/// The state of what a monitoring system watches, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// 0.
    Ok,
    /// 3: nothing is known.
    Unknown,
    /// 1.
    Warning,
    /// 2.
    Critical,
}

impl Health {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Health::Ok => 0,
            Health::Warning => 1,
            Health::Critical => 2,
            Health::Unknown => 3,
        }
    }

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Health::Ok => "OK",
            Health::Warning => "WARNING",
            Health::Critical => "CRITICAL",
            Health::Unknown => "UNKNOWN",
        }
    }
}

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::Stopped => 20,
            Exit::Problems => 23,
            Exit::Held => 25,
            Exit::Checked(health) => health.code(),
        }
    }

    /// The exit code of a program that ran just this pass.
    pub fn of_pass(report: &PassReport) -> Exit {
        match report.outcome {
            Outcome::Interrupted(_) => Exit::Stopped,
            Outcome::Held(_) => Exit::Held,
            Outcome::ReplicaLost => Exit::Problems,
            Outcome::Done | Outcome::Planned => {
                if report.counts[Counter::Problems] == 0 {
                    Exit::Done
                } else {
                    Exit::Problems
                }
            }
        }
    }
}
