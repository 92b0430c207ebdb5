//! Removes entries that the source no longer has, deepest first.
//!
//! Absence is checked again right before each destruction, see [`precondition`](crate::apply::precondition).

use crate::apply::metadata::folders::make_writable;
use crate::apply::precondition::{CachedCheck, Check, Depth, Precondition};
use crate::apply::read_only::is_told;
use crate::apply::retire;
use crate::context::Context;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::locked::{LOCKED, WORDS};
use crate::fs::{Errno, is_gone, stat};
use crate::model::change::{Operation, Verb};
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::error::{Cause, Problem, Side};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::walk::{FolderRules, ListedFolder, Stays, stays};
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;

const MOUNTED: Cause = Cause::Refused("something is mounted there; unmount it first");

/// One entry to remove.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The folder of the replica that has it.
    pub folder: &'a Arc<Dir>,
    /// Its name there.
    pub name: &'a CStr,
    /// Its identity; none accepts any entry of that name.
    pub expected: Option<FileId>,
    /// The path that the log shows.
    pub path: &'a RelPath,
    /// Why it goes.
    pub removal: Removal,
}

/// Why an entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The source lacks it.
    Extra,
    /// An entry of another kind has taken its place, which has been reported; what is below it is reported.
    Retyped,
    /// A moved entry has taken its place, and the index knows that one under its path.
    Displaced,
}

/// Something that was removed.
#[derive(Clone, Copy)]
struct Removed<'a> {
    path: &'a RelPath,
    entry: &'a Entry,
    removal: Removal,
    /// Whether it is the top of what is removed.
    is_top: bool,
}

/// One folder that is being emptied.
struct Level {
    dir: Arc<Dir>,
    /// The length of its path. Paths themselves would add up to the square of the depth in a chain of folders.
    path: usize,
    listing: Listing,
    /// The filter.
    rules: FolderRules,
    next: usize,
    /// Set when an entry in it could not be removed, so that it stays.
    stays: bool,
}

/// Removes one entry with everything below it. Problems are reported; the rest goes on.
pub(crate) fn remove(context: &Context<'_>, target: Target<'_>, precondition: Precondition<'_>) {
    if context.read_only.hold(target.folder) {
        return;
    }
    let looked = target.folder.open().and_then(|fd| stat::entry_at(fd.as_fd(), target.name));
    let entry = match looked {
        Ok(entry) => entry,
        Err(errno) if is_gone(errno) => {
            if context.check_replica() {
                context.vanished.note(Side::Replica, target.folder, target.name);
            }
            return;
        }
        Err(errno) => return problem(context, target.path, Cause::System(errno)),
    };
    if target.expected.is_some_and(|expected| expected != entry.id) {
        return context.replica_disturbed(target.path);
    }
    let stays = stays(context, &entry);
    if stays == Some(Stays::Log) {
        return;
    }
    let mut cached = CachedCheck::new(precondition);
    match precondition.check(context, Depth::Path) {
        Check::Holds => {}
        Check::Broken => return,
        Check::Unknown(errno) => return problem(context, target.path, Cause::System(errno)),
    }
    let home = context.absence.has_unmade().then(|| target.folder.path());
    if context.absence.keep_unmade(target.path, home.as_ref(), &entry) {
        return;
    }
    if stays == Some(Stays::Mounted) {
        return problem(context, target.path, MOUNTED);
    }
    if entry.kind == Kind::Folder {
        remove_tree(context, target, &entry, &mut cached);
    } else {
        let removed = target.folder.open().and_then(|fd| retire::delete(fd.as_fd(), target.name, entry.kind));
        if removed.is_err_and(|errno| is_told(context, target.folder, errno)) {
            return;
        }
        let (path, removal) = (target.path, target.removal);
        report(context, Removed { path, entry: &entry, removal, is_top: true }, removed);
    }
}

/// Empties and removes a folder without recursion: the stack of folders lies on the heap.
fn remove_tree(context: &Context<'_>, target: Target<'_>, top: &Entry, cached: &mut CachedCheck<'_>) {
    let mut levels = Vec::new();
    let mut path = target.path.clone();
    match enter(context, target.folder, target.name, top, &path) {
        Ok(level) => levels.push((level, *top)),
        Err(cause) if is_removed_unread((target.folder, target.name), cause) => {
            let (path, removal) = (target.path, target.removal);
            report(context, Removed { path, entry: top, removal, is_top: true }, Ok(()));
            return;
        }
        Err(cause) => return problem(context, target.path, cause),
    }
    while let Some((level, _)) = levels.last_mut() {
        if context.is_halted() {
            return;
        }
        if context.read_only.hold(&level.dir) {
            (level.next, level.stays) = (level.listing.len(), true);
        }
        if let Some(name) = level.listing.get(level.next) {
            let name = name.to_owned();
            level.next += 1;
            let inner = path.join(&name);
            match remove_inner(context, level, &name, (&inner, target.removal), cached) {
                Ok(None) => {}
                Ok(Some((below, entry))) => {
                    levels.push((below, entry));
                    path = inner;
                }
                Err(Kept) => level.stays = true,
            }
            continue;
        }
        let Some((emptied, entry)) = levels.pop() else { break };
        let is_top = levels.is_empty();
        let removed = Removed { path: &path, entry: &entry, removal: target.removal, is_top };
        // Checked again before the folder itself goes: it was entered a while ago.
        let stays = emptied.stays
            || match cached.check(context, Kind::Folder) {
                Check::Holds => !leave(context, &emptied, removed),
                Check::Broken => true,
                Check::Unknown(errno) => {
                    problem(context, &path, Cause::System(errno));
                    true
                }
            };
        if let Some((parent, _)) = levels.last_mut() {
            parent.stays |= stays;
            path = RelPath::from_bytes(path.as_bytes().get(..parent.path).unwrap_or_default().to_vec());
        }
    }
}

