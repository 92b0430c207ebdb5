//! The index: what is trusted without being read, what is not hashed again, and who is right when contents differ.
//!
//! A record is trusted only when the times of both files are some seconds old, so these tests wait. Rot is simulated
//! from the other side: the files stay, and the recorded digest is changed. The deep suites flip bytes below a real
//! filesystem.

use crate::support::fsops::{chmod, plant, set_mtime};
use crate::support::index;
use crate::support::monitor::{Collector, Passed, pass};
use crate::support::scratch::Scratch;
use crate::support::tree::Tree;
use file_sync::{Counter, Digests, Hasher, IndexOptions, Interrupt, Mirror, Outcome, Trust, Verb};
use rusqlite::{Connection, params};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// Longer than the age at which a time stamp proves something.
const SETTLED: Duration = Duration::from_millis(4_100);

impl Scratch {
    fn indexed(&self, change: impl FnOnce(&mut IndexOptions)) -> Mirror {
        let mut options = self.options(2, false);
        change(options.index.as_mut().unwrap());
        Mirror::new(options, Arc::new(Interrupt::new())).unwrap()
    }

    /// One pass that trusts every record.
    fn trusting(&self) -> Passed {
        let passed = pass(&mut self.indexed(|index| index.rehash_after = Trust::Always));
        assert_eq!(passed.report.outcome, Outcome::Done);
        passed
    }

    /// The index of the pair.
    pub(super) fn database_of_pair(&self) -> PathBuf {
        let files = fs::read_dir(self.state().join("file-sync")).unwrap().map(|entry| entry.unwrap().path());
        let databases: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|extension| extension == "db")).collect();
        assert_eq!(databases.len(), 1, "{databases:?}");
        databases[0].clone()
    }

    /// Makes the index believe that a file once had another content.
    fn record_instead(&self, content: &[u8], recorded: &[u8]) {
        let [old, new] = [content, recorded].map(|content| {
            let mut hasher = Hasher::new();
            hasher.update(content);
            *hasher.finish().as_bytes()
        });
        let connection = Connection::open(self.database_of_pair()).unwrap();
        let rows: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = connection
            .prepare("SELECT folder, first, records FROM file")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut changed = 0;
        for (folder, first, mut records) in rows {
            while let Some(at) = records.windows(32).position(|window| window == old) {
                records[at..at + 32].copy_from_slice(&new);
                changed += 1;
            }
            let sql = "UPDATE file SET records = ?3 WHERE folder = ?1 AND first = ?2";
            connection.execute(sql, params![folder, first, records]).unwrap();
        }
        assert_eq!(changed, 1);
    }
}

/// A scratch whose files have records that are trusted.
fn settled(names: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    plant(&scratch.source, names);
    scratch.pass().assert_clean();
    sleep(SETTLED);
    let passed = scratch.trusting();
    passed.assert_clean();
    assert_eq!(passed.report.counts[Counter::Trusted], 0, "a copy is read back once before it is trusted");
    scratch
}

fn trusted(passed: &Passed) -> u64 {
    passed.report.counts[Counter::Trusted]
}

#[test]
fn what_was_confirmed_is_not_read_again_and_what_changed_is() {
    let scratch = settled(&["a", "folder/b", "folder/c"]);
    let passed = scratch.trusting();
    assert_eq!((trusted(&passed), passed.report.counts[Counter::BytesRead]), (3, 0));
    assert!(passed.report.oldest_confirmation.unwrap() < Duration::from_secs(60));

    // Another content of the same size with the old time: only the ctime tells.
    let path = scratch.source.join("folder/b");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let other: Vec<u8> = fs::read(&path).unwrap().iter().map(|byte| byte ^ 1).collect();
    fs::write(&path, other).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let passed = scratch.trusting();
    assert!(passed.seen.did(Verb::Update, "folder/b"), "{:?}", passed.seen);
    assert_eq!(trusted(&passed), 2);
    scratch.assert_equal();

    // The same in the replica.
    let path = scratch.replica.join("a");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "A").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let passed = scratch.trusting();
    assert!(passed.seen.did(Verb::Repair, "a"), "{:?}", passed.seen);
    scratch.assert_equal();

    // A changed mode moves the ctime: read once, and not copied.
    chmod(&scratch.source.join("folder/c"), 0o600).unwrap();
    let passed = scratch.trusting();
    assert_eq!(passed.seen.done.iter().map(|line| line.0).collect::<Vec<_>>(), [Verb::Metadata]);
    assert_eq!(passed.report.counts[Counter::BytesWritten], 0);
    assert_eq!(passed.report.counts[Counter::Trusted], 0, "{:?}", passed.report);
    sleep(SETTLED);
    scratch.trusting();
    assert_eq!(trusted(&scratch.trusting()), 3);
}

