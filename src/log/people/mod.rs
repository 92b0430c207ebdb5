//! What a person at a terminal sees: short lines, sums of many, a live line, and a table at the end of a pass. Pipes and
//! files have the lines of the log file instead.
//!
//! The threads of a pass hand events in; the thread of the console asks what is to be drawn, and is the only one that
//! writes. Rejected: a library for progress bars. indicatif 0.18 erases the rows that its line had when it was drawn, and
//! leaves pieces of it when the window was made narrower since; and the thread that counts waits for a terminal that
//! somebody has stopped (Ctrl-S). Here the cursor stays at the start of the line, which a terminal keeps track of when
//! it breaks the line anew, and what is below is erased with it.

mod burst;
mod line;
mod live;
mod paint;
mod progress;
mod rate;
mod summary;

use self::burst::{Burst, Sum};
use self::paint::{Paint, Style};
use self::progress::Running;
use super::humanize;
use super::queue::Target;
use super::record::Record;
use super::text::{Tense, words};
use super::timestamp::Stamp;
use super::{ConsoleOptions, Format};
use crate::control::Interrupt;
use crate::fs::clock::BootTime;
use crate::fs::console::Stream;
use crate::model::counters::Counter;
use crate::model::entry::Kind;
use crate::model::event::{Event, Wait};
use crate::model::path::RelPath;
use crate::model::report::Outcome;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time between two drawings during a pass.
const STEP: Duration = Duration::from_millis(200);

/// A pass that is shorter has no live line.
const LONG: Duration = Duration::from_secs(1);

/// The terminals of the console, and what they show.
#[derive(Debug)]
pub(super) struct People {
    /// Standard output and standard error, as far as they are terminals.
    terminals: [Option<Arc<Stream>>; 2],
    /// Where the live line is drawn.
    live: Option<Target>,
    /// Whether both are one terminal.
    is_one: bool,
    color: bool,
    interrupt: Arc<Interrupt>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    burst: Burst,
    /// The last pass of each job.
    passes: Vec<Running>,
    /// The start of the next pass, and the moment that the replica shows.
    wait: Option<(BootTime, Option<BootTime>)>,
}

/// A record as a terminal shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// These lines.
    Lines(String),
    /// It is summed up. True for the first one: the console has to look after the sums.
    Summed(bool),
    /// As in the log file.
    AsInFile,
    /// Not at all.
    Nothing,
}

impl People {
    /// None where neither stream is a terminal, or programs read the lines.
    pub(super) fn new(
        streams: &[Option<Arc<Stream>>; 2],
        (options, format): (ConsoleOptions, Format),
        interrupt: Arc<Interrupt>,
    ) -> Option<People> {
        let terminal = |stream: &Option<Arc<Stream>>| stream.clone().filter(|stream| stream.is_terminal());
        let terminals = streams.each_ref().map(terminal);
        if format == Format::Json || terminals.iter().all(Option::is_none) {
            return None;
        }
        let [output, error] = &terminals;
        let is_one = matches!((output, error), (Some(one), Some(other)) if one.is_same_terminal(other));
        // A program that reads the lines, as a pager does, may have the terminal for itself.
        let is_read = streams
            .first()
            .is_some_and(|output| output.as_ref().is_some_and(|output| output.is_read_by_a_program()));
        let live = match (output, error) {
            (Some(_), _) => Some(Target::Output),
            (None, Some(_)) if !is_read => Some(Target::Error),
            (None, _) => None,
        };
        let live = live.filter(|_| options.live);
        let state = State { burst: Burst::new(Instant::now()), passes: Vec::new(), wait: None };
        let (color, state) = (options.color, Mutex::new(state));
        Some(People { terminals, live, is_one, color, interrupt, state })
    }

    /// The terminal of this stream, if it is one.
    pub(super) fn terminal(&self, target: Target) -> Option<&Arc<Stream>> {
        let [output, error] = &self.terminals;
        match target {
            Target::Output => output.as_ref(),
            Target::Error => error.as_ref(),
        }
    }

