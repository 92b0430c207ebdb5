//! The features that the replica's filesystem can hold, as far as they are known.
//!
//! Few filesystems report missing features. A table knows some of them by their type, the journal features of an ext4
//! are read (fs/ext4.rs); the rest is learned: when the kernel refuses, or when a value reads back as another one, the
//! feature counts as missing from then on. It is learned per kind of entry, since a symbolic link takes less than a
//! file; and it is forgotten when another filesystem is mounted, and once a day (registry.rs), so that a transient
//! refusal does not last as long as the process. A difference in a missing feature is not a difference: it is reported
//! once per pass.

pub(crate) mod registry;

use crate::fs::magic::{
    BCACHEFS, BTRFS, EXFAT, EXT, F2FS, MSDOS, OVERLAY, RAMFS, TMPFS, XFS, ZFS, gives_plain_blocks,
};
use crate::model::entry::{Kind, Timestamp};
use crate::model::feature::Feature;
use crate::model::spelling::Names;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The features of one filesystem of the replica. Shared between threads and passes.
#[derive(Debug)]
pub(crate) struct Filesystem {
    /// One bit per missing [`Feature`], for each class of entries.
    missing: [AtomicU32; Class::COUNT],
    /// The step of its modification times in nanoseconds.
    step: AtomicU32,
    /// The earliest and latest modification time it can hold, in seconds since 1970.
    earliest: AtomicI64,
    latest: AtomicI64,
    /// See [`Filesystem::sets_both_times`].
    sets_both_times: AtomicBool,
    /// See [`Filesystem::has_sound_links`].
    has_sound_links: AtomicBool,
    /// See [`Filesystem::refuses_group`]; the flag says that there is one.
    refused_groups: (AtomicBool, Mutex<Vec<u32>>),
    /// See [`Filesystem::syncs_as_a_whole`].
    syncs_as_a_whole: bool,
    /// See [`Filesystem::clones`].
    clones: AtomicBool,
    /// See [`Filesystem::renames_filled_folders`].
    renames_filled_folders: AtomicBool,
    /// See [`Filesystem::blocks_of`].
    block: AtomicU64,
    /// Whether the data of a small file lie in its inode, for all that is known.
    may_inline: bool,
    /// See [`Filesystem::takes_unnamed_files`].
    takes_unnamed_files: AtomicBool,
    /// See [`Filesystem::know_fast_commits`].
    may_commit_fast: AtomicBool,
    /// The way it shows names.
    pub names: Names,
}

impl Default for Filesystem {
    fn default() -> Filesystem {
        Filesystem {
            missing: [const { AtomicU32::new(0) }; Class::COUNT],
            step: AtomicU32::new(1),
            earliest: AtomicI64::new(i64::MIN),
            latest: AtomicI64::new(i64::MAX),
            sets_both_times: AtomicBool::new(false),
            has_sound_links: AtomicBool::new(false),
            refused_groups: (AtomicBool::new(false), Mutex::default()),
            syncs_as_a_whole: false,
            clones: AtomicBool::new(false),
            renames_filled_folders: AtomicBool::new(true),
            block: AtomicU64::new(1),
            may_inline: true,
            takes_unnamed_files: AtomicBool::new(false),
            may_commit_fast: AtomicBool::new(false),
            names: Names::default(),
        }
    }
}

fn bit(feature: Feature) -> u32 {
    1 << feature as u32
}

/// Kinds of entries that share missing features.
#[derive(Clone, Copy)]
enum Class {
    Files,
    Folders,
    Links,
    /// FIFOs, sockets and device nodes.
    Special,
}

impl Class {
    const COUNT: usize = 4;

    fn of(kind: Kind) -> Class {
        match kind {
            Kind::File => Class::Files,
            Kind::Folder => Class::Folders,
            Kind::Symlink => Class::Links,
            Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => Class::Special,
        }
    }
}

/// The rule by which a filesystem shows another time than the one that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeRule {
    Step(u32),
    Earliest,
    Latest,
}

