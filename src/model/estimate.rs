//! How long the next pass is expected to take.

use std::time::Duration;

/// The number of passes that an estimate is made of.
pub(crate) const SAMPLE: usize = 5;

/// The second longest of the last passes that were done; the longest where there is one only. So one exceptional pass,
/// such as a first copy, is left out, and two such passes are not. Expects at most [`SAMPLE`] of them, in any order.
pub(crate) fn expected(durations: impl IntoIterator<Item = Duration>) -> Option<Duration> {
    let mut sample: Vec<Duration> = durations.into_iter().collect();
    sample.sort_unstable();
    sample.iter().rev().nth(1).or(sample.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_exceptional_pass_is_left_out() {
        let cases: [(&[u64], Option<u64>); 6] = [
            (&[], None),
            (&[7], Some(7)),
            (&[10_800, 60], Some(60)),
            (&[60, 10_800], Some(60)),
            (&[60, 10_800, 61, 62, 63], Some(63)),
            (&[60, 10_800, 61, 9_000, 63], Some(9_000)),
        ];
        for (seconds, expected_seconds) in cases {
            let durations = seconds.iter().copied().map(Duration::from_secs);
            assert_eq!(expected(durations), expected_seconds.map(Duration::from_secs), "{seconds:?}");
        }
    }
}
