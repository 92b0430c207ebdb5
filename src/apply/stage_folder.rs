//! Stages a new folder: it is created private under a temporary name, filled with its first small files under their own
//! names, and published with one rename. That saves one rename per file, and the directory keeps no room for temporary
//! names. Entries that take long are created later in the usual way: an interrupted pass loses only the first files of
//! one such folder.

use crate::apply::error::Failed;
use crate::apply::hardlinks::first::{FirstMade, Here};
use crate::apply::job::Job;
use crate::apply::publish::publish;
use crate::apply::stage::NotStaged;
use crate::apply::staged::Destination;
use crate::apply::staged::Fsync;
use crate::apply::{Apply, LARGE};
use crate::fs::dir::Dir;
use crate::fs::file::{announce, open_to_read};
use crate::fs::listing::Listing;
use crate::fs::locked::{LOCKED, WORDS};
use crate::fs::{Errno, dirent, is_gone, is_unsupported, stat};
use crate::model::entry::{Entry, Kind};
use crate::model::error::{Cause, Side};
use crate::model::feature::Feature;
use crate::model::problem_kind::ProblemKind;
use crate::plan::{Pair, Protected};
use crate::walk::{FolderRules, ListedFolder, Standing, protected_of_folder, standing};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most names, and bytes, of a folder that are created before it is published.
const MOST_FIRST: usize = 1024;
const MOST_FIRST_BYTES: u64 = 16 << 20;

/// The time after which the rest is shared by all workers: a local disk creates a thousand files meanwhile, a network a
/// few.
const LONG_ENOUGH: Duration = Duration::from_millis(100);

/// A folder that has just been published.
pub(super) struct StagedFolder {
    pub(super) pair: Arc<Pair>,
    /// The source's listing, or the error of reading it.
    pub(super) listing: Result<Listing, Errno>,
    /// The rules for its names.
    pub(super) rules: FolderRules,
    pub(super) first: Prefill,
}

/// The first names of a folder.
#[derive(Default)]
pub(super) struct Prefill {
    /// Their number.
    pub(super) names: usize,
    /// The entries created before the publication, and the failures.
    pub(super) done: Vec<(Job, Result<FirstMade, Failed>)>,
    /// The entries that are still to be created.
    pub(super) left: Vec<(Job, Entry)>,
    /// The failure that left a partial entry under its name, which could not be removed.
    remains: Option<Failed>,
}

/// A name in the source, and the result of looking at it.
type Seen = (Box<CStr>, Result<Entry, Errno>);

/// A folder to be created.
struct FolderToStage<'a> {
    job: &'a Job,
    at: Destination<'a>,
    /// The source's folder; open, where that succeeded.
    ours: Arc<Dir>,
    from: Option<Arc<OwnedFd>>,
    protected: Protected,
    first: First,
}

/// The first names of a folder.
#[derive(Default)]
struct First {
    /// The number of names.
    looked_at: usize,
    /// Those that are mirrored.
    names: Vec<Seen>,
}

impl FolderToStage<'_> {
    fn pair(&self, theirs: Arc<Dir>) -> Arc<Pair> {
        let filesystem = Arc::clone(&self.job.pair.filesystem);
        Arc::new(Pair {
            source: Some(Arc::clone(&self.ours)),
            replica: Some(theirs),
            filesystem,
            protected: self.protected,
        })
    }
}

const ACTION: ProblemKind = ProblemKind::CreateFolder;

