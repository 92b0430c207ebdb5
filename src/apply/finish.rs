//! Setting metadata: owner, extended attributes, mode, modification time, in the order in which the kernel keeps them.
//!
//! Setting the owner clears setuid, setgid and capabilities; setting an access list changes the mode; everything
//! changes the ctime. So: owner, attributes, mode, time; and before all of them the mode loses what it will not have.
//! Rights are meant for an owner: where that cannot be set, they wait for it. What was set is read back: where the
//! filesystem shows something else, it cannot hold the feature, and that is learned instead of being tried again at
//! every pass.

use crate::apply::attributes::{AccessList, Effect, Which, set_attributes};
use crate::apply::old_owner::mode_under_old_owner;
use crate::apply::refusal::{NotSet, in_replica, in_source, is_immutable};
use crate::context::Context;
use crate::entry::{Entry, Kind};
use crate::filesystem::{Filesystem, compare_metadata, mode_for};
use crate::fs::attributes::{ACCESS_LIST, Attributes, mode_without_list};
use crate::fs::dir::Dir;
use crate::fs::subject::Subject;
use crate::fs::{Errno, is_unsupported};
use crate::monitor::Feature;
use crate::plan::Pair;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A source entry whose metadata is to be copied.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// Its facts.
    pub entry: &'a Entry,
    /// Where its extended attributes can be read.
    pub subject: Subject<'a>,
    /// Which of its metadata is copied.
    pub extent: Extent,
}

/// How much metadata is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Everything,
    /// All but the extended attributes, which are right or do not matter.
    NoAttributes,
}

/// What is copied of an entry of this kind: a symbolic link has only attributes that root may set.
pub fn extent_of(kind: Kind, context: &Context<'_>) -> Extent {
    if kind == Kind::Symlink && !context.rights.privileged {
        Extent::NoAttributes
    } else {
        Extent::Everything
    }
}

/// What became of an entry's metadata.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// The facts that the entry shows now.
    pub entry: Entry,
    /// False when it shows what it showed before: what differed cannot be held, or did not differ any more.
    pub changed: bool,
    /// The first thing that could not be set although the filesystem should hold it; the rest has been set.
    pub not_set: Option<NotSet>,
}

/// The permission bits of the group, which are the mask where there is an access list.
const GROUP: u16 = 0o070;

const SET_MODE: &str = "set the mode";

/// Makes the metadata of `target` that of `model`, as far as the filesystem holds it. Only what differs is written, and
/// what cannot be written does not keep the rest from being written.
///
/// # Errors
/// The entry cannot be looked at.
pub fn set_metadata(
    context: &Context<'_>,
    filesystem: &Filesystem,
    model: Model<'_>,
    target: Subject<'_>,
) -> Result<Set, NotSet> {
    let look = || target.entry().map_err(in_replica("look at it in the replica"));
    let before = look()?;
    let mut shown = before;
    let mut wanted = *model.entry;
    if !filesystem.holds(Feature::AccessLists)
        && let Ok(Some(list)) = access_list(context, model)
    {
        wanted.mode = mode_without_list(wanted.mode, &list);
    }
    let mut not_set = None;
    let mut attributes_changed = false;
    let mut rights_wait = false;
    // What reads back wrong is set once more before the filesystem is blamed: something else may have written.
    for attempt in 0..2 {
        let differences = compare_metadata(&wanted, &shown, filesystem, &context.rights).differences;
        if attempt > 0 && !differences.any() && !rights_wait {
            break;
        }
        let mut mode_may_differ = differences.mode;
        let mut closed = Ok(false);
        if attempt == 0 || differences.owner {
            closed = close(filesystem, &wanted, (&shown, differences.owner), target);
        }
        // What `shown` says of owner and mode holds until one of them is written.
        let mut is_fresh = closed == Ok(false) && !differences.owner;
        let mut which = Which::All;
        if differences.owner {
            if let Err(failed) = closed.and_then(|_| set_owner(context, filesystem, &wanted, target)) {
                which = Which::AllButRights;
                not_set = not_set.or(Some(failed));
            }
            mode_may_differ = true;
        }
        let are_due = attempt == 0 || rights_wait && which == Which::All;
        rights_wait = which == Which::AllButRights;
        if are_due && model.extent == Extent::Everything {
            let set = set_attributes(context, filesystem, model.subject, target, which);
            match set.access_list {
                AccessList::AsDue | AccessList::Waits => {}
                AccessList::Missing(list) => wanted.mode = mode_without_list(wanted.mode, &list),
                // The group bits may be the mask of a list that is not there, and more than the owning group may do; or
                // become that of a list that should have gone. What they allow already stays, unless the entry has just
                // got another group.
                AccessList::Unknown if wanted.kind != Kind::Symlink => {
                    let kept = if differences.owner { 0 } else { before.mode & GROUP };
                    wanted.mode &= !GROUP | kept;
                }
                AccessList::Unknown => {}
            }
            is_fresh &= set.not_set.is_none();
            not_set = not_set.or(set.not_set);
            mode_may_differ |= set.effect != Effect::NotWritten;
            is_fresh &= set.effect == Effect::NotWritten;
            attributes_changed |= set.effect == Effect::Changed;
        }
        if mode_may_differ || wanted.mode != model.entry.mode {
            let mut due = wanted;
            if rights_wait {
                let has_list = !matches!(access_list(context, model), Ok(None));
                due.mode = mode_under_old_owner(&wanted, before.mode, has_list);
            }
            // Owner and access list change the mode: then it is asked again.
            let now = if is_fresh { Ok(shown) } else { look() };
            let set = now.and_then(|now| set_mode(context, filesystem, &due, &now, target));
            not_set = not_set.or(set.err());
        }
        if differences.mtime {
            not_set = not_set.or(set_mtime(filesystem, &wanted, target).err());
        }
        shown = look()?;
    }
    if not_set.is_none() {
        learn(context, filesystem, &wanted, &shown);
        let left = compare_metadata(&wanted, &shown, filesystem, &context.rights).differences;
        if left.mode || left.owner {
            not_set = Some(in_replica("make its mode and owner stay as they were set")(Errno::NOTSUP));
        }
        if left.mtime {
            // No rule explains what the filesystem made of the time.
            context.not_held(Feature::Mtime);
        }
    }
    // Not the ctime: that changes also when what was set is not held.
    let facts = |entry: &Entry| (entry.mode, entry.uid, entry.gid, entry.mtime);
    Ok(Set { entry: shown, changed: attributes_changed || facts(&shown) != facts(&before), not_set })
}

