//! What passes did to one path, read for `history`: newest first, across moves.
//!
//! The path is followed backwards: before the pass that moved it, or a folder above it, it is looked for at the old
//! path. The moves of one pass happen at once, from the paths before the pass to those after it, so the most specific
//! one counts, after everything else of the pass. A rename, which only changes the spelling, is a step of its own.

use crate::index::history::count;
use crate::index::operations::{Done, operations};
use crate::model::change::Verb;
use crate::model::digest::Digest;
use crate::model::entry::Kind;
use crate::model::path::RelPath;
use rusqlite::{Connection, Error as SqlError};
use std::collections::BTreeMap;

/// An operation on the path, or one above it that took it along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Milliseconds since 1970.
    pub time: i64,
    /// The kind of the operation.
    pub verb: Verb,
    /// The kind of the entry that `with`, or else the path, names.
    pub kind: Kind,
    /// The path that was followed to there: after the operation, unless it moved away.
    pub path: RelPath,
    /// The folder above, if the operation was on that.
    pub with: Option<RelPath>,
    /// The path before a move or rename, or another path of the inode of a hard link.
    pub other: Option<RelPath>,
    /// The path to which the entry went, while this path was asked for.
    pub moved_to: Option<RelPath>,
    /// Size in bytes, for regular files.
    pub size: Option<u64>,
    /// Digest of the content that was written.
    pub digest: Option<Digest>,
}

/// A pass with more operations than are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// The start of the pass, in milliseconds since 1970.
    pub started: i64,
    /// The number of operations that are not kept.
    pub operations: u64,
}

/// All that is known of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PathHistory {
    /// Newest first.
    pub events: Vec<Event>,
    /// Older operations are unknown: milliseconds since 1970. None before the first pass that was done.
    pub since: Option<i64>,
    /// Passes of which not all is known, newest first.
    pub left_out: Vec<LeftOut>,
}

/// Reads what was done to a path, at most so many of the newest operations.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn read(connection: &Connection, path: &RelPath, limit: usize) -> Result<PathHistory, SqlError> {
    // All queries see one state.
    let transaction = connection.unchecked_transaction()?;
    let since = transaction.query_row("SELECT operations_since FROM pair", [], |row| row.get(0))?;
    let left_out: BTreeMap<i64, LeftOut> = transaction
        .prepare("SELECT pass, started, operations FROM left_out")?
        .query_map([], |row| Ok((row.get(0)?, LeftOut { started: row.get(1)?, operations: count(row, 2)? })))?
        .collect::<Result<_, _>>()?;
    let mut trace = Trace::of(path);
    let sql = "SELECT pass, started, operations FROM operation ORDER BY id DESC";
    let mut statement = transaction.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let pass = row.get(0)?;
        if trace.pass != Some(pass) {
            trace.end_pass();
            if trace.events.len() >= limit {
                break;
            }
            trace.begin_pass(pass, left_out.contains_key(&pass));
        }
        let operations = operations(row.get_ref(2)?.as_blob()?, row.get(1)?);
        operations.into_iter().rev().for_each(|done| trace.take(done));
    }
    trace.end_pass();
    trace.events.truncate(limit);
    Ok(PathHistory { events: trace.events, since, left_out: left_out.into_values().rev().collect() })
}

/// What is left of a path below a folder, with its slash; empty for the folder itself. None for other paths.
fn rest<'p>(path: &'p [u8], folder: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(folder)?;
    (rest.is_empty() || rest.first() == Some(&b'/')).then_some(rest)
}

/// A path on its way back.
#[derive(Debug)]
struct Trace {
    path: Vec<u8>,
    events: Vec<Event>,
    /// Whether the path existed at the moment that the way back has reached, as far as its operations tell.
    exists: Option<bool>,
    pass: Option<i64>,
    /// True in a pass of which not all operations are kept.
    has_gaps: bool,
    /// The first event of the pass.
    first: usize,
    /// The most specific moves to here and away from here.
    here: Option<Done>,
    away: Option<Done>,
    /// The topmost folder above that was deleted, and that was created.
    gone: Option<Done>,
    made: Option<Done>,
}

