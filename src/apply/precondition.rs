//! The precondition of every deletion, checked again right before it: the source root is still the same folder, the
//! source's folder is still in its place, it still lacks the name, it is not locked, and it has not changed since the
//! pass began.

use crate::context::Context;
use crate::context::roots::SourceState;
use crate::fs::dir::{Dir, Found};
use crate::fs::encryption::is_locked;
use crate::fs::listing::Listing;
use crate::fs::spelled::{Listed, Spellings};
use crate::fs::{Errno, is_gone, stat};
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::path::RelPath;
use crate::plan::Pair;
use crate::walk::{exclusion_of, left_out};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The precondition of a removal, checked as often as needed.
#[derive(Clone, Copy)]
pub(crate) enum Precondition<'a> {
    /// The source lacks this name in this folder, or has an entry there that is left out, by design or by the filter.
    Absent(&'a Pair, &'a CStr),
    /// It was replaced by an entry of another kind and lies under a temporary name now.
    Replaced,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It may.
    Holds,
    /// It may not be removed: the source has it again, or is another folder by now, or the entry may have moved. The
    /// next pass decides anew; problems have been reported.
    Broken,
    /// The check failed with this error.
    Unknown(Errno),
}

/// The source's entry under a name.
enum Seen {
    /// No entry, or one that is left out by design; and the facts of the folder, read after that.
    Nothing(Entry),
    /// Something.
    Something(Entry),
    /// The folder is not in its place any more.
    Nowhere,
    /// The folder is locked, which has been reported.
    Locked,
}

impl Precondition<'_> {
    /// Checks whether the precondition holds now.
    pub(crate) fn check(self, context: &Context<'_>, look: Depth) -> Check {
        let state = context.roots.source_state();
        if !state.is_whole() {
            return Check::Broken;
        }
        let Precondition::Absent(pair, name) = self else { return Check::Holds };
        let path = || pair.path().join(name);
        let left_out = |entry: &Entry| left_out(entry, &pair.filesystem).is_some();
        // Before a look at the entry, which may hang.
        let is_excluded = context.filter.is_on() && exclusion_of(context, Side::Source, &path()).is_some();
        let seen = match &pair.source {
            Some(dir) => is_where_it_was(context, dir, look).and_then(|is_there| {
                if is_there && is_excluded {
                    Ok(Seen::Nothing(stat::entry_of(dir.open()?.as_fd())?))
                } else if is_there {
                    find(context, dir, name, left_out)
                } else {
                    Ok(Seen::Nowhere)
                }
            }),
            None => look_down(context, &context.roots.source.1, &path(), left_out),
        };
        match seen {
            // The name left this folder after the pass had begun, perhaps for a folder that had been read already.
            Ok(Seen::Nothing(folder))
                if context.absence.has_changed(&folder) && context.absence.keep_changed(&path()) =>
            {
                Check::Broken
            }
            Ok(Seen::Nothing(_)) if state == SourceState::LeftBehind && look == Depth::Path => {
                // The source path leads to another folder by now, as after a switch of a symbolic link, and the old one
                // may be removed piecemeal. So the new folder must lack the entry, too.
                let root = Dir::root(context.roots.source.0, FEW);
                let there = root.and_then(|root| look_down(context, &root, &path(), left_out));
                if matches!(there, Ok(Seen::Nothing(_))) {
                    Check::Holds
                } else {
                    context.keep_back();
                    Check::Broken
                }
            }
            Ok(Seen::Nothing(_)) => Check::Holds,
            Ok(Seen::Something(_) | Seen::Nowhere | Seen::Locked) => Check::Broken,
            // An entry that is denied but listed is reported at the end. ENOENT without a confirmed removal is an
            // error, not absence.
            Err(errno) if is_gone(errno) => {
                let lost = |dir| context.confirms_gone(Side::Source, dir, None, errno);
                if pair.source.as_ref().is_none_or(lost) { Check::Broken } else { Check::Unknown(errno) }
            }
            Err(errno) => Check::Unknown(errno),
        }
    }
}

/// The depth of a check of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The root and the one name.
    Name,
    /// Also whether every folder above the name is still in its place: one lookup each.
    Path,
}

/// The lifetime of a thorough check while a tree is being removed.
const FRESH: Duration = Duration::from_millis(10);

/// A precondition with the time of its last thorough check. It is checked for every folder that is entered or removed,
/// and every 10 ms while the files of a folder are removed: a check per file would double the work.
///
/// RACE: the source may get the name back between check and removal; the next pass copies the entry again.
pub(crate) struct CachedCheck<'a> {
    precondition: Precondition<'a>,
    checked: Instant,
}

