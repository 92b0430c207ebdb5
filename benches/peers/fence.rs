//! Protects everything outside the scratch folder from writes of a peer.
//!
//! This runs programs of others as root on a tree with symbolic links. rclone 1.60 was seen to set modes of files in
//! /usr through such links. So every other filesystem is read-only in the mount namespace of the benchmark.

use crate::disk::tool;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Raises the fence, in a namespace of this process only.
///
/// # Errors
/// The root filesystem could not be made read-only here; then nothing should be run.
pub(crate) fn raise(scratch: &Path) -> Result<(), String> {
    tool(Command::new("mount").arg("--bind").arg(scratch).arg(scratch))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    // proc_pid_mountinfo(5); a name with a space is escaped there and is not found, which is reported below.
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    for point in points.filter(|point| !is_of_kernel(point) && !point.starts_with(scratch)) {
        let outcome = tool(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&point));
        match outcome {
            Err(why) if point == Path::new("/") => return Err(why),
            // Covered by another mount, or not permitted to this process.
            Err(why) => println!("{} stays writable: {why}", point.display()),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Device nodes (loop devices are needed) and the kernel's pseudo-filesystems.
fn is_of_kernel(point: &Path) -> bool {
    ["/dev", "/proc", "/sys"].iter().any(|place| point.starts_with(place))
}
