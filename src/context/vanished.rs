//! Names that a folder lists and a lookup denies.
//!
//! Nearly always they have vanished in between, and the next pass decides. But some filesystems list names that they
//! cannot find, in every pass: a damaged folder, a name on a server that its client cannot express, an automount whose
//! server is dead. A listed name is not absent, so that is a problem.
//!
//! Only a listing that begins after the lookup tells the two apart. One listing per name would take forever in a large
//! folder that is being emptied; so the names are collected, and each folder is listed once more at the end of survey
//! and of apply. A file that is removed and created all the time may be missed by a lookup and be in the later listing:
//! a listed name is looked up a few times, and a name that is denied each time is listed a few times more.

use crate::collections::HashMap;
use crate::context::Context;
use crate::fs::dir::{Dir, Found};
use crate::fs::listing::Listing;
use crate::fs::{Errno, is_denial, is_gone, stat};
use crate::model::error::{Cause, Problem, Side};
use crate::model::problem_kind::ProblemKind;
use crate::workers::Workers;
use rayon::prelude::*;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{sleep, yield_now};
use std::time::Duration;

/// The number of listings in which a name has to be denied.
const ROUNDS: usize = 5;

/// The number of lookups after each listing that has the name.
const LOOKS: usize = 4;

/// The time between two listings: longer than a tick, and than the life of most files that are created and removed all
/// the time.
const PAUSE: Duration = Duration::from_millis(12);

/// The number of ancestors that are followed up where a folder is denied itself.
const FOLLOWED: usize = 4;

/// Denied names, by folder.
#[derive(Debug, Default)]
pub(crate) struct Vanished(Mutex<HashMap<(Side, usize), Suspects>>);

/// The denied names of one folder.
#[derive(Debug)]
struct Suspects {
    dir: Arc<Dir>,
    /// One after the other, each with its NUL: there may be a million.
    names: Vec<u8>,
}

impl Suspects {
    fn names(&self) -> Vec<&CStr> {
        let names = self.names.split_inclusive(|byte| *byte == 0);
        names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()).collect()
    }
}

impl Vanished {
    /// Notes a name that was denied after it had been listed.
    pub(crate) fn note(&self, side: Side, dir: &Arc<Dir>, name: &CStr) {
        let mut folders = self.folders();
        // Keyed by address, which is unique while the folder is in the map: on FUSE several folders may share a number.
        let suspects = folders
            .entry((side, Arc::as_ptr(dir).addr()))
            .or_insert_with(|| Suspects { dir: Arc::clone(dir), names: Vec::new() });
        suspects.names.extend_from_slice(name.to_bytes_with_nul());
    }

    /// Settles the names noted so far, and reports those that have not vanished.
    pub(crate) fn settle(&self, context: &Context<'_>) {
        for _ in 0..FOLLOWED {
            let folders = std::mem::take(&mut *self.folders());
            if folders.is_empty() || context.is_halted() {
                return;
            }
            let mut sides = Vec::with_capacity(folders.len());
            let mut doubts = Vec::with_capacity(folders.len());
            for ((side, _), suspects) in &folders {
                sides.push(*side);
                doubts.push(Doubt::new(Arc::clone(&suspects.dir), suspects.names()));
            }
            sort_out(context.workers, &mut doubts, |name| *name);
            for (side, doubt) in sides.into_iter().zip(doubts) {
                self.tell(context, side, doubt);
            }
        }
    }

    fn tell(&self, context: &Context<'_>, side: Side, doubt: Doubt<&CStr>) {
        let dir = &doubt.dir;
        // Names that are there again are for the next pass.
        for (name, errno) in doubt.unreadable {
            tell(context, side, (dir, name), Cause::System(errno));
        }
        match doubt.failed {
            None => {
                for name in doubt.suspects {
                    tell_ghost(context, side, dir, name);
                }
            }
            // The folder itself has gone, or is denied.
            Some(errno) if is_gone(errno) => match dir.find(None) {
                Ok(Found::Denied(above, name)) => self.note(side, &above, &name),
                Ok(Found::There(_) | Found::Replaced) => {}
                Err(errno) => context.unreadable_folder(side, &dir.path(), errno),
            },
            Some(errno) => context.unreadable_folder(side, &dir.path(), errno),
        }
    }

    fn folders(&self) -> MutexGuard<'_, HashMap<(Side, usize), Suspects>> {
        // The notes are consistent at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of one folder that were listed and denied, sorted by their later state.
#[derive(Debug)]
pub(crate) struct Doubt<T> {
    /// The folder.
    pub dir: Arc<Dir>,
    /// Listed and denied; at the end repeatedly.
    pub suspects: Vec<T>,
    /// Not listed any more.
    pub gone: Vec<T>,
    /// Seen again.
    pub there: Vec<T>,
    /// Listed, and unreadable with another error.
    pub unreadable: Vec<(T, Errno)>,
    /// The error of listing the folder.
    pub failed: Option<Errno>,
}

impl<T> Doubt<T> {
    /// Names without any later state.
    pub(crate) fn new(dir: Arc<Dir>, suspects: Vec<T>) -> Doubt<T> {
        let (gone, there, unreadable) = Default::default();
        Doubt { dir, suspects, gone, there, unreadable, failed: None }
    }

