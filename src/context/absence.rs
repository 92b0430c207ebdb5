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

use crate::collections::{HashMap, HashSet};
use crate::fs::stamp::{self, Start};
use crate::model::entry::{Entry, Kind, Timestamp};
use crate::model::error::Side;
use crate::model::event::Reason;
use crate::model::path::RelPath;
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
    /// The times of what could be looked at, as the replica may show them.
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

    /// Whether a folder of the source shows a change that is strictly later than the start of the pass. A modification
    /// time that lies ahead, alone, was set and is no change: whoever unpacked the folder may have had another clock.
    pub fn has_changed(&self, folder: &Entry) -> bool {
        let start = self.start.stamp();
        folder.ctime > start || (folder.mtime > start && folder.mtime <= stamp::now())
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
            let times = failures.anywhere.entry(like).or_default();
            failures.count += usize::from(times.insert(mtime));
            times.extend(as_held(mtime));
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
    /// in, where something in that very folder counts.
    pub fn keep_unmade(&self, path: &RelPath, folder: Option<&RelPath>, entry: &Entry) -> bool {
        if !self.has_unmade() {
            return false;
        }
        let mut notes = self.notes();
        let reason = notes.failures.reason_to_keep(folder, entry);
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

    /// Whether so much was not made that nothing goes.
    pub fn has_too_many_unmade(&self) -> bool {
        self.has_unmade() && self.notes().failures.is_full()
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

    fn reason_to_keep(&self, folder: Option<&RelPath>, entry: &Entry) -> Option<Reason> {
        let like = Like::new(entry.kind, entry.size);
        let is_nearby = || {
            folder
                .and_then(|folder| self.nearby.get(&hash(folder)))
                .is_some_and(|there| there.contains(&like))
        };
        let is_same = || self.anywhere.get(&like).is_some_and(|times| times.contains(&entry.mtime));
        if self.is_full() || is_nearby() || is_same() {
            Some(Reason::Unmade)
        } else if self.gone.contains(&like) {
            Some(Reason::Changed)
        } else {
            None
        }
    }
}

/// A time as filesystems hold it that cannot hold it exactly. Not what is known of the replica's: that is learned from what
/// is set, and in this pass nothing need have been set yet.
fn as_held(time: Timestamp) -> impl Iterator<Item = Timestamp> {
    const STEPS: [u32; 6] = [100, 1_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
    let below_a_second = STEPS
        .into_iter()
        .map(move |step| Timestamp { nanoseconds: time.nanoseconds - time.nanoseconds % step, ..time });
    let two_seconds = Timestamp { seconds: time.seconds - time.seconds.rem_euclid(2), nanoseconds: 0 };
    below_a_second.chain([two_seconds])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::encryption;
    use crate::survey::reconcile::tests::file;

    fn path(text: &str) -> RelPath {
        RelPath::from_bytes(text.as_bytes().to_vec())
    }

    fn of(kind: Kind, size: u64, seconds: i64) -> Entry {
        Entry { kind, size, mtime: at(seconds), ..file(1) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 5 }
    }

    #[test]
    fn a_folder_has_changed_when_one_of_its_times_is_later_than_the_start() {
        let start = Start::now();
        let stamp = start.stamp();
        let absence = Absence::new(start, Remembered::default());
        let earlier = Timestamp { seconds: stamp.seconds - 1, ..stamp };
        let later = Timestamp { seconds: stamp.seconds, nanoseconds: stamp.nanoseconds + 1 };
        let ahead = Timestamp { seconds: stamp.seconds + 3600, ..stamp };
        for (mtime, ctime, expected) in [
            (earlier, earlier, false),
            (stamp, stamp, false),
            (later, stamp, true),
            (stamp, later, true),
            // Set back by whoever changed it: the other time cannot be set.
            (earlier, later, true),
            (ahead, stamp, false),
            // By the clock of a server that is ahead.
            (ahead, ahead, true),
        ] {
            let folder = Entry { mtime, ctime, ..of(Kind::Folder, 0, 0) };
            assert_eq!(absence.has_changed(&folder), expected, "{mtime:?} {ctime:?}");
        }
    }

    #[test]
    fn what_one_pass_kept_the_next_one_lets_go_and_the_one_after_that_keeps_again() {
        let pass = |remembered| Absence::new(Start::now(), remembered);
        let first = pass(Remembered::default());
        assert!(first.keep_changed(&path("a/b")) && first.keep_changed(&path("a/c")));
        assert!(first.keep_changed(&path("a/b")), "judged twice");
        assert_eq!(first.kept(Reason::Changed), Kept { entries: 2, first: path("a/b") });
        assert_eq!(first.kept(Reason::Unmade), Kept::default());
        let second = pass(first.to_remember());
        assert!(!second.keep_changed(&path("a/b")) && second.keep_changed(&path("a/d")));
        assert_eq!(second.kept(Reason::Changed), Kept { entries: 1, first: path("a/d") });
        let third = pass(second.to_remember());
        assert!(third.keep_changed(&path("a/b")) && !third.keep_changed(&path("a/d")));
    }

    #[test]
    fn memory_has_an_end_and_what_is_beyond_it_is_judged_afresh() {
        let first = Absence::new(Start::now(), Remembered::default());
        let all = MOST_REMEMBERED + 10;
        for number in 0..all {
            assert!(first.keep_changed(&path(&number.to_string())));
        }
        assert_eq!(first.kept(Reason::Changed).entries, all as u64);
        let remembered = first.to_remember();
        assert_eq!(remembered.0.len(), MOST_REMEMBERED);
        let mut more = Remembered([1, 2].into_iter().collect());
        more.extend(remembered);
        assert_eq!(more.0.len(), MOST_REMEMBERED);
        let second = Absence::new(Start::now(), more);
        let kept = (0..all).filter(|number| second.keep_changed(&path(&number.to_string()))).count();
        assert_eq!(kept, 12);
    }

    #[test]
    fn what_may_be_the_old_name_of_something_that_was_not_made_stays() {
        let unmade = |(kind, size): (Kind, u64), mtime: Option<i64>| {
            let absence = Absence::new(Start::now(), Remembered::default());
            absence.not_made(&path("a"), (kind, size), mtime.map(at));
            absence
        };
        let (here, elsewhere) = (path("a"), path("b"));
        let file = |size, seconds| of(Kind::File, size, seconds);
        type Case<'a> = ((Kind, u64), Option<i64>, Option<&'a RelPath>, Entry, bool);
        let cases: [Case<'_>; 12] = [
            // What was not made in a, its time; where the other is, and what; whether it stays.
            ((Kind::File, 7), None, Some(&here), file(7, 1), true),
            ((Kind::File, 7), None, Some(&here), file(8, 1), false),
            ((Kind::File, 7), None, Some(&here), of(Kind::Symlink, 7, 1), false),
            ((Kind::Symlink, 7), None, Some(&here), of(Kind::Symlink, 9, 1), true),
            ((Kind::Folder, 4096), None, Some(&here), of(Kind::Folder, 60, 1), true),
            ((Kind::File, 7), None, Some(&elsewhere), file(7, 1), false),
            ((Kind::File, 7), Some(1), Some(&elsewhere), file(7, 1), true),
            ((Kind::File, 7), Some(1), Some(&elsewhere), file(7, 2), false),
            ((Kind::File, 7), Some(1), Some(&elsewhere), file(8, 1), false),
            // In a folder that goes.
            ((Kind::File, 7), Some(1), None, file(7, 1), true),
            ((Kind::File, 7), Some(2), None, file(7, 1), false),
            ((Kind::Folder, 0), Some(1), None, of(Kind::Folder, 60, 1), true),
        ];
        for (made, mtime, folder, entry, expected) in cases {
            let absence = unmade(made, mtime);
            let keeps = absence.keep_unmade(&path("x"), folder, &entry);
            assert_eq!(keeps, expected, "{made:?} {mtime:?} {folder:?} {entry:?}");
            assert_eq!(absence.kept(Reason::Unmade).entries, u64::from(expected));
        }
        // What the replica holds of 3.000000005 s, or of 3.123456789 s.
        for (mtime, held, expected) in [
            ((3, 5), (3, 0), true),
            ((3, 5), (2, 0), true),
            ((3, 5), (1, 0), false),
            ((3, 5), (3, 4), false),
            ((3, 123_456_789), (3, 123_456_700), true),
            ((3, 123_456_789), (3, 120_000_000), true),
            ((3, 123_456_789), (3, 123_456_800), false),
            ((-3, 5), (-4, 0), true),
        ] {
            let time = |(seconds, nanoseconds)| Timestamp { seconds, nanoseconds };
            let absence = Absence::new(Start::now(), Remembered::default());
            absence.not_made(&path("a"), (Kind::File, 7), Some(time(mtime)));
            let entry = Entry { mtime: time(held), ..file(7, 0) };
            assert_eq!(absence.keep_unmade(&path("x"), None, &entry), expected, "{mtime:?} {held:?}");
        }
    }

    #[test]
    fn what_was_gone_when_it_was_to_be_made_keeps_others_like_it_for_one_pass() {
        let first = Absence::new(Start::now(), Remembered::default());
        first.moved_on(Kind::File, 7);
        let keep = |absence: &Absence, name: &str, size| {
            absence.keep_unmade(&path(name), None, &of(Kind::File, size, 1))
        };
        assert!(keep(&first, "a", 7) && !keep(&first, "b", 8));
        assert_eq!((first.kept(Reason::Changed).entries, first.kept(Reason::Unmade).entries), (1, 0));
        let second = Absence::new(Start::now(), first.to_remember());
        second.moved_on(Kind::File, 7);
        assert!(!keep(&second, "a", 7) && keep(&second, "c", 7));
    }

    #[test]
    fn where_very_much_was_not_made_nothing_goes() {
        let absence = Absence::new(Start::now(), Remembered::default());
        for size in 0..MOST_UNMADE as u64 {
            absence.not_made(&path("a"), (Kind::File, size), None);
        }
        assert!(absence.keep_unmade(&path("b/x"), Some(&path("b")), &of(Kind::Fifo, 0, 9)));
        assert!(absence.has_too_many_unmade());
    }

    #[test]
    fn a_locked_folder_is_told_once_on_each_side() {
        let absence = Absence::new(Start::now(), Remembered::default());
        assert!(!absence.is_known_as_locked(Side::Source, &path("a")));
        assert!(absence.is_news_that_locked(Side::Source, &path("a")));
        assert!(!absence.is_news_that_locked(Side::Source, &path("a")));
        assert!(absence.is_news_that_locked(Side::Replica, &path("a")));
        assert!(absence.is_known_as_locked(Side::Source, &path("a")));
        assert!(encryption::WORDS.contains("unlock"));
    }
}
