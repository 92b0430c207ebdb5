//! Rights of this process: capabilities (capabilities(7)), user, groups, and the ids that its user namespace maps
//! (user_namespaces(7)).
//!
//! Uid 0 by itself grants nothing: root in a container may lack `CAP_CHOWN`, and an ordinary user may have it. Reading
//! has no entry here: it is tried, and a refusal is a problem (`CAP_DAC_READ_SEARCH` just makes it succeed).

use crate::model::digest::Hasher;
use crate::model::entry::Entry;
use crate::model::feature::Feature;

/// A capability that affects mirroring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    /// `CAP_CHOWN`: any owner and group.
    Chown,
    /// `CAP_DAC_OVERRIDE`: permission bits are not checked.
    DacOverride,
    /// `CAP_FOWNER`: mode and times of other users' entries, and `O_NOATIME` on them.
    Fowner,
    /// `CAP_FSETID`: setgid for a group that the process is not in.
    Fsetid,
    /// `CAP_MKNOD` in the initial user namespace, the only one where it is effective: device nodes.
    Mknod,
    /// `CAP_SETFCAP`: file capabilities.
    Setfcap,
    /// `CAP_SYS_ADMIN`: `security.*` xattrs.
    SysAdmin,
    /// `CAP_SYS_ADMIN` in the initial user namespace: `trusted.*` xattrs.
    TrueSysAdmin,
}

/// Ids that a user namespace maps, as ranges of first id and count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdMap(pub Vec<(u32, u32)>);

impl IdMap {
    /// The map of the initial user namespace, which has every id but the last, which is invalid (`(uid_t) -1`).
    pub(crate) fn all() -> IdMap {
        IdMap(vec![(0, u32::MAX)])
    }

    /// Whether the id is mapped. An unmapped one is shown as the overflow id (65534), and no entry can be given to it.
    pub(crate) fn has(&self, id: u32) -> bool {
        self.0.iter().any(|(first, count)| id.checked_sub(*first).is_some_and(|offset| offset < *count))
    }
}

/// The rights of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    user: u32,
    groups: Vec<u32>,
    capabilities: u16,
    users: IdMap,
    group_ids: IdMap,
}