impl Trace {
    fn of(path: &RelPath) -> Trace {
        Trace {
            path: path.as_bytes().to_vec(),
            events: Vec::new(),
            exists: None,
            pass: None,
            has_gaps: false,
            first: 0,
            here: None,
            away: None,
            gone: None,
            made: None,
        }
    }

    fn begin_pass(&mut self, pass: i64, has_gaps: bool) {
        (self.pass, self.has_gaps, self.first) = (Some(pass), has_gaps, self.events.len());
    }

    /// Takes the next older operation.
    fn take(&mut self, done: Done) {
        let from = |done: &Done| done.other.as_ref().map_or(0, Vec::len);
        let Some(below) = rest(&self.path, &done.path) else {
            // The other path of a hard link has an operation of its own, and so has an entry that changed its spelling.
            let is_from_here = done.verb == Verb::Move
                && done.other.as_ref().is_some_and(|other| rest(&self.path, other).is_some());
            if is_from_here && self.away.as_ref().is_none_or(|away| from(away) < from(&done)) {
                self.away = Some(done);
            }
            return;
        };
        let is_own = below.is_empty();
        match done.verb {
            Verb::Move => {
                if self.here.as_ref().is_none_or(|here| here.path.len() < done.path.len()) {
                    self.here = Some(done);
                }
            }
            Verb::Rename => self.came(&done),
            Verb::Create
            | Verb::Update
            | Verb::Repair
            | Verb::Link
            | Verb::Metadata
            | Verb::Retype
            | Verb::Delete
                if is_own =>
            {
                self.own(&done)
            }
            Verb::Delete => drop(self.gone.get_or_insert(done)),
            Verb::Retype if done.kind != Kind::Folder => drop(self.gone.get_or_insert(done)),
            // The later one is nearer to the top.
            Verb::Create | Verb::Retype => self.made = Some(done),
            Verb::Update | Verb::Repair | Verb::Link | Verb::Metadata => {}
        }
    }

    /// An operation on the path itself.
    fn own(&mut self, done: &Done) {
        let is_taken_along = |event: &Event| event.verb == Verb::Delete && event.with.is_some();
        if done.verb == Verb::Delete && self.events.last().is_some_and(is_taken_along) {
            // It had gone before the folder went.
            self.events.pop();
            self.first = self.first.min(self.events.len());
        }
        self.events.push(self.event(done, None));
        self.exists = Some(done.verb != Verb::Create);
    }

    /// A move or a rename, of the path or of a folder above: it has another path before that.
    fn came(&mut self, done: &Done) {
        let (Some(below), Some(other)) = (rest(&self.path, &done.path), &done.other) else { return };
        let old = [other, below].concat();
        let with = (!below.is_empty()).then(|| RelPath::from_bytes(done.path.clone()));
        let other = Some(RelPath::from_bytes(old.clone()));
        self.events.push(Event { other, ..self.event(done, with) });
        (self.path, self.exists) = (old, Some(true));
    }

    /// A move of the path, or of a folder above, to another place.
    fn went(&mut self, done: &Done) {
        let other = done.other.as_deref().unwrap_or_default();
        let Some(below) = rest(&self.path, other) else { return };
        let to = [&done.path, below].concat();
        let with = (!below.is_empty()).then(|| RelPath::from_bytes(other.to_vec()));
        let moved_to = Some(RelPath::from_bytes(to));
        self.events.push(Event { other: None, moved_to, ..self.event(done, with) });
        self.exists = Some(true);
    }

    fn event(&self, done: &Done, with: Option<RelPath>) -> Event {
        let Done { other, time, verb, kind, size, digest, .. } = done.clone();
        let path = RelPath::from_bytes(self.path.clone());
        let other = other.map(RelPath::from_bytes);
        Event { time, verb, kind, path, with, other, moved_to: None, size, digest }
    }

