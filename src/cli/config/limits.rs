//! The limits of the guard: `--max-delete` and `--max-change`.

use crate::cli::args::size::Size;
use crate::cli::config::UsageError;
use crate::model::limit::Limit;
use crate::model::path::shown;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Reads a limit: `off`, percent, a number of entries, or a size.
///
/// # Errors
/// It is none of them.
pub(super) fn limit(option: &str, given: &OsStr) -> Result<Limit, UsageError> {
    let refused = |reason: &str| {
        let given = shown(given.as_bytes());
        UsageError(format!(
            "Cannot use {option} {given}: {reason}; give percent of the replica's entries, a number of entries, a size, 0 \
             for none at all or off for no limit, such as {option} 20%, {option} 1000, {option} 10GiB or {option} off"
        ))
    };
    let text = given.to_string_lossy();
    if text == "off" {
        return Ok(Limit::Off);
    }
    if let Some(percent) = text.strip_suffix('%') {
        let is_number = !percent.is_empty() && percent.bytes().all(|byte| byte.is_ascii_digit());
        let percent = percent.parse().ok().filter(|percent| is_number && *percent <= 100);
        let percent = percent.ok_or_else(|| refused("percent are whole numbers from 0 to 100"))?;
        return Ok(Limit::Share { percent, least: 1 });
    }
    match Size::parse(&text) {
        Ok(size) if size.has_unit => Ok(Limit::Bytes(size.bytes)),
        Ok(size) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Limit::Entries(size.bytes)),
        Ok(_) => Err(refused("there is no part of an entry")),
        Err(reason) => Err(refused(&reason.to_string().replace("it is not a size", "it is no limit"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_percent_a_number_a_size_or_off() {
        let share = |percent| Ok(Limit::Share { percent, least: 1 });
        for (text, expected) in [
            ("off", Ok(Limit::Off)),
            ("0", Ok(Limit::Entries(0))),
            ("1000", Ok(Limit::Entries(1000))),
            ("0%", share(0)),
            ("50%", share(50)),
            ("100%", share(100)),
            ("10GiB", Ok(Limit::Bytes(10 << 30))),
            ("10B", Ok(Limit::Bytes(10))),
            ("101%", Err("from 0 to 100")),
            ("+5%", Err("from 0 to 100")),
            ("%", Err("from 0 to 100")),
            ("1.5", Err("no part of an entry")),
            ("-1", Err("it is no limit")),
            ("", Err("it is no limit")),
            ("10 cats", Err("its unit is not known")),
        ] {
            let found = limit("--max-delete", OsStr::new(text));
            match expected {
                Ok(limit) => assert_eq!(found, Ok(limit), "{text}"),
                Err(words) => {
                    let told = found.unwrap_err().to_string();
                    assert!(told.starts_with("Cannot use --max-delete "), "{told}");
                    assert!(told.contains(words), "{told}");
                }
            }
        }
    }
}
