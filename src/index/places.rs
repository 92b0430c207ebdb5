//! Where the folders of the source are: a folder keeps its inode number and birth time when it is moved.

use crate::model::entry::{Entry, FileId, Timestamp};
use rusqlite::{Connection, Error as SqlError, Row, params};

/// The identity of a folder of the source, and of the replica's folder that it was last compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(super) volume: u32,
    pub(super) inode: u64,
    pub(super) born: Timestamp,
    /// The inode of the replica's folder. Without it, a pass that was stopped after its moves would make the next one
    /// take a folder for another one.
    pub(super) replica: u64,
}

/// A folder of the source and where it is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: Box<[u8]>,
    pub(super) placement: Placement,
}

impl Placement {
    /// The identity of a folder with these facts; none without a birth time: inode numbers are used again.
    pub(super) fn of(entry: &Entry, volume: u32, replica: FileId) -> Option<Placement> {
        let (inode, replica) = (entry.id.inode, replica.inode);
        entry.btime.map(|born| Placement { volume, inode, born, replica })
    }

    /// Whether two identities are of one folder of the source.
    pub(super) fn is_same(&self, other: &Placement) -> bool {
        (self.volume, self.inode, self.born) == (other.volume, other.inode, other.born)
    }

    /// Reads the five columns from this one on.
    pub(super) fn read(row: &Row<'_>, at: usize) -> Result<Option<Placement>, SqlError> {
        let volume: Option<u32> = row.get(at)?;
        let inode: Option<i64> = row.get(at + 1)?;
        let born = row.get::<_, Option<i64>>(at + 2)?.zip(row.get::<_, Option<u32>>(at + 3)?);
        let replica: Option<i64> = row.get(at + 4)?;
        let all = volume.zip(inode).zip(born).zip(replica);
        Ok(all.map(|(((volume, inode), (seconds, nanoseconds)), replica)| Placement {
            volume,
            inode: inode as u64,
            born: Timestamp { seconds, nanoseconds },
            replica: replica as u64,
        }))
    }
}

/// Writes where a folder is. True when its row is new.
pub(super) fn write_place(
    connection: &Connection,
    Place { path, placement }: &Place,
) -> Result<bool, SqlError> {
    let Placement { volume, inode, born, replica } = placement;
    let facts = params![path, volume, *inode as i64, born.seconds, born.nanoseconds, *replica as i64];
    let sql =
        "UPDATE folder SET volume = ?2, inode = ?3, born_s = ?4, born_ns = ?5, replica = ?6 WHERE path = ?1";
    if connection.prepare_cached(sql)?.execute(facts)? > 0 {
        return Ok(false);
    }
    let sql = "INSERT INTO folder (path, confirmed, volume, inode, born_s, born_ns, replica) \
               VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6)";
    connection.prepare_cached(sql)?.execute(facts)?;
    Ok(true)
}
