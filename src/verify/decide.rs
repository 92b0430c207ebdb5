//! The decision about one file. Pure: no disk, no index.

use crate::index::Record;
use crate::index::trust::{Likeness, likeness};
use crate::model::digest::Digest;
use crate::model::entry::{Entry, Kind};
use crate::model::errno::Errno;
use crate::verify::status::{Status, Why};

/// The content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// It was read to its end.
    Digest(Digest),
    /// It is nearly all holes, of which no digest is taken.
    Holes,
    /// It was not read: there is nothing to compare it with.
    NotRead,
    /// It cannot be opened or read.
    Failed(Errno),
}

/// What is under a name of the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen<'e> {
    /// Nothing.
    Absent,
    /// Another kind of entry.
    Other(Kind),
    /// Something that cannot be looked at.
    Unlooked(Errno),
    /// Something in a folder that cannot be listed.
    Hidden(Errno),
    /// A file.
    File(&'e Entry, Content),
}

/// The facts about the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ground {
    /// Every change of a file moves its ctime there.
    pub has_true_ctime: bool,
    /// A crash since the last pass may have lost times.
    pub may_have_lost_times: bool,
    /// The start of the last pass that was done, in seconds since 1970.
    pub last_pass: Option<i64>,
}

/// Decides about a file: its status, and more about it.
pub(super) fn decide(record: Option<&Record>, seen: Seen<'_>, ground: Ground) -> (Status, Option<Why>) {
    match (record, seen) {
        (_, Seen::Unlooked(errno) | Seen::File(_, Content::Failed(errno))) => {
            (Status::Unchecked, Some(Why::Unreadable(errno)))
        }
        (_, Seen::Hidden(errno)) => (Status::Unchecked, Some(Why::UnreadableFolder(errno))),
        (_, Seen::Absent) => (Status::Missing, None),
        (_, Seen::Other(kind)) => (Status::Missing, Some(Why::OtherKind(kind))),
        (Some(_), Seen::File(_, Content::Holes | Content::NotRead)) => (Status::Unchecked, Some(Why::Holes)),
        (Some(record), Seen::File(_, Content::Digest(found))) if found == record.digest => (Status::Ok, None),
        (Some(record), Seen::File(entry, Content::Digest(_))) => differs(record, entry, ground),
        (None, Seen::File(_, Content::Holes)) => (Status::Unchecked, Some(Why::Holes)),
        (None, Seen::File(entry, _)) if entry.links > 1 => (Status::Unchecked, Some(Why::NoNameRecorded)),
        (None, Seen::File(entry, _)) if is_older_than_pass(entry, ground) => {
            (Status::Unchecked, Some(Why::OlderThanPass))
        }
        (None, Seen::File(..)) => (Status::Extra, None),
    }
}

/// The status of a file whose content is not the recorded one.
fn differs(record: &Record, entry: &Entry, ground: Ground) -> (Status, Option<Why>) {
    let Some(facts) = &record.replica else { return (Status::Changed, Some(Why::NotReadBack)) };
    // The disk may have another number in an index that was copied to another computer.
    match likeness(facts, record.size, entry, facts.volume) {
        Likeness::Other => (Status::Changed, None),
        Likeness::OtherInode if ground.has_true_ctime => (Status::Changed, None),
        Likeness::Same | Likeness::OtherInode if !ground.has_true_ctime => {
            (Status::Changed, Some(Why::TimesProveNothing))
        }
        Likeness::Same | Likeness::OtherInode if !facts.settled => (Status::Changed, Some(Why::Racy)),
        Likeness::Same | Likeness::OtherInode if ground.may_have_lost_times => {
            (Status::Changed, Some(Why::TimesMayBeLost))
        }
        Likeness::Same | Likeness::OtherInode => (Status::Rotted, None),
    }
}

