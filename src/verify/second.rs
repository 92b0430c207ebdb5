//! The second look at names that are not right. A pass that runs meanwhile replaces files and creates temporaries, and
//! writes its records at its end. So names that are not right wait until all others have been read; whichever has
//! another record or other facts by then is checked anew.

use crate::collections::HashSet;
use crate::fs::dir::Dir;
use crate::index::read::Reader;
use crate::index::store::Unusable;
use crate::model::entry::{FileId, Kind};
use crate::verify::check::{Answer, Checker};
use crate::verify::lock;
use crate::verify::status::{Finding, Status};
use crate::verify::walk::{Folder, Item, State, find, look};
use crate::workers::Workers;
use rayon::Scope;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The most names that wait: some megabytes.
pub(super) const MOST_SUSPECTS: usize = 10_000;

/// The most checks of a name that changes all the time.
const MOST_CHECKS: usize = 3;

/// The number of names of a task.
const CHUNK: usize = 16;

/// A name that is not right, with what was there.
#[derive(Debug)]
pub(super) struct Suspect {
    /// The name, its record, and what was under it when that was read.
    pub item: Item,
    /// The result of the check.
    pub finding: Finding,
}

/// The names that wait, and what has become of them.
#[derive(Debug)]
pub(super) struct Second<'a> {
    reader: &'a Reader,
    root: &'a Arc<Dir>,
    checker: &'a Checker<'a>,
    suspects: Mutex<Vec<Option<Suspect>>>,
    extras: Mutex<Vec<Suspect>>,
    findings: Mutex<Vec<Finding>>,
    /// Files that are there under a recorded name which their folder does not list: some filesystems list another
    /// spelling, and that one is no extra.
    spelled: Mutex<HashSet<FileId>>,
    has_changed: AtomicBool,
    failure: Mutex<Option<Unusable>>,
}

impl<'a> Second<'a> {
    /// Nothing waits.
    pub(super) fn new(reader: &'a Reader, root: &'a Arc<Dir>, checker: &'a Checker<'a>) -> Second<'a> {
        Second {
            reader,
            root,
            checker,
            suspects: Mutex::default(),
            extras: Mutex::default(),
            findings: Mutex::default(),
            spelled: Mutex::default(),
            has_changed: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    /// Keeps a name, or returns it if so many wait already.
    pub(super) fn keep(&self, suspect: Suspect, most: usize) -> Option<Suspect> {
        let mut suspects = lock(&self.suspects);
        if suspects.len() >= most {
            return Some(suspect);
        }
        suspects.push(Some(suspect));
        None
    }

    /// Looks at all names again. Extras are left for the end, when all spellings are known.
    pub(super) fn look<'s>(&'s self, scope: &Scope<'s>, workers: &'s Workers) {
        let len = lock(&self.suspects).len();
        let work = move |_: &Scope<'s>, chunk: Range<usize>| {
            for at in chunk {
                let suspect = lock(&self.suspects).get_mut(at).and_then(Option::take);
                match suspect {
                    Some(suspect) if suspect.finding.status == Status::Extra => {
                        lock(&self.extras).push(suspect)
                    }
                    Some(suspect) => self.settle(suspect),
                    None => {}
                }
            }
        };
        let done = |_: &Scope<'s>| {
            std::mem::take(&mut *lock(&self.extras)).into_iter().for_each(|it| self.settle(it))
        };
        workers.in_chunks(scope, (len, CHUNK), work, done);
    }

    fn settle(&self, suspect: Suspect) {
        match self.look_at(suspect) {
            Ok(finding) => lock(&self.findings).extend(finding),
            Err(unusable) => {
                lock(&self.failure).get_or_insert(unusable);
            }
        }
    }

    /// The final finding about a name; none when there is nothing to report any more.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(super) fn look_at(&self, mut suspect: Suspect) -> Result<Option<Finding>, Unusable> {
        for _ in 0..MOST_CHECKS {
            let item = self.again(&suspect.item)?;
            if item.record == suspect.item.record && item.state == suspect.item.state {
                break;
            }
            self.compare(&suspect.item, &item);
            match self.checker.check(&item, true) {
                Answer::Found(found) => match *found {
                    (finding, _) if finding.status == Status::Ok => return Ok(Some(finding)),
                    (finding, state) => suspect = Suspect { item: Item { state, ..item }, finding },
                },
                Answer::Nothing | Answer::Later | Answer::Stopped => return Ok(None),
            }
        }
        let Suspect { item, finding } = suspect;
        let is_spelled = |id: &FileId| lock(&self.spelled).contains(id);
        let is_known = finding.status == Status::Extra
            && matches!(item.state, State::There(entry) if is_spelled(&entry.id));
        Ok((!is_known).then_some(finding))
    }

    /// The name as it is now.
    fn again(&self, item: &Item) -> Result<Item, Unusable> {
        let path = &item.folder.path;
        let record = self.reader.record(path.as_bytes(), &item.name)?;
        let confirmed = self.reader.confirmed(path.as_bytes())?;
        let (dir, hidden) = match find(self.root, path) {
            Ok(dir) => (dir, None),
            Err(errno) => (None, Some(errno)),
        };
        let state = match (&dir, hidden) {
            (_, Some(errno)) => State::Hidden(errno),
            (Some(dir), None) => look(dir, &item.name),
            (None, None) => State::Absent,
        };
        let folder = Arc::new(Folder { path: path.clone(), dir, hidden, confirmed });
        Ok(Item { folder, name: item.name.clone(), record, state })
    }

    /// Notes what the difference between two looks tells.
    fn compare(&self, before: &Item, now: &Item) {
        let is_seen = |state| matches!(state, State::There(_) | State::Absent);
        match (before.state, now.state, before.record) {
            (State::Absent, State::There(entry), Some(record))
                if entry.kind == Kind::File && now.record == Some(record) =>
            {
                lock(&self.spelled).insert(entry.id);
            }
            (then, now_state, record) => {
                if record != now.record || is_seen(then) && is_seen(now_state) {
                    self.has_changed.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// The findings, and whether anything has changed between the two looks.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(super) fn end(&self) -> Result<(Vec<Finding>, bool), Unusable> {
        match lock(&self.failure).take() {
            Some(unusable) => Err(unusable),
            None => {
                let findings = std::mem::take(&mut *lock(&self.findings));
                Ok((findings, self.has_changed.load(Ordering::Relaxed)))
            }
        }
    }
}
