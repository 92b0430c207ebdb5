//! The schedule of passes, and the consequences of their outcomes.
//!
//! [`run`] is the loop, with the start times of `StartTimes`. It uses engine, clock and signals only through small
//! traits and flags, so the tests need no real time.

use crate::control::Interrupt;
use crate::control::Requests;
use crate::fs::clock::{BootTime, Timer};
use crate::fs::is_passing;
use crate::mirror::Mirror;
use crate::model::counters::Counter;
use crate::model::error::{Cause, Error};
use crate::model::event::{Event, Monitor, Wait};
use crate::model::interval::Interval;
use crate::model::report::{Hold, Outcome, PassReport};
use crate::run::exit::Exit;
use crate::run::rpo_watch::RpoWatch;
use crate::run::start_times::StartTimes;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A runner of passes.
pub trait Engine {
    /// Runs one pass and returns its report; the schedule fills in the age of the replica.
    ///
    /// # Errors
    /// An error that ends a pass before its report.
    fn pass(&mut self, number: u64, monitor: &dyn Monitor) -> Result<PassReport, Error>;

    /// Runs one more pass right after one that has kept entries back.
    ///
    /// # Errors
    /// As [`Engine::pass`].
    fn second_look(&mut self, number: u64, monitor: &dyn Monitor) -> Result<PassReport, Error> {
        self.pass(number, monitor)
    }
}

impl Engine for Mirror {
    fn pass(&mut self, number: u64, monitor: &dyn Monitor) -> Result<PassReport, Error> {
        Mirror::pass(self, number, monitor)
    }

    fn second_look(&mut self, number: u64, monitor: &dyn Monitor) -> Result<PassReport, Error> {
        Mirror::second_look(self, number, monitor)
    }
}

/// The time, and a way to wait for it.
pub trait Clock {
    /// Now.
    fn now(&self) -> BootTime;

    /// Waits until the deadline. May return earlier.
    ///
    /// # Errors
    /// The system call for the wait failed.
    fn wait_until(&self, deadline: BootTime) -> Result<(), Error>;
}

impl Clock for Timer {
    fn now(&self) -> BootTime {
        BootTime::now()
    }

    fn wait_until(&self, deadline: BootTime) -> Result<(), Error> {
        Timer::wait_until(self, deadline)
            .map_err(|errno| Error::System { action: "wait for the next pass", cause: Cause::System(errno) })
    }
}

/// The dependencies of the schedule.
pub struct Deps<'a> {
    /// Runs the passes.
    pub engine: &'a mut dyn Engine,
    /// Gives the time and waits.
    pub clock: &'a dyn Clock,
    /// The requests of signals.
    pub requests: &'a Requests,
    /// The stop flag.
    pub interrupt: &'a Interrupt,
    /// Receives all events.
    pub monitor: &'a dyn Monitor,
    /// Judges the age of the replica, where passes repeat.
    pub rpo: Option<&'a RpoWatch>,
}

/// Runs passes: one without an interval, else one after the other until a signal or an error ends them.
pub fn run(interval: Option<Interval>, deps: Deps<'_>) -> Exit {
    let mut runner = Runner { deps, number: 0, in_pass: None, last_done: None, is_stopping: false };
    let result = match interval {
        Some(interval) => runner.repeat(interval),
        None => runner.once(),
    };
    let event = match &result {
        Ok(_) => Event::Stopped,
        Err(error) => Event::Failed { error, number: runner.in_pass, ends_program: true },
    };
    runner.deps.monitor.event(&event);
    result.unwrap_or(Exit::Error)
}

/// The extent of a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// A whole pass.
    Whole,
    /// A pass that follows at once, for the entries that were kept back.
    SecondLook,
}

struct Runner<'a> {
    deps: Deps<'a>,
    number: u64,
    /// The number of the pass that has started and not ended.
    in_pass: Option<u64>,
    /// The start of the last pass that was done: the moment that the replica shows.
    last_done: Option<BootTime>,
    is_stopping: bool,
}

