//! The passes that an index remembers: their rows, read for commands that run beside the passes.

use crate::model::counters::{Counter, Counts};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error as SqlError, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::time::Duration;

/// Milliseconds of a day.
pub(crate) const DAY: i64 = 24 * 60 * 60 * 1000;

/// The outcome of a pass, as its row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    /// The plan was carried out, except for its problems.
    Done,
    /// A signal ended it.
    Interrupted,
    /// The replica folder disappeared.
    ReplicaLost,
    /// The guard refused it.
    Held,
    /// Its end was never written, most likely because its process was killed.
    Killed,
    /// An error ended it.
    Failed,
}

impl Ended {
    /// Every outcome.
    pub(crate) const ALL: [Ended; 6] =
        [Ended::Done, Ended::Interrupted, Ended::ReplicaLost, Ended::Held, Ended::Killed, Ended::Failed];

    /// The name in the index and in JSON.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Ended::Done => "done",
            Ended::Interrupted => "interrupted",
            Ended::ReplicaLost => "replica_lost",
            Ended::Held => "held",
            Ended::Killed => "killed",
            Ended::Failed => "failed",
        }
    }
}

impl ToSql for Ended {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, SqlError> {
        self.code().to_sql()
    }
}

impl FromSql for Ended {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Ended> {
        let code = value.as_str()?;
        Ended::ALL.into_iter().find(|ended| ended.code() == code).ok_or(FromSqlError::InvalidType)
    }
}

/// One pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// 1 for the first pass of its process.
    pub number: u64,
    /// Milliseconds since 1970.
    pub started: i64,
    /// The same; none if its end was not written.
    pub ended: Option<i64>,
    /// None if its end was not written, and no later pass has begun.
    pub outcome: Option<Ended>,
    /// The id of its process.
    pub process: u32,
    /// The mark of its process, see [`crate::fs::process`].
    pub mark: String,
    /// The age that the replica had reached at its end, in milliseconds.
    pub age: Option<i64>,
    /// Whether that was within the RPO of then.
    pub met: Option<bool>,
    /// The counters at its end.
    pub counts: Counts,
    /// Why it was held or failed.
    pub message: Option<String>,
}

impl Pass {
    /// From start to end.
    pub(crate) fn duration(&self) -> Option<Duration> {
        self.ended
            .map(|ended| Duration::from_millis(ended.saturating_sub(self.started).try_into().unwrap_or(0)))
    }
}

/// Passes that met the RPO, of those that were judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// They met it.
    pub met: u64,
    /// All.
    pub judged: u64,
}

/// The passes that were held since the last one that was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// Their number.
    pub count: u64,
    /// The start of the first, in milliseconds since 1970.
    pub since: Option<i64>,
}

/// All that a judgement of a pair needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// From the start of a pass to the start of the next.
    pub interval: Option<Duration>,
    /// The greatest age that the replica may have.
    pub rpo: Option<Duration>,
    /// The newest pass, which may run.
    pub last: Option<Pass>,
    /// The newest pass with an outcome.
    pub last_ended: Option<Pass>,
    /// The newest pass that was done.
    pub last_done: Option<Pass>,
    /// The durations of the last passes that were done, see [`crate::model::estimate`].
    pub durations: Vec<Duration>,
    /// The passes held since then.
    pub holds: Holds,
    /// The passes of the last 24 hours.
    pub day: Share,
    /// The passes of the last 30 days (UTC), today included.
    pub month: Share,
}

