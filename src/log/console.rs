//! The console: standard output and standard error, read by a person, a service manager or a pipe.
//!
//! One thread writes to both streams, so that lines keep their order if both are the same terminal. A write error
//! (EPIPE) closes its stream for good and is no problem. A reader that stops reading costs lines, not time.
//!
//! A stream that is a terminal gets lines for [`People`], and below them the live line, which is drawn anew after each
//! line and a few times a second. It is drawn only where that cannot block and nobody else has the screen.

use crate::control::Interrupt;
use crate::fs::Errno;
use crate::fs::console::{COLUMNS, Stream};
use crate::model::event::{Event, Wait};
use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::line::Line;
use super::people::{People, Shown};
use super::queue::{Backpressure, Batch, Limits, Queue, Target, Took};
use super::record::{Level, Record, Trouble};
use super::{ConsoleOptions, Format, Show};

/// A reader that has taken nothing for this time is stalled.
const STALL: Duration = Duration::from_secs(1);

/// A reader that takes this time for the full buffer (1 MiB) would slow the backup down.
const SLOW: Duration = Duration::from_secs(5);

const FOREVER: Limits = Limits { stall: None, full: None };

/// Periodic mode: the passes continue even if the reader stalls.
const PERIODIC: Backpressure = Backpressure {
    running: Limits { stall: Some(STALL), full: Some(SLOW) },
    ending: Limits { stall: Some(STALL), full: None },
};

/// A single pass: a person pages through the output, and no line is dropped before a stop signal.
const PATIENT: Backpressure = Backpressure { running: FOREVER, ending: FOREVER };

/// The size of one `write(2)`. Up to PIPE_BUF it is atomic on a pipe, and a slow reader still shows progress.
const CHUNK: usize = 4096;

/// Erases the live line, also one that the terminal has broken because it is narrower now (ED).
const ERASE: &str = "\r\x1b[J";

/// The producers' side.
#[derive(Debug)]
pub(super) struct Console {
    queue: Arc<Queue>,
    people: Option<Arc<People>>,
    options: ConsoleOptions,
    format: Format,
    has_failed: Arc<AtomicBool>,
}

/// The writer's side.
struct Writer {
    queue: Arc<Queue>,
    people: Option<Arc<People>>,
    output: Option<Arc<Stream>>,
    error: Option<Arc<Stream>>,
    options: ConsoleOptions,
    format: Format,
    /// Whether the live line is on the screen.
    is_drawn: bool,
    /// See [`Console::has_lost_output`].
    has_failed: Arc<AtomicBool>,
}