impl Runner<'_> {
    fn once(&mut self) -> Result<Exit, Error> {
        if self.should_stop() {
            return Ok(Exit::Stopped);
        }
        let first = self.pass(Pass::Whole)?;
        let has_kept_back = first.outcome == Outcome::Done && first.counts[Counter::KeptBack] > 0;
        if !has_kept_back {
            return Ok(Exit::of_pass(&first));
        }
        if self.should_stop() {
            return Ok(Exit::Stopped);
        }
        // A process with one pass has no memory for a next one, and where a folder changes during each pass, an entry
        // that left it would never be deleted from the replica.
        let second = self.pass(Pass::SecondLook)?;
        // The second pass does not read again the files that the first could not read.
        let is_clean = second.outcome == Outcome::Done && second.counts[Counter::Problems] == 0;
        Ok(Exit::of_pass(if is_clean { &first } else { &second }))
    }

    fn repeat(&mut self, interval: Interval) -> Result<Exit, Error> {
        let mut start_times = StartTimes::new(interval, self.deps.clock.now());
        let mut replica_lost = false;
        let mut is_due_at_once = false;
        loop {
            if !is_due_at_once {
                self.wait_until(start_times.due())?;
            }
            if self.should_stop() {
                return Ok(Exit::Done);
            }
            self.deps.requests.starts_pass();
            start_times.start(self.deps.clock.now());
            let result = self.pass(Pass::Whole);
            let lost_now = match &result {
                // The person at the terminal would be asked again.
                Ok(PassReport { outcome: Outcome::Held(Hold::Declined { .. }), .. }) => {
                    return Ok(Exit::Held);
                }
                Ok(report) => report.outcome == Outcome::ReplicaLost,
                Err(error) if reach(error).ends_program(self.number) => return result.map(|_| Exit::Error),
                Err(error) => {
                    // After a signal there is no next pass.
                    let ends_program = self.should_stop();
                    let number = self.in_pass.take();
                    self.deps.monitor.event(&Event::Failed { error, number, ends_program });
                    false
                }
            };
            // The replica is created again at once, but not repeatedly while another process keeps removing it.
            is_due_at_once = lost_now && !replica_lost;
            replica_lost = lost_now;
            if let Some(by) = start_times.end(self.deps.clock.now())
                && !self.should_stop()
            {
                self.deps.monitor.event(&Event::Overran { number: self.number, by });
            }
            if let Some(rpo) = self.deps.rpo
                && !self.should_stop()
            {
                rpo.next_is_due(start_times.due(), self.deps.monitor);
            }
        }
    }

    /// Waits until a pass is due or requested, or a stop is requested.
    fn wait_until(&self, due: BootTime) -> Result<(), Error> {
        let Deps { clock, requests, interrupt, monitor, .. } = &self.deps;
        let now = clock.now();
        if now < due {
            let replica_age = self.last_done.map(|moment| now.since(moment));
            monitor.waits(Wait { next: due.since(now), replica_age });
        }
        while clock.now() < due && !requests.wants_pass() && !interrupt.is_set() {
            clock.wait_until(due)?;
        }
        Ok(())
    }

    /// One pass, from its first event to its last.
    fn pass(&mut self, which: Pass) -> Result<PassReport, Error> {
        self.number += 1;
        let Deps { engine, clock, monitor, .. } = &mut self.deps;
        let started = clock.now();
        monitor.event(&Event::PassStarted { number: self.number });
        self.in_pass = Some(self.number);
        // A panic in a worker thread arrives here as well: rayon propagates it to the waiting thread. The engine is not
        // used afterwards, so its state after the panic does not matter.
        let work = || match which {
            Pass::Whole => engine.pass(self.number, *monitor),
            Pass::SecondLook => engine.second_look(self.number, *monitor),
        };
        let result = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|panic| Err(Error::Panicked { message: words_of(panic.as_ref()) }));
        let now = clock.now();
        self.should_stop();
        let mut report = result?;
        if report.outcome == Outcome::Done {
            self.last_done = Some(started);
        }
        report.replica_age = self.last_done.map(|moment| now.since(moment));
        self.deps.monitor.event(&Event::PassEnded(&report));
        self.in_pass = None;
        if let (Some(rpo), Outcome::Done) = (self.deps.rpo, &report.outcome) {
            rpo.done(started, now, self.deps.monitor);
        }
        Ok(report)
    }

    /// True once a signal has requested a stop; reports it the first time.
    fn should_stop(&mut self) -> bool {
        let Some(signal) = self.deps.interrupt.stopped_by() else {
            return false;
        };
        if !self.is_stopping {
            self.is_stopping = true;
            self.deps.monitor.event(&Event::Stopping { signal });
        }
        true
    }
}

