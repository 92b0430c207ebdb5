//! The live line: how far a pass is, or how long it is to the next one. Pure: numbers in, a text out that fits.

use super::super::humanize;
use crate::log::width::{cut, width};
use std::time::Duration;

/// The widths of the bar, and the word for the changes that there is room for.
const BARS: [(usize, &str); 2] = [(20, " changes"), (8, "")];

/// The width that is kept free for the time that is left.
const RESERVED: usize = 13;

/// The state of a survey.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// The names that were looked at.
    pub(super) entries: u64,
    /// The changes that were found.
    pub(super) changes: u64,
    /// The names of a second.
    pub(super) entries_per_second: Option<f64>,
    /// The bytes of content that were read, on both sides together.
    pub(super) bytes: u64,
    /// The bytes of content of a second.
    pub(super) bytes_per_second: Option<f64>,
}

/// How far the plan is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Writing {
    /// The changes that are done, and all.
    pub(super) changes: (u64, u64),
    /// The bytes of content that are written, and all.
    pub(super) bytes: (u64, u64),
    /// The part that is done, from 0 to 1.
    pub(super) part: f64,
    /// The changes of a second.
    pub(super) changes_per_second: Option<f64>,
    /// The bytes of a second.
    pub(super) bytes_per_second: Option<f64>,
    /// The time that the rest takes.
    pub(super) left: Option<Duration>,
    /// Whether everything waits for the disk.
    pub(super) waits_for_disk: bool,
}

/// The line during the survey.
pub(super) fn reading(pass: u64, state: Reading, columns: usize) -> String {
    let entries = humanize::counted(state.entries, "entry", "entries");
    let changes = humanize::counted(state.changes, "change", "changes");
    // In a large file no entry comes for a while.
    let rate = state.entries_per_second.filter(|rate| *rate >= 1.0);
    let rate = rate.map(|rate| format!(", {}/s", humanize::number(rate as u64))).unwrap_or_default();
    let read = match state.bytes {
        0 => String::new(),
        bytes => format!(", {} read", humanize::size(bytes)),
    };
    let bytes = state.bytes_per_second.filter(|rate| *rate >= 1.0);
    let bytes = bytes.map(|rate| format!(", {}/s", humanize::size(rate as u64))).unwrap_or_default();
    fitting(
        [
            format!("pass {pass} reads both trees: {entries}, {changes}{rate}{read}{bytes}"),
            format!("pass {pass}: {entries}, {changes}{rate}{read}{bytes}"),
            format!("pass {pass}: {entries}, {changes}{read}{bytes}"),
            format!("pass {pass}: {entries}, {changes}{rate}{bytes}"),
            format!("pass {pass}: {entries}, {changes}{rate}"),
            format!("{entries}, {changes}{rate}"),
            format!("{entries}, {changes}"),
            entries.clone(),
        ],
        columns,
    )
}

/// The line while the plan is carried out.
pub(super) fn writing(state: Writing, columns: usize) -> String {
    let (done, all) = state.changes;
    // A pass that has not ended is not done.
    let percent = format!("{} %", ((state.part * 100.0) as u64).min(99));
    let changes = format!(", {} of {}", humanize::number(done), humanize::number(all));
    let bytes = match state.bytes {
        (_, 0) => String::new(),
        (done, all) => format!(", {}", part_of(&humanize::size(done), &humanize::size(all))),
    };
    let rate = match (state.bytes.1, state.bytes_per_second, state.changes_per_second) {
        _ if state.waits_for_disk => String::new(),
        (0, _, Some(rate)) => format!(", {}/s", humanize::number(rate as u64)),
        (1.., Some(rate), _) => format!(", {}/s", humanize::size(rate as u64)),
        (0, _, None) | (1.., None, _) => String::new(),
    };
    let left = if state.waits_for_disk {
        ", writing to disk".to_owned()
    } else if done >= all {
        ", almost done".to_owned()
    } else {
        state.left.map(|left| format!(", {}", time_left(left))).unwrap_or_default()
    };
    let bars = BARS.map(|(length, what)| {
        format!("{} {percent}{changes}{what}{bytes}{rate}{left}", bar(state.part, length))
    });
    let without_comma = |text: &str| text.trim_start_matches(", ").to_owned();
    // The form of the line stays the same when the time that is left becomes known.
    let reserved = RESERVED.saturating_sub(width(&left));
    let bars = bars.into_iter().filter(|line| width(line) + reserved < columns);
    fitting(
        bars.chain([
            format!("{percent}{changes}{bytes}{rate}{left}"),
            format!("{percent}{bytes}{rate}{left}"),
            format!("{percent}{rate}{left}"),
            format!("{percent}{left}"),
            without_comma(&left),
            percent.clone(),
        ]),
        columns,
    )
}

