//! Tests that cannot run on this machine. They neither pass nor fail: the runner counts them as ignored.

use std::any::Any;
use std::panic::resume_unwind;

struct LeftOut(String);

/// Ends a test that cannot run here, or not in this run.
pub(crate) fn leave_out(why: &str) -> ! {
    // Unwinds without a panic message: nothing is wrong, and nothing is to be printed.
    resume_unwind(Box::new(LeftOut(why.to_owned())))
}

/// The reason for which a test was left out; `None` if it ended otherwise.
pub(crate) fn reason(cause: &(dyn Any + Send)) -> Option<&str> {
    cause.downcast_ref::<LeftOut>().map(|left_out| left_out.0.as_str())
}
