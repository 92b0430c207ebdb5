//! The text form of the log: time, level, verb, path, facts. `docs/log-format.md` documents it; a test compares.

use crate::model::change::Operation;
use crate::model::counters::{Counter, Counts};
use crate::model::digest::Digest;
use crate::model::event::{Event, Phase};
use crate::model::path::shown;
use crate::model::report::{Outcome, PassReport};
use crate::model::signal::Signal;
use std::fmt::{self, Write};

use super::humanize;
use super::record::{Level, Record, Trouble};
use super::timestamp::Stamp;

/// The whole line with its newline, and the byte offset of the end of its verb.
pub(super) fn line(stamp: &Stamp, level: Level, record: &Record<'_>) -> (String, usize) {
    let mut out = Out { text: String::with_capacity(256), head_end: 0 };
    out.words(format_args!("{} {:<5} ", stamp.as_str(), level.word()));
    write_record(&mut out, record);
    out.text.push('\n');
    (out.text, out.head_end)
}

/// The line without time and level, and the byte offset of the end of its verb.
pub(super) fn body(record: &Record<'_>) -> (String, usize) {
    let mut out = Out { text: String::new(), head_end: 0 };
    write_record(&mut out, record);
    (out.text, out.head_end)
}

fn write_record(out: &mut Out, record: &Record<'_>) {
    match record {
        Record::Event { job, event } => {
            out.job(*job);
            write_event(out, event);
        }
        Record::Summed { job, summary } => {
            out.job(*job);
            out.message("problems", &humanize::summary(summary));
        }
        Record::OfLog(Trouble::Unwritable { log, cause }) => {
            out.message("log", &humanize::unwritable(log, cause));
        }
        Record::OfLog(Trouble::Lost { log, lines }) => out.message("log", &humanize::lost(log, *lines)),
        Record::OfLog(Trouble::Unrotated { log, cause }) => {
            out.message("log", &humanize::unrotated(log, cause));
        }
        Record::OfLog(Trouble::NotShown { lines }) => out.message("console", &humanize::not_shown(*lines)),
    }
}

/// A line under construction.
struct Out {
    text: String,
    head_end: usize,
}

impl Out {
    fn words(&mut self, words: fmt::Arguments<'_>) {
        let written = self.text.write_fmt(words);
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }

    fn job(&mut self, job: Option<&str>) {
        if let Some(job) = job {
            self.words(format_args!("[{}] ", humanize::one_line(job)));
        }
    }

    /// The words that a terminal shows in bold.
    fn head(&mut self, head: fmt::Arguments<'_>) {
        self.words(head);
        self.head_end = self.text.len();
    }

    fn message(&mut self, head: &str, message: &str) {
        self.head(format_args!("{head}"));
        self.words(format_args!(" {}", humanize::one_line(message)));
    }

    fn digest(&mut self, digest: Option<Digest>) {
        if let Some(digest) = digest {
            self.words(format_args!(" sha256={digest}"));
        }
    }
}