/// The line while the replica is made durable.
pub(super) fn syncing(pass: u64, since: Duration, columns: usize) -> String {
    let since = humanize::age(since);
    fitting([format!("pass {pass}: writing to disk, {since}"), format!("writing to disk, {since}")], columns)
}

/// The line between two passes.
pub(super) fn waiting(next: Duration, age: Option<Duration>, columns: usize) -> String {
    // Rounded up: the pass starts when the time is over.
    let next = humanize::age(Duration::from_secs(next.as_secs() + u64::from(next.subsec_nanos() > 0)));
    let age = age.map(|age| format!(", replica {} old", humanize::age(age))).unwrap_or_default();
    fitting(
        [format!("next pass in {next}{age}"), format!("next in {next}{age}"), format!("next in {next}")],
        columns,
    )
}

/// `1.2 of 3.4 GiB`: a unit that both have is written once.
fn part_of(part: &str, whole: &str) -> String {
    let part = match (part.split_once(' '), whole.split_once(' ')) {
        (Some((number, unit)), Some((_, of_all))) if unit == of_all => number,
        _ => part,
    };
    format!("{part} of {whole}")
}

/// `[=====>    ]`. ASCII, for terminals whose font has no blocks.
fn bar(part: f64, length: usize) -> String {
    let done = ((part.clamp(0.0, 1.0) * length as f64) as usize).min(length - 1);
    format!("[{}>{}]", "=".repeat(done), " ".repeat(length - 1 - done))
}

/// The time that is left, rounded up, the more coarsely the longer it is: it is an estimate.
fn time_left(left: Duration) -> String {
    let seconds = left.as_secs() + 1;
    match seconds {
        ..10 => "< 10 s left".to_owned(),
        10..60 => format!("{} s left", seconds.next_multiple_of(5)),
        60..120 => format!("{} s left", seconds.next_multiple_of(10)),
        120.. => format!("{} left", humanize::age(Duration::from_secs(seconds.next_multiple_of(60)))),
    }
}

