//! Comparing two entries of one kind: content, symbolic link target, metadata.

use crate::capabilities::{Filesystem, may_be_shown_as};
use crate::fs::file::{BUFFER, forget_cached};
use crate::fs::metadata::Subject;
use crate::fs::{Errno, dirent};
use crate::index::{FolderRecords, Known};
use crate::model::counters::Counter;
use crate::model::digest::Digests;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::feature::Feature;
use crate::plan::{Action, Change, Pair};
use crate::survey::compare_bytes::{Comparison, compare_contents, compare_to_end};
use crate::survey::hardlinks::Verdict;
use crate::survey::merge::Merge;
use crate::survey::metadata::Subjects;
use crate::survey::reconcile::{Decision, content_verb};
use crate::survey::{PairBorrowed, Survey, change};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
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
                let verdict = self.verdict(merge, fds, name, decision, (source, replica));
                self.links.judge(ticket, verdict);
            }
            return 0;
        }
        let change = change(pair, name, source, Action::Create);
        match self.verdict(merge, fds, name, decision, (source, replica)) {
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
                self.push(Change { expected: Some(replica.id), ..change });
                0
            }
            Verdict::Same(_) => 1,
            Verdict::Replace { verb, reason, replica_unreadable } => {
                let action = Action::Replace(verb);
                self.push(Change {
                    action,
                    expected: Some(replica.id),
                    replica_unreadable,
                    reason,
                    ..change
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
    ) -> Verdict {
        let pair = &merge.pair;
        let (Some(source_folder), Some(replica_folder)) = (fds.source, fds.replica) else {
            return Verdict::Unknown;
        };
        let named = (Subject::Named(source_folder, name), Subject::Named(replica_folder, name));
        let subjects = match decision {
            Decision::Replace(verb, reason) => {
                return Verdict::Replace { verb, reason, replica_unreadable: false };
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
                        };
                    }
                    // EINVAL: it is no symbolic link any more.
                    (Err(Errno::INVAL), _) => return Verdict::Unknown,
                    (Err(errno), _) => return self.unreadable_source(pair, name, errno),
                    (Ok(_), Err(Errno::INVAL)) => {
                        self.gone(pair, Side::Replica, Errno::INVAL);
                        return Verdict::Unknown;
                    }
                    (Ok(ours), Err(errno)) if is_as_made(ours.count_bytes(), errno, (source, replica)) => {
                        self.context.reporter.symlink_unread(&pair.path().join(name), errno);
                        named
                    }
                    (Ok(_), Err(errno)) => return self.unreadable_replica(pair, name, errno),
                }
            }
            Decision::CompareMetadata => named,
            Decision::Nothing
            | Decision::Descend
            | Decision::Create
            | Decision::Delete(_)
            | Decision::Skip { .. }
            | Decision::Blocked(_) => return Verdict::Unknown,
        };
        self.same_but_metadata(pair, name, (source, replica), subjects)
    }

    fn compare_files(
        &self,
        merge: &Merge,
        (source_folder, replica_folder): (BorrowedFd<'_>, BorrowedFd<'_>),
        name: &CStr,
        (source, replica): (&Entry, &Entry),
    ) -> Verdict {
        let pair = &merge.pair;
        let named = (Subject::Named(source_folder, name), Subject::Named(replica_folder, name));
        if self.context.compared.has(pair.source.as_ref(), source, replica) {
            return self.same_but_metadata(pair, name, (source, replica), named);
        }
        let known = self.known(merge, name, (source, replica));
        if known.is_some_and(|(records, known)| !self.context.asks_the_disk && records.trusts(&known)) {
            self.context.reporter.count(Counter::Trusted, 1);
            self.context.reporter.count(Counter::BytesTrusted, source.size + replica.size);
            return self.same_but_metadata(pair, name, (source, replica), named);
        }
        let source_file = match self.context.open_to_read(source_folder, name, source.uid) {
            Ok(file) => file,
            Err(_) if self.context.is_halted() => return Verdict::Unknown,
            Err(errno) => return self.unreadable_source(pair, name, errno),
        };
        let replica_file = match self.context.open_to_read(replica_folder, name, replica.uid) {
            Ok(file) => file,
            Err(_) if self.context.is_halted() => return Verdict::Unknown,
            Err(errno) => return self.unreadable_replica(pair, name, errno),
        };
        let files = (source_file.as_fd(), replica_file.as_fd());
        if self.context.asks_the_disk {
            forget_cached(files.1);
        }
        match self.compare_open_files(pair, files, (source, replica), known) {
            Comparison::Equal(digest) => {
                let recorded = known.and_then(|(_, known)| known.record).map(|record| record.digest);
                if self.context.reporter.wants_verified() {
                    let path = pair.path().join(name);
                    let shown = digest.or(recorded.filter(|_| self.context.digests == Digests::OfAll));
                    self.context.reporter.verified(&path, replica.size, shown);
                }
                if let Some((records, known)) = known
                    && !self.has_rotted_on_both_sides(pair, name, (records, &known), digest)
                {
                    records.confirm(name, &known, digest, (source, replica));
                }
                let subjects = (Subject::Open(files.0), Subject::Open(files.1));
                self.same_but_metadata(pair, name, (source, replica), subjects)
            }
            Comparison::Different => {
                let reason = if source.size == replica.size { "content differs" } else { "size differs" };
                let ordinary = Verdict::Replace {
                    verb: content_verb(source, replica),
                    reason,
                    replica_unreadable: false,
                };
                known.map_or(ordinary, |known| self.who_is_right(pair, name, files, known, ordinary))
            }
            Comparison::SourceUnreadable(errno) => self.unreadable_source(pair, name, errno),
            Comparison::ReplicaUnreadable(errno) => self.unreadable_replica(pair, name, errno),
            Comparison::Interrupted => Verdict::Unknown,
        }
    }

    /// Reads both files. They are hashed on the way, unless the index has their digest.
    fn compare_open_files(
        &self,
        pair: &Pair,
        files: (BorrowedFd<'_>, BorrowedFd<'_>),
        (source, replica): (&Entry, &Entry),
        known: Option<(&FolderRecords, Known)>,
    ) -> Comparison {
        let sizes = (source.size, source.blocks.saturating_mul(512));
        let sparse = source.may_have_holes();
        let compare = |digests| {
            if source.size == 0 {
                compare_to_end(self.context, files, replica.size, digests)
            } else {
                compare_contents(self.context, files, sizes, sparse, digests)
            }
        };
        let is_known = known.is_some_and(|(records, known)| !records.must_hash(&known));
        let wanted = if is_known { Digests::OfCopies } else { self.context.digests };
        // With different times the contents most likely differ, and a digest of their common start would be wasted. A
        // file that fits into one buffer is digested after the comparison anyway, and a second read from a disk costs
        // more than a wasted digest.
        let is_digested_at_once = shows_same_time(source, replica, &pair.filesystem)
            || source.size <= BUFFER as u64
            || self.context.workers.wait_for_disk();
        if is_digested_at_once {
            compare(wanted)
        } else {
            let compared = compare(Digests::OfCopies);
            let is_equal = matches!(compared, Comparison::Equal(_));
            if is_equal && wanted == Digests::OfAll { compare(wanted) } else { compared }
        }
    }

    fn same_but_metadata(
        &self,
        pair: &Arc<Pair>,
        name: &CStr,
        entries: (&Entry, &Entry),
        (ours, theirs): (Subject<'_>, Subject<'_>),
    ) -> Verdict {
        let compared = self.compare_metadata(pair, Some(name), entries, Subjects::Both(ours, theirs));
        compared.map_or(Verdict::Unknown, Verdict::Same)
    }
}

