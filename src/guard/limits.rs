//! The doubts that the numbers of a plan and the identities of the roots raise. Pure.

use crate::model::doubt::{Doubt, RootChange, RootIdentity};
use crate::model::error::Side;
use crate::model::limit::{Limit, Stake};
use crate::model::report::Hold;

/// The most that a pass may take from the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of entries that are deleted.
    pub max_delete: Limit,
    /// Of entries that are overwritten with another content.
    pub max_change: Limit,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_delete: Limit::DEFAULT, max_change: Limit::DEFAULT }
    }
}

/// The two roots: in the last pass that was done, as far as one is recorded, and now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RootsOf {
    /// The source and the replica of then; none where no pass is recorded.
    pub then: Option<[RootIdentity; 2]>,
    /// Those of now; none where they could not be looked at.
    pub now: Option<[RootIdentity; 2]>,
}

/// An empty source is doubtful from so many deletions on, where no pass is recorded.
const FEW: u64 = 10;

/// Rules on the numbers of a plan.
pub(crate) fn doubt(limits: Limits, roots: RootsOf, stake: Stake, source_is_empty: bool) -> Option<Hold> {
    if let (Some(then), Some(now)) = (roots.then, roots.now) {
        // Both disks are missing: nothing would be done, and the empty folders would be the right ones from then on.
        if source_is_empty && !then[0].is_same(&now[0]) && !then[1].is_same(&now[1]) {
            let root = Box::new(RootChange { side: Side::Source, was: then[0], now: now[0] });
            return Some(Hold::OtherRoot { root, doubt: Doubt::of(stake, None) });
        }
        let sides = [Side::Source, Side::Replica].into_iter().zip(then.into_iter().zip(now));
        for (side, (was, now)) in sides.filter(|(_, (was, now))| !was.is_same(now)) {
            let is_on_other = !was.is_on_same_filesystem(&now);
            if is_wrong(side, is_on_other, stake, source_is_empty) {
                let root = Box::new(RootChange { side, was, now });
                return Some(Hold::OtherRoot { root, doubt: Doubt::of(stake, None) });
            }
        }
    }
    let may_be_emptied = limits.max_delete == Limit::Off;
    if roots.then.is_none() && source_is_empty && stake.deleted.entries >= FEW && !may_be_emptied {
        return Some(Hold::EmptySource(Doubt::of(stake, None)));
    }
    let Limits { max_delete, max_change } = limits;
    if max_delete.is_exceeded(stake.deleted, stake.all) {
        return Some(Hold::TooManyDeletions(Doubt::of(stake, Some(max_delete))));
    }
    if max_change.is_exceeded(stake.changed, stake.all) {
        return Some(Hold::TooManyChanges(Doubt::of(stake, Some(max_change))));
    }
    None
}

