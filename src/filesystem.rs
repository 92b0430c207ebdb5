//! What the replica's filesystem can hold, as far as it is known.
//!
//! Few filesystems say what they cannot do. A table knows some of them by their type, the journal of an ext4 is asked for
//! (fs/superblock.rs); the rest is learned: when the
//! kernel refuses, or when what was set reads back as something else, the feature counts as missing from then on, for
//! as long as the program runs. A difference in a missing feature is not a difference: it is told once per pass.

use crate::entry::{Entry, Kind, Timestamp};
use crate::fs::superblock::EXT;
use crate::monitor::Feature;
use crate::spelling::Names;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

/// What one filesystem of the replica can hold. Shared between threads and passes.
#[derive(Debug)]
pub struct Filesystem {
    /// One bit per missing [`Feature`].
    missing: AtomicU32,
    /// The step of its modification times in nanoseconds.
    step: AtomicU32,
    /// The earliest and latest modification time it can hold, in seconds since 1970.
    earliest: AtomicI64,
    latest: AtomicI64,
    /// See [`Filesystem::syncs_as_a_whole`].
    syncs_as_a_whole: bool,
    /// See [`Filesystem::clones`].
    clones: AtomicBool,
    /// See [`Filesystem::shows_filled_folders`].
    shows_filled_folders: AtomicBool,
    /// See [`Filesystem::takes_unnamed_files`].
    takes_unnamed_files: AtomicBool,
    /// See [`Filesystem::know_fast_commits`].
    may_commit_fast: AtomicBool,
    /// How it shows names.
    pub names: Names,
}

impl Default for Filesystem {
    fn default() -> Filesystem {
        Filesystem {
            missing: AtomicU32::new(0),
            step: AtomicU32::new(1),
            earliest: AtomicI64::new(i64::MIN),
            latest: AtomicI64::new(i64::MAX),
            syncs_as_a_whole: false,
            clones: AtomicBool::new(false),
            shows_filled_folders: AtomicBool::new(true),
            takes_unnamed_files: AtomicBool::new(false),
            may_commit_fast: AtomicBool::new(false),
            names: Names::default(),
        }
    }
}

fn bit(feature: Feature) -> u32 {
    1 << feature as u32
}

impl Filesystem {
    /// A filesystem of the type that `statfs(2)` reports as `magic`.
    pub fn of_type(magic: u64) -> Filesystem {
        const MSDOS: u64 = 0x4d44;
        const EXFAT: u64 = 0x2011_bab0;
        // linux/magic.h
        const XFS: u64 = 0x5846_5342;
        const BTRFS: u64 = 0x9123_683e;
        const F2FS: u64 = 0xf2f5_2010;
        const TMPFS: u64 = 0x0102_1994;
        let filesystem = Filesystem {
            syncs_as_a_whole: [EXT, XFS, BTRFS, F2FS, TMPFS].contains(&magic),
            clones: AtomicBool::new([XFS, BTRFS].contains(&magic)),
            takes_unnamed_files: AtomicBool::new([EXT, BTRFS, TMPFS].contains(&magic)),
            may_commit_fast: AtomicBool::new(magic == EXT),
            // Also those of them that take upper and lower case for the same.
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
        ] {
            filesystem.learn_missing(feature);
        }
        filesystem.step.store(step, Ordering::Relaxed);
        filesystem.learn_missing(Feature::Mtime);
        filesystem
    }

    /// True when `syncfs(2)` is known to leave everything on the disk that was written before. Elsewhere it may mean less
    /// than `fdatasync(2)` of each file: a filesystem in user space is not even told of it.
    pub fn syncs_as_a_whole(&self) -> bool {
        self.syncs_as_a_whole
    }

    /// True when files may share their blocks (`FICLONE`), and change times are this machine's own.
    pub fn clones(&self) -> bool {
        self.clones.load(Ordering::Relaxed)
    }

    /// Notes that files cannot share their blocks.
    pub fn learn_no_clones(&self) {
        self.clones.store(false, Ordering::Relaxed);
    }

    /// True when a new folder may be filled before it gets its name: as long as every folder could be renamed, and no name
    /// was found to be taken only then.
    pub fn shows_filled_folders(&self) -> bool {
        self.shows_filled_folders.load(Ordering::Relaxed)
    }

    /// Notes that a folder gets its name first here, and then what belongs in it.
    pub fn learn_no_filled_folders(&self) {
        self.shows_filled_folders.store(false, Ordering::Relaxed);
    }

    /// True when a new file is best made without a name (`O_TMPFILE`) and gets it when it is whole. Not on XFS: there it
    /// takes as long as the other way, and of 250,000 small files each keeps 24 KiB until it is written, so that the
    /// filesystem is full long before. Not on an ext4 that may write fast commits, see [`crate::fs::superblock`].
    /// Elsewhere it has not been measured.
    pub fn takes_unnamed_files(&self) -> bool {
        self.takes_unnamed_files.load(Ordering::Relaxed) && !self.may_commit_fast.load(Ordering::Relaxed)
    }

