//! Setting one piece of metadata, and what the filesystem's answer teaches.

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

/// Takes from the group and from others what they will not have in the end, before owner and access list change: what
/// the mode allowed to one group, or as the mask of a list, it would for a moment allow to another one. True when
/// something was written.
///
/// # Errors
/// The mode cannot be set although the filesystem should hold it: then the owner has to stay as well.
pub(in crate::apply) fn close(
    target: Target<'_>,
    (kind, due): (Kind, &Due),
    (shown, owner_changes): (&Entry, bool),
) -> Result<bool, MetadataError> {
    if kind == Kind::Symlink || !target.filesystem.holds_for(kind, Feature::Mode) {
        return Ok(false);
    }
    // A list that is still to be set may allow the new group less than the mode, its mask, says.
    let kept = if owner_changes { OTHERS } else { GROUP | OTHERS };
    let mut mode = shown.mode & (!(GROUP | OTHERS) | due.mode & kept);
    if owner_changes {
        // The kernel takes them away only where the class may execute, which it may not any more.
        mode &= !SETUID_SETGID;
    }
    if mode == shown.mode {
        return Ok(false);
    }
    match target.subject.set_mode(mode) {
        // What cannot be held is told where the mode is set.
        Err(errno) if is_mode_missing(target, kind, errno) => Ok(true),
        set => set.map(|()| true).map_err(in_replica(SET_MODE)),
    }
}

/// # Errors
/// It is refused to this entry, and says nothing of others.
pub(in crate::apply) fn set_owner(
    context: &Context<'_>,
    target: Target<'_>,
    (kind, due): (Kind, &Due),
) -> Result<(), MetadataError> {
    match target.subject.set_owner(due.uid, due.gid) {
        // Not allowed here, or unknown to the filesystem. EINVAL, an owner that a server does not know, says something of
        // this one owner only.
        Err(errno) if says_missing(errno) && learn_no_owner(context, target, (kind, due), errno) => Ok(()),
        set => set.map_err(in_replica(ProblemKind::SetOwner)),
    }
}

/// Whether an error may say that a filesystem has no such thing.
fn says_missing(errno: Errno) -> bool {
    errno == Errno::PERM || is_unsupported(errno)
}

/// Whether it does, given what came of trying the same with a new entry. Where nothing could be tried: unless even what the
/// entry has cannot be set.
fn is_missing(takes: Option<bool>, target: Target<'_>, errno: Errno) -> bool {
    says_missing(errno)
        && takes.map_or_else(|| errno != Errno::PERM || !is_immutable(target.subject), |takes| !takes)
}

/// Learns that entries of this kind get no owner here, unless a new one gets it. A process that may give entries to others
/// is refused by the filesystem; another one, which may only choose among its own groups, by whoever does not know that it
/// is in this one.
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
/// It is refused to this entry, and says nothing of others.
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

/// Whether a mode was refused because the filesystem has none.
fn is_mode_missing(target: Target<'_>, kind: Kind, errno: Errno) -> bool {
    says_missing(errno) && is_missing(takes_mode(target.folder, kind), target, errno)
}

/// # Errors
/// It is refused to this entry, and says nothing of others.
pub(in crate::apply) fn set_mtime(
    context: &Context<'_>,
    target: Target<'_>,
    source: &Entry,
    access: AccessTime,
) -> Result<(), MetadataError> {
    let kind = source.kind;
    match target.subject.set_mtime(source.mtime, access) {
        // EPERM where every file belongs to one user, who is another one.
        Err(errno) if says_missing(errno) && is_missing(takes_mtime(target.folder, kind), target, errno) => {
            target.filesystem.learn_missing_for(kind, Feature::Mtime);
            context.reporter.not_held(mtime_feature(kind, target.filesystem));
            Ok(())
        }
        set => set.map_err(in_replica(ProblemKind::SetMtime)),
    }
}

/// How the modification time of one entry is set: alone first, and together with the access time where that changed
/// nothing, as with a filesystem on libfuse 2, which drops such a request without an error.
pub(in crate::apply) struct Times {
    pub(in crate::apply) access: AccessTime,
    /// Whether a time that was set alone left the old one as it was.
    was_dropped: bool,
}

impl Times {
    pub(in crate::apply) fn new(filesystem: &Filesystem) -> Times {
        let access = if filesystem.sets_both_times() { AccessTime::SetAgain } else { AccessTime::Left };
        Times { access, was_dropped: false }
    }

    /// Chooses for an attempt, given the time that is wanted and the one that is shown.
    pub(in crate::apply) fn begin(&mut self, attempt: usize, wanted: Timestamp, shown: Timestamp) {
        if attempt > 0 && !Filesystem::explains(wanted, shown) {
            self.access = AccessTime::SetAgain;
        }
    }

    /// Takes note of what the entry shows before and after an attempt.
    pub(in crate::apply) fn see(&mut self, before: Timestamp, after: Timestamp) {
        self.was_dropped |= self.access == AccessTime::Left && before == after;
    }

    /// Learns when the second way was the one that worked.
    pub(in crate::apply) fn learn(&self, filesystem: &Filesystem) {
        if self.was_dropped && self.access == AccessTime::SetAgain {
            filesystem.learn_both_times();
        }
    }
}

/// Learns from the owner that the entry shows after everything was set.
pub(in crate::apply) fn learn_owner(
    context: &Context<'_>,
    target: Target<'_>,
    (source, compared): (&Entry, &MetadataComparison),
) {
    // Where it is this entry alone that does not take it, that is told as a problem.
    if compared.differences.owner {
        learn_no_owner(context, target, (source.kind, &compared.due), Errno::NOTSUP);
    }
}

/// Learns from the mode and time that the entry shows after everything was set.
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
        // What is shown after each attempt; the way of the second one; what is learned.
        let cases = [
            (old, wanted, AccessTime::SetAgain, true),
            // Something else wrote in between: this once, and nothing is learned.
            (at(1_700_000_009), wanted, AccessTime::SetAgain, false),
            // The filesystem knows no finer times.
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
