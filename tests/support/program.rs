//! The real program, started on a [`Scratch`] by the user of the tests or as an ordinary user; its output and its exit.

use super::leave_out::leave_out;
use super::process;
use super::scratch::{NOBODY, Scratch, is_root};
use insta::Settings;
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use rustix::process::{Pid, Signal, kill_process};
use std::borrow::BorrowMut;
use std::env::temp_dir;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// The longest wait of any test; only a failing one waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition holds.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(2));
    }
}

impl Scratch {
    /// As [`Scratch::with_source`], but the program runs as an ordinary user, also when root runs the tests.
    pub(crate) fn of_ordinary_user() -> Scratch {
        if !is_root() {
            return Scratch::with_source();
        }
        let parents = [temp_dir(), "/tmp".into(), "/var/tmp".into()];
        let reachable = parents.iter().find_map(|parent| {
            let mut scratch = Scratch::below(parent);
            // Other users may have no access to cargo's target folder.
            let program = scratch.at("file-sync");
            fs::copy(&scratch.program, &program).expect("copied");
            fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("set");
            scratch.program = program;
            scratch.as_user = true;
            scratch.bare().arg("--version").output().is_ok().then_some(scratch)
        });
        reachable.expect("a folder for temporary files that an ordinary user can reach; set TMPDIR to one")
    }

