//! Setting metadata: owner, extended attributes, mode, modification time, in the order in which the kernel keeps them.
//!
//! Setting the owner clears setuid, setgid and capabilities; setting an access list changes the mode; everything
//! changes the ctime. So: owner, attributes, mode, time. What was set is read back: where the filesystem shows
//! something else, it cannot hold the feature, and that is learned instead of being tried again at every pass.

use crate::context::Context;
use crate::entry::{Entry, Kind};
use crate::filesystem::{Filesystem, compare_metadata, mode_for};
use crate::fs::attributes::{Attributes, is_system_made, namespace};
use crate::fs::dir::Dir;
use crate::fs::subject::Subject;
use crate::fs::{Errno, is_unsupported};
use crate::monitor::Feature;
use crate::plan::Pair;
use crate::problem::Side;
use std::os::fd::AsFd;
use std::sync::Arc;

/// What could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSet {
    /// Where the kernel refused.
    pub side: Side,
    /// What was tried, to be read after "Cannot".
    pub action: &'static str,
    /// Why.
    pub errno: Errno,
}

pub(super) fn in_replica(action: &'static str) -> impl Fn(Errno) -> NotSet {
    move |errno| NotSet { side: Side::Replica, action, errno }
}

pub(super) fn in_source(action: &'static str) -> impl Fn(Errno) -> NotSet {
    move |errno| NotSet { side: Side::Source, action, errno }
}

/// A source entry whose metadata is to be copied.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// Its facts.
    pub entry: &'a Entry,
    /// Where its extended attributes are read; none when they are not to be touched.
    pub attributes: Option<Subject<'a>>,
}

/// What became of an entry's metadata.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// The facts that the entry shows now.
    pub entry: Entry,
    /// False when it shows what it showed before: what differed cannot be held, or did not differ any more.
    pub changed: bool,
}

/// Makes the metadata of `target` that of `model`, as far as the filesystem holds it. Only what differs is written.
///
/// # Errors
/// What could not be set although the filesystem should hold it.
pub fn set_metadata(
    context: &Context<'_>,
    filesystem: &Filesystem,
    model: Model<'_>,
    target: Subject<'_>,
) -> Result<Set, NotSet> {
    let look = || target.entry().map_err(in_replica("look at it in the replica"));
    let mut shown = look()?;
    let before = shown;
    let mut attributes_changed = false;
    // What reads back wrong is set once more before the filesystem is blamed: something else may have written.
    for attempt in 0..2 {
        let differences = compare_metadata(model.entry, &shown, filesystem, context.privileged).differences;
        if attempt > 0 && !differences.any() {
            break;
        }
        let mut mode_may_differ = differences.mode;
        if differences.owner {
            set_owner(context, filesystem, model, target)?;
            mode_may_differ = true;
        }
        if attempt == 0
            && let Some(attributes) = model.attributes
        {
            let effect = set_attributes(context, filesystem, attributes, target)?;
            mode_may_differ |= effect != Effect::NotWritten;
            attributes_changed = effect == Effect::Changed;
        }
        if mode_may_differ {
            set_mode(context, filesystem, model, target)?;
        }
        if differences.mtime {
            set_mtime(filesystem, model, target)?;
        }
        shown = look()?;
    }
    learn(context, filesystem, model.entry, &shown);
    // Not the ctime: that changes also when what was set is not held.
    let facts = |entry: &Entry| (entry.mode, entry.uid, entry.gid, entry.mtime);
    Ok(Set { entry: shown, changed: attributes_changed || facts(&shown) != facts(&before) })
}

fn set_owner(
    context: &Context<'_>,
    filesystem: &Filesystem,
    model: Model<'_>,
    target: Subject<'_>,
) -> Result<(), NotSet> {
    match target.set_owner(model.entry.uid, model.entry.gid) {
        Ok(()) => Ok(()),
        // Not allowed here, or an owner that this namespace or filesystem does not know.
        Err(errno) if errno == Errno::PERM || errno == Errno::INVAL || is_unsupported(errno) => {
            if is_immutable(target, errno) {
                return Err(in_replica("set the owner")(errno));
            }
            filesystem.learn_missing(Feature::Owner);
            context.not_held(Feature::Owner);
            Ok(())
        }
        Err(errno) => Err(in_replica("set the owner")(errno)),
    }
}

