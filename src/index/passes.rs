//! Writing the rows of passes.
//!
//! The row of a pass is begun before the pass writes its first record and finished after its records were committed or
//! rolled back, each in a short transaction of its own: the transaction of the records lasts as long as the pass, and
//! goes with it when it fails. A pass that ends before it has the lock on the replica gets its row at its end. A pass that
//! another process keeps out leaves no row: the history is that of the process with the lock.

use crate::fs::process::{self, Life, life};
use crate::fs::stamp::{Start, now};
use crate::index::history::{DAY, Ended, last_done};
use crate::index::operations::Operations;
use crate::index::state::lock;
use crate::index::store::{self, Unusable};
use crate::index::thin::{Old, superfluous};
use crate::index::{Index, IndexOptions, Warning, history};
use crate::model::counters::{Counter, Counts};
use crate::model::error::Error;
use crate::model::report::Outcome;
use rusqlite::{Connection, Error as SqlError, Transaction, TransactionBehavior, params};
use std::time::Duration;

/// Every pass of so long is kept.
const WEEK: i64 = 7 * DAY;

/// Rows of earlier passes are kept for so long.
const LONGEST: i64 = 730 * DAY;

/// At most so many rows are kept whole, with intervals of less than 6 seconds: some 15 MB.
const MOST: i64 = 100_000;

/// The end of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassEnd<'a> {
    /// 1 for the first pass of this process.
    pub number: u64,
    /// Its start.
    pub start: Start,
    /// From start to end.
    pub duration: Duration,
    /// Its outcome.
    pub result: Result<(&'a Outcome, &'a Counts), &'a Error>,
}

impl Index {
    /// Begins the row of a pass, after [`Index::begin`].
    pub(crate) fn note_start(&mut self, number: u64, start: Start) {
        let started = start.stamp().millis();
        let mut state = lock(&self.shared.0);
        self.row = state
            .attempt_write(|state| {
                let connection = state.connection.as_ref();
                connection.map(|connection| begin(connection, number, started, &self.options)).transpose()
            })
            .flatten();
        state.operations = Operations::of(self.row, started);
    }

    /// Finishes the row of a pass, after [`Index::end`].
    pub(crate) fn note_end(&mut self, end: &PassEnd<'_>) -> Option<Warning> {
        let row = self.row.take();
        if matches!(end.result, Err(Error::ReplicaLocked { .. })) {
            return None;
        }
        let ending =
            Ending { started: end.start.stamp().millis(), duration: end.duration, result: end.result };
        let write = |connection: &Connection| {
            let id = match row {
                Some(id) => id,
                None => begin(connection, end.number, ending.started, &self.options)?,
            };
            complete(connection, id, &ending).map_err(Unusable::from)
        };
        let state = lock(&self.shared.0);
        let written = match &state.connection {
            Some(connection) => write(connection),
            // The pass ended early, or its records could not be written; one row may find room.
            None => store::open(&self.path, &self.roots).and_then(|connection| write(&connection)),
        };
        let is_told = state.cannot_write;
        drop(state);
        self.once(written.err().filter(|_| !is_told).map(|unusable| Warning::Unusable(unusable.to_string())))
    }

    /// The age of the replica by the last pass that was done, of any process; none where it is not known.
    pub(crate) fn replica_age(&self) -> Option<Duration> {
        let connection = store::open_to_read(&self.path).ok()?;
        history::age(&connection, now().millis()).ok()?
    }
}

/// Adds to the counters of a second look the problems and the rotted files of the pass that it follows. Files that that
/// pass has compared are not read again, so their problems are not found again; others are, and count once.
pub(crate) fn carry_problems(counts: &mut Counts, earlier: &Counts) {
    for counter in [Counter::Problems, Counter::Rotted] {
        counts[counter] = counts[counter].max(earlier[counter]);
    }
}

