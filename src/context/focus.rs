//! A pass that looks at one path alone, and notes what it saw there. `explain` answers from it, so that survey and answer
//! follow the same rules.

use crate::index::Record;
use crate::index::trust::Distrust;
use crate::model::change::Differences;
use crate::model::entry::Entry;
use crate::model::path::RelPath;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

/// The path, and what was seen.
#[derive(Debug)]
pub(crate) struct Focus {
    path: RelPath,
    seen: Mutex<Seen>,
}

/// The facts that the survey decided by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The path in the source; none where the survey did not come so far.
    pub source: Option<Sight>,
    /// The path in the replica, the same.
    pub replica: Option<Sight>,
    /// Why the source's entry is left out by design, if it is.
    pub left_out: Option<String>,
    /// What the filter leaves out: the path or a folder above it, and the rule.
    pub excluded: Option<(RelPath, String)>,
    /// The comparison of the metadata, if there was one.
    pub metadata: Option<ComparedMetadata>,
    /// What the index says of the file, if it was asked.
    pub record: Option<ComparedRecord>,
}

/// A path on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It is not there.
    Absent,
    /// It is there, with these facts.
    Here(Entry),
    /// It is there, and nothing else is known.
    Unreadable,
    /// The filter leaves it out.
    Excluded,
}

/// The metadata that the replica's entry should have, and those that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ComparedMetadata {
    /// Owner and group that it should have.
    pub owner: (u32, u32),
    /// The permission bits that it should have.
    pub mode: u16,
    /// What differs.
    pub differences: Differences,
    /// The names of the xattrs that differ.
    pub attributes: Vec<CString>,
}

/// The record of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ComparedRecord {
    /// The record, if there is one.
    pub record: Option<Record>,
    /// When it was last confirmed, in seconds since 1970.
    pub confirmed: i64,
    /// Why it does not stand for the content; none if it does, and nothing is read.
    pub distrust: Option<Distrust>,
}

impl Focus {
    /// A path that nothing is known of.
    pub(crate) fn on(path: RelPath) -> Focus {
        Focus { path, seen: Mutex::default() }
    }

    /// Whether a pass looks at this path: it is on the way to the one that is asked about, that one, or below it.
    pub(crate) fn has(&self, path: &RelPath) -> bool {
        path.is_at_or_below(&self.path) || self.path.is_at_or_below(path)
    }

    /// Whether this path is on the way only: its own metadata are not asked about.
    pub(crate) fn passes(&self, path: &RelPath) -> bool {
        !path.is_at_or_below(&self.path)
    }

    /// Notes what was seen, if it is about the path itself.
    pub(crate) fn note(&self, path: &RelPath, note: impl FnOnce(&mut Seen)) {
        if *path == self.path {
            note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Notes the rule that leaves out the path itself or a folder above it.
    pub(crate) fn note_excluded(&self, path: &RelPath, rule: impl FnOnce() -> String) {
        if self.path.is_at_or_below(path) {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.excluded = Some((path.clone(), rule()));
        }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_path_and_all_below_it_are_looked_at_and_only_the_path_itself_is_noted() {
        let path = |text: &str| RelPath::from_bytes(text.into());
        for (at, is_looked_at) in
            [("", true), ("a", true), ("a/b", true), ("a/b/c", true), ("a/bc", false), ("b", false)]
        {
            let focus = Focus::on(path("a/b"));
            assert_eq!(focus.has(&path(at)), is_looked_at, "{at}");
            assert_eq!(focus.passes(&path(at)), !["a/b", "a/b/c"].contains(&at), "{at}");
            focus.note(&path(at), |seen| seen.source = Some(Sight::Absent));
            assert_eq!(focus.seen().source.is_some(), at == "a/b", "{at}");
        }
    }
}
