//! Names of the source that the replica has under other names: which is which. Pure; the questions are in ask.rs.

use crate::model::entry::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;

/// What the replica has for a name of the source that it does not list.
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
    /// Names of the source, and what the replica lists for each of them, where that is known.
    names: BTreeMap<usize, Option<usize>>,
    /// Names of the replica that are, or may be, what it has for a name of the source.
    kept: BTreeSet<usize>,
}

impl Aliases {
    /// Whether the replica has a name of the source under another one; the position of that, if it is known.
    pub(super) fn of(&self, source: usize) -> Option<Option<usize>> {
        self.names.get(&source).copied()
    }

    /// Whether a name that only the replica lists stays, because it is no extra.
    pub(super) fn keep(&self, replica: usize) -> bool {
        self.kept.contains(&replica)
    }
}

/// What one name of the source is in the replica, as far as the answer says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The entry that only the replica lists, at this position, and how much it looks like the source's.
    Is(usize, Likeness),
    /// One of those, or none.
    Perhaps(Vec<usize>),
    /// It could not be asked. Those are spellings of the name.
    Unknown(Vec<usize>),
}

/// How much two entries look like each other: kind, size, time, each only with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    None,
    Kind,
    Size,
    Time,
}

pub(super) fn likeness(one: &Entry, other: &Entry) -> Likeness {
    // The steps of vfat.
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

/// Decides which names of the source have which of the replica, given the answers in the order of the names.
///
/// Of several names that are one in the replica one has it: the one that looks like it, or else the first. The others are
/// made, as far as the replica is concerned, under a name that is taken, and that is a problem.
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
            // Another name of the source may have the same entry: then neither is written to.
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

    /// A name of the source and its answer; what the replica lists for each name of the source, and what is no extra.
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
