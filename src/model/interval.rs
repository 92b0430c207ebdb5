//! The time from the start of one pass to the start of the next, in its text form.
//!
//! Whole seconds (`60`) are read here; everything else is jiff's friendly duration format (`15m`, `1h30m`, `2 days`),
//! with a day of 24 hours, because the boot-time clock has no calendar.

use jiff::{Span, SpanRelativeTo};
use std::time::Duration;

/// An interval between [`Interval::MIN`] and [`Interval::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(Duration);

/// The reason to reject a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInterval {
    /// It is no time.
    #[error("it is not a time")]
    NotATime,
    /// Zero, negative, or so short that one pass would follow the other without a pause.
    #[error("the shortest interval is one second")]
    TooShort,
    /// Longer than anyone waits, and possibly too long to represent.
    #[error("the longest interval is 365000 days")]
    TooLong,
}

impl Interval {
    /// One second.
    pub const MIN: Duration = Duration::from_secs(1);

    /// A thousand years: far beyond use, and far below where adding to a clock reading could overflow.
    pub const MAX: Duration = Duration::from_secs(365_000 * 24 * 60 * 60);

    /// An interval of this length.
    ///
    /// # Errors
    /// It is shorter than [`Interval::MIN`] or longer than [`Interval::MAX`].
    pub fn new(length: Duration) -> Result<Interval, BadInterval> {
        if length < Interval::MIN {
            Err(BadInterval::TooShort)
        } else if length > Interval::MAX {
            Err(BadInterval::TooLong)
        } else {
            Ok(Interval(length))
        }
    }

    /// Reads an interval: `60`, `15m`, `1h30m`, `2d`.
    ///
    /// # Errors
    /// The text is not a time, or out of range.
    pub fn parse(text: &str) -> Result<Interval, BadInterval> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            if text.starts_with('-') {
                return Err(BadInterval::TooShort);
            }
            let seconds = digits.parse().map_err(|_| BadInterval::TooLong)?;
            return Interval::new(Duration::from_secs(seconds));
        }
        let span: Span = text.parse().map_err(|_| match reads_as_time_but_for_its_size(text) {
            true => BadInterval::TooLong,
            false => BadInterval::NotATime,
        })?;
        let length =
            span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| BadInterval::NotATime)?;
        Interval::new(Duration::try_from(length).map_err(|_| BadInterval::TooShort)?)
    }

    /// Its length.
    pub fn length(self) -> Duration {
        self.0
    }
}

/// True when the text becomes a time with smaller numbers: jiff has one error for both kinds of mistake.
fn reads_as_time_but_for_its_size(text: &str) -> bool {
    let mut small = String::with_capacity(text.len());
    let mut in_number = false;
    for character in text.chars() {
        if !character.is_ascii_digit() {
            small.push(character);
        } else if !in_number {
            small.push('1');
        }
        in_number = character.is_ascii_digit();
    }
    small.parse::<Span>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_strategies::pure;
    use proptest::prelude::*;

    #[test]
    fn seconds_and_durations_are_understood() {
        let cases = [
            ("1", 1),
            ("60", 60),
            ("007", 7),
            ("90s", 90),
            ("15m", 900),
            ("1h30m", 5_400),
            ("1h 30m", 5_400),
            ("2d", 172_800),
            ("1d12h", 129_600),
            ("1w", 604_800),
            ("365000d", 31_536_000_000),
            ("31536000000", 31_536_000_000),
        ];
        for (text, seconds) in cases {
            assert_eq!(
                Interval::parse(text).map(Interval::length),
                Ok(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        assert_eq!(Interval::parse("1500ms").map(Interval::length), Ok(Duration::from_millis(1_500)));
    }

    #[test]
    fn everything_else_is_refused_with_the_right_reason() {
        use BadInterval::{NotATime, TooLong, TooShort};
        let cases = [
            ("", NotATime),
            (" ", NotATime),
            (" 60", NotATime),
            ("60 ", NotATime),
            ("-", NotATime),
            ("--once", NotATime),
            ("abc", NotATime),
            ("+60", NotATime),
            ("1.5", NotATime),
            ("1e3", NotATime),
            ("0x10", NotATime),
            ("15x", NotATime),
            ("1h30", NotATime),
            ("m", NotATime),
            ("1mo", NotATime),
            ("1y", NotATime),
            ("inf", NotATime),
            ("NaN", NotATime),
            ("六十", NotATime),
            ("٦٠", NotATime),
            ("0", TooShort),
            ("-0", TooShort),
            ("-5", TooShort),
            ("-5m", TooShort),
            ("0s", TooShort),
            ("0h0m", TooShort),
            ("999ms", TooShort),
            ("5m ago", TooShort),
            ("365001d", TooLong),
            ("31536000001", TooLong),
            ("18446744073709551615", TooLong),
            ("18446744073709551616", TooLong),
            ("99999999999999999999999999s", TooLong),
            ("9223372036854775807h", TooLong),
        ];
        for (text, reason) in cases {
            assert_eq!(Interval::parse(text), Err(reason), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(pure())]

        #[test]
        fn an_interval_that_is_written_down_is_read_as_the_same(seconds in 1..=31_536_000_000u64, millis in 0..1000u64) {
            let (days, rest) = (seconds / 86_400, seconds % 86_400);
            let (hours, minutes, left) = (rest / 3600, rest / 60 % 60, rest % 60);
            let expected = Ok(Interval(Duration::from_secs(seconds)));
            for text in [
                format!("{seconds}"),
                format!("{seconds}s"),
                format!("{seconds} seconds"),
                format!("{days}d{hours}h{minutes}m{left}s"),
                format!("{days}d {hours}h {minutes}m {left}s"),
            ] {
                prop_assert_eq!(Interval::parse(&text), expected, "{}", text);
            }
            // As the log shows it.
            let length = Duration::from_secs(seconds % 1_000_000_000 + 1) + Duration::from_millis(millis);
            let text = format!("{} s", length.as_secs_f64());
            prop_assert_eq!(Interval::parse(&text), Ok(Interval(length)), "{}", text);
        }

        #[test]
        fn whatever_is_given_as_an_interval_it_is_one_or_it_is_refused(
            text in prop_oneof![any::<String>(), "-?[0-9]{0,22}[smhdwyµ. ,:-]?[0-9a-z ]{0,6}"]
        ) {
            if let Ok(interval) = Interval::parse(&text) {
                prop_assert!((Interval::MIN..=Interval::MAX).contains(&interval.length()), "{text:?}");
                prop_assert_eq!(Interval::new(interval.length()), Ok(interval));
            }
        }
    }
}
