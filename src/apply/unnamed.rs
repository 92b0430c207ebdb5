//! New files are created with `O_TMPFILE` and linked when complete: one directory update instead of two, which is what the
//! workers wait for in a large folder, and nothing is left after a crash.
//!
//! Only for what is new: an unnamed file cannot take the place of another one (`linkat(2)`). Only where it was measured
//! to be quicker, see [`Filesystem::takes_unnamed_files`](crate::capabilities::Filesystem::takes_unnamed_files).

use crate::apply::Apply;
use crate::apply::copy::Original;
use crate::apply::error::Failed;
use crate::apply::publish::Destination;
use crate::apply::staged::{Fsync, Published};
use crate::fs::file::create_unnamed;
use crate::fs::{Errno, dirent, is_unsupported};
use crate::model::entry::{Entry, Kind};
use crate::model::problem_kind::ProblemKind;
use std::os::fd::AsFd;

/// Whether a file is made without a temporary name. Not one that has several names in the source: it may be written to the
/// disk by itself before the folder is, and is not worth the question whether every journal bears that.
pub(super) fn may_be_unnamed(at: Destination<'_>, entry: &Entry) -> bool {
    let is_new_file = entry.kind == Kind::File && at.expected.is_none();
    is_new_file && entry.links <= 1 && at.filesystem.takes_unnamed_files()
}

impl Apply<'_> {
    /// Makes a new file without a temporary name; none where it did not come into being, or was refused its name.
    pub(super) fn make_unnamed(
        &self,
        at: Destination<'_>,
        entry: &Entry,
    ) -> Result<Option<Published>, Failed> {
        let original = Original::open(self.context, at, entry)?;
        // Whatever the reason, it is told when it keeps the file from being made in the usual way as well.
        let Ok(file) = create_unnamed(at.replica) else { return Ok(None) };
        let (made, _) = original.copy_into(self.context, at, file.as_fd(), Fsync::Grouped)?;
        self.has_room_for(&made)?;
        match dirent::name_file(file.as_fd(), at.replica, at.name) {
            Ok(()) => Ok(Some(made)),
            Err(Errno::EXIST) => Err(Failed::Taken),
            // Copied for nothing.
            Err(errno) if is_unsupported(errno) || is_refusal(errno) => Ok(None),
            Err(errno) => Err(Failed::replica(ProblemKind::Publish)(errno)),
        }
    }
}

/// Whether an error may say that an unnamed file gets no name here: not without `/proc`, not across whatever lies above the
/// filesystem, not by this user.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::XDEV | Errno::MLINK)
}
