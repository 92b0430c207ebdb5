//! The state of the pairs for people.

use super::reason::reason;
use crate::cli::commands::pairs::Selection;
use crate::cli::commands::table::Table;
use crate::cli::commands::words::changes;
use crate::index::history::{Ended, Share};
use crate::log::humanize;
use crate::model::counters::Counter;
use crate::status::judge::{Activity, State};
use crate::status::{PairStatus, Report};
use std::time::Duration;

/// A table, worst first, and a line for each pair that needs somebody.
pub(super) fn page(report: &Report, selection: &Selection) -> String {
    let mut page = String::new();
    if !report.pairs.is_empty() {
        let heading = ["STATE", "REPLICA", "AGE", "RPO", "MET 24 H", "30 D", "LAST PASS", "NEXT"];
        let mut table = Table::new(heading);
        report.pairs.iter().for_each(|pair| table.row(row(pair, report.now)));
        page.push_str(&table.text());
    } else if report.unread.is_empty() {
        let which = if selection.is_narrowed() { "No pass of this pair" } else { "No pass" };
        page.push_str(&format!("{which} is known in {}\n", humanize::path(&selection.state_dir)));
        return page;
    }
    let needy = report.pairs.iter().filter(|pair| pair.verdict.state != State::Ok).count();
    page.push_str(&match (needy, report.pairs.len()) {
        (_, 0) => String::new(),
        (0, 1) => "The replica is as fresh as it has to be.\n".to_owned(),
        (0, all) => format!("All {all} replicas are as fresh as they have to be.\n"),
        (1, 1) => "The replica needs you.\n".to_owned(),
        (1, all) => format!("1 of {all} replicas needs you.\n"),
        (needy, all) => format!("{needy} of {all} replicas need you.\n"),
    });
    for pair in &report.pairs {
        if let Some(reason) = reason(pair) {
            let (source, replica) = (humanize::path(&pair.roots.source), humanize::path(&pair.roots.replica));
            let reason = humanize::one_line(&reason).into_owned();
            page.push_str(&format!(
                "\n{replica}, the replica of {source}, {}: {reason}\n",
                is(pair.verdict.state)
            ));
        }
    }
    page.extend(report.pairs.iter().filter_map(excluded));
    for (index, unusable) in &report.unread {
        let reason = unusable.to_string();
        let (index, reason) = (humanize::path(index), humanize::one_line(&reason));
        page.push_str(&format!("\nThe index {index} cannot be read: {reason}\n"));
    }
    page
}

/// What the filter leaves out and the replica has all the same: people forget it for years.
fn excluded(pair: &PairStatus) -> Option<String> {
    let entries = pair.history.last_done.as_ref()?.counts[Counter::ExcludedInReplica];
    let (replica, entries) = match entries {
        0 => return None,
        entries => (humanize::path(&pair.roots.replica), humanize::counted(entries, "entry", "entries")),
    };
    Some(format!(
        "\n{replica} still has {entries} that the rules leave out; --delete-excluded removes such\n"
    ))
}

fn row(pair: &PairStatus, now: i64) -> [String; 8] {
    let (history, verdict) = (&pair.history, &pair.verdict);
    let age = |age: Option<Duration>| age.map_or_else(|| "none".to_owned(), humanize::age);
    [
        word(verdict.state).to_owned(),
        humanize::path(&pair.roots.replica),
        age(verdict.age),
        age(history.rpo),
        share(history.day),
        share(history.month),
        last(pair),
        next(verdict.activity, now),
    ]
}

fn word(state: State) -> &'static str {
    match state {
        State::Held => "HELD",
        State::Late => "LATE",
        State::Rotted => "ROTTED",
        State::Unknown => "UNKNOWN",
        State::Failing => "FAILING",
        State::AtRisk => "AT RISK",
        State::Problems => "PROBLEMS",
        State::Ok => "ok",
    }
}

fn is(state: State) -> &'static str {
    match state {
        State::Held => "is held",
        State::Late => "is late",
        State::Rotted => "needs a decision",
        State::Unknown => "is of unknown age",
        State::Failing => "was not brought up to date",
        State::AtRisk => "may become late",
        State::Problems => "is not complete",
        State::Ok => "is well",
    }
}

/// `99 %`, rounded down: 100 % is all of them.
fn share(Share { met, judged }: Share) -> String {
    match (met * 100).checked_div(judged) {
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    }
}

fn last(pair: &PairStatus) -> String {
    let Some(pass) = &pair.history.last_ended else { return "none yet".to_owned() };
    match pair.verdict.last {
        Some(Ended::Done) => {
            let problems = pass.counts[Counter::Problems];
            let problems =
                (problems > 0).then(|| format!("{}, ", humanize::counted(problems, "problem", "problems")));
            let duration = pass.duration().map(humanize::duration).unwrap_or_default();
            format!("{}{}, {duration}", problems.unwrap_or_default(), changes(&pass.counts))
        }
        Some(Ended::Interrupted) => format!("stopped by {}", pass.message.as_deref().unwrap_or("a signal")),
        Some(Ended::ReplicaLost) => "replica lost".to_owned(),
        Some(other @ (Ended::Held | Ended::Killed | Ended::Failed)) => other.code().to_owned(),
        None => "none yet".to_owned(),
    }
}

fn next(activity: Activity, now: i64) -> String {
    let age = |millis: i64| humanize::age(Duration::from_millis(millis.try_into().unwrap_or(0)));
    match activity {
        Activity::Running(since) => format!("running for {}", age(now.saturating_sub(since))),
        Activity::Perhaps(since) => format!("perhaps running for {}", age(now.saturating_sub(since))),
        Activity::Next(at) if at <= now => "now".to_owned(),
        Activity::Next(at) => format!("in {}", age(at.saturating_sub(now))),
        Activity::None => "no process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_are_a_hundred_percent() {
        let cases = [((0, 0), "-"), ((0, 5), "0 %"), ((999, 1000), "99 %"), ((7, 7), "100 %")];
        for ((met, judged), expected) in cases {
            assert_eq!(share(Share { met, judged }), expected);
        }
    }
}
