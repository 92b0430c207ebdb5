//! The rules for names of a folder: mirrored, left out, or kept. Used by the survey, the count of one-sided subtrees,
//! the filling of new folders, and removal.
//!
//! An entry that the filter excludes is not looked at where a pattern alone decides: a user excludes the mount point of
//! a dead server because looking at it hangs.
//!
//! The log file and its rotated files are neither copied nor deleted, under any spelling that a folder lists. The path of
//! the log is known, so each name on it is compared with the listing. A case-insensitive filesystem, or one that alters
//! names, lists another spelling: then the name is looked up in the folder, once for each folder on the path.

mod excluded;

pub(crate) use self::excluded::exclusion_of;

use self::excluded::Filtered;
use crate::capabilities::Filesystem;
use crate::context::Context;
use crate::filter::Exclusion;
use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::spelled::{Listed, Spellings};
use crate::fs::{Errno, stat};
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::feature::Feature;
use crate::model::path::RelPath;
use crate::model::spelling::folded;
use crate::plan::Protected;
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// The role of an entry of one side in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// An ordinary entry. For a folder, the relation of its names to the log file.
    Mirrored(Protected),
    /// The log file, or the entry with its path on the other side.
    Log,
    /// The root of the other tree, through a mount.
    OtherRoot,
    /// The filter leaves it out. In the replica it stays, unless what is left out is to be deleted.
    Excluded(Exclusion),
}

/// The reason to leave out an entry of the source by design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// Sockets are never mirrored: their server creates them.
    Socket,
    /// The replica's filesystem cannot hold it.
    NotHeld(Feature),
}

impl LeftOut {
    /// The reason in words.
    pub(crate) fn words(self) -> Cow<'static, str> {
        match self {
            LeftOut::Socket => SOCKET.into(),
            LeftOut::NotHeld(feature) => format!("the replica cannot hold {}", feature.words()).into(),
        }
    }
}

const SOCKET: &str = "sockets are not mirrored";

/// The role of an entry of a folder whose names have this relation to the log file.
pub(crate) fn standing(
    context: &Context<'_>,
    rules: &FolderRules,
    side: Side,
    (name, entry): (&CStr, &Entry),
) -> Standing {
    match rules.below(context, name) {
        None => Standing::Log,
        Some(_) if context.log.was(entry) => Standing::Log,
        Some(_) if entry.kind == Kind::Folder && context.roots.is_other_root(side, entry) => {
            Standing::OtherRoot
        }
        Some(protected) => match rules.excludes(context, side, (name, entry)) {
            Some(exclusion) => Standing::Excluded(exclusion),
            None => Standing::Mirrored(protected),
        },
    }
}

/// The reason why a replica on this filesystem never has an entry like this; an entry under its name is an extra. None
/// for a mirrored entry.
pub(crate) fn left_out(entry: &Entry, filesystem: &Filesystem) -> Option<LeftOut> {
    if entry.kind == Kind::Socket {
        return Some(LeftOut::Socket);
    }
    Feature::needed_by(entry).filter(|feature| !filesystem.holds(*feature)).map(LeftOut::NotHeld)
}

/// Reports that an entry is left out, and counts it.
pub(crate) fn tell_left_out(context: &Context<'_>, path: &RelPath, left_out: LeftOut) {
    match left_out {
        LeftOut::Socket => context.reporter.skipped(path, Kind::Socket, SOCKET),
        LeftOut::NotHeld(feature) => context.reporter.left_out(feature),
    }
}

/// The reason to keep an entry of the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stays {
    /// It is the log file.
    Log,
    /// It is a mount point.
    Mounted,
}

/// Whether a folder of the replica is a mount point: neither it nor its content is ever removed.
pub(crate) fn is_kept_mount(entry: &Entry) -> bool {
    entry.kind == Kind::Folder && entry.is_mount
}

/// The reason not to remove an entry of the replica now; none if it may be removed.
pub(crate) fn stays(context: &Context<'_>, entry: &Entry) -> Option<Stays> {
    if context.log.is(entry) {
        Some(Stays::Log)
    } else if is_kept_mount(entry) {
        Some(Stays::Mounted)
    } else {
        None
    }
}

/// The rules for the names of one folder: their relation to the log file, and the filter.
#[derive(Debug)]
pub(crate) struct FolderRules {
    protected: Protected,
    /// The listed names that are other spellings of the next name on the way to the log.
    spellings: Vec<Box<CStr>>,
    /// None where nothing is excluded.
    filtered: Option<Filtered>,
}

/// One side of a folder, listed.
#[derive(Clone, Copy)]
pub(crate) struct ListedFolder<'f> {
    pub dir: &'f Arc<Dir>,
    pub fd: BorrowedFd<'f>,
    pub listing: &'f Listing,
}

impl FolderRules {
    /// The rules for a folder that is not on the path to the log, and in which nothing is excluded.
    pub(crate) fn off() -> FolderRules {
        FolderRules { protected: Protected::No, spellings: Vec::new(), filtered: None }
    }