impl Apply<'_> {
    /// Creates a folder under its name, private until it is finished, and where possible with its first files in it.
    pub(super) fn stage_folder(&self, job: &Job, seen: &Entry) -> Result<Option<StagedFolder>, Failed> {
        let (Some(source), Some(replica)) = (&job.pair.source, &job.pair.replica) else { return Ok(None) };
        let (source_fd, replica_fd) = self.open(source, replica)?;
        let at = job.destination(source_fd.as_fd(), replica_fd.as_fd());
        let ours = source.child(&job.name, seen.id);
        let protected = protected_of_folder(self.context, job.pair.protected, source, &job.name);
        let opened = ours.open().and_then(|fd| Ok((Listing::read(fd.as_fd())?, fd)));
        let mut rules = FolderRules::off();
        if let Ok((listing, fd)) = &opened
            && (protected != Protected::No || self.context.filter.is_on())
        {
            let listed = ListedFolder { dir: &ours, fd: fd.as_fd(), listing };
            rules = FolderRules::in_folder(self.context, protected, [listed]);
        }
        let (listing, from, first) = match opened {
            // Each name is checked more closely later if the log may lie in the folder.
            Ok((listing, fd)) if protected == Protected::No => {
                let first = self.look_at_first(&listing, fd.as_fd(), &rules);
                (Ok(listing), Some(fd), first)
            }
            Ok((listing, fd)) => (Ok(listing), Some(fd), First::default()),
            Err(errno) if is_gone(errno) => return Err(Failed::Gone(ProblemKind::ReadSourceFolder, errno)),
            // ENOKEY: the folder is encrypted and locked, and its real names are hidden.
            Err(LOCKED) => {
                return Err(Failed::Because(ProblemKind::ReadSourceFolder, Cause::Refused(WORDS), false));
            }
            Err(errno) => (Err(errno), None, First::default()),
        };
        if let Some(from) = &from {
            self.announce((&ours, from.as_fd()), &first.names, job);
        }
        let new = FolderToStage { job, at, ours, protected, from, first };
        if let Some(theirs) = self.skeleton(replica, &job.name) {
            let (pair, first) = (new.pair(theirs), Prefill::default());
            return Ok(Some(StagedFolder { pair, listing, rules, first }));
        }
        let has_first = new.first.names.iter().any(|(_, seen)| seen.is_ok_and(|entry| is_first(&entry, job)));
        let filesystem = &job.pair.filesystem;
        let may_fill = || filesystem.renames_filled_folders() && replica.open_for_temporaries().is_ok();
        if job.expected.is_some() || has_first && may_fill() {
            match self.stage_filled(replica, &new) {
                Err(failed) if job.expected.is_none() && says_no_renames(failed) => {
                    filesystem.learn_no_filled_folders();
                }
                Err(Failed::Taken) => {
                    // The copies were in vain. Rejected: a lookup beforehand. A FUSE filesystem that takes two
                    // spellings for one name would cache the old one, which is about to go.
                    filesystem.learn_no_filled_folders();
                    return Err(Failed::Taken);
                }
                shown => {
                    return shown.map(|(pair, first)| Some(StagedFolder { pair, listing, rules, first }));
                }
            }
        }
        match dirent::make_folder(at.replica, &job.name) {
            Err(Errno::EXIST) => return Err(Failed::Taken),
            Err(Errno::NOENT) if replica.is_in_place() == Ok(true) => {
                return Err(Failed::name_refused(ACTION));
            }
            made => made.map_err(Failed::replica(ACTION))?,
        }
        let made = stat::entry_at(at.replica, &job.name).map_err(Failed::replica(ACTION))?;
        let pair = new.pair(replica.child(&job.name, made.id));
        let first = self.prefill(&pair, None, &new.first);
        Ok(Some(StagedFolder { pair, listing, rules, first }))
    }

    /// Stats the first names of a source listing.
    fn look_at_first(&self, listing: &Listing, folder: BorrowedFd<'_>, rules: &FolderRules) -> First {
        let begin = Instant::now();
        let mut first = First::default();
        for name in listing.iter().take(MOST_FIRST) {
            if begin.elapsed() >= LONG_ENOUGH {
                break;
            }
            first.looked_at += 1;
            if rules.excludes_name(self.context, Side::Source, name).is_some() {
                continue;
            }
            let seen = stat::entry_at(folder, name);
            let is_excluded = seen.is_ok_and(|entry| {
                let standing = standing(self.context, rules, Side::Source, (name, &entry));
                matches!(standing, Standing::Excluded(_))
            });
            if !is_excluded {
                first.names.push((Box::from(name), seen));
            }
        }
        first
    }

    /// Announces the first files to a disk that is the bottleneck, so that it can read them in their order on the disk.
    /// A file that cannot be opened is reported when its turn comes.
    fn announce(&self, (dir, folder): (&Arc<Dir>, BorrowedFd<'_>), names: &[Seen], job: &Job) {
        if !self.context.may_announce() || !self.context.on_disk.has(dir) {
            return;
        }
        let mut room = MOST_FIRST_BYTES;
        for (name, seen) in names {
            let Ok(entry) = seen else { continue };
            if entry.kind != Kind::File || entry.size == 0 || entry.size > room || !is_first(entry, job) {
                continue;
            }
            room -= entry.size;
            if let Ok(file) = open_to_read(folder, name, self.context.owns(entry.uid)) {
                announce(file.as_fd(), 0, entry.size);
            }
            self.context.interrupt.beat();
        }
    }

    /// Creates a folder under a temporary name with its first files in it, and renames it into place.
    fn stage_filled(
        &self,
        replica: &Arc<Dir>,
        new: &FolderToStage<'_>,
    ) -> Result<(Arc<Pair>, Prefill), Failed> {
        let (job, at) = (new.job, new.at);
        replica.open_for_temporaries().map_err(Failed::replica(ACTION))?;
        let temporary = dirent::temporary_name().map_err(Failed::replica(ACTION))?;
        dirent::make_folder(at.replica, &temporary).map_err(Failed::replica(ACTION))?;
        let opened = replica.child_to_be(&temporary, &job.name).map_err(Failed::replica(ACTION));
        let shown = opened.and_then(|(theirs, to)| {
            let pair = new.pair(theirs);
            let folders = new.from.as_ref().map(|from| (from.as_fd(), to.as_fd()));
            let mut first = self.prefill(&pair, folders, &new.first);
            let published = match first.remains {
                // A torn entry must not be published.
                Some(failed @ (Failed::Halted | Failed::Because(..))) => Err(failed),
                Some(_) => {
                    let reason = Cause::Refused("a part of an entry in it could not be removed");
                    Err(Failed::Because(ACTION, reason, false))
                }
                None => publish(at, &temporary, true),
            };
            match published {
                Ok(leftover) => {
                    let pair = self.with_new_id(replica, new, pair, &to, &mut first);
                    Ok((pair, first, leftover))
                }
                Err(failed) => {
                    for (job, made) in &first.done {
                        self.first_unmade(to.as_fd(), job, made);
                    }
                    Err(failed)
                }
            }
        });
        match shown {
            Ok((pair, first, leftover)) => {
                if let Some(leftover) = leftover {
                    self.leave_over(Arc::clone(replica), leftover, job.path());
                }
                Ok((pair, first))
            }
            // If this fails too, the folder is an extra that the next pass removes.
            Err(failed) => match dirent::remove_folder(at.replica, &temporary) {
                Ok(()) | Err(_) => Err(failed),
            },
        }
    }

    /// The pair of a folder that has just been published: a new one where the identity depends on the name, as on some
    /// FUSE filesystems.
    fn with_new_id(
        &self,
        replica: &Arc<Dir>,
        new: &FolderToStage<'_>,
        pair: Arc<Pair>,
        folder: &OwnedFd,
        first: &mut Prefill,
    ) -> Arc<Pair> {
        let seen = stat::entry_at(new.at.replica, &new.job.name);
        let (Ok(seen), Ok(held)) = (seen, stat::entry_of(folder.as_fd())) else { return pair };
        // A folder that another process has put there meanwhile is not the one that is held open.
        if seen.id != held.id || pair.replica.as_ref().is_some_and(|dir| dir.id() == seen.id) {
            return pair;
        }
        let pair = new.pair(replica.child(&new.job.name, seen.id));
        let jobs = first.done.iter_mut().map(|(job, _)| job);
        for job in jobs.chain(first.left.iter_mut().map(|(job, _)| job)) {
            job.pair = Arc::clone(&pair);
        }
        pair
    }

    /// Creates as many of the first names as possible before the new folder is published, given the two open folders.
    fn prefill(
        &self,
        pair: &Arc<Pair>,
        folders: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
        of: &First,
    ) -> Prefill {
        let mut first = Prefill { names: of.looked_at, ..Prefill::default() };
        let mut room = MOST_FIRST_BYTES;
        let begin = Instant::now();
        let mut here = Here::default();
        for (name, seen) in &of.names {
            let job = Job::in_new_folder(pair, name);
            let entry = match seen {
                Ok(entry) => *entry,
                Err(errno) => {
                    first.done.push((job, Err(Failed::source(ProblemKind::StatSourceEntry)(*errno))));
                    continue;
                }
            };
            match folders {
                Some((from, to))
                    if is_first(&entry, &job)
                        && !self.context.log.was(&entry)
                        && entry.size <= room
                        && begin.elapsed() < LONG_ENOUGH
                        && !self.context.is_halted() =>
                {
                    self.context.interrupt.beat();
                    self.context.workers.did_name();
                    self.publish_overdue();
                    room -= entry.size;
                    let made = if entry.links > 1 {
                        let key = self.key_of_first(pair, &entry);
                        let made = key
                            .and_then(|key| self.make_first_linked(&job, &entry, (from, to), key, &mut here));
                        let Some(made) = made else {
                            first.left.push((job, entry));
                            continue;
                        };
                        made
                    } else {
                        let at = job.destination(from, to);
                        let made = self.make_ready(at, &entry, CString::from(name.clone()), Fsync::Grouped);
                        made.map(|ready| FirstMade::Copied(ready.made, None))
                    };
                    if let Err(NotStaged { failed, remains: true }) = &made {
                        first.remains.get_or_insert(*failed);
                    }
                    first.done.push((job, made.map_err(|unmade| unmade.failed)));
                }
                Some(_) | None => first.left.push((job, entry)),
            }
        }
        first
    }
}

/// Whether an entry can be created before its folder is published: it takes little time.
fn is_first(entry: &Entry, job: &Job) -> bool {
    match entry.kind {
        Kind::File => entry.size < LARGE,
        Kind::Symlink => job.pair.filesystem.holds(Feature::Symlinks),
        Kind::Folder | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice | Kind::Socket => false,
    }
}

/// Whether a failure shows that folders cannot be renamed on this filesystem, or that this one cannot.
fn says_no_renames(failed: Failed) -> bool {
    let Failed::Because(action, Cause::System(errno), false) = failed else { return false };
    let reasons = [Errno::XDEV, Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::NOTEMPTY, Errno::BUSY];
    action != ACTION && (is_unsupported(errno) || reasons.contains(&errno))
}
