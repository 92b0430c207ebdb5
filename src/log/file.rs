//! The log file. It may be rotated, removed, or on a full disk, and must never stop the backup.
//!
//! Before each batch of lines the path is checked with `stat(2)`: if it does not lead to the open file any more, the
//! file is reopened, whoever has rotated it. A file that is as large as it may be is rotated by this thread, between two
//! lines. Lines that cannot be written are lost and counted. Every later batch retries, and the first that
//! succeeds notes the number of lost lines. There is no `fsync`: a log line is worth less than the time of one.

use crate::control::Interrupt;
use crate::fs::Errno;
use crate::fs::log_file::{AppendFile, AppendPath, OpenError};
use crate::fs::way::look;
use crate::model::entry::FileId;
use crate::model::mounts::{Way, gone_mount};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Format;
use super::console::Console;
use super::humanize;
use super::line::Line;
use super::queue::{Backpressure, Batch, Limits, Pushed, Queue, Target};
use super::record::{Record, Trouble};
use super::rotation::{Rotation, Rotator, Step};

/// A slow disk delays the backup. One that has taken nothing for this time is stalled: lines are dropped.
const PATIENCE: Backpressure = Backpressure {
    running: Limits { stall: Some(Duration::from_secs(10)), full: None },
    ending: Limits { stall: Some(Duration::from_secs(1)), full: None },
};

/// The producers' side.
#[derive(Debug)]
pub(super) struct LogFile {
    queue: Arc<Queue>,
    path: PathBuf,
    console: Arc<Console>,
}

impl LogFile {
    /// Starts the thread. The file is opened with the first line, or by a request to reopen it.
    pub(super) fn start(
        (path, rotation): (AppendPath, Option<Rotation>),
        format: Format,
        console: &Arc<Console>,
        interrupt: Arc<Interrupt>,
    ) -> io::Result<LogFile> {
        let queue = Arc::new(Queue::new(PATIENCE, interrupt));
        let log =
            LogFile { queue: Arc::clone(&queue), path: path.path().to_owned(), console: Arc::clone(console) };
        let mut writer = Writer::new((path, rotation), format, Arc::clone(console));
        // The thread is never joined: it may hang in a write until the program exits.
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut batch = Batch::default();
            while queue.take(&mut batch) {
                writer.deliver(&batch, || queue.progress());
            }
        })?;
        Ok(log)
    }

    /// Hands a line in.
    pub(super) fn write(&self, line: &Line) {
        match self.queue.push(&line.text, Target::Output) {
            Pushed::FirstDropped => {
                self.tell("it has stopped taking lines; the disk may have hung, or be too slow");
            }
            Pushed::Taken | Pushed::Dropped | Pushed::Closed => {}
        }
    }

    /// See [`Queue::request_reopen`].
    pub(super) fn request_reopen(&self) {
        self.queue.request_reopen();
    }

    /// See [`Queue::flush`].
    pub(super) fn flush(&self) {
        self.queue.flush();
    }

    /// See [`Queue::finish`].
    pub(super) fn finish(&self) {
        let unsure = self.queue.finish();
        if unsure > 0 {
            let lines = humanize::counted(unsure, "line", "lines");
            self.tell(&format!(
                "it has stopped taking lines, and up to {lines} are lost; the disk may have hung"
            ));
        }
    }

    /// See [`Queue::close`].
    pub(super) fn close(&self) {
        self.queue.close();
    }

    fn tell(&self, cause: &str) {
        self.console.tell(Trouble::Unwritable { log: &self.path, cause });
    }
}

/// The writer's side.
struct Writer {
    path: AppendPath,
    format: Format,
    console: Arc<Console>,
    file: Option<AppendFile>,
    rotator: Rotator,
    /// A line about a rotation that failed, to be written before the next one; empty if there is none.
    unrotated: String,
    /// The file that ends in the middle of a line.
    torn: Option<FileId>,
    /// Lost lines that are not noted in the file yet.
    lost: u64,
    /// Lost lines that are not reported on the console yet.
    unheard: u64,
    /// The way to its folder at the last open, to detect an unmounted filesystem.
    way: Way,
    /// True from the first failure, reported on the console, until a batch and its gap line are written.
    failing: bool,
}

