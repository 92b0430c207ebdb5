//! The metadata that a copy should have, and its differences. Pure: no disk, no clock.
//!
//! Owner and group are those of the source as far as this process may set them and the filesystem holds them;
//! permission bits and ACL follow from the resulting owner.

use crate::capabilities::Filesystem;
use crate::model::acl::{Access, AccessList, GROUP, Group, OTHERS, mode_without_list};
use crate::model::change::Differences;
use crate::model::entry::{Entry, Kind};
use crate::model::feature::Feature;
use crate::model::rights::{Capability, Rights};

/// Owner, group and rights that the copy of an entry should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u16,
    /// ACL.
    pub list: AccessList,
    /// True when group and others may do less with the copy than with the source, because it has another group.
    pub is_narrowed: bool,
}

impl Due {
    /// The metadata that `replica`, as it is now, should have as the copy of `source`, which has the ACL `list`.
    pub(crate) fn of(
        source: &Entry,
        list: &AccessList,
        replica: &Entry,
        filesystem: &Filesystem,
        rights: &Rights,
    ) -> Due {
        let owner = owner_of(source, replica, filesystem, rights);
        Due::under(owner, (source, list), replica, filesystem, rights)
    }

    /// The metadata that it should have under `owner`, a user and a group.
    pub(crate) fn under(
        (uid, gid): (u32, u32),
        (source, list): (&Entry, &AccessList),
        replica: &Entry,
        filesystem: &Filesystem,
        rights: &Rights,
    ) -> Due {
        let holds_lists = filesystem.holds_for(source.kind, Feature::Acls);
        // An unreadable ACL may grant less than the mode. Bits that were set before stay, unless the entry is about to
        // get another group.
        let kept = if (uid, gid) == (replica.uid, replica.gid) { replica.mode } else { 0 };
        let access = |group| {
            let Access { mode, list } = Access::due(source.mode, list, group);
            let mode = match &list {
                AccessList::None => mode,
                AccessList::Known(_) if holds_lists => mode,
                AccessList::Known(list) => mode_without_list(mode, list),
                AccessList::Unknown => {
                    let classes = if group == Group::Same { GROUP } else { GROUP | OTHERS };
                    mode & !classes | source.mode & kept & classes
                }
            };
            (mode_for(&Entry { mode, ..*source }, uid, gid, rights), list)
        };
        let is_same = gid == source.gid && rights.knows_group(gid);
        let group = if is_same { Group::Same } else { Group::Other };
        let (mode, list) = access(group);
        let is_narrowed =
            group == Group::Other && source.kind != Kind::Symlink && mode != access(Group::Same).0;
        Due { uid, gid, mode, list, is_narrowed }
    }
}

/// The owner and group that the copy should have.
fn owner_of(source: &Entry, replica: &Entry, filesystem: &Filesystem, rights: &Rights) -> (u32, u32) {
    if !filesystem.holds_for(source.kind, Feature::Owner) {
        return (replica.uid, replica.gid);
    }
    let (uid, gid) = rights.attainable_owner(source, replica);
    if uid == replica.uid && filesystem.refuses_group(gid) { (uid, replica.gid) } else { (uid, gid) }
}

/// The comparison of the metadata of two entries of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetadataComparison {
    /// The metadata that the replica should have.
    pub due: Due,
    /// The differences to be set.
    pub differences: Differences,
    /// True when the replica cannot have the owner of the source, and that should be reported.
    pub owner_not_held: bool,
    /// True when modes differ and the replica cannot hold them.
    pub mode_not_held: bool,
    /// True when times differ only by a part that the replica cannot hold.
    pub mtime_not_held: bool,
}