/// The reach of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Ends the program at any time.
    Program,
    /// Ends the program in its first pass, as it is most likely a mistake in the command line; later it ends one pass,
    /// since the next may succeed: a failing disk, a replica that is mounted again.
    FirstPass,
    /// Ends one pass: a resource was short for a moment, and nobody has made a mistake.
    OnePass,
}

impl Reach {
    fn ends_program(self, pass: u64) -> bool {
        match self {
            Reach::Program => true,
            Reach::FirstPass => pass == 1,
            Reach::OnePass => false,
        }
    }
}

fn reach(error: &Error) -> Reach {
    match error {
        Error::SourceUnreadable { cause, .. } | Error::ReplicaUnusable { cause, .. } => {
            if is_of_the_moment(*cause) { Reach::OnePass } else { Reach::FirstPass }
        }
        Error::ReplicaNotAFolder { .. } | Error::ReplicaLocked { .. } | Error::RootsOverlap { .. } => {
            Reach::FirstPass
        }
        Error::System { cause, .. } if is_of_the_moment(*cause) => Reach::OnePass,
        Error::SourceMissing { .. }
        | Error::SourceLost { .. }
        | Error::SourceNotAFolder { .. }
        | Error::NoThreads { .. }
        | Error::System { .. }
        | Error::Panicked { .. } => Reach::Program,
    }
}

fn is_of_the_moment(cause: Cause) -> bool {
    match cause {
        Cause::System(errno) => is_passing(errno),
        Cause::Refused(_) | Cause::Rotted { .. } => false,
    }
}