fn write_event(out: &mut Out, event: &Event<'_>) {
    match event {
        Event::Started { version, source, replica, interval, dry_run, log } => {
            out.head(format_args!("file-sync"));
            let (source, replica) = (humanize::path(source), humanize::path(replica));
            out.words(format_args!(" {version} started: source {source} replica {replica}"));
            // A dry run is a single pass, with or without an interval.
            match interval {
                _ if *dry_run => out.words(format_args!(" dry run")),
                Some(interval) => out.words(format_args!(" interval {} s", interval.as_secs_f64())),
                None => out.words(format_args!(" single pass")),
            }
            if let Some(log) = log {
                out.words(format_args!(" log {}", humanize::path(log)));
            }
        }
        Event::PassStarted { number } => {
            out.head(format_args!("pass {number}"));
            out.words(format_args!(" started"));
        }
        Event::Phase { number, phase } => {
            out.head(format_args!("pass {number}"));
            match phase {
                Phase::Surveying { .. } => out.words(format_args!(" reads both trees")),
                Phase::Surveyed(counts) => {
                    out.words(format_args!(" has a plan: {}", numbers(counts, Tense::Planned)));
                }
                Phase::Applying => out.words(format_args!(" changes the replica")),
                Phase::Syncing => out.words(format_args!(" makes the replica durable (syncfs)")),
            }
        }
        Event::Verified { path, size, digest } => {
            out.head(format_args!("same"));
            out.words(format_args!(" {path} {}", humanize::size(*size)));
            out.digest(*digest);
        }
        Event::Done(operation) => {
            out.head(format_args!("{}", operation.verb.word()));
            write_facts(out, operation);
        }
        Event::Planned(operation) => {
            out.head(format_args!("would {}", operation.verb.word()));
            write_facts(out, operation);
        }
        Event::Skipped { path, kind, reason } => {
            out.head(format_args!("skip"));
            let reason = if reason.is_empty() { kind.word() } else { reason };
            out.words(format_args!(" {} ({})", humanize::below(path, *kind), humanize::one_line(reason)));
        }
        Event::Excluded { path, rule } => {
            out.head(format_args!("exclude"));
            out.words(format_args!(" {path} by {}", humanize::one_line(rule)));
        }
        Event::Problem(problem) => {
            out.head(format_args!("problem"));
            out.words(format_args!(" {}", problem.path));
            if problem.content_unreadable {
                out.words(format_args!(" sha256=\"\""));
            }
            out.words(format_args!(" {}", humanize::one_line(&problem.to_string())));
        }
        Event::Notice(notice) => out.message("notice", &humanize::notice(notice)),
        Event::PassEnded(report) => write_pass_end(out, report),
        Event::Overran { number, by } => {
            out.head(format_args!("pass {number}"));
            out.words(format_args!(
                " overran its interval by {}; the next one starts now",
                humanize::duration(*by)
            ));
        }
        Event::RpoAtRisk { rpo, expected } => {
            out.head(format_args!("rpo"));
            let (rpo, expected) = (humanize::age(*rpo), humanize::age(*expected));
            out.words(format_args!(
                " of {rpo} at risk: by the last passes the replica will be {expected} old when the next one ends"
            ));
        }
        Event::RpoMissed { rpo, age } => {
            out.head(format_args!("rpo"));
            out.words(format_args!(" of {} missed: ", humanize::age(*rpo)));
            match age {
                Some(age) => out.words(format_args!("the replica is {} old", humanize::age(*age))),
                None => out.words(format_args!("no pass has been done yet")),
            }
        }
        Event::RpoMet { rpo, age } => {
            out.head(format_args!("rpo"));
            let (rpo, age) = (humanize::age(*rpo), humanize::age(*age));
            out.words(format_args!(" of {rpo} met again: the replica is {age} old"));
        }
        Event::Stopping { signal } => {
            out.head(format_args!("file-sync"));
            out.words(format_args!(" stopping on {signal}"));
            if *signal == Signal::Hangup {
                out.words(format_args!(", because its terminal was closed"));
            }
        }
        Event::Stopped => {
            out.head(format_args!("file-sync"));
            out.words(format_args!(" stopped"));
        }
        Event::Failed { error, number: Some(number), ends_program: false } => {
            let words = format!("failed: {error} (the next pass tries again)");
            out.message(&format!("pass {number}"), &words);
        }
        Event::Failed { error, .. } => out.message("file-sync", &format!("failed: {error}")),
    }
}

fn write_facts(out: &mut Out, operation: &Operation<'_>) {
    let Operation {
        verb: _,
        path,
        kind,
        size,
        digest,
        replica_unreadable,
        target,
        linked_to,
        renamed_from,
        moved_from,
        subtree,
        reason,
    } = operation;
    if let Some(moved_from) = moved_from {
        out.words(format_args!(" {} ->", humanize::below(moved_from, *kind)));
    }
    out.words(format_args!(" {}", humanize::below(path, *kind)));
    if let Some(target) = target {
        out.words(format_args!(" -> {}", shown(target)));
    }
    if let Some(linked_to) = linked_to {
        out.words(format_args!(" => {linked_to}"));
    }
    if let Some(renamed_from) = renamed_from {
        out.words(format_args!(" <= {renamed_from}"));
    }
    if let Some(size) = size {
        out.words(format_args!(" {}", humanize::size(*size)));
    }
    out.digest(*digest);
    if *replica_unreadable {
        out.words(format_args!(" replica_sha256=\"\""));
    }
    if let Some(subtree) = subtree {
        if subtree.folders == 0 && subtree.files == 0 {
            out.words(format_args!(" (empty)"));
        } else {
            out.words(format_args!(
                " ({}, {}, {})",
                humanize::counted(subtree.folders, "folder", "folders"),
                humanize::counted(subtree.files, "file", "files"),
                humanize::size(subtree.bytes),
            ));
        }
    }
    if !reason.is_empty() {
        out.words(format_args!(" ({})", humanize::one_line(reason)));
    }
}

