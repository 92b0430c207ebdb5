//! Tests of every event in both forms, and of the examples and tables in `docs/log-format.md`.

use crate::fs::Errno;
use crate::model::change::{Operation, Subtree, Verb};
use crate::model::confirm::{Answer, FirstDeletion};
use crate::model::counters::{Counter, Counts};
use crate::model::digest::{Digest, Hasher};
use crate::model::doubt::{Doubt, RootChange, RootIdentity, WayOut};
use crate::model::entry::{FileId, Kind, Timestamp};
use crate::model::error::{Cause, Error, Problem, Relation, Side};
use crate::model::event::{Event, Notice, Phase, Reason};
use crate::model::feature::Feature;
use crate::model::limit::{Amount, Limit, Stake};
use crate::model::mounts::{Difference, Identity, Place};
use crate::model::path::RelPath;
use crate::model::problem_kind::ProblemKind;
use crate::model::report::{Hold, Outcome, PassReport, Turnover};
use crate::model::room::{Resource, Shortage};
use crate::model::signal::Signal;
use jiff::tz::TimeZone;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Format;
use super::line::Line;
use super::problems::{Recurrence, Summary};
use super::record::{Record, Trouble};
use super::timestamp::Stamp;

const DOCUMENT: &str = include_str!("../../docs/log-format.md");

fn stamp() -> Stamp {
    Stamp::at("2026-11-22T11:00:00.123Z".parse().unwrap(), &TimeZone::posix("CET-1").unwrap())
}

fn line(format: Format, record: Record<'_>) -> String {
    let line = Line::at(&stamp(), format, &record).text;
    let line = line.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n') && !line.contains('\x1b') && !line.contains('\u{85}'), "{line:?}");
    line.to_owned()
}

/// The text form without its timestamp.
fn text(event: Event<'_>) -> String {
    let line = line(Format::Text, Record::Event { job: None, event: &event });
    line.strip_prefix("2026-11-22T12:00:00.123+01:00 ").unwrap().to_owned()
}

/// The JSON form without its timestamp.
fn json(event: Event<'_>) -> String {
    let line = line(Format::Json, Record::Event { job: None, event: &event });
    serde_json::from_str::<serde_json::Value>(&line).unwrap();
    line.strip_prefix(r#"{"time":"2026-11-22T12:00:00.123+01:00","#).unwrap().to_owned()
}

fn path(raw: &[u8]) -> RelPath {
    RelPath::from_bytes(raw.to_vec())
}

fn abc() -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(b"abc");
    hasher.finish()
}

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A disk, 8:17, that is gone from above the replica; another one, 8:33, in its place.
fn holds() -> [Hold; 10] {
    let identity = |device, is_mount| Identity { id: FileId { device, inode: 2 }, btime: None, is_mount };
    let (disk, other, below) = (identity(2065, true), identity(2081, true), identity(65024, false));
    let difference = |place, now| Box::new(Difference { side: Side::Replica, place, was: disk, now });
    let above = || Place::Above("/mnt".into());
    [
        Hold::SourceReplaced,
        Hold::MountGone(difference(above(), Some(below))),
        Hold::Swapped {
            difference: difference(above(), Some(other)),
            turnover: Turnover { created: 12_345, deleted: 2, kept: 3 },
        },
        Hold::MissingElsewhere(difference(above(), Some(other))),
        Hold::TooManyDeletions(doubt(Some(Limit::DEFAULT))),
        Hold::TooManyChanges(doubt(Some(Limit::Bytes(1024)))),
        Hold::OtherRoot {
            root: Box::new(RootChange { side: Side::Source, was: root(7, Some(2)), now: root(8, None) }),
            doubt: Box::new(Doubt { way_out: WayOut::Index, ..*doubt(None) }),
        },
        Hold::EmptySource(Box::new(Doubt { way_out: WayOut::DryRun, ..*doubt(None) })),
        Hold::NoRoom(Box::new(shortage())),
        Hold::Declined { replica: "/mnt/usb".into(), deleted: Amount { entries: 1204, bytes: 3 << 30 } },
    ]
}

fn first_deletion(has_index: bool) -> FirstDeletion<'static> {
    FirstDeletion {
        replica: Path::new("/mnt/usb"),
        deleted: Amount { entries: 1204, bytes: 3 << 30 },
        examples: vec![(path(b"2019"), 61), (path(b"a"), 1)],
        others: 1142,
        has_index,
    }
}

fn shortage() -> Shortage {
    Shortage {
        resource: Resource::Bytes,
        at: "/mnt/my disk".into(),
        needed: 12 << 30,
        free: 3 << 30,
        freed: 1 << 30,
    }
}

fn root(fsid: u64, inode: Option<u64>) -> RootIdentity {
    let btime = Some(Timestamp { seconds: 1_764_000_000, nanoseconds: 5 });
    RootIdentity { filesystem: 0xef53, fsid, inode, btime }
}

fn doubt(limit: Option<Limit>) -> Box<Doubt> {
    let [deleted, changed] = [(120, 4096), (3, 2048)].map(|(entries, bytes)| Amount { entries, bytes });
    let command = "file-sync approve --source /home --replica /mnt/home".to_owned();
    Box::new(Doubt {
        stake: Stake { deleted, changed, created: 7, all: 152 },
        limit,
        examples: vec![(path(b"2019"), 61), (path(b"2020"), 58)],
        others: 1,
        way_out: WayOut::Approve(command),
    })
}

fn unreadable() -> Problem {
    Problem {
        path: path(b"secret.txt"),
        kind: ProblemKind::ReadSourceFile,
        cause: Cause::System(Errno::ACCESS),
        consequence: "its replica is kept",
        content_unreadable: true,
    }
}

