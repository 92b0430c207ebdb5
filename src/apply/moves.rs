//! Moves: gives entries of the replica the places that they have in the source now, each with one rename.
//!
//! They come before anything else: what is created, changed and deleted later finds them in place. In the order of their
//! new paths, a folder is in its place before what moves into it. Where the new name is taken by an entry that is moved
//! itself, the two change places, and the other one goes on from there: so chains and cycles need no order.

use crate::apply::hardlinks::targets::{Content, Place};
use crate::apply::job::Job;
use crate::apply::metadata::folders::make_writable;
use crate::apply::remove::Removal;
use crate::apply::{Apply, Leftover, lock, retire};
use crate::collections::HashMap;
use crate::fs::dir::Dir;
use crate::fs::{Errno, dirent, is_unsupported, stat};
use crate::identity::Identity;
use crate::model::change::Verb;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::path::RelPath;
use crate::plan::{Action, Move, Moved, Pair, Plan, Protected};
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A name in the replica.
type Spot = (Arc<Dir>, Box<CStr>);

/// An entry was not moved: source or replica are not as the survey saw them, or the kernel refused. Whatever it was, it
/// shows again when the entry is copied instead.
struct NotMoved;

impl From<Errno> for NotMoved {
    fn from(_: Errno) -> NotMoved {
        NotMoved
    }
}

/// The moves that are still to be made.
struct Moving {
    /// The present places of the entries, by their identity.
    spots: HashMap<FileId, (Spot, Option<Arc<Dir>>)>,
    /// The replica's folders of the source's folders that entries have moved into.
    homes: HashMap<usize, Arc<Dir>>,
    /// The entries that folders of the plan take the place of, by the source's folder and the name.
    retyped: HashMap<(usize, Box<CStr>), FileId>,
}

impl Moving {
    /// Whether an entry at this place is still to be moved from there, and is no further name of one.
    fn is_at(&self, id: FileId, folder: &Dir, name: &CStr) -> bool {
        self.spots.get(&id).is_some_and(|((at, called), _)| at.id() == folder.id() && **called == *name)
    }
}

fn address(dir: &Arc<Dir>) -> usize {
    Arc::as_ptr(dir).addr()
}

