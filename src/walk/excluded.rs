//! The filter in one folder: the patterns with the folder's path, and the rules for all that is in it.

use crate::context::Context;
use crate::filter::{CACHE_SIGNATURE, CACHE_TAG, Exclusion, Filter};
use crate::fs::dir::Dir;
use crate::fs::dirent::is_temporary_name;
use crate::fs::file::read_at;
use crate::fs::{Errno, is_gone, stat};
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::path::RelPath;
use crate::walk::ListedFolder;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A folder, as the filter sees it.
#[derive(Debug)]
pub(super) struct Filtered {
    /// Its path with a slash at the end; empty for the root.
    path: Vec<u8>,
    /// The reason to leave out all that is in it, but for its marker.
    content: Option<Exclusion>,
    /// Whether the marker is left out as well: in a folder that the replica alone has, the marker stays as long as
    /// anything else. Without it the next pass would take the rest for extras.
    keeps_marker: bool,
}

impl Filtered {
    /// A folder with this path; none where nothing is left out.
    pub(super) fn of(
        context: &Context<'_>,
        folder: ListedFolder<'_>,
        path: impl FnOnce() -> RelPath,
    ) -> Option<Filtered> {
        if !context.filter.is_on() {
            return None;
        }
        let has = |name: &CStr| folder.listing.position(name).is_some();
        let keeps_marker = folder.listing.len() > 1 && !folder.dir.is_in_tree_of(&context.roots.source.1);
        Some(Filtered { keeps_marker, ..Filtered::with(context, (folder.dir, folder.fd), &path(), has) })
    }

    fn with(
        context: &Context<'_>,
        (dir, fd): (&Arc<Dir>, BorrowedFd<'_>),
        path: &RelPath,
        has: impl Fn(&CStr) -> bool,
    ) -> Filtered {
        let mut bytes = path.as_bytes().to_vec();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        Filtered { path: bytes, content: content(context, (dir, fd), has), keeps_marker: false }
    }

    /// Whether it is on another filesystem than the source root, and what is in it left out for that.
    pub(super) fn is_other_filesystem(&self) -> bool {
        self.content == Some(Exclusion::OtherFilesystem)
    }

    /// The rule that leaves out whatever has this name on one side, of any kind.
    pub(super) fn excludes_name(&self, filter: &Filter, side: Side, name: &CStr) -> Option<Exclusion> {
        if is_own(side, name) {
            return None;
        }
        self.content_excludes(filter, name).or_else(|| filter.excludes_any_kind(&self.path_of(name)))
    }

    /// The rule that leaves out an entry of one side.
    pub(super) fn excludes(
        &self,
        filter: &Filter,
        side: Side,
        (name, entry): (&CStr, &Entry),
    ) -> Option<Exclusion> {
        if is_own(side, name) {
            return None;
        }
        self.content_excludes(filter, name).or_else(|| filter.excludes(side, &self.path_of(name), entry))
    }

    fn content_excludes(&self, filter: &Filter, name: &CStr) -> Option<Exclusion> {
        let is_marker = |content: &Exclusion| match content {
            Exclusion::Cache => name == CACHE_TAG,
            Exclusion::Marker(number) => {
                filter.options().markers.get(*number).is_some_and(|marker| **marker == *name)
            }
            Exclusion::Rule(_) | Exclusion::Small | Exclusion::Large | Exclusion::OtherFilesystem => false,
        };
        self.content.filter(|content| self.keeps_marker || !is_marker(content))
    }

    fn path_of(&self, name: &CStr) -> Vec<u8> {
        [&self.path, name.to_bytes()].concat()
    }
}

/// Whether an entry of the replica is a temporary that an earlier process left. `*.tmp` would keep it for ever. What is
/// in such a folder is judged like anything else.
fn is_own(side: Side, name: &CStr) -> bool {
    side == Side::Replica && is_temporary_name(name)
}

/// The reason to leave out all that is in a folder.
fn content(
    context: &Context<'_>,
    (dir, fd): (&Arc<Dir>, BorrowedFd<'_>),
    has: impl Fn(&CStr) -> bool,
) -> Option<Exclusion> {
    let options = context.filter.options();
    let root = &context.roots.source.1;
    if options.one_file_system && dir.is_in_tree_of(root) && dir.id().device != root.id().device {
        return Some(Exclusion::OtherFilesystem);
    }
    if let Some(number) = options.markers.iter().position(|marker| has(marker)) {
        return Some(Exclusion::Marker(number));
    }
    (options.caches && has(CACHE_TAG) && is_cache(context, fd)).then_some(Exclusion::Cache)
}

/// Whether a folder has a valid `CACHEDIR.TAG`. One that cannot be read counts as valid: that the folder is no cache, and
/// that what the replica has in it may go, is not known. That the tag cannot be read is told like that of any file.
fn is_cache(context: &Context<'_>, folder: BorrowedFd<'_>) -> bool {
    let read = |uid| {
        let file = context.open_to_read(folder, CACHE_TAG, uid)?;
        let mut start = [0; CACHE_SIGNATURE.len()];
        let length = read_at(file.as_fd(), &mut start, 0)?;
        Ok(length == start.len() && start == *CACHE_SIGNATURE)
    };
    match stat::entry_at(folder, CACHE_TAG) {
        Ok(entry) if entry.kind == Kind::File => {
            read(entry.uid).unwrap_or_else(|errno: Errno| !is_gone(errno))
        }
        Ok(_) => false,
        Err(errno) => !is_gone(errno),
    }
}

/// The rule that leaves out the entry of one side under a path, or a folder above it, with the path of that. None as well
/// where the path leads nowhere.
pub(crate) fn exclusion_of(
    context: &Context<'_>,
    side: Side,
    path: &RelPath,
) -> Option<(RelPath, Exclusion)> {
    let root = match side {
        Side::Source => Some(&context.roots.source.1),
        Side::Replica => context.roots.replica.1.as_ref(),
    };
    let mut dir = Arc::clone(root.filter(|_| context.filter.is_on())?);
    // The markers that count are those of the source, where it has the folder.
    let mut ours = (side == Side::Replica).then(|| Arc::clone(&context.roots.source.1));
    let mut above = RelPath::root();
    for name in path.names() {
        let name = CString::new(name).ok()?;
        let fd = dir.open().ok()?;
        let open = ours.as_ref().and_then(|ours| Some((ours, ours.open().ok()?)));
        let (of, at) = open.as_ref().map_or((&dir, &fd), |(ours, open)| (*ours, open));
        let has = |name: &CStr| stat::entry_at(at.as_fd(), name).is_ok();
        let folder = Filtered::with(context, (of, at.as_fd()), &above, has);
        let folder = Filtered { keeps_marker: side == Side::Replica && open.is_none(), ..folder };
        let below = above.join(&name);
        if let Some(exclusion) = folder.excludes_name(&context.filter, side, &name) {
            return Some((below, exclusion));
        }
        let entry = stat::entry_at(fd.as_fd(), &name).ok()?;
        if let Some(exclusion) = folder.excludes(&context.filter, side, (&name, &entry)) {
            return Some((below, exclusion));
        }
        if entry.kind != Kind::Folder {
            return None;
        }
        let found = open.as_ref().and_then(|(ours, open)| {
            let found = stat::entry_at(open.as_fd(), &name).ok()?;
            (found.kind == Kind::Folder).then(|| ours.child(&name, found.id))
        });
        ours = found;
        dir = dir.child(&name, entry.id);
        above = below;
    }
    None
}
