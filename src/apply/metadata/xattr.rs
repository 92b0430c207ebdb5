//! Sets the extended attributes (xattr) of an entry, its ACL among them.

use crate::apply::refusal::{MetadataError, in_replica, is_immutable};
use crate::apply::staged::Destination;
use crate::capabilities::Filesystem;
use crate::context::Context;
use crate::context::unread::{Telling, Unread};
use crate::fs::metadata::Subject;
use crate::fs::xattr::{ACCESS_LIST, Attributes, CAPABILITY, feature_of, gives_rights, is_system_made};
use crate::fs::{Errno, is_unsupported, stat};
use crate::model::entry::Kind;
use crate::model::error::Side;
use crate::model::feature::Feature;
use crate::model::problem_kind::ProblemKind;
use crate::model::rights::Capability;
use std::ffi::CStr;

/// The effect of setting xattrs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::apply) enum Effect {
    /// There was nothing to set.
    NotWritten,
    /// The filesystem accepted the xattrs and dropped them.
    Ignored,
    /// The entry's xattrs changed.
    Changed,
}

/// The xattrs that are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::apply) enum Which {
    /// All of them.
    All,
    /// Not those that grant rights: they were meant for an owner that the entry does not have. They stay as they are.
    AllButRights,
}

/// The state of an entry's ACL.
#[derive(Debug)]
pub(in crate::apply) enum ListSet {
    /// It is the right one, or there should be none.
    AsDue,
    /// This one should be there, and none is.
    Missing(Vec<u8>),
    /// It may be a wrong one: one of the two could not be read, or it could not be set.
    Unknown,
    /// It is not to be set yet.
    Waits,
}

/// The outcome of setting xattrs.
pub(in crate::apply) struct AttributesSet {
    pub(in crate::apply) effect: Effect,
    pub(in crate::apply) list: ListSet,
    pub(in crate::apply) not_set: Option<MetadataError>,
}

impl AttributesSet {
    /// Nothing was set, and the right xattrs are not known.
    pub(in crate::apply) fn unknown(which: Which) -> AttributesSet {
        let list = match which {
            Which::All => ListSet::Unknown,
            Which::AllButRights => ListSet::Waits,
        };
        AttributesSet { effect: Effect::NotWritten, list, not_set: None }
    }
}

/// The xattrs of a replica entry; none where the filesystem does not support them.
fn read_replica(context: &Context<'_>, target: Subject<'_>) -> Result<Attributes, MetadataError> {
    match Attributes::read(target, &context.rights) {
        Err(errno) if is_unsupported(errno) => Ok(Attributes::default()),
        read => read.map_err(in_replica(ProblemKind::ReadReplicaXattrs)),
    }
}

/// Sets and removes xattrs until they are `ours`; that may change the mode. Xattrs that could not be read on one side
/// stay as they are.
pub(in crate::apply) fn set_attributes(
    context: &Context<'_>,
    (filesystem, kind): (&Filesystem, Kind),
    ours: &Attributes,
    target: Subject<'_>,
    which: Which,
) -> AttributesSet {
    let failed = |not_set| AttributesSet { not_set: Some(not_set), ..AttributesSet::unknown(which) };
    let waits = |name: &CStr| which == Which::AllButRights && gives_rights(name);
    // Read again after an error, which may be transient: the survey could read them.
    let theirs = match read_replica(context, target) {
        Ok(theirs) if theirs.unread().next().is_some() => read_replica(context, target),
        theirs => theirs,
    };
    let theirs = match theirs {
        Ok(theirs) => theirs,
        Err(not_set) => return failed(not_set),
    };
    let mut written = false;
    let mut not_set = None;
    let is_extra = |name: &CStr| {
        let may_set = feature_of(name).is_some_and(|feature| context.rights.may_set(feature));
        !ours.has(name) && may_set && !is_system_made(name) && !waits(name)
    };
    for (name, _) in theirs.iter().filter(|(name, _)| is_extra(name)) {
        match opened(context, target, || target.remove_attribute(name)) {
            Ok(()) | Err(Errno::NODATA) => written = true,
            Err(errno) => not_set = not_set.or(Some(in_replica(ProblemKind::RemoveXattr)(errno))),
        }
    }
    let is_due = |name: &CStr, value: &[u8]| {
        theirs.get(name) != Some(value) && !theirs.is_unread(name) && !waits(name)
    };
    for (name, value) in ours.iter().filter(|(name, value)| is_due(name, value)) {
        let Some(feature) = feature_of(name) else { continue };
        if !filesystem.holds_for(kind, feature) || !context.rights.may_set(feature) {
            context.reporter.not_held(feature);
            continue;
        }
        // A policy may refuse labels and the like although the filesystem supports xattrs.
        let by_policy = matches!(feature, Feature::SecurityXattrs | Feature::TrustedXattrs);
        match opened(context, target, || target.set_attribute(name, value)) {
            Ok(()) => written = true,
            Err(errno)
                if is_unsupported(errno)
                    || (by_policy
                        && matches!(errno, Errno::PERM | Errno::ACCESS | Errno::INVAL)
                        && !is_immutable(target)) =>
            {
                filesystem.learn_missing_for(kind, feature);
                context.reporter.not_held(feature);
            }
            Err(errno) => not_set = not_set.or(Some(in_replica(ProblemKind::SetXattr)(errno))),
        }
    }
    let now = if written { read_replica(context, target) } else { Ok(theirs.clone()) };
    let now = match now {
        Ok(now) => now,
        Err(not_set) => return failed(not_set),
    };
    if written && not_set.is_none() {
        // Some filesystems (ntfs-3g) accept xattrs and drop them.
        for (name, _) in ours.iter().filter(|(name, _)| !now.has(name) && !waits(name)) {
            if let Some(feature) = feature_of(name) {
                filesystem.learn_missing_for(kind, feature);
                context.reporter.not_held(feature);
            }
        }
    }
    // An xattr that cannot be read back is not known to be there. One that could not be read before was left as it was,
    // and the survey has reported that.
    let is_trouble = |(name, errno): &(&CStr, Errno)| {
        let unread = Unread { side: Side::Replica, name: (*name).to_owned(), errno: *errno };
        ours.has(name) && !theirs.is_unread(name) && !waits(name) && unread.telling() != Telling::Notice
    };
    if let Some((_, errno)) = now.unread().find(is_trouble) {
        not_set = not_set.or(Some(in_replica(ProblemKind::ReadReplicaXattr)(errno)));
    }
    let effect = match (written, now == theirs) {
        (false, _) => Effect::NotWritten,
        (true, true) => Effect::Ignored,
        (true, false) => Effect::Changed,
    };
    let is_list_unread = ours.is_unread(ACCESS_LIST) || now.is_unread(ACCESS_LIST);
    let list = match (ours.get(ACCESS_LIST), now.get(ACCESS_LIST)) {
        (Some(_) | None, Some(_) | None) if which == Which::AllButRights => ListSet::Waits,
        (Some(_) | None, Some(_) | None) if is_list_unread => ListSet::Unknown,
        (Some(due), None) => ListSet::Missing(due.to_vec()),
        (due, held) if due != held && not_set.is_some() => ListSet::Unknown,
        (Some(_) | None, Some(_) | None) => ListSet::AsDue,
    };
    AttributesSet { effect, list, not_set }
}