impl Writer {
    fn new(
        (path, rotation): (AppendPath, Option<Rotation>),
        format: Format,
        console: Arc<Console>,
    ) -> Writer {
        Writer {
            path,
            format,
            console,
            file: None,
            rotator: Rotator::new(rotation),
            unrotated: String::new(),
            torn: None,
            lost: 0,
            unheard: 0,
            way: Way::new(),
            failing: false,
        }
    }

    /// Writes a batch or counts it as lost.
    fn deliver(&mut self, batch: &Batch, mut progress: impl FnMut()) {
        if batch.reopen {
            self.file = None;
        }
        let written = self.write(&batch.bytes, &mut progress);
        // Dropped lines come after the batch, and so does the line about them. The producer of the first has reported
        // it on the console.
        self.lose(batch.dropped);
        self.failing |= batch.dropped > 0;
        let written = written && (self.lost == 0 || self.write(b"", &mut progress));
        if written && self.failing {
            self.console.tell(Trouble::Lost { log: self.path.path(), lines: self.unheard });
            self.unheard = 0;
            self.failing = false;
        }
    }

    /// Writes lines, each in one file. False when not all of them were written.
    fn write(&mut self, mut lines: &[u8], progress: &mut impl FnMut()) -> bool {
        loop {
            let Some(written) = self.write_piece(lines, progress) else { return false };
            lines = lines.get(written..).unwrap_or_default();
            if lines.is_empty() {
                return true;
            }
        }
    }

    /// Writes the first of these lines, as many as the file may take, after the end of a torn line and notes about the
    /// log. Or rotates the file, and writes nothing. None when they are lost.
    fn write_piece(&mut self, lines: &[u8], progress: &mut impl FnMut()) -> Option<usize> {
        let file = match self.opened() {
            Ok(file) => file,
            Err(error) => {
                self.lose(count(lines));
                self.fail(&open_error(&error));
                return None;
            }
        };
        let piece = match self.rotator.step(&self.path, &file, lines) {
            Step::Rotate => {
                self.rotate(file, progress);
                return Some(0);
            }
            Step::Write(length) => lines.get(..length).unwrap_or(lines),
        };
        let before = self.before(&file);
        if let Err((written, errno)) = write_all(|bytes| file.write(bytes), &before, progress) {
            // A torn note is written again with the next batch. A lone newline counts as no line.
            self.stopped_at(file.id(), &before, written);
            self.lose(count(lines));
            self.fail(&io::Error::from(errno).to_string());
            return None;
        }
        self.torn = None;
        self.lost = 0;
        self.unrotated.clear();
        if let Err((written, errno)) = write_all(|bytes| file.write(bytes), piece, progress) {
            self.stopped_at(file.id(), piece, written);
            self.lose(count(lines.get(written..).unwrap_or_default()));
            self.fail(&io::Error::from(errno).to_string());
            return None;
        }
        self.rotator.has_written();
        self.file = Some(file);
        Some(piece.len())
    }

    /// The end of a torn line, a note of a rotation that failed, and one of lost lines.
    fn before(&self, file: &AppendFile) -> Vec<u8> {
        let mut before = Vec::new();
        if self.torn == Some(file.id()) {
            before.push(b'\n');
        }
        before.extend_from_slice(self.unrotated.as_bytes());
        if self.lost > 0 {
            let record = Record::OfLog(Trouble::Lost { log: self.path.path(), lines: self.lost });
            before.extend_from_slice(Line::new(self.format, &record).text.as_bytes());
        }
        before
    }

