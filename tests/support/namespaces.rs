//! A process that may mount: in namespaces of its own, so that however it ends no mount and no process is left behind.
//! Shared with the benchmarks.

use std::path::Path;
use std::process::{Command, Stdio};

/// This program, as root in mount and process namespaces of its own where the machine allows that; then `variable` is
/// set for it.
pub(crate) fn in_namespaces(program: &Path, variable: &str) -> Command {
    const NAMESPACES: [&str; 7] =
        ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let has_namespaces = rustix::process::geteuid().is_root()
        && Command::new("unshare")
            .args(NAMESPACES)
            .args(["sh", "-c", "mount -t tmpfs none /mnt"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    if !has_namespaces {
        return Command::new(program);
    }
    let mut unshare = Command::new("unshare");
    unshare.args(NAMESPACES).arg(program).env(variable, "1");
    unshare
}
