//! What a filesystem may be unable to hold.

use crate::model::entry::{Entry, Kind};

/// Something that the replica's filesystem, or the rights of this process, cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    UserAttributes,
    /// POSIX access control lists.
    AccessLists,
    /// File capabilities (capabilities(7)).
    Capabilities,
    /// Other `security.*` extended attributes.
    SecurityAttributes,
    /// `trusted.*` extended attributes.
    TrustedAttributes,
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
        Feature::UserAttributes,
        Feature::AccessLists,
        Feature::Capabilities,
        Feature::SecurityAttributes,
        Feature::TrustedAttributes,
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

    /// Its name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Feature::Owner => "owner",
            Feature::Mode => "mode",
            Feature::Mtime => "mtime",
            Feature::LinkOwner => "link_owner",
            Feature::LinkMtime => "link_mtime",
            Feature::Symlinks => "symlinks",
            Feature::HardLinks => "hard_links",
            Feature::Fifos => "fifos",
            Feature::Devices => "devices",
            Feature::Whiteouts => "whiteouts",
            Feature::UserAttributes => "user_xattrs",
            Feature::AccessLists => "acls",
            Feature::Capabilities => "capabilities",
            Feature::SecurityAttributes => "security_xattrs",
            Feature::TrustedAttributes => "trusted_xattrs",
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
            Feature::UserAttributes => "user extended attributes",
            Feature::AccessLists => "access control lists",
            Feature::Capabilities => "file capabilities",
            Feature::SecurityAttributes => "security extended attributes",
            Feature::TrustedAttributes => "trusted extended attributes",
        }
    }
}