impl Console {
    /// Starts the thread. Lines for a stream that is none are discarded.
    pub(super) fn start(
        streams: [Option<Stream>; 2],
        options: ConsoleOptions,
        format: Format,
        interrupt: Arc<Interrupt>,
    ) -> io::Result<Console> {
        let backpressure = if options.patient { PATIENT } else { PERIODIC };
        let queue = Arc::new(Queue::new(backpressure, Arc::clone(&interrupt)));
        let streams = streams.map(|stream| stream.map(Arc::new));
        let people = People::new(&streams, (options, format), interrupt).map(Arc::new);
        let [output, error] = streams;
        let has_failed = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            queue: Arc::clone(&queue),
            people: people.clone(),
            output,
            error,
            options,
            format,
            is_drawn: false,
            has_failed: Arc::clone(&has_failed),
        };
        // The thread is never joined: it may hang in a write until the program exits.
        thread::Builder::new().name("console".to_owned()).spawn(move || writer.run())?;
        Ok(Console { queue, people, options, format, has_failed })
    }

    /// Whether lines for standard output were lost because it could not be written, as on a full disk. A reader that has
    /// gone is none to lose lines.
    pub(super) fn has_lost_output(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Takes an event, also one that has no line.
    pub(super) fn hear(&self, job: Option<&str>, event: &Event<'_>) {
        if self.people.as_ref().is_some_and(|people| people.hear(job, event)) {
            self.queue.nudge();
        }
    }

    /// Takes the time until the next pass.
    pub(super) fn waits(&self, wait: Wait) {
        if self.people.as_ref().is_some_and(|people| people.waits(wait)) {
            self.queue.nudge();
        }
    }

    /// Hands a record in, with its line, and waits for a slow reader as long as the options allow.
    pub(super) fn show(&self, record: &Record<'_>, line: &Line) {
        if !self.wants(line) {
            return;
        }
        let target = target(line.level);
        let shown = self.people.as_ref().map_or(Shown::AsInFile, |people| people.show(target, record));
        match shown {
            Shown::AsInFile => drop(self.queue.push(&dressed(line, self.options), target)),
            Shown::Lines(text) => drop(self.queue.push(&text, target)),
            Shown::Summed(true) => self.queue.nudge(),
            Shown::Summed(false) | Shown::Nothing => {}
        }
    }

    /// The width of the terminal that is the standard output, or one that is assumed.
    pub(super) fn columns(&self) -> usize {
        let terminal = self.people.as_ref().and_then(|people| people.terminal(Target::Output));
        terminal.map_or(COLUMNS, |terminal| terminal.columns())
    }

    /// Hands in text for standard output as it is.
    pub(super) fn print(&self, text: &str) {
        self.queue.push(text, Target::Output);
    }

    /// Hands in a line about the log itself without waiting.
    pub(super) fn tell(&self, trouble: Trouble<'_>) {
        let (text, target) = of_log(self.people.as_deref(), trouble, self.options, self.format);
        self.queue.push_at_once(&text, target);
    }

    /// See [`Queue::flush`]. The live line is off the screen as well, until a phase of the pass has one again: a question
    /// may follow.
    pub(super) fn flush(&self) {
        if let Some(target) = self.people.as_ref().and_then(|people| people.live()) {
            self.queue.push(ERASE, target);
        }
        self.queue.flush();
    }

    /// See [`Queue::finish`].
    pub(super) fn finish(&self) {
        if let Some(sums) =
            self.people.as_ref().map(|people| people.summed(true)).filter(|sums| !sums.is_empty())
        {
            self.queue.push(&sums, Target::Output);
        }
        self.queue.finish();
    }

    /// See [`Queue::close`].
    pub(super) fn close(&self) {
        self.queue.close();
    }

    fn wants(&self, line: &Line) -> bool {
        let is_bad = line.level >= Level::Warn;
        match self.options.show {
            Show::Everything => true,
            Show::PassEnds => is_bad || line.is_pass_end,
            Show::Warnings => is_bad,
            Show::WithoutPassEnds => is_bad && !line.is_pass_end,
        }
    }
}

impl Writer {
    fn run(mut self) {
        let people = self.people.clone();
        let mut batch = Batch::default();
        loop {
            let tick = people.as_ref().and_then(|people| people.tick());
            if self.queue.take_within(&mut batch, tick) == Took::End {
                break;
            }
            let mut start = 0;
            for (target, end) in &batch.runs {
                self.put(&batch.bytes[start..*end], *target);
                start = *end;
            }
            if batch.dropped > 0 {
                let trouble = Trouble::NotShown { lines: batch.dropped };
                let (text, target) = of_log(people.as_deref(), trouble, self.options, self.format);
                self.put(text.as_bytes(), target);
            }
            if let Some(people) = &people {
                self.put(people.summed(false).as_bytes(), Target::Output);
                self.draw(people);
            }
            if self.output.is_none() && self.error.is_none() {
                self.queue.abandon();
                return;
            }
        }
        self.erase();
        self.queue.end();
    }

    /// Writes lines in the place of the live line.
    fn put(&mut self, lines: &[u8], target: Target) {
        if lines.is_empty() {
            return;
        }
        let is_there = self.people.as_ref().is_some_and(|people| people.is_on_live_terminal(target));
        if is_there {
            self.erase();
        }
        self.write(lines, target);
    }

    /// The stream of the live line, if it is open.
    fn live(&self) -> Option<(Target, Arc<Stream>)> {
        let target = self.people.as_ref()?.live()?;
        let stream = match target {
            Target::Output => &self.output,
            Target::Error => &self.error,
        };
        stream.clone().map(|stream| (target, stream))
    }

    fn erase(&mut self) {
        if !std::mem::take(&mut self.is_drawn) {
            return;
        }
        // In the background the line on the screen is one of a shell by now.
        if let Some((target, _)) = self.live().filter(|(_, stream)| stream.is_in_foreground()) {
            self.write(ERASE.as_bytes(), target);
        }
    }

    /// Draws the live line, unless that would block or another program has the screen. The cursor goes back to its
    /// start: a terminal that breaks it, because it is narrower now, keeps the cursor there.
    fn draw(&mut self, people: &People) {
        let Some((target, stream)) = self.live() else { return };
        if !stream.is_in_foreground() {
            self.is_drawn = false;
            return;
        }
        if !stream.is_ready() {
            return;
        }
        match people.live_line(stream.columns()) {
            Some(line) => {
                self.write(format!("\r{line}\x1b[J\r").as_bytes(), target);
                self.is_drawn = true;
            }
            None => self.erase(),
        }
    }

