//! The rate of `--bwlimit`.
//!
//! A number without a unit is refused. rsync and rclone take it for KiB a second, and `--interval 60` suggests the base
//! unit, here bytes: with the wrong guess a pass would take a thousand times as long, or load the disks a thousand times
//! as much, and neither would look like a mistake.

use crate::cli::args::size::Size;
use crate::cli::config::UsageError;
use crate::model::path::shown;
use std::ffi::OsStr;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;

/// The lowest limit, that of rsync.
const LEAST: u64 = 1 << 10;

/// The bytes per second; none for no limit.
///
/// # Errors
/// It is no rate, has no unit, or is so low that no pass would end.
pub(super) fn rate(given: Option<&OsStr>) -> Result<Option<NonZeroU64>, UsageError> {
    let Some(given) = given else { return Ok(None) };
    let refused = |reason: &str, advice: &str| {
        let given = shown(given.as_bytes());
        UsageError(format!("Cannot use --bwlimit {given}: {reason}; {advice}"))
    };
    const ADVICE: &str = "give bytes per second with a unit, such as --bwlimit 50MiB, --bwlimit 10MB or \
                          --bwlimit 800K, or --bwlimit off for no limit";
    // A byte that is not UTF-8 becomes a replacement character, which no rate contains.
    let text = given.to_string_lossy();
    if text == "off" {
        return Ok(None);
    }
    // The reasons speak of sizes.
    let size =
        Size::parse(&text).map_err(|reason| refused(&reason.to_string().replace("size", "rate"), ADVICE))?;
    if !text.contains(|c: char| matches!(c, '1'..='9')) {
        return Ok(None);
    }
    if !size.has_unit {
        let advice = format!("say which is meant, --bwlimit {text}K or --bwlimit {text}B");
        return Err(refused(
            "it has no unit, and could mean KiB per second, as for rsync, or bytes",
            &advice,
        ));
    }
    if size.bytes < LEAST {
        return Err(refused("the lowest limit is 1K, 1,024 bytes per second", ADVICE));
    }
    Ok(NonZeroU64::new(size.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_unit_or_is_none() {
        let cases = [
            ("0", Ok(None)),
            ("off", Ok(None)),
            ("0M", Ok(None)),
            ("1K", Ok(Some(1024))),
            ("800k", Ok(Some(800 << 10))),
            ("50MiB", Ok(Some(50 << 20))),
            ("10MB", Ok(Some(10_000_000))),
            ("1.5m", Ok(Some(3 << 19))),
            ("5000000B", Ok(Some(5_000_000))),
            ("5000", Err("--bwlimit 5000K or --bwlimit 5000B")),
            ("1000B", Err("the lowest limit is 1K")),
            ("0.1B", Err("the lowest limit is 1K")),
            ("2.5", Err("--bwlimit 2.5K or --bwlimit 2.5B")),
            ("", Err("--bwlimit \"\": it is not a rate")),
            ("-5M", Err("--bwlimit -5M: it is not a rate")),
            ("fast", Err("it is not a rate; give bytes per second with a unit, such as --bwlimit 50MiB")),
            ("Off", Err("--bwlimit off for no limit")),
            ("5Mbit", Err("its unit is not known")),
            ("99999999T", Err("it is too large")),
        ];
        for (given, expected) in cases {
            match (rate(Some(OsStr::new(given))).map_err(|error| error.to_string()), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got.map(NonZeroU64::get), expected, "{given:?}"),
                (Err(got), Err(words)) => assert!(got.contains(words), "{given:?}: {got}"),
                (got, expected) => panic!("{given:?}: {got:?}, not {expected:?}"),
            }
        }
        assert_eq!(rate(None), Ok(None));
    }
}
