//! A terminal of 80 columns: commands run in it one after the other, and its screen is what a person would see.

use crate::screen::Screen;
use crate::settle::Settled;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::num::NonZeroU16;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const COLUMNS: u16 = 80;
/// More than a picture needs: the height of the picture is that of the content.
const ROWS: u16 = 60;

/// The longest time that a command may take; only one that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Terminal {
    emulator: vt100::Parser,
    settled: Settled,
}

impl Terminal {
    pub(crate) fn new(settled: Settled) -> Terminal {
        let [rows, columns] = [ROWS, COLUMNS].map(|size| NonZeroU16::new(size).expect("not zero"));
        Terminal { emulator: vt100::Parser::new(rows, columns, 0), settled }
    }

    /// Types a command after a prompt, runs it in the terminal, and waits for its end. `command` has the environment;
    /// returns the exit code.
    pub(crate) fn run(&mut self, command: Command, line: &str) -> Option<i32> {
        self.emulator.process(format!("\x1b[2m$\x1b[0m \x1b[1m{line}\x1b[0m\r\n").as_bytes());
        let (mut child, terminal) = started(command, line);
        let output = all_of(&terminal, &mut child, line);
        // All at once: a time, say, may have come in two pieces.
        self.emulator.process(self.settled.text(&String::from_utf8_lossy(&output)).as_bytes());
        child.wait().expect("its end").code()
    }

    pub(crate) fn screen(&self) -> Screen {
        let screen = Screen::of(self.emulator.screen());
        assert!(
            screen.height() < usize::from(ROWS),
            "more than {ROWS} lines, so the first ones have scrolled away"
        );
        screen
    }
}

/// Starts a shell with this line in a new session, whose terminal this is.
fn started(mut command: Command, line: &str) -> (Child, OwnedFd) {
    let terminal =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("a terminal");
    let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).expect("a size");
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let inside = ioctl_tiocgptpeer(&terminal, flags).expect("its other side");
    let stream = || Stdio::from(inside.try_clone().expect("one more descriptor"));
    command.args(["--ctty", "sh", "-c", line]).stdin(stream()).stdout(stream()).stderr(stream());
    (command.spawn().expect("setsid, a shell"), terminal)
}

/// Everything that is written to a terminal, until no process has it open any more.
fn all_of(terminal: &OwnedFd, child: &mut Child, line: &str) -> Vec<u8> {
    let (begin, mut output) = (Instant::now(), Vec::new());
    let mut piece = [0; 1 << 16];
    loop {
        let mut ready = [PollFd::from_borrowed_fd(terminal.as_fd(), PollFlags::IN)];
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        if poll(&mut ready, Some(&second)).expect("polled") == 0 {
            if begin.elapsed() > PATIENCE {
                // The namespaces end with this process, and all others in them.
                panic!("{line} has not ended: {}, {:?}", String::from_utf8_lossy(&output), child.try_wait());
            }
            continue;
        }
        match rustix::io::read(terminal, &mut piece) {
            Ok(length) => output.extend_from_slice(&piece[..length]),
            // Nobody has the other side open.
            Err(rustix::io::Errno::IO) => return output,
            Err(error) => panic!("the terminal of {line} cannot be read: {error}"),
        }
    }
}
