//! Tests that cannot run on this machine. They neither pass nor fail: whoever runs them counts them as ignored.

use std::any::Any;
use std::panic::resume_unwind;

struct LeftOut(String);

/// Ends a test that cannot run here, or not in this run.
pub(crate) fn leave_out(why: &str) -> ! {
    // Not a panic: nothing has gone wrong, and nothing is to be printed on the way.
    resume_unwind(Box::new(LeftOut(why.to_owned())))
}

/// Why a test was left out, if that is how it ended.
pub(crate) fn reason(cause: &(dyn Any + Send)) -> Option<&str> {
    cause.downcast_ref::<LeftOut>().map(|left_out| left_out.0.as_str())
}
