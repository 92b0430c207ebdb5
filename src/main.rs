//! The program: reads the command line and the surroundings, puts the parts together, and exits.
//!
//! The order matters. The roots are checked before anything is created; the log comes after that, because it makes
//! its own folders; and signals are heard before both, because even a look at a hung network mount may take forever.
//!
//! A panic is never silent: Rust's own hook prints where it happened (with a backtrace if `RUST_BACKTRACE` is set),
//! the schedule turns one in a pass, also in a worker thread, into an error in the log and exit code 1, and what is
//! left is caught here, because Rust's own exit code for a panic, 101, is none of ours.

use clap::Error as ClapError;
use file_sync::cli::args::{Command, Compare, LogFormat, parse, usage_error};
use file_sync::cli::commands;
use file_sync::cli::config::{Config, Detail, Surroundings};
use file_sync::control::Interrupt;
use file_sync::control::Requests;
use file_sync::fs::clock::Timer;
use file_sync::fs::resolve::{exists, is_folder, resolve};
use file_sync::fs::{Errno, raise_open_file_limit};
use file_sync::log::{ConsoleOptions, Format, Log, LogOptions};
use file_sync::mirror::{Mirror, MirrorOptions};
use file_sync::model::digest::Digests;
use file_sync::model::error::{Cause, Error};
use file_sync::model::event::{Event, Fanout, Monitor};
use file_sync::run::exit::Exit;
use file_sync::run::schedule::{Parts, run};
use file_sync::run::signals::{Listener, Reactions, survive_size_limits};
use file_sync::run::systemd::Service;
use std::env::{args_os, current_dir, var_os};
use std::io::{Error as IoError, ErrorKind, IsTerminal, Write, stderr, stdout};
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;

fn main() -> ExitCode {
    let exit = catch_unwind(|| match configure() {
        Ok(Task::Mirror(config)) => start(&config),
        Ok(Task::Command(command)) => match commands::run(command, &mut stdout()) {
            Ok(()) => Exit::Done,
            // Whoever reads has had enough, as `head` has.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Done,
            Err(error) => {
                say(&format!("Cannot write the output: {error}"));
                Exit::Error
            }
        },
        Err(error) => {
            // Help and version, too, are errors to clap; a console that is closed changes nothing.
            let _ = error.print();
            if error.exit_code() == 0 { Exit::Done } else { Exit::Usage }
        }
    });
    let exit = exit.unwrap_or_else(|_| {
        say("A mistake in file-sync ended the program; the lines above say where. Please report it");
        Exit::Error
    });
    ExitCode::from(exit.code())
}

/// What the command line asks for.
enum Task {
    Mirror(Box<Config>),
    Command(Command),
}

fn configure() -> Result<Task, ClapError> {
    let cli = parse(args_os())?;
    if let Some(command) = cli.command {
        return Ok(Task::Command(command));
    }
    let color = cli.color;
    let is_set = |name: &str| var_os(name).is_some_and(|value| !value.is_empty());
    let surroundings = Surroundings {
        current_folder: current_dir().ok(),
        no_color: is_set("NO_COLOR") || var_os("TERM").is_some_and(|terminal| terminal == "dumb"),
        is_terminal: stdout().is_terminal(),
        processors: available_parallelism().map_or(1, usize::from),
        exists,
        is_folder,
        resolve,
    };
    let config = Config::new(cli, &surroundings);
    config
        .map(|config| Task::Mirror(Box::new(config)))
        .map_err(|error| usage_error(&error.to_string(), color))
}

/// Everything that is needed before the first pass.
struct Ready {
    timer: Timer,
    requests: Arc<Requests>,
    service: Service,
    mirror: Mirror,
}

/// The log, as the signal thread finds it: not yet there at first.
type LogSlot = Arc<OnceLock<Arc<Log>>>;

