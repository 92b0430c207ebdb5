//! Renames replica entries that the filesystem lists under another spelling than the source has.
//!
//! First an empty file in a folder of its own shows whether the filesystem lists the right name at all; that is
//! learned, so that no entry is renamed in vain. Then the entry is renamed to a temporary name, and from there to its
//! right one: where both spellings are one name, a rename from one to the other does nothing (vfat, exfat, ext4 with
//! `casefold`), and a FUSE library may even hide the file that it believes to be in the way.
//!
//! A name that the filesystem alters is a problem, already in the pass that has created it.

use crate::apply::Apply;
use crate::apply::read_only::is_told;
use crate::fs::dir::Dir;
use crate::fs::file::create_private;
use crate::fs::listing::Listing;
use crate::fs::metadata::{AccessTime, Subject};
use crate::fs::spelled::{Listed, Spellings};
use crate::fs::{Errno, dirent, stat};
use crate::model::change::{Operation, Verb};
use crate::model::error::{Cause, Problem};
use crate::model::problem_kind::ProblemKind;
use crate::model::spelling::Alteration;
use crate::plan::{Pair, Rename};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

const ACTION: ProblemKind = ProblemKind::Rename;

/// The outcome of a failed rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotRenamed {
    /// The entry keeps the name that it had.
    Stays(Errno),
    /// The entry is left under a temporary name.
    IsAside(Errno),
}

impl Apply<'_> {
    /// Gives entries of one folder their right names.
    pub(super) fn rename_all(&self, pair: &Arc<Pair>, renames: &[&Rename]) {
        let Some(replica) = pair.replica.as_ref().filter(|dir| !self.context.read_only.hold(dir)) else {
            return;
        };
        let opened = replica.open_for_temporaries().and_then(|fd| Ok((Listing::read(fd.as_fd())?, fd)));
        let (before, folder) = match opened {
            Ok(opened) => opened,
            Err(errno) => {
                for rename in renames {
                    self.not_renamed(rename, NotRenamed::Stays(errno));
                }
                return;
            }
        };
        let folder = folder.as_fd();
        let untouched = stat::entry_of(folder);
        let mut spellings = Spellings::of(folder, &before);
        let mut renamed = Vec::new();
        for rename in renames {
            if self.context.is_halted() || self.context.read_only.hold(replica) {
                break;
            }
            self.context.interrupt.beat();
            if before.position(&rename.name).is_some() {
                // A replacement in this pass may have set the right name already. If both names are listed, they are
                // two entries.
                if before.position(&rename.listed).is_none() {
                    renamed.push(rename);
                }
                continue;
            }
            match self.rename(replica, folder, (&before, &mut spellings), rename) {
                Ok(true) => renamed.push(rename),
                Ok(false) => {}
                Err(why) => self.not_renamed(rename, why),
            }
        }
        if renamed.is_empty() {
            // A failed attempt must not look like work in this folder; its right time is set at the end in any case.
            return match untouched
                .and_then(|folder_was| Subject::Open(folder).set_mtime(folder_was.mtime, AccessTime::Left))
            {
                Ok(()) | Err(_) => {}
            };
        }
        let after = Listing::read(folder);
        for rename in renamed {
            match &after {
                Ok(after) if after.position(&rename.name).is_some() => {
                    let path = pair.path().join(&rename.name);
                    let from = pair.path().join(&rename.listed);
                    self.context.reporter.done(Operation {
                        renamed_from: Some(&from),
                        ..Operation::new(Verb::Rename, &path, rename.kind)
                    });
                }
                Ok(_) => self.is_altered(pair, &rename.name, Some(&rename.listed)),
                Err(errno) => self.not_renamed(rename, NotRenamed::Stays(*errno)),
            }
        }
    }

    /// Gives one entry its right name. False when that is not possible, which has been reported, or is left to the next
    /// pass.
    fn rename(
        &self,
        replica: &Arc<Dir>,
        folder: BorrowedFd<'_>,
        (before, spellings): (&Listing, &mut Spellings<'_>),
        Rename { pair, name, listed, .. }: &Rename,
    ) -> Result<bool, NotRenamed> {
        let names = &pair.filesystem.names;
        if names.are_altered(Alteration::between(name, listed))
            || !names.are_kept() && !shows(replica, name).map_err(NotRenamed::Stays)?
        {
            self.is_altered(pair, name, Some(listed));
            return Ok(false);
        }
        // Another process may have renamed it, or created another entry of that name.
        let found = match stat::entry_at(folder, name) {
            Ok(found) => spellings.find(name, &found).map_err(NotRenamed::Stays)?,
            Err(Errno::NOENT) => Listed::Nowhere,
            Err(errno) => return Err(NotRenamed::Stays(errno)),
        };
        if !matches!(found, Listed::As(at) | Listed::Alike(at) if before.get(at) == Some(listed)) {
            return Ok(false);
        }
        step_aside(folder, listed, name).map(|()| true)
    }

    /// Reports those of the names created in this pass that are listed otherwise. Nothing is read where the filesystem
    /// is known to keep names.
    pub(super) fn tell_altered<'n>(&self, pair: &Arc<Pair>, made: impl IntoIterator<Item = &'n CStr>) {
        if pair.filesystem.names.are_kept() || self.context.is_halted() {
            return;
        }
        let (Some(source), Some(replica)) = (&pair.source, &pair.replica) else { return };
        let list = |dir: &Arc<Dir>| dir.open().and_then(|fd| Ok((Listing::read(fd.as_fd())?, fd)));
        // If the folder cannot be listed, the next pass reports.
        let Ok((listing, folder)) = list(replica) else { return };
        let mut spellings = Spellings::of(folder.as_fd(), &listing);
        let mut ours = None;
        for name in made.into_iter().filter(|name| listing.position(name).is_none()) {
            // A failed entry has been reported, and one that was left out is not there.
            let Ok(found) = stat::entry_at(folder.as_fd(), name) else { continue };
            if self.taken.has(pair, name) {
                continue;
            }
            let listed = match spellings.find(name, &found) {
                Ok(Listed::As(at) | Listed::Alike(at)) => listing.get(at),
                Ok(Listed::Perhaps(_) | Listed::Nowhere) => None,
                Ok(Listed::Exactly) | Err(_) => continue,
            };
            let ours = ours.get_or_insert_with(|| list(source).map(|(listing, _)| listing).ok());
            let is_of_another = |listed| ours.as_ref().is_none_or(|ours| ours.position(listed).is_some());
            if !listed.is_some_and(is_of_another) {
                self.is_altered(pair, name, listed);
            }
        }
    }

    /// As [`Apply::tell_altered`], for all names of a new folder.
    pub(super) fn tell_all_altered(&self, pair: &Arc<Pair>) {
        if pair.filesystem.names.are_kept() || self.context.is_halted() {
            return;
        }
        let Some(source) = &pair.source else { return };
        if let Ok(listing) = source.open().and_then(|fd| Listing::read(fd.as_fd())) {
            self.tell_altered(pair, (0..listing.len()).filter_map(|at| listing.get(at)));
        }
    }

    fn is_altered(&self, pair: &Pair, name: &CStr, listed: Option<&CStr>) {
        let alteration = listed.map(|listed| Alteration::between(name, listed));
        if let Some(alteration) = alteration {
            pair.filesystem.names.learn_altered(alteration);
        }
        let words = alteration.map_or("its filesystem does not list it", Alteration::words);
        self.context.problem(&Problem::shown_otherwise(pair.path().join(name), Cause::Refused(words)));
    }

    fn not_renamed(&self, rename: &Rename, why: NotRenamed) {
        let told = |errno| rename.pair.replica.as_ref().is_some_and(|dir| is_told(self.context, dir, errno));
        if matches!(why, NotRenamed::Stays(errno) if told(errno)) {
            return;
        }
        let path = rename.pair.path().join(&rename.name);
        let (errno, consequence) = match why {
            NotRenamed::Stays(errno) => (errno, "it is mirrored under the name that is listed there"),
            NotRenamed::IsAside(errno) => {
                (errno, "it lies under a temporary name; the next pass makes it again and removes that")
            }
        };
        self.problem(&path, ACTION, Cause::System(errno), consequence);
    }
}