    /// Rotates the file, or tells why that is impossible and goes on with it.
    fn rotate(&mut self, file: AppendFile, progress: &mut impl FnMut()) {
        // A torn line ends in its own file. If that fails there is no room, and the line stays torn.
        if self.torn == Some(file.id()) && write_all(|bytes| file.write(bytes), b"\n", progress).is_ok() {
            self.torn = None;
        }
        match self.rotator.rotate(&self.path, &file) {
            Ok(true) => {}
            Ok(false) => self.file = Some(file),
            Err(errno) => {
                let cause = rotation_error(errno);
                let trouble = Trouble::Unrotated { log: self.path.path(), cause: &cause };
                self.unrotated = Line::new(self.format, &Record::OfLog(trouble)).text;
                self.console.tell(trouble);
                self.file = Some(file);
            }
        }
    }

    /// The open file, reopened if the path does not lead to it.
    fn opened(&mut self) -> Result<AppendFile, OpenError> {
        match self.file.take() {
            Some(file) if self.path.leads_to(&file) => Ok(file),
            Some(_) | None => {
                let way = self.path.path().parent().and_then(|folder| look(folder).ok()).unwrap_or_default();
                if let Some((step, ..)) = gone_mount(&self.way, &way) {
                    return Err(OpenError::Unmounted(step.path.clone()));
                }
                let file = self.path.open()?;
                // Its folder may have been created just now.
                self.way = self.path.path().parent().and_then(|folder| look(folder).ok()).unwrap_or_default();
                match file.ends_mid_line() {
                    Some(true) => self.torn = Some(file.id()),
                    Some(false) => self.torn = None,
                    None => {}
                }
                Ok(file)
            }
        }
    }

    /// Notes whether a failed write has left a torn line.
    fn stopped_at(&mut self, file: FileId, bytes: &[u8], written: usize) {
        match bytes.get(..written).and_then(<[u8]>::last) {
            Some(b'\n') => self.torn = None,
            Some(_) => self.torn = Some(file),
            None => {}
        }
    }

    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        self.unheard += lines;
    }

    fn fail(&mut self, cause: &str) {
        if !self.failing {
            self.failing = true;
            self.console.tell(Trouble::Unwritable { log: self.path.path(), cause });
        }
    }
}

/// The number of lines. Every line ends in a newline and has no other.
fn count(lines: &[u8]) -> u64 {
    u64::try_from(lines.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX)
}

/// Writes all bytes, and retries after a short write and after EINTR. An error has the number of bytes written before
/// it.
fn write_all(
    mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
    bytes: &[u8],
    progress: &mut impl FnMut(),
) -> Result<(), (usize, Errno)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match write(rest) {
            Ok(0) => return Err((written, Errno::IO)),
            Ok(more) => {
                written += more;
                progress();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err((written, errno)),
        }
    }
    Ok(())
}

fn rotation_error(errno: Errno) -> String {
    match errno {
        Errno::WOULDBLOCK => "another process holds a lock on it".to_owned(),
        Errno::EXIST => "another program rotates it at this moment".to_owned(),
        errno => io::Error::from(errno).to_string(),
    }
}

