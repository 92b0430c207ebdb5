//! Goes through replica and index together, in the order of the paths: every file of the replica with its record, and
//! every record without a file.
//!
//! The order is that of the bytes of whole paths (`LC_ALL=C sort`), so a folder comes after its neighbours whose names
//! begin like its own and go on with a byte below the slash (`a`, `a-b`, `a/x`). In memory are the names of the open
//! folder and of those above it, and of the index one row for each of them.

use crate::fs::dir::Dir;
use crate::fs::listing::Listing;
use crate::fs::stat::entry_at;
use crate::fs::{Errno, is_denial};
use crate::index::Record;
use crate::index::read::{Below, Reader, Records};
use crate::index::store::Unusable;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::path::RelPath;
use std::cmp::Ordering;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A folder on the way.
#[derive(Debug)]
pub(super) struct Folder {
    /// Its path below the replica.
    pub path: RelPath,
    /// The open folder; none where the replica has no such folder.
    pub dir: Option<Arc<Dir>>,
    /// Why nothing is known of the names in it: it, or one above it, cannot be listed.
    pub hidden: Option<Errno>,
    /// When all its recorded files were confirmed, in seconds since 1970.
    pub confirmed: i64,
}

/// What a look at a name has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// An entry.
    There(Entry),
    /// No entry.
    Absent,
    /// An error.
    Unlooked(Errno),
    /// Its folder cannot be listed.
    Hidden(Errno),
}

/// A name that is recorded, or a file of the replica, or both.
#[derive(Debug)]
pub(super) struct Item {
    /// Its folder.
    pub folder: Arc<Folder>,
    /// Its name there.
    pub name: Box<CStr>,
    /// Its record.
    pub record: Option<Record>,
    /// What is there.
    pub state: State,
}

impl Item {
    /// The path below the replica.
    pub(super) fn path(&self) -> RelPath {
        self.folder.path.join(&self.name)
    }

    /// When the content was confirmed, in seconds since 1970.
    pub(super) fn confirmed(&self) -> Option<i64> {
        self.record.map(|record| record.confirmed.max(self.folder.confirmed))
    }
}

/// One step of the way.
#[derive(Debug)]
pub(super) enum Step {
    /// A file, or a record.
    Item(Box<Item>),
    /// A folder that cannot be listed.
    Hidden(RelPath, Errno),
}

/// The way through both.
#[derive(Debug)]
pub(super) struct Walk<'w> {
    reader: &'w Reader,
    /// Files and folders that do not count: the log file.
    left_out: &'w [FileId],
    frames: Vec<Frame>,
    hidden: Option<(RelPath, Errno)>,
}

/// A folder that the walk is in.
#[derive(Debug)]
struct Frame {
    folder: Arc<Folder>,
    listing: Listing,
    /// The position of the next name.
    at: usize,
    records: Records,
    /// The next record.
    record: Option<(Box<CStr>, Record)>,
    /// The next folder of the index.
    below: Option<Below>,
    /// Folders whose turn comes after the names that begin like theirs; the next one is the last.
    pending: Vec<(Box<CStr>, Option<FileId>)>,
}

/// What comes next in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Name,
    Below,
    Pending,
}

/// Looks at a name.
pub(super) fn look(dir: &Arc<Dir>, name: &CStr) -> State {
    match dir.open().and_then(|fd| entry_at(fd.as_fd(), name)) {
        Ok(entry) => State::There(entry),
        Err(errno) if is_denial(errno) => State::Absent,
        Err(errno) => State::Unlooked(errno),
    }
}

/// Finds a folder by its path: nothing is followed on the way.
///
/// # Errors
/// A folder on the way cannot be looked at.
pub(super) fn find(root: &Arc<Dir>, path: &RelPath) -> Result<Option<Arc<Dir>>, Errno> {
    let mut dir = Arc::clone(root);
    for name in path.names() {
        let Ok(name) = std::ffi::CString::new(name) else { return Ok(None) };
        match look(&dir, &name) {
            State::There(entry) if entry.kind == Kind::Folder => dir = dir.child(&name, entry.id),
            State::There(_) | State::Absent => return Ok(None),
            State::Unlooked(errno) | State::Hidden(errno) => return Err(errno),
        }
    }
    Ok(Some(dir))
}

