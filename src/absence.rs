//! What the source lacks, and whether that is reason enough to delete it from the replica in this pass. Pure, but for the
//! clock.
//!
//! A survey takes time, and things move meanwhile. What moves from a folder that has not been read to one that has been
//! is absent from both in the plan; deleted, it would be in the source and nowhere in the replica until the next pass.
//! So three things keep an entry of the replica for now:
//!
//! - The folder that lacks it has changed since the pass began. The next pass of the same process deletes it, whether or
//!   not the folder has changed once more: a folder that always changes must not keep everything for ever.
//! - Something of its kind and size was to be made and was gone by then: moved once more, perhaps to where the survey had
//!   already been. This, too, is kept for one pass.
//! - Something of its kind and size could not be made in the same folder, or, with its very time, anywhere: the replica
//!   may refuse the new name of what is to go under its old one. This keeps it as long as it lasts.
//!
//! RACE: what is moved before a pass to where the replica lacks it, and once more during the pass before it is looked at
//! there, is not noticed.

use crate::entry::{Entry, Kind, Timestamp};
use crate::filesystem::Filesystem;
use crate::fs::stamp::Start;
use crate::monitor::Feature;
use crate::path::RelPath;
use crate::problem::Side;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many paths are remembered until the next pass, 8 bytes each. The rest is judged afresh.
const MOST_REMEMBERED: usize = 1 << 18;

/// After so many different failures everything counts as what may have been moved.
const MOST_UNMADE: usize = 1 << 16;

/// What the last pass kept because its folder had changed, as far as it is remembered: a hash of each path. Two paths with
/// one hash would let one of them go a pass too early.
#[derive(Clone, Debug, Default)]
pub struct Remembered(HashSet<u64>);

/// Why something stays for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The source has changed where it is missing, since the pass began.
    Changed,
    /// Something like it could not be made.
    Unmade,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 2] = [Reason::Changed, Reason::Unmade];
}

/// What was kept for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many entries.
    pub entries: u64,
    /// The path of the first.
    pub first: RelPath,
}

/// What is known of absences during one pass.
#[derive(Debug)]
pub struct Absence {
    start: Start,
    remembered: Remembered,
    notes: Mutex<Notes>,
    /// Whether anything was to be made that was not.
    has_unmade: AtomicBool,
}

#[derive(Debug, Default)]
struct Notes {
    changed: Kept,
    unmade: Kept,
    /// The paths that were kept for whichever reason; a folder that is being emptied is judged again and again.
    kept: HashSet<u64>,
    to_remember: Remembered,
    failures: Failures,
    /// Folders of either tree that were found locked.
    locked: HashSet<u64>,
}

/// What was to be made and was not.
#[derive(Debug, Default)]
struct Failures {
    /// By folder.
    nearby: HashMap<u64, HashSet<Like>>,
    /// The times of what could be looked at.
    anywhere: HashMap<Like, HashSet<Timestamp>>,
    /// What had gone by then.
    gone: HashSet<Like>,
    count: usize,
}

/// What two entries have in common if one may be the other under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Like {
    kind: Kind,
    size: u64,
}

impl Like {
    fn new(kind: Kind, size: u64) -> Like {
        Like { kind, size: if kind == Kind::File { size } else { 0 } }
    }
}

impl Absence {
    /// Nothing is known yet, but what the last pass kept.
    pub fn new(start: Start, remembered: Remembered) -> Absence {
        Absence { start, remembered, notes: Mutex::default(), has_unmade: AtomicBool::new(false) }
    }

    /// Whether a folder of the source shows a change that is strictly later than the start of the pass.
    pub fn has_changed(&self, folder: &Entry) -> bool {
        folder.mtime.max(folder.ctime) > self.start.stamp()
    }

    /// Keeps what is missing in a folder that has changed. False when the last pass kept it already and it is still
    /// missing: then it may go.
    pub fn keep_changed(&self, path: &RelPath) -> bool {
        let hash = hash(path);
        let keeps = !self.remembered.0.contains(&hash);
        if keeps {
            self.notes().keep(Reason::Changed, path);
        }
        keeps
    }

    /// Notes that something in a folder could not be made, with the time that the source shows where it can be looked at.
    pub fn not_made(&self, folder: &RelPath, (kind, size): (Kind, u64), mtime: Option<Timestamp>) {
        let like = Like::new(kind, size);
        let mut notes = self.notes();
        let failures = &mut notes.failures;
        if failures.is_full() {
            return;
        }
        failures.count += usize::from(failures.nearby.entry(hash(folder)).or_default().insert(like));
        if let Some(mtime) = mtime {
            failures.count += usize::from(failures.anywhere.entry(like).or_default().insert(mtime));
        }
        self.has_unmade.store(true, Ordering::Relaxed);
    }

