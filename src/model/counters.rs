//! The counters of a pass: one array of numbers for its progress, its report and the log.

use crate::model::change::Verb;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::ops::{Index, IndexMut};
use std::sync::atomic::{AtomicU64, Ordering};

/// One counter of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counter {
    /// Entries created.
    Created,
    /// Entries replaced because their content changed in the source.
    Updated,
    /// Entries moved to the place that they have in the source now: a folder counts once, whatever is in it.
    Moved,
    /// Entries replaced because their content changed in the replica alone.
    Repaired,
    /// Entries replaced by an entry of another kind.
    Retyped,
    /// Entries renamed to the spelling that the source has.
    Renamed,
    /// Paths replaced or created as hard links.
    Linked,
    /// Entries of which only metadata was set.
    Metadata,
    /// Entries deleted.
    Deleted,
    /// Entries without a difference.
    Unchanged,
    /// Entries left out by design: sockets, kinds that the replica cannot hold.
    Skipped,
    /// Entries of the source that the filter leaves out; what is below them is not looked at.
    Excluded,
    /// Entries of the replica that the filter leaves out, and that stay; what is below them is not looked at.
    ExcludedInReplica,
    /// Replica entries that the source lacks and that are not deleted before the next pass: they may have moved during
    /// this one ([`Reason::Changed`](crate::Reason::Changed)).
    KeptBack,
    /// Problems.
    Problems,
    /// Source files whose content changed although no fact of them did, among the problems.
    Rotted,
    /// Unchanged files that were not read, because the index has a recent confirmation of them.
    Trusted,
    /// Bytes of content read, both sides together.
    BytesRead,
    /// Bytes of content of the trusted files, both sides together.
    BytesTrusted,
    /// Bytes of content that the plan will write. An estimate: a file may grow before it is copied.
    BytesToWrite,
    /// Bytes of content written.
    BytesWritten,
}

impl Counter {
    /// Every counter, in the order of the summary.
    pub const ALL: [Counter; 21] = [
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
        Counter::Problems,
        Counter::Rotted,
        Counter::Trusted,
        Counter::BytesRead,
        Counter::BytesTrusted,
        Counter::BytesToWrite,
        Counter::BytesWritten,
    ];

    /// The counter of a verb.
    pub fn of(verb: Verb) -> Counter {
        match verb {
            Verb::Create => Counter::Created,
            Verb::Update => Counter::Updated,
            Verb::Move => Counter::Moved,
            Verb::Repair => Counter::Repaired,
            Verb::Retype => Counter::Retyped,
            Verb::Rename => Counter::Renamed,
            Verb::Link => Counter::Linked,
            Verb::Metadata => Counter::Metadata,
            Verb::Delete => Counter::Deleted,
        }
    }

    /// The name in the JSON log.
    pub fn code(self) -> &'static str {
        match self {
            Counter::Created => "created",
            Counter::Updated => "updated",
            Counter::Moved => "moved",
            Counter::Repaired => "repaired",
            Counter::Retyped => "retyped",
            Counter::Renamed => "renamed",
            Counter::Linked => "linked",
            Counter::Metadata => "metadata",
            Counter::Deleted => "deleted",
            Counter::Unchanged => "unchanged",
            Counter::Skipped => "skipped",
            Counter::Excluded => "excluded",
            Counter::ExcludedInReplica => "excluded_in_replica",
            Counter::KeptBack => "kept_back",
            Counter::Problems => "problems",
            Counter::Rotted => "rotted",
            Counter::Trusted => "trusted",
            Counter::BytesRead => "bytes_read",
            Counter::BytesTrusted => "bytes_trusted",
            Counter::BytesToWrite => "bytes_to_write",
            Counter::BytesWritten => "bytes_written",
        }
    }
}

const COUNT: usize = Counter::ALL.len();

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; COUNT]);

impl Counts {
    /// The number of all operations.
    pub fn operations(&self) -> u64 {
        Verb::ALL.iter().map(|verb| self[Counter::of(*verb)]).sum()
    }
}

impl Serialize for Counts {
    /// Writes every counter under its [`Counter::code`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COUNT))?;
        for counter in Counter::ALL {
            map.serialize_entry(counter.code(), &self[counter])?;
        }
        map.end()
    }
}

impl Index<Counter> for Counts {
    type Output = u64;

    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

impl IndexMut<Counter> for Counts {
    fn index_mut(&mut self, counter: Counter) -> &mut u64 {
        &mut self.0[counter as usize]
    }
}

impl FromIterator<(Counter, u64)> for Counts {
    fn from_iter<T: IntoIterator<Item = (Counter, u64)>>(numbers: T) -> Counts {
        let mut counts = Counts::default();
        for (counter, number) in numbers {
            counts[counter] += number;
        }
        counts
    }
}

/// A number that only a display of progress shows: neither the report of a pass nor the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tally {
    /// Names that the survey has looked at; one that both sides have counts once.
    Names,
    /// Changes that the survey has found, with the entries below new folders and below those that go.
    Changes,
    /// Bytes of the files without a difference, of one side.
    BytesUnchanged,
}

const TALLIES: usize = 3;

/// The live counters of a pass: all threads add to them, and a progress display reads them.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; COUNT], [AtomicU64; TALLIES]);

impl Counters {
    /// Adds to a counter.
    pub(crate) fn add(&self, counter: Counter, number: u64) {
        self.0[counter as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// Adds to a number of the progress.
    pub(crate) fn add_to(&self, tally: Tally, number: u64) {
        self.1[tally as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// Reads one counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }

    /// Reads one number of the progress.
    pub fn tally(&self, tally: Tally) -> u64 {
        self.1[tally as usize].load(Ordering::Relaxed)
    }

    /// Reads all counters, one after the other: no atomic snapshot while a pass runs.
    pub fn read(&self) -> Counts {
        Counter::ALL.into_iter().map(|counter| (counter, self.get(counter))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place_and_a_name_of_its_own() {
        let counters = Counters::default();
        for (at, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, at);
            counters.add(counter, at as u64 + 1);
        }
        let counts = counters.read();
        for (at, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!((counts[counter], counters.get(counter)), (at as u64 + 1, at as u64 + 1));
        }
        let mut codes = Counter::ALL.map(Counter::code);
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] != pair[1]), "{codes:?}");
    }

    #[test]
    fn the_numbers_of_the_progress_are_no_counters() {
        let counters = Counters::default();
        counters.add_to(Tally::Names, 32);
        counters.add_to(Tally::Changes, 2);
        counters.add_to(Tally::BytesUnchanged, 7);
        let tallies = [Tally::Names, Tally::Changes, Tally::BytesUnchanged];
        assert_eq!(tallies.map(|tally| counters.tally(tally)), [32, 2, 7]);
        assert_eq!(counters.read(), Counts::default());
    }

    #[test]
    fn operations_are_what_the_verbs_count() {
        let counts: Counts = Counter::ALL.into_iter().map(|counter| (counter, 1)).collect();
        assert_eq!(counts.operations(), Verb::ALL.len() as u64);
    }
}
