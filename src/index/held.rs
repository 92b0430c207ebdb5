//! The plan that was held last, so that a person can let this one through (`file-sync approve`).

use crate::index::approvals::{self, Approval};
use crate::model::digest::Hasher;
use crate::model::limit::Amount;
use crate::model::takes::Takes;
use rusqlite::{Connection, Error as SqlError, OptionalExtension, params};
use std::path::Path;

/// A held plan as `approve` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldPlan {
    /// Moment at which it was held for the first time, in milliseconds since 1970.
    pub held: i64,
    /// Deletions and overwrites of it.
    pub takes: Takes,
    /// Reason of the hold, in words.
    pub message: String,
}

impl HeldPlan {
    /// The approval that lets it through. An equal plan that is held after this one was done is another one: an approval
    /// whose file could not be removed is worth nothing then.
    pub(crate) fn approval(&self) -> Approval {
        let mut hasher = Hasher::new();
        hasher.update(self.takes.digest().as_bytes());
        hasher.update(&self.held.to_le_bytes());
        Approval { digest: hasher.finish(), path: Vec::new() }
    }
}

pub(super) fn write(
    connection: &Connection,
    HeldPlan { held, takes, message }: &HeldPlan,
) -> Result<(), SqlError> {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let Takes { deleted, changed, roots, is_listed, hashes } = takes;
    let hashes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    let sql = "INSERT OR REPLACE INTO held (id, held, deleted, deleted_bytes, changed, changed_bytes, is_listed, \
               takes, message, roots) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.execute(
        sql,
        params![
            held,
            signed(deleted.entries),
            signed(deleted.bytes),
            signed(changed.entries),
            signed(changed.bytes),
            is_listed,
            hashes,
            message,
            roots
        ],
    )?;
    Ok(())
}

/// Whether a plan is held.
pub(super) fn is_known(connection: &Connection) -> Result<bool, SqlError> {
    connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM held)")?.query_row([], |row| row.get(0))
}

/// Forgets the held plan: a pass was done after it.
pub(super) fn forget(connection: &Connection) -> Result<usize, SqlError> {
    connection.prepare_cached("DELETE FROM held")?.execute([])
}

/// The plan that was held last, if no pass was done after it.
///
/// # Errors
/// As `sqlite3_step`.
pub(crate) fn read(connection: &Connection) -> Result<Option<HeldPlan>, SqlError> {
    let sql = "SELECT held, deleted, deleted_bytes, changed, changed_bytes, is_listed, takes, message, roots FROM held";
    let read = |row: &rusqlite::Row<'_>| {
        let number = |at| row.get::<_, i64>(at).map(|number| number.try_into().unwrap_or_default());
        let hashes: Vec<u8> = row.get(6)?;
        let (hashes, _) = hashes.as_chunks();
        Ok(HeldPlan {
            held: row.get(0)?,
            takes: Takes {
                deleted: Amount { entries: number(1)?, bytes: number(2)? },
                changed: Amount { entries: number(3)?, bytes: number(4)? },
                roots: row.get(8)?,
                is_listed: row.get(5)?,
                hashes: hashes.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect(),
            },
            message: row.get(7)?,
        })
    };
    connection.query_row(sql, [], read).optional()
}

/// Lets a held plan through, once.
///
/// # Errors
/// As [`approvals::add`].
pub(crate) fn approve(database: &Path, plan: &HeldPlan) -> std::io::Result<()> {
    approvals::add(database, &[plan.approval()])
}
