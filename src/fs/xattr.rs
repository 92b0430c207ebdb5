//! Extended attributes (xattrs) as a sorted set, and the choice of those that are mirrored.

use crate::fs::is_gone;
use crate::fs::metadata::Subject;
use crate::model::acl::AccessList;
use crate::model::entry::Kind;
use crate::model::feature::Feature;
use crate::model::rights::Rights;
use rustix::io::Errno;
use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CStr, CString};

/// The kernel's limit for a list of names and for one value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`; xattr(7)).
const LARGEST: usize = 64 << 10;

/// Nearly always enough. The kernel allocates a buffer of the requested size: requesting the largest one at once took a
/// fifth of a pass over a million unchanged small files.
const USUAL: usize = 512;

/// Calls with a part of the buffer, and again with all of it where that is too small.
fn with_as_much_as_needed(
    buffer: &mut [u8],
    mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    match call(buffer.get_mut(..USUAL).unwrap_or_default()) {
        Err(Errno::RANGE | Errno::TOOBIG) => call(buffer),
        // Also where the part is full: a server may fill it instead of returning ERANGE.
        Ok(length) if length >= USUAL => call(buffer),
        called => called,
    }
}

thread_local! {
    /// One buffer for names and one for a value, so that a file without xattrs costs no allocation.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::new((vec![0; LARGEST], vec![0; LARGEST]));
}

/// The mirrored xattrs of an entry, sorted by name: those that were read, and those that were listed and could not be
/// read. The latter are not absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    found: Vec<(CString, Vec<u8>)>,
    unread: Vec<(CString, Errno)>,
}

impl Attributes {
    /// Whether there is none, readable or not.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.unread.is_empty()
    }

    /// Reads those xattrs of `subject` that matter with these rights.
    ///
    /// # Errors
    /// As `listxattr(2)`; [`crate::fs::is_unsupported`] where the filesystem has none.
    pub(crate) fn read(subject: Subject<'_>, rights: &Rights) -> Result<Attributes, Errno> {
        BUFFERS.with_borrow_mut(|(names, value)| {
            let length = with_as_much_as_needed(names, |names| subject.list_attributes(names))?;
            let mut attributes = Attributes::default();
            let listed = names.get(..length).unwrap_or_default();
            for name in listed.split_inclusive(|byte| *byte == 0) {
                let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
                if !feature_of(name).is_some_and(|feature| rights.looks_at(feature)) {
                    continue;
                }
                match with_as_much_as_needed(value, |value| subject.attribute(name, value)) {
                    Ok(length) => {
                        let value = value.get(..length).unwrap_or_default().to_vec();
                        attributes.found.push((name.to_owned(), value));
                    }
                    Err(errno) => attributes.unread.push((name.to_owned(), errno)),
                }
            }
            if attributes.unread.iter().any(|(_, errno)| *errno == Errno::NODATA) {
                // Removed since it was listed, unless it is still listed.
                let length = with_as_much_as_needed(names, |names| subject.list_attributes(names))?;
                let listed = names.get(..length).unwrap_or_default();
                let is_listed = |name: &CStr| {
                    listed.split_inclusive(|byte| *byte == 0).any(|other| other == name.to_bytes_with_nul())
                };
                attributes.unread.retain(|(name, errno)| *errno != Errno::NODATA || is_listed(name));
            }
            attributes.found.sort_unstable();
            attributes.unread.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            Ok(attributes)
        })
    }

    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CStr, &[u8])> {
        self.found.iter().map(|(name, value)| (name.as_c_str(), value.as_slice()))
    }

    /// The value of one xattr.
    pub(crate) fn get(&self, name: &CStr) -> Option<&[u8]> {
        let at = self.found.binary_search_by(|(other, _)| other.as_c_str().cmp(name)).ok()?;
        self.found.get(at).map(|(_, value)| value.as_slice())
    }

    /// The names of xattrs that exist and could not be read, and the errors.
    pub(crate) fn unread(&self) -> impl Iterator<Item = (&CStr, Errno)> {
        self.unread.iter().map(|(name, errno)| (name.as_c_str(), *errno))
    }

    /// Whether there is an xattr of this name, readable or not.
    pub(crate) fn has(&self, name: &CStr) -> bool {
        self.get(name).is_some() || self.is_unread(name)
    }

    /// Whether there is an xattr of this name that could not be read.
    pub(crate) fn is_unread(&self, name: &CStr) -> bool {
        self.unread.iter().any(|(other, _)| other.as_c_str() == name)
    }

    /// The ACL, as far as it is known.
    pub(crate) fn access_list(&self) -> AccessList {
        match self.get(ACCESS_LIST) {
            Some(list) => AccessList::Known(list.to_vec()),
            None if self.is_unread(ACCESS_LIST) => AccessList::Unknown,
            None => AccessList::None,
        }
    }

    /// The xattrs for a copy that gets this ACL, and gets file capabilities only if its owner is the one they were
    /// granted under. True when capabilities are left out.
    pub(crate) fn adapted(&self, list: &AccessList, keeps_capability: bool) -> (Cow<'_, Attributes>, bool) {
        let has_capability = !keeps_capability && self.get(CAPABILITY).is_some();
        let other_list = match list {
            AccessList::Known(list) => self.get(ACCESS_LIST).filter(|own| own != list).map(|_| list),
            AccessList::None | AccessList::Unknown => None,
        };
        if !has_capability && other_list.is_none() {
            return (Cow::Borrowed(self), false);
        }
        let mut adapted = self.clone();
        adapted.found.retain(|(name, _)| keeps_capability || name.as_c_str() != CAPABILITY);
        for (name, value) in &mut adapted.found {
            if let Some(list) = other_list
                && name.as_c_str() == ACCESS_LIST
            {
                value.clone_from(list);
            }
        }
        (Cow::Owned(adapted), has_capability)
    }
}

