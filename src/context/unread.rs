//! Extended attributes (xattr) that are listed and cannot be read: never taken for absent, and reported once.

use crate::fs::xattr::{ACCESS_LIST, CAPABILITY, gives_rights};
use crate::fs::{Errno, is_unsupported};
use crate::model::error::Side;
use crate::model::problem_kind::ProblemKind;
use std::ffi::CString;

/// An xattr that was listed and could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    /// The tree.
    pub side: Side,
    /// Its name.
    pub name: CString,
    /// The error.
    pub errno: Errno,
}

/// The way to report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// As a notice, once per pass: the filesystem lists a name without a value, perhaps for every file, and nobody can
    /// do anything about it.
    Notice,
    /// As a problem, once per pass: it may be the same for every file, but important data is not mirrored.
    ProblemOnce,
    /// As a problem of this entry.
    Problem,
}

impl Unread {
    /// The way to report it. Rights that cannot be mirrored are a problem whatever the error.
    pub(crate) fn telling(&self) -> Telling {
        let has_no_value = is_unsupported(self.errno) || matches!(self.errno, Errno::INVAL | Errno::NODATA);
        if has_no_value && !gives_rights(&self.name) {
            Telling::Notice
        } else if has_no_value || matches!(self.errno, Errno::PERM | Errno::ACCESS) {
            Telling::ProblemOnce
        } else {
            Telling::Problem
        }
    }

    /// The action that failed, to be read after "Cannot".
    pub(crate) fn kind(&self) -> ProblemKind {
        let name = self.name.as_c_str();
        match self.side {
            Side::Source if name == ACCESS_LIST => ProblemKind::ReadSourceAcl,
            Side::Source if name == CAPABILITY => ProblemKind::ReadSourceCapabilities,
            Side::Source => ProblemKind::ReadSourceXattr,
            Side::Replica if name == ACCESS_LIST => ProblemKind::ReadReplicaAcl,
            Side::Replica if name == CAPABILITY => ProblemKind::ReadReplicaCapabilities,
            Side::Replica => ProblemKind::ReadReplicaXattr,
        }
    }

    /// The consequence, in words.
    pub(crate) fn consequence(&self) -> &'static str {
        match (self.telling(), self.name.as_c_str() == ACCESS_LIST) {
            (Telling::Problem, false) => "that of the replica is kept as it is",
            (Telling::Problem, true) => {
                "that of the replica is kept as it is, and nobody in it may do more than before"
            }
            (Telling::Notice | Telling::ProblemOnce, false) => {
                "that of the replica is kept as it is; no more like it are told in this pass"
            }
            (Telling::Notice | Telling::ProblemOnce, true) => {
                "that of the replica is kept as it is, and nobody in it may do more than before; no more like it are \
                 told in this pass"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn a_name_without_a_value_is_a_notice_unless_it_gives_rights_and_trouble_is_a_problem_of_its_entry() {
        let telling = |name: &CStr, errno| {
            let unread = Unread { side: Side::Source, name: name.to_owned(), errno };
            assert_eq!(unread.consequence().contains("no more"), unread.telling() != Telling::Problem);
            unread.telling()
        };
        for errno in [Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS, Errno::INVAL, Errno::NODATA] {
            assert_eq!(telling(c"user.bad", errno), Telling::Notice, "{errno:?}");
            assert_eq!(telling(c"system.posix_acl_default", errno), Telling::Notice, "{errno:?}");
            assert_eq!(telling(ACCESS_LIST, errno), Telling::ProblemOnce, "{errno:?}");
            assert_eq!(telling(CAPABILITY, errno), Telling::ProblemOnce, "{errno:?}");
        }
        for name in [c"user.bad", ACCESS_LIST, CAPABILITY] {
            for errno in [Errno::PERM, Errno::ACCESS] {
                assert_eq!(telling(name, errno), Telling::ProblemOnce, "{name:?} {errno:?}");
            }
            for errno in [Errno::IO, Errno::NOENT, Errno::STALE, Errno::NOMEM, Errno::TOOBIG, Errno::RANGE] {
                assert_eq!(telling(name, errno), Telling::Problem, "{name:?} {errno:?}");
            }
        }
    }
}
