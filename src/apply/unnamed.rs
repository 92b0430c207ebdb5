//! New files that have no name until they are whole (`O_TMPFILE`): one change of the folder instead of two, which is what
//! the workers wait for in a large folder, and nothing is left behind whatever ends the pass.
//!
//! Only for what is new: an unnamed file cannot take the place of another one (`linkat(2)`). Only where it was measured
//! to be quicker, see [`Filesystem::takes_unnamed_files`](crate::filesystem::Filesystem::takes_unnamed_files).

use crate::apply::Apply;
use crate::apply::copy::{Made, Original, Sync};
use crate::apply::failed::Failed;
use crate::apply::publish::Destination;
use crate::entry::{Entry, Kind};
use crate::fs::content::create_unnamed;
use crate::fs::{Errno, is_unsupported, place};
use std::os::fd::AsFd;

impl Apply<'_> {
    /// Makes a new file without a temporary name; none where it has to be made with one.
    pub(super) fn make_unnamed(&self, at: Destination<'_>, entry: &Entry) -> Result<Option<Made>, Failed> {
        let is_new_file = entry.kind == Kind::File && at.expected.is_none();
        if !is_new_file || !at.filesystem.takes_unnamed_files() {
            return Ok(None);
        }
        let original = Original::open(self.context, at, entry)?;
        let file = match create_unnamed(at.replica) {
            Ok(file) => file,
            Err(errno) => {
                // EISDIR, EINVAL: open(2) for kernels and filesystems that do not know it. Any other reason is told when
                // it keeps the file from being made in the usual way as well.
                if is_unsupported(errno) || matches!(errno, Errno::ISDIR | Errno::INVAL) {
                    at.filesystem.learn_no_unnamed_files();
                }
                return Ok(None);
            }
        };
        let (made, _) = original.copy_into(self.context, at, file.as_fd(), Sync::Later)?;
        self.has_room_for(&made)?;
        match place::name_file(file.as_fd(), at.replica, at.name) {
            Ok(()) => Ok(Some(made)),
            Err(Errno::EXIST) => Err(Failed::Taken),
            // Copied for nothing; once is enough.
            Err(errno) if is_unsupported(errno) || is_refusal(errno) => {
                at.filesystem.learn_no_unnamed_files();
                Ok(None)
            }
            Err(errno) => Err(Failed::replica("put it in its place")(errno)),
        }
    }
}

/// Whether an error says that an unnamed file gets no name here: not without `/proc`, not across whatever lies above the
/// filesystem, not by this user.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::XDEV | Errno::MLINK)
}
