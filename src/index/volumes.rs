//! The filesystems of a pair: their numbers in the records, and what their facts are worth.
//!
//! A device number is no name for a filesystem: disks are found in another order after the next boot, and btrfs, device
//! mapper and network mounts get the next free one. So each filesystem has a number in the index and is recognized by
//! its topmost folder (inode and birth time), else by its `f_fsid`, else by the device.

use crate::collections::HashMap;
use crate::fs::magic::{filesystem_identity, has_medium, has_true_ctime, is_made_up_type, is_shared_type};
use crate::index::trust::Likeness;
use crate::model::entry::{Entry, Timestamp};
use rusqlite::{Connection, params};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The number of files of a volume that have to be compared before its inode numbers are judged.
const ENOUGH: u32 = 16;

/// One filesystem.
#[derive(Debug)]
pub(crate) struct Volume {
    /// Its number in the records.
    pub number: u32,
    magic: u64,
    /// Files that are as recorded, and files that differ in the inode number alone.
    same: AtomicU32,
    other_inode: AtomicU32,
    /// True when its inode numbers change with each mount.
    unstable: AtomicBool,
}

impl Volume {
    fn new(number: u32, magic: u64, unstable: bool) -> Volume {
        Volume {
            number,
            magic,
            same: AtomicU32::new(0),
            other_inode: AtomicU32::new(0),
            unstable: AtomicBool::new(unstable),
        }
    }

    /// Whether every change of content moves the ctime.
    pub(crate) fn has_true_ctime(&self) -> bool {
        has_true_ctime(self.magic)
    }

    /// Whether a content that changed although no time did has rotted.
    pub(crate) fn proves_rot(&self) -> bool {
        self.has_true_ctime() && has_medium(self.magic)
    }

    /// Whether an inode number and a birth time together name one folder for all time.
    pub(crate) fn tells_folders(&self) -> bool {
        self.has_true_ctime() && !self.unstable.load(Ordering::Relaxed)
    }

    /// Whether its time stamps come from this machine's clock.
    pub(crate) fn is_local(&self) -> bool {
        !is_shared_type(self.magic)
    }

    /// Whether the facts of its files say anything: not where the kernel makes the files up.
    pub(crate) fn has_facts(&self) -> bool {
        !is_made_up_type(self.magic)
    }

    /// Whether a file counts as the recorded one. Where most of the files differ in the inode number alone, that number
    /// is left out. True in the second place when that has just been found out.
    pub(crate) fn accepts(&self, likeness: Likeness) -> (bool, bool) {
        match likeness {
            // Nothing is counted where it decides nothing: the threads would take turns at it.
            Likeness::Same if self.has_true_ctime() => (true, false),
            Likeness::Same => {
                self.same.fetch_add(1, Ordering::Relaxed);
                (true, false)
            }
            Likeness::Other => (false, false),
            // A true ctime moves when another file takes the name.
            Likeness::OtherInode if self.has_true_ctime() => (false, false),
            Likeness::OtherInode if self.unstable.load(Ordering::Relaxed) => (true, false),
            Likeness::OtherInode => {
                let others = self.other_inode.fetch_add(1, Ordering::Relaxed) + 1;
                if others < ENOUGH || others <= self.same.load(Ordering::Relaxed) {
                    return (false, false);
                }
                (true, !self.unstable.swap(true, Ordering::Relaxed))
            }
        }
    }
}

/// The volumes of a pair.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    known: Vec<Row>,
    by_device: HashMap<u64, Arc<Volume>>,
}

#[derive(Clone, Debug)]
struct Row {
    number: u32,
    magic: u64,
    fsid: u64,
    device: u64,
    inode: u64,
    born: Option<Timestamp>,
    unstable: bool,
}

