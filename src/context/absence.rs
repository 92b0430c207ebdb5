//! Decides whether an entry that the source lacks may be deleted from the replica in this pass. Pure, but for the
//! clock.
//!
//! A survey takes time, and entries move meanwhile. An entry that moves from an unread folder to a folder that has been
//! read is absent from both in the plan; deleted, it would be in the source and nowhere in the replica until the next
//! pass. So three reasons keep an entry of the replica for now:
//!
//! - The source folder that lacks it has changed since the pass began. The next pass of the same process deletes it,
//!   whether or not the folder has changed again: a folder that always changes must not keep everything for ever.
//! - An entry of its kind and size was to be created and had gone by then: it moved again, perhaps to a folder that the
//!   survey had already read. This, too, keeps the entry for one pass.
//! - An entry of its kind and size could not be created in the same folder, or, with the same mtime, anywhere: the
//!   replica may refuse the new name of the entry that is to be deleted under its old one. This keeps it as long as the
//!   failure lasts.
//!
//! RACE: an entry that is moved before a pass to a name that the replica lacks, and again during the pass before it is
//! looked at there, goes unnoticed.

use crate::collections::{HashMap, HashSet};
use crate::fs::stamp::{self, Start};
use crate::model::entry::{Entry, Kind, Timestamp};
use crate::model::error::Side;
use crate::model::event::Reason;
use crate::model::path::RelPath;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The greatest number of paths that are remembered until the next pass, 8 bytes each. The others are judged afresh.
const MOST_REMEMBERED: usize = 1 << 18;

/// After so many different failures every entry counts as possibly moved.
const MOST_UNMADE: usize = 1 << 16;

/// The paths that the last pass kept because their folder had changed, as hashes. A hash collision would let one entry
/// go a pass too early.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remembered(HashSet<u64>);

/// The entries that were kept for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The number of entries.
    pub entries: u64,
    /// The path of the first.
    pub first: RelPath,
}

/// The facts about absences during one pass.
#[derive(Debug)]
pub(crate) struct Absence {
    start: Start,
    remembered: Remembered,
    notes: Mutex<Notes>,
    /// Set when an entry could not be created.
    has_unmade: AtomicBool,
}

#[derive(Debug, Default)]
struct Notes {
    changed: Kept,
    unmade: Kept,
    /// The paths that were kept for any reason; a folder that is being emptied is judged repeatedly.
    kept: HashSet<u64>,
    to_remember: Remembered,
    failures: Failures,
    /// Locked folders of either tree.
    locked: HashSet<u64>,
}

/// Entries that were to be created and were not.
#[derive(Debug, Default)]
struct Failures {
    /// By folder.
    nearby: HashMap<u64, HashSet<Like>>,
    /// The times of the entries that could be looked at, as the replica may show them.
    anywhere: HashMap<Like, HashSet<Timestamp>>,
    /// Entries that had gone by then.
    gone: HashSet<Like>,
    count: usize,
}

