//! Finds the listed name of an entry that a folder shows under an unlisted name.
//!
//! Device and inode identify an entry on a filesystem with one inode number per entry. FUSE may have one per spelling;
//! there equal facts identify entries whose names are spellings of each other, and for other names they are only a
//! hint.

use crate::collections::HashMap;
use crate::fs::listing::Listing;
use crate::fs::stat::entry_at;
use crate::model::entry::{Entry, FileId, Kind};
use crate::model::spelling::folded;
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// The listed name of an entry that a folder has shown under another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// The same name.
    Exactly,
    /// The name at this position of the listing.
    As(usize),
    /// Most likely the name at this position, which is a spelling of the other: their facts differ, but one of the two
    /// answers may come from a cache.
    Alike(usize),
    /// One of the names at these positions, or none.
    Perhaps(Vec<usize>),
    /// None: some filesystems show more than they list.
    Nowhere,
}

/// An open folder and its listing, with lookups that are cached from one name to the next.
pub(crate) struct Spellings<'a> {
    folder: BorrowedFd<'a>,
    listing: &'a Listing,
    entries: HashMap<usize, Option<Entry>>,
    folded: Option<HashMap<String, Vec<usize>>>,
    by_id: Option<HashMap<FileId, Vec<usize>>>,
}

impl<'a> Spellings<'a> {
    /// Starts with an open folder and its listing.
    pub(crate) fn of(folder: BorrowedFd<'a>, listing: &'a Listing) -> Spellings<'a> {
        Spellings { folder, listing, entries: HashMap::default(), folded: None, by_id: None }
    }

    /// Finds the listed name of `found`, which the folder has just shown under `name`. The other entries of the folder
    /// are looked at only if no spelling of `name` leads to it.
    ///
    /// # Errors
    /// As `statx(2)`.
    pub(crate) fn find(&mut self, name: &CStr, found: &Entry) -> Result<Listed, Errno> {
        if self.listing.position(name).is_some() {
            return Ok(Listed::Exactly);
        }
        let (mut alike, mut same) = (Vec::new(), Vec::new());
        for at in self.alike(name) {
            match self.entry(at)? {
                Some(entry) if entry.id == found.id => return Ok(Listed::As(at)),
                Some(entry) if has_same_facts(&entry, found) => same.push(at),
                Some(_) => alike.push(at),
                None => {}
            }
        }
        match same.as_slice() {
            [] => {}
            [one] => return Ok(Listed::As(*one)),
            [..] => return Ok(Listed::Perhaps(same)),
        }
        let is_single = found.kind == Kind::Folder || found.links <= 1;
        match self.of_id(found.id)?.as_slice() {
            [] => {}
            [one] if is_single => return Ok(Listed::As(*one)),
            // Hard links: the name may be a further, unlisted one of them.
            several => return Ok(Listed::Perhaps(several.to_vec())),
        }
        match alike.as_slice() {
            [] => {}
            [one] => return Ok(Listed::Alike(*one)),
            [..] => return Ok(Listed::Perhaps(alike)),
        }
        let mut same: Vec<usize> = Vec::new();
        for at in 0..self.listing.len() {
            if self.entry(at)?.is_some_and(|entry| has_same_facts(&entry, found)) {
                same.push(at);
            }
        }
        Ok(if same.is_empty() { Listed::Nowhere } else { Listed::Perhaps(same) })
    }

    /// The positions of the listed names that are spellings of a name.
    pub(crate) fn alike(&mut self, name: &CStr) -> Vec<usize> {
        let listing = self.listing;
        let all = self.folded.get_or_insert_with(|| {
            let mut all: HashMap<String, Vec<usize>> = HashMap::default();
            for (at, listed) in (0..listing.len()).filter_map(|at| Some((at, listing.get(at)?))) {
                all.entry(folded(listed)).or_default().push(at);
            }
            all
        });
        all.get(&folded(name)).cloned().unwrap_or_default()
    }

    /// The facts of a listed name; none when it is not there any more.
    ///
    /// # Errors
    /// As `statx(2)`.
    pub(crate) fn entry(&mut self, at: usize) -> Result<Option<Entry>, Errno> {
        if let Some(known) = self.entries.get(&at) {
            return Ok(*known);
        }
        let entry = match self.listing.get(at).map(|name| entry_at(self.folder, name)) {
            Some(Ok(entry)) => Some(entry),
            Some(Err(Errno::NOENT)) | None => None,
            Some(Err(errno)) => return Err(errno),
        };
        self.entries.insert(at, entry);
        Ok(entry)
    }

    /// The positions of the listed names that lead to an inode.
    fn of_id(&mut self, id: FileId) -> Result<Vec<usize>, Errno> {
        if self.by_id.is_none() {
            let mut all: HashMap<FileId, Vec<usize>> = HashMap::default();
            for at in 0..self.listing.len() {
                if let Some(entry) = self.entry(at)? {
                    all.entry(entry.id).or_default().push(at);
                }
            }
            self.by_id = Some(all);
        }
        Ok(self.by_id.as_ref().and_then(|all| all.get(&id)).cloned().unwrap_or_default())
    }
}

