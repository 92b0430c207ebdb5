//! The timestamp at the start of every line: RFC 3339, local time, milliseconds, offset.
//!
//! A look-up of the time zone costs more than the rest of a line, so each thread caches the text of the second that it
//! formatted last and only replaces the milliseconds.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use std::cell::Cell;
use std::time::SystemTime;

/// `2026-11-22T12:00:00.123+01:00`.
pub(super) const LENGTH: usize = 29;

/// The byte range of the milliseconds.
const MILLISECONDS: std::ops::Range<usize> = 20..23;

/// A formatted moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp([u8; LENGTH]);

/// The byte range of the time of day.
const CLOCK: std::ops::Range<usize> = 11..19;

thread_local! {
    static LAST: Cell<Option<(i64, Stamp)>> = const { Cell::new(None) };
}

impl Stamp {
    /// The current time in the time zone of the system.
    pub(super) fn now() -> Stamp {
        // A clock out of jiff's range (year 9999) must not end the program.
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut stamp = match LAST.get() {
            Some((second, stamp)) if second == now.as_second() => stamp,
            Some(_) | None => {
                let stamp = Stamp::at(now, &TimeZone::system());
                LAST.set(Some((now.as_second(), stamp)));
                stamp
            }
        };
        stamp.set_milliseconds(now);
        stamp
    }

    /// A moment in a time zone.
    pub(super) fn at(moment: Timestamp, zone: &TimeZone) -> Stamp {
        // RFC 3339 has offsets of whole minutes. Local time follows the offset that is shown, so that both together are
        // the right moment even in the few historic zones with seconds in their offset.
        let minutes = zone.to_offset(moment).seconds() / 60;
        let offset = Offset::from_seconds(minutes * 60).unwrap_or(Offset::UTC);
        let local = offset.to_datetime(moment);
        let sign = if minutes < 0 { '-' } else { '+' };
        let text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000{sign}{:02}:{:02}",
            local.year().clamp(0, 9999),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second(),
            minutes.abs() / 60,
            minutes.abs() % 60,
        );
        let mut stamp = Stamp([b'0'; LENGTH]);
        for (place, byte) in stamp.0.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        stamp.set_milliseconds(moment);
        stamp
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The time of day in seconds: `12:00:00`.
    pub(super) fn clock(&self) -> &str {
        self.as_str().get(CLOCK).unwrap_or_default()
    }

    fn set_milliseconds(&mut self, moment: Timestamp) {
        let mut rest = moment.subsec_nanosecond().max(0) / 1_000_000;
        for place in self.0[MILLISECONDS].iter_mut().rev() {
            *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_rfc_3339_in_local_time_with_its_offset() {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        let cases = [
            ("2026-11-22T11:00:00.123Z", berlin, "2026-11-22T12:00:00.123+01:00"),
            ("2026-07-01T23:59:59.999999Z", berlin, "2026-07-02T01:59:59.999+02:00"),
            ("2026-01-01T00:00:00.007Z", "<-0330>3:30", "2025-12-31T20:30:00.007-03:30"),
            ("2026-01-01T00:00:00Z", "UTC0", "2026-01-01T00:00:00.000+00:00"),
            ("2026-01-01T00:00:00Z", "LMT-0:53:28", "2026-01-01T00:53:00.000+00:53"),
        ];
        for (moment, zone, expected) in cases {
            let zone = TimeZone::posix(zone).unwrap();
            assert_eq!(Stamp::at(moment.parse().unwrap(), &zone).as_str(), expected);
        }
    }

    #[test]
    fn now_is_now_also_when_the_second_was_kept() {
        for _ in 0..1000 {
            let before = SystemTime::now();
            let stamp: Timestamp = Stamp::now().as_str().parse().unwrap();
            let after = Timestamp::try_from(SystemTime::now()).unwrap();
            let before = Timestamp::try_from(before).unwrap();
            assert!(before.as_millisecond() <= stamp.as_millisecond());
            assert!(stamp <= after);
        }
    }
}
