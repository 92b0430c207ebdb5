//! Looks up source names that the replica does not list but answers to: some filesystems take several spellings for one
//! name, or list another name than the given one. Such a name is the entry that answers, whatever its listed name: it
//! is compared with that, and the listed name is no extra.
//!
//! Lookups happen only in a folder with names on each side that the other side does not list, once for each such source
//! name.

use crate::fs::dir::Dir;
use crate::fs::spelled::{Listed, Spellings};
use crate::fs::{Errno, is_gone, stat};
use crate::model::counters::Tally;
use crate::model::entry::Entry;
use crate::model::error::{Cause, Problem, Side};
use crate::model::problem_kind::ProblemKind;
use crate::model::spelling::Alteration;
use crate::plan::{Pair, Rename};
use crate::survey::aliases::{Alias, Aliases, Answer, Likeness, likeness, settle};
use crate::survey::merge::Merge;
use crate::survey::reconcile::Sighting;
use crate::survey::{CHUNK, Survey};
use crate::walk::left_out;
use rayon::Scope;
use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether an error says that a filesystem does not accept a name.
fn is_refusal_of_names(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG)
}

/// The replica's answers, by positions in the source's listing.
type Answers = Mutex<Vec<(usize, Result<Entry, Errno>)>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Survey<'_> {
    /// Works through a folder pair, after looking up names that the replica may have under other spellings.
    pub(super) fn merge<'s>(&'s self, scope: &Scope<'s>, merge: Merge) {
        let merge = Arc::new(merge);
        let names = self.names_to_ask(&merge);
        if names.is_empty() {
            return self.names(scope, merge);
        }
        let answers = Arc::new(Answers::default());
        let (asked, given) = (Arc::clone(&merge), Arc::clone(&answers));
        let len = names.len();
        let ask = move |_: &Scope<'s>, chunk: Range<usize>| {
            let mut found = self.ask(&asked, names.get(chunk).unwrap_or_default());
            lock(&given).append(&mut found);
        };
        self.context.workers.in_chunks(scope, (len, CHUNK), ask, move |scope| {
            let mut answers = std::mem::take(&mut *lock(&answers));
            answers.sort_unstable_by_key(|(at, _)| *at);
            if !answers.is_empty() {
                merge.aliases.get_or_init(|| self.aliases(&merge, &answers));
            }
            self.names(scope, merge);
        });
    }

    /// The names that only the source lists; empty where the replica lists none of its own, as is usual.
    fn names_to_ask(&self, merge: &Merge) -> Vec<usize> {
        if merge.pair.replica.is_none() || !merge.differs_on_both_sides() {
            return Vec::new();
        }
        let is_free =
            |name: Option<&CStr>| name.is_some_and(|name| merge.rules.below(self.context, name).is_some());
        if !merge.only(Side::Replica).any(|at| is_free(merge.replica.get(at))) {
            return Vec::new();
        }
        merge.only(Side::Source).filter(|at| is_free(merge.source.get(*at))).collect()
    }

    /// Looks up some names.
    fn ask(&self, merge: &Merge, names: &[usize]) -> Vec<(usize, Result<Entry, Errno>)> {
        self.context.interrupt.beat();
        let mut found = Vec::new();
        if self.context.is_halted() {
            return found;
        }
        let folder = merge.pair.replica.as_ref().map_or(Err(Errno::NOENT), Dir::open);
        for at in names {
            let Some(name) = merge.source.get(*at) else { continue };
            let look = |folder: &Arc<OwnedFd>| match stat::entry_at(folder.as_fd(), name) {
                // Retried once: a single refusal is no proof, as the name may yet be created.
                Err(errno) if is_refusal_of_names(errno) => stat::entry_at(folder.as_fd(), name),
                answer => answer,
            };
            match folder.as_ref().map(look) {
                Ok(Err(Errno::NOENT)) => {}
                Ok(answer) => found.push((*at, answer)),
                Err(errno) => found.push((*at, Err(*errno))),
            }
        }
        found
    }

    /// Pairs the looked-up names with the replica's listing.
    fn aliases(&self, merge: &Merge, asked: &[(usize, Result<Entry, Errno>)]) -> Aliases {
        // A listed name that the source has as well belongs to that name; the log file belongs to none.
        let is_extra = |at: &usize| {
            merge.replica.get(*at).is_some_and(|name| {
                merge.source.position(name).is_none() && merge.rules.below(self.context, name).is_some()
            })
        };
        let every = || (0..merge.replica.len()).filter(is_extra).collect();
        // A failure is reported here: the task that works on the names may be able to open the folders.
        let open = self.open_both(&merge.pair).and_then(|open| open.source.zip(open.replica));
        let Some((source, replica)) = open else {
            return settle(&[(0, Answer::Unknown(every()))]);
        };
        let mut is_told = false;
        let mut spellings = Spellings::of(replica.as_fd(), &merge.replica);
        let mut answers = Vec::new();
        for (at, answer) in asked {
            self.context.interrupt.beat();
            let Some(name) = merge.source.get(*at) else { continue };
            if answer.is_ok_and(|found| self.context.log.was(&found)) {
                continue;
            }
            let listed = answer.and_then(|found| Ok((spellings.find(name, &found)?, found)));
            let answer = match listed {
                Ok((Listed::Exactly | Listed::Nowhere, _)) => continue,
                Ok((Listed::As(listed) | Listed::Alike(listed), found)) if is_extra(&listed) => {
                    let ours = stat::entry_at(source.as_fd(), name);
                    Answer::Is(listed, ours.map_or(Likeness::None, |ours| likeness(&ours, &found)))
                }
                Ok((Listed::As(_) | Listed::Alike(_), _)) => continue,
                Ok((Listed::Perhaps(list), _)) => {
                    let extras: Vec<usize> = list.iter().copied().filter(is_extra).collect();
                    // It may be the entry of another source name.
                    if extras.len() == list.len() { Answer::Perhaps(extras) } else { Answer::Unknown(extras) }
                }
                // The filesystem does not accept the name itself.
                Err(errno) if is_refusal_of_names(errno) => {
                    Answer::Unknown(spellings.alike(name).into_iter().filter(is_extra).collect())
                }
                Err(errno) => {
                    let kept: Vec<usize> = every();
                    // Reported once per folder: all of its names may fail. The name itself may yet be created.
                    if !kept.is_empty() && !is_told {
                        is_told = true;
                        self.unasked(&merge.pair, name, errno);
                    }
                    Answer::Unknown(kept)
                }
            };
            answers.push((*at, answer));
        }
        settle(&answers)
    }

    /// Reports that a lookup for another spelling failed in the replica.
    fn unasked(&self, pair: &Pair, name: &CStr, errno: Errno) {
        if is_gone(errno) {
            return self.gone(pair, Side::Replica, errno);
        }
        self.context.problem(&Problem::new(
            pair.path().join(name),
            ProblemKind::StatReplicaEntry,
            Cause::System(errno),
            "what the replica alone has beside it is kept in this pass",
        ));
    }

    /// Settles a name that the replica lists under another spelling: it is renamed, unless the filesystem is known to
    /// alter such names. That is reported in every pass, since the name is not there.
    pub(super) fn settle_alias(
        &self,
        pair: &Arc<Pair>,
        name: &CStr,
        alias: Alias<'_>,
        (source, replica): (&Sighting, &Sighting),
    ) {
        let (Sighting::Present(source), Sighting::Present(_)) = (source, replica) else { return };
        if left_out(source, &pair.filesystem).is_some() {
            return;
        }
        let Alias::Listed(listed) = alias else {
            return self.context.problem(&Problem::shown_otherwise(
                pair.path().join(name),
                Cause::Refused("its filesystem answers to it with what it lists under another name"),
            ));
        };
        let alteration = Alteration::between(name, listed);
        if pair.filesystem.names.are_altered(alteration) {
            let cause = Cause::Refused(alteration.words());
            return self.context.problem(&Problem::shown_otherwise(pair.path().join(name), cause));
        }
        self.context.reporter.tally(Tally::Changes, 1);
        self.plan().renames.push(Rename {
            pair: Arc::clone(pair),
            name: name.into(),
            listed: listed.into(),
            kind: source.kind,
        });
    }
}
