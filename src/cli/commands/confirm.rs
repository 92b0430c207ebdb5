//! Asks the person at the terminal before a first pass deletes.

use crate::cli::commands::folded::folded;
use crate::control::Interrupt;
use crate::fs::console::Dialog;
use crate::log::Log;
use crate::log::humanize::{counted, number, path, size};
use crate::model::confirm::{Answer, Confirm, FirstDeletion};
use std::sync::Arc;

/// `--yes`: nobody is asked.
pub(super) struct Always;

impl Confirm for Always {
    fn confirm(&self, _: &FirstDeletion<'_>) -> Answer {
        Answer::Yes
    }
}

/// The person at the terminal, if there is one.
pub(super) struct Person {
    /// The log, whose lines come before the question.
    pub(super) log: Arc<Log>,
    /// A signal ends the wait for the answer.
    pub(super) interrupt: Arc<Interrupt>,
}

impl Confirm for Person {
    fn confirm(&self, question: &FirstDeletion<'_>) -> Answer {
        let Some(dialog) = Dialog::with_person().filter(|_| question.has_index) else {
            return Answer::Nobody;
        };
        self.log.flush();
        let goes_on = || {
            self.interrupt.beat();
            !self.interrupt.is_set()
        };
        let columns = dialog.columns();
        let words: String = words(question).split_inclusive('\n').map(|line| folded(line, columns)).collect();
        let said = dialog.ask(&words, goes_on);
        match said.as_deref().map(str::trim) {
            Some(said) if ["y", "yes"].iter().any(|yes| said.eq_ignore_ascii_case(yes)) => Answer::Yes,
            Some(_) | None => Answer::No,
        }
    }
}

fn words(question: &FirstDeletion<'_>) -> String {
    let FirstDeletion { replica, deleted, examples, others, .. } = question;
    let mut words = format!(
        "This would delete {} ({}) from {}, which file-sync has never written:\n",
        counted(deleted.entries, "entry", "entries"),
        size(deleted.bytes),
        path(replica)
    );
    for (at, entries) in examples {
        words.push_str(&match entries {
            1 => format!("  {at}\n"),
            _ => format!("  {at} ({} entries)\n", number(*entries)),
        });
    }
    if *others > 0 {
        words.push_str(&format!("  and {} more\n", number(*others)));
    }
    words.push_str("Go on? [y/N] ");
    words
}
