//! Probes: temporaries of our own that show whether a filesystem refuses something to every entry or only to one, and
//! how it treats a symbolic link.

use crate::capabilities::Filesystem;
use crate::context::Context;
use crate::fs::file::create_private;
use crate::fs::metadata::{AccessTime, Subject};
use crate::fs::{Errno, dirent, stat};
use crate::model::entry::{Entry, Kind, Timestamp};
use crate::model::feature::Feature;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

/// A time that every filesystem can hold: some store even seconds only.
const WANTED: Timestamp = Timestamp { seconds: 1_000_000_000, nanoseconds: 0 };

/// Whether a file can be made in a folder, and removed again.
pub(in crate::apply) fn can_make_files(folder: BorrowedFd<'_>) -> bool {
    let Ok(name) = name_in(folder) else { return false };
    unseen(folder, || create_private(folder, &name).is_ok_and(|_| dirent::remove_file(folder, &name).is_ok()))
}

/// A name for a temporary.
///
/// # Errors
/// `EPERM` for an append-only folder (chattr(1)), from which it could not be removed again.
fn name_in(folder: BorrowedFd<'_>) -> Result<CString, Errno> {
    if stat::is_append_only(folder) { Err(Errno::PERM) } else { dirent::temporary_name() }
}

/// Does work in a folder that leaves no trace, not even another mtime: a pass that only probes known facts again would
/// count as a pass with a change. Concurrent changes of other processes lose nothing, since the folder gets its time
/// after its contents.
fn unseen<T>(folder: BorrowedFd<'_>, work: impl FnOnce() -> T) -> T {
    let subject = Subject::Open(folder);
    let before = subject.entry();
    let done = work();
    if let Ok(before) = before {
        for access in [AccessTime::Left, AccessTime::SetAgain] {
            if subject.entry().is_ok_and(|now| now.mtime == before.mtime) {
                break;
            }
            match subject.set_mtime(before.mtime, access) {
                Ok(()) | Err(_) => {}
            }
        }
    }
    done
}

/// Whether an ordinary entry can be made in a folder that needs the same feature as a refused one: a symbolic link to a
/// sibling name, or the null device. For FIFOs and whiteouts there is no such test.
pub(in crate::apply) fn can_make_another(folder: BorrowedFd<'_>, feature: Feature) -> bool {
    let Ok(name) = name_in(folder) else { return false };
    unseen(folder, || is_made(folder, &name, feature))
}

fn is_made(folder: BorrowedFd<'_>, name: &CStr, feature: Feature) -> bool {
    let (made, kind) = match feature {
        Feature::Symlinks => (dirent::make_symlink(c"a", folder, name), Kind::Symlink),
        Feature::Devices => {
            (dirent::make_device(folder, name, false, dirent::null_device()), Kind::CharDevice)
        }
        Feature::Owner
        | Feature::Mode
        | Feature::Mtime
        | Feature::SymlinkOwner
        | Feature::SymlinkMtime
        | Feature::HardLinks
        | Feature::Fifos
        | Feature::Whiteouts
        | Feature::UserXattrs
        | Feature::Acls
        | Feature::Capabilities
        | Feature::SecurityXattrs
        | Feature::TrustedXattrs => return false,
    };
    let is_one = made.is_ok() && stat::entry_at(folder, name).is_ok_and(|entry| entry.kind == kind);
    // Also after an error: exfat-fuse creates a file instead of a symbolic link, and returns EIO.
    remove(folder, name);
    is_one
}

/// Whether a new entry of this kind takes an owner, when another entry was refused one; none where that cannot be
/// tried. A process that may give any owner tries one that has no account here: a server may refuse a single owner. A
/// process that may only choose among its own groups tries the refused one again: that settles it.
pub(in crate::apply) fn takes_owner(
    context: &Context<'_>,
    folder: BorrowedFd<'_>,
    kind: Kind,
    refused: (u32, u32),
) -> Option<bool> {
    on_new(folder, kind, |new| {
        let before = new.entry().ok()?;
        let is_new = refused != (before.uid, before.gid) && !context.rights.gives_owners();
        let owner = if is_new { refused } else { other_owner(context, &before)? };
        let taken = new.set_owner(owner.0, owner.1).and_then(|()| new.entry());
        Some(taken.is_ok_and(|now| (now.uid, now.gid) == owner))
    })
}

/// Whether a new entry of this kind takes a mode; none where that cannot be tried.
pub(in crate::apply) fn takes_mode(folder: BorrowedFd<'_>, kind: Kind) -> Option<bool> {
    on_new(folder, kind, |new| {
        let mode = new.entry().ok()?.mode ^ 0o011;
        Some(new.set_mode(mode).and_then(|()| new.entry()).is_ok_and(|now| now.mode == mode))
    })
}

