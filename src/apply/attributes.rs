//! Setting the extended attributes of an entry, its access list among them.

use crate::apply::refusal::{NotSet, in_replica, in_source, is_immutable};
use crate::context::Context;
use crate::filesystem::Filesystem;
use crate::fs::attributes::{ACCESS_LIST, Attributes, CAPABILITY, is_system_made, namespace};
use crate::fs::subject::Subject;
use crate::fs::{Errno, is_unsupported};
use crate::monitor::Feature;
use std::ffi::CStr;

/// What came of setting extended attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// There was nothing to set.
    NotWritten,
    /// The filesystem took what was set and forgot it.
    Ignored,
    /// The entry has other attributes now.
    Changed,
}

/// Which attributes are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Not those that give rights: they were meant for an owner that the entry does not have. They stay as they are.
    AllButRights,
}

/// Access lists and capabilities say what somebody may do, beside the mode; the rest is data, or a default.
fn gives_rights(name: &CStr) -> bool {
    name == ACCESS_LIST || name == CAPABILITY
}

/// Whether an entry has the access list that it should have, if any.
pub(super) enum AccessList {
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
pub(super) struct AttributesSet {
    pub(super) effect: Effect,
    pub(super) access_list: AccessList,
    pub(super) not_set: Option<NotSet>,
}

/// Sets and removes extended attributes; that may change the mode.
pub(super) fn set_attributes(
    context: &Context<'_>,
    filesystem: &Filesystem,
    source: Subject<'_>,
    target: Subject<'_>,
    which: Which,
) -> AttributesSet {
    let failed = |not_set| AttributesSet {
        effect: Effect::NotWritten,
        access_list: match which {
            Which::All => AccessList::Unknown,
            Which::AllButRights => AccessList::Waits,
        },
        not_set: Some(not_set),
    };
    let waits = |name: &CStr| which == Which::AllButRights && gives_rights(name);
    let privileged = context.rights.privileged;
    let read = |subject| match Attributes::read(subject, privileged) {
        Err(errno) if is_unsupported(errno) => Ok(Attributes::default()),
        read => read,
    };
    let ours = match read(source).map_err(in_source("read the extended attributes in the source")) {
        Ok(ours) => ours,
        Err(not_set) => return failed(not_set),
    };
    let read_replica = || read(target).map_err(in_replica("read the extended attributes in the replica"));
    let theirs = match read_replica() {
        Ok(theirs) => theirs,
        Err(not_set) => return failed(not_set),
    };
    let mut written = false;
    let mut not_set = None;
    let is_extra = |name: &CStr| ours.get(name).is_none() && !is_system_made(name) && !waits(name);
    for (name, _) in theirs.iter().filter(|(name, _)| is_extra(name)) {
        match opened(context, target, || target.remove_attribute(name)) {
            Ok(()) | Err(Errno::NODATA) => written = true,
            Err(errno) => not_set = not_set.or(Some(in_replica("remove an extended attribute")(errno))),
        }
    }
    let is_due = |name: &CStr, value: &[u8]| theirs.get(name) != Some(value) && !waits(name);
    for (name, value) in ours.iter().filter(|(name, value)| is_due(name, value)) {
        let Some(feature) = namespace(name, privileged) else { continue };
        if !filesystem.holds(feature) {
            context.not_held(feature);
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
                filesystem.learn_missing(feature);
                context.not_held(feature);
            }
            Err(errno) => not_set = not_set.or(Some(in_replica("set an extended attribute")(errno))),
        }
    }
    let now = if written { read_replica() } else { Ok(theirs.clone()) };
    let now = match now {
        Ok(now) => now,
        Err(not_set) => return failed(not_set),
    };
    if written && not_set.is_none() {
        // Some filesystems (ntfs-3g) accept what they do not keep.
        for (name, _) in ours.iter().filter(|(name, _)| now.get(name).is_none() && !waits(name)) {
            if let Some(feature) = namespace(name, privileged) {
                filesystem.learn_missing(feature);
                context.not_held(feature);
            }
        }
    }
    let effect = match (written, now == theirs) {
        (false, _) => Effect::NotWritten,
        (true, true) => Effect::Ignored,
        (true, false) => Effect::Changed,
    };
    let access_list = match (ours.get(ACCESS_LIST), now.get(ACCESS_LIST)) {
        (Some(_) | None, Some(_) | None) if which == Which::AllButRights => AccessList::Waits,
        (Some(due), None) => AccessList::Missing(due.to_vec()),
        (due, held) if due != held && not_set.is_some() => AccessList::Unknown,
        (Some(_) | None, Some(_) | None) => AccessList::AsDue,
    };
    AttributesSet { effect, access_list, not_set }
}

/// Writes a `user.*` attribute also where the mode forbids that, which only root may ignore (xattr(7)): this user's own
/// mode is opened for the moment.
fn opened(
    context: &Context<'_>,
    target: Subject<'_>,
    write: impl Fn() -> Result<(), Errno>,
) -> Result<(), Errno> {
    const OWN_WRITE: u16 = 0o200;
    match write() {
        Err(Errno::ACCESS) if !context.rights.privileged => {}
        written => return written,
    }
    let entry = target.entry()?;
    if entry.uid != context.rights.user || entry.mode & OWN_WRITE != 0 {
        return Err(Errno::ACCESS);
    }
    target.set_mode(entry.mode | OWN_WRITE)?;
    let written = write();
    target.set_mode(entry.mode)?;
    written
}
