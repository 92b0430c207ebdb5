//! A process with the right to mount: it runs in namespaces of its own, so no mount and no process is left behind,
//! however it ends. Shared with the benchmarks.

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs this program as root in mount and process namespaces of its own if the machine allows that, with `variable`
/// set.
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