/// The facts that two entries share if one may be the other under another name.
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
    /// A state with no facts but the paths that the last pass kept.
    pub(crate) fn new(start: Start, remembered: Remembered) -> Absence {
        Absence { start, remembered, notes: Mutex::default(), has_unmade: AtomicBool::new(false) }
    }

    /// Whether a folder of the source shows a change strictly later than the start of the pass. An mtime in the future
    /// alone was set explicitly and is no change: an archive may have been unpacked from a machine with another clock.
    pub(crate) fn has_changed(&self, folder: &Entry) -> bool {
        let start = self.start.stamp();
        folder.ctime > start || (folder.mtime > start && folder.mtime <= stamp::now())
    }

    /// Keeps an entry whose source folder has changed. False when the last pass kept it already: then it may go.
    pub(crate) fn keep_changed(&self, path: &RelPath) -> bool {
        let hash = hash(path);
        let keeps = !self.remembered.0.contains(&hash);
        if keeps {
            self.notes().keep(Reason::Changed, path);
        }
        keeps
    }

    /// Notes that an entry in a folder could not be created, with the source's mtime where it can be read.
    pub(crate) fn not_made(&self, folder: &RelPath, (kind, size): (Kind, u64), mtime: Option<Timestamp>) {
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

    /// Notes that an entry was to be created and the source no longer had it there.
    pub(crate) fn moved_on(&self, kind: Kind, size: u64) {
        let mut notes = self.notes();
        let failures = &mut notes.failures;
        if !failures.is_full() {
            failures.count += usize::from(failures.gone.insert(Like::new(kind, size)));
        }
        self.has_unmade.store(true, Ordering::Relaxed);
    }

    /// Keeps an entry of the replica that may be the old name of one that was not created. `folder` is its parent, if
    /// failures in that very folder count.
    pub(crate) fn keep_unmade(&self, path: &RelPath, folder: Option<&RelPath>, entry: &Entry) -> bool {
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

    /// Whether an entry could not be created.
    pub(crate) fn has_unmade(&self) -> bool {
        self.has_unmade.load(Ordering::Relaxed)
    }

    /// Whether there were so many failures that nothing is deleted.
    pub(crate) fn has_too_many_unmade(&self) -> bool {
        self.has_unmade() && self.notes().failures.is_full()
    }

    /// Notes that a folder is locked; true the first time, when it is to be reported.
    pub(crate) fn is_news_that_locked(&self, side: Side, folder: &RelPath) -> bool {
        self.notes().locked.insert(hash(&(side, folder)))
    }

    /// Whether a folder was found locked in this pass.
    pub(crate) fn is_known_as_locked(&self, side: Side, folder: &RelPath) -> bool {
        self.notes().locked.contains(&hash(&(side, folder)))
    }

    /// The entries that were kept for a reason.
    pub(crate) fn kept(&self, reason: Reason) -> Kept {
        self.notes().of(reason).clone()
    }

    /// Takes the paths that the next pass has to remember.
    pub(crate) fn to_remember(&self) -> Remembered {
        std::mem::take(&mut self.notes().to_remember)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // The notes are consistent at every moment.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn of(&mut self, reason: Reason) -> &mut Kept {
        match reason {
            Reason::Changed => &mut self.changed,
            Reason::NotCreated => &mut self.unmade,
        }
    }

    fn keep(&mut self, reason: Reason, path: &RelPath) {
        let hash = hash(path);
        // A path without room in the set is counted twice at worst.
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
            Some(Reason::NotCreated)
        } else if self.gone.contains(&like) {
            Some(Reason::Changed)
        } else {
            None
        }
    }
}

/// A time in the steps of filesystems that cannot hold it exactly. The steps known of the replica's filesystem do not
/// do: they are learned from setting times, and in this pass none may have been set yet.
fn as_held(time: Timestamp) -> impl Iterator<Item = Timestamp> {
    const STEPS: [u32; 6] = [100, 1_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
    let below_a_second = STEPS
        .into_iter()
        .map(move |step| Timestamp { nanoseconds: time.nanoseconds - time.nanoseconds % step, ..time });
    let two_seconds = Timestamp { seconds: time.seconds - time.seconds.rem_euclid(2), nanoseconds: 0 };
    below_a_second.chain([two_seconds])
}

impl Remembered {
    /// Adds the paths that a later pass kept.
    pub(crate) fn extend(&mut self, more: Remembered) {
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
    use crate::fs::locked;
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
            // Set back by the process that changed it: the ctime cannot be set.
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
        assert_eq!(first.kept(Reason::NotCreated), Kept::default());
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
            // An entry that was not created in a, and its time; the folder of the other entry, and its facts; whether
            // it stays.
            ((Kind::File, 7), None, Some(&here), file(7, 1), true),
            ((Kind::File, 7), None, Some(&here), file(8, 1), false),
            ((Kind::File, 7), None, Some(&here), of(Kind::Symlink, 7, 1), false),
            ((Kind::Symlink, 7), None, Some(&here), of(Kind::Symlink, 9, 1), true),
            ((Kind::Folder, 4096), None, Some(&here), of(Kind::Folder, 60, 1), true),
            ((Kind::File, 7), None, Some(&elsewhere), file(7, 1), false),
            ((Kind::File, 7), Some(1), Some(&elsewhere), file(7, 1), true),
            ((Kind::File, 7), Some(1), Some(&elsewhere), file(7, 2), false),
            ((Kind::File, 7), Some(1), Some(&elsewhere), file(8, 1), false),
            // In a folder that is to be deleted.
            ((Kind::File, 7), Some(1), None, file(7, 1), true),
            ((Kind::File, 7), Some(2), None, file(7, 1), false),
            ((Kind::Folder, 0), Some(1), None, of(Kind::Folder, 60, 1), true),
        ];
        for (made, mtime, folder, entry, expected) in cases {
            let absence = unmade(made, mtime);
            let keeps = absence.keep_unmade(&path("x"), folder, &entry);
            assert_eq!(keeps, expected, "{made:?} {mtime:?} {folder:?} {entry:?}");
            assert_eq!(absence.kept(Reason::NotCreated).entries, u64::from(expected));
        }
        // The replica's form of 3.000000005 s, or of 3.123456789 s.
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
        assert_eq!((first.kept(Reason::Changed).entries, first.kept(Reason::NotCreated).entries), (1, 0));
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
        assert!(locked::WORDS.contains("unlock"));
    }
}
