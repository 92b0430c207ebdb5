//! Setting metadata: owner, extended attributes, mode, modification time, in the order in which the kernel keeps them.
//!
//! chown clears setuid, setgid and capabilities; setting an ACL changes the mode; everything changes the ctime. So the
//! order is owner, xattrs, mode, time; and before all of them the mode loses the bits that it will not have in the end.
//! Rights are granted under an owner: they wait until the owner is set, and where it can never be set, they are reduced
//! to rights that are safe under the present owner ([`Due`]). The result is read back: where the filesystem shows
//! something else, it cannot hold the feature, and that is learned instead of being retried in every pass.

pub(in crate::apply) mod folders;
pub(in crate::apply) mod mode;
pub(in crate::apply) mod probe;
pub(in crate::apply) mod setters;
pub(in crate::apply) mod update;
pub(in crate::apply) mod xattr;

use crate::apply::metadata::mode::mode_under_old_owner;
use crate::apply::metadata::probe::learn_links;
use crate::apply::metadata::setters::{Times, close, learn, learn_owner, set_mode, set_mtime, set_owner};
use crate::apply::metadata::xattr::{AttributesSet, Effect, ListSet, Which, set_attributes, unread_in};
use crate::apply::refusal::{MetadataError, in_replica, in_source};
use crate::apply::staged::Set;
use crate::capabilities::Filesystem;
use crate::context::Context;
use crate::fs::metadata::Subject;
use crate::fs::xattr::{Attributes, feature_of, is_of_target};
use crate::fs::{Errno, is_unsupported};
use crate::metadata_rules::{
    Due, MetadataComparison, compare_metadata, compare_with, is_left_to_its_owner, mtime_feature,
    owner_feature,
};
use crate::model::acl::{AccessList, GROUP, mode_without_list};
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::feature::Feature;
use crate::model::problem_kind::ProblemKind;
use std::os::fd::BorrowedFd;

/// A source entry whose metadata is to be copied.
#[derive(Clone, Copy)]
pub(crate) struct Model<'a> {
    /// Its facts.
    pub entry: &'a Entry,
    /// The source of its xattrs.
    pub subject: Subject<'a>,
    /// The part of its metadata that is copied.
    pub extent: Extent,
}

/// The extent of metadata that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Everything,
    /// All but the extended attributes, which are right or do not matter.
    NoAttributes,
}

/// The extent for a kind: a symbolic link has only xattrs that take capabilities to set.
pub(crate) fn extent_of(kind: Kind, context: &Context<'_>) -> Extent {
    if kind == Kind::Symlink && !context.rights.has_link_attributes() {
        Extent::NoAttributes
    } else {
        Extent::Everything
    }
}

const LOOK: ProblemKind = ProblemKind::StatReplicaEntry;

/// An entry of the replica whose metadata is set.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The entry.
    pub subject: Subject<'a>,
    /// An open folder on the same filesystem, where temporaries can show whether a refusal concerns this entry or all.
    pub folder: BorrowedFd<'a>,
    /// Its filesystem.
    pub filesystem: &'a Filesystem,
}