impl Filesystem {
    /// A filesystem of the type that `statfs(2)` reports as `magic`.
    pub(crate) fn of_type(magic: u64) -> Filesystem {
        let sound_links = [EXT, XFS, BTRFS, F2FS, TMPFS, RAMFS, OVERLAY, ZFS, BCACHEFS];
        let filesystem = Filesystem {
            has_sound_links: AtomicBool::new(sound_links.contains(&magic)),
            syncs_as_a_whole: [EXT, XFS, BTRFS, F2FS, TMPFS].contains(&magic),
            clones: AtomicBool::new([XFS, BTRFS].contains(&magic)),
            takes_unnamed_files: AtomicBool::new([EXT, BTRFS, TMPFS].contains(&magic)),
            may_commit_fast: AtomicBool::new(magic == EXT),
            may_inline: magic == EXT || !gives_plain_blocks(magic),
            // Including case-insensitive ones of them.
            names: Names::of_filesystem([EXT, XFS, BTRFS, F2FS, TMPFS].contains(&magic)),
            ..Filesystem::default()
        };
        let step = match magic {
            MSDOS => 2_000_000_000,
            EXFAT => 10_000_000,
            _ => return filesystem,
        };
        for feature in [
            Feature::Owner,
            Feature::Mode,
            Feature::Symlinks,
            Feature::HardLinks,
            Feature::Fifos,
            Feature::Devices,
            Feature::Whiteouts,
        ] {
            filesystem.learn_missing(feature);
        }
        filesystem.step.store(step, Ordering::Relaxed);
        filesystem
    }

    /// True when `syncfs(2)` is known to make all earlier writes durable. Elsewhere it may guarantee less than
    /// `fdatasync(2)` of each file: a FUSE filesystem is not even notified.
    pub(crate) fn syncs_as_a_whole(&self) -> bool {
        self.syncs_as_a_whole
    }

    /// Notes the size of its blocks, where it gives each file whole blocks of its own.
    pub(crate) fn know_block(&self, bytes: u64) {
        self.block.store(bytes.max(1), Ordering::Relaxed);
    }

    /// The bytes of the blocks that some data need at least.
    pub(crate) fn blocks_of(&self, data: u64) -> u64 {
        let block = self.block.load(Ordering::Relaxed);
        // No inode is larger than a block.
        if data <= block && self.may_inline {
            data
        } else {
            data.checked_next_multiple_of(block).unwrap_or(data)
        }
    }

    /// True when files may share their blocks (`FICLONE`), and ctimes come from this machine's clock.
    pub(crate) fn clones(&self) -> bool {
        self.clones.load(Ordering::Relaxed)
    }

    /// Notes that files cannot share their blocks.
    pub(crate) fn learn_no_clones(&self) {
        self.clones.store(false, Ordering::Relaxed);
    }

    /// True while a new folder may be filled before it is renamed to its name: no rename of a folder has failed, and no
    /// name turned out to be taken only then.
    pub(crate) fn renames_filled_folders(&self) -> bool {
        self.renames_filled_folders.load(Ordering::Relaxed)
    }

    /// Notes that a folder gets its name here before its entries.
    pub(crate) fn learn_no_filled_folders(&self) {
        self.renames_filled_folders.store(false, Ordering::Relaxed);
    }

    /// True when a new file is best created with `O_TMPFILE` and linked when complete. Not on XFS: there it is no
    /// faster, and each of 250,000 small files keeps 24 KiB until it is written back, so that the filesystem is full
    /// long before. Not on an ext4 that may write fast commits, see [`crate::fs::ext4`]. Other filesystems have not
    /// been measured.
    pub(crate) fn takes_unnamed_files(&self) -> bool {
        self.takes_unnamed_files.load(Ordering::Relaxed) && !self.may_commit_fast.load(Ordering::Relaxed)
    }

    /// Notes whether the journal may have fast commits; an ext4 may until that is known.
    pub(crate) fn know_fast_commits(&self, may: bool) {
        self.may_commit_fast.store(may, Ordering::Relaxed);
    }

    /// Notes that files get a name at once here.
    pub(crate) fn learn_no_unnamed_files(&self) {
        self.takes_unnamed_files.store(false, Ordering::Relaxed);
    }

    /// Whether entries of a kind, or hard links, are possible here: true until the opposite is known.
    pub(crate) fn holds(&self, feature: Feature) -> bool {
        self.holds_for(Kind::File, feature)
    }

    /// Whether entries of a kind can have some metadata here: true until the opposite is known.
    pub(crate) fn holds_for(&self, kind: Kind, feature: Feature) -> bool {
        self.missing_for(kind).load(Ordering::Relaxed) & bit(feature) == 0
    }