/// Renames an entry by way of a temporary name.
///
/// RACE: if the program is killed in between, the entry exists under the temporary name only: the next pass makes it
/// again from the source, and removes the temporary after that.
fn step_aside(folder: BorrowedFd<'_>, listed: &CStr, name: &CStr) -> Result<(), NotRenamed> {
    let stays = NotRenamed::Stays;
    let aside = dirent::temporary_name().map_err(stays)?;
    dirent::rename_to_free(folder, listed, &aside).map_err(stays)?;
    // Before Linux 6.4 the dentry cache may hold a stale new name of a FUSE filesystem for a second: then the entry
    // keeps its old name in this pass.
    dirent::rename_to_free(folder, &aside, name).map_err(|errno| {
        match dirent::rename_to_free(folder, &aside, listed) {
            Ok(()) => NotRenamed::Stays(errno),
            Err(_) => NotRenamed::IsAside(errno),
        }
    })
}

/// Whether the filesystem of a folder lists a name as it is given.
///
/// # Errors
/// As `mkdir(2)`, `open(2)` and `getdents(2)`.
fn shows(folder: &Arc<Dir>, name: &CStr) -> Result<bool, Errno> {
    let above = folder.open()?;
    let temporary = dirent::temporary_name()?;
    dirent::make_folder(above.as_fd(), &temporary)?;
    let shown = folder.child_to_be(&temporary, &temporary).and_then(|(_, inside)| {
        let inside = inside.as_fd();
        create_private(inside, name)?;
        let listing = Listing::read(inside);
        dirent::remove_file(inside, name)?;
        Ok(listing?.position(name).is_some())
    });
    // A leftover is an extra, which the next pass removes.
    match dirent::remove_folder(above.as_fd(), &temporary) {
        Ok(()) | Err(_) => shown,
    }
}