/// Makes the metadata of `target` that of `model`, as far as the filesystem holds it. Only differences are written, and
/// a failure on one part does not keep the rest from being written.
///
/// # Errors
/// The entry cannot be looked at.
pub(crate) fn set_metadata(
    context: &Context<'_>,
    model: Model<'_>,
    target: Target<'_>,
) -> Result<Set, MetadataError> {
    let filesystem = target.filesystem;
    let before = target.subject.entry().map_err(in_replica(LOOK))?;
    let origin = Origin::read(context, filesystem, model, &before);
    let mut not_set = origin.not_set;
    let mut work = Work { context, filesystem, model, target, before, origin, most: u16::MAX };
    if let Err(not_learned) = work.learn_links() {
        return Ok(work.end(before, false, Some(not_learned)));
    }
    let (entry, kind) = (model.entry, model.entry.kind);
    let mut shown = before;
    let mut times = Times::new(filesystem);
    let mut attributes_changed = false;
    let mut rights_wait = false;
    // A refused or wrongly read back value is retried once before the filesystem is blamed: another process may have
    // written, and the refusal of a server may be transient.
    let mut refused = None;
    for attempt in 0..2 {
        let MetadataComparison { mut due, differences, .. } = work.compare(&shown);
        if attempt > 0 && !differences.any() && !rights_wait {
            break;
        }
        refused = None;
        let (mut now, mut which) = (shown, Which::All);
        if attempt == 0 || differences.owner {
            let closed = close(target, (kind, &due), (&shown, differences.owner));
            let mut is_written = closed.is_ok_and(|written| written);
            if differences.owner {
                let set = closed.and_then(|_| set_owner(context, target, (kind, &due)));
                which = if set.is_ok() { Which::All } else { Which::AllButRights };
                refused = refused.or(set.err());
                is_written = true;
            }
            if is_written {
                now = work.look()?;
            }
            if differences.owner && which == Which::All {
                // Its actual owner decides which rights are safe: not every filesystem sets the owner that it was
                // given.
                due = work.due_under(&now);
            }
        }
        let are_due = attempt == 0 || rights_wait && which == Which::All;
        rights_wait = which == Which::AllButRights;
        if are_due && let Some(set) = work.set_attributes(&due, &now, which) {
            work.bound_by(set.list, differences.owner);
            attributes_changed |= set.effect == Effect::Changed;
            if set.effect != Effect::NotWritten || set.not_set.is_some() {
                now = work.look()?;
            }
            not_set = not_set.or(set.not_set);
        }
        let mut mode = due.mode & work.most;
        if rights_wait {
            let has_list = work.origin.list != AccessList::None;
            mode = mode_under_old_owner(&Entry { mode, ..*entry }, before.mode, has_list);
        }
        if !is_left_to_its_owner(entry, &now, &context.rights) {
            refused = refused.or(set_mode(context, target, (kind, mode), &now).err());
        }
        if differences.mtime {
            times.begin(attempt, entry.mtime, shown.mtime);
            refused = refused.or(set_mtime(context, target, entry, times.access).err());
        }
        let earlier = shown;
        shown = work.look()?;
        if differences.mtime {
            times.see(earlier.mtime, shown.mtime);
        }
    }
    if work.compare(&shown).differences.any() || rights_wait {
        not_set = not_set.or(refused);
    }
    if not_set.is_none() {
        // First the owner, since the safe rights depend on it.
        learn_owner(context, target, (entry, &work.compare(&shown)));
        learn(context, target, (entry, &work.compare(&shown)), &shown);
        let left = work.compare(&shown);
        if left.differences.mode || left.differences.owner {
            not_set = Some(in_replica(ProblemKind::KeepModeAndOwner)(Errno::NOTSUP));
        }
        if !left.differences.mtime {
            times.learn(filesystem);
        }
        for (is_missing, feature) in [
            (left.owner_not_held, owner_feature(kind)),
            (left.mode_not_held, Feature::Mode),
            // Also where no rule explains the time that the filesystem shows.
            (left.mtime_not_held || left.differences.mtime, mtime_feature(kind, filesystem)),
        ] {
            if is_missing {
                context.reporter.not_held(feature);
            }
        }
    }
    Ok(work.end(shown, attributes_changed, not_set))
}

/// The xattrs of the source, as far as they are known.
struct Origin {
    /// None where they could not be read, or are not copied.
    attributes: Option<Attributes>,
    list: AccessList,
    not_set: Option<MetadataError>,
}

impl Origin {
    fn read(context: &Context<'_>, filesystem: &Filesystem, model: Model<'_>, before: &Entry) -> Origin {
        let rights = &context.rights;
        let is_list_needed = || {
            // Without a change of owner or mode the ACL is as right as it was.
            let quick =
                compare_metadata(model.entry, &AccessList::None, before, filesystem, rights).differences;
            model.entry.kind != Kind::Symlink && (quick.mode || quick.owner)
        };
        if model.extent == Extent::NoAttributes && !is_list_needed() {
            return Origin { attributes: None, list: AccessList::None, not_set: None };
        }
        let read = match Attributes::read(model.subject, rights) {
            Err(errno) if is_unsupported(errno) => Ok(Attributes::default()),
            read => read.map_err(in_source(ProblemKind::ReadSourceXattrs)),
        };
        match (read, model.extent) {
            (Ok(attributes), Extent::Everything) => {
                let list = attributes.access_list();
                Origin { attributes: Some(attributes), list, not_set: None }
            }
            (Ok(attributes), Extent::NoAttributes) => {
                Origin { attributes: None, list: attributes.access_list(), not_set: None }
            }
            (Err(MetadataError { errno, .. }), Extent::Everything) if is_of_target(model.subject, errno) => {
                Origin { attributes: None, list: AccessList::None, not_set: None }
            }
            (Err(not_set), Extent::Everything) => {
                Origin { attributes: None, list: AccessList::Unknown, not_set: Some(not_set) }
            }
            // It was reported when they were compared.
            (Err(_), Extent::NoAttributes) => {
                Origin { attributes: None, list: AccessList::Unknown, not_set: None }
            }
        }
    }
}

