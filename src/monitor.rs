//! The one channel upward: everything that happens is an [`Event`], and whoever wants to know implements [`Monitor`].
//!
//! The log, the console, the summary, the exit code and the tests read the same events, so they cannot disagree.

use crate::absence::Reason;
use crate::digest::Digest;
use crate::entry::Kind;
use crate::path::RelPath;
use crate::problem::{Cause, Error, Problem, Side};
use crate::report::PassReport;
use std::ffi::CStr;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Receives events; called from several threads at once.
pub trait Monitor: Sync {
    /// Takes one event. It must not fail and should not block.
    fn event(&self, event: &Event<'_>);

    /// Whether [`Event::Verified`] is wanted, one for every unchanged file.
    fn wants_verified(&self) -> bool {
        false
    }
}

/// Passes every event on to two monitors, one after the other.
pub struct Both<'a>(pub &'a dyn Monitor, pub &'a dyn Monitor);

impl Monitor for Both<'_> {
    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
        self.1.event(event);
    }

    fn wants_verified(&self) -> bool {
        self.0.wants_verified() || self.1.wants_verified()
    }
}

/// What was done to a path, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Made anew.
    Create,
    /// Replaced by the source's newer content.
    Update,
    /// Replaced because the replica alone was wrong.
    Repair,
    /// Removed, because the source has it no longer.
    Delete,
    /// Given its right name, which the replica listed in another spelling; nothing else.
    Rename,
    /// Made a hard link of another path of the replica.
    Link,
    /// Mode, owner, times or extended attributes set; the content is untouched.
    Metadata,
    /// Replaced by an entry of another kind.
    Retype,
}

impl Verb {
    /// Every verb, in the order of the summary.
    pub const ALL: [Verb; 8] = [
        Verb::Create,
        Verb::Update,
        Verb::Repair,
        Verb::Retype,
        Verb::Rename,
        Verb::Link,
        Verb::Metadata,
        Verb::Delete,
    ];

    /// The verb as the log has it.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Repair => "repair",
            Verb::Delete => "delete",
            Verb::Rename => "rename",
            Verb::Link => "link",
            Verb::Metadata => "metadata",
            Verb::Retype => "retype",
        }
    }
}

/// What lies below a folder that is created or deleted as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subtree {
    /// Entries that are not folders.
    pub files: u64,
    /// Folders, without the top one.
    pub folders: u64,
    /// Bytes of the regular files.
    pub bytes: u64,
}

/// One operation, done or planned.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// What is done.
    pub verb: Verb,
    /// Where.
    pub path: &'a RelPath,
    /// What the entry is now (before, for deletions).
    pub kind: Kind,
    /// Bytes of content, for regular files.
    pub size: Option<u64>,
    /// Digest of the content that was written.
    pub digest: Option<Digest>,
    /// True when the replica's old content could not be read: its digest is logged as empty.
    pub replica_unreadable: bool,
    /// The target of a symbolic link.
    pub target: Option<&'a [u8]>,
    /// The path that a hard link shares its content with.
    pub linked_to: Option<&'a RelPath>,
    /// The path under which the replica listed it until now.
    pub renamed_from: Option<&'a RelPath>,
    /// What lies below, for folders in a plan.
    pub subtree: Option<Subtree>,
    /// Why, in a few words; empty where the verb says it all.
    pub reason: &'a str,
}

impl<'a> Operation<'a> {
    /// An operation about which nothing is known but these three.
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
            subtree: None,
            reason: "",
        }
    }
}

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

/// Something worth knowing that is not an operation and not a problem.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// The log file lies inside a root.
    LogInside {
        /// Which root.
        side: Side,
        /// Where in it.
        path: &'a RelPath,
    },
    /// The replica cannot hold something that the source has.
    NotHeld(Feature),
    /// The replica's filesystem knows no locks.
    NoLock,
    /// Fewer threads than asked for, because of the limit of open files.
    FewerThreads {
        /// How many there are.
        threads: usize,
        /// The limit (`ulimit -Hn`).
        open_files: u64,
    },
    /// The replica folder was missing and has been made.
    ReplicaCreated(&'a Path),
    /// A symbolic link of the replica does not tell where it leads: told once per pass.
    LinkUnread {
        /// Where.
        path: &'a RelPath,
        /// What the kernel said.
        cause: Cause,
    },
    /// An extended attribute is listed, and its filesystem has no value for it: told once per pass for each side.
    AttributeUnread {
        /// Which root.
        side: Side,
        /// Where in it.
        path: &'a RelPath,
        /// Its name.
        name: &'a CStr,
        /// What the kernel said.
        cause: Cause,
    },
    /// Entries of the replica that the source lacks were kept for now.
    KeptBack {
        /// Why.
        reason: Reason,
        /// How many.
        entries: u64,
        /// The first of them.
        path: &'a RelPath,
    },
}

/// Why the program stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP, because the terminal of the program was closed.
    Hangup,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Terminate => "SIGTERM",
            Signal::Interrupt => "SIGINT",
            Signal::Hangup => "SIGHUP",
        })
    }
}

/// Everything that is ever reported.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The program begins.
    Started {
        /// The source as the user gave it.
        source: &'a Path,
        /// The replica as the user gave it.
        replica: &'a Path,
        /// The interval; none for a single pass.
        interval: Option<Duration>,
        /// The log file.
        log: &'a Path,
        /// True when nothing will be written.
        dry_run: bool,
    },
    /// A pass begins.
    PassStarted {
        /// 1 for the first pass of this process.
        number: u64,
    },
    /// A file's content was read on both sides and agrees.
    Verified {
        /// Where.
        path: &'a RelPath,
        /// Bytes of content.
        size: u64,
        /// Digest of both sides.
        digest: Option<Digest>,
    },
    /// Something was done.
    Done(Operation<'a>),
    /// Something would be done (dry run).
    Planned(Operation<'a>),
    /// An entry is left out by design.
    Skipped {
        /// Where.
        path: &'a RelPath,
        /// What it is.
        kind: Kind,
        /// Why.
        reason: &'a str,
    },
    /// Something could not be done.
    Problem(&'a Problem),
    /// Something worth knowing.
    Notice(Notice<'a>),
    /// A pass is over.
    PassEnded(&'a PassReport),
    /// A pass took longer than the interval.
    Overran {
        /// Which pass.
        number: u64,
        /// By how much.
        by: Duration,
    },
    /// A signal asks the program to stop.
    Stopping(Signal),
    /// The program ends in order.
    Stopped,
    /// An error ended a pass. The program ends with it, or, in a later pass of many, goes on with the next one.
    Failed(&'a Error),
}