    /// Notes that a feature is missing.
    pub(crate) fn learn_missing(&self, feature: Feature) {
        for missing in &self.missing {
            missing.fetch_or(bit(feature), Ordering::Relaxed);
        }
    }

    /// Notes that entries of a kind, and of kinds like it, lack some metadata.
    pub(crate) fn learn_missing_for(&self, kind: Kind, feature: Feature) {
        self.missing_for(kind).fetch_or(bit(feature), Ordering::Relaxed);
    }

    fn missing_for(&self, kind: Kind) -> &AtomicU32 {
        let [files, folders, links, special] = &self.missing;
        match Class::of(kind) {
            Class::Files => files,
            Class::Folders => folders,
            Class::Links => links,
            Class::Special => special,
        }
    }

    /// Whether setting metadata of a symbolic link is known to change the link, and not its target: a FUSE filesystem
    /// may follow the link (sshfs does). Where that is unknown, it is tested first on a link to a private temporary
    /// (`apply/metadata/probe.rs`).
    pub(crate) fn has_sound_links(&self) -> bool {
        self.has_sound_links.load(Ordering::Relaxed)
    }

    /// Notes that metadata of a symbolic link, unless learned to be missing, is set on the link.
    pub(crate) fn learn_sound_links(&self) {
        self.has_sound_links.store(true, Ordering::Relaxed);
    }

    /// Whether the modification time has to be set together with the access time: alone it is dropped without an error,
    /// as by every filesystem on libfuse 2 that does not set `utime_omit_ok`.
    pub(crate) fn sets_both_times(&self) -> bool {
        self.sets_both_times.load(Ordering::Relaxed)
    }

    /// Notes that both times are set together here.
    pub(crate) fn learn_both_times(&self) {
        self.sets_both_times.store(true, Ordering::Relaxed);
    }

    /// Whether a group of this process could not be given to a file: a server may know fewer of its groups than this
    /// machine (NFS passes on 16 at most).
    pub(crate) fn refuses_group(&self, group: u32) -> bool {
        let (has_some, groups) = &self.refused_groups;
        has_some.load(Ordering::Relaxed)
            && groups.lock().unwrap_or_else(PoisonError::into_inner).contains(&group)
    }

    /// Notes that a group cannot be given to a file here.
    pub(crate) fn learn_refused_group(&self, group: u32) {
        let (has_some, groups) = &self.refused_groups;
        let mut groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
        if !groups.contains(&group) {
            groups.push(group);
        }
        has_some.store(true, Ordering::Relaxed);
    }

    /// The time that this filesystem will show after `wanted` was set.
    pub(crate) fn holdable(&self, wanted: Timestamp) -> Timestamp {
        let earliest = self.earliest.load(Ordering::Relaxed);
        let latest = self.latest.load(Ordering::Relaxed);
        // Exactly at a bound the kernel also drops the nanoseconds (`timestamp_truncate` in fs/inode.c).
        if wanted.seconds <= earliest {
            return Timestamp { seconds: earliest, nanoseconds: 0 };
        }
        if wanted.seconds >= latest {
            return Timestamp { seconds: latest, nanoseconds: 0 };
        }
        truncate(wanted, self.step.load(Ordering::Relaxed))
    }

    /// Whether a rule explains that a modification time reads back as another one.
    pub(crate) fn explains(set: Timestamp, shown: Timestamp) -> bool {
        rule(set, shown).is_some()
    }

    /// Learns from a modification time that reads back as another one. Returns false when no rule explains the
    /// difference (another process wrote to the file).
    pub(crate) fn learn_mtime(&self, set: Timestamp, shown: Timestamp) -> bool {
        match rule(set, shown) {
            Some(TimeRule::Step(step)) => drop(self.step.fetch_max(step, Ordering::Relaxed)),
            Some(TimeRule::Earliest) => self.earliest.store(shown.seconds, Ordering::Relaxed),
            Some(TimeRule::Latest) => self.latest.store(shown.seconds, Ordering::Relaxed),
            None => return false,
        }
        true
    }
}

/// Whether some filesystem shows a time as this one because of its coarser steps.
pub(crate) fn may_be_shown_as(set: Timestamp, shown: Timestamp) -> bool {
    matches!(rule(set, shown), Some(TimeRule::Step(_)))
}