#[test]
fn by_default_every_file_is_read_in_every_pass() {
    let scratch = settled(&["a", "b"]);
    let passed = scratch.pass();
    assert_eq!((trusted(&passed), passed.report.counts[Counter::BytesRead]), (0, 4));
    assert_eq!(passed.report.oldest_confirmation, None);
    assert_eq!(passed.seen.verified.len(), 2);
}

#[test]
fn a_file_that_was_written_a_moment_ago_is_read_again() {
    let scratch = settled(&["old"]);
    plant(&scratch.source, &["new"]);
    scratch.trusting();
    for _ in 0..2 {
        let passed = scratch.trusting();
        assert_eq!(trusted(&passed), 1);
        assert_eq!(passed.report.counts[Counter::BytesRead], 6);
    }
}

#[test]
fn a_file_from_the_future_is_never_trusted() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["a"]);
    set_mtime(&scratch.source.join("a"), 1 << 33, 0).unwrap();
    scratch.pass();
    sleep(SETTLED);
    scratch.trusting();
    assert_eq!(trusted(&scratch.trusting()), 0);
}

#[test]
fn a_record_is_not_older_than_promised() {
    let scratch = settled(&["a"]);
    sleep(Duration::from_millis(2_100));
    let after = |seconds| Trust::For(Duration::from_secs(seconds));
    let passed = pass(&mut scratch.indexed(|index| index.rehash_after = after(3600)));
    assert_eq!(trusted(&passed), 1);
    let passed = pass(&mut scratch.indexed(|index| index.rehash_after = after(1)));
    assert_eq!((trusted(&passed), passed.report.counts[Counter::BytesRead]), (0, 2));
    // The next pass comes too late for it, as the interval says, or the time since the last one.
    let early = |index: &mut IndexOptions| {
        (index.rehash_after, index.interval) = (after(60), Some(Duration::from_secs(61)));
    };
    assert_eq!(trusted(&pass(&mut scratch.indexed(early))), 0);
    let connection = Connection::open(scratch.database_of_pair()).unwrap();
    connection.execute("UPDATE pass SET started = started - 3600000", []).unwrap();
    let passed = pass(&mut scratch.indexed(|index| index.rehash_after = after(1800)));
    assert_eq!(trusted(&passed), 0);
    let passed = pass(&mut scratch.indexed(|index| index.rehash_after = after(1800)));
    assert_eq!(trusted(&passed), 1);
}

/// The recorded content, which both the source and the replica had, is "good".
fn with_record_of_good() -> Scratch {
    let scratch = settled(&["file", "other"]);
    scratch.record_instead(b"file", b"good");
    scratch
}

