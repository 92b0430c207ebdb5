//! The real program in a place of its own: two roots, a log, and somebody to run it as.

#![allow(dead_code, reason = "every test file uses a part of this")]
#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may fail as the test itself may")]

#[path = "process.rs"]
mod process;

use insta::Settings;
use rustix::fs::{AtFlags, CWD, FallocateFlags, Gid, Uid, chownat, fallocate};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::borrow::BorrowMut;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No test waits longer for anything; only a failing one waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The user and the group that owns nothing.
const NOBODY: u32 = 65534;

/// True when the tests run as root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Says in one line why a test does nothing.
pub(crate) fn skip(reason: &str) {
    eprintln!("Skipped: {reason}");
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(2));
    }
}

/// A folder with an empty `source`; `replica` and `log` are for the program to make.
pub(crate) struct Place {
    folder: TempDir,
    program: PathBuf,
    as_nobody: bool,
}

impl Place {
    /// A place where the program runs as whoever runs the tests.
    pub(crate) fn new() -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("source")).expect("created");
        Place { folder, program: env!("CARGO_BIN_EXE_file-sync").into(), as_nobody: false }
    }

    /// A place where the program runs as an ordinary user, also when root runs the tests. None, after saying so,
    /// where that user cannot reach it.
    pub(crate) fn of_ordinary_user() -> Option<Place> {
        let mut place = Place::new();
        if !is_root() {
            return Some(place);
        }
        // The folder that cargo builds in may be closed to others.
        let program = place.at("file-sync");
        fs::copy(&place.program, &program).expect("copied");
        fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("set");
        place.program = program;
        place.as_nobody = true;
        if place.bare().arg("--version").output().is_err() {
            skip("an ordinary user cannot reach the folder for temporary files");
            return None;
        }
        Some(place)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path below the place.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("below the place")).expect("created");
        fs::write(path, content).expect("written");
    }

    /// Makes a file of zeros that takes no time to make, but some to be read: it has no holes.
    pub(crate) fn write_zeros(&self, path: &str, length: usize) {
        let file = fs::File::create(self.at(path)).expect("created");
        if fallocate(&file, FallocateFlags::empty(), 0, length as u64).is_err() {
            fs::write(self.at(path), vec![0; length]).expect("written");
        }
    }

    pub(crate) fn folder(&self, path: impl AsRef<Path>) {
        fs::create_dir_all(self.at(path)).expect("created");
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.at(path)).expect("linked");
    }

    pub(crate) fn rename(&self, old: &str, new: &str) {
        fs::rename(self.at(old), self.at(new)).expect("renamed");
    }

    pub(crate) fn mode(&self, path: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.at(path), Permissions::from_mode(mode)).expect("set");
    }

    pub(crate) fn remove(&self, path: impl AsRef<Path>) {
        let path = self.at(path);
        if path.symlink_metadata().expect("it exists").is_dir() {
            fs::remove_dir_all(path).expect("removed");
        } else {
            fs::remove_file(path).expect("removed");
        }
    }

    pub(crate) fn read(&self, path: impl AsRef<Path>) -> String {
        let bytes = fs::read(self.at(path)).expect("readable");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.at(path).symlink_metadata().is_ok()
    }

    /// The names in one folder, sorted; none when it is missing.
    pub(crate) fn names(&self, path: &str) -> Vec<OsString> {
        let Ok(entries) = fs::read_dir(self.at(path)) else { return Vec::new() };
        let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        names.sort();
        names
    }

    /// The program in a clean environment, without arguments.
    pub(crate) fn bare(&self) -> Command {
        if self.as_nobody {
            give_away(self.path());
        }
        let mut command = Command::new(&self.program);
        self.prepare(&mut command);
        command
    }

    /// The program with the usual roots and log, and further options.
    pub(crate) fn command(&self, options: &str) -> Command {
        self.with("--source source --replica replica --log_file log", options)
    }

    /// The program with these roots and this log, and further options.
    pub(crate) fn with(&self, roots: &str, options: &str) -> Command {
        let mut command = self.bare();
        command.args(roots.split_whitespace()).args(options.split_whitespace());
        command
    }

    /// One run with the usual roots and log.
    pub(crate) fn run(&self, options: &str) -> Ended {
        start(self.command(options)).end()
    }

    /// One run that has to end well.
    pub(crate) fn sync(&self) -> Ended {
        let ended = self.run("--once");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// Starts repeated passes, an hour apart, and waits for the first one: the next comes when it is asked for.
    pub(crate) fn start(&self, options: &str) -> Running {
        self.started(self.command("--interval 1h").args(options.split_whitespace()))
    }

    /// Starts repeated passes and waits for the end of the first one.
    pub(crate) fn started(&self, command: &mut Command) -> Running {
        let running = start(command);
        running.hears("pass 1 done");
        running
    }

    /// The program in a mount namespace of its own, where the script has run before it. None, after saying so, where
    /// that is not possible.
    pub(crate) fn behind_mounts(&self, script: &str, words: &str) -> Option<Command> {
        let mut probe = Command::new("unshare");
        probe.args(["-m", "sh", "-c", "mount -t tmpfs none ."]).current_dir(self.path());
        if !probe.output().is_ok_and(|output| output.status.success()) {
            skip("it needs root and the right to mount");
            return None;
        }
        let mut command = Command::new("unshare");
        let script = format!(r#"set -e; {script}; exec "$0" "$@""#);
        command.args(["-m", "sh", "-c", &script]).arg(&self.program).args(words.split_whitespace());
        self.prepare(&mut command);
        Some(command)
    }

    fn prepare(&self, command: &mut Command) {
        for variable in ["COLUMNS", "NO_COLOR", "TERM", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(variable);
        }
        command.env("TZ", "UTC").current_dir(self.path()).stdin(Stdio::null());
        if self.as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
    }

    /// What the log or the console says, the same on every run, for a snapshot.
    pub(crate) fn settled(&self) -> Settings {
        let mut settings = Settings::clone_current();
        settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", "[time]");
        settings.add_filter(&regex_escaped(&self.path().to_string_lossy()), "[place]");
        settings.add_filter(r"\d+\.\d s\b", "[duration]");
        settings.add_filter(r"replica is \d+ s old", "replica is [age] old");
        settings.add_filter(r"[\d.]+ (B|KiB|MiB) read", "[bytes] read");
        settings
    }
}

impl Drop for Place {
    /// Opens what a test has closed, so that the folder can be removed by whoever runs the tests.
    fn drop(&mut self) {
        fn open(path: &Path) {
            let Ok(facts) = path.symlink_metadata() else { return };
            if facts.is_dir() {
                let _ = fs::set_permissions(path, Permissions::from_mode(0o700));
                let entries = fs::read_dir(path).into_iter().flatten().flatten();
                entries.for_each(|entry| open(&entry.path()));
            }
        }
        if !is_root() {
            open(self.path());
        }
    }
}

fn regex_escaped(text: &str) -> String {
    text.chars().flat_map(|c| (!c.is_alphanumeric()).then_some('\\').into_iter().chain([c])).collect()
}

/// Gives everything below a folder to the ordinary user.
fn give_away(path: &Path) {
    let (user, group) = (Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)));
    let facts = path.symlink_metadata().expect("it exists");
    if facts.uid() != NOBODY {
        chownat(CWD, path, user, group, AtFlags::SYMLINK_NOFOLLOW).expect("root may");
    }
    if facts.is_dir() {
        for entry in fs::read_dir(path).expect("root may") {
            give_away(&entry.expect("readable").path());
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Both streams.
    pub(crate) fn console(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

type Heard = Arc<Mutex<Vec<u8>>>;

fn text(heard: &Heard) -> String {
    String::from_utf8_lossy(&heard.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

/// A program that runs.
pub(crate) struct Running {
    child: Child,
    streams: [Heard; 2],
    readers: Vec<JoinHandle<()>>,
}

/// Starts a program and reads both its streams.
pub(crate) fn start(mut command: impl BorrowMut<Command>) -> Running {
    let command = command.borrow_mut();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    start_as_is(command)
}

/// Starts a program whose streams the test has set up; those that are pipes are read.
pub(crate) fn start_as_is(command: &mut Command) -> Running {
    fn listen(stream: impl Read + Send + 'static, heard: &Heard) -> JoinHandle<()> {
        let (mut stream, heard) = (stream, Arc::clone(heard));
        spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.extend_from_slice(&piece[..length]);
            }
        })
    }
    let mut child = command.spawn().expect("it starts");
    let streams = [Heard::default(), Heard::default()];
    let stdout = child.stdout.take().map(|stream| listen(stream, &streams[0]));
    let stderr = child.stderr.take().map(|stream| listen(stream, &streams[1]));
    Running { child, streams, readers: stdout.into_iter().chain(stderr).collect() }
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        text(&self.streams[0])
    }

    pub(crate) fn stderr(&self) -> String {
        text(&self.streams[1])
    }

    pub(crate) fn console(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// Waits until the console has shown some words.
    pub(crate) fn hears(&self, words: &str) {
        let start = Instant::now();
        while !self.console().contains(words) {
            let console = self.console();
            assert!(start.elapsed() < PATIENCE, "waited in vain for {words:?} in:\n{console}");
            sleep(Duration::from_millis(2));
        }
    }

    /// Waits until a copy has begun: until the program has a file open below the folder that has a temporary name, or no
    /// name at all (`O_TMPFILE`; proc(5) says "deleted" then).
    pub(crate) fn copies_into(&self, folder: &Path) {
        let open = format!("/proc/{}/fd", self.id());
        until(&format!("the copy has begun: {}", self.console()), || {
            let descriptors = fs::read_dir(&open).into_iter().flatten().flatten();
            descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok()).any(|file| {
                let name = file.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
                let is_unfinished = name.starts_with(".file-sync-") || name.ends_with(" (deleted)");
                is_unfinished && file.starts_with(folder)
            })
        });
    }

    /// The number of the last pass that has started. Its end may be read before its begin, which is in the other stream.
    pub(crate) fn last_pass(&self) -> usize {
        let console = self.console();
        let passes = console.split(" pass ").skip(1);
        passes.filter_map(|pass| pass.split(' ').next()?.parse().ok()).max().unwrap_or(0)
    }

    /// Asks for a pass now and waits until it has ended, however it does.
    pub(crate) fn pass_now(&self) {
        let number = self.last_pass() + 1;
        self.signal(Signal::USR1);
        self.pass_ends(number);
    }

    /// Waits until a pass has ended, however it does.
    pub(crate) fn pass_ends(&self, number: usize) {
        until(&format!("pass {number} has ended: {}", self.console()), || {
            let console = self.console();
            let ends = ["done", "ended early", "held", "stopped by"];
            ends.iter().any(|end| console.contains(&format!("pass {number} {end}")))
        });
    }

    /// Runs a script where the program runs that [`Place::behind_mounts`] has made: among its mounts.
    pub(crate) fn among_its_mounts(&self, place: &Place, script: &str) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.id()));
        // Its current folder is that of the program from then on.
        command.args(["sh", "-e", "-c", &format!("cd \"$0\"; {script}")]).arg(place.path());
        let output = command.output().expect("nsenter");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Stops it for a while, until it gets [`Signal::CONT`]: from here on it does nothing.
    pub(crate) fn suspend(&self) {
        self.signal(Signal::STOP);
        until("its threads stand still", || process::stands_still(self.id()));
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_some()
    }

    /// Asks the program to stop, which has to end it in order.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        until(&format!("the program has ended: {}", self.console()), || self.has_ended());
        for reader in self.readers.drain(..) {
            reader.join().expect("no panic");
        }
        let code = self.child.wait().expect("it ends").code();
        Ended { code, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only where a test failed is it still there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often some words occur.
pub(crate) fn count(text: &str, words: &str) -> usize {
    text.matches(words).count()
}

/// The lines that contain some words, without their time.
pub(crate) fn lines_with(text: &str, words: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.contains(words));
    lines.map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest).to_owned()).collect()
}

