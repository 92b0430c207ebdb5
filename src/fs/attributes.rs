//! Extended attributes as a sorted set, and which of them are mirrored.

use crate::fs::subject::Subject;
use crate::monitor::Feature;
use rustix::io::Errno;
use std::cell::RefCell;
use std::ffi::{CStr, CString};

/// The kernel's limit for a list of names and for one value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`; xattr(7)).
const LARGEST: usize = 64 << 10;

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
            let length = subject.list_attributes(names)?;
            let mut found = Vec::new();
            let listed = names.get(..length).unwrap_or_default();
            for name in listed.split_inclusive(|byte| *byte == 0) {
                let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
                if namespace(name, privileged).is_none() {
                    continue;
                }
                match subject.attribute(name, value) {
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

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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
    } else if name == b"system.posix_acl_access" || name == b"system.posix_acl_default" {
        Some(Feature::AccessLists)
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
    name.starts_with(b"security.") && name != b"security.capability"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_user_may_set_is_mirrored() {
        let cases = [
            (c"user.comment", Some(Feature::UserAttributes), Some(Feature::UserAttributes)),
            (c"system.posix_acl_access", Some(Feature::AccessLists), Some(Feature::AccessLists)),
            (c"system.posix_acl_default", Some(Feature::AccessLists), Some(Feature::AccessLists)),
            (c"system.nfs4_acl", None, None),
            (c"security.capability", None, Some(Feature::SecurityAttributes)),
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
