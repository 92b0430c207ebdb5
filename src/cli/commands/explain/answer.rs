//! The answer about one path, from its plan and from what the survey saw. Pure.

use crate::cli::commands::tally::Tallies;
use crate::context::focus::{ComparedRecord, Seen, Sight};
use crate::log::humanize;
use crate::model::change::{Subtree, Verb};
use crate::model::counters::Counter;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Problem;
use crate::model::path::RelPath;
use crate::model::report::{Outcome, PassReport};
use crate::walk::is_kept_mount;

use super::collected::{Events, Planned};
use super::differences::{Difference, attributes, day, entry, of_entries, of_metadata};

/// The answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The path below the roots.
    pub path: RelPath,
    /// Its fate in the next pass.
    pub fate: Fate,
    /// The kind of the entry: of the source, or else of the replica.
    pub kind: Option<Kind>,
    /// The differences, with the values of the replica and those that it would get.
    pub differences: Vec<Difference>,
    /// The names of the xattrs that differ.
    pub attributes: Vec<String>,
    /// The record of the file in the index.
    pub record: Option<ComparedRecord>,
    /// The changes below a folder.
    pub below: Below,
    /// The problems at the path and above it.
    pub problems: Vec<Problem>,
    /// Other facts, in words.
    pub notes: Vec<String>,
}

/// What would happen to the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is changed; a folder that moves may also get metadata.
    Changed(Vec<Planned>),
    /// It is created, deleted or moved with a folder above it.
    With(Planned),
    /// It is left out by design, for this reason.
    LeftOut(String),
    /// The filter leaves it out, or a folder above it: that path, and the rule.
    Excluded(RelPath, String),
    /// The source lacks this folder, and it stays around what the filter leaves out.
    KeepsExcluded,
    /// Something is mounted there, and it stays.
    Mounted,
    /// A problem keeps it as it is.
    Problem,
    /// Both sides are equal.
    Equal,
    /// The source lacks it, and it is deleted one pass later.
    KeptBack,
    /// Neither side has it.
    Absent,
    /// A signal came, or it changed while it was looked at.
    Unknown,
}

impl Fate {
    /// The changes at the path itself.
    pub(super) fn own(&self) -> &[Planned] {
        match self {
            Fate::Changed(planned) => planned,
            Fate::With(_)
            | Fate::LeftOut(_)
            | Fate::Excluded(..)
            | Fate::KeepsExcluded
            | Fate::Mounted
            | Fate::Problem
            | Fate::Equal
            | Fate::KeptBack
            | Fate::Absent
            | Fate::Unknown => &[],
        }
    }

    /// These, or the change of the folder that takes it along.
    pub(super) fn planned(&self) -> &[Planned] {
        match self {
            Fate::With(planned) => std::slice::from_ref(planned),
            Fate::Changed(_)
            | Fate::LeftOut(_)
            | Fate::Excluded(..)
            | Fate::KeepsExcluded
            | Fate::Mounted
            | Fate::Problem
            | Fate::Equal
            | Fate::KeptBack
            | Fate::Absent
            | Fate::Unknown => self.own(),
        }
    }
}

/// What is below a folder.
#[derive(Debug, Default)]
pub(super) struct Below {
    /// The changes.
    pub changes: Tallies,
    /// Entries that do not change.
    pub unchanged: u64,
    /// Entries that are left out by design.
    pub left_out: u64,
    /// Entries of the source that the filter leaves out.
    pub excluded: u64,
    /// Problems.
    pub problems: u64,
}

