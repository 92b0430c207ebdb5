//! What a check says about one file. Plain data.

use crate::model::digest::Digest;
use crate::model::entry::Kind;
use crate::model::errno::Errno;
use crate::model::error::Cause;
use crate::model::path::RelPath;
use serde::Serialize;
use std::fmt;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The content has the recorded digest.
    Ok,
    /// The content differs although no fact of the file has moved: nobody wrote it.
    Rotted,
    /// It is recorded and not there.
    Missing,
    /// The content differs, and something may have written it.
    Changed,
    /// It is there and nothing is known of it.
    Extra,
    /// It could not be checked.
    Unchecked,
}

impl Status {
    /// All, in the order of the totals.
    pub(crate) const ALL: [Status; 6] =
        [Status::Ok, Status::Rotted, Status::Missing, Status::Changed, Status::Extra, Status::Unchecked];

    /// Its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Rotted => "rotted",
            Status::Missing => "missing",
            Status::Changed => "changed",
            Status::Extra => "extra",
            Status::Unchecked => "unchecked",
        }
    }
}

/// More about a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Another kind of entry has the name.
    OtherKind(Kind),
    /// The copy was never read back, so its facts are not known.
    NotReadBack,
    /// The file was written so shortly before its confirmation that a second change could have the same times.
    Racy,
    /// Its filesystem does not move the times of a file with every change.
    TimesProveNothing,
    /// A crash may have lost the times of the last changes (`lazytime`).
    TimesMayBeLost,
    /// No digest is taken of a file with so many zeros in holes.
    Holes,
    /// Another name of a file with several, none of which is recorded.
    NoNameRecorded,
    /// Not recorded, and no newer than the last pass, which would have removed what does not belong there.
    OlderThanPass,
    /// The file cannot be looked at, opened or read.
    Unreadable(Errno),
    /// The folder cannot be listed, or one above it.
    UnreadableFolder(Errno),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Why::OtherKind(kind) => return write!(f, "a {kind} has its name"),
            Why::Unreadable(errno) => return write!(f, "it cannot be read: {}", Cause::System(*errno)),
            Why::UnreadableFolder(errno) => {
                return write!(f, "its folder cannot be read: {}", Cause::System(*errno));
            }
            Why::NotReadBack => {
                "the copy was not read back by a later pass, so a change of its times is not known"
            }
            Why::Racy => {
                "it was written right before it was confirmed, so that its times may not tell of a change"
            }
            Why::TimesProveNothing => "its times stand still, which proves nothing on its filesystem",
            Why::TimesMayBeLost => "its times stand still, but a crash may have lost them (lazytime)",
            Why::Holes => "no digest: more than 16 GiB of holes",
            Why::NoNameRecorded => "no digest: it has several names (hard links), and none is recorded",
            Why::OlderThanPass => "no digest, although it was there in the last pass",
        };
        f.write_str(words)
    }
}

/// The result of the check of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, below the replica.
    pub path: RelPath,
    /// The result.
    pub status: Status,
    /// More about it.
    pub why: Option<Why>,
    /// The digest of its content; none if it was not read.
    pub found: Option<Digest>,
    /// The recorded one.
    pub recorded: Option<Digest>,
    /// When its content was last read and found right by a pass, in seconds since 1970.
    pub confirmed: Option<i64>,
}
