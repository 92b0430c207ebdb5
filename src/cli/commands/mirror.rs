//! The command without a name: mirrors one pair of roots, once or on a schedule.
//!
//! The order matters. The log is started first, and touches no file before its first line. The signal listener is next,
//! because a look-up on a hung network mount may block forever. The roots are checked before the first line of the
//! log, which creates its folders.

use crate::cli::commands::complaints::complain;
use crate::cli::commands::confirm::{Always, Person};
use crate::cli::commands::dry_run::DryRun;
use crate::cli::config::Config;
use crate::control::{Interrupt, Requests};
use crate::fs::clock::Timer;
use crate::fs::priority::lower_priority;
use crate::fs::resolve::is_folder;
use crate::fs::{Errno, raise_open_file_limit};
use crate::log::Log;
use crate::mirror::Mirror;
use crate::model::confirm::Confirm;
use crate::model::error::{Cause, Error};
use crate::model::event::{Event, Fanout, Monitor, Notice};
use crate::run::exit::Exit;
use crate::run::rpo_watch::RpoWatch;
use crate::run::schedule::{Deps, run as run_passes};
use crate::run::signals::{Listener, Reactions, survive_size_limits};
use crate::run::systemd::Service;
use std::io::{Error as IoError, Write};
use std::sync::Arc;

/// The prepared parts that the passes need.
struct Ready {
    timer: Timer,
    requests: Arc<Requests>,
    service: Service,
    mirror: Mirror,
}

/// Runs the passes. A message goes to `complaints` when there is no log for it.
pub(super) fn run(config: Config, complaints: &mut dyn Write) -> Exit {
    let Config { mirror: options, log: log_options, mode, plan, rpo, nice, yes } = config;
    // Before the first thread is started: threads inherit the priority.
    let lowered = if nice { lower_priority() } else { Ok(()) };
    let interrupt = Arc::new(Interrupt::new());
    let log_path = log_options.path.clone();
    let log = match Log::start(log_options, Arc::clone(&interrupt)) {
        Ok(log) => Arc::new(log),
        Err(error) => return refuse(complaints, &error),
    };
    let confirm: Box<dyn Confirm> = match yes {
        true => Box::new(Always),
        false => Box::new(Person { log: Arc::clone(&log), interrupt: Arc::clone(&interrupt) }),
    };
    let has_index = options.index.is_some();
    let (source, replica, dry_run) = (options.source.clone(), options.replica.clone(), options.dry_run);
    let (listener, prepared) = match listen(&interrupt, &log) {
        Ok((listener, timer, requests)) => {
            let parts = Service::from_environment(Arc::clone(&interrupt))
                .map_err(|error| failed("talk to the service manager", error))
                .and_then(|service| {
                    let mirror = Mirror::new(options, Arc::clone(&interrupt))?;
                    Ok((service, mirror.asking(confirm)))
                });
            (Some(listener), parts.map(|(service, mirror)| Ready { timer, requests, service, mirror }))
        }
        Err(error) => (None, Err(error)),
    };
    if let Err(error @ Error::RootsOverlap { .. }) = &prepared
        && log_path.as_ref().is_some_and(|log| !log.parent().is_some_and(is_folder))
    {
        // Logging would create the folder of the log file, perhaps inside one of the roots.
        return refuse(complaints, error);
    }
    log.event(&Event::Started {
        version: env!("CARGO_PKG_VERSION"),
        source: &source,
        replica: &replica,
        interval: mode.interval().map(|interval| interval.length()),
        dry_run,
        log: log_path.as_deref(),
    });
    if let Err(errno) = lowered {
        log.event(&Event::Notice(Notice::PriorityRefused { cause: Cause::System(errno) }));
    }
    // A log inside a root creates its file and folders there. They must exist before the first pass lists that root:
    // later they would count as a change by another program.
    log.flush_file();
    let exit = match prepared {
        Ok(Ready { timer, requests, service, mut mirror }) => {
            if !has_index {
                log.event(&Event::Notice(Notice::NoStateFolder));
            }
            service.ready();
            let plan = plan.map(|plan| DryRun::new(plan, (&source, &replica), Arc::clone(&log)));
            let plan = plan.as_ref().map(|plan| plan as &dyn Monitor);
            let monitor = Fanout::new([&*log as &dyn Monitor, &service].into_iter().chain(plan));
            // A single pass has no next one to be late.
            let rpo = rpo.filter(|_| mode.interval().is_some());
            // Without a descriptor for its timer nothing watches the RPO, and passes go on.
            let watch = rpo.and_then(|rpo| RpoWatch::new(rpo, mirror.replica_age()).ok());
            let deps = Deps {
                engine: &mut mirror,
                clock: &timer,
                requests: &requests,
                interrupt: &interrupt,
                monitor: &monitor,
                rpo: watch.as_ref(),
            };
            let passes = || run_passes(mode.interval(), deps);
            let exit = match &watch {
                Some(watch) => watch.during(&monitor, passes),
                None => passes(),
            };
            service.finish();
            exit
        }
        Err(error) => {
            log.event(&Event::Failed { error: &error, number: None, ends_program: true });
            Exit::Error
        }
    };
    // Signals are handled to the end: after a single pass the log waits without limit for the reader of its output.
    log.finish();
    if let Some(listener) = listener {
        listener.finish();
    }
    if dry_run && log.has_lost_output() {
        // The plan is all that a dry run is for.
        complain(
            complaints,
            "Cannot write the plan to standard output: what is there of it is not the whole plan",
        );
        return Exit::Error;
    }
    exit
}

/// Starts the signal listener.
fn listen(interrupt: &Arc<Interrupt>, log: &Arc<Log>) -> Result<(Listener, Timer, Arc<Requests>), Error> {
    raise_open_file_limit();
    survive_size_limits().map_err(|error| failed("catch SIGXFSZ", error))?;
    let timer = Timer::new().map_err(|errno| failed("make a timer", errno.into()))?;
    let requests = Arc::new(Requests::new());
    let log = Arc::clone(log);
    let reactions = Reactions {
        interrupt: Arc::clone(interrupt),
        requests: Arc::clone(&requests),
        waker: timer.waker(),
        reopen: Box::new(move || log.request_reopen()),
    };
    let listener = Listener::start(reactions).map_err(|error| failed("listen for signals", error))?;
    Ok((listener, timer, requests))
}

fn failed(action: &'static str, error: IoError) -> Error {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    Error::System { action, cause: errno.map_or(Cause::Refused("no reason was given"), Cause::System) }
}

/// Ends the program with a message outside the log.
fn refuse(complaints: &mut dyn Write, error: &Error) -> Exit {
    complain(complaints, &error.to_string());
    Exit::Error
}
