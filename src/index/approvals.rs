//! Contents that a person has accepted although the index says that the file has rotted (`file-sync approve`).
//!
//! They lie in a file beside the database, because a running pass holds the database's only write lock. Each entry is a
//! line of `sha256sum` with a NUL at its end: the digest of the content, two spaces, the path below the roots. An entry
//! holds for this content only: a file that changes again is asked about again.

use crate::fs::metadata::Subject;
use crate::fs::state_file;
use crate::model::digest::Digest;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Result, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An accepted content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Approval {
    /// The digest of the content.
    pub digest: Digest,
    /// The path below the roots; empty for a held plan.
    pub path: Vec<u8>,
}

impl Approval {
    /// Whether it is about a whole held plan, and not about a file.
    pub(crate) fn is_of_plan(&self) -> bool {
        self.path.is_empty()
    }
}

/// The file of a database.
pub(crate) fn file_of(database: &Path) -> PathBuf {
    database.with_extension("approved")
}

/// Reads all entries; a missing file has none.
///
/// # Errors
/// As `open(2)` and `read(2)`.
pub(crate) fn read(path: &Path) -> Result<Vec<Approval>> {
    match state_file::open(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        file => entries(&mut file?),
    }
}

/// Adds entries to the file of a database.
///
/// # Errors
/// As `open(2)`, `flock(2)` and `write(2)`.
pub(crate) fn add(database: &Path, approvals: &[Approval]) -> Result<()> {
    let mut file = open_to_append(&file_of(database), database)?;
    file.lock()?;
    let lines: Vec<u8> = approvals.iter().flat_map(line).collect();
    file.write_all(&lines)?;
    file.sync_all()
}

/// Opens the file. A new one belongs to the owner of the database, where this process may give it away: root may
/// approve for the service of another user, which has to read it.
fn open_to_append(path: &Path, database: &Path) -> Result<File> {
    let existing = || state_file::open(path, OpenOptions::new().append(true));
    match existing() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    match state_file::open(path, OpenOptions::new().append(true).create_new(true).mode(0o600)) {
        // Another process has made it meanwhile.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => existing(),
        Err(error) => Err(error),
        Ok(file) => {
            if let Ok(facts) = std::fs::symlink_metadata(database) {
                let _ = Subject::Open(file.as_fd()).set_owner(facts.uid(), facts.gid());
            }
            Ok(file)
        }
    }
}

/// Removes entries that a pass has used, and keeps those that were added meanwhile.
///
/// # Errors
/// As [`add`].
pub(crate) fn remove(path: &Path, used: &[Approval]) -> Result<()> {
    let mut file = match state_file::open(path, OpenOptions::new().read(true).write(true)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    file.lock()?;
    let kept: Vec<Approval> =
        entries(&mut file)?.into_iter().filter(|approval| !used.contains(approval)).collect();
    let lines: Vec<u8> = kept.iter().flat_map(line).collect();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&lines)
}

fn line(approval: &Approval) -> Vec<u8> {
    [approval.digest.to_string().as_bytes(), b"  ", &approval.path, b"\0"].concat()
}

fn entries(file: &mut File) -> Result<Vec<Approval>> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    // A line that is cut short approves nothing.
    let whole = text.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
    let lines = text.get(..whole).unwrap_or_default().split(|byte| *byte == 0);
    Ok(lines.filter_map(entry).collect())
}

fn entry(line: &[u8]) -> Option<Approval> {
    const DIGITS: usize = 64;
    let (digits, rest) = line.split_at_checked(DIGITS)?;
    let path = rest.strip_prefix(b"  ")?.to_vec();
    Some(Approval { digest: Digest::parse(std::str::from_utf8(digits).ok()?)?, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(first: u8, path: &[u8]) -> Approval {
        Approval { digest: Digest::from_bytes([first; 32]), path: path.to_vec() }
    }

    #[test]
    fn what_was_added_is_read_until_it_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let database = scratch.path().join("photos-1234.db");
        let path = file_of(&database);
        assert_eq!(path, scratch.path().join("photos-1234.approved"));
        assert_eq!(read(&path).unwrap(), []);
        let (one, two, odd) = (approval(1, b"a"), approval(2, b"b/c  d"), approval(3, b"\n\xff"));
        add(&database, &[one.clone(), two.clone()]).unwrap();
        add(&database, std::slice::from_ref(&odd)).unwrap();
        assert_eq!(read(&path).unwrap(), [one.clone(), two.clone(), odd.clone()]);
        remove(&path, &[two, approval(9, b"a")]).unwrap();
        assert_eq!(read(&path).unwrap(), [one.clone(), odd.clone()]);
        remove(&path, &[one, odd]).unwrap();
        assert_eq!(read(&path).unwrap(), []);
        remove(&scratch.path().join("none"), &[]).unwrap();
    }

    #[test]
    fn a_new_file_belongs_to_the_owner_of_the_database() {
        let scratch = tempfile::tempdir().unwrap();
        let database = scratch.path().join("photos-1234.db");
        std::fs::write(&database, "").unwrap();
        // Only root may give files away; others find their own.
        let _ = std::os::unix::fs::chown(&database, Some(65_534), Some(65_533));
        add(&database, &[approval(1, b"a")]).unwrap();
        let owner = |path: &Path| {
            let facts = std::fs::metadata(path).unwrap();
            (facts.uid(), facts.gid(), facts.mode() & 0o777)
        };
        let (uid, gid, _) = owner(&database);
        assert_eq!(owner(&file_of(&database)), (uid, gid, 0o600));
    }

    #[test]
    fn what_is_no_regular_file_approves_nothing_and_is_not_written() {
        let scratch = tempfile::tempdir().unwrap();
        let database = scratch.path().join("photos-1234.db");
        let (path, elsewhere) = (file_of(&database), scratch.path().join("elsewhere"));
        std::fs::write(&elsewhere, line(&approval(1, b"a"))).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        for _ in 0..2 {
            assert!(read(&path).is_err());
            assert!(add(&database, &[approval(2, b"b")]).is_err());
            assert!(remove(&path, &[approval(1, b"a")]).is_err());
            assert_eq!(std::fs::read(&elsewhere).unwrap(), line(&approval(1, b"a")));
            std::fs::remove_file(&path).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        }
    }

    #[test]
    fn a_line_that_is_cut_or_damaged_approves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("approved");
        let good = line(&approval(1, b"a"));
        for bad in [&b"x\0"[..], b"\0\0", &[&[b'z'; 64][..], b"  a\0"].concat(), good.get(..66).unwrap()] {
            std::fs::write(&path, [bad, &good[..], &good[..good.len() - 1]].concat()).unwrap();
            let read = read(&path).unwrap();
            assert!(read.iter().all(|entry| *entry == approval(1, b"a")) || bad.len() == 66, "{read:?}");
        }
    }
}
