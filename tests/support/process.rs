//! The kernel's facts about a process that a test has started.

use std::fs;

/// Whether every thread of a process is stopped. A stop signal takes effect a moment after it is sent, and a thread
/// finishes its system call first.
pub(crate) fn stands_still(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tT"))
    })
}
