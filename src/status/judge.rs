//! The judgement of a pair; pure.

use crate::fs::process::Life;
use crate::index::history::{Ended, History, Pass};
use crate::model::counters::Counter;
use crate::model::estimate::expected;
use std::time::Duration;

/// A start of a pass that lies further in the future than this cannot be believed: a clock is wrong.
const SLACK: i64 = 5 * 60 * 1000;

/// The state of a pair, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// The guard refused the last pass.
    Held,
    /// The replica is older than its RPO.
    Late,
    /// Source files seem to have rotted.
    Rotted,
    /// No pass is known to have been done, or the clock is wrong.
    Unknown,
    /// The last pass failed, lost the replica, or was killed.
    Failing,
    /// The next pass should have been done by now.
    AtRisk,
    /// Paths could not be mirrored.
    Problems,
    /// All is well.
    Ok,
}

impl State {
    /// The name in JSON.
    pub(crate) fn code(self) -> &'static str {
        match self {
            State::Held => "held",
            State::Late => "late",
            State::Rotted => "rotted",
            State::Unknown => "unknown",
            State::Failing => "failing",
            State::AtRisk => "at_risk",
            State::Problems => "problems",
            State::Ok => "ok",
        }
    }
}

/// What the process of the last pass does. Times are in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// A pass runs since then.
    Running(i64),
    /// The next pass starts then.
    Next(i64),
    /// A process of another container, or one that is hidden, has begun a pass then and may be in it.
    Perhaps(i64),
    /// No process is known to run.
    None,
}

/// What follows from a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The state.
    pub state: State,
    /// The age of the replica: since the start of the last pass that was done.
    pub age: Option<Duration>,
    /// The age from which the RPO is at risk.
    pub warn_age: Option<Duration>,
    /// Whether the age is within the RPO; none without an RPO, or without an age.
    pub is_met: Option<bool>,
    /// What the process does.
    pub activity: Activity,
    /// How the last pass ended.
    pub last: Option<Ended>,
}

impl Verdict {
    /// Whether the replica is as fresh as it has to be. Without an RPO any age will do.
    pub(crate) fn is_fresh(&self) -> bool {
        self.age.is_some() && self.is_met != Some(false)
    }
}

/// Judges a pair. `life` is that of the process of the newest pass.
pub(crate) fn judge(history: &History, life: Option<Life>, now: i64) -> Verdict {
    let last_done = history.last_done.as_ref();
    let age = last_done.and_then(|pass| match now.saturating_sub(pass.started) {
        age if age < -SLACK => None,
        age => Some(Duration::from_millis(age.try_into().unwrap_or(0))),
    });
    let is_met = age.zip(history.rpo).map(|(age, rpo)| age <= rpo);
    let warn_age = history.rpo.map(|rpo| warn_age(history, rpo));
    let last = last_end(history, life);
    let count = |counter| last_done.map_or(0, |pass| pass.counts[counter]);
    let state = if last == Some(Ended::Held) {
        State::Held
    } else if is_met == Some(false) {
        State::Late
    } else if count(Counter::Rotted) > 0 {
        State::Rotted
    } else if age.is_none() {
        State::Unknown
    } else if matches!(last, Some(Ended::Failed | Ended::ReplicaLost | Ended::Killed)) {
        State::Failing
    } else if age.zip(warn_age).is_some_and(|(age, warn)| age > warn) {
        State::AtRisk
    } else if count(Counter::Problems) > 0 {
        State::Problems
    } else {
        State::Ok
    };
    Verdict { state, age, warn_age, is_met, activity: activity(history, life), last }
}

/// The age that the replica has when the next pass ends as expected, and a twentieth of the RPO more: an age above it
/// says that a pass is overdue. Without an interval, three quarters of the RPO.
fn warn_age(history: &History, rpo: Duration) -> Duration {
    let Some(interval) = history.interval else { return rpo / 4 * 3 };
    let duration = expected(history.durations.iter().copied()).unwrap_or_default();
    interval.saturating_add(duration).saturating_add(rpo / 20).min(rpo)
}