impl Answer {
    /// The answer about a path with these link targets, in the source and in the replica.
    pub(super) fn new(
        path: &RelPath,
        report: &PassReport,
        seen: Seen,
        events: Events,
        targets: [Option<Vec<u8>>; 2],
    ) -> Answer {
        let (source, replica) = (entry(seen.source.as_ref()).copied(), entry(seen.replica.as_ref()).copied());
        let fate = fate(report, &seen, &events);
        let differences = match (&source, &replica) {
            (Some(ours), Some(theirs)) => {
                let targets = [targets[0].as_deref(), targets[1].as_deref()];
                differences(fate.own(), (ours, theirs), &seen, targets)
            }
            (_, _) => Vec::new(),
        };
        let has_metadata = |planned: &Planned| matches!(planned.verb, Verb::Metadata | Verb::Move);
        let attributes = match fate.own().iter().any(has_metadata) {
            true => attributes(seen.metadata.as_ref()),
            false => Vec::new(),
        };
        let planned = events.own.iter().chain(&events.above);
        let goes = planned.into_iter().any(|planned| planned.verb == Verb::Delete);
        let mut notes = notes(&fate, source.as_ref(), replica.as_ref(), goes);
        notes.extend(events.notices);
        let is_excluded = matches!(fate, Fate::Excluded(..));
        let own = u64::from(is_counted_unchanged(path, (source.as_ref(), replica.as_ref()), &fate));
        let below = Below {
            changes: events.below,
            unchanged: report.counts[Counter::Unchanged].saturating_sub(own),
            left_out: events.left_out_below,
            excluded: if is_excluded { 0 } else { report.counts[Counter::Excluded] },
            problems: events.problems_below,
        };
        Answer {
            path: path.clone(),
            kind: source.or(replica).map(|entry| entry.kind),
            fate,
            differences,
            attributes,
            record: seen.record,
            below,
            problems: events.problems,
            notes,
        }
    }
}

fn fate(report: &PassReport, seen: &Seen, events: &Events) -> Fate {
    let theirs = entry(seen.replica.as_ref());
    let deletes = |planned: &Planned| planned.verb == Verb::Delete;
    let goes = events.own.iter().chain(&events.above).any(deletes);
    if let Outcome::Interrupted(_) = report.outcome {
        return Fate::Unknown;
    }
    if let Some(reason) = &seen.left_out {
        return Fate::LeftOut(reason.clone());
    }
    if let Some((path, rule)) = &seen.excluded {
        return Fate::Excluded(path.clone(), rule.clone());
    }
    if goes && theirs.is_some_and(is_kept_mount) {
        return Fate::Mounted;
    }
    if !events.own.is_empty() {
        return Fate::Changed(events.own.clone());
    }
    if !events.problems.is_empty() {
        return Fate::Problem;
    }
    let is_nowhere = (seen.source, seen.replica) == (None, None);
    let moves = |planned: &&Planned| planned.verb == Verb::Move;
    match (&seen.source, &seen.replica) {
        (Some(Sight::Here(_)), Some(Sight::Here(_))) => {
            events.above.iter().find(moves).map_or(Fate::Equal, |moved| Fate::With(moved.clone()))
        }
        (_, _) if !is_nowhere && !events.above.is_empty() => {
            events.above.last().map_or(Fate::Unknown, |planned| Fate::With(planned.clone()))
        }
        (Some(Sight::Absent), Some(Sight::Here(_))) if report.counts[Counter::KeptBack] > 0 => Fate::KeptBack,
        (Some(Sight::Absent), Some(Sight::Here(_))) if report.counts[Counter::ExcludedInReplica] > 0 => {
            Fate::KeepsExcluded
        }
        (None | Some(Sight::Absent), None | Some(Sight::Absent)) => Fate::Absent,
        (_, _) => Fate::Unknown,
    }
}

/// Whether the path itself is among the unchanged entries of the pass. A root never is.
fn is_counted_unchanged(path: &RelPath, sides: (Option<&Entry>, Option<&Entry>), fate: &Fate) -> bool {
    let (Some(source), Some(_)) = sides else { return false };
    let leaves_equal = |planned: &Planned| match planned.verb {
        Verb::Rename => true,
        Verb::Move => source.kind == Kind::Folder,
        Verb::Create
        | Verb::Update
        | Verb::Repair
        | Verb::Retype
        | Verb::Link
        | Verb::Metadata
        | Verb::Delete => false,
    };
    !path.is_root()
        && match fate {
            Fate::Equal => true,
            Fate::With(planned) => planned.verb == Verb::Move,
            Fate::Changed(planned) => planned.iter().all(leaves_equal),
            Fate::LeftOut(_)
            | Fate::Excluded(..)
            | Fate::KeepsExcluded
            | Fate::Mounted
            | Fate::Problem
            | Fate::KeptBack
            | Fate::Absent
            | Fate::Unknown => false,
        }
}

