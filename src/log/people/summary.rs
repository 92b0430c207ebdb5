//! The end of a pass for people: a table of what was done, with entries and bytes; one line where nothing was.

use super::super::humanize;
use super::super::text::{Tense, words};
use super::line::{INDENT, held, message};
use super::paint::{Paint, Style};
use crate::log::width::width;
use crate::model::change::Verb;
use crate::model::counters::Counter;
use crate::model::report::{Outcome, PassReport};

/// The bytes that a pass has handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// Of the files of each verb, by [`Counter`].
    of_verbs: [u64; Verb::ALL.len()],
    /// Of the files without a difference.
    pub(super) unchanged: u64,
}

impl Bytes {
    /// Adds those of a file.
    pub(super) fn add(&mut self, verb: Verb, bytes: u64) {
        if let Some(of_verb) = self.of_verbs.get_mut(verb as usize) {
            *of_verb = of_verb.saturating_add(bytes);
        }
    }

    /// Those that a verb has.
    pub(super) fn of(&self, verb: Verb) -> u64 {
        self.of_verbs.get(verb as usize).copied().unwrap_or_default()
    }

    /// Those of the files that were copied whole.
    pub(super) fn copied(&self) -> u64 {
        let verbs = [Verb::Create, Verb::Update, Verb::Repair, Verb::Retype];
        verbs.into_iter().fold(0, |sum, verb| sum.saturating_add(self.of(verb)))
    }

    fn of_counter(&self, counter: Counter) -> u64 {
        if counter == Counter::Unchanged {
            return self.unchanged;
        }
        Verb::ALL.into_iter().find(|verb| Counter::of(*verb) == counter).map_or(0, |verb| self.of(verb))
    }
}

/// The rows, in their order.
const ROWS: [Counter; 16] = [
    Counter::Created,
    Counter::Updated,
    Counter::Moved,
    Counter::Repaired,
    Counter::Retyped,
    Counter::Renamed,
    Counter::Linked,
    Counter::Metadata,
    Counter::Deleted,
    Counter::Unchanged,
    Counter::Skipped,
    Counter::Excluded,
    Counter::ExcludedInReplica,
    Counter::KeptBack,
    Counter::Rotted,
    Counter::Problems,
];

/// The lines at the end of a pass.
pub(super) fn summary(
    clock: &str,
    (job, report, bytes): (&str, &PassReport, &Bytes),
    (paint, style): (Paint, Style),
) -> String {
    let pass = format!("{job}pass {}", report.number);
    let is_idle = report.counts.operations() == 0;
    let took = humanize::duration(report.duration);
    let mut words = match &report.outcome {
        Outcome::Held(hold) => return held(clock, (&pass, hold), style),
        Outcome::Done | Outcome::Planned if is_idle => format!("done: {}; {took}", numbers(report, bytes)),
        Outcome::Done | Outcome::Planned => format!("done in {took}"),
        Outcome::Interrupted(signal) => format!("stopped by {signal} after {took}"),
        Outcome::ReplicaLost => format!("ended early after {took}: the replica folder disappeared"),
    };
    if let Some(age) = report.replica_age {
        words.push_str(&format!(", replica is {} old", humanize::age(age)));
    }
    if let Some(oldest) = report.oldest_confirmation {
        words.push_str(&format!(", the oldest confirmation {}", humanize::age(oldest)));
    }
    let problems = report.counts[Counter::Problems];
    if problems > 0 && !is_idle && report.outcome == Outcome::Done {
        words.push_str(&format!(" but for {}", humanize::counted(problems, "problem", "problems")));
    }
    let mut out = message(clock, (&pass, paint), &words, style);
    if !is_idle {
        out.push_str(&table(report, bytes, style));
    }
    out
}

fn rows(report: &PassReport) -> impl Iterator<Item = (Counter, u64, &'static str)> {
    let counted = ROWS.into_iter().map(|counter| (counter, report.counts[counter]));
    let shown = counted.filter(|(counter, number)| *number > 0 || *counter == Counter::Unchanged);
    shown.map(|(counter, number)| (counter, number, words(counter, Tense::Done, number)))
}

