//! Shared tools of the suites: file-sync as a process, its log as values, rsync as the judge, mounts.

use crate::support::scratch::{Scratch, is_root};
use serde_json::Value;
use std::env::var_os;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Reports a skipped suite or check, and the reason, in one line.
pub(crate) fn skip(what: &str, why: &str) {
    println!("  skipped {what}: {why}");
}

/// Reports a measurement or a finding.
pub(crate) fn tell(line: &str) {
    println!("  {line}");
}

/// Whether this process may mount, in a namespace that ends with it.
pub(crate) fn may_mount() -> bool {
    var_os(crate::MAY_MOUNT).is_some()
}

/// Whether a program is installed.
pub(crate) fn has(program: &str) -> bool {
    let paths = var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&paths).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.into_iter().any(|place: PathBuf| place.join(program).exists())
}

/// Runs a program that has to succeed; its output is shown only on failure.
pub(crate) fn sh(program: &str, arguments: &[&OsStr]) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().expect(program);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
}

/// As [`sh`], but returns a failure, with the first line of the program's output.
pub(crate) fn try_sh(program: &str, arguments: &[&OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{program}: {}", told.trim().lines().next().unwrap_or("failed")))
}

/// Whether file-sync can be run as an ordinary user, who has to be able to read the binary.
pub(crate) fn may_be_user() -> bool {
    let mut scratch = Scratch::with_source();
    scratch.as_user = true;
    let mut version = scratch.for_user(Command::new(&scratch.program));
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    is_root() && version.status().is_ok_and(|status| status.success())
}

impl Scratch {
    /// file-sync for these roots, with a JSON log and no visible output.
    pub(crate) fn file_sync(&self, arguments: &[&str]) -> Command {
        let mut command = self.for_user(Command::new(&self.program));
        self.add_arguments(&mut command, arguments);
        command
    }

    /// The same, run by another program (`strace`, a shell).
    pub(crate) fn file_sync_under(&self, wrapper: Command, arguments: &[&str]) -> Command {
        let mut wrapper = self.for_user(wrapper);
        wrapper.arg(&self.program);
        self.add_arguments(&mut wrapper, arguments);
        wrapper
    }

    fn add_arguments(&self, command: &mut Command, arguments: &[&str]) {
        command.arg("--source").arg(&self.source).arg("--replica").arg(&self.replica);
        command.arg("--log_file").arg(&self.log).arg("--quiet");
        // In a process namespace of its own the program does not see all processes.
        command.arg("--no-mapped-writes");
        command.arg("--state-dir").arg(self.state().join("file-sync"));
        if !arguments.contains(&"--log-format") {
            command.args(["--log-format", "json"]);
        }
        // Trees are emptied and overwritten here. The guard has tests of its own.
        command.args(["--max-delete", "off", "--max-change", "off"]);
        // Thirty more threads would cost more than most of these passes, above all under strace.
        if !self.chooses_workers && !arguments.iter().any(|word| ["--threads", "-j"].contains(word)) {
            command.args(["--threads", "2"]);
        }
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env_remove("NOTIFY_SOCKET");
    }

    /// The current log, line by line, without a line that is still being written.
    pub(crate) fn events(&self) -> Vec<Value> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// One pass, in a log of its own.
    pub(crate) fn once(&self, arguments: &[&str]) -> Pass {
        let arguments: Vec<&str> = ["--once"].into_iter().chain(arguments.iter().copied()).collect();
        self.run_command(self.file_sync(&arguments))
    }

    /// Makes the given number of passes in one process, one second apart, then stops it.
    pub(crate) fn passes(&self, count: usize) -> Pass {
        self.forget_log();
        let running = Running(self.file_sync(&["--interval", "1"]).spawn().expect("it starts"));
        self.wait_for("done", count);
        let code = running.stop();
        Pass { code, events: self.events() }
    }

    /// Waits until the log has this many events of a type, or ends of passes with an outcome.
    pub(crate) fn wait_for(&self, event: &str, count: usize) {
        let begin = Instant::now();
        let key = if ["done", "held"].contains(&event) { "outcome" } else { "event" };
        let field = format!("\"{key}\":\"{event}\"");
        loop {
            // Counted as text: repeated parsing of many thousand lines would slow the program down.
            let found = fs::read_to_string(&self.log).unwrap_or_default().matches(&field).count();
            if found >= count {
                return;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(600),
                "{found} events {event} of {count} after 10 minutes"
            );
            sleep(Duration::from_millis(200));
        }
    }

    fn forget_log(&self) {
        // The log may not exist.
        let _ = fs::remove_file(&self.log);
    }

    /// Runs a command that makes one pass.
    pub(crate) fn run_command(&self, mut command: Command) -> Pass {
        self.forget_log();
        let status = command.status().expect("it starts");
        Pass { code: status.code(), events: self.events() }
    }

    /// The differences that rsync finds, with checksums. Sockets are left out, as file-sync leaves them out; they are
    /// recognized by name, since rsync's `S` also means FIFOs.
    pub(crate) fn rsync(&self) -> Vec<String> {
        let mut from = self.source.clone().into_os_string();
        let mut to = self.replica.clone().into_os_string();
        from.push("/");
        to.push("/");
        let output = Command::new("rsync")
            .args(["-aHAXS", "--delete", "--checksum", "--dry-run", "--itemize-changes"])
            // xattr names under which XFS shows ACLs once more.
            .arg("--filter=-x trusted.SGI_ACL_*")
            .args([from, to])
            .output()
            .expect("rsync");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rsync: {told}");
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines
            .lines()
            .filter(|line| !(line.starts_with("cS") && line.ends_with(".socket")))
            .map(str::to_owned)
            .collect()
    }

    /// Asserts that the replica matches, by rsync's and by our own comparison.
    pub(crate) fn assert_in_step(&self, what: &str) {
        let planned = self.once(&["--dry-run"]);
        assert_eq!(planned.code, Some(0), "{what}, dry run: {:?}", planned.told());
        assert_eq!(planned.operations(), 0, "{what}, dry run: {:?}", planned.told());
        let second = self.once(&[]);
        assert_eq!(second.code, Some(0), "{what}, second pass: {:?}", second.told());
        assert_eq!(second.operations(), 0, "{what}, second pass: {:?}", second.told());
        if has("rsync") {
            let left = self.rsync();
            assert!(
                left.is_empty(),
                "{what}: rsync would do {} things: {:#?}",
                left.len(),
                left.iter().take(20)
            );
        } else {
            skip("the comparison by rsync", "it is not installed");
        }
    }
}

/// Whether an event has this type, or ends a pass with this outcome.
pub(crate) fn is_of(event: &Value, name: &str) -> bool {
    event["event"] == name || event["outcome"] == name
}

/// One run of file-sync, by its log.
pub(crate) struct Pass {
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Value>,
}

impl Pass {
    /// The events of one type, or the ends of passes with one outcome.
    pub(crate) fn of(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |event| is_of(event, name))
    }

    /// A count in the line that ends the last pass.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let ends = ["done", "planned", "held"];
        let end = self.events.iter().rev().find(|value| ends.iter().any(|end| value["outcome"] == *end));
        let end = end.unwrap_or_else(|| panic!("no pass ended, exit {:?}: {:?}", self.code, self.told()));
        end[name].as_u64().unwrap_or_else(|| panic!("no count {name} in {end}"))
    }

    /// All operations of the last pass.
    pub(crate) fn operations(&self) -> u64 {
        let verbs = ["created", "updated", "repaired", "retyped", "renamed", "linked", "metadata", "deleted"];
        verbs.into_iter().map(|verb| self.count(verb)).sum()
    }

    /// The features that the replica cannot hold, by the notices.
    pub(crate) fn not_held(&self) -> Vec<String> {
        let notices = self.of("notice").filter(|value| value["notice"] == "unsupported");
        notices.map(|value| value["feature"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The start of the log, for the message of a failure.
    pub(crate) fn told(&self) -> Vec<String> {
        let interesting = self.events.iter().filter(|value| value["event"] != "pass_started");
        interesting.take(30).map(Value::to_string).collect()
    }
}

/// A process that is killed with the suite, however the suite ends.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Sends the stop signal and waits.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless a check failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mounted filesystem; unmounted on drop.
pub(crate) struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Mounts with `mount(8)` or a FUSE program: the last argument is added and is the mount point.
    pub(crate) fn new(at: &Path, program: &str, arguments: &[&OsStr]) -> Result<Mount, String> {
        fs::create_dir_all(at).expect("created");
        let arguments: Vec<&OsStr> = arguments.iter().copied().chain([at.as_os_str()]).collect();
        try_sh(program, &arguments)?;
        Ok(Mount { at: at.to_owned() })
    }

    /// A mount of another process.
    pub(crate) fn of(at: &Path) -> Mount {
        Mount { at: at.to_owned() }
    }

    pub(crate) fn tmpfs(at: &Path, options: &str) -> Mount {
        let arguments = ["-t", "tmpfs", "-o", options, "tmpfs"].map(OsStr::new);
        Mount::new(at, "mount", &arguments).expect("a tmpfs")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A failed check may leave an open file in it; the namespace ends with the suite in any case.
        let lazy = [OsStr::new("-l"), self.at.as_os_str()];
        if try_sh("umount", &[self.at.as_os_str()]).is_err() {
            let _ = try_sh("umount", &lazy);
        }
    }
}
