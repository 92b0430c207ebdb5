//! The log on a full disk of its own, and colours on a terminal.

use crate::Test;
use crate::support::leave_out::leave_out;
use crate::support::program::{count, start};
use crate::support::scratch::Scratch;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) const TESTS: &[Test] = tests![
    a_full_log_disk_costs_lines_until_there_is_room_again,
    colors_follow_the_option_then_no_color_then_the_terminal_and_are_never_in_the_log,
];

const ROOTS: &str = "--source source --replica replica";

fn a_full_log_disk_costs_lines_until_there_is_room_again() {
    let place = Scratch::with_source();
    place.folder("logs");
    let words = format!("{ROOTS} --log_file logs/log --interval 1h");
    let script = "mount -t tmpfs -o size=64k none logs; head -c 1M /dev/zero > logs/fill 2> fill || true";
    let mut command = place.behind_mounts(script, &words);
    let running = place.started(&mut command);
    running.hears("ERROR log Cannot write the log file");
    assert!(running.stderr().contains("No space left on device"), "{}", running.stderr());
    // The mount exists only in the mount namespace of the process; `/proc/PID/root` leads there.
    let inside = Path::new("/proc").join(running.id().to_string()).join("root");
    let logs = inside.join(place.at("logs").strip_prefix("/").expect("absolute"));
    fs::remove_file(logs.join("fill")).expect("removed");
    running.pass_now();
    running.hears("is written again");
    let log = fs::read_to_string(logs.join("log")).expect("readable");
    assert!(log.contains("pass 2 started"), "{log}");
    assert_eq!(count(&log, "lost while it could not be written"), 1, "{log}");
    let ended = running.stop();
    assert_eq!(count(&ended.stderr, "ERROR log Cannot write the log file"), 1, "{}", ended.stderr);
    assert_eq!(count(&ended.stderr, "is written again"), 1, "{}", ended.stderr);
}

fn colors_follow_the_option_then_no_color_then_the_terminal_and_are_never_in_the_log() {
    if Command::new("script").arg("--version").output().is_err() {
        leave_out("it needs script(1) for a terminal");
    }
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let cases = [
        (false, "", &[][..], false),
        (false, "--color always", &[], true),
        (false, "--color always", &[("NO_COLOR", "1")], true),
        (false, "--color never", &[], false),
        (true, "", &[], true),
        (true, "--color auto", &[], true),
        (true, "", &[("NO_COLOR", "1")], false),
        (true, "", &[("NO_COLOR", "")], true),
        (true, "", &[("TERM", "dumb")], false),
        (true, "--color always", &[("NO_COLOR", "1")], true),
        (true, "--color never", &[], false),
        (true, "--log-format json", &[], false),
        (true, "--log-format json --color always", &[], false),
    ];
    for (on_terminal, options, variables, expected) in cases {
        place.write("log", "");
        let mut command = place.command(&format!("--once {options}"));
        if on_terminal {
            let mut words = vec![env!("CARGO_BIN_EXE_file-sync").to_owned()];
            words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
            command = Command::new("script");
            command
                .args(["-qec", &words.join(" "), "/dev/null"])
                .current_dir(place.path())
                .stdin(Stdio::null());
            command.env_remove("NO_COLOR").env("TERM", "xterm");
        }
        let ended = start(command.envs(variables.iter().copied())).end();
        let case = format!("{on_terminal} {options} {variables:?}: {ended:?}");
        assert!(ended.stdout.contains("stopped"), "{case}");
        assert_eq!(ended.stdout.contains("\u{1b}["), expected, "{case}");
        assert!(!place.log().contains('\u{1b}'), "{case}");
    }
}