/// Whether two entries show the same modification time, as far as the replica's filesystem can show it: its time step
/// may not have been learned yet, and no step is coarser than two seconds.
fn shows_same_time(source: &Entry, replica: &Entry, filesystem: &Filesystem) -> bool {
    const COARSEST: i64 = 2;
    filesystem.holdable(source.mtime) == replica.mtime
        || may_be_shown_as(source.mtime, replica.mtime)
        || replica.mtime.nanoseconds == 0
            && (source.mtime.seconds.saturating_sub(replica.mtime.seconds)).abs() <= COARSEST
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
    fn a_time_is_the_same_in_the_steps_of_any_filesystem_and_another_one_is_not() {
        let at = |seconds, nanoseconds| Entry { mtime: Timestamp { seconds, nanoseconds }, ..file(1) };
        let same = |source, replica| shows_same_time(&source, &replica, &Filesystem::default());
        let source = || at(1_000_001, 123_456_789);
        // In full; in steps of 100 ns (NTFS, SMB), 1 µs, 10 ms (exfat), 1 s (ext4 with small inodes), 2 s (vfat).
        for shown in [
            at(1_000_001, 123_456_789),
            at(1_000_001, 123_456_700),
            at(1_000_001, 123_456_000),
            at(1_000_001, 120_000_000),
            at(1_000_001, 0),
            at(1_000_000, 0),
            at(1_000_002, 0),
        ] {
            assert!(same(source(), shown), "{:?}", shown.mtime);
        }
        for other in [at(1_000_001, 123_456_788), at(1_000_001, 1), at(1_000_004, 0), at(999_998, 0)] {
            assert!(!same(source(), other), "{:?}", other.mtime);
        }
        assert!(!same(at(i64::MAX, 0), at(i64::MIN, 0)), "no overflow");
    }

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
