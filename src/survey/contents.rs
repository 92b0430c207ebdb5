//! Comparing the contents of two files: what the index makes superfluous is left out.

use crate::capabilities::{Filesystem, may_be_shown_as};
use crate::fs::file::{BUFFER, forget_cached};
use crate::fs::metadata::Subject;
use crate::index::Known;
use crate::model::counters::Counter;
use crate::model::digest::{Digest, Digests};
use crate::model::entry::Entry;
use crate::plan::Pair;
use crate::survey::Survey;
use crate::survey::compare_bytes::{Comparison, compare_contents, compare_to_end};
use crate::survey::hardlinks::Verdict;
use crate::survey::merge::Merge;
use crate::survey::metadata::{ComparedMetadata, Subjects};
use crate::survey::reconcile::content_verb;
use crate::survey::rot::{Judged, Opened};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

impl Survey<'_> {
    /// Compares two files, first their contents and then their metadata.
    pub(super) fn compare_files(
        &self,
        merge: &Merge,
        (source_folder, replica_folder): (BorrowedFd<'_>, BorrowedFd<'_>),
        name: &CStr,
        entries: (&Entry, &Entry),
    ) -> Judged {
        let pair = &merge.pair;
        let (source, replica) = entries;
        let verdict = |compared: Option<ComparedMetadata>| {
            Judged::from(compared.map_or(Verdict::Unknown, |compared| Verdict::Same(compared.differences)))
        };
        let named = Subjects::Both(Subject::Named(source_folder, name), Subject::Named(replica_folder, name));
        if self.context.compared.has(pair.source.as_ref(), source, replica) {
            return verdict(self.compare_metadata(pair, Some(name), entries, named));
        }
        let known = self.known(merge, name, entries);
        let is_bare = known.is_some_and(|known| known.is_bare());
        if known.is_some_and(|known| !self.context.asks_the_disk && known.is_trusted()) {
            self.context.reporter.count(Counter::Trusted, 1);
            self.context.reporter.count(Counter::BytesTrusted, source.size + replica.size);
            let subjects = if is_bare { Subjects::Bare } else { named };
            return verdict(self.compare_metadata(pair, Some(name), entries, subjects));
        }
        let source_file = match self.context.open_to_read(source_folder, name, source.uid) {
            Ok(file) => file,
            Err(_) if self.context.is_halted() => return Verdict::Unknown.into(),
            Err(errno) => return self.unreadable_source(pair, name, errno).into(),
        };
        let replica_file = match self.context.open_to_read(replica_folder, name, replica.uid) {
            Ok(file) => file,
            Err(_) if self.context.is_halted() => return Verdict::Unknown.into(),
            Err(errno) => return self.unreadable_replica(pair, name, errno).into(),
        };
        let files = (source_file.as_fd(), replica_file.as_fd());
        let opened = Opened { source: (files.0, source), replica: files.1 };
        if self.context.asks_the_disk {
            forget_cached(files.1);
        }
        let compared = self.compare_open_files(pair, files, entries, known);
        self.context.cache.end(files.0, source.size);
        self.context.cache.end(files.1, replica.size);
        match compared {
            Comparison::Equal(digest) => {
                self.tell_verified(pair, name, replica.size, (digest, known));
                let open = Subjects::Both(Subject::Open(files.0), Subject::Open(files.1));
                let subjects = if is_bare { Subjects::Bare } else { open };
                let compared = self.compare_metadata(pair, Some(name), entries, subjects);
                if let Some(known) = known
                    && !self.has_rotted_on_both_sides(pair, name, opened, (&known, digest))
                {
                    let is_bare = compared.as_ref().is_some_and(|compared| compared.is_bare);
                    known.confirm(name, entries, digest, is_bare);
                }
                verdict(compared)
            }
            Comparison::Different => {
                let reason = if source.size == replica.size { "content differs" } else { "size differs" };
                let verb = content_verb(source, replica);
                let ordinary = Verdict::Replace { verb, reason, replica_unreadable: false };
                known.map_or(ordinary.into(), |known| self.who_is_right(pair, name, opened, known, ordinary))
            }
            Comparison::SourceUnreadable(errno) => self.unreadable_source(pair, name, errno).into(),
            Comparison::ReplicaUnreadable(errno) => self.unreadable_replica(pair, name, errno).into(),
            Comparison::Interrupted => Verdict::Unknown.into(),
        }
    }

    /// Reports a file that was read and is equal, with the digest that was computed or is known.
    fn tell_verified(
        &self,
        pair: &Pair,
        name: &CStr,
        size: u64,
        (digest, known): (Option<Digest>, Option<Known<'_>>),
    ) {
        if self.context.reporter.wants_verified() {
            let recorded = || known.and_then(|known| known.record).map(|record| record.digest);
            let digest = digest.or_else(|| recorded().filter(|_| self.context.digests == Digests::OfAll));
            self.context.reporter.verified(&pair.path().join(name), size, digest);
        }
    }

    /// Reads both files. They are hashed on the way, unless the index has their digest.
    fn compare_open_files(
        &self,
        pair: &Pair,
        files: (BorrowedFd<'_>, BorrowedFd<'_>),
        (source, replica): (&Entry, &Entry),
        known: Option<Known<'_>>,
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
        let is_known = known.is_some_and(|known| !known.is_hash_due());
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
}