/// The first text that fits, or as much as fits of the last. The last column stays empty: some terminals begin a new line
/// when it is written.
fn fitting(texts: impl IntoIterator<Item = String>, columns: usize) -> String {
    let room = columns.saturating_sub(1);
    let mut last = String::new();
    for text in texts {
        if width(&text) <= room {
            return text;
        }
        last = text;
    }
    cut(&last, room).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_survey_shows_entries_changes_and_rates_as_far_as_they_fit() {
        let state = Reading {
            entries: 1_234_567,
            changes: 17,
            entries_per_second: Some(8_200.4),
            bytes: 5 * GIB,
            bytes_per_second: Some(250e6),
        };
        for (columns, expected) in [
            (93, "pass 3 reads both trees: 1,234,567 entries, 17 changes, 8,200/s, 5 GiB read, 238.4 MiB/s"),
            (80, "pass 3: 1,234,567 entries, 17 changes, 8,200/s, 5 GiB read, 238.4 MiB/s"),
            (70, "pass 3: 1,234,567 entries, 17 changes, 5 GiB read, 238.4 MiB/s"),
            (60, "pass 3: 1,234,567 entries, 17 changes, 8,200/s, 238.4 MiB/s"),
            (50, "pass 3: 1,234,567 entries, 17 changes, 8,200/s"),
            (40, "1,234,567 entries, 17 changes, 8,200/s"),
            (30, "1,234,567 entries, 17 changes"),
            (18, "1,234,567 entries"),
            (10, "1,234,567"),
            (1, ""),
        ] {
            assert_eq!(reading(3, state, columns), expected, "{columns}");
        }
        let large = Reading { entries: 1, entries_per_second: Some(0.1), bytes: 24 << 20, ..state };
        let large = reading(1, Reading { changes: 0, ..large }, 80);
        assert_eq!(large, "pass 1 reads both trees: 1 entry, 0 changes, 24 MiB read, 238.4 MiB/s");
        let first = Reading { entries: 1, changes: 1, ..Reading::default() };
        assert_eq!(reading(1, first, 80), "pass 1 reads both trees: 1 entry, 1 change");
    }

    #[test]
    fn the_bar_gives_way_before_the_numbers_and_these_before_the_time_that_is_left() {
        let state = Writing {
            changes: (1_234, 5_000),
            bytes: (GIB, 3 * GIB),
            part: 0.41,
            changes_per_second: Some(80.0),
            bytes_per_second: Some(52.5e6),
            left: Some(Duration::from_secs(171)),
            waits_for_disk: false,
        };
        for (columns, expected) in [
            (100, "[========>           ] 41 %, 1,234 of 5,000 changes, 1 of 3 GiB, 50.1 MiB/s, 3 min left"),
            (75, "[===>    ] 41 %, 1,234 of 5,000, 1 of 3 GiB, 50.1 MiB/s, 3 min left"),
            (65, "41 %, 1,234 of 5,000, 1 of 3 GiB, 50.1 MiB/s, 3 min left"),
            (50, "41 %, 1 of 3 GiB, 50.1 MiB/s, 3 min left"),
            (40, "41 %, 50.1 MiB/s, 3 min left"),
            (20, "41 %, 3 min left"),
            (11, "3 min left"),
            (5, "41 %"),
        ] {
            assert_eq!(writing(state, columns), expected, "{columns}");
        }
        let metadata = Writing { bytes: (0, 0), ..state };
        assert_eq!(
            writing(metadata, 75),
            "[========>           ] 41 %, 1,234 of 5,000 changes, 80/s, 3 min left"
        );
        let waits = Writing { waits_for_disk: true, ..state };
        assert_eq!(writing(waits, 40), "41 %, 1 of 3 GiB, writing to disk");
        let last = Writing { changes: (5_000, 5_000), part: 1.0, ..metadata };
        assert_eq!(writing(last, 60), "[=======>] 99 %, 5,000 of 5,000, 80/s, almost done");
    }

    #[test]
    fn the_time_that_is_left_is_coarse_and_never_none() {
        for (seconds, expected) in [
            (0, "< 10 s left"),
            (8, "< 10 s left"),
            (9, "10 s left"),
            (41, "45 s left"),
            (59, "60 s left"),
            (61, "70 s left"),
            (120, "3 min left"),
            (1000, "17 min left"),
            (7201, "2 h 1 min left"),
        ] {
            assert_eq!(time_left(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn the_wait_for_the_next_pass_is_counted_down() {
        let (next, age) = (Duration::from_millis(41_001), Some(Duration::from_secs(18)));
        assert_eq!(waiting(next, age, 80), "next pass in 42 s, replica 18 s old");
        assert_eq!(waiting(next, age, 33), "next in 42 s, replica 18 s old");
        assert_eq!(waiting(next, age, 20), "next in 42 s");
        assert_eq!(waiting(Duration::from_secs(3600), None, 80), "next pass in 1 h");
        assert_eq!(syncing(3, Duration::from_secs(12), 80), "pass 3: writing to disk, 12 s");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let state = Writing { changes: (1, 1 << 40), bytes: (1, u64::MAX), part: 0.5, ..Writing::default() };
        for columns in 0..120 {
            let lines = [
                reading(1, Reading { entries: u64::MAX, ..Reading::default() }, columns),
                writing(state, columns),
                syncing(u64::MAX, Duration::MAX, columns),
                waiting(Duration::from_secs(1 << 30), None, columns),
            ];
            assert!(lines.iter().all(|line| width(line) <= columns.saturating_sub(1)), "{columns} {lines:?}");
        }
    }
}