fn size_of(counter: Counter, bytes: &Bytes) -> String {
    let bytes = bytes.of_counter(counter);
    if bytes > 0 { humanize::size(bytes) } else { String::new() }
}

/// `12,345 unchanged (1.2 GiB), 3 problems`.
fn numbers(report: &PassReport, bytes: &Bytes) -> String {
    let numbers = rows(report).map(|(counter, number, words)| match size_of(counter, bytes) {
        size if size.is_empty() => format!("{} {words}", humanize::number(number)),
        size => format!("{} {words} ({size})", humanize::number(number)),
    });
    numbers.collect::<Vec<_>>().join(", ")
}

fn table(report: &PassReport, bytes: &Bytes, style: Style) -> String {
    let rows: Vec<(Counter, [String; 3])> = rows(report)
        .map(|(counter, number, words)| {
            (counter, [words.to_owned(), humanize::number(number), size_of(counter, bytes)])
        })
        .collect();
    let [words, numbers, sizes] = [0, 1, 2].map(|column: usize| {
        rows.iter().filter_map(|(_, cells)| cells.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
    });
    // The indent is of the lines above it, and gives way to the numbers.
    let indent = INDENT.min(style.columns.saturating_sub(words + numbers + sizes + 4));
    let mut out = String::new();
    for (counter, [what, number, size]) in &rows {
        let padded = format!("{what:<words$}");
        let is_bad = matches!(counter, Counter::Problems | Counter::Rotted);
        let label = if is_bad { style.paint(Paint::Yellow, &padded) } else { padded.into() };
        let row = format!("{}{label}  {number:>numbers$}  {size:>sizes$}", " ".repeat(indent));
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::counters::Counts;
    use crate::model::signal::Signal;
    use std::time::Duration;

    fn told(outcome: Outcome, counts: &[(Counter, u64)], columns: usize) -> String {
        let report = PassReport {
            number: 3,
            outcome,
            counts: counts.iter().copied().collect::<Counts>(),
            duration: Duration::from_millis(4200),
            replica_age: Some(Duration::from_secs(5)),
            oldest_confirmation: None,
        };
        let mut bytes = Bytes { unchanged: 3 << 30, ..Bytes::default() };
        bytes.add(Verb::Create, 40 << 20);
        bytes.add(Verb::Create, 10 << 20);
        summary("12:00:00", ("", &report, &bytes), (Paint::Bold, Style::new(columns, false)))
    }

    #[test]
    fn a_pass_that_changed_something_ends_with_a_table() {
        let counts = [
            (Counter::Created, 12_340),
            (Counter::Moved, 2),
            (Counter::Unchanged, 1_000),
            (Counter::Problems, 1),
            (Counter::Trusted, 900),
            (Counter::BytesRead, 1 << 40),
        ];
        let table = "
         created    12,340  50 MiB
         moved           2
         unchanged   1,000   3 GiB
         problem         1
";
        let end = "12:00:00 pass 3 done in 4.2 s, replica is 5 s old";
        for (columns, rest) in [(80, " but for 1 problem"), (50, "\n         but for 1 problem")] {
            assert_eq!(told(Outcome::Done, &counts, columns), format!("{end}{rest}{table}"));
        }
        let stopped = told(Outcome::Interrupted(Signal::Interrupt), &counts, 80);
        assert!(
            stopped.starts_with("12:00:00 pass 3 stopped by SIGINT after 4.2 s, replica is"),
            "{stopped}"
        );
        for columns in 20..80 {
            let shown = told(Outcome::ReplicaLost, &counts, columns);
            assert!(shown.lines().all(|line| width(line) <= columns.max(34)), "{shown}");
        }
    }

    #[test]
    fn a_pass_that_changed_nothing_is_one_line() {
        let counts = [(Counter::Unchanged, 12_345), (Counter::Problems, 2)];
        assert_eq!(
            told(Outcome::Done, &counts, 100),
            "12:00:00 pass 3 done: 12,345 unchanged (3 GiB), 2 problems; 4.2 s, replica is 5 s old\n"
        );
    }
}