/// The work on one entry.
struct Work<'a> {
    context: &'a Context<'a>,
    filesystem: &'a Filesystem,
    model: Model<'a>,
    target: Target<'a>,
    before: Entry,
    origin: Origin,
    /// The upper bound of its permission bits while its ACL is not the right one.
    most: u16,
}

impl Work<'_> {
    fn look(&self) -> Result<Entry, MetadataError> {
        self.target.subject.entry().map_err(in_replica(LOOK))
    }

    fn compare(&self, shown: &Entry) -> MetadataComparison {
        let (source, rights) = (self.model.entry, &self.context.rights);
        let mut due = Due::of(source, &self.origin.list, shown, self.filesystem, rights);
        due.mode &= self.most;
        compare_with(due, source, shown, self.filesystem, rights)
    }

    /// The metadata that it should have under its present owner.
    fn due_under(&self, now: &Entry) -> Due {
        let source = (self.model.entry, &self.origin.list);
        Due::under((now.uid, now.gid), source, now, self.filesystem, &self.context.rights)
    }

    /// Learns the features of symbolic links here, before anything is set on one.
    fn learn_links(&self) -> Result<(), MetadataError> {
        if self.model.entry.kind != Kind::Symlink || self.filesystem.has_sound_links() {
            return Ok(());
        }
        let learned = learn_links(self.context, self.filesystem, self.target.folder);
        learned.map_err(in_replica(ProblemKind::ProbeSymlink))
    }

    /// None when xattrs are not copied.
    fn set_attributes(&self, due: &Due, now: &Entry, which: Which) -> Option<AttributesSet> {
        if self.model.extent == Extent::NoAttributes {
            return None;
        }
        let Some(attributes) = &self.origin.attributes else { return Some(AttributesSet::unknown(which)) };
        let source = self.model.entry;
        let takes = |feature| self.filesystem.holds_for(source.kind, feature);
        if source.kind == Kind::Symlink && !takes(Feature::TrustedXattrs) && !takes(Feature::SecurityXattrs) {
            // They are not even read: the kernel may show those of its target.
            let missing = attributes.iter().filter_map(|(name, _)| feature_of(name));
            missing.for_each(|feature| self.context.reporter.not_held(feature));
            return None;
        }
        let is_owner_kept = (now.uid, now.gid) == (source.uid, source.gid);
        let (ours, lacks_capability) =
            attributes.adapted(&due.list, is_owner_kept || which == Which::AllButRights);
        if lacks_capability {
            self.context.reporter.not_held(Feature::Capabilities);
        }
        Some(set_attributes(self.context, (self.filesystem, source.kind), &ours, self.target.subject, which))
    }

    /// Limits the mode to bits that are safe with the entry's ACL.
    fn bound_by(&mut self, list: ListSet, owner_changed: bool) {
        match list {
            ListSet::AsDue | ListSet::Waits => {}
            ListSet::Missing(list) => self.most &= mode_without_list(u16::MAX, &list),
            // The group bits may be the mask of an ACL that is missing, and exceed the rights of the owning group; or
            // they may become the mask of an ACL that should have gone. Bits that were set before stay, unless the
            // entry has just got another group.
            ListSet::Unknown if self.model.entry.kind != Kind::Symlink => {
                let kept = if owner_changed { 0 } else { self.before.mode & GROUP };
                self.most &= !GROUP | kept;
            }
            ListSet::Unknown => {}
        }
    }

    fn end(self, shown: Entry, attributes_changed: bool, not_set: Option<MetadataError>) -> Set {
        let is_unknown = self.model.extent == Extent::Everything && self.origin.attributes.is_none();
        Set {
            entry: shown,
            before: self.before,
            attributes_changed,
            not_set,
            unread: self.origin.attributes.iter().flat_map(|it| unread_in(Side::Source, it)).collect(),
            are_attributes_unknown: is_unknown,
        }
    }
}
