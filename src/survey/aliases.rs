//! Aliases: pairs each source name that the replica does not list with the entry that the replica has for it. Pure;
//! ask.rs does the lookups.

use crate::model::entry::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;

/// The replica's entry for a source name that it does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alias<'a> {
    /// The entry that it lists under this name.
    Listed(&'a CStr),
    /// An entry that it lists under one of several names, or under none.
    Unsure,
}

/// The aliases in one folder, by positions in the two listings.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// The source names with an alias, and the replica's listed name for each, where that is known.
    names: BTreeMap<usize, Option<usize>>,
    /// The replica names that are, or may be, the alias of a source name.
    kept: BTreeSet<usize>,
}

impl Aliases {
    /// The alias of a source name, if it has one; the position of that, if it is known.
    pub(super) fn of(&self, source: usize) -> Option<Option<usize>> {
        self.names.get(&source).copied()
    }

    /// Whether a name that only the replica lists stays, because it is no extra.
    pub(super) fn keep(&self, replica: usize) -> bool {
        self.kept.contains(&replica)
    }
}

/// The result of looking up one source name in the replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The entry that only the replica lists, at this position, and how much it looks like the source's.
    Is(usize, Likeness),
    /// One of these entries, or none.
    Perhaps(Vec<usize>),
    /// The lookup failed. These entries are spellings of the name.
    Unknown(Vec<usize>),
}

/// The likeness of two entries by kind, size and time; each counts only if those before it are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    None,
    Kind,
    Size,
    Time,
}

pub(super) fn likeness(one: &Entry, other: &Entry) -> Likeness {
    // The time step of vfat.
    const COARSE: u64 = 2;
    if one.kind != other.kind {
        Likeness::None
    } else if one.size != other.size {
        Likeness::Kind
    } else if one.mtime.seconds.abs_diff(other.mtime.seconds) > COARSE {
        Likeness::Size
    } else {
        Likeness::Time
    }
}

/// Pairs source names with replica names, given the answers in the order of the names.
///
/// Of several source names that are one name in the replica, the one whose entry is most alike gets it, or else the
/// first. The others are created under a name that is taken there, and that is a problem.
pub(super) fn settle(answers: &[(usize, Answer)]) -> Aliases {
    let mut out = Aliases::default();
    let mut taken: BTreeMap<usize, (usize, Likeness)> = BTreeMap::new();
    let mut uses: BTreeMap<usize, usize> = BTreeMap::new();
    for (source, answer) in answers {
        match answer {
            Answer::Is(at, likeness) => {
                let holder = taken.entry(*at).or_insert((*source, *likeness));
                if *likeness > holder.1 {
                    *holder = (*source, *likeness);
                }
                out.kept.insert(*at);
            }
            Answer::Perhaps(list) => {
                out.kept.extend(list);
                for at in list {
                    *uses.entry(*at).or_default() += 1;
                }
            }
            Answer::Unknown(list) => out.kept.extend(list),
        }
    }
    out.names.extend(taken.iter().map(|(at, (source, _))| (*source, Some(*at))));
    for (source, answer) in answers {
        if let Answer::Perhaps(list) = answer
            // Another source name may have the same entry: then neither is written to.
            && list.iter().all(|at| !taken.contains_key(at) && uses.get(at) == Some(&1))
        {
            out.names.insert(*source, None);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::{Kind, Timestamp};
    use crate::survey::reconcile::tests::file;

    /// A source name and its answer; the replica's listed name for each source name; the names that are no extras.
    type Case = (&'static str, Vec<(usize, Answer)>, Vec<(usize, Option<usize>)>, Vec<usize>);

    #[test]
    fn entries_look_alike_by_kind_size_and_time() {
        let at = |seconds| Entry { mtime: Timestamp { seconds, nanoseconds: 0 }, ..file(1) };
        let cases = [
            (at(2), Likeness::Time),
            (at(-2), Likeness::Time),
            (at(3), Likeness::Size),
            (Entry { size: 11, ..at(0) }, Likeness::Kind),
            (Entry { kind: Kind::Fifo, ..at(0) }, Likeness::None),
        ];
        for (other, expected) in cases {
            assert_eq!(likeness(&at(0), &other), expected, "{other:?}");
        }
    }

    #[test]
    fn a_name_is_the_entry_that_answers_and_one_entry_is_one_name() {
        let is = |at| Answer::Is(at, Likeness::Kind);
        let looks = |at| Answer::Is(at, Likeness::Size);
        let perhaps = |list: &[usize]| Answer::Perhaps(list.to_vec());
        let cases: [Case; 8] = [
            ("one name", vec![(3, is(5))], vec![(3, Some(5))], vec![5]),
            (
                "two names, two entries",
                vec![(1, is(5)), (3, is(0))],
                vec![(1, Some(5)), (3, Some(0))],
                vec![0, 5],
            ),
            ("two names, one entry", vec![(1, is(5)), (3, is(5))], vec![(1, Some(5))], vec![5]),
            (
                "the second one looks like it",
                vec![(1, is(5)), (3, looks(5)), (4, looks(5))],
                vec![(3, Some(5))],
                vec![5],
            ),
            ("one of two entries", vec![(1, perhaps(&[5, 6]))], vec![(1, None)], vec![5, 6]),
            ("perhaps the same entry", vec![(1, perhaps(&[5, 6])), (2, perhaps(&[6]))], vec![], vec![5, 6]),
            (
                "perhaps that of another name",
                vec![(1, perhaps(&[5])), (2, is(5))],
                vec![(2, Some(5))],
                vec![5],
            ),
            ("could not be asked", vec![(1, Answer::Unknown(vec![4, 5]))], vec![], vec![4, 5]),
        ];
        for (what, answers, names, kept) in cases {
            let Aliases { names: found, kept: stays } = settle(&answers);
            assert_eq!(found.into_iter().collect::<Vec<_>>(), names, "{what}");
            assert_eq!(stays.into_iter().collect::<Vec<_>>(), kept, "{what}");
        }
    }
}
