//! Why a pair needs somebody, in words.

use crate::cli::commands::words::local;
use crate::index::history::Ended;
use crate::log::humanize;
use crate::model::counters::Counter;
use crate::status::PairStatus;
use crate::status::judge::State;

/// The reason; none if all is well.
pub(super) fn reason(pair: &PairStatus) -> Option<String> {
    let (history, verdict) = (&pair.history, &pair.verdict);
    let done = history.last_done.as_ref();
    let count = |counter| done.map_or(0, |pass| pass.counts[counter]);
    let message = history.last_ended.as_ref().and_then(|pass| pass.message.as_deref());
    Some(match verdict.state {
        State::Held => {
            let passes = humanize::counted(history.holds.count, "pass", "passes");
            let since = history.holds.since.map(local).unwrap_or_default();
            format!("{passes} held since {since}: {}", message.unwrap_or("nothing was changed"))
        }
        State::Late => {
            let since = done.map(|pass| local(pass.started)).unwrap_or_default();
            let why = failure(pair).map(|why| format!("; {why}")).unwrap_or_default();
            format!("it is as the source was on {since}, and no pass has been done since{why}")
        }
        State::Rotted => {
            let files = humanize::counted(count(Counter::Rotted), "source file seems", "source files seem");
            format!(
                "{files} to have rotted and nothing was copied over their replicas; the lines `problem` of the log name \
                 them, and say of each whether its replica still has the good content"
            )
        }
        State::Unknown if done.is_some() => {
            "its last pass lies in the future; set the clock of this computer".to_owned()
        }
        State::Unknown => {
            let why = failure(pair).map(|why| format!("; {why}")).unwrap_or_default();
            format!("no pass has been done yet{why}")
        }
        State::Failing => failure(pair)?,
        State::AtRisk => {
            let expected = verdict.warn_age.map(humanize::age).unwrap_or_default();
            format!(
                "a pass is overdue: by the interval and the last passes it should be less than {expected} old"
            )
        }
        State::Problems => {
            let paths = humanize::counted(count(Counter::Problems), "problem", "problems");
            format!("{paths} in the last pass that was done; the lines `problem` of the log name the paths")
        }
        State::Ok => return None,
    })
}

/// How the last pass failed, if it did.
fn failure(pair: &PairStatus) -> Option<String> {
    let message = || pair.history.last_ended.as_ref().and_then(|pass| pass.message.as_deref());
    match pair.verdict.last? {
        Ended::Failed => Some(format!("the last pass failed: {}", message().unwrap_or_default())),
        Ended::ReplicaLost => Some("the replica folder disappeared during the last pass".to_owned()),
        Ended::Killed => Some(
            "the last pass has no end: most likely its process was killed, or the power failed".to_owned(),
        ),
        Ended::Done | Ended::Interrupted | Ended::Held => None,
    }
}
