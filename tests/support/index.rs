//! Reads the index as docs/index.md describes it, with code of its own, and compares its claims with the trees: a record
//! whose facts a file still has must have the digest of that file.

use super::scratch::Scratch;
use file_sync::Hasher;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The facts of one side: inode, modification time and change time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    inode: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
}

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The path below the roots.
    pub(crate) path: PathBuf,
    digest: [u8; 32],
    size: u64,
    sides: [Option<Facts>; 2],
}

/// What was found of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The records.
    pub(crate) records: usize,
    /// The files whose facts are still those of a record.
    pub(crate) claims: usize,
}

/// Checks every index of a scratch, if there is one: it is undamaged, and no claim of it is wrong.
pub(crate) fn check(place: &Scratch) -> Checked {
    let mut checked = Checked::default();
    let state = place.state().join("file-sync");
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "db") {
            let records = read(&entry.path());
            checked.records += records.len();
            for record in &records {
                let roots = [&place.source, &place.replica];
                for (root, facts) in roots.into_iter().zip(record.sides) {
                    checked.claims += usize::from(facts.is_some_and(|facts| is_claim(root, record, facts)));
                }
            }
        }
    }
    checked
}

/// Whether a file still has the recorded facts: then its digest is the recorded one.
fn is_claim(root: &Path, record: &Record, facts: Facts) -> bool {
    let path = root.join(&record.path);
    let Ok(found) = fs::symlink_metadata(&path) else { return false };
    let now = Facts {
        inode: found.ino(),
        mtime: (found.mtime(), found.mtime_nsec() as u32),
        ctime: (found.ctime(), found.ctime_nsec() as u32),
    };
    if now != facts || found.len() != record.size || !found.is_file() {
        return false;
    }
    let Ok(content) = fs::read(&path) else { return false };
    let mut hasher = Hasher::new();
    hasher.update(&content);
    let digest = hasher.finish();
    assert_eq!(
        *digest.as_bytes(),
        record.digest,
        "the index claims another digest of {path:?}, which has {digest}"
    );
    true
}

/// All records of an index, which is undamaged.
pub(crate) fn read(database: &Path) -> Vec<Record> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags(database, flags).expect("it opens");
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("readable");
    if version == 0 {
        // Killed before there was a table.
        return Vec::new();
    }
    let health: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("readable");
    assert_eq!(health, "ok", "{database:?}");
    let mut statement =
        connection.prepare("SELECT folder, count, records FROM file ORDER BY folder, first").expect("valid");
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u32>(1)?, row.get::<_, Vec<u8>>(2)?))
        })
        .expect("readable");
    let mut records = Vec::new();
    for row in rows {
        let (folder, count, packed) = row.expect("readable");
        let before = records.len();
        let mut bytes = Bytes(&packed);
        while !bytes.0.is_empty() {
            records.push(bytes.record(&folder));
        }
        assert_eq!(records.len() - before, count as usize, "the row counts its records");
    }
    records
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = self.take(1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    /// Even numbers are positive: 0, -1, 1, -2, 2 ...
    fn signed(&mut self) -> i64 {
        let number = self.number();
        if number.is_multiple_of(2) { (number / 2) as i64 } else { -((number / 2) as i64) - 1 }
    }

    fn time(&mut self, base: i64) -> (i64, u32) {
        let seconds = base + self.signed();
        (seconds, u32::from_le_bytes(self.take(4).try_into().expect("four bytes")))
    }

    fn record(&mut self, folder: &[u8]) -> Record {
        let length = self.number() as usize;
        let name = self.take(length);
        let length = self.number() as usize;
        let mut packed = Bytes(self.take(length));
        let flags = packed.take(1)[0];
        let digest = packed.take(32).try_into().expect("32 bytes");
        let size = packed.number();
        let _confirmed = packed.signed();
        let _hashed = packed.signed();
        let mut facts = |is_born: bool| {
            let _volume = packed.number();
            let inode = packed.number();
            let mtime = packed.time(0);
            let ctime = packed.time(mtime.0);
            if is_born {
                packed.time(ctime.0);
            }
            Facts { inode, mtime, ctime }
        };
        let source = facts(flags & 1 << 3 != 0);
        let replica = (flags & 1 != 0).then(|| facts(flags & 1 << 4 != 0));
        assert!(packed.0.is_empty(), "nothing is left over");
        let path = if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() };
        Record { path: OsString::from_vec(path).into(), digest, size, sides: [Some(source), replica] }
    }
}
