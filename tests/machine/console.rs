//! What a person sees: short lines, a live line, sums, a table. The terminal is a pseudo-terminal of `script(1)`, and what
//! it was sent is interpreted by a terminal emulator.

use crate::Test;
use crate::support::leave_out::leave_out;
use crate::support::program::{Running, count, start, until};
use crate::support::scratch::Scratch;
use crate::support::screen::Screen;
use rustix::process::Signal;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = tests![
    a_long_pass_shows_a_bar_below_its_lines_and_leaves_a_table,
    a_window_that_is_made_narrower_gets_narrower_lines,
    a_signal_leaves_no_live_line,
    more_lines_than_a_person_reads_are_summed_up_and_the_log_has_each,
    a_terminal_that_cannot_move_its_cursor_gets_lines_alone,
    what_is_in_the_background_draws_nothing_but_lines,
    where_a_program_reads_the_lines_nothing_is_drawn,
    a_file_of_lines_leaves_the_terminal_to_the_live_line,
    a_quiet_console_shows_passes_and_no_bar,
    the_wait_for_the_next_pass_is_counted_down,
    a_stopped_terminal_does_not_stop_the_passes,
    a_name_cannot_colour_a_terminal,
    the_command_that_lets_a_held_plan_through_can_be_copied,
];

/// The sequence with which the live line is erased.
const ERASE: &str = "\u{1b}[J";

/// Runs a shell script in a terminal of this width. `$RUN` runs the program with its roots and log.
fn terminal(place: &Scratch, columns: u16, script: &str) -> Running {
    if Command::new("script").arg("--version").output().is_err() {
        leave_out("script(1) is not installed");
    }
    let program = env!("CARGO_BIN_EXE_file-sync");
    let prepared = place.bare();
    let mut command = Command::new("script");
    let run = format!("{program} --source source --replica replica --log_file log");
    command.args([
        "-qec",
        &format!("stty cols {columns} rows 30; PROGRAM={program}; RUN='{run}'; {script}"),
        "/dev/null",
    ]);
    for (name, value) in prepared.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("SHELL", "/bin/sh").env("TERM", "xterm").env("NO_COLOR", "1");
    start(command.current_dir(place.path()).stdin(Stdio::null()))
}

/// A source with some files and a large one, of which one pass takes about three seconds with `--bwlimit 2MiB`.
fn slow_source() -> Scratch {
    let place = Scratch::with_source();
    place.write("source/folder/a rather long name of a file that is large.iso", vec![7; 6 << 20]);
    for number in 0..5 {
        place.write(format!("source/folder/below/{number}"), "content");
    }
    place
}

fn a_long_pass_shows_a_bar_below_its_lines_and_leaves_a_table() {
    for columns in [80, 40] {
        let place = slow_source();
        let ended = terminal(&place, columns, "$RUN --once --bwlimit 2MiB").end();
        let sent = ended.stdout;
        let screen = Screen::of(&sent, columns);
        assert!(screen.wrapped().is_empty(), "{columns}: {:?}", screen.wrapped());
        assert!(sent.contains(" of 6 MiB") && sent.contains(" MiB/s"), "a bar: {sent:?}");
        assert!(!sent.contains("sha256") && !sent.contains("INFO"), "{sent}");
        let shown = screen.to_string();
        let table = "         created       8  6 MiB\n         metadata set  1\n         unchanged     0\n";
        assert!(shown.contains(table), "{shown}");
        assert!(shown.ends_with(" file-sync stopped\n") && !shown.contains('%'), "{shown}");
        let log = place.log();
        assert_eq!(count(&log, " sha256="), 6, "{log}");
        assert_eq!(count(&shown, " create "), 8, "{shown}");
        assert!(log.contains(" INFO  pass 1 done: 8 created, "), "{log}");
    }
}

