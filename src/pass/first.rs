//! The question before a first pass that deletes.

use crate::context::Context;
use crate::model::confirm::{Answer, FirstDeletion};
use crate::model::doubt::EXAMPLES;
use crate::model::report::{Hold, Outcome};
use crate::model::takes::Taken;
use crate::plan::Plan;

/// Asks whether a plan may delete entries from a replica that no recorded pass has written. Returns the outcome of a pass
/// that ends with the answer. Where nobody can be asked the pass says what it deletes, and goes on.
///
/// Without an index nothing is recorded, and each process would ask anew: it is only told, once.
pub(super) fn ask(context: &Context<'_>, plan: &Plan) -> Option<Outcome> {
    let has_index = context.ledger.can_keep();
    if context.ledger.roots().is_some() || !(has_index || context.is_first) {
        return None;
    }
    let deleted = plan.stake(0).deleted;
    if deleted.entries == 0 {
        return None;
    }
    let (examples, others) = plan.largest(Taken::Deleted, EXAMPLES);
    let replica = context.roots.replica.0;
    let question = FirstDeletion { replica, deleted, examples, others, has_index };
    let person = context.confirm.filter(|_| context.is_first);
    let answer = person.map_or(Answer::Nobody, |person| person.confirm(&question));
    if let Some(signal) = context.interrupt.stopped_by() {
        return Some(Outcome::Interrupted(signal));
    }
    if answer == Answer::No {
        return Some(Outcome::Held(Hold::Declined { replica: replica.to_owned(), deleted }));
    }
    context.reporter.first_deletion(&question, answer);
    None
}
