//! Messages to standard error.

use std::io::Write;

/// Writes a message. A closed console changes neither what a command does nor its exit code, so its error is dropped.
pub(super) fn complain(complaints: &mut dyn Write, message: &str) {
    show(complaints, &format!("{message}\n"));
}

/// Writes text as it is, at once; errors are dropped as in [`complain`].
pub(super) fn show(terminal: &mut dyn Write, text: &str) {
    match terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()) {
        Ok(()) | Err(_) => {}
    }
}
