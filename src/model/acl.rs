//! POSIX ACLs (acl(5)) in the kernel's binary form, and the permission bits and ACL of a copy. Pure.
//!
//! A copy that cannot have the group of its source must not grant its own group the rights of that one, nor grant the
//! members of that one, who count as others now, rights that were denied to them. So both classes get only the rights
//! that both had.

/// The bits of the owning group, which are the mask where there is an ACL.
pub(crate) const GROUP: u16 = 0o070;

/// The bits of others.
pub(crate) const OTHERS: u16 = 0o007;

/// The ACL of an entry, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum AccessList {
    /// It has no ACL: the mode alone decides.
    #[default]
    None,
    /// It has this ACL.
    Known(Vec<u8>),
    /// It may have an ACL, which could not be read.
    Unknown,
}

/// Whether the copy has the group of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// It has the same group.
    Same,
    /// It has another group.
    Other,
}

/// The rights that a copy grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Permission bits.
    pub mode: u16,
    /// Its ACL.
    pub list: AccessList,
}

impl Access {
    /// The access of a copy of an entry with this mode and ACL.
    pub(crate) fn due(mode: u16, list: &AccessList, group: Group) -> Access {
        match (list, group) {
            (AccessList::None | AccessList::Known(_) | AccessList::Unknown, Group::Same) => {
                Access { mode, list: list.clone() }
            }
            (AccessList::None, Group::Other) => {
                let both = mode >> 3 & mode & OTHERS;
                Access { mode: mode & !(GROUP | OTHERS) | both << 3 | both, list: AccessList::None }
            }
            (AccessList::Known(list), Group::Other) => match for_another_group(list) {
                Some((list, others)) => {
                    let both = group_bits(&list) << 3 | others;
                    Access { mode: mode & (!(GROUP | OTHERS) | both), list: AccessList::Known(list) }
                }
                None => Access { mode: mode & !(GROUP | OTHERS), list: AccessList::Unknown },
            },
            (AccessList::Unknown, Group::Other) => {
                Access { mode: mode & !(GROUP | OTHERS), list: AccessList::Unknown }
            }
        }
    }
}

// A version, then entries of tag, permissions, id; little-endian (linux/posix_acl_xattr.h).
const HEADER: usize = 4;
const ENTRY: usize = 8;
const OWNER: u16 = 0x01;
const OWNING_GROUP: u16 = 0x04;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The tag and the permissions of every entry.
fn entries(list: &[u8]) -> impl Iterator<Item = (u16, u16)> {
    let entries = list.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY);
    entries.filter_map(|entry| {
        let (tag, rest) = entry.split_first_chunk()?;
        Some((u16::from_le_bytes(*tag), u16::from_le_bytes(*rest.first_chunk()?) & OTHERS))
    })
}

fn permissions(list: &[u8], wanted: u16) -> Option<u16> {
    entries(list).find(|(tag, _)| *tag == wanted).map(|(_, bits)| bits)
}

/// The ACL with other permissions in some of its entries.
fn changed(list: &[u8], change: impl Fn(u16) -> Option<u16>) -> Vec<u8> {
    let mut out = list.to_vec();
    for entry in out.get_mut(HEADER..).unwrap_or_default().chunks_exact_mut(ENTRY) {
        if let Some((tag, rest)) = entry.split_first_chunk_mut()
            && let Some(bits) = change(u16::from_le_bytes(*tag))
            && let Some(place) = rest.first_chunk_mut()
        {
            *place = bits.to_le_bytes();
        }
    }
    out
}

/// The group bits of the mode of an entry with this ACL.
fn group_bits(list: &[u8]) -> u16 {
    permissions(list, MASK).or_else(|| permissions(list, OWNING_GROUP)).unwrap_or(0)
}

