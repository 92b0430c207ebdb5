//! The programs that are compared: their commands for each work, and the metadata that they claim to mirror.

use crate::mirror::Claims;
use crate::work::Work;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program with its own replica.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// The output of its version option.
    pub(crate) version: String,
    pub(crate) tool: Tool,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Tool {
    /// With the options for its other comparisons, where it has them.
    FileSync {
        bytes: Option<Vec<&'static str>>,
        quick: Option<Vec<&'static str>>,
        hashed: Option<Vec<&'static str>>,
    },
    Rsync,
    /// With other options, for the edit of a large file only: `--checksum` compares contents first, as file-sync does;
    /// `--inplace` writes into the old file, which a power failure leaves half old and half new; `--no-whole-file`
    /// writes only the differences, as over a network.
    RsyncEdit(&'static [&'static str]),
    Rclone,
    Cp,
    Xcp,
    Lms,
    Ripsync,
    Plsync,
}

/// The folder of the indexes of file-sync, beside its log: one for each replica.
pub(crate) fn state_of(log: &Path) -> PathBuf {
    log.with_extension("state")
}

/// One way to do a work; a work that writes can be done in only one way per replica.
pub(crate) struct Way {
    pub(crate) label: String,
    pub(crate) options: Vec<&'static str>,
}

impl Contender {
    /// All ratios are to rsync.
    pub(crate) fn is_reference(&self) -> bool {
        self.tool == Tool::Rsync
    }

    /// Whether it remembers digests from one pass to the next.
    pub(crate) fn has_index(&self) -> bool {
        matches!(self.tool, Tool::FileSync { quick: Some(_), .. })
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.tool, Tool::FileSync { .. })
    }

    /// Whether it runs in every round of the short form, too. The others take longer than these two together.
    pub(crate) fn is_in_every_round(&self) -> bool {
        match self.tool {
            Tool::FileSync { .. } | Tool::Rsync | Tool::RsyncEdit(_) => true,
            Tool::Rclone | Tool::Cp | Tool::Xcp | Tool::Lms | Tool::Ripsync | Tool::Plsync => false,
        }
    }

    /// Whether it drops the files that it has read from the page cache, in the source and in the replica.
    pub(crate) fn evicts(&self) -> bool {
        self.tool == Tool::Rclone
    }

    /// The ways in which it does a work; none if it does not claim to do it.
    pub(crate) fn ways(&self, work: Work) -> Vec<Way> {
        let way = |options: &[&'static str]| {
            let words = [self.name.as_str()].into_iter().chain(options.iter().copied());
            Way { label: words.collect::<Vec<_>>().join(" "), options: options.to_vec() }
        };
        match (&self.tool, work) {
            (Tool::FileSync { bytes, hashed, .. }, Work::NoChange | Work::ColdNoChange) => {
                let others = [bytes, hashed].into_iter().flatten().map(|words| way(words));
                [way(&[])].into_iter().chain(others).collect()
            }
            (Tool::FileSync { quick, .. }, Work::QuickCheck | Work::ChangedQuick) => {
                quick.iter().map(|words| way(words)).collect()
            }
            (Tool::FileSync { .. }, Work::FirstCopy | Work::ColdCopy | Work::Changed | Work::Edit) => {
                vec![way(&[])]
            }
            (
                Tool::Rsync | Tool::Rclone | Tool::Ripsync,
                Work::NoChange | Work::ColdNoChange | Work::Changed,
            ) => {
                vec![way(&["--checksum"])]
            }
            (
                Tool::Rsync | Tool::Rclone | Tool::Ripsync,
                Work::FirstCopy | Work::ColdCopy | Work::QuickCheck | Work::ChangedQuick | Work::Edit,
            ) => vec![way(&[])],
            (Tool::RsyncEdit(options), Work::Edit) => vec![way(options)],
            (Tool::RsyncEdit(_), _) => Vec::new(),
            // It compares contents whenever the sizes agree.
            (
                Tool::Lms,
                Work::FirstCopy
                | Work::ColdCopy
                | Work::NoChange
                | Work::ColdNoChange
                | Work::Changed
                | Work::Edit,
            ) => vec![way(&[])],
            (Tool::Lms, Work::QuickCheck | Work::ChangedQuick) => Vec::new(),
            // These never delete anything.
            (Tool::Cp | Tool::Xcp | Tool::Plsync, Work::FirstCopy | Work::ColdCopy) => vec![way(&[])],
            (Tool::Cp | Tool::Xcp | Tool::Plsync, _) => Vec::new(),
        }
    }

    pub(crate) fn command(&self, way: &Way, source: &Path, replica: &Path, log: &Path) -> Command {
        let mut command = Command::new(&self.program);
        let contents_of = |folder: &Path| {
            let mut path = OsString::from(folder);
            path.push("/");
            path
        };
        match self.tool {
            Tool::FileSync { ref quick, .. } => {
                if quick.is_some() {
                    command.arg("--state-dir").arg(state_of(log));
                    // In a namespace of its own it cannot see that, and its index would be cold for two minutes.
                    command.arg("--no-mapped-writes");
                }
                command.arg("--once").arg("--source").arg(source).arg("--replica").arg(replica);
                command.arg("--log_file").arg(log).args(&way.options);
            }
            Tool::Rsync | Tool::RsyncEdit(_) => {
                command.args(["-aHAX", "--delete"]).args(&way.options);
                command.arg(contents_of(source)).arg(contents_of(replica));
            }
            Tool::Rclone => {
                // A user's configuration must not affect the measurement.
                command.arg("sync").args(&way.options).args(["--config", "/dev/null"]);
                command.args(["--links", "--metadata", "--create-empty-src-dirs"]).arg(source).arg(replica);
            }
            Tool::Cp => {
                command.args(["-a", "-T"]).arg(source).arg(replica);
            }
            Tool::Xcp => {
                command.args(["-r", "-T", "--no-progress"]).arg(source).arg(replica);
            }
            Tool::Lms => {
                command.arg("sync").arg(source).arg(replica);
            }
            Tool::Ripsync => {
                command.args(["--delete", "--yes"]).args(&way.options).arg(source).arg(replica);
            }
            Tool::Plsync => {
                command.arg(source).arg(replica);
            }
        }
        command
    }

    /// Each program is judged by its claims, mostly from its manual.
    pub(crate) fn claims(&self) -> Claims {
        match self.tool {
            Tool::FileSync { .. } | Tool::Rsync | Tool::RsyncEdit(_) | Tool::Cp => {
                Claims { files: true, folders: true, links: true, own: None }
            }
            // Metadata of folders and of links is missing in the versions of common distributions.
            Tool::Rclone => Claims { files: true, folders: false, links: false, own: None },
            // Its index.
            Tool::Ripsync => Claims { files: true, folders: false, links: false, own: Some(".ripsync") },
            Tool::Xcp | Tool::Lms | Tool::Plsync => {
                Claims { files: false, folders: false, links: false, own: None }
            }
        }
    }
}