fn rule(set: Timestamp, shown: Timestamp) -> Option<TimeRule> {
    const STEPS: [u32; 7] = [100, 1_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 2_000_000_000];
    if let Some(step) = STEPS.into_iter().find(|step| truncate(set, *step) == shown) {
        Some(TimeRule::Step(step))
    } else if set.seconds < shown.seconds && shown.nanoseconds == 0 && shown.seconds <= 315_619_200 {
        // A lower bound: 1901, 1970 or 1980 are the ones in use.
        Some(TimeRule::Earliest)
    } else if set.seconds > shown.seconds && shown.seconds >= i64::from(i32::MAX) {
        Some(TimeRule::Latest)
    } else {
        None
    }
}

fn truncate(time: Timestamp, step: u32) -> Timestamp {
    const SECOND: u32 = 1_000_000_000;
    let step = step.max(1);
    if SECOND.is_multiple_of(step) {
        return Timestamp { nanoseconds: time.nanoseconds - time.nanoseconds % step, ..time };
    }
    let (second, step) = (i128::from(SECOND), i128::from(step));
    let total = i128::from(time.seconds) * second + i128::from(time.nanoseconds);
    let kept = total - total.rem_euclid(step);
    Timestamp {
        seconds: i64::try_from(kept.div_euclid(second)).unwrap_or(time.seconds),
        nanoseconds: u32::try_from(kept.rem_euclid(second)).unwrap_or(0),
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds, nanoseconds }
    }

    #[test]
    fn what_a_filesystem_shares_and_syncs_is_known_by_its_type() {
        for (magic, syncs, clones, unnamed) in [
            (EXT, true, false, true),
            (0x5846_5342, true, true, false),
            (0x9123_683e, true, true, true),
            (0xf2f5_2010, true, false, false),
            (0x0102_1994, true, false, true),
            // FUSE, NFS, vfat: nothing is known.
            (0x6573_5546, false, false, false),
            (0x6969, false, false, false),
            (0x4d44, false, false, false),
        ] {
            let filesystem = Filesystem::of_type(magic);
            assert_eq!(
                filesystem.takes_unnamed_files(),
                unnamed && magic != EXT,
                "{magic:x}, journal unknown"
            );
            filesystem.know_fast_commits(false);
            assert_eq!(filesystem.takes_unnamed_files(), unnamed, "{magic:x}");
            filesystem.know_fast_commits(true);
            assert!(!filesystem.takes_unnamed_files(), "{magic:x} with fast commits");
            filesystem.know_fast_commits(false);
            filesystem.learn_no_unnamed_files();
            assert!(!filesystem.takes_unnamed_files(), "{magic:x}, learned");
            assert_eq!((filesystem.syncs_as_a_whole(), filesystem.clones()), (syncs, clones), "{magic:x}");
            filesystem.learn_no_clones();
            assert!(!filesystem.clones(), "{magic:x}");
            assert!(filesystem.renames_filled_folders(), "{magic:x}");
            filesystem.learn_no_filled_folders();
            assert!(!filesystem.renames_filled_folders(), "{magic:x}");
        }
    }

    #[test]
    fn the_step_of_times_is_learned_from_one_example() {
        let cases = [
            (at(1_000_001, 123_456_789), at(1_000_001, 123_456_700)),
            (at(1_000_001, 123_456_789), at(1_000_001, 0)),
            (at(1_000_001, 123_456_789), at(1_000_000, 0)),
            (at(-5, 999_999_999), at(-6, 0)),
        ];
        for (set, shown) in cases {
            let filesystem = Filesystem::default();
            assert!(filesystem.learn_mtime(set, shown));
            assert!(Filesystem::explains(set, shown));
            assert_eq!(filesystem.holdable(set), shown);
            assert!(filesystem.holds(Feature::Mtime), "as far as it goes");
        }
    }

    #[test]
    fn the_bounds_of_times_are_learned() {
        let filesystem = Filesystem::default();
        assert!(filesystem.learn_mtime(at(-10_000_000_000, 5), at(-2_147_483_648, 0)));
        assert!(filesystem.learn_mtime(at(10_000_000_000, 5), at(2_147_483_647, 0)));
        assert_eq!(filesystem.holdable(at(-9_000_000_000, 7)), at(-2_147_483_648, 0));
        assert_eq!(filesystem.holdable(at(9_000_000_000, 7)), at(2_147_483_647, 0));
        assert_eq!(filesystem.holdable(at(-2_147_483_648, 7)), at(-2_147_483_648, 0));
        assert_eq!(filesystem.holdable(at(2_147_483_647, 7)), at(2_147_483_647, 0));
        assert_eq!(filesystem.holdable(at(5, 7)), at(5, 7));
    }

    #[test]
    fn a_time_that_something_else_wrote_teaches_nothing() {
        let cases = [
            (at(1_000_000_000, 5), at(1_700_000_000, 9)),
            (at(1_000_000_000, 5), at(1_700_000_000, 0)),
            (at(1_700_000_000, 5), at(100, 0)),
            (at(-10, 5), at(100, 9)),
            (at(3_000_000_000, 5), at(1_000_000_000, 0)),
            (at(3_000_000_000, 5), at(3_000_000_000, 9)),
        ];
        for (set, shown) in cases {
            let filesystem = Filesystem::default();
            assert!(!Filesystem::explains(set, shown), "{set:?} {shown:?}");
            assert!(!filesystem.learn_mtime(set, shown), "{set:?} {shown:?}");
            for time in [at(1, 5), set, shown] {
                assert_eq!(filesystem.holdable(time), time);
            }
        }
    }

    #[test]
    fn vfat_and_exfat_are_known_by_their_type_and_others_are_tried() {
        let cases = [
            (0x4d44, at(2, 0), false),
            (0x2011_bab0, at(3, 120_000_000), false),
            (0xef53, at(3, 123_456_789), true),
        ];
        for (magic, shown, holds) in cases {
            let filesystem = Filesystem::of_type(magic);
            assert_eq!(filesystem.holdable(at(3, 123_456_789)), shown);
            for feature in
                [Feature::Owner, Feature::Mode, Feature::Symlinks, Feature::HardLinks, Feature::Whiteouts]
            {
                assert_eq!(filesystem.holds(feature), holds, "{magic:x} {feature:?}");
            }
            assert!(filesystem.holds(Feature::UserXattrs), "that is found out when one is set");
        }
    }

    #[test]
    fn what_one_kind_of_entry_lacks_others_may_have() {
        let kinds = [Kind::File, Kind::Folder, Kind::Symlink, Kind::Fifo];
        for refused in kinds {
            let filesystem = Filesystem::default();
            filesystem.learn_missing_for(refused, Feature::Owner);
            for kind in kinds {
                assert_eq!(
                    filesystem.holds_for(kind, Feature::Owner),
                    kind != refused,
                    "{refused} and {kind}"
                );
                assert!(filesystem.holds_for(kind, Feature::Mode));
            }
        }
        let filesystem = Filesystem::default();
        filesystem.learn_missing_for(Kind::Fifo, Feature::Mode);
        assert!(!filesystem.holds_for(Kind::BlockDevice, Feature::Mode), "what is alike");
        filesystem.learn_missing(Feature::Mode);
        assert!(kinds.iter().all(|kind| !filesystem.holds_for(*kind, Feature::Mode)));
    }

    #[test]
    fn one_refused_group_is_refused_and_no_other() {
        let filesystem = Filesystem::default();
        assert!(!filesystem.refuses_group(5));
        filesystem.learn_refused_group(5);
        filesystem.learn_refused_group(5);
        filesystem.learn_refused_group(7);
        assert!(filesystem.refuses_group(5) && filesystem.refuses_group(7) && !filesystem.refuses_group(6));
        assert_eq!(filesystem.refused_groups.1.lock().unwrap().len(), 2);
    }

    #[test]
    fn links_are_sound_where_the_kernel_sees_to_it_and_elsewhere_once_it_was_seen() {
        for (magic, sound) in [
            (EXT, true),
            (0x5846_5342, true),
            (0x9123_683e, true),
            (0xf2f5_2010, true),
            (0x0102_1994, true),
            (0x794c_7630, true),
            (0x2fc1_2fc1, true),
            // FUSE, NFS, SMB, 9p.
            (0x6573_5546, false),
            (0x6969, false),
            (0xff53_4d42, false),
            (0x0102_1997, false),
        ] {
            let filesystem = Filesystem::of_type(magic);
            assert_eq!(filesystem.has_sound_links(), sound, "{magic:x}");
            assert!(!filesystem.sets_both_times(), "{magic:x}");
            filesystem.learn_sound_links();
            filesystem.learn_both_times();
            assert!(filesystem.has_sound_links() && filesystem.sets_both_times(), "{magic:x}");
        }
    }
}