fn open_error(error: &OpenError) -> String {
    match error {
        OpenError::File(errno) => io::Error::from(*errno).to_string(),
        OpenError::Folder(folder, errno) => {
            format!("its folder {} cannot be created: {}", humanize::path(folder), io::Error::from(*errno))
        }
        OpenError::KeptOut(folder) => {
            format!("its folder {} is missing and not for the log to create", humanize::path(folder))
        }
        OpenError::Unmounted(folder) => {
            format!("what was mounted at {} is not mounted any more", humanize::path(folder))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::console::Stream;
    use crate::log::{ConsoleOptions, Log, LogOptions};
    use crate::model::event::{Event, Monitor};
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::{PipeReader, Read};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::path::Path;
    use std::time::Instant;
    use tempfile::TempDir;

    struct Fixture {
        temp: TempDir,
        log: Log,
        error: PipeReader,
    }

    /// A log at `path` below a new folder, and the end of its standard error.
    fn fixture(path: &str, keep_out: Option<&str>) -> Fixture {
        rotated(path, keep_out, None)
    }

    /// The same with rotation.
    fn rotated(path: &str, keep_out: Option<&str>, rotation: Option<Rotation>) -> Fixture {
        let temp = tempfile::tempdir().unwrap();
        let (error, error_end) = io::pipe().unwrap();
        let options = LogOptions {
            path: Some(temp.path().join(path)),
            keep_out: keep_out.map(|folder| temp.path().join(folder)),
            format: Format::Text,
            rotation,
            verbose: false,
            console: ConsoleOptions::default(),
        };
        let streams = [None, Some(Stream::from_descriptor(OwnedFd::from(error_end)))];
        let log = Log::start_on(streams, options, Arc::new(Interrupt::new())).unwrap();
        Fixture { temp, log, error }
    }

    impl Fixture {
        fn at(&self, path: &str) -> PathBuf {
            self.temp.path().join(path)
        }

        /// Writes one line per number, and at least one batch per call.
        fn write(&self, numbers: std::ops::RangeInclusive<u64>) {
            for number in numbers {
                self.log.event(&Event::PassStarted { number });
            }
            self.log.flush();
        }

        /// The lines of the file, without timestamps and scratch paths.
        fn content(&self, path: &str) -> Vec<String> {
            self.plain(&fs::read_to_string(self.at(path)).unwrap())
        }

        /// Ends the log, and returns the lines on standard error.
        fn shown(mut self) -> Vec<String> {
            self.log.finish();
            let mut text = String::new();
            self.error.read_to_string(&mut text).unwrap();
            self.plain(&text)
        }

        fn plain(&self, text: &str) -> Vec<String> {
            let temp = self.temp.path().to_str().unwrap();
            let line = |line: &str| line.get(30..).unwrap_or(line).replace(temp, "TEMP");
            text.lines().map(line).collect()
        }
    }

    fn started(number: u64) -> String {
        format!("INFO  pass {number} started")
    }

    const BACK: &str = "WARN  log The log file TEMP/log is written again;";

    #[test]
    fn lines_are_appended_and_folders_made() {
        let fixture = fixture("a/b/log", None);
        fs::create_dir_all(fixture.at("a/b")).unwrap();
        fs::write(fixture.at("a/b/log"), "earlier\n").unwrap();
        fixture.write(1..=2);
        assert_eq!(fixture.content("a/b/log"), ["earlier", &started(1), &started(2)]);
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn the_next_line_after_a_rotation_or_removal_is_in_a_new_file() {
        let fixture = fixture("d/log", None);
        fixture.write(1..=1);
        fs::rename(fixture.at("d/log"), fixture.at("d/log.1")).unwrap();
        fixture.write(2..=2);
        assert_eq!(fixture.content("d/log.1"), [started(1)]);
        assert_eq!(fixture.content("d/log"), [started(2)]);
        fs::remove_file(fixture.at("d/log")).unwrap();
        fixture.write(3..=3);
        assert_eq!(fixture.content("d/log"), [started(3)]);
        fs::remove_dir_all(fixture.at("d")).unwrap();
        fixture.write(4..=5);
        assert_eq!(fixture.content("d/log"), [started(4), started(5)]);
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn a_request_opens_the_file_anew_and_loses_nothing() {
        let fixture = fixture("log", None);
        fixture.write(1..=1);
        fixture.log.request_reopen();
        fixture.write(2..=2);
        assert_eq!(fixture.content("log"), [started(1), started(2)]);
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn a_request_before_the_first_line_creates_nothing() {
        let fixture = fixture("d/log", None);
        fixture.log.request_reopen();
        fixture.log.flush();
        assert!(!fixture.at("d").exists());
        fixture.write(1..=1);
        assert_eq!(fixture.content("d/log"), [started(1)]);
    }

    #[test]
    fn a_request_to_reopen_is_met_at_once_and_not_with_the_next_line() {
        let fixture = fixture("log", None);
        fixture.write(1..=1);
        fs::rename(fixture.at("log"), fixture.at("log.1")).unwrap();
        fixture.log.request_reopen();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !fixture.at("log").exists() {
            assert!(Instant::now() < deadline, "it is not opened anew");
            std::thread::sleep(Duration::from_millis(2));
        }
        fixture.write(2..=2);
        assert_eq!(fixture.content("log"), [started(2)]);
        assert_eq!(fixture.content("log.1"), [started(1)]);
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn an_unwritable_log_is_told_once_and_its_lost_lines_when_it_is_back() {
        let fixture = fixture("log", None);
        fs::create_dir(fixture.at("log")).unwrap();
        fixture.write(1..=3);
        fixture.write(4..=1200);
        fs::remove_dir(fixture.at("log")).unwrap();
        fixture.write(1201..=1201);
        fixture.write(1202..=1202);
        let back = format!("{BACK} 1,200 lines were lost while it could not be written");
        assert_eq!(fixture.content("log"), [back.clone(), started(1201), started(1202)]);
        assert_eq!(
            fixture.shown(),
            [
                "ERROR log Cannot write the log file TEMP/log: Is a directory (os error 21); the backup goes on without it",
                &back
            ]
        );
    }

    #[test]
    fn a_full_disk_loses_lines_until_there_is_room() {
        let full = Path::new("/dev/full");
        assert!(fs::metadata(full).unwrap().file_type().is_char_device(), "needs /dev/full");
        let fixture = fixture("log", None);
        symlink(full, fixture.at("log")).unwrap();
        fixture.write(1..=1);
        fs::remove_file(fixture.at("log")).unwrap();
        fixture.write(2..=2);
        let back = format!("{BACK} 1 line was lost while it could not be written");
        assert_eq!(fixture.content("log"), [back.clone(), started(2)]);
        assert_eq!(
            fixture.shown(),
            [
                "ERROR log Cannot write the log file TEMP/log: No space left on device (os error 28); the backup goes on without it",
                &back
            ]
        );
    }

    #[test]
    fn a_removed_source_does_not_come_back_because_the_log_lies_inside() {
        let fixture = fixture("source/logs/log", Some("source"));
        fs::create_dir(fixture.at("source")).unwrap();
        fixture.write(1..=1);
        fs::remove_dir_all(fixture.at("source")).unwrap();
        fixture.write(2..=2);
        assert!(!fixture.at("source").exists());
        fs::create_dir(fixture.at("source")).unwrap();
        fixture.write(3..=3);
        let back =
            BACK.replace("TEMP", "TEMP/source/logs") + " 1 line was lost while it could not be written";
        assert_eq!(fixture.content("source/logs/log"), [back.clone(), started(3)]);
        assert_eq!(
            fixture.shown(),
            [
                "ERROR log Cannot write the log file TEMP/source/logs/log: its folder TEMP/source is missing and not for the log to create; the backup goes on without it",
                &back
            ]
        );
    }

    #[test]
    fn half_a_line_from_before_is_ended_first() {
        let fixture = fixture("log", None);
        fs::write(fixture.at("log"), "half a li").unwrap();
        fixture.write(1..=1);
        fixture.write(2..=2);
        assert_eq!(fs::read_to_string(fixture.at("log")).unwrap().lines().next(), Some("half a li"));
        assert_eq!(fixture.content("log")[1..], [started(1), started(2)]);
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn many_threads_lose_no_line() {
        let fixture = fixture("log", None);
        let (threads, each) = (4_u64, 20_000);
        thread::scope(|scope| {
            for first in 0..threads {
                let log = &fixture.log;
                scope.spawn(move || {
                    for number in 0..each {
                        log.event(&Event::PassStarted { number: first * each + number });
                    }
                });
            }
        });
        fixture.log.finish();
        let mut lines = fixture.content("log");
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), usize::try_from(threads * each).unwrap());
    }

    /// A line of [`started`] with a number of one digit has 51 bytes in the file.
    const THREE_LINES: Option<Rotation> = Some(Rotation { max_size: 3 * 51, keep: 2 });

    #[test]
    fn a_full_file_is_rotated_between_two_lines_also_within_a_batch() {
        let fixture = rotated("log", None, THREE_LINES);
        fixture.write(1..=2);
        assert!(!fixture.at("log.1").exists());
        fixture.write(3..=8);
        assert_eq!(fixture.content("log.2"), [started(1), started(2), started(3)]);
        assert_eq!(fixture.content("log.1"), [started(4), started(5), started(6)]);
        assert_eq!(fixture.content("log"), [started(7), started(8)]);
        fixture.write(9..=9);
        assert_eq!(fs::metadata(fixture.at("log")).unwrap().len(), 3 * 51);
        fixture.write(1..=1);
        assert_eq!(fixture.content("log.2"), [started(4), started(5), started(6)]);
        assert!(!fixture.at("log.3").exists());
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn many_threads_lose_no_line_at_the_seams() {
        let fixture = rotated("log", None, Some(Rotation { max_size: 100_000, keep: 999 }));
        let (threads, each) = (4_u64, 5_000);
        thread::scope(|scope| {
            for first in 0..threads {
                let log = &fixture.log;
                scope.spawn(move || {
                    for number in 0..each {
                        log.event(&Event::PassStarted { number: first * each + number });
                    }
                });
            }
        });
        fixture.log.finish();
        let mut lines = BTreeSet::new();
        for entry in fs::read_dir(fixture.temp.path()).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(text.ends_with(" started\n") && text.len() <= 100_000);
            lines.extend(fixture.plain(&text));
        }
        assert_eq!(lines.len(), usize::try_from(threads * each).unwrap());
        assert!(fixture.at("log.9").exists());
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn two_logs_of_one_file_lose_no_line_and_rotate_it_once_each_time() {
        let options = Some(Rotation { max_size: 20_000, keep: 999 });
        let one = rotated("log", None, options);
        let path = AppendPath::new(one.at("log"), None);
        let streams = [None, None];
        let other = LogOptions {
            path: Some(path.path().to_owned()),
            keep_out: None,
            rotation: options,
            format: Format::Text,
            verbose: false,
            console: ConsoleOptions::default(),
        };
        let other = Log::start_on(streams, other, Arc::new(Interrupt::new())).unwrap();
        let each = 5_000;
        thread::scope(|scope| {
            for (log, first) in [(&one.log, 0), (&other, each)] {
                scope.spawn(move || {
                    for number in first..first + each {
                        log.event(&Event::PassStarted { number });
                        if number % 50 == 0 {
                            log.flush();
                        }
                    }
                    log.finish();
                });
            }
        });
        let mut lines = BTreeSet::new();
        let mut files = 0;
        for entry in fs::read_dir(one.temp.path()).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'));
            files += u64::from(text.len() > 1_000);
            lines.extend(one.plain(&text));
        }
        let expected: BTreeSet<String> = (0..2 * each).map(started).collect();
        let others: Vec<_> = lines.symmetric_difference(&expected).collect();
        assert!(others.is_empty(), "{others:?}");
        // Some 560,000 bytes. A file that is rotated twice would leave a small one.
        assert!(files <= 40, "{files}");
        assert!(one.shown().is_empty());
    }

    #[test]
    fn a_lock_that_somebody_else_holds_puts_the_rotation_off_and_costs_no_line() {
        let fixture = rotated("log", None, THREE_LINES);
        fixture.write(1..=3);
        let other = fs::File::open(fixture.at("log")).unwrap();
        other.lock().unwrap();
        let begin = Instant::now();
        fixture.write(4..=9);
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(fixture.content("log"), (1..=9).map(started).collect::<Vec<_>>());
        other.unlock().unwrap();
        thread::sleep(Duration::from_millis(200));
        fixture.write(10..=10);
        assert_eq!(fixture.content("log.1").len(), 9);
        assert_eq!(fixture.content("log"), [started(10)]);
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn a_log_that_is_truncated_in_place_goes_on_from_its_beginning() {
        let fixture = rotated("log", None, THREE_LINES);
        fixture.write(1..=3);
        // As logrotate does with copytruncate.
        fs::copy(fixture.at("log"), fixture.at("copy")).unwrap();
        fs::File::options().write(true).truncate(true).open(fixture.at("log")).unwrap();
        fixture.write(4..=5);
        assert_eq!(fixture.content("log"), [started(4), started(5)]);
        assert!(!fixture.at("log.1").exists());
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn a_rotation_that_fails_is_told_once_and_the_log_goes_on() {
        let fixture = rotated("log", None, Some(Rotation { max_size: 3 * 51, keep: 1 }));
        // A folder where the oldest file has to go.
        fs::create_dir(fixture.at("log.1")).unwrap();
        fixture.write(1..=4);
        fixture.write(5..=9);
        let told = "WARN  log Cannot rotate the log file TEMP/log: Is a directory (os error 21); lines go on into the same file";
        let mut expected: Vec<String> = (1..=9).map(started).collect();
        expected.insert(3, told.to_owned());
        assert_eq!(fixture.content("log"), expected);
        assert_eq!(fixture.shown(), [told]);
    }

    #[test]
    fn half_a_line_is_ended_in_its_own_file() {
        let fixture = rotated("log", None, THREE_LINES);
        fs::write(fixture.at("log"), "x".repeat(200)).unwrap();
        fixture.write(1..=1);
        assert_eq!(fs::read_to_string(fixture.at("log.1")).unwrap(), "x".repeat(200) + "\n");
        assert_eq!(fixture.content("log"), [started(1)]);
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn what_is_no_file_is_never_rotated() {
        let fixture = rotated("log", None, Some(Rotation { max_size: 1, keep: 2 }));
        symlink("/dev/null", fixture.at("log")).unwrap();
        fixture.write(1..=3);
        assert_eq!(fs::read_dir(fixture.temp.path()).unwrap().count(), 1);
        assert!(fixture.shown().is_empty());
    }

    #[test]
    fn events_after_the_end_are_ignored() {
        let fixture = fixture("log", None);
        fixture.write(1..=1);
        fixture.log.finish();
        fixture.write(2..=2);
        fixture.log.finish();
        assert_eq!(fixture.content("log"), [started(1)]);
    }

    #[test]
    fn writing_goes_on_after_short_writes_and_signals_and_says_how_far_it_came() {
        let mut answers = vec![Ok(3), Err(Errno::INTR), Ok(2), Err(Errno::NOSPC)].into_iter();
        let mut steps = 0;
        let mut seen = Vec::new();
        let result = write_all(
            |bytes| {
                seen.push(bytes.to_vec());
                answers.next().unwrap()
            },
            b"a\nb\nc\nd\n",
            &mut || steps += 1,
        );
        assert_eq!(result, Err((5, Errno::NOSPC)));
        assert_eq!(seen, [&b"a\nb\nc\nd\n"[..], b"\nc\nd\n", b"\nc\nd\n", b"\nd\n"]);
        assert_eq!(steps, 2);
        assert_eq!(write_all(|_| Ok(0), b"x", &mut || ()), Err((0, Errno::IO)));
        assert_eq!(write_all(|bytes| Ok(bytes.len()), b"x", &mut || ()), Ok(()));
    }

    #[test]
    fn lines_not_wholly_written_are_lost_and_a_torn_one_is_remembered() {
        let fixture = fixture("unused", None);
        let console = Arc::clone(&fixture.log.console);
        let path = AppendPath::new(fixture.at("log"), None);
        let mut writer = Writer::new((path, None), Format::Text, console);
        let id = FileId { device: 1, inode: 2 };
        let lines = b"a\nbcd\ne\n";
        for (written, torn, lost) in
            [(0, None, 3), (1, Some(id), 3), (2, None, 2), (4, Some(id), 2), (6, None, 1)]
        {
            writer.stopped_at(id, lines, written);
            assert_eq!(writer.torn, torn, "{written}");
            assert_eq!(count(&lines[written..]), lost, "{written}");
        }
    }
}