impl Apply<'_> {
    /// Makes all moves. What cannot be moved is copied and deleted instead.
    pub(super) fn move_all(&self, plan: &mut Plan) {
        let moves = std::mem::take(&mut plan.moves);
        if moves.is_empty() {
            return;
        }
        let retyped = plan.changes.iter().filter_map(|change| {
            let is_it = change.action == Action::Replace(Verb::Retype) && change.kind == Kind::Folder;
            let folder = change.pair.source.as_ref().filter(|_| is_it)?;
            Some(((address(folder), change.name.clone()), change.expected?))
        });
        let spots = moves.iter().map(|entry| {
            let dir = entry.pair().and_then(|pair| pair.replica.clone());
            (entry.held.id, ((Arc::clone(&entry.from), entry.old.clone()), dir))
        });
        let (retyped, homes) = (retyped.collect(), HashMap::default());
        let mut moving = Moving { spots: spots.collect(), homes, retyped };
        // Before a folder takes them along.
        for entry in moves.iter().filter(|entry| entry.kind() == Kind::File) {
            self.context.ledger.removed(&entry.was, Kind::File);
        }
        let mut unmoved = Vec::new();
        for entry in moves {
            if self.context.is_halted() || !self.context.roots.source_state().is_whole() {
                break;
            }
            self.context.interrupt.beat();
            if self.move_one(&mut moving, &entry).is_err() {
                moving.spots.remove(&entry.held.id);
                unmoved.push(entry);
            }
            self.context.workers.did_name();
        }
        for (path, record, seen) in std::mem::take(&mut *lock(&self.moved_records)) {
            self.context.ledger.moved_file(&path, &record, &seen);
        }
        if !unmoved.is_empty() {
            self.do_without(&unmoved, plan);
        }
    }

    fn move_one(&self, moving: &mut Moving, entry: &Move) -> Result<(), NotMoved> {
        let Move { source, name, seen, held, .. } = entry;
        let facts = |entry: &Entry| (entry.size, entry.mtime, entry.ctime);
        let is_same = |now: &Entry, then: &Entry| {
            now.id == then.id && (now.kind == Kind::Folder || facts(now) == facts(then))
        };
        let ours = source.open().and_then(|fd| stat::entry_at(fd.as_fd(), name))?;
        if !is_same(&ours, seen) {
            return Err(NotMoved);
        }
        let to = self.home(moving, source)?;
        let (spot, dir) = moving.spots.remove(&held.id).ok_or(NotMoved)?;
        if self.context.read_only.hold(&spot.0) || self.context.read_only.hold(&to) {
            return Err(NotMoved);
        }
        [&spot.0, &to].into_iter().chain(&dir).for_each(|folder| make_writable(self.context, folder));
        let (from_fd, to_fd) = (spot.0.open_for_temporaries()?, to.open_for_temporaries()?);
        let (from, old) = (from_fd.as_fd(), &*spot.1);
        let there = match stat::entry_at(to_fd.as_fd(), name) {
            Ok(there) => Some(there),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        let has_name = there.is_some_and(|there| there.id == held.id);
        if has_name {
            // rename(2) does nothing where both names are hard links of one file.
            let is_other_name = (spot.0.id(), &*spot.1) != (to.id(), &**name);
            if is_other_name && entry.kind() != Kind::Folder {
                retire::delete(from, old, entry.kind())?;
            }
        } else {
            let theirs = stat::entry_at(from, old)?;
            // The ctime has moved if it has changed places before.
            let is_as_seen = theirs.id == held.id
                && (theirs.kind == Kind::Folder || (theirs.size, theirs.mtime) == (held.size, held.mtime));
            if !is_as_seen {
                return Err(NotMoved);
            }
            self.swing(moving, (&spot, &to), entry, there)?;
        }
        if let Some(dir) = &dir {
            dir.relocate(&to, name);
        }
        // XFS gives a folder a new mtime when its entry `..` changes.
        entry.touched.iter().chain(entry.pair()).for_each(|pair| self.touch(pair));
        lock(&self.moved).insert((to.id(), name.clone()));
        let path = entry.path();
        self.context.reporter.done(entry.operation(&path));
        self.is_moved(entry, &to, &path);
        Ok(())
    }

    /// Renames an entry to its new place, whatever is there now.
    fn swing(
        &self,
        moving: &mut Moving,
        (spot, to): (&Spot, &Arc<Dir>),
        entry: &Move,
        there: Option<Entry>,
    ) -> Result<(), NotMoved> {
        let (from_fd, to_fd) = (spot.0.open()?, to.open()?);
        let (old, new) = ((from_fd.as_fd(), &*spot.1), (to_fd.as_fd(), &*entry.name));
        let (was, is) = (spot.0.path().join(&spot.1), to.path().join(&entry.name));
        let has_folder = [Some(entry.kind()), there.map(|there| there.kind)].contains(&Some(Kind::Folder));
        // The records of files are moved at the end.
        let note = |from: &RelPath, to: &RelPath, are_exchanged| {
            if has_folder {
                self.context.ledger.moved(from, to, are_exchanged);
            }
        };
        let Some(there) = there else {
            dirent::move_to_free(old, new)?;
            note(&was, &is, false);
            return Ok(());
        };
        let is_moved_too = moving.is_at(there.id, to, &entry.name);
        let is_displaced = entry.displaced.as_ref().is_some_and(|displaced| displaced.id == there.id);
        if !is_moved_too && !is_displaced {
            return Err(NotMoved);
        }
        if !is_moved_too && entry.kind() != Kind::Folder && there.kind != Kind::Folder {
            retire::replace_by_moved(old, new)?;
            return Ok(());
        }
        if there.kind == Kind::Folder {
            // Its entry `..` changes as well.
            make_writable(self.context, &to.child(&entry.name, there.id));
        }
        let now: Spot = match dirent::exchange_across(old, new) {
            Ok(()) => {
                note(&was, &is, true);
                (Arc::clone(&spot.0), spot.1.clone())
            }
            // EINVAL also where one is below the other.
            Err(errno) if errno == Errno::INVAL || is_unsupported(errno) => {
                // RACE: after a crash in between, the other entry lies under a temporary name, and is made again.
                let aside = dirent::temporary_name()?;
                dirent::rename_to_free(new.0, new.1, &aside)?;
                if let Err(errno) = dirent::move_to_free(old, new) {
                    dirent::rename_to_free(new.0, &aside, new.1)?;
                    return Err(errno.into());
                }
                let set_aside = to.path().join(&aside);
                note(&is, &set_aside, false);
                note(&was.below_instead(&is, &set_aside), &is, false);
                (Arc::clone(to), aside.into())
            }
            Err(errno) => return Err(errno.into()),
        };
        if is_moved_too && let Some((spot, dir)) = moving.spots.get_mut(&there.id) {
            if let Some(dir) = dir {
                dir.relocate(&now.0, &now.1);
            }
            *spot = now;
            return Ok(());
        }
        // It is to go, but not under the old name of the moved one, which may be a name of the source again.
        let (folder, name) = now;
        self.context.ledger.forget(&folder.path().join(&name));
        let renamed = dirent::temporary_name().and_then(|aside| {
            dirent::rename_to_free(folder.open()?.as_fd(), &name, &aside)?;
            Ok(aside)
        });
        let name = renamed.unwrap_or_else(|_| name.into());
        lock(&self.leftovers).push(Leftover { folder, name, path: is, removal: Removal::Displaced });
        Ok(())
    }

    /// Records, further hard links and metadata of an entry that has moved.
    fn is_moved(&self, entry: &Move, to: &Arc<Dir>, path: &RelPath) {
        let Move { source, name, seen, held, what, .. } = entry;
        let Moved::File { record, differences, filesystem } = what else { return };
        lock(&self.moved_records).push((path.clone(), **record, *seen));
        if seen.links > 1 {
            let key = (Identity::of(seen, self.devices.numbers(source)), held.id.device);
            let (folder, content) = (Arc::clone(to), Content::Written);
            self.anchors.put(key, &Place { folder, name: name.clone(), id: held.id, content }, 1);
        }
        if differences.any() {
            let pair = Arc::new(Pair {
                source: Some(Arc::clone(source)),
                replica: Some(Arc::clone(to)),
                filesystem: Arc::clone(filesystem),
                protected: Protected::No,
            });
            let job = Job { expected: Some(held.id), ..Job::in_new_folder(&pair, name) };
            self.set_metadata(&job, differences.words());
        }
    }

    /// The replica's folder of a folder of the source. Where there is none it is made, private and empty: its creation is
    /// in the plan, and fills it.
    fn home(&self, moving: &mut Moving, source: &Arc<Dir>) -> Result<Arc<Dir>, NotMoved> {
        let mut missing: Vec<&Arc<Dir>> = Vec::new();
        let mut at = source;
        let mut home = loop {
            if let Some(home) = moving.homes.get(&address(at)) {
                break Arc::clone(home);
            }
            let Some(above) = at.parent() else {
                break self.context.roots.replica.1.clone().ok_or(NotMoved)?;
            };
            missing.push(at);
            at = above;
        };
        for dir in missing.into_iter().rev() {
            let name = dir.name();
            let fd = home.open()?;
            let there = match stat::entry_at(fd.as_fd(), name) {
                Ok(there) if moving.is_at(there.id, &home, name) => {
                    self.step_aside(moving, &home, name, there.id)?;
                    Err(Errno::NOENT)
                }
                Ok(there) if there.kind != Kind::Folder => {
                    let key = dir.parent().map(|above| (address(above), Box::from(name)));
                    if key.and_then(|key| moving.retyped.get(&key)) != Some(&there.id) {
                        return Err(NotMoved);
                    }
                    make_writable(self.context, &home);
                    let aside = dirent::temporary_name()?;
                    dirent::rename_to_free(fd.as_fd(), name, &aside)?;
                    self.leave_over(Arc::clone(&home), aside, dir.path());
                    Err(Errno::NOENT)
                }
                there => there,
            };
            let there = match there {
                Err(Errno::NOENT) => {
                    make_writable(self.context, &home);
                    dirent::make_folder(fd.as_fd(), name)?;
                    let made = stat::entry_at(fd.as_fd(), name)?;
                    let child = home.child(name, made.id);
                    lock(&self.skeletons).insert((home.id(), name.into()), Arc::clone(&child));
                    made
                }
                there => there?,
            };
            home = home.child(name, there.id);
            moving.homes.insert(address(dir), Arc::clone(&home));
        }
        Ok(home)
    }

    /// Gives an entry that is still to be moved a temporary name: another folder of the source has its name now.
    ///
    /// RACE: after a crash before its move it is an extra, which the next pass removes and makes again.
    fn step_aside(
        &self,
        moving: &mut Moving,
        folder: &Arc<Dir>,
        name: &CStr,
        id: FileId,
    ) -> Result<(), NotMoved> {
        make_writable(self.context, folder);
        if let Some((_, Some(dir))) = moving.spots.get(&id) {
            make_writable(self.context, dir);
        }
        let fd = folder.open()?;
        let aside = dirent::temporary_name()?;
        dirent::rename_to_free(fd.as_fd(), name, &aside)?;
        let path = folder.path();
        self.context.ledger.moved(&path.join(name), &path.join(&aside), false);
        if let Some((spot, dir)) = moving.spots.get_mut(&id) {
            if let Some(dir) = dir {
                dir.relocate(folder, &aside);
            }
            *spot = (Arc::clone(folder), aside.into());
        }
        Ok(())
    }

    /// The folder that was made for what has moved into it, if there is one.
    pub(super) fn skeleton(&self, folder: &Dir, name: &CStr) -> Option<Arc<Dir>> {
        lock(&self.skeletons).remove(&(folder.id(), name.into()))
    }

    /// Whether an entry has been moved to this name.
    pub(super) fn has_moved_to(&self, folder: &Dir, name: &CStr) -> bool {
        let moved = lock(&self.moved);
        !moved.is_empty() && moved.contains(&(folder.id(), Box::from(name)))
    }
}
