//! The identities of the two roots in the last pass that was done.

use crate::model::doubt::RootIdentity;
use crate::model::entry::Timestamp;
use rusqlite::{Connection, Error as SqlError, OptionalExtension, params};

/// Reads them, the source first; none where no pass was done.
pub(super) fn read(connection: &Connection) -> Result<Option<[RootIdentity; 2]>, SqlError> {
    let mut statement =
        connection.prepare_cached("SELECT type, fsid, inode, born_s, born_ns FROM root WHERE side = ?1")?;
    let mut of = |side: i64| {
        let read = |row: &rusqlite::Row<'_>| {
            let born = row.get::<_, Option<i64>>(3)?.zip(row.get::<_, Option<u32>>(4)?);
            Ok(RootIdentity {
                filesystem: row.get::<_, i64>(0)? as u64,
                fsid: row.get::<_, i64>(1)? as u64,
                inode: Some(row.get::<_, i64>(2)? as u64),
                btime: born.map(|(seconds, nanoseconds)| Timestamp { seconds, nanoseconds }),
            })
        };
        statement.query_row([side], read).optional()
    };
    Ok(of(0)?.zip(of(1)?).map(|(source, replica)| [source, replica]))
}

/// Writes them.
pub(super) fn write(connection: &Connection, roots: &[RootIdentity; 2]) -> Result<(), SqlError> {
    let sql = "INSERT OR REPLACE INTO root (side, type, fsid, inode, born_s, born_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = connection.prepare_cached(sql)?;
    for (side, root) in (0i64..).zip(roots) {
        let RootIdentity { filesystem, fsid, inode, btime } = *root;
        let Some(inode) = inode else { continue };
        let (seconds, nanoseconds) = (btime.map(|born| born.seconds), btime.map(|born| born.nanoseconds));
        statement.execute(params![
            side,
            filesystem as i64,
            fsid as i64,
            inode as i64,
            seconds,
            nanoseconds
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::read::tests::empty;

    #[test]
    fn both_roots_are_read_as_they_were_written_last() {
        let scratch = tempfile::tempdir().unwrap();
        let (connection, _) = empty(scratch.path());
        assert_eq!(read(&connection).unwrap(), None);
        let born = |seconds| Some(Timestamp { seconds, nanoseconds: 999_999_999 });
        let of = |fsid, btime| RootIdentity { filesystem: 0xef53, fsid, inode: Some(u64::MAX), btime };
        for roots in [[of(u64::MAX, born(-1)), of(0, None)], [of(1, None), of(2, born(i64::MAX))]] {
            write(&connection, &roots).unwrap();
            assert_eq!(read(&connection).unwrap(), Some(roots));
        }
    }
}