/// An entry that was not removed: the reason has been reported, or the next pass decides.
struct Kept;

/// Removes one name inside a folder that is being emptied; a folder is entered instead.
fn remove_inner(
    context: &Context<'_>,
    level: &Level,
    name: &CStr,
    (path, removal): (&RelPath, Removal),
    cached: &mut CachedCheck<'_>,
) -> Result<Option<(Level, Entry)>, Kept> {
    let told = |cause: Cause| {
        problem(context, path, cause);
        Kept
    };
    if level.rules.keeps_name(context, name) {
        return Err(Kept);
    }
    let fd = level.dir.open().map_err(|errno| told(Cause::System(errno)))?;
    let entry = match stat::entry_at(fd.as_fd(), name) {
        Ok(entry) => entry,
        Err(errno) if is_gone(errno) => return Ok(None),
        Err(errno) => return Err(told(Cause::System(errno))),
    };
    let stays = stays(context, &entry);
    if stays == Some(Stays::Log) || level.rules.keeps(context, name, &entry).is_some() {
        return Err(Kept);
    }
    match cached.check(context, entry.kind) {
        Check::Holds => {}
        Check::Broken => return Err(Kept),
        Check::Unknown(errno) => return Err(told(Cause::System(errno))),
    }
    if context.absence.keep_unmade(path, None, &entry) {
        return Err(Kept);
    }
    if entry.kind != Kind::Folder {
        let removed = retire::delete(fd.as_fd(), name, entry.kind);
        if removed.is_err_and(|errno| is_told(context, &level.dir, errno)) {
            return Err(Kept);
        }
        let gone = Removed { path, entry: &entry, removal, is_top: false };
        return if report(context, gone, removed) { Ok(None) } else { Err(Kept) };
    }
    if stays == Some(Stays::Mounted) {
        return Err(told(MOUNTED));
    }
    match enter(context, &level.dir, name, &entry, path) {
        Ok(below) => Ok(Some((below, entry))),
        Err(cause) if is_removed_unread((&level.dir, name), cause) => {
            report(context, Removed { path, entry: &entry, removal, is_top: false }, Ok(()));
            Ok(None)
        }
        Err(cause) => Err(told(cause)),
    }
}

fn enter(
    context: &Context<'_>,
    parent: &Arc<Dir>,
    name: &CStr,
    entry: &Entry,
    path: &RelPath,
) -> Result<Level, Cause> {
    let dir = parent.child(name, entry.id);
    make_writable(context, &dir);
    let (listing, fd) = match dir.open().and_then(|fd| Ok((Listing::read(fd.as_fd())?, fd))) {
        // rmdir(2) could remove a locked folder, whose names are hidden.
        Err(LOCKED) => return Err(Cause::Refused(WORDS)),
        listed => listed.map_err(Cause::System)?,
    };
    let rules =
        FolderRules::of_removed(context, ListedFolder { dir: &dir, fd: fd.as_fd(), listing: &listing }, path);
    Ok(Level { dir, path: path.as_bytes().len(), listing, rules, next: 0, stays: false })
}

/// Removes a folder that may not be read, as `lost+found` of another user, if it is empty: rmdir(2) needs rights in the
/// parent only, and refuses a folder with entries.
fn is_removed_unread((parent, name): (&Arc<Dir>, &CStr), cause: Cause) -> bool {
    matches!(cause, Cause::System(Errno::ACCESS | Errno::PERM))
        && parent.open().and_then(|fd| retire::delete(fd.as_fd(), name, Kind::Folder)).is_ok()
}

/// Removes a folder that has been emptied; true when it is gone.
fn leave(context: &Context<'_>, level: &Level, gone: Removed<'_>) -> bool {
    if level.stays {
        return false;
    }
    let Some(parent) = level.dir.parent() else { return false };
    let removed = parent.open().and_then(|fd| retire::delete(fd.as_fd(), level.dir.name(), Kind::Folder));
    if removed.is_err_and(|errno| is_told(context, parent, errno)) {
        return false;
    }
    report(context, gone, removed)
}

/// Reports a removal, or the problem with it; true when the entry is gone.
fn report(context: &Context<'_>, gone: Removed<'_>, removed: Result<(), Errno>) -> bool {
    let Removed { path, entry, removal, is_top } = gone;
    context.interrupt.beat();
    match removed {
        Ok(()) => {
            if removal != Removal::Displaced {
                context.ledger.removed(path, entry.kind);
            }
            if removal != Removal::Retyped || !is_top {
                let size = (entry.kind == Kind::File).then_some(entry.size);
                context.reporter.done(Operation { size, ..Operation::new(Verb::Delete, path, entry.kind) });
            }
            true
        }
        Err(errno) if is_gone(errno) => true,
        Err(errno) => {
            problem(context, path, Cause::System(errno));
            false
        }
    }
}

fn problem(context: &Context<'_>, path: &RelPath, cause: Cause) {
    context.problem(&Problem::new(path.clone(), ProblemKind::Delete, cause, "it stays"));
}
