//! The priority of this process, for the processor and the disks.
//!
//! One call sets both. A thread without an I/O priority of its own gets one from its nice value:
//! `(nice + 20) / 5` of the best-effort class, where 7 is the lowest (`ioprio_set(2)`,
//! Documentation/block/ioprio.rst). Only nice values of 15 or more give 7, so the highest nice value is set.
//!
//! Rejected: the idle class, of the scheduler or for I/O. It waits until nobody else wants the disk, which on a busy
//! server may be never, and the replica would get too old. It would also take a call that rustix does not have.

use rustix::io::Errno;
use rustix::process::setpriority_process;

/// The highest nice value, which is the lowest priority.
const NICEST: i32 = 19;

/// Gives this thread the lowest priority, and so all threads that it starts from here on: on Linux the nice value is
/// one of the thread.
///
/// # Errors
/// As `setpriority(2)`. Every process may lower its priority, but a sandbox may refuse the call.
pub(crate) fn lower_priority() -> Result<(), Errno> {
    setpriority_process(None, NICEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;
    use std::thread::spawn;

    #[test]
    fn a_thread_and_those_that_it_starts_get_the_lowest_priority_and_no_other_one() {
        let before = getpriority_process(None).unwrap();
        let lowered = spawn(|| {
            lower_priority().unwrap();
            let child = spawn(|| getpriority_process(None).unwrap());
            [getpriority_process(None).unwrap(), child.join().unwrap()]
        });
        assert_eq!(lowered.join().unwrap(), [NICEST; 2]);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