fn a_window_that_is_made_narrower_gets_narrower_lines() {
    let place = slow_source();
    let script = "(sleep 1.6; stty -F /dev/tty cols 40; printf '\\r@@') & $RUN --once --bwlimit 2MiB";
    let sent = terminal(&place, 80, script).end().stdout;
    let (before, after) = sent.split_once("@@").expect("it was resized");
    // The marker may be in the middle of a line that is drawn.
    let (rest, after) = after.split_once('\r').expect("it goes on");
    let [before, screen] = [Screen::of(&format!("{before}{rest}"), 80), Screen::of(after, 40)];
    assert_eq!([before.wrapped(), screen.wrapped()], [[""; 0]; 2]);
    assert!(after.contains(" %") && after.contains(ERASE), "it was drawn: {after:?}");
    assert!(!screen.to_string().contains('%'), "{screen}");
}

fn a_signal_leaves_no_live_line() {
    let place = slow_source();
    let running = terminal(&place, 80, "sh -c 'echo $$ >pid; exec \"$@\"' x $RUN --once --bwlimit 500K");
    running.hears(" of 6 MiB");
    let program = place.read("pid").trim().parse().expect("a number");
    let program = rustix::process::Pid::from_raw(program).expect("a process");
    rustix::process::kill_process(program, Signal::INT).expect("it runs");
    let screen = Screen::of(&running.end().stdout, 80);
    let shown = screen.to_string();
    assert!(shown.contains(" pass 1 stopped by SIGINT after ") && !shown.contains('%'), "{shown}");
    assert!(shown.ends_with(" file-sync stopped\n"), "{shown}");
}

fn more_lines_than_a_person_reads_are_summed_up_and_the_log_has_each() {
    let place = Scratch::with_source();
    for number in 0..2000 {
        place.write(format!("source/photos/{number}"), "content");
    }
    place.write("source/refused/x", "content");
    let sent = terminal(&place, 60, "$RUN --once").end().stdout;
    let screen = Screen::of(&sent, 60);
    assert!(screen.wrapped().is_empty(), "{:?}", screen.wrapped());
    let shown = screen.to_string();
    let summed: usize = shown
        .lines()
        .filter_map(|line| line.split_once(" … ")?.1.split_once(" created"))
        .map(|(number, _)| number.replace(',', "").parse::<usize>().expect("a number"))
        .sum();
    let lines = count(&shown, " create ");
    assert!(summed > 0 && (50..500).contains(&lines), "{shown}");
    assert_eq!(summed + lines, 2003, "none is lost");
    assert!(shown.contains(" created in photos/, "), "{shown}");
    assert_eq!(count(&place.log(), " create "), 2003);
}

fn a_terminal_that_cannot_move_its_cursor_gets_lines_alone() {
    let place = slow_source();
    let sent = terminal(&place, 40, "TERM=dumb $RUN --once --bwlimit 2MiB").end().stdout;
    assert!(!sent.contains('\u{1b}') && !sent.replace("\r\n", "\n").contains('\r'), "{sent:?}");
    assert!(sent.contains(" pass 1 started") && Screen::of(&sent, 40).wrapped().is_empty(), "{sent}");
}

fn what_is_in_the_background_draws_nothing_but_lines() {
    let place = slow_source();
    let sent = terminal(&place, 80, "set -m; $RUN --once --bwlimit 2MiB & wait").end().stdout;
    assert!(!sent.contains(ERASE) && sent.contains(" pass 1 done in "), "{sent:?}");
}

fn where_a_program_reads_the_lines_nothing_is_drawn() {
    let place = slow_source();
    let sent = terminal(&place, 80, "$RUN --once --bwlimit 2MiB | cat").end().stdout;
    assert!(!sent.contains(ERASE) && sent.contains(" INFO  pass 1 done: "), "{sent:?}");
}

fn a_file_of_lines_leaves_the_terminal_to_the_live_line() {
    let place = slow_source();
    let sent = terminal(&place, 80, "$RUN --once --bwlimit 2MiB >lines").end().stdout;
    assert!(sent.contains(" of 6 MiB"), "{sent:?}");
    assert_eq!(Screen::of(&sent, 80).to_string(), "");
    let lines = place.read("lines");
    assert!(!lines.contains('\u{1b}') && lines == place.log(), "{lines}");
}

