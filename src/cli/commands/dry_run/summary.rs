//! A plan for people: the changes in groups, largest first, then the totals, and the hold if a pass would be held.
//!
//! Only the first lines of a group are kept, unless all are shown: a first pass may plan millions.

use crate::log::humanize;
use crate::log::width::{elide, width};
use crate::model::change::{Operation, Verb};
use crate::model::counters::Counter;
use crate::model::doubt::WayOut;
use crate::model::entry::Kind;
use crate::model::path::RelPath;
use crate::model::report::{Hold, Outcome, PassReport};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use super::fit::{in_two, padded, without_end, wrapped};
use super::words::{Place, left_out, note};
use crate::cli::commands::tally::{Tally, bytes, entries};

/// The lines that are shown of a group.
const FIRST: usize = 5;

/// The narrowest terminal that the page fits.
const NARROWEST: usize = 36;

/// Columns that a path gets before the notes get any.
const PATH: usize = 24;

const INDENT: &str = "  ";

/// The changes of a plan, as far as they are shown.
#[derive(Debug)]
pub(super) struct Summary {
    shows_all: bool,
    groups: BTreeMap<Group, Shown>,
}

/// A kind of change; or no change, and then it comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Change(Verb),
    LeftOut,
    Excluded,
    Rules,
}

/// The lines and totals of a group.
#[derive(Debug, Default)]
struct Shown {
    tally: Tally,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    place: Place,
    size: String,
    note: String,
}

/// The terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// Its columns.
    pub width: usize,
    /// Whether it has colours.
    pub color: bool,
}

impl Summary {
    /// A plan without changes.
    pub(super) fn new(shows_all: bool) -> Summary {
        Summary { shows_all, groups: BTreeMap::new() }
    }

    /// Takes a change.
    pub(super) fn take(&mut self, operation: &Operation<'_>) {
        let bytes = bytes(operation);
        self.put(Group::Change(operation.verb), (entries(operation), bytes), || Row {
            place: Place::of(operation),
            size: bytes.map(humanize::size).unwrap_or_default(),
            note: note(operation),
        });
    }

    /// Takes an entry that is left out by design.
    pub(super) fn take_left_out(&mut self, path: &RelPath, kind: Kind, reason: &str) {
        self.put(Group::LeftOut, (1, None), || Row {
            place: Place::at(path, kind),
            size: String::new(),
            note: left_out(kind, reason),
        });
    }

    /// Takes an entry that the filter leaves out.
    pub(super) fn take_excluded(&mut self, path: &RelPath, rule: &str) {
        self.put(Group::Excluded, (1, None), || Row {
            place: Place { from: None, path: path.to_string() },
            size: String::new(),
            note: humanize::one_line(rule).into_owned(),
        });
    }

    /// Takes a rule of the filter and the number of entries that it decided about.
    pub(super) fn take_rule(&mut self, rule: &str, entries: u64) {
        self.put(Group::Rules, (entries, None), || Row {
            place: Place { from: None, path: humanize::one_line(rule).into_owned() },
            size: String::new(),
            note: humanize::counted(entries, "entry", "entries"),
        });
    }

    fn put(&mut self, group: Group, (entries, bytes): (u64, Option<u64>), row: impl FnOnce() -> Row) {
        let shown = self.groups.entry(group).or_default();
        shown.tally.add(entries, bytes);
        if self.shows_all || shown.rows.len() < FIRST {
            shown.rows.push(row());
        }
    }

    /// Prints the page, line by line.
    pub(super) fn print(
        &self,
        page: &Page,
        roots: (&Path, &Path),
        report: &PassReport,
        print: &mut dyn FnMut(&str),
    ) {
        let page = Page { width: page.width.max(NARROWEST), ..*page };
        let [source, replica] = [roots.0, roots.1].map(humanize::path);
        let title = page.paint("1", &in_two(&source, &replica, page.width));
        print(&format!("{title}\n\n"));
        let mut groups: Vec<(&Group, &Shown)> = self.groups.iter().collect();
        // The sort is stable: equal ones stay in the order of the verbs.
        groups.sort_by_key(|(group, shown)| (group.place(), Reverse(shown.tally.entries)));
        for (group, shown) in groups {
            print_group(&page, *group, shown, print);
            print("\n");
        }
        for paragraph in totals(&page, report) {
            print(&paragraph);
        }
    }
}