/// Compares the `statx` facts of two entries of one kind, the first of which has this ACL. Owners are compared as far
/// as they could be set.
pub(crate) fn compare_metadata(
    source: &Entry,
    list: &AccessList,
    replica: &Entry,
    filesystem: &Filesystem,
    rights: &Rights,
) -> MetadataComparison {
    const SPECIAL: u16 = 0o7000;
    let facts = |entry: &Entry| (entry.uid, entry.gid, entry.mode, entry.mtime);
    // The usual case. The code below gives the same result at ten times the cost.
    if facts(source) == facts(replica)
        && *list == AccessList::None
        && source.mode & SPECIAL == 0
        && rights.knows_group(source.gid)
    {
        let Entry { uid, gid, mode, .. } = *source;
        return MetadataComparison {
            due: Due { uid, gid, mode, list: AccessList::None, is_narrowed: false },
            differences: Differences::default(),
            owner_not_held: false,
            mode_not_held: false,
            mtime_not_held: false,
        };
    }
    compare_with(Due::of(source, list, replica, filesystem, rights), source, replica, filesystem, rights)
}

/// As [`compare_metadata`], for known due metadata.
pub(crate) fn compare_with(
    due: Due,
    source: &Entry,
    replica: &Entry,
    filesystem: &Filesystem,
    rights: &Rights,
) -> MetadataComparison {
    let kind = source.kind;
    let mode_held = filesystem.holds_for(kind, Feature::Mode);
    // A symbolic link has no permission bits of its own.
    let mode =
        kind != Kind::Symlink && due.mode != replica.mode && !is_left_to_its_owner(source, replica, rights);
    let mtime = source.mtime != replica.mtime;
    let mtime_differs = mtime
        && filesystem.holds_for(kind, Feature::Mtime)
        && filesystem.holdable(source.mtime) != replica.mtime;
    MetadataComparison {
        differences: Differences {
            mode: mode && mode_held,
            owner: (due.uid, due.gid) != (replica.uid, replica.gid),
            mtime: mtime_differs,
            attributes: false,
        },
        owner_not_held: (rights.expects_owners() && (due.uid, due.gid) != (source.uid, source.gid))
            || (due.is_narrowed && mode_held),
        mode_not_held: (mode && !mode_held) || (mode_held && lacks_setgid(source, &due, rights)),
        mtime_not_held: mtime && !mtime_differs,
        due,
    }
}

/// Whether setgid is left out because a capability is missing, and that should be reported.
fn lacks_setgid(source: &Entry, due: &Due, rights: &Rights) -> bool {
    const SETGID: u16 = 0o2000;
    rights.expects_owners()
        && source.mode & SETGID != 0
        && due.gid == source.gid
        && !(rights.may(Capability::Fsetid) || rights.is_in(due.gid))
}

/// The feature behind owner and group of an entry of this kind.
pub(crate) fn owner_feature(kind: Kind) -> Feature {
    if kind == Kind::Symlink { Feature::SymlinkOwner } else { Feature::Owner }
}

/// The feature that is missing where an entry of this kind cannot hold the modification time.
pub(crate) fn mtime_feature(kind: Kind, filesystem: &Filesystem) -> Feature {
    // A link that takes a time, even an inexact one, is like any other entry.
    let takes_none = kind == Kind::Symlink && !filesystem.holds_for(kind, Feature::Mtime);
    if takes_none { Feature::SymlinkMtime } else { Feature::Mtime }
}

/// Whether an entry has the mode of the source and belongs to another user, who alone may narrow it. Not a file: that
/// is replaced by a copy of this user's own.
pub(crate) fn is_left_to_its_owner(source: &Entry, replica: &Entry, rights: &Rights) -> bool {
    source.kind != Kind::File
        && !rights.owns(replica.uid)
        && mode_for(source, replica.uid, replica.gid, rights) == replica.mode
}