fn write_pass_end(out: &mut Out, report: &PassReport) {
    out.head(format_args!("pass {}", report.number));
    let counts = numbers(&report.counts, Tense::Done);
    let duration = humanize::duration(report.duration);
    let age = match report.replica_age {
        Some(age) => format!("replica is {} old", humanize::age(age)),
        None => "replica age unknown".to_owned(),
    };
    match &report.outcome {
        Outcome::Done => {
            out.words(format_args!(" done: {counts}, {duration}, {age}"));
            if let Some(oldest) = report.oldest_confirmation {
                out.words(format_args!(", the oldest confirmation {}", humanize::age(oldest)));
            }
            if report.counts[Counter::Problems] > 0 {
                let problems = humanize::counted(report.counts[Counter::Problems], "problem", "problems");
                out.words(format_args!(" but for {problems}"));
            }
        }
        Outcome::Planned => {
            let plan = numbers(&report.counts, Tense::Planned);
            out.words(format_args!(" planned: {plan}, {duration}, nothing was written"));
        }
        Outcome::Held(hold) => {
            out.words(format_args!(" held: {}; nothing was changed", humanize::one_line(&hold.to_string())));
        }
        Outcome::Interrupted(signal) => {
            out.words(format_args!(" stopped by {signal}: {counts}, {duration}, {age}"));
        }
        Outcome::ReplicaLost => {
            out.words(format_args!(
                " ended early: the replica folder disappeared; {counts}, {duration}, {age}"
            ));
        }
    }
}

/// Whether the numbers count done or planned operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tense {
    Done,
    Planned,
}

/// The counters of a pass in a fixed order. The rare ones are left out when zero.
fn numbers(counts: &Counts, tense: Tense) -> String {
    let mut list = List::default();
    for counter in Counter::ALL {
        let number = counts[counter];
        let words = words(counter, tense, number);
        match counter {
            Counter::Created
            | Counter::Updated
            | Counter::Deleted
            | Counter::Unchanged
            | Counter::Problems => list.count(number, words),
            Counter::Moved
            | Counter::Repaired
            | Counter::Retyped
            | Counter::Renamed
            | Counter::Linked
            | Counter::Metadata
            | Counter::Skipped
            | Counter::Excluded
            | Counter::ExcludedInReplica
            | Counter::KeptBack
            | Counter::Rotted
            | Counter::Trusted => {
                if number > 0 {
                    list.count(number, words);
                }
            }
            Counter::BytesTrusted if number == 0 => {}
            Counter::BytesToWrite if tense == Tense::Done || number == 0 => {}
            Counter::BytesWritten if tense == Tense::Planned => {}
            Counter::BytesRead | Counter::BytesTrusted | Counter::BytesToWrite | Counter::BytesWritten => {
                list.item(format!("{} {words}", humanize::size(number)));
            }
        }
    }
    list.0
}

/// The words after the number of a counter.
pub(super) fn words(counter: Counter, tense: Tense, number: u64) -> &'static str {
    let (done, planned) = match counter {
        Counter::Created => ("created", "to create"),
        Counter::Updated => ("updated", "to update"),
        Counter::Moved => ("moved", "to move"),
        Counter::Repaired => ("repaired", "to repair"),
        Counter::Retyped => ("retyped", "to retype"),
        Counter::Renamed => ("renamed", "to rename"),
        Counter::Linked => ("linked", "to link"),
        Counter::Metadata => ("metadata set", "metadata to set"),
        Counter::Deleted => ("deleted", "to delete"),
        Counter::Unchanged => return "unchanged",
        Counter::Skipped => return "skipped",
        Counter::Excluded => return "excluded",
        Counter::ExcludedInReplica => return "excluded still in the replica",
        Counter::KeptBack => return "kept back",
        Counter::Problems => return if number == 1 { "problem" } else { "problems" },
        Counter::Rotted => return "rotted",
        Counter::Trusted => return "trusted",
        Counter::BytesRead => return "read",
        Counter::BytesTrusted => return "trusted",
        Counter::BytesToWrite => return "to write",
        Counter::BytesWritten => return "written",
    };
    match tense {
        Tense::Done => done,
        Tense::Planned => planned,
    }
}

/// Items joined by commas.
#[derive(Default)]
struct List(String);

impl List {
    fn item(&mut self, item: String) {
        if !self.0.is_empty() {
            self.0.push_str(", ");
        }
        self.0.push_str(&item);
    }

    fn count(&mut self, count: u64, what: &str) {
        self.item(format!("{} {what}", humanize::number(count)));
    }
}
