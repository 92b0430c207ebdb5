//! What a filesystem may be unable to hold.

use crate::model::entry::{Entry, Kind};
use serde::Serialize;

/// Something that the replica's filesystem, or the rights of this process, cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Owner and group.
    Owner,
    /// Permission bits.
    Mode,
    /// Modification times as fine, or as far from today, as the source has them.
    Mtime,
    /// Owner and group of symbolic links.
    LinkOwner,
    /// Modification times of symbolic links.
    LinkMtime,
    /// Symbolic links.
    Symlinks,
    /// Hard links.
    HardLinks,
    /// Named pipes.
    Fifos,
    /// Device nodes.
    Devices,
    /// Device nodes of number 0:0, by which an overlay marks what has been deleted.
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
        Feature::LinkOwner,
        Feature::LinkMtime,
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

    /// What a filesystem has to hold to have an entry like this.
    pub fn needed_by(entry: &Entry) -> Option<Feature> {
        match entry.kind {
            Kind::Symlink => Some(Feature::Symlinks),
            Kind::Fifo => Some(Feature::Fifos),
            // An overlayfs refuses it, and everywhere else everybody may make it (mknod(2), since Linux 5.8).
            Kind::CharDevice if entry.rdev == 0 => Some(Feature::Whiteouts),
            Kind::CharDevice | Kind::BlockDevice => Some(Feature::Devices),
            Kind::File | Kind::Folder | Kind::Socket => None,
        }
    }

    /// The plural that people know it by.
    pub fn words(self) -> &'static str {
        match self {
            Feature::Owner => "owners and groups",
            Feature::Mode => "permission bits",
            Feature::Mtime => "exact modification times",
            Feature::LinkOwner => "owners and groups of symbolic links",
            Feature::LinkMtime => "modification times of symbolic links",
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
