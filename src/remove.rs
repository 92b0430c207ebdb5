//! Removing what the source no longer has, deepest first.
//!
//! Absence is checked again right before each destruction: the source root is still the same folder, the source's
//! folder is still where it was, and it still lacks the name.

use crate::context::{Context, SourceState};
use crate::entry::{Entry, FileId, Kind};
use crate::finish::make_writable;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::{Errno, is_gone, place, stat};
use crate::monitor::{Operation, Verb};
use crate::path::RelPath;
use crate::plan::Pair;
use crate::problem::{Cause, Problem};
use crate::reconcile::is_left_out;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::sync::Arc;

/// The reason why something may be removed, checked again as often as needed.
#[derive(Clone, Copy)]
pub enum Licence<'a> {
    /// The source lacks this name in this folder, or has something there that is left out by design.
    Absent(&'a Pair, &'a CStr),
    /// It was replaced by an entry of another kind and lies under a temporary name now.
    Replaced,
}

impl Licence<'_> {
    /// Whether the reason still holds. It takes one look at every folder above, so it is asked per folder that is
    /// emptied and per name at the top, not per file inside.
    ///
    /// RACE: the source may get the name back between this look and the removal; the next pass copies it again.
    pub fn holds(self, context: &Context<'_>) -> bool {
        if context.source_state() != SourceState::Same {
            return false;
        }
        let Licence::Absent(pair, name) = self else { return true };
        let absent = |lookup: Result<Entry, Errno>| match lookup {
            Ok(entry) => is_left_out(entry.kind, &pair.filesystem),
            Err(errno) => errno == Errno::NOENT,
        };
        match &pair.source {
            Some(dir) => {
                is_in_place(dir)
                    && dir.open().is_ok_and(|fd| absent(stat::entry_at(fd.as_fd(), name)))
            }
            None => lacks_path(context, &pair.path().join(name)),
        }
    }
}

/// Whether a folder can still be reached from its root under its own name, and every folder above as well.
fn is_in_place(dir: &Arc<Dir>) -> bool {
    let mut at = dir;
    while let Some(parent) = at.parent() {
        let seen = parent.open().and_then(|fd| stat::entry_at(fd.as_fd(), at.name()));
        if !seen.is_ok_and(|entry| entry.id == at.id()) {
            return false;
        }
        at = parent;
    }
    true
}

/// Whether the source has nothing at a path, seen from its root downwards.
fn lacks_path(context: &Context<'_>, path: &RelPath) -> bool {
    let mut dir = Arc::clone(&context.source.1);
    let mut names = path.names().peekable();
    while let Some(name) = names.next() {
        let (Ok(name), Ok(fd)) = (CString::new(name), dir.open()) else { return false };
        match stat::entry_at(fd.as_fd(), &name) {
            Err(errno) => return errno == Errno::NOENT,
            Ok(_) if names.peek().is_none() => return false,
            Ok(entry) if entry.kind == Kind::Folder => dir = dir.child(&name, entry.id),
            // Something that is no folder: nothing can be below it.
            Ok(_) => return true,
        }
    }
    false
}

/// What is to be removed.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The folder of the replica that has it.
    pub folder: &'a Arc<Dir>,
    /// Its name there.
    pub name: &'a CStr,
    /// Its identity; none accepts whatever has the name.
    pub expected: Option<FileId>,
    /// The path that the log shows.
    pub path: &'a RelPath,
    /// Whether the top itself is told, or only what lies below (the rest of a retype has been told as such).
    pub tell_top: bool,
}

/// One folder that is being emptied.
struct Level {
    dir: Arc<Dir>,
    path: RelPath,
    listing: Listing,
    next: usize,
    /// Something in it could not be removed, so it stays.
    stays: bool,
}

/// Removes one entry with everything below it. Problems are reported; the rest goes on.
pub fn remove(context: &Context<'_>, target: Target<'_>, licence: Licence<'_>) {
    let looked = target.folder.open().and_then(|fd| stat::entry_at(fd.as_fd(), target.name));
    let entry = match looked {
        Ok(entry) => entry,
        Err(errno) if is_gone(errno) => {
            context.check_replica();
            return;
        }
        Err(errno) => return problem(context, target.path, Cause::System(errno)),
    };
    if target.expected.is_some_and(|expected| expected != entry.id) || !licence.holds(context) {
        // Not what the survey saw, or not absent any more: the next pass decides anew.
        return;
    }
    if entry.kind == Kind::Folder {
        remove_tree(context, target, &entry, licence);
    } else {
        let removed = target.folder.open().and_then(|fd| place::remove_file(fd.as_fd(), target.name));
        report(context, target.path, &entry, removed, target.tell_top);
    }
}

