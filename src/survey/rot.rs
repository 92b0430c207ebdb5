//! Contents that differ although no fact of a file moved: the index tells who is right.
//!
//! - The source's file has the recorded facts and another content, and the replica still has the recorded content: the
//!   source has rotted, and the good replica is not overwritten.
//! - The source's file has the recorded content: the replica has rotted, or was edited, and is repaired.
//! - Neither has it: an ordinary update.

use crate::fs::file::{BUFFER, read_some, with_buffers};
use crate::index::trust::Standing;
use crate::index::{Known, Record};
use crate::model::change::Verb;
use crate::model::counters::Counter;
use crate::model::digest::{Digest, Hasher};
use crate::model::entry::Entry;
use crate::model::error::{Cause, Problem, Side};
use crate::model::problem_kind::ProblemKind;
use crate::plan::Pair;
use crate::survey::Survey;
use crate::survey::hardlinks::Verdict;
use crate::survey::merge::Merge;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

const KEPT: &str = "its replica still has the recorded content and is kept; restore the file from there, or rewrite or \
                    touch it, or accept it as it is (file-sync approve)";
const LOST: &str = "its replica has the same content by now; restore the file from another backup, or rewrite or touch \
                    it, or accept it as it is (file-sync approve)";

impl Survey<'_> {
    /// What the index knows of a file.
    pub(super) fn known<'m>(
        &self,
        merge: &'m Merge,
        name: &CStr,
        (source, replica): (&Entry, &Entry),
    ) -> Option<Known<'m>> {
        let records = merge.records.as_ref()?;
        let known = records.known(name, source, replica);
        for (side, is_unstable) in [Side::Source, Side::Replica].into_iter().zip(known.unstable) {
            if is_unstable {
                self.context.reporter.unstable_inodes(side, &merge.pair.path().join(name));
            }
        }
        Some(known)
    }

    /// Decides about a file whose sides differ. `ordinary` is the verdict without the index.
    pub(super) fn who_is_right(
        &self,
        pair: &Pair,
        name: &CStr,
        (source, replica): (BorrowedFd<'_>, BorrowedFd<'_>),
        known: &Known<'_>,
        ordinary: Verdict,
    ) -> Verdict {
        let (Some(record), Standing::Source | Standing::Both) = (known.record, known.standing) else {
            return ordinary;
        };
        let replace = |verb, reason| Verdict::Replace { verb, reason, replica_unreadable: false };
        // A file that cannot be read any more is a matter for the copy, or for the next pass.
        let Some(found) = self.digest_of(source) else { return ordinary };
        if found == record.digest {
            return replace(Verb::Repair, "the source is as recorded, the replica is not");
        }
        let has_good_replica = self.digest_of(replica) == Some(record.digest);
        if !has_good_replica {
            return replace(Verb::Update, "content differs");
        }
        if self.context.ledger.is_approved(&pair.path().join(name), found) {
            return replace(Verb::Update, "approved");
        }
        if !known.proves_rot() {
            self.context.reporter.times_stood_still(&pair.path().join(name));
            return replace(Verb::Update, "content differs, its times do not");
        }
        self.rotted(pair, name, (found, &record, known.confirmed), KEPT);
        Verdict::Unknown
    }

    /// Reports a file that is equal on both sides and on neither side what it was: filesystems may store equal blocks
    /// once.
    pub(super) fn has_rotted_on_both_sides(
        &self,
        pair: &Pair,
        name: &CStr,
        known: &Known<'_>,
        digest: Option<Digest>,
    ) -> bool {
        match (digest, known.record, known.standing) {
            (Some(found), Some(record), Standing::Both | Standing::Source)
                if found != record.digest
                    && known.proves_rot()
                    && !self.context.ledger.is_approved(&pair.path().join(name), found) =>
            {
                self.rotted(pair, name, (found, &record, known.confirmed), LOST);
                true
            }
            _ => false,
        }
    }

    fn rotted(
        &self,
        pair: &Pair,
        name: &CStr,
        (found, record, confirmed): (Digest, &Record, i64),
        consequence: &'static str,
    ) {
        self.context.reporter.count(Counter::Rotted, 1);
        let cause = Cause::Rotted { found, recorded: record.digest, confirmed };
        let path = pair.path().join(name);
        self.context.problem(&Problem::new(path, ProblemKind::TrustSourceFile, cause, consequence));
    }

    /// The digest of a whole file; none when it cannot be read to its end, or when the pass is to end.
    fn digest_of(&self, file: BorrowedFd<'_>) -> Option<Digest> {
        let mut hasher = Hasher::new();
        with_buffers(|buffer, _| {
            let mut at = 0;
            loop {
                if self.context.is_halted() {
                    return None;
                }
                let piece = buffer.get_mut(..BUFFER)?;
                let read = read_some(file, piece, at).ok()?;
                if read == 0 {
                    return Some(hasher.finish());
                }
                hasher.update(piece.get(..read)?);
                self.context.read(read);
                at += read as u64;
            }
        })
    }
}
