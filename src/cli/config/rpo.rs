//! The recovery point objective of a run.

use crate::cli::config::{RunMode, UsageError};
use crate::model::interval::Interval;
use crate::model::path::shown;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The RPO that is promised: the one that was given, else twice the interval; none for a single pass without one.
///
/// # Errors
/// It is no time, or not longer than the interval, so that even passes that take no time would miss it.
pub(super) fn rpo(given: Option<&OsStr>, mode: RunMode) -> Result<Option<Duration>, UsageError> {
    let interval = mode.interval().map(Interval::length);
    let Some(given) = given else {
        return Ok(interval.map(|interval| interval.saturating_mul(2)));
    };
    let refused = |reason: &str| {
        let given = shown(given.as_bytes());
        UsageError(format!(
            "Cannot use --rpo {given}: {reason}; give seconds or a duration, such as --rpo 3600, --rpo 1h or --rpo 2d"
        ))
    };
    let rpo = Interval::parse(&given.to_string_lossy()).map_err(|reason| {
        // The reasons speak of intervals.
        refused(&reason.to_string().replace("interval", "RPO"))
    })?;
    match interval {
        Some(interval) if rpo.length() <= interval => Err(refused(
            "just before a pass is done the replica is older than the interval, so the RPO has to be longer than it",
        )),
        Some(_) | None => Ok(Some(rpo.length())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rpo_is_twice_the_interval_or_what_was_given_if_it_can_be_met() {
        let every = |seconds| RunMode::Every(Interval::new(Duration::from_secs(seconds)).unwrap());
        let cases = [
            (None, every(900), Ok(Some(1800))),
            (Some("1h"), every(900), Ok(Some(3600))),
            (Some("901"), every(900), Ok(Some(901))),
            (Some("900"), every(900), Err("longer than it")),
            (Some("1h"), RunMode::Once, Ok(Some(3600))),
            (None, RunMode::Once, Ok(None)),
            (None, RunMode::DryRun, Ok(None)),
            (Some("soon"), RunMode::Once, Err("it is not a time")),
            (Some("0"), every(900), Err("the shortest RPO is one second")),
            (Some("-1h"), every(900), Err("the shortest RPO is one second")),
        ];
        for (given, mode, expected) in cases {
            let got = rpo(given.map(OsStr::new), mode).map_err(|error| error.to_string());
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected.map(Duration::from_secs), "{given:?}"),
                (Err(got), Err(words)) => {
                    assert!(got.contains(words) && got.contains("--rpo 1h"), "{given:?}: {got}");
                }
                (got, expected) => panic!("{given:?}: {got:?}, not {expected:?}"),
            }
        }
        let longest = rpo(None, RunMode::Every(Interval::new(Interval::MAX).unwrap())).unwrap().unwrap();
        assert_eq!(longest, Interval::MAX * 2);
    }
}