impl Volumes {
    /// Those that the index knows.
    ///
    /// # Errors
    /// As `sqlite3_step`.
    pub(crate) fn read(connection: &Connection) -> Result<Volumes, rusqlite::Error> {
        let sql = "SELECT number, type, fsid, device, inode, born_s, born_ns, unstable FROM volume";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let born = row.get::<_, Option<i64>>(5)?.zip(row.get::<_, Option<u32>>(6)?);
            Ok(Row {
                number: row.get(0)?,
                magic: row.get::<_, i64>(1)? as u64,
                fsid: row.get::<_, i64>(2)? as u64,
                device: row.get::<_, i64>(3)? as u64,
                inode: row.get::<_, i64>(4)? as u64,
                born: born.map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds }),
                unstable: row.get(7)?,
            })
        })?;
        Ok(Volumes { known: rows.collect::<Result<_, _>>()?, by_device: HashMap::default() })
    }

    /// The volume of a device, if it has been met in this pass.
    pub(crate) fn met(&self, device: u64) -> Option<Arc<Volume>> {
        self.by_device.get(&device).map(Arc::clone)
    }

    /// The volume of a folder, the first one that is met on its device. True when the index has to be told.
    pub(crate) fn meet(&mut self, folder: BorrowedFd<'_>, facts: &Entry) -> (Arc<Volume>, bool) {
        if let Some(volume) = self.met(facts.id.device) {
            return (volume, false);
        }
        let (magic, fsid) = filesystem_identity(folder).unwrap_or_default();
        let (row, is_new) = self.find(magic, fsid, facts);
        let volume = Arc::new(Volume::new(row.number, magic, row.unstable));
        self.by_device.insert(facts.id.device, Arc::clone(&volume));
        (volume, is_new)
    }

    /// The row of a filesystem, and whether it is new or has changed.
    fn find(&mut self, magic: u64, fsid: u64, facts: &Entry) -> (Row, bool) {
        let taken: Vec<u32> = self.by_device.values().map(|volume| volume.number).collect();
        let is_folder =
            |row: &Row| row.born.is_some() && (row.inode, row.born) == (facts.id.inode, facts.btime);
        let is_filesystem = |row: &Row| row.fsid != 0 && row.fsid == fsid;
        let is_device = |row: &Row| row.device == facts.id.device;
        let free = |row: &&mut Row| row.magic == magic && !taken.contains(&row.number);
        let now = Row {
            number: 1 + self.known.iter().map(|row| row.number).max().unwrap_or_default(),
            magic,
            fsid,
            device: facts.id.device,
            inode: facts.id.inode,
            born: facts.btime,
            unstable: false,
        };
        // Snapshots of a btrfs have the same topmost folder as their origin.
        let is_both = |row: &Row| is_folder(row) && is_filesystem(row);
        let tests: [&dyn Fn(&Row) -> bool; 4] = [&is_both, &is_folder, &is_filesystem, &is_device];
        for test in tests {
            if let Some(row) = self.known.iter_mut().filter(free).find(|row| test(row)) {
                let (number, unstable) = (row.number, row.unstable);
                let is_as_before = (row.fsid, row.device, row.inode, row.born)
                    == (now.fsid, now.device, now.inode, now.born);
                *row = Row { number, unstable, ..now };
                return (row.clone(), !is_as_before);
            }
        }
        self.known.push(now.clone());
        (now, true)
    }

    /// Writes the row of a volume.
    ///
    /// # Errors
    /// As `sqlite3_step`.
    pub(crate) fn write(&self, connection: &Connection, volume: &Volume) -> Result<(), rusqlite::Error> {
        let Some(row) = self.known.iter().find(|row| row.number == volume.number) else { return Ok(()) };
        let sql = "INSERT OR REPLACE INTO volume (number, type, fsid, device, inode, born_s, born_ns, unstable) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        connection.prepare_cached(sql)?.execute(params![
            row.number,
            row.magic as i64,
            row.fsid as i64,
            row.device as i64,
            row.inode as i64,
            row.born.map(|born| born.seconds),
            row.born.map(|born| born.nanoseconds),
            row.unstable || volume.unstable.load(Ordering::Relaxed),
        ])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::entry::FileId;
    use crate::survey::reconcile::tests::file;

    const VFAT: u64 = 0x4d44;
    const EXT: u64 = 0xef53;

    #[test]
    fn inode_numbers_are_left_out_where_most_files_differ_in_them_alone() {
        let volume = Volume::new(1, VFAT, false);
        for _ in 0..20 {
            assert_eq!(volume.accepts(Likeness::Same), (true, false));
        }
        for _ in 0..20 {
            assert_eq!(volume.accepts(Likeness::OtherInode), (false, false));
        }
        assert_eq!(volume.accepts(Likeness::OtherInode), (true, true), "told once");
        assert_eq!(volume.accepts(Likeness::OtherInode), (true, false));
        assert_eq!(volume.accepts(Likeness::Other), (false, false));
    }

    #[test]
    fn a_few_files_prove_nothing_and_a_true_ctime_says_more() {
        let few = Volume::new(1, VFAT, false);
        for _ in 1..ENOUGH {
            assert_eq!(few.accepts(Likeness::OtherInode), (false, false));
        }
        let ext = Volume::new(1, EXT, false);
        for _ in 0..100 {
            assert_eq!(ext.accepts(Likeness::OtherInode), (false, false));
        }
    }

    fn top(device: u64, inode: u64, born: i64) -> Entry {
        let born = Timestamp { seconds: born, nanoseconds: 1 };
        Entry { id: FileId { device, inode }, btime: Some(born), ..file(1) }
    }

    #[test]
    fn a_filesystem_keeps_its_number_whatever_its_device() {
        let mut before = Volumes::default();
        let numbers = [
            before.find(EXT, 11, &top(1, 2, 100)).0.number,
            before.find(EXT, 0, &top(2, 2, 200)).0.number,
            before.find(VFAT, 0, &Entry { btime: None, ..top(3, 1, 0) }).0.number,
        ];
        assert_eq!(numbers, [1, 2, 3]);
        // The disks come back in another order.
        let mut after = Volumes { known: before.known.clone(), by_device: HashMap::default() };
        assert_eq!(after.find(EXT, 0, &top(1, 2, 200)).0.number, 2);
        assert_eq!(after.find(EXT, 11, &top(7, 9, 300)).0.number, 1, "by its fsid");
        let (row, changed) = after.find(VFAT, 0, &Entry { btime: None, ..top(3, 1, 0) });
        assert_eq!((row.number, changed), (3, false), "by its device");
        assert_eq!(after.find(EXT, 0, &top(8, 2, 400)).0.number, 4, "a new one");
    }

    #[test]
    fn two_copies_of_one_filesystem_are_two() {
        let mut volumes = Volumes::default();
        let first = volumes.find(EXT, 11, &top(1, 2, 100)).0;
        volumes.by_device.insert(1, Arc::new(Volume::new(first.number, EXT, false)));
        assert_eq!(volumes.find(EXT, 11, &top(2, 2, 100)).0.number, 2);
    }
}