/// Whether a new entry of this kind takes a modification time; none where that cannot be tried.
pub(in crate::apply) fn takes_mtime(folder: BorrowedFd<'_>, kind: Kind) -> Option<bool> {
    on_new(folder, kind, |new| {
        new.entry().ok()?;
        Some(new.set_mtime(WANTED, AccessTime::Left).is_ok())
    })
}

/// Runs a test on an entry that is unknown to others; none where it cannot be created.
fn on_new<T>(folder: BorrowedFd<'_>, kind: Kind, work: impl FnOnce(Subject<'_>) -> Option<T>) -> Option<T> {
    let name = name_in(folder).ok()?;
    unseen(folder, || {
        match kind {
            Kind::File => drop(create_private(folder, &name).ok()?),
            Kind::Folder => dirent::make_folder(folder, &name).ok()?,
            Kind::Fifo | Kind::CharDevice | Kind::BlockDevice | Kind::Socket => {
                dirent::make_fifo(folder, &name).ok()?;
            }
            Kind::Symlink => return None,
        }
        let done = work(Subject::Named(folder, &name));
        if kind == Kind::Folder {
            match dirent::remove_folder(folder, &name) {
                Ok(()) | Err(_) => {}
            }
        } else {
            remove(folder, &name);
        }
        done
    })
}

/// An owner and group that this process may give to an entry, and that it does not have.
fn other_owner(context: &Context<'_>, entry: &Entry) -> Option<(u32, u32)> {
    const SOMEBODY: (u32, u32) = (1, 1);
    let wanted = Entry { uid: SOMEBODY.0, gid: SOMEBODY.1, ..*entry };
    let owner = context.rights.attainable_owner(&wanted, entry);
    if owner == (entry.uid, entry.gid) {
        Some((entry.uid, context.rights.group_but(entry.gid)?))
    } else {
        Some(owner)
    }
}

/// A leftover is an extra, which the next pass removes.
fn remove(folder: BorrowedFd<'_>, name: &CStr) {
    match dirent::remove_file(folder, name) {
        Ok(()) | Err(_) => {}
    }
}

/// Learns the features of symbolic links on a filesystem where they are not known. The probe is a link to a private
/// temporary, so that nothing set through it reaches another file. A feature that the link refuses, or that something
/// else gets, counts as missing for links from then on.
///
/// # Errors
/// The link or the file could not be created or looked at: then nothing may be set on any link.
pub(in crate::apply) fn learn_links(
    context: &Context<'_>,
    filesystem: &Filesystem,
    folder: BorrowedFd<'_>,
) -> Result<(), Errno> {
    if filesystem.has_sound_links() {
        return Ok(());
    }
    let (file, link) = (name_in(folder)?, name_in(folder)?);
    let probe = Probe { context, filesystem, folder, file: &file, link: &link };
    unseen(folder, || {
        drop(create_private(folder, &file)?);
        let learned = dirent::make_symlink(&file, folder, &link).and_then(|()| probe.learn());
        remove(folder, &link);
        remove(folder, &file);
        learned
    })
}

/// A link and its target.
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
            (Feature::TrustedXattrs, self.takes_attributes(c"trusted.file-sync")),
            (Feature::SecurityXattrs, takes_labels),
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

    /// The file and the link as the filesystem shows them now, not from the kernel's cache.
    fn look(&self) -> Result<(Entry, Entry), Errno> {
        let file = stat::entry_asked_again(self.folder, self.file)?;
        let link = stat::entry_asked_again(self.folder, self.link)?;
        Ok((file, link))
    }

    /// Whether a link takes a time of its own.
    fn takes_time(&self) -> Result<bool, Errno> {
        let (before, _) = self.look()?;
        // A filesystem may drop a request with one time only.
        let set = self.subject().set_mtime(WANTED, AccessTime::SetAgain);
        let (file, link) = self.look()?;
        Ok(set.is_ok() && link.kind == Kind::Symlink && link.mtime == WANTED && file.mtime == before.mtime)
    }

    /// Whether a link takes an owner of its own. False where there is no other owner to try: an ordinary user with one
    /// group.
    fn takes_owner(&self) -> Result<bool, Errno> {
        let (before, link) = self.look()?;
        let Some(owner) = other_owner(self.context, &link) else { return Ok(false) };
        let set = self.subject().set_owner(owner.0, owner.1);
        let (file, link) = self.look()?;
        let is_unmoved = (file.uid, file.gid) == (before.uid, before.gid);
        Ok(set.is_ok() && link.kind == Kind::Symlink && (link.uid, link.gid) == owner && is_unmoved)
    }

    /// Whether a link takes an xattr of its own.
    fn takes_attributes(&self, name: &CStr) -> bool {
        let has = |name_in: &CStr| Subject::Named(self.folder, name_in).has_attribute(name);
        self.subject().set_attribute(name, b"1").is_ok()
            && has(self.link) == Ok(true)
            && has(self.file) == Ok(false)
    }
}
