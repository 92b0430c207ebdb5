//! The database file: its schema, its settings, and what happens when it is missing, damaged, locked or of a later
//! version.
//!
//! A folder's records are packed, up to some 3.5 KB in a row: a pass reads a folder with one look-up, in the order of
//! the keys.

use crate::fs::magic::{filesystem_type, is_shared_type};
use crate::fs::state_file;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error as SqlError, ErrorCode, OpenFlags, OptionalExtension, params};
use std::ffi::OsStr;
use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The schema's version, kept in `PRAGMA user_version`.
const VERSION: i64 = 3;

/// "fsix", kept in `PRAGMA application_id`, so that `file(1)` and this program know the file.
const APPLICATION: i64 = 0x6673_6978;

/// What leads from each version of the schema to the next; the first one from an empty file.
const MIGRATIONS: [&str; VERSION as usize] =
    [include_str!("schema.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];

/// How long another process is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pair of roots that a database is about, as absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roots {
    /// The source.
    pub source: PathBuf,
    /// The replica.
    pub replica: PathBuf,
}

impl Roots {
    /// Whether the source has a folder of this path. The replica is not asked: a record of a folder that only it has
    /// says nothing, and FUSE programs have died of such a question.
    pub(crate) fn has_folder(&self, below: &[u8]) -> bool {
        // An error other than absence proves nothing.
        std::fs::symlink_metadata(self.source.join(OsStr::from_bytes(below))).map_or_else(
            |error| !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
            |facts| facts.is_dir(),
        )
    }
}

/// A reason to go on without the index.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// Another process has it.
    #[error("another process uses it")]
    Locked,
    /// A later file-sync wrote it.
    #[error("a later version of file-sync wrote it (its schema is {0}, this program knows {VERSION})")]
    Newer(i64),
    /// An earlier file-sync wrote it, and it may only be read now.
    #[error("an earlier version of file-sync wrote it; the next pass brings it up to date")]
    Older,
    /// It is another program's.
    #[error("it is not an index of file-sync")]
    Foreign,
    /// It is about another pair of roots.
    #[error("it is about another pair of roots")]
    OtherRoots,
    /// It is damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// There is none, and none may be created (dry run, status).
    #[error("there is none yet")]
    Missing,
    /// Anything else: a full disk, no rights.
    #[error("{0}")]
    Failed(String),
}

impl From<SqlError> for Unusable {
    fn from(error: SqlError) -> Unusable {
        let message = if let SqlError::SqliteFailure(_, message) = &error { message.clone() } else { None };
        let text = message.unwrap_or_else(|| error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Unusable::Locked,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Unusable::Damaged(text),
            // A schema or a value that this program would not have written.
            None | Some(ErrorCode::TypeMismatch) => Unusable::Damaged(text),
            Some(_) => Unusable::Failed(text),
        }
    }
}

impl From<std::io::Error> for Unusable {
    fn from(error: std::io::Error) -> Unusable {
        if error.kind() == ErrorKind::NotFound {
            Unusable::Missing
        } else {
            Unusable::Failed(error.to_string())
        }
    }
}

/// Opens the index of a pair for reading and writing. It is created, or brought to this version, where that is needed.
///
/// # Errors
/// See [`Unusable`]; a damaged one is left as it is.
pub(crate) fn open(path: &Path, roots: &Roots) -> Result<Connection, Unusable> {
    if let Some(folder) = path.parent() {
        // Names and digests of a person's files are nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    // RACE: SQLite opens the path anew. Who may write to the folder can put something else there until then.
    let file = state_file::open(path, &mut options)?;
    let is_shared = filesystem_type(&file).map_or(true, is_shared_type);
    drop(file);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    configure(&connection, is_shared)?;
    migrate(&mut connection)?;
    claim(&connection, roots)?;
    Ok(connection)
}

/// Opens an index for reading only.
///
/// # Errors
/// See [`Unusable`].
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, Unusable> {
    state_file::open_to_read(path)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    of_this_version(Connection::open_with_flags(uri_to_read(path), flags)?)
}

/// Opens an index for reading for hours, in which another process may open and write it: then it is read as a WAL
/// allows, for which SQLite makes files beside it. Where it cannot, nobody writes there.
///
/// # Errors
/// See [`Unusable`].
pub(crate) fn open_to_read_long(path: &Path) -> Result<Connection, Unusable> {
    state_file::open_to_read(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match Connection::open_with_flags(path, flags).map_err(Unusable::from).and_then(of_this_version) {
        // The first reason is that of an index that others can use.
        Err(unusable @ Unusable::Failed(_)) => open_to_read(path).map_err(|_| unusable),
        opened => opened,
    }
}

fn of_this_version(connection: Connection) -> Result<Connection, Unusable> {
    connection.busy_timeout(PATIENCE)?;
    keep_plans(&connection)?;
    match version(&connection)? {
        VERSION => Ok(connection),
        0 => Err(Unusable::Missing),
        1..VERSION => Err(Unusable::Older),
        other => Err(Unusable::Newer(other)),
    }
}

/// The address of a database that is only read. Without a WAL or a journal no process has it open, and SQLite need not make files
/// beside it, which a dry run must not, and which a read-only folder does not allow.
fn uri_to_read(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02x}"));
        }
    }
    // RACE: a process that opens and writes it from here on may make this one read a torn page, which is an error.
    // The journal, on a shared filesystem, stays while the lock is held, and after it.
    if !["-wal", "-journal"].iter().any(|suffix| beside(path, suffix).exists()) {
        uri.push_str("?immutable=1");
    }
    uri
}