fn refused() -> Problem {
    Problem::new(
        path(b"log"),
        ProblemKind::CopyUnstableFile,
        Cause::Refused("it changes all the time"),
        "its replica is kept",
    )
}

fn report(outcome: Outcome) -> PassReport {
    let mut counts = Counts::from_iter([
        (Counter::Created, 3),
        (Counter::Updated, 1),
        (Counter::Deleted, 2),
        (Counter::Unchanged, 12_345),
        (Counter::BytesRead, 1_288_490_189),
        (Counter::BytesToWrite, 33 << 20),
        (Counter::BytesWritten, 34 << 20),
    ]);
    // A dry run is the first and only pass of its process.
    let (mut number, mut replica_age) = (7, Some(Duration::from_millis(2_100)));
    match outcome {
        Outcome::Held(_) => counts = Counts::default(),
        Outcome::Planned => {
            counts[Counter::BytesWritten] = 0;
            (number, replica_age) = (1, None);
        }
        Outcome::Done | Outcome::Interrupted(_) | Outcome::ReplicaLost => {}
    }
    PassReport {
        number,
        outcome,
        counts,
        duration: Duration::from_millis(2_100),
        replica_age,
        oldest_confirmation: None,
    }
}

#[test]
fn operations_as_text() {
    let (file, folder, odd) = (path(b"docs/a.txt"), path(b"docs"), path(b"my docs\n\xff"));
    let update = Operation {
        size: Some(12_595),
        digest: Some(abc()),
        reason: "content differs",
        ..Operation::new(Verb::Update, &file, Kind::File)
    };
    assert_eq!(
        text(Event::Done(update)),
        format!("INFO  update docs/a.txt 12.3 KiB sha256={ABC} (content differs)")
    );
    let repair = Operation { verb: Verb::Repair, replica_unreadable: true, reason: "", ..update };
    assert_eq!(
        text(Event::Done(repair)),
        format!("WARN  repair docs/a.txt 12.3 KiB sha256={ABC} replica_sha256=\"\"")
    );
    let made = Operation::new(Verb::Create, &folder, Kind::Folder);
    assert_eq!(text(Event::Done(made)), "INFO  create docs/");
    let made = Operation::new(Verb::Create, &odd, Kind::Folder);
    assert_eq!(text(Event::Done(made)), r#"INFO  create "my docs\n\xff/""#);
    let symlink =
        Operation { target: Some(b"../t\x1b"), ..Operation::new(Verb::Create, &file, Kind::Symlink) };
    assert_eq!(text(Event::Done(symlink)), r#"INFO  create docs/a.txt -> "../t\x1b""#);
    let link = Operation { linked_to: Some(&odd), ..Operation::new(Verb::Link, &file, Kind::File) };
    assert_eq!(text(Event::Done(link)), r#"INFO  link docs/a.txt => "my docs\n\xff""#);
    let root = RelPath::root();
    let root = Operation { reason: "mtime\u{1b}", ..Operation::new(Verb::Metadata, &root, Kind::Folder) };
    assert_eq!(text(Event::Done(root)), r"INFO  metadata ./ (mtime\u{1b})");
    for (verb, word) in [(Verb::Delete, "delete"), (Verb::Retype, "retype")] {
        assert_eq!(
            text(Event::Done(Operation::new(verb, &file, Kind::Fifo))),
            format!("INFO  {word} docs/a.txt")
        );
    }
}

#[test]
fn planned_operations_as_text() {
    let folder = path(b"docs");
    let cases = [
        ((3, 12, 3_565_158), "(3 folders, 12 files, 3.4 MiB)"),
        ((1, 1, 1), "(1 folder, 1 file, 1 B)"),
        ((0, 1000, 0), "(0 folders, 1,000 files, 0 B)"),
        ((0, 0, 0), "(empty)"),
    ];
    for ((folders, files, bytes), expected) in cases {
        let subtree = Some(Subtree { files, folders, bytes });
        let planned = Operation { subtree, ..Operation::new(Verb::Create, &folder, Kind::Folder) };
        assert_eq!(text(Event::Planned(planned)), format!("INFO  would create docs/ {expected}"));
    }
}

#[test]
fn other_lines_about_paths_as_text() {
    let file = path(b"a b");
    let verified = |digest| Event::Verified { path: &file, size: 12, digest };
    assert_eq!(text(verified(Some(abc()))), format!("DEBUG same \"a b\" 12 B sha256={ABC}"));
    assert_eq!(text(verified(None)), "DEBUG same \"a b\" 12 B");
    let skipped = |reason| Event::Skipped { path: &file, kind: Kind::Socket, reason };
    assert_eq!(text(skipped("sockets are not mirrored")), "INFO  skip \"a b\" (sockets are not mirrored)");
    assert_eq!(text(skipped("")), "INFO  skip \"a b\" (socket)");
    assert_eq!(
        text(Event::Problem(&unreadable())),
        "WARN  problem secret.txt sha256=\"\" Cannot read the source file: Permission denied (os error 13); its replica is kept"
    );
    assert_eq!(
        text(Event::Problem(&refused())),
        "WARN  problem log Cannot copy a stable state of the source file: it changes all the time; its replica is kept"
    );
}

#[test]
fn the_end_of_a_pass_as_text() {
    let counts =
        "3 created, 1 updated, 2 deleted, 12,345 unchanged, 0 problems, 1.2 GiB read, 34 MiB written, 2.1 s";
    let ended = |report: PassReport| text(Event::PassEnded(&report));
    assert_eq!(ended(report(Outcome::Done)), format!("INFO  pass 7 done: {counts}, replica is 2 s old"));
    assert_eq!(
        ended(report(Outcome::Interrupted(Signal::Terminate))),
        format!("INFO  pass 7 stopped by SIGTERM: {counts}, replica is 2 s old")
    );
    let mut first = report(Outcome::Interrupted(Signal::Interrupt));
    first.replica_age = None;
    assert_eq!(ended(first), format!("INFO  pass 7 stopped by SIGINT: {counts}, replica age unknown"));
    assert_eq!(
        ended(report(Outcome::ReplicaLost)),
        format!("WARN  pass 7 ended early: the replica folder disappeared; {counts}, replica is 2 s old")
    );
    let disk =
        "/mnt, on the way to the replica, was the top of a mount (device 8:17) in the last pass and is";
    let reasons = [
        "the source path leads to another folder than when the pass started (was something mounted or unmounted?)"
            .to_owned(),
        format!(
            "{disk} no mount (device 254:0) now; mount it again, or, if that is meant, start file-sync anew"
        ),
        format!(
            "{disk} the top of a mount (device 8:33) now, and the plan is to create 12345 entries, delete 2 and keep 3 \
             there; mount the right one, or, if that is meant, start file-sync anew"
        ),
        format!(
            "{disk} the top of a mount (device 8:33) now, and the replica folder is missing there; mount the right one, \
             or, if that is meant, start file-sync anew"
        ),
        "the plan would delete 120 of the replica's 152 entries (78 %); --max-delete allows 50%: 2019 (61), 2020 (58) and 1 \
         more; if that is meant: file-sync approve --source /home --replica /mnt/home"
            .to_owned(),
        "the plan would overwrite 3 of the replica's 152 entries (1 %) with other contents, 2048 bytes; --max-change allows \
         1024: 2019 (61), 2020 (58) and 1 more; if that is meant: file-sync approve --source /home --replica /mnt/home"
            .to_owned(),
        "the source is not the folder of the last pass (inode 2 of ext4 filesystem 7, made at 2025-11-24T16:00:00Z \
         then, missing on ext4 filesystem 8 now; is it mounted?), and the plan would create 7 entries and delete 120 \
         of the replica's 152 entries (78 %): 2019 (61), 2020 (58) and 1 more; nobody can approve it while the index cannot \
         be written"
            .to_owned(),
        "the source is empty (is it mounted?), and the plan would delete 120 of the replica's 152 entries (78 %), which no \
         recorded pass has written: 2019 (61), 2020 (58) and 1 more; a pass would be held, and name the command that lets it \
         through"
            .to_owned(),
        "the plan needs 12 GiB on the filesystem of \"/mnt/my disk\", which has 3 GiB free and gets back 1 GiB from what is \
         deleted or replaced: 8 GiB too few; make room there, or run it with --no-space-check, which copies what fits"
            .to_owned(),
        "the answer was no: it would delete 1,204 entries (3 GiB) from /mnt/usb, which file-sync has never written; --dry-run \
         shows all of it"
            .to_owned(),
    ];
    for (hold, reason) in holds().into_iter().zip(reasons) {
        let told = ended(report(Outcome::Held(hold)));
        assert_eq!(told, format!("ERROR pass 7 held: {reason}; nothing was changed"));
    }
    for (problems, words) in [(1, "1 problem"), (3000, "3,000 problems")] {
        let mut report = report(Outcome::Done);
        report.counts[Counter::Problems] = problems;
        let counts = counts.replace("0 problems", words);
        assert_eq!(ended(report), format!("INFO  pass 7 done: {counts}, replica is 2 s old but for {words}"));
    }
    let mut all = report(Outcome::Done);
    all.counts[Counter::Moved] = 11;
    all.counts[Counter::Repaired] = 4;
    all.counts[Counter::Retyped] = 5;
    all.counts[Counter::Renamed] = 6;
    all.counts[Counter::Linked] = 7;
    all.counts[Counter::Metadata] = 8;
    all.counts[Counter::Skipped] = 9;
    assert_eq!(
        ended(all.clone()),
        "INFO  pass 7 done: 3 created, 1 updated, 11 moved, 4 repaired, 5 retyped, 6 renamed, 7 linked, 8 metadata set, \
         2 deleted, 12,345 unchanged, 9 skipped, 0 problems, 1.2 GiB read, 34 MiB written, 2.1 s, replica is 2 s old"
    );
    all.outcome = Outcome::Planned;
    assert_eq!(
        ended(all.clone()),
        "INFO  pass 7 planned: 3 to create, 1 to update, 11 to move, 4 to repair, 5 to retype, 6 to rename, 7 to link, \
         8 metadata to set, 2 to delete, 12,345 unchanged, 9 skipped, 0 problems, 1.2 GiB read, 33 MiB to write, 2.1 s, \
         nothing was written"
    );
    all.counts[Counter::BytesToWrite] = 0;
    assert!(!ended(all).contains("to write"));
}

#[test]
fn notices_as_text() {
    let log = path(b"logs/file-sync.log");
    let cases = [
        (
            Notice::LogInside { side: Side::Source, path: &log },
            "INFO  notice The log file lies inside the source at logs/file-sync.log; it is neither copied nor deleted, and neither are its rotated files, which have .1 to .999 after its name",
        ),
        (
            Notice::Unsupported { feature: Feature::Symlinks },
            "WARN  notice The replica's filesystem, or the rights of this process, cannot hold symbolic links; they are left out",
        ),
        (
            Notice::FirstDeletion { question: &first_deletion(true), answer: Answer::Nobody },
            "WARN  notice This pass deletes 1,204 entries (3 GiB) from /mnt/usb, which file-sync has never written: 2019 (61), a (1) and 1,142 more",
        ),
        (
            Notice::FirstDeletion { question: &first_deletion(true), answer: Answer::Yes },
            "INFO  notice This pass deletes 1,204 entries (3 GiB) from /mnt/usb, which file-sync had never written; that was confirmed: 2019 (61), a (1) and 1,142 more",
        ),
        (
            Notice::FirstDeletion { question: &first_deletion(false), answer: Answer::Nobody },
            "WARN  notice This pass deletes 1,204 entries (3 GiB) from /mnt/usb; without an index it is not known whether file-sync has ever written it: 2019 (61), a (1) and 1,142 more",
        ),
        (
            Notice::MayLackRoom { shortage: &shortage() },
            "WARN  notice The replica may lack room: the plan needs 12 GiB on the filesystem of \"/mnt/my disk\", which has 3 GiB free and gets back 1 GiB from what is deleted or replaced: 8 GiB too few; the pass goes on, and what does not fit is a problem",
        ),
        (
            Notice::NoLock,
            "WARN  notice The replica's filesystem knows no locks; make sure that no second file-sync works on it",
        ),
        (
            Notice::RuleUnused { rule: "*.tpm (--exclude)" },
            "WARN  notice The rule *.tpm (--exclude) decided about nothing: patterns begin at the source root, a later rule goes before an earlier one, and nothing below a folder that is left out is looked at",
        ),
        (
            Notice::RuleUsed { rule: "*.tmp (/etc/rules:3)", entries: 1200 },
            "DEBUG notice The rule *.tmp (/etc/rules:3) decided about 1,200 entries",
        ),
        (
            Notice::FoldersStay { folders: 1, path: &log },
            "INFO  notice The folder logs/file-sync.log has gone from the source and stays in the replica, because entries in it are excluded",
        ),
        (
            Notice::FoldersStay { folders: 1200, path: &log },
            "INFO  notice 1,200 folders have gone from the source and stay in the replica, because entries in them are excluded; the first is logs/file-sync.log",
        ),
        (
            Notice::NoStateFolder,
            "WARN  notice No folder is known for what passes remember: neither STATE_DIRECTORY nor XDG_STATE_HOME nor HOME is set; every file is read and hashed in every pass; name a folder with --state-dir",
        ),
        (
            Notice::FewerThreads { threads: 1, open_files: 256 },
            "WARN  notice Working with 1 thread, fewer than asked for, because only 256 files may be open at once; raise the hard limit (ulimit -Hn, or LimitNOFILE= of a service)",
        ),
        (
            Notice::PriorityRefused { cause: Cause::System(Errno::PERM) },
            "WARN  notice --nice has no effect, because the system refused a lower priority: Operation not permitted (os error 1); passes run with the priority of other programs",
        ),
        (
            Notice::ReplicaCreated { replica: Path::new("/mnt/my replica") },
            "INFO  notice The replica folder \"/mnt/my replica\" was missing and has been created",
        ),
        (
            Notice::SymlinkUnread { path: &log, cause: Cause::System(Errno::PERM) },
            "WARN  notice The symbolic link logs/file-sync.log of the replica does not tell where it leads: Operation not permitted (os error 1); it is compared by its length and age. No more like it are told in this pass",
        ),
        (
            Notice::XattrUnread {
                side: Side::Source,
                path: &log,
                name: c"user.my note",
                cause: Cause::System(Errno::OPNOTSUPP),
            },
            "WARN  notice The extended attribute \"user.my note\" of logs/file-sync.log is listed in the source and cannot be read: Operation not supported (os error 95); in the replica it stays as it is. No more like it are told in this pass",
        ),
        (
            Notice::KeptBack { reason: Reason::Changed, entries: 1, path: &log },
            "INFO  notice 1 entry that the source lacks stays until the next pass, because the folder that it went from has changed during this one and it may have moved (the first: logs/file-sync.log)",
        ),
        (
            Notice::KeptBack { reason: Reason::NotCreated, entries: 1, path: &log },
            "WARN  notice 1 entry that the source lacks stays, because something like it could not be made in the replica and it may be that under its old name (the first: logs/file-sync.log)",
        ),
        (
            Notice::KeptBack { reason: Reason::NotCreated, entries: 2000, path: &log },
            "WARN  notice 2,000 entries that the source lacks stay, because others like them could not be made in the replica and they may be those under their old names (the first: logs/file-sync.log)",
        ),
    ];
    for (notice, expected) in cases {
        assert_eq!(text(Event::Notice(notice)), expected);
    }
}

fn started(interval: Option<u64>, dry_run: bool) -> Event<'static> {
    Event::Started {
        version: env!("CARGO_PKG_VERSION"),
        source: Path::new("/home"),
        replica: Path::new("/mnt/home"),
        interval: interval.map(Duration::from_secs),
        log: Some(Path::new("/var/log/file-sync.log")),
        dry_run,
    }
}

#[test]
fn the_life_of_the_program_as_text() {
    let version = env!("CARGO_PKG_VERSION");
    for (interval, dry_run, words) in [
        (Some(60), false, "interval 60 s"),
        (Some(5400), false, "interval 5400 s"),
        (None, false, "single pass"),
        (Some(60), true, "dry run"),
    ] {
        let begun = format!("INFO  file-sync {version} started: source /home replica /mnt/home {words}");
        assert_eq!(text(started(interval, dry_run)), format!("{begun} log /var/log/file-sync.log"));
    }
    let overran = Event::Overran { number: 7, by: Duration::from_millis(12_300) };
    let failed = Error::SourceMissing { path: "/ho\nme".into() };
    let cases = [
        (Event::PassStarted { number: 7 }, "INFO  pass 7 started"),
        (overran, "WARN  pass 7 overran its interval by 12.3 s; the next one starts now"),
        (Event::Stopping { signal: Signal::Terminate }, "INFO  file-sync stopping on SIGTERM"),
        (
            Event::Stopping { signal: Signal::Hangup },
            "INFO  file-sync stopping on SIGHUP, because its terminal was closed",
        ),
        (Event::Stopped, "INFO  file-sync stopped"),
        (
            Event::Failed { error: &failed, number: None, ends_program: true },
            r#"ERROR file-sync failed: The source "/ho\nme" does not exist; nothing was changed. Check --source, or mount what holds it"#,
        ),
        (
            Event::Failed {
                error: &Error::NoThreads { reason: "a\nb".to_owned() },
                number: None,
                ends_program: true,
            },
            r"ERROR file-sync failed: The worker threads could not be started: a\nb",
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(text(event), expected);
    }
}

#[test]
fn operations_as_json() {
    let (file, folder) = (path(b"docs/a.txt"), path(b"docs"));
    let update = Operation {
        size: Some(12_595),
        digest: Some(abc()),
        replica_unreadable: true,
        reason: "content differs",
        ..Operation::new(Verb::Update, &file, Kind::File)
    };
    assert_eq!(
        json(Event::Done(update)),
        format!(
            r#""level":"INFO","event":"operation","verb":"update","path":"docs/a.txt","kind":"file","bytes":12595,"sha256":"{ABC}","replica_sha256":"","reason":"content differs"}}"#
        )
    );
    let subtree = Some(Subtree { files: 12, folders: 3, bytes: 3_565_158 });
    let planned = Operation { subtree, ..Operation::new(Verb::Create, &folder, Kind::Folder) };
    assert_eq!(
        json(Event::Planned(planned)),
        r#""level":"INFO","event":"planned","verb":"create","path":"docs","kind":"folder","subtree_folders":3,"subtree_files":12,"subtree_bytes":3565158}"#
    );
}

#[test]
fn names_that_are_not_utf8_carry_their_bytes_in_json() {
    let odd = path(b"n\xff");
    let link = Operation {
        target: Some(b"t\xfe"),
        linked_to: Some(&odd),
        ..Operation::new(Verb::Link, &odd, Kind::Symlink)
    };
    assert_eq!(
        json(Event::Done(link)),
        "\"level\":\"INFO\",\"event\":\"operation\",\"verb\":\"link\",\"path\":\"n\u{fffd}\",\"path_bytes\":\"6eff\",\
         \"kind\":\"symlink\",\"target\":\"t\u{fffd}\",\"target_bytes\":\"74fe\",\
         \"linked_to\":\"n\u{fffd}\",\"linked_to_bytes\":\"6eff\"}"
    );
}

#[test]
fn json_escapes_what_could_deceive_and_parses_to_the_same_name() {
    let cases = [
        ("", "."),
        ("日本 ünï", "日本 ünï"),
        ("a\n\t\"\\\u{1b}", r#"a\n\t\"\\\u001b"#),
        ("a\u{7f}b", r"a\u007fb"),
        ("ü\u{85}\u{9b}31m", r"ü\u0085\u009b31m"),
        ("x\u{202e}y\u{2028}\"\u{feff}", r#"x\u202ey\u2028\"\ufeff"#),
        ("tag\u{e0041}", r"tag\udb40\udc41"),
    ];
    for (name, expected) in cases {
        let skipped = path(name.as_bytes());
        let event = Event::Skipped { path: &skipped, kind: Kind::Socket, reason: "" };
        let line = line(Format::Json, Record::Event { job: None, event: &event });
        assert!(line.contains(&format!(r#""path":"{expected}","#)), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["path"], if name.is_empty() { "." } else { name });
    }
}

#[test]
fn problems_and_notices_as_json() {
    assert_eq!(
        json(Event::Problem(&unreadable())),
        r#""level":"WARN","event":"problem","path":"secret.txt","sha256":"","problem":"read_source_file","action":"read the source file","cause":"Permission denied (os error 13)","errno":13,"consequence":"its replica is kept","message":"Cannot read the source file: Permission denied (os error 13); its replica is kept"}"#
    );
    let refused = json(Event::Problem(&refused()));
    assert!(!refused.contains("sha256") && !refused.contains("errno"), "{refused}");
    let log = path(b"l");
    let cases = [
        (
            Notice::LogInside { side: Side::Replica, path: &log },
            r#""log_inside","side":"replica","path":"l","#,
        ),
        (Notice::Unsupported { feature: Feature::Owner }, r#""unsupported","feature":"owner","#),
        (
            Notice::FirstDeletion { question: &first_deletion(true), answer: Answer::Nobody },
            r#""first_deletion","replica":"/mnt/usb","entries":1204,"bytes":3221225472,"examples":[{"path":"2019","entries":61},{"path":"a","entries":1}],"index":true,"answer":"nobody","#,
        ),
        (
            Notice::MayLackRoom { shortage: &shortage() },
            r#""may_lack_room","resource":"bytes","path":"/mnt/my disk","needed":12884901888,"free":3221225472,"freed":1073741824,"#,
        ),
        (Notice::NoLock, r#""no_lock","#),
        (Notice::RuleUnused { rule: "*.tpm (--exclude)" }, r#""rule_unused","rule":"*.tpm (--exclude)","#),
        (Notice::RuleUsed { rule: "a (/r:3)", entries: 5 }, r#""rule_used","rule":"a (/r:3)","entries":5,"#),
        (Notice::FoldersStay { folders: 2, path: &log }, r#""folders_stay","folders":2,"path":"l","#),
        (Notice::NoStateFolder, r#""no_state_folder","#),
        (
            Notice::FewerThreads { threads: 2, open_files: 64 },
            r#""fewer_threads","threads":2,"open_files":64,"#,
        ),
        (
            Notice::PriorityRefused { cause: Cause::System(Errno::PERM) },
            r#""priority_refused","cause":"Operation not permitted (os error 1)","errno":1,"#,
        ),
        (Notice::ReplicaCreated { replica: Path::new("/r") }, r#""replica_created","replica":"/r","#),
        (
            Notice::SymlinkUnread { path: &log, cause: Cause::System(Errno::PERM) },
            r#""symlink_unread","path":"l","cause":"Operation not permitted (os error 1)","errno":1,"#,
        ),
        (
            Notice::XattrUnread {
                side: Side::Source,
                path: &log,
                name: c"user.a",
                cause: Cause::System(Errno::OPNOTSUPP),
            },
            r#""xattr_unread","side":"source","path":"l","xattr":"user.a","cause":"Operation not supported (os error 95)","errno":95,"#,
        ),
        (
            Notice::KeptBack { reason: Reason::NotCreated, entries: 3, path: &log },
            r#""kept_back","kept_because":"not_created","entries":3,"path":"l","#,
        ),
    ];
    for (notice, expected) in cases {
        let line = json(Event::Notice(notice));
        assert!(line.contains(&format!(r#""event":"notice","notice":{expected}"message":""#)), "{line}");
    }
}

#[test]
fn the_end_of_a_pass_as_json() {
    let counts = r#""created":3,"updated":1,"moved":0,"repaired":0,"retyped":0,"renamed":0,"linked":0,"metadata":0,"deleted":2,"unchanged":12345,"skipped":0,"excluded":0,"excluded_in_replica":0,"kept_back":0,"problems":0,"rotted":0,"trusted":0,"bytes_read":1288490189,"bytes_trusted":0,"bytes_to_write":34603008,"bytes_written":35651584"#;
    let end = r#""duration_seconds":2.1,"replica_age_seconds":2.1"#;
    let place = r#","side":"replica","place":"/mnt","was_device":"8:17","was_mount":true,"now_device":"#;
    let stake = r#""would_delete":120,"would_delete_bytes":4096,"would_change":3,"would_change_bytes":2048,"would_create":7,"of":152"#;
    let examples = r#""examples":[{"path":"2019","entries":61},{"path":"2020","entries":58}]"#;
    let approve = r#""approve":"file-sync approve --source /home --replica /mnt/home""#;
    let was = "inode 2 of ext4 filesystem 7, made at 2025-11-24T16:00:00Z";
    let fields = [
        r#""source_replaced""#.to_owned(),
        format!(r#""mount_gone"{place}"254:0","now_mount":false"#),
        format!(
            r#""other_filesystem"{place}"8:33","now_mount":true,"would_create":12345,"would_delete":2,"would_keep":3"#
        ),
        format!(r#""missing_on_other_filesystem"{place}"8:33","now_mount":true"#),
        format!(r#""too_many_deletions",{stake},"limit":"50%",{examples},{approve}"#),
        format!(r#""too_many_changes",{stake},"limit":"1024B",{examples},{approve}"#),
        format!(
            r#""other_root","side":"source","was":"{was}","now":"missing on ext4 filesystem 8",{stake},{examples}"#
        ),
        format!(r#""empty_source",{stake},{examples}"#),
        r#""no_room","resource":"bytes","path":"/mnt/my disk","needed":12884901888,"free":3221225472,"freed":1073741824"#.to_owned(),
        r#""declined","replica":"/mnt/usb","would_delete":1204,"would_delete_bytes":3221225472"#.to_owned(),
    ];
    let head = r#""event":"pass_ended","pass":7,"outcome""#;
    for (hold, fields) in holds().into_iter().zip(fields) {
        let message = hold.to_string().replace('"', "\\\"");
        let counts = Counter::ALL.map(|counter| format!("\"{}\":0", counter.code())).join(",");
        let line = json(Event::PassEnded(&report(Outcome::Held(hold))));
        let expected = format!(
            r#""level":"ERROR",{head}:"held","hold":{fields},{counts},{end},"message":"{message}"}}"#
        );
        assert_eq!(line, expected);
    }
    let cases = [
        (Outcome::Done, "INFO", r#""done""#),
        (Outcome::Planned, "INFO", r#""planned""#),
        (Outcome::Interrupted(Signal::Interrupt), "INFO", r#""interrupted","signal":"SIGINT""#),
        (Outcome::ReplicaLost, "WARN", r#""replica_lost""#),
    ];
    for (outcome, level, fields) in cases {
        let counts = if outcome == Outcome::Planned {
            counts.replace(r#""bytes_written":35651584"#, r#""bytes_written":0"#)
        } else {
            counts.to_owned()
        };
        let (head, end) = if outcome == Outcome::Planned {
            (head.replace('7', "1"), r#""duration_seconds":2.1"#)
        } else {
            (head.to_owned(), end)
        };
        let line = json(Event::PassEnded(&report(outcome)));
        assert_eq!(line, format!(r#""level":"{level}",{head}:{fields},{counts},{end}}}"#));
    }
    let mut first = report(Outcome::ReplicaLost);
    first.replica_age = None;
    assert!(json(Event::PassEnded(&first)).ends_with(r#""duration_seconds":2.1}"#));
    first.counts[Counter::KeptBack] = 3;
    assert!(
        json(Event::PassEnded(&first))
            .contains(r#""skipped":0,"excluded":0,"excluded_in_replica":0,"kept_back":3,"problems":0"#)
    );
    assert!(text(Event::PassEnded(&first)).contains("12,345 unchanged, 3 kept back, 0 problems"));
}

#[test]
fn a_mount_point_that_is_gone_has_no_fields_of_now() {
    let [_, Hold::MountGone(mut difference), ..] = holds() else { panic!("the second is of a mount") };
    difference.now = None;
    let line = json(Event::PassEnded(&report(Outcome::Held(Hold::MountGone(difference)))));
    assert!(line.contains(r#""was_mount":true,"created":0"#), "{line}");
}

#[test]
fn the_life_of_the_program_as_json() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        json(started(Some(60), false)),
        format!(
            r#""level":"INFO","log_version":1,"event":"started","version":"{version}","source":"/home","replica":"/mnt/home","interval_seconds":60.0,"dry_run":false,"log":"/var/log/file-sync.log"}}"#
        )
    );
    assert!(json(started(None, true)).contains(r#""replica":"/mnt/home","dry_run":true"#));
    let failed = Error::ReplicaLocked { path: "/r".into() };
    let overran = Event::Overran { number: 7, by: Duration::from_micros(12_345_678) };
    let cases = [
        (
            Event::PassStarted { number: 7 },
            r#""level":"INFO","log_version":1,"event":"pass_started","pass":7}"#,
        ),
        (overran, r#""level":"WARN","event":"overran","pass":7,"by_seconds":12.346}"#),
        (
            Event::Stopping { signal: Signal::Terminate },
            r#""level":"INFO","event":"stopping","signal":"SIGTERM"}"#,
        ),
        (Event::Stopped, r#""level":"INFO","event":"stopped"}"#),
        (
            Event::Failed { error: &failed, number: None, ends_program: true },
            r#""level":"ERROR","event":"failed","error":"replica_locked","ends_program":true,"message":"The replica /r is locked by another file-sync; wait for it to end or stop it"}"#,
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(json(event), expected);
    }
}

#[test]
fn the_phases_of_a_pass_in_both_forms() {
    let counters = Arc::default();
    let counts = Counts::from_iter([(Counter::Created, 3), (Counter::BytesToWrite, 1024)]);
    let cases = [
        (Phase::Surveying { counters: &counters }, "reads both trees", "surveying\""),
        (
            Phase::Surveyed(&counts),
            "has a plan: 3 to create, 0 to update, 0 to delete, 0 unchanged, 0 problems, 0 B read, 1 KiB to write",
            "surveyed\",\"created\":3,",
        ),
        (Phase::Applying, "changes the replica", "applying\""),
        (Phase::Syncing, "makes the replica durable (syncfs)", "syncing\""),
    ];
    for (phase, words, fields) in cases {
        let event = Event::Phase { number: 7, phase };
        assert_eq!(text(event), format!("DEBUG pass 7 {words}"));
        let line = json(event);
        let head = format!(r#""level":"DEBUG","event":"phase","pass":7,"phase":"{fields}"#);
        assert!(line.starts_with(&head), "{line}");
    }
}

#[test]
fn the_job_of_an_event_comes_before_it() {
    let event = Event::PassStarted { number: 7 };
    let record = || Record::Event { job: Some("photos\n"), event: &event };
    assert!(line(Format::Text, record()).ends_with(" INFO  [photos\\n] pass 7 started"));
    let line = line(Format::Json, record());
    assert!(
        line.ends_with(r#""level":"INFO","job":"photos\n","log_version":1,"event":"pass_started","pass":7}"#),
        "{line}"
    );
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// Every example line of the document, in its order.
fn examples(format: Format) -> Vec<String> {
    let (a, docs, link, copy) = (path(b"docs/a.txt"), path(b"docs"), path(b"current"), path(b"docs/b.txt"));
    let (odd, socket, same) = (path(b"my docs\xff"), path(b"run/x.sock"), path(b"notes.txt"));
    let update = Operation {
        size: Some(12_595),
        digest: Some(abc()),
        reason: "content differs",
        ..Operation::new(Verb::Update, &a, Kind::File)
    };
    let symlink =
        Operation { target: Some(b"releases/7"), ..Operation::new(Verb::Create, &link, Kind::Symlink) };
    let linked = Operation { linked_to: Some(&a), ..Operation::new(Verb::Link, &copy, Kind::File) };
    let (readme, listed) = (path(b"docs/README"), path(b"docs/readme"));
    let renamed =
        Operation { renamed_from: Some(&listed), ..Operation::new(Verb::Rename, &readme, Kind::File) };
    let (trip, before) = (path(b"2026/trip"), path(b"unsorted/trip"));
    let moved = Operation { moved_from: Some(&before), ..Operation::new(Verb::Move, &trip, Kind::Folder) };
    let backup = path(b"docs/~a.tmp");
    let subtree = Some(Subtree { files: 12, folders: 3, bytes: 3_565_158 });
    let mut done = report(Outcome::Done);
    done.counts[Counter::Problems] = 1;
    let [replaced, gone, ..] = holds().map(|hold| report(Outcome::Held(hold)));
    let planned = report(Outcome::Planned);
    let stopped = report(Outcome::Interrupted(Signal::Terminate));
    let lost = report(Outcome::ReplicaLost);
    let (unreadable, failed) = (unreadable(), Error::SourceMissing { path: "/home".into() });
    let locked = Error::ReplicaLocked { path: "/mnt/home".into() };
    let log = Path::new("/var/log/file-sync.log");
    let full = "No space left on device (os error 28)";
    let events = [
        started(Some(60), false),
        Event::Notice(Notice::NoLock),
        Event::PassStarted { number: 7 },
        Event::Phase { number: 7, phase: Phase::Surveyed(&planned.counts) },
        Event::Done(update),
        Event::Done(Operation { verb: Verb::Repair, replica_unreadable: true, reason: "", ..update }),
        Event::Done(symlink),
        Event::Done(linked),
        Event::Done(renamed),
        Event::Done(moved),
        Event::Done(Operation::new(Verb::Delete, &odd, Kind::Folder)),
        Event::Planned(Operation { subtree, ..Operation::new(Verb::Create, &docs, Kind::Folder) }),
        Event::Verified { path: &same, size: 12, digest: Some(abc()) },
        Event::Skipped { path: &socket, kind: Kind::Socket, reason: "sockets are not mirrored" },
        Event::Excluded { path: &backup, rule: "*.tmp (--exclude)" },
        Event::Problem(&unreadable),
        Event::Notice(Notice::KeptBack { reason: Reason::Changed, entries: 3, path: &a }),
        Event::PassEnded(&done),
        Event::PassEnded(&planned),
        Event::PassEnded(&replaced),
        Event::PassEnded(&gone),
        Event::PassEnded(&stopped),
        Event::PassEnded(&lost),
        Event::Overran { number: 7, by: Duration::from_millis(12_300) },
        Event::RpoAtRisk { rpo: minutes(30), expected: minutes(41) },
        Event::RpoMissed { rpo: minutes(30), age: Some(minutes(30)) },
        Event::RpoMissed { rpo: minutes(30), age: None },
        Event::RpoMet { rpo: minutes(30), age: minutes(2) },
        Event::Stopping { signal: Signal::Terminate },
        Event::Stopping { signal: Signal::Hangup },
        Event::Stopped,
        Event::Failed { error: &failed, number: None, ends_program: true },
        Event::Failed { error: &locked, number: Some(7), ends_program: false },
    ];
    let summaries =
        [Recurrence::More, Recurrence::Same { last_pass: 6, named_in_pass: 1 }].map(|recurrence| {
            Record::Summed {
                job: None,
                summary: Summary {
                    kind: ProblemKind::ReadSourceFile,
                    cause: Cause::System(Errno::ACCESS),
                    problems: 9_990,
                    recurrence,
                },
            }
        });
    // The JSON form has every problem.
    let summaries = summaries.into_iter().filter(|_| format == Format::Text);
    let records = [
        Trouble::Unwritable { log, cause: full },
        Trouble::Lost { log, lines: 1234 },
        Trouble::Unrotated { log, cause: "Read-only file system (os error 30)" },
        Trouble::NotShown { lines: 1 },
    ]
    .map(Record::OfLog);
    let lines = events.iter().map(|event| Record::Event { job: None, event }).chain(summaries).chain(records);
    // The document need not follow every release.
    lines.map(|record| line(format, record).replace(env!("CARGO_PKG_VERSION"), "0.1.0")).collect()
}

#[test]
fn the_document_names_every_kind_of_problem() {
    let document = include_str!("../../docs/log-format.md");
    for kind in ProblemKind::all() {
        let row = format!("| `{}` | {} |", kind.code(), kind.words());
        assert!(document.contains(&row), "docs/log-format.md lacks {row}");
    }
}

#[test]
fn the_document_names_every_field_of_a_held_pass() {
    let general = DOCUMENT.lines().find(|line| line.starts_with("| `pass_ended` |")).unwrap();
    for hold in holds() {
        let record = Event::PassEnded(&report(Outcome::Held(hold)));
        let line = line(Format::Json, Record::Event { job: None, event: &record });
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        let row = format!("| `{}` | ", object["hold"].as_str().unwrap());
        let own = DOCUMENT.lines().find(|line| line.starts_with(&row)).unwrap();
        for name in object.keys().filter(|name| !["time", "level", "event"].contains(&name.as_str())) {
            let name = format!("`{name}`");
            assert!(general.contains(&name) || own.contains(&name), "{name} is not documented: {line}");
        }
    }
}

#[test]
fn the_document_names_every_error_and_every_feature() {
    let (path, cause) = (|| "/r".into(), Cause::System(Errno::IO));
    let errors = [
        Error::SourceMissing { path: path() },
        Error::SourceLost { path: path() },
        Error::SourceNotAFolder { path: path() },
        Error::SourceUnreadable { path: path(), cause },
        Error::ReplicaNotAFolder { path: path() },
        Error::ReplicaUnusable { path: path(), action: "opened", cause },
        Error::ReplicaLocked { path: path() },
        Error::RootsOverlap { relation: Relation::Same, source_path: path(), replica_path: path() },
        Error::NoThreads { reason: String::new() },
        Error::System { action: "wait", cause },
        Error::Panicked { message: String::new() },
    ];
    for error in errors {
        assert!(DOCUMENT.contains(&format!("`{}`", error.code())), "docs/log-format.md lacks {error:?}");
    }
    for feature in Feature::ALL {
        let code = serde_json::to_value(feature).unwrap();
        let row = format!("| `{}` | {} |", code.as_str().unwrap(), feature.words());
        assert!(DOCUMENT.contains(&row), "docs/log-format.md lacks {row}");
    }
}

#[test]
fn the_document_shows_every_line_as_it_is() {
    for format in [Format::Text, Format::Json] {
        let expected = examples(format);
        let start = match format {
            Format::Text => "20",
            Format::Json => "{\"time\"",
        };
        let shown: Vec<&str> = DOCUMENT.lines().filter(|line| line.starts_with(start)).collect();
        assert_eq!(shown, expected, "docs/log-format.md should have:\n{}", expected.join("\n"));
    }
}
