//! New files that have no name until they are whole (`O_TMPFILE`): one change of the folder instead of two, which is what
//! the workers wait for in a large folder, and nothing is left behind whatever ends the pass.
//!
//! Only for what is new: an unnamed file cannot take the place of another one (`linkat(2)`). Only where it was measured
//! to be quicker, see [`Filesystem::takes_unnamed_files`](crate::filesystem::Filesystem::takes_unnamed_files).

use crate::apply::Apply;
use crate::apply::copy::{Made, Sync};
use crate::apply::failed::Failed;
use crate::apply::original::Original;
use crate::apply::publish::Destination;
use crate::entry::{Entry, Kind};
use crate::fs::content::create_unnamed;
use crate::fs::{Errno, is_unsupported, place};
use std::os::fd::AsFd;

/// Why a file has to be made with a temporary name.
pub(super) enum Named {
    /// That is how such files are made here.
    AsUsual,
    /// Without one it was refused its own, which may be the way of the filesystem.
    Refused,
}

impl Apply<'_> {
    /// Makes a new file without a temporary name, where that is possible. Not one that has several names in the source:
    /// it may be written to the disk by itself before the folder is, and is not worth the question whether every journal
    /// bears that.
    pub(super) fn make_unnamed(
        &self,
        at: Destination<'_>,
        entry: &Entry,
    ) -> Result<Result<Made, Named>, Failed> {
        let is_new_file = entry.kind == Kind::File && entry.links <= 1 && at.expected.is_none();
        if !is_new_file || !at.filesystem.takes_unnamed_files() {
            return Ok(Err(Named::AsUsual));
        }
        let original = Original::open(self.context, at, entry)?;
        let file = match create_unnamed(at.replica) {
            Ok(file) => file,
            // EISDIR, EINVAL: open(2) for kernels and filesystems that do not know it. Any other reason is told when it
            // keeps the file from being made in the usual way as well.
            Err(errno) => {
                let is_refused = is_unsupported(errno) || matches!(errno, Errno::ISDIR | Errno::INVAL);
                return Ok(Err(if is_refused { Named::Refused } else { Named::AsUsual }));
            }
        };
        let (made, _) = original.copy_into(self.context, at, file.as_fd(), Sync::Later)?;
        self.has_room_for(&made)?;
        match place::name_file(file.as_fd(), at.replica, at.name) {
            Ok(()) => Ok(Ok(made)),
            Err(Errno::EXIST) => Err(Failed::Taken),
            // Copied for nothing.
            Err(errno) if is_unsupported(errno) || is_refusal(errno) => Ok(Err(Named::Refused)),
            Err(errno) => Err(Failed::replica("put it in its place")(errno)),
        }
    }
}

/// Whether an error may say that an unnamed file gets no name here: not without `/proc`, not across whatever lies above the
/// filesystem, not by this user.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::XDEV | Errno::MLINK)
}
