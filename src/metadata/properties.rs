//! What holds for metadata whatever it is, and whatever the filesystem and the rights of the process.

use super::*;
use crate::proof::{self, access_list, entries, pure, rights};
use proptest::prelude::*;

proptest! {
    #![proptest_config(pure())]

    #[test]
    fn what_was_set_as_the_filesystem_holds_it_does_not_differ_any_more(
        (source, replica) in entries(),
        list in access_list(),
        filesystem in proof::filesystem(),
        rights in rights(),
    ) {
        let first = compare_metadata(&source, &list, &replica, &filesystem, &rights);
        // What agrees is neither set nor told as something that cannot be held.
        if (source.uid, source.gid) == (replica.uid, replica.gid) {
            prop_assert!(!first.differences.owner && !first.owner_not_held);
        }
        if source.mtime == replica.mtime {
            prop_assert!(!first.differences.mtime && !first.mtime_not_held);
        }
        let mut set = replica;
        if first.differences.owner {
            (set.uid, set.gid) = (first.due.uid, first.due.gid);
            // As apply does: a new group may do nothing before it is known what it may do.
            set.mode &= !(GROUP | OTHERS) | first.due.mode & OTHERS;
        }
        let due = Due::of(&source, &list, &set, &filesystem, &rights);
        prop_assert_eq!(due.mode, first.due.mode, "what it should be does not depend on the way there");
        if first.differences.mode || first.differences.owner && filesystem.holds_for(source.kind, Feature::Mode) {
            set.mode = due.mode;
        }
        if first.differences.mtime {
            set.mtime = filesystem.holdable(source.mtime);
        }
        let again = compare_metadata(&source, &list, &set, &filesystem, &rights);
        prop_assert_eq!(again.differences, Differences::default());
        // What cannot be held is told whether or not the rest has been set.
        prop_assert_eq!(again.owner_not_held, first.owner_not_held);
    }

    #[test]
    fn a_copy_never_has_more_rights_than_its_source(
        source in proof::entry(),
        list in access_list(),
        replica in proof::entry(),
        filesystem in proof::filesystem(),
        rights in rights(),
    ) {
        let due = Due::of(&source, &list, &replica, &filesystem, &rights);
        prop_assert_eq!(due.mode & !source.mode & 0o7707, 0);
        prop_assert_eq!(due.mode & 0o1700, source.mode & 0o1700);
        if list == AccessList::None {
            prop_assert_eq!(due.mode & !source.mode, 0);
            if due.gid != source.gid {
                let (group, others) = (due.mode >> 3 & OTHERS, due.mode & OTHERS);
                prop_assert_eq!(group & !source.mode, 0, "more than others, for another group");
                prop_assert_eq!(others & !(source.mode >> 3), 0, "more than the group, for its members");
            } else {
                prop_assert_eq!(due.mode & 0o777, source.mode & 0o777, "only setuid and setgid depend on the owner");
            }
        }
        if source.kind == Kind::File {
            prop_assert!(due.mode & 0o4000 == 0 || due.uid == source.uid, "setuid for somebody else");
            prop_assert!(due.mode & 0o2000 == 0 || due.gid == source.gid, "setgid for another group");
        }
        // Nothing is given that this process may not give.
        let (uid, gid) = rights.attainable_owner(&source, &replica);
        prop_assert!(due.uid == replica.uid || due.uid == uid);
        prop_assert!(due.gid == replica.gid || due.gid == gid);
    }
}