impl<'w> Walk<'w> {
    /// Begins at the root.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(super) fn new(
        reader: &'w Reader,
        root: &Arc<Dir>,
        left_out: &'w [FileId],
    ) -> Result<Walk<'w>, Unusable> {
        let mut walk = Walk { reader, left_out, frames: Vec::new(), hidden: None };
        walk.enter(RelPath::root(), Some(Arc::clone(root)), None)?;
        Ok(walk)
    }

    /// The next step; none at the end.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(super) fn next(&mut self) -> Result<Option<Step>, Unusable> {
        loop {
            if let Some((path, errno)) = self.hidden.take() {
                return Ok(Some(Step::Hidden(path, errno)));
            }
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            match frame.next() {
                None => {
                    self.frames.pop();
                }
                Some(Next::Below) => frame.pass_below(self.reader)?,
                Some(Next::Pending) => {
                    if let Some((name, id)) = frame.pending.pop() {
                        let folder = Arc::clone(&frame.folder);
                        let dir = folder.dir.as_ref().zip(id).map(|(dir, id)| dir.child(&name, id));
                        self.enter(folder.path.join(&name), dir, folder.hidden)?;
                    }
                }
                Some(Next::Name) => {
                    if let Some(item) = frame.name(self.reader, self.left_out)? {
                        return Ok(Some(Step::Item(Box::new(item))));
                    }
                }
            }
        }
    }

    fn enter(&mut self, path: RelPath, dir: Option<Arc<Dir>>, above: Option<Errno>) -> Result<(), Unusable> {
        let listed = dir.as_ref().map(|dir| dir.open().and_then(|fd| Listing::read(fd.as_fd())));
        let (dir, listing, hidden) = match listed {
            Some(Ok(listing)) => (dir, listing, None),
            // It has gone since its name was looked at.
            Some(Err(errno)) if is_denial(errno) => (None, Listing::default(), None),
            Some(Err(errno)) => {
                self.hidden = Some((path.clone(), errno));
                (dir, Listing::default(), Some(errno))
            }
            None => (None, Listing::default(), above),
        };
        let key = path.as_bytes();
        let mut records = self.reader.records(key);
        let record = records.next(self.reader)?;
        let below = self.reader.below(key, None)?;
        let confirmed = if record.is_some() { self.reader.confirmed(key)? } else { 0 };
        let folder = Arc::new(Folder { path, dir, hidden, confirmed });
        self.frames.push(Frame { folder, listing, at: 0, records, record, below, pending: Vec::new() });
        Ok(())
    }
}

impl Frame {
    /// The next name: of the listing, of a record, or of both.
    fn name_now(&self) -> Option<&CStr> {
        let listed = self.listing.get(self.at);
        let recorded = self.record.as_ref().map(|(name, _)| &**name);
        match (listed, recorded) {
            (Some(listed), Some(recorded)) => Some(listed.min(recorded)),
            (listed, recorded) => listed.or(recorded),
        }
    }

    fn next(&self) -> Option<Next> {
        let candidates = [
            (Next::Name, self.name_now().map(|name| (name, false))),
            (Next::Below, self.below.as_ref().map(|below| (&*below.name, !below.is_itself))),
            (Next::Pending, self.pending.last().map(|(name, _)| (&**name, true))),
        ];
        let here = candidates.into_iter().filter_map(|(next, key)| Some((next, key?)));
        // Of equal ones the first.
        here.min_by(|(_, one), (_, other)| order(*one, *other)).map(|(next, _)| next)
    }

    /// Passes a folder of the index, which is entered when its turn comes, whether the replica has it or not.
    fn pass_below(&mut self, reader: &Reader) -> Result<(), Unusable> {
        let Some(below) = self.below.take() else { return Ok(()) };
        let is_known = self.pending.last().is_some_and(|(name, _)| *name == below.name);
        if !is_known {
            self.pending.push((below.name.clone(), None));
        }
        self.below = reader.below(self.folder.path.as_bytes(), Some(&below))?;
        Ok(())
    }

    /// Takes the next name; none when there is nothing to check under it.
    fn name(&mut self, reader: &Reader, left_out: &[FileId]) -> Result<Option<Item>, Unusable> {
        let Some(name) = self.name_now().map(Box::<CStr>::from) else { return Ok(None) };
        let is_listed = self.listing.get(self.at) == Some(&*name);
        self.at += usize::from(is_listed);
        let mut record = None;
        if self.record.as_ref().is_some_and(|(at, _)| *at == name) {
            record = self.record.take().map(|(_, record)| record);
            self.record = self.records.next(reader)?;
        }
        let state = match (&self.folder.dir, self.folder.hidden) {
            (_, Some(errno)) => State::Hidden(errno),
            (Some(dir), None) if is_listed => look(dir, &name),
            (Some(_) | None, None) => State::Absent,
        };
        let is_wanted = match (state, record) {
            (_, Some(_)) => true,
            (State::There(entry), None) => entry.kind == Kind::File && !left_out.contains(&entry.id),
            (State::Absent, None) => false,
            (State::Unlooked(_) | State::Hidden(_), None) => true,
        };
        if let State::There(entry) = state
            && entry.kind == Kind::Folder
            && !left_out.contains(&entry.id)
        {
            self.pending.push((name.clone(), Some(entry.id)));
        }
        Ok(is_wanted.then(|| Item { folder: Arc::clone(&self.folder), name, record, state }))
    }
}

/// The order of two names, of which a folder that is entered has a slash at its end.
fn order((one, slash): (&CStr, bool), (other, other_slash): (&CStr, bool)) -> Ordering {
    fn key(name: &CStr, slash: bool) -> impl Iterator<Item = &u8> {
        name.to_bytes().iter().chain(slash.then_some(&b'/'))
    }
    key(one, slash).cmp(key(other, other_slash))
}