/// Whether an error of reading a symbolic link's xattrs, which says that it has gone, is due to its target: a FUSE
/// filesystem may follow the link. The link's own xattrs are unknown then.
pub(crate) fn is_of_target(subject: Subject<'_>, errno: Errno) -> bool {
    is_gone(errno) && subject.entry().is_ok_and(|entry| entry.kind == Kind::Symlink)
}

/// The xattr of a POSIX ACL (acl(5)).
pub(crate) const ACCESS_LIST: &CStr = c"system.posix_acl_access";

/// The xattr of file capabilities (capabilities(7)).
pub(crate) const CAPABILITY: &CStr = c"security.capability";

/// The feature of a mirrored xattr; none for xattrs that are not mirrored.
///
/// Of `system.*` only the ACLs are data; the rest is a filesystem's own view of itself. XFS shows root each ACL a
/// second time, under its on-disk name: removing that name, because the source lacks it, would remove the ACL.
pub(crate) fn feature_of(name: &CStr) -> Option<Feature> {
    let name = name.to_bytes();
    if name.starts_with(b"user.") {
        Some(Feature::UserXattrs)
    } else if name == ACCESS_LIST.to_bytes() || name == b"system.posix_acl_default" {
        Some(Feature::Acls)
    } else if name == CAPABILITY.to_bytes() {
        Some(Feature::Capabilities)
    } else if name.starts_with(b"security.") {
        Some(Feature::SecurityXattrs)
    } else if name.starts_with(b"trusted.") && !name.starts_with(b"trusted.SGI_ACL_") {
        Some(Feature::TrustedXattrs)
    } else {
        None
    }
}

/// Whether an xattr grants rights beside the mode, as ACLs and capabilities do; the rest is data, or a default.
pub(crate) fn gives_rights(name: &CStr) -> bool {
    name == ACCESS_LIST || name == CAPABILITY
}

/// True for xattrs that the system itself puts on every new file (security labels, integrity hashes): having them on
/// the replica alone is no difference.
pub(crate) fn is_system_made(name: &CStr) -> bool {
    let name = name.to_bytes();
    name.starts_with(b"security.") && name != CAPABILITY.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn only_data_and_rights_are_mirrored() {
        let cases = [
            (c"user.comment", Some(Feature::UserXattrs)),
            (c"system.posix_acl_access", Some(Feature::Acls)),
            (c"system.posix_acl_default", Some(Feature::Acls)),
            (c"system.nfs4_acl", None),
            (c"security.capability", Some(Feature::Capabilities)),
            (c"security.selinux", Some(Feature::SecurityXattrs)),
            (c"trusted.overlay.opaque", Some(Feature::TrustedXattrs)),
            (c"trusted.SGI_ACL_FILE", None),
            (c"trusted.SGI_ACL_DEFAULT", None),
            (c"btrfs.compression", None),
        ];
        for (name, feature) in cases {
            assert_eq!(feature_of(name), feature, "{name:?}");
        }
    }

    #[test]
    fn what_is_listed_and_cannot_be_read_is_there() {
        let read = Attributes {
            found: vec![(c"user.a".to_owned(), b"1".to_vec()), (ACCESS_LIST.to_owned(), b"2".to_vec())],
            unread: vec![(c"user.b".to_owned(), Errno::IO)],
        };
        let mut read = read;
        read.found.sort();
        assert!(read.has(c"user.a") && read.has(c"user.b") && !read.has(c"user.c"));
        assert!(!read.is_unread(c"user.a") && read.is_unread(c"user.b") && !read.is_unread(c"user.c"));
        assert_eq!(read.access_list(), AccessList::Known(b"2".to_vec()));
        read.found.retain(|(name, _)| name.as_c_str() != ACCESS_LIST);
        assert_eq!(read.access_list(), AccessList::None);
        read.unread.push((ACCESS_LIST.to_owned(), Errno::OPNOTSUPP));
        assert_eq!(read.access_list(), AccessList::Unknown);
    }

    #[test]
    fn a_copy_gets_the_list_that_is_due_and_capabilities_only_with_their_owner() {
        let found = |list: &[u8], has_capability: bool| {
            let mut found =
                vec![(ACCESS_LIST.to_owned(), list.to_vec()), (c"user.a".to_owned(), b"1".to_vec())];
            found.extend(has_capability.then(|| (CAPABILITY.to_owned(), b"c".to_vec())));
            found.sort();
            Attributes { found, unread: Vec::new() }
        };
        let own = found(b"own", true);
        let due = |list: &[u8]| AccessList::Known(list.to_vec());
        assert!(matches!(own.adapted(&due(b"own"), true), (Cow::Borrowed(_), false)));
        assert!(matches!(own.adapted(&AccessList::Unknown, true), (Cow::Borrowed(_), false)));
        assert_eq!(own.adapted(&due(b"due"), true), (Cow::Owned(found(b"due", true)), false));
        assert_eq!(own.adapted(&due(b"due"), false), (Cow::Owned(found(b"due", false)), true));
        assert_eq!(own.adapted(&AccessList::None, false), (Cow::Owned(found(b"own", false)), true));
        assert!(!found(b"own", false).adapted(&due(b"due"), false).1);
    }
}