    /// Notes that something was to be made and the source had it no longer where it was seen.
    pub fn moved_on(&self, kind: Kind, size: u64) {
        let mut notes = self.notes();
        let failures = &mut notes.failures;
        if !failures.is_full() {
            failures.count += usize::from(failures.gone.insert(Like::new(kind, size)));
        }
        self.has_unmade.store(true, Ordering::Relaxed);
    }

    /// Keeps an entry of the replica that may be the old name of something that was not made. `folder` is the one it is
    /// in, where something in that very folder counts; `filesystem` is the one that holds it, if that is known.
    pub fn keep_unmade(
        &self,
        path: &RelPath,
        folder: Option<&RelPath>,
        entry: &Entry,
        filesystem: Option<&Filesystem>,
    ) -> bool {
        if !self.has_unmade() {
            return false;
        }
        let mut notes = self.notes();
        let reason = notes.failures.reason_to_keep(folder, entry, filesystem);
        let reason = match reason {
            Some(Reason::Changed) if self.remembered.0.contains(&hash(path)) => None,
            reason => reason,
        };
        if let Some(reason) = reason {
            notes.keep(reason, path);
        }
        reason.is_some()
    }

    /// Whether anything was to be made that was not.
    pub fn has_unmade(&self) -> bool {
        self.has_unmade.load(Ordering::Relaxed)
    }

    /// Notes that a folder is locked; true the first time, when it is to be told.
    pub fn is_news_that_locked(&self, side: Side, folder: &RelPath) -> bool {
        self.notes().locked.insert(hash(&(side, folder)))
    }

    /// Whether a folder was found locked in this pass.
    pub fn is_known_as_locked(&self, side: Side, folder: &RelPath) -> bool {
        self.notes().locked.contains(&hash(&(side, folder)))
    }

    /// What was kept for a reason.
    pub fn kept(&self, reason: Reason) -> Kept {
        self.notes().of(reason).clone()
    }

    /// What the next pass is to remember.
    pub fn to_remember(&self) -> Remembered {
        std::mem::take(&mut self.notes().to_remember)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // What is noted is whole at every moment.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn of(&mut self, reason: Reason) -> &mut Kept {
        match reason {
            Reason::Changed => &mut self.changed,
            Reason::Unmade => &mut self.unmade,
        }
    }

    fn keep(&mut self, reason: Reason, path: &RelPath) {
        let hash = hash(path);
        // What there is no room for is counted twice at worst.
        if self.kept.len() < MOST_REMEMBERED && !self.kept.insert(hash) {
            return;
        }
        let kept = self.of(reason);
        if kept.entries == 0 {
            kept.first = path.clone();
        }
        kept.entries += 1;
        if reason == Reason::Changed && self.to_remember.0.len() < MOST_REMEMBERED {
            self.to_remember.0.insert(hash);
        }
    }
}

impl Failures {
    fn is_full(&self) -> bool {
        self.count >= MOST_UNMADE
    }

    fn reason_to_keep(
        &self,
        folder: Option<&RelPath>,
        entry: &Entry,
        filesystem: Option<&Filesystem>,
    ) -> Option<Reason> {
        let like = Like::new(entry.kind, entry.size);
        let is_nearby = || {
            folder
                .and_then(|folder| self.nearby.get(&hash(folder)))
                .is_some_and(|there| there.contains(&like))
        };
        // What the replica cannot hold exactly is not looked up but searched for.
        let coarse = filesystem.filter(|there| !there.holds(Feature::Mtime));
        let is_its_time = |times: &HashSet<Timestamp>| {
            times.contains(&entry.mtime)
                || coarse.is_some_and(|there| times.iter().any(|mtime| there.holdable(*mtime) == entry.mtime))
        };
        let is_same = || self.anywhere.get(&like).is_some_and(is_its_time);
        if self.is_full() || is_nearby() || is_same() {
            Some(Reason::Unmade)
        } else if self.gone.contains(&like) {
            Some(Reason::Changed)
        } else {
            None
        }
    }
}

impl Remembered {
    /// Adds what a later pass kept.
    pub fn extend(&mut self, more: Remembered) {
        for hash in more.0 {
            if self.0.len() >= MOST_REMEMBERED {
                return;
            }
            self.0.insert(hash);
        }
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
