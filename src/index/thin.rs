//! Which rows of old passes go; pure.
//!
//! Of each day the last pass that was done stays, which tells how fresh the replica was, and the worst one, which tells
//! the trouble of that day. How many passes a day had, and how many met the RPO, is counted apart (table `day`).

use crate::index::history::Ended;
use std::collections::BTreeMap;

/// What is judged of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Old {
    /// Its number; later passes have greater ones.
    pub id: i64,
    /// Days since 1970.
    pub day: i64,
    /// Its outcome.
    pub outcome: Ended,
    /// Whether it met the RPO.
    pub met: Option<bool>,
    /// Its problems.
    pub problems: u64,
}

impl Old {
    /// Greater is worse; of two alike the later one.
    fn badness(&self) -> (bool, Ended, u64, i64) {
        (self.met == Some(false), self.outcome, self.problems, self.id)
    }
}

/// The rows to delete.
pub(super) fn superfluous(rows: &[Old]) -> Vec<i64> {
    let mut days: BTreeMap<i64, (Option<i64>, Option<Old>)> = BTreeMap::new();
    for row in rows {
        let (done, worst) = days.entry(row.day).or_default();
        if row.outcome == Ended::Done {
            *done = (*done).max(Some(row.id));
        }
        if worst.is_none_or(|worst| worst.badness() < row.badness()) {
            *worst = Some(*row);
        }
    }
    let stays = |row: &Old| {
        days.get(&row.day).is_some_and(|(done, worst)| {
            *done == Some(row.id) || worst.is_some_and(|worst| worst.id == row.id)
        })
    };
    rows.iter().filter(|row| !stays(row)).map(|row| row.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Day, outcome, whether it met the RPO, problems.
    type Row = (i64, Ended, bool, u64);

    /// The rows that go, numbered from 1.
    fn gone(rows: &[Row]) -> Vec<i64> {
        let old = |(at, (day, outcome, met, problems)): (usize, &Row)| Old {
            id: at as i64 + 1,
            day: *day,
            outcome: *outcome,
            met: Some(*met),
            problems: *problems,
        };
        superfluous(&rows.iter().enumerate().map(old).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_one_done_and_the_worst_of_a_day_stay() {
        use Ended::{Done, Failed, Held, Interrupted, Killed};
        let cases: [(&str, &[Row], &[i64]); 8] = [
            ("nothing", &[], &[]),
            ("one of a day", &[(1, Done, true, 0), (2, Held, true, 0)], &[]),
            ("all alike", &[(1, Done, true, 0), (1, Done, true, 0), (1, Done, true, 0)], &[1, 2]),
            ("problems", &[(1, Done, true, 7), (1, Done, true, 1), (1, Done, true, 0)], &[2]),
            (
                "a miss is worse than a failure",
                &[(1, Done, false, 0), (1, Failed, true, 0), (1, Done, true, 0)],
                &[2],
            ),
            ("a failure", &[(1, Held, true, 0), (1, Failed, true, 0), (1, Killed, true, 0)], &[1, 3]),
            (
                "the later of two",
                &[(1, Held, true, 0), (1, Held, true, 0), (1, Interrupted, true, 0)],
                &[1, 3],
            ),
            ("each day for itself", &[(1, Done, true, 0), (2, Done, true, 0), (1, Done, true, 0)], &[1]),
        ];
        for (name, rows, expected) in cases {
            assert_eq!(gone(rows), expected, "{name}");
        }
    }
}