    /// Writes in chunks of whole lines where possible. An error closes the stream for good and is no problem: the log
    /// file has the lines.
    fn write(&mut self, mut bytes: &[u8], target: Target) {
        let slot = match target {
            Target::Output => &mut self.output,
            Target::Error => &mut self.error,
        };
        while let (Some(stream), false) = (slot.as_ref(), bytes.is_empty()) {
            match stream.write(chunk(bytes)) {
                Ok(written) if written > 0 => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.queue.progress();
                }
                Ok(_) => *slot = None,
                Err(errno) => {
                    let is_lost = target == Target::Output && errno != Errno::PIPE;
                    self.has_failed.fetch_or(is_lost, Ordering::Relaxed);
                    *slot = None;
                }
            }
        }
    }
}

/// The whole lines that fit in [`CHUNK`], or a piece of one that does not fit.
fn chunk(bytes: &[u8]) -> &[u8] {
    let Some(chunk) = bytes.get(..CHUNK) else { return bytes };
    match chunk.iter().rposition(|byte| *byte == b'\n') {
        Some(place) => &chunk[..=place],
        None => chunk,
    }
}

/// The text of a line about the log itself, and its stream.
fn of_log(
    people: Option<&People>,
    trouble: Trouble<'_>,
    options: ConsoleOptions,
    format: Format,
) -> (String, Target) {
    let record = Record::OfLog(trouble);
    let target = target(record.level());
    match people.map(|people| people.show(target, &record)) {
        Some(Shown::Lines(text)) => (text, target),
        Some(Shown::AsInFile | Shown::Summed(_) | Shown::Nothing) | None => {
            (dressed(&Line::new(format, &record), options).into_owned(), target)
        }
    }
}

/// The text of a line for this console, coloured or plain.
fn dressed(line: &Line, options: ConsoleOptions) -> Cow<'_, str> {
    if options.color { line.colored().into() } else { line.text.as_str().into() }
}

