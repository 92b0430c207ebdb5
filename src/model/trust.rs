//! How long something that was confirmed once is believed: `0`, a duration, `never` again.

use crate::model::interval::{BadInterval, Interval};
use std::time::Duration;

/// How long a confirmation is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is not: every pass confirms again.
    Never,
    /// For so long.
    For(Duration),
    /// For ever.
    Always,
}

impl Trust {
    /// Reads `0`, `never` (confirm never again), seconds, or a duration such as `24h` and `30d`.
    ///
    /// # Errors
    /// The text is none of these, or out of range.
    pub fn parse(text: &str) -> Result<Trust, BadInterval> {
        let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
        if text == "never" {
            Ok(Trust::Always)
        } else if !digits.is_empty() && digits.bytes().all(|byte| byte == b'0') {
            Ok(Trust::Never)
        } else {
            Interval::parse(text).map(|interval| Trust::For(interval.length()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_a_duration_and_never_are_read() {
        for (text, expected) in [
            ("0", Trust::Never),
            ("0s", Trust::Never),
            ("never", Trust::Always),
            ("60", Trust::For(Duration::from_secs(60))),
            ("24h", Trust::For(Duration::from_secs(86_400))),
            ("30d", Trust::For(Duration::from_secs(30 * 86_400))),
        ] {
            assert_eq!(Trust::parse(text), Ok(expected), "{text}");
        }
        for text in ["", "always", "-1", "-1d", "s", "Never", "1 fortnight"] {
            assert!(Trust::parse(text).is_err(), "{text}");
        }
    }
}