/// The ACL for a copy with another group, and the bits of others; none for invalid bytes.
///
/// A member of a named group may be in the new owning group, too, and a member of several groups has the rights of
/// each: so the owning group gets no more than every named group and others have.
fn for_another_group(list: &[u8]) -> Option<(Vec<u8>, u16)> {
    let (group, others) = (permissions(list, OWNING_GROUP)?, permissions(list, OTHER)?);
    let named = entries(list).filter(|(tag, _)| *tag == NAMED_GROUP).map(|(_, bits)| bits);
    let group_now = named.fold(group & others, |least, bits| least & bits);
    let others_now = others & group & permissions(list, MASK).unwrap_or(OTHERS);
    let list = changed(list, |tag| match tag {
        OWNING_GROUP => Some(group_now),
        OTHER => Some(others_now),
        _ => None,
    });
    Some((list, others_now))
}

/// The ACL for an entry of this mode with an empty mask: it is kept, and grants nothing.
pub(crate) fn masked(list: &[u8], mode: u16) -> Vec<u8> {
    let is_masked = permissions(list, MASK).is_some();
    changed(list, |tag| match tag {
        OWNER => Some(mode >> 6 & OTHERS),
        OTHER => Some(mode & OTHERS),
        MASK => Some(0),
        OWNING_GROUP if !is_masked => Some(0),
        _ => None,
    })
}

