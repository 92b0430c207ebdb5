//! The question before a first pass that deletes: a person at a terminal may have named the wrong folder.

use crate::model::doubt::examples;
use crate::model::limit::Amount;
use crate::model::path::RelPath;
use crate::model::serial;
use serde::Serialize;
use std::path::Path;

/// A pass would delete entries from a replica that no recorded pass has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstDeletion<'a> {
    /// The replica.
    #[serde(flatten, serialize_with = "serial::replica")]
    pub replica: &'a Path,
    /// The deletions of the plan.
    #[serde(flatten)]
    pub deleted: Amount,
    /// The largest of it, with the number of entries of each.
    #[serde(serialize_with = "examples")]
    pub examples: Vec<(RelPath, u64)>,
    /// The number of the other ones.
    #[serde(skip)]
    pub others: u64,
    /// Whether an index records passes. Without one it is not known whether an earlier pass has written the replica.
    #[serde(rename = "index")]
    pub has_index: bool,
}

/// The answer of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It may be deleted.
    Yes,
    /// Nothing may be written.
    No,
    /// There is nobody to ask: the pass says that it deletes, and goes on.
    Nobody,
}

/// Asks a person.
pub trait Confirm: Send + Sync {
    /// Asks, and waits for the answer, or for a signal that ends the program.
    fn confirm(&self, question: &FirstDeletion<'_>) -> Answer;
}
