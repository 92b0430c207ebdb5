//! Property tests of metadata, for any filesystem and any rights of the process.

use super::*;
use crate::test_strategies::{self, access_list, entries, pure, rights};
use proptest::prelude::*;

proptest! {
    #![proptest_config(pure())]

    #[test]
    fn what_was_set_as_the_filesystem_holds_it_does_not_differ_any_more(
        (source, replica) in entries(),
        list in access_list(),
        filesystem in test_strategies::filesystem(),
        rights in rights(),
    ) {
        let first = compare_metadata(&source, &list, &replica, &filesystem, &rights);
        // Equal metadata is neither set nor reported as something that cannot be held.
        if (source.uid, source.gid) == (replica.uid, replica.gid) && rights.knows_group(source.gid) {
            prop_assert!(!first.differences.owner && !first.owner_not_held);
        }
        if source.mtime == replica.mtime {
            prop_assert!(!first.differences.mtime && !first.mtime_not_held);
        }
        let mut set = replica;
        // Twice, as apply does: an entry that has got a valid group may then be given away.
        for _ in 0..2 {
            let step = compare_metadata(&source, &list, &set, &filesystem, &rights);
            if step.differences.owner {
                (set.uid, set.gid) = (step.due.uid, step.due.gid);
                // The new group gets no rights before its rights are known.
                set.mode &= !(GROUP | OTHERS) | step.due.mode & OTHERS;
            }
            let due = Due::under((set.uid, set.gid), (&source, &list), &set, &filesystem, &rights);
            prop_assert_eq!(due.mode, step.due.mode, "what it should be does not depend on the way there");
            let is_due = step.differences.mode || step.differences.owner;
            if is_due && filesystem.holds_for(source.kind, Feature::Mode) {
                set.mode = due.mode;
            }
            if step.differences.mtime {
                set.mtime = filesystem.holdable(source.mtime);
            }
        }
        let again = compare_metadata(&source, &list, &set, &filesystem, &rights);
        prop_assert_eq!(again.differences, Differences::default());
        if !first.differences.owner {
            // A missing feature is reported whether or not the rest has been set.
            prop_assert_eq!(again.owner_not_held, first.owner_not_held);
        }
    }

    #[test]
    fn what_agrees_is_found_by_the_short_way_as_by_the_long_one(
        (source, replica) in entries(),
        special in any::<bool>(),
        filesystem in test_strategies::filesystem(),
        rights in rights(),
    ) {
        let mode = if special { source.mode } else { source.mode & 0o777 };
        let source = Entry { mode, ..source };
        let replica = Entry { uid: source.uid, gid: source.gid, mtime: source.mtime, mode, ..replica };
        let list = AccessList::None;
        let due = Due::of(&source, &list, &replica, &filesystem, &rights);
        prop_assert_eq!(
            compare_metadata(&source, &list, &replica, &filesystem, &rights),
            compare_with(due, &source, &replica, &filesystem, &rights)
        );
    }

    #[test]
    fn a_copy_never_has_more_rights_than_its_source(
        source in test_strategies::entry(),
        list in access_list(),
        replica in test_strategies::entry(),
        filesystem in test_strategies::filesystem(),
        rights in rights(),
    ) {
        let due = Due::of(&source, &list, &replica, &filesystem, &rights);
        prop_assert_eq!(due.mode & !source.mode & 0o7707, 0);
        prop_assert_eq!(due.mode & 0o1700, source.mode & 0o1700);
        if list == AccessList::None {
            prop_assert_eq!(due.mode & !source.mode, 0);
            if due.gid != source.gid || !rights.knows_group(due.gid) {
                let (group, others) = (due.mode >> 3 & OTHERS, due.mode & OTHERS);
                prop_assert_eq!(group & !source.mode, 0, "more than others, for another group");
                prop_assert_eq!(others & !(source.mode >> 3), 0, "more than the group, for its members");
            } else {
                prop_assert_eq!(due.mode & 0o777, source.mode & 0o777, "only setuid and setgid depend on the owner");
            }
        }
        if source.kind == Kind::File {
            let is_same_user = due.uid == source.uid && rights.knows_user(due.uid);
            let is_same_group = due.gid == source.gid && rights.knows_group(due.gid);
            prop_assert!(due.mode & 0o4000 == 0 || is_same_user, "setuid for somebody else");
            prop_assert!(due.mode & 0o2000 == 0 || is_same_group, "setgid for another group");
        }
        // No owner is set that this process may not set.
        let (uid, gid) = rights.attainable_owner(&source, &replica);
        prop_assert!(due.uid == replica.uid || due.uid == uid);
        prop_assert!(due.gid == replica.gid || due.gid == gid);
    }
}