impl Rights {
    /// A word that only the same rights have.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = Hasher::new();
        hasher.update(format!("{self:?}").as_bytes());
        hasher.finish().to_string()
    }

    /// The rights of a user in these groups, without capabilities, in the initial user namespace.
    pub(crate) fn of_user(user: u32, groups: Vec<u32>) -> Rights {
        Rights { user, groups, capabilities: 0, users: IdMap::all(), group_ids: IdMap::all() }
    }

    /// Adds capabilities.
    #[must_use]
    pub(crate) fn with(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Rights {
        for capability in capabilities {
            self.capabilities |= 1 << capability as u16;
        }
        self
    }

    /// Restricts the mapped users and groups. An unmapped group is shown as the overflow id, which may stand for any
    /// group: the process counts as a member of none of them.
    #[must_use]
    pub(crate) fn mapped(mut self, users: IdMap, groups: IdMap) -> Rights {
        self.groups.retain(|group| groups.has(*group));
        (self.users, self.group_ids) = (users, groups);
        self
    }

    /// Whether the process has a capability.
    pub(crate) fn may(&self, capability: Capability) -> bool {
        self.capabilities & (1 << capability as u16) != 0
    }

    /// Whether a user is the one that this process runs as.
    pub(crate) fn is_user(&self, user: u32) -> bool {
        self.user == user
    }

    /// Whether the process is in a group.
    pub(crate) fn is_in(&self, group: u32) -> bool {
        self.groups.contains(&group)
    }

    /// Whether a user id, as an entry shows it, is mapped. Two entries with the same unmapped id may belong to
    /// different users.
    pub(crate) fn knows_user(&self, user: u32) -> bool {
        self.users.has(user)
    }

    /// Whether a group id is mapped, likewise.
    pub(crate) fn knows_group(&self, group: u32) -> bool {
        self.group_ids.has(group)
    }

    /// Another group of this process than this one.
    pub(crate) fn group_but(&self, group: u32) -> Option<u32> {
        self.groups.iter().copied().find(|other| *other != group)
    }

    /// Whether the process may set mode and times of an entry with this owner, and open it with `O_NOATIME`.
    pub(crate) fn owns(&self, uid: u32) -> bool {
        self.user == uid || (self.may(Capability::Fowner) && self.users.has(uid))
    }

    /// Whether owners can be given away with the entries still usable: to set their mode, write their xattrs, and read
    /// them and work in them in the next pass.
    pub(crate) fn gives_owners(&self) -> bool {
        [Capability::Chown, Capability::Fowner, Capability::DacOverride].into_iter().all(|it| self.may(it))
    }

    /// Whether a lost owner has to be reported: root expects owners to be kept, whatever it lacks, and so does a user
    /// with the capability.
    pub(crate) fn expects_owners(&self) -> bool {
        self.user == 0 || self.may(Capability::Chown)
    }

    /// The owner and group nearest to those of `source` that this process may give to `replica`: without capabilities
    /// only its own entries, and only to its own groups (chown(2)).
    pub(crate) fn attainable_owner(&self, source: &Entry, replica: &Entry) -> (u32, u32) {
        let is_mapped = self.users.has(replica.uid) && self.group_ids.has(replica.gid);
        let gives = self.gives_owners() && is_mapped;
        let uid = if gives && self.users.has(source.uid) { source.uid } else { replica.uid };
        let may_give_group = gives
            || (self.user == replica.uid
                && (self.is_in(source.gid) || (self.may(Capability::Chown) && is_mapped)));
        let gid = if may_give_group && self.group_ids.has(source.gid) { source.gid } else { replica.gid };
        (uid, gid)
    }

    /// Whether xattrs of this kind may be set.
    pub(crate) fn may_set(&self, feature: Feature) -> bool {
        match feature {
            Feature::Capabilities => self.may(Capability::Setfcap),
            Feature::SecurityXattrs => self.may(Capability::SysAdmin),
            Feature::TrustedXattrs => self.may(Capability::TrueSysAdmin),
            Feature::Owner
            | Feature::Mode
            | Feature::Mtime
            | Feature::SymlinkOwner
            | Feature::SymlinkMtime
            | Feature::Symlinks
            | Feature::HardLinks
            | Feature::Fifos
            | Feature::Devices
            | Feature::Whiteouts
            | Feature::UserXattrs
            | Feature::Acls => true,
        }
    }

    /// Whether xattrs of this kind are read: those that may be set, and for root also those that it may only read, to
    /// report that they are left out.
    pub(crate) fn looks_at(&self, feature: Feature) -> bool {
        self.may_set(feature) || (self.user == 0 && feature != Feature::TrustedXattrs)
    }

    /// Whether symbolic links have xattrs that may be set: an ordinary user may set none (xattr(7)).
    pub(crate) fn has_link_attributes(&self) -> bool {
        self.may(Capability::SysAdmin)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::survey::reconcile::tests::file;

    pub(crate) const ALL: [Capability; 8] = [
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fowner,
        Capability::Fsetid,
        Capability::Mknod,
        Capability::Setfcap,
        Capability::SysAdmin,
        Capability::TrueSysAdmin,
    ];

    pub(crate) fn root() -> Rights {
        Rights::of_user(0, vec![0]).with(ALL)
    }

    pub(crate) fn user_in(group: u32) -> Rights {
        Rights::of_user(1000, vec![group])
    }

    fn owned(uid: u32, gid: u32) -> Entry {
        Entry { uid, gid, ..file(1) }
    }

    #[test]
    fn the_nearest_owner_follows_from_capabilities_and_groups_and_never_from_the_name_root() {
        use Capability::{Chown, DacOverride, Fowner};
        let bare_root = Rights::of_user(0, vec![0]);
        let user = || Rights::of_user(1000, vec![1000, 77]);
        let all = [Chown, Fowner, DacOverride];
        let cases = [
            ("root", root(), owned(5, 6), owned(0, 0), (5, 6)),
            ("root without capabilities", bare_root.clone(), owned(5, 6), owned(0, 0), (0, 0)),
            ("its own group", bare_root, owned(5, 0), owned(0, 9), (0, 0)),
            ("a group of the user", user(), owned(5, 77), owned(1000, 1000), (1000, 77)),
            ("a group of others", user(), owned(1000, 78), owned(1000, 1000), (1000, 1000)),
            ("somebody else's entry", user(), owned(1000, 77), owned(5, 6), (5, 6)),
            ("a user who may give", user().with(all), owned(5, 78), owned(1000, 1000), (5, 78)),
            ("and takes from others", user().with(all), owned(5, 78), owned(8, 9), (5, 78)),
            // Without the other two the entry would be unusable afterwards; the group can be given.
            ("only CAP_CHOWN", user().with([Chown]), owned(5, 78), owned(1000, 1000), (1000, 78)),
            ("CAP_CHOWN, not its own", user().with([Chown]), owned(5, 78), owned(8, 9), (8, 9)),
            ("CAP_FOWNER alone", user().with([Fowner]), owned(5, 77), owned(8, 9), (8, 9)),
        ];
        for (what, rights, source, replica, expected) in cases {
            assert_eq!(rights.attainable_owner(&source, &replica), expected, "{what}");
        }
    }

    #[test]
    fn what_a_user_namespace_does_not_map_can_neither_be_given_nor_taken() {
        let map = || IdMap(vec![(0, 1), (100, 10)]);
        let rights = root().mapped(map(), map());
        let cases = [
            (owned(0, 0), (0, 0)),
            (owned(100, 109), (100, 109)),
            (owned(99, 110), (0, 0)),
            (owned(65534, 105), (0, 105)),
            (owned(105, 65534), (105, 0)),
        ];
        for (source, expected) in cases {
            assert_eq!(rights.attainable_owner(&source, &owned(0, 0)), expected, "{source:?}");
        }
        assert_eq!(rights.attainable_owner(&owned(0, 0), &owned(65534, 0)), (65534, 0));
        assert!(rights.owns(105) && !rights.owns(110) && !rights.owns(65534));
        let user = Rights::of_user(100, vec![65534, 101]).mapped(map(), map());
        assert!(user.is_in(101) && !user.is_in(65534), "the overflow id is no group");
        assert!(user.knows_user(0) && !user.knows_user(65534));
        assert!(user.knows_group(109) && !user.knows_group(110));
    }

    #[test]
    fn ids_are_mapped_from_the_first_to_the_last_of_a_range() {
        let map = IdMap(vec![(10, 5), (u32::MAX - 1, 1)]);
        for (id, expected) in
            [(9, false), (10, true), (14, true), (15, false), (u32::MAX - 1, true), (u32::MAX, false)]
        {
            assert_eq!(map.has(id), expected, "{id}");
        }
        assert!(IdMap::all().has(0) && IdMap::all().has(u32::MAX - 1) && !IdMap::all().has(u32::MAX));
        assert!(!IdMap(Vec::new()).has(0));
    }

    #[test]
    fn attributes_need_their_own_capability_and_root_sees_what_it_may_not_set() {
        let cases = [
            (Feature::UserXattrs, None),
            (Feature::Acls, None),
            (Feature::Capabilities, Some(Capability::Setfcap)),
            (Feature::SecurityXattrs, Some(Capability::SysAdmin)),
            (Feature::TrustedXattrs, Some(Capability::TrueSysAdmin)),
        ];
        for (feature, needs) in cases {
            let without =
                |user| Rights::of_user(user, vec![]).with(ALL.into_iter().filter(|it| Some(*it) != needs));
            assert_eq!(without(0).may_set(feature), needs.is_none(), "{feature:?}");
            // The kernel does not even show trusted xattrs to a process that may not set them.
            let shown = needs.is_none() || feature != Feature::TrustedXattrs;
            assert_eq!(without(0).looks_at(feature), shown, "{feature:?}");
            assert_eq!(without(5).looks_at(feature), needs.is_none(), "{feature:?}");
            assert!(Rights::of_user(5, vec![]).with(needs).may_set(feature), "{feature:?}");
        }
        assert!(root().has_link_attributes() && !user_in(5).has_link_attributes());
    }

    #[test]
    fn metadata_is_the_owners_to_set_or_of_who_has_the_capability() {
        let user = user_in(5);
        assert_eq!((user.group_but(5), user.group_but(6)), (None, Some(5)));
        assert!(user.owns(1000) && !user.owns(0) && user.is_user(1000) && !user.is_user(0));
        assert!(user.with([Capability::Fowner]).owns(0));
        assert!(!Rights::of_user(0, vec![]).owns(1000), "root by name");
        assert!(Rights::of_user(0, vec![]).expects_owners() && !user_in(5).expects_owners());
        assert!(user_in(5).with([Capability::Chown]).expects_owners());
    }
}