/// The mode of a copy of `source` that belongs to `uid` and `gid`: setuid and setgid of a file are only safe where the
/// copy has the owner and group that they were meant for, and chmod clears setgid where the user is not in the group
/// (chmod(2)).
pub(crate) fn mode_for(source: &Entry, uid: u32, gid: u32, rights: &Rights) -> u16 {
    const SETUID: u16 = 0o4000;
    const SETGID: u16 = 0o2000;
    let is_file = source.kind == Kind::File;
    let mut mode = source.mode;
    if is_file && (source.uid != uid || !rights.knows_user(uid)) {
        mode &= !SETUID;
    }
    if (is_file && (source.gid != gid || !rights.knows_group(gid)))
        || !(rights.may(Capability::Fsetid) || rights.is_in(gid))
    {
        mode &= !SETGID;
    }
    mode
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::tests::at;
    use crate::model::acl::tests::list_of;
    use crate::model::rights::tests::{root, user_in};
    use crate::survey::reconcile::tests::file;

    fn compare(
        source: &Entry,
        replica: &Entry,
        filesystem: &Filesystem,
        rights: &Rights,
    ) -> MetadataComparison {
        compare_metadata(source, &AccessList::None, replica, filesystem, rights)
    }

    #[test]
    fn differences_are_told_in_words() {
        for bits in 0..16u8 {
            let [mode, owner, mtime, attributes] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let all = [(mode, "mode"), (owner, "owner"), (mtime, "mtime"), (attributes, "attributes")];
            let words: Vec<&str> = all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
            let differences = Differences { mode, owner, mtime, attributes };
            assert_eq!(differences.words(), words.join(", "));
            assert_eq!(differences.any(), !words.is_empty());
        }
    }

    #[test]
    fn a_missing_feature_is_no_difference() {
        let filesystem = Filesystem::of_type(0x4d44);
        let source = Entry { mode: 0o640, uid: 5, mtime: at(1_000_001, 5), ..file(1) };
        let replica = Entry { mode: 0o755, uid: 0, mtime: at(1_000_000, 0), ..file(2) };
        let compared = compare(&source, &replica, &filesystem, &root());
        assert!(!compared.differences.any());
        assert!(compared.owner_not_held && compared.mode_not_held && compared.mtime_not_held);
    }

    #[test]
    fn times_that_cannot_be_set_at_all_are_no_difference() {
        let filesystem = Filesystem::default();
        let (source, replica) = (Entry { mtime: at(5, 5), ..file(1) }, file(2));
        assert!(compare(&source, &replica, &filesystem, &root()).differences.mtime);
        filesystem.learn_missing_for(Kind::File, Feature::Mtime);
        let compared = compare(&source, &replica, &filesystem, &root());
        assert!(!compared.differences.any() && compared.mtime_not_held);
        filesystem.learn_missing_for(Kind::Symlink, Feature::Mtime);
        for (kind, expected) in [(Kind::File, Feature::Mtime), (Kind::Symlink, Feature::SymlinkMtime)] {
            assert_eq!(mtime_feature(kind, &filesystem), expected);
        }
        assert_eq!(mtime_feature(Kind::Symlink, &Filesystem::default()), Feature::Mtime, "not exact");
        assert_eq!(owner_feature(Kind::Symlink), Feature::SymlinkOwner);
        assert_eq!(owner_feature(Kind::Folder), Feature::Owner);
    }

    #[test]
    fn differences_are_found_one_by_one() {
        let filesystem = Filesystem::default();
        let source = file(1);
        let words = |replica: Entry, rights: Rights| {
            compare(&source, &replica, &filesystem, &rights).differences.words()
        };
        assert_eq!(words(file(2), root()), "");
        assert_eq!(words(Entry { mode: 0o600, ..file(2) }, root()), "mode");
        assert_eq!(words(Entry { uid: 77, ..file(2) }, root()), "owner");
        assert_eq!(words(Entry { gid: 77, ..file(2) }, root()), "owner");
        assert_eq!(words(Entry { gid: 77, ..file(2) }, user_in(1000)), "owner", "a group of the user");
        assert_eq!(words(Entry { gid: 77, ..file(2) }, user_in(77)), "", "not a group of the user");
        assert_eq!(words(Entry { uid: 77, gid: 77, ..file(2) }, user_in(1000)), "", "somebody else's");
        assert_eq!(words(Entry { mtime: at(0, 1), ..file(2) }, root()), "mtime");
    }

    #[test]
    fn an_ordinary_user_keeps_a_group_or_lets_it_do_no_more_than_others() {
        let filesystem = Filesystem::default();
        let source = |mode| Entry { mode, gid: 777, ..file(1) };
        let copy = |mode| Entry { mode, gid: 100, ..file(2) };
        let member = Rights::of_user(1000, vec![100, 777]);
        let other = Rights::of_user(1000, vec![100]);
        let cases = [
            (&member, 0o640, (777, 0o640), false),
            (&member, 0o2775, (777, 0o775), false),
            (&other, 0o640, (100, 0o600), true),
            (&other, 0o664, (100, 0o644), true),
            (&other, 0o644, (100, 0o644), false),
            (&other, 0o604, (100, 0o600), true),
        ];
        for (rights, mode, expected, is_narrowed) in cases {
            let source = Entry { mode: mode & 0o777, ..source(mode) };
            let due = Due::of(&source, &AccessList::None, &copy(0o600), &filesystem, rights);
            assert_eq!(((due.gid, due.mode), due.is_narrowed), (expected, is_narrowed), "{mode:o}");
            let right = Entry { gid: due.gid, mode: due.mode, ..copy(0) };
            let compared = compare(&source, &right, &filesystem, rights);
            assert!(!compared.differences.any(), "{mode:o} is found again");
            assert_eq!(compared.owner_not_held, is_narrowed, "{mode:o} is told");
        }
        let folder = Entry { kind: Kind::Folder, ..source(0o2775) };
        let copy = Entry { kind: Kind::Folder, ..copy(0o700) };
        let due = Due::of(&folder, &AccessList::None, &copy, &filesystem, &member);
        assert_eq!((due.gid, due.mode), (777, 0o2775));
        let due = Due::of(&folder, &AccessList::None, &copy, &filesystem, &other);
        assert_eq!((due.gid, due.mode), (100, 0o2755));
    }

    #[test]
    fn where_owners_are_refused_root_narrows_as_well_and_one_refused_group_is_like_a_foreign_one() {
        let filesystem = Filesystem::default();
        let source = Entry { mode: 0o6660, uid: 5, gid: 6, ..file(1) };
        let replica = Entry { mode: 0o600, uid: 65534, gid: 65534, ..file(2) };
        let due = |rights: &Rights| Due::of(&source, &AccessList::None, &replica, &filesystem, rights);
        assert_eq!((due(&root()).uid, due(&root()).gid, due(&root()).mode), (5, 6, 0o6660));
        filesystem.learn_missing_for(Kind::File, Feature::Owner);
        assert_eq!((due(&root()).uid, due(&root()).gid, due(&root()).mode), (65534, 65534, 0o600));
        assert!(compare(&source, &replica, &filesystem, &root()).owner_not_held);

        let filesystem = Filesystem::default();
        let rights = Rights::of_user(65534, vec![6, 65534]);
        let due = || Due::of(&source, &AccessList::None, &replica, &filesystem, &rights);
        assert_eq!((due().gid, due().mode), (6, 0o2660));
        filesystem.learn_refused_group(6);
        assert_eq!((due().gid, due().mode), (65534, 0o600));
        // Root is not affected.
        let of_root = Due::of(&source, &AccessList::None, &replica, &filesystem, &root());
        assert_eq!((of_root.uid, of_root.gid), (5, 6));
    }

    #[test]
    fn ids_that_mean_nobody_are_not_the_same_because_they_look_the_same() {
        let filesystem = Filesystem::default();
        let source = Entry { mode: 0o6770, uid: 65534, gid: 65534, ..file(1) };
        let replica = Entry { mode: 0o600, ..source };
        let map = || crate::model::rights::IdMap(vec![(0, 1)]);
        for (rights, expected) in [(root(), 0o6770), (root().mapped(map(), map()), 0o700)] {
            assert_eq!(Due::of(&source, &AccessList::None, &replica, &filesystem, &rights).mode, expected);
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_or_held_never_widens_the_group() {
        const NOBODY: u32 = u32::MAX;
        let list =
            list_of(&[(1, 6, NOBODY), (2, 6, 5), (4, 4, NOBODY), (0x10, 6, NOBODY), (0x20, 4, NOBODY)]);
        let known = AccessList::Known(list);
        let filesystem = Filesystem::default();
        let mode = |list: &AccessList, source: Entry, replica: Entry, rights: &Rights| {
            Due::of(&source, list, &replica, &filesystem, rights).mode
        };
        let source = Entry { mode: 0o664, ..file(1) };
        let narrow = Entry { mode: 0o600, ..file(2) };
        let wide = Entry { mode: 0o664, ..file(2) };
        let elsewhere = |entry: Entry| Entry { gid: 77, ..entry };
        let (owner, guest) = (root(), user_in(77));
        assert_eq!(mode(&known, source, narrow, &owner), 0o664);
        assert_eq!(mode(&AccessList::Unknown, source, narrow, &owner), 0o604);
        assert_eq!(mode(&AccessList::Unknown, source, wide, &owner), 0o664, "what it may do already stays");
        assert_eq!(mode(&AccessList::Unknown, source, elsewhere(wide), &owner), 0o604, "another group now");
        assert_eq!(mode(&AccessList::Unknown, source, elsewhere(narrow), &guest), 0o600);
        assert_eq!(mode(&AccessList::Unknown, source, elsewhere(wide), &guest), 0o664);
        // The mask stays, and the ACL grants the group the rights of others.
        assert_eq!(mode(&known, source, elsewhere(narrow), &guest), 0o664);
        filesystem.learn_missing_for(Kind::File, Feature::Acls);
        assert_eq!(mode(&known, source, narrow, &owner), 0o644);
        assert_eq!(mode(&known, source, elsewhere(narrow), &guest), 0o644);
    }

    #[test]
    fn a_folder_of_somebody_else_may_keep_the_mode_of_its_source() {
        let filesystem = Filesystem::default();
        let source = Entry { kind: Kind::Folder, mode: 0o775, gid: 777, ..file(1) };
        let of_others = |kind, mode| Entry { kind, mode, uid: 5, gid: 100, ..file(2) };
        let rights = user_in(100);
        let differs = |kind, mode| {
            compare(&Entry { kind, ..source }, &of_others(kind, mode), &filesystem, &rights).differences.mode
        };
        for (kind, mode, expected) in [
            (Kind::Folder, 0o775, false),
            (Kind::Folder, 0o755, false),
            (Kind::Folder, 0o777, true),
            (Kind::File, 0o775, true),
            (Kind::File, 0o755, false),
        ] {
            assert_eq!(differs(kind, mode), expected, "{kind} {mode:o}");
        }
    }

    #[test]
    fn setuid_and_setgid_need_the_right_owner() {
        let source = Entry { mode: 0o6755, uid: 10, gid: 20, ..file(1) };
        let without = root_without_fsetid();
        assert_eq!(mode_for(&source, 10, 20, &root()), 0o6755);
        assert_eq!(mode_for(&source, 10, 20, &without), 0o4755, "the kernel would clear it");
        let copy = Entry { mode: 0o4755, ..source };
        for (rights, expected) in [(&without, true), (&root(), false)] {
            assert_eq!(compare(&source, &copy, &Filesystem::default(), rights).mode_not_held, expected);
        }
        assert_eq!(mode_for(&source, 11, 20, &root()), 0o2755);
        assert_eq!(mode_for(&source, 10, 21, &root()), 0o4755);
        assert_eq!(mode_for(&source, 10, 20, &user_in(20)), 0o6755);
        assert_eq!(mode_for(&source, 10, 20, &user_in(30)), 0o4755);
        let folder = Entry { kind: Kind::Folder, ..source };
        assert_eq!(mode_for(&folder, 11, 21, &root()), 0o6755);
        assert_eq!(mode_for(&folder, 11, 21, &user_in(21)), 0o6755);
        assert_eq!(mode_for(&folder, 11, 21, &user_in(20)), 0o4755);
    }

    fn root_without_fsetid() -> Rights {
        let all = crate::model::rights::tests::ALL;
        Rights::of_user(0, vec![0]).with(all.into_iter().filter(|it| *it != Capability::Fsetid))
    }
}
