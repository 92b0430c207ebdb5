//! Terminals that close while the program runs, and SIGHUP while the terminal stays open.
//!
//! The terminal is a pseudo-terminal of `script(1)`. Killing `script` closes its side, as closing a window does.

use crate::Test;
use crate::support::leave_out::leave_out;
use crate::support::program::{Running, count, start, until};
use crate::support::scratch::Scratch;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::process::Command;
use std::thread::{panicking, sleep};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = tests![
    a_run_in_the_foreground_of_a_terminal_ends_when_that_is_closed,
    a_single_pass_whose_terminal_is_closed_was_not_done,
    sighup_opens_the_log_anew_while_the_terminal_is_there,
    a_shell_that_passes_sighup_on_before_it_ends_takes_the_program_along,
    what_was_to_outlive_its_terminal_does_and_opens_its_log_anew,
    what_a_shell_has_let_go_does_not_take_a_later_sighup_for_that_of_its_terminal,
];

/// The program, started by a shell in a terminal.
struct Started {
    place: Scratch,
    terminal: Running,
    program: Pid,
}

impl Started {
    /// Runs a shell script in a terminal and waits until the program has made a pass. `$RUN` in the script runs the
    /// program with its roots and log.
    fn by(script: &str) -> Started {
        let place = Scratch::with_source();
        place.write("source/file", "content");
        Started::in_place(place, script, "pass 1 done")
    }

    fn in_place(place: Scratch, script: &str, words: &str) -> Started {
        if Command::new("script").arg("--version").output().is_err() {
            leave_out("script(1) is not installed");
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
        if ignored.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & 1 != 0) {
            leave_out("SIGHUP is ignored here (nohup)");
        }
        let program = place.bare();
        let run = format!(
            "{} --source source --replica replica --log_file log",
            program.get_program().to_string_lossy()
        );
        let mut command = Command::new("script");
        command.args(["-qec", &format!("RUN='{run}'; {script}"), "/dev/null"]);
        let terminal = start(command.env("SHELL", "/bin/sh").current_dir(place.path()));
        until(&format!("it runs: {}", terminal.console()), || {
            place.has("log")
                && place.log().contains(words)
                && place.has("pid")
                && !place.read("pid").is_empty()
        });
        let program = place.read("pid").trim().parse().ok().and_then(Pid::from_raw).expect("a process");
        Started { place, terminal, program }
    }

    fn close(&self) {
        self.terminal.signal(Signal::KILL);
    }

    fn hang_up(&self) {
        kill_process(self.program, Signal::HUP).expect("it runs");
    }

    fn runs(&self) -> bool {
        test_kill_process(self.program).is_ok()
    }

    fn ends(&self) {
        until(&format!("the program has ended: {}", self.place.log()), || !self.runs());
    }

    /// Rotates the log, waits until it is opened anew, and waits out the time in which the program would have ended.
    fn rotates(&self) {
        self.place.rename("log", "log.1");
        self.hang_up();
        sleep(Duration::from_millis(2_500));
        assert!(self.runs(), "it was to open its log anew: {}", self.place.read("log.1"));
        kill_process(self.program, Signal::USR1).expect("it runs");
        until("the log is written anew", || self.place.has("log") && self.place.log().contains(" done: "));
        kill_process(self.program, Signal::TERM).expect("it runs");
        self.ends();
        assert_eq!(count(&self.place.log(), "stopping on SIGTERM"), 1, "{}", self.place.log());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // The program is still alive only after a failed test. Only then is its process id certain to be its own.
        if panicking() && self.runs() {
            let _ = kill_process(self.program, Signal::KILL);
        }
    }
}

/// Runs the program after writing its process id to a file.
const RUN: &str = r#"sh -c 'echo $$ >pid; exec "$@"' x $RUN"#;

/// Runs the program below a shell that passes SIGHUP on, as an interactive shell does, and writes the exit code to a
/// file.
fn below_shell(options: &str) -> String {
    format!(
        "trap 'kill -HUP $(cat pid)' HUP; {RUN} {options} & wait $!; c=$?; \
         [ $c -gt 128 ] && {{ wait $!; c=$?; }}; echo $c >code"
    )
}

fn code(started: &Started) -> String {
    until("the shell says how it ended", || {
        started.place.has("code") && !started.place.read("code").is_empty()
    });
    started.place.read("code").trim().to_owned()
}

fn a_run_in_the_foreground_of_a_terminal_ends_when_that_is_closed() {
    let scripts = [
        // In place of the shell; in the foreground of the shell, where the kernel sends SIGHUP when the shell has
        // ended; below a shell that passes the signal on.
        format!("exec {RUN} --interval 1h"),
        format!("{RUN} --interval 1h; true"),
        below_shell("--interval 1h"),
        // The controlling terminal counts, also when the output is redirected.
        format!("{RUN} --interval 1h >out 2>&1; true"),
    ];
    for script in scripts {
        let started = Started::by(&script);
        started.close();
        started.ends();
        let log = started.place.log();
        assert!(log.contains("file-sync stopping on SIGHUP, because its terminal was closed\n"), "{log}");
        assert!(log.ends_with("file-sync stopped\n"), "{log}");
        if script.contains("code") {
            assert_eq!(code(&started), "0", "{script}");
        }
    }
}

fn a_single_pass_whose_terminal_is_closed_was_not_done() {
    let place = Scratch::with_source();
    place.write_zeros("source/large", 256 << 20);
    let started = Started::in_place(place, &below_shell("--once"), "pass 1 started");
    started.close();
    started.ends();
    let log = started.place.log();
    assert!(log.contains("pass 1 stopped by SIGHUP"), "{log}");
    assert_eq!(code(&started), "20");
    assert!(started.place.names("replica").is_empty());
}

fn sighup_opens_the_log_anew_while_the_terminal_is_there() {
    let started = Started::by(&format!("exec {RUN} --interval 1h"));
    started.rotates();
}

fn a_shell_that_passes_sighup_on_before_it_ends_takes_the_program_along() {
    // The signal comes while the terminal exists, which closes a moment later. The program is a job of its own, so no
    // other process sends it SIGHUP.
    let script = format!(
        "set -m; echo $$ >shell; trap 'kill -HUP $(cat pid); sleep 0.5; exit' USR1; {RUN} --interval 1h & wait"
    );
    let started = Started::by(&script);
    let shell = started.place.read("shell").trim().parse().ok().and_then(Pid::from_raw).expect("a process");
    kill_process(shell, Signal::USR1).expect("it runs");
    started.ends();
    assert!(started.place.log().contains("stopping on SIGHUP, because its terminal was closed"));
}

fn what_was_to_outlive_its_terminal_does_and_opens_its_log_anew() {
    for before in ["setsid", "nohup"] {
        let started = Started::by(&format!("{before} {RUN} --interval 1h & wait"));
        started.close();
        sleep(Duration::from_secs(1));
        assert!(started.runs(), "{before}: {}", started.place.log());
        started.rotates();
    }
}

fn what_a_shell_has_let_go_does_not_take_a_later_sighup_for_that_of_its_terminal() {
    // A background job of its own: neither the kernel nor this shell sends it SIGHUP.
    let started = Started::by(&format!("set -m; {RUN} --interval 1h & sleep 1000"));
    started.close();
    sleep(Duration::from_secs(8));
    assert!(started.runs(), "{}", started.place.log());
    started.rotates();
}
