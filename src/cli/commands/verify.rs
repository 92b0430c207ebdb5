//! `verify`: checks a replica against its index and prints what is not right.

use crate::cli::args::VerifyArgs;
use crate::cli::commands::chosen::{Chosen, Refused};
use crate::cli::commands::complaints::complain;
use crate::cli::commands::progress::{Done, Progress, STEP};
use crate::cli::config::{Environment, threads};
use crate::control::{Interrupt, Requests};
use crate::fs::clock::Timer;
use crate::fs::{open_file_limit, raise_open_file_limit};
use crate::log::{humanize, json};
use crate::model::digest::Digest;
use crate::model::path::RelPath;
use crate::model::serial;
use crate::model::signal::Signal;
use crate::run::exit::Exit;
use crate::run::signals::{Listener, Reactions};
use crate::verify::status::{Finding, Status};
use crate::verify::tally::Tally;
use crate::verify::{End, Task, verify};
use crate::workers::MOST;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// The most lists of findings that wait for a slow reader.
const MOST_WAITING: usize = 64;

/// The most lines that are aligned with each other.
const MOST_ALIGNED: usize = 1000;

/// The width of the column of paths at most; longer ones stand out.
const WIDEST: usize = 48;

/// Descriptors that are not for workers.
const RESERVED: u64 = 128;