    /// The rules for a folder, given the sides that have it. The filter goes by the first of them, so that of two the
    /// source has to be that.
    pub(crate) fn in_folder<'f>(
        context: &Context<'_>,
        protected: Protected,
        sides: impl IntoIterator<Item = ListedFolder<'f>>,
    ) -> FolderRules {
        let sides: Vec<ListedFolder<'f>> = sides.into_iter().collect();
        let filtered = sides.first().and_then(|first| Filtered::of(context, *first, || first.dir.path()));
        let mut spellings = Vec::new();
        if let Some(next) = context.log.next_name(protected).and_then(|next| CString::new(next).ok()) {
            for side in sides {
                spellings.extend(spellings_of(&next, side.fd, side.listing));
            }
        }
        FolderRules { protected, spellings, filtered }
    }

    /// The rules for a folder of the replica that is being removed. It may have a temporary name, and this path for the
    /// filter.
    pub(crate) fn of_removed(context: &Context<'_>, folder: ListedFolder<'_>, path: &RelPath) -> FolderRules {
        FolderRules { filtered: Filtered::of(context, folder, || path.clone()), ..FolderRules::off() }
    }

    /// The rule that leaves out whatever has this name on one side, of any kind, so that it need not be looked at.
    pub(crate) fn excludes_name(&self, context: &Context<'_>, side: Side, name: &CStr) -> Option<Exclusion> {
        self.filtered.as_ref()?.excludes_name(&context.filter, side, name)
    }

    /// Whether what is in the folder is left out because it is on another filesystem.
    pub(crate) fn leave_out_filesystem(&self) -> bool {
        self.filtered.as_ref().is_some_and(Filtered::is_other_filesystem)
    }

    /// Whether the filter leaves out a name of the replica, of any kind, so that it stays.
    pub(crate) fn keeps_name(&self, context: &Context<'_>, name: &CStr) -> bool {
        context.filter.protects() && self.excludes_name(context, Side::Replica, name).is_some()
    }

    /// The rule that leaves out an entry of the replica, so that it stays.
    pub(crate) fn keeps(&self, context: &Context<'_>, name: &CStr, entry: &Entry) -> Option<Exclusion> {
        self.excludes(context, Side::Replica, (name, entry))
    }

    /// The rule that leaves out an entry of one side.
    fn excludes(
        &self,
        context: &Context<'_>,
        side: Side,
        (name, entry): (&CStr, &Entry),
    ) -> Option<Exclusion> {
        if side == Side::Replica && !context.filter.protects() {
            return None;
        }
        self.filtered.as_ref()?.excludes(&context.filter, side, (name, entry))
    }

    /// The relation of the entry of this name to the log: off its path, above it, or the file itself or a rotated one
    /// (none).
    pub(crate) fn below(&self, context: &Context<'_>, name: &CStr) -> Option<Protected> {
        match context.log.protected_below(self.protected, name) {
            Some(Protected::No) if self.spellings.iter().any(|spelling| **spelling == *name) => {
                context.log.protected_of_next(self.protected)
            }
            Some(Protected::No)
                if self
                    .spellings
                    .iter()
                    .any(|spelling| context.log.is_rotated(self.protected, spelling.to_bytes(), name)) =>
            {
                None
            }
            protected => protected,
        }
    }
}

/// The relation of a folder, found under `name` in `parent`, to the log file.
pub(crate) fn protected_of_folder(
    context: &Context<'_>,
    protected: Protected,
    parent: &Arc<Dir>,
    name: &CStr,
) -> Protected {
    let next = context.log.next_name(protected).and_then(|next| CString::new(next).ok());
    let Some(next) = next.filter(|next| folded(next) == folded(name)) else { return Protected::No };
    if *next == *name {
        return context.log.protected_of_next(protected).unwrap_or(Protected::No);
    }
    let listed = parent.open().and_then(|fd| Ok((Listing::read(fd.as_fd())?, fd)));
    match listed {
        Ok((listing, fd)) => {
            let listed = ListedFolder { dir: parent, fd: fd.as_fd(), listing: &listing };
            let rules = FolderRules::in_folder(context, protected, [listed]);
            rules.below(context, name).unwrap_or(Protected::No)
        }
        // It may be on the path.
        Err(_) => context.log.protected_of_next(protected).unwrap_or(Protected::No),
    }
}

/// The listed names of a folder for the entry that it shows under `next`, unless it lists that name.
fn spellings_of(next: &CStr, folder: BorrowedFd<'_>, listing: &Listing) -> Vec<Box<CStr>> {
    if listing.is_empty() || listing.position(next).is_some() {
        return Vec::new();
    }
    let mut spellings = Spellings::of(folder, listing);
    let found = match stat::entry_at(folder, next) {
        Ok(found) => Some(found),
        Err(Errno::NOENT) => return Vec::new(),
        Err(_) => None,
    };
    // The size of a log that is being written changes all the time, so only the kind is compared.
    let mut positions = spellings.alike(next);
    positions.retain(|at| match (found, spellings.entry(*at)) {
        (Some(found), Ok(Some(entry))) => entry.kind == found.kind,
        (_, Ok(None)) => false,
        (None, Ok(Some(_))) | (_, Err(_)) => true,
    });
    if let Some(Ok(Listed::As(at) | Listed::Alike(at))) = found.map(|found| spellings.find(next, &found)) {
        positions.push(at);
    }
    positions.into_iter().filter_map(|at| listing.get(at).map(Box::from)).collect()
}