/// SQLite has no unsigned numbers.
fn signed(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn millis_of(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}

/// Inserts the row of a pass that runs. Earlier rows without an end are of processes that were killed.
fn begin(
    connection: &Connection,
    number: u64,
    started: i64,
    options: &IndexOptions,
) -> Result<i64, SqlError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let (interval, rpo) = (options.interval.map(millis_of), options.rpo.map(millis_of));
    // A single pass by hand does not take back what the service has promised.
    transaction.execute(
        "UPDATE pair SET interval = coalesce(?1, interval), rpo = coalesce(?2, rpo) \
         WHERE interval IS NOT coalesce(?1, interval) OR rpo IS NOT coalesce(?2, rpo)",
        params![interval, rpo],
    )?;
    let (process, mark) = process::own();
    let killed: Vec<i64> = {
        let mut statement =
            transaction.prepare("SELECT id, process, mark FROM pass WHERE outcome IS NULL")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
        // An end of this process could not be written. Another process may be in a pass while this one has failed
        // before it asked for the lock.
        let is_over = |id: u32, of: &str| of == mark || life(id, of) != Life::Alive;
        let rows = rows.filter(|row| row.as_ref().map_or(true, |(_, process, mark)| is_over(*process, mark)));
        rows.map(|row| row.map(|(id, ..)| id)).collect::<Result<_, _>>()?
    };
    for id in killed {
        let age = last_done(&transaction, id)?.map(|done| started.saturating_sub(done));
        let met = is_met(&transaction, age)?;
        let sql = "UPDATE pass SET outcome = 'killed', age = ?2, met = ?3 WHERE id = ?1";
        transaction.execute(sql, params![id, age, met])?;
        count(&transaction, started, met)?;
    }
    transaction.execute(
        "INSERT INTO pass (number, started, process, mark) VALUES (?1, ?2, ?3, ?4)",
        params![signed(number), started, process, mark],
    )?;
    let id = transaction.last_insert_rowid();
    transaction.commit()?;
    Ok(id)
}

/// What a row is completed with.
#[derive(Clone, Copy, Debug)]
struct Ending<'a> {
    /// Milliseconds since 1970.
    started: i64,
    duration: Duration,
    result: Result<(&'a Outcome, &'a Counts), &'a Error>,
}

/// Completes the row of a pass, and thins old ones.
fn complete(connection: &Connection, id: i64, end: &Ending<'_>) -> Result<(), SqlError> {
    let started = end.started;
    let ended = started.saturating_add(millis_of(end.duration));
    let (outcome, counts, message) = told(end.result);
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let before = last_done(&transaction, id)?;
    // The first pass that is done ends with the age that the replica has from then on.
    let since = before.or((outcome == Ended::Done).then_some(started));
    let age = since.map(|since| ended.saturating_sub(since));
    let met = is_met(&transaction, age)?;
    let written = Counter::ALL.into_iter().filter(|counter| counts[*counter] > 0);
    let written: serde_json::Map<String, serde_json::Value> =
        written.map(|counter| (counter.code().to_owned(), counts[counter].into())).collect();
    let (problems, rotted) = (signed(counts[Counter::Problems]), signed(counts[Counter::Rotted]));
    transaction.execute(
        "UPDATE pass SET ended = ?2, outcome = ?3, age = ?4, met = ?5, problems = ?6, rotted = ?7, counts = ?8, \
         message = ?9 WHERE id = ?1",
        params![
            id,
            ended,
            outcome,
            age,
            met,
            problems,
            rotted,
            serde_json::Value::Object(written).to_string(),
            message
        ],
    )?;
    count(&transaction, started, met)?;
    thin(&transaction, ended)?;
    transaction.commit()
}

/// What a row says of the result of a pass.
fn told(result: Result<(&Outcome, &Counts), &Error>) -> (Ended, Counts, Option<String>) {
    match result {
        Ok((outcome, counts)) => {
            let (ended, message) = match outcome {
                // Of a dry run there is no row.
                Outcome::Done | Outcome::Planned => (Ended::Done, None),
                Outcome::Held(hold) => (Ended::Held, Some(hold.to_string())),
                Outcome::Interrupted(signal) => (Ended::Interrupted, Some(signal.to_string())),
                Outcome::ReplicaLost => (Ended::ReplicaLost, None),
            };
            (ended, *counts, message)
        }
        Err(error) => (Ended::Failed, Counts::default(), Some(error.to_string())),
    }
}

/// Whether an age is within the RPO of the pair; none without an RPO or an age.
fn is_met(connection: &Connection, age: Option<i64>) -> Result<Option<bool>, SqlError> {
    let rpo: Option<i64> = connection.query_row("SELECT rpo FROM pair", [], |row| row.get(0))?;
    Ok(age.zip(rpo).map(|(age, rpo)| age <= rpo))
}

/// Counts a pass for its day.
fn count(connection: &Connection, started: i64, met: Option<bool>) -> Result<(), SqlError> {
    let Some(met) = met else { return Ok(()) };
    let sql = "INSERT INTO day (day, judged, met) VALUES (?1, 1, ?2) \
               ON CONFLICT (day) DO UPDATE SET judged = judged + 1, met = met + excluded.met";
    connection.execute(sql, params![started.div_euclid(DAY), met])?;
    Ok(())
}

