//! Prints the measurements as a table.

use crate::figures::Run;
use crate::measure::Measured;
use crate::work::Work;

/// One line: a contender, one of its ways to do the work, and each round of it.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) program: String,
    pub(crate) options: String,
    pub(crate) is_reference: bool,
    pub(crate) is_ours: bool,
    /// By round.
    pub(crate) rounds: Vec<Measured>,
    /// The fault of a replica after it, in any round.
    pub(crate) wrong: Option<String>,
}

const COLUMNS: usize = 10;

const HEAD: [&str; COLUMNS] =
    ["", "runs", "time", "time+sync", "x rsync", "min-max", "processor", "peak", "written", "replica"];

/// The table of one work.
pub(crate) fn table(rows: &[Row], work: Work, markdown: bool) -> String {
    let reference = rows.iter().find(|row| row.is_reference);
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| cells(row, reference, work)));
    let mut text = if markdown { as_markdown(&lines) } else { as_columns(&lines) };
    text += &builds(rows, work);
    text
}

/// The same for machines; without the programs that failed in every round.
pub(crate) fn figures(rows: &[Row], work: Work) -> Vec<Run> {
    let reference = rows.iter().find(|row| row.is_reference);
    let run = |row: &Row| {
        let of = |value: fn(&Measured) -> f64| median(row.good().map(value).collect()).map(short);
        let ratios =
            reference.filter(|_| !row.is_reference).map(|it| ratios(row, it, work)).unwrap_or_default();
        let range = ratios.first().zip(ratios.last()).map(|(least, most)| [short(*least), short(*most)]);
        Some(Run {
            program: row.program.clone(),
            options: row.options.clone(),
            seconds: median(row.good().map(|measured| decisive(measured, work)).collect()).map(short)?,
            seconds_range: None,
            ratio: median(ratios).map(short),
            ratio_range: range,
            processor_seconds: of(|measured| measured.processor),
            peak_mib: of(|measured| measured.peak_kib as f64 / 1024.0),
        })
    };
    rows.iter().filter_map(run).collect()
}

/// With the digits that are shown.
fn short(value: f64) -> f64 {
    rounded(value).parse().unwrap_or(value)
}

/// The time that ratios compare.
fn decisive(measured: &Measured, work: Work) -> f64 {
    if work.writes() { measured.synced } else { measured.time }
}

fn cells(row: &Row, reference: Option<&Row>, work: Work) -> [String; COLUMNS] {
    let of = |value: fn(&Measured) -> f64| median(row.good().map(value).collect());
    let number = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), show);
    let ratios = reference.map(|reference| ratios(row, reference, work)).unwrap_or_default();
    let range = match (ratios.first(), ratios.last()) {
        (Some(least), Some(most)) => format!("{least:.2}-{most:.2}"),
        _ => "-".to_owned(),
    };
    let written = row.good().map(|measured| measured.written.map(|bytes| bytes as f64));
    let written: Option<Vec<f64>> = written.collect();
    let failure = row.rounds.iter().find_map(|measured| measured.failure.clone());
    let verdict = failure.or_else(|| row.wrong.clone().map(|wrong| format!("WRONG: {wrong}")));
    [
        row.label.clone(),
        row.good().count().to_string(),
        number(of(|measured| measured.time), seconds),
        number(of(|measured| measured.synced), seconds),
        number(median(ratios), |ratio| format!("{ratio:.2}")),
        range,
        number(of(|measured| measured.processor), seconds),
        number(of(|measured| measured.peak_kib as f64), |kib| format!("{} MiB", rounded(kib / 1024.0))),
        number(written.and_then(median), |bytes| format!("{} MiB", rounded(bytes / f64::from(1 << 20)))),
        verdict.unwrap_or_else(|| "right".to_owned()),
    ]
}

impl Row {
    pub(crate) fn is_right(&self) -> bool {
        self.wrong.is_none() && self.good().count() == self.rounds.len()
    }

    fn good(&self) -> impl Iterator<Item = &Measured> {
        self.rounds.iter().filter(|measured| measured.failure.is_none())
    }
}

/// The ratios of the rounds in which both succeeded, sorted. Round by round, since the speed of a machine varies, and
/// affects both.
fn ratios(row: &Row, reference: &Row, work: Work) -> Vec<f64> {
    let pairs = row.rounds.iter().zip(&reference.rounds);
    let mut ratios: Vec<f64> = pairs
        .filter(|(ours, theirs)| ours.failure.is_none() && theirs.failure.is_none())
        .map(|(ours, theirs)| decisive(ours, work) / decisive(theirs, work))
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

/// Builds of file-sync against the first one.
fn builds(rows: &[Row], work: Work) -> String {
    let mut ours = rows.iter().filter(|row| row.is_ours);
    let Some(first) = ours.next() else { return String::new() };
    let mut text = String::new();
    for other in ours {
        let ratios = ratios(other, first, work);
        if let (Some(least), Some(most)) = (ratios.first().copied(), ratios.last().copied()) {
            let middle = median(ratios).unwrap_or_default();
            text += &format!("{} / {}: {middle:.3} ({least:.3}-{most:.3})\n", other.label, first.label);
        }
    }
    text
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len().is_multiple_of(2) {
        f64::midpoint(values[values.len() / 2 - 1], upper)
    } else {
        upper
    })
}

fn seconds(seconds: f64) -> String {
    format!("{} s", rounded(seconds))
}

/// Three significant digits.
fn rounded(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn as_columns(lines: &[[String; COLUMNS]]) -> String {
    let widths: Vec<usize> = (0..COLUMNS)
        .map(|column| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for cells in lines {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            // Text to the left, numbers to the right.
            let is_word = column == 0 || column == COLUMNS - 1;
            line += &if is_word { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn as_markdown(lines: &[[String; COLUMNS]]) -> String {
    let line = |cells: &[String; COLUMNS]| {
        format!("| {} |\n", cells.each_ref().map(|cell| cell.replace('|', "\\|")).join(" | "))
    };
    let mut text = String::new();
    for (number, cells) in lines.iter().enumerate() {
        text += &line(cells);
        if number == 0 {
            text += "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n";
        }
    }
    text.push('\n');
    text
}