/// Whether two sightings may be of one entry, judged by its facts.
fn has_same_facts(one: &Entry, other: &Entry) -> bool {
    (one.kind, one.size, one.mtime) == (other.kind, other.size, other.mtime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::Timestamp;
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    #[test]
    fn a_name_that_is_not_listed_is_found_by_its_inode_or_its_facts() {
        let scratch = tempfile::tempdir().unwrap();
        for (name, content) in
            [("ONE", "1"), ("other", "four"), ("\u{c4}", "12"), ("twin", "123"), ("twins", "123")]
        {
            fs::write(scratch.path().join(name), content).unwrap();
        }
        fs::hard_link(scratch.path().join("other"), scratch.path().join("another")).unwrap();
        let time = fs::metadata(scratch.path().join("twin")).unwrap().modified().unwrap();
        File::options().write(true).open(scratch.path().join("twins")).unwrap().set_modified(time).unwrap();
        let folder = File::open(scratch.path()).unwrap();
        let listing = Listing::read(folder.as_fd()).unwrap();
        let mut spellings = Spellings::of(folder.as_fd(), &listing);
        let at = |name: &CStr| listing.position(name).unwrap();
        let entry = |name: &CStr| entry_at(folder.as_fd(), name).unwrap();
        // As with FUSE under another spelling.
        let elsewhere = |name: &CStr| Entry { id: FileId { device: 1, inode: 77 }, ..entry(name) };
        let changed = |name: &CStr| {
            let mtime = Timestamp { seconds: 1, nanoseconds: 0 };
            Entry { mtime, ..elsewhere(name) }
        };
        let cases = [
            (c"ONE", entry(c"ONE"), Listed::Exactly),
            (c"one", entry(c"ONE"), Listed::As(at(c"ONE"))),
            (c"one.", elsewhere(c"ONE"), Listed::As(at(c"ONE"))),
            (c"a\xcc\x88", elsewhere(c"\xc3\x84"), Listed::As(at(c"\xc3\x84"))),
            // Another name altogether: only the inode proves it.
            (c"ONE~1", entry(c"ONE"), Listed::As(at(c"ONE"))),
            (c"hidden", elsewhere(c"ONE"), Listed::Perhaps(vec![at(c"ONE")])),
            (c"hidden", elsewhere(c"twin"), Listed::Perhaps(vec![at(c"twin"), at(c"twins")])),
            // One of several hard links, or one more that is not listed.
            (c"hidden", entry(c"other"), Listed::Perhaps(vec![at(c"another"), at(c"other")])),
            (c"OTHER", entry(c"other"), Listed::As(at(c"other"))),
            (c"hidden", changed(c"ONE"), Listed::Nowhere),
            // A spelling of a listed name, with other facts.
            (c"one", changed(c"ONE"), Listed::Alike(at(c"ONE"))),
        ];
        for (name, found, expected) in cases {
            assert_eq!(spellings.find(name, &found), Ok(expected), "{name:?}");
        }
        assert_eq!(spellings.alike(c"one.. "), [at(c"ONE")]);
    }
}