fn differences(
    planned: &[Planned],
    (ours, theirs): (&Entry, &Entry),
    seen: &Seen,
    targets: [Option<&[u8]>; 2],
) -> Vec<Difference> {
    let sets_metadata = planned.iter().any(|planned| matches!(planned.verb, Verb::Metadata | Verb::Move));
    let is_replaced = planned.iter().any(|planned| match planned.verb {
        Verb::Update | Verb::Repair | Verb::Retype => true,
        Verb::Create | Verb::Move | Verb::Delete | Verb::Rename | Verb::Link | Verb::Metadata => false,
    });
    match &seen.metadata {
        _ if is_replaced => of_entries(ours, theirs, targets),
        Some(compared) if sets_metadata => of_metadata(compared, ours, theirs),
        Some(_) | None => Vec::new(),
    }
}

/// What a person should know besides.
fn notes(fate: &Fate, source: Option<&Entry>, replica: Option<&Entry>, goes: bool) -> Vec<String> {
    let mut notes = Vec::new();
    for planned in fate.planned() {
        match planned.verb {
            Verb::Create => notes.push(
                "Perhaps it was moved here: a pass also sees where it is gone, and then renames it in the replica"
                    .to_owned(),
            ),
            Verb::Delete => notes.push(
                "Perhaps it was moved away: a pass also sees where it is now, and then renames it in the replica".to_owned(),
            ),
            Verb::Update
            | Verb::Repair
            | Verb::Move
            | Verb::Rename
            | Verb::Link
            | Verb::Metadata
            | Verb::Retype => {}
        }
    }
    let names = [source, replica].map(|side| side.filter(|entry| entry.kind != Kind::Folder));
    let names = names.into_iter().flatten().map(|entry| entry.links).max().unwrap_or(1);
    if names > 1 {
        notes.push(format!(
            "It is one of {} of a file (hard links): a pass looks at all of them together, and may find less to do",
            humanize::counted(names.into(), "name", "names")
        ));
    }
    let then = if goes { "would be deleted" } else { "stays" };
    match (fate, replica) {
        (Fate::LeftOut(_), Some(replica)) => {
            notes.push(format!("The replica has a {} there, which {then}", replica.kind.word()));
        }
        (Fate::Excluded(..), Some(replica)) => {
            let day = day(replica.mtime);
            let advice = if goes { "" } else { " (--delete-excluded would remove it)" };
            notes.push(format!("The replica has one of {day}, which {then}{advice}"));
        }
        (_, _) => {}
    }
    notes
}

