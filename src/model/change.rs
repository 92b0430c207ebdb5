//! The operations of a pass on the replica, done or planned.

use crate::model::digest::Digest;
use crate::model::entry::Kind;
use crate::model::path::RelPath;
use crate::model::serial::{is_false, linked_to, moved_from, no_digest, path, renamed_from, target};
use serde::Serialize;

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verb {
    /// Creates an entry.
    Create,
    /// Replaces an entry by the newer content of the source.
    Update,
    /// Replaces an entry whose content changed in the replica alone.
    Repair,
    /// Gives an entry the place that it has in the source now.
    Move,
    /// Deletes an entry that the source lacks.
    Delete,
    /// Renames an entry that the replica lists in another spelling.
    Rename,
    /// Makes the path a hard link of another replica path.
    Link,
    /// Sets mode, owner, mtime or extended attributes (ACLs among them); the content is untouched.
    Metadata,
    /// Replaces an entry by one of another kind.
    Retype,
}

impl Verb {
    /// Every verb, in the order of the summary.
    pub const ALL: [Verb; 9] = [
        Verb::Create,
        Verb::Update,
        Verb::Move,
        Verb::Repair,
        Verb::Retype,
        Verb::Rename,
        Verb::Link,
        Verb::Metadata,
        Verb::Delete,
    ];

    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Repair => "repair",
            Verb::Move => "move",
            Verb::Delete => "delete",
            Verb::Rename => "rename",
            Verb::Link => "link",
            Verb::Metadata => "metadata",
            Verb::Retype => "retype",
        }
    }
}

/// The size of a folder that is created or deleted as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subtree {
    /// Folders, without the top one.
    #[serde(rename = "subtree_folders")]
    pub folders: u64,
    /// Entries that are not folders.
    #[serde(rename = "subtree_files")]
    pub files: u64,
    /// Bytes of the regular files.
    #[serde(rename = "subtree_bytes")]
    pub bytes: u64,
}

/// One operation, done or planned.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Operation<'a> {
    /// The kind of the operation.
    pub verb: Verb,
    /// The path below the roots.
    #[serde(flatten, serialize_with = "path")]
    pub path: &'a RelPath,
    /// The kind of the entry after the operation; before it, for deletions.
    pub kind: Kind,
    /// Size in bytes, for regular files.
    #[serde(rename = "bytes", skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Digest of the content that was written.
    #[serde(rename = "sha256", skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// True when the replica's old content could not be read: its digest is logged as empty.
    #[serde(rename = "replica_sha256", skip_serializing_if = "is_false", serialize_with = "no_digest")]
    pub replica_unreadable: bool,
    /// The target of a symbolic link.
    #[serde(flatten, serialize_with = "target")]
    pub target: Option<&'a [u8]>,
    /// The other path of the inode, for a hard link.
    #[serde(flatten, serialize_with = "linked_to")]
    pub linked_to: Option<&'a RelPath>,
    /// The path before a rename.
    #[serde(flatten, serialize_with = "renamed_from")]
    pub renamed_from: Option<&'a RelPath>,
    /// The path before a move.
    #[serde(flatten, serialize_with = "moved_from")]
    pub moved_from: Option<&'a RelPath>,
    /// The entries below, for folders in a plan.
    #[serde(flatten)]
    pub subtree: Option<Subtree>,
    /// The reason in a few words; empty where the verb is enough.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'a str,
}

impl<'a> Operation<'a> {
    /// An operation without optional facts.
    pub fn new(verb: Verb, path: &'a RelPath, kind: Kind) -> Operation<'a> {
        Operation {
            verb,
            path,
            kind,
            size: None,
            digest: None,
            replica_unreadable: false,
            target: None,
            linked_to: None,
            renamed_from: None,
            moved_from: None,
            subtree: None,
            reason: "",
        }
    }
}

/// The metadata of an entry that differs. Extended attributes are compared elsewhere: that takes system calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// Permission bits.
    pub mode: bool,
    /// Owner or group.
    pub owner: bool,
    /// Modification time.
    pub mtime: bool,
    /// Extended attributes.
    pub attributes: bool,
}

impl Differences {
    /// True when something differs.
    pub(crate) fn any(self) -> bool {
        self.mode || self.owner || self.mtime || self.attributes
    }

    /// The differences in words, joined by commas.
    pub(crate) fn words(self) -> &'static str {
        // A table of sixteen texts for four bits: a plan of a million changes allocates none.
        const WORDS: [&str; 16] = [
            "",
            "mode",
            "owner",
            "mode, owner",
            "mtime",
            "mode, mtime",
            "owner, mtime",
            "mode, owner, mtime",
            "attributes",
            "mode, attributes",
            "owner, attributes",
            "mode, owner, attributes",
            "mtime, attributes",
            "mode, mtime, attributes",
            "owner, mtime, attributes",
            "mode, owner, mtime, attributes",
        ];
        let index = usize::from(self.mode)
            | usize::from(self.owner) << 1
            | usize::from(self.mtime) << 2
            | usize::from(self.attributes) << 3;
        WORDS.get(index).copied().unwrap_or_default()
    }
}