    /// The stream of the live line.
    pub(super) fn live(&self) -> Option<Target> {
        self.live
    }

    /// Whether lines for this stream are written where the live line is.
    pub(super) fn is_on_live_terminal(&self, target: Target) -> bool {
        self.live.is_some_and(|live| live == target || self.is_one)
    }

    /// Takes an event, also one that is not shown. True if the console has to look what is to be drawn.
    pub(super) fn hear(&self, job: Option<&str>, event: &Event<'_>) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        match event {
            Event::PassStarted { number } => {
                state.wait = None;
                state.passes.retain(|pass| pass.is_not_of(job));
                state.passes.push(Running::new(job, *number, now));
                true
            }
            Event::Phase { phase, .. } => {
                state.of(job).is_some_and(|pass| pass.reaches(phase, now)) && self.live.is_some()
            }
            Event::Done(operation) => {
                if let (Some(pass), Some(size)) = (state.of(job), operation.size) {
                    pass.add(operation.verb, size);
                }
                false
            }
            Event::PassEnded(_) | Event::Failed { .. } | Event::Stopping { .. } | Event::Stopped => {
                state.wait = None;
                if let Some(pass) = state.of(job) {
                    pass.end();
                }
                true
            }
            Event::Started { .. }
            | Event::Verified { .. }
            | Event::Planned(_)
            | Event::Skipped { .. }
            | Event::Excluded { .. }
            | Event::Problem(_)
            | Event::Notice(_)
            | Event::Overran { .. }
            | Event::RpoAtRisk { .. }
            | Event::RpoMissed { .. }
            | Event::RpoMet { .. } => false,
        }
    }

    /// Takes the time until the next pass. True if the console has to look what is to be drawn.
    pub(super) fn waits(&self, wait: Wait) -> bool {
        let now = BootTime::now();
        let as_of = wait.replica_age.and_then(|age| now.minus(age));
        self.lock().wait = Some((now.plus(wait.next), as_of));
        self.live.is_some()
    }

    /// The lines of a record on the terminal of this stream, which there is.
    pub(super) fn show(&self, target: Target, record: &Record<'_>) -> Shown {
        let Some(terminal) = self.terminal(target) else { return Shown::AsInFile };
        let summed = match record {
            Record::Event { event: Event::Planned(_), .. } => return Shown::AsInFile,
            Record::Event { event: Event::PassEnded(report), .. } if report.outcome == Outcome::Planned => {
                return Shown::AsInFile;
            }
            // The live line tells of it.
            Record::Event { event: Event::PassStarted { .. }, .. } if self.live.is_some() => {
                return Shown::Nothing;
            }
            Record::Event { event, .. } if target == Target::Output => summable(event),
            Record::Event { .. } | Record::Summed { .. } | Record::OfLog(_) => None,
        };
        let now = Instant::now();
        if let Some((what, folder, bytes)) = summed {
            let mut state = self.lock();
            let had_sums = state.burst.due_in(now).is_some();
            if !state.burst.shows(now, what, folder, bytes) {
                return Shown::Summed(!had_sums);
            }
        }
        let stamp = Stamp::now();
        let style = Style::new(terminal.columns(), self.color);
        let Record::Event { job, event: Event::PassEnded(report) } = record else {
            return Shown::Lines(line::line(stamp.clock(), record, style));
        };
        let mut state = self.lock();
        let mut text = self.sums(state.burst.end(now));
        let bytes = state.of(*job).map(|pass| pass.bytes()).unwrap_or_default();
        drop(state);
        let job = job.map(|job| format!("[{}] ", humanize::one_line(job))).unwrap_or_default();
        let paint = Paint::of_level(record.level());
        text.push_str(&summary::summary(stamp.clock(), (&job, report, &bytes), (paint, style)));
        Shown::Lines(text)
    }

    /// The sums that are due, or all of them at the end.
    pub(super) fn summed(&self, is_end: bool) -> String {
        let now = Instant::now();
        let mut state = self.lock();
        let sums = if is_end { state.burst.end(now) } else { state.burst.due(now) };
        drop(state);
        self.sums(sums)
    }

    fn sums(&self, sums: Vec<Sum>) -> String {
        let Some(terminal) = self.terminal(Target::Output).filter(|_| !sums.is_empty()) else {
            return String::new();
        };
        let (stamp, style) = (Stamp::now(), Style::new(terminal.columns(), self.color));
        let lines = sums.iter().map(|sum| {
            let what = format!("{} {}", humanize::number(sum.entries), sum.what);
            let bytes =
                if sum.bytes > 0 { format!(", {}", humanize::size(sum.bytes)) } else { String::new() };
            let folder = humanize::below(&sum.folder, Kind::Folder);
            let folder = if sum.folder.is_root() { "" } else { &folder };
            line::sum(stamp.clock(), (&what, &bytes), folder, style)
        });
        lines.collect()
    }

    /// The time after which the console has something to draw; none while it has to wait for an event.
    pub(super) fn tick(&self) -> Option<Duration> {
        let mut state = self.lock();
        let sums = state.burst.due_in(Instant::now());
        let live = self.live.and_then(|_| {
            if state.running().is_some() {
                return Some(STEP);
            }
            let (due, _) = state.wait?;
            let rest = due.since(BootTime::now()).subsec_nanos();
            Some(if rest == 0 { Duration::from_secs(1) } else { Duration::from_nanos(u64::from(rest) + 1) })
        });
        sums.into_iter().chain(live).min()
    }

    /// The live line for a terminal of this width; none where there is nothing to show.
    pub(super) fn live_line(&self, columns: usize) -> Option<String> {
        // After a signal the program may exit at any moment, by another one.
        if self.interrupt.is_set() {
            return None;
        }
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(pass) = state.running() {
            return pass.line(now, columns, &self.interrupt);
        }
        let (due, as_of) = state.wait?;
        let clock = BootTime::now();
        Some(live::waiting(due.since(clock), as_of.map(|as_of| clock.since(as_of)), columns))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked with the mutex held has at worst miscounted.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(&mut self, job: Option<&str>) -> Option<&mut Running> {
        self.passes.iter_mut().find(|pass| !pass.is_not_of(job))
    }

    /// The pass that the live line shows: of several jobs the one that began last.
    fn running(&mut self) -> Option<&mut Running> {
        self.passes.iter_mut().rev().find(|pass| pass.is_running())
    }
}