/// Empties and removes a folder without recursion: the stack of folders lies on the heap.
fn remove_tree(context: &Context<'_>, target: Target<'_>, top: &Entry, licence: Licence<'_>) {
    let mut levels = Vec::new();
    match enter(context, target.folder, target.name, top, target.path.clone()) {
        Ok(level) => levels.push((level, *top)),
        Err(cause) => return problem(context, target.path, cause),
    }
    while let Some((level, _)) = levels.last_mut() {
        if context.is_halted() {
            return;
        }
        if let Some(name) = level.listing.get(level.next) {
            let name = name.to_owned();
            level.next += 1;
            let path = level.path.join(&name);
            match remove_inner(context, level, &name, &path, licence) {
                Ok(None) => {}
                Ok(Some((below, entry))) => levels.push((below, entry)),
                Err(()) => level.stays = true,
            }
            continue;
        }
        let Some((emptied, entry)) = levels.pop() else { break };
        let is_top = levels.is_empty();
        let stays = emptied.stays || !leave(context, &emptied, &entry, !is_top || target.tell_top);
        if let Some((parent, _)) = levels.last_mut() {
            parent.stays |= stays;
        }
    }
}

/// Removes one name inside a folder that is being emptied; a folder is entered instead. An error has been told.
fn remove_inner(
    context: &Context<'_>,
    level: &Level,
    name: &CStr,
    path: &RelPath,
    licence: Licence<'_>,
) -> Result<Option<(Level, Entry)>, ()> {
    let told = |cause: Cause| problem(context, path, cause);
    let fd = level.dir.open().map_err(|errno| told(Cause::System(errno)))?;
    let entry = match stat::entry_at(fd.as_fd(), name) {
        Ok(entry) => entry,
        Err(errno) if is_gone(errno) => return Ok(None),
        Err(errno) => return Err(told(Cause::System(errno))),
    };
    if entry.kind != Kind::Folder {
        let removed = place::remove_file(fd.as_fd(), name);
        return if report(context, path, &entry, removed, true) { Ok(None) } else { Err(()) };
    }
    if !licence.holds(context) {
        return Err(());
    }
    match enter(context, &level.dir, name, &entry, path.clone()) {
        Ok(below) => Ok(Some((below, entry))),
        Err(cause) => Err(told(cause)),
    }
}

fn enter(
    context: &Context<'_>,
    parent: &Arc<Dir>,
    name: &CStr,
    entry: &Entry,
    path: RelPath,
) -> Result<Level, Cause> {
    if entry.is_mount {
        return Err(Cause::Refused("something is mounted there; unmount it first"));
    }
    let dir = parent.child(name, entry.id);
    make_writable(context, &dir);
    let listing = dir.open().and_then(|fd| Listing::read(fd.as_fd())).map_err(Cause::System)?;
    Ok(Level { dir, path, listing, next: 0, stays: false })
}

/// Removes a folder that has been emptied; true when it is gone.
fn leave(context: &Context<'_>, level: &Level, entry: &Entry, tell: bool) -> bool {
    if level.stays {
        return false;
    }
    let Some(parent) = level.dir.parent() else { return false };
    let removed = parent.open().and_then(|fd| place::remove_folder(fd.as_fd(), level.dir.name()));
    report(context, &level.path, entry, removed, tell)
}

/// Tells a removal or the problem with it; true when the entry is gone.
fn report(
    context: &Context<'_>,
    path: &RelPath,
    entry: &Entry,
    removed: Result<(), Errno>,
    tell: bool,
) -> bool {
    context.interrupt.beat();
    match removed {
        Ok(()) => {
            if tell {
                let size = (entry.kind == Kind::File).then_some(entry.size);
                context.done(Operation { size, ..Operation::new(Verb::Delete, path, entry.kind) });
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
    context.problem(&Problem {
        path: path.clone(),
        action: "delete it from the replica",
        cause,
        consequence: "it stays",
        content_unreadable: false,
    });
}
