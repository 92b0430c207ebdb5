//! Two sorted listings read as one.

use crate::fs::listing::Listing;
use crate::plan::Pair;
use std::ffi::CStr;
use std::sync::Arc;

/// The listings of a folder pair.
pub(super) struct Merge {
    pub(super) pair: Arc<Pair>,
    pub(super) source: Listing,
    pub(super) replica: Listing,
    /// Whether the source's folder shows a change that is later than the start of the pass.
    pub(super) has_changed: bool,
}

/// A position in both listings.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    source: usize,
    replica: usize,
}

impl Merge {
    /// The next name in the order of raw bytes, and which sides have it.
    pub(super) fn next(&self, at: &mut Position) -> Option<(&CStr, bool, bool)> {
        let (source, replica) = (self.source.get(at.source), self.replica.get(at.replica));
        let (name, in_source, in_replica) = match (source, replica) {
            (None, None) => return None,
            (Some(name), None) => (name, true, false),
            (None, Some(name)) => (name, false, true),
            (Some(ours), Some(theirs)) => match ours.to_bytes().cmp(theirs.to_bytes()) {
                std::cmp::Ordering::Less => (ours, true, false),
                std::cmp::Ordering::Equal => (ours, true, true),
                std::cmp::Ordering::Greater => (theirs, false, true),
            },
        };
        at.source += usize::from(in_source);
        at.replica += usize::from(in_replica);
        Some((name, in_source, in_replica))
    }
}