/// The text of a panic, which `panic!` carries in one of two types.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Errno;
    use crate::model::counters::Counts;
    use crate::model::report::Hold;
    use crate::model::signal::Signal;
    use crate::run::start_times::tests::{BOOT, at, interval};
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::time::Duration;

    /// An event from outside.
    #[derive(Clone, Copy, Debug)]
    enum Poke {
        RunNow,
        Stop,
        /// A spurious end of the wait.
        Nothing,
    }

    /// A world without a clock: time passes only in waits and in passes.
    struct World {
        now: Mutex<BootTime>,
        pokes: Mutex<VecDeque<(f64, Poke)>>,
        requests: Requests,
        interrupt: Interrupt,
        heard: Mutex<Vec<String>>,
    }

    impl World {
        fn new(pokes: &[(f64, Poke)]) -> World {
            World {
                now: Mutex::new(BOOT),
                pokes: Mutex::new(pokes.iter().copied().collect()),
                requests: Requests::new(),
                interrupt: Interrupt::new(),
                heard: Mutex::default(),
            }
        }

        /// Lets time pass until the next poke, at most to the deadline. True if a poke came.
        fn advance(&self, deadline: BootTime) -> bool {
            let mut now = self.now.lock().expect("no panic");
            let mut pokes = self.pokes.lock().expect("no panic");
            match pokes.front().copied() {
                Some((moment, poke)) if at(moment) <= deadline => {
                    pokes.pop_front();
                    *now = (*now).max(at(moment));
                    match poke {
                        Poke::RunNow => self.requests.run_now(),
                        Poke::Stop => self.interrupt.stop(Signal::Terminate),
                        Poke::Nothing => {}
                    }
                    true
                }
                _ => {
                    *now = (*now).max(deadline);
                    false
                }
            }
        }

        fn seconds(&self) -> f64 {
            self.now().since(BOOT).as_secs_f64()
        }
    }

    impl Clock for World {
        fn now(&self) -> BootTime {
            *self.now.lock().expect("no panic")
        }

        fn wait_until(&self, deadline: BootTime) -> Result<(), Error> {
            self.advance(deadline);
            Ok(())
        }
    }

    impl Monitor for World {
        fn event(&self, event: &Event<'_>) {
            let words = match event {
                Event::PassStarted { number } => format!("start {number}"),
                Event::PassEnded(report) => {
                    let age = report.replica_age.map(|age| age.as_secs_f64().to_string());
                    format!("end {} age {}", report.number, age.as_deref().unwrap_or("unknown"))
                }
                Event::Overran { number, by } => format!("overran {number} by {}", by.as_secs_f64()),
                Event::RpoAtRisk { expected, .. } => format!("rpo at risk: {}", expected.as_secs_f64()),
                Event::RpoMissed { age, .. } => {
                    format!("rpo missed: {}", age.map_or(-1.0, |age| age.as_secs_f64()))
                }
                Event::RpoMet { age, .. } => format!("rpo met: {}", age.as_secs_f64()),
                Event::Stopping { signal } => format!("stopping {signal}"),
                Event::Stopped => "stopped".into(),
                Event::Failed { error, number, ends_program } => {
                    let pass = number.map_or_else(String::new, |number| format!(" pass {number}"));
                    format!("failed{pass}, {}: {error}", if *ends_program { "ends" } else { "goes on" })
                }
                Event::Started { .. }
                | Event::Phase { .. }
                | Event::Verified { .. }
                | Event::Done(_)
                | Event::Planned(_)
                | Event::Skipped { .. }
                | Event::Excluded { .. }
                | Event::Problem(_)
                | Event::Notice(_) => panic!("not an event of the schedule: {event:?}"),
            };
            self.heard.lock().expect("no panic").push(format!("{}: {words}", self.seconds()));
        }
    }

    type Pass = (f64, Result<Outcome, Error>);

    /// Passes from a script; after its end each takes a second and is done.
    struct Script<'a> {
        world: &'a World,
        passes: VecDeque<Pass>,
    }

    impl Engine for Script<'_> {
        fn pass(&mut self, number: u64, _: &dyn Monitor) -> Result<PassReport, Error> {
            let (seconds, result) = self.passes.pop_front().unwrap_or((1.0, Ok(Outcome::Done)));
            let end = self.world.now().plus(Duration::from_secs_f64(seconds));
            while self.world.advance(end) {
                if let Some(signal) = self.world.interrupt.stopped_by() {
                    return result.map(|_| report(number, Outcome::Interrupted(signal)));
                }
            }
            result.map(|outcome| report(number, outcome))
        }
    }

    fn report(number: u64, outcome: Outcome) -> PassReport {
        PassReport {
            number,
            outcome,
            counts: Counts::default(),
            duration: Duration::ZERO,
            replica_age: None,
            oldest_confirmation: None,
        }
    }

    fn play(every: Option<u64>, pokes: &[(f64, Poke)], passes: Vec<Pass>) -> (Exit, String) {
        let world = World::new(pokes);
        let mut engine = Script { world: &world, passes: passes.into() };
        let deps = Deps {
            engine: &mut engine,
            clock: &world,
            requests: &world.requests,
            interrupt: &world.interrupt,
            monitor: &world,
            rpo: None,
        };
        let exit = run(every.map(interval), deps);
        let heard = world.heard.lock().expect("no panic").join("\n");
        (exit, heard)
    }

    fn missing() -> Error {
        Error::SourceMissing { path: "/s".into() }
    }

    fn locked() -> Error {
        Error::ReplicaLocked { path: "/r".into() }
    }

    fn lines(text: &str) -> String {
        text.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn passes_follow_the_interval_until_a_signal_comes() {
        let (exit, heard) = play(Some(10), &[(15.0, Poke::Nothing), (25.0, Poke::Stop)], vec![]);
        let expected = "0: start 1
            1: end 1 age 1
            10: start 2
            11: end 2 age 1
            20: start 3
            21: end 3 age 1
            25: stopping SIGTERM
            25: stopped";
        assert_eq!((exit, heard), (Exit::Done, lines(expected)));
    }

    #[test]
    fn an_overrun_is_told_and_the_next_pass_follows_at_once() {
        let passes = vec![(12.5, Ok(Outcome::Done)), (4.0, Ok(Outcome::Done))];
        let (_, heard) = play(Some(10), &[(23.0, Poke::Stop)], passes);
        let expected = "0: start 1
            12.5: end 1 age 12.5
            12.5: overran 1 by 2.5
            12.5: start 2
            16.5: end 2 age 4
            22.5: start 3
            23: stopping SIGTERM
            23: end 3 age 10.5
            23: stopped";
        assert_eq!(heard, lines(expected));
    }

    #[test]
    fn a_request_while_waiting_starts_a_pass_and_a_new_grid() {
        let (_, heard) = play(Some(10), &[(4.0, Poke::RunNow), (20.0, Poke::Stop)], vec![]);
        let expected = "0: start 1
            1: end 1 age 1
            4: start 2
            5: end 2 age 1
            14: start 3
            15: end 3 age 1
            20: stopping SIGTERM
            20: stopped";
        assert_eq!(heard, lines(expected));
    }

    #[test]
    fn requests_during_a_pass_are_answered_by_one_more() {
        let pokes = [(1.0, Poke::RunNow), (2.0, Poke::RunNow), (9.0, Poke::Stop)];
        let (_, heard) = play(Some(10), &pokes, vec![(3.0, Ok(Outcome::Done)), (2.0, Ok(Outcome::Done))]);
        let expected = "0: start 1
            3: end 1 age 3
            3: start 2
            5: end 2 age 2
            9: stopping SIGTERM
            9: stopped";
        assert_eq!(heard, lines(expected));
    }

    #[test]
    fn a_miss_of_the_rpo_is_told_with_the_pass_that_is_too_late_and_that_it_is_met_with_the_next() {
        let world = World::new(&[(42.0, Poke::Stop)]);
        let passes = [1.0, 25.0, 1.0].map(|seconds| (seconds, Ok(Outcome::Done)));
        let mut engine = Script { world: &world, passes: passes.into() };
        let rpo = RpoWatch::from(BOOT, Duration::from_secs(20), None).expect("a timer");
        let deps = Deps {
            engine: &mut engine,
            clock: &world,
            requests: &world.requests,
            interrupt: &world.interrupt,
            monitor: &world,
            rpo: Some(&rpo),
        };
        assert_eq!(run(Some(interval(10)), deps), Exit::Done);
        let heard = world.heard.lock().expect("no panic").join("\n");
        let expected = "0: start 1
            1: end 1 age 1
            10: start 2
            35: end 2 age 25
            35: rpo missed: 35
            35: overran 2 by 15
            35: start 3
            36: end 3 age 1
            36: rpo met: 1
            42: stopping SIGTERM
            42: stopped";
        assert_eq!(heard, lines(expected));
    }

    #[test]
    fn a_lost_replica_is_made_again_at_once_but_only_once_in_a_row() {
        let lost = || (1.0, Ok(Outcome::ReplicaLost));
        let passes = vec![(1.0, Ok(Outcome::Done)), lost(), lost(), lost()];
        let (_, heard) = play(Some(10), &[(33.0, Poke::Stop)], passes);
        let expected = "0: start 1
            1: end 1 age 1
            10: start 2
            11: end 2 age 11
            11: start 3
            12: end 3 age 12
            21: start 4
            22: end 4 age 22
            31: start 5
            32: end 5 age 1
            33: stopping SIGTERM
            33: stopped";
        assert_eq!(heard, lines(expected));
    }

    #[test]
    fn the_replica_ages_until_a_pass_is_done() {
        let held = || (1.0, Ok(Outcome::Held(Hold::SourceReplaced)));
        let passes = vec![held(), (1.0, Ok(Outcome::Done)), held()];
        let (_, heard) = play(Some(10), &[(25.0, Poke::Stop)], passes);
        let ends: Vec<_> = heard.lines().filter(|line| line.contains("end")).collect();
        assert_eq!(ends, ["1: end 1 age unknown", "11: end 2 age 1", "21: end 3 age 11"]);
    }

    #[test]
    fn a_person_who_says_no_ends_the_program() {
        let declined = || Hold::Declined { replica: "/r".into(), deleted: Default::default() };
        for interval in [None, Some(10)] {
            let passes = vec![(5.0, Ok(Outcome::Held(declined())))];
            let (exit, heard) = play(interval, &[(100.0, Poke::Stop)], passes);
            let expected = "0: start 1\n5: end 1 age unknown\n5: stopped".to_owned();
            assert_eq!((exit, heard), (Exit::Held, expected), "{interval:?}");
        }
    }

    #[test]
    fn a_missing_source_ends_the_program_at_any_time() {
        for before in [0, 1, 2] {
            let mut passes: Vec<Pass> = (0..before).map(|_| (1.0, Ok(Outcome::Done))).collect();
            passes.push((1.0, Err(missing())));
            let (exit, heard) = play(Some(10), &[(100.0, Poke::Stop)], passes);
            let last = format!("{}: failed pass {}, ends: {}", before * 10 + 1, before + 1, missing());
            assert_eq!((exit, heard.lines().last()), (Exit::Error, Some(last.as_str())));
            assert_eq!(heard.matches("failed").count(), 1);
        }
    }

    #[test]
    fn an_error_that_may_pass_ends_the_program_only_in_its_first_pass() {
        let (exit, heard) = play(Some(10), &[(100.0, Poke::Stop)], vec![(1.0, Err(locked()))]);
        assert_eq!((exit, heard), (Exit::Error, format!("0: start 1\n1: failed pass 1, ends: {}", locked())));

        let passes = vec![(1.0, Ok(Outcome::Done)), (12.0, Err(locked())), (1.0, Err(locked()))];
        let (exit, heard) = play(Some(10), &[(35.0, Poke::Stop)], passes);
        let expected = format!(
            "0: start 1
            1: end 1 age 1
            10: start 2
            22: failed pass 2, goes on: {locked}
            22: overran 2 by 2
            22: start 3
            23: failed pass 3, goes on: {locked}
            32: start 4
            33: end 4 age 1
            35: stopping SIGTERM
            35: stopped",
            locked = locked()
        );
        assert_eq!((exit, heard), (Exit::Done, lines(&expected)));

        // No next pass tries again after a signal.
        let passes = vec![(1.0, Ok(Outcome::Done)), (1.0, Err(locked()))];
        let (exit, heard) = play(Some(10), &[(11.0, Poke::Stop)], passes);
        let last = format!("11: stopping SIGTERM\n11: failed pass 2, ends: {}\n11: stopped", locked());
        assert!(exit == Exit::Done && heard.ends_with(&last), "{heard}");
    }

    #[test]
    fn every_error_is_known_to_end_the_program_or_a_pass() {
        use Reach::{FirstPass, OnePass, Program};
        let of = |reach_of: &dyn Fn(Cause) -> Error, refused: Reach, lasting: Reach, passing: Reach| {
            let causes = |errnos: &[Errno]| errnos.iter().copied().map(Cause::System).collect::<Vec<_>>();
            let lasts = [Errno::IO, Errno::ACCESS, Errno::NOENT, Errno::NOTCONN, Errno::NODEV, Errno::INVAL];
            let passes = [
                Errno::NFILE,
                Errno::MFILE,
                Errno::NOMEM,
                Errno::NOBUFS,
                Errno::INTR,
                Errno::AGAIN,
                Errno::STALE,
            ];
            let cases = [(causes(&lasts), lasting), (causes(&passes), passing)];
            let cases = cases.into_iter().chain([(vec![Cause::Refused("x")], refused)]);
            for (causes, expected) in cases {
                for error in causes.into_iter().map(reach_of) {
                    assert_eq!(reach(&error), expected, "{error:?}");
                }
            }
        };
        let path = || "/x".into();
        of(&|cause| Error::SourceUnreadable { path: path(), cause }, FirstPass, FirstPass, OnePass);
        let unusable = |cause| Error::ReplicaUnusable { path: path(), action: "opened", cause };
        of(&unusable, FirstPass, FirstPass, OnePass);
        of(&|cause| Error::System { action: "x", cause }, Program, Program, OnePass);

        let relation = crate::model::error::Relation::Same;
        let cases = [
            (missing(), Program),
            (Error::SourceLost { path: path() }, Program),
            (Error::SourceNotAFolder { path: path() }, Program),
            (Error::NoThreads { reason: "x".into() }, Program),
            (Error::Panicked { message: "x".into() }, Program),
            (Error::ReplicaNotAFolder { path: path() }, FirstPass),
            (locked(), FirstPass),
            (Error::RootsOverlap { relation, source_path: path(), replica_path: path() }, FirstPass),
        ];
        for (error, expected) in cases {
            assert_eq!(reach(&error), expected, "{error}");
        }
        let ends = [(Program, [true, true]), (FirstPass, [true, false]), (OnePass, [false, false])];
        for (reach, expected) in ends {
            assert_eq!([1, 2].map(|pass| reach.ends_program(pass)), expected, "{reach:?}");
        }
    }

    #[test]
    fn a_system_that_is_short_of_something_for_a_moment_costs_one_pass_even_the_first() {
        let full =
            || Error::System { action: "find out where the two folders are", cause: Errno::NFILE.into() };
        let passes = vec![(1.0, Err(full())), (1.0, Ok(Outcome::Done)), (1.0, Err(full()))];
        let (exit, heard) = play(Some(10), &[(35.0, Poke::Stop)], passes);
        let expected = format!(
            "0: start 1
            1: failed pass 1, goes on: {full}
            10: start 2
            11: end 2 age 1
            20: start 3
            21: failed pass 3, goes on: {full}
            30: start 4
            31: end 4 age 1
            35: stopping SIGTERM
            35: stopped",
            full = full()
        );
        assert_eq!((exit, heard), (Exit::Done, lines(&expected)));
        let (exit, _) = play(None, &[], vec![(1.0, Err(full()))]);
        assert_eq!(exit, Exit::Error, "a single pass has no other");
    }

    #[test]
    fn a_single_pass_gives_its_own_exit_code() {
        let cases = [
            (Ok(Outcome::Done), Exit::Done),
            (Ok(Outcome::Planned), Exit::Done),
            (Ok(Outcome::Held(Hold::SourceReplaced)), Exit::Held),
            (Ok(Outcome::ReplicaLost), Exit::Problems),
            (Ok(Outcome::Interrupted(Signal::Terminate)), Exit::Stopped),
            (Err(locked()), Exit::Error),
            (Err(missing()), Exit::Error),
        ];
        for (result, expected) in cases {
            let (exit, heard) = play(None, &[], vec![(50.0, result.clone())]);
            assert_eq!(exit, expected, "{result:?}");
            assert_eq!(heard.matches("start").count(), 1, "{result:?}");
            assert!(!heard.contains("overran"), "{result:?}");
        }
    }

    /// Passes from a script: entries kept back, problems, outcome.
    struct Keeping {
        passes: VecDeque<(u64, u64, Outcome)>,
        looks: Vec<&'static str>,
    }

    impl Keeping {
        fn next(&mut self, number: u64, look: &'static str) -> PassReport {
            self.looks.push(look);
            let (kept_back, problems, outcome) = self.passes.pop_front().expect("no more passes");
            PassReport {
                counts: Counts::from_iter([(Counter::KeptBack, kept_back), (Counter::Problems, problems)]),
                ..report(number, outcome)
            }
        }
    }

    impl Engine for Keeping {
        fn pass(&mut self, number: u64, _: &dyn Monitor) -> Result<PassReport, Error> {
            Ok(self.next(number, "whole"))
        }

        fn second_look(&mut self, number: u64, _: &dyn Monitor) -> Result<PassReport, Error> {
            Ok(self.next(number, "second"))
        }
    }

    #[test]
    fn a_single_pass_that_kept_something_back_is_followed_by_a_second_look_and_no_third() {
        const DONE: Outcome = Outcome::Done;
        type Case<'a> = (&'a [(u64, u64, Outcome)], &'a [&'a str], Exit);
        let cases: [Case<'_>; 7] = [
            (&[(0, 0, DONE)], &["whole"], Exit::Done),
            (&[(2, 0, DONE), (0, 0, DONE)], &["whole", "second"], Exit::Done),
            (&[(2, 0, DONE), (1, 0, DONE)], &["whole", "second"], Exit::Done),
            // Either of the two had problems.
            (&[(2, 1, DONE), (0, 0, DONE)], &["whole", "second"], Exit::Problems),
            (&[(2, 0, DONE), (0, 1, DONE)], &["whole", "second"], Exit::Problems),
            (&[(2, 0, DONE), (0, 0, Outcome::ReplicaLost)], &["whole", "second"], Exit::Problems),
            (&[(2, 0, Outcome::Planned)], &["whole"], Exit::Done),
        ];
        for (passes, looks, exit) in cases {
            let world = World::new(&[]);
            let mut engine = Keeping { passes: passes.iter().cloned().collect(), looks: Vec::new() };
            let deps = Deps {
                engine: &mut engine,
                clock: &world,
                requests: &world.requests,
                interrupt: &world.interrupt,
                monitor: &world,
                rpo: None,
            };
            assert_eq!(run(None, deps), exit, "{passes:?}");
            assert_eq!(engine.looks, looks, "{passes:?}");
            let heard = world.heard.lock().expect("no panic").join("\n");
            assert_eq!(heard.matches("start").count(), looks.len(), "{heard}");
        }
    }

    #[test]
    fn passes_on_a_schedule_are_whole_ones_whatever_they_keep_back() {
        let passes = [(2, 0, Outcome::Done), (0, 0, Outcome::Interrupted(Signal::Terminate))];
        let world = World::new(&[(15.0, Poke::Stop)]);
        let mut engine = Keeping { passes: passes.into(), looks: Vec::new() };
        let deps = Deps {
            engine: &mut engine,
            clock: &world,
            requests: &world.requests,
            interrupt: &world.interrupt,
            monitor: &world,
            rpo: None,
        };
        assert_eq!(run(Some(interval(10)), deps), Exit::Done);
        assert_eq!(engine.looks, ["whole", "whole"]);
    }

    #[test]
    fn a_signal_during_a_single_pass_ends_it_with_a_code_of_its_own() {
        let (exit, heard) = play(None, &[(0.5, Poke::Stop)], vec![]);
        let expected = "0: start 1
            0.5: stopping SIGTERM
            0.5: end 1 age unknown
            0.5: stopped";
        assert_eq!((exit, heard), (Exit::Stopped, lines(expected)));
    }

    #[test]
    fn a_signal_at_the_end_of_a_single_pass_does_not_change_its_exit_code() {
        /// An engine that gets a signal after its last check for one.
        struct Ending<'a>(&'a Interrupt, Outcome);
        impl Engine for Ending<'_> {
            fn pass(&mut self, number: u64, _: &dyn Monitor) -> Result<PassReport, Error> {
                self.0.stop(Signal::Terminate);
                Ok(report(number, self.1.clone()))
            }
        }
        for (outcome, expected) in [
            (Outcome::Done, Exit::Done),
            (Outcome::Planned, Exit::Done),
            (Outcome::Held(Hold::SourceReplaced), Exit::Held),
            (Outcome::ReplicaLost, Exit::Problems),
        ] {
            let world = World::new(&[]);
            let deps = Deps {
                engine: &mut Ending(&world.interrupt, outcome.clone()),
                clock: &world,
                requests: &world.requests,
                interrupt: &world.interrupt,
                monitor: &world,
                rpo: None,
            };
            assert_eq!(run(None, deps), expected, "{outcome:?}");
            let heard = world.heard.lock().expect("no panic").join("\n");
            assert!(heard.contains("stopping SIGTERM"), "{heard}");
        }
    }

    #[test]
    fn a_signal_before_the_first_pass_prevents_it() {
        for (every, exit) in [(Some(10), Exit::Done), (None, Exit::Stopped)] {
            let world = World::new(&[]);
            world.interrupt.stop(Signal::Interrupt);
            let mut engine = Script { world: &world, passes: VecDeque::new() };
            let deps = Deps {
                engine: &mut engine,
                clock: &world,
                requests: &world.requests,
                interrupt: &world.interrupt,
                monitor: &world,
                rpo: None,
            };
            assert_eq!(run(every.map(interval), deps), exit);
            let heard = world.heard.lock().expect("no panic").join("\n");
            assert_eq!(heard, "0: stopping SIGINT\n0: stopped");
        }
    }

    #[test]
    fn a_panic_in_the_engine_is_an_error_with_a_message() {
        struct Broken;
        impl Engine for Broken {
            fn pass(&mut self, number: u64, _: &dyn Monitor) -> Result<PassReport, Error> {
                panic!("index {number} is out of bounds");
            }
        }
        let world = World::new(&[(5.0, Poke::Stop)]);
        let deps = Deps {
            engine: &mut Broken,
            clock: &world,
            requests: &world.requests,
            interrupt: &world.interrupt,
            monitor: &world,
            rpo: None,
        };
        assert_eq!(run(Some(interval(10)), deps), Exit::Error);
        let heard = world.heard.lock().expect("no panic").join("\n");
        assert!(heard.contains("failed pass 1, ends: A mistake in file-sync"), "{heard}");
        assert!(heard.contains("index 1 is out of bounds"), "{heard}");
    }

    #[test]
    fn a_clock_that_cannot_wait_is_an_error() {
        struct Stuck;
        impl Clock for Stuck {
            fn now(&self) -> BootTime {
                BOOT
            }
            fn wait_until(&self, _: BootTime) -> Result<(), Error> {
                Err(Error::System { action: "wait for the next pass", cause: Cause::Refused("stuck") })
            }
        }
        let world = World::new(&[]);
        let mut engine = Script { world: &world, passes: VecDeque::new() };
        let deps = Deps {
            engine: &mut engine,
            clock: &Stuck,
            requests: &world.requests,
            interrupt: &world.interrupt,
            monitor: &world,
            rpo: None,
        };
        assert_eq!(run(Some(interval(10)), deps), Exit::Error);
    }
}