    /// The program in a clean environment, without arguments.
    pub(crate) fn bare(&self) -> Command {
        if self.as_user {
            give_away(self.path());
        }
        let mut command = self.for_user(Command::new(&self.program));
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

    /// The program with the usual roots and log, started by a shell that has set a limit (`ulimit`).
    pub(crate) fn under_limit(&self, limit: &str, options: &str) -> Command {
        let program = self.command(options);
        let mut command = Command::new("sh");
        command.args(["-c", &format!(r#"ulimit {limit} && exec "$0" "$@""#)]);
        command.arg(program.get_program()).args(program.get_args());
        self.prepare(&mut command);
        command
    }

    /// One run with the usual roots and log.
    pub(crate) fn run(&self, options: &str) -> Ended {
        start(self.command(options)).end()
    }

    /// One run that has to succeed.
    pub(crate) fn sync(&self) -> Ended {
        let ended = self.run("--once");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// Starts repeated passes, an hour apart, and waits for the first one. The next starts on request.
    pub(crate) fn start(&self, options: &str) -> Running {
        self.started(self.command("--interval 1h").args(options.split_whitespace()))
    }

    /// Starts repeated passes and waits for the end of the first one.
    pub(crate) fn started(&self, command: &mut Command) -> Running {
        let running = start(command);
        running.hears("pass 1 done");
        running
    }

    /// The program in a mount namespace of its own, in which the script has run first. If that is not possible, the
    /// test is left out.
    pub(crate) fn behind_mounts(&self, script: &str, words: &str) -> Command {
        if !may_mount() {
            leave_out("it needs root and the right to mount");
        }
        let mut command = Command::new("unshare");
        let script = format!(r#"set -e; {script}; exec "$0" "$@""#);
        command.args(["-m", "sh", "-c", &script]).arg(&self.program).args(words.split_whitespace());
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        for variable in [
            "COLUMNS",
            "NO_COLOR",
            "TERM",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
            "STATE_DIRECTORY",
        ] {
            command.env_remove(variable);
        }
        command.env("XDG_STATE_HOME", self.state());
        command.env("TZ", "UTC").current_dir(self.path()).stdin(Stdio::null());
    }

    /// A command, run as an ordinary user if the program is. Without supplementary groups this needs no further
    /// program; std drops those of root.
    pub(crate) fn for_user(&self, mut command: Command) -> Command {
        match (self.as_user, self.groups) {
            (false, _) => command,
            (true, []) => {
                command.uid(NOBODY).gid(NOBODY);
                command
            }
            (true, [own, ..]) => {
                let all: Vec<String> = self.groups.iter().map(u32::to_string).collect();
                let mut setpriv = Command::new("setpriv");
                setpriv.args([format!("--reuid={NOBODY}"), format!("--regid={own}")]);
                setpriv.arg(format!("--groups={}", all.join(",")));
                setpriv.arg(command.get_program()).args(command.get_args());
                setpriv
            }
        }
    }

    /// Snapshot settings that replace the varying parts of the log and the console.
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

/// Whether this process may mount, in a namespace that ends with it.
pub(crate) fn may_mount() -> bool {
    static MAY_MOUNT: LazyLock<bool> = LazyLock::new(|| {
        let mut probe = Command::new("unshare");
        probe.args(["-m", "sh", "-c", "mount -t tmpfs none ."]).current_dir(temp_dir());
        probe.output().is_ok_and(|output| output.status.success())
    });
    *MAY_MOUNT
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

/// The result of a run.
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

/// A running program.
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

/// Starts a program whose streams the test has set up. Streams that are pipes are read.
pub(crate) fn start_as_is(command: &mut Command) -> Running {
    fn listen(stream: impl Read + Send + 'static, heard: &Heard) -> JoinHandle<()> {
        let (mut stream, heard) = (stream, Arc::clone(heard));
        spawn(move || {
            let mut piece = [0; 1 << 16];
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

    /// Waits until the console has shown these words.
    pub(crate) fn hears(&self, words: &str) {
        self.hears_one_of(&[words.to_owned()]);
    }

    /// Waits until one of the streams has shown one of these. Each byte is searched about once: the console of a pass
    /// over thousands of files is long, and repeated full searches would take the processor from the program.
    fn hears_one_of(&self, words: &[String]) {
        let start = Instant::now();
        let longest = words.iter().map(String::len).max().unwrap_or(0);
        let mut searched = [0_usize; 2];
        loop {
            for (stream, searched) in self.streams.iter().zip(&mut searched) {
                let heard = stream.lock().unwrap_or_else(PoisonError::into_inner);
                let new = String::from_utf8_lossy(&heard[searched.saturating_sub(longest)..]);
                if words.iter().any(|words| new.contains(words.as_str())) {
                    return;
                }
                *searched = heard.len();
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain for {words:?} in:\n{}", self.console());
            sleep(Duration::from_millis(2));
        }
    }

    /// Waits until a copy has begun: until the program has a file open below the folder under a temporary name, or
    /// without a name (`O_TMPFILE`; proc(5) shows "deleted").
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

    /// The number of the last pass that has started. Its end may be read before its start, which is in the other
    /// stream.
    pub(crate) fn last_pass(&self) -> usize {
        let console = self.console();
        let passes = console.split(" pass ").skip(1);
        passes.filter_map(|pass| pass.split(' ').next()?.parse().ok()).max().unwrap_or(0)
    }

    /// Requests a pass and waits for its end, with any outcome.
    pub(crate) fn pass_now(&self) {
        let number = self.last_pass() + 1;
        self.signal(Signal::USR1);
        self.pass_ends(number);
    }

    /// Waits for the end of a pass, with any outcome.
    pub(crate) fn pass_ends(&self, number: usize) {
        let ends = ["done", "ended early", "held", "stopped by"];
        self.hears_one_of(&ends.map(|end| format!("pass {number} {end}")));
    }

    /// Runs a script in the mount namespace of a program that [`Scratch::behind_mounts`] has started.
    pub(crate) fn among_its_mounts(&self, place: &Scratch, script: &str) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.id()));
        // From here on its current folder is that of the program.
        command.args(["sh", "-e", "-c", &format!("cd \"$0\"; {script}")]).arg(place.path());
        let output = command.output().expect("nsenter");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Stops the program until it gets [`Signal::CONT`]: from here on it does nothing.
    pub(crate) fn suspend(&self) {
        self.signal(Signal::STOP);
        until("its threads stand still", || process::stands_still(self.id()));
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_some()
    }

    /// Sends SIGTERM, which has to end the program in order.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// Sends a signal that has to end the program. Also returns the time until its end.
    pub(crate) fn stop_with(mut self, signal: Signal) -> (Ended, Duration) {
        let begin = Instant::now();
        self.signal(signal);
        until("the program has ended", || self.has_ended());
        let time = begin.elapsed();
        (self.end(), time)
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
        // The program is still alive only after a failed test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of occurrences of these words.
pub(crate) fn count(text: &str, words: &str) -> usize {
    text.matches(words).count()
}

/// The lines that contain these words, without their time.
pub(crate) fn lines_with(text: &str, words: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.contains(words));
    lines.map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest).to_owned()).collect()
}