    /// Notes whether the journal may have fast commits; as long as it is not known an ext4 may.
    pub fn know_fast_commits(&self, may: bool) {
        self.may_commit_fast.store(may, Ordering::Relaxed);
    }

    /// Notes that files have a name from the start here.
    pub fn learn_no_unnamed_files(&self) {
        self.takes_unnamed_files.store(false, Ordering::Relaxed);
    }

    /// True as far as nothing else is known.
    pub fn holds(&self, feature: Feature) -> bool {
        self.missing.load(Ordering::Relaxed) & bit(feature) == 0
    }

    /// Notes that a feature is missing.
    pub fn learn_missing(&self, feature: Feature) {
        self.missing.fetch_or(bit(feature), Ordering::Relaxed);
    }

    /// The time that this filesystem will show after `wanted` was set.
    pub fn holdable(&self, wanted: Timestamp) -> Timestamp {
        let earliest = self.earliest.load(Ordering::Relaxed);
        let latest = self.latest.load(Ordering::Relaxed);
        // Also exactly at a bound the kernel leaves out what is below a second (`timestamp_truncate` in fs/inode.c).
        if wanted.seconds <= earliest {
            return Timestamp { seconds: earliest, nanoseconds: 0 };
        }
        if wanted.seconds >= latest {
            return Timestamp { seconds: latest, nanoseconds: 0 };
        }
        truncate(wanted, self.step.load(Ordering::Relaxed))
    }

    /// Learns from a modification time that was set and reads back as another one. Returns false when no rule explains
    /// the difference (something else wrote to the file).
    pub fn learn_mtime(&self, set: Timestamp, shown: Timestamp) -> bool {
        const STEPS: [u32; 7] =
            [100, 1_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 2_000_000_000];
        if let Some(step) = STEPS.into_iter().find(|step| truncate(set, *step) == shown) {
            self.step.fetch_max(step, Ordering::Relaxed);
        } else if set.seconds < shown.seconds && shown.nanoseconds == 0 && shown.seconds <= 315_619_200 {
            // A lower bound: 1901, 1970 or 1980 are the ones in use.
            self.earliest.store(shown.seconds, Ordering::Relaxed);
        } else if set.seconds > shown.seconds && shown.seconds >= i64::from(i32::MAX) {
            self.latest.store(shown.seconds, Ordering::Relaxed);
        } else {
            return false;
        }
        self.learn_missing(Feature::Mtime);
        true
    }
}

fn truncate(time: Timestamp, step: u32) -> Timestamp {
    const SECOND: i128 = 1_000_000_000;
    let total = i128::from(time.seconds) * SECOND + i128::from(time.nanoseconds);
    let kept = total - total.rem_euclid(i128::from(step.max(1)));
    Timestamp {
        seconds: i64::try_from(kept.div_euclid(SECOND)).unwrap_or(time.seconds),
        nanoseconds: u32::try_from(kept.rem_euclid(SECOND)).unwrap_or(0),
    }
}

/// Which metadata of an entry differs. Extended attributes are compared elsewhere, since that takes reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differences {
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
    pub fn any(self) -> bool {
        self.mode || self.owner || self.mtime || self.attributes
    }

    /// The differences in words, joined with commas.
    pub fn words(self) -> &'static str {
        // Four bits, sixteen texts: no allocation for what may be a million changes.
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

/// How the metadata of two entries of one kind compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataComparison {
    /// What has to be set.
    pub differences: Differences,
    /// True when owners differ and the replica cannot hold them.
    pub owner_not_held: bool,
    /// True when modes differ and the replica cannot hold them.
    pub mode_not_held: bool,
    /// True when times differ by no more than what the replica cannot hold.
    pub mtime_not_held: bool,
}

/// What the user that this process acts as may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Runs as root: may set owners, make device nodes, read everything.
    pub privileged: bool,
    /// The user.
    pub user: u32,
    /// The groups that the user is in.
    pub groups: Vec<u32>,
}

/// Compares what `statx` shows of two entries of one kind. Owners are compared where they could be set.
pub fn compare_metadata(
    source: &Entry,
    replica: &Entry,
    filesystem: &Filesystem,
    rights: &Rights,
) -> MetadataComparison {
    let mut out = MetadataComparison::default();
    let owner = rights.privileged && (source.uid, source.gid) != (replica.uid, replica.gid);
    let owner_held = filesystem.holds(Feature::Owner);
    out.differences.owner = owner && owner_held;
    out.owner_not_held = owner && !owner_held;

    // Once the owner is set, the replica's owner is the source's.
    let (uid, gid) =
        if out.differences.owner { (source.uid, source.gid) } else { (replica.uid, replica.gid) };
    // A symbolic link has no permissions of its own.
    let mode = source.kind != Kind::Symlink && mode_for(source, uid, gid, rights) != replica.mode;
    let mode_held = filesystem.holds(Feature::Mode);
    out.differences.mode = mode && mode_held;
    out.mode_not_held = mode && !mode_held;

    let mtime = source.mtime != replica.mtime;
    out.differences.mtime = mtime && filesystem.holdable(source.mtime) != replica.mtime;
    out.mtime_not_held = mtime && !out.differences.mtime;
    out
}

