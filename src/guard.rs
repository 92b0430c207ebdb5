//! The guard: sees the whole plan before anything is written, and refuses it when it looks like a disaster. Pure.

use crate::plan::Plan;
use crate::report::Hold;

/// What is known besides the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether the source path still leads to the folder that the survey began with.
    pub source_is_same: bool,
}

/// What the guard says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Carry it out.
    Go,
    /// Change nothing.
    Hold(Hold),
}

/// Rules on a plan. So far one rule: a source that was mounted over, unmounted or swapped during the survey makes
/// every absence in the plan doubtful.
pub fn examine(_plan: &Plan, facts: Facts) -> Ruling {
    if facts.source_is_same { Ruling::Go } else { Ruling::Hold(Hold::SourceReplaced) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_another_source_is_held() {
        let cases = [(true, Ruling::Go), (false, Ruling::Hold(Hold::SourceReplaced))];
        for (source_is_same, expected) in cases {
            assert_eq!(examine(&Plan::default(), Facts { source_is_same }), expected);
        }
    }
}