/// The source's access list, if it has one.
fn access_list(context: &Context<'_>, model: Model<'_>) -> Result<Option<Vec<u8>>, Errno> {
    if model.entry.kind == Kind::Symlink {
        return Ok(None);
    }
    match Attributes::read(model.subject, context.rights.privileged) {
        Err(errno) if is_unsupported(errno) => Ok(None),
        read => Ok(read?.get(ACCESS_LIST).map(<[u8]>::to_vec)),
    }
}

/// Takes from the group and from others what they will not have in the end, before owner and access list change: what
/// the mode allowed to one group, or as the mask of a list, it would for a moment allow to another one. True when
/// something was written.
///
/// # Errors
/// The mode cannot be set although the filesystem should hold it: then the owner has to stay as well.
fn close(
    filesystem: &Filesystem,
    wanted: &Entry,
    (shown, owner_changes): (&Entry, bool),
    target: Subject<'_>,
) -> Result<bool, NotSet> {
    const OTHERS: u16 = 0o007;
    const SETUID_SETGID: u16 = 0o6000;
    if wanted.kind == Kind::Symlink || !filesystem.holds(Feature::Mode) {
        return Ok(false);
    }
    // A list that is still to be set may allow the new group less than the mode, its mask, says.
    let kept = if owner_changes { OTHERS } else { GROUP | OTHERS };
    let mut mode = shown.mode & (!(GROUP | OTHERS) | wanted.mode & kept);
    if owner_changes {
        // The kernel takes them away only where the class may execute, which it may not any more.
        mode &= !SETUID_SETGID;
    }
    if mode == shown.mode {
        return Ok(false);
    }
    match target.set_mode(mode) {
        // What cannot be held is told where the mode is set.
        Err(errno) if is_mode_missing(filesystem, target, errno) => Ok(true),
        set => set.map(|()| true).map_err(in_replica(SET_MODE)),
    }
}

fn set_owner(
    context: &Context<'_>,
    filesystem: &Filesystem,
    wanted: &Entry,
    target: Subject<'_>,
) -> Result<(), NotSet> {
    match target.set_owner(wanted.uid, wanted.gid) {
        // Not allowed here, or unknown to the filesystem. EINVAL, an owner that this user namespace does not map, says
        // something of this one owner only.
        Err(errno) if (errno == Errno::PERM && !is_immutable(target)) || is_unsupported(errno) => {
            filesystem.learn_missing(Feature::Owner);
            context.not_held(Feature::Owner);
            Ok(())
        }
        set => set.map_err(in_replica("set the owner")),
    }
}