    /// Takes what only counts when all operations of the pass are known.
    fn end_pass(&mut self) {
        let [gone, made, here, away] =
            [&mut self.gone, &mut self.made, &mut self.here, &mut self.away].map(Option::take);
        // Where all operations are kept, its own would be among them.
        if self.has_gaps && self.events.len() == self.first {
            let folder = |done: &Done| Some(RelPath::from_bytes(done.path.clone()));
            match (gone, made) {
                (_, Some(made)) if self.exists != Some(false) => {
                    self.events.push(self.event(&made, folder(&made)));
                    self.exists = Some(false);
                }
                (Some(gone), _) if self.exists != Some(true) => {
                    self.events.push(self.event(&gone, folder(&gone)));
                    self.exists = Some(true);
                }
                (Some(_) | None, Some(_) | None) => {}
            }
        }
        // An entry that was created after the moves did not come with a folder.
        let here = here.filter(|here| here.path == self.path || self.exists != Some(false));
        if let Some(here) = here {
            let first = self.first;
            self.came(&here);
            // What is deleted in its own pass had to make room for it.
            let of_pass = self.events.get_mut(first..).unwrap_or_default();
            if of_pass.first().is_some_and(|event| event.verb == Verb::Delete) {
                of_pass.rotate_right(1);
            }
        } else if let Some(away) = away {
            self.went(&away);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verb::{Create, Delete, Link, Metadata, Move, Rename, Retype, Update};

    /// Verb, path, old path; a path that ends in a slash is a folder.
    type Row = (Verb, &'static str, &'static str);

    /// What is told of a path after these passes, newest first; the first one of them has gaps.
    fn told(path: &str, passes: &[&[Row]], has_gaps: bool) -> Vec<String> {
        let mut trace = Trace::of(&RelPath::from_bytes(path.into()));
        for (at, pass) in passes.iter().enumerate().rev() {
            trace.begin_pass(at as i64, has_gaps && at == 0);
            for (verb, path, other) in pass.iter().rev() {
                let kind = if path.ends_with('/') { Kind::Folder } else { Kind::File };
                let bytes = |path: &str| path.trim_end_matches('/').as_bytes().to_vec();
                let other = (!other.is_empty()).then(|| bytes(other));
                let (path, verb, time) = (bytes(path), *verb, at as i64);
                trace.take(Done { path, other, time, verb, kind, size: None, digest: None });
            }
            trace.end_pass();
        }
        let words = |event: &Event| {
            let mut words = format!("{} {} {}", event.time, event.verb.word(), event.path);
            for (word, path) in [("from", &event.other), ("to", &event.moved_to), ("with", &event.with)] {
                words.extend(path.as_ref().map(|path| format!(" {word} {path}")));
            }
            words
        };
        trace.events.iter().map(words).collect()
    }

    #[test]
    fn a_path_is_followed_to_where_it_was() {
        let passes: &[&[Row]] = &[
            &[(Create, "2026/", ""), (Create, "2026/tom", ""), (Create, "2026/jim", "")],
            &[(Update, "2026/tom", ""), (Update, "2026/tommy", "")],
            &[(Move, "old/", "2026/"), (Metadata, "old/", "")],
            &[(Move, "tom", "old/tom"), (Metadata, "tom", "")],
            &[(Create, "2026/", ""), (Create, "2026/tom", "")],
            &[(Delete, "tom", "")],
        ];
        for (path, expected) in [
            (
                "tom",
                &[
                    "5 delete tom",
                    "3 metadata tom",
                    "3 move tom from old/tom",
                    "2 move old/tom from 2026/tom with old",
                    "1 update 2026/tom",
                    "0 create 2026/tom",
                ][..],
            ),
            ("old/jim", &["2 move old/jim from 2026/jim with old", "0 create 2026/jim"]),
            // The earlier file of that path, too.
            (
                "2026/tom",
                &[
                    "4 create 2026/tom",
                    "2 move 2026/tom to old/tom with 2026",
                    "1 update 2026/tom",
                    "0 create 2026/tom",
                ],
            ),
            (
                "old/tom",
                &[
                    "3 move old/tom to tom",
                    "2 move old/tom from 2026/tom with old",
                    "1 update 2026/tom",
                    "0 create 2026/tom",
                ],
            ),
            ("old", &["2 metadata old", "2 move old from 2026", "0 create 2026"]),
            ("none", &[]),
        ] {
            assert_eq!(told(path, passes, false), expected, "{path}");
        }
    }

    #[test]
    fn the_moves_of_one_pass_happen_at_once() {
        let passes: &[&[Row]] = &[
            &[
                (Create, "a", ""),
                (Create, "b", ""),
                (Create, "f/", ""),
                (Create, "f/x", ""),
                (Create, "f/y", ""),
            ],
            // Two change places, and a file leaves a folder that moves.
            &[
                (Move, "a", "b"),
                (Move, "b", "a"),
                (Move, "g/", "f/"),
                (Move, "y", "f/y"),
                (Create, "g/y", ""),
            ],
        ];
        for (path, expected) in [
            ("a", &["1 move a from b", "0 create b"][..]),
            ("b", &["1 move b from a", "0 create a"]),
            ("g/x", &["1 move g/x from f/x with g", "0 create f/x"]),
            ("y", &["1 move y from f/y", "0 create f/y"]),
            ("f/y", &["1 move f/y to y", "0 create f/y"]),
            // It did not come with the folder.
            ("g/y", &["1 create g/y"]),
        ] {
            assert_eq!(told(path, passes, false), expected, "{path}");
        }
    }

    #[test]
    fn what_makes_room_goes_before_what_takes_its_place() {
        let passes: &[&[Row]] = &[
            &[(Create, "a", ""), (Create, "f/", "")],
            &[(Move, "f", "a"), (Delete, "f/", "")],
            &[(Rename, "F", "f"), (Link, "other", "F"), (Metadata, "F", "")],
        ];
        let expected = ["2 metadata F", "2 rename F from f", "1 move f from a", "1 delete f", "0 create a"];
        assert_eq!(told("F", passes, false), expected);
    }

    #[test]
    fn a_folder_speaks_for_its_entries_only_where_not_all_operations_are_kept() {
        let made: &[&[Row]] = &[&[(Create, "f/", ""), (Create, "f/g/", "")], &[(Update, "f/g/x", "")]];
        assert_eq!(told("f/g/x", made, true), ["1 update f/g/x", "0 create f/g/x with f"]);
        assert_eq!(told("f/g/x", made, false), ["1 update f/g/x"]);
        let later: &[&[Row]] = &[&[(Create, "f/", "")], &[(Create, "f/x", "")]];
        assert_eq!(told("f/x", later, true), ["1 create f/x"]);
        let gone: &[&[Row]] = &[&[(Delete, "f/g/", ""), (Delete, "f/", "")], &[(Create, "f/x", "")]];
        assert_eq!(told("f/x", gone, true), ["1 create f/x", "0 delete f/x with f"]);
        assert_eq!(told("f/x", gone, false), ["1 create f/x"]);
        let replaced: &[&[Row]] = &[&[(Retype, "f", "")]];
        assert_eq!(told("f/x", replaced, true), ["0 retype f/x with f"]);
        assert_eq!(told("f", replaced, true), ["0 retype f"]);
        let own: &[&[Row]] = &[&[(Delete, "f/x", ""), (Delete, "f/", "")]];
        assert_eq!(told("f/x", own, true), ["0 delete f/x"]);
    }

    #[test]
    fn a_path_is_below_a_folder_only_where_a_name_ends() {
        for (path, folder, expected) in [
            ("a/b", "a", Some("/b")),
            ("a", "a", Some("")),
            ("ab", "a", None),
            ("a", "a/b", None),
            ("a", "", None),
        ] {
            assert_eq!(
                rest(path.as_bytes(), folder.as_bytes()),
                expected.map(str::as_bytes),
                "{path} {folder}"
            );
        }
        assert_eq!(rest(b"", b""), Some(&b""[..]));
    }
}
