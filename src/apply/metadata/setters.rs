//! Setters for one piece of metadata each, which learn from the filesystem's answer.

use crate::apply::metadata::Target;
use crate::apply::metadata::probe::{takes_mode, takes_mtime, takes_owner};
use crate::apply::refusal::{MetadataError, in_replica, is_immutable};
use crate::capabilities::Filesystem;
use crate::context::Context;
use crate::fs::metadata::AccessTime;
use crate::fs::{Errno, is_unsupported};
use crate::metadata_rules::{Due, MetadataComparison, mtime_feature, owner_feature};
use crate::model::acl::{GROUP, OTHERS};
use crate::model::entry::{Entry, Kind, Timestamp};
use crate::model::feature::Feature;
use crate::model::problem_kind::ProblemKind;

const SET_MODE: ProblemKind = ProblemKind::SetMode;

const SETUID_SETGID: u16 = 0o6000;

/// Removes the bits of group and others that the entry will not have in the end, before owner and ACL change: rights of
/// the old group, or those that a mask grants, would for a moment be rights of the new one. True when something was
/// written.
///
/// # Errors
/// The mode cannot be set although the filesystem should hold it: then the owner must stay as well.
pub(in crate::apply) fn close(
    target: Target<'_>,
    (kind, due): (Kind, &Due),
    (shown, owner_changes): (&Entry, bool),
) -> Result<bool, MetadataError> {
    if kind == Kind::Symlink || !target.filesystem.holds_for(kind, Feature::Mode) {
        return Ok(false);
    }
    // An ACL that is still to be set may grant the new group less than the mode, its mask, says.
    let kept = if owner_changes { OTHERS } else { GROUP | OTHERS };
    let mut mode = shown.mode & (!(GROUP | OTHERS) | due.mode & kept);
    if owner_changes {
        // chown clears them only if the class may execute, which these bits may just have lost.
        mode &= !SETUID_SETGID;
    }
    if mode == shown.mode {
        return Ok(false);
    }
    match target.subject.set_mode(mode) {
        // An unsupported mode is reported where the final mode is set.
        Err(errno) if is_mode_missing(target, kind, errno) => Ok(true),
        set => set.map(|()| true).map_err(in_replica(SET_MODE)),
    }
}

/// # Errors
/// The owner is refused to this entry alone.
pub(in crate::apply) fn set_owner(
    context: &Context<'_>,
    target: Target<'_>,
    (kind, due): (Kind, &Due),
) -> Result<(), MetadataError> {
    match target.subject.set_owner(due.uid, due.gid) {
        // EPERM, or an unsupported operation. EINVAL, an owner that a server does not know, concerns only this one
        // owner.
        Err(errno) if says_missing(errno) && learn_no_owner(context, target, (kind, due), errno) => Ok(()),
        set => set.map_err(in_replica(ProblemKind::SetOwner)),
    }
}

/// Whether an error may say that a filesystem lacks a feature.
fn says_missing(errno: Errno) -> bool {
    errno == Errno::PERM || is_unsupported(errno)
}

/// Whether the filesystem lacks the feature, given the result of a probe. Without a result it lacks the feature, unless
/// even the present mode of the entry cannot be set again.
fn is_missing(takes: Option<bool>, target: Target<'_>, errno: Errno) -> bool {
    says_missing(errno)
        && takes.map_or_else(|| errno != Errno::PERM || !is_immutable(target.subject), |takes| !takes)
}

/// Learns that entries of this kind get no owner here, unless a fresh entry gets it. A process with CAP_CHOWN is
/// refused by the filesystem as such. A process that may only choose among its own groups is refused by a server that
/// does not know of its membership in this group.
fn learn_no_owner(
    context: &Context<'_>,
    target: Target<'_>,
    (kind, due): (Kind, &Due),
    errno: Errno,
) -> bool {
    let takes = takes_owner(context, target.folder, kind, (due.uid, due.gid));
    if !is_missing(takes, target, errno) {
        return false;
    }
    if context.rights.gives_owners() || kind == Kind::Symlink {
        target.filesystem.learn_missing_for(kind, Feature::Owner);
    } else {
        target.filesystem.learn_refused_group(due.gid);
    }
    context.reporter.not_held(owner_feature(kind));
    true
}

/// # Errors
/// The mode is refused to this entry alone.
pub(in crate::apply) fn set_mode(
    context: &Context<'_>,
    target: Target<'_>,
    (kind, mode): (Kind, u16),
    now: &Entry,
) -> Result<(), MetadataError> {
    if kind == Kind::Symlink || !target.filesystem.holds_for(kind, Feature::Mode) || mode == now.mode {
        return Ok(());
    }
    let set = |mode| target.subject.set_mode(mode);
    match set(mode) {
        Ok(()) => Ok(()),
        // A service that may not make setuid files (systemd's RestrictSUIDSGID) still sets all other bits.
        Err(Errno::PERM) if mode & SETUID_SETGID != 0 && set(mode & !SETUID_SETGID).is_ok() => {
            Err(in_replica(ProblemKind::SetSpecialBits)(Errno::PERM))
        }
        Err(errno) if is_mode_missing(target, kind, errno) => {
            target.filesystem.learn_missing_for(kind, Feature::Mode);
            context.reporter.not_held(Feature::Mode);
            Ok(())
        }
        Err(errno) => Err(in_replica(SET_MODE)(errno)),
    }
}

