//! Extended attributes as a sorted set, and which of them are mirrored.

use crate::fs::subject::Subject;
use crate::monitor::Feature;
use rustix::io::Errno;
use std::cell::RefCell;
use std::ffi::{CStr, CString};

/// The kernel's limit for a list of names and for one value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`; xattr(7)).
const LARGEST: usize = 64 << 10;

/// Nearly always enough. The kernel makes a buffer of the size it is asked for: asking for the largest one at once took
/// a fifth of a pass over a million unchanged small files.
const USUAL: usize = 512;

/// Calls with a part of the buffer, and with all of it where that is too small.
fn with_as_much_as_needed(
    buffer: &mut [u8],
    mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    match call(buffer.get_mut(..USUAL).unwrap_or_default()) {
        Err(Errno::RANGE | Errno::TOOBIG) => call(buffer),
        // A server that fills the room instead of saying that there is too little would pass unnoticed.
        Ok(length) if length >= USUAL => call(buffer),
        called => called,
    }
}

thread_local! {
    /// One buffer for names and one for a value, so that a file without attributes costs no allocation.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::new((vec![0; LARGEST], vec![0; LARGEST]));
}

/// Names and values, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(CString, Vec<u8>)>);

impl Attributes {
    /// Reads the attributes of `subject` that are mirrored.
    ///
    /// # Errors
    /// As `listxattr(2)` and `getxattr(2)`; [`crate::fs::is_unsupported`] where the filesystem has none.
    pub fn read(subject: Subject<'_>, privileged: bool) -> Result<Attributes, Errno> {
        BUFFERS.with_borrow_mut(|(names, value)| {
            let length = with_as_much_as_needed(names, |names| subject.list_attributes(names))?;
            let mut found = Vec::new();
            let listed = names.get(..length).unwrap_or_default();
            for name in listed.split_inclusive(|byte| *byte == 0) {
                let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
                if namespace(name, privileged).is_none() {
                    continue;
                }
                match with_as_much_as_needed(value, |value| subject.attribute(name, value)) {
                    Ok(length) => {
                        found.push((name.to_owned(), value.get(..length).unwrap_or_default().to_vec()));
                    }
                    // Removed since it was listed.
                    Err(Errno::NODATA) => {}
                    Err(errno) => return Err(errno),
                }
            }
            found.sort_unstable();
            Ok(Attributes(found))
        })
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&CStr, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_c_str(), value.as_slice()))
    }

    /// The value of one attribute.
    pub fn get(&self, name: &CStr) -> Option<&[u8]> {
        let at = self.0.binary_search_by(|(other, _)| other.as_c_str().cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value.as_slice())
    }
}

/// The attribute that holds a POSIX access list (acl(5)).
pub const ACCESS_LIST: &CStr = c"system.posix_acl_access";

/// The attribute that holds the capabilities of a program (capabilities(7)).
pub const CAPABILITY: &CStr = c"security.capability";

/// The permission bits of an entry with this access list, where the list itself cannot be held.
///
/// With a list, the group bits of the mode are the list's mask, the most that anyone named in it may do. Without the
/// list they would be what the owning group may do, which can be less: so they become just that.
pub fn mode_without_list(mode: u16, list: &[u8]) -> u16 {
    // A version, then entries of tag, permissions, id; little-endian (linux/posix_acl_xattr.h).
    const HEADER: usize = 4;
    const ENTRY: usize = 8;
    const OWNING_GROUP: u16 = 0x04;
    const MASK: u16 = 0x10;
    let permissions = |wanted: u16| {
        list.get(HEADER..)?.chunks_exact(ENTRY).find_map(|entry| {
            let tag = u16::from_le_bytes([*entry.first()?, *entry.get(1)?]);
            let bits = u16::from_le_bytes([*entry.get(2)?, *entry.get(3)?]);
            (tag == wanted).then_some(bits & 0o7)
        })
    };
    let group = permissions(OWNING_GROUP).unwrap_or(0) & permissions(MASK).unwrap_or(0o7);
    mode & !0o070 | group << 3
}

