//! A process with the right to mount: it runs in namespaces of its own, so no mount and no process is left behind,
//! however it ends. Shared with the benchmarks and the pictures.

use std::path::Path;
use std::process::{Command, Stdio};

const NAMESPACES: [&str; 7] =
    ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Runs this program as root in mount and process namespaces of its own if the machine allows that, with `variable`
/// set.
#[allow(dead_code, reason = "the pictures need namespaces")]
pub(crate) fn in_namespaces(program: &Path, variable: &str) -> Command {
    let is_root = rustix::process::geteuid().is_root();
    let own = if is_root { with(&[], program, variable) } else { None };
    own.unwrap_or_else(|| Command::new(program))
}

/// The same where an ordinary user will do, who is root in a user namespace: he may mount a tmpfs, and not change owners.
/// None if the machine does not allow it.
#[allow(dead_code, reason = "the tests and benchmarks change owners")]
pub(crate) fn in_any_namespaces(program: &Path, variable: &str) -> Option<Command> {
    let is_root = rustix::process::geteuid().is_root();
    with(if is_root { &[] } else { &["--map-root-user"] }, program, variable)
}

fn with(options: &[&str], program: &Path, variable: &str) -> Option<Command> {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(options).args(NAMESPACES);
        unshare
    };
    let mut probe = unshare();
    probe.args(["sh", "-c", "mount -t tmpfs none /mnt"]).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = unshare();
    command.arg(program).env(variable, "1");
    Some(command)
}