/// The permission bits of an entry with this ACL, where the ACL itself cannot be held.
///
/// With an ACL the group bits of the mode are its mask, the most that anyone named in it may do. Without it they would
/// be the rights of the owning group, which may be fewer: so they become exactly those.
pub(crate) fn mode_without_list(mode: u16, list: &[u8]) -> u16 {
    let group = permissions(list, OWNING_GROUP).unwrap_or(0) & permissions(list, MASK).unwrap_or(0o7);
    mode & !GROUP | group << 3
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Entries of tag, permissions and id as an ACL.
    pub(crate) fn list_of(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut out = 2u32.to_le_bytes().to_vec();
        for (tag, bits, id) in entries {
            out.extend(tag.to_le_bytes());
            out.extend(bits.to_le_bytes());
            out.extend(id.to_le_bytes());
        }
        out
    }

    const NOBODY: u32 = u32::MAX;

    #[test]
    fn a_mask_does_not_become_the_right_of_the_group() {
        let list = |group: u16, mask: u16| {
            list_of(&[
                (1, 6, NOBODY),
                (2, 6, 1234),
                (4, group, NOBODY),
                (0x10, mask, NOBODY),
                (0x20, 4, NOBODY),
            ])
        };
        assert_eq!(mode_without_list(0o664, &list(0, 6)), 0o604);
        assert_eq!(mode_without_list(0o664, &list(4, 6)), 0o644);
        assert_eq!(mode_without_list(0o644, &list(7, 4)), 0o644);
        assert_eq!(mode_without_list(0o6664, b"nonsense"), 0o6604);
    }

    #[test]
    fn a_copy_of_the_same_group_has_the_access_of_its_source() {
        for list in [AccessList::None, AccessList::Unknown, AccessList::Known(list_of(&[(4, 6, NOBODY)]))] {
            assert_eq!(Access::due(0o6754, &list, Group::Same), Access { mode: 0o6754, list });
        }
    }

    #[test]
    fn without_its_group_a_copy_gives_group_and_others_what_both_had() {
        let cases = [
            (0o640, 0o600),
            (0o644, 0o644),
            (0o664, 0o644),
            (0o660, 0o600),
            (0o755, 0o755),
            (0o2775, 0o2755),
            (0o750, 0o700),
            // Denied to the group, whose members count as others in the copy.
            (0o604, 0o600),
            (0o705, 0o700),
            (0o6711, 0o6711),
        ];
        for (mode, expected) in cases {
            let due = Access::due(mode, &AccessList::None, Group::Other);
            assert_eq!(due, Access { mode: expected, list: AccessList::None }, "{mode:o}");
            let due = Access::due(mode, &AccessList::Unknown, Group::Other);
            assert_eq!(due, Access { mode: mode & 0o7700, list: AccessList::Unknown }, "{mode:o}");
        }
        let nonsense = AccessList::Known(b"nonsense".to_vec());
        let due = Access::due(0o664, &nonsense, Group::Other);
        assert_eq!(due, Access { mode: 0o600, list: AccessList::Unknown });
    }

    /// The owning group and two named ones, and the rights of a member of some of them (acl(5)): with several, the
    /// rights of each. One bit is enough: the three are independent.
    #[derive(Clone, Copy, Debug)]
    struct Model {
        owning: u16,
        named: [Option<u16>; 2],
        mask: Option<u16>,
        others: u16,
    }

    impl Model {
        fn list(self) -> Vec<u8> {
            let mut entries = vec![(1, 7, NOBODY), (4, self.owning, NOBODY)];
            let named = self.named.into_iter().enumerate();
            entries.extend(named.filter_map(|(number, bits)| Some((8, bits?, 100 + number as u32))));
            entries.extend(self.mask.map(|bits| (0x10, bits, NOBODY)));
            entries.push((0x20, self.others, NOBODY));
            list_of(&entries)
        }

        fn of(list: &[u8]) -> Model {
            let named = |id: u8| {
                let mut entries = list[4..].chunks_exact(8).filter(|entry| entry[0] == 8);
                entries.find(|entry| entry[4] == id).map(|entry| u16::from(entry[2]))
            };
            Model {
                owning: permissions(list, 4).unwrap(),
                named: [named(100), named(101)],
                mask: permissions(list, 0x10),
                others: permissions(list, 0x20).unwrap(),
            }
        }

        fn may(self, is_in_owning: bool, is_in_named: [bool; 2]) -> u16 {
            let mask = self.mask.unwrap_or(7);
            let named = self.named.into_iter().zip(is_in_named);
            let named = named.filter_map(|(bits, is_in)| bits.filter(|_| is_in));
            let mut all = is_in_owning.then_some(self.owning).into_iter().chain(named).peekable();
            if all.peek().is_none() { self.others } else { all.fold(0, |sum, bits| sum | bits) & mask }
        }
    }

    #[test]
    fn nobody_may_do_more_with_a_copy_of_another_group_than_with_its_source() {
        let bits = [0, 4];
        let some = [None, Some(0), Some(4)];
        for (owning, others) in bits.into_iter().flat_map(|owning| bits.map(|others| (owning, others))) {
            for (one, two, mask) in some
                .into_iter()
                .flat_map(|one| some.map(|two| (one, two)))
                .flat_map(|(one, two)| some.map(|mask| (one, two, mask)))
            {
                // An ACL without named entries equals the mode, and needs no mask.
                let model = Model { owning, named: [one, two], mask, others };
                if mask.is_none() && (one.is_some() || two.is_some()) {
                    continue;
                }
                let list = model.list();
                let mode = 0o600 | group_bits(&list) << 3 | others;
                let due = Access::due(mode, &AccessList::Known(list), Group::Other);
                let AccessList::Known(list) = due.list else { panic!("{model:?}") };
                let copy = Model::of(&list);
                assert_eq!(due.mode & 7, copy.others, "{model:?}");
                assert_eq!(due.mode >> 3 & 7, group_bits(&list), "{model:?}");
                assert_eq!(due.mode >> 6, 6, "{model:?}");
                for who in 0..16 {
                    let [in_old, in_new, in_one, in_two] = [1, 2, 4, 8].map(|bit| who & bit != 0);
                    let (before, now) =
                        (model.may(in_old, [in_one, in_two]), copy.may(in_new, [in_one, in_two]));
                    assert_eq!(now & !before, 0, "{model:?} as {copy:?} allows {who:04b} more");
                }
            }
        }
    }

    #[test]
    fn a_masked_list_grants_nothing_beyond_the_mode_and_names_everybody_still() {
        for mask in [None, Some(7)] {
            let model = Model { owning: 6, named: [Some(6), None], mask, others: 4 };
            let masked = masked(&model.list(), 0o640);
            let copy = Model::of(&masked);
            assert_eq!((group_bits(&masked), permissions(&masked, OWNER), copy.others), (0, Some(6), 0));
            assert_eq!(copy.named, model.named);
            assert_eq!(mode_without_list(0o770, &masked), 0o700);
        }
        assert_eq!(masked(b"x", 0o777), b"x");
    }
}