/// `3 folders, 12 files, 1.2 MiB`.
pub(super) fn subtree(below: Subtree) -> String {
    let counts = [(below.folders, "folder", "folders"), (below.files, "file", "files")];
    let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
    let mut parts: Vec<String> =
        counts.map(|(count, one, many)| humanize::counted(count, one, many)).collect();
    if parts.is_empty() {
        return "empty".to_owned();
    }
    parts.push(humanize::size(below.bytes));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::counters::Counts;
    use crate::model::error::Cause;
    use crate::model::problem_kind::ProblemKind;
    use crate::survey::reconcile::tests::file;
    use std::time::Duration;

    fn planned(verb: Verb, path: &str) -> Planned {
        let path = RelPath::from_bytes(path.into());
        Planned { verb, path, kind: Kind::File, size: None, from: None, subtree: None, reason: String::new() }
    }

    fn answer(seen: Seen, events: Events, counts: &[(Counter, u64)]) -> Answer {
        let report = PassReport {
            number: 1,
            outcome: Outcome::Planned,
            counts: counts.iter().copied().collect::<Counts>(),
            duration: Duration::ZERO,
            replica_age: None,
            oldest_confirmation: None,
        };
        Answer::new(&RelPath::from_bytes(b"a/b".to_vec()), &report, seen, events, [None, None])
    }

    /// A case: what was seen, the events, the counters, and the fate.
    type Case = (&'static str, Seen, Events, &'static [(Counter, u64)], Fate);

    fn seen(source: Sight, replica: Sight) -> Seen {
        Seen { source: Some(source), replica: Some(replica), ..Seen::default() }
    }

    #[test]
    fn the_fate_follows_from_the_plan_and_from_what_was_seen() {
        let here = || Sight::Here(file(1));
        let mount = Sight::Here(Entry { kind: Kind::Folder, is_mount: true, ..file(1) });
        let own = |verb| Events { own: vec![planned(verb, "a/b")], ..Events::default() };
        let above = |verb| Events { above: vec![planned(verb, "a")], ..Events::default() };
        let problem = || Events {
            problems: vec![Problem::new(
                RelPath::from_bytes(b"a".to_vec()),
                ProblemKind::ReadSourceFolder,
                Cause::Refused("why"),
                "then",
            )],
            ..Events::default()
        };
        let left_out = || Seen { left_out: Some("why".to_owned()), ..seen(here(), Sight::Absent) };
        let of_source = |source| Seen { source: Some(source), ..Seen::default() };
        const KEPT: &[(Counter, u64)] = &[(Counter::KeptBack, 1)];
        let cases: [Case; 14] = [
            ("equal", seen(here(), here()), Events::default(), &[], Fate::Equal),
            (
                "new",
                seen(here(), Sight::Absent),
                own(Verb::Create),
                &[],
                Fate::Changed(vec![planned(Verb::Create, "a/b")]),
            ),
            (
                "gone",
                seen(Sight::Absent, here()),
                own(Verb::Delete),
                &[],
                Fate::Changed(vec![planned(Verb::Delete, "a/b")]),
            ),
            ("kept back", seen(Sight::Absent, here()), Events::default(), KEPT, Fate::KeptBack),
            (
                "in a new folder",
                of_source(here()),
                above(Verb::Create),
                &[],
                Fate::With(planned(Verb::Create, "a")),
            ),
            (
                "in a moved folder",
                seen(here(), here()),
                above(Verb::Move),
                &[],
                Fate::With(planned(Verb::Move, "a")),
            ),
            ("not in the new folder", Seen::default(), above(Verb::Create), &[], Fate::Absent),
            ("nowhere", seen(Sight::Absent, Sight::Absent), Events::default(), &[], Fate::Absent),
            ("no way there", Seen::default(), Events::default(), &[], Fate::Absent),
            ("unreadable", seen(Sight::Unreadable, here()), problem(), &[], Fate::Problem),
            ("below what cannot be read", Seen::default(), problem(), &[], Fate::Problem),
            ("left out", left_out(), Events::default(), &[], Fate::LeftOut("why".to_owned())),
            ("mounted", seen(Sight::Absent, mount), own(Verb::Delete), &[], Fate::Mounted),
            ("swapped under our eyes", seen(here(), Sight::Absent), Events::default(), &[], Fate::Unknown),
        ];
        for (name, seen, events, counts, expected) in cases {
            assert_eq!(answer(seen, events, counts).fate, expected, "{name}");
        }
    }

    #[test]
    fn the_path_itself_is_not_counted_among_the_unchanged_entries_below_it() {
        let folder = || Sight::Here(Entry { kind: Kind::Folder, ..file(1) });
        let unchanged = &[(Counter::Unchanged, 5)];
        let own = |verb| Events { own: vec![planned(verb, "a/b")], ..Events::default() };
        for (events, expected) in
            [(Events::default(), 4), (own(Verb::Move), 4), (own(Verb::Metadata), 5), (own(Verb::Create), 5)]
        {
            let answer = answer(seen(folder(), folder()), events, unchanged);
            assert_eq!(answer.below.unchanged, expected, "{:?}", answer.fate);
        }
    }

    #[test]
    fn a_name_among_several_is_told_and_so_is_what_the_replica_has_in_place_of_what_is_left_out() {
        let linked = Sight::Here(Entry { links: 3, ..file(1) });
        let told = answer(seen(linked, Sight::Here(file(2))), Events::default(), &[]).notes;
        assert!(told.len() == 1 && told[0].starts_with("It is one of 3 names of a file"), "{told:?}");
        let seen =
            Seen { left_out: Some("why".to_owned()), ..seen(Sight::Here(file(1)), Sight::Here(file(2))) };
        assert_eq!(
            answer(seen.clone(), Events::default(), &[]).notes,
            ["The replica has a file there, which stays"]
        );
        let goes = Events { own: vec![planned(Verb::Delete, "a/b")], ..Events::default() };
        assert_eq!(answer(seen, goes, &[]).notes, ["The replica has a file there, which would be deleted"]);
    }
}