/// Whether a root that is another folder than before is probably the wrong one: most of the replica would go, or a
/// replica on another filesystem would be filled anew.
fn is_wrong(side: Side, is_on_other: bool, stake: Stake, source_is_empty: bool) -> bool {
    let deleted = stake.deleted.entries;
    let kept = stake.all.saturating_sub(deleted);
    let goes = deleted > 0 && (source_is_empty || deleted > kept);
    goes || (side == Side::Replica && is_on_other && stake.created > kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Timestamp;
    use crate::model::limit::Amount;

    const DISK: RootIdentity = RootIdentity { filesystem: 0xef53, fsid: 7, inode: Some(2), btime: born(5) };
    const XFS: RootIdentity = RootIdentity { filesystem: 0x5846_5342, ..DISK };

    const fn born(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanoseconds: 1 })
    }

    fn stake(created: u64, deleted: u64, all: u64) -> Stake {
        let deleted = Amount { entries: deleted, bytes: deleted * 1000 };
        Stake { deleted, created, all, ..Stake::default() }
    }

    fn word(hold: Option<Hold>) -> &'static str {
        match hold {
            None => "go",
            Some(Hold::OtherRoot { root, .. }) if root.side == Side::Source => "other source",
            Some(Hold::OtherRoot { .. }) => "other replica",
            Some(Hold::EmptySource(_)) => "empty source",
            Some(Hold::TooManyDeletions(_)) => "too many deletions",
            Some(Hold::TooManyChanges(_)) => "too many changes",
            Some(_) => "another",
        }
    }

    #[test]
    fn another_root_is_held_only_where_the_plan_is_a_disaster() {
        let other = RootIdentity { fsid: 8, btime: born(6), ..DISK };
        let moved = RootIdentity { inode: Some(99), btime: born(6), ..DISK };
        // Formatted in the same second.
        let twin = RootIdentity { fsid: 9, ..DISK };
        let mounted_anew = RootIdentity { fsid: 9, ..XFS };
        let gone = RootIdentity { inode: None, btime: None, fsid: 8, ..DISK };
        let ext = |fsid| RootIdentity { btime: None, fsid, ..DISK };
        for (then, now, stake, is_empty, expected) in [
            ([DISK, DISK], [DISK, DISK], stake(0, 9, 9), false, "go"),
            ([DISK, DISK], [twin, DISK], stake(0, 9, 9), true, "other source"),
            ([DISK, DISK], [DISK, twin], stake(3, 0, 0), false, "other replica"),
            ([XFS, DISK], [mounted_anew, DISK], stake(0, 9, 9), true, "go"),
            (
                [DISK, XFS],
                [DISK, RootIdentity { inode: Some(9), btime: born(9), ..mounted_anew }],
                stake(3, 0, 0),
                false,
                "go",
            ),
            ([DISK, DISK], [other, other], stake(0, 0, 0), true, "other source"),
            ([DISK, DISK], [other, other], stake(0, 0, 9), false, "go"),
            ([DISK, DISK], [other, DISK], stake(0, 1, 50), true, "other source"),
            ([DISK, DISK], [other, DISK], stake(3, 5, 9), false, "other source"),
            ([DISK, DISK], [other, DISK], stake(3, 4, 9), false, "go"),
            ([DISK, DISK], [moved, DISK], stake(3, 5, 9), false, "other source"),
            ([DISK, DISK], [other, DISK], stake(3, 0, 0), true, "go"),
            ([DISK, DISK], [DISK, other], stake(3, 0, 0), false, "other replica"),
            ([DISK, DISK], [DISK, other], stake(3, 0, 3), false, "go"),
            ([DISK, DISK], [DISK, gone], stake(3, 0, 0), false, "other replica"),
            // A folder that was removed and made again on the same filesystem is filled as a new one is.
            ([DISK, DISK], [DISK, moved], stake(3, 0, 0), false, "go"),
            // Without birth times the filesystem has to be the same.
            ([ext(7), DISK], [ext(7), DISK], stake(0, 9, 9), true, "go"),
            ([ext(7), DISK], [ext(8), DISK], stake(0, 9, 9), true, "other source"),
        ] {
            let roots = RootsOf { then: Some(then), now: Some(now) };
            let found = doubt(Limits::default(), roots, stake, is_empty);
            assert_eq!(word(found), expected, "{now:?} {stake:?} {is_empty}");
        }
    }

    #[test]
    fn without_a_record_an_empty_source_takes_few() {
        let roots = RootsOf { then: None, now: Some([DISK, DISK]) };
        for (deleted, is_empty, expected) in [
            (9, true, "go"),
            (10, true, "empty source"),
            (99, false, "go"),
            (100, false, "too many deletions"),
        ] {
            let found = doubt(Limits::default(), roots, stake(0, deleted, deleted), is_empty);
            assert_eq!(word(found), expected, "{deleted} {is_empty}");
        }
    }

    #[test]
    fn each_limit_is_about_its_own_number() {
        let off = Limits { max_delete: Limit::Off, max_change: Limit::Off };
        let none = Limits { max_delete: Limit::Entries(0), max_change: Limit::Entries(0) };
        let changed = Stake { changed: Amount { entries: 1, bytes: 1 }, ..stake(0, 0, 9) };
        let judge = |limits, stake| word(doubt(limits, RootsOf::default(), stake, false));
        assert_eq!(judge(off, stake(0, 1000, 1000)), "go");
        assert_eq!(judge(none, stake(5, 0, 9)), "go");
        assert_eq!(judge(none, stake(0, 1, 9)), "too many deletions");
        assert_eq!(judge(none, changed), "too many changes");
        assert_eq!(judge(Limits { max_change: Limit::Off, ..none }, changed), "go");
    }
}