    fn is_open(&self) -> bool {
        !self.suspects.is_empty() && self.failed.is_none()
    }

    /// Lists the folder, and looks up the names that are still in it.
    fn look(&mut self, name_of: impl Fn(&T) -> &CStr) -> Result<(), Errno> {
        let fd = self.dir.open()?;
        // This listing begins after every lookup so far.
        let listing = Listing::read(fd.as_fd())?;
        for suspect in std::mem::take(&mut self.suspects) {
            let name = name_of(&suspect);
            if listing.position(name).is_none() {
                self.gone.push(suspect);
                continue;
            }
            match look_at(fd.as_fd(), name) {
                Err(errno) if is_denial(errno) => self.suspects.push(suspect),
                Ok(()) => self.there.push(suspect),
                Err(errno) => self.unreadable.push((suspect, errno)),
            }
        }
        Ok(())
    }
}

/// Looks up a name until it is seen, a few times at most.
fn look_at(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let mut looks = 1;
    loop {
        match stat::entry_at(folder, name) {
            Err(errno) if is_denial(errno) && looks < LOOKS => looks += 1,
            seen => return seen.map(drop),
        }
        // The process that removes and creates it may be waiting for this processor.
        yield_now();
    }
}

/// Sorts out names that were listed and then denied, in many folders at once.
pub(crate) fn sort_out<T: Send>(
    workers: &Workers,
    doubts: &mut [Doubt<T>],
    name_of: impl Fn(&T) -> &CStr + Sync,
) {
    for round in 0..ROUNDS {
        if round > 0 {
            if !doubts.iter().any(Doubt::is_open) {
                return;
            }
            sleep(PAUSE);
        }
        workers.install(|| {
            doubts.par_iter_mut().filter(|doubt| doubt.is_open()).for_each(|doubt| {
                doubt.failed = doubt.look(&name_of).err();
            });
        });
    }
}

/// Reports a name that is listed and denied.
pub(crate) fn tell_ghost(context: &Context<'_>, side: Side, dir: &Dir, name: &CStr) {
    let cause = Cause::Refused("its folder lists it and says at every look that it is not there");
    tell(context, side, (dir, name), cause);
}

fn tell(context: &Context<'_>, side: Side, (dir, name): (&Dir, &CStr), cause: Cause) {
    context.problem(&Problem::new(
        dir.path().join(name),
        match side {
            Side::Source => ProblemKind::StatSourceEntry,
            Side::Replica => ProblemKind::StatReplicaEntry,
        },
        cause,
        match side {
            Side::Source => "what the replica has of it is kept",
            Side::Replica => "nothing at or below it is changed in this pass",
        },
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    fn sorted<'a>(dir: &Arc<Dir>, names: Vec<&'a CStr>) -> Doubt<&'a CStr> {
        let workers = Workers::new(1, 1).unwrap();
        let mut doubts = [Doubt::new(Arc::clone(dir), names)];
        sort_out(&workers, &mut doubts, |name| *name);
        let [doubt] = doubts;
        assert_eq!((doubt.failed, doubt.unreadable.len()), (None, 0));
        doubt
    }

    #[test]
    fn what_is_not_listed_any_more_has_gone_and_what_is_seen_again_has_not() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("there"), b"").unwrap();
        let dir = Dir::root(scratch.path(), 4).unwrap();
        let doubt = sorted(&dir, vec![c"gone", c"there"]);
        assert_eq!((doubt.gone, doubt.there), (vec![c"gone"], vec![c"there"]));
        assert!(doubt.suspects.is_empty());
    }

    /// For example a lock file: missed by a lookup, it may be there again in the listing, and gone at the next lookup.
    #[test]
    fn a_file_that_comes_and_goes_all_the_time_is_no_ghost() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Dir::root(scratch.path(), 4).unwrap();
        let (path, is_over) = (scratch.path().join("lock"), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::fs::write(&path, b"").unwrap();
                    std::fs::remove_file(&path).unwrap();
                }
            });
            let ghosts: usize = (0..100).map(|_| sorted(&dir, vec![c"lock"]).suspects.len()).sum();
            is_over.store(true, Ordering::Relaxed);
            // A single lookup misses it about fifty times.
            assert!(ghosts <= 2, "{ghosts} of 100");
        });
    }

    #[test]
    fn a_folder_that_loses_a_hundred_thousand_names_is_listed_once_for_all_of_them() {
        let scratch = tempfile::tempdir().unwrap();
        for name in 0..1000 {
            std::fs::write(scratch.path().join(format!("kept {name}")), b"").unwrap();
        }
        let dir = Dir::root(scratch.path(), 4).unwrap();
        let vanished = Vanished::default();
        for name in 0..100_000 {
            let name = std::ffi::CString::new(format!("gone {name}")).unwrap();
            vanished.note(Side::Source, &dir, &name);
        }
        let begin = Instant::now();
        let folders = vanished.folders();
        assert_eq!(folders.len(), 1);
        for suspects in folders.values() {
            assert_eq!(sorted(&suspects.dir, suspects.names()).gone.len(), 100_000);
        }
        // A listing for each name would take minutes.
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}
