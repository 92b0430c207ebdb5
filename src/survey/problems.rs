//! Reports entries that the survey cannot read.

use crate::fs::{Errno, is_denial, is_gone, is_passing};
use crate::model::change::Verb;
use crate::model::entry::Kind;
use crate::model::error::{Cause, Problem, Side};
use crate::model::problem_kind::ProblemKind;
use crate::plan::Pair;
use crate::survey::hardlinks::Verdict;
use crate::survey::{LOG, Survey};
use std::ffi::CStr;

impl Survey<'_> {
    /// Handles an error that says that a folder has gone or changed. In the source that is ordinary, and left to the
    /// next pass once it is confirmed; in the replica no other process should be at work.
    pub(super) fn gone(&self, pair: &Pair, side: Side, errno: Errno) {
        match side {
            Side::Source if self.confirms_gone(pair, None, errno) => {}
            Side::Source => self.unreadable_folder(pair, side, errno),
            Side::Replica => self.context.replica_disturbed(&pair.path()),
        }
    }

    /// Confirms the error that a source name has gone, or is of another kind by now: the next pass handles it.
    fn confirms_gone(&self, pair: &Pair, name: Option<&CStr>, errno: Errno) -> bool {
        let lost = |dir| self.context.confirms_gone(Side::Source, dir, name, errno);
        is_gone(errno) && pair.source.as_ref().is_none_or(lost)
    }

    /// Handles an unreadable replica file. It is replaced, unless it has gone, or is locked, or the error is transient:
    /// too many open files, or a lease, say nothing of its content.
    pub(super) fn unreadable_replica(&self, pair: &Pair, name: &CStr, errno: Errno) -> Verdict {
        let is_locked = |dir| self.context.is_locked_file(Side::Replica, dir, errno);
        if pair.replica.as_ref().is_some_and(is_locked) {
            return Verdict::Unknown;
        }
        if is_gone(errno) {
            self.gone(pair, Side::Replica, errno);
            return Verdict::Unknown;
        }
        if is_passing(errno) {
            self.context.problem(&Problem {
                path: pair.path().join(name),
                kind: ProblemKind::ReadReplicaFile,
                cause: Cause::System(errno),
                consequence: "it is kept, and was not compared",
                content_unreadable: true,
            });
            return Verdict::Unknown;
        }
        Verdict::Replace {
            verb: Verb::Repair,
            reason: "the replica cannot be read",
            replica_unreadable: true,
        }
    }

    pub(super) fn unreadable_source(&self, pair: &Pair, name: &CStr, errno: Errno) -> Verdict {
        let is_locked = |dir| self.context.is_locked_file(Side::Source, dir, errno);
        if pair.source.as_ref().is_some_and(is_locked) {
            return Verdict::Unknown;
        }
        if !self.confirms_gone(pair, Some(name), errno) {
            self.context.problem(&Problem {
                path: pair.path().join(name),
                kind: ProblemKind::ReadSourceFile,
                cause: Cause::System(errno),
                consequence: "it is skipped and its replica kept",
                content_unreadable: true,
            });
        }
        Verdict::Unknown
    }

    pub(super) fn unreadable_attributes(
        &self,
        pair: &Pair,
        name: Option<&CStr>,
        (side, errno): (Side, Errno),
    ) {
        match side {
            Side::Source if self.confirms_gone(pair, name, errno) => return,
            Side::Replica if is_gone(errno) => return self.gone(pair, side, errno),
            Side::Source | Side::Replica => {}
        }
        self.context.problem(&Problem::new(
            name.map_or_else(|| pair.path(), |name| pair.path().join(name)),
            match side {
                Side::Source => ProblemKind::ReadSourceXattrs,
                Side::Replica => ProblemKind::ReadReplicaXattrs,
            },
            Cause::System(errno),
            "those of the replica are kept as they are",
        ));
    }

    /// Reports a listed name that cannot be looked at, so that nothing is known of it. A name that the source denies
    /// may have vanished; one that the replica denies was removed by another process.
    pub(super) fn unseen(&self, pair: &Pair, side: Side, name: &CStr, errno: Errno) {
        let (dir, kind) = match side {
            Side::Source => (&pair.source, ProblemKind::StatSourceEntry),
            Side::Replica => (&pair.replica, ProblemKind::StatReplicaEntry),
        };
        match (dir, side) {
            (Some(dir), Side::Source) if is_denial(errno) => self.context.vanished.note(side, dir, name),
            (Some(_), Side::Replica) if is_denial(errno) => {
                self.context.replica_disturbed(&pair.path().join(name));
            }
            (Some(_) | None, _) => self.context.problem(&Problem {
                path: pair.path().join(name),
                kind,
                cause: Cause::System(errno),
                consequence: "nothing at or below it is changed in this pass",
                content_unreadable: true,
            }),
        }
    }

    pub(super) fn unreadable_folder(&self, pair: &Pair, side: Side, errno: Errno) {
        self.context.unreadable_folder(side, &pair.path(), errno);
    }

    /// Reports a folder of one tree that belongs to the other as well: a change there would be a change here.
    pub(super) fn is_of_other_tree(&self, pair: &Pair, name: &CStr) {
        self.context.problem(&Problem::new(
            pair.path().join(name),
            ProblemKind::MirrorFolder,
            Cause::Refused("it belongs to the source and to the replica, through a mount"),
            "nothing at or below it is changed; unmount it",
        ));
    }

    /// Reports a mount in the replica whose relation to the source could not be read.
    pub(super) fn unknown_mount(&self, pair: &Pair, name: &CStr, errno: Errno) {
        self.context.problem(&Problem::new(
            pair.path().join(name),
            ProblemKind::IdentifyMount,
            Cause::System(errno),
            "nothing at or below it is changed in this pass",
        ));
    }

    pub(super) fn is_mounted(&self, pair: &Pair, name: &CStr) {
        self.context.problem(&Problem::new(
            pair.path().join(name),
            ProblemKind::Delete,
            Cause::Refused("something is mounted there; unmount it first"),
            "it stays",
        ));
    }

    /// Reports that a name is the log file, which is not mirrored.
    pub(super) fn is_log(&self, pair: &Pair, name: &CStr, kind: Kind) -> u64 {
        self.note_left_out(pair, name, LOG);
        self.context.reporter.skipped(&pair.path().join(name), kind, LOG);
        0
    }

    pub(super) fn holds_log(&self, pair: &Pair, name: &CStr) {
        self.context.problem(&Problem::new(
            pair.path().join(name),
            ProblemKind::ReplaceFolder,
            Cause::Refused("the log file lies in it"),
            "it is kept; put the log elsewhere with --log_file",
        ));
    }
}
