//! The guard: sees the whole plan before anything is written, and refuses it when it looks like a disaster. Pure.

use crate::plan::Plan;
use crate::report::Hold;

/// What is known besides the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether the source path still leads to the folder that the survey began with.
    pub source_is_same: bool,
    /// Whether the source is empty, on another device than in the last pass that was done: so a mount point looks when
    /// what was mounted there is gone.
    pub source_looks_unmounted: bool,
}

/// What the guard says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Carry it out.
    Go,
    /// Change nothing.
    Hold(Hold),
}

/// Rules on a plan. A source that was mounted over, unmounted or swapped, during the survey or before it, makes every
/// absence in the plan doubtful.
pub fn examine(_plan: &Plan, facts: Facts) -> Ruling {
    if !facts.source_is_same {
        Ruling::Hold(Hold::SourceReplaced)
    } else if facts.source_looks_unmounted {
        Ruling::Hold(Hold::SourceUnmounted)
    } else {
        Ruling::Go
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_another_source_is_held() {
        let cases = [
            (true, false, Ruling::Go),
            (true, true, Ruling::Hold(Hold::SourceUnmounted)),
            (false, false, Ruling::Hold(Hold::SourceReplaced)),
            (false, true, Ruling::Hold(Hold::SourceReplaced)),
        ];
        for (source_is_same, source_looks_unmounted, expected) in cases {
            assert_eq!(examine(&Plan::default(), Facts { source_is_same, source_looks_unmounted }), expected);
        }
    }
}
