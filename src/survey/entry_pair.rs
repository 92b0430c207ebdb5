//! Comparing two entries of one kind: content, symbolic link target, metadata.

use crate::fs::metadata::Subject;
use crate::fs::{Errno, dirent};
use crate::model::counters::Tally;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::feature::Feature;
use crate::plan::weight::{Weight, needed};
use crate::plan::{Action, Change, Pair};
use crate::survey::hardlinks::Verdict;
use crate::survey::merge::Merge;
use crate::survey::metadata::Subjects;
use crate::survey::reconcile::{Decision, content_verb};
use crate::survey::rot::Judged;
use crate::survey::{PairBorrowed, Survey, change};
use std::ffi::CStr;
use std::sync::Arc;

impl Survey<'_> {
    pub(super) fn compare_large(
        &self,
        merge: &Merge,
        name: &CStr,
        decision: Decision,
        entries: (&Entry, &Entry),
    ) -> u64 {
        let Some(open) = self.open_both(&merge.pair) else { return 0 };
        if self.context.is_halted() { 0 } else { self.compare(merge, open.borrow(), name, decision, entries) }
    }

    /// Compares two entries of one kind that are not folders. Returns 1 when nothing differs.
    pub(super) fn compare(
        &self,
        merge: &Merge,
        fds: PairBorrowed<'_>,
        name: &CStr,
        decision: Decision,
        (source, replica): (&Entry, &Entry),
    ) -> u64 {
        let pair = &merge.pair;
        if source.links > 1 || replica.links > 1 {
            if let Some(ticket) = self.links.enter(pair, name, source, replica) {
                let judged = self.verdict(merge, fds, name, decision, (source, replica));
                self.links.judge(ticket, judged.verdict);
            }
            return 0;
        }
        let change = change(pair, name, source, Action::Create);
        let judged = self.verdict(merge, fds, name, decision, (source, replica));
        match judged.verdict {
            Verdict::Same(differences) if differences.any() => {
                let is_foreign = !self.context.rights.owns(replica.uid);
                // Only its owner may set the metadata of a file, but other users may replace it by a copy.
                let change = if is_foreign
                    && pair.filesystem.holds_for(Kind::File, Feature::Owner)
                    && source.kind == Kind::File
                {
                    Change { action: Action::Reown, reason: "its metadata belongs to another user", ..change }
                } else {
                    Change { action: Action::SetMetadata(differences), ..change }
                };
                self.push(change.instead_of(replica));
                0
            }
            Verdict::Same(_) => {
                if source.kind == Kind::File {
                    self.context.reporter.tally(Tally::BytesUnchanged, source.size);
                }
                1
            }
            Verdict::Replace { verb, reason, replica_unreadable } => {
                let action = Action::Replace(verb);
                if let (Kind::File, Some(folder)) = (source.kind, &pair.source) {
                    self.arrivals.add(&self.moves, (folder, name), source);
                }
                let data = fds.source.map_or(*source, |folder| self.with_data_only(folder, name, source));
                let weight = Weight { needed: needed(&data, &pair.filesystem).into(), ..change.weight };
                self.push(Change {
                    action,
                    replica_unreadable,
                    reason,
                    recorded: judged.recorded.map(Box::new),
                    ..Change { weight, ..change }.instead_of(replica)
                });
                0
            }
            Verdict::Unknown => 0,
        }
    }

    fn verdict(
        &self,
        merge: &Merge,
        fds: PairBorrowed<'_>,
        name: &CStr,
        decision: Decision,
        (source, replica): (&Entry, &Entry),
    ) -> Judged {
        let pair = &merge.pair;
        let (Some(source_folder), Some(replica_folder)) = (fds.source, fds.replica) else {
            return Verdict::Unknown.into();
        };
        let named = (Subject::Named(source_folder, name), Subject::Named(replica_folder, name));
        let subjects = match decision {
            Decision::Replace(verb, reason) => {
                return Verdict::Replace { verb, reason, replica_unreadable: false }.into();
            }
            Decision::CompareContents => {
                return self.compare_files(merge, (source_folder, replica_folder), name, (source, replica));
            }
            Decision::CompareTargets => {
                match (dirent::read_symlink(source_folder, name), dirent::read_symlink(replica_folder, name))
                {
                    (Ok(ours), Ok(theirs)) if ours == theirs => named,
                    (Ok(_), Ok(_)) => {
                        let verb = content_verb(source, replica);
                        return Verdict::Replace {
                            verb,
                            reason: "target differs",
                            replica_unreadable: false,
                        }
                        .into();
                    }
                    // EINVAL: it is no symbolic link any more.
                    (Err(Errno::INVAL), _) => return Verdict::Unknown.into(),
                    (Err(errno), _) => return self.unreadable_source(pair, name, errno).into(),
                    (Ok(_), Err(Errno::INVAL)) => {
                        self.gone(pair, Side::Replica, Errno::INVAL);
                        return Verdict::Unknown.into();
                    }
                    (Ok(ours), Err(errno)) if is_as_made(ours.count_bytes(), errno, (source, replica)) => {
                        self.context.reporter.symlink_unread(&pair.path().join(name), errno);
                        named
                    }
                    (Ok(_), Err(errno)) => return self.unreadable_replica(pair, name, errno).into(),
                }
            }
            Decision::CompareMetadata => named,
            Decision::Nothing
            | Decision::Descend
            | Decision::Create
            | Decision::Delete(_)
            | Decision::Skip { .. }
            | Decision::Blocked(_) => return Verdict::Unknown.into(),
        };
        self.same_but_metadata(pair, name, (source, replica), subjects).into()
    }

    fn same_but_metadata(
        &self,
        pair: &Arc<Pair>,
        name: &CStr,
        entries: (&Entry, &Entry),
        (ours, theirs): (Subject<'_>, Subject<'_>),
    ) -> Verdict {
        let compared = self.compare_metadata(pair, Some(name), entries, Subjects::Both(ours, theirs));
        compared.map_or(Verdict::Unknown, |compared| Verdict::Same(compared.differences))
    }
}

/// Whether an unreadable symbolic link of the replica is the one that was created there: sshfs hides the target of a
/// link that leads out of its tree, and would hide that of a new one, too. Its length is right, and the source's link
/// has not changed since.
fn is_as_made(length: usize, errno: Errno, (source, replica): (&Entry, &Entry)) -> bool {
    matches!(errno, Errno::PERM | Errno::ACCESS)
        && replica.size == length as u64
        && source.ctime <= replica.ctime.max(replica.mtime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Timestamp;
    use crate::survey::reconcile::tests::file;

    #[test]
    fn a_link_that_cannot_be_read_is_right_if_it_is_younger_and_as_long_and_only_the_reading_is_refused() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let source = Entry { ctime: at(5), ..file(1) };
        let replica = |size, mtime, ctime| Entry { size, mtime: at(mtime), ctime: at(ctime), ..file(2) };
        for (errno, copy, expected) in [
            (Errno::PERM, replica(8, 9, 0), true),
            (Errno::ACCESS, replica(8, 0, 9), true),
            (Errno::PERM, replica(8, 5, 5), true),
            (Errno::PERM, replica(8, 4, 4), false),
            (Errno::PERM, replica(9, 9, 9), false),
            (Errno::IO, replica(8, 9, 9), false),
        ] {
            assert_eq!(is_as_made(8, errno, (&source, &copy)), expected, "{errno:?} {copy:?}");
        }
    }
}
