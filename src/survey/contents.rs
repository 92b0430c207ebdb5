//! Comparing two entries of one kind: content, symbolic link target, metadata.

use crate::digest::Digests;
use crate::entry::{Entry, Kind};
use crate::filesystem::{Differences, MetadataComparison, compare_metadata};
use crate::fs::attributes::{ACCESS_LIST, Attributes, is_system_made, mode_without_list, namespace};
use crate::fs::content::{forget_cached, open_to_read};
use crate::fs::subject::Subject;
use crate::fs::{Errno, is_gone, is_unsupported, place};
use crate::monitor::{Event, Feature};
use crate::plan::{Action, Change, Pair};
use crate::problem::Side;
use crate::survey::compare::{Comparison, compare_contents};
use crate::survey::links::Verdict;
use crate::survey::reconcile::{Decision, content_verb};
use crate::survey::{Doors, Survey, change};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// How the extended attributes of two entries compare.
struct AttributesCompared {
    /// Whether some have to be set or removed.
    differ: bool,
    /// The source's access list, where the replica cannot hold it.
    list_not_held: Option<Vec<u8>>,
}

impl Survey<'_> {
    pub(super) fn compare_large(
        &self,
        pair: &Arc<Pair>,
        name: &CStr,
        decision: Decision,
        entries: (&Entry, &Entry),
    ) -> u64 {
        let Some(open) = self.open_both(pair) else { return 0 };
        if self.context.is_halted() { 0 } else { self.compare(pair, open.doors(), name, decision, entries) }
    }

    /// Compares two entries of one kind that are not folders. Returns 1 when nothing differs.
    pub(super) fn compare(
        &self,
        pair: &Arc<Pair>,
        doors: Doors<'_>,
        name: &CStr,
        decision: Decision,
        (source, replica): (&Entry, &Entry),
    ) -> u64 {
        if source.links > 1 || replica.links > 1 {
            if self.links.enter(pair, name, source, replica) {
                let verdict = self.verdict(pair, doors, name, decision, (source, replica));
                self.links.judge(source, replica, verdict);
            }
            return 0;
        }
        let change = change(pair, name, source, Action::Create);
        match self.verdict(pair, doors, name, decision, (source, replica)) {
            Verdict::Same(differences) if differences.any() => {
                let rights = &self.context.rights;
                let is_foreign = !rights.privileged && replica.uid != rights.user;
                // Nobody may set the metadata of somebody else's file, but everybody may replace it by a copy.
                let change = if is_foreign
                    && pair.filesystem.holds(Feature::Owner)
                    && source.kind == Kind::File
                {
                    Change { action: Action::Adopt, reason: "its metadata belongs to another user", ..change }
                } else {
                    Change { action: Action::SetMetadata(differences), ..change }
                };
                self.push(Change { expected: Some(replica.id), ..change });
                0
            }
            Verdict::Same(_) => 1,
            Verdict::Replace { verb, reason, replica_unreadable } => {
                let action = Action::Replace(verb);
                self.push(Change {
                    action,
                    expected: Some(replica.id),
                    replica_unreadable,
                    reason,
                    ..change
                });
                0
            }
            Verdict::Unknown => 0,
        }
    }

    fn verdict(
        &self,
        pair: &Arc<Pair>,
        doors: Doors<'_>,
        name: &CStr,
        decision: Decision,
        (source, replica): (&Entry, &Entry),
    ) -> Verdict {
        let (Some(source_folder), Some(replica_folder)) = (doors.source, doors.replica) else {
            return Verdict::Unknown;
        };
        let named = (Subject::Named(source_folder, name), Subject::Named(replica_folder, name));
        let subjects = match decision {
            Decision::Replace(verb, reason) => {
                return Verdict::Replace { verb, reason, replica_unreadable: false };
            }
            Decision::CompareContents => {
                return self.compare_files(pair, (source_folder, replica_folder), name, (source, replica));
            }
            Decision::CompareTargets => {
                match (place::read_symlink(source_folder, name), place::read_symlink(replica_folder, name)) {
                    (Ok(ours), Ok(theirs)) if ours == theirs => named,
                    (Ok(_), Ok(_)) => {
                        let verb = content_verb(source, replica);
                        return Verdict::Replace {
                            verb,
                            reason: "target differs",
                            replica_unreadable: false,
                        };
                    }
                    // EINVAL: no symbolic link any more.
                    (Err(Errno::INVAL), _) => return Verdict::Unknown,
                    (Err(errno), _) => return self.unreadable_source(pair, name, errno),
                    (Ok(_), Err(Errno::INVAL)) => {
                        self.gone(pair, Side::Replica, Errno::INVAL);
                        return Verdict::Unknown;
                    }
                    (Ok(_), Err(errno)) => return self.unreadable_replica(pair, errno),
                }
            }
            Decision::CompareMetadata => named,
            Decision::Nothing
            | Decision::Descend
            | Decision::Create
            | Decision::Delete(_)
            | Decision::LeaveOut { .. }
            | Decision::Blocked(_) => return Verdict::Unknown,
        };
        self.same_but_metadata(pair, name, (source, replica), subjects)
    }

    fn compare_files(
        &self,
        pair: &Arc<Pair>,
        (source_folder, replica_folder): (BorrowedFd<'_>, BorrowedFd<'_>),
        name: &CStr,
        (source, replica): (&Entry, &Entry),
    ) -> Verdict {
        if self.context.was_compared_before(source, replica) {
            let compared = self.compare_metadata(pair, (source, replica), None);
            return compared.map_or(Verdict::Unknown, Verdict::Same);
        }
        let source_file = match open_to_read(source_folder, name, self.context.owns(source.uid)) {
            Ok(file) => file,
            Err(errno) => return self.unreadable_source(pair, name, errno),
        };
        let replica_file = match open_to_read(replica_folder, name, self.context.owns(replica.uid)) {
            Ok(file) => file,
            Err(errno) => return self.unreadable_replica(pair, errno),
        };
        let (source_file, replica_file) = (source_file.as_fd(), replica_file.as_fd());
        if self.context.asks_the_disk {
            forget_cached(replica_file);
        }
        let sparse = source.may_have_holes();
        let sizes = (source.size, source.blocks.saturating_mul(512));
        let compare =
            |digests| compare_contents(self.context, (source_file, replica_file), sizes, sparse, digests);
        let wanted = self.context.digests;
        // Where the times differ the contents most likely do, and a digest of their common start would be for nothing.
        let comparison = if source.mtime == replica.mtime {
            compare(wanted)
        } else {
            let compared = compare(Digests::OfCopies);
            let is_equal = matches!(compared, Comparison::Equal(_));
            if is_equal && wanted == Digests::OfAll { compare(wanted) } else { compared }
        };
        match comparison {
            Comparison::Equal(digest) => {
                if self.context.monitor.wants_verified() {
                    let path = pair.path().join(name);
                    self.context.monitor.event(&Event::Verified { path: &path, size: source.size, digest });
                }
                let subjects = (Subject::Open(source_file), Subject::Open(replica_file));
                self.same_but_metadata(pair, name, (source, replica), subjects)
            }
            Comparison::Different => Verdict::Replace {
                verb: content_verb(source, replica),
                reason: "content differs",
                replica_unreadable: false,
            },
            Comparison::SourceUnreadable(errno) => self.unreadable_source(pair, name, errno),
            Comparison::ReplicaUnreadable(errno) => self.unreadable_replica(pair, errno),
            Comparison::Interrupted => Verdict::Unknown,
        }
    }

    fn same_but_metadata(
        &self,
        pair: &Arc<Pair>,
        name: &CStr,
        (source, replica): (&Entry, &Entry),
        subjects: (Subject<'_>, Subject<'_>),
    ) -> Verdict {
        let differences = match self.compare_metadata(pair, (source, replica), Some(subjects)) {
            Ok(differences) => differences,
            Err(failed) => {
                self.unreadable_attributes(pair, Some(name), failed);
                if is_gone(failed.1) {
                    return Verdict::Unknown;
                }
                match self.compare_metadata(pair, (source, replica), None) {
                    Ok(differences) => differences,
                    Err(_) => return Verdict::Unknown,
                }
            }
        };
        Verdict::Same(differences)
    }

    /// Which metadata differs; extended attributes only where `subjects` give them.
    pub(super) fn compare_metadata(
        &self,
        pair: &Pair,
        (source, replica): (&Entry, &Entry),
        subjects: Option<(Subject<'_>, Subject<'_>)>,
    ) -> Result<Differences, (Side, Errno)> {
        let mut source = *source;
        let mut attributes_differ = false;
        // A symbolic link has only attributes that root may set.
        let has_attributes = source.kind != Kind::Symlink || self.context.rights.privileged;
        if let Some((ours, theirs)) = subjects.filter(|_| has_attributes) {
            let compared = self.compare_attributes(pair, ours, theirs)?;
            attributes_differ = compared.differ;
            if let Some(list) = compared.list_not_held {
                source.mode = mode_without_list(source.mode, &list);
            }
        }
        let MetadataComparison { mut differences, owner_not_held, mode_not_held, mtime_not_held } =
            compare_metadata(&source, replica, &pair.filesystem, &self.context.rights);
        for (not_held, feature) in [
            (owner_not_held, Feature::Owner),
            (mode_not_held, Feature::Mode),
            (mtime_not_held, Feature::Mtime),
        ] {
            if not_held {
                self.context.not_held(feature);
            }
        }
        differences.attributes = attributes_differ;
        Ok(differences)
    }

    /// Compares the extended attributes that are mirrored.
    fn compare_attributes(
        &self,
        pair: &Pair,
        source: Subject<'_>,
        replica: Subject<'_>,
    ) -> Result<AttributesCompared, (Side, Errno)> {
        let privileged = self.context.rights.privileged;
        let ours = match Attributes::read(source, privileged) {
            Err(errno) if is_unsupported(errno) => Attributes::default(),
            read => read.map_err(|errno| (Side::Source, errno))?,
        };
        let theirs = match Attributes::read(replica, privileged) {
            Err(errno) if is_unsupported(errno) => {
                for (name, _) in ours.iter() {
                    if let Some(feature) = namespace(name, privileged) {
                        pair.filesystem.learn_missing(feature);
                    }
                }
                Attributes::default()
            }
            read => read.map_err(|errno| (Side::Replica, errno))?,
        };
        let mut differ = theirs.iter().any(|(name, _)| ours.get(name).is_none() && !is_system_made(name));
        for (name, _) in ours.iter().filter(|(name, value)| theirs.get(name) != Some(value)) {
            let Some(feature) = namespace(name, privileged) else { continue };
            if pair.filesystem.holds(feature) {
                differ = true;
            } else {
                self.context.not_held(feature);
            }
        }
        let list = ours.get(ACCESS_LIST).filter(|_| !pair.filesystem.holds(Feature::AccessLists));
        Ok(AttributesCompared { differ, list_not_held: list.map(<[u8]>::to_vec) })
    }
}
