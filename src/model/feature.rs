//! Features that a filesystem may be unable to hold.

use crate::model::entry::{Entry, Kind};
use serde::Serialize;

/// A kind of entry or metadata that the replica's filesystem, or the rights of this process, may not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Feature {
    /// Owner and group.
    Owner,
    /// Permission bits.
    Mode,
    /// Modification times in the resolution and the range of the source.
    Mtime,
    /// Owner and group of symbolic links.
    SymlinkOwner,
    /// Modification times of symbolic links.
    SymlinkMtime,
    /// Symbolic links.
    Symlinks,
    /// Hard links.
    HardLinks,
    /// Named pipes.
    Fifos,
    /// Device nodes.
    Devices,
    /// Whiteouts: device nodes 0:0, by which overlayfs marks deleted entries.
    Whiteouts,
    /// `user.*` extended attributes.
    UserXattrs,
    /// POSIX access control lists.
    Acls,
    /// File capabilities (capabilities(7)).
    Capabilities,
    /// Other `security.*` extended attributes.
    SecurityXattrs,
    /// `trusted.*` extended attributes.
    TrustedXattrs,
}

impl Feature {
    /// Every feature, in the order of their bits.
    pub const ALL: [Feature; 15] = [
        Feature::Owner,
        Feature::Mode,
        Feature::Mtime,
        Feature::SymlinkOwner,
        Feature::SymlinkMtime,
        Feature::Symlinks,
        Feature::HardLinks,
        Feature::Fifos,
        Feature::Devices,
        Feature::Whiteouts,
        Feature::UserXattrs,
        Feature::Acls,
        Feature::Capabilities,
        Feature::SecurityXattrs,
        Feature::TrustedXattrs,
    ];

    /// The feature that a filesystem needs to hold an entry of this kind; none where every filesystem can.
    pub(crate) fn needed_by(entry: &Entry) -> Option<Feature> {
        match entry.kind {
            Kind::Symlink => Some(Feature::Symlinks),
            Kind::Fifo => Some(Feature::Fifos),
            // overlayfs refuses to create it; elsewhere it takes no privilege (mknod(2), since Linux 5.8).
            Kind::CharDevice if entry.rdev == 0 => Some(Feature::Whiteouts),
            Kind::CharDevice | Kind::BlockDevice => Some(Feature::Devices),
            Kind::File | Kind::Folder | Kind::Socket => None,
        }
    }

    /// The name for people, in the plural.
    pub fn words(self) -> &'static str {
        match self {
            Feature::Owner => "owners and groups",
            Feature::Mode => "permission bits",
            Feature::Mtime => "exact modification times",
            Feature::SymlinkOwner => "owners and groups of symbolic links",
            Feature::SymlinkMtime => "modification times of symbolic links",
            Feature::Symlinks => "symbolic links",
            Feature::HardLinks => "hard links",
            Feature::Fifos => "named pipes",
            Feature::Devices => "device nodes",
            Feature::Whiteouts => "whiteouts (device nodes 0:0)",
            Feature::UserXattrs => "user extended attributes",
            Feature::Acls => "access control lists",
            Feature::Capabilities => "file capabilities",
            Feature::SecurityXattrs => "security extended attributes",
            Feature::TrustedXattrs => "trusted extended attributes",
        }
    }
}