fn a_quiet_console_shows_passes_and_no_bar() {
    let place = slow_source();
    let running = terminal(&place, 80, "$RUN --interval 1h --bwlimit 2MiB -q");
    running.hears("unchanged ");
    sleep(Duration::from_millis(1200));
    let sent = running.stdout();
    assert!(!sent.contains('\u{1b}') && !sent.contains(" create "), "{sent:?}");
    assert!(sent.contains(" pass 1 done in "), "{sent}");
    running.signal(Signal::TERM);
}

fn the_wait_for_the_next_pass_is_counted_down() {
    let place = Scratch::with_source();
    place.write("source/file", "content");
    let start = Instant::now();
    let running = terminal(&place, 80, "exec $RUN --interval 5");
    // A machine with much to do may skip a second.
    until("it counts down", || {
        let sent = running.stdout();
        (1..=5).filter(|left| sent.contains(&format!("next pass in {left} s, replica "))).count() >= 3
    });
    running.hears(" pass 2 done: 1 unchanged (7 B); ");
    let sent = running.stdout();
    let drawn = count(&sent, "next pass in ") as u64;
    assert!((3..=start.elapsed().as_secs() + 4).contains(&drawn), "once a second: {drawn}, {sent:?}");
    assert!(Screen::of(&sent, 80).wrapped().is_empty());
    running.signal(Signal::TERM);
}

fn a_stopped_terminal_does_not_stop_the_passes() {
    let place = slow_source();
    // tcflow(3) as Ctrl-S does it, by a process that waits meanwhile.
    let perl = "use POSIX; open(T, \"+<\", \"/dev/tty\"); POSIX::tcflow(fileno(T), TCOOFF); sleep 6; \
                POSIX::tcflow(fileno(T), TCOON)";
    if Command::new("perl").args(["-MPOSIX", "-e", "1"]).output().is_ok_and(|perl| perl.status.success()) {
        let script =
            format!("(sleep 1.5; perl -e '{perl}') & timeout --foreground -s INT 9 $RUN --interval 2");
        let ended = terminal(&place, 80, &script).end();
        let log = place.log();
        assert!(log.contains("pass 4 done"), "{log}");
        let screen = Screen::of(&ended.stdout, 80);
        assert!(screen.to_string().ends_with(" file-sync stopped\n"), "{screen}");
    } else {
        leave_out("it needs perl with POSIX");
    }
}

fn a_name_cannot_colour_a_terminal() {
    let place = Scratch::with_source();
    place.write("source/\u{1b}[31mred\n12:00:00 pass 9 done", "content");
    place.write(format!("source/{}", "\u{65e5}\u{672c}".repeat(20)), "wide");
    let sent = terminal(&place, 40, "$RUN --once").end().stdout;
    let screen = Screen::of(&sent, 40);
    assert!(!sent.contains('\u{1b}') && screen.wrapped().is_empty(), "{sent:?}");
    assert!(!screen.to_string().contains("\n12:00:00"), "{screen}");
    assert!(place.log().contains("\\x1b[31mred\\n12:00:00 pass 9 done"));
}

fn the_command_that_lets_a_held_plan_through_can_be_copied() {
    let place = Scratch::with_source();
    for number in 0..200 {
        place.write(format!("source/{number}"), "content");
    }
    assert_eq!(place.run("--once").code, Some(0));
    (0..150).for_each(|number| place.remove(format!("source/{number}")));
    let sent = terminal(&place, 60, "$RUN --once").end().stdout;
    let shown = Screen::of(&sent, 1000).to_string();
    let command = shown.split_once("if that is meant:\n").expect("it is held").1;
    let command = command.split_once("file-sync stopped").expect("the end").0;
    let command = &command[..command.rfind('\n').expect("a line")];
    let script = format!(
        "PATH={}:$PATH; {command}",
        std::path::Path::new(env!("CARGO_BIN_EXE_file-sync")).parent().expect("a folder").display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(place.path());
    let approved = shell.output().expect("it starts");
    assert!(approved.status.success(), "{command}\n{approved:?}");
    assert_eq!(place.run("--once").code, Some(0));
}
