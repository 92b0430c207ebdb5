//! More lines than a person can read are summed up: after [`MOST`] lines within a second the next ones are counted by
//! verb and folder, and told together, after a second at first and less often while it goes on.

use crate::model::path::RelPath;
use std::time::{Duration, Instant};

/// The number of lines that are shown within a second.
const MOST: u64 = 50;

const SECOND: Duration = Duration::from_secs(1);

/// The longest time between two sums.
const RARE: Duration = Duration::from_secs(10);

/// Sums of one verb in more folders than this become one.
const FOLDERS: usize = 3;

/// Lines that were not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// What happened to them: `created`.
    pub(super) what: &'static str,
    /// The folder that has all of them.
    pub(super) folder: RelPath,
    /// Their number.
    pub(super) entries: u64,
    /// The bytes of the files among them.
    pub(super) bytes: u64,
    /// Whether it takes all lines of its verb, from any folder.
    is_of_all: bool,
}

/// The lines of the last moments.
#[derive(Debug)]
pub(super) struct Burst {
    /// The start of the second whose lines are counted, or of the sums.
    since: Instant,
    /// The lines since then.
    lines: u64,
    /// The time after which the sums are told; none while lines are shown.
    after: Option<Duration>,
    sums: Vec<Sum>,
}

impl Burst {
    /// Nothing has happened yet.
    pub(super) fn new(now: Instant) -> Burst {
        Burst { since: now, lines: 0, after: None, sums: Vec::new() }
    }

    /// Takes a line about an entry of this folder. True if it is to be shown; else it is summed up.
    pub(super) fn shows(&mut self, now: Instant, what: &'static str, folder: &[u8], bytes: u64) -> bool {
        if self.after.is_none() {
            if now.duration_since(self.since) >= SECOND {
                (self.since, self.lines) = (now, 0);
            }
            if self.lines < MOST {
                self.lines += 1;
                return true;
            }
            (self.since, self.lines, self.after) = (now, 0, Some(SECOND));
        }
        self.lines += 1;
        self.add(what, folder, bytes);
        false
    }

    fn add(&mut self, what: &'static str, folder: &[u8], bytes: u64) {
        let top = |path: &[u8]| path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
        let same_top = |sum: &Sum| {
            let other = sum.folder.as_bytes();
            other.get(..top(other)) == folder.get(..top(folder))
        };
        let found = self.sums.iter_mut().find(|sum| sum.what == what && (sum.is_of_all || same_top(sum)));
        match found {
            Some(sum) => {
                sum.entries += 1;
                sum.bytes = sum.bytes.saturating_add(bytes);
                if !is_at_or_below(folder, sum.folder.as_bytes()) {
                    sum.folder = common(&sum.folder, folder);
                }
            }
            None => {
                let folder = RelPath::from_bytes(folder.to_vec());
                self.sums.push(Sum { what, folder, entries: 1, bytes, is_of_all: false });
                self.join(what);
            }
        }
    }

    /// Joins the sums of a verb that has too many of them: further lines are added to that one.
    fn join(&mut self, what: &'static str) {
        let of_verb = |sum: &Sum| sum.what == what;
        if self.sums.iter().filter(|sum| of_verb(sum)).count() <= FOLDERS {
            return;
        }
        let total = |number: fn(&Sum) -> u64| self.sums.iter().filter(|sum| of_verb(sum)).map(number);
        let (entries, bytes) = (
            total(|sum| sum.entries).fold(0, u64::saturating_add),
            total(|sum| sum.bytes).fold(0, u64::saturating_add),
        );
        self.sums.retain(|sum| !of_verb(sum));
        self.sums.push(Sum { what, folder: RelPath::root(), entries, bytes, is_of_all: true });
    }

    /// The time until the sums are due; none where there are none.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        self.after.map(|after| after.saturating_sub(now.duration_since(self.since)))
    }

    /// The sums that are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Sum> {
        let Some(after) = self.after.filter(|after| now.duration_since(self.since) >= *after) else {
            return Vec::new();
        };
        let sums = std::mem::take(&mut self.sums);
        let goes_on = self.lines > MOST * after.as_secs();
        (self.since, self.lines) = (now, 0);
        self.after = goes_on.then(|| (after * 2).min(RARE));
        sums
    }

    /// All sums, at the end of a pass.
    pub(super) fn end(&mut self, now: Instant) -> Vec<Sum> {
        (self.since, self.lines, self.after) = (now, 0, None);
        std::mem::take(&mut self.sums)
    }
}