/// Runs the command.
///
/// # Errors
/// See [`Refused`].
pub(super) fn run(
    arguments: VerifyArgs,
    environment: &Environment,
    (out, complaints): (&mut dyn Write, &mut dyn Write),
) -> Result<Exit, Refused> {
    let wanted = arguments.threads.as_deref().map(threads).transpose()?;
    let (is_json, tells_ok) = (arguments.json, arguments.verbose);
    let chosen = Chosen::find(arguments.replica, environment)?;
    raise_open_file_limit();
    let affordable = usize::try_from(open_file_limit().saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX);
    let interrupt = Arc::new(Interrupt::new());
    let listener =
        listen(&interrupt).map_err(|error| Refused::Error(format!("Cannot listen for signals: {error}")))?;
    let task = Task {
        replica: &chosen.replica,
        reader: &chosen.reader,
        left_out: &chosen.left_out,
        threads: wanted.unwrap_or(MOST.max(environment.processors)).clamp(1, affordable.max(1)),
        processors: environment.processors,
        drops_cache: arguments.drop_cache,
        tells_ok,
        interrupt: &interrupt,
    };
    let (tally, begin) = (Tally::default(), Instant::now());
    let mut progress = Progress::new(environment.shows_progress, || chosen.reader.files().ok());
    let (sender, findings) = sync_channel(MOST_WAITING);
    let (written, ended) = std::thread::scope(|scope| {
        let checking = scope.spawn(|| {
            let sender = sender;
            verify(&task, &tally, &sender)
        });
        let mut show = |list: Vec<Finding>, progress: &mut Progress, complaints: &mut dyn Write| {
            progress.erase(complaints);
            out.write_all(lines(&list, is_json).as_bytes())
        };
        let mut written = Ok(());
        follow(&findings, |list| match list {
            Some(list) if written.is_ok() => {
                written = show(list, &mut progress, complaints);
                if written.is_err() {
                    interrupt.stop(Signal::Terminate);
                }
            }
            // The rest is thrown away, so that the check can end.
            Some(_) => {}
            None => {
                let (files, right) = (tally.looked(), tally.of(Status::Ok));
                let not_right = files.saturating_sub(right);
                progress.draw(complaints, Done { files, bytes: Some(tally.bytes()), not_right });
            }
        });
        progress.erase(complaints);
        (written, checking.join())
    });
    listener.finish();
    written?;
    let end = match ended {
        Ok(Ok(end)) => end,
        Ok(Err(failure)) => return Err(Refused::Error(chosen.words(&failure))),
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let text =
        if is_json { totals(&tally, end, begin.elapsed()) } else { sentence(&tally, end, begin.elapsed()) };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    for hint in hints(&tally, end) {
        complain(complaints, hint);
    }
    Ok(match (end.is_stopped, tally.of(Status::Ok) == tally.files()) {
        (true, _) => Exit::Stopped,
        (false, true) => Exit::Done,
        (false, false) => Exit::Problems,
    })
}

/// Receives the signals that end the check.
fn listen(interrupt: &Arc<Interrupt>) -> std::io::Result<Listener> {
    let timer = Timer::new()?;
    Listener::start(Reactions {
        interrupt: Arc::clone(interrupt),
        requests: Arc::new(Requests::new()),
        waker: timer.waker(),
        // There is no log.
        reopen: Box::new(|| {}),
    })
}

/// Hands on each list of findings, and nothing when there was none for a while, until the check has ended.
fn follow(findings: &Receiver<Vec<Finding>>, mut each: impl FnMut(Option<Vec<Finding>>)) {
    loop {
        match findings.recv_timeout(STEP) {
            Ok(list) => each(Some(list)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        each(None);
    }
}

/// The lines about some files.
fn lines(findings: &[Finding], is_json: bool) -> String {
    if is_json {
        return findings.iter().map(|finding| json::object(&Object::of(finding))).collect();
    }
    let mut text = String::new();
    for list in findings.chunks(MOST_ALIGNED) {
        let paths: Vec<String> = list.iter().map(|finding| finding.path.to_string()).collect();
        let width = paths.iter().map(|path| path.chars().count()).max().unwrap_or_default().min(WIDEST);
        for (finding, path) in list.iter().zip(paths) {
            let line = format!("{:<9}  {path:<width$}  {}", finding.status.word(), details(finding));
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// The part of a line after the path.
fn details(finding: &Finding) -> String {
    let seen = finding.confirmed.map(|confirmed| format!("last seen on {}", date(confirmed)));
    let mut parts = Vec::new();
    match (finding.status, finding.found, finding.recorded) {
        (Status::Rotted | Status::Changed, Some(found), Some(recorded)) => {
            let seen = seen.map(|seen| format!(", which was {seen}")).unwrap_or_default();
            parts.push(format!("{}, expected {}{seen}", short(found), short(recorded)));
            parts.extend(finding.why.map(|why| why.to_string()));
        }
        (Status::Extra, _, _) => parts.push("nothing is known of it".to_owned()),
        (_, _, Some(recorded)) => {
            parts.extend(finding.why.map(|why| why.to_string()));
            parts.push(format!("{} was {}", short(recorded), seen.unwrap_or_default()));
        }
        (_, _, None) => parts.extend(finding.why.map(|why| why.to_string())),
    }
    parts.join("; ")
}

/// The beginning of a digest, enough to tell two of them apart.
fn short(digest: Digest) -> String {
    digest.to_string().chars().take(8).collect()
}

/// A day, in local time.
fn date(seconds: i64) -> String {
    let moment = Timestamp::from_second(seconds).unwrap_or_default();
    moment.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d").to_string()
}

/// A moment as RFC 3339, in UTC.
pub(super) fn moment(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// The last line.
fn sentence(tally: &Tally, end: End, took: Duration) -> String {
    let counts: Vec<String> = Status::ALL
        .iter()
        .map(|status| format!("{} {}", humanize::number(tally.of(*status)), status.word()))
        .collect();
    format!(
        "{}{}, {} read in {}: {}\n",
        if end.is_stopped { "Stopped early: " } else { "" },
        humanize::counted(tally.files(), "file", "files"),
        humanize::size(tally.bytes()),
        humanize::duration(took),
        counts.join(", ")
    )
}

/// A hint beside the figures.
fn hints(tally: &Tally, end: End) -> Vec<&'static str> {
    let mut hints = Vec::new();
    let [missing, all] = [tally.of(Status::Missing), tally.files()];
    let not_right =
        [Status::Missing, Status::Changed, Status::Extra].iter().any(|status| tally.of(*status) > 0);
    if end.was_written && not_right {
        hints.push(
            "A file-sync was writing to the replica meanwhile: what it has replaced and not recorded yet shows as changed, \
             missing or extra. Verify again to be sure",
        );
    }
    if missing > 0 && missing == all && !end.is_stopped {
        hints.push("Every recorded file is missing: is what holds the replica mounted?");
    }
    hints
}

/// A file in JSON.
#[derive(Serialize)]
struct Object<'a> {
    event: &'static str,
    #[serde(flatten, serialize_with = "serial::path")]
    path: &'a RelPath,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl<'a> Object<'a> {
    fn of(finding: &'a Finding) -> Object<'a> {
        Object {
            event: "file",
            path: &finding.path,
            status: finding.status,
            sha256: finding.found,
            recorded_sha256: finding.recorded,
            confirmed: finding.confirmed.map(moment),
            reason: finding.why.map(|why| why.to_string()),
        }
    }
}

/// The totals in JSON.
#[derive(Serialize)]
struct Totals {
    event: &'static str,
    files: u64,
    ok: u64,
    rotted: u64,
    missing: u64,
    changed: u64,
    extra: u64,
    unchecked: u64,
    bytes_read: u64,
    #[serde(serialize_with = "serial::seconds")]
    duration_seconds: Duration,
    stopped: bool,
    written_meanwhile: bool,
}

fn totals(tally: &Tally, end: End, took: Duration) -> String {
    json::object(&Totals {
        event: "totals",
        files: tally.files(),
        ok: tally.of(Status::Ok),
        rotted: tally.of(Status::Rotted),
        missing: tally.of(Status::Missing),
        changed: tally.of(Status::Changed),
        extra: tally.of(Status::Extra),
        unchecked: tally.of(Status::Unchecked),
        bytes_read: tally.bytes(),
        duration_seconds: took,
        stopped: end.is_stopped,
        written_meanwhile: end.was_written,
    })
}
