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