#[test]
fn a_source_that_rotted_does_not_overwrite_the_good_replica() {
    let scratch = with_record_of_good();
    fs::write(scratch.replica.join("file"), "good").unwrap();
    plant(&scratch.source, &["new"]);
    for round in 0..3 {
        let passed = if round == 1 { scratch.trusting() } else { scratch.pass() };
        let counts = &passed.report.counts;
        assert_eq!((counts[Counter::Rotted], counts[Counter::Problems]), (1, 1), "{:?}", passed.seen);
        let (path, message) = &passed.seen.problems[0];
        assert_eq!(path, "file");
        assert!(
            message.contains("770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c"),
            "good: {message}"
        );
        assert!(
            message.contains("3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80"),
            "file: {message}"
        );
        assert!(message.contains("its replica has the recorded content and is kept"), "{message}");
        assert_eq!(fs::read(scratch.replica.join("file")).unwrap(), b"good");
        assert!(scratch.replica.join("new").exists(), "everything else goes on");
    }
    // Touching it is accepting it.
    set_mtime(&scratch.source.join("file"), 1_700_000_000, 0).unwrap();
    let passed = scratch.pass();
    passed.assert_clean();
    assert!(passed.seen.did(Verb::Update, "file"));
    scratch.converge();
}

/// The problem is told in every pass, also by one that reads only what is due.
#[test]
fn a_source_that_rotted_is_not_trusted() {
    let scratch = with_record_of_good();
    fs::write(scratch.replica.join("file"), "good").unwrap();
    sleep(SETTLED);
    for _ in 0..3 {
        let passed = scratch.trusting();
        assert_eq!(passed.report.counts[Counter::Rotted], 1, "{:?}", passed.seen);
        sleep(SETTLED);
    }
}

#[test]
fn a_file_of_several_names_has_rotted_whichever_of_them_is_read() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["file"]);
    for name in ["a", "b", "z"] {
        fs::hard_link(scratch.source.join("file"), scratch.source.join(name)).unwrap();
    }
    scratch.pass().assert_clean();
    sleep(SETTLED);
    scratch.pass().assert_clean();
    let records = index::read(&scratch.database_of_pair());
    assert!(!records.is_empty() && records.len() <= 4);
    // Of one record only, whichever name it has: then another name may be the one that is read.
    let connection = Connection::open(scratch.database_of_pair()).unwrap();
    let names = |records: &[index::Record]| -> Vec<String> {
        records.iter().map(|record| record.path.display().to_string()).collect()
    };
    for name in ["a", "b", "file", "z"] {
        if names(&index::read(&scratch.database_of_pair())).contains(&name.to_owned()) {
            rename_record(&connection, name, if name == "z" { "a" } else { "z" });
            break;
        }
    }
    drop(connection);
    scratch.record_instead(b"file", b"good");
    fs::write(scratch.replica.join("b"), "good").unwrap();
    for _ in 0..4 {
        let passed = scratch.pass();
        assert_eq!(passed.seen.done, [], "{:?}", passed.seen);
        assert!(passed.report.counts[Counter::Rotted] >= 1, "{:?}", passed.seen);
        for name in ["a", "b", "file", "z"] {
            assert_eq!(fs::read(scratch.replica.join(name)).unwrap(), b"good", "{name}");
        }
    }
}

/// Gives the record of one name to another name, of the root.
fn rename_record(connection: &Connection, old: &str, new: &str) {
    let sql = "SELECT first, records FROM file WHERE folder = x''";
    let (first, records): (Vec<u8>, Vec<u8>) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let old_key = [&[old.len() as u8][..], old.as_bytes()].concat();
    let at = records.windows(old_key.len()).position(|window| window == old_key).unwrap();
    let new_key = [&[new.len() as u8][..], new.as_bytes()].concat();
    let rest = &records[at + old_key.len()..];
    let length = 1 + usize::from(rest[0]);
    // The only record of the row.
    let renamed = [&new_key[..], &rest[..length]].concat();
    let sql = "UPDATE file SET records = ?2, count = 1 WHERE folder = x'' AND first = ?1";
    connection.execute(sql, params![first, renamed]).unwrap();
}

