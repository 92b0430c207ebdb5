//! One pair of entries in, one decision out. Pure: no disk, no clock.

use crate::capabilities::Filesystem;
use crate::context::focus::Sight;
use crate::model::change::Verb;
use crate::model::entry::{Entry, Kind};
use crate::model::error::Side;
use crate::walk::{LeftOut, left_out};

/// The sighting of a name on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sighting {
    /// The folder was read whole and the name is not in it.
    Absent,
    /// The name is there, with these facts.
    Present(Entry),
    /// The name is there and its facts could not be read. Never the same as absent.
    Unreadable,
    /// The filter leaves the source's entry out, and the replica's is to go.
    Excluded,
}

impl Sighting {
    /// It, as it is noted for [`Focus`](crate::context::focus::Focus).
    pub(crate) fn sight(&self) -> Sight {
        match self {
            Sighting::Absent => Sight::Absent,
            Sighting::Present(entry) => Sight::Here(*entry),
            Sighting::Unreadable => Sight::Unreadable,
            Sighting::Excluded => Sight::Excluded,
        }
    }

    /// The facts, where the name is there and they could be read.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match self {
            Sighting::Present(entry) => Some(entry),
            Sighting::Absent | Sighting::Unreadable | Sighting::Excluded => None,
        }
    }
}

