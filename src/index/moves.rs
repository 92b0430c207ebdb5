//! The index's part in moves: the old places of folders of the source, and the records of files that have gone.
//!
//! Records are kept under the path that their file has in the replica. When an entry of the replica is moved, its records
//! are moved in the same way, so that they describe it at every moment.

use crate::index::ledger::Ledger;
use crate::index::places::{Place, Placement};
use crate::index::record::{Facts, Record};
use crate::index::rows::Packed;
use crate::index::state::lock;
use crate::model::entry::{Entry, FileId};
use crate::model::path::RelPath;
use rusqlite::{Connection, Error as SqlError, params};

/// A recorded file that is gone from its place.
#[derive(Debug)]
pub(crate) struct Departed {
    /// Its folder, below the roots.
    pub folder: RelPath,
    /// Its name.
    pub name: Box<[u8]>,
    /// Its record.
    pub record: Record,
}

/// Old place of a folder of the source.
#[derive(Clone, Debug)]
pub(crate) struct OldPlace {
    /// Its path below the roots.
    pub path: RelPath,
    /// The inode of the replica's folder of then.
    replica: Option<u64>,
}

impl OldPlace {
    /// Whether a folder of the replica is the one of then.
    pub(crate) fn is_replica(&self, entry: &Entry) -> bool {
        self.replica == Some(entry.id.inode)
    }
}

/// The most paths that a folder is looked for at.
const MOST_PLACES: u32 = 4;

impl Ledger {
    /// Whether the index knows where folders were, so that moves can be recognized.
    pub(crate) fn knows_places(&self) -> bool {
        let Some(shared) = &self.shared else { return false };
        let sql = "SELECT EXISTS (SELECT 1 FROM folder WHERE inode IS NOT NULL)";
        let found = lock(&shared.0).attempt(|state| {
            let connection = state.connection.as_ref();
            connection.map_or(Ok(false), |connection| connection.query_row(sql, [], |row| row.get(0)))
        });
        found.unwrap_or_default()
    }

    /// Notes a folder of the source that has just been created in the replica.
    pub(crate) fn created_folder(&self, path: &RelPath, source: &Entry, replica: FileId) {
        let Some(shared) = &self.shared else { return };
        let mut state = lock(&shared.0);
        let Some(volume) = state.volumes.met(source.id.device).filter(|volume| volume.tells_folders()) else {
            return;
        };
        if let Some(placement) = Placement::of(source, volume.number, replica) {
            state.add_place(Place { path: path.as_bytes().into(), placement });
        }
    }

    /// The other paths at which a folder of the source is recorded.
    pub(crate) fn places_of(&self, source: &Entry, now: &RelPath) -> Vec<OldPlace> {
        let Some(shared) = &self.shared else { return Vec::new() };
        let mut state = lock(&shared.0);
        let volume = state.volumes.met(source.id.device).filter(|volume| volume.tells_folders());
        let Some((volume, born)) = volume.zip(source.btime) else { return Vec::new() };
        let sql = "SELECT path, replica FROM folder WHERE inode = ?1 AND volume = ?2 AND born_s = ?3 AND born_ns = ?4 \
                   AND path <> ?5 LIMIT ?6";
        let found = state.attempt(|state| {
            let Some(connection) = &state.connection else { return Ok(Vec::new()) };
            let (inode, number) = (source.id.inode as i64, volume.number);
            let facts = params![inode, number, born.seconds, born.nanoseconds, now.as_bytes(), MOST_PLACES];
            let mut statement = connection.prepare_cached(sql)?;
            let places = statement.query_map(facts, |row| {
                let path = RelPath::from_bytes(row.get(0)?);
                Ok(OldPlace { path, replica: row.get::<_, Option<i64>>(1)?.map(|inode| inode as u64) })
            })?;
            places.collect()
        });
        found.unwrap_or_default()
    }

    /// The recorded files of a folder, and with `is_deep` of all folders below it, that fit.
    pub(crate) fn departed(
        &self,
        folder: &RelPath,
        is_deep: bool,
        fits: impl Fn(&[u8], &Record) -> bool,
    ) -> Vec<Departed> {
        let Some(shared) = &self.shared else { return Vec::new() };
        let found = lock(&shared.0).attempt(|state| {
            let Some(connection) = &state.connection else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            let mut read = |sql: &str, bounds: &[&[u8]]| -> Result<(), SqlError> {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(rusqlite::params_from_iter(bounds))?;
                while let Some(row) = rows.next()? {
                    let folder = row.get_ref(0)?.as_blob().unwrap_or_default();
                    let records = row.get_ref(1)?.as_blob().unwrap_or_default();
                    let known = Packed::of(records);
                    let known = known.filter_map(|(name, packed)| Some((name, Record::unpack(packed)?)));
                    found.extend(known.filter(|(name, record)| fits(name, record)).map(|(name, record)| {
                        Departed { folder: RelPath::from_bytes(folder.to_vec()), name: name.into(), record }
                    }));
                }
                Ok(())
            };
            read("SELECT folder, records FROM file WHERE folder = ?1", &[folder.as_bytes()])?;
            if is_deep {
                let [from, to] = bounds(folder.as_bytes());
                let sql = "SELECT folder, records FROM file WHERE folder > ?1 AND folder < ?2";
                read(sql, &[&from, &to])?;
            }
            Ok(found)
        });
        found.unwrap_or_default()
    }

