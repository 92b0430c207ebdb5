//! Probes: temporaries of our own that show whether a filesystem refuses something to every entry, or only to the one that it
//! was refused to; and what it makes of a symbolic link.

use crate::context::Context;
use crate::entry::{Entry, Kind, Timestamp};
use crate::filesystem::Filesystem;
use crate::fs::content::create_private;
use crate::fs::subject::{AccessTime, Subject};
use crate::fs::{Errno, place, stat};
use crate::monitor::Feature;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// Whether a file can be made in a folder, and removed again.
pub(super) fn can_make_files(folder: BorrowedFd<'_>) -> bool {
    let Ok(name) = place::temporary_name() else { return false };
    create_private(folder, &name).is_ok_and(|_| place::remove_file(folder, &name).is_ok())
}

/// Whether an ordinary entry can be made in a folder that needs the same feature as one that was refused: a link that leads to
/// its neighbour, a device node that exists everywhere. Of pipes and whiteouts there is no other one.
pub(super) fn can_make_another(folder: BorrowedFd<'_>, feature: Feature) -> bool {
    let Ok(name) = place::temporary_name() else { return false };
    let (made, kind) = match feature {
        Feature::Symlinks => (place::make_symlink(c"a", folder, &name), Kind::Symlink),
        Feature::Devices => (place::make_device(folder, &name, false, place::null_device()), Kind::CharDevice),
        Feature::Owner
        | Feature::Mode
        | Feature::Mtime
        | Feature::LinkOwner
        | Feature::LinkMtime
        | Feature::HardLinks
        | Feature::Fifos
        | Feature::Whiteouts
        | Feature::UserAttributes
        | Feature::AccessLists
        | Feature::Capabilities
        | Feature::SecurityAttributes
        | Feature::TrustedAttributes => return false,
    };
    let is_one = made.is_ok() && stat::entry_at(folder, &name).is_ok_and(|entry| entry.kind == kind);
    // Also after an error: exfat-fuse makes a file in the place of a link, and says EIO.
    remove(folder, &name);
    is_one
}

/// What stays is an extra, which the next pass removes.
fn remove(folder: BorrowedFd<'_>, name: &CStr) {
    match place::remove_file(folder, name) {
        Ok(()) | Err(_) => {}
    }
}

/// Finds out what a symbolic link takes on a filesystem where that is not known: on a link to a private temporary, so that
/// nobody else is reached by what is set through it. What the link does not take, or something else gets, counts as
/// missing for links from then on.
///
/// # Errors
/// The link or the file could not be made or looked at: then nothing may be set on any link.
pub(super) fn learn_links(
    context: &Context<'_>,
    filesystem: &Filesystem,
    folder: BorrowedFd<'_>,
) -> Result<(), Errno> {
    if filesystem.has_sound_links() {
        return Ok(());
    }
    let (file, link) = (place::temporary_name()?, place::temporary_name()?);
    drop(create_private(folder, &file)?);
    let made = place::make_symlink(&file, folder, &link);
    let learned = made.and_then(|()| {
        let probe = Probe { context, filesystem, folder, file: &file, link: &link };
        let learned = probe.learn();
        remove(folder, &link);
        learned
    });
    remove(folder, &file);
    learned
}

/// A link and what it leads to.
struct Probe<'a> {
    context: &'a Context<'a>,
    filesystem: &'a Filesystem,
    folder: BorrowedFd<'a>,
    file: &'a CStr,
    link: &'a CStr,
}

impl Probe<'_> {
    fn learn(&self) -> Result<(), Errno> {
        let takes_labels = self.takes_attributes(c"security.file-sync");
        let takes = [
            (Feature::Mtime, self.takes_time()?),
            (Feature::Owner, self.takes_owner()?),
            (Feature::TrustedAttributes, self.takes_attributes(c"trusted.file-sync")),
            (Feature::SecurityAttributes, takes_labels),
            (Feature::Capabilities, takes_labels),
        ];
        for (feature, _) in takes.iter().filter(|(_, takes)| !takes) {
            self.filesystem.learn_missing_for(Kind::Symlink, *feature);
        }
        self.filesystem.learn_sound_links();
        Ok(())
    }

    fn subject(&self) -> Subject<'_> {
        Subject::Named(self.folder, self.link)
    }

    /// The file and the link as the filesystem shows them now, not as the kernel remembers them.
    fn look(&self) -> Result<(Entry, Entry), Errno> {
        let file = stat::entry_asked_again(self.folder, self.file)?;
        let link = stat::entry_asked_again(self.folder, self.link)?;
        Ok((file, link))
    }

    /// Whether a link takes a time of its own.
    fn takes_time(&self) -> Result<bool, Errno> {
        // Even, since some filesystems know no odd seconds.
        const WANTED: Timestamp = Timestamp { seconds: 1_000_000_000, nanoseconds: 0 };
        let (before, _) = self.look()?;
        // One time alone may be dropped.
        let set = self.subject().set_mtime(WANTED, AccessTime::SetAgain);
        let (file, link) = self.look()?;
        Ok(set.is_ok() && link.kind == Kind::Symlink && link.mtime == WANTED && file.mtime == before.mtime)
    }

    /// Whether a link takes an owner of its own. Not where there is no other one to try: an ordinary user of one group
    /// only.
    fn takes_owner(&self) -> Result<bool, Errno> {
        const SOMEBODY: (u32, u32) = (1, 1);
        let (before, link) = self.look()?;
        let wanted = Entry { uid: SOMEBODY.0, gid: SOMEBODY.1, ..link };
        let mut owner = self.context.rights.attainable_owner(&wanted, &link);
        if owner == (link.uid, link.gid) {
            let Some(group) = self.context.rights.group_but(link.gid) else { return Ok(false) };
            owner = (link.uid, group);
        }
        let set = self.subject().set_owner(owner.0, owner.1);
        let (file, link) = self.look()?;
        let is_unmoved = (file.uid, file.gid) == (before.uid, before.gid);
        Ok(set.is_ok() && link.kind == Kind::Symlink && (link.uid, link.gid) == owner && is_unmoved)
    }

    /// Whether a link takes an extended attribute of its own.
    fn takes_attributes(&self, name: &CStr) -> bool {
        let has = |name_in: &CStr| Subject::Named(self.folder, name_in).has_attribute(name);
        self.subject().set_attribute(name, b"1").is_ok() && has(self.link) == Ok(true) && has(self.file) == Ok(false)
    }
}
