//! Facts learned of the replica's filesystems, for as long as they can be trusted.

use crate::capabilities::Filesystem;
use crate::collections::HashMap;
use crate::fs::clock::BootTime;
use crate::fs::dir::Dir;
use crate::fs::ext4::may_commit_fast;
use crate::fs::magic::{EXT, filesystem_type, gives_plain_blocks};
use crate::fs::rights::rights;
use crate::fs::room::block_of;
use crate::fs::{Errno, stat};
use crate::model::feature::Feature;
use crate::model::rights::{Capability, Rights};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The lifetime of learned facts: a transient refusal (a server's error, a policy, a remount) must not count for the
/// months that a process lives. A day, because on a replica without owners each renewal costs a read of every entry.
const BELIEVED: Duration = Duration::from_secs(24 * 3600);

/// The known facts of the replica's filesystems, by device number and mount; they outlive the pass. One filesystem may
/// be mounted twice with different options.
#[derive(Debug, Default)]
pub(crate) struct Filesystems(Mutex<HashMap<(u64, u64), Known>>);

/// A filesystem and its type: device numbers are reused for other filesystems.
#[derive(Debug)]
struct Known {
    magic: u64,
    since: BootTime,
    /// Whether it has been used since the last pass began.
    is_used: bool,
    filesystem: Arc<Filesystem>,
}

impl Known {
    fn new(magic: u64, now: BootTime, rights: &Rights) -> Known {
        let filesystem = Filesystem::of_type(magic);
        if !rights.may(Capability::Mknod) {
            filesystem.learn_missing(Feature::Devices);
        }
        Known { magic, since: now, is_used: true, filesystem: Arc::new(filesystem) }
    }

    fn is_believed(&self, magic: u64, now: BootTime) -> bool {
        self.magic == magic && now.since(self.since) < BELIEVED
    }
}

impl Filesystems {
    /// Forgets the filesystems that the last pass did not use: they are not mounted in the replica any more.
    pub(crate) fn begin_pass(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| std::mem::take(&mut known.is_used));
    }

    /// The filesystem of an open folder of the replica.
    ///
    /// # Errors
    /// As opening the folder, `statx(2)` and `fstatfs(2)`.
    pub(crate) fn of(&self, dir: &Arc<Dir>) -> Result<Arc<Filesystem>, Errno> {
        let folder = dir.open()?;
        let magic = filesystem_type(&*folder)?;
        let place = (dir.id().device, stat::mount_of(folder.as_fd())?);
        let filesystem = self.known(place, magic, BootTime::now(), rights);
        if gives_plain_blocks(magic) {
            filesystem.know_block(block_of(&*folder));
        }
        if magic == EXT {
            // Read each time: another disk may have got the same number.
            filesystem.know_fast_commits(may_commit_fast(dir.id().device));
        }
        Ok(filesystem)
    }

    fn known(
        &self,
        place: (u64, u64),
        magic: u64,
        now: BootTime,
        rights: impl FnOnce() -> Rights,
    ) -> Arc<Filesystem> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match all.remove(&place).filter(|known| known.is_believed(magic, now)) {
            Some(known) => Known { is_used: true, ..known },
            None => Known::new(magic, now, &rights()),
        };
        let filesystem = Arc::clone(&known.filesystem);
        all.insert(place, known);
        filesystem
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rights::tests::{root, user_in};

    const FUSE: u64 = 0x6573_5546;

    fn taught(filesystems: &Filesystems, place: (u64, u64), now: BootTime) {
        filesystems.known(place, FUSE, now, root).learn_missing(Feature::Owner);
    }

    fn remembers(filesystems: &Filesystems, place: (u64, u64), magic: u64, now: BootTime) -> bool {
        !filesystems.known(place, magic, now, root).holds(Feature::Owner)
    }

    #[test]
    fn what_was_learned_holds_for_its_mount_and_type_and_for_a_day() {
        let now = BootTime::now();
        let almost = now.plus(BELIEVED - Duration::from_secs(1));
        for (place, magic, when, expected) in [
            ((1, 1), FUSE, almost, true),
            ((1, 2), FUSE, now, false),
            ((2, 1), FUSE, now, false),
            ((1, 1), EXT, now, false),
            ((1, 1), FUSE, now.plus(BELIEVED), false),
        ] {
            let filesystems = Filesystems::default();
            taught(&filesystems, (1, 1), now);
            assert_eq!(remembers(&filesystems, place, magic, when), expected, "{place:?} {magic:x} {when:?}");
        }
    }

    #[test]
    fn what_a_whole_pass_had_no_use_for_is_forgotten() {
        let (filesystems, now) = (Filesystems::default(), BootTime::now());
        taught(&filesystems, (1, 1), now);
        taught(&filesystems, (2, 2), now);
        filesystems.begin_pass();
        assert!(remembers(&filesystems, (1, 1), FUSE, now));
        filesystems.begin_pass();
        assert_eq!(filesystems.0.lock().unwrap().len(), 1);
        assert!(remembers(&filesystems, (1, 1), FUSE, now));
        assert!(!remembers(&filesystems, (2, 2), FUSE, now));
    }

    #[test]
    fn without_the_capability_device_nodes_are_known_to_be_left_out() {
        let filesystems = Filesystems::default();
        for (place, rights, expected) in [(1, root(), true), (2, user_in(1), false)] {
            let known = filesystems.known((place, 1), EXT, BootTime::now(), || rights);
            assert_eq!(known.holds(Feature::Devices), expected);
            assert!(known.holds(Feature::Whiteouts), "that anybody may make");
        }
    }
}
