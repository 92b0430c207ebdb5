//! New files are created with `O_TMPFILE` and linked when complete: one directory update instead of two, which is the
//! bottleneck of the workers in a large folder, and nothing is left after a crash.
//!
//! Only for new files: an unnamed file cannot replace another one (`linkat(2)`). Only where that was measured to be
//! faster, see [`Filesystem::takes_unnamed_files`](crate::capabilities::Filesystem::takes_unnamed_files).

use crate::apply::Apply;
use crate::apply::copy::Original;
use crate::apply::error::Failed;
use crate::apply::staged::Destination;
use crate::apply::staged::{Fsync, Published};
use crate::fs::file::create_unnamed;
use crate::fs::{Errno, dirent, is_unsupported};
use crate::model::entry::{Entry, Kind};
use crate::model::problem_kind::ProblemKind;
use std::os::fd::AsFd;

/// Whether a file is created with O_TMPFILE. Not one with several hard links: it may be fsynced by itself before its
/// folder, and it is not worth relying on every journal to bear that.
pub(super) fn may_be_unnamed(at: Destination<'_>, entry: &Entry) -> bool {
    let is_new_file = entry.kind == Kind::File && at.expected.is_none();
    is_new_file && entry.links <= 1 && at.filesystem.takes_unnamed_files()
}

impl Apply<'_> {
    /// Creates a new file with O_TMPFILE; none where that failed, or the file could not be linked.
    pub(super) fn make_unnamed(
        &self,
        at: Destination<'_>,
        entry: &Entry,
    ) -> Result<Option<Published>, Failed> {
        let original = Original::open(self.context, at, entry)?;
        // Any error is ignored here: it is reported if it also keeps a named temporary from being created.
        let Ok(file) = create_unnamed(at.replica) else { return Ok(None) };
        let (made, _) = original.copy_into(self.context, at, file.as_fd(), Fsync::Grouped)?;
        self.has_room_for(&made)?;
        match dirent::name_file(file.as_fd(), at.replica, at.name) {
            Ok(()) => Ok(Some(made)),
            Err(Errno::EXIST) => Err(Failed::Taken),
            // The copy was in vain.
            Err(errno) if is_unsupported(errno) || is_refusal(errno) => Ok(None),
            Err(errno) => Err(Failed::replica(ProblemKind::Publish)(errno)),
        }
    }
}

/// Whether an error may say that an unnamed file cannot be linked here: `/proc` is missing, a layer above the
/// filesystem refuses, or this user may not.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::XDEV | Errno::MLINK)
}
