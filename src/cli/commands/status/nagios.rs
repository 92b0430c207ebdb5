//! The state of the pairs for Nagios, Icinga and their like: one line, performance data behind a bar
//! (Monitoring Plugins Development Guidelines, "Plugin Output" and "Performance data").

use crate::log::humanize;
use crate::run::exit::Health;
use crate::status::judge::State;
use crate::status::{PairStatus, Report};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// The line, and what it says of all pairs together.
pub(super) fn line(report: &Report) -> (String, Health) {
    let names: Vec<String> = report.pairs.iter().map(|pair| name(pair, report)).collect();
    let unread = if report.unread.is_empty() { Health::Ok } else { Health::Unknown };
    let worst = report.pairs.iter().map(|pair| health(pair.verdict.state)).max().unwrap_or(Health::Unknown);
    let health = worst.max(unread);
    let needy = report.pairs.iter().zip(&names).filter(|(pair, _)| pair.verdict.state != State::Ok);
    let mut parts: Vec<String> = needy.map(|(pair, name)| words(pair, name)).collect();
    parts.extend(
        report.unread.iter().map(|(index, _)| format!("{} cannot be read", plain(index.file_stem()))),
    );
    let good = report.pairs.iter().filter(|pair| pair.verdict.state == State::Ok).count();
    if good > 0 {
        parts.push(format!("{good} ok"));
    }
    if parts.is_empty() {
        parts.push("no pass is known".to_owned());
    }
    let data: Vec<String> = report.pairs.iter().zip(&names).map(|(pair, name)| data(pair, name)).collect();
    let data = if data.is_empty() { String::new() } else { format!(" | {}", data.join(" ")) };
    (format!("FILE-SYNC {}: {}{data}\n", health.word(), parts.join("; ")), health)
}

fn health(state: State) -> Health {
    match state {
        State::Held | State::Late | State::Rotted => Health::Critical,
        State::Failing | State::AtRisk | State::Problems => Health::Warning,
        State::Unknown => Health::Unknown,
        State::Ok => Health::Ok,
    }
}

/// The replica's own name, or the one of its index where two replicas have the same.
fn name(pair: &PairStatus, report: &Report) -> String {
    let of = |pair: &PairStatus| plain(pair.roots.replica.file_name());
    let own = of(pair);
    let is_shared = report.pairs.iter().filter(|other| of(other) == own).count() > 1;
    if own.is_empty() || is_shared { plain(pair.index.file_stem()) } else { own }
}

/// A name in characters that mean nothing in the line.
fn plain(name: Option<&OsStr>) -> String {
    let name = Path::new(name.unwrap_or_default()).to_string_lossy().into_owned();
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    name.chars().map(|letter| if is_plain(&letter) { letter } else { '_' }).collect()
}

fn words(pair: &PairStatus, name: &str) -> String {
    let what = match pair.verdict.state {
        State::Held => "held",
        State::Late => "late",
        State::Rotted => "source files rotted",
        State::Unknown => "no pass done",
        State::Failing => "last pass not done",
        State::AtRisk => "at risk",
        State::Problems => "problems",
        State::Ok => "ok",
    };
    let age = pair.verdict.age.map(|age| format!(", {} old", humanize::age(age))).unwrap_or_default();
    let rpo = pair.history.rpo.map(|rpo| format!(", RPO {}", humanize::age(rpo))).unwrap_or_default();
    format!("{name} {what}{age}{rpo}")
}

/// `'photos_age'=240s;1800;3600`; `U` for an age that is not known.
fn data(pair: &PairStatus, name: &str) -> String {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs().to_string()).unwrap_or_default();
    let age = pair.verdict.age.map_or_else(|| "U".to_owned(), |age| format!("{}s", age.as_secs()));
    let limits = format!(";{};{}", seconds(pair.verdict.warn_age), seconds(pair.history.rpo));
    format!("'{name}_age'={age}{}", limits.trim_end_matches(';'))
}