fn set_mode(
    context: &Context<'_>,
    filesystem: &Filesystem,
    model: Model<'_>,
    target: Subject<'_>,
) -> Result<(), NotSet> {
    if model.entry.kind == Kind::Symlink || !filesystem.holds(Feature::Mode) {
        return Ok(());
    }
    // Asked again, because owner and access list change it.
    let now = target.entry().map_err(in_replica("look at it in the replica"))?;
    let mode = mode_for(model.entry, now.uid, now.gid);
    if mode == now.mode {
        return Ok(());
    }
    match target.set_mode(mode) {
        Ok(()) => Ok(()),
        Err(errno) if (errno == Errno::PERM && !is_immutable(target, errno)) || is_unsupported(errno) => {
            filesystem.learn_missing(Feature::Mode);
            context.not_held(Feature::Mode);
            Ok(())
        }
        Err(errno) => Err(in_replica("set the mode")(errno)),
    }
}

fn set_mtime(filesystem: &Filesystem, model: Model<'_>, target: Subject<'_>) -> Result<(), NotSet> {
    match target.set_mtime(model.entry.mtime) {
        Err(errno) if is_unsupported(errno) => {
            filesystem.learn_missing(Feature::Mtime);
            Ok(())
        }
        set => set.map_err(in_replica("set the modification time")),
    }
}

/// Whether a refusal comes from the entry itself (immutable, append-only, or somebody else's) and not from the
/// filesystem: then even the mode that it has already cannot be set.
fn is_immutable(target: Subject<'_>, errno: Errno) -> bool {
    errno == Errno::PERM
        && target.entry().is_ok_and(|entry| {
            entry.kind != Kind::Symlink
                && target.set_mode(entry.mode).is_err_and(|errno| errno == Errno::PERM)
        })
}

/// What came of setting extended attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// There was nothing to set.
    NotWritten,
    /// The filesystem took what was set and forgot it.
    Ignored,
    /// The entry has other attributes now.
    Changed,
}

/// Sets and removes extended attributes; that may change the mode.
fn set_attributes(
    context: &Context<'_>,
    filesystem: &Filesystem,
    source: Subject<'_>,
    target: Subject<'_>,
) -> Result<Effect, NotSet> {
    const READ_REPLICA: &str = "read the extended attributes in the replica";
    let mut written = false;
    let privileged = context.privileged;
    let ours = match Attributes::read(source, privileged) {
        Err(errno) if is_unsupported(errno) => Attributes::default(),
        read => read.map_err(in_source("read the extended attributes in the source"))?,
    };
    let theirs = match Attributes::read(target, privileged) {
        Err(errno) if is_unsupported(errno) => Attributes::default(),
        read => read.map_err(in_replica(READ_REPLICA))?,
    };
    for (name, _) in theirs.iter() {
        if ours.get(name).is_none() && !is_system_made(name) {
            match opened(context, target, || target.remove_attribute(name)) {
                Ok(()) | Err(Errno::NODATA) => written = true,
                Err(errno) => return Err(in_replica("remove an extended attribute in the replica")(errno)),
            }
        }
    }
    for (name, value) in ours.iter() {
        let Some(feature) = namespace(name, privileged) else { continue };
        if theirs.get(name) == Some(value) {
            continue;
        }
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
                    || (by_policy && matches!(errno, Errno::PERM | Errno::ACCESS | Errno::INVAL)) =>
            {
                filesystem.learn_missing(feature);
                context.not_held(feature);
            }
            Err(errno) => return Err(in_replica("set an extended attribute in the replica")(errno)),
        }
    }
    if !written {
        return Ok(Effect::NotWritten);
    }
    // Some filesystems (ntfs-3g) accept what they do not keep.
    let now = Attributes::read(target, privileged).map_err(in_replica(READ_REPLICA))?;
    for (name, _) in ours.iter().filter(|(name, _)| now.get(name).is_none()) {
        if let Some(feature) = namespace(name, privileged) {
            filesystem.learn_missing(feature);
            context.not_held(feature);
        }
    }
    Ok(if now == theirs { Effect::Ignored } else { Effect::Changed })
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
        Err(Errno::ACCESS) if !context.privileged => {}
        written => return written,
    }
    let entry = target.entry()?;
    if entry.uid != context.user || entry.mode & OWN_WRITE != 0 {
        return Err(Errno::ACCESS);
    }
    target.set_mode(entry.mode | OWN_WRITE)?;
    let written = write();
    target.set_mode(entry.mode)?;
    written
}