/// Whether a folder is another one or below it; that of all lines is the root.
fn is_at_or_below(folder: &[u8], other: &[u8]) -> bool {
    let rest = folder.strip_prefix(other);
    other.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// The folder that has both.
fn common(one: &RelPath, other: &[u8]) -> RelPath {
    let other = RelPath::from_bytes(other.to_vec());
    let names = one.names().zip(other.names()).take_while(|(one, other)| one == other);
    RelPath::from_bytes(names.map(|(name, _)| name).collect::<Vec<_>>().join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::from_bytes(text.as_bytes().to_vec())
    }

    fn told(sums: Vec<Sum>) -> Vec<String> {
        let told = |sum: Sum| format!("{} {} in {}, {} B", sum.entries, sum.what, sum.folder, sum.bytes);
        sums.into_iter().map(told).collect()
    }

    #[test]
    fn fifty_lines_of_a_second_are_shown_and_the_others_are_summed_up() {
        let now = Instant::now();
        let mut burst = Burst::new(now);
        let mut shown = 0;
        for number in 0..1000 {
            let folder = format!("photos/2026/{}", number % 2);
            shown += u64::from(burst.shows(now, "created", folder.as_bytes(), 10));
        }
        assert_eq!(shown, MOST);
        assert_eq!(burst.due_in(now), Some(SECOND));
        assert!(burst.due(now).is_empty(), "a second has not passed");
        assert_eq!(told(burst.due(now + SECOND)), ["950 created in photos/2026, 9500 B"]);
        // It goes on as fast: the next sum is told later.
        for _ in 0..200 {
            assert!(!burst.shows(now + SECOND, "deleted", b"", 0));
        }
        assert_eq!(burst.due_in(now + SECOND), Some(2 * SECOND));
        assert_eq!(told(burst.due(now + 3 * SECOND)), ["200 deleted in ., 0 B"]);
        assert_eq!(burst.due_in(now + 3 * SECOND), Some(4 * SECOND));
        assert!(!burst.shows(now + 3 * SECOND, "created", b"", 1));
        assert_eq!(told(burst.due(now + 7 * SECOND)), ["1 created in ., 1 B"]);
        // Quiet by now.
        assert_eq!(burst.due_in(now + 7 * SECOND), None);
        assert!(burst.shows(now + 7 * SECOND, "created", b"", 1));
    }

    #[test]
    fn fifty_lines_a_second_are_shown_for_ever() {
        let now = Instant::now();
        let mut burst = Burst::new(now);
        for second in 0..100 {
            for _ in 0..MOST {
                assert!(burst.shows(now + second * SECOND, "created", b"", 0));
            }
        }
        assert!(burst.end(now + 100 * SECOND).is_empty());
    }

    #[test]
    fn sums_are_of_a_verb_and_a_folder_and_few() {
        let now = Instant::now();
        let mut burst = Burst::new(now);
        let mut feed = |what, top: &str, times: u64| {
            for _ in 0..times {
                burst.shows(now, what, top.as_bytes(), 1);
            }
        };
        feed("created", "shown", MOST);
        feed("created", "photos/a", 3);
        feed("created", "photos/b", 3);
        feed("created", "photograph", 2);
        feed("created", "", 1);
        feed("deleted", "photos", 1);
        let expected = [
            "6 created in photos, 6 B",
            "2 created in photograph, 2 B",
            "1 created in ., 1 B",
            "1 deleted in photos, 1 B",
        ];
        assert_eq!(told(burst.end(now)), expected);
        for number in 0..MOST + 200 {
            burst.shows(now, "created", number.to_string().as_bytes(), 1);
        }
        assert_eq!(told(burst.end(now)), ["200 created in ., 200 B"]);
    }

    #[test]
    fn the_common_folder_ends_where_a_name_ends() {
        for (one, other, both) in
            [("a/b/c", "a/b/d", "a/b"), ("ab", "a", ""), ("a", "a", "a"), ("a/b", "a", "a"), ("", "a", "")]
        {
            assert_eq!(common(&path(one), other.as_bytes()), path(both));
        }
    }
}