/// Whether the last pass that was done has seen a file as it is: renames and new links move the ctime, too. A folder
/// that was moved into the replica with everything in it is not told apart.
fn is_older_than_pass(entry: &Entry, ground: Ground) -> bool {
    ground.has_true_ctime && ground.last_pass.is_some_and(|pass| entry.ctime.seconds < pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Facts;
    use crate::model::entry::{FileId, Timestamp};

    const GOOD: Digest = Digest::from_bytes([1; 32]);
    const BAD: Content = Content::Digest(Digest::from_bytes([2; 32]));
    const EXT: Ground = Ground { has_true_ctime: true, may_have_lost_times: false, last_pass: None };
    const VFAT: Ground = Ground { has_true_ctime: false, ..EXT };

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 7 }
    }

    fn entry() -> Entry {
        Entry {
            kind: Kind::File,
            mode: 0o644,
            links: 1,
            uid: 0,
            gid: 0,
            id: FileId { device: 3, inode: 9 },
            size: 10,
            blocks: 8,
            rdev: 0,
            mtime: at(100),
            ctime: at(200),
            btime: Some(at(50)),
            is_mount: false,
            is_encrypted: false,
        }
    }

    fn record() -> Record {
        let facts = Facts::of(&entry(), 1, true);
        let source = Facts { inode: 1, ..facts };
        Record {
            digest: GOOD,
            size: 10,
            source,
            replica: Some(facts),
            is_bare: true,
            is_suspect: false,
            confirmed: 300,
            hashed: 300,
        }
    }

    fn of(record: &Record, entry: &Entry, content: Content, ground: Ground) -> (Status, Option<Why>) {
        decide(Some(record), Seen::File(entry, content), ground)
    }

    #[test]
    fn the_recorded_content_is_ok_whatever_the_facts_say() {
        let unread = Record { replica: None, ..record() };
        let moved = Entry { ctime: at(999), mtime: at(999), btime: None, ..entry() };
        for ground in [EXT, VFAT] {
            for record in [record(), unread] {
                for entry in [entry(), moved] {
                    assert_eq!(of(&record, &entry, Content::Digest(GOOD), ground), (Status::Ok, None));
                }
            }
        }
    }

    #[test]
    fn other_content_has_rotted_only_where_no_fact_has_moved() {
        assert_eq!(of(&record(), &entry(), BAD, EXT), (Status::Rotted, None));
        let moved = [
            Entry { size: 11, ..entry() },
            Entry { mtime: at(101), ..entry() },
            Entry { ctime: at(201), ..entry() },
            Entry { btime: Some(at(51)), ..entry() },
            Entry { id: FileId { device: 3, inode: 8 }, ..entry() },
        ];
        for entry in moved {
            assert_eq!(of(&record(), &entry, BAD, EXT), (Status::Changed, None), "{entry:?}");
        }
        // The number of the device is that of this boot.
        let elsewhere = Entry { id: FileId { device: 4, inode: 9 }, ..entry() };
        assert_eq!(of(&record(), &elsewhere, BAD, EXT), (Status::Rotted, None));
    }

    #[test]
    fn other_content_is_no_rot_where_the_facts_prove_nothing() {
        let facts = record().replica.map(|facts| Facts { settled: false, ..facts });
        let racy = Record { replica: facts, ..record() };
        let other_inode = Entry { id: FileId { device: 3, inode: 8 }, ..entry() };
        let cases = [
            (Record { replica: None, ..record() }, entry(), EXT, Why::NotReadBack),
            (record(), entry(), VFAT, Why::TimesProveNothing),
            (record(), other_inode, VFAT, Why::TimesProveNothing),
            (racy, entry(), EXT, Why::Racy),
            (record(), entry(), Ground { may_have_lost_times: true, ..EXT }, Why::TimesMayBeLost),
        ];
        for (record, entry, ground, why) in cases {
            assert_eq!(of(&record, &entry, BAD, ground), (Status::Changed, Some(why)));
        }
    }

    #[test]
    fn a_recorded_file_that_is_not_there_is_missing_and_one_that_cannot_be_seen_is_not() {
        let cases = [
            (Seen::Absent, (Status::Missing, None)),
            (Seen::Other(Kind::Symlink), (Status::Missing, Some(Why::OtherKind(Kind::Symlink)))),
            (Seen::Unlooked(Errno::IO), (Status::Unchecked, Some(Why::Unreadable(Errno::IO)))),
            (Seen::Hidden(Errno::ACCESS), (Status::Unchecked, Some(Why::UnreadableFolder(Errno::ACCESS)))),
            (
                Seen::File(&entry(), Content::Failed(Errno::ACCESS)),
                (Status::Unchecked, Some(Why::Unreadable(Errno::ACCESS))),
            ),
            (Seen::File(&entry(), Content::Holes), (Status::Unchecked, Some(Why::Holes))),
        ];
        for (seen, expected) in cases {
            assert_eq!(decide(Some(&record()), seen, EXT), expected);
        }
    }

    #[test]
    fn a_file_without_a_record_is_an_extra_unless_there_is_a_reason_for_having_none() {
        let seen = |entry: &Entry, content, ground| decide(None, Seen::File(entry, content), ground);
        let after = |pass| Ground { last_pass: Some(pass), ..EXT };
        let linked = Entry { links: 2, ..entry() };
        let extra = (Status::Extra, None);
        assert_eq!(seen(&entry(), Content::NotRead, EXT), extra);
        assert_eq!(seen(&entry(), Content::NotRead, after(200)), extra);
        assert_eq!(seen(&entry(), Content::NotRead, Ground { has_true_ctime: false, ..after(999) }), extra);
        let unchecked = |why| (Status::Unchecked, Some(why));
        assert_eq!(seen(&entry(), Content::NotRead, after(201)), unchecked(Why::OlderThanPass));
        assert_eq!(seen(&linked, Content::NotRead, EXT), unchecked(Why::NoNameRecorded));
        assert_eq!(seen(&entry(), Content::Holes, EXT), unchecked(Why::Holes));
    }
}