/// The decision about one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Neither side has it (any more).
    Nothing,
    /// Two folders: go into them.
    Descend,
    /// Two files of one size, or a source of size 0 with a replica of any size: read both.
    CompareContents,
    /// Two symbolic links: read both targets.
    CompareTargets,
    /// Only the metadata can differ.
    CompareMetadata,
    /// Create it.
    Create,
    /// Replace the content, for this reason.
    Replace(Verb, &'static str),
    /// Remove it from the replica.
    Delete(&'static str),
    /// Left out by design; a stale entry of another kind in the replica goes.
    Skip {
        /// The reason.
        why: LeftOut,
        /// True when the replica has another kind of entry under the name.
        delete: bool,
    },
    /// One side is unreadable, so nothing at or below this name is touched.
    Blocked(Side),
}

/// Decides about one name. `filesystem` is that of the replica's folder.
pub(crate) fn reconcile(source: &Sighting, replica: &Sighting, filesystem: &Filesystem) -> Decision {
    let source = match (source, replica) {
        (Sighting::Unreadable, _) => return Decision::Blocked(Side::Source),
        (_, Sighting::Unreadable) => return Decision::Blocked(Side::Replica),
        (Sighting::Absent | Sighting::Excluded, Sighting::Absent | Sighting::Excluded) => {
            return Decision::Nothing;
        }
        (Sighting::Absent, Sighting::Present(_)) => return Decision::Delete(""),
        (Sighting::Excluded, Sighting::Present(_)) => return Decision::Delete("it is excluded"),
        (Sighting::Present(source), _) => source,
    };
    let replica = match replica {
        Sighting::Present(replica) => Some(replica),
        Sighting::Absent | Sighting::Unreadable | Sighting::Excluded => None,
    };
    let left_out = left_out(source, filesystem);
    let Some(replica) = replica else {
        return left_out.map_or(Decision::Create, |why| Decision::Skip { why, delete: false });
    };
    match left_out {
        Some(why) if source.kind != replica.kind => return Decision::Skip { why, delete: true },
        Some(why @ LeftOut::Socket) => return Decision::Skip { why, delete: false },
        // The replica holds it already, whatever was learned of its filesystem.
        Some(LeftOut::NotHeld(_)) | None => {}
    }
    if source.kind != replica.kind {
        return Decision::Replace(Verb::Retype, retyped(replica.kind));
    }
    match source.kind {
        Kind::Folder => Decision::Descend,
        Kind::File if source.size != replica.size && source.size > 0 => {
            Decision::Replace(content_verb(source, replica), "size differs")
        }
        Kind::File => Decision::CompareContents,
        Kind::Symlink => Decision::CompareTargets,
        Kind::CharDevice | Kind::BlockDevice if source.rdev != replica.rdev => {
            Decision::Replace(Verb::Update, "device number differs")
        }
        Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket => Decision::CompareMetadata,
    }
}

/// Whether a content difference comes from the source (update) or from the replica alone (repair).
///
/// The replica's inode was created when file-sync began to copy the file. Where the source's ctime, which no program
/// can set back, is older than that, the source has not changed since, so the replica has. Where the replica's
/// filesystem remembers no creation time, equal sizes and mtimes say the same with less certainty. The distinction is
/// for people: the action is the same.
pub(crate) fn content_verb(source: &Entry, replica: &Entry) -> Verb {
    let replica_alone = match replica.btime {
        Some(made) => source.ctime < made,
        None => source.size == replica.size && source.mtime == replica.mtime,
    };
    if replica_alone { Verb::Repair } else { Verb::Update }
}

fn retyped(was: Kind) -> &'static str {
    match was {
        Kind::File => "was a file",
        Kind::Folder => "was a folder",
        Kind::Symlink => "was a symbolic link",
        Kind::Fifo => "was a named pipe",
        Kind::Socket => "was a socket",
        Kind::CharDevice | Kind::BlockDevice => "was a device node",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::entry::{FileId, Timestamp};
    use crate::model::feature::Feature;
    use crate::test_strategies::KINDS;

    /// A plain file of 10 bytes.
    pub(crate) fn file(inode: u64) -> Entry {
        let epoch = Timestamp { seconds: 0, nanoseconds: 0 };
        Entry {
            kind: Kind::File,
            mode: 0o644,
            links: 1,
            uid: 1000,
            gid: 1000,
            id: FileId { device: 1, inode },
            size: 10,
            blocks: 8,
            rdev: 0,
            mtime: epoch,
            ctime: epoch,
            btime: None,
            is_mount: false,
            is_encrypted: false,
        }
    }

    fn of(kind: Kind) -> Sighting {
        let rdev = if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { 0x103 } else { 0 };
        Sighting::Present(Entry { kind, rdev, ..file(1) })
    }

    #[test]
    fn every_pair_of_kinds_has_its_decision() {
        let able = Filesystem::default();
        for source in KINDS {
            for replica in KINDS {
                let decision = reconcile(&of(source), &of(replica), &able);
                let expected = match (source, replica) {
                    (Kind::Socket, Kind::Socket) => Decision::Skip { why: LeftOut::Socket, delete: false },
                    (Kind::Socket, _) => Decision::Skip { why: LeftOut::Socket, delete: true },
                    (Kind::Folder, Kind::Folder) => Decision::Descend,
                    (Kind::File, Kind::File) => Decision::CompareContents,
                    (Kind::Symlink, Kind::Symlink) => Decision::CompareTargets,
                    (a, b) if a == b => Decision::CompareMetadata,
                    (_, was) => Decision::Replace(Verb::Retype, retyped(was)),
                };
                assert_eq!(decision, expected, "{source} over {replica}");
            }
            let created = reconcile(&of(source), &Sighting::Absent, &able);
            let expected = if source == Kind::Socket {
                Decision::Skip { why: LeftOut::Socket, delete: false }
            } else {
                Decision::Create
            };
            assert_eq!(created, expected, "{source} alone");
            assert_eq!(
                reconcile(&Sighting::Absent, &of(source), &able),
                Decision::Delete(""),
                "{source} extra"
            );
        }
        assert_eq!(reconcile(&Sighting::Absent, &Sighting::Absent, &able), Decision::Nothing);
    }

    #[test]
    fn what_was_in_the_place_before_is_said() {
        let cases = [
            (Kind::File, "was a file"),
            (Kind::Folder, "was a folder"),
            (Kind::Symlink, "was a symbolic link"),
            (Kind::Fifo, "was a named pipe"),
            (Kind::Socket, "was a socket"),
            (Kind::CharDevice, "was a device node"),
            (Kind::BlockDevice, "was a device node"),
        ];
        for (was, reason) in cases {
            let source = if was == Kind::File { Kind::Folder } else { Kind::File };
            let decision = reconcile(&of(source), &of(was), &Filesystem::default());
            assert_eq!(decision, Decision::Replace(Verb::Retype, reason));
        }
    }

    #[test]
    fn what_could_not_be_read_is_never_taken_for_absent() {
        let able = Filesystem::default();
        for known in KINDS.map(of).into_iter().chain([Sighting::Absent, Sighting::Unreadable]) {
            let unreadable = Sighting::Unreadable;
            assert_eq!(reconcile(&unreadable, &known, &able), Decision::Blocked(Side::Source), "{known:?}");
            if known != Sighting::Unreadable {
                assert_eq!(
                    reconcile(&known, &unreadable, &able),
                    Decision::Blocked(Side::Replica),
                    "{known:?}"
                );
            }
        }
    }

    #[test]
    fn what_the_replica_cannot_hold_is_left_out_and_what_is_stale_goes() {
        let vfat = Filesystem::of_type(0x4d44);
        let cases = [
            (Kind::Symlink, Feature::Symlinks),
            (Kind::Fifo, Feature::Fifos),
            (Kind::CharDevice, Feature::Devices),
            (Kind::BlockDevice, Feature::Devices),
        ];
        for (kind, feature) in cases {
            let why = LeftOut::NotHeld(feature);
            let alone = reconcile(&of(kind), &Sighting::Absent, &vfat);
            assert_eq!(alone, Decision::Skip { why, delete: false });
            let stale = reconcile(&of(kind), &of(Kind::File), &vfat);
            assert_eq!(stale, Decision::Skip { why, delete: true });
        }
        assert_eq!(reconcile(&of(Kind::File), &Sighting::Absent, &vfat), Decision::Create);
    }

    #[test]
    fn a_whiteout_needs_what_other_devices_do_not() {
        let node = |kind, rdev| Entry { kind, rdev, ..file(1) };
        let filesystem = Filesystem::default();
        filesystem.learn_missing(Feature::Whiteouts);
        for (kind, rdev, expected) in [
            (Kind::CharDevice, 0, true),
            (Kind::CharDevice, 0x103, false),
            (Kind::BlockDevice, 0, false),
            (Kind::BlockDevice, 0x700, false),
        ] {
            assert_eq!(left_out(&node(kind, rdev), &filesystem).is_some(), expected, "{kind} {rdev:x}");
        }
        let filesystem = Filesystem::default();
        filesystem.learn_missing(Feature::Devices);
        assert_eq!(left_out(&node(Kind::CharDevice, 0), &filesystem), None);
        assert!(left_out(&node(Kind::BlockDevice, 0), &filesystem).is_some());
    }

    #[test]
    fn a_size_or_device_number_decides_without_reading() {
        let able = Filesystem::default();
        let longer = Sighting::Present(Entry { size: 11, mtime: file(1).mtime, ..file(2) });
        let decision = reconcile(&of(Kind::File), &longer, &able);
        assert_eq!(decision, Decision::Replace(Verb::Update, "size differs"));
        // A source that shows no size may have content all the same.
        let none = Sighting::Present(Entry { size: 0, ..file(1) });
        assert_eq!(reconcile(&none, &of(Kind::File), &able), Decision::CompareContents);
        assert_eq!(reconcile(&none, &none, &able), Decision::CompareContents);
        let emptied = reconcile(&of(Kind::File), &none, &able);
        assert_eq!(emptied, Decision::Replace(Verb::Update, "size differs"));
        let device = |rdev| Sighting::Present(Entry { kind: Kind::CharDevice, rdev, ..file(1) });
        assert_eq!(reconcile(&device(1), &device(1), &able), Decision::CompareMetadata);
        let other = reconcile(&device(1), &device(2), &able);
        assert_eq!(other, Decision::Replace(Verb::Update, "device number differs"));
    }

    #[test]
    fn repair_and_update_are_told_apart_by_when_the_copy_was_made() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let cases = [
            // source ctime, replica btime, replica mtime: verb
            (5, Some(9), 0, Verb::Repair),
            (5, Some(9), 7, Verb::Repair),
            (9, Some(5), 0, Verb::Update),
            (9, Some(5), 7, Verb::Update),
            // At the same moment: the source may have changed.
            (5, Some(5), 0, Verb::Update),
            (5, None, 0, Verb::Repair),
            (5, None, 7, Verb::Update),
        ];
        for (ctime, btime, mtime, expected) in cases {
            let source = Entry { ctime: at(ctime), ..file(1) };
            let replica = Entry { btime: btime.map(at), mtime: at(mtime), ..file(2) };
            assert_eq!(content_verb(&source, &replica), expected, "{ctime} {btime:?} {mtime}");
        }
    }
}