/// What a line says, the folder that it is about and its bytes, if it may be summed up. Warnings may not, and are not
/// passed here.
fn summable<'a>(event: &Event<'a>) -> Option<(&'static str, &'a [u8], u64)> {
    let folder_of = |path: &'a RelPath, kind: Kind| {
        // A folder is counted with what is in it.
        if kind == Kind::Folder { path.as_bytes() } else { path.split().0 }
    };
    match event {
        Event::Done(operation) => {
            let what = words(Counter::of(operation.verb), Tense::Done, 2);
            Some((what, folder_of(operation.path, operation.kind), operation.size.unwrap_or(0)))
        }
        Event::Skipped { path, kind, .. } => Some(("skipped", folder_of(path, *kind), 0)),
        Event::Excluded { path, .. } => Some(("excluded", folder_of(path, Kind::File), 0)),
        Event::Verified { path, size, .. } => Some(("the same", folder_of(path, Kind::File), *size)),
        Event::Started { .. }
        | Event::PassStarted { .. }
        | Event::Phase { .. }
        | Event::Planned(_)
        | Event::Problem(_)
        | Event::Notice(_)
        | Event::PassEnded(_)
        | Event::Overran { .. }
        | Event::RpoAtRisk { .. }
        | Event::RpoMissed { .. }
        | Event::RpoMet { .. }
        | Event::Stopping { .. }
        | Event::Stopped
        | Event::Failed { .. } => None,
    }
}
