//! A plan for programs: the objects of the JSON log without time and level. The last one has the totals. `docs/plan.md`
//! documents it.

use crate::cli::config::PlanOptions;
use crate::log::{humanize, json};
use crate::model::change::Verb;
use crate::model::event::Event;
use crate::model::report::Outcome;
use serde::Serialize;

use crate::cli::commands::tally::{Tallies, Tally};

/// Removing a field, or changing its meaning, raises it.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Object<'a> {
    /// Only in the first object.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<u32>,
    #[serde(flatten)]
    event: &'a Event<'a>,
    /// The words for people, where the fields are not enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Only in the last object.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<OfVerb>>,
}

/// The changes of one verb.
#[derive(Serialize)]
struct OfVerb {
    verb: Verb,
    #[serde(flatten)]
    tally: Tally,
}

/// The object of an event, with its newline; none where it has none.
pub(super) fn object(
    event: &Event<'_>,
    is_first: bool,
    tallies: &Tallies,
    options: PlanOptions,
) -> Option<String> {
    let (message, changes) = match event {
        Event::PassEnded(report) => {
            let message = match &report.outcome {
                Outcome::Held(hold) => Some(hold.to_string()),
                Outcome::Done | Outcome::Planned | Outcome::Interrupted(_) | Outcome::ReplicaLost => None,
            };
            (message, Some(tallies.all().map(|(verb, tally)| OfVerb { verb, tally }).collect()))
        }
        _ if options.quiet => return None,
        Event::Planned(_) => (None, None),
        Event::Problem(problem) => (Some(problem.to_string()), None),
        Event::Notice(notice) => (Some(humanize::notice(notice)), None),
        Event::Skipped { .. } | Event::Excluded { .. } | Event::Verified { .. } if options.verbose => {
            (None, None)
        }
        Event::Skipped { .. }
        | Event::Excluded { .. }
        | Event::Verified { .. }
        | Event::Started { .. }
        | Event::PassStarted { .. }
        | Event::Phase { .. }
        | Event::Done(_)
        | Event::Overran { .. }
        | Event::RpoAtRisk { .. }
        | Event::RpoMissed { .. }
        | Event::RpoMet { .. }
        | Event::Stopping { .. }
        | Event::Stopped
        | Event::Failed { .. } => return None,
    };
    Some(json::object(&Object { schema_version: is_first.then_some(VERSION), event, message, changes }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::PlanForm;
    use crate::model::change::Operation;
    use crate::model::counters::Counts;
    use crate::model::entry::Kind;
    use crate::model::path::RelPath;
    use crate::model::report::{Hold, PassReport};
    use serde_json::{Value, json};
    use std::time::Duration;

    #[test]
    fn the_first_object_has_the_version_and_the_last_one_the_totals_and_the_hold() {
        let options = PlanOptions { form: PlanForm::Json, verbose: false, quiet: false, color: false };
        let path = RelPath::from_bytes(b"n\xff".to_vec());
        let operation = Operation { size: Some(5), ..Operation::new(Verb::Create, &path, Kind::File) };
        let mut tallies = Tallies::default();
        tallies.add(&operation);
        let told = |event: &Event<'_>, is_first| -> Value {
            serde_json::from_str(&object(event, is_first, &tallies, options).expect("an object")).unwrap()
        };
        let expected = json!({
            "schema_version": 1, "event": "planned", "verb": "create", "path": "n\u{fffd}", "path_bytes": "6eff",
            "kind": "file", "bytes": 5
        });
        assert_eq!(told(&Event::Planned(operation), true), expected);
        let report = PassReport {
            number: 1,
            outcome: Outcome::Held(Hold::SourceReplaced),
            counts: Counts::default(),
            duration: Duration::ZERO,
            replica_age: None,
            oldest_confirmation: None,
        };
        let last = told(&Event::PassEnded(&report), false);
        assert_eq!(last.get("schema_version"), None);
        assert_eq!(last["hold"], "source_replaced");
        assert!(last["message"].as_str().unwrap().starts_with("the source path leads to another folder"));
        assert_eq!(last["changes"], json!([{"verb": "create", "changes": 1, "entries": 1, "bytes": 5}]));
        let quiet = PlanOptions { quiet: true, ..options };
        assert!(object(&Event::Planned(operation), true, &tallies, quiet).is_none());
        assert!(object(&Event::PassEnded(&report), true, &tallies, quiet).is_some());
    }
}
