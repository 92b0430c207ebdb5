//! What a survey notes when it is limited to one path. It decides nothing.

use crate::capabilities::Filesystem;
use crate::context::focus::{ComparedRecord, Sight};
use crate::fs::dir::Dir;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::plan::Pair;
use crate::survey::merge::Merge;
use crate::survey::reconcile::Sighting;
use crate::survey::{LOG, Survey};
use crate::walk::{Standing, left_out};
use std::ffi::CStr;
use std::sync::Arc;

impl Survey<'_> {
    /// Notes the two sides of a name, and what the index says of a file that both have.
    pub(super) fn note_sights(&self, merge: &Merge, name: &CStr, (source, replica): (&Sighting, &Sighting)) {
        let path = || merge.pair.path().join(name);
        self.context.note(path, |seen| {
            (seen.source, seen.replica) = (Some(source.sight()), Some(replica.sight()));
            let (Some(ours), Some(theirs)) = (source.entry(), replica.entry()) else { return };
            if (ours.kind, theirs.kind) != (Kind::File, Kind::File) {
                return;
            }
            seen.record = self.known(merge, name, (ours, theirs)).map(|known| ComparedRecord {
                record: known.record,
                confirmed: known.confirmed,
                distrust: known.distrust(),
            });
        });
    }

    /// Notes an entry of a subtree that one side alone has. `filesystem` is that of the replica.
    pub(super) fn note_one_sided(
        &self,
        (side, filesystem): (Side, &Filesystem),
        folder: &Arc<Dir>,
        name: &CStr,
        (entry, standing): (&Entry, Standing),
    ) {
        self.context.note(
            || folder.path().join(name),
            |seen| {
                let sight = Some(Sight::Here(*entry));
                match side {
                    Side::Source => seen.source = sight,
                    Side::Replica => seen.replica = sight,
                }
                seen.left_out = match (standing, side) {
                    (Standing::Log, _) => Some(LOG.to_owned()),
                    (Standing::OtherRoot | Standing::Mirrored(_), Side::Source) => {
                        left_out(entry, filesystem).map(|why| why.words().into_owned())
                    }
                    // The rule is noted where it is counted.
                    (Standing::Excluded(_), _)
                    | (Standing::OtherRoot | Standing::Mirrored(_), Side::Replica) => None,
                };
            },
        );
    }

    /// Notes that a name is left out by design, and why.
    pub(super) fn note_left_out(&self, pair: &Pair, name: &CStr, why: &str) {
        self.context.note(|| pair.path().join(name), |seen| seen.left_out = Some(why.to_owned()));
    }
}