/// The xattrs of one side that exist and could not be read.
pub(in crate::apply) fn unread_in(side: Side, attributes: &Attributes) -> Vec<Unread> {
    attributes.unread().map(|(name, errno)| Unread { side, name: name.to_owned(), errno }).collect()
}

/// The xattrs of the source that are unknown.
#[derive(Clone, Copy, Debug)]
pub(in crate::apply) enum Missed<'a> {
    /// None could be read.
    All,
    /// These could not be read.
    Some(&'a [Unread]),
}

/// Gives a new file those xattrs of the old replica that could not be read in the source: nothing shows that they
/// should go. An ACL is masked so that it grants nothing on the new content, since its readers are not known.
/// Capabilities are dropped: they were granted to another program.
pub(in crate::apply) fn keep_old_attributes(
    context: &Context<'_>,
    at: Destination<'_>,
    missed: Missed<'_>,
    new: Subject<'_>,
) -> Option<MetadataError> {
    let old = stat::entry_at(at.replica, at.name).ok()?;
    if Some(old.id) != at.expected || old.kind != Kind::File {
        return None;
    }
    let attributes = match read_replica(context, Subject::Named(at.replica, at.name)) {
        Ok(attributes) => attributes,
        Err(not_set) => return Some(not_set),
    };
    let is_missed = |name: &CStr| match missed {
        Missed::All => true,
        Missed::Some(unread) => unread.iter().any(|it| it.side == Side::Source && it.name.as_c_str() == name),
    };
    let is_kept = |name: &CStr| is_missed(name) && name != CAPABILITY && !is_system_made(name);
    let mode = match new.entry() {
        Ok(entry) => entry.mode,
        Err(errno) => return Some(in_replica(ProblemKind::StatReplicaEntry)(errno)),
    };
    let mut not_set = None;
    for (name, value) in attributes.iter().filter(|(name, _)| is_kept(name)) {
        let masked = (name == ACCESS_LIST).then(|| crate::model::acl::masked(value, mode));
        let value = masked.as_deref().unwrap_or(value);
        if let Err(errno) = opened(context, new, || new.set_attribute(name, value)) {
            not_set = not_set.or(Some(in_replica(ProblemKind::KeepXattr)(errno)));
        }
    }
    not_set
}

/// Writes an xattr. Where the mode forbids `user.*` (xattr(7)) and this user is the owner without CAP_DAC_OVERRIDE,
/// owner write permission is set for the moment.
fn opened(
    context: &Context<'_>,
    target: Subject<'_>,
    write: impl Fn() -> Result<(), Errno>,
) -> Result<(), Errno> {
    const OWN_WRITE: u16 = 0o200;
    match write() {
        Err(Errno::ACCESS) if !context.rights.may(Capability::DacOverride) => {}
        written => return written,
    }
    let entry = target.entry()?;
    if !context.rights.is_user(entry.uid) || entry.mode & OWN_WRITE != 0 {
        return Err(Errno::ACCESS);
    }
    target.set_mode(entry.mode | OWN_WRITE)?;
    let written = write();
    target.set_mode(entry.mode)?;
    written
}