/// The feature that a mirrored attribute belongs to; none for attributes that are not mirrored.
///
/// `security.*` and `trusted.*` belong to root. Of `system.*` only the access control lists are data; the rest is a
/// filesystem's own view of itself. XFS shows root each access control list a second time, under the name that it
/// has on the disk: to remove that name, because the source lacks it, would be to remove the list.
pub fn namespace(name: &CStr, privileged: bool) -> Option<Feature> {
    let name = name.to_bytes();
    if name.starts_with(b"user.") {
        Some(Feature::UserAttributes)
    } else if name == ACCESS_LIST.to_bytes() || name == b"system.posix_acl_default" {
        Some(Feature::AccessLists)
    } else if privileged && name == CAPABILITY.to_bytes() {
        Some(Feature::Capabilities)
    } else if privileged && name.starts_with(b"security.") {
        Some(Feature::SecurityAttributes)
    } else if privileged && name.starts_with(b"trusted.") && !name.starts_with(b"trusted.SGI_ACL_") {
        Some(Feature::TrustedAttributes)
    } else {
        None
    }
}

/// True for attributes that the system itself puts on every new file (security labels, integrity hashes): having them
/// on the replica alone is no difference.
pub fn is_system_made(name: &CStr) -> bool {
    let name = name.to_bytes();
    name.starts_with(b"security.") && name != CAPABILITY.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_does_not_become_the_right_of_the_group() {
        // user::rw- user:1234:rw- group::GROUP mask::MASK other::r--
        let list = |group: u8, mask: u8| {
            let mut list = vec![2, 0, 0, 0];
            for (tag, bits) in [(0x01, 6), (0x02, 6), (0x04, group), (0x10, mask), (0x20, 4)] {
                list.extend([tag, 0, bits, 0, 0xff, 0xff, 0xff, 0xff]);
            }
            list
        };
        assert_eq!(mode_without_list(0o664, &list(0, 6)), 0o604);
        assert_eq!(mode_without_list(0o664, &list(4, 6)), 0o644);
        assert_eq!(mode_without_list(0o644, &list(7, 4)), 0o644);
        assert_eq!(mode_without_list(0o6664, b"nonsense"), 0o6604);
    }

    #[test]
    fn what_is_longer_than_usual_is_asked_for_again_with_all_the_room_there_is() {
        for (length, expected) in [
            (0, vec![USUAL]),
            (USUAL - 1, vec![USUAL]),
            (USUAL, vec![USUAL, LARGEST]),
            (USUAL + 1, vec![USUAL, LARGEST]),
            (LARGEST, vec![USUAL, LARGEST]),
        ] {
            let mut sizes = Vec::new();
            let mut buffer = vec![0; LARGEST];
            let read = with_as_much_as_needed(&mut buffer, |room| {
                sizes.push(room.len());
                room.get_mut(..length).ok_or(Errno::RANGE)?.fill(1);
                Ok(length)
            });
            assert_eq!(read, Ok(length));
            assert_eq!(sizes, expected, "{length} bytes");
            assert_eq!(buffer.iter().filter(|byte| **byte == 1).count(), length);
        }
        for errno in [Errno::RANGE, Errno::TOOBIG, Errno::IO] {
            assert_eq!(with_as_much_as_needed(&mut [0; LARGEST], |_| Err(errno)), Err(errno));
        }
    }

    #[test]
    fn only_what_this_user_may_set_is_mirrored() {
        let cases = [
            (c"user.comment", Some(Feature::UserAttributes), Some(Feature::UserAttributes)),
            (c"system.posix_acl_access", Some(Feature::AccessLists), Some(Feature::AccessLists)),
            (c"system.posix_acl_default", Some(Feature::AccessLists), Some(Feature::AccessLists)),
            (c"system.nfs4_acl", None, None),
            (c"security.capability", None, Some(Feature::Capabilities)),
            (c"security.selinux", None, Some(Feature::SecurityAttributes)),
            (c"trusted.overlay.opaque", None, Some(Feature::TrustedAttributes)),
            (c"trusted.SGI_ACL_FILE", None, None),
            (c"trusted.SGI_ACL_DEFAULT", None, None),
            (c"btrfs.compression", None, None),
        ];
        for (name, as_user, as_root) in cases {
            assert_eq!(namespace(name, false), as_user, "{name:?} as a user");
            assert_eq!(namespace(name, true), as_root, "{name:?} as root");
        }
    }
}