fn target(level: Level) -> Target {
    match level {
        Level::Debug | Level::Info => Target::Output,
        Level::Warn | Level::Error => Target::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::counters::Counts;
    use crate::model::report::{Outcome, PassReport};
    use crate::model::signal::Signal;
    use std::io::{PipeReader, Read};
    use std::os::fd::OwnedFd;

    const PLAIN: ConsoleOptions =
        ConsoleOptions { show: Show::Everything, color: false, patient: false, live: false };

    struct Fixture {
        console: Console,
        interrupt: Arc<Interrupt>,
        output: Option<PipeReader>,
        error: Option<PipeReader>,
    }

    fn fixture(options: ConsoleOptions) -> Fixture {
        let (output, output_end) = io::pipe().unwrap();
        let (error, error_end) = io::pipe().unwrap();
        let streams = [output_end, error_end].map(|end| Some(Stream::from_descriptor(OwnedFd::from(end))));
        let interrupt = Arc::new(Interrupt::new());
        let console = Console::start(streams, options, Format::Text, Arc::clone(&interrupt)).unwrap();
        Fixture { console, interrupt, output: Some(output), error: Some(error) }
    }

    fn read(end: Option<PipeReader>) -> String {
        let mut text = String::new();
        end.unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn put(console: &Console, record: &Record<'_>) {
        console.show(record, &Line::new(Format::Text, record));
    }

    fn info(console: &Console, number: u64) {
        put(console, &Record::Event { job: None, event: &Event::PassStarted { number } });
    }

    fn warning(console: &Console) {
        put(console, &Record::OfLog(Trouble::NotShown { lines: 1 }));
    }

    #[test]
    fn warnings_go_to_standard_error_and_the_rest_to_standard_output() {
        let all = fixture(PLAIN);
        info(&all.console, 1);
        warning(&all.console);
        all.console.finish();
        let (output, error) = (read(all.output), read(all.error));
        assert!(output.ends_with(" INFO  pass 1 started\n") && output.lines().count() == 1);
        assert!(error.contains(" WARN  console 1 line was not shown") && error.lines().count() == 1);
    }

    #[test]
    fn a_quiet_console_shows_warnings_and_if_asked_for_the_ends_of_passes() {
        let report = PassReport {
            number: 7,
            outcome: Outcome::Done,
            counts: Counts::default(),
            duration: Duration::ZERO,
            replica_age: None,
            oldest_confirmation: None,
        };
        let event = Event::PassEnded(&report);
        let end = Record::Event { job: None, event: &event };
        for (show, lines) in [(Show::Everything, 2), (Show::PassEnds, 1), (Show::Warnings, 0)] {
            let quiet = fixture(ConsoleOptions { show, ..PLAIN });
            info(&quiet.console, 7);
            put(&quiet.console, &end);
            warning(&quiet.console);
            quiet.console.finish();
            let output = read(quiet.output);
            assert_eq!(output.lines().count(), lines, "{output}");
            assert!(lines == 0 || output.lines().last().unwrap().contains(" pass 7 done: "), "{output}");
            assert_eq!(read(quiet.error).lines().count(), 1);
        }
    }

    #[test]
    fn color_frames_time_level_and_verb() {
        let colored = fixture(ConsoleOptions { color: true, ..PLAIN });
        info(&colored.console, 1);
        colored.console.finish();
        let output = read(colored.output);
        assert!(output.starts_with("\x1b[2m2"), "{output:?}");
        assert!(
            output.ends_with("\x1b[0m \x1b[32mINFO \x1b[0m \x1b[1mpass 1\x1b[0m started\n"),
            "{output:?}"
        );
    }

    #[test]
    fn a_closed_pipe_is_no_problem_and_leaves_the_other_stream_open() {
        let mut half = fixture(PLAIN);
        half.output = None;
        for number in 0..1000 {
            info(&half.console, number);
            half.console.flush();
        }
        warning(&half.console);
        half.console.finish();
        assert_eq!(read(half.error).lines().count(), 1);
    }

    #[test]
    fn with_both_pipes_closed_lines_are_given_up_at_once() {
        let mut none = fixture(ConsoleOptions { patient: true, ..PLAIN });
        none.output = None;
        none.error = None;
        for _ in 0..100_000 {
            info(&none.console, 1);
            warning(&none.console);
        }
        none.console.flush();
        none.console.finish();
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_learns_how_many() {
        let stalled = fixture(PLAIN);
        let total = 80_000;
        for number in 0..total {
            info(&stalled.console, number);
        }
        let console = stalled.console;
        let reader = thread::spawn(move || read(stalled.output));
        console.flush();
        console.finish();
        drop(console);
        let shown = reader.join().unwrap().lines().count();
        let notices = read(stalled.error);
        let dropped: usize = notices
            .lines()
            .map(|line| line.split("console ").nth(1).unwrap().split(' ').next().unwrap().replace(',', ""))
            .map(|number| number.parse::<usize>().unwrap())
            .sum();
        assert!(dropped > 0);
        assert_eq!(shown + dropped, usize::try_from(total).unwrap());
    }

    #[test]
    fn the_end_does_not_wait_for_a_stalled_reader() {
        let stalled = fixture(PLAIN);
        for number in 0..5000 {
            info(&stalled.console, number);
        }
        stalled.console.finish();
        assert!(stalled.output.is_some());
    }

    #[test]
    fn a_patient_console_shows_every_line_to_a_slow_reader() {
        let slow = fixture(ConsoleOptions { patient: true, ..PLAIN });
        let total = 60_000;
        let console = slow.console;
        let producer = thread::spawn(move || {
            for number in 0..total {
                info(&console, number);
            }
            console.finish();
        });
        let mut output = slow.output.unwrap();
        let (mut text, mut piece) = (Vec::new(), vec![0; 100_000]);
        loop {
            match output.read(&mut piece).unwrap() {
                0 => break,
                length => text.extend_from_slice(&piece[..length]),
            }
            thread::sleep(Duration::from_millis(2));
        }
        producer.join().unwrap();
        assert_eq!(String::from_utf8(text).unwrap().lines().count(), usize::try_from(total).unwrap());
        assert_eq!(read(slow.error), "");
    }

    #[test]
    fn a_patient_console_stops_waiting_when_the_program_is_asked_to_stop() {
        let stalled = fixture(ConsoleOptions { patient: true, ..PLAIN });
        let console = stalled.console;
        let producer = thread::spawn(move || {
            for number in 0..60_000 {
                info(&console, number);
            }
            console.finish();
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!producer.is_finished());
        stalled.interrupt.stop(Signal::Terminate);
        producer.join().unwrap();
        assert!(stalled.output.is_some() && stalled.error.is_some());
    }

    #[test]
    fn chunks_end_with_lines_where_they_can() {
        assert_eq!(chunk(b"a\nb"), b"a\nb");
        let long = [vec![b'x'; 3000], vec![b'\n'], vec![b'y'; 3000]].concat();
        assert_eq!(chunk(&long).len(), 3001);
        assert_eq!(chunk(&vec![b'z'; 10_000]).len(), CHUNK);
    }
}
