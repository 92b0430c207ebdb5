//! Where the folders of the source are: a folder keeps its inode number and birth time when it is moved.

use crate::model::entry::{Entry, Timestamp};
use rusqlite::{Connection, Error as SqlError, Row, params};

/// The identity of a folder of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(super) volume: u32,
    pub(super) inode: u64,
    pub(super) born: Timestamp,
}

/// A folder of the source and where it is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: Box<[u8]>,
    pub(super) placement: Placement,
}

impl Placement {
    /// The identity of a folder with these facts; none without a birth time: inode numbers are used again.
    pub(super) fn of(entry: &Entry, volume: u32) -> Option<Placement> {
        entry.btime.map(|born| Placement { volume, inode: entry.id.inode, born })
    }

    /// Reads the four columns from this one on.
    pub(super) fn read(row: &Row<'_>, at: usize) -> Result<Option<Placement>, SqlError> {
        let volume: Option<u32> = row.get(at)?;
        let inode: Option<i64> = row.get(at + 1)?;
        let born = row.get::<_, Option<i64>>(at + 2)?.zip(row.get::<_, Option<u32>>(at + 3)?);
        Ok(volume.zip(inode).zip(born).map(|((volume, inode), (seconds, nanoseconds))| Placement {
            volume,
            inode: inode as u64,
            born: Timestamp { seconds, nanoseconds },
        }))
    }
}

/// Writes where a folder is. True when its row is new.
pub(super) fn write_place(
    connection: &Connection,
    Place { path, placement }: &Place,
) -> Result<bool, SqlError> {
    let Placement { volume, inode, born } = placement;
    let facts = params![path, volume, *inode as i64, born.seconds, born.nanoseconds];
    let sql = "UPDATE folder SET volume = ?2, inode = ?3, born_s = ?4, born_ns = ?5 WHERE path = ?1";
    if connection.prepare_cached(sql)?.execute(facts)? > 0 {
        return Ok(false);
    }
    let sql = "INSERT INTO folder (path, confirmed, volume, inode, born_s, born_ns) VALUES (?1, 0, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute(facts)?;
    Ok(true)
}