/// Reads the history of a pair, at a moment in milliseconds since 1970.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn read(connection: &Connection, now: i64) -> Result<History, SqlError> {
    // All queries see one state.
    let transaction = connection.unchecked_transaction()?;
    let (interval, rpo) = transaction.query_row("SELECT interval, rpo FROM pair", [], |row| {
        Ok((millis(row.get(0)?), millis(row.get(1)?)))
    })?;
    let done = "WHERE outcome = 'done'";
    let last_done_id: Option<i64> = transaction
        .query_row(&format!("SELECT id FROM pass {done} ORDER BY id DESC LIMIT 1"), [], |row| row.get(0))
        .optional()?;
    let holds = transaction.query_row(
        "SELECT count(*), (SELECT started FROM pass WHERE outcome = 'held' AND id > ?1 ORDER BY id LIMIT 1) \
         FROM pass WHERE outcome = 'held' AND id > ?1",
        [last_done_id.unwrap_or(i64::MIN)],
        |row| Ok(Holds { count: count(row, 0)?, since: row.get(1)? }),
    )?;
    let day = share(
        &transaction,
        "SELECT coalesce(sum(met), 0), count(met) FROM pass WHERE started > ?1",
        now - DAY,
    )?;
    let month = share(
        &transaction,
        "SELECT coalesce(sum(met), 0), coalesce(sum(judged), 0) FROM day WHERE day > ?1",
        now / DAY - 30,
    )?;
    Ok(History {
        interval,
        rpo,
        last: select(&transaction, "", 1)?.pop(),
        last_ended: select(&transaction, "WHERE outcome IS NOT NULL", 1)?.pop(),
        last_done: select(&transaction, done, 1)?.pop(),
        durations: select(&transaction, done, crate::model::estimate::SAMPLE)?
            .iter()
            .filter_map(Pass::duration)
            .collect(),
        holds,
        day,
        month,
    })
}

/// The newest passes, newest first.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn newest(connection: &Connection, limit: usize) -> Result<Vec<Pass>, SqlError> {
    select(connection, "", limit)
}

/// The age of the replica by the last pass that was done; none if none was, or if it lies in the future.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn age(connection: &Connection, now: i64) -> Result<Option<Duration>, SqlError> {
    let started = last_done(connection, i64::MAX)?;
    Ok(started.and_then(|started| u64::try_from(now.saturating_sub(started)).ok()).map(Duration::from_millis))
}

/// The start of the last pass that was done before this row.
///
/// # Errors
/// The database cannot be read.
pub(super) fn last_done(connection: &Connection, before: i64) -> Result<Option<i64>, SqlError> {
    let sql = "SELECT started FROM pass WHERE outcome = 'done' AND id < ?1 ORDER BY id DESC LIMIT 1";
    connection.query_row(sql, [before], |row| row.get(0)).optional()
}

/// Whether the last pass that was done had problems; none where none was done.
///
/// # Errors
/// The database cannot be read.
pub(super) fn had_problems(connection: &Connection) -> Result<Option<bool>, SqlError> {
    let sql = "SELECT coalesce(problems, 0) > 0 FROM pass WHERE outcome = 'done' ORDER BY id DESC LIMIT 1";
    connection.query_row(sql, [], |row| row.get(0)).optional()
}

fn share(connection: &Connection, sql: &str, after: i64) -> Result<Share, SqlError> {
    connection.query_row(sql, [after], |row| Ok(Share { met: count(row, 0)?, judged: count(row, 1)? }))
}

fn select(connection: &Connection, condition: &str, limit: usize) -> Result<Vec<Pass>, SqlError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT number, started, ended, outcome, process, mark, age, met, counts, message FROM pass {condition} \
         ORDER BY id DESC LIMIT ?1"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![limit], pass)?;
    rows.collect()
}

fn pass(row: &Row<'_>) -> Result<Pass, SqlError> {
    Ok(Pass {
        number: count(row, 0)?,
        started: row.get(1)?,
        ended: row.get(2)?,
        outcome: row.get(3)?,
        process: row.get(4)?,
        mark: row.get(5)?,
        age: row.get(6)?,
        met: row.get(7)?,
        counts: row.get::<_, Option<String>>(8)?.map(|text| counts(&text)).unwrap_or_default(),
        message: row.get(9)?,
    })
}

/// A number of a row that is never negative.
///
/// # Errors
/// It is no whole number.
pub(super) fn count(row: &Row<'_>, at: usize) -> Result<u64, SqlError> {
    let number: Option<i64> = row.get(at)?;
    Ok(number.and_then(|number| number.try_into().ok()).unwrap_or(0))
}

/// The counters of a row. A later version may have more of them.
fn counts(text: &str) -> Counts {
    let known: BTreeMap<String, u64> = serde_json::from_str(text).unwrap_or_default();
    Counter::ALL.into_iter().filter_map(|counter| Some((counter, *known.get(counter.code())?))).collect()
}

fn millis(number: Option<i64>) -> Option<Duration> {
    number.and_then(|number| u64::try_from(number).ok()).map(Duration::from_millis)
}