/// The mode that the copy of `source` gets when it belongs to `uid` and `gid`: setuid and setgid of a file are only
/// safe where the copy has the owner and group that they were meant for, and the kernel clears setgid where the user is
/// not in the group (chmod(2)).
pub fn mode_for(source: &Entry, uid: u32, gid: u32, rights: &Rights) -> u16 {
    const SETUID: u16 = 0o4000;
    const SETGID: u16 = 0o2000;
    let is_file = source.kind == Kind::File;
    let mut mode = source.mode;
    if is_file && source.uid != uid {
        mode &= !SETUID;
    }
    if (is_file && source.gid != gid) || !(rights.privileged || rights.groups.contains(&gid)) {
        mode &= !SETGID;
    }
    mode
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::reconcile::tests::file;

    const ROOT: Rights = Rights { privileged: true, user: 0, groups: Vec::new() };

    fn user_in(group: u32) -> Rights {
        Rights { privileged: false, user: 1000, groups: vec![group] }
    }

    pub(super) fn at(seconds: i64, nanoseconds: u32) -> Timestamp {
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
            assert!(filesystem.shows_filled_folders(), "{magic:x}");
            filesystem.learn_no_filled_folders();
            assert!(!filesystem.shows_filled_folders(), "{magic:x}");
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
            assert_eq!(filesystem.holdable(set), shown);
            assert!(!filesystem.holds(Feature::Mtime));
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
            assert!(!filesystem.learn_mtime(set, shown), "{set:?} {shown:?}");
            assert!(filesystem.holds(Feature::Mtime));
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
                [Feature::Owner, Feature::Mode, Feature::Symlinks, Feature::HardLinks, Feature::Mtime]
            {
                assert_eq!(filesystem.holds(feature), holds, "{magic:x} {feature:?}");
            }
            assert!(filesystem.holds(Feature::UserAttributes), "that is found out when one is set");
        }
    }

    #[test]
    fn differences_are_told_in_words() {
        for bits in 0..16u8 {
            let [mode, owner, mtime, attributes] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let all = [(mode, "mode"), (owner, "owner"), (mtime, "mtime"), (attributes, "attributes")];
            let words: Vec<&str> = all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
            let differences = Differences { mode, owner, mtime, attributes };
            assert_eq!(differences.words(), words.join(", "));
            assert_eq!(differences.any(), !words.is_empty());
        }
    }

    #[test]
    fn a_missing_feature_is_no_difference() {
        let filesystem = Filesystem::of_type(0x4d44);
        let source = Entry { mode: 0o640, uid: 5, mtime: at(1_000_001, 5), ..file(1) };
        let replica = Entry { mode: 0o755, uid: 0, mtime: at(1_000_000, 0), ..file(2) };
        let compared = compare_metadata(&source, &replica, &filesystem, &ROOT);
        assert!(!compared.differences.any());
        assert!(compared.owner_not_held && compared.mode_not_held && compared.mtime_not_held);
    }

    #[test]
    fn differences_are_found_one_by_one() {
        let filesystem = Filesystem::default();
        let source = file(1);
        let compare = |replica: Entry, privileged: bool| {
            let rights = if privileged { ROOT } else { user_in(1000) };
            compare_metadata(&source, &replica, &filesystem, &rights).differences.words()
        };
        assert_eq!(compare(file(2), true), "");
        assert_eq!(compare(Entry { mode: 0o600, ..file(2) }, true), "mode");
        assert_eq!(compare(Entry { uid: 77, ..file(2) }, true), "owner");
        assert_eq!(compare(Entry { gid: 77, ..file(2) }, true), "owner");
        assert_eq!(compare(Entry { gid: 77, ..file(2) }, false), "");
        assert_eq!(compare(Entry { mtime: at(0, 1), ..file(2) }, true), "mtime");
    }

    #[test]
    fn setuid_and_setgid_need_the_right_owner() {
        let source = Entry { mode: 0o6755, uid: 10, gid: 20, ..file(1) };
        assert_eq!(mode_for(&source, 10, 20, &ROOT), 0o6755);
        assert_eq!(mode_for(&source, 11, 20, &ROOT), 0o2755);
        assert_eq!(mode_for(&source, 10, 21, &ROOT), 0o4755);
        assert_eq!(mode_for(&source, 10, 20, &user_in(20)), 0o6755);
        assert_eq!(mode_for(&source, 10, 20, &user_in(30)), 0o4755);
        let folder = Entry { kind: Kind::Folder, ..source };
        assert_eq!(mode_for(&folder, 11, 21, &ROOT), 0o6755);
        assert_eq!(mode_for(&folder, 11, 21, &user_in(21)), 0o6755);
        assert_eq!(mode_for(&folder, 11, 21, &user_in(20)), 0o4755);
    }
}
