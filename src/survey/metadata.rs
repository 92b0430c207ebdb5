//! Compares the metadata of two entries of one kind, xattrs included.

use crate::context::focus;
use crate::context::unread::Unread;
use crate::fs::metadata::Subject;
use crate::fs::xattr::{ACCESS_LIST, Attributes, feature_of, is_of_target, is_system_made};
use crate::fs::{is_gone, is_unsupported};
use crate::metadata_rules::{MetadataComparison, compare_metadata, mtime_feature, owner_feature};
use crate::model::acl::AccessList;
use crate::model::change::Differences;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::model::feature::Feature;
use crate::plan::Pair;
use crate::survey::Survey;
use std::ffi::{CStr, CString};

/// The subjects whose xattrs can be read.
#[derive(Clone, Copy)]
pub(super) enum Subjects<'a> {
    /// In both trees.
    Both(Subject<'a>, Subject<'a>),
    /// The source alone: the replica's xattrs are unknown, and not compared.
    Source(Subject<'a>),
    /// None: neither has any xattr, as the index knows.
    Bare,
}

/// The result of a comparison.
pub(super) struct ComparedMetadata {
    /// The parts that differ.
    pub(super) differences: Differences,
    /// True when neither entry has an xattr.
    pub(super) is_bare: bool,
}

/// The xattrs of both sides, as far as they are known.
struct Found {
    ours: Option<Attributes>,
    theirs: Theirs,
}

/// The xattrs of the replica.
enum Theirs {
    Read(Attributes),
    NotAsked,
    Unreadable,
}

impl Found {
    fn none() -> Found {
        Found { ours: Some(Attributes::default()), theirs: Theirs::Read(Attributes::default()) }
    }

    fn is_none(&self) -> bool {
        let ours = self.ours.as_ref().is_some_and(Attributes::is_empty);
        ours && matches!(&self.theirs, Theirs::Read(theirs) if theirs.is_empty())
    }

    /// The ACL of the source. It is unknown also where that of the replica is, because the replica's group bits are the
    /// mask of its ACL then.
    fn list(&self) -> AccessList {
        match (&self.ours, &self.theirs) {
            (None, _) | (Some(_), Theirs::Unreadable) => AccessList::Unknown,
            (Some(_), Theirs::Read(theirs)) if theirs.is_unread(ACCESS_LIST) => AccessList::Unknown,
            (Some(ours), Theirs::Read(_) | Theirs::NotAsked) => ours.access_list(),
        }
    }
}

