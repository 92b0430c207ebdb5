//! Contents that differ although no fact of a file moved: the index tells who is right.
//!
//! - The source's file has the recorded facts and another content, and the replica still has the recorded content: the
//!   source has rotted, and the good replica is not overwritten.
//! - The source's file has the recorded content: the replica has rotted, or was edited, and is repaired.
//! - Neither has it: an ordinary update.

use crate::fs::Errno;
use crate::fs::file::{read_some, with_buffers};
use crate::fs::stat::entry_of;
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

const KEPT: &str = "its replica has the recorded content and is kept: copy the file back from there; touching or \
                    rewriting the source, or file-sync approve, accepts its present content instead";
const UNREAD: &str = "its replica cannot be read now and is kept as it is; copy the file back from there or from another \
                      backup; touching or rewriting the source, or file-sync approve, accepts its present content instead";
const LOST: &str = "its replica has the same content by now: copy the file back from another backup; touching or \
                    rewriting it, or file-sync approve, accepts its present content";

/// A verdict, and the digest that the source's content has to have if it is copied, as far as the index knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) recorded: Option<Digest>,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Judged {
        Judged { verdict, recorded: None }
    }
}

/// Two open files, and the entries that were seen before they were opened.
#[derive(Clone, Copy)]
pub(super) struct Opened<'a> {
    pub(super) source: (BorrowedFd<'a>, &'a Entry),
    pub(super) replica: BorrowedFd<'a>,
}

impl Opened<'_> {
    /// Whether the source's file is still the one that was seen: nobody has written to it meanwhile.
    fn is_source_as_seen(&self) -> bool {
        let (file, seen) = self.source;
        let facts = |entry: &Entry| (entry.id, entry.size, entry.mtime, entry.ctime);
        entry_of(file).is_ok_and(|now| facts(&now) == facts(seen))
    }
}

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
        opened: Opened<'_>,
        known: Known<'_>,
        ordinary: Verdict,
    ) -> Judged {
        let known = known.or_of_another_name(opened.source.1);
        let (Some(record), Standing::Source | Standing::Both) = (known.record, known.standing) else {
            return ordinary.into();
        };
        let replace = |verb, reason| Verdict::Replace { verb, reason, replica_unreadable: false };
        // One that cannot be read any more is a problem of the copy, or of the next pass.
        let Ok(found) = self.digest_of(opened.source.0) else { return ordinary.into() };
        let in_replica = self.digest_of(opened.replica);
        if !opened.is_source_as_seen() || self.context.is_halted() {
            return ordinary.into();
        }
        let path = || pair.path().join(name);
        if found == record.digest {
            if in_replica == Ok(record.digest) {
                let reason = "it was read twice, with two contents, of which the second is the recorded one";
                let cause = Cause::Refused(reason);
                let consequence = "nothing was changed; check the disk and the memory";
                self.context.problem(&Problem::new(path(), ProblemKind::ReadSourceFile, cause, consequence));
                return Verdict::Unknown.into();
            }
            let reason = "the source is as recorded, the replica is not";
            return Judged { verdict: replace(Verb::Repair, reason), recorded: Some(record.digest) };
        }
        let consequence = match in_replica {
            Ok(digest) if digest == record.digest => KEPT,
            Ok(_) => return replace(Verb::Update, "content differs").into(),
            Err(_) => UNREAD,
        };
        if self.context.ledger.is_approved(&path(), found) {
            return replace(Verb::Update, "approved").into();
        }
        if !known.proves_rot() {
            self.context.reporter.times_stood_still(&path());
            return replace(Verb::Update, "content differs, its times do not").into();
        }
        known.suspect(name);
        self.rotted(pair, name, (found, &record, known.confirmed), consequence);
        Verdict::Unknown.into()
    }

    /// Reports a file that is equal on both sides and on neither side what it was: filesystems may store equal blocks
    /// once.
    pub(super) fn has_rotted_on_both_sides(
        &self,
        pair: &Pair,
        name: &CStr,
        opened: Opened<'_>,
        (known, digest): (&Known<'_>, Option<Digest>),
    ) -> bool {
        match (digest, known.record, known.standing) {
            (Some(found), Some(record), Standing::Both | Standing::Source)
                if found != record.digest
                    && known.proves_rot()
                    && opened.is_source_as_seen()
                    && !self.context.ledger.is_approved(&pair.path().join(name), found) =>
            {
                known.suspect(name);
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

    /// The digest of a whole file; that of its beginning when the pass is to end.
    fn digest_of(&self, file: BorrowedFd<'_>) -> Result<Digest, Errno> {
        let mut hasher = Hasher::new();
        with_buffers(|buffer, _| {
            let mut at = 0;
            while !self.context.is_halted() {
                let read = read_some(file, buffer, at)?;
                if read == 0 {
                    break;
                }
                hasher.update(buffer.get(..read).unwrap_or_default());
                self.context.read(read);
                self.context.pace(read);
                at += read as u64;
            }
            Ok(hasher.finish())
        })
    }
}