fn set_mode(
    context: &Context<'_>,
    filesystem: &Filesystem,
    wanted: &Entry,
    now: &Entry,
    target: Subject<'_>,
) -> Result<(), NotSet> {
    const SETUID_SETGID: u16 = 0o6000;
    if wanted.kind == Kind::Symlink || !filesystem.holds(Feature::Mode) {
        return Ok(());
    }
    let mode = mode_for(wanted, now.uid, now.gid, &context.rights);
    if mode == now.mode {
        return Ok(());
    }
    match target.set_mode(mode) {
        Ok(()) => Ok(()),
        // A service that may not make setuid files (systemd's RestrictSUIDSGID) still sets all other bits.
        Err(Errno::PERM) if mode & SETUID_SETGID != 0 && target.set_mode(mode & !SETUID_SETGID).is_ok() => {
            Err(in_replica("set the setuid or setgid bit")(Errno::PERM))
        }
        Err(errno) if is_mode_missing(filesystem, target, errno) => {
            filesystem.learn_missing(Feature::Mode);
            context.not_held(Feature::Mode);
            Ok(())
        }
        Err(errno) => Err(in_replica(SET_MODE)(errno)),
    }
}

/// Whether a mode was refused because the filesystem has none.
fn is_mode_missing(filesystem: &Filesystem, target: Subject<'_>, errno: Errno) -> bool {
    (errno == Errno::PERM && (!filesystem.holds(Feature::Owner) || !is_immutable(target)))
        || is_unsupported(errno)
}

fn set_mtime(filesystem: &Filesystem, wanted: &Entry, target: Subject<'_>) -> Result<(), NotSet> {
    match target.set_mtime(wanted.mtime) {
        // EPERM where every file belongs to one user, who is another one.
        Err(errno)
            if is_unsupported(errno) || (errno == Errno::PERM && !filesystem.holds(Feature::Owner)) =>
        {
            filesystem.learn_missing(Feature::Mtime);
            Ok(())
        }
        set => set.map_err(in_replica("set the modification time")),
    }
}

/// Learns from what the entry shows after everything was set.
fn learn(context: &Context<'_>, filesystem: &Filesystem, wanted: &Entry, shown: &Entry) {
    let wrong = compare_metadata(wanted, shown, filesystem, &context.rights).differences;
    if wrong.owner {
        filesystem.learn_missing(Feature::Owner);
        context.not_held(Feature::Owner);
    }
    // The kernel may clear setuid and setgid for reasons of its own; that says nothing about the filesystem.
    if wrong.mode && (wanted.mode ^ shown.mode) & 0o777 != 0 {
        filesystem.learn_missing(Feature::Mode);
        context.not_held(Feature::Mode);
    }
    if wrong.mtime && filesystem.learn_mtime(wanted.mtime, shown.mtime) {
        context.not_held(Feature::Mtime);
    }
}

/// Makes the metadata of a folder that of the source, after its contents.
///
/// # Errors
/// One of the two cannot be opened; `ENOENT` when it is not there any more.
pub fn finish_folder(context: &Context<'_>, pair: &Pair, extent: Extent) -> Result<Option<Set>, NotSet> {
    let (Some(source), Some(replica)) = (&pair.source, &pair.replica) else { return Ok(None) };
    let source = source.open().map_err(in_source("open the source folder"))?;
    let subject = Subject::Open(source.as_fd());
    let entry = subject.entry().map_err(in_source("look at the source folder"))?;
    let model = Model { entry: &entry, subject, extent };
    let set = match (replica.open(), replica.parent().map(Dir::open)) {
        (Ok(fd), _) => set_metadata(context, &pair.filesystem, model, Subject::Open(fd.as_fd())),
        // Its own mode keeps even its owner out: that much can be mended from outside.
        (Err(Errno::ACCESS), Some(Ok(parent))) => {
            let target = Subject::Named(parent.as_fd(), replica.name());
            if target.entry().map_err(in_replica("look at the replica folder"))?.id != replica.id() {
                return Err(in_replica("open the replica folder")(Errno::NOENT));
            }
            let model = Model { extent: Extent::NoAttributes, ..model };
            set_metadata(context, &pair.filesystem, model, target)
        }
        (Err(errno), _) => Err(in_replica("open the replica folder")(errno)),
    };
    set.map(Some)
}

/// Lets this user work in a folder of the replica whose mode forbids it; [`finish_folder`] sets the right mode again.
/// Root needs no such thing.
pub fn make_writable(context: &Context<'_>, dir: &Arc<Dir>) {
    const OWN: u16 = 0o700;
    if context.rights.privileged {
        return;
    }
    let open_up = |subject: Subject<'_>| {
        if let Ok(entry) = subject.entry()
            && entry.id == dir.id()
            && entry.mode & OWN != OWN
            && entry.uid == context.rights.user
        {
            // Where this fails, the work in the folder fails too, and is told there.
            match subject.set_mode(entry.mode | OWN) {
                Ok(()) | Err(_) => {}
            }
        }
    };
    match (dir.open(), dir.parent().map(Dir::open)) {
        (Ok(fd), _) => open_up(Subject::Open(fd.as_fd())),
        // Closed even to its owner: reached by name.
        (Err(Errno::ACCESS), Some(Ok(parent))) => open_up(Subject::Named(parent.as_fd(), dir.name())),
        (Err(_), _) => {}
    }
}