impl Survey<'_> {
    /// Compares metadata; none when an entry has gone. `name` is one in the folder of the pair, or none for the folder
    /// itself. Xattrs that cannot be read are reported, and count as equal.
    pub(super) fn compare_metadata(
        &self,
        pair: &Pair,
        name: Option<&CStr>,
        (source, replica): (&Entry, &Entry),
        subjects: Subjects<'_>,
    ) -> Option<ComparedMetadata> {
        let kind = source.kind;
        let has_none = kind == Kind::Symlink && !self.context.rights.has_link_attributes();
        let found = match subjects {
            Subjects::Both(..) | Subjects::Source(_) if has_none => Found::none(),
            Subjects::Both(ours, theirs) => self.read_attributes(pair, name, kind, (ours, Some(theirs)))?,
            Subjects::Source(ours) => self.read_attributes(pair, name, kind, (ours, None))?,
            Subjects::Bare => Found::none(),
        };
        let mut attributes = Vec::new();
        let MetadataComparison { due, mut differences, owner_not_held, mode_not_held, mtime_not_held } =
            compare_metadata(source, &found.list(), replica, &pair.filesystem, &self.context.rights);
        for (not_held, feature) in [
            (owner_not_held, owner_feature(kind)),
            (mode_not_held, Feature::Mode),
            (mtime_not_held, mtime_feature(kind, &pair.filesystem)),
        ] {
            if not_held {
                self.context.reporter.not_held(feature);
            }
        }
        if let (Some(ours), Theirs::Read(theirs)) = (&found.ours, &found.theirs) {
            // Only its owner could narrow the ACL of a folder.
            let is_left = kind != Kind::File
                && !self.context.rights.owns(replica.uid)
                && theirs.get(ACCESS_LIST) == ours.get(ACCESS_LIST);
            let list = if is_left { ours.access_list() } else { due.list };
            let is_owner_kept = (due.uid, due.gid) == (source.uid, source.gid);
            let (ours, lacks_capability) = ours.adapted(&list, is_owner_kept);
            if lacks_capability {
                self.context.reporter.not_held(Feature::Capabilities);
            }
            let names = self.attributes_that_differ(pair, kind, &ours, theirs);
            differences.attributes = !names.is_empty();
            attributes = names;
        }
        self.context.note(
            || name.map_or_else(|| pair.path(), |name| pair.path().join(name)),
            |seen| {
                let (owner, mode) = ((due.uid, due.gid), due.mode);
                seen.metadata = Some(focus::ComparedMetadata { owner, mode, differences, attributes });
            },
        );
        Some(ComparedMetadata { differences, is_bare: found.is_none() })
    }

    /// Reads the xattrs of both sides, and reports those that cannot be read; none when an entry has gone.
    fn read_attributes(
        &self,
        pair: &Pair,
        name: Option<&CStr>,
        kind: Kind,
        (in_source, in_replica): (Subject<'_>, Option<Subject<'_>>),
    ) -> Option<Found> {
        let rights = &self.context.rights;
        let ours = match Attributes::read(in_source, rights) {
            Err(errno) if is_unsupported(errno) => Some(Attributes::default()),
            Err(errno) if is_of_target(in_source, errno) => None,
            Err(errno) => {
                self.unreadable_attributes(pair, name, (Side::Source, errno));
                if is_gone(errno) && name.is_some() {
                    return None;
                }
                None
            }
            Ok(ours) => Some(ours),
        };
        let theirs = match in_replica.map(|theirs| (Attributes::read(theirs, rights), theirs)) {
            None => Theirs::NotAsked,
            Some((Err(errno), _)) if is_unsupported(errno) => {
                for (name, _) in ours.iter().flat_map(Attributes::iter) {
                    if let Some(feature) = feature_of(name) {
                        pair.filesystem.learn_missing_for(kind, feature);
                    }
                }
                Theirs::Read(Attributes::default())
            }
            Some((Err(errno), of)) if is_of_target(of, errno) => Theirs::Unreadable,
            Some((Err(errno), _)) => {
                self.unreadable_attributes(pair, name, (Side::Replica, errno));
                if is_gone(errno) && name.is_some() {
                    return None;
                }
                Theirs::Unreadable
            }
            Some((Ok(theirs), _)) => Theirs::Read(theirs),
        };
        let of_replica = match &theirs {
            Theirs::Read(theirs) => Some(theirs),
            Theirs::NotAsked | Theirs::Unreadable => None,
        };
        for (side, attributes) in [(Side::Source, ours.as_ref()), (Side::Replica, of_replica)] {
            for (attribute, errno) in attributes.into_iter().flat_map(Attributes::unread) {
                let path = name.map_or_else(|| pair.path(), |name| pair.path().join(name));
                self.context.xattr_unread(&path, &Unread { side, name: attribute.to_owned(), errno });
            }
        }
        Some(Found { ours, theirs })
    }

    /// The xattrs that have to be set or removed. An unreadable one counts neither as present nor as absent.
    fn attributes_that_differ(
        &self,
        pair: &Pair,
        kind: Kind,
        ours: &Attributes,
        theirs: &Attributes,
    ) -> Vec<CString> {
        let rights = &self.context.rights;
        let may_set = |name: &CStr| feature_of(name).is_some_and(|feature| rights.may_set(feature));
        let is_extra = |name: &CStr| !ours.has(name) && !is_system_made(name) && may_set(name);
        let extras = theirs.iter().map(|(name, _)| name).filter(|name| is_extra(name));
        let mut differ: Vec<CString> = extras.map(CStr::to_owned).collect();
        let is_due = |name: &CStr, value: &[u8]| theirs.get(name) != Some(value) && !theirs.is_unread(name);
        for (name, _) in ours.iter().filter(|(name, value)| is_due(name, value)) {
            let Some(feature) = feature_of(name) else { continue };
            if pair.filesystem.holds_for(kind, feature) && rights.may_set(feature) {
                differ.push(name.to_owned());
            } else {
                self.context.reporter.not_held(feature);
            }
        }
        differ
    }
}
