//! Sets the extended attributes (xattr) of an entry, its ACL among them.

use crate::apply::publish::Destination;
use crate::apply::refusal::{MetadataError, in_replica, is_immutable};
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

/// What came of setting extended attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::apply) enum Effect {
    /// There was nothing to set.
    NotWritten,
    /// The filesystem took what was set and forgot it.
    Ignored,
    /// The entry has other attributes now.
    Changed,
}

/// Which attributes are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::apply) enum Which {
    /// All of them.
    All,
    /// Not those that give rights: they were meant for an owner that the entry does not have. They stay as they are.
    AllButRights,
}

/// Whether an entry has the access list that it should have, if any.
#[derive(Debug)]
pub(in crate::apply) enum ListSet {
    /// It has.
    AsDue,
    /// It should have this one and has none.
    Missing(Vec<u8>),
    /// It may have another one: which it should have, or has, could not be read, or could not be set.
    Unknown,
    /// It was not to be set yet.
    Waits,
}

/// What became of the extended attributes.
pub(in crate::apply) struct AttributesSet {
    pub(in crate::apply) effect: Effect,
    pub(in crate::apply) list: ListSet,
    pub(in crate::apply) not_set: Option<MetadataError>,
}

impl AttributesSet {
    /// Nothing was set, and what should have been is not known.
    pub(in crate::apply) fn unknown(which: Which) -> AttributesSet {
        let list = match which {
            Which::All => ListSet::Unknown,
            Which::AllButRights => ListSet::Waits,
        };
        AttributesSet { effect: Effect::NotWritten, list, not_set: None }
    }
}

/// The attributes of an entry of the replica; none where the filesystem has no such thing.
fn read_replica(context: &Context<'_>, target: Subject<'_>) -> Result<Attributes, MetadataError> {
    match Attributes::read(target, &context.rights) {
        Err(errno) if is_unsupported(errno) => Ok(Attributes::default()),
        read => read.map_err(in_replica(ProblemKind::ReadReplicaXattrs)),
    }
}

/// Sets and removes extended attributes until they are `ours`; that may change the mode. What could not be read on one of
/// the two sides stays as it is.
pub(in crate::apply) fn set_attributes(
    context: &Context<'_>,
    (filesystem, kind): (&Filesystem, Kind),
    ours: &Attributes,
    target: Subject<'_>,
    which: Which,
) -> AttributesSet {
    let failed = |not_set| AttributesSet { not_set: Some(not_set), ..AttributesSet::unknown(which) };
    let waits = |name: &CStr| which == Which::AllButRights && gives_rights(name);
    // What the survey could read is not left as it is for an error of the moment.
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
        // Labels and the like may be refused although the filesystem has attributes.
        let by_policy = matches!(feature, Feature::SecurityAttributes | Feature::TrustedAttributes);
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
        // Some filesystems (ntfs-3g) accept what they do not keep.
        for (name, _) in ours.iter().filter(|(name, _)| !now.has(name) && !waits(name)) {
            if let Some(feature) = feature_of(name) {
                filesystem.learn_missing_for(kind, feature);
                context.reporter.not_held(feature);
            }
        }
    }
    // What cannot be read back is not known to be there. What could not be read at first has been left as it was, and the
    // survey has told that.
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

/// What is there on one side and could not be read.
pub(in crate::apply) fn unread_in(side: Side, attributes: &Attributes) -> Vec<Unread> {
    attributes.unread().map(|(name, errno)| Unread { side, name: name.to_owned(), errno }).collect()
}

/// Attributes of the source that nobody knows.
#[derive(Clone, Copy, Debug)]
pub(in crate::apply) enum Missed<'a> {
    /// None could be read.
    All,
    /// These could not be read.
    Some(&'a [Unread]),
}

/// Gives a new file the attributes that the old replica has and that could not be read in the source: nobody said that
/// they should go. An access list grants nothing on the new content, since who may read that is not known; capabilities
/// are not for another program.
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
        Err(errno) => return Some(in_replica(ProblemKind::LookInReplica)(errno)),
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

/// Writes a `user.*` attribute also where the mode forbids that, which takes a capability to ignore (xattr(7)): this user's
/// own mode is opened for the moment.
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
