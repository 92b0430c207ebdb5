//! Removing what the source no longer has, deepest first.
//!
//! Absence is checked again right before each destruction: the source root is still the same folder, the source's
//! folder is still where it was, and it still lacks the name.

use crate::apply::finish::make_writable;
use crate::apply::read_only::is_told;
use crate::context::{Context, SourceState};
use crate::entry::{Entry, FileId, Kind};
use crate::fs::dir::{Dir, open_again};
use crate::fs::listing::Listing;
use crate::fs::spelled::{Listed, Spellings};
use crate::fs::{Errno, is_gone, place, stat};
use crate::monitor::{Operation, Verb};
use crate::path::RelPath;
use crate::plan::Pair;
use crate::problem::{Cause, Problem};
use crate::survey::reconcile::is_left_out;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The reason why something may be removed, checked again as often as needed.
#[derive(Clone, Copy)]
pub enum Licence<'a> {
    /// The source lacks this name in this folder, or has something there that is left out by design.
    Absent(&'a Pair, &'a CStr),
    /// It was replaced by an entry of another kind and lies under a temporary name now.
    Replaced,
}

/// Whether something may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It may.
    Valid,
    /// It may not: the source has it again, or is not what it was. The next pass decides anew.
    Void,
    /// It could not be found out.
    Unknown(Errno),
}

impl Licence<'_> {
    /// Whether the reason holds now.
    fn standing(self, context: &Context<'_>, look: Look) -> Standing {
        let state = context.source_state();
        if !state.is_whole() {
            return Standing::Void;
        }
        let Licence::Absent(pair, name) = self else { return Standing::Valid };
        let found = match &pair.source {
            Some(dir) => match look {
                Look::Near => Ok(true),
                Look::Thorough => dir.is_in_place(),
            }
            .and_then(|in_place| if in_place { find(dir, name).map(Some) } else { Ok(None) }),
            None => look_down(&context.source.1, &pair.path().join(name)).map(Some),
        };
        let is_absent =
            |entry: &Option<Entry>| entry.as_ref().is_none_or(|entry| is_left_out(entry, &pair.filesystem));
        match found {
            Ok(Some(entry)) if !is_absent(&entry) => Standing::Void,
            Ok(Some(_)) if state == SourceState::LeftBehind && look == Look::Thorough => {
                // Who moves a link on may remove the old version, a piece at a time. So the new one has to lack it, too.
                let root = Dir::root(context.source.0, FEW);
                let there = root.and_then(|root| look_down(&root, &pair.path().join(name)));
                if there.is_ok_and(|entry| is_absent(&entry)) {
                    Standing::Valid
                } else {
                    context.keep_back();
                    Standing::Void
                }
            }
            Ok(Some(_)) => Standing::Valid,
            Ok(None) => Standing::Void,
            Err(errno) if is_gone(errno) => Standing::Void,
            Err(errno) => Standing::Unknown(errno),
        }
    }
}

/// So many descriptors are enough to go down to one name.
const FEW: usize = 2;

/// How closely the source is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// The root and the one name.
    Near,
    /// Also whether every folder above the name is still where it was: one look at each.
    Thorough,
}

/// How long a thorough look is good for while a tree is being removed.
const FRESH: Duration = Duration::from_millis(10);

/// A licence, and when it was last looked at thoroughly. It is looked at for every folder that is entered or goes, and while
/// the files of a folder are removed as often as [`FRESH`] says: a look for every file would double the work.
///
/// RACE: the source may get the name back between the look and the removal; the next pass copies again what was removed.
struct Permit<'a> {
    licence: Licence<'a>,
    checked: Instant,
}

impl Permit<'_> {
    /// Whether an entry of this kind may be removed now.
    fn standing(&mut self, context: &Context<'_>, kind: Kind) -> Standing {
        if self.checked.elapsed() < FRESH {
            return if kind == Kind::Folder {
                self.licence.standing(context, Look::Near)
            } else {
                Standing::Valid
            };
        }
        let now = Instant::now();
        let standing = self.licence.standing(context, Look::Thorough);
        if standing == Standing::Valid {
            self.checked = now;
        }
        standing
    }
}