/// What a tree is to a user: every path with its kind, mode, owner, times and content. Two trees with the same
/// picture are mirrors of each other.
pub(crate) fn picture(root: &Path) -> BTreeMap<PathBuf, String> {
    look(root, &|path, facts| {
        let kind = facts.file_type();
        let content = if kind.is_symlink() {
            format!("-> {:?}", fs::read_link(path).expect("readable"))
        } else if kind.is_file() {
            let bytes = fs::read(path).expect("readable");
            if bytes.len() < 100 { format!("{bytes:?}") } else { sha256(&bytes) }
        } else if kind.is_dir() {
            "folder".to_owned()
        } else {
            format!("fifo {} rdev {}", kind.is_fifo(), facts.rdev())
        };
        let owner = (facts.uid(), facts.gid());
        format!("{:o} {owner:?} {}.{} {content}", facts.mode(), facts.mtime(), facts.mtime_nsec())
    })
}

/// Everything that any write to a tree would change; reading it changes nothing of that.
pub(crate) fn traces(root: &Path) -> BTreeMap<PathBuf, String> {
    look(root, &|_, facts| {
        let (mtime, ctime) = ((facts.mtime(), facts.mtime_nsec()), (facts.ctime(), facts.ctime_nsec()));
        format!("{} {:o} {} {} {mtime:?} {ctime:?}", facts.ino(), facts.mode(), facts.size(), facts.nlink())
    })
}

fn look(root: &Path, describe: &dyn Fn(&Path, &fs::Metadata) -> String) -> BTreeMap<PathBuf, String> {
    fn visit(
        root: &Path,
        path: &Path,
        describe: &dyn Fn(&Path, &fs::Metadata) -> String,
        out: &mut BTreeMap<PathBuf, String>,
    ) {
        let Ok(facts) = path.symlink_metadata() else { return };
        let below = path.strip_prefix(root).expect("below");
        out.insert(below.to_owned(), describe(path, &facts));
        if facts.is_dir() {
            for entry in fs::read_dir(path).expect("readable") {
                visit(root, &entry.expect("readable").path(), describe, out);
            }
        }
    }
    let mut out = BTreeMap::new();
    visit(root, root, describe, &mut out);
    out
}

/// A digest by another way than the program's own.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that do not compress, repeat or contain holes.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The bytes of a path, to find them in a log.
pub(crate) fn bytes(path: &impl AsRef<OsStr>) -> &[u8] {
    path.as_ref().as_bytes()
}
