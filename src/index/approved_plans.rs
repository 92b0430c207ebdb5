//! Held plans in a pass: the one that a person has let through, and the one that is kept for that.

use crate::index::Index;
use crate::index::approvals::{self, Approval};
use crate::index::held::{HeldPlan, read, write};
use crate::index::ledger::Ledger;
use crate::index::state::lock;
use crate::model::takes::Takes;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// So many digits of its digest tell a held plan from the next one.
const PREFIX: usize = 8;

impl Ledger {
    /// The held plan that a person has let through.
    pub(crate) fn approved_plan(&self) -> Option<Takes> {
        let shared = self.shared.as_ref()?;
        let mut state = lock(&shared.0);
        if !state.approved.iter().any(Approval::is_of_plan) {
            return None;
        }
        let held = state.attempt(|state| state.connection.as_ref().map_or(Ok(None), read)).flatten()?;
        state.approved.contains(&held.approval()).then_some(held.takes)
    }

    /// Uses up the approvals of plans: one lets one pass through, and one that was not needed is void.
    pub(crate) fn use_up_plans(&self) {
        let Some(shared) = &self.shared else { return };
        let mut state = lock(&shared.0);
        let plans: Vec<Approval> =
            state.approved.iter().filter(|approval| approval.is_of_plan()).cloned().collect();
        state.used.extend(plans);
    }
}

impl Index {
    /// The command that lets the plan through that was held last.
    pub(crate) fn approve_command(&self, plan: &HeldPlan) -> String {
        let quoted = |path: &Path| quoted(path.as_os_str().as_bytes());
        let (source, replica) = (quoted(&self.roots.source), quoted(&self.roots.replica));
        let state_dir = quoted(&self.options.state_dir);
        let digest = plan.approval().digest.to_string();
        let plan = digest.get(..PREFIX).unwrap_or_default();
        format!(
            "file-sync approve --source {source} --replica {replica} --state-dir {state_dir} --plan {plan}"
        )
    }

    /// Keeps a held plan, after [`Index::end`], and returns it as it is kept: an equal one was held before. None where it
    /// cannot be kept, and so not be approved. Approvals of other plans that this pass has met are void.
    pub(crate) fn note_held(&self, plan: HeldPlan) -> Option<HeldPlan> {
        let mut state = lock(&self.shared.0);
        let void: Vec<Approval> =
            state.approved.iter().filter(|approval| approval.is_of_plan()).cloned().collect();
        if !void.is_empty() {
            approvals::remove(&approvals::file_of(&self.path), &void).ok()?;
        }
        let kept = state.attempt_write(|state| {
            let Some(connection) = &state.connection else { return Ok(None) };
            let before = read(connection)?.filter(|before| before.takes == plan.takes);
            let plan = HeldPlan { held: before.map_or(plan.held, |before| before.held), ..plan };
            write(connection, &plan)?;
            Ok(Some(plan))
        });
        kept.flatten()
    }
}

/// A path as a shell reads it.
fn quoted(path: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(byte);
    if !path.is_empty() && path.iter().all(is_plain) {
        return String::from_utf8_lossy(path).into_owned();
    }
    let is_printed = |byte: &u8| (0x20..0x7f).contains(byte);
    if path.iter().all(is_printed) {
        return format!("'{}'", String::from_utf8_lossy(path).replace('\'', "'\\''"));
    }
    // Bash, zsh and ksh read this form; it is plain ASCII whatever the name.
    let escaped = path.iter().map(|byte| match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
        byte if is_printed(byte) => char::from(*byte).to_string(),
        byte => format!("\\{byte:03o}"),
    });
    format!("$'{}'", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_path_again_whatever_is_in_it() {
        for path in [
            &b"/srv/photos"[..],
            b"/my films",
            b"/it's",
            b"/a\\b",
            b"/\xff\n\x1b[31m'",
            b"",
            "/\u{e4}".as_bytes(),
        ] {
            let script = format!("printf %s {}", quoted(path));
            let Ok(output) = std::process::Command::new("bash").args(["-c", &script]).output() else {
                continue;
            };
            assert_eq!(output.stdout, path, "{script}");
        }
    }
}