/// Learns from what the entry shows after everything was set.
fn learn(context: &Context<'_>, filesystem: &Filesystem, model: &Entry, shown: &Entry) {
    let wrong = compare_metadata(model, shown, filesystem, context.privileged).differences;
    if wrong.owner {
        filesystem.learn_missing(Feature::Owner);
        context.not_held(Feature::Owner);
    }
    // Without rights the kernel may clear setgid; that says nothing about the filesystem.
    if wrong.mode && (context.privileged || (model.mode ^ shown.mode) & 0o777 != 0) {
        filesystem.learn_missing(Feature::Mode);
        context.not_held(Feature::Mode);
    }
    if wrong.mtime && filesystem.learn_mtime(model.mtime, shown.mtime) {
        context.not_held(Feature::Mtime);
    }
}

/// Makes the metadata of a folder that of the source, after its contents. `attributes` says whether the extended
/// attributes are compared too. Returns whether the folder shows something else now.
///
/// # Errors
/// `ENOENT` when one of the two is not there any more; else what could not be set.
pub fn finish_folder(context: &Context<'_>, pair: &Pair, attributes: bool) -> Result<bool, NotSet> {
    let (Some(source), Some(replica)) = (&pair.source, &pair.replica) else { return Ok(false) };
    let source = source.open().map_err(in_source("open the source folder"))?;
    let replica_fd = match replica.open() {
        Ok(fd) => fd,
        // Its own mode keeps even its owner out: that much can be mended from outside.
        Err(Errno::ACCESS) => return finish_closed_folder(context, pair, source.as_fd()),
        Err(errno) => return Err(in_replica("open the replica folder")(errno)),
    };
    let entry = Subject::Open(source.as_fd()).entry().map_err(in_source("look at the source folder"))?;
    let attributes = attributes.then_some(Subject::Open(source.as_fd()));
    let target = Subject::Open(replica_fd.as_fd());
    set_metadata(context, &pair.filesystem, Model { entry: &entry, attributes }, target)
        .map(|set| set.changed)
}

fn finish_closed_folder(
    context: &Context<'_>,
    pair: &Pair,
    source: std::os::fd::BorrowedFd<'_>,
) -> Result<bool, NotSet> {
    const OPEN: &str = "open the replica folder";
    let Some((dir, parent)) = pair.replica.as_ref().and_then(|dir| Some((dir, dir.parent()?))) else {
        return Err(in_replica(OPEN)(Errno::ACCESS));
    };
    let parent = parent.open().map_err(in_replica(OPEN))?;
    let target = Subject::Named(parent.as_fd(), dir.name());
    if target.entry().map_err(in_replica(OPEN))?.id != dir.id() {
        return Err(in_replica(OPEN)(Errno::NOENT));
    }
    let entry = Subject::Open(source).entry().map_err(in_source("look at the source folder"))?;
    set_metadata(context, &pair.filesystem, Model { entry: &entry, attributes: None }, target)
        .map(|set| set.changed)
}

/// Lets this user work in a folder of the replica whose mode forbids it; [`finish_folder`] sets the right mode again.
/// Root needs no such thing.
pub fn make_writable(context: &Context<'_>, dir: &Arc<Dir>) {
    const OWN: u16 = 0o700;
    if context.privileged {
        return;
    }
    let open_up = |subject: Subject<'_>| {
        if let Ok(entry) = subject.entry()
            && entry.id == dir.id()
            && entry.mode & OWN != OWN
            && entry.uid == context.user
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