/// The path of a file that SQLite keeps beside a database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Sets a damaged database aside, under a name of its own, so that a new one can be made: passes find out again what it
/// held.
///
/// # Errors
/// As `rename(2)` and `unlink(2)`.
pub(crate) fn set_aside(path: &Path) -> Result<(), std::io::Error> {
    let ignore_absence = |done: Result<(), std::io::Error>| match done {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    };
    for suffix in ["-wal", "-shm", "-journal"] {
        ignore_absence(std::fs::remove_file(beside(path, suffix)))?;
    }
    ignore_absence(std::fs::rename(path, beside(path, ".damaged")))
}

/// Otherwise SQLite plans a query anew for every folder, because another value might have another plan.
fn keep_plans(connection: &Connection) -> Result<(), Unusable> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Whether a database that seemed damaged is.
pub(crate) fn is_damaged(path: &Path) -> bool {
    let check = || -> Result<String, Unusable> {
        let connection = open_to_read(path)?;
        Ok(connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?)
    };
    !matches!(check(), Ok(text) if text == "ok")
}

fn configure(connection: &Connection, is_shared: bool) -> Result<(), Unusable> {
    keep_plans(connection)?;
    // Before the first table. Rows of up to 3.5 KB stay within their page.
    connection.pragma_update(None, "page_size", 16 << 10)?;
    if is_shared {
        // The shared memory of a WAL does not work across machines, and damages the file (sqlite.org/wal.html).
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update_and_check(None, "journal_mode", "TRUNCATE", |_| Ok(()))?;
    } else {
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
    }
    // The last commits may be lost with the power, and never the file. An older record is not wrong: its facts differ.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // KiB.
    connection.pragma_update(None, "cache_size", -1024)?;
    Ok(())
}

fn version(connection: &Connection) -> Result<i64, Unusable> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    match (application, version) {
        (APPLICATION, version) => Ok(version),
        (0, 0) if is_empty(connection)? => Ok(0),
        _ => Err(Unusable::Foreign),
    }
}

fn is_empty(connection: &Connection) -> Result<bool, Unusable> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0)
}

fn migrate(connection: &mut Connection) -> Result<(), Unusable> {
    let from = version(connection)?;
    if from == VERSION {
        return Ok(());
    }
    let steps = usize::try_from(from).ok().and_then(|from| MIGRATIONS.get(from..));
    let steps = steps.ok_or(Unusable::Newer(from))?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Makes sure that the database is about this pair.
fn claim(connection: &Connection, roots: &Roots) -> Result<(), Unusable> {
    let known = connection
        .query_row("SELECT source, replica FROM pair", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .optional()?;
    let ours = (roots.source.as_os_str().as_bytes(), roots.replica.as_os_str().as_bytes());
    match known {
        Some((source, replica)) if (source.as_slice(), replica.as_slice()) == ours => Ok(()),
        Some(_) => Err(Unusable::OtherRoots),
        None => {
            let sql = "INSERT INTO pair (id, source, replica) VALUES (1, ?1, ?2)";
            connection.execute(sql, params![ours.0, ours.1])?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn roots() -> Roots {
        Roots { source: "/source".into(), replica: "/replica".into() }
    }

    fn scratch() -> (TempDir, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("state/index.db");
        (scratch, path)
    }

    #[test]
    fn a_new_index_is_private_and_opens_again() {
        use std::os::unix::fs::PermissionsExt;
        let (scratch, path) = scratch();
        for _ in 0..2 {
            drop(open(&path, &roots()).unwrap());
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&scratch.path().join("state"))), (0o600, 0o700));
        assert!(open_to_read(&path).is_ok());
    }

    #[test]
    fn each_reason_has_its_words() {
        let (_scratch, path) = scratch();
        assert!(matches!(open_to_read(&path), Err(Unusable::Missing)));
        let connection = open(&path, &roots()).unwrap();
        let other = Roots { source: "/other".into(), ..roots() };
        assert!(matches!(open(&path, &other), Err(Unusable::OtherRoots)));
        connection.pragma_update(None, "user_version", 7).unwrap();
        assert!(matches!(open(&path, &roots()), Err(Unusable::Newer(7))));
        assert!(matches!(open_to_read(&path), Err(Unusable::Newer(7))));
        connection.pragma_update(None, "application_id", 1).unwrap();
        assert!(matches!(open(&path, &roots()), Err(Unusable::Foreign)));
        drop(connection);
        std::fs::write(&path, [b'x'; 5000]).unwrap();
        assert!(matches!(open(&path, &roots()), Err(Unusable::Damaged(_))));
        set_aside(&path).unwrap();
        assert!(beside(&path, ".damaged").exists());
        assert!(open(&path, &roots()).is_ok());
    }

    #[test]
    fn what_is_no_regular_file_is_not_used() {
        let (scratch, path) = scratch();
        drop(open(&path, &roots()).unwrap());
        let link = scratch.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let fifo = scratch.path().join("fifo.db");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        for path in [&link, &fifo] {
            assert!(matches!(open(path, &roots()), Err(Unusable::Failed(_))), "{}", path.display());
        }
        assert!(matches!(open_to_read(&fifo), Err(Unusable::Failed(_))));
        // The folder may be a link.
        let folder = scratch.path().join("folder");
        std::os::unix::fs::symlink(scratch.path().join("state"), &folder).unwrap();
        assert!(open(&folder.join("index.db"), &roots()).is_ok());
    }

    #[test]
    fn one_that_another_process_writes_is_locked() {
        let (_scratch, path) = scratch();
        let connection = open(&path, &roots()).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let other = open(&path, &roots()).unwrap();
        other.busy_timeout(Duration::ZERO).unwrap();
        let error = other.execute_batch("BEGIN IMMEDIATE").unwrap_err();
        assert!(matches!(Unusable::from(error), Unusable::Locked));
    }
}