/// Removes what is kept of old passes no longer. The newest row and the last one that was done always stay.
fn thin(connection: &Connection, now: i64) -> Result<(), SqlError> {
    let kept = "id NOT IN (SELECT max(id) FROM pass) AND id NOT IN \
                (SELECT id FROM pass WHERE outcome = 'done' ORDER BY id DESC LIMIT 1)";
    let old: Vec<Old> = {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT id, started, outcome, met, problems FROM pass \
             WHERE (started < ?1 OR id <= (SELECT max(id) FROM pass) - ?2) AND outcome IS NOT NULL AND {kept}"
        ))?;
        let rows = statement.query_map(params![now - WEEK, MOST], |row| {
            let started: i64 = row.get(1)?;
            Ok(Old {
                id: row.get(0)?,
                day: started.div_euclid(DAY),
                outcome: row.get(2)?,
                met: row.get(3)?,
                problems: history::count(row, 4)?,
            })
        })?;
        rows.collect::<Result<_, _>>()?
    };
    let mut statement = connection.prepare_cached("DELETE FROM pass WHERE id = ?1")?;
    for id in superfluous(&old) {
        statement.execute([id])?;
    }
    connection.execute(&format!("DELETE FROM pass WHERE started < ?1 AND {kept}"), [now - LONGEST])?;
    connection.execute("DELETE FROM day WHERE day < ?1", [(now - LONGEST).div_euclid(DAY)])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::history::{History, Pass, Share, newest, read};
    use crate::index::store::Roots;
    use crate::model::report::Hold;
    use crate::model::trust::Trust;
    use tempfile::TempDir;

    const NOW: i64 = 20_000 * DAY + DAY / 2;

    struct Place {
        scratch: TempDir,
        connection: Connection,
        options: IndexOptions,
    }

    fn place(interval: Option<u64>, rpo: Option<u64>) -> Place {
        let scratch = tempfile::tempdir().unwrap();
        let options = IndexOptions {
            no_mapped_writes: true,
            state_dir: scratch.path().to_owned(),
            rehash_after: Trust::Never,
            digest_after: Trust::Never,
            interval: interval.map(Duration::from_secs),
            rpo: rpo.map(Duration::from_secs),
        };
        let roots = Roots { source: "/s".into(), replica: "/r".into() };
        let connection = store::open(&scratch.path().join("i.db"), &roots).unwrap();
        Place { scratch, connection, options }
    }

    impl Place {
        /// A pass that began so many seconds after `NOW` and took some.
        fn pass(&self, after: i64, took: u64, result: Result<Outcome, Error>) -> i64 {
            let started = NOW + after * 1000;
            let id = begin(&self.connection, 1, started, &self.options).unwrap();
            self.end(id, started, took, &result);
            id
        }

        fn end(&self, id: i64, started: i64, took: u64, result: &Result<Outcome, Error>) {
            let counts = Counts::from_iter([(Counter::Created, 3), (Counter::BytesRead, 4096)]);
            let result = result.as_ref().map(|outcome| (outcome, &counts));
            let end = Ending { started, duration: Duration::from_secs(took), result };
            complete(&self.connection, id, &end).unwrap();
        }

        fn done(&self, after: i64, took: u64) -> i64 {
            self.pass(after, took, Ok(Outcome::Done))
        }

        fn history(&self, after: i64) -> History {
            read(&self.connection, NOW + after * 1000).unwrap()
        }

        fn all(&self) -> Vec<Pass> {
            let mut passes = newest(&self.connection, 1_000_000).unwrap();
            passes.reverse();
            passes
        }
    }

    #[test]
    fn a_row_runs_until_it_has_an_end_and_keeps_what_became_of_the_pass() {
        let place = place(Some(60), Some(120));
        let id = begin(&place.connection, 7, NOW, &place.options).unwrap();
        let running = place.all().remove(0);
        assert_eq!((running.number, running.started, running.ended, running.outcome), (7, NOW, None, None));
        assert_eq!(process::life(running.process, &running.mark), Life::Alive);
        place.end(id, NOW, 5, &Ok(Outcome::Done));
        place.pass(60, 1, Ok(Outcome::Held(Hold::SourceReplaced)));
        place.pass(120, 1, Err(Error::SourceMissing { path: "/s".into() }));
        let [done, held, failed] = place.all().try_into().unwrap();
        assert_eq!((done.outcome, done.duration()), (Some(Ended::Done), Some(Duration::from_secs(5))));
        assert_eq!((done.counts[Counter::Created], done.counts[Counter::BytesRead]), (3, 4096));
        assert_eq!((held.outcome, failed.outcome), (Some(Ended::Held), Some(Ended::Failed)));
        assert!(held.message.unwrap().contains("leads to another folder"));
        assert!(failed.message.unwrap().contains("/s does not exist"));
        let history = place.history(130);
        assert_eq!((history.interval, history.rpo), (place.options.interval, place.options.rpo));
        assert_eq!(history.last_done, Some(done));
        assert_eq!((history.holds.count, history.holds.since), (1, Some(NOW + 60_000)));
    }

    #[test]
    fn a_second_look_has_at_least_the_problems_of_the_pass_before_it() {
        let earlier =
            Counts::from_iter([(Counter::Problems, 3), (Counter::Rotted, 2), (Counter::Created, 9)]);
        let mut counts = Counts::from_iter([(Counter::Problems, 4), (Counter::Deleted, 1)]);
        carry_problems(&mut counts, &earlier);
        let expected =
            Counts::from_iter([(Counter::Problems, 4), (Counter::Rotted, 2), (Counter::Deleted, 1)]);
        assert_eq!(counts, expected);
    }

    #[test]
    fn the_age_that_a_pass_ends_is_judged_and_not_the_one_it_begins() {
        let place = place(Some(60), Some(100));
        place.pass(0, 5, Ok(Outcome::Held(Hold::SourceReplaced)));
        place.done(60, 101);
        place.done(161, 5);
        place.done(221, 39);
        place.pass(261, 1, Ok(Outcome::ReplicaLost));
        place.done(322, 1);
        let judged: Vec<_> =
            place.all().iter().map(|pass| (pass.age.map(|age| age / 1000), pass.met)).collect();
        let expected = [
            (None, None),
            (Some(101), Some(false)),
            (Some(106), Some(false)),
            (Some(99), Some(true)),
            (Some(41), Some(true)),
            (Some(102), Some(false)),
        ];
        assert_eq!(judged, expected);
        let share = Share { met: 2, judged: 5 };
        assert_eq!((place.history(400).day, place.history(400).month), (share, share));
        let later = DAY / 1000 + 200;
        assert_eq!(place.history(later).day, Share { met: 2, judged: 3 });
        assert_eq!(place.history(31 * DAY / 1000).month, Share::default());
    }

    #[test]
    fn a_pass_without_an_end_was_killed_unless_its_process_lives() {
        let place = place(Some(60), Some(100));
        place.done(0, 5);
        begin(&place.connection, 2, NOW + 60_000, &place.options).unwrap();
        let other = "UPDATE pass SET mark = mark || '1' WHERE outcome IS NULL";
        place.connection.execute_batch(other).unwrap();
        assert_eq!(place.history(61).last.unwrap().outcome, None);
        place.done(110, 5);
        let killed = place.all().remove(1);
        assert_eq!((killed.outcome, killed.ended, killed.met), (Some(Ended::Killed), None, Some(false)));

        // Another process, the parent of this one, is in a pass while this one fails before it asks for the lock.
        let parent = std::os::unix::process::parent_id();
        let id = begin(&place.connection, 2, NOW + 200_000, &place.options).unwrap();
        let mark = process::mark(parent).unwrap();
        place
            .connection
            .execute("UPDATE pass SET process = ?1, mark = ?2 WHERE id = ?3", params![parent, mark, id])
            .unwrap();
        place.pass(201, 1, Err(Error::SourceMissing { path: "/s".into() }));
        assert_eq!(place.all()[3].outcome, None);
    }

    #[test]
    fn a_single_pass_does_not_take_back_what_the_service_promised() {
        let mut place = place(Some(60), Some(120));
        place.done(0, 1);
        (place.options.interval, place.options.rpo) = (None, None);
        place.done(60, 1);
        let history = place.history(70);
        assert_eq!(
            (history.interval, history.rpo),
            (Some(Duration::from_secs(60)), Some(Duration::from_secs(120)))
        );
        place.options.rpo = Some(Duration::from_secs(3600));
        place.done(120, 1);
        assert_eq!(place.history(130).rpo, place.options.rpo);
        assert_eq!(place.scratch.path(), place.options.state_dir);
    }

    #[test]
    fn old_rows_are_thinned_to_two_of_a_day_and_counted_for_ever() {
        let place = place(Some(3600), Some(3 * 3600));
        let day = DAY / 1000;
        for hour in 0..240 {
            let result =
                if hour % 24 == 3 { Ok(Outcome::Held(Hold::SourceReplaced)) } else { Ok(Outcome::Done) };
            place.pass((hour - 239) * 3600, 60, result);
        }
        let now = NOW + 60_000;
        let passes = place.all();
        let (old, new): (Vec<_>, Vec<_>) = passes.iter().partition(|pass| pass.started < now - WEEK);
        assert_eq!(new.len(), 168, "all of a week");
        assert!(old.len() <= 8 && old.len() >= 6, "{}", old.len());
        assert!(old.iter().any(|pass| pass.outcome == Some(Ended::Held)));
        let month = place.history(60).month;
        assert_eq!(month.judged, 240, "every pass is counted");
        // After two years nothing is left of them but the last one that was done.
        place.pass(800 * day, 60, Ok(Outcome::Held(Hold::SourceReplaced)));
        let left: Vec<_> = place.all().iter().map(|pass| pass.outcome).collect();
        assert_eq!(left, [Some(Ended::Done), Some(Ended::Held)]);
    }
}
