//! A plan for scripts: one line for each change, with tabs between verb, bytes, path and note. `docs/plan.md` documents
//! it.
//!
//! A tab, because no escaped path has one. No time and no level, because they tell nothing of a plan.

use crate::cli::config::PlanOptions;
use crate::log::humanize;
use crate::model::entry::Kind;
use crate::model::event::{Event, Notice};

use super::words::{Place, left_out, note};
use crate::cli::commands::tally::bytes;

/// The line of an event, with its newline; none where it has none.
pub(super) fn line(event: &Event<'_>, options: PlanOptions) -> Option<String> {
    match event {
        _ if options.quiet => None,
        Event::Planned(operation) => {
            let place = Place::of(operation).text();
            Some(joined(operation.verb.word(), bytes(operation), &place, &note(operation)))
        }
        Event::Skipped { path, kind, reason } if options.verbose => {
            Some(joined("skip", None, &humanize::below(path, *kind), &left_out(*kind, reason)))
        }
        Event::Excluded { path, rule } if options.verbose => {
            Some(joined("exclude", None, &path.to_string(), &humanize::one_line(rule)))
        }
        Event::Notice(Notice::RuleUsed { rule, entries }) if options.verbose => {
            let entries = humanize::counted(*entries, "entry", "entries");
            Some(joined("rule", None, &humanize::one_line(rule), &entries))
        }
        Event::Verified { path, size, .. } if options.verbose => {
            Some(joined("same", Some(*size), &humanize::below(path, Kind::File), ""))
        }
        Event::Skipped { .. }
        | Event::Excluded { .. }
        | Event::Verified { .. }
        | Event::Started { .. }
        | Event::PassStarted { .. }
        | Event::Phase { .. }
        | Event::Done(_)
        | Event::Problem(_)
        | Event::Notice(_)
        | Event::PassEnded(_)
        | Event::Overran { .. }
        | Event::RpoAtRisk { .. }
        | Event::RpoMissed { .. }
        | Event::RpoMet { .. }
        | Event::Stopping { .. }
        | Event::Stopped
        | Event::Failed { .. } => None,
    }
}

fn joined(verb: &str, bytes: Option<u64>, place: &str, note: &str) -> String {
    let bytes = bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    let note = if note.is_empty() { String::new() } else { format!("\t{note}") };
    format!("{verb}\t{bytes}\t{place}{note}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::PlanForm;
    use crate::model::change::{Operation, Subtree, Verb};
    use crate::model::path::RelPath;

    #[test]
    fn a_line_has_verb_bytes_path_and_note_whatever_the_name() {
        let [plain, odd] = [&b"a/b"[..], b"two words\t\n"].map(|path| RelPath::from_bytes(path.to_vec()));
        let options = PlanOptions { form: PlanForm::Lines, verbose: false, quiet: false, color: false };
        let line = |operation| line(&Event::Planned(operation), options).expect("a line");
        let file = |verb, path| Operation { size: Some(5), ..Operation::new(verb, path, Kind::File) };
        let below = Some(Subtree { folders: 1, files: 2, bytes: 30 });
        let folder = |verb, subtree| Operation {
            subtree,
            reason: "why",
            ..Operation::new(verb, &plain, Kind::Folder)
        };
        assert_eq!(line(file(Verb::Create, &plain)), "create\t5\ta/b\n");
        assert_eq!(line(file(Verb::Create, &odd)), "create\t5\t\"two words\\t\\n\"\n");
        assert_eq!(line(folder(Verb::Delete, below)), "delete\t30\ta/b/\t1 folder, 2 files, why\n");
        assert_eq!(line(folder(Verb::Create, Some(Subtree::default()))), "create\t0\ta/b/\tempty, why\n");
        assert_eq!(line(folder(Verb::Metadata, None)), "metadata\t-\ta/b/\twhy\n");
        let moved = Operation { moved_from: Some(&odd), ..file(Verb::Move, &plain) };
        assert_eq!(line(moved), "move\t5\t\"two words\\t\\n\" -> a/b\n");
        let renamed =
            Operation { renamed_from: Some(&plain), ..Operation::new(Verb::Rename, &odd, Kind::File) };
        assert_eq!(line(renamed), "rename\t-\ta/b -> \"two words\\t\\n\"\n");
    }

    #[test]
    fn what_does_not_change_is_named_with_v_alone() {
        let path = RelPath::from_bytes(b"a".to_vec());
        let skipped = Event::Skipped { path: &path, kind: Kind::Socket, reason: "sockets are not mirrored" };
        let same = Event::Verified { path: &path, size: 3, digest: None };
        let options = PlanOptions { form: PlanForm::Lines, verbose: false, quiet: false, color: false };
        assert_eq!([line(&skipped, options), line(&same, options)], [None, None]);
        let verbose = PlanOptions { verbose: true, ..options };
        assert_eq!(line(&skipped, verbose).as_deref(), Some("skip\t-\ta\tsockets are not mirrored\n"));
        assert_eq!(line(&same, verbose).as_deref(), Some("same\t3\ta\n"));
        let excluded = Event::Excluded { path: &path, rule: "*.tmp (--exclude)" };
        let used = Event::Notice(Notice::RuleUsed { rule: "*.tmp (--exclude)", entries: 2 });
        assert_eq!([line(&excluded, options), line(&used, options)], [None, None]);
        assert_eq!(line(&excluded, verbose).as_deref(), Some("exclude\t-\ta\t*.tmp (--exclude)\n"));
        assert_eq!(line(&used, verbose).as_deref(), Some("rule\t-\t*.tmp (--exclude)\t2 entries\n"));
    }
}