impl<'a> CachedCheck<'a> {
    /// A precondition that has just passed a thorough check.
    pub(crate) fn new(precondition: Precondition<'a>) -> CachedCheck<'a> {
        CachedCheck { precondition, checked: Instant::now() }
    }

    /// Whether an entry of this kind may be removed now.
    pub(crate) fn check(&mut self, context: &Context<'_>, kind: Kind) -> Check {
        if self.checked.elapsed() < FRESH {
            return if kind == Kind::Folder {
                self.precondition.check(context, Depth::Name)
            } else {
                Check::Holds
            };
        }
        let now = Instant::now();
        let check = self.precondition.check(context, Depth::Path);
        if check == Check::Holds {
            self.checked = now;
        }
        check
    }
}

/// Whether a folder of the source is in its place. One that is listed there and denied is reported at the end.
fn is_where_it_was(context: &Context<'_>, dir: &Arc<Dir>, look: Depth) -> Result<bool, Errno> {
    match look {
        Depth::Name => Ok(true),
        Depth::Path => match dir.find(None)? {
            Found::There(_) => Ok(true),
            Found::Replaced => Ok(false),
            Found::Denied(above, name) => {
                context.vanished.note(Side::Source, &above, &name);
                Ok(false)
            }
        },
    }
}

/// Looks up a name in a source folder. Another spelling of the name counts as absent: a case-insensitive folder answers
/// to the old spelling of a renamed entry, which would stay in the replica for ever. An entry that is left out by
/// design counts as absent, too.
fn find(
    context: &Context<'_>,
    dir: &Arc<Dir>,
    name: &CStr,
    is_left_out: impl Fn(&Entry) -> bool,
) -> Result<Seen, Errno> {
    let folder = dir.open()?;
    let folder = folder.as_fd();
    let look = || match stat::entry_at(folder, name) {
        Ok(entry) => {
            let is_nothing = is_left_out(&entry) || is_another_spelling(folder, name, &entry)?;
            Ok((!is_nothing).then_some(entry))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    };
    if let Some(entry) = look()? {
        return Ok(Seen::Something(entry));
    }
    let facts = stat::entry_of(folder)?;
    if !facts.is_encrypted {
        return Ok(Seen::Nothing(facts));
    }
    // A locked encrypted folder reveals no name. While it is open unlocked it cannot be locked again, so the second
    // lookup is reliable.
    let is_locked = context.absence.is_known_as_locked(Side::Source, &dir.path()) || is_locked(folder)?;
    if is_locked {
        context.locked(Side::Source, &dir.path());
        return Ok(Seen::Locked);
    }
    Ok(look()?.map_or(Seen::Nothing(facts), Seen::Something))
}

/// Whether a folder lists an entry that it has shown under this name only under another spelling. A name that is merely
/// not listed proves nothing: some filesystems show more than they list.
fn is_another_spelling(folder: BorrowedFd<'_>, name: &CStr, found: &Entry) -> Result<bool, Errno> {
    let listing = Listing::read(folder)?;
    match Spellings::of(folder, &listing).find(name, found)? {
        Listed::As(_) => Ok(true),
        Listed::Exactly | Listed::Alike(_) | Listed::Perhaps(_) | Listed::Nowhere => Ok(false),
    }
}

/// The number of descriptors that suffices to descend to one name.
const FEW: usize = 2;

/// Looks up a path in the source, from its root downwards.
fn look_down(
    context: &Context<'_>,
    root: &Arc<Dir>,
    path: &RelPath,
    is_left_out: impl Fn(&Entry) -> bool,
) -> Result<Seen, Errno> {
    let mut dir = Arc::clone(root);
    let mut names = path.names().peekable();
    while let Some(name) = names.next() {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        if names.peek().is_none() {
            return find(context, &dir, &name, is_left_out);
        }
        match find(context, &dir, &name, |_| false)? {
            Seen::Something(entry) if entry.kind == Kind::Folder => dir = dir.child(&name, entry.id),
            // No folder: nothing can be below it. It may have replaced a folder that has moved.
            Seen::Something(_) => return dir.entry().map(Seen::Nothing),
            nothing @ (Seen::Nothing(_) | Seen::Nowhere | Seen::Locked) => return Ok(nothing),
        }
    }
    // The root itself is never absent.
    Err(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::FileId;
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
        // As with FUSE, where each name has an inode number of its own.
        let hidden = |found: Entry| Entry { id: FileId { device: 1, inode: 77 }, ..found };
        assert!(is_another(c"one", &hidden(find(c"ONE"))));
        assert!(!is_another(c"one", &hidden(find(c"other"))), "another entry");
        assert!(!is_another(c"hidden", &hidden(find(c"ONE"))), "a name that is found and not listed");
        assert!(!is_another(c"hidden", &find(c"many")), "a hard link that is not listed");
        fs::hard_link(scratch.path().join("ONE"), scratch.path().join("one")).unwrap();
        assert!(!is_another(c"one", &find(c"ONE")), "both are listed");
    }
}
