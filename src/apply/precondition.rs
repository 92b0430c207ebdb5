//! The precondition of every deletion, checked again right before it: the source root is still the same folder, the source's
//! folder is still where it was, it still lacks the name, it is not locked, and it has not changed since the pass began.

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
use crate::walk::left_out;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The reason why something may be removed, checked again as often as needed.
#[derive(Clone, Copy)]
pub enum Precondition<'a> {
    /// The source lacks this name in this folder, or has something there that is left out by design.
    Absent(&'a Pair, &'a CStr),
    /// It was replaced by an entry of another kind and lies under a temporary name now.
    Replaced,
}

/// Whether something may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It may.
    Holds,
    /// It may not: the source has it again, or is not what it was, or it may have moved. The next pass decides anew; what
    /// there is to tell has been told.
    Broken,
    /// It could not be found out.
    Unknown(Errno),
}

/// What the source has under a name.
enum Seen {
    /// Nothing, or what is left out by design; and the facts of the folder, which were looked at after that.
    Nothing(Entry),
    /// Something.
    Something(Entry),
    /// The folder is not where it was.
    Nowhere,
    /// The folder is locked, which has been told.
    Locked,
}

impl Precondition<'_> {
    /// Whether the reason holds now.
    pub fn check(self, context: &Context<'_>, look: Look) -> Check {
        let state = context.roots.source_state();
        if !state.is_whole() {
            return Check::Broken;
        }
        let Precondition::Absent(pair, name) = self else { return Check::Holds };
        let path = || pair.path().join(name);
        let left_out = |entry: &Entry| left_out(entry, &pair.filesystem).is_some();
        let seen = match &pair.source {
            Some(dir) => is_where_it_was(context, dir, look).and_then(|is_there| {
                if is_there { find(context, dir, name, left_out) } else { Ok(Seen::Nowhere) }
            }),
            None => look_down(context, &context.roots.source.1, &path(), left_out),
        };
        match seen {
            // The name left this folder after the pass had begun, perhaps for one that had been read.
            Ok(Seen::Nothing(folder))
                if context.absence.has_changed(&folder) && context.absence.keep_changed(&path()) =>
            {
                Check::Broken
            }
            Ok(Seen::Nothing(_)) if state == SourceState::LeftBehind && look == Look::Thorough => {
                // Who moves a link on may remove the old version, a piece at a time. So the new one has to lack it, too.
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
            // What is denied and listed is told in the end. What has not gone at all must not pass for it.
            Err(errno) if is_gone(errno) => {
                let lost = |dir| context.confirms_gone(Side::Source, dir, None, errno);
                if pair.source.as_ref().is_none_or(lost) { Check::Broken } else { Check::Unknown(errno) }
            }
            Err(errno) => Check::Unknown(errno),
        }
    }
}

/// How closely the source is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The root and the one name.
    Near,
    /// Also whether every folder above the name is still where it was: one look at each.
    Thorough,
}

/// How long a thorough look is good for while a tree is being removed.
const FRESH: Duration = Duration::from_millis(10);

/// A precondition, and when it was last looked at thoroughly. It is looked at for every folder that is entered or goes, and while
/// the files of a folder are removed every 10 ms: a look for every file would double the work.
///
/// RACE: the source may get the name back between the look and the removal; the next pass copies again what was removed.
pub struct CachedCheck<'a> {
    precondition: Precondition<'a>,
    checked: Instant,
}

impl<'a> CachedCheck<'a> {
    /// A precondition that has just been looked at thoroughly.
    pub fn new(precondition: Precondition<'a>) -> CachedCheck<'a> {
        CachedCheck { precondition, checked: Instant::now() }
    }

    /// Whether an entry of this kind may be removed now.
    pub fn check(&mut self, context: &Context<'_>, kind: Kind) -> Check {
        if self.checked.elapsed() < FRESH {
            return if kind == Kind::Folder {
                self.precondition.check(context, Look::Near)
            } else {
                Check::Holds
            };
        }
        let now = Instant::now();
        let check = self.precondition.check(context, Look::Thorough);
        if check == Check::Holds {
            self.checked = now;
        }
        check
    }
}

/// Whether a folder of the source is where it was. One that is listed where it was, and denied, is told in the end.
fn is_where_it_was(context: &Context<'_>, dir: &Arc<Dir>, look: Look) -> Result<bool, Errno> {
    match look {
        Look::Near => Ok(true),
        Look::Thorough => match dir.find(None)? {
            Found::There(_) => Ok(true),
            Found::Replaced => Ok(false),
            Found::Denied(above, name) => {
                context.vanished.note(Side::Source, &above, &name);
                Ok(false)
            }
        },
    }
}

/// What a folder of the source has under a name. Another spelling of the name is nothing: where several spellings
/// are one name, a folder answers to the old spelling of a name that is spelled otherwise by now, which would stay in the
/// replica for ever. Nor is what is left out by design.
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
    // No name of a locked folder is known. It is not locked any more while it is open; so the second look can be believed.
    let is_locked = context.absence.is_known_as_locked(Side::Source, &dir.path()) || is_locked(folder)?;
    if is_locked {
        context.locked(Side::Source, &dir.path());
        return Ok(Seen::Locked);
    }
    Ok(look()?.map_or(Seen::Nothing(facts), Seen::Something))
}

/// Whether a folder does not list this name, under which it has shown an entry, but another spelling of the same
/// entry. A name that is merely not listed is no proof of anything: some filesystems show more than they list.
fn is_another_spelling(folder: BorrowedFd<'_>, name: &CStr, found: &Entry) -> Result<bool, Errno> {
    let listing = Listing::read(folder)?;
    match Spellings::of(folder, &listing).find(name, found)? {
        Listed::As(_) => Ok(true),
        Listed::Exactly | Listed::Alike(_) | Listed::Perhaps(_) | Listed::Nowhere => Ok(false),
    }
}

/// So many descriptors are enough to go down to one name.
const FEW: usize = 2;

/// What a source has at a path, seen from its root downwards.
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
            // Something that is no folder: nothing can be below it. It may be in the place of a folder that has moved.
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