/// How the newest pass ended, or the one before it while it may run.
fn last_end(history: &History, life: Option<Life>) -> Option<Ended> {
    let last = history.last.as_ref()?;
    if last.outcome.is_some() {
        return last.outcome;
    }
    match life {
        Some(Life::Ended) | None => Some(Ended::Killed),
        Some(Life::Alive | Life::Unknown) => history.last_ended.as_ref().and_then(|pass| pass.outcome),
    }
}

fn activity(history: &History, life: Option<Life>) -> Activity {
    let Some(Pass { started, outcome, .. }) = history.last.as_ref() else { return Activity::None };
    match (life, outcome, history.interval) {
        (Some(Life::Alive), None, _) => Activity::Running(*started),
        (Some(Life::Unknown), None, _) => Activity::Perhaps(*started),
        (Some(Life::Alive), Some(_), Some(interval)) => {
            Activity::Next(started.saturating_add(interval.as_millis().try_into().unwrap_or(i64::MAX)))
        }
        (Some(Life::Alive | Life::Unknown), Some(_), _) | (Some(Life::Ended) | None, _, _) => Activity::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::counters::Counts;

    const NOW: i64 = 1_800_000_000_000;

    /// A pass that started so many seconds ago and took 10 s.
    fn pass(ago: i64, outcome: Option<Ended>) -> Pass {
        let started = NOW - ago * 1000;
        Pass {
            number: 1,
            started,
            ended: outcome.map(|_| started + 10_000),
            outcome,
            process: 1,
            mark: String::new(),
            age: None,
            met: None,
            counts: Counts::default(),
            message: None,
        }
    }

    /// Passes, newest first; interval 100 s, RPO 200 s.
    fn history(passes: &[Pass]) -> History {
        let first = |condition: fn(&Pass) -> bool| passes.iter().find(|pass| condition(pass)).cloned();
        History {
            interval: Some(Duration::from_secs(100)),
            rpo: Some(Duration::from_secs(200)),
            last: passes.first().cloned(),
            last_ended: first(|pass| pass.outcome.is_some()),
            last_done: first(|pass| pass.outcome == Some(Ended::Done)),
            durations: vec![Duration::from_secs(10)],
            ..History::default()
        }
    }

    #[test]
    fn the_worst_that_is_true_is_the_state() {
        use Ended::{Done, Failed, Held, Interrupted, Killed, ReplicaLost};
        let (alive, ended) = (Some(Life::Alive), Some(Life::Ended));
        type Case<'a> = (&'a str, &'a [(i64, Option<Ended>)], Option<Life>, State);
        let cases: [Case<'_>; 19] = [
            ("no pass", &[], None, State::Unknown),
            ("the first one runs", &[(5, None)], alive, State::Unknown),
            ("the first one was killed", &[(5, None)], ended, State::Unknown),
            ("the first one was held", &[(5, Some(Held))], alive, State::Held),
            ("done", &[(50, Some(Done))], alive, State::Ok),
            ("done, and nothing runs", &[(50, Some(Done))], ended, State::Ok),
            ("the next one runs", &[(5, None), (105, Some(Done))], alive, State::Ok),
            ("the next one was killed", &[(5, None), (105, Some(Done))], ended, State::Failing),
            ("the next one may run", &[(5, None), (105, Some(Done))], Some(Life::Unknown), State::Ok),
            ("overdue", &[(121, Some(Done))], alive, State::AtRisk),
            ("at the RPO", &[(200, Some(Done))], alive, State::AtRisk),
            ("beyond it", &[(201, Some(Done))], alive, State::Late),
            ("late and held", &[(5, Some(Held)), (900, Some(Done))], alive, State::Held),
            (
                "held and running again",
                &[(5, None), (105, Some(Held)), (110, Some(Done))],
                alive,
                State::Held,
            ),
            ("done after a hold", &[(5, Some(Done)), (105, Some(Held))], alive, State::Ok),
            ("failed", &[(5, Some(Failed)), (105, Some(Done))], alive, State::Failing),
            ("the replica was lost", &[(5, Some(ReplicaLost)), (105, Some(Done))], alive, State::Failing),
            ("stopped", &[(5, Some(Interrupted)), (105, Some(Done))], ended, State::Ok),
            ("known as killed", &[(5, None), (55, Some(Killed)), (105, Some(Done))], alive, State::Failing),
        ];
        for (name, passes, life, expected) in cases {
            let passes: Vec<Pass> = passes.iter().map(|(ago, outcome)| pass(*ago, *outcome)).collect();
            assert_eq!(judge(&history(&passes), life, NOW).state, expected, "{name}");
        }
    }

    #[test]
    fn problems_and_rot_are_those_of_the_last_pass_that_was_done() {
        for (problems, rotted, expected) in
            [(0, 0, State::Ok), (3, 0, State::Problems), (3, 1, State::Rotted)]
        {
            let mut done = pass(50, Some(Ended::Done));
            done.counts[Counter::Problems] = problems;
            done.counts[Counter::Rotted] = rotted;
            let running = pass(1, None);
            let verdict = judge(&history(&[running, done]), Some(Life::Alive), NOW);
            assert_eq!(verdict.state, expected, "{problems} {rotted}");
            assert!(verdict.is_fresh());
        }
    }

    #[test]
    fn without_an_rpo_any_age_will_do_and_without_an_age_nothing() {
        let old = history(&[pass(9_000_000, Some(Ended::Done))]);
        let without = History { rpo: None, interval: None, ..old.clone() };
        assert!(!judge(&old, None, NOW).is_fresh());
        let verdict = judge(&without, None, NOW);
        assert!(verdict.is_fresh() && verdict.is_met.is_none() && verdict.state == State::Ok);
        assert!(!judge(&History { last_done: None, ..without }, None, NOW).is_fresh());
    }

    #[test]
    fn a_clock_that_was_set_back_a_little_is_forgiven_and_much_is_not() {
        let a_little = judge(&history(&[pass(-60, Some(Ended::Done))]), None, NOW);
        assert_eq!((a_little.age, a_little.state), (Some(Duration::ZERO), State::Ok));
        let much = judge(&history(&[pass(-86_400, Some(Ended::Done))]), None, NOW);
        assert_eq!((much.age, much.state, much.is_fresh()), (None, State::Unknown, false));
    }

    #[test]
    fn the_age_at_risk_follows_from_interval_and_duration() {
        let cases = [
            (Some(100), 10, 200, 120),
            (Some(100), 10, 2_000, 210),
            (Some(100), 95, 200, 200),
            (Some(100), 900, 200, 200),
            (None, 10, 200, 150),
        ];
        for (interval, duration, rpo, expected) in cases {
            let durations = vec![Duration::from_secs(duration)];
            let interval = interval.map(Duration::from_secs);
            let history = History { interval, durations, ..History::default() };
            let age = warn_age(&history, Duration::from_secs(rpo));
            assert_eq!(age, Duration::from_secs(expected), "{interval:?} {duration} {rpo}");
        }
    }

    #[test]
    fn the_next_pass_is_known_while_its_process_lives() {
        let done = history(&[pass(50, Some(Ended::Done))]);
        let running = history(&[pass(5, None), pass(105, Some(Ended::Done))]);
        let alive = Some(Life::Alive);
        assert_eq!(judge(&done, alive, NOW).activity, Activity::Next(NOW + 50_000));
        assert_eq!(judge(&running, alive, NOW).activity, Activity::Running(NOW - 5_000));
        assert_eq!(judge(&running, Some(Life::Unknown), NOW).activity, Activity::Perhaps(NOW - 5_000));
        for life in [Some(Life::Ended), None] {
            assert_eq!(judge(&done, life, NOW).activity, Activity::None);
        }
        let once = History { interval: None, ..done };
        assert_eq!(judge(&once, alive, NOW).activity, Activity::None);
    }
}