#[test]
fn a_digest_that_was_not_computed_is_not_claimed() {
    let scratch = settled(&["file"]);
    // Both sides get the same new content, behind the index.
    for root in [&scratch.source, &scratch.replica] {
        fs::write(root.join("file"), "else").unwrap();
        set_mtime(&root.join("file"), 1_700_000_000, 0).unwrap();
    }
    let mut options = scratch.options(2, false);
    options.digests = Digests::OfCopies;
    pass(&mut Mirror::new(options, Arc::new(Interrupt::new())).unwrap()).assert_clean();
    index::check(&scratch);
    let passed = pass(&mut scratch.indexed(|index| index.digest_after = Trust::Never));
    assert_eq!(passed.report.counts[Counter::Rotted], 0);
    assert_eq!(index::check(&scratch).claims, 2);
}

#[test]
fn a_folder_that_has_gone_on_both_sides_is_forgotten() {
    let scratch = settled(&["a", "folder/b", "folder/deep/c"]);
    for root in [&scratch.source, &scratch.replica] {
        fs::remove_dir_all(root.join("folder")).unwrap();
    }
    scratch.converge();
    let connection = Connection::open(scratch.database_of_pair()).unwrap();
    let number = |sql| connection.query_row::<i64, _, _>(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(number("SELECT sum(count) FROM file"), 1);
    assert_eq!(number("SELECT count(*) FROM folder"), 1);
}

#[test]
fn a_large_folder_is_looked_up_name_by_name() {
    let scratch = Scratch::new();
    // More than are loaded at once.
    let names: Vec<String> = (0..4_000).map(|number| format!("file {number:05}")).collect();
    plant(&scratch.source, &names.iter().map(String::as_str).collect::<Vec<_>>());
    scratch.pass().assert_clean();
    sleep(SETTLED);
    scratch.trusting();
    let passed = scratch.trusting();
    assert_eq!((trusted(&passed), passed.report.counts[Counter::BytesRead]), (4_000, 0));
    for root in [&scratch.source, &scratch.replica] {
        fs::remove_file(root.join("file 01000")).unwrap();
    }
    fs::remove_file(scratch.source.join("file 02000")).unwrap();
    scratch.trusting();
    assert_eq!(trusted(&scratch.trusting()), 3_998);
    assert_eq!(index::check(&scratch).records, 3_998);
    let confirmed: i64 = {
        scratch.pass().assert_clean();
        let connection = Connection::open(scratch.database_of_pair()).unwrap();
        connection.query_row("SELECT confirmed FROM folder", [], |row| row.get(0)).unwrap()
    };
    assert!(confirmed > 1_700_000_000, "every file of it was read");
}

#[test]
fn the_row_of_a_second_look_keeps_the_rotted_files_of_the_pass_before_it() {
    let scratch = with_record_of_good();
    let (source, replica) = (scratch.source.join("file"), scratch.replica.join("file"));
    fs::write(&replica, "good").unwrap();
    let time = fs::metadata(source).unwrap().modified().unwrap();
    fs::File::options().write(true).open(replica).unwrap().set_modified(time).unwrap();
    let mut mirror = scratch.mirror(2);
    assert_eq!(pass(&mut mirror).report.counts[Counter::Rotted], 1);
    let report = mirror.second_look(2, &Collector::default()).unwrap();
    assert_eq!(report.counts[Counter::Rotted], 0, "it is not read again");
    let rows = || -> Vec<(i64, i64, i64)> {
        let connection = Connection::open(scratch.database_of_pair()).unwrap();
        let mut rows =
            connection.prepare("SELECT number, problems, rotted FROM pass ORDER BY id DESC LIMIT 2").unwrap();
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    assert_eq!(rows(), [(2, 1, 1), (1, 1, 1)]);
    // An ordinary pass reads the file and finds it restored.
    set_mtime(&scratch.source.join("file"), 1_700_000_000, 0).unwrap();
    mirror.pass(3, &Collector::default()).unwrap();
    assert_eq!(rows()[0], (3, 0, 0));
}

#[test]
fn a_source_that_is_rewritten_is_mirrored_again() {
    let scratch = with_record_of_good();
    fs::write(scratch.replica.join("file"), "good").unwrap();
    assert_eq!(scratch.pass().report.counts[Counter::Rotted], 1);
    fs::write(scratch.source.join("file"), "good").unwrap();
    scratch.converge();
    assert_eq!(fs::read(scratch.source.join("file")).unwrap(), b"good");
}

#[test]
fn rot_that_both_sides_share_is_told_when_it_is_hashed() {
    let scratch = with_record_of_good();
    let passed = scratch.pass();
    assert_eq!(passed.report.counts[Counter::Rotted], 0, "equal bytes confirm the digest");
    for _ in 0..2 {
        let passed = pass(&mut scratch.indexed(|index| index.digest_after = Trust::Never));
        assert_eq!(passed.report.counts[Counter::Rotted], 1, "{:?}", passed.seen);
        assert!(passed.seen.problems[0].1.contains("its replica has the same content by now"));
        assert_eq!(passed.seen.done, []);
    }
}

#[test]
fn where_neither_side_has_the_recorded_content_it_is_an_ordinary_update() {
    let scratch = with_record_of_good();
    fs::write(scratch.replica.join("file"), "evil").unwrap();
    let passed = scratch.pass();
    passed.assert_clean();
    assert!(passed.seen.did(Verb::Update, "file"), "{:?}", passed.seen);
    scratch.converge();
}

#[test]
fn a_replica_that_rotted_or_was_edited_is_repaired() {
    let scratch = settled(&["file"]);
    fs::write(scratch.replica.join("file"), "evil").unwrap();
    let passed = scratch.pass();
    passed.assert_clean();
    assert!(passed.seen.did(Verb::Repair, "file"));
    assert_eq!(passed.seen.done[0].2, "the source is as recorded, the replica is not");
}

#[test]
fn a_dry_run_uses_the_index_and_writes_nothing_to_it() {
    let scratch = settled(&["a"]);
    plant(&scratch.source, &["b"]);
    let before = Tree::of(&scratch.at("state")).stamped();
    let mut options = scratch.options(2, true);
    options.index.as_mut().unwrap().rehash_after = Trust::Always;
    let passed = pass(&mut Mirror::new(options, Arc::new(Interrupt::new())).unwrap());
    assert_eq!((&passed.report.outcome, trusted(&passed)), (&Outcome::Planned, 1));
    assert_eq!(Tree::of(&scratch.at("state")).stamped(), before);
}

#[test]
fn an_index_that_cannot_be_used_costs_no_pass() {
    let scratch = settled(&["a", "b"]);
    let notices = |passed: &Passed| {
        passed.assert_clean();
        passed.seen.notices.clone()
    };
    let path = scratch.database_of_pair();
    let good = fs::read(&path).unwrap();

    // In its middle, and from its beginning.
    for from in [good.len() / 2, 0] {
        let mut damaged = good.clone();
        damaged[from..].fill(0x5a);
        fs::write(&path, damaged).unwrap();
        plant(&scratch.source, &[&format!("new {from}")]);
        let mut mirror = scratch.indexed(|index| index.rehash_after = Trust::Always);
        let told: Vec<String> = (0..2).flat_map(|_| notices(&pass(&mut mirror))).collect();
        assert!(told.iter().any(|notice| notice.starts_with("IndexRebuilt")), "{told:?}");
        scratch.assert_equal();
        assert_eq!(notices(&pass(&mut mirror)), [] as [String; 0], "it is made anew");
    }

    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let mut mirror = scratch.indexed(|_| {});
    let told = notices(&pass(&mut mirror));
    assert!(told.len() == 1 && told[0].contains("a later version"), "{told:?}");
    assert_eq!(notices(&pass(&mut mirror)), [] as [String; 0], "told once");
    drop(mirror);

    // No folder, and no way to make one.
    fs::remove_dir_all(scratch.at("state")).unwrap();
    fs::write(scratch.at("state"), "").unwrap();
    let told = notices(&scratch.pass());
    assert!(told.len() == 1 && told[0].starts_with("IndexUnusable"), "{told:?}");
    fs::remove_file(scratch.at("state")).unwrap();
    assert_eq!(notices(&scratch.pass()), [] as [String; 0]);
}

#[test]
fn an_index_that_another_process_writes_costs_no_pass() {
    let scratch = settled(&["a"]);
    let other = Connection::open(scratch.database_of_pair()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    plant(&scratch.source, &["b"]);
    let passed = scratch.pass();
    passed.assert_clean();
    assert!(
        passed.seen.notices.iter().any(|notice| notice.contains("another process uses it")),
        "{:?}",
        passed.seen
    );
    scratch.assert_equal();
    other.execute_batch("ROLLBACK").unwrap();
    let passed = scratch.pass();
    assert_eq!(passed.seen.notices, [] as [String; 0]);
}

#[test]
fn an_index_that_cannot_be_written_still_tells_rot() {
    let scratch = with_record_of_good();
    fs::write(scratch.replica.join("file"), "good").unwrap();
    let other = Connection::open(scratch.database_of_pair()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let passed = scratch.pass();
    assert_eq!(passed.report.counts[Counter::Rotted], 1, "{:?}", passed.seen);
    assert_eq!(fs::read(scratch.replica.join("file")).unwrap(), b"good");
    assert!(
        passed.seen.notices.iter().any(|notice| notice.starts_with("IndexUnwritable")),
        "{:?}",
        passed.seen
    );
}

#[test]
fn an_index_inside_a_root_is_not_made() {
    let scratch = Scratch::new();
    plant(&scratch.source, &["a"]);
    for root in [&scratch.source, &scratch.replica] {
        let mut mirror = scratch.indexed(|index| index.state_dir = root.join("state"));
        let passed = pass(&mut mirror);
        passed.assert_clean();
        assert!(passed.seen.notices[0].contains("lies inside the"), "{:?}", passed.seen);
        assert!(!root.join("state").exists());
        scratch.assert_equal();
    }
}

#[test]
fn what_has_gone_is_forgotten() {
    let scratch = settled(&["a", "folder/b", "folder/c", "deep/er/d"]);
    fs::remove_file(scratch.source.join("folder/b")).unwrap();
    fs::remove_dir_all(scratch.source.join("deep")).unwrap();
    // Without a trace on either side.
    fs::remove_file(scratch.source.join("a")).unwrap();
    fs::remove_file(scratch.replica.join("a")).unwrap();
    scratch.converge_in(2);
    let connection = Connection::open(scratch.database_of_pair()).unwrap();
    let number = |sql| connection.query_row::<i64, _, _>(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(number("SELECT sum(count) FROM file"), 1);
    assert_eq!(number("SELECT count(*) FROM folder WHERE path = x'646565702f6572'"), 0);
    assert_eq!(number("SELECT count(*) FROM folder"), 2, "the root, and the one that is left");
}

#[test]
fn an_index_that_was_locked_during_a_pass_is_written_by_the_next_ones() {
    let scratch = Scratch::new();
    // So many folders that something is written before the last one is read.
    for folder in 0..2200 {
        fs::create_dir(scratch.source.join(format!("{folder}"))).unwrap();
        fs::write(scratch.source.join(format!("{folder}/file")), "content").unwrap();
    }
    let mut mirror = scratch.mirror(2);
    pass(&mut mirror).assert_clean();
    let other = Connection::open(scratch.database_of_pair()).unwrap();
    let outcomes = || -> Vec<Option<String>> {
        let mut statement = other.prepare("SELECT outcome FROM pass ORDER BY id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked = pass(&mut mirror);
    assert_eq!(locked.report.outcome, Outcome::Done);
    assert_eq!(locked.seen.notices.len(), 1, "{:?}", locked.seen.notices);
    other.execute_batch("ROLLBACK").unwrap();
    for _ in 0..2 {
        let before = outcomes().len();
        let next = pass(&mut mirror);
        assert!(next.seen.notices.is_empty(), "{:?}", next.seen.notices);
        let after = outcomes();
        assert_eq!(after.len(), before + 1);
        assert_eq!(after.last().unwrap().as_deref(), Some("done"), "{after:?}");
    }
}