/// What a folder of the source has under a name; none when it has been proven to have nothing. Another spelling of the
/// name is nothing: where several spellings are one name, a folder answers to the old spelling of a name that is spelled
/// otherwise by now, which would stay in the replica for ever.
fn find(dir: &Arc<Dir>, name: &CStr) -> Result<Option<Entry>, Errno> {
    let folder = dir.open()?;
    match stat::entry_at(folder.as_fd(), name) {
        Ok(entry) => Ok((!is_another_spelling(folder.as_fd(), name, &entry)?).then_some(entry)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether a folder does not list this name, under which it has shown an entry, but another spelling of the same
/// entry. A name that is merely not listed is no proof of anything: some filesystems show more than they list.
fn is_another_spelling(folder: BorrowedFd<'_>, name: &CStr, found: &Entry) -> Result<bool, Errno> {
    let listing = Listing::read(open_again(folder)?.as_fd())?;
    match Spellings::of(folder, &listing).find(name, found)? {
        Listed::As(_) => Ok(true),
        Listed::Exactly | Listed::Alike(_) | Listed::Perhaps(_) | Listed::Nowhere => Ok(false),
    }
}

/// What a source has at a path, seen from its root downwards.
fn look_down(root: &Arc<Dir>, path: &RelPath) -> Result<Option<Entry>, Errno> {
    let mut dir = Arc::clone(root);
    let mut names = path.names().peekable();
    while let Some(name) = names.next() {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        match find(&dir, &name)? {
            found if names.peek().is_none() => return Ok(found),
            Some(entry) if entry.kind == Kind::Folder => dir = dir.child(&name, entry.id),
            // Nothing, or something that is no folder: nothing can be below it.
            Some(_) | None => return Ok(None),
        }
    }
    // The root itself is never absent.
    Err(Errno::INVAL)
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
    /// The length of its path. Not the path itself: those of a chain of folders add up with the square of its depth.
    path: usize,
    listing: Listing,
    next: usize,
    /// Something in it could not be removed, so it stays.
    stays: bool,
}

/// Removes one entry with everything below it. Problems are reported; the rest goes on.
pub fn remove(context: &Context<'_>, target: Target<'_>, licence: Licence<'_>) {
    if context.read_only.hold(target.folder) {
        return;
    }
    let looked = target.folder.open().and_then(|fd| stat::entry_at(fd.as_fd(), target.name));
    let entry = match looked {
        Ok(entry) => entry,
        Err(errno) if is_gone(errno) => {
            context.check_replica();
            return;
        }
        Err(errno) => return problem(context, target.path, Cause::System(errno)),
    };
    if target.expected.is_some_and(|expected| expected != entry.id) {
        return context.replica_disturbed(target.path);
    }
    if context.log.is(&entry) {
        return;
    }
    let mut permit = Permit { licence, checked: Instant::now() };
    match licence.standing(context, Look::Thorough) {
        Standing::Valid => {}
        Standing::Void => return,
        Standing::Unknown(errno) => return problem(context, target.path, Cause::System(errno)),
    }
    if entry.kind == Kind::Folder {
        remove_tree(context, target, &entry, &mut permit);
    } else {
        let removed = target.folder.open().and_then(|fd| place::remove_file(fd.as_fd(), target.name));
        if removed.is_err_and(|errno| is_told(context, target.folder, errno)) {
            return;
        }
        report(context, target.path, &entry, removed, target.tell_top);
    }
}

/// Empties and removes a folder without recursion: the stack of folders lies on the heap.
fn remove_tree(context: &Context<'_>, target: Target<'_>, top: &Entry, permit: &mut Permit<'_>) {
    let mut levels = Vec::new();
    let mut path = target.path.clone();
    match enter(context, target.folder, target.name, top, &path) {
        Ok(level) => levels.push((level, *top)),
        Err(cause) if is_removed_unread((target.folder, target.name), cause) => {
            report(context, target.path, top, Ok(()), target.tell_top);
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
            match remove_inner(context, level, &name, &inner, permit) {
                Ok(None) => {}
                Ok(Some((below, entry))) => {
                    levels.push((below, entry));
                    path = inner;
                }
                Err(Stays) => level.stays = true,
            }
            continue;
        }
        let Some((emptied, entry)) = levels.pop() else { break };
        let is_top = levels.is_empty();
        let tell = !is_top || target.tell_top;
        // Once more before the folder itself goes: it was entered a while ago.
        let stays = emptied.stays
            || match permit.standing(context, Kind::Folder) {
                Standing::Valid => !leave(context, &emptied, &entry, &path, tell),
                Standing::Void => true,
                Standing::Unknown(errno) => {
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

/// An entry that was not removed: that has been told, or is for the next pass to decide.
struct Stays;

/// Removes one name inside a folder that is being emptied; a folder is entered instead.
fn remove_inner(
    context: &Context<'_>,
    level: &Level,
    name: &CStr,
    path: &RelPath,
    permit: &mut Permit<'_>,
) -> Result<Option<(Level, Entry)>, Stays> {
    let told = |cause: Cause| {
        problem(context, path, cause);
        Stays
    };
    let fd = level.dir.open().map_err(|errno| told(Cause::System(errno)))?;
    let entry = match stat::entry_at(fd.as_fd(), name) {
        Ok(entry) => entry,
        Err(errno) if is_gone(errno) => return Ok(None),
        Err(errno) => return Err(told(Cause::System(errno))),
    };
    if context.log.is(&entry) {
        return Err(Stays);
    }
    match permit.standing(context, entry.kind) {
        Standing::Valid => {}
        Standing::Void => return Err(Stays),
        Standing::Unknown(errno) => return Err(told(Cause::System(errno))),
    }
    if entry.kind != Kind::Folder {
        let removed = place::remove_file(fd.as_fd(), name);
        if removed.is_err_and(|errno| is_told(context, &level.dir, errno)) {
            return Err(Stays);
        }
        return if report(context, path, &entry, removed, true) { Ok(None) } else { Err(Stays) };
    }
    match enter(context, &level.dir, name, &entry, path) {
        Ok(below) => Ok(Some((below, entry))),
        Err(cause) if is_removed_unread((&level.dir, name), cause) => {
            report(context, path, &entry, Ok(()), true);
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
    if entry.is_mount {
        return Err(Cause::Refused("something is mounted there; unmount it first"));
    }
    let dir = parent.child(name, entry.id);
    make_writable(context, &dir);
    let listing = dir.open().and_then(|fd| Listing::read(fd.as_fd())).map_err(Cause::System)?;
    Ok(Level { dir, path: path.as_bytes().len(), listing, next: 0, stays: false })
}

/// Removes a folder that may not be read, as that of another user (`lost+found`), if it is empty: rmdir(2) asks for rights in
/// the folder above only, and refuses what has something in it.
fn is_removed_unread((parent, name): (&Arc<Dir>, &CStr), cause: Cause) -> bool {
    matches!(cause, Cause::System(Errno::ACCESS | Errno::PERM))
        && parent.open().and_then(|fd| place::remove_folder(fd.as_fd(), name)).is_ok()
}

/// Removes a folder that has been emptied; true when it is gone.
fn leave(context: &Context<'_>, level: &Level, entry: &Entry, path: &RelPath, tell: bool) -> bool {
    if level.stays {
        return false;
    }
    let Some(parent) = level.dir.parent() else { return false };
    let removed = parent.open().and_then(|fd| place::remove_folder(fd.as_fd(), level.dir.name()));
    if removed.is_err_and(|errno| is_told(context, parent, errno)) {
        return false;
    }
    report(context, path, entry, removed, tell)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn a_name_is_another_spelling_only_of_a_listed_one_that_is_the_same_entry() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = File::open(scratch.path()).unwrap();
        let find = |name: &CStr| stat::entry_at(folder.as_fd(), name).unwrap();
        let is_another =
            |name: &CStr, found: &Entry| is_another_spelling(folder.as_fd(), name, found).unwrap();
        for name in ["ONE", "other", "\u{c4}", "many"] {
            fs::write(scratch.path().join(name), name).unwrap();
        }
        fs::hard_link(scratch.path().join("many"), scratch.path().join("names")).unwrap();
        assert!(is_another(c"one", &find(c"ONE")));
        assert!(is_another(c"one. ", &find(c"ONE")));
        assert!(is_another(c"\u{e4}", &find(c"\u{c4}")));
        assert!(is_another(c"A\u{308}", &find(c"\u{c4}")));
        assert!(is_another(c"SHORT~1", &find(c"other")), "another name of the same inode");
        assert!(!is_another(c"ONE", &find(c"ONE")), "the listed name itself");
        // As FUSE shows it, where each name has an inode number of its own.
        let hidden = |found: Entry| Entry { id: FileId { device: 1, inode: 77 }, ..found };
        assert!(is_another(c"one", &hidden(find(c"ONE"))));
        assert!(!is_another(c"one", &hidden(find(c"other"))), "another entry");
        assert!(!is_another(c"hidden", &hidden(find(c"ONE"))), "a name that is found and not listed");
        assert!(!is_another(c"hidden", &find(c"many")), "a hard link that is not listed");
        fs::hard_link(scratch.path().join("ONE"), scratch.path().join("one")).unwrap();
        assert!(!is_another(c"one", &find(c"ONE")), "both are listed");
    }
}