fn start(config: &Config) -> Exit {
    let interrupt = Arc::new(Interrupt::new());
    let slot = LogSlot::default();
    let mut listener = None;
    let prepared = prepare(config, &interrupt, &slot, &mut listener);
    if let Err(error @ Error::RootsOverlap { .. }) = &prepared
        && config.log.as_ref().is_some_and(|log| !log.parent().is_some_and(is_folder))
    {
        // The log would create its folder, perhaps inside one of the roots.
        say(&error.to_string());
        return Exit::Error;
    }
    let log = match Log::start(log_options(config), Arc::clone(&interrupt)) {
        Ok(log) => Arc::new(log),
        Err(error) => {
            say(&error.to_string());
            return Exit::Error;
        }
    };
    // The slot is empty: it is filled here only.
    let _ = slot.set(Arc::clone(&log));
    log.event(&Event::Started {
        version: env!("CARGO_PKG_VERSION"),
        source: &config.source,
        replica: &config.replica,
        interval: config.interval().map(|interval| interval.length()),
        log: config.log.as_deref(),
        dry_run: config.is_dry_run(),
    });
    // A log that lies inside a root makes its file and its folders there; they have to be there before the first pass
    // looks, or it takes them for a change by somebody else.
    log.flush_file();
    let exit = match prepared {
        Ok(ready) => mirror(config, ready, &interrupt, &log),
        Err(error) => {
            log.event(&Event::Failed(&error));
            Exit::Error
        }
    };
    // Signals are heard to the end: the log waits as long as it likes for somebody who reads a single pass's output.
    log.finish();
    if let Some(listener) = listener {
        listener.finish();
    }
    exit
}

fn prepare(
    config: &Config,
    interrupt: &Arc<Interrupt>,
    slot: &LogSlot,
    listener: &mut Option<Listener>,
) -> Result<Ready, Error> {
    raise_open_file_limit();
    survive_size_limits().map_err(|error| failed("catch SIGXFSZ", error))?;
    let timer = Timer::new().map_err(|errno| failed("make a timer", errno.into()))?;
    let requests = Arc::new(Requests::new());
    let slot = Arc::clone(slot);
    let reactions = Reactions {
        interrupt: Arc::clone(interrupt),
        requests: Arc::clone(&requests),
        waker: timer.waker(),
        reopen: Box::new(move || {
            if let Some(log) = slot.get() {
                log.request_reopen();
            }
        }),
    };
    *listener = Some(Listener::start(reactions).map_err(|error| failed("listen for signals", error))?);
    let service = Service::from_environment(Arc::clone(interrupt))
        .map_err(|error| failed("talk to the service manager", error))?;
    let options = MirrorOptions {
        source: config.source.clone(),
        replica: config.replica.clone(),
        log: config.log.clone(),
        threads: config.threads,
        processors: config.processors,
        digests: match config.compare {
            Compare::Sha256 => Digests::OfAll,
            Compare::Bytes => Digests::OfCopies,
        },
        dry_run: config.is_dry_run(),
    };
    let mirror = Mirror::new(options, Arc::clone(interrupt))?;
    Ok(Ready { timer, requests, service, mirror })
}

fn mirror(config: &Config, ready: Ready, interrupt: &Interrupt, log: &Log) -> Exit {
    let Ready { timer, requests, service, mut mirror } = ready;
    service.ready();
    let parts = Parts {
        engine: &mut mirror,
        clock: &timer,
        requests: &requests,
        interrupt,
        monitor: &Fanout::new([log as &dyn Monitor, &service]),
    };
    let exit = run(config.interval(), parts);
    service.finish();
    exit
}

fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        path: config.log.clone(),
        keep_out: config.log_keep_out.clone(),
        format: match config.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        },
        verbose: config.detail == Detail::Verbose,
        console: ConsoleOptions {
            quiet: config.detail == Detail::Quiet,
            color: config.is_colored,
            // Someone waits for the output of a single pass; a schedule waits for nobody.
            patient: config.interval().is_none(),
        },
    }
}

fn failed(action: &'static str, error: IoError) -> Error {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    Error::System { action, cause: errno.map_or(Cause::Refused("no reason was given"), Cause::System) }
}

/// A line for people where no log can take it. A console that is closed changes nothing.
fn say(message: &str) {
    let _ = writeln!(stderr(), "{message}");
}