/// Whether a mode was refused because the filesystem has no modes.
fn is_mode_missing(target: Target<'_>, kind: Kind, errno: Errno) -> bool {
    says_missing(errno) && is_missing(takes_mode(target.folder, kind), target, errno)
}

/// # Errors
/// The time is refused to this entry alone.
pub(in crate::apply) fn set_mtime(
    context: &Context<'_>,
    target: Target<'_>,
    source: &Entry,
    access: AccessTime,
) -> Result<(), MetadataError> {
    let kind = source.kind;
    match target.subject.set_mtime(source.mtime, access) {
        // EPERM where every file belongs to one user, who is not this one.
        Err(errno) if says_missing(errno) && is_missing(takes_mtime(target.folder, kind), target, errno) => {
            target.filesystem.learn_missing_for(kind, Feature::Mtime);
            context.reporter.not_held(mtime_feature(kind, target.filesystem));
            Ok(())
        }
        set => set.map_err(in_replica(ProblemKind::SetMtime)),
    }
}

/// The way to set the modification time of one entry: alone first, and together with the access time if that changed
/// nothing, as on a filesystem with libfuse 2, which drops such a request without an error.
pub(in crate::apply) struct Times {
    pub(in crate::apply) access: AccessTime,
    /// Whether setting the modification time alone changed nothing.
    was_dropped: bool,
}

impl Times {
    pub(in crate::apply) fn new(filesystem: &Filesystem) -> Times {
        let access = if filesystem.sets_both_times() { AccessTime::SetAgain } else { AccessTime::Left };
        Times { access, was_dropped: false }
    }

    /// Chooses the way of an attempt, given the wanted time and the shown one.
    pub(in crate::apply) fn begin(&mut self, attempt: usize, wanted: Timestamp, shown: Timestamp) {
        if attempt > 0 && !Filesystem::explains(wanted, shown) {
            self.access = AccessTime::SetAgain;
        }
    }

    /// Notes the times shown before and after an attempt.
    pub(in crate::apply) fn see(&mut self, before: Timestamp, after: Timestamp) {
        self.was_dropped |= self.access == AccessTime::Left && before == after;
    }

    /// Learns if only the second way worked.
    pub(in crate::apply) fn learn(&self, filesystem: &Filesystem) {
        if self.was_dropped && self.access == AccessTime::SetAgain {
            filesystem.learn_both_times();
        }
    }
}

/// Learns from the owner that is shown after everything was set.
pub(in crate::apply) fn learn_owner(
    context: &Context<'_>,
    target: Target<'_>,
    (source, compared): (&Entry, &MetadataComparison),
) {
    // A refusal that concerns this entry alone is reported as a problem.
    if compared.differences.owner {
        learn_no_owner(context, target, (source.kind, &compared.due), Errno::NOTSUP);
    }
}

/// Learns from the mode and time that are shown after everything was set.
pub(in crate::apply) fn learn(
    context: &Context<'_>,
    target: Target<'_>,
    (source, compared): (&Entry, &MetadataComparison),
    shown: &Entry,
) {
    let (kind, filesystem) = (source.kind, target.filesystem);
    let (due, wrong) = (&compared.due, compared.differences);
    // The kernel may clear setuid and setgid for reasons of its own; that says nothing about the filesystem.
    let is_wrong = wrong.mode && (due.mode ^ shown.mode) & 0o777 != 0;
    if is_wrong && takes_mode(target.folder, kind) != Some(true) {
        filesystem.learn_missing_for(kind, Feature::Mode);
        context.reporter.not_held(Feature::Mode);
    }
    if wrong.mtime && filesystem.learn_mtime(source.mtime, shown.mtime) {
        context.reporter.not_held(mtime_feature(kind, filesystem));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 5 }
    }

    #[test]
    fn both_times_are_set_where_one_alone_was_dropped_and_nowhere_else() {
        let (wanted, old) = (at(1_000_000_001), at(1_700_000_000));
        let truncated = Timestamp { nanoseconds: 0, ..wanted };
        // The time shown after each attempt; the way of the second attempt; the lesson.
        let cases = [
            (old, wanted, AccessTime::SetAgain, true),
            // Another process wrote in between: set again, and nothing is learned.
            (at(1_700_000_009), wanted, AccessTime::SetAgain, false),
            // The filesystem stores no finer times.
            (truncated, truncated, AccessTime::Left, false),
        ];
        for (first, second, way, expected) in cases {
            let filesystem = Filesystem::default();
            let mut times = Times::new(&filesystem);
            times.begin(0, wanted, old);
            assert_eq!(times.access, AccessTime::Left);
            times.see(old, first);
            times.begin(1, wanted, first);
            assert_eq!(times.access, way, "{first:?}");
            times.see(first, second);
            times.learn(&filesystem);
            assert_eq!(filesystem.sets_both_times(), expected, "{first:?}");
        }
        let filesystem = Filesystem::default();
        filesystem.learn_both_times();
        assert_eq!(Times::new(&filesystem).access, AccessTime::SetAgain, "at once");
    }
}