impl Group {
    /// Its place among the groups.
    fn place(self) -> u8 {
        match self {
            Group::Change(_) => 0,
            Group::LeftOut => 1,
            Group::Excluded => 2,
            Group::Rules => 3,
        }
    }

    /// The word of the group, and its colour in SGR.
    fn word(self) -> (&'static str, &'static str) {
        match self {
            Group::Change(verb) => {
                let color = match verb {
                    Verb::Create => "32",
                    Verb::Update | Verb::Repair | Verb::Retype => "33",
                    Verb::Move | Verb::Rename | Verb::Link => "36",
                    Verb::Metadata => "34",
                    Verb::Delete => "31",
                };
                (verb.word(), color)
            }
            Group::LeftOut => ("left out", "2"),
            Group::Excluded => ("excluded", "2"),
            Group::Rules => ("rules", "2"),
        }
    }
}

impl Page {
    fn paint(&self, color: &str, text: &str) -> String {
        if self.color { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn print_group(page: &Page, group: Group, shown: &Shown, print: &mut dyn FnMut(&str)) {
    let (word, color) = group.word();
    let mut size = humanize::counted(shown.tally.entries, "entry", "entries");
    if let Some(bytes) = shown.tally.bytes {
        size.push_str(&format!(", {}", humanize::size(bytes)));
    }
    let head = page.paint(&format!("1;{color}"), word);
    print(&format!("{head}{}  {size}\n", padded("", 8_usize.saturating_sub(width(word)))));
    let columns = Columns::of(page.width - width(INDENT), &shown.rows);
    for row in &shown.rows {
        print(&columns.line(page, row));
    }
    let more = shown.tally.changes - shown.rows.len() as u64;
    if more > 0 {
        let words = format!("… and {} more, -v shows all", humanize::number(more));
        let words = without_end(&words, page.width - width(INDENT));
        print(&format!("{INDENT}{}\n", page.paint("2", &words)));
    }
}

/// The widths of the columns of a group.
#[derive(Debug)]
struct Columns {
    path: usize,
    size: usize,
    note: usize,
}

impl Columns {
    /// The notes give way first, the paths next.
    fn of(most: usize, rows: &[Row]) -> Columns {
        let widest = |cell: &dyn Fn(&Row) -> usize| rows.iter().map(cell).max().unwrap_or(0);
        let size = widest(&|row| width(&row.size));
        let path = widest(&|row| width(&row.place.text()));
        let note = widest(&|row| width(&row.note));
        // Two spaces come before each cell but the first.
        let beside = if size > 0 { size + 2 } else { 0 };
        let for_both = most.saturating_sub(beside);
        let path_first = path.min(PATH.min(for_both));
        let note = note.min(for_both.saturating_sub(path_first + 2));
        // A note of a few letters tells nothing.
        let note = if note < 4 { 0 } else { note };
        let path = path.min(for_both.saturating_sub(if note > 0 { note + 2 } else { 0 }));
        Columns { path, size, note }
    }

    fn line(&self, page: &Page, row: &Row) -> String {
        let place = match &row.place.from {
            Some(from) => in_two(from, &row.place.path, self.path),
            None => elide(&row.place.path, self.path).into_owned(),
        };
        let mut line = format!("{INDENT}{}", padded(&place, self.path));
        if self.size > 0 {
            let before = padded("", self.size - width(&row.size));
            line.push_str(&format!("  {before}{}", row.size));
        }
        if self.note > 0 && !row.note.is_empty() {
            line.push_str(&format!("  {}", page.paint("2", &without_end(&row.note, self.note))));
        }
        format!("{}\n", line.trim_end())
    }
}

/// The paragraphs after the groups.
fn totals(page: &Page, report: &PassReport) -> Vec<String> {
    let counts = &report.counts;
    let mut paragraphs = Vec::new();
    let mut parts = vec![match counts.operations() {
        0 => "nothing to do".to_owned(),
        some => humanize::counted(some, "entry to change", "entries to change"),
    }];
    if counts[Counter::BytesToWrite] > 0 {
        parts.push(format!("{} to write", humanize::size(counts[Counter::BytesToWrite])));
    }
    parts.push(format!("{} unchanged", humanize::number(counts[Counter::Unchanged])));
    for (counter, word) in [
        (Counter::Skipped, "left out"),
        (Counter::Excluded, "excluded"),
        (Counter::ExcludedInReplica, "excluded still in the replica"),
        (Counter::KeptBack, "kept back"),
    ] {
        if counts[counter] > 0 {
            parts.push(format!("{} {word}", humanize::number(counts[counter])));
        }
    }
    parts.push(humanize::counted(counts[Counter::Problems], "problem", "problems"));
    let took = humanize::duration(report.duration);
    match &report.outcome {
        Outcome::Planned | Outcome::Done => {
            paragraphs.push(wrapped(&parts.join(", "), page.width, ""));
            paragraphs.push(wrapped(&format!("Nothing was written; the plan took {took}"), page.width, ""));
        }
        Outcome::Held(hold) => {
            if counts.operations() > 0 {
                paragraphs.push(wrapped(&parts.join(", "), page.width, ""));
            }
            paragraphs
                .push(page.paint("1;31", "A pass would be held and change nothing (exit code 25)") + "\n");
            let lines = reason(hold).into_iter().chain(way_out(hold).iter().map(|line| (*line).to_owned()));
            paragraphs.extend(lines.map(|line| wrapped(&line, page.width, INDENT)));
        }
        Outcome::Interrupted(signal) => {
            let text = format!("Stopped by {signal} after {took}, before the plan was complete");
            paragraphs.push(wrapped(&text, page.width, ""));
        }
        Outcome::ReplicaLost => {
            let text = "The replica folder disappeared before the plan was complete";
            paragraphs.push(wrapped(text, page.width, ""));
        }
    }
    paragraphs
}

/// Why a pass would be held.
fn reason(hold: &Hold) -> Option<String> {
    let mut hold = hold.clone();
    // The way out has a line of its own.
    if let Some(doubt) = hold.doubt_mut() {
        doubt.way_out = WayOut::Approved;
    }
    let text = hold.to_string();
    let mut letters = text.chars();
    let first = letters.next()?;
    Some(first.to_uppercase().chain(letters).collect())
}

/// The way out of a hold; nothing where the reason says it.
fn way_out(hold: &Hold) -> &'static [&'static str] {
    const APPROVE: &str =
        "If that is meant: let a pass be held, and run the command that it tells (file-sync approve)";
    match hold {
        Hold::TooManyDeletions(_) => &[APPROVE, "Or a pass without this limit: --once --max-delete off"],
        Hold::TooManyChanges(_) => &[APPROVE, "Or a pass without this limit: --once --max-change off"],
        Hold::OtherRoot { .. } | Hold::EmptySource(_) => &[APPROVE],
        Hold::SourceReplaced
        | Hold::MountGone(_)
        | Hold::Swapped { .. }
        | Hold::MissingElsewhere(_)
        | Hold::NoRoom(_)
        | Hold::Declined { .. } => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::Subtree;
    use crate::model::counters::Counts;
    use crate::model::doubt::Doubt;
    use crate::model::limit::{Amount, Limit, Stake};
    use std::time::Duration;

    fn path(text: &str) -> RelPath {
        RelPath::from_bytes(text.into())
    }

    fn report(outcome: Outcome, counts: &[(Counter, u64)]) -> PassReport {
        PassReport {
            number: 1,
            outcome,
            counts: counts.iter().copied().collect::<Counts>(),
            duration: Duration::from_millis(400),
            replica_age: None,
            oldest_confirmation: None,
        }
    }

    fn shown(summary: &Summary, page: Page, report: &PassReport) -> String {
        let mut text = String::new();
        let roots = (Path::new("/srv/photos"), Path::new("/mnt/backup/photos"));
        summary.print(&page, roots, report, &mut |line| text.push_str(line));
        text
    }

    fn some(shows_all: bool) -> Summary {
        let mut summary = Summary::new(shows_all);
        for number in 0..1206 {
            let path = path(&format!("photos/2019/summer holiday/{number:04}.jpg"));
            summary.take(&Operation {
                size: Some(3_500_000),
                ..Operation::new(Verb::Create, &path, Kind::File)
            });
        }
        let (old, new) = (path("photos/2018/spring"), path("photos/2018/early in the spring"));
        summary.take(&Operation { moved_from: Some(&old), ..Operation::new(Verb::Move, &new, Kind::Folder) });
        let subtree = Some(Subtree { folders: 12, files: 2_000, bytes: 5 << 30 });
        summary.take(&Operation { subtree, ..Operation::new(Verb::Delete, &path("old"), Kind::Folder) });
        let photos = path("photos");
        let reason = "mode, mtime";
        summary.take(&Operation { reason, ..Operation::new(Verb::Metadata, &photos, Kind::Folder) });
        summary.take_left_out(&path("sock"), Kind::Socket, "sockets are not mirrored");
        summary
    }

    #[test]
    fn groups_come_largest_first_and_fit_80_and_40_columns() {
        let counts = [(Counter::Created, 1206), (Counter::Deleted, 2013), (Counter::Skipped, 1)];
        let report = report(Outcome::Planned, &counts);
        let expected = "\
/srv/photos -> /mnt/backup/photos

delete    2,013 entries, 5 GiB
  old/  5 GiB  12 folders, 2,000 files

create    1,206 entries, 3.9 GiB
  \"photos/2019/summer holiday/0000.jpg\"  3.3 MiB
  \"photos/2019/summer holiday/0001.jpg\"  3.3 MiB
  \"photos/2019/summer holiday/0002.jpg\"  3.3 MiB
  \"photos/2019/summer holiday/0003.jpg\"  3.3 MiB
  \"photos/2019/summer holiday/0004.jpg\"  3.3 MiB
  … and 1,201 more, -v shows all

move      1 entry
  photos/2018/spring/ -> \"photos/2018/early in the spring/\"

metadata  1 entry
  photos/  mode, mtime

left out  1 entry
  sock  sockets are not mirrored

3,219 entries to change, 0 unchanged, 1 left out, 0 problems
Nothing was written; the plan took 0.4 s
";
        assert_eq!(shown(&some(false), Page { width: 80, color: false }, &report), expected);
        for columns in [36, 40, 80, 200] {
            let text = shown(&some(false), Page { width: columns, color: false }, &report);
            for line in text.lines() {
                assert!(width(line) <= columns, "{columns}: {line}");
            }
        }
        let narrow = shown(&some(false), Page { width: 40, color: false }, &report);
        assert!(narrow.contains("\n  \"photos/201…holiday/0000.jpg\"  3.3 MiB\n"), "{narrow}");
        assert!(narrow.contains("\n  photos…18/spring/ -> \"photo…e spring/\"\n"), "{narrow}");
    }

    #[test]
    fn all_lines_are_kept_on_request_alone() {
        let lines = |shows_all| {
            let text = shown(
                &some(shows_all),
                Page { width: 80, color: false },
                &report(Outcome::Planned, &[(Counter::Created, 1206)]),
            );
            text.lines().filter(|line| line.contains(".jpg")).count()
        };
        assert_eq!((lines(false), lines(true)), (FIRST, 1206));
        assert_eq!(some(false).groups[&Group::Change(Verb::Create)].rows.len(), FIRST);
    }

    #[test]
    fn colours_take_nothing_away_and_a_plan_without_changes_says_so() {
        let report = report(Outcome::Planned, &[(Counter::Unchanged, 7), (Counter::Problems, 1)]);
        let text = shown(&Summary::new(false), Page { width: 80, color: false }, &report);
        let expected = "/srv/photos -> /mnt/backup/photos\n\nnothing to do, 7 unchanged, 1 problem\n\
                        Nothing was written; the plan took 0.4 s\n";
        assert_eq!(text, expected);
        let mut plain = String::new();
        for part in shown(&some(false), Page { width: 80, color: true }, &report).split('\x1b') {
            plain.push_str(match part.strip_prefix('[') {
                Some(colored) => colored.split_once('m').expect("the end of a colour").1,
                None => part,
            });
        }
        assert_eq!(plain, shown(&some(false), Page { width: 80, color: false }, &report));
    }

    #[test]
    fn a_hold_is_told_with_its_reason_and_the_way_out() {
        let stake = Stake {
            deleted: Amount { entries: 20, bytes: 0 },
            changed: Amount::default(),
            created: 0,
            all: 30,
        };
        let hold = Hold::TooManyDeletions(Doubt::of(stake, Some(Limit::Entries(10))));
        let report = report(Outcome::Held(hold), &[(Counter::Deleted, 20)]);
        let expected = "\
/srv/photos -> /mnt/backup/photos

20 entries to change, 0 unchanged, 0
problems
A pass would be held and change nothing (exit code 25)
  The plan would delete 20 of the
  replica's 30 entries (66 %);
  --max-delete allows 10
  If that is meant: let a pass be held,
  and run the command that it tells
  (file-sync approve)
  Or a pass without this limit: --once
  --max-delete off
";
        assert_eq!(shown(&Summary::new(false), Page { width: 40, color: false }, &report), expected);
    }
}