    /// Moves what is known of an entry of the replica, and of all below it, to another path. What was known of that path
    /// takes the old one if the two entries have changed places, and is forgotten otherwise.
    pub(crate) fn moved(&self, from: &RelPath, to: &RelPath, are_exchanged: bool) {
        let Some(shared) = &self.shared else { return };
        lock(&shared.0).attempt_write(|state| {
            state.flush()?;
            let Some(connection) = &state.connection else { return Ok(()) };
            // No path holds a NUL.
            const ASIDE: &[u8] = b"\0";
            if are_exchanged {
                rename(connection, to.as_bytes(), ASIDE)?;
            } else {
                forget(connection, to.as_bytes())?;
            }
            rename(connection, from.as_bytes(), to.as_bytes())?;
            if are_exchanged {
                rename(connection, ASIDE, from.as_bytes())?;
            }
            Ok(())
        });
    }

    /// Forgets a folder and all below it.
    pub(crate) fn forget(&self, path: &RelPath) {
        let Some(shared) = &self.shared else { return };
        lock(&shared.0).attempt_write(|state| {
            state.flush()?;
            state.connection.as_ref().map_or(Ok(()), |connection| forget(connection, path.as_bytes()))
        });
    }

    /// Whether an entry of the source is the file of a record, as far as its facts tell, perhaps under another name.
    pub(crate) fn is_recorded_file(&self, record: &Record, entry: &Entry) -> bool {
        let Some(shared) = &self.shared else { return false };
        let volume = lock(&shared.0).volumes.met(entry.id.device);
        let Facts { volume: number, inode, mtime, btime, .. } = record.source;
        volume.is_some_and(|volume| volume.number == number && volume.tells_folders())
            && btime.is_some()
            && (inode, record.size, mtime, btime) == (entry.id.inode, entry.size, entry.mtime, entry.btime)
    }

    /// Moves the record of a file.
    pub(crate) fn moved_file(&self, path: &RelPath, record: &Record, source: &Entry) {
        let Some(shared) = &self.shared else { return };
        let (folder, name) = path.split();
        // Both names changed the ctime just now: facts that another pass has to settle.
        let mut record = Record { replica: None, is_suspect: false, ..*record };
        record.source.ctime = source.ctime;
        record.source.settled = false;
        lock(&shared.0).put(folder, name, &record);
    }
}

/// The bounds between which all paths below a folder lie.
fn bounds(folder: &[u8]) -> [Vec<u8>; 2] {
    match folder {
        // Above every path below the root.
        [] => [vec![], vec![0xff; 4097]],
        _ => [[folder, b"/"].concat(), [folder, b"0"].concat()],
    }
}

/// Gives the rows of a folder, and of all below it, another path.
fn rename(connection: &Connection, from: &[u8], to: &[u8]) -> Result<(), SqlError> {
    let [low, high] = bounds(from);
    let length = i64::try_from(from.len() + 1).unwrap_or(i64::MAX);
    for sql in [
        "UPDATE file SET folder = CAST(?4 || substr(folder, ?5) AS BLOB) \
         WHERE folder = ?1 OR folder > ?2 AND folder < ?3",
        "UPDATE folder SET path = CAST(?4 || substr(path, ?5) AS BLOB) \
         WHERE path = ?1 OR path > ?2 AND path < ?3",
    ] {
        connection.prepare_cached(sql)?.execute(params![from, low, high, to, length])?;
    }
    Ok(())
}

/// Forgets all that is known of a folder and what is below it.
fn forget(connection: &Connection, folder: &[u8]) -> Result<(), SqlError> {
    let [low, high] = bounds(folder);
    for sql in [
        "DELETE FROM file WHERE folder = ?1 OR folder > ?2 AND folder < ?3",
        "DELETE FROM folder WHERE path = ?1 OR path > ?2 AND path < ?3",
    ] {
        connection.prepare_cached(sql)?.execute(params![folder, low, high])?;
    }
    Ok(())
}
